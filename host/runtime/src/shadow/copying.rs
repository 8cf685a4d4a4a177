//! The tasks of a shadow: as recovery would have them, each under both programs.

use reelflow_core::{record::Partition, task::Input};
use reelflow_ports::log::LogError;

use super::{COPIES_MAX, COPY_AGAIN_AFTER, Shadow, ShadowInput};
use crate::{
    error::{RecoveryError, RunError},
    recovery::{self, Durable, Recovered},
    worker,
};

impl Shadow {
    /// Copies all tasks as they were committed last.
    pub(super) fn copy(&mut self) -> Result<(), RunError> {
        let mut tries = 1;
        let recovered = loop {
            match self.committed() {
                Ok(recovered) => break recovered,
                // Cut while it was read; or hidden by a transaction that was open just then.
                Err(RunError::Log(LogError::OffsetLost { .. } | LogError::Unavailable(_))) if tries < COPIES_MAX => {
                    tries += 1;
                    self.reading.clock.sleep(COPY_AGAIN_AFTER);
                }
                Err(error) => return Err(error),
            }
        };
        self.n_copies += 1;
        self.n_committed = recovered.iter().filter(|one| one.point.epoch > 0).count();
        self.inputs.clear();
        self.passing.clear();
        self.job_watermarks.clear();
        self.sides.iter_mut().for_each(|side| side.tasks.clear());
        for one in recovered {
            if self.fragments.contains(&one.fragment) {
                self.adopt(one)?;
            }
        }
        let now = self.reading.clock.now();
        self.ticked = now;
        (0..self.sides[0].tasks.len()).try_for_each(|task_idx| self.both(task_idx, || Input::ClockRead { now }))
    }

    fn committed(&self) -> Result<Vec<Recovered>, RunError> {
        let plan = self.sides[0].plan();
        let partitions: Vec<Partition> = (0..plan.n_partitions).collect();
        let durable = Durable { log: &*self.reading.log, bases: self.reading.bases.as_deref() };
        recovery::recover(&durable, plan, &worker::group_of(plan), self.reading.guarantee, &partitions)
    }

    /// Takes over one task, for both programs in the same way: what only one of them had been through could differ by that.
    fn adopt(&mut self, mut recovered: Recovered) -> Result<(), RunError> {
        let task_idx = self.sides[0].tasks.len();
        let plan = self.sides[0].plan().clone();
        for side in &mut self.sides {
            let unfit = |why| RunError::Recovery {
                task: recovery::name(&plan, recovered.fragment, recovered.partition),
                why: RecoveryError::State(why),
            };
            side.tasks.push(recovered.task.under(side.plan().clone()).map_err(unfit)?);
        }
        let inputs = recovery::inputs(&plan, recovered.fragment, recovered.partition);
        for (input, (at, next)) in inputs.into_iter().zip(&recovered.positions).enumerate() {
            self.inputs.push(ShadowInput { at, task_idx, input, next: *next, is_at_end: false });
        }
        Ok(())
    }
}
