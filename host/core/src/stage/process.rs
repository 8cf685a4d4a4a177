//! Keyed state and timers: rows of a key, in the order in which they came, and timers that the key has set.
//!
//! - The plugin gets the rows of a batch, sorted into keys, with the state of each key; it answers a new state or none, rows, and timers
//!   to set and to delete. A key has a timer of a clock and time at most once.
//! - An event-time timer fires when `watermark >= its time`, a wall-clock timer when the clock reads its time or later; each is
//!   gone with that. Timers of a key and clock fire in the order of their times, also those that another one sets meanwhile: each call
//!   fires at most one timer of a key. One that is set when it is due already fires before the next row of its key.
//! - Rows and timers of a key follow each other as if rows had come one by one: [`Operator::n_acceptable`] takes a key once at a time, and
//!   nothing before what its mark makes due has fired. What a plugin reads of the watermark is how far the stage has come when it is called.
//! - A row with `time < watermark − lateness` is late, the watermark being the one from before the row; without a lateness none is.
//! - A key is forgotten, with its timers, when `watermark > its last row's time + ttl`: the greatest time, not the latest to come. Timers up
//!   to there fire before, later ones never. At the end of everything all event-time timers fire and every key is forgotten.
//! - A row that the plugin refuses or breaks on changes nothing. A timer that it refuses or breaks on is lost, with a dead letter of
//!   the key; the state stays as it was.
//! - A row is emitted with the event time of the row, or the timer, that it came from.
//!
//! I-9: a key has at most [`TIMERS_MAX`] timers, and at most [`FIRINGS_MAX`] of them fire before time goes on.

use std::collections::BTreeSet;

use crate::{
    column::{Kind, Rows},
    key::{decode_key_bytes, empty_columns, encode_key_bytes},
    plan::{StageKind, StagePlan},
    plugin::{Clock, PluginFault, Request, Response, TimeRead},
    stage::{Batch, Operator, Outbox, kept::Kept, lateness::without_late},
    state::{ChangeReader, ChangeWriter, StateError},
    time::{WallTime, Watermark},
};

use firing::Firing;
use keys::Keys;
use taking::Taking;

mod firing;
mod keys;
mod states;
mod store;
mod taking;
#[cfg(test)]
mod tests;

/// The most timers of one key.
pub const TIMERS_MAX: usize = 1024;
/// The most timers of one key that fire at one watermark and time.
pub const FIRINGS_MAX: usize = 10_000;
/// A call ends once its states have more bytes than this: plugins have 64 MiB, and copy.
const CALL_BYTES_MAX: usize = 4 << 20;

/// The operator of [`StageKind::Process`]. See the module's text.
#[derive(Debug)]
pub struct Process {
    facts: Facts,
    keys: Keys,
    watermark: Watermark,
    is_watermark_dirty: bool,
    now: WallTime,
    work: Work,
    /// What [`Operator::next_call`] will give.
    pending: Option<Request>,
}

/// What never changes.
#[derive(Debug)]
struct Facts {
    columns: Vec<usize>,
    key: Vec<usize>,
    key_kinds: Vec<Kind>,
    lateness_ms: Option<i64>,
}

/// What is being done.
#[derive(Debug)]
enum Work {
    Idle,
    Taking(Box<Taking>),
    Firing(Box<Firing>),
}

impl Process {
    /// The operator of `stage`. Panics if it is of another kind.
    pub fn new(stage: &StagePlan) -> Process {
        let StageKind::Process { columns, key, lateness_ms, state_ttl_ms, .. } = &stage.kind else {
            unreachable!("stage \"{}\" is no process", stage.name);
        };
        let key_kinds = key.iter().map(|column_idx| stage.inputs[0].fields[*column_idx].field_type.kind()).collect();
        Process {
            facts: Facts { columns: columns.clone(), key: key.clone(), key_kinds, lateness_ms: *lateness_ms },
            keys: Keys::new(*state_ttl_ms),
            watermark: Watermark::UNKNOWN,
            is_watermark_dirty: false,
            now: WallTime(i64::MIN),
            work: Work::Idle,
            pending: None,
        }
    }

    /// Finds the next call, and does all that needs none.
    fn settle(&mut self, out: &mut Outbox) {
        let time = TimeRead { watermark: self.watermark, now: self.now };
        loop {
            self.pending = match &mut self.work {
                Work::Idle => return,
                Work::Taking(taking) => taking.next_call(&self.keys, &self.facts, time),
                Work::Firing(firing) => firing.next_call(&self.keys, &self.facts, time),
            };
            if self.pending.is_some() {
                return;
            }
            match std::mem::replace(&mut self.work, Work::Idle) {
                Work::Idle => unreachable!("it was just looked at"),
                Work::Taking(taking) => taking.finish(&mut self.keys, out),
                Work::Firing(firing) => firing.finish(&self.facts, out),
            }
            self.fire_more();
        }
    }

