//! What became of every record: the figures that a run ends with, and shows while it runs.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use reelflow_core::{
    plan::{Plan, SourcePlan, StageKind, StagePlan},
    record::Partition,
    stage::StageCounts,
    task::{SourceCounts, TaskCounts},
    time::Watermark,
};

use crate::{
    bases::BasesSummary,
    usage::CallUsage,
    worker::{
        Job,
        status::{TaskStatus, WorkerStatus},
    },
};

/// Figures of one process: its tasks, and what its workers did in this run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    pub elapsed: Duration,
    /// In the plan's order.
    pub sources: Vec<SourceSummary>,
    /// In the plan's order.
    pub stages: Vec<StageSummary>,
    /// Of every partition that this process owns or has owned last: the lowest watermark among its tasks.
    pub watermarks: BTreeMap<Partition, Watermark>,
    pub state_bytes: u64,
    /// What this process read in this run, input topics of all kinds, committed or not.
    pub records_read: u64,
    pub bytes_read: u64,
    /// What this process wrote and committed in this run, the changelog aside.
    pub records_written: u64,
    pub dead_letters: u64,
    /// How many of them each stage or source refused for each reason: both as the headers have it.
    pub dead_letters_by: BTreeMap<(String, String), u64>,
    /// Files that this process published in this run, and the rows in them.
    pub files_published: u64,
    pub rows_published: u64,
    pub changelog_bytes: u64,
    /// `None`: the manifest names no store of bases.
    pub bases: Option<BasesSummary>,
    pub epochs_sealed: u64,
    /// Epochs that were open when a session ended, or partitions were lost: done again from the last commit.
    pub epochs_aborted: u64,
    /// Sessions that ended by an error.
    pub sessions_lost: u64,
    /// The longest that any worker took to get the state of its tasks back.
    pub recovery_max: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SourceSummary {
    pub name: Arc<str>,
    /// Since the pipeline began, of the partitions that this process owns: part of the state, so a crash changes nothing.
    pub total: SourceCounts,
    /// Committed by this process in this run.
    pub run: SourceCounts,
}

#[derive(Clone, Debug, PartialEq)]
pub struct StageSummary {
    pub name: Arc<str>,
    /// Since the pipeline began, of the partitions that this process owns: part of the state, so a crash changes nothing.
    pub total: StageCounts,
    /// Committed by this process in this run.
    pub run: StageCounts,
    /// What its calls of its plugin cost this process in this run, committed or not. `None`: it has no plugin.
    pub calls: Option<CallUsage>,
    /// What it keeps, in the partitions that this process owns.
    pub state_bytes: u64,
    /// Rows that wait for a table to come past them.
    pub waiting_rows: u64,
}

impl Summary {
    /// Records read per second of this run, over all workers.
    pub fn records_per_s(&self) -> f64 {
        let s = self.elapsed.as_secs_f64();
        if s > 0.0 { self.records_read as f64 / s } else { 0.0 }
    }

    /// The sources and stages whose counts do not add up: records got lost, or counted twice. None, unless Reelflow has a bug.
    pub fn unaccounted(&self) -> Vec<Arc<str>> {
        let of_sources = self.sources.iter().filter(|one| !one.total.is_balanced()).map(|one| &one.name);
        let of_stages = self.stages.iter().filter(|one| !one.total.is_balanced()).map(|one| &one.name);
        of_sources.chain(of_stages).cloned().collect()
    }

    /// The figures of a process that does `job`.
    pub(crate) fn of_job(job: &Job, elapsed: Duration, workers: &[Arc<Mutex<WorkerStatus>>]) -> Summary {
        let summary = Summary::of(&job.plan, elapsed, workers);
        let oldest = summary.bases.and_then(|bases| bases.oldest);
        let bases = job.bases.as_ref().map(|bases| BasesSummary { oldest, ..bases.summary() });
        Summary { bases, ..summary }
    }

    /// The figures of all workers of a process, put together.
    pub(crate) fn of(plan: &Plan, elapsed: Duration, workers: &[Arc<Mutex<WorkerStatus>>]) -> Summary {
        let source = |source: &SourcePlan| SourceSummary {
            name: source.name.clone(),
            total: SourceCounts::default(),
            run: SourceCounts::default(),
        };
        let stage = |stage: &StagePlan| StageSummary {
            name: stage.name.clone(),
            total: StageCounts::default(),
            run: StageCounts::default(),
            calls: (!matches!(stage.kind, StageKind::Dedup { .. })).then(CallUsage::default),
            state_bytes: 0,
            waiting_rows: 0,
        };
        let mut summary = Summary {
            elapsed,
            sources: plan.sources.iter().map(source).collect(),
            stages: plan.stages.iter().map(stage).collect(),
            ..Summary::default()
        };
        let mut latest: BTreeMap<(Partition, usize), TaskStatus> = BTreeMap::new();
        for worker in workers {
            let worker = worker.lock().unwrap_or_else(PoisonError::into_inner);
            summary.add_worker(&worker);
            for (task, status) in &worker.tasks {
                // A task that moved between two workers stands in the figures of both.
                let known = latest.entry(*task).or_insert_with(|| status.clone());
                if known.as_of < status.as_of {
                    *known = status.clone();
                }
            }
        }
        for ((partition, _), status) in latest {
            summary.add_task(partition, &status);
        }
        summary
    }

