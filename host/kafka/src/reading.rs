//! Records on their way in: from one queue of messages to a batch for each partition.

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::error::RDKafkaErrorCode;
use reelflow_core::record::{Offset, RecordBatch};
use reelflow_ports::log::{Fetched, LogError, TopicPartition};

use crate::{
    admin::kafka_partition,
    error::{is_missing, is_transient, kafka_error, log_error, native_error, with_cause},
    native::{consumer::GroupConsumer, messages::News},
};

/// How many messages one call into the client takes: with its answers of some MB, far from the 4 GiB that a batch may hold.
pub(crate) const CHUNK_RECORDS: usize = 1024;
/// What one poll gives at most, but for what the last chunk overshoots: epochs are cut between polls.
const POLL_RECORDS_MAX: usize = 8 * CHUNK_RECORDS;
const POLL_BYTES_MAX: usize = 8 << 20;
/// The group's decisions do not end a wait for messages, so no wait is longer.
const WAIT_SLICE: Duration = Duration::from_millis(20);
/// How many batches are kept for their memory.
const SPARE_BATCHES_MAX: usize = 16;

/// The partitions that a session reads, and where it stands.
pub(crate) struct Readings {
    readings: Vec<Reading>,
    spare: Vec<Arc<RecordBatch>>,
    wait_max: Duration,
}

/// One partition that is being read.
struct Reading {
    at: TopicPartition,
    next: Offset,
    /// What this poll gives.
    batch: Option<RecordBatch>,
    at_end: bool,
}

impl Readings {
    /// None. `wait_max`: how long the brokers may be away.
    pub(crate) fn new(wait_max: Duration) -> Readings {
        Readings { readings: Vec::new(), spare: Vec::new(), wait_max }
    }

    /// Replaces what was read by `positions`.
    pub(crate) fn start(&mut self, positions: &[(TopicPartition, Offset)]) {
        let start =
            |(at, offset): &(TopicPartition, Offset)| Reading { at: at.clone(), next: *offset, batch: None, at_end: false };
        self.readings = positions.iter().map(start).collect();
    }

    pub(crate) fn clear(&mut self) {
        self.readings.clear();
    }

    /// What is read.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        self.readings.iter().map(|reading| &reading.at)
    }

    /// Where `at` stands, if it is read.
    pub(crate) fn next(&self, at: &TopicPartition) -> Option<Offset> {
        self.readings.iter().find(|reading| reading.at == *at).map(|reading| reading.next)
    }

    /// Fetches until there is something, the group has decided something, or `wait` has passed.
    pub(crate) fn fetch(&mut self, consumer: &mut GroupConsumer, wait: Duration) -> Result<(), LogError> {
        let deadline = Instant::now() + wait;
        let (mut n_records, mut n_bytes) = (0, 0);
        loop {
            let n_messages = self.take(consumer, Duration::ZERO, CHUNK_RECORDS)?;
            n_records += n_messages;
            if n_messages == CHUNK_RECORDS && n_records < POLL_RECORDS_MAX {
                n_bytes = self.readings.iter().filter_map(|reading| reading.batch.as_ref()).map(RecordBatch::n_bytes).sum();
                if n_bytes < POLL_BYTES_MAX {
                    continue;
                }
            }
            let is_over = n_bytes > 0 || self.readings.iter().any(|reading| reading.batch.is_some());
            let left = deadline.saturating_duration_since(Instant::now());
            if is_over || left.is_zero() || consumer.has_rebalance() {
                return Ok(());
            }
            // One only, since asking for more waits until all of them are there.
            n_records += self.take(consumer, left.min(WAIT_SLICE), 1)?;
        }
    }

    /// Moves messages into the batches of their partitions. Returns how many messages there were.
    fn take(&mut self, consumer: &mut GroupConsumer, wait: Duration, n_messages_max: usize) -> Result<usize, LogError> {
        let Readings { readings, spare, .. } = self;
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
            Some((code, reason, topic, reading_idx)) => self.failed(consumer, code, &reason, &topic, reading_idx)?,
            None if n_messages > 0 => consumer.health().brokers_answered(),
            None => {}
        }
        Ok(n_messages)
    }

    /// What an error that came instead of a message means; `Ok` if the client recovers from it by itself.
    fn failed(
        &self,
        consumer: &GroupConsumer,
        code: RDKafkaErrorCode,
        reason: &str,
        topic: &str,
        reading_idx: Option<usize>,
    ) -> Result<(), LogError> {
        if let Some(error) = consumer.fatal_error() {
            return Err(native_error(&error, "the consumer has ended"));
        }
        match (code, reading_idx) {
            (RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange, Some(reading_idx)) => {
                let Reading { at, next, .. } = &self.readings[reading_idx];
                tracing::warn!(%code, reason, %at, next, "nothing can be read at a position");
                let found = consumer.client().fetch_watermarks(&at.topic, kafka_partition(at), self.wait_max);
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
    pub(crate) fn gathered(&mut self) -> Vec<Fetched> {
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
    pub(crate) fn check_brokers(&self, consumer: &GroupConsumer) -> Result<(), LogError> {
        let health = consumer.health();
        match health.all_brokers_down_since() {
            Some(since) if since.elapsed() >= self.wait_max => {
                let topic = self.readings.first().map(|reading| &*reading.at.topic);
                match consumer.client().fetch_metadata(topic, Duration::from_secs(1)) {
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
