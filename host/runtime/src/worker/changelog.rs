//! What a worker does so that the changelog stays short: it has at most about three times the state, and what is read is not kept.
//!
//! All tasks of a partition share one partition of the changelog, which is cut at the oldest of their bases.

use std::collections::BTreeMap;

use reelflow_core::{
    checkpoint::is_base_due,
    record::{Offset, Partition},
    task::Input,
};
use reelflow_ports::log::TopicPartition;
use tracing::warn;

use crate::{
    error::RunError,
    seal::TaskEpoch,
    worker::{Job, bases::TaskImage, calls::Plugins, life::Life},
};

impl Life {
    /// Asks those tasks for a base that the changelog waits for: the busy ones write their own in time, the quiet ones would keep all that
    /// their neighbours write.
    pub fn ask_for_bases(&mut self, job: &Job, plugins: &mut Plugins) -> Result<(), RunError> {
        if self.open.since.is_none() {
            return Ok(());
        }
        let mut state_bytes: BTreeMap<Partition, usize> = BTreeMap::new();
        for owned in &self.tasks {
            *state_bytes.entry(owned.partition).or_default() += owned.task.state_bytes();
        }
        for task_idx in 0..self.tasks.len() {
            let owned = &mut self.tasks[task_idx];
            // One that is on its way is all that can be had.
            if owned.writing.is_none()
                && is_base_due(owned.changelog_bytes, state_bytes[&owned.partition], job.settings.base_after_bytes)
            {
                owned.changed = true;
                self.give(job, plugins, task_idx, Input::BaseDue)?;
            }
        }
        Ok(())
    }

    /// `epochs` of the tasks at `owners` are in the changelog, `images` go to the store.
    pub fn count_changelog(&mut self, owners: &[usize], epochs: &[TaskEpoch], images: &[TaskImage]) {
        for (task_idx, epoch) in owners.iter().zip(epochs) {
            let n_bytes: usize = epoch.sealed.chunks.iter().map(Vec::len).sum();
            *self.untrimmed_bytes.entry(epoch.partition).or_default() += n_bytes;
            for (other_idx, other) in self.tasks.iter_mut().enumerate().filter(|(_, other)| other.partition == epoch.partition) {
                let has_base = epoch.sealed.is_base || images.iter().any(|(owner, ..)| owner == task_idx);
                let is_own_base = other_idx == *task_idx && has_base;
                other.changelog_bytes = if is_own_base { 0 } else { other.changelog_bytes + n_bytes };
            }
        }
    }

    /// Cuts off the changelog what no recovery needs any more, and internal topics what was read but for the newest records, which a shadow
    /// may still have to read. A failure costs space, and the next epoch tries again.
    pub fn trim(&mut self, job: &Job) {
        let mut unneeded: BTreeMap<TopicPartition, Offset> = BTreeMap::new();
        for owned in &self.tasks {
            let changelog = TopicPartition { topic: job.plan.changelog_topic.clone(), partition: owned.partition };
            let base = owned.point.base;
            unneeded.entry(changelog).and_modify(|before| *before = base.min(*before)).or_insert(base);
            let is_internal = |at: &TopicPartition| job.plan.is_own_topic(&at.topic);
            let read = owned.inputs.iter().zip(&owned.committed).filter(|(at, _)| is_internal(at));
            unneeded.extend(read.map(|(at, committed)| (at.clone(), *committed - job.settings.trim_slack)));
        }
        for (at, before) in unneeded {
            let trimmed = self.trimmed.entry(at.clone()).or_insert(0);
            let n_bytes = self.untrimmed_bytes.get_mut(&at.partition).filter(|_| at.topic == job.plan.changelog_topic);
            let is_long = before > *trimmed && n_bytes.as_ref().is_some_and(|n_bytes| **n_bytes >= job.settings.trim_slack_bytes);
            if before - *trimmed < job.settings.trim_slack && !is_long {
                continue;
            }
            match job.log.trim(&at, before) {
                Ok(()) => {
                    *trimmed = before;
                    n_bytes.into_iter().for_each(|n_bytes| *n_bytes = 0);
                }
                Err(error) => warn!(%at, before, %error, "could not trim an internal topic"),
            }
        }
    }
}
