//! The keys of a stage, each for as long as something is kept of it.

use hashbrown::HashTable;

use crate::key::{HashedKey, KeyHash};

/// Index of a key for as long as something is kept of it.
pub(super) type KeyIdx = u32;

/// What a place that is free may hold for the bytes of the next key.
const KEY_ROOM_BYTES: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Keys<T> {
    table: HashTable<Slot>,
    keys: Vec<Key<T>>,
    free: Vec<KeyIdx>,
}

/// A key, and what is kept of it.
#[derive(Debug, Default)]
struct Key<T> {
    bytes: Vec<u8>,
    kept: T,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: KeyHash,
    key: KeyIdx,
}

impl<T: Default> Keys<T> {
    /// The key's index; it is made if need be.
    pub(super) fn find_or_insert(&mut self, key: &[u8]) -> KeyIdx {
        let key = HashedKey::new(key);
        if let Some(key_idx) = self.find_hashed(key) {
            return key_idx;
        }
        let Keys { table, keys, free } = self;
        let key_idx = free.pop().unwrap_or_else(|| {
            keys.push(Key::default());
            (keys.len() - 1) as KeyIdx
        });
        keys[key_idx as usize].bytes.extend_from_slice(key.bytes);
        table.insert_unique(key.hash.spread(), Slot { hash: key.hash, key: key_idx }, |slot| slot.hash.spread());
        key_idx
    }

    /// The key's index, if something is kept of it.
    pub(super) fn find(&self, key: &[u8]) -> Option<KeyIdx> {
        self.find_hashed(HashedKey::new(key))
    }

    fn find_hashed(&self, key: HashedKey<'_>) -> Option<KeyIdx> {
        let is_it = |slot: &Slot| slot.hash == key.hash && self.keys[slot.key as usize].bytes == key.bytes;
        self.table.find(key.hash.spread(), is_it).map(|slot| slot.key)
    }

    pub(super) fn bytes(&self, key: KeyIdx) -> &[u8] {
        &self.keys[key as usize].bytes
    }

    pub(super) fn kept(&self, key: KeyIdx) -> &T {
        &self.keys[key as usize].kept
    }

    pub(super) fn kept_mut(&mut self, key: KeyIdx) -> &mut T {
        &mut self.keys[key as usize].kept
    }

    /// All keys; also places that are free, of which nothing is kept.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &T)> {
        self.keys.iter().map(|key| (&*key.bytes, &key.kept))
    }

    /// Forgets a key of which nothing is kept. One that is forgotten already may be forgotten again.
    ///
    /// The next key of its place gets what is kept as it is, with its room: keys come and go with their rows.
    pub(super) fn forget(&mut self, key_idx: KeyIdx) {
        let key = &mut self.keys[key_idx as usize];
        let hash = HashedKey::new(&key.bytes).hash;
        if let Ok(found) = self.table.find_entry(hash.spread(), |slot| slot.key == key_idx) {
            found.remove();
            key.bytes.clear();
            key.bytes.shrink_to(KEY_ROOM_BYTES);
            self.free.push(key_idx);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}
