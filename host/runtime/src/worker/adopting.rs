//! What a session does to its tasks when the code changes.

use reelflow_core::{
    plan::{FragmentInput, FragmentPlan, Plan},
    record::Partition,
    state::StateError,
    task::Input,
    time::{WallTime, Watermark},
};
use reelflow_ports::log::TopicPartition;

use super::{
    calls::Plugins,
    life::{Life, OwnedTask},
};
use crate::{code::Program, error::RunError, worker::Job};

impl Life {
    /// Puts all tasks under `code`, or none. Between epochs only. `was`: the plan that they have.
    ///
    /// O(1) where nothing but code changes, otherwise O(state). What the log does not say of them yet is to be sealed from `now` on.
    pub fn adopt(&mut self, was: &Plan, code: &Program, now: WallTime) -> Result<(), (String, StateError)> {
        if *was != *code.plan {
            let mut adopted = Vec::new();
            for owned in &mut self.tasks {
                let of_task = |why| (format!("task \"{}\" [{}]", was.fragments[owned.fragment].name, owned.partition), why);
                adopted.push(owned.task.under(code.plan.clone()).map_err(of_task)?);
            }
            for (owned, mut task) in self.tasks.iter_mut().zip(adopted) {
                if task.owes_seal() {
                    owned.changed = true;
                    self.open.since.get_or_insert(now);
                }
                owned.task = task;
            }
            self.job_watermarks.values_mut().for_each(|watermark| *watermark = Watermark::UNKNOWN);
        }
        self.stamps = code.stamps.clone();
        self.tasks.iter_mut().for_each(|owned| owned.task.stamp(code.stamps.clone()));
        Ok(())
    }

    /// Tells tasks that are new to this life what a log says once: which inputs were read to their end. A quiet partition would never be idle again.
    pub fn tell_again(&mut self, job: &Job, plugins: &mut Plugins) -> Result<(), RunError> {
        let now = job.clock.now();
        for task_idx in 0..self.tasks.len() {
            self.give(job, plugins, task_idx, Input::ClockRead { now })?;
            for input in 0..self.tasks[task_idx].at_end.len() {
                let is_at_end = self.tasks[task_idx].at_end[input];
                self.give(job, plugins, task_idx, Input::Reading { input, is_at_end })?;
            }
        }
        Ok(())
    }

    pub fn partitions(&self) -> Vec<Partition> {
        let mut partitions: Vec<Partition> = self.tasks.iter().map(|owned| owned.partition).collect();
        partitions.dedup();
        partitions
    }

    /// Pauses everything, or resumes what nothing else holds back.
    pub fn pause_all(&mut self, is_paused: bool) -> Result<(), RunError> {
        let all: Vec<TopicPartition> = self.by_input.keys().cloned().collect();
        self.pause(&all, is_paused)
    }

    /// The inputs behind a change of key of those tasks whose plugins are among `is_new`.
    pub fn shuffles_of(&self, plan: &Plan, is_new: &[bool]) -> Vec<TopicPartition> {
        let has_new = |fragment: &FragmentPlan| {
            let plugins = fragment.stages.iter().filter_map(|stage| plan.stages[*stage].kind.plugin());
            plugins.into_iter().any(|plugin| is_new[plugin])
        };
        let of_task = |owned: &OwnedTask| -> Vec<TopicPartition> {
            let fragment = &plan.fragments[owned.fragment];
            let shuffles = fragment.inputs.iter().zip(&owned.inputs).filter(|_| has_new(fragment));
            shuffles.filter(|(input, _)| matches!(input, FragmentInput::Shuffle(_))).map(|(_, at)| at.clone()).collect()
        };
        self.tasks.iter().flat_map(of_task).collect()
    }

    /// Pauses `inputs`, or resumes those that nothing else holds back.
    pub fn pause(&mut self, inputs: &[TopicPartition], is_paused: bool) -> Result<(), RunError> {
        for at in inputs.iter().filter(|at| !self.held.is_paused(at)) {
            self.session.pause(at, is_paused)?;
        }
        Ok(())
    }
}
