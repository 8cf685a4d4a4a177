//! One pane: the packed state of each key that has rows in it.
//!
//! A hash table finds a key's entry; keys and states lie in one arena, each key in front of its state, so that a group costs no
//! allocation of its own. Entries keep their index for as long as the pane lives.

use hashbrown::HashTable;

use crate::key::{HashedKey, KeyHash};

/// Index of a key's entry in its pane.
pub(super) type EntryIdx = u32;

/// What every entry costs beside its key and state, for `state_bytes`: about what its key costs again in the changelog.
pub(super) const ENTRY_BYTES: usize = 12;

/// Blocks of the arena are a multiple of this; a counter and an integer key fit into one.
const BLOCK_BYTES: usize = 32;
/// Below this an arena is never compacted.
const COMPACT_BYTES_MIN: usize = 64 * 1024;

#[derive(Debug, Default)]
pub(super) struct Pane {
    table: HashTable<Slot>,
    entries: Vec<Entry>,
    /// Entries that may be used again.
    free: Vec<EntryIdx>,
    arena: Vec<u8>,
    /// Bytes of the arena that belong to no entry.
    n_garbage: usize,
    dirty: Vec<EntryIdx>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: KeyHash,
    entry: EntryIdx,
}

#[derive(Clone, Debug)]
struct Entry {
    at: usize,
    key_len: u32,
    state_len: u32,
    block_len: u32,
    mark: u32,
    is_dirty: bool,
    is_free: bool,
}

/// No group of the current batch.
pub(super) const NO_MARK: u32 = u32::MAX;

impl Pane {
    /// The entry of `key`; a new one has an empty state.
    pub(super) fn find_or_insert(&mut self, key: HashedKey<'_>) -> EntryIdx {
        let Pane { table, entries, free, arena, .. } = self;
        let found =
            table.find(key.hash.spread(), |slot| slot.hash == key.hash && entries[slot.entry as usize].key(arena) == key.bytes);
        if let Some(slot) = found {
            return slot.entry;
        }
        let at = arena.len();
        let block_len = (key.bytes.len() + 1).next_multiple_of(BLOCK_BYTES);
        arena.extend_from_slice(key.bytes);
        arena.resize(at + block_len, 0);
        let entry = Entry {
            at,
            key_len: key.bytes.len() as u32,
            state_len: 0,
            block_len: u32::try_from(block_len).expect("a key is far shorter than 4 GiB"),
            mark: NO_MARK,
            is_dirty: false,
            is_free: false,
        };
        let entry_idx = match free.pop() {
            Some(entry_idx) => {
                entries[entry_idx as usize] = entry;
                entry_idx
            }
            None => {
                entries.push(entry);
                (entries.len() - 1) as EntryIdx
            }
        };
        table.insert_unique(key.hash.spread(), Slot { hash: key.hash, entry: entry_idx }, |slot| slot.hash.spread());
        entry_idx
    }

    pub(super) fn find(&self, key: HashedKey<'_>) -> Option<EntryIdx> {
        let same = |slot: &Slot| slot.hash == key.hash && self.key(slot.entry) == key.bytes;
        self.table.find(key.hash.spread(), same).map(|slot| slot.entry)
    }

    pub(super) fn key(&self, entry: EntryIdx) -> &[u8] {
        self.entries[entry as usize].key(&self.arena)
    }

    /// Empty: this key has no rows yet.
    pub(super) fn state(&self, entry: EntryIdx) -> &[u8] {
        let entry = &self.entries[entry as usize];
        let start = entry.at + entry.key_len as usize;
        &self.arena[start..start + entry.state_len as usize]
    }

    /// Replaces the state of `entry` without noting that it changed: what a restore does.
    pub(super) fn put_state(&mut self, entry_idx: EntryIdx, state: &[u8]) {
        let Pane { entries, arena, n_garbage, .. } = self;
        let entry = &mut entries[entry_idx as usize];
        let key_len = entry.key_len as usize;
        let needed = key_len + state.len();
        if needed > entry.block_len as usize {
            // Half as much again, so that a state that grows row by row is copied a logarithmic number of times.
            let block_len = (needed + state.len() / 2).next_multiple_of(BLOCK_BYTES);
            let at = arena.len();
            arena.extend_from_within(entry.at..entry.at + key_len);
            arena.resize(at + block_len, 0);
            *n_garbage += entry.block_len as usize;
            entry.at = at;
            entry.block_len = u32::try_from(block_len).expect("a state is far shorter than 4 GiB: plugin answers are bounded");
        }
        let start = entry.at + key_len;
        arena[start..start + state.len()].copy_from_slice(state);
        entry.state_len = state.len() as u32;
        if self.n_garbage > self.arena.len() / 2 && self.arena.len() > COMPACT_BYTES_MIN {
            self.compact();
        }
    }

