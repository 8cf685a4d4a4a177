//! One life of one member: a consumer and a producer that share a transaction.

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::TopicPartitionList;
use reelflow_core::record::{Offset, Outgoing, Partition};
use reelflow_ports::log::{Appended, Commit, Guarantee, LogError, MemberSpec, Polled, Session, TopicPartition};

use crate::{
    admin::{kafka_partition, positions},
    config::KafkaConfig,
    error::{kafka_error, native_error, with_cause},
    native::{
        NativeError,
        consumer::{GroupConsumer, GroupMetadata, Rebalance},
        producer::{End, Producer},
    },
    reading::{CHUNK_RECORDS, Readings},
    sending::{check_sizes, send, settle, unsettled},
    visible::Visible,
};

/// A refusal that comes sooner is the answer to the first sending of a commit, since librdkafka waits about 100 ms before it
/// sends again: nothing was kept. One that comes later may follow on a commit that worked and whose answer was lost.
const FIRST_ANSWER_MAX: Duration = Duration::from_millis(50);
/// A session on Kafka.
pub(crate) struct KafkaSession {
    consumer: GroupConsumer,
    producer: Producer,
    guarantee: Guarantee,
    wait_max: Duration,
    /// The generation in which the partitions were given, while they are ours.
    group: Option<GroupMetadata>,
    readings: Readings,
    /// Whether a transaction is open.
    is_open: bool,
    n_deltas: usize,
    /// Without transactions: what `commit` will commit.
    commits: Vec<Commit>,
    /// What the epoch has written, known from `drain` on.
    ends: Vec<End>,
    visible: Arc<Visible>,
}

impl KafkaSession {
    pub(crate) fn join(config: &KafkaConfig, spec: &MemberSpec, visible: Arc<Visible>) -> Result<KafkaSession, LogError> {
        let producer = Producer::new(&config.producer(spec)).map_err(|error| kafka_error(&error, "cannot open a producer"))?;
        if spec.guarantee == Guarantee::ExactlyOnce {
            // First of all: it ends the transaction of an earlier life, whose offsets we may be about to ask for.
            producer.init_transactions(config.wait_max).map_err(|error| {
                producer.poll(Duration::ZERO);
                with_cause(native_error(&error, "cannot start transactions"), producer.health())
            })?;
        }
        let doing = format!("cannot join group \"{}\"", spec.group);
        let consumer = GroupConsumer::new(&config.member(spec), CHUNK_RECORDS).map_err(|error| kafka_error(&error, &doing))?;
        let mut topics = TopicPartitionList::new();
        for topic in &spec.topics {
            topics.add_partition(topic, -1); // any partition
        }
        consumer.subscribe(&topics).map_err(|error| native_error(&error, &doing))?;
        Ok(KafkaSession {
            consumer,
            producer,
            guarantee: spec.guarantee,
            wait_max: config.wait_max,
            group: None,
            readings: Readings::new(config.wait_max),
            is_open: false,
            n_deltas: 0,
            commits: Vec::new(),
            ends: Vec::new(),
            visible,
        })
    }

    fn rebalanced(&mut self, rebalance: Rebalance) -> Polled {
        match rebalance {
            Rebalance::Assigned(partitions, group) => {
                self.group = Some(group);
                let mut assigned: Vec<TopicPartition> = partitions
                    .into_iter()
                    .map(|(topic, partition)| TopicPartition { topic: topic.into(), partition: partition as Partition })
                    .collect();
                assigned.sort();
                Polled::Assigned(assigned)
            }
            Rebalance::Revoked => Polled::Revoked,
            Rebalance::Lost => Polled::Lost,
        }
    }

    fn is_transactional(&self) -> bool {
        self.guarantee == Guarantee::ExactlyOnce
    }

    fn begin(&mut self) -> Result<(), LogError> {
        if self.is_transactional() && !self.is_open {
            self.producer.begin_transaction().map_err(|error| self.ended(&error, "cannot begin a transaction"))?;
        }
        self.is_open = true;
        Ok(())
    }

