//! What wrote the records that both programs are about to get.

use std::collections::BTreeSet;

use reelflow_core::{format::SchemaAnswer, record::RecordBatch, task::Input};
use reelflow_ports::log::Who;

use super::Shadow;
use crate::{
    error::RunError,
    patience::{Patience, Wait},
};

impl Shadow {
    /// Tells both programs what wrote the records of `batch`. Waits while the registry does not answer: nothing depends on a shadow.
    pub(super) fn learn(&mut self, task_idx: usize, input: usize, batch: &RecordBatch) -> Result<(), RunError> {
        let ids: BTreeSet<u32> = self.sides.iter().flat_map(|side| side.tasks[task_idx].lacks(input, batch)).collect();
        for id in ids {
            let answer = self.ask(id)?;
            self.both(task_idx, || Input::WriterSchema { input, id, answer: answer.clone() })?;
        }
        Ok(())
    }

    fn ask(&self, id: u32) -> Result<SchemaAnswer, RunError> {
        let mut patience = Patience::new(self.reading.outage);
        loop {
            match self.reading.schemas.writer(id) {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    let Wait { failing_for, after, is_over } = patience.wait(self.reading.clock.now());
                    if is_over || error.who() != Who::Environment {
                        return Err(RunError::Schemas { failing_for, last: error });
                    }
                    self.reading.clock.sleep(after);
                }
            }
        }
    }
}
