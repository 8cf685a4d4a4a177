//! Why a pipeline stopped.

use std::{fmt, sync::Arc, time::Duration};

use reelflow_core::{
    checkpoint::{ChangelogGap, Epoch, ForeignMetadata},
    plan::{ErrorsMax, Plan},
    record::Offset,
    state::StateError,
    task::{Exceeded, RowFailure, RowPlace, StageFailure},
};
use reelflow_ports::{
    bases::BaseError,
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
    /// The store of bases cannot be used, or failed for too long.
    #[error(transparent)]
    Bases(#[from] BaseError),
    #[error("the state of {task} cannot be recovered: {why}")]
    Recovery { task: String, why: RecoveryError },
    /// Other processes run code that this one cannot.
    #[error("the pipeline runs code that does not fit this process: {why}")]
    Code { why: String },
    #[error("a plugin cannot be instantiated: {0}")]
    Plugin(#[from] LoadError),
    #[error(transparent)]
    Stage(#[from] Box<StageError>),
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
    #[error("the writer of bases panicked: {message}")]
    BasesPanicked { message: String },
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
    /// The bytes of a base are those that were written, and are no state.
    #[error("base {name}: {why}")]
    UnreadableBase { name: String, why: Box<StateError> },
    /// The changelog was cut behind the bases, since they were durable.
    #[error("the store of bases at {store} lacks {bases}")]
    BasesLost { store: String, bases: String },
    /// The manifest of whoever wrote the state named one.
    #[error("its base {name} lies in a store, and the manifest names none")]
    NoStore { name: String },
    /// The position was moved by hand, or the topic was created anew.
    #[error("{at} is committed at {committed}, but epoch {epoch} was sealed at {sealed}")]
    Moved { at: TopicPartition, committed: Offset, epoch: Epoch, sealed: Offset },
}

/// The failure policy of a stage stopped the pipeline. Nothing of the open epoch was committed, so the next run meets the same row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct StageError {
    pub stage: Arc<str>,
    pub row: RowFailure,
    /// How much went wrong, and how much may. `None`: the stage shall fail at the first error.
    pub exceeded: Option<(Exceeded, ErrorsMax)>,
}

impl StageError {
    pub(crate) fn of(plan: &Plan, failure: StageFailure) -> Box<StageError> {
        let StageFailure { stage, row, exceeded } = failure;
        let stage = &plan.stages[stage];
        let exceeded = exceeded.zip(stage.failing.errors_max);
        Box::new(StageError { stage: stage.name.clone(), row, exceeded })
    }

    /// Where the row stood, in words.
    pub fn place(&self) -> String {
        match &self.row.at {
            RowPlace::Record { topic, partition, offset } => {
                format!("topic \"{topic}\", partition {partition}, offset {offset}")
            }
            RowPlace::Row(text) => format!("row {text}"),
        }
    }
}

impl fmt::Display for StageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StageError { stage, row, exceeded } = self;
        match exceeded {
            None => write!(f, "stage \"{stage}\" failed at {}", self.place())?,
            Some((Exceeded { n_wrong, n_rows }, max)) => {
                let share = max.share_text();
                let blocks = max.of;
                write!(f, "stage \"{stage}\": {n_wrong} errors in {n_rows} rows are more than {share} of {blocks}, ")?;
                write!(f, "the last at {}", self.place())?;
            }
        }
        write!(f, " ({}): {}", row.reason, row.error)
    }
}

impl RunError {
    pub fn who(&self) -> Who {
        match self {
            RunError::Topics { .. }
            | RunError::TopicReadTwice { .. }
            | RunError::Recovery { .. }
            | RunError::Code { .. }
            | RunError::Retried(_) => Who::User,
            RunError::Stage(_) => Who::Plugin,
            RunError::Plugin(error) => error.who(),
            RunError::Log(error) => error.who(),
            RunError::Bases(error) => error.who(),
            RunError::Files { why, .. } => why.who(),
            RunError::Schemas { last, .. } => last.who(),
            RunError::History(why) => why.who(),
            RunError::GaveUp { .. } => Who::Environment,
            RunError::NotOwned(_)
            | RunError::Panicked { .. }
            | RunError::PublisherPanicked { .. }
            | RunError::ControlPanicked { .. }
            | RunError::BasesPanicked { .. }
            | RunError::LoaderPanicked { .. } => Who::Bug,
        }
    }
}

fn list(problems: &[LogError]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
