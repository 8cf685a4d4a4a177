//! The figures of one worker, shared with whoever draws them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use reelflow_core::{
    plan::{FragmentIdx, StageIdx},
    record::Partition,
    task::TaskCounts,
    time::{WallTime, Watermark},
};

use crate::{
    observe::SealedEpoch,
    summary::add_growth,
    usage::CallUsage,
    worker::life::{Life, OwnedTask, SealedTotals},
};

/// What a worker has done in this run, and how its tasks stand.
#[derive(Debug, Default)]
pub(crate) struct WorkerStatus {
    /// Whose files this process publishes. Those of a worker that has ended well stay here.
    pub owned: BTreeSet<Partition>,
    /// Of the tasks that it owns or owned last.
    pub tasks: BTreeMap<(Partition, FragmentIdx), TaskStatus>,
    /// Committed by this worker in this run.
    pub run: TaskCounts,
    /// What the calls of each stage of the plan have cost in this run, committed or not.
    pub calls: Vec<CallUsage>,
    pub records_read: u64,
    pub bytes_read: u64,
    pub records_written: u64,
    pub dead_letters: u64,
    /// By who refused them, and why.
    pub dead_letters_by: BTreeMap<(String, String), u64>,
    pub changelog_bytes: u64,
    pub epochs_sealed: u64,
    pub epochs_aborted: u64,
    pub sessions_lost: u64,
    pub recovery_max: Duration,
}

/// How a task stood at its last commit.
#[derive(Clone, Debug)]
pub(crate) struct TaskStatus {
    pub watermark: Watermark,
    pub state_bytes: usize,
    pub stages: Vec<(StageIdx, Kept)>,
    pub counts: TaskCounts,
    /// When the newest of its bases in the store was taken.
    pub base_taken: Option<WallTime>,
    /// Orders the reports of several workers on a task that moved between them.
    pub as_of: WallTime,
}

/// What a stage of a task keeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub state_bytes: usize,
    pub n_waiting: usize,
}

impl WorkerStatus {
    /// The tasks of `life` were just recovered.
    pub(super) fn recovered(&mut self, life: &Life, now: WallTime, took: Duration) {
        self.recovery_max = self.recovery_max.max(took);
        self.owned = life.tasks.iter().map(|owned| owned.partition).collect();
        for owned in &life.tasks {
            self.tasks.insert((owned.partition, owned.fragment), TaskStatus::of(owned, now));
        }
    }

    /// Records were read, committed or not.
    pub(super) fn read(&mut self, n_records: usize, n_bytes: usize) {
        self.records_read += n_records as u64;
        self.bytes_read += n_bytes as u64;
    }

    /// `totals` were just committed.
    pub(super) fn sealed(
        &mut self,
        worker: usize,
        life: &Life,
        now: WallTime,
        totals: SealedTotals,
        took: Duration,
    ) -> SealedEpoch {
        let SealedTotals { epoch, changelog_bytes } = totals;
        self.records_written += epoch.records_written;
        self.dead_letters += epoch.dead_letters;
        for (by, n) in epoch.dead_letters_by {
            *self.dead_letters_by.entry(by).or_default() += n;
        }
        self.changelog_bytes += changelog_bytes;
        self.epochs_sealed += 1;
        for owned in &life.tasks {
            let status = TaskStatus::of(owned, now);
            if let Some(before) = self.tasks.insert((owned.partition, owned.fragment), status.clone()) {
                add_growth(&mut self.run, &before.counts, &status.counts);
            }
        }
        SealedEpoch {
            worker,
            nth: self.epochs_sealed,
            records_read: epoch.records_read,
            records_written: epoch.records_written,
            changelog_bytes,
            dead_letters: epoch.dead_letters,
            dead_letter: epoch.dead_letter,
            took,
        }
    }
}

impl TaskStatus {
    fn of(owned: &OwnedTask, now: WallTime) -> TaskStatus {
        let task = &owned.task;
        let waiting = task.waiting_by_stage().map(|(_, n_waiting)| n_waiting);
        let kept = |((stage, state_bytes), n_waiting)| (stage, Kept { state_bytes, n_waiting });
        TaskStatus {
            watermark: task.watermark(),
            state_bytes: task.state_bytes(),
            stages: task.state_bytes_by_stage().zip(waiting).map(kept).collect(),
            counts: task.counts(),
            base_taken: owned.point.stored.newest().map(|newest| newest.taken),
            as_of: now,
        }
    }
}
