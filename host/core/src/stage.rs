//! What a stage does with rows, watermarks and plugin answers, whatever kind it is.
//!
//! An [`Operator`] is a state machine that never waits. The task drives it in a fixed order:
//!
//! 1. [`Operator::accept`] gives it rows, as many as [`Operator::n_acceptable`] says, or [`Operator::advance`] a watermark;
//! 2. while [`Operator::next_call`] gives a request, the task has the plugin called and hands back the answer by
//!    [`Operator::returned`]; nothing else happens to this operator in between;
//! 3. what the operator emitted, refused and found late is taken from the [`Outbox`].

use std::{fmt, sync::Arc};

use crate::{
    column::Rows,
    letter::call::DeadCall,
    plugin::{PluginFault, Request, Response},
    record::RecordBatch,
    stage::kept::Kept,
    state::{ChangeReader, ChangeWriter, StateError},
    time::{EventTime, WallTime, Watermark, Window},
};

pub mod aggregate;
pub mod bisect;
mod dead;
pub mod dedup;
pub mod global;
pub mod join;
pub mod kept;
mod keys;
mod lateness;
pub mod lookup;
pub mod process;
mod runs;
pub mod session;
pub mod states;
#[cfg(test)]
mod testing;
pub mod transform;

/// Rows on their way through a fragment, with the event time and the origin of each.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    pub rows: Rows,
    /// One for each row.
    pub times: Vec<EventTime>,
    pub origins: Origins,
    /// `rev` and `final` of each row, where a stage with [`crate::plan::Emission::Upsert`] made them.
    pub revisions: Option<Vec<Revision>>,
    /// `None`: a stage made the rows, which are on time by the watermark that made it do so.
    pub before: Option<Before>,
}

/// How far event time had come before each of some rows: what decides whether they are late must not depend on how many of them came at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Before {
    /// The input of the task that brought the rows.
    pub input: usize,
    /// The watermark of that input before each row. It rises from row to row.
    pub marks: Vec<Watermark>,
}

/// Which firing of the same result a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revision {
    /// 0 for the first row of a key (and window), then 1, 2, …
    pub rev: u32,
    /// Whether no later revision can come.
    pub is_final: bool,
}

/// Where rows came from, for dead letters.
#[derive(Clone, Debug)]
pub enum Origins {
    /// Row `i` was decoded from record `records[i]` of `batch`, read from `topic`.
    Records { topic: Arc<str>, partition: u32, batch: Arc<RecordBatch>, records: Vec<u32> },
    /// The rows were made by a stage or came through a shuffle: a dead letter holds the row itself.
    Rows,
}

impl PartialEq for Origins {
    fn eq(&self, other: &Origins) -> bool {
        match (self, other) {
            (Origins::Records { records: a, partition: p, .. }, Origins::Records { records: b, partition: q, .. }) => {
                a == b && p == q
            }
            (Origins::Rows, Origins::Rows) => true,
            _ => false,
        }
    }
}

impl Batch {
    /// Rows that a stage made.
    pub fn made(rows: Rows, times: Vec<EventTime>, revisions: Option<Vec<Revision>>) -> Batch {
        Batch { rows, times, origins: Origins::Rows, revisions, before: None }
    }

    /// The rows at `rows`, in that order.
    pub fn take(&self, rows: &[u32]) -> Batch {
        Batch {
            rows: self.rows.take(rows),
            times: rows.iter().map(|row| self.times[*row as usize]).collect(),
            origins: self.origins.take(rows),
            revisions: self.revisions.as_ref().map(|all| rows.iter().map(|row| all[*row as usize]).collect()),
            before: self.before.as_ref().map(|before| before.take(rows)),
        }
    }

    /// These rows as they came on `input` of the task, which stood at `marks` before each.
    pub fn judged_before(self, input: usize, marks: Vec<Watermark>) -> Batch {
        Batch { before: Some(Before { input, marks }), ..self }
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl Before {
    /// Of the rows at `rows`, in that order.
    pub fn take(&self, rows: &[u32]) -> Before {
        Before { input: self.input, marks: rows.iter().map(|row| self.marks[*row as usize]).collect() }
    }
}

impl Origins {
    /// The origins of the rows at `rows`, in that order.
    pub fn take(&self, rows: &[u32]) -> Origins {
        match self {
            Origins::Rows => Origins::Rows,
            Origins::Records { topic, partition, batch, records } => Origins::Records {
                topic: topic.clone(),
                partition: *partition,
                batch: batch.clone(),
                records: rows.iter().map(|row| records[*row as usize]).collect(),
            },
        }
    }
}

/// What a stage gives away while it is driven.
#[derive(Debug, Default)]
pub struct Outbox {
    /// (output of the stage, rows)
    pub emitted: Vec<(usize, Batch)>,
    pub late: Vec<LateRows>,
    pub dead: Vec<DeadRows>,
    /// Only of what stands in front of a shuffle ([`aggregate::combine`]).
    pub crossing: Vec<Crossing>,
    pub counts: StageCounts,
}

/// What is sent through a shuffle of some rows: states first, which some of them were added to, and then the others.
#[derive(Debug)]
pub struct Crossing {
    /// The columns of [`crate::plan::StagePlan::partial_schema`].
    pub partials: Batch,
    pub partial_marks: Vec<Watermark>,
    pub rows: Batch,
    pub marks: Vec<Watermark>,
}

/// Rows that came after their window, or after the state they needed, was given up.
#[derive(Debug)]
pub struct LateRows {
    /// The input port on which they came.
    pub port: usize,
    pub batch: Batch,
    /// For each row: the window it missed, or `None` where it was judged by itself. A row that missed several windows stands several times.
    pub windows: Vec<Option<Window>>,
    /// For each row: the stage's watermark that made it late.
    pub watermarks: Vec<Watermark>,
}

/// Rows (or window results) that the plugin refused or broke on, one reason each.
#[derive(Debug)]
pub struct DeadRows {
    /// The stage's input rows; for a firing that failed, one row with the key columns.
    pub batch: Batch,
    pub of: RowsOf,
    pub reasons: Vec<DeadReason>,
    /// For each row the call in which it died, where the row and what is kept of its key do not tell; or none at all.
    pub calls: Vec<Option<Box<DeadCall>>>,
}

/// Which columns dead rows have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowsOf {
    /// Those of this input port.
    Input(usize),
    /// The key columns of an aggregate or a process, in the plan's order.
    Key,
    /// Those of this output: the stage made them, and nobody can take them.
    Output(usize),
}

/// Why a row is dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeadReason {
    Rejected {
        code: u32,
        message: String,
    },
    Fault(PluginFault),
    /// The event time that the row says it has cannot be.
    EventTime(String),
}

