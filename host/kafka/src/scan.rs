//! Reads a range of one partition.

use std::time::{Duration, Instant};

use reelflow_core::record::{Offset, Record};
use reelflow_ports::log::{LogError, TopicPartition};

use crate::{
    admin::kafka_partition,
    config::KafkaConfig,
    error::{is_transient, kafka_error, log_error, native_error, with_cause},
    native::{messages::News, reader::Reader},
};

const MESSAGES_MAX: usize = 1024;

/// Gives `each` the committed records of `at` from `from` on and before `to`, until it returns `false`. The caller has checked
/// that the log holds this range.
///
/// The range may end in records of aborted transactions and in markers, which never show up: then the end of the partition, or
/// a record past the range, tells that there is no more.
pub(crate) fn scan(
    config: &KafkaConfig,
    at: &TopicPartition,
    from: Offset,
    to: Offset,
    each: &mut dyn FnMut(Record<'_>) -> bool,
) -> Result<(), LogError> {
    let doing = format!("cannot read {at} from offset {from} to {to}");
    let mut reader = Reader::new(&config.reader(), &at.topic, kafka_partition(at), MESSAGES_MAX)
        .map_err(|error| kafka_error(&error, &doing))?;
    reader.start(from).map_err(|error| native_error(&error, &doing))?;
    let mut heard_at = Instant::now();
    loop {
        let mut read = take(&mut reader, Duration::ZERO, MESSAGES_MAX, from, to, each);
        if matches!(read, Read::Nothing) {
            read = take(&mut reader, Duration::from_millis(100), 1, from, to, each);
        }
        match read {
            Read::Some => heard_at = Instant::now(),
            Read::Done => return Ok(()),
            Read::Failed(error) => return Err(error),
            Read::Nothing => {
                reader.listen();
                if heard_at.elapsed() > config.wait_max {
                    let error = LogError::Unavailable(format!("{doing}: no records came for {} s", config.wait_max.as_secs()));
                    return Err(with_cause(error, reader.health()));
                }
            }
        }
    }
}

enum Read {
    Nothing,
    Some,
    Done,
    Failed(LogError),
}

fn take(
    reader: &mut Reader,
    wait: Duration,
    n_messages_max: usize,
    from: Offset,
    to: Offset,
    each: &mut dyn FnMut(Record<'_>) -> bool,
) -> Read {
    let messages = reader.consume(wait, n_messages_max);
    for message in messages.iter() {
        match message.news() {
            // A broker answers with whole batches; librdkafka leaves out what is before the position, and so do we.
            News::Record if message.offset() < from => {}
            News::Record if message.offset() >= to => return Read::Done,
            News::Record => {
                let wants_more = each(message.record(&message.headers()));
                if !wants_more || message.offset() + 1 >= to {
                    return Read::Done;
                }
            }
            // The end moves while we read; it was at `to` or past it before.
            News::End(_) => return Read::Done,
            News::Failed(code, _) if is_transient(code) => {}
            News::Failed(code, reason) => {
                return Read::Failed(log_error(
                    code,
                    &format!("cannot read {}[{}]", message.topic(), message.partition()),
                    &reason,
                ));
            }
        }
    }
    if messages.len() == 0 { Read::Nothing } else { Read::Some }
}
