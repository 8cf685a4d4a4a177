//! One life of one member: a consumer and a producer that share a transaction.

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{TopicPartitionList, error::RDKafkaErrorCode};
use reelflow_core::record::{Offset, Outgoing, Partition, RecordBatch};
use reelflow_ports::log::{Appended, Commit, Fetched, Guarantee, LogError, MemberSpec, Polled, Session, TopicPartition};

use crate::{
    admin::{kafka_partition, positions},
    config::KafkaConfig,
    error::{is_missing, is_transient, kafka_error, log_error, native_error, with_cause},
    native::{
        NativeError,
        consumer::{GroupConsumer, GroupMetadata, Rebalance},
        messages::News,
        producer::{Deliveries, End, Producer},
    },
    visible::Visible,
};

/// How many messages one call into the client takes: with its answers of some MB, far from the 4 GiB that a batch may hold.
const CHUNK_RECORDS: usize = 1024;
/// What one poll gives at most, but for what the last chunk overshoots: epochs are cut between polls.
const POLL_RECORDS_MAX: usize = 8 * CHUNK_RECORDS;
const POLL_BYTES_MAX: usize = 8 << 20;
/// The group's decisions do not end a wait for messages, so no wait is longer.
const WAIT_SLICE: Duration = Duration::from_millis(20);
/// A refusal that comes sooner is the answer to the first sending of a commit, since librdkafka waits about 100 ms before it
/// sends again: nothing was kept. One that comes later may follow on a commit that worked and whose answer was lost.
const FIRST_ANSWER_MAX: Duration = Duration::from_millis(50);
/// How many batches are kept for their memory.
const SPARE_BATCHES_MAX: usize = 16;

/// A session on Kafka.
pub(crate) struct KafkaSession {
    consumer: GroupConsumer,
    producer: Producer,
    guarantee: Guarantee,
    wait_max: Duration,
    /// The generation in which the partitions were given, while they are ours.
    group: Option<GroupMetadata>,
    readings: Vec<Reading>,
    spare: Vec<Arc<RecordBatch>>,
    /// Whether a transaction is open.
    is_open: bool,
    n_deltas: usize,
    /// Without transactions: what `commit` will commit.
    commits: Vec<Commit>,
    /// What the epoch has written, known from `drain` on.
    ends: Vec<End>,
    visible: Arc<Visible>,
}

/// One partition that is being read.
struct Reading {
    at: TopicPartition,
    next: Offset,
    /// What this poll gives.
    batch: Option<RecordBatch>,
    at_end: bool,
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
            readings: Vec::new(),
            spare: Vec::new(),
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

    /// Fetches until there is something, the group has decided something, or `wait` has passed.
    fn fetch(&mut self, wait: Duration) -> Result<(), LogError> {
        let deadline = Instant::now() + wait;
        let (mut n_records, mut n_bytes) = (0, 0);
        loop {
            let n_messages = self.take(Duration::ZERO, CHUNK_RECORDS)?;
            n_records += n_messages;
            if n_messages == CHUNK_RECORDS && n_records < POLL_RECORDS_MAX {
                n_bytes = self.readings.iter().filter_map(|reading| reading.batch.as_ref()).map(RecordBatch::n_bytes).sum();
                if n_bytes < POLL_BYTES_MAX {
                    continue;
                }
            }
            let is_over = n_bytes > 0 || self.readings.iter().any(|reading| reading.batch.is_some());
            let left = deadline.saturating_duration_since(Instant::now());
            if is_over || left.is_zero() || self.consumer.has_rebalance() {
                return Ok(());
            }
            // One only, since asking for more waits until all of them are there.
            n_records += self.take(left.min(WAIT_SLICE), 1)?;
        }
    }

