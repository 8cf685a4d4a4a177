//! One window of a key for all time: rows into a state per key, states into rows whenever a trigger fires.
//!
//! - *By rows*: a key is told with the row that makes `every_rows` rows since it was told last. Rows that are late or dead do not count.
//! - *By time*: when the watermark passes a multiple of `every`, keys with rows since they were told last are told. Passing several at once is
//!   passing the first one: nothing has come in between. Nothing is passed before anything is known.
//! - *At the end of a key*: `watermark > its last row + idle`, and at the end of everything. It is told once more, and forgotten; if another
//!   trigger is due at once, only that. A row that comes later begins the key anew.
//! - A key that was told goes on with its state and a next revision, of which only that at its end is final; or it begins anew if the window
//!   *clears*: then each result is told once, and each row is in exactly one of them.
//! - A row is late when `time < watermark − idle`: its key has ended by then, had nothing else come of it. Any other row counts, however old.
//!
//! A result covers `[first row, last row + 1 ms)` of what is in it. Its event time is never behind the watermark, so it is on time for what
//! comes next: by rows that of the key's last row, or the watermark from before the row that made it so many, whichever is later; by time the
//! last ms before the multiple; at its end the key's last row + idle.
//!
//! What is told follows from the order of a key's rows and the watermark from before each of them, and not from batches (I-12):
//! [`Operator::n_acceptable`] takes of no key more rows than it needs to be told, nothing before what its mark makes due by time was told, and no
//! row of a key that has ended by then.

use std::collections::BTreeMap;

use crate::{
    column::Kind,
    key::encode_key_bytes,
    plan::{Emission, GlobalWindow, StageKind, StagePlan, WindowSpec},
    plugin::{PluginFault, Request, Response},
    stage::{Batch, Operator, Outbox, kept::Kept, lateness::without_late},
    state::{ChangeReader, ChangeWriter, StateError},
    time::{EventTime, Watermark},
};

use adding::Adding;
use keys::Keys;
use telling::{Telling, Unit};

mod adding;
mod anew;
mod keys;
mod states;
mod store;
mod telling;
#[cfg(test)]
mod tests;

/// A call ends once its states have more bytes than this: plugins have 64 MiB, and copy.
const CALL_BYTES_MAX: usize = 4 << 20;
/// The most results that are told at a time.
const UNITS_MAX: usize = 4096;

/// The operator of [`WindowSpec::Global`]. See the module's text.
#[derive(Debug)]
pub struct Global {
    facts: Facts,
    keys: Keys,
    /// How far keys were told and forgotten.
    watermark: Watermark,
    /// Whether the watermark is not written down yet.
    is_watermark_dirty: bool,
    /// Keys with new rows are being told, with this event time.
    tick: Option<EventTime>,
    work: Work,
    /// What [`Operator::next_call`] will give.
    pending: Option<Request>,
}

/// What never changes.
#[derive(Debug)]
struct Facts {
    /// The input columns that the plugin reads, in its order.
    columns: Vec<usize>,
    key: Vec<usize>,
    key_kinds: Vec<Kind>,
    window: GlobalWindow,
}

#[derive(Debug)]
enum Work {
    Idle,
    Adding(Box<Adding>),
    Telling(Telling),
}

impl Facts {
    /// When the watermark goes from `old` to `new`: the first multiple that it passes.
    fn passed(&self, old: Watermark, new: Watermark) -> Option<EventTime> {
        let every_ms = self.window.every_ms?;
        if old == Watermark::UNKNOWN || new == Watermark::END {
            return None;
        }
        let multiple = (old.0.div_euclid(every_ms) + 1).saturating_mul(every_ms);
        (multiple <= new.0).then_some(EventTime(multiple))
    }

    /// Whether a row of the mark `mark` has to wait until the watermark, which is at `watermark`, has come there.
    fn waits(&self, watermark: Watermark, mark: Watermark) -> bool {
        let is_first_known = self.window.every_ms.is_some() && watermark == Watermark::UNKNOWN && mark > watermark;
        is_first_known || self.passed(watermark, mark).is_some()
    }

    fn rows_max(&self) -> u64 {
        self.window.every_rows.unwrap_or(u64::MAX)
    }
}

impl Global {
    /// The operator of `stage`. Panics if it is of another kind.
    pub fn new(stage: &StagePlan) -> Global {
        let StageKind::Aggregate { columns, key, window: WindowSpec::Global(window), emission, .. } = &stage.kind else {
            unreachable!("stage \"{}\" has no global window", stage.name);
        };
        assert_eq!(window.clear, *emission == Emission::Final, "results of stage \"{}\" are told once, and go on", stage.name);
        assert!(window.every_rows != Some(0) && window.every_ms.is_none_or(|ms| ms > 0), "stage \"{}\": {window:?}", stage.name);
        let key_kinds = key.iter().map(|column_idx| stage.inputs[0].fields[*column_idx].field_type.kind()).collect();
        Global {
            facts: Facts { columns: columns.clone(), key: key.clone(), key_kinds, window: *window },
            keys: Keys::default(),
            watermark: Watermark::UNKNOWN,
            is_watermark_dirty: false,
            tick: None,
            work: Work::Idle,
            pending: None,
        }
    }

    /// Finds the next call, and does all that needs none.
    fn settle(&mut self, out: &mut Outbox) {
        loop {
            self.pending = match &mut self.work {
                Work::Idle => return,
                Work::Adding(adding) => adding.next_call(&self.keys, &self.facts),
                Work::Telling(telling) => telling.next_call(&self.keys, &self.facts),
            };
            if self.pending.is_some() {
                return;
            }
            match std::mem::replace(&mut self.work, Work::Idle) {
                Work::Idle => unreachable!("it was just looked at"),
                Work::Adding(adding) => {
                    let units = adding.finish(&mut self.keys, &self.facts, out);
                    self.work = Work::Telling(Telling::new(units));
                }
                Work::Telling(telling) => {
                    telling.finish(&mut self.keys, &self.facts, out);
                    self.tell_more();
                }
            }
        }
    }

