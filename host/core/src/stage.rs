//! What a stage does with rows, watermarks and plugin answers, whatever kind it is.
//!
//! An [`Operator`] is a state machine that never waits. The task drives it in a fixed order:
//!
//! 1. [`Operator::accept`] gives it rows, or [`Operator::advance`] a watermark;
//! 2. while [`Operator::next_call`] gives a request, the task has the plugin called and hands back the answer by
//!    [`Operator::returned`]; nothing else happens to this operator in between;
//! 3. what the operator emitted, refused and found late is taken from the [`Outbox`].

use std::sync::Arc;

use crate::{
    column::Rows,
    plugin::{PluginFault, Request, Response},
    record::RecordBatch,
    state::{ChangeReader, ChangeWriter, StateError},
    time::{EventTime, WallTime, Watermark},
};

pub mod aggregate;
pub mod bisect;
pub mod dedup;
pub mod join;
pub mod process;
pub mod session;
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
    /// The rows at `rows`, in that order.
    pub fn take(&self, rows: &[u32]) -> Batch {
        Batch {
            rows: self.rows.take(rows),
            times: rows.iter().map(|row| self.times[*row as usize]).collect(),
            origins: self.origins.take(rows),
            revisions: self.revisions.as_ref().map(|all| rows.iter().map(|row| all[*row as usize]).collect()),
        }
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
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
    pub counts: StageCounts,
}

/// Rows that came after their window, or after the state they needed, was given up.
#[derive(Debug)]
pub struct LateRows {
    /// The input port on which they came.
    pub port: usize,
    pub batch: Batch,
    /// For each row: the end of the window it missed, or `None` for joins. A row that missed several windows stands several times.
    pub window_ends: Vec<Option<EventTime>>,
    /// The stage's watermark that made them late.
    pub watermark: Watermark,
}

/// Rows (or window results) that the plugin refused or broke on, one reason each.
#[derive(Debug)]
pub struct DeadRows {
    /// The stage's input rows; for a firing that failed, one row with the key columns.
    pub batch: Batch,
    pub of: RowsOf,
    pub reasons: Vec<DeadReason>,
}

/// Which columns dead rows have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowsOf {
    /// Those of this input port.
    Input(usize),
    /// The key columns of an aggregate or a process, in the plan's order.
    Key,
}

/// Why a row is dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeadReason {
    Rejected { code: u32, message: String },
    Fault(PluginFault),
}

/// What became of the rows that entered a stage since the pipeline began:
/// `rows_in = accepted + duplicate + late + dead`. Part of the state, so a crash changes nothing.
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
    /// Firings of windows or timers that the plugin refused or broke on.
    pub dead_panes: u64,
}

/// A stage's behaviour. See the module's text for the order of calls.
pub trait Operator {
    /// Takes rows on input `port`, judged by the stage's `watermark` as it is now.
    fn accept(&mut self, port: usize, batch: Batch, watermark: Watermark, out: &mut Outbox);

    /// The stage's watermark has risen to `watermark`.
    fn advance(&mut self, watermark: Watermark, out: &mut Outbox);

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

    /// About how many bytes `image` would write. O(1).
    fn state_bytes(&self) -> usize;
}
