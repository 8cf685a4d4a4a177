//! Messages as librdkafka gives them: borrowed until the batch is dropped.

use std::{
    ffi::{CStr, c_void},
    ptr, slice,
    sync::Arc,
};

use rdkafka::{
    bindings::{self, rd_kafka_message_t},
    error::RDKafkaErrorCode,
};
use reelflow_core::record::{Header, Offset, Record};

use super::{Queue, code_of, millis, text};
use std::time::Duration;

/// The array that librdkafka fills.
pub(super) struct Buffer(Vec<*mut rd_kafka_message_t>);

// SAFETY: the pointers are only meaningful while a `Messages` borrows the buffer, which keeps both on one thread.
unsafe impl Send for Buffer {}

impl Buffer {
    pub(super) fn new(n_messages_max: usize) -> Buffer {
        Buffer(vec![ptr::null_mut(); n_messages_max])
    }

    /// Waits until `n_messages_max` are there or `wait` has passed; a `wait` of zero takes what is there.
    pub(super) fn fill(&mut self, queue: &Queue, wait: Duration, n_messages_max: usize) -> Messages<'_> {
        let n_messages_max = n_messages_max.min(self.0.len());
        // SAFETY: the queue is alive, and the array has room for as many pointers as are asked for.
        let n_messages =
            unsafe { bindings::rd_kafka_consume_batch_queue(queue.0, millis(wait), self.0.as_mut_ptr(), n_messages_max) };
        // It returns -1 for a timeout in old versions and never more than asked for.
        let n_messages = usize::try_from(n_messages).unwrap_or(0).min(n_messages_max);
        Messages(&self.0[..n_messages])
    }
}

/// Some messages, in the order in which they came; those of one partition are in offset order.
pub(crate) struct Messages<'a>(&'a [*mut rd_kafka_message_t]);

impl Messages<'_> {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Message<'_>> {
        // SAFETY: the first `len` pointers were set by librdkafka and are valid until `drop`, which the borrow outlives.
        self.0.iter().map(|message| Message(unsafe { &**message }))
    }
}

impl Drop for Messages<'_> {
    fn drop(&mut self) {
        for message in self.0 {
            // SAFETY: each message is ours to destroy, once, and nothing borrows from it any more.
            unsafe { bindings::rd_kafka_message_destroy(*message) }
        }
    }
}

/// Where a message came from. Comparing it costs nothing; it is meaningful within one [`Messages`] only, since a topic handle
/// may be freed and its address used again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Source {
    topic: *mut c_void,
    partition: i32,
}

/// What a message is.
pub(crate) enum News {
    Record,
    /// The end of the partition was reached; the position of what comes next.
    End(Offset),
    Failed(RDKafkaErrorCode, String),
}

/// One message.
pub(crate) struct Message<'a>(&'a rd_kafka_message_t);

impl<'a> Message<'a> {
    pub(crate) fn source(&self) -> Source {
        Source { topic: self.0.rkt.cast(), partition: self.0.partition }
    }

    /// The topic's name; empty if an error has none.
    pub(crate) fn topic(&self) -> &'a str {
        if self.0.rkt.is_null() {
            return "";
        }
        // SAFETY: the message keeps a reference to its topic, whose name lives as long.
        let name = unsafe { CStr::from_ptr(bindings::rd_kafka_topic_name(self.0.rkt)) };
        name.to_str().unwrap_or_default() // topic names are ASCII
    }

    pub(crate) fn partition(&self) -> i32 {
        self.0.partition
    }

    pub(crate) fn news(&self) -> News {
        // SAFETY: a field of a live message. It is read as the number that C wrote, since a code without a name in the
        // bindings' enum would be undefined behaviour.
        match unsafe { (&raw const self.0.err).cast::<i32>().read() } {
            0 => News::Record,
            code => match code_of(code) {
                RDKafkaErrorCode::PartitionEOF => News::End(self.0.offset),
                code => {
                    // SAFETY: a live message; the string is copied.
                    News::Failed(code, unsafe { text(bindings::rd_kafka_message_errstr(self.0)) })
                }
            },
        }
    }

    pub(crate) fn offset(&self) -> Offset {
        self.0.offset
    }

    /// The headers, mostly none.
    pub(crate) fn headers(&self) -> Vec<Header> {
        let mut headers = ptr::null_mut();
        // SAFETY: a live message; it keeps what `headers` is set to, unless there are none.
        let code = unsafe { bindings::rd_kafka_message_headers(self.0, &mut headers) };
        if code != bindings::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Vec::new();
        }
        let mut found = Vec::new();
        loop {
            let (mut name, mut value, mut n_bytes) = (ptr::null(), ptr::null(), 0);
            // SAFETY: `headers` is alive with its message, and the three places are ours.
            let code = unsafe { bindings::rd_kafka_header_get_all(headers, found.len(), &mut name, &mut value, &mut n_bytes) };
            if code != bindings::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return found;
            }
            // SAFETY: `name` is a C string and `value` has `n_bytes` bytes, both alive with the message.
            let (name, value) = unsafe { (text(name), bytes(value, n_bytes).unwrap_or_default()) };
            found.push((Arc::from(name), value.to_vec()));
        }
    }

    /// The message as a record. Only for [`News::Record`].
    pub(crate) fn record<'h>(&self, headers: &'h [Header]) -> Record<'h>
    where
        'a: 'h,
    {
        let mut kind = bindings::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: a live message whose key and payload live as long as it; the place for the kind is ours.
        unsafe {
            Record {
                offset: self.0.offset,
                timestamp_ms: bindings::rd_kafka_message_timestamp(self.0, &mut kind),
                key: bytes(self.0.key, self.0.key_len),
                value: bytes(self.0.payload, self.0.len),
                headers,
            }
        }
    }
}

/// # Safety
/// `start` is null or has `n_bytes` bytes that live for `'a`.
unsafe fn bytes<'a>(start: *const c_void, n_bytes: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start.cast::<u8>(), n_bytes) })
}
