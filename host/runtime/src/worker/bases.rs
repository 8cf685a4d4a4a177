//! What a worker does with bases in a store: says where they go, gives them away behind a commit, has them named by a later one.

use reelflow_core::{
    checkpoint::stored::folder,
    task::{BasePlace, Input},
    time::WallTime,
};
use reelflow_ports::bases::BaseError;

use crate::{
    bases::{Image, Permit},
    error::RunError,
    observe::Event,
    patience::Wait,
    recovery::Recovered,
    seal::TaskEpoch,
    worker::{
        Job, Step, Worker,
        calls::Plugins,
        life::{Life, OwnedTask},
    },
};

/// A task whose state goes to the store, by its place among those of the worker, and the room on the way there.
pub(super) type TaskImage = (usize, Permit);

impl Worker {
    /// Tells of bases that recovery had to do without.
    pub(super) fn tell_skipped(&self, recovered: &[Recovered]) {
        for skipped in recovered.iter().flat_map(|one| &one.skipped) {
            self.job.bases.iter().for_each(|bases| bases.skipped());
            let (task, name, why) = (skipped.task.clone(), skipped.name.clone(), skipped.why.clone());
            self.job.observer.event(&Event::BaseSkipped { task, name, why });
        }
    }

    /// Has forgotten what earlier owners of these tasks have put and not named: whoever owns them from now on puts bases of later epochs only.
    pub(super) fn sweep_orphans(&self, recovered: &[Recovered]) {
        let Some(bases) = &self.job.bases else { return };
        for one in recovered {
            let fragment = &self.job.plan.fragments[one.fragment].name;
            bases.sweep(folder(&self.job.plan.name, fragment, one.partition), one.point.stored, one.point.epoch + 1);
        }
    }

    /// The store did not answer in a recovery: the session has ended, and its tasks are forgotten.
    pub(super) fn await_bases(&mut self, error: BaseError) -> Result<Step, RunError> {
        self.following.end();
        self.status().sessions_lost += 1;
        self.status().owned.clear();
        let Wait { failing_for, after, is_over } = self.patience.wait(self.job.clock.now());
        if is_over {
            return Err(error.into());
        }
        self.job.observer.event(&Event::AwaitingBases { worker: self.idx, error, failing_for, after });
        Ok(Step::Retry { after })
    }
}

impl Job {
    /// Whether bases go to the store.
    fn stores_bases(&self) -> bool {
        self.bases.as_ref().is_some_and(|bases| bases.is_written())
    }

    /// Asks a task that has bases in a store for one in the changelog, if they are to be there from now on.
    pub(super) fn leaves_store(&self, one: &mut Recovered) -> bool {
        let leaves = !one.point.stored.is_empty() && !self.stores_bases();
        if leaves {
            one.task.handle(Input::BaseDue, &mut Vec::new());
        }
        leaves
    }
}

impl Life {
    /// Tells a task that is about to be sealed where its base goes, should one be due. Returns the room for it.
    pub fn place_base(&mut self, job: &Job, plugins: &mut Plugins, task_idx: usize) -> Result<Option<Permit>, RunError> {
        let Some(bases) = job.bases.as_ref().filter(|bases| bases.is_written()) else { return Ok(None) };
        let is_free = self.tasks[task_idx].writing.is_none();
        let permit = is_free.then(|| bases.reserve()).flatten();
        let to = if permit.is_some() { BasePlace::Store } else { BasePlace::Later };
        self.give(job, plugins, task_idx, Input::BasesGo { to })?;
        Ok(permit)
    }

    /// Opens an epoch when a base has become durable, since only a commit can name it.
    pub fn notice_bases(&mut self, now: WallTime) {
        let is_durable = |owned: &&mut OwnedTask| owned.writing.as_ref().is_some_and(|writing| writing.done().is_some());
        for owned in self.tasks.iter_mut().filter(is_durable) {
            owned.changed = true;
            self.open.since.get_or_insert(now);
        }
    }

    /// `epochs` of the tasks at `owners` are committed: what follows from that for their bases.
    pub fn follow_bases(&mut self, job: &Job, owners: &[usize], epochs: &[TaskEpoch], images: Vec<TaskImage>) {
        let Some(bases) = &job.bases else { return };
        for (task_idx, epoch) in owners.iter().zip(epochs) {
            let owned = &mut self.tasks[*task_idx];
            // A base that is still on its way is older than one in the changelog.
            if epoch.starts_over() || epoch.named.is_some() {
                owned.writing = None;
                let before = owned.point.stored.newest().map_or(owned.point.epoch, |newest| newest.epoch);
                bases.sweep(folder(&job.plan.name, &epoch.fragment, epoch.partition), owned.point.stored, before);
            }
        }
        // Behind the commit: however long it takes, no transaction is open.
        for (task_idx, permit) in images {
            let owned = &mut self.tasks[task_idx];
            let chunks = owned.task.store_image();
            let image = Image {
                pipeline: job.plan.name.clone(),
                fragment: job.plan.fragments[owned.fragment].name.clone(),
                partition: owned.partition,
                epoch: owned.point.epoch,
                incarnation: owned.point.incarnation,
                after: owned.point.end,
                taken: job.clock.now(),
                chunks,
                permit,
            };
            owned.writing = Some(bases.write(image));
        }
    }
}