    fn add_worker(&mut self, worker: &WorkerStatus) {
        self.records_read += worker.records_read;
        self.bytes_read += worker.bytes_read;
        self.records_written += worker.records_written;
        self.dead_letters += worker.dead_letters;
        for (by, n) in &worker.dead_letters_by {
            *self.dead_letters_by.entry(by.clone()).or_default() += n;
        }
        self.changelog_bytes += worker.changelog_bytes;
        self.epochs_sealed += worker.epochs_sealed;
        self.epochs_aborted += worker.epochs_aborted;
        self.sessions_lost += worker.sessions_lost;
        self.recovery_max = self.recovery_max.max(worker.recovery_max);
        let TaskCounts { sources, stages, shuffles: _ } = &worker.run;
        for (stage, calls) in self.stages.iter_mut().zip(&worker.calls) {
            stage.calls.iter_mut().for_each(|sum| sum.add(calls));
        }
        sources.iter().for_each(|(idx, counts)| add_source(&mut self.sources[*idx].run, counts));
        stages.iter().for_each(|(idx, counts)| add_stage(&mut self.stages[*idx].run, counts));
    }

    fn add_task(&mut self, partition: Partition, status: &TaskStatus) {
        self.state_bytes += status.state_bytes as u64;
        if let Some(taken) = status.base_taken {
            let bases = self.bases.get_or_insert_default();
            bases.oldest = Some(bases.oldest.map_or(taken, |oldest| oldest.min(taken)));
        }
        for (stage, kept) in &status.stages {
            self.stages[*stage].state_bytes += kept.state_bytes as u64;
            self.stages[*stage].waiting_rows += kept.n_waiting as u64;
        }
        let low = self.watermarks.entry(partition).or_insert(status.watermark);
        *low = status.watermark.min(*low);
        let TaskCounts { sources, stages, shuffles: _ } = &status.counts;
        sources.iter().for_each(|(idx, counts)| add_source(&mut self.sources[*idx].total, counts));
        stages.iter().for_each(|(idx, counts)| add_stage(&mut self.stages[*idx].total, counts));
    }
}

/// Adds to `run` what `now` counts more than `before`.
pub(crate) fn add_growth(run: &mut TaskCounts, before: &TaskCounts, now: &TaskCounts) {
    for (idx, now) in &now.sources {
        let before = before.sources.get(idx).copied().unwrap_or_default();
        let grown = SourceCounts {
            records_in: now.records_in - before.records_in,
            decoded: now.decoded - before.decoded,
            dead: now.dead - before.dead,
        };
        add_source(run.sources.entry(*idx).or_default(), &grown);
    }
    for (idx, now) in &now.stages {
        let before = before.stages.get(idx).copied().unwrap_or_default();
        let grown = StageCounts {
            rows_in: now.rows_in - before.rows_in,
            accepted: now.accepted - before.accepted,
            duplicate: now.duplicate - before.duplicate,
            conflicting: now.conflicting - before.conflicting,
            late: now.late - before.late,
            dead: now.dead - before.dead,
            rows_out: now.rows_out - before.rows_out,
            late_panes: now.late_panes - before.late_panes,
            dead_panes: now.dead_panes - before.dead_panes,
            skipped: now.skipped - before.skipped,
            skipped_panes: now.skipped_panes - before.skipped_panes,
        };
        add_stage(run.stages.entry(*idx).or_default(), &grown);
    }
}

fn add_source(to: &mut SourceCounts, from: &SourceCounts) {
    to.records_in += from.records_in;
    to.decoded += from.decoded;
    to.dead += from.dead;
}

fn add_stage(to: &mut StageCounts, from: &StageCounts) {
    to.rows_in += from.rows_in;
    to.accepted += from.accepted;
    to.duplicate += from.duplicate;
    to.conflicting += from.conflicting;
    to.late += from.late;
    to.dead += from.dead;
    to.rows_out += from.rows_out;
    to.late_panes += from.late_panes;
    to.dead_panes += from.dead_panes;
    to.skipped += from.skipped;
    to.skipped_panes += from.skipped_panes;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_add_up_is_named() {
        let stage = |name: &str, total: StageCounts| StageSummary {
            name: name.into(),
            total,
            run: StageCounts::default(),
            calls: None,
            state_bytes: 0,
            waiting_rows: 0,
        };
        let source = |name: &str, total: SourceCounts| SourceSummary { name: name.into(), total, run: SourceCounts::default() };
        let whole =
            StageCounts { rows_in: 10, accepted: 4, duplicate: 3, late: 2, dead: 1, rows_out: 7, ..StageCounts::default() };
        let summary = Summary {
            sources: vec![
                source("plays", SourceCounts { records_in: 3, decoded: 2, dead: 1 }),
                source("impressions", SourceCounts { records_in: 3, decoded: 2, dead: 0 }),
            ],
            stages: vec![stage("unique", whole), stage("hourly", StageCounts { late: 1, ..whole })],
            ..Summary::default()
        };
        assert_eq!(summary.unaccounted(), ["impressions".into(), "hourly".into()]);
    }
}
