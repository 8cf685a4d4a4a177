//! The keys with their states and timers, and the order in which they are due.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{FIRINGS_MAX, TIMERS_MAX};
use crate::{
    plugin::{Clock, PluginFault, Timer, TimerChange},
    time::EventTime,
};

pub(super) type KeyBytes = Arc<[u8]>;

/// About what a key takes in an image besides its bytes, its state and its timers; and what a timer takes.
const KEY_BYTES: usize = 12;
const TIMER_BYTES: usize = 8;

/// What is kept of one key. There is a state, or a timer, or both.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kept {
    /// Empty: none.
    pub(super) state: Vec<u8>,
    /// The greatest event time of its rows.
    pub(super) last: EventTime,
    pub(super) timers: BTreeSet<Timer>,
}

#[derive(Debug)]
struct Entry {
    kept: Kept,
    /// The step in which its timers fired last, and how many did.
    fired: (u64, usize),
}

/// A timer that is due. Its key stands in no queue until [`Keys::put_after_timer`] or [`Keys::put_without_timer`].
#[derive(Debug)]
pub(super) struct Due {
    pub(super) key: KeyBytes,
    pub(super) timer: Timer,
    /// Too many timers of the key have fired in this step: this one does not, nor do all others that are due.
    pub(super) is_runaway: bool,
}

#[derive(Debug)]
pub(super) struct Keys {
    ttl_ms: Option<i64>,
    entries: BTreeMap<KeyBytes, Entry>,
    /// (when the key's first event-time timer fires or the key is forgotten, the key).
    by_event_time: BTreeSet<(i64, KeyBytes)>,
    /// (when the key's first wall-clock timer fires, the key).
    by_wall_time: BTreeSet<(i64, KeyBytes)>,
    /// Keys to be written: what is kept of them, or that nothing is.
    dirty: BTreeSet<KeyBytes>,
    /// Whether all keys were forgotten since the last write, before what is dirty.
    is_emptied: bool,
    step: u64,
    n_bytes: usize,
}

impl Kept {
    /// When the key is forgotten: the first watermark that is past its last row by more than the time to live.
    fn expiry(&self, ttl_ms: Option<i64>) -> Option<i64> {
        ttl_ms.map(|ttl_ms| self.last.0.saturating_add(ttl_ms).saturating_add(1))
    }

    fn first(&self, clock: Clock) -> Option<Timer> {
        let from = Timer { clock, at: i64::MIN };
        self.timers.range(from..).next().copied().filter(|timer| timer.clock == clock)
    }

    fn n_bytes(&self, key: &KeyBytes) -> usize {
        KEY_BYTES + key.len() + self.state.len() + TIMER_BYTES * self.timers.len()
    }
}

impl Keys {
    pub(super) fn new(ttl_ms: Option<i64>) -> Keys {
        Keys {
            ttl_ms,
            entries: BTreeMap::new(),
            by_event_time: BTreeSet::new(),
            by_wall_time: BTreeSet::new(),
            dirty: BTreeSet::new(),
            is_emptied: false,
            step: 0,
            n_bytes: 0,
        }
    }

    /// The state of `key`; empty: none.
    pub(super) fn state(&self, key: &KeyBytes) -> &[u8] {
        self.entries.get(key).map_or(&[], |entry| &entry.kept.state)
    }

    /// The timers of `key` after `changes`. Refuses what would be too many.
    pub(super) fn changed(&self, key: &KeyBytes, changes: &[TimerChange]) -> Result<BTreeSet<Timer>, PluginFault> {
        let mut timers = self.entries.get(key).map_or_else(BTreeSet::new, |entry| entry.kept.timers.clone());
        for TimerChange { is_set, timer, .. } in changes {
            if *is_set {
                timers.insert(*timer)
            } else {
                timers.remove(timer)
            };
        }
        if timers.len() > TIMERS_MAX { Err(PluginFault::Timers { limit: TIMERS_MAX }) } else { Ok(timers) }
    }

    /// What `key` keeps from now on, after rows of which the last one has the time `last`. To be followed by [`Keys::settle`] when the
    /// batch is through, and not before: whether a key is forgotten between two rows of a batch must not depend on how it is cut into calls.
    pub(super) fn put(&mut self, key: &KeyBytes, state: &[u8], last: EventTime, timers: BTreeSet<Timer>) {
        self.take_out(key);
        let last = self.entries.get(key).map_or(last, |entry| entry.kept.last.max(last));
        let fired = self.entries.get(key).map_or((0, 0), |entry| entry.fired);
        self.entries.insert(key.clone(), Entry { kept: Kept { state: state.to_vec(), last, timers }, fired });
        self.put_back(key);
    }

    /// Puts `state` in the place of that of `key`, which is there.
    pub(super) fn set_state(&mut self, key: &KeyBytes, state: &[u8]) {
        self.take_out(key);
        self.entries.get_mut(key).expect("a key that is there").kept.state = state.to_vec();
        self.put_back(key);
        self.settle(key);
    }

    /// What `key`, of which a timer was due, keeps from now on.
    pub(super) fn put_after_timer(&mut self, key: &KeyBytes, state: &[u8], timers: BTreeSet<Timer>) {
        let kept = &mut self.entries.get_mut(key).expect("a key stays while its timer is due").kept;
        (kept.state, kept.timers) = (state.to_vec(), timers);
        self.put_back(key);
        self.settle(key);
    }

