//! The keys with their states, and the order in which they end.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::telling::Unit;
use crate::{
    stage::Revision,
    time::{EventTime, Window},
};

pub(super) type KeyBytes = Arc<[u8]>;

/// About what a key takes in an image besides its bytes and its state.
const KEY_BYTES: usize = 18;

/// What is kept of one key.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kept {
    /// Empty: the key began anew, and only how often it was told is known.
    pub(super) state: Vec<u8>,
    /// The earliest and the latest row in the state.
    pub(super) first: EventTime,
    pub(super) last: EventTime,
    /// How many rows came since it was told last.
    pub(super) n_new: u64,
    /// How often it was told.
    pub(super) n_told: u32,
}

#[derive(Debug, Default)]
pub(super) struct Keys {
    entries: BTreeMap<KeyBytes, Kept>,
    by_last: BTreeSet<(EventTime, KeyBytes)>,
    /// Keys with rows since they were told last.
    changed: BTreeSet<KeyBytes>,
    /// Keys to be written: what is kept of them, or that nothing is.
    dirty: BTreeSet<KeyBytes>,
    n_bytes: usize,
}

impl Keys {
    pub(super) fn kept(&self, key: &[u8]) -> Option<&Kept> {
        self.entries.get(key)
    }

    /// The state of `key`; empty: none.
    pub(super) fn state(&self, key: &[u8]) -> &[u8] {
        self.entries.get(key).map_or(&[], |kept| &kept.state)
    }

    /// The time of the last row of a key that is there.
    pub(super) fn last(&self, key: &[u8]) -> EventTime {
        self.entries[key].last
    }

    /// `n_rows` of `key` were added, from `first` to `last`, which gave `state`.
    pub(super) fn add(&mut self, key: &KeyBytes, state: &[u8], (first, last): (EventTime, EventTime), n_rows: u64) {
        let new = match self.take_out(key) {
            Some(kept) if kept.state.is_empty() => {
                Kept { state: state.to_vec(), first, last, n_new: n_rows, n_told: kept.n_told }
            }
            Some(kept) => Kept {
                state: state.to_vec(),
                first: kept.first.min(first),
                last: kept.last.max(last),
                n_new: kept.n_new + n_rows,
                n_told: kept.n_told,
            },
            None => Kept { state: state.to_vec(), first, last, n_new: n_rows, n_told: 0 },
        };
        self.put_in(key, new);
    }

    /// Puts `state` in the place of that of `key`, which is there.
    pub(super) fn set_state(&mut self, key: &KeyBytes, state: &[u8]) {
        let kept = self.take_out(key).expect("a key that is there");
        self.put_in(key, Kept { state: state.to_vec(), ..kept });
    }

    /// The next result of `key`, which is there: it counts as told. The last one of it if it `ends`.
    pub(super) fn tell(&mut self, key: KeyBytes, at: EventTime, ends: bool) -> Unit {
        let kept = self.take_out(&key).expect("a key that is there is told");
        let unit = Unit {
            window: Window::new(kept.first, EventTime(kept.last.0 + 1)),
            at,
            revision: Revision { rev: kept.n_told, is_final: ends },
            key,
        };
        self.put_in(&unit.key, Kept { n_new: 0, n_told: kept.n_told + 1, ..kept });
        unit
    }

    /// Nothing is kept of `key` any more.
    pub(super) fn remove(&mut self, key: &KeyBytes) {
        if self.take_out(key).is_some() {
            self.dirty.insert(key.clone());
        }
    }

    /// The first keys whose last row lies before `time`, at most `max`. Those that began anew, and got no row since, are forgotten.
    pub(super) fn ended(&mut self, time: EventTime, max: usize) -> Vec<KeyBytes> {
        let (mut ended, mut vacant) = (Vec::new(), Vec::new());
        for (_, key) in self.by_last.iter().take_while(|(last, _)| *last < time) {
            match self.entries[key].state.is_empty() {
                true => vacant.push(key.clone()),
                false if ended.len() == max => break,
                false => ended.push(key.clone()),
            }
        }
        vacant.iter().for_each(|key| self.remove(key));
        ended
    }

    /// The first keys with rows since they were told last, at most `max`.
    pub(super) fn changed(&self, max: usize) -> Vec<KeyBytes> {
        self.changed.iter().take(max).cloned().collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&KeyBytes, &Kept)> {
        self.entries.iter()
    }

    /// Forgets all states, but not how often those keys were told that go on.
    pub(super) fn forget_states(&mut self, goes_on: bool) {
        let keys: Vec<KeyBytes> = self.entries.keys().cloned().collect();
        for key in keys {
            let kept = self.take_out(&key).expect("it was just there");
            self.dirty.insert(key.clone());
            if goes_on && kept.n_told > 0 {
                self.put_in(&key, Kept { state: Vec::new(), n_new: 0, ..kept });
            }
        }
    }

    /// What is kept of `key`, as it was written; `None`: nothing.
    pub(super) fn restore(&mut self, key: KeyBytes, kept: Option<Kept>) {
        self.take_out(&key);
        if let Some(kept) = kept {
            self.put_in(&key, kept);
        }
        self.dirty.remove(&key);
    }

    pub(super) fn take_dirty(&mut self) -> BTreeSet<KeyBytes> {
        std::mem::take(&mut self.dirty)
    }

    /// About how many bytes an image has. O(1).
    pub(super) fn n_bytes(&self) -> usize {
        self.n_bytes
    }

    fn take_out(&mut self, key: &KeyBytes) -> Option<Kept> {
        let kept = self.entries.remove(key)?;
        self.n_bytes -= n_bytes(key, &kept);
        self.by_last.remove(&(kept.last, key.clone()));
        self.changed.remove(key);
        Some(kept)
    }

    fn put_in(&mut self, key: &KeyBytes, kept: Kept) {
        self.n_bytes += n_bytes(key, &kept);
        self.by_last.insert((kept.last, key.clone()));
        if kept.n_new > 0 {
            self.changed.insert(key.clone());
        }
        self.dirty.insert(key.clone());
        self.entries.insert(key.clone(), kept);
    }
}

fn n_bytes(key: &KeyBytes, kept: &Kept) -> usize {
    KEY_BYTES + key.len() + kept.state.len()
}
