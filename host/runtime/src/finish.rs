//! When a run that has an end has reached it. Every worker of every process decides the same, from the log alone.

use reelflow_core::{plan::Plan, record::Offset};
use reelflow_ports::log::{Commit, Log, LogError, TopicPartition};

use crate::recovery;

/// The ends of the source topics when the run began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goal {
    sources: Vec<(TopicPartition, Offset)>,
}

impl Goal {
    /// What stands in the source topics now.
    pub fn at_start(log: &dyn Log, plan: &Plan) -> Result<Goal, LogError> {
        let mut sources = Vec::new();
        for source in &plan.sources {
            for partition in 0..plan.n_partitions {
                let at = TopicPartition { topic: source.topic.clone(), partition };
                let (_, end) = log.offsets(&at)?;
                sources.push((at, end));
            }
        }
        Ok(Goal { sources })
    }

    /// Whether the committed positions of `group` cover the goal, and the shuffle topics up to their ends.
    ///
    /// Positions are read before ends. Once the positions of a fragment's inputs cover what there was to read, all that it sent on
    /// because of that is in its shuffle topics, since both were committed together; so going through the shuffles in topological
    /// order, the first one that is not covered says that there is more to do.
    pub fn is_reached(&self, log: &dyn Log, plan: &Plan, group: &str) -> Result<bool, LogError> {
        let committed = log.committed(group, &recovery::input_topics(plan))?;
        for (at, end) in &self.sources {
            if !is_covered(log, &committed, at, *end)? {
                return Ok(false);
            }
        }
        for fragment in 0..plan.fragments.len() {
            for shuffle in plan.shuffles.iter().filter(|shuffle| shuffle.from_fragment == fragment) {
                for partition in 0..plan.n_partitions {
                    let at = TopicPartition { topic: shuffle.topic.clone(), partition };
                    let (_, end) = log.offsets(&at)?;
                    // A dead worker's open transaction may hide what another one has committed behind it.
                    if !is_covered(log, &committed, &at, end)? || log.is_undecided(&at)? {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }
}

fn is_covered(log: &dyn Log, committed: &[Commit], at: &TopicPartition, end: Offset) -> Result<bool, LogError> {
    match committed.iter().find(|commit| commit.at == *at) {
        Some(commit) => Ok(commit.next >= end),
        // Nothing was ever committed: fine for a partition that holds nothing.
        None => Ok(log.offsets(at)?.0 >= end),
    }
}