    /// What is due by time, if anything is: keys that end, then those with new rows.
    fn tell_more(&mut self) {
        let GlobalWindow { clear, idle_ms, .. } = self.facts.window;
        let ended = self.keys.ended(ended_before(self.watermark, idle_ms), UNITS_MAX);
        let tell = |key: keys::KeyBytes| {
            let at = EventTime(self.keys.last(&key).0 + idle_ms);
            self.keys.tell(key, at, true)
        };
        let mut units: Vec<Unit> = ended.into_iter().map(tell).collect();
        if units.is_empty()
            && let Some(tick) = self.tick
        {
            let changed = self.keys.changed(UNITS_MAX);
            units.extend(changed.into_iter().map(|key| self.keys.tell(key, tick, clear)));
        }
        match units.is_empty() {
            true => self.tick = None,
            false => self.work = Work::Telling(Telling::new(units)),
        }
    }
}

/// Keys whose last row lies before this have ended.
fn ended_before(watermark: Watermark, idle_ms: i64) -> EventTime {
    EventTime(watermark.minus(idle_ms).0)
}

impl Operator for Global {
    fn accept(&mut self, port: usize, batch: Batch, marks: &[Watermark], out: &mut Outbox) {
        assert!(port == 0, "a global window has one input, got rows on port {port}");
        assert!(matches!(self.work, Work::Idle), "rows came while calls were open");
        debug_assert!(marks.iter().all(|mark| *mark >= self.watermark), "rows are judged by less than {}", self.watermark);
        let rows = without_late(port, &batch, marks, self.facts.window.idle_ms, out);
        out.counts.rows_in += batch.len() as u64;
        self.work = Work::Adding(Box::new(Adding::new(batch, &rows, marks, &self.facts.key)));
        self.settle(out);
    }

    fn n_acceptable(&self, batch: &Batch, marks: &[Watermark], from: usize) -> usize {
        /// A key in these rows: how many more it may take, and a time at or before which it had its last row.
        struct Seen {
            n_left: u64,
            last: EventTime,
            is_kept: bool,
        }
        let rows_max = self.facts.rows_max();
        let mut seen: BTreeMap<Vec<u8>, Seen> = BTreeMap::new();
        let mut waits = |row: usize| {
            if self.facts.waits(self.watermark, marks[row]) {
                return true;
            }
            let mut key = Vec::new();
            encode_key_bytes(&batch.rows, &self.facts.key, row, &mut key);
            let kept = self.keys.kept(&key);
            let of_key = seen.entry(key).or_insert_with(|| Seen {
                n_left: rows_max - kept.map_or(0, |kept| kept.n_new),
                last: kept.map_or(EventTime(i64::MAX), |kept| kept.last),
                is_kept: kept.is_some(),
            });
            if of_key.n_left == 0 || of_key.last < ended_before(marks[row], self.facts.window.idle_ms) {
                return true;
            }
            of_key.n_left -= 1;
            if !of_key.is_kept {
                // Any of them may be refused.
                of_key.last = of_key.last.min(batch.times[row]);
            }
            false
        };
        let rows = from..batch.len();
        rows.clone().position(&mut waits).unwrap_or(rows.len())
    }

    fn advance(&mut self, watermark: Watermark, out: &mut Outbox) {
        assert!(matches!(self.work, Work::Idle), "the watermark rose while calls were open");
        if watermark <= self.watermark {
            return;
        }
        self.tick = self.facts.passed(self.watermark, watermark).map(|multiple| EventTime(multiple.0 - 1));
        self.watermark = watermark;
        self.is_watermark_dirty = true;
        self.tell_more();
        self.settle(out);
    }

    fn next_call(&mut self) -> Option<Request> {
        self.pending.take()
    }

    fn returned(&mut self, result: Result<Response, PluginFault>, out: &mut Outbox) {
        match (&mut self.work, result) {
            (Work::Adding(adding), Ok(Response::States { states, rejects })) => adding.answered(&states, rejects, &mut self.keys),
            (Work::Adding(adding), Err(fault)) => adding.faulted(fault, &self.keys),
            (Work::Telling(telling), Ok(Response::Rows { outputs, rejects })) => {
                telling.answered(outputs, rejects, &self.keys, &self.facts, out);
            }
            (Work::Telling(telling), Err(fault)) => telling.faulted(fault, &self.keys),
            (_, Ok(answer)) => unreachable!("an answer to another call, Request::check lets none through: {answer:?}"),
            (Work::Idle, Err(fault)) => unreachable!("a fault without a call: {fault}"),
        }
        self.settle(out);
    }

    fn changes(&mut self, to: &mut ChangeWriter) {
        store::write_changes(self, to);
    }

    fn image(&mut self, to: &mut ChangeWriter) {
        store::write_image(self, to);
    }

    fn restore(&mut self, from: &mut ChangeReader<'_>) -> Result<(), StateError> {
        store::restore(self, from)
    }

    fn kept(&self, each: &mut dyn FnMut(Kept<'_>)) {
        for (key, kept) in self.keys.iter() {
            let keys::Kept { state, first, last, n_new, n_told } = kept;
            each(Kept::Global { key, first: *first, last: *last, n_new: *n_new, n_told: *n_told, state });
        }
    }

    fn state_bytes(&self) -> usize {
        self.keys.n_bytes()
    }
}