    /// Replaces the state of `entry`; the next `changes` will write it.
    pub(super) fn set_state(&mut self, entry_idx: EntryIdx, state: &[u8]) {
        self.put_state(entry_idx, state);
        let entry = &mut self.entries[entry_idx as usize];
        if !std::mem::replace(&mut entry.is_dirty, true) {
            self.dirty.push(entry_idx);
        }
    }

    /// Forgets an entry whose state is empty.
    pub(super) fn remove_vacant(&mut self, entry_idx: EntryIdx) {
        assert!(self.state(entry_idx).is_empty(), "only vacant entries are removed");
        let hash = HashedKey::new(self.key(entry_idx)).hash;
        if let Ok(found) = self.table.find_entry(hash.spread(), |slot| slot.entry == entry_idx) {
            found.remove();
        }
        let entry = &mut self.entries[entry_idx as usize];
        entry.is_free = true;
        self.n_garbage += entry.block_len as usize;
        self.free.push(entry_idx);
    }

    /// What [`Pane::set_mark`] set, or [`NO_MARK`].
    pub(super) fn mark(&self, entry: EntryIdx) -> u32 {
        self.entries[entry as usize].mark
    }

    /// A number that the caller keeps with an entry while it groups a batch.
    pub(super) fn set_mark(&mut self, entry: EntryIdx, mark: u32) {
        self.entries[entry as usize].mark = mark;
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// All entries, in no meaningful order, but always the same for the same history.
    pub(super) fn entries(&self) -> impl Iterator<Item = EntryIdx> + '_ {
        (0..self.entries.len() as u32).filter(|entry_idx| !self.entries[*entry_idx as usize].is_free)
    }

    /// The entries that changed since the last call, in the order in which they first did.
    pub(super) fn take_dirty(&mut self) -> Vec<EntryIdx> {
        let dirty = std::mem::take(&mut self.dirty);
        for entry in &dirty {
            self.entries[*entry as usize].is_dirty = false;
        }
        dirty
    }

    fn compact(&mut self) {
        let mut arena = Vec::with_capacity(self.arena.len() - self.n_garbage);
        for entry in self.entries.iter_mut().filter(|entry| !entry.is_free) {
            let at = arena.len();
            arena.extend_from_slice(&self.arena[entry.at..entry.at + entry.block_len as usize]);
            entry.at = at;
        }
        self.arena = arena;
        self.n_garbage = 0;
    }
}

impl Entry {
    fn key<'a>(&self, arena: &'a [u8]) -> &'a [u8] {
        &arena[self.at..self.at + self.key_len as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn put(pane: &mut Pane, key: &[u8], state: &[u8]) -> EntryIdx {
        let entry = pane.find_or_insert(HashedKey::new(key));
        pane.set_state(entry, state);
        entry
    }

    #[test]
    fn states_outgrow_their_blocks_and_survive_compaction() {
        let mut pane = Pane::default();
        let mut expected = BTreeMap::new();
        for round in 0_usize..40 {
            for key in 0..100_u32 {
                let state = vec![key as u8; (round * round * (key as usize % 3)).max(1)];
                put(&mut pane, &key.to_be_bytes(), &state);
                expected.insert(key.to_be_bytes(), state);
            }
        }
        assert_eq!(pane.len(), expected.len());
        for entry in pane.entries() {
            assert_eq!(Some(pane.state(entry)), expected.get(pane.key(entry)).map(Vec::as_slice));
        }
        let in_use: usize = expected.values().map(|state| state.len() + 4).sum();
        assert!(pane.arena.len() < 4 * in_use, "{} bytes for {in_use}", pane.arena.len());
    }

    #[test]
    fn a_removed_entry_is_gone_and_its_place_is_used_again() {
        let mut pane = Pane::default();
        put(&mut pane, b"a", b"1");
        let vacant = pane.find_or_insert(HashedKey::new(b"b"));
        pane.remove_vacant(vacant);
        assert_eq!(pane.find(HashedKey::new(b"b")), None);
        assert_eq!((pane.len(), pane.entries().count()), (1, 1));
        assert_eq!(put(&mut pane, b"c", b"2"), vacant);
        assert_eq!(pane.find(HashedKey::new(b"c")), Some(vacant));
        assert_eq!(pane.state(vacant), b"2");
    }

    #[test]
    fn an_entry_is_dirty_once() {
        let mut pane = Pane::default();
        let a = put(&mut pane, b"a", b"1");
        put(&mut pane, b"a", b"2");
        let b = put(&mut pane, b"", b"3");
        assert_eq!(pane.take_dirty(), [a, b]);
        assert_eq!(pane.take_dirty(), []);
        put(&mut pane, b"", b"4");
        assert_eq!(pane.take_dirty(), [b]);
    }
}
