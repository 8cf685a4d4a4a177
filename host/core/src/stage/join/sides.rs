//! What a join keeps: right rows by key, and left rows until they are final.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
};

use hashbrown::HashTable;

use crate::{
    key::{HashedKey, KeyHash, decode_int, encode_int},
    time::EventTime,
};

/// Index of a key for as long as it has rows.
pub(super) type KeyIdx = u32;
/// A left row: its time, and a number that rises in the order in which left rows came.
pub(super) type LeftId = (EventTime, u64);

/// A right row of an interval join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RightId {
    pub(super) key: KeyIdx,
    pub(super) time: EventTime,
    /// Rises in the order in which right rows came; kept where other joins keep the tie.
    pub(super) number: i64,
}

/// About what a row costs beside its bytes and key, for `state_bytes`.
const ROW_BYTES: usize = 12;

/// A right row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Right {
    pub(super) time: EventTime,
    /// Key bytes of the tie column, none without one.
    tie_len: u32,
    /// The tie, and then the packed row. Key bytes are prefix-free, so these sort by (tie, row): the row decides last, so that
    /// the match does not depend on the order of arrival.
    bytes: Box<[u8]>,
    is_dirty: bool,
}

impl Right {
    pub(super) fn new(time: EventTime, tie: &[u8], row: &[u8]) -> Right {
        Right { time, tie_len: tie.len() as u32, bytes: [tie, row].concat().into(), is_dirty: true }
    }

    /// One that is already written down.
    pub(super) fn restored(time: EventTime, tie: &[u8], row: &[u8]) -> Right {
        Right { is_dirty: false, ..Right::new(time, tie, row) }
    }

    pub(super) fn tie(&self) -> &[u8] {
        &self.bytes[..self.tie_len as usize]
    }

    /// Of a right row of an interval join.
    fn number(&self) -> i64 {
        decode_int(self.tie()).expect("numbers stand where they were put, and are checked when restored")
    }

    pub(super) fn row(&self) -> &[u8] {
        &self.bytes[self.tie_len as usize..]
    }

    fn rank(&self) -> (EventTime, &[u8]) {
        (self.time, &self.bytes)
    }
}

/// A left row.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) key: KeyIdx,
    /// How often it was emitted, as far as this stage can know: calls that the plugin broke on count.
    pub(super) n_emitted: u32,
    pub(super) row: Box<[u8]>,
    pub(super) dirty: Dirty,
}

/// What of a left row is not written down yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dirty {
    Nothing,
    Count,
    Row,
}

#[derive(Debug, Default)]
struct Key {
    bytes: Box<[u8]>,
    /// Sorted by (time, tie, row), each different.
    rights: VecDeque<Right>,
    /// Sorted.
    lefts: VecDeque<LeftId>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: KeyHash,
    key: KeyIdx,
}

#[derive(Debug, Default)]
pub(super) struct Sides {
    table: HashTable<Slot>,
    keys: Vec<Key>,
    free: Vec<KeyIdx>,
    lefts: BTreeMap<LeftId, Left>,
    next_left: u64,
    /// Of the right row of an interval join that came last.
    last_number: i64,
    /// When right rows are to be purged: an entry for each, and stale ones for keys that were purged before; a purge looks at the
    /// key, so an entry for another key in the same place does no harm.
    purges: BinaryHeap<Reverse<(EventTime, KeyIdx)>>,
    dirty_lefts: Vec<LeftId>,
    dirty_keys: Vec<KeyIdx>,
    n_bytes: usize,
}

impl Sides {
    /// The key's index; it is made if need be.
    pub(super) fn find_or_insert(&mut self, key: &[u8]) -> KeyIdx {
        let key = HashedKey::new(key);
        let Sides { table, keys, free, .. } = self;
        if let Some(slot) =
            table.find(key.hash.spread(), |slot| slot.hash == key.hash && *keys[slot.key as usize].bytes == *key.bytes)
        {
            return slot.key;
        }
        let made = Key { bytes: key.bytes.into(), ..Key::default() };
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

    pub(super) fn key(&self, key: KeyIdx) -> &[u8] {
        &self.keys[key as usize].bytes
    }

    /// Keeps a right row. Returns the times of the left rows that it is now the match of, first and last, if there can be any.
    pub(super) fn add_right(&mut self, key_idx: KeyIdx, right: Right, within_ms: i64) -> Option<(EventTime, EventTime)> {
        let key = &mut self.keys[key_idx as usize];
        let at = match key.rights.binary_search_by(|one| one.rank().cmp(&right.rank())) {
            // The very same row again changes nothing.
            Ok(_) => return None,
            Err(at) => at,
        };
        let time = right.time;
        let last = match key.rights.get(at) {
            Some(better) => (time.0 + within_ms).min(better.time.0 - 1),
            None => time.0 + within_ms,
        };
        if right.is_dirty {
            self.dirty_keys.push(key_idx);
        }
        self.n_bytes += key.bytes.len() + right.bytes.len() + ROW_BYTES;
        key.rights.insert(at, right);
        self.purges.push(Reverse((time, key_idx)));
        (time.0 <= last).then_some((time, EventTime(last)))
    }

    /// Appends the key bytes of the next number of a right row.
    pub(super) fn number_right(&mut self, to: &mut Vec<u8>) {
        self.last_number += 1;
        encode_int(self.last_number, to);
    }

    pub(super) fn last_number(&self) -> i64 {
        self.last_number
    }

    /// A right row with a number is already written down.
    pub(super) fn restore_number(&mut self, number: i64) {
        self.last_number = self.last_number.max(number);
    }

    /// The numbered right rows of `key` with `first <= time <= last`, in the order of (time, number).
    pub(super) fn rights_between(&self, key: KeyIdx, first: EventTime, last: EventTime) -> impl Iterator<Item = RightId> + '_ {
        let rights = &self.keys[key as usize].rights;
        let start = rights.partition_point(|right| right.time < first);
        let found = rights.range(start..).take_while(move |right| right.time <= last);
        found.map(move |right| RightId { key, time: right.time, number: right.number() })
    }

