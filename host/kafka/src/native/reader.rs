//! Reads one partition from a position on, in no group: librdkafka's simple consumer, which needs no rights on groups.

use std::{ffi::CString, time::Duration};

use rdkafka::{
    ClientConfig, ClientContext,
    bindings::{self, rd_kafka_topic_t},
    client::Client,
    error::KafkaResult,
    types::RDKafkaType,
};
use reelflow_core::record::Offset;

use super::{
    Health, NativeError, Queue, client,
    messages::{Buffer, Messages},
};

#[derive(Default)]
pub(crate) struct ReaderEvents {
    health: Health,
}

impl AsRef<Health> for ReaderEvents {
    fn as_ref(&self) -> &Health {
        &self.health
    }
}

impl ClientContext for ReaderEvents {}

/// A reader of one partition. Dropping it stops the reading.
pub(crate) struct Reader {
    topic: *mut rd_kafka_topic_t,
    partition: i32,
    queue: Queue,
    client: Client<ReaderEvents>,
    buffer: Buffer,
}

// SAFETY: see the module's header on threads; the topic handle is used through its owner alone.
unsafe impl Send for Reader {}

impl Reader {
    /// `topic` must not contain a NUL; the caller has found it in the cluster's metadata.
    pub(crate) fn new(config: &ClientConfig, topic: &str, partition: i32, n_messages_max: usize) -> KafkaResult<Reader> {
        let topic = CString::new(topic)?;
        let client = client(RDKafkaType::RD_KAFKA_CONSUMER, config, config.create_native_config()?, ReaderEvents::default())?;
        // SAFETY: a live client and a C string, which is copied; no topic configuration means the default one. The references
        // to the topic and to the new queue are ours.
        let (topic, queue) = unsafe {
            let topic = bindings::rd_kafka_topic_new(client.native_ptr(), topic.as_ptr(), std::ptr::null_mut());
            (topic, Queue(bindings::rd_kafka_queue_new(client.native_ptr())))
        };
        assert!(!topic.is_null(), "a topic without settings of its own can always be named");
        Ok(Reader { topic, partition, queue, client, buffer: Buffer::new(n_messages_max) })
    }

    pub(crate) fn health(&self) -> &Health {
        &self.client.context().health
    }

    /// Starts reading at `from`; to be called once.
    pub(crate) fn start(&self, from: Offset) -> Result<(), NativeError> {
        // SAFETY: the topic and the queue belong to the same live client.
        match unsafe { bindings::rd_kafka_consume_start_queue(self.topic, self.partition, from, self.queue.0) } {
            0 => Ok(()),
            // SAFETY: reads the code that the call left for this thread.
            _ => Err(NativeError::from_code(unsafe { bindings::rd_kafka_last_error() })),
        }
    }

    /// Waits until `n_messages_max` messages are there or `wait` has passed.
    pub(crate) fn consume(&mut self, wait: Duration, n_messages_max: usize) -> Messages<'_> {
        self.buffer.fill(&self.queue, wait, n_messages_max)
    }

    /// Lets the client deliver what it has to report.
    pub(crate) fn listen(&self) {
        // SAFETY: a live client.
        unsafe { bindings::rd_kafka_poll(self.client.native_ptr(), 0) };
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // SAFETY: both are fine when nothing was started; the topic handle is given back once, before its client.
        unsafe {
            bindings::rd_kafka_consume_stop(self.topic, self.partition);
            bindings::rd_kafka_topic_destroy(self.topic);
        }
    }
}