    /// Takes the next timers that are due, if any are: those of event time first.
    fn fire_more(&mut self) {
        let mut due = self.keys.take_due(Clock::EventTime, self.watermark.0, firing::DUE_MAX);
        if due.is_empty() {
            due = self.keys.take_due(Clock::WallTime, self.now.0, firing::DUE_MAX);
        }
        if !due.is_empty() {
            self.work = Work::Firing(Box::new(Firing::new(due, &mut self.keys)));
        } else if self.watermark == Watermark::END {
            self.keys.forget_all();
        }
    }

    /// Time has gone on: fires what is due.
    fn fire(&mut self, out: &mut Outbox) {
        self.keys.begin_step();
        self.fire_more();
        self.settle(out);
    }
}

impl Operator for Process {
    fn accept(&mut self, port: usize, batch: Batch, marks: &[Watermark], out: &mut Outbox) {
        assert!(port == 0, "a process has one input, got rows on port {port}");
        assert!(matches!(self.work, Work::Idle), "rows came while calls were open");
        debug_assert!(marks.iter().all(|mark| *mark >= self.watermark), "rows are judged by less than {}", self.watermark);
        let rows = match self.facts.lateness_ms {
            Some(lateness_ms) => without_late(port, &batch, marks, lateness_ms, out),
            None => (0..batch.len() as u32).collect(),
        };
        out.counts.rows_in += batch.len() as u64;
        self.keys.begin_step();
        self.work = Work::Taking(Box::new(Taking::new(batch, &rows, &self.facts.key)));
        self.settle(out);
    }

    /// Up to the first row by whose mark something is due, or whose key came before: what that row sets, and what is due of it, comes first.
    /// Rows and timers of other keys have nothing to do with each other.
    fn n_acceptable(&self, batch: &Batch, marks: &[Watermark], from: usize) -> usize {
        let due = self.keys.first_due();
        let mut seen: BTreeSet<Vec<u8>> = BTreeSet::new();
        let mut is_first = |row: usize| {
            let mut key = Vec::new();
            encode_key_bytes(&batch.rows, &self.facts.key, row, &mut key);
            seen.insert(key)
        };
        let waits = |row: usize| due.is_some_and(|due| self.watermark < marks[row] && due <= marks[row].0) || !is_first(row);
        let rows = from..batch.len();
        rows.clone().position(waits).unwrap_or(rows.len())
    }

    fn advance(&mut self, watermark: Watermark, out: &mut Outbox) {
        assert!(matches!(self.work, Work::Idle), "the watermark rose while calls were open");
        if watermark > self.watermark {
            self.watermark = watermark;
            self.is_watermark_dirty = true;
            self.fire(out);
        }
    }

    fn clock(&mut self, now: WallTime, out: &mut Outbox) {
        assert!(matches!(self.work, Work::Idle), "the clock was read while calls were open");
        if now > self.now {
            self.now = now;
            self.fire(out);
        }
    }

    fn next_call(&mut self) -> Option<Request> {
        self.pending.take()
    }

    fn returned(&mut self, result: Result<Response, PluginFault>, out: &mut Outbox) {
        match (&mut self.work, result) {
            (Work::Taking(taking), Ok(Response::Processed { states, outputs, rejects, timers })) => {
                let answer = Answer { states, outputs, rejects, timers };
                taking.answered(answer, &mut self.keys, out);
            }
            (Work::Taking(taking), Err(fault)) => taking.faulted(fault, &self.keys),
            (Work::Firing(firing), Ok(Response::Processed { states, outputs, rejects, timers })) => {
                let answer = Answer { states, outputs, rejects, timers };
                firing.answered(answer, &mut self.keys, out);
            }
            (Work::Firing(firing), Err(fault)) => firing.faulted(fault, &mut self.keys),
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
            each(Kept::Key { key, last: kept.last, state: &kept.state, timers: &kept.timers });
        }
    }

    fn state_bytes(&self) -> usize {
        self.keys.n_bytes()
    }
}

/// What a call was answered.
struct Answer {
    states: crate::column::Packed,
    outputs: Vec<crate::plugin::Routed>,
    rejects: Vec<crate::plugin::Reject>,
    timers: Vec<crate::plugin::TimerChange>,
}

/// The keys as rows of their columns.
fn key_rows<'k>(keys: impl ExactSizeIterator<Item = &'k keys::KeyBytes>, kinds: &[Kind]) -> Rows {
    let (n_keys, mut columns) = (keys.len(), empty_columns(kinds));
    for bytes in keys {
        decode_key_bytes(bytes, &mut columns).expect("keys are encoded here, and checked when restored");
    }
    Rows::new(n_keys, columns).expect("each key has one value for each column")
}
