//! Transactions of this process whose end readers may not see yet.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use reelflow_core::record::Offset;
use reelflow_ports::log::TopicPartition;

/// How far each partition must be readable because a transaction that wrote to it was committed or aborted here.
///
/// Kafka answers a commit as soon as it is decided. The markers that make it visible follow a moment later, partition by
/// partition, so that a question for the end asked in between would leave out the records of a commit that is known to be done.
#[derive(Debug, Default)]
pub(crate) struct Visible(Mutex<BTreeMap<TopicPartition, Offset>>);

impl Visible {
    /// A transaction with records up to `ends` was committed or aborted.
    pub(crate) fn ended(&self, ends: impl IntoIterator<Item = (TopicPartition, Offset)>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (at, end) in ends {
            let known = known.entry(at).or_default();
            *known = end.max(*known);
        }
    }

    /// What the end of `at` is at least; 0 if nothing was written here.
    pub(crate) fn end_of(&self, at: &TopicPartition) -> Offset {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(at).copied().unwrap_or_default()
    }

    /// `at` turned out to be shorter: somebody has made the topic anew.
    pub(crate) fn forget(&self, at: &TopicPartition) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(at);
    }
}
