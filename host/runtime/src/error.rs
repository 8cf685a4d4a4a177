//! Why a pipeline stopped.

use std::{sync::Arc, time::Duration};

use reelflow_core::{
    checkpoint::{ChangelogGap, Epoch, ForeignMetadata},
    record::Offset,
    state::StateError,
};
use reelflow_ports::{
    engine::LoadError,
    files::FilesError,
    history::HistoryError,
    log::{LogError, TopicPartition, Who},
    schemas::SchemasError,
};

use crate::retry::RetriedError;

/// Why a pipeline could not start, or stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The topics are not as the plan needs them; everything that is wrong, in one list.
    #[error("the topics of pipeline \"{pipeline}\" are not ready: {}", list(.problems))]
    Topics { pipeline: Arc<str>, problems: Vec<LogError> },
    /// Two sources read one topic: its committed position can carry one recovery point only.
    #[error("topic \"{topic}\" is read by more than one source")]
    TopicReadTwice { topic: Arc<str> },
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log went on failing: the last error of many.
    #[error("gave up after failing for {} s: {last}", .failing_for.as_secs())]
    GaveUp { failing_for: Duration, last: LogError },
    /// A schema registry went on failing, or will never answer.
    #[error("records cannot be read: {last}")]
    Schemas { failing_for: Duration, last: SchemasError },
    #[error("the state of {task} cannot be recovered: {why}")]
    Recovery { task: String, why: RecoveryError },
    /// Other processes run code that this one cannot.
    #[error("the pipeline runs code that does not fit this process: {why}")]
    Code { why: String },
    #[error("a plugin cannot be instantiated: {0}")]
    Plugin(#[from] LoadError),
    #[error("the files of sink \"{sink}\" cannot be published: {why}")]
    Files { sink: Arc<str>, why: FilesError },
    #[error("the history cannot be replayed: {0}")]
    History(#[from] HistoryError),
    #[error("it cannot be told which dead letters were put back: {0}")]
    Retried(#[from] RetriedError),
    /// The log broke its contract.
    #[error("the log gave {0}, which this worker does not own")]
    NotOwned(TopicPartition),
    #[error("worker {worker} panicked: {message}")]
    Panicked { worker: usize, message: String },
    #[error("the publisher of files panicked: {message}")]
    PublisherPanicked { message: String },
    #[error("the control panicked: {message}")]
    ControlPanicked { message: String },
    #[error("the loader of the history panicked: {message}")]
    LoaderPanicked { message: String },
}

/// Why committed state cannot be read back. Nothing was changed; nothing is started over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryError {
    #[error(transparent)]
    Gap(#[from] ChangelogGap),
    #[error(transparent)]
    Foreign(#[from] ForeignMetadata),
    #[error(transparent)]
    State(#[from] StateError),
    /// The bytes of one record of the changelog are not what was written.
    #[error("{at}, offset {offset}: {why}")]
    Unreadable { at: TopicPartition, offset: Offset, why: Box<StateError> },
    /// The position was moved by hand, or the topic was created anew.
    #[error("{at} is committed at {committed}, but epoch {epoch} was sealed at {sealed}")]
    Moved { at: TopicPartition, committed: Offset, epoch: Epoch, sealed: Offset },
}

impl RunError {
    pub fn who(&self) -> Who {
        match self {
            RunError::Topics { .. }
            | RunError::TopicReadTwice { .. }
            | RunError::Recovery { .. }
            | RunError::Code { .. }
            | RunError::Plugin(_)
            | RunError::Retried(_) => Who::User,
            RunError::Log(error) => error.who(),
            RunError::Files { why, .. } => why.who(),
            RunError::Schemas { last, .. } => last.who(),
            RunError::History(why) => why.who(),
            RunError::GaveUp { .. } => Who::Environment,
            RunError::NotOwned(_)
            | RunError::Panicked { .. }
            | RunError::PublisherPanicked { .. }
            | RunError::ControlPanicked { .. }
            | RunError::LoaderPanicked { .. } => Who::Bug,
        }
    }
}

fn list(problems: &[LogError]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