    pub(super) fn right(&self, id: RightId) -> Option<&Right> {
        let rights = &self.keys[id.key as usize].rights;
        let at = rights.partition_point(|right| (right.time, right.number()) < (id.time, id.number));
        rights.get(at).filter(|right| right.time == id.time && right.number() == id.number)
    }

    /// The latest right row of `key` with `at − within <= time <= at`; the greatest tie among those of one time.
    pub(super) fn latest_before(&self, key: KeyIdx, at: EventTime, within_ms: i64) -> Option<&Right> {
        let rights = &self.keys[key as usize].rights;
        let after = rights.partition_point(|right| right.time <= at);
        let latest = rights.get(after.checked_sub(1)?)?;
        (latest.time.0 >= at.0 - within_ms).then_some(latest)
    }

    /// Forgets the right rows with a time before `before`.
    pub(super) fn purge_rights(&mut self, before: EventTime) {
        while let Some(Reverse((time, key_idx))) = self.purges.peek().copied()
            && time < before
        {
            self.purges.pop();
            let key = &mut self.keys[key_idx as usize];
            while key.rights.front().is_some_and(|right| right.time < before) {
                let right = key.rights.pop_front().expect("there is a first one");
                self.n_bytes -= key.bytes.len() + right.bytes.len() + ROW_BYTES;
            }
            self.forget_if_empty(key_idx);
        }
    }

    /// Keeps a left row that came now.
    pub(super) fn add_left(&mut self, key: KeyIdx, time: EventTime, row: &[u8]) -> LeftId {
        let id = (time, self.next_left);
        self.restore_left(id, Left { key, n_emitted: 0, row: row.into(), dirty: Dirty::Row });
        self.dirty_lefts.push(id);
        id
    }

    /// Keeps a left row that has an id already.
    pub(super) fn restore_left(&mut self, id: LeftId, left: Left) {
        let key = &mut self.keys[left.key as usize];
        self.n_bytes += key.bytes.len() + left.row.len() + ROW_BYTES;
        key.lefts.insert(key.lefts.partition_point(|one| *one < id), id);
        self.next_left = self.next_left.max(id.1 + 1);
        self.lefts.insert(id, left);
    }

    pub(super) fn left(&self, id: LeftId) -> Option<&Left> {
        self.lefts.get(&id)
    }

    /// A left row was emitted once more.
    pub(super) fn set_emitted(&mut self, id: LeftId, n_emitted: u32) {
        let Some(left) = self.lefts.get_mut(&id) else { return };
        left.n_emitted = n_emitted;
        if left.dirty == Dirty::Nothing {
            left.dirty = Dirty::Count;
            self.dirty_lefts.push(id);
        }
    }