impl fmt::Display for DeadReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeadReason::Rejected { message, .. } => f.write_str(message),
            DeadReason::EventTime(why) => f.write_str(why),
            DeadReason::Fault(fault) => fault.fmt(f),
        }
    }
}

/// What became of the rows that entered a stage since the pipeline began:
/// `rows_in = accepted + duplicate + late + dead + skipped`. Part of the state, so a crash changes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageCounts {
    pub rows_in: u64,
    /// Counted in every window they belong to, or at least one; or passed on; or turned into zero or more rows.
    pub accepted: u64,
    pub duplicate: u64,
    /// Duplicates whose fields differ from the first record of that id; included in `duplicate`.
    pub conflicting: u64,
    /// Late for everything they could have counted for.
    pub late: u64,
    pub dead: u64,
    pub rows_out: u64,
    /// (row, window) pairs that were late although the row was accepted elsewhere.
    pub late_panes: u64,
    /// What was refused after the rows behind it were accepted: firings of windows or timers, and rows that wait, on which the plugin broke;
    /// results with an event time that cannot be.
    pub dead_panes: u64,
    /// What would be `dead` and `dead_panes`, in a stage that skips what goes wrong ([`crate::plan::OnError::Skip`]).
    pub skipped: u64,
    pub skipped_panes: u64,
}

impl StageCounts {
    /// Whether every row that came has exactly one fate. Anything else is a bug.
    pub fn is_balanced(&self) -> bool {
        self.rows_in == self.accepted + self.duplicate + self.late + self.dead + self.skipped
    }

    /// How much went wrong: rows that the plugin broke on or refused, and results of rows that were accepted.
    pub fn n_wrong(&self) -> u64 {
        self.dead + self.dead_panes + self.skipped + self.skipped_panes
    }
}

/// A stage's behaviour. See the module's text for the order of calls.
pub trait Operator {
    /// Takes rows on input `port`. `marks`: the watermark that judges each row, the one that the stage would have if the rows before it
    /// had come alone. Never below that of the last [`Operator::advance`].
    fn accept(&mut self, port: usize, batch: Batch, marks: &[Watermark], out: &mut Outbox);

    /// How many rows of `batch` from row `from` on can be accepted at once. The one after them needs the stage's watermark to rise to its
    /// mark before: a row that is late for something which has not fired yet, and is kept for something else, would count in both.
    fn n_acceptable(&self, batch: &Batch, _marks: &[Watermark], from: usize) -> usize {
        batch.len() - from
    }

    /// The stage's watermark has risen to `watermark`.
    fn advance(&mut self, watermark: Watermark, out: &mut Outbox);

    /// The watermark of the table alone, of a stage that has one, has risen to `watermark`. Comes before [`Operator::advance`].
    fn advance_table(&mut self, _watermark: Watermark, _out: &mut Outbox) {}

    /// The lowest watermark of all that this record could still reach, in this partition's tasks: what dedup forgets by.
    fn advance_job(&mut self, _watermark: Watermark) {}

    /// The wall clock reads `now`. Comes before all rows that came at this time, and after [`Operator::advance`].
    fn clock(&mut self, _now: WallTime, _out: &mut Outbox) {}

    /// The next call of the plugin that is needed, or `None` when the operator has nothing left to do.
    fn next_call(&mut self) -> Option<Request>;

    /// The answer to the request that `next_call` gave last; already checked by [`Request::check`].
    fn returned(&mut self, result: Result<Response, PluginFault>, out: &mut Outbox);

    /// Writes what changed in the state since the last `changes` or `image`, and forgets that it changed.
    fn changes(&mut self, to: &mut ChangeWriter);

    /// Writes the whole state as changes from nothing; also counts as `changes`.
    fn image(&mut self, to: &mut ChangeWriter);

    /// Applies what `changes` or `image` wrote, in the order in which it was written.
    fn restore(&mut self, from: &mut ChangeReader<'_>) -> Result<(), StateError>;

    /// Shows all that is kept, one thing after the other, in the order of an image.
    fn kept(&self, each: &mut dyn FnMut(Kept<'_>));

    /// About how many bytes `image` would write. O(1).
    fn state_bytes(&self) -> usize;
}