    /// Moves messages into the batches of their partitions. Returns how many messages there were.
    fn take(&mut self, wait: Duration, n_messages_max: usize) -> Result<usize, LogError> {
        let KafkaSession { consumer, readings, spare, .. } = self;
        let messages = consumer.consume(wait, n_messages_max);
        let n_messages = messages.len();
        let mut failure = None;
        let mut current = None;
        for message in messages.iter() {
            let source = message.source();
            let reading_idx = match current {
                Some((same, reading_idx)) if same == source => reading_idx,
                _ => readings.iter().position(|reading| {
                    kafka_partition(&reading.at) == message.partition() && &*reading.at.topic == message.topic()
                }),
            };
            current = Some((source, reading_idx));
            match (message.news(), reading_idx) {
                (News::Failed(code, reason), _) => {
                    failure.get_or_insert_with(|| (code, reason, message.topic().to_owned(), reading_idx));
                }
                (_, None) => {} // of a partition that was given up meanwhile
                (News::Record, Some(reading_idx)) => {
                    let reading = &mut readings[reading_idx];
                    if message.offset() >= reading.next {
                        let batch = reading.batch.get_or_insert_with(|| take_spare(spare));
                        batch.push(message.record(&message.headers()));
                        (reading.next, reading.at_end) = (message.offset() + 1, false);
                    }
                }
                (News::End(offset), Some(reading_idx)) => {
                    let reading = &mut readings[reading_idx];
                    reading.batch.get_or_insert_with(|| take_spare(spare));
                    (reading.next, reading.at_end) = (reading.next.max(offset), true);
                }
            }
        }
        drop(messages);
        match failure {
            Some((code, reason, topic, reading_idx)) => self.failed(code, &reason, &topic, reading_idx)?,
            None if n_messages > 0 => self.consumer.health().brokers_answered(),
            None => {}
        }
        Ok(n_messages)
    }

    /// What an error that came instead of a message means; `Ok` if the client recovers from it by itself.
    fn failed(&self, code: RDKafkaErrorCode, reason: &str, topic: &str, reading_idx: Option<usize>) -> Result<(), LogError> {
        if let Some(error) = self.consumer.fatal_error() {
            return Err(native_error(&error, "the consumer has ended"));
        }
        match (code, reading_idx) {
            (RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange, Some(reading_idx)) => {
                let Reading { at, next, .. } = &self.readings[reading_idx];
                let found = self.consumer.client().fetch_watermarks(&at.topic, kafka_partition(at), self.wait_max);
                let (earliest, end) =
                    found.map_err(|error| kafka_error(&error, &format!("cannot ask for the offsets of {at}")))?;
                Err(LogError::OffsetLost { at: at.clone(), wanted: *next, earliest, end })
            }
            (code, _) if is_missing(code) && !topic.is_empty() => Err(LogError::TopicMissing(topic.into())),
            (code, _) if is_transient(code) => {
                tracing::debug!(%code, reason, topic, "kafka consumer reported");
                Ok(())
            }
            (code, _) => Err(log_error(code, "cannot consume", reason)),
        }
    }

    /// What the poll has gathered.
    fn gathered(&mut self) -> Vec<Fetched> {
        let mut gathered = Vec::new();
        for reading in &mut self.readings {
            let Some(batch) = reading.batch.take() else { continue };
            let batch = Arc::new(batch);
            if self.spare.len() < SPARE_BATCHES_MAX {
                self.spare.push(batch.clone());
            }
            gathered.push(Fetched { at: reading.at.clone(), batch, next: reading.next, at_end: mem::take(&mut reading.at_end) });
        }
        gathered
    }

