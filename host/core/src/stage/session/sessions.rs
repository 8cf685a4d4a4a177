//! The open sessions of all keys, by key and by when something is due.
//!
//! Where something cuts sessions, a key has *parts*: what belongs together for sure. Rows of one ms are a part until none can come before or at
//! them any more; then they join the part before them, which is an open session, or begin one.

use std::collections::BTreeMap;

use super::extent::{Extent, Rules};
use crate::{
    column::Packed,
    stage::keys::{KeyIdx, Keys},
    time::EventTime,
};

/// For how many parts a key that has none may have room: most of them have as few again.
const ROOM_PARTS: usize = 4;

/// About what a part takes in an image besides its key and its state.
const PART_BYTES: usize = 12;

/// An open session of a key, or a part of one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part {
    pub(super) extent: Extent,
    pub(super) state: Vec<u8>,
}

/// Parts that were taken out because something is due.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub(super) keys: Packed,
    /// For each key: where its parts end.
    pub(super) ends: Vec<usize>,
    /// Those of a key in order of time.
    pub(super) parts: Vec<Part>,
}

#[derive(Debug)]
struct OfKey {
    /// Once no row up to this ms can come any more, something is to be done.
    due: EventTime,
    /// Where the key stands in the queue: not behind `due`. What is of it in other places is void.
    queued: Option<EventTime>,
    /// In order of time, more than the reach of the rules apart.
    parts: Vec<Part>,
    /// Whether the parts changed since they were written, but for sessions that closed of their own. Then the key is kept without parts, too.
    is_dirty: bool,
}

impl Default for OfKey {
    fn default() -> OfKey {
        OfKey { due: EventTime::MAX, queued: None, parts: Vec::new(), is_dirty: false }
    }
}

#[derive(Debug)]
pub(super) struct Sessions {
    rules: Rules,
    keys: Keys<OfKey>,
    /// A key moves in it when something is due earlier than it stands there, or when its place is looked at: not with each row.
    queue: BTreeMap<EventTime, Vec<KeyIdx>>,
    /// No row before this can come any more.
    settled_before: EventTime,
    /// In the order in which they became so.
    dirty: Vec<KeyIdx>,
    n_bytes: usize,
}

impl Sessions {
    pub(super) fn new(rules: Rules) -> Sessions {
        Sessions {
            rules,
            keys: Keys::default(),
            queue: BTreeMap::new(),
            settled_before: EventTime(i64::MIN),
            dirty: Vec::new(),
            n_bytes: 0,
        }
    }

    /// The key's index; it is made if need be, and is to be given to [`Sessions::forget_vacant`] if it gets no part.
    pub(super) fn find_or_insert(&mut self, key: &[u8]) -> KeyIdx {
        self.keys.find_or_insert(key)
    }

    /// The parts of a key, in order of time.
    pub(super) fn parts(&self, key: KeyIdx) -> &[Part] {
        &self.keys.kept(key).parts
    }

    /// The part of a key that starts at `first`. Panics if there is none.
    pub(super) fn part(&self, key: KeyIdx, first: EventTime) -> &Part {
        self.parts(key).iter().find(|part| part.extent.first == first).expect("a session that is there")
    }

    /// The parts of the key with these bytes, in order of time.
    pub(super) fn of_key(&self, key: &[u8]) -> &[Part] {
        self.keys.find(key).map_or(&[], |key| self.parts(key))
    }