    /// Nothing is kept of `key` where there is nothing to keep.
    pub(super) fn settle(&mut self, key: &KeyBytes) {
        if self.entries.get(key).is_some_and(|entry| entry.kept.state.is_empty() && entry.kept.timers.is_empty()) {
            self.take_out(key);
            self.entries.remove(key);
        }
    }

    /// The timer of `key` that was due is lost.
    pub(super) fn put_without_timer(&mut self, key: &KeyBytes) {
        self.put_back(key);
        self.settle(key);
    }

    /// `key` may be due again.
    fn put_back(&mut self, key: &KeyBytes) {
        let kept = &self.entries[key].kept;
        self.dirty.insert(key.clone());
        self.n_bytes += kept.n_bytes(key);
        self.by_event_time.extend(next_event(kept, self.ttl_ms).map(|at| (at, key.clone())));
        self.by_wall_time.extend(kept.first(Clock::WallTime).map(|timer| (timer.at, key.clone())));
    }

    /// When something happens next by event time: a timer fires, or a key is forgotten.
    pub(super) fn first_due(&self) -> Option<i64> {
        self.by_event_time.first().map(|(at, _)| *at)
    }

    /// Time goes on, or rows come: timers may fire again.
    pub(super) fn begin_step(&mut self) {
        self.step += 1;
    }

    /// Takes at most `max` timers of `clock` that are due at `until`, in the order of their times, of each key the first one. Forgets the
    /// keys whose time is over before that.
    pub(super) fn take_due(&mut self, clock: Clock, until: i64, max: usize) -> Vec<Due> {
        let mut due = Vec::new();
        while due.len() < max {
            let queue = match clock {
                Clock::EventTime => &self.by_event_time,
                Clock::WallTime => &self.by_wall_time,
            };
            let Some((at, key)) = queue.first().filter(|(at, _)| *at <= until).cloned() else { break };
            self.take_out(&key);
            let entry = self.entries.get_mut(&key).expect("what is in a queue is kept");
            let Some(timer) =
                entry.kept.first(clock).filter(|timer| timer.at == at && !is_over(&entry.kept, self.ttl_ms, *timer))
            else {
                self.entries.remove(&key);
                self.dirty.insert(key);
                continue;
            };
            let n_fired = if entry.fired.0 == self.step { entry.fired.1 } else { 0 };
            entry.fired = (self.step, n_fired + 1);
            let is_runaway = n_fired >= FIRINGS_MAX;
            entry.kept.timers.retain(|other| *other != timer && !(is_runaway && other.clock == clock && other.at <= until));
            due.push(Due { key, timer, is_runaway });
        }
        due
    }

    /// Nothing is kept of any key.
    pub(super) fn forget_all(&mut self) {
        self.is_emptied |= !(self.entries.is_empty() && self.dirty.is_empty());
        self.clear();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&KeyBytes, &Kept)> {
        self.entries.iter().map(|(key, entry)| (key, &entry.kept))
    }

    pub(super) fn kept(&self, key: &KeyBytes) -> Option<&Kept> {
        self.entries.get(key).map(|entry| &entry.kept)
    }

    /// Whether all keys were forgotten since the last write, and which ones changed after that.
    pub(super) fn take_dirty(&mut self) -> (bool, BTreeSet<KeyBytes>) {
        (std::mem::take(&mut self.is_emptied), std::mem::take(&mut self.dirty))
    }

    /// Nothing is kept of any key, as it was written.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.by_event_time.clear();
        self.by_wall_time.clear();
        self.dirty.clear();
        self.n_bytes = 0;
    }

    /// What is kept of `key`, as it was written; `None`: nothing.
    pub(super) fn restore(&mut self, key: KeyBytes, kept: Option<Kept>) {
        self.take_out(&key);
        match kept {
            Some(kept) => {
                self.entries.insert(key.clone(), Entry { kept, fired: (0, 0) });
                self.put_back(&key);
            }
            None => drop(self.entries.remove(&key)),
        }
        self.dirty.remove(&key);
    }

    /// About how many bytes an image has. O(1).
    pub(super) fn n_bytes(&self) -> usize {
        self.n_bytes
    }

    /// Takes `key` out of the queues, before it changes.
    fn take_out(&mut self, key: &KeyBytes) {
        let Some(Entry { kept, .. }) = self.entries.get(key) else { return };
        self.n_bytes -= kept.n_bytes(key);
        if let Some(at) = next_event(kept, self.ttl_ms) {
            self.by_event_time.remove(&(at, key.clone()));
        }
        if let Some(timer) = kept.first(Clock::WallTime) {
            self.by_wall_time.remove(&(timer.at, key.clone()));
        }
    }
}

/// When something happens to the key by event time: its first timer fires, or it is forgotten.
fn next_event(kept: &Kept, ttl_ms: Option<i64>) -> Option<i64> {
    let timer = kept.first(Clock::EventTime).map(|timer| timer.at);
    [timer, kept.expiry(ttl_ms)].into_iter().flatten().min()
}

/// Whether the key is forgotten before its event-time timer fires. Wall time forgets nothing.
fn is_over(kept: &Kept, ttl_ms: Option<i64>, timer: Timer) -> bool {
    timer.clock == Clock::EventTime && kept.expiry(ttl_ms).is_some_and(|expiry| expiry <= timer.at)
}