    /// What a failed call of the producer means: the reason why the producer is out, if it is, says more than the call's.
    fn ended(&self, error: &NativeError, doing: &str) -> LogError {
        with_cause(native_error(self.producer.fatal_error().as_ref().unwrap_or(error), doing), self.producer.health())
    }

    fn commit_transaction(&mut self) -> Result<(), LogError> {
        const DOING: &str = "cannot commit";
        let started = Instant::now();
        let Err(error) = self.producer.commit_transaction(self.wait_max) else { return Ok(()) };
        self.producer.poll(Duration::ZERO);
        let is_first_answer = started.elapsed() < FIRST_ANSWER_MAX;
        match self.ended(&error, DOING) {
            fenced @ LogError::Fenced(_) if is_first_answer => Err(fenced),
            certain if is_first_answer && error.needs_abort => Err(certain),
            _ => Err(LogError::InDoubt(format!("{DOING}: {}", error.text))),
        }
    }

    /// A transaction with records up to `ends` has ended, one way or the other.
    fn remember_ends(&mut self) {
        self.visible.ended(mem::take(&mut self.ends).into_iter().map(|End { topic, partition, end, .. }| {
            (TopicPartition { topic: topic.into(), partition: partition as Partition }, end)
        }));
    }

    fn commit_offsets(&mut self) -> Result<(), LogError> {
        const DOING: &str = "cannot commit offsets";
        let commits = mem::take(&mut self.commits);
        settle(&self.producer, self.wait_max)?;
        if commits.is_empty() {
            return Ok(());
        }
        let offsets = offsets_with_metadata(&commits)?;
        self.consumer.commit(&offsets, self.wait_max).map_err(|error| match native_error(&error, DOING) {
            LogError::Unavailable(reason) => LogError::InDoubt(reason),
            certain => certain,
        })
    }
}

impl Session for KafkaSession {
    fn poll(&mut self, wait: Duration) -> Result<Polled, LogError> {
        self.producer.poll(Duration::ZERO);
        if let Some(rebalance) = self.consumer.next_rebalance() {
            return Ok(self.rebalanced(rebalance));
        }
        self.readings.fetch(&mut self.consumer, wait)?;
        // Records first: they came before the group's decision, or together with it.
        let gathered = self.readings.gathered();
        if !gathered.is_empty() {
            return Ok(Polled::Fetched(gathered));
        }
        if let Some(rebalance) = self.consumer.next_rebalance() {
            return Ok(self.rebalanced(rebalance));
        }
        self.readings.check_brokers(&self.consumer)?;
        Ok(Polled::Idle)
    }

    fn start(&mut self, starts: &[(TopicPartition, Offset)]) -> Result<(), LogError> {
        // A pause outlives an assignment of the same partition.
        let mut before = TopicPartitionList::new();
        for at in self.readings.partitions() {
            before.add_partition(&at.topic, kafka_partition(at));
        }
        if before.count() > 0 {
            self.consumer.pause(&before, false).map_err(|error| native_error(&error, "cannot resume partitions"))?;
        }
        let list = positions(starts.iter().map(|(at, offset)| (at, *offset)))?;
        self.consumer.assign(&list).map_err(|error| native_error(&error, "cannot take on partitions"))?;
        self.readings.start(starts);
        Ok(())
    }

    fn give_up(&mut self) -> Result<(), LogError> {
        self.readings.clear();
        self.group = None;
        self.consumer.unassign().map_err(|error| native_error(&error, "cannot give up partitions"))
    }

    /// Resuming begins where this session stands. Left to itself, librdkafka 2.12 resumes behind the last message that it handed out, and takes
    /// the news that a partition has ended for one: it would go on one past the end, and skip a record or fail.
    fn pause(&mut self, at: &TopicPartition, paused: bool) -> Result<(), LogError> {
        if !paused && let Some(next) = self.readings.next(at) {
            let list = positions([(at, next)])?;
            let turned = self.consumer.seek(&list, self.wait_max);
            turned.map_err(|error| native_error(&error, &format!("cannot go on with {at} at {next}")))?;
        }
        let mut list = TopicPartitionList::new();
        list.add_partition(&at.topic, kafka_partition(at));
        self.consumer.pause(&list, paused).map_err(|error| native_error(&error, &format!("cannot pause or resume {at}")))
    }