    /// All keys with their parts, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &[Part])> {
        let all = self.keys.iter().map(|(key, of_key)| (key, of_key.parts.as_slice()));
        all.filter(|(_, parts)| !parts.is_empty())
    }

    /// The same, in the order of the keys. O(n log n).
    pub(super) fn sorted(&self) -> Vec<(&[u8], &[Part])> {
        let mut all: Vec<_> = self.iter().collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        all
    }

    /// Puts `new` in the place of the parts of `key` that start at one of `swallowed`.
    pub(super) fn replace(&mut self, key: KeyIdx, swallowed: &[EventTime], new: Part) {
        self.n_bytes -= self.bytes_of(key);
        let parts = &mut self.keys.kept_mut(key).parts;
        match parts.as_mut_slice() {
            [only] if swallowed.contains(&only.extent.first) => *only = new,
            _ => {
                parts.retain(|part| !swallowed.contains(&part.extent.first));
                let at = parts.partition_point(|part| part.extent.first < new.extent.first);
                parts.insert(at, new);
            }
        }
        self.n_bytes += self.bytes_of(key);
        self.set_dirty(key);
        self.queue_up(key);
    }

    /// Puts `state` in the place of that of the part of `key` that starts at `first`. Panics if there is none.
    pub(super) fn set_state(&mut self, key: &[u8], first: EventTime, state: &[u8]) {
        let key = self.keys.find(key).expect("a key that is there");
        let parts = &mut self.keys.kept_mut(key).parts;
        let part = parts.iter_mut().find(|part| part.extent.first == first).expect("a session that is there");
        self.n_bytes = self.n_bytes + state.len() - part.state.len();
        part.state = state.to_vec();
        self.set_dirty(key);
    }

    /// The parts of `key` are these, as they were written; none: forgets the key.
    pub(super) fn restore(&mut self, key: &[u8], parts: Vec<Part>) {
        let key = self.keys.find_or_insert(key);
        self.n_bytes -= self.bytes_of(key);
        self.keys.kept_mut(key).parts = parts;
        self.n_bytes += self.bytes_of(key);
        self.queue_up(key);
        self.forget_vacant(key);
    }

    /// Forgets a key of which there is nothing.
    pub(super) fn forget_vacant(&mut self, key: KeyIdx) {
        let of_key = self.keys.kept(key);
        if of_key.parts.is_empty() && !of_key.is_dirty {
            self.keys.kept_mut(key).parts.shrink_to(ROOM_PARTS);
            self.keys.forget(key);
        }
    }

    /// No row before `at` can come any more. Said before anything that is due by then is taken.
    pub(super) fn settle(&mut self, at: EventTime) {
        self.settled_before = at;
    }

    /// Takes out about `max` parts with which something is to be done, in the order in which it is due, and of their keys: sessions that close, or
    /// all settled parts of a key.
    pub(super) fn take_due(&mut self, max: usize) -> Due {
        let mut all = Due::default();
        while all.parts.len() < max
            && let Some(first) = self.queue.first_entry().filter(|first| *first.key() < self.settled_before)
        {
            let (at, mut keys) = first.remove_entry();
            keys.retain(|key| self.is_due(*key, at));
            keys.sort_unstable_by(|a, b| self.keys.bytes(*a).cmp(self.keys.bytes(*b)));
            keys.into_iter().for_each(|key| self.take_parts(key, &mut all));
        }
        all
    }

    /// Gives each key whose parts are to be written, with all of its parts. None are left: only where something cuts sessions, as otherwise all
    /// of them closed of their own.
    pub(super) fn take_dirty(&mut self, mut write: impl FnMut(&[u8], &[Part])) {
        for key in std::mem::take(&mut self.dirty) {
            let of_key = self.keys.kept_mut(key);
            of_key.is_dirty = false;
            if !of_key.parts.is_empty() || self.rules.has_cuts() {
                write(self.keys.bytes(key), self.parts(key));
            }
            self.forget_vacant(key);
        }
    }

    /// About how many bytes an image has. O(1).
    pub(super) fn n_bytes(&self) -> usize {
        self.n_bytes
    }

    /// Of a key's parts: what is still unsettled is due when it is settled, a session when it closes.
    fn due(&self, parts: &[Part]) -> EventTime {
        let closes = self.rules.open_until(&parts[0].extent);
        if !self.rules.has_cuts() {
            return closes;
        }
        match parts[0].extent.last < self.settled_before {
            true => parts.get(1).map_or(closes, |next| closes.min(next.extent.last)),
            false => parts[0].extent.last,
        }
    }

    fn set_dirty(&mut self, key: KeyIdx) {
        if !std::mem::replace(&mut self.keys.kept_mut(key).is_dirty, true) {
            self.dirty.push(key);
        }
    }

    /// The parts of `key` have changed: it must stand in the queue no later than something is due.
    fn queue_up(&mut self, key: KeyIdx) {
        if self.parts(key).is_empty() {
            return self.keys.kept_mut(key).queued = None;
        }
        let due = self.due(self.parts(key));
        let of_key = self.keys.kept_mut(key);
        of_key.due = due;
        if of_key.queued.is_none_or(|queued| due < queued) {
            of_key.queued = Some(due);
            self.queue.entry(due).or_default().push(key);
        }
    }

    /// Whether something is to be done with a key that stood in the queue at `at`. If it is due later, it stands there now.
    fn is_due(&mut self, key: KeyIdx, at: EventTime) -> bool {
        let of_key = self.keys.kept_mut(key);
        if of_key.queued != Some(at) {
            return false;
        }
        of_key.queued = None;
        if of_key.due <= at {
            return true;
        }
        of_key.queued = Some(of_key.due);
        self.queue.entry(of_key.due).or_default().push(key);
        false
    }

    /// Moves the parts of `key` that are due to `all`.
    fn take_parts(&mut self, key: KeyIdx, all: &mut Due) {
        self.n_bytes -= self.bytes_of(key);
        let of_key = self.keys.kept_mut(key);
        let n_due = match self.rules.has_cuts() {
            true => of_key.parts.partition_point(|part| part.extent.last < self.settled_before),
            false => 1,
        };
        all.parts.extend(of_key.parts.drain(..n_due));
        all.ends.push(all.parts.len());
        all.keys.push(self.keys.bytes(key));
        self.n_bytes += self.bytes_of(key);
        if self.rules.has_cuts() {
            self.set_dirty(key);
        }
        self.queue_up(key);
        self.forget_vacant(key);
    }

    fn bytes_of(&self, key: KeyIdx) -> usize {
        match self.parts(key) {
            [] => 0,
            parts => self.keys.bytes(key).len() + parts.iter().map(|part| part.state.len() + PART_BYTES).sum::<usize>(),
        }
    }
}
