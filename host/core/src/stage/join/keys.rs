//! The keys of a join, each for as long as it has rows.

use hashbrown::HashTable;

use crate::key::{HashedKey, KeyHash};

/// Index of a key for as long as it has rows.
pub(super) type KeyIdx = u32;

#[derive(Debug, Default)]
pub(super) struct Keys<T> {
    table: HashTable<Slot>,
    keys: Vec<Key<T>>,
    free: Vec<KeyIdx>,
}

/// A key, and what a join keeps of it.
#[derive(Debug, Default)]
struct Key<T> {
    bytes: Box<[u8]>,
    rows: T,
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
        let Keys { table, keys, free } = self;
        if let Some(slot) =
            table.find(key.hash.spread(), |slot| slot.hash == key.hash && *keys[slot.key as usize].bytes == *key.bytes)
        {
            return slot.key;
        }
        let made = Key { bytes: key.bytes.into(), rows: T::default() };
        let key_idx = match free.pop() {
            Some(key_idx) => {
                keys[key_idx as usize] = made;
                key_idx
            }
            None => {
                keys.push(made);
                (keys.len() - 1) as KeyIdx
            }
        };
        table.insert_unique(key.hash.spread(), Slot { hash: key.hash, key: key_idx }, |slot| slot.hash.spread());
        key_idx
    }

    pub(super) fn bytes(&self, key: KeyIdx) -> &[u8] {
        &self.keys[key as usize].bytes
    }

    pub(super) fn rows(&self, key: KeyIdx) -> &T {
        &self.keys[key as usize].rows
    }

    pub(super) fn rows_mut(&mut self, key: KeyIdx) -> &mut T {
        &mut self.keys[key as usize].rows
    }

    /// All keys; also places that are free, whose rows are none.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &T)> {
        self.keys.iter().map(|key| (&*key.bytes, &key.rows))
    }

    /// Forgets a key without rows. One that is forgotten already may be forgotten again.
    pub(super) fn forget(&mut self, key_idx: KeyIdx) {
        let key = &mut self.keys[key_idx as usize];
        let hash = HashedKey::new(&key.bytes).hash;
        if let Ok(found) = self.table.find_entry(hash.spread(), |slot| slot.key == key_idx) {
            found.remove();
            *key = Key::default();
            self.free.push(key_idx);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}
