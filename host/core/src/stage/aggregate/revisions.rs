//! How often the result of a key in a window was emitted again, for [`crate::plan::Emission::Upsert`].
//!
//! Sparse: a window that has fired emitted every key it holds at least once, so only keys that were emitted again, or before their window
//! fired, are kept, and only until their window is final.

use std::collections::{BTreeMap, BTreeSet};

use crate::time::{EventTime, Window};

#[derive(Debug, Default)]
pub(super) struct Revisions {
    /// By window and key: the last revision that was emitted.
    by_window: BTreeMap<Window, BTreeMap<Box<[u8]>, u32>>,
    dirty: BTreeSet<(Window, Box<[u8]>)>,
    n_bytes: usize,
}

const REVISION_BYTES: usize = 12;

impl Revisions {
    /// The revision that a key is emitted with next. `has_fired`: it was emitted when its window fired.
    pub(super) fn next(&self, window: Window, key: &[u8], has_fired: bool) -> u32 {
        self.last(window, key).map_or(u32::from(has_fired), |rev| rev + 1)
    }

    fn last(&self, window: Window, key: &[u8]) -> Option<u32> {
        self.by_window.get(&window).and_then(|of_window| of_window.get(key)).copied()
    }

    pub(super) fn set(&mut self, window: Window, key: &[u8], rev: u32) {
        self.restore(window, key, rev);
        self.dirty.insert((window, key.into()));
    }

    /// The key was emitted in the window, maybe only when it fired.
    pub(super) fn told(&mut self, window: Window, key: &[u8]) {
        if self.last(window, key).is_none() {
            self.set(window, key, 0);
        }
    }

    /// As `set`, for what is already written down.
    pub(super) fn restore(&mut self, window: Window, key: &[u8], rev: u32) {
        let of_window = self.by_window.entry(window).or_default();
        if of_window.insert(key.into(), rev).is_none() {
            self.n_bytes += key.len() + REVISION_BYTES;
        }
    }

    /// Forgets all windows that end at or before `end`: they are the first ones.
    pub(super) fn drop_until(&mut self, end: EventTime) {
        while let Some(first) = self.by_window.first_entry()
            && first.key().end() <= end
        {
            self.n_bytes -= first.remove().keys().map(|key| key.len() + REVISION_BYTES).sum::<usize>();
        }
        while self.dirty.first().is_some_and(|(window, _)| window.end() <= end) {
            self.dirty.pop_first();
        }
    }

    /// What was set since the last call, as (window, key, revision), in that order.
    pub(super) fn take_dirty(&mut self) -> Vec<(Window, Box<[u8]>, u32)> {
        let dirty = std::mem::take(&mut self.dirty);
        let with_rev = |(window, key): (Window, Box<[u8]>)| self.last(window, &key).map(|rev| (window, key, rev));
        dirty.into_iter().filter_map(with_rev).collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Window, &[u8], u32)> {
        self.by_window.iter().flat_map(|(window, of_window)| of_window.iter().map(|(key, rev)| (*window, &**key, *rev)))
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
        let [first, same_end, later] =
            [(0, 10), (5, 10), (5, 20)].map(|(start, end)| Window::new(EventTime(start), EventTime(end)));
        revisions.set(first, b"a", 1);
        revisions.set(first, b"a", 2);
        revisions.set(same_end, b"a", 7);
        revisions.set(later, b"a", 1);
        assert_eq!((revisions.next(first, b"a", true), revisions.next(first, b"b", true)), (3, 1));
        assert_eq!(revisions.next(same_end, b"a", true), 8);
        assert_eq!(revisions.next(first, b"b", false), 0);
        revisions.drop_until(EventTime(10));
        assert_eq!(revisions.take_dirty(), [(later, b"a"[..].into(), 1)]);
        assert_eq!(revisions.take_dirty(), []);
        assert_eq!((revisions.iter().count(), revisions.n_bytes()), (1, 1 + REVISION_BYTES));
    }
}
