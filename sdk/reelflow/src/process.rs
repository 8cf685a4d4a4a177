//! The fourth kind of plugin: rows and timers of a key, with a state for each key.

use crate::{Config, Event, Key, KeyField, Out, Outputs, Reject, State};

/// Rows and timers of a key into its state, rows out, and timers: for what no window and no join says.
///
/// The host keeps a state and the timers of each key, and calls with them. A refused row leaves state and timers as they were.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a process",
    label = "does not implement `Process`",
    note = "write `impl Process for {Self} {{ … }}`, or export it as what it is: `as Transform`, `as Aggregate` or `as Join`"
)]
pub trait Process: Config {
    type Event<'a>: Event<'a>;
    /// A key that comes for the first time has the default. A state that is as the default is not kept.
    type State: State + Default;
    /// A row (`#[derive(Emit)]`), or an enum of rows (`#[derive(Outputs)]`).
    type Output<'a>: Outputs;

    /// The types of the key that [`Context::key`] reads; empty (the default): any key. A manifest with another one is refused.
    const KEY: &'static [KeyField] = &[];

    /// Takes one row of the key. Rows of a key come in the order of the log, not of their event time.
    ///
    /// May be called again with the same row on the same state.
    fn on_event<'a>(
        &self,
        ctx: &mut Context<'a, Self::Output<'a>>,
        state: &mut Self::State,
        event: Self::Event<'a>,
    ) -> Result<(), Reject>;

    /// A timer that this key has set fires; it is gone. Timers of a clock fire in the order of their times, each once.
    ///
    /// A refusal is a dead letter of the key: the state stays as it was, the timer is lost.
    fn on_timer<'a>(&self, ctx: &mut Context<'a, Self::Output<'a>>, state: &mut Self::State, timer: Timer) -> Result<(), Reject> {
        let _ = (ctx, state, timer);
        Ok(())
    }
}

/// When a key wants to be called again, in ms since 1970. A key has a timer at most once, and at most 1024 of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// Fires once the watermark is at or past this time: no row before it is on time any more. At the end of everything all fire.
    EventTime(i64),
    /// Fires once the host's clock is at or past this time. What it does depends on when the pipeline runs: a replay gives another
    /// answer.
    WallTime(i64),
}

impl Timer {
    /// Its time, in ms since 1970.
    pub fn at(self) -> i64 {
        match self {
            Timer::EventTime(at) | Timer::WallTime(at) => at,
        }
    }
}

/// What a call knows besides its row (or timer), and what it can do besides changing its state.
#[derive(Debug)]
pub struct Context<'a, T> {
    key: Key<'a>,
    at: i64,
    time: Time,
    out: Out<T>,
    origin: u32,
    changes: Vec<Change>,
}

/// How far time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    pub watermark: i64,
    pub now: i64,
}

/// A timer that row (or group) `origin` of a call has set or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub origin: u32,
    pub is_set: bool,
    pub timer: Timer,
}

impl<'a, T: Outputs> Context<'a, T> {
    /// The key that the row (or timer) belongs to.
    pub fn key(&self) -> Key<'a> {
        self.key
    }

    /// The event time of the row, or the time of the timer: rows that are emitted now have it, too.
    pub fn time(&self) -> i64 {
        self.at
    }

    /// The stage's watermark: `i64::MIN` while nothing is known, `i64::MAX` when nothing more will come ([`Context::is_end`]).
    pub fn watermark(&self) -> i64 {
        self.time.watermark
    }

    /// Whether nothing more will come. What would set its timer again and again must stop then.
    pub fn is_end(&self) -> bool {
        self.time.watermark == i64::MAX
    }

    /// The host's clock: only to set [`Timer::WallTime`] by. An answer that depends on it otherwise may be another one after a crash.
    pub fn now(&self) -> i64 {
        self.time.now
    }

    /// Emits one row.
    #[inline]
    pub fn emit(&mut self, row: T) {
        self.out.emit(row);
    }

    /// Sets a timer of this key. One that is due already fires before the next row of this key.
    pub fn set_timer(&mut self, timer: Timer) {
        self.changes.push(Change { origin: self.origin, is_set: true, timer });
    }

    /// Deletes a timer of this key; nothing happens if there is none.
    pub fn delete_timer(&mut self, timer: Timer) {
        self.changes.push(Change { origin: self.origin, is_set: false, timer });
    }

    /// `n_rows`: how many rows to expect on the first output.
    pub(crate) fn new(key: Key<'a>, time: Time, n_rows: usize) -> Context<'a, T> {
        Context { key, at: 0, time, out: Out::new(n_rows), origin: 0, changes: Vec::new() }
    }

    /// What follows is of `key`.
    pub(crate) fn begin_key(&mut self, key: Key<'a>) {
        self.key = key;
    }

    /// What follows is of row (or group) `origin` of the call, at the time `at`.
    #[inline]
    pub(crate) fn begin(&mut self, origin: u32, at: i64) {
        self.out.begin(origin);
        (self.origin, self.at) = (origin, at);
    }

    /// A refused row has one fate: what it had emitted, set and deleted before is taken back.
    #[cold]
    pub(crate) fn take_back(&mut self) {
        self.out.take_back();
        while self.changes.last().is_some_and(|change| change.origin == self.origin) {
            self.changes.pop();
        }
    }

    pub(crate) fn into_parts(self) -> (Out<T>, Vec<Change>) {
        (self.out, self.changes)
    }
}
