//! Aggregation in sessions: rows of a key whose event times lie at most a gap apart belong together.
//!
//! - A row joins a session when its time is within the gap of the session's first or last row; a difference *equal* to the gap joins
//!   (as Flink's `TimeWindow.intersects` has it). A row between two sessions makes one of them.
//! - A row with `time < watermark − lateness` is late; the watermark is the one from before the row.
//! - A session is *closed* once `last row + gap < watermark − lateness`, strictly: a row at exactly `watermark − lateness` is still
//!   accepted, and could still join at a difference of the gap. It is emitted then, once, as the window `[first row, last row + gap)`,
//!   and forgotten. A row that is not late can join no closed session, so a closed one never opens again; for the same reason it does not
//!   matter that rows which come together are added before what their marks close is emitted.
//! - A row that the plugin refuses, or breaks on, counts nowhere: it holds no two sessions together either.
//!
//! Besides a gap, a session may be *cut* ([`SessionCuts`]). In the order of event time, whatever the order of arrival:
//!
//! - `end`: a row in which the named field is true is the last one of its session. Rows of the same ms belong to it too, later ones to the next.
//! - `max_rows`: the row that makes it so many is the last one, with all rows of the same ms; so there may be a few more.
//! - `max_length`: a row so long after the first one, or later, begins another session.
//!
//! A cut is known once no row at or before it can come any more (`its time < watermark − lateness`): then the session is emitted, without
//! waiting for the gap. Its window ends one ms after its last row, or `max_length` after its first one. As an end may still come between any
//! two rows until then, rows of a key are kept apart, a state for each ms, until `watermark − lateness` has passed them ([`sessions`]).
//!
//! The result does not depend on how rows are cut into batches or in which order they came. What closes leaves in the order of
//! (last row, key); where something cuts sessions, those of a key do, in order of time. There are no early results: a provisional session
//! that another one swallows would have to be taken back.
//!
//! Source: Akidau et al., "The Dataflow Model", PVLDB 8(12), 2015, section 2.2.

use crate::{
    column::Kind,
    plan::{StageKind, StagePlan, WindowSpec},
    plugin::{PluginFault, Request, Response},
    stage::{Batch, Operator, Outbox, RowsOf, kept::Kept, lateness::without_late},
    state::{ChangeReader, ChangeWriter, StateError},
    time::{EventTime, Watermark},
};

use adding::Adding;
use closing::Closing;
use extent::Rules;
use sessions::Sessions;
use uniting::{United, Uniting};

mod adding;
mod closing;
mod extent;
mod sessions;
mod states;
mod store;
#[cfg(test)]
mod tests;
mod uniting;

/// The operator of [`StageKind::Aggregate`] with [`WindowSpec::Session`]. See the module's text.
#[derive(Debug)]
pub struct Session {
    facts: Facts,
    sessions: Sessions,
    /// Up to where sessions were closed.
    watermark: Watermark,
    is_watermark_dirty: bool,
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
    rules: Rules,
    lateness_ms: i64,
}

/// What is being done: a batch is added in clusters, these are united with the sessions; or parts are settled, and sessions closed.
#[derive(Debug)]
enum Work {
    Idle,
    Adding(Box<Adding>),
    Uniting(Box<Uniting>),
    Closing(Box<Closing>),
}

impl Session {
    /// The operator of `stage`. Panics if it is of another kind.
    pub fn new(stage: &StagePlan) -> Session {
        let StageKind::Aggregate { columns, key, window: WindowSpec::Session { gap_ms, cuts }, lateness_ms, .. } = &stage.kind
        else {
            unreachable!("stage \"{}\" does not aggregate in sessions", stage.name);
        };
        assert!(*gap_ms > 0 && *lateness_ms >= 0, "sessions of \"{}\" end after {gap_ms} ms, wait {lateness_ms} ms", stage.name);
        let key_kinds = key.iter().map(|column_idx| stage.inputs[0].fields[*column_idx].field_type.kind()).collect();
        let rules = Rules { gap_ms: *gap_ms, cuts: *cuts };
        Session {
            facts: Facts { columns: columns.clone(), key: key.clone(), key_kinds, rules, lateness_ms: *lateness_ms },
            sessions: Sessions::new(rules),
            watermark: Watermark::UNKNOWN,
            is_watermark_dirty: false,
            work: Work::Idle,
            pending: None,
        }
    }

    /// Rows before this are late, and sessions that were open until before it closed.
    fn closed_before(&self) -> EventTime {
        EventTime(self.watermark.minus(self.facts.lateness_ms).0)
    }

