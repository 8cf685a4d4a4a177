//! One of the two programs: its tasks, and its plugins.

use std::{collections::VecDeque, sync::Arc};

use reelflow_core::{
    plan::Plan,
    record::Outgoing,
    task::{Effect, Input, Task},
};

use super::Reading;
use crate::{
    code::Program,
    error::{RunError, StageError},
    observe::Blind,
    settings::Settings,
    usage::CallUsage,
    worker::{Job, calls::Plugins},
};

pub(super) struct Side {
    job: Job,
    plugins: Plugins,
    pub tasks: Vec<Task>,
    /// Why a pipeline with this program would have stopped.
    pub stopped: Option<Box<StageError>>,
}

impl Side {
    pub fn new(program: &Program, reading: &Reading) -> Result<Side, RunError> {
        let job = Job {
            plan: Arc::new(program.plan.with_json_sinks()),
            plugins: program.plugins.clone(),
            log: reading.log.clone(),
            bases: None,
            schemas: reading.schemas.clone(),
            clock: reading.clock.clone(),
            settings: Settings::standard("shadow".into()),
            observer: Arc::new(Blind),
            board: None,
        };
        Ok(Side { plugins: Plugins::new(&job)?, job, tasks: Vec::new(), stopped: None })
    }

    pub fn plan(&self) -> &Arc<Plan> {
        &self.job.plan
    }

    pub fn usage(&self) -> Vec<CallUsage> {
        self.plugins.usage().to_vec()
    }

    /// Gives `input` to a task, answers its calls, and gives what it writes.
    pub fn give(&mut self, task_idx: usize, input: Input) -> Vec<Outgoing> {
        let mut written = Vec::new();
        let mut fresh = Vec::new();
        let task = &mut self.tasks[task_idx];
        task.handle(input, &mut fresh);
        let mut effects: VecDeque<Effect> = fresh.drain(..).collect();
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Call { stage, plugin, request } => {
                    let result = self.plugins.call(&self.job, stage, plugin, &request);
                    task.handle(Input::PluginReturned { result }, &mut fresh);
                    effects.extend(fresh.drain(..));
                }
                Effect::Append(records) => written.push(records),
                // Nothing is kept of an epoch, and no state is migrated but where it is read.
                Effect::Sealed(_) | Effect::Migrated(_) => {}
                Effect::Failed(failure) => {
                    self.stopped = Some(StageError::of(&self.job.plan, *failure));
                    return written;
                }
            }
        }
        written
    }
}
