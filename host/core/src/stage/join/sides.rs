//! What a latest-before join keeps: right rows by key, and left rows until they are final.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
};

use crate::{
    stage::keys::{KeyIdx, Keys},
    time::EventTime,
};

/// A left row: its time, and a number that rises in the order in which left rows came.
pub(super) type LeftId = (EventTime, u64);

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

/// The rows of a key.
#[derive(Debug, Default)]
struct OfKey {
    /// Sorted by (time, tie, row), each different.
    rights: VecDeque<Right>,
    /// Sorted.
    lefts: VecDeque<LeftId>,
}

#[derive(Debug, Default)]
pub(super) struct Sides {
    keys: Keys<OfKey>,
    lefts: BTreeMap<LeftId, Left>,
    next_left: u64,
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
        self.keys.find_or_insert(key)
    }

    pub(super) fn key(&self, key: KeyIdx) -> &[u8] {
        self.keys.bytes(key)
    }

    /// Keeps a right row. Returns the times of the left rows that it is now the match of, first and last, if there can be any.
    pub(super) fn add_right(&mut self, key_idx: KeyIdx, right: Right, within_ms: i64) -> Option<(EventTime, EventTime)> {
        let key_len = self.keys.bytes(key_idx).len();
        let key = self.keys.kept_mut(key_idx);
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
        self.n_bytes += key_len + right.bytes.len() + ROW_BYTES;
        key.rights.insert(at, right);
        self.purges.push(Reverse((time, key_idx)));
        (time.0 <= last).then_some((time, EventTime(last)))
    }

    /// The latest right row of `key` with `at − within <= time <= at`; the greatest tie among those of one time.
    pub(super) fn latest_before(&self, key: KeyIdx, at: EventTime, within_ms: i64) -> Option<&Right> {
        let rights = &self.keys.kept(key).rights;
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
            let key_len = self.keys.bytes(key_idx).len();
            let key = self.keys.kept_mut(key_idx);
            while key.rights.front().is_some_and(|right| right.time < before) {
                let right = key.rights.pop_front().expect("there is a first one");
                self.n_bytes -= key_len + right.bytes.len() + ROW_BYTES;
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
        self.n_bytes += self.keys.bytes(left.key).len() + left.row.len() + ROW_BYTES;
        let key = self.keys.kept_mut(left.key);
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
        let lefts = &self.keys.kept(key).lefts;
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
        self.n_bytes -= self.keys.bytes(left.key).len() + left.row.len() + ROW_BYTES;
        let key = self.keys.kept_mut(left.key);
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
        self.keys.iter().flat_map(|(key, rows)| rows.rights.iter().map(move |right| (key, right)))
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
            for right in self.keys.kept_mut(key_idx).rights.iter_mut().filter(|right| right.is_dirty) {
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
        let OfKey { rights, lefts } = self.keys.kept(key_idx);
        if rights.is_empty() && lefts.is_empty() {
            let of_key = self.keys.kept_mut(key_idx);
            (of_key.rights, of_key.lefts) = (VecDeque::new(), VecDeque::new());
            // Stale purges come here for keys that are forgotten already.
            self.keys.forget(key_idx);
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
        assert_eq!((sides.rights().count(), sides.keys.len()), (0, 1));
        assert!(sides.remove_left(id).is_some());
        assert_eq!((sides.n_bytes(), sides.keys.len(), sides.purges.len()), (0, 0, 0));
        assert_eq!(sides.find_or_insert(b"m"), key);
    }
}
