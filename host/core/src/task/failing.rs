//! The failure policy of a stage: what becomes of rows that break its plugin, or that it refuses.
//!
//! It is applied where a stage gives away what it has, so no stage knows of it: what is skipped is counted as skipped instead of dead, and
//! what stops the pipeline becomes an effect. After that the driver asks for nothing more, so the open epoch is never sealed.

use std::sync::Arc;

use crate::{
    letter::words,
    plan::{OnError, Plan, StageIdx, StagePlan},
    record::{Offset, Partition},
    stage::{DeadRows, Origins, Outbox, StageCounts},
    task::output::row_json,
};

/// Bytes of a row that stands in a message, at most.
const ROW_TEXT_MAX: usize = 200;

/// Why a stage stops the pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageFailure {
    pub stage: StageIdx,
    /// What went wrong: the first of it, or what made it too much.
    pub row: RowFailure,
    /// `None`: the stage shall fail at the first error.
    pub exceeded: Option<Exceeded>,
}

/// A row that broke the plugin, or that it refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowFailure {
    pub at: RowPlace,
    /// As a dead letter would have it: `trap`, `rejected`, …
    pub reason: &'static str,
    pub error: String,
}

/// Which row it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowPlace {
    /// It was decoded from this record.
    Record { topic: Arc<str>, partition: Partition, offset: Offset },
    /// A stage made it, or it came through a shuffle: its fields as JSON, perhaps cut off.
    Row(String),
}

/// More went wrong than the stage's limit allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    pub n_wrong: u64,
    pub n_rows: u64,
}

/// The block of rows that a limit on errors counts ([`crate::plan::ErrorsMax`]). Part of the state: a pipeline that is started again and again
/// has no more errors than one that is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    n_rows: u64,
    n_wrong: u64,
}

impl Block {
    pub fn totals(self) -> [u64; 2] {
        [self.n_rows, self.n_wrong]
    }

    pub fn of_totals([n_rows, n_wrong]: [u64; 2]) -> Block {
        Block { n_rows, n_wrong }
    }

    /// Counts what a stage without a limit does not need counted, and gives what is too much.
    fn count(&mut self, plan: &StagePlan, counts: &StageCounts) -> Option<Exceeded> {
        let max = plan.failing.errors_max?;
        if counts.rows_in > 0 && self.n_rows >= max.of {
            *self = Block::default();
        }
        self.n_rows += counts.rows_in;
        self.n_wrong += counts.n_wrong();
        let Block { n_rows, n_wrong } = *self;
        (counts.n_wrong() > 0 && max.is_exceeded(n_wrong, n_rows)).then_some(Exceeded { n_wrong, n_rows })
    }
}

/// Applies the policy of `stage` to what it gave away. What is left in `outbox.dead` becomes dead letters.
pub(super) fn apply(plan: &Plan, stage: StageIdx, block: &mut Block, outbox: &mut Outbox) -> Option<StageFailure> {
    let of_stage = &plan.stages[stage];
    let exceeded = block.count(of_stage, &outbox.counts);
    let failed = if exceeded.is_some() {
        outbox.dead.last().map(|dead| (dead, dead.reasons.len() - 1))
    } else {
        outbox.dead.first().filter(|_| of_stage.failing.on_error == OnError::Fail).map(|dead| (dead, 0))
    };
    let failure = failed.map(|(dead, row)| StageFailure { stage, row: row_failure(plan, stage, dead, row), exceeded });
    match of_stage.failing.on_error {
        OnError::DeadLetter => {}
        // Without transactions what was appended stays, and the next run would write it again.
        OnError::Fail => outbox.dead.clear(),
        OnError::Skip => {
            outbox.dead.clear();
            let counts = &mut outbox.counts;
            counts.skipped += std::mem::take(&mut counts.dead);
            counts.skipped_panes += std::mem::take(&mut counts.dead_panes);
        }
    }
    failure
}

fn row_failure(plan: &Plan, stage: StageIdx, dead: &DeadRows, row: usize) -> RowFailure {
    let (reason, error, _) = words(&dead.reasons[row]);
    let at = match &dead.batch.origins {
        Origins::Records { topic, partition, batch, records } => {
            let offset = batch.record(records[row] as usize).offset;
            RowPlace::Record { topic: topic.clone(), partition: *partition, offset }
        }
        Origins::Rows => {
            let text = String::from_utf8_lossy(&row_json(plan, stage, dead, row)).into_owned();
            let cut: String = text.chars().take(ROW_TEXT_MAX).collect();
            RowPlace::Row(if cut.len() < text.len() { cut + "…" } else { text })
        }
    };
    RowFailure { at, reason, error }
}