    /// librdkafka tells when the last connection breaks, never when one is back: so after a while somebody must ask.
    fn check_brokers(&self) -> Result<(), LogError> {
        let health = self.consumer.health();
        match health.all_brokers_down_since() {
            Some(since) if since.elapsed() >= self.wait_max => {
                let topic = self.readings.first().map(|reading| &*reading.at.topic);
                match self.consumer.client().fetch_metadata(topic, Duration::from_secs(1)) {
                    Ok(_) => {
                        health.brokers_answered();
                        Ok(())
                    }
                    Err(error) => Err(with_cause(kafka_error(&error, "no broker answers"), health)),
                }
            }
            _ => Ok(()),
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
        self.fetch(wait)?;
        // Records first: they came before the group's decision, or together with it.
        let gathered = self.gathered();
        if !gathered.is_empty() {
            return Ok(Polled::Fetched(gathered));
        }
        if let Some(rebalance) = self.consumer.next_rebalance() {
            return Ok(self.rebalanced(rebalance));
        }
        self.check_brokers()?;
        Ok(Polled::Idle)
    }

    fn start(&mut self, positions_: &[(TopicPartition, Offset)]) -> Result<(), LogError> {
        let list = positions(positions_.iter().map(|(at, offset)| (at, *offset)))?;
        self.consumer.assign(&list).map_err(|error| native_error(&error, "cannot take on partitions"))?;
        self.readings =
            positions_.iter().map(|(at, offset)| Reading { at: at.clone(), next: *offset, batch: None, at_end: false }).collect();
        Ok(())
    }

    fn give_up(&mut self) -> Result<(), LogError> {
        self.readings.clear();
        self.group = None;
        self.consumer.unassign().map_err(|error| native_error(&error, "cannot give up partitions"))
    }

    fn pause(&mut self, at: &TopicPartition, paused: bool) -> Result<(), LogError> {
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
        self.visible.committed(mem::take(&mut self.ends).into_iter().map(|End { topic, partition, end, .. }| {
            (TopicPartition { topic: topic.into(), partition: partition as Partition }, end)
        }));
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
        drop(self.producer.take_deliveries());
        self.ends.clear();
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

/// Sends records, the first as number `first_tracked` if their offsets are wanted. Waits only for room in the client.
pub(crate) fn send(
    producer: &mut Producer,
    records: &Outgoing,
    first_tracked: Option<usize>,
    wait_max: Duration,
) -> Result<(), LogError> {
    let deadline = Instant::now() + wait_max;
    for (record_idx, (record, partition)) in records.records.iter().zip(&records.partitions).enumerate() {
        let tracked = first_tracked.map(|first| first + record_idx);
        while let Err(error) = producer.produce(&records.topic, *partition, &record, tracked) {
            match error.code {
                RDKafkaErrorCode::QueueFull if Instant::now() < deadline => producer.poll(Duration::from_millis(10)),
                RDKafkaErrorCode::QueueFull => return Err(unsettled(producer)),
                _ => return Err(not_sent(producer, &error, records)),
            }
        }
    }
    producer.poll(Duration::ZERO);
    Ok(())
}

/// Before anything of `records` is sent, so that the transaction is as it was.
pub(crate) fn check_sizes(producer: &Producer, records: &Outgoing) -> Result<(), LogError> {
    for record in records.records.iter() {
        let n_header_bytes: usize = record.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        let n_bytes = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len) + n_header_bytes;
        if n_bytes > producer.record_bytes_max() {
            return Err(LogError::RecordTooLarge { topic: records.topic.clone(), n_bytes });
        }
    }
    Ok(())
}

/// Waits until all that was sent is acknowledged.
pub(crate) fn settle(producer: &Producer, wait_max: Duration) -> Result<Deliveries, LogError> {
    if !producer.flush(wait_max) {
        return Err(unsettled(producer));
    }
    let deliveries = producer.take_deliveries();
    match &deliveries.first_error {
        None => Ok(deliveries),
        Some(error) => Err(undelivered(producer, error.code, &error.topic, error.n_bytes)),
    }
}

fn unsettled(producer: &Producer) -> LogError {
    let error = LogError::Unavailable("records are not acknowledged in time".to_owned());
    with_cause(error, producer.health())
}

fn not_sent(producer: &Producer, error: &NativeError, records: &Outgoing) -> LogError {
    let first_failure = producer.take_deliveries().first_error;
    match first_failure {
        // The transaction cannot be committed since an earlier record failed: that one says why.
        Some(failure) if error.code == RDKafkaErrorCode::State => {
            undelivered(producer, failure.code, &failure.topic, failure.n_bytes)
        }
        _ => undelivered(producer, error.code, &records.topic, records.records.n_bytes()),
    }
}

fn undelivered(producer: &Producer, code: RDKafkaErrorCode, topic: &str, n_bytes: usize) -> LogError {
    let doing = format!("cannot write to topic \"{topic}\"");
    if let Some(error) = producer.fatal_error() {
        return native_error(&error, &doing);
    }
    match code {
        RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::MessageBatchTooLarge => {
            LogError::RecordTooLarge { topic: topic.into(), n_bytes }
        }
        code if is_missing(code) => LogError::TopicMissing(topic.into()),
        code => with_cause(log_error(code, &doing, &code.to_string()), producer.health()),
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

/// A batch whose memory was used before and is not looked at any more, or a new one.
fn take_spare(spare: &mut Vec<Arc<RecordBatch>>) -> RecordBatch {
    let unused = spare.iter().position(|batch| Arc::strong_count(batch) == 1);
    let batch = unused.and_then(|idx| Arc::into_inner(spare.swap_remove(idx)));
    batch.map_or_else(RecordBatch::default, |mut batch| {
        batch.clear();
        batch
    })
}