    /// The left rows of `key` with `first <= time <= last`.
    pub(super) fn lefts_between(&self, key: KeyIdx, first: EventTime, last: EventTime) -> impl Iterator<Item = LeftId> + '_ {
        let lefts = &self.keys[key as usize].lefts;
        let start = lefts.partition_point(|(time, _)| *time < first);
        lefts.range(start..).copied().take_while(move |(time, _)| *time <= last)
    }

    /// The first left row at or after `from`, in the order of (time, arrival).
    pub(super) fn next_left(&self, from: LeftId) -> Option<LeftId> {
        self.lefts.range(from..).next().map(|(id, _)| *id)
    }

    /// Takes out a left row that is final.
    pub(super) fn remove_left(&mut self, id: LeftId) -> Option<Left> {
        let left = self.lefts.remove(&id)?;
        let key = &mut self.keys[left.key as usize];
        self.n_bytes -= key.bytes.len() + left.row.len() + ROW_BYTES;
        // Left rows become final in the order of their ids: it is the first one.
        let at = key.lefts.partition_point(|one| *one < id);
        key.lefts.remove(at);
        self.forget_if_empty(left.key);
        Some(left)
    }

    pub(super) fn lefts(&self) -> impl Iterator<Item = (LeftId, &Left)> {
        self.lefts.iter().map(|(id, left)| (*id, left))
    }

    /// All right rows, each with its key.
    pub(super) fn rights(&self) -> impl Iterator<Item = (&[u8], &Right)> {
        self.keys.iter().flat_map(|key| key.rights.iter().map(|right| (&*key.bytes, right)))
    }

    /// The left rows that changed since the last call and are still there, and what of them changed.
    pub(super) fn take_dirty_lefts(&mut self) -> Vec<(LeftId, Dirty)> {
        let mut taken = Vec::new();
        for id in std::mem::take(&mut self.dirty_lefts) {
            if let Some(left) = self.lefts.get_mut(&id) {
                taken.push((id, std::mem::replace(&mut left.dirty, Dirty::Nothing)));
            }
        }
        taken
    }

    /// The right rows that came since the last call and are still there, each with its key.
    pub(super) fn take_dirty_rights(&mut self) -> Vec<(KeyIdx, Right)> {
        let mut keys = std::mem::take(&mut self.dirty_keys);
        keys.sort_unstable();
        keys.dedup();
        let mut taken = Vec::new();
        for key_idx in keys {
            for right in self.keys[key_idx as usize].rights.iter_mut().filter(|right| right.is_dirty) {
                right.is_dirty = false;
                taken.push((key_idx, right.clone()));
            }
        }
        taken
    }

    /// Bytes of all rows with their keys, and a little for each.
    pub(super) fn n_bytes(&self) -> usize {
        self.n_bytes
    }

    /// Forgets a key without rows, also one that was made for nothing.
    pub(super) fn forget_if_empty(&mut self, key_idx: KeyIdx) {
        let key = &mut self.keys[key_idx as usize];
        if !key.rights.is_empty() || !key.lefts.is_empty() {
            return;
        }
        let hash = HashedKey::new(&key.bytes).hash;
        // Stale purges come here for keys that are forgotten already.
        if let Ok(found) = self.table.find_entry(hash.spread(), |slot| slot.key == key_idx) {
            found.remove();
            *key = Key::default();
            self.free.push(key_idx);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(sides: &mut Sides, key: &[u8], time: i64, tie: &[u8], row: &[u8]) -> Option<(i64, i64)> {
        let key = sides.find_or_insert(key);
        sides.add_right(key, Right::new(EventTime(time), tie, row), 10).map(|(first, last)| (first.0, last.0))
    }

    fn matched(sides: &mut Sides, at: i64) -> Option<Vec<u8>> {
        let key = sides.find_or_insert(b"k");
        sides.latest_before(key, EventTime(at), 10).map(|right| right.row().to_vec())
    }

    #[test]
    fn the_latest_within_the_bound_matches() {
        let mut sides = Sides::default();
        assert_eq!(add(&mut sides, b"k", 5, b"", b"five"), Some((5, 15)));
        assert_eq!(add(&mut sides, b"k", -5, b"", b"minus"), Some((-5, 4)));
        assert_eq!(add(&mut sides, b"other", 6, b"", b"other"), Some((6, 16)));
        for (at, row) in [(-6, None), (-5, Some("minus")), (4, Some("minus")), (5, Some("five")), (15, Some("five")), (16, None)]
        {
            assert_eq!(matched(&mut sides, at), row.map(|row| row.as_bytes().to_vec()), "at {at}");
        }
    }

    #[test]
    fn the_greatest_tie_wins_and_then_the_greatest_row_whatever_came_first() {
        let mut sides = Sides::default();
        assert_eq!(add(&mut sides, b"k", 5, b"b", b"x"), Some((5, 15)));
        assert_eq!(add(&mut sides, b"k", 5, b"a", b"z"), None);
        assert_eq!(add(&mut sides, b"k", 5, b"b", b"y"), Some((5, 15)));
        assert_eq!(add(&mut sides, b"k", 5, b"b", b"y"), None);
        assert_eq!(matched(&mut sides, 5), Some(b"y".to_vec()));
    }

    #[test]
    fn nothing_is_left_of_purged_keys() {
        let mut sides = Sides::default();
        for time in 0..20 {
            add(&mut sides, if time % 2 == 0 { b"k" } else { b"l" }, time, b"", b"row");
        }
        let key = sides.find_or_insert(b"k");
        let id = sides.add_left(key, EventTime(3), b"left");
        sides.purge_rights(EventTime(10));
        assert_eq!(sides.rights().count(), 10);
        sides.purge_rights(EventTime(20));
        assert_eq!((sides.rights().count(), sides.table.len()), (0, 1));
        assert!(sides.remove_left(id).is_some());
        assert_eq!((sides.n_bytes(), sides.table.len(), sides.purges.len()), (0, 0, 0));
        assert_eq!(sides.find_or_insert(b"m"), key);
    }
}
