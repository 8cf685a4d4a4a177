//! What wrote the records that a task is about to get: a registry is asked for the schemas that the task lacks.
//!
//! While it does not answer, a partition whose next records need it is held, as one is that is too far ahead. It has more to read, so it holds
//! the watermark; the others go on. The registry is asked again after a wait, and given up after a while, as a log is.

use reelflow_core::{format::SchemaAnswer, record::RecordBatch, task::Input, time::WallTime};
use reelflow_ports::{
    log::{TopicPartition, Who},
    schemas::SchemasError,
};

use super::{calls::Plugins, life::Life};
use crate::{
    error::RunError,
    observe::Event,
    patience::{Patience, Wait},
    settings::Outage,
    worker::Job,
};

/// How a worker asks for schemas.
pub(super) struct Asking {
    worker: usize,
    patience: Patience,
    /// Not before; `None`: at once.
    again: Option<WallTime>,
}

impl Life {
    /// Tells the task of `at` what wrote the records of `batch`. `false`: nobody has said it yet, so they cannot be given.
    pub fn learn(
        &mut self,
        job: &Job,
        plugins: &mut Plugins,
        at: &TopicPartition,
        batch: &RecordBatch,
    ) -> Result<bool, RunError> {
        let Some(&(task_idx, input)) = self.by_input.get(at) else { return Err(RunError::NotOwned(at.clone())) };
        for id in self.tasks[task_idx].task.lacks(input, batch) {
            let Some(answer) = self.asking.ask(job, id)? else { return Ok(false) };
            self.give(job, plugins, task_idx, Input::WriterSchema { input, id, answer })?;
        }
        Ok(true)
    }
}

impl Asking {
    pub fn new(worker: usize, outage: Outage) -> Asking {
        Asking { worker, patience: Patience::new(outage), again: None }
    }

    fn ask(&mut self, job: &Job, id: u32) -> Result<Option<SchemaAnswer>, RunError> {
        if self.again.is_some_and(|again| job.clock.now() < again) {
            return Ok(None);
        }
        match job.schemas.writer(id) {
            Ok(answer) => {
                self.patience.succeeded();
                self.again = None;
                Ok(Some(answer))
            }
            Err(error) => self.failed(job, error).map(|()| None),
        }
    }

    fn failed(&mut self, job: &Job, error: SchemasError) -> Result<(), RunError> {
        // The request may have waited: time goes on from its end.
        let now = job.clock.now();
        let Wait { failing_for, after, is_over } = self.patience.wait(now);
        if is_over || error.who() != Who::Environment {
            return Err(RunError::Schemas { failing_for, last: error });
        }
        self.again = Some(WallTime(now.0.saturating_add(i64::try_from(after.as_millis()).unwrap_or(i64::MAX))));
        job.observer.event(&Event::AwaitingSchemas { worker: self.worker, error, failing_for, after });
        Ok(())
    }
}