    /// Finds the next call, and does all that needs none.
    fn settle(&mut self, out: &mut Outbox) {
        loop {
            match &mut self.work {
                Work::Idle => return,
                Work::Adding(adding) => {
                    self.pending = adding.next_call(&self.facts.columns, &self.sessions);
                    if self.pending.is_some() {
                        return;
                    }
                    let Work::Adding(adding) = std::mem::replace(&mut self.work, Work::Idle) else {
                        unreachable!("just matched")
                    };
                    self.work = Work::Uniting(Box::new(Uniting::new(*adding, &self.sessions, self.facts.rules)));
                }
                Work::Uniting(uniting) => {
                    self.pending = uniting.next_call(&self.sessions);
                    if self.pending.is_some() {
                        return;
                    }
                    let Work::Uniting(uniting) = std::mem::replace(&mut self.work, Work::Idle) else {
                        unreachable!("just matched")
                    };
                    let United { batch, n_rows, dead } = uniting.finish(&mut self.sessions);
                    out.counts.accepted += (n_rows - dead.len()) as u64;
                    out.counts.dead += dead.len() as u64;
                    if !dead.is_empty() {
                        let rows = batch.take(&dead.units());
                        out.dead.push(dead.into_rows(rows, RowsOf::Input(0)));
                    }
                }
                Work::Closing(closing) => {
                    self.pending = closing.next_call(&self.facts.key_kinds, &mut self.sessions);
                    if self.pending.is_some() {
                        return;
                    }
                    let Work::Closing(closing) = std::mem::replace(&mut self.work, Work::Idle) else {
                        unreachable!("just matched")
                    };
                    closing.finish(&self.facts.key_kinds, out);
                    self.close_more();
                }
            }
        }
    }

    /// Takes the next parts with which something is to be done, if there are any.
    fn close_more(&mut self) {
        let due = self.sessions.take_due(closing::PARTS_MAX);
        self.work = match due.keys.is_empty() {
            true => Work::Idle,
            false => Work::Closing(Box::new(Closing::new(due, self.facts.rules, self.closed_before()))),
        };
    }
}

impl Operator for Session {
    fn accept(&mut self, port: usize, batch: Batch, marks: &[Watermark], out: &mut Outbox) {
        assert!(port == 0, "sessions have one input, got rows on port {port}");
        assert!(matches!(self.work, Work::Idle), "rows came while calls were open");
        debug_assert!(marks.iter().all(|mark| *mark >= self.watermark), "rows are judged by less than {}", self.watermark);
        let rows = without_late(port, &batch, marks, self.facts.lateness_ms, out);
        out.counts.rows_in += batch.len() as u64;
        let adding = Adding::new(batch, &rows, &self.facts.key, self.facts.rules.reach_ms(), &mut self.sessions);
        self.work = Work::Adding(Box::new(adding));
        self.settle(out);
    }

    fn advance(&mut self, watermark: Watermark, out: &mut Outbox) {
        assert!(matches!(self.work, Work::Idle), "the watermark rose while calls were open");
        if watermark <= self.watermark {
            return;
        }
        self.watermark = watermark;
        self.is_watermark_dirty = true;
        self.sessions.settle(self.closed_before());
        self.close_more();
        self.settle(out);
    }

    fn next_call(&mut self) -> Option<Request> {
        self.pending.take()
    }

    fn returned(&mut self, result: Result<Response, PluginFault>, out: &mut Outbox) {
        match (&mut self.work, result) {
            (Work::Adding(adding), Ok(Response::States { states, rejects })) => {
                adding.answered(&states, rejects, &self.sessions);
            }
            (Work::Adding(adding), Err(fault)) => adding.faulted(fault, &self.sessions),
            (Work::Uniting(uniting), Ok(Response::States { states, rejects })) => {
                uniting.answered(&states, rejects, &self.sessions);
            }
            (Work::Uniting(uniting), Err(fault)) => uniting.faulted(&fault, &self.sessions),
            (Work::Closing(closing), Ok(Response::States { states, rejects })) if closing.is_merging() => {
                closing.merge_answered(&states, rejects);
            }
            (Work::Closing(closing), Ok(Response::Rows { outputs, rejects })) if !closing.is_merging() => {
                closing.emit_answered(outputs, rejects, out);
            }
            (Work::Closing(closing), Err(fault)) => closing.faulted(fault),
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
        for (key, sessions) in self.sessions.sorted() {
            sessions.iter().for_each(|open| {
                each(Kept::Session { key, first: open.extent.first, last: open.extent.last, state: &open.state })
            });
        }
    }

    fn state_bytes(&self) -> usize {
        self.sessions.n_bytes()
    }
}
