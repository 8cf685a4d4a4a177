//! The port to logs: topics, a group of consumers, and transactions that hold outputs, state and offsets together.

use std::{fmt, sync::Arc, time::Duration};

use reelflow_core::record::{Offset, Outgoing, Partition, Record, RecordBatch};

/// One partition of one topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    pub topic: Arc<str>,
    pub partition: Partition,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)
    }
}

/// What a log promises of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// Outputs, state and offsets commit together or not at all.
    ExactlyOnce,
    /// Outputs may repeat after a crash; state and counts do not.
    AtLeastOnce,
}

/// A topic to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    pub name: Arc<str>,
    pub n_partitions: u32,
    pub retention: Retention,
}

/// How long a topic keeps its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// As the log is configured, counted from the records' own timestamps.
    FromTimestamp,
    /// As the log is configured, counted from when they arrive: what a pipeline says about last year must not be gone before it is
    /// read. Kafka then replaces the records' timestamps by the time of arrival.
    FromArrival,
    /// For ever, until [`Log::trim`].
    UntilTrimmed,
}

/// Who joins a group, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberSpec {
    /// The consumer group: the pipeline.
    pub group: Arc<str>,
    /// Stable over restarts: names the member and its transactions, so that a new life fences the one before at once.
    pub member: Arc<str>,
    /// What the group reads; all topics have the same partition count.
    pub topics: Vec<Arc<str>>,
    pub guarantee: Guarantee,
    /// A member that was not heard of for so long is taken for dead.
    pub session_timeout: Duration,
    /// A transaction that is open for longer is aborted by the log.
    pub transaction_timeout: Duration,
}

/// A committed position and its metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    pub at: TopicPartition,
    /// The next record to read.
    pub next: Offset,
    pub metadata: String,
}

/// Which offsets a delta got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    pub partition: Partition,
    pub offset: Offset,
}

/// Records of one partition, or the news that it has no more.
#[derive(Clone, Debug)]
pub struct Fetched {
    pub at: TopicPartition,
    pub batch: Arc<RecordBatch>,
    /// The position after this batch: at or past the last record's offset + 1, since markers of transactions take offsets too.
    pub next: Offset,
    /// Whether the end of the partition was reached.
    pub at_end: bool,
}

/// What a poll gave.
#[derive(Clone, Debug)]
pub enum Polled {
    /// Nothing within the time.
    Idle,
    Fetched(Vec<Fetched>),
    /// These partitions are this member's now, all of them; nothing is read before [`Session::start`].
    Assigned(Vec<TopicPartition>),
    /// All partitions go away: seal what is open, then [`Session::give_up`].
    Revoked,
    /// All partitions are somebody else's already: forget the open epoch, then [`Session::give_up`].
    Lost,
}

/// What went wrong in a log, by what can be done about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The log does not answer, or not in time. Retrying may help.
    #[error("the log is unavailable: {0}")]
    Unavailable(String),
    /// Another life of this member took over, or the group moved on: this session is over, nothing of its epoch was kept.
    #[error("this worker was replaced: {0}")]
    Fenced(String),
    /// Nobody knows whether the transaction was committed: this session is over, the log knows the truth.
    #[error("the outcome of a transaction is unknown: {0}")]
    InDoubt(String),
    #[error("topic \"{0}\" does not exist")]
    TopicMissing(Arc<str>),
    #[error("topic \"{topic}\" has {found} partitions instead of {wanted}")]
    PartitionCount { topic: Arc<str>, found: u32, wanted: u32 },
    /// A position that must be read is not there any more.
    #[error("records of {at} from offset {wanted} on are lost: the log holds {earliest} to {end}")]
    OffsetLost { at: TopicPartition, wanted: Offset, earliest: Offset, end: Offset },
    #[error("a record of {n_bytes} bytes for topic \"{topic}\" is larger than the log takes")]
    RecordTooLarge { topic: Arc<str>, n_bytes: usize },
    #[error("no space is left for the log: {0}")]
    DiskFull(String),
    /// Bad credentials, no rights.
    #[error("the log denies access: {0}")]
    Denied(String),
    /// The log is older than what is asked of it needs.
    #[error("the log is too old: {0}")]
    TooOld(String),
    /// Bad settings, or something that this log cannot do.
    #[error("the log refuses: {0}")]
    Refused(String),
    #[error("the log is damaged: {0}")]
    Damaged(String),
}

/// Who must act on an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Mend the manifest, the topics, the data.
    User,
    /// Apply the plugin's failure policy.
    Plugin,
    /// Retry with a cap.
    Environment,
    /// Stop: this is ours to mend.
    Bug,
}

impl LogError {
    pub fn who(&self) -> Who {
        match self {
            LogError::Unavailable(_) | LogError::Fenced(_) | LogError::InDoubt(_) | LogError::DiskFull(_) => Who::Environment,
            LogError::TopicMissing(_)
            | LogError::PartitionCount { .. }
            | LogError::OffsetLost { .. }
            | LogError::RecordTooLarge { .. }
            | LogError::Denied(_)
            | LogError::TooOld(_)
            | LogError::Refused(_)
            | LogError::Damaged(_) => Who::User,
        }
    }

