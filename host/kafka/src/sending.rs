//! Records on their way out, and what came of them.

use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;
use reelflow_core::record::Outgoing;
use reelflow_ports::log::LogError;

use crate::{
    error::{is_missing, log_error, native_error, with_cause},
    native::{
        NativeError,
        producer::{Deliveries, Producer},
    },
};

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

pub(crate) fn unsettled(producer: &Producer) -> LogError {
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
