//! What goes wrong outside of the manifest, said at the place in the manifest that it concerns.

use reelflow_config::{Config, Problem, Problems};
use reelflow_ports::log::{Log, LogError};
use reelflow_runtime::error::{RecoveryError, RunError};

use crate::{
    failure::{Failure, exit_of},
    manifest::Manifest,
};

/// The partition count that all sources share, or all that is wrong with their topics.
pub(crate) fn source_partitions(config: &Config, log: &dyn Log) -> Result<Result<u32, Problems>, LogError> {
    let mut problems = Problems::default();
    let mut first: Option<(&str, u32)> = None;
    for source in &config.sources {
        let topic = source.topic.as_str();
        match (log.n_partitions(topic)?, first) {
            (None, _) => problems.push(config.topic_missing(topic)),
            (Some(n), None) => first = Some((topic, n)),
            (Some(n), Some((other, n_other))) if n != n_other => {
                problems.push(config.partitions_differ(topic, n, other, n_other));
            }
            (Some(_), Some(_)) => {}
        }
    }
    Ok(match first {
        Some((_, n)) if problems.is_empty() => Ok(n),
        _ => Err(problems),
    })
}

impl Manifest {
    /// An error of the log that this manifest names.
    pub(crate) fn log_failure(&self, error: LogError) -> Failure {
        match problem(&self.config, &error) {
            Some(problem) => self.failure(problem),
            None => error.into(),
        }
    }

    /// Why this manifest's pipeline stopped.
    pub(crate) fn run_failure(&self, error: RunError) -> Failure {
        match error {
            RunError::Log(error) => self.log_failure(error),
            RunError::GaveUp { failing_for, last } => match problem(&self.config, &last) {
                Some(problem) => self.failure(problem.note(gave_up(failing_for.as_secs()))),
                None => Failure::new(exit_of(last.who()), format!("{}: {last}", gave_up(failing_for.as_secs()))),
            },
            RunError::Topics { problems: all, .. } => {
                let mut problems = Problems::default();
                all.iter().filter_map(|error| problem(&self.config, error)).for_each(|problem| problems.push(problem));
                match all.into_iter().find(|error| problem(&self.config, error).is_none()) {
                    Some(unplaced) => unplaced.into(),
                    None => self.failure(problems),
                }
            }
            RunError::Recovery { task, why: RecoveryError::State(why) } => {
                self.failure(self.config.plan_changed(format!("{task}: {why}")))
            }
            error => Failure::new(exit_of(error.who()), &error),
        }
    }
}

/// What a message says of a command that tried for so long.
pub(crate) fn gave_up(seconds: u64) -> String {
    format!("gave up after {seconds} s")
}

/// `None` for errors that no place in the manifest has to do with.
fn problem(config: &Config, error: &LogError) -> Option<Problem> {
    Some(match error {
        LogError::Unavailable(why) => config.broker_unreachable(why),
        LogError::TopicMissing(topic) => config.topic_missing(topic),
        LogError::PartitionCount { topic, found, wanted } => {
            config.partitions_differ(topic, *found, config.sources[0].topic.as_str(), *wanted)
        }
        LogError::OffsetLost { at, wanted, earliest, end } => config.data_lost(&at.topic, at.partition, *wanted, *earliest, *end),
        LogError::Denied(why) => config.access_denied(why),
        LogError::TooOld(why) => config.broker_too_old(why),
        LogError::Fenced(_)
        | LogError::InDoubt(_)
        | LogError::RecordTooLarge { .. }
        | LogError::DiskFull(_)
        | LogError::Refused(_)
        | LogError::Damaged(_) => return None,
    })
}

/// The embedded log could not be opened.
pub(crate) fn unusable(config: &Config, error: &LogError) -> Option<Problem> {
    match error {
        LogError::Refused(why) | LogError::Damaged(why) => Some(config.log_unusable(why)),
        error => problem(config, error),
    }
}