    fn append(&mut self, records: &Outgoing) -> Result<(), LogError> {
        check_sizes(&self.producer, records)?;
        self.begin()?;
        send(&mut self.producer, records, None, self.wait_max)
    }

    fn append_deltas(&mut self, deltas: &Outgoing) -> Result<(), LogError> {
        check_sizes(&self.producer, deltas)?;
        self.begin()?;
        send(&mut self.producer, deltas, Some(self.n_deltas), self.wait_max)?;
        self.n_deltas += deltas.len();
        Ok(())
    }

    fn drain(&mut self) -> Result<Vec<Appended>, LogError> {
        let deliveries = settle(&self.producer, self.wait_max)?;
        let appended: Vec<Appended> = deliveries
            .tracked
            .into_iter()
            .flatten()
            .map(|(partition, offset)| Appended { partition: partition as Partition, offset })
            .collect();
        self.ends = deliveries.ends;
        let n_deltas = mem::take(&mut self.n_deltas);
        assert_eq!(appended.len(), n_deltas, "all records are settled without an error, so each delta has an offset");
        Ok(appended)
    }

    fn add_offsets(&mut self, commits: &[Commit]) -> Result<(), LogError> {
        self.begin()?;
        let Some(group) = &self.group else {
            return Err(LogError::Fenced("cannot add offsets: this member has no partitions".to_owned()));
        };
        if !self.is_transactional() {
            self.commits.extend_from_slice(commits);
            return Ok(());
        }
        let offsets = offsets_with_metadata(commits)?;
        let sent = self.producer.send_offsets(&offsets, group, self.wait_max);
        sent.map_err(|error| self.ended(&error, "cannot add offsets to the transaction"))
    }

    fn commit(&mut self) -> Result<(), LogError> {
        if !self.is_open {
            return Ok(());
        }
        match self.guarantee {
            Guarantee::ExactlyOnce => self.commit_transaction()?,
            Guarantee::AtLeastOnce => self.commit_offsets()?,
        }
        self.is_open = false;
        self.remember_ends();
        Ok(())
    }

    fn abort(&mut self) -> Result<(), LogError> {
        if !self.is_open {
            return Ok(());
        }
        match self.guarantee {
            Guarantee::ExactlyOnce => {
                let aborted = self.producer.abort_transaction(self.wait_max);
                aborted.map_err(|error| self.ended(&error, "cannot abort the transaction"))?;
            }
            // What was sent stays. It must be settled all the same, or its reports would be taken for the next epoch's.
            Guarantee::AtLeastOnce if !self.producer.flush(self.wait_max) => return Err(unsettled(&self.producer)),
            Guarantee::AtLeastOnce => self.commits.clear(),
        }
        self.ends.extend(self.producer.take_deliveries().ends);
        self.remember_ends();
        (self.is_open, self.n_deltas) = (false, 0);
        Ok(())
    }

    fn leave(mut self: Box<Self>) -> Result<(), LogError> {
        self.abort()?; // an open transaction would hold every reader back until its time-out
        self.group = None;
        match self.consumer.leave(self.wait_max) {
            true => Ok(()),
            false => Err(LogError::Unavailable("the group could not be told that this member leaves".to_owned())),
        }
    }
}

fn offsets_with_metadata(commits: &[Commit]) -> Result<TopicPartitionList, LogError> {
    let list = positions(commits.iter().map(|commit| (&commit.at, commit.next)))?;
    for commit in commits {
        let mut element =
            list.find_partition(&commit.at.topic, kafka_partition(&commit.at)).expect("each commit's partition is in the list");
        element.set_metadata(&commit.metadata);
    }
    Ok(list)
}
