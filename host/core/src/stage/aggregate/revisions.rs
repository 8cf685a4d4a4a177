//! How often the result of a key in a window was emitted again, for [`crate::plan::Emission::Upsert`].
//!
//! Sparse: a window that has fired emitted every key it holds at least once, so only keys that were emitted again, or before their window
//! fired, are kept, and only until their window is final.

use std::collections::{BTreeMap, BTreeSet};

use crate::time::EventTime;

#[derive(Debug, Default)]
pub(super) struct Revisions {
    /// By window end and key: the last revision that was emitted.
    by_window: BTreeMap<EventTime, BTreeMap<Box<[u8]>, u32>>,
    dirty: BTreeSet<(EventTime, Box<[u8]>)>,
    n_bytes: usize,
}

const REVISION_BYTES: usize = 12;

impl Revisions {
    /// The revision that a key is emitted with next. `has_fired`: it was emitted when its window fired.
    pub(super) fn next(&self, window_end: EventTime, key: &[u8], has_fired: bool) -> u32 {
        self.last(window_end, key).map_or(u32::from(has_fired), |rev| rev + 1)
    }

    fn last(&self, window_end: EventTime, key: &[u8]) -> Option<u32> {
        self.by_window.get(&window_end).and_then(|of_window| of_window.get(key)).copied()
    }

    pub(super) fn set(&mut self, window_end: EventTime, key: &[u8], rev: u32) {
        self.restore(window_end, key, rev);
        self.dirty.insert((window_end, key.into()));
    }

    /// The key was emitted in the window, maybe only when it fired.
    pub(super) fn told(&mut self, window_end: EventTime, key: &[u8]) {
        if self.last(window_end, key).is_none() {
            self.set(window_end, key, 0);
        }
    }

    /// As `set`, for what is already written down.
    pub(super) fn restore(&mut self, window_end: EventTime, key: &[u8], rev: u32) {
        let of_window = self.by_window.entry(window_end).or_default();
        if of_window.insert(key.into(), rev).is_none() {
            self.n_bytes += key.len() + REVISION_BYTES;
        }
    }

    /// Forgets all windows that end at or before `end`.
    pub(super) fn drop_until(&mut self, end: EventTime) {
        while let Some(first) = self.by_window.first_entry()
            && *first.key() <= end
        {
            self.n_bytes -= first.remove().keys().map(|key| key.len() + REVISION_BYTES).sum::<usize>();
        }
        while self.dirty.first().is_some_and(|(window_end, _)| *window_end <= end) {
            self.dirty.pop_first();
        }
    }

    /// What was set since the last call, as (window end, key, revision), in that order.
    pub(super) fn take_dirty(&mut self) -> Vec<(EventTime, Box<[u8]>, u32)> {
        let dirty = std::mem::take(&mut self.dirty);
        let with_rev = |(window_end, key): (EventTime, Box<[u8]>)| self.last(window_end, &key).map(|rev| (window_end, key, rev));
        dirty.into_iter().filter_map(with_rev).collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (EventTime, &[u8], u32)> {
        self.by_window.iter().flat_map(|(window_end, of_window)| of_window.iter().map(|(key, rev)| (*window_end, &**key, *rev)))
    }

    pub(super) fn n_bytes(&self) -> usize {
        self.n_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn final_windows_are_forgotten() {
        let mut revisions = Revisions::default();
        revisions.set(EventTime(10), b"a", 1);
        revisions.set(EventTime(10), b"a", 2);
        revisions.set(EventTime(20), b"a", 1);
        assert_eq!((revisions.next(EventTime(10), b"a", true), revisions.next(EventTime(10), b"b", true)), (3, 1));
        assert_eq!(revisions.next(EventTime(10), b"b", false), 0);
        revisions.drop_until(EventTime(10));
        assert_eq!(revisions.take_dirty(), [(EventTime(20), b"a"[..].into(), 1)]);
        assert_eq!(revisions.take_dirty(), []);
        assert_eq!((revisions.iter().count(), revisions.n_bytes()), (1, 1 + REVISION_BYTES));
    }
}
