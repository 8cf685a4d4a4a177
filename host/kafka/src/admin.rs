//! Topics: creating them, and forgetting their old records.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use rdkafka::{
    Offset as KafkaOffset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic as KafkaTopic, TopicReplication},
    error::RDKafkaErrorCode,
};
use reelflow_core::record::Offset;
use reelflow_ports::log::{LogError, NewTopic, Retention, TopicPartition};

use crate::{
    config::KafkaConfig,
    error::{is_moving, kafka_error, log_error},
    log::Inquiry,
};

/// How long to wait before asking again for something that the cluster is still spreading among its brokers.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// A client for changes.
pub(crate) struct Admin {
    client: AdminClient<Inquiry>,
    options: AdminOptions,
}

impl Admin {
    pub(crate) fn new(config: &KafkaConfig) -> Result<Admin, LogError> {
        let client = config.inquirer().create_with_context(Inquiry::default());
        let client = client.map_err(|error| kafka_error(&error, "cannot open an admin client"))?;
        let options = AdminOptions::new().request_timeout(Some(config.wait_max)).operation_timeout(Some(config.wait_max));
        Ok(Admin { client, options })
    }

    /// Creates `topic` with the cluster's default replication, unless there is one of that name already.
    pub(crate) fn create(&self, topic: &NewTopic) -> Result<(), LogError> {
        let doing = format!("cannot create topic \"{}\"", topic.name);
        let n_partitions =
            i32::try_from(topic.n_partitions).map_err(|_| LogError::Refused(format!("{doing}: too many partitions")))?;
        let mut wanted = KafkaTopic::new(&topic.name, n_partitions, TopicReplication::Fixed(-1));
        wanted = match topic.retention {
            Retention::FromTimestamp => wanted,
            Retention::FromArrival => wanted.set("message.timestamp.type", "LogAppendTime"),
            Retention::UntilTrimmed => {
                wanted.set("retention.ms", "-1").set("retention.bytes", "-1").set("cleanup.policy", "delete")
            }
        };
        let results =
            block_on(self.client.create_topics([&wanted], &self.options)).map_err(|error| kafka_error(&error, &doing))?;
        match results.into_iter().next() {
            Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(()),
            Some(Err((_, code))) => Err(log_error(code, &doing, &code.to_string())),
            None => Err(LogError::Unavailable(format!("{doing}: the answer is empty"))),
        }
    }

    /// `Ok(None)` if it is worth another try.
    pub(crate) fn trim(&self, at: &TopicPartition, before: Offset) -> Result<Option<()>, LogError> {
        let doing = format!("cannot delete records of {at} before {before}");
        let list = positions([(at, before)])?;
        let result = block_on(self.client.delete_records(&list, &self.options));
        let outcome = result.and_then(|trimmed| trimmed.elements().iter().try_for_each(|element| element.error()));
        match outcome {
            Ok(()) => Ok(Some(())),
            Err(error) if error.rdkafka_error_code().is_some_and(is_moving) => Ok(None),
            Err(error) => Err(kafka_error(&error, &doing)),
        }
    }
}

/// `positions` in librdkafka's form.
pub(crate) fn positions<'a>(
    positions: impl IntoIterator<Item = (&'a TopicPartition, Offset)>,
) -> Result<TopicPartitionList, LogError> {
    let mut list = TopicPartitionList::new();
    for (at, offset) in positions {
        list.add_partition_offset(&at.topic, kafka_partition(at), KafkaOffset::Offset(offset))
            .map_err(|error| kafka_error(&error, &format!("offset {offset} of {at} is no position")))?;
    }
    Ok(list)
}

/// Kafka counts partitions in 31 bits; a number beyond them names a partition that no topic has.
pub(crate) fn kafka_partition(at: &TopicPartition) -> i32 {
    i32::try_from(at.partition).unwrap_or(i32::MAX)
}

/// Asks again and again until there is an answer or `wait_max` has passed.
pub(crate) fn until<T>(wait_max: Duration, mut ask: impl FnMut() -> Result<Option<T>, LogError>) -> Result<Option<T>, LogError> {
    let deadline = Instant::now() + wait_max;
    loop {
        match ask()? {
            Some(answer) => return Ok(Some(answer)),
            None if Instant::now() >= deadline => return Ok(None),
            None => thread::sleep(ASK_AGAIN),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// rdkafka's admin calls are futures that its own thread completes, within the time-out of their options.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
