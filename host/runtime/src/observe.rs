//! What a running pipeline tells whoever watches: events as they happen, progress a few times a second.

use std::{sync::Arc, time::Duration};

use reelflow_core::{
    checkpoint::Epoch,
    record::{Offset, Partition},
    upgrade::CodeSet,
};
use reelflow_ports::{
    bases::BaseError,
    log::{LogError, TopicPartition},
    schemas::SchemasError,
};

use crate::summary::Summary;

/// Watches a pipeline. Called from the workers' threads: must return fast and never wait for the pipeline.
pub trait Observer: Send + Sync {
    fn event(&self, event: &Event);

    /// The same figures as at the end, about every 250 ms.
    fn progress(&self, so_far: &Summary);
}

/// Something that an operator may want to know.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    TopicCreated {
        topic: Arc<str>,
        n_partitions: u32,
    },
    /// A worker was given these partitions (of every input topic).
    Assigned {
        worker: usize,
        partitions: Vec<Partition>,
    },
    /// The state of all its tasks is back.
    Recovered {
        worker: usize,
        n_tasks: usize,
        state_bytes: usize,
        n_changes: usize,
        took: Duration,
    },
    /// An epoch is committed.
    Sealed(SealedEpoch),
    /// Rows of one partition of a file sink are published.
    Published {
        sink: Arc<str>,
        partition: Partition,
        n_files: usize,
        n_rows: u64,
        n_bytes: u64,
    },
    /// The worker sealed what it had and gave its partitions up.
    Revoked {
        worker: usize,
    },
    /// Another worker owns its partitions already; the open epoch was dropped.
    Lost {
        worker: usize,
    },
    /// The session ended by an error; the open epoch was dropped. Or the log failed before there was a session, or a worker. Another
    /// attempt follows after a wait.
    Retrying {
        worker: Option<usize>,
        error: LogError,
        failing_for: Duration,
        after: Duration,
    },
    /// The schema registry did not answer: partitions whose next records need it wait. It is asked again after a wait.
    AwaitingSchemas {
        worker: usize,
        error: SchemasError,
        failing_for: Duration,
        after: Duration,
    },
    /// A base is durable in the store. A later epoch names it.
    BaseWritten {
        name: String,
        n_bytes: usize,
    },
    /// The store did not take a base. It is tried again after a wait; nothing waits for it.
    BaseDelayed {
        error: BaseError,
        after: Duration,
    },
    /// A base that recovery wanted is gone or damaged. The one before it, and more of the changelog, gave the same state.
    BaseSkipped {
        task: String,
        name: String,
        why: String,
    },
    /// The store of bases did not answer when tasks were to be recovered. It is asked again after a wait.
    AwaitingBases {
        worker: usize,
        error: BaseError,
        failing_for: Duration,
        after: Duration,
    },
    /// The files beside the manifest were replaced, or given up, while the pipeline ran, or are on trial: it goes on with the code that it has.
    FilesStale {
        files: CodeSet,
        running: CodeSet,
    },
    /// Another process was started with this code, which is the pipeline's now.
    CodeStarted {
        code: CodeSet,
    },
    /// Somebody has proposed other code, by the record of the control topic at that offset.
    TrialBegan {
        proposal: Offset,
        code: CodeSet,
        by: Arc<str>,
    },
    /// A worker's tasks have other code. `pause`: for how long they were not given records.
    Switched {
        worker: usize,
        is_trial: bool,
        pause: Duration,
    },
    /// Every partition has passed the trial.
    CodeAccepted {
        proposal: Offset,
        code: CodeSet,
    },
    /// The trial has failed: nothing of it was committed, the code before goes on.
    CodeRolledBack {
        proposal: Offset,
        code: CodeSet,
        why: Arc<str>,
        by: Arc<str>,
    },
    /// A worker's tasks are as they were before the trial, with the code from before.
    Resumed {
        worker: usize,
        took: Duration,
    },
    /// All of a history is processed: from now on the pipeline reads its topics, from here.
    HandedOver {
        positions: Vec<(TopicPartition, Offset)>,
    },
    /// Everything that was in the source topics at the start is processed and committed.
    ReachedEnd,
}

/// What one worker committed in one epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct SealedEpoch {
    pub worker: usize,
    /// How many epochs this worker has sealed in this run, this one included.
    pub nth: Epoch,
    pub records_read: u64,
    pub records_written: u64,
    pub changelog_bytes: u64,
    pub dead_letters: u64,
    /// Reason and stage of one of the dead letters, if there are any.
    pub dead_letter: Option<DeadLetter>,
    /// From the beginning of the seal to the acknowledged commit.
    pub took: Duration,
}

/// Why a record went to the dead-letter topic: what its headers say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The stage or source that refused it.
    pub by: String,
    pub reason: String,
    pub error: String,
}

/// Watches nothing.
#[derive(Clone, Copy, Debug)]
pub struct Blind;

impl Observer for Blind {
    fn event(&self, _: &Event) {}

    fn progress(&self, _: &Summary) {}
}
