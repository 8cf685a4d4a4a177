//! What the tasks of a pipeline keep, read from the log as recovery reads it, by somebody who runs nothing.

use std::sync::Arc;

use reelflow_core::{
    checkpoint::Epoch,
    plan::{Plan, PluginIdx, StageIdx},
    record::{Offset, Partition},
    stage::{StageCounts, kept::Kept},
    task::{Migration, StageMigration, Task},
    time::Watermark,
};
use reelflow_ports::{
    bases::BaseStore,
    engine::PluginInstance,
    log::{Guarantee, Log, TopicPartition},
};

use crate::{
    error::RunError,
    recovery::{self, Durable, Recovered},
    worker,
};

/// A task as it was at its last commit.
#[derive(Debug)]
pub struct TaskState {
    pub fragment: Arc<str>,
    pub partition: Partition,
    /// 0: it has committed nothing yet.
    pub epoch: Epoch,
    pub watermark: Watermark,
    /// The next offset of each input, and how many offsets its partition holds from there on.
    pub inputs: Vec<(TopicPartition, Offset, Offset)>,
    pub stages: Vec<StageState>,
    /// Records of the changelog that bring the state back.
    pub n_changes: usize,
    task: Task,
}

/// What one stage of a task keeps, and what became of its rows since the pipeline began.
#[derive(Clone, Debug, PartialEq)]
pub struct StageState {
    /// Its place in the plan.
    pub idx: StageIdx,
    pub name: Arc<str>,
    /// About so many, as in the changelog.
    pub state_bytes: usize,
    pub counts: StageCounts,
    /// The versions of its plugin's state that what it keeps may have, in rising order.
    pub versions: Vec<u32>,
}

impl TaskState {
    /// See [`StageState::versions`]; none of a stage that is not of this task.
    pub fn versions(&self, stage: StageIdx) -> &[u32] {
        self.stages.iter().find(|one| one.idx == stage).map_or(&[], |one| &one.versions)
    }

    /// The calls that find out whether all states can be migrated to the versions that the plan's plugins write; see [`Task::dry_run`].
    pub fn dry_run(&self, can_migrate: &dyn Fn(PluginIdx) -> bool) -> Migration {
        self.task.dry_run(can_migrate)
    }

    /// Makes these calls. `plugins`: by the plan's index. Nothing changes.
    pub fn run_dry(&self, mut dry_run: Migration, plugins: &mut [Box<dyn PluginInstance>]) -> Vec<StageMigration> {
        while let Some((plugin, request)) = dry_run.next_call(&self.task) {
            dry_run.returned(plugins[plugin].call(&request), |_, _, _| {});
        }
        dry_run.finish()
    }

    /// Shows all that the task's stages keep, each with its place in the plan.
    pub fn kept(&self, each: &mut dyn FnMut(StageIdx, Kept<'_>)) {
        self.task.kept(each);
    }
}

/// Reads the committed state of all tasks of `plan`, in the order of partition and fragment. Changes nothing, neither in the log nor in the store of
/// bases, if there is one.
pub fn inspect(
    log: &dyn Log,
    bases: Option<&dyn BaseStore>,
    plan: &Arc<Plan>,
    guarantee: Guarantee,
) -> Result<Vec<TaskState>, RunError> {
    let partitions: Vec<Partition> = (0..plan.n_partitions).collect();
    let recovered = recovery::recover(&Durable { log, bases }, plan, &worker::group_of(plan), guarantee, &partitions)?;
    recovered.into_iter().map(|one| task_state(log, plan, one)).collect()
}

fn task_state(log: &dyn Log, plan: &Plan, recovered: Recovered) -> Result<TaskState, RunError> {
    let Recovered { fragment, partition, task, point, positions, n_changes, .. } = recovered;
    let mut inputs = Vec::new();
    for (at, next) in recovery::inputs(plan, fragment, partition).into_iter().zip(positions) {
        let (_, end) = log.offsets(&at)?;
        inputs.push((at, next, (end - next).max(0)));
    }
    let counts = task.counts();
    let stage = |(idx, state_bytes): (usize, usize)| StageState {
        idx,
        name: plan.stages[idx].name.clone(),
        state_bytes,
        counts: counts.stages.get(&idx).copied().unwrap_or_default(),
        versions: task.state_versions(idx).collect(),
    };
    let stages = task.state_bytes_by_stage().map(stage).collect();
    Ok(TaskState {
        fragment: plan.fragments[fragment].name.clone(),
        partition,
        epoch: point.epoch,
        watermark: task.watermark(),
        inputs,
        stages,
        n_changes,
        task,
    })
}
