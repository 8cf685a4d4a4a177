//! Records on their way to another key while nobody runs the pipeline: kept here instead of in the log.

use std::collections::BTreeMap;

use reelflow_core::{
    plan::Plan,
    record::{Outgoing, Record, RecordBatch},
};
use reelflow_ports::log::TopicPartition;

/// What was written and not read yet: that of a batch, since whoever reads it comes next (I-9).
#[derive(Default)]
pub(super) struct Passing(BTreeMap<TopicPartition, RecordBatch>);

impl Passing {
    /// Keeps those of `written` that a task of `plan` reads.
    pub fn pass(&mut self, plan: &Plan, written: &[Outgoing]) {
        let is_read = |outgoing: &&Outgoing| plan.shuffles.iter().any(|shuffle| shuffle.topic == outgoing.topic);
        for outgoing in written.iter().filter(is_read) {
            for (partition, record) in outgoing.partitions.iter().zip(outgoing.records.iter()) {
                let at = TopicPartition { topic: outgoing.topic.clone(), partition: *partition };
                let batch = self.0.entry(at).or_default();
                batch.push(Record { offset: batch.len() as i64, ..record });
            }
        }
    }

    /// All that waits at `at`.
    pub fn take(&mut self, at: &TopicPartition) -> Option<RecordBatch> {
        self.0.remove(at)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}