    /// Whether a new session may succeed where this one ended.
    pub fn ends_only_the_session(&self) -> bool {
        matches!(self, LogError::Unavailable(_) | LogError::Fenced(_) | LogError::InDoubt(_))
    }
}

/// A log. Shared by all workers of a process.
pub trait Log: Send + Sync {
    /// What it is and where, in a few words: `Kafka at localhost:9092`.
    fn describe(&self) -> String;

    /// Which log it is: the same for whoever opens it, wherever and by whatever address, and no other log's.
    fn identity(&self) -> Result<String, LogError>;

    /// All topics that are not the log's own, by name, with their partition counts.
    fn topics(&self) -> Result<Vec<(Arc<str>, u32)>, LogError>;

    /// The partition count of `topic`, or `None` if it does not exist.
    fn n_partitions(&self, topic: &str) -> Result<Option<u32>, LogError>;

    /// Creates `topic`. Fine if it exists with the same partition count, [`LogError::PartitionCount`] if with another.
    fn create_topic(&self, topic: &NewTopic) -> Result<(), LogError>;

    /// Earliest offset, and the end as a reader of committed records sees it (one past the last).
    fn offsets(&self, at: &TopicPartition) -> Result<(Offset, Offset), LogError>;

    /// Whether records lie past the end that [`Log::offsets`] gives, of transactions that are still open: they may yet be committed,
    /// and hide what was committed behind them. Never so where transactions appear as a whole.
    fn is_undecided(&self, _at: &TopicPartition) -> Result<bool, LogError> {
        Ok(false)
    }

    /// Gives `each` the committed records of `at` with `from <= offset < to`, in order, until it returns `false`.
    /// [`LogError::OffsetLost`] when `from` is before the earliest offset or `to` after the end; [`LogError::Unavailable`] while
    /// somebody's open transaction hides records before `to`.
    fn scan(
        &self,
        at: &TopicPartition,
        from: Offset,
        to: Offset,
        each: &mut dyn FnMut(Record<'_>) -> bool,
    ) -> Result<(), LogError>;

    /// The committed positions of `group` on `topics`, where there are any. Waits for transactions in flight to end.
    fn committed(&self, group: &str, topics: &[Arc<str>]) -> Result<Vec<Commit>, LogError>;

    /// Forgets the records of `at` before `before`. A log may ignore this.
    fn trim(&self, at: &TopicPartition, before: Offset) -> Result<(), LogError>;

    /// Joins a group. Fences an earlier life of the same member and ends its open transaction.
    fn join(&self, spec: &MemberSpec) -> Result<Box<dyn Session>, LogError>;

    /// Writes records outside of any group and transaction; durable when it returns.
    fn write(&self, records: &Outgoing) -> Result<(), LogError>;
}

/// One life of one member: a consumer and a transactional producer. After any error but the reader's own mistake
/// ([`LogError::RecordTooLarge`]) the session must be dropped and joined anew.
///
/// The six methods from `append_deltas` to `abort` are called by `reelflow-runtime`'s `seal` module alone (I-5).
pub trait Session: Send {
    /// Waits up to `wait` for something to happen.
    fn poll(&mut self, wait: Duration) -> Result<Polled, LogError>;

    /// Accepts an assignment: reading starts at these positions, one for each assigned partition. Between two epochs it may be called again, to
    /// read on elsewhere: what was fetched before comes no more, and nothing is paused.
    fn start(&mut self, positions: &[(TopicPartition, Offset)]) -> Result<(), LogError>;

    /// Lets go of all partitions after `Revoked` or `Lost`.
    fn give_up(&mut self) -> Result<(), LogError>;

    /// Stops or resumes fetching of one partition; the group membership goes on.
    fn pause(&mut self, at: &TopicPartition, paused: bool) -> Result<(), LogError>;

    /// Sends records within the open transaction, which begins here if none is open. Returns before they are acknowledged.
    fn append(&mut self, records: &Outgoing) -> Result<(), LogError>;

    /// Like `append`, for records whose offsets [`Session::drain`] must report.
    fn append_deltas(&mut self, deltas: &Outgoing) -> Result<(), LogError>;

    /// Waits until every record of the transaction is acknowledged. Gives the offsets of its deltas, in the order of appending.
    fn drain(&mut self) -> Result<Vec<Appended>, LogError>;

    /// Adds positions to the transaction.
    fn add_offsets(&mut self, commits: &[Commit]) -> Result<(), LogError>;

    /// The commit point. After `Ok`, all of the transaction is visible; after `Err`, see [`LogError`].
    fn commit(&mut self) -> Result<(), LogError>;

    /// Drops the open transaction, if any.
    fn abort(&mut self) -> Result<(), LogError>;

    /// Leaves the group at once, so that others need not wait for the session time-out.
    fn leave(self: Box<Self>) -> Result<(), LogError>;
}
