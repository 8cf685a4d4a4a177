//! The open sessions of all keys, in the order of their keys and in the order in which something is due.
//!
//! Where something cuts sessions, a key has *parts*: what belongs together for sure. Rows of one ms are a part until none can come before or at
//! them any more; then they join the part before them, which is an open session, or begin one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::extent::{Extent, Rules};
use crate::time::EventTime;

pub(super) type KeyBytes = Arc<[u8]>;

/// About what a part takes in an image besides its key and its state.
const PART_BYTES: usize = 12;

/// An open session of a key, or a part of one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part {
    pub(super) extent: Extent,
    pub(super) state: Vec<u8>,
}

/// The parts of a key that were taken out because something is due, in order of time.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) key: KeyBytes,
    pub(super) parts: Vec<Part>,
}

#[derive(Debug)]
struct OfKey {
    /// Once no row up to this ms can come any more, something is to be done.
    due: EventTime,
    /// In order of time, more than the reach of the rules apart.
    parts: Vec<Part>,
}

#[derive(Debug)]
pub(super) struct Sessions {
    rules: Rules,
    /// No key without a part.
    by_key: BTreeMap<KeyBytes, OfKey>,
    by_due: BTreeSet<(EventTime, KeyBytes)>,
    /// No row before this can come any more.
    settled_before: EventTime,
    /// Keys whose parts changed since they were written, but for sessions that closed of their own.
    dirty: BTreeSet<KeyBytes>,
    n_bytes: usize,
}

impl Sessions {
    pub(super) fn new(rules: Rules) -> Sessions {
        Sessions {
            rules,
            by_key: BTreeMap::new(),
            by_due: BTreeSet::new(),
            settled_before: EventTime(i64::MIN),
            dirty: BTreeSet::new(),
            n_bytes: 0,
        }
    }

    /// The parts of `key`, in order of time.
    pub(super) fn of_key(&self, key: &[u8]) -> &[Part] {
        self.by_key.get(key).map_or(&[], |of_key| of_key.parts.as_slice())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&KeyBytes, &[Part])> {
        self.by_key.iter().map(|(key, of_key)| (key, of_key.parts.as_slice()))
    }

    /// Puts `new` in the place of the parts of `key` that start at one of `swallowed`.
    pub(super) fn replace(&mut self, key: &KeyBytes, swallowed: &[EventTime], new: Part) {
        let mut parts = self.remove_key(key);
        parts.retain(|part| !swallowed.contains(&part.extent.first));
        let at = parts.partition_point(|part| part.extent.first < new.extent.first);
        parts.insert(at, new);
        self.insert_key(key.clone(), parts);
        self.dirty.insert(key.clone());
    }

    /// Puts `state` in the place of that of the part of `key` that starts at `first`. Panics if there is none.
    pub(super) fn set_state(&mut self, key: &KeyBytes, first: EventTime, state: &[u8]) {
        let parts = self.by_key.get_mut(key).into_iter().flat_map(|of_key| &mut of_key.parts);
        let part = parts.into_iter().find(|part| part.extent.first == first).expect("a session that is there");
        self.n_bytes = self.n_bytes + state.len() - part.state.len();
        part.state = state.to_vec();
        self.dirty.insert(key.clone());
    }

    /// The parts of `key` are these, as they were written; none: forgets the key.
    pub(super) fn restore(&mut self, key: KeyBytes, parts: Vec<Part>) {
        self.remove_key(&key);
        if !parts.is_empty() {
            self.insert_key(key, parts);
        }
    }

    /// No row before `at` can come any more. Said before anything that is due by then is taken.
    pub(super) fn settle(&mut self, at: EventTime) {
        self.settled_before = at;
    }

    /// Takes out about `max` parts with which something is to be done, in the order in which it is due: sessions that close, or all settled parts
    /// of a key.
    pub(super) fn take_due(&mut self, max: usize) -> Vec<Due> {
        let (mut all, mut n_parts) = (Vec::new(), 0);
        while n_parts < max
            && let Some((_, key)) = self.by_due.first().filter(|(due, _)| *due < self.settled_before).cloned()
        {
            let mut parts = self.remove_key(&key);
            let n_due = match self.rules.has_cuts() {
                true => parts.partition_point(|part| part.extent.last < self.settled_before),
                false => 1,
            };
            let rest = parts.split_off(n_due);
            if !rest.is_empty() {
                self.insert_key(key.clone(), rest);
            }
            if self.rules.has_cuts() {
                self.dirty.insert(key.clone());
            }
            n_parts += n_due;
            all.push(Due { key, parts });
        }
        all
    }

    /// The keys whose parts are to be written.
    pub(super) fn take_dirty(&mut self) -> BTreeSet<KeyBytes> {
        std::mem::take(&mut self.dirty)
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

    fn insert_key(&mut self, key: KeyBytes, parts: Vec<Part>) {
        let due = self.due(&parts);
        self.by_due.insert((due, key.clone()));
        self.n_bytes += n_bytes(&key, &parts);
        self.by_key.insert(key, OfKey { due, parts });
    }

    fn remove_key(&mut self, key: &KeyBytes) -> Vec<Part> {
        let Some(OfKey { due, parts }) = self.by_key.remove(key) else { return Vec::new() };
        self.n_bytes -= n_bytes(key, &parts);
        self.by_due.remove(&(due, key.clone()));
        parts
    }
}

fn n_bytes(key: &KeyBytes, parts: &[Part]) -> usize {
    key.len() + parts.iter().map(|part| part.state.len() + PART_BYTES).sum::<usize>()
}
