//! The open sessions of all keys, in the order of their keys and in the order in which they close.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::time::EventTime;

pub(super) type KeyBytes = Arc<[u8]>;

/// About what a session takes in an image besides its key and its state.
const SESSION_BYTES: usize = 12;

/// One open session of a key.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Open {
    /// The times of its earliest and latest rows.
    pub(super) first: EventTime,
    pub(super) last: EventTime,
    pub(super) state: Vec<u8>,
}

/// A session that was taken out to be emitted.
#[derive(Debug)]
pub(super) struct Closed {
    pub(super) key: KeyBytes,
    pub(super) session: Open,
}

#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// In order of time, more than a gap apart. No key without a session.
    by_key: BTreeMap<KeyBytes, Vec<Open>>,
    /// (last row, key): each session once, since those of one key have different last rows.
    by_last: BTreeSet<(EventTime, KeyBytes)>,
    /// Keys whose sessions changed since they were written, but for those that closed.
    dirty: BTreeSet<KeyBytes>,
    n_bytes: usize,
}

impl Sessions {
    /// The sessions of `key`, in order of time.
    pub(super) fn of_key(&self, key: &[u8]) -> &[Open] {
        self.by_key.get(key).map_or(&[], Vec::as_slice)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&KeyBytes, &[Open])> {
        self.by_key.iter().map(|(key, sessions)| (key, sessions.as_slice()))
    }

    /// Puts `new` in the place of the sessions of `key` that start at one of `swallowed`.
    pub(super) fn replace(&mut self, key: &KeyBytes, swallowed: &[EventTime], new: Open) {
        let mut sessions = self.remove_key(key);
        sessions.retain(|session| !swallowed.contains(&session.first));
        let at = sessions.partition_point(|session| session.first < new.first);
        sessions.insert(at, new);
        self.insert_key(key.clone(), sessions);
        self.dirty.insert(key.clone());
    }

    /// The sessions of `key` are these, as they were written; none: forgets the key.
    pub(super) fn restore(&mut self, key: KeyBytes, sessions: Vec<Open>) {
        self.remove_key(&key);
        if !sessions.is_empty() {
            self.insert_key(key, sessions);
        }
    }

    /// Takes out at most `max` sessions that end before `closed_before`, in the order in which they close.
    pub(super) fn take_closed(&mut self, closed_before: EventTime, gap_ms: i64, max: usize) -> Vec<Closed> {
        let mut closed = Vec::new();
        while closed.len() < max
            && let Some((last, key)) = self.by_last.first().filter(|(last, _)| last.0 + gap_ms < closed_before.0).cloned()
        {
            let mut sessions = self.remove_key(&key);
            let at = sessions.iter().position(|session| session.last == last).expect("both orders hold the same sessions");
            let session = sessions.remove(at);
            if !sessions.is_empty() {
                self.insert_key(key.clone(), sessions);
            }
            closed.push(Closed { key, session });
        }
        closed
    }

    /// The keys whose sessions are to be written.
    pub(super) fn take_dirty(&mut self) -> BTreeSet<KeyBytes> {
        std::mem::take(&mut self.dirty)
    }

    /// About how many bytes an image has. O(1).
    pub(super) fn n_bytes(&self) -> usize {
        self.n_bytes
    }

    fn insert_key(&mut self, key: KeyBytes, sessions: Vec<Open>) {
        self.by_last.extend(sessions.iter().map(|session| (session.last, key.clone())));
        self.n_bytes += n_bytes(&key, &sessions);
        self.by_key.insert(key, sessions);
    }

    fn remove_key(&mut self, key: &KeyBytes) -> Vec<Open> {
        let sessions = self.by_key.remove(key).unwrap_or_default();
        if !sessions.is_empty() {
            self.n_bytes -= n_bytes(key, &sessions);
        }
        for session in &sessions {
            self.by_last.remove(&(session.last, key.clone()));
        }
        sessions
    }
}

fn n_bytes(key: &KeyBytes, sessions: &[Open]) -> usize {
    key.len() + sessions.iter().map(|session| session.state.len() + SESSION_BYTES).sum::<usize>()
}
