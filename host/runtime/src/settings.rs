//! How a pipeline is run: data only, all of it bounded (I-9).

use std::{sync::Arc, time::Duration};

use reelflow_core::checkpoint::BASE_AFTER_BYTES;
use reelflow_ports::log::Guarantee;

/// How a process runs its share of a pipeline.
#[derive(Clone, Debug)]
pub struct Settings {
    pub guarantee: Guarantee,
    /// Worker threads of this process, at least 1. More than partitions is a waste: the surplus idles.
    pub n_workers: usize,
    /// Names this process among those that run the same pipeline. Stable over restarts, so that a new life fences the one before;
    /// two processes at the same time must have different names, or they fence each other.
    pub instance: Arc<str>,
    /// An epoch is sealed this long after its first change,
    pub commit_interval: Duration,
    /// or once it has read this many records,
    pub epoch_records_max: usize,
    /// or read and written this many bytes.
    pub epoch_bytes_max: usize,
    /// A member that was not heard of for so long loses its partitions.
    pub session_timeout: Duration,
    /// An open transaction holds readers of committed records back for at most this long. Longer than any epoch takes.
    pub transaction_timeout: Duration,
    /// Records of internal topics that nobody needs any more are deleted once there are this many; at least 1. Of those that were read as many
    /// stay, for a shadow that reads a little later.
    pub trim_slack: i64,
    /// The changelog is also cut at a base once this many bytes were written to it: its records are up to 256 KB long.
    pub trim_slack_bytes: usize,
    /// A task is asked for a base once all tasks of its partition have written more than this, and than twice their state, since its last.
    pub base_after_bytes: usize,
    pub outage: Outage,
    pub alignment: Option<Alignment>,
    pub trial: TrialRules,
    /// Stop once everything is processed that was in the source topics at the start.
    pub until_end: bool,
}

/// How new code is tried before it counts.
#[derive(Clone, Copy, Debug)]
pub struct TrialRules {
    /// A trial lasts for so many commit intervals, and for no more than a third of the transaction timeout; at least 1. Nothing of it is committed
    /// before it is over.
    pub n_epochs: u32,
    /// Rows gather for so many commit intervals in front of it, and for no longer than a trial may last; 0: they do not.
    pub n_epochs_gathering: u32,
    /// The share of rows that the new code may refuse, or break by, beyond that of the old code. Where the old code never broke, the first fault
    /// ends the trial.
    pub bad_share_max: f64,
    /// Partitions that have passed wait for so long for the others; then the trial has failed.
    pub verdict_max: Duration,
}

impl TrialRules {
    /// Three epochs behind three in which rows gather, 1 % more rows refused, 8 s.
    pub const STANDARD: TrialRules =
        TrialRules { n_epochs: 3, n_epochs_gathering: 3, bad_share_max: 0.01, verdict_max: Duration::from_secs(8) };
}

/// Source partitions of a worker are read side by side in event time.
#[derive(Clone, Copy, Debug)]
pub struct Alignment {
    /// A partition that is ahead of the slowest one by more than this waits.
    pub max_drift: Duration,
    /// Tasks are given at most so many records of a partition at a time; at least 1. A partition may get ahead by so many more.
    pub piece_records: usize,
}

/// What to do when a session with the log ends by an error that a new session may not have.
#[derive(Clone, Copy, Debug)]
pub struct Outage {
    /// The wait before the first new session; doubles each time.
    pub backoff_min: Duration,
    pub backoff_max: Duration,
    /// After failing for this long without success the error is final.
    pub give_up_after: Duration,
}

impl Settings {
    /// One worker, exactly once, 200 ms epochs, no end.
    pub fn standard(instance: Arc<str>) -> Settings {
        Settings {
            guarantee: Guarantee::ExactlyOnce,
            n_workers: 1,
            instance,
            commit_interval: Duration::from_millis(200),
            epoch_records_max: 500_000,
            epoch_bytes_max: 64 << 20,
            session_timeout: Duration::from_secs(10),
            transaction_timeout: Duration::from_secs(15),
            trim_slack: 1_000,
            trim_slack_bytes: 16 << 20,
            base_after_bytes: BASE_AFTER_BYTES,
            outage: Outage::standard(),
            alignment: None,
            trial: TrialRules::STANDARD,
            until_end: false,
        }
    }
}

impl Alignment {
    pub fn within(max_drift: Duration) -> Alignment {
        Alignment { max_drift, piece_records: 1_024 }
    }
}

impl Outage {
    /// From 100 ms to 5 s, for two minutes.
    pub fn standard() -> Outage {
        Outage {
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(5),
            give_up_after: Duration::from_secs(120),
        }
    }
}
