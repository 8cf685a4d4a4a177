//! A producer, transactional or not, that hands out delivery reports by callback.

use std::{
    collections::BTreeMap,
    ffi::{CString, c_void},
    mem, ptr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rdkafka::{
    ClientConfig, ClientContext, TopicPartitionList,
    bindings::{
        self, rd_kafka_headers_t, rd_kafka_message_t, rd_kafka_resp_err_t, rd_kafka_t, rd_kafka_topic_t,
        rd_kafka_vtype_t::{
            RD_KAFKA_VTYPE_END, RD_KAFKA_VTYPE_HEADERS, RD_KAFKA_VTYPE_KEY, RD_KAFKA_VTYPE_MSGFLAGS, RD_KAFKA_VTYPE_OPAQUE,
            RD_KAFKA_VTYPE_PARTITION, RD_KAFKA_VTYPE_RKT, RD_KAFKA_VTYPE_TIMESTAMP, RD_KAFKA_VTYPE_VALUE,
        },
    },
    client::Client,
    error::{KafkaResult, RDKafkaErrorCode},
    types::RDKafkaType,
};
use reelflow_core::record::{Header, Offset, Partition, Record};

use super::{Health, NativeError, client, code_of, consumer::GroupMetadata, millis, text};

/// A record that the log did not take.
#[derive(Clone, Debug)]
pub(crate) struct Undelivered {
    pub code: RDKafkaErrorCode,
    pub topic: String,
    pub n_bytes: usize,
}

/// What became of the records that were produced since the last [`Producer::take_deliveries`].
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    /// Where each tracked record went, by its number.
    pub tracked: Vec<Option<(i32, Offset)>>,
    /// The first that failed.
    pub first_error: Option<Undelivered>,
    /// One past the last record of each partition that was written to.
    pub ends: Vec<End>,
    /// Where in `ends` the last report belonged: reports come in runs of one partition.
    end_idx: usize,
}

/// One past the last record that was written to a partition.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub topic: String,
    pub partition: i32,
    pub end: Offset,
    /// The address of the producer's handle, which stays the same for as long as the producer lives.
    handle: usize,
}

impl Deliveries {
    /// # Safety
    /// `message` is a live report.
    unsafe fn delivered(&mut self, message: &rd_kafka_message_t) {
        let (handle, partition) = (message.rkt.addr(), message.partition);
        let is_same = |end: &End| end.handle == handle && end.partition == partition;
        if !self.ends.get(self.end_idx).is_some_and(is_same) {
            self.end_idx = self.ends.iter().position(is_same).unwrap_or(self.ends.len());
        }
        match self.ends.get_mut(self.end_idx) {
            Some(end) => end.end = end.end.max(message.offset + 1),
            None => {
                // SAFETY: the message keeps a reference to its topic.
                let topic = unsafe { text(bindings::rd_kafka_topic_name(message.rkt)) };
                self.ends.push(End { topic, partition, end: message.offset + 1, handle });
            }
        }
    }
}

#[derive(Default)]
pub(crate) struct ProducerEvents {
    health: Health,
    deliveries: Mutex<Deliveries>,
}

impl AsRef<Health> for ProducerEvents {
    fn as_ref(&self) -> &Health {
        &self.health
    }
}

impl ClientContext for ProducerEvents {}

/// The producer.
pub(crate) struct Producer {
    topics: BTreeMap<Arc<str>, TopicHandle>,
    client: Client<ProducerEvents>,
    record_bytes_max: usize,
}

struct TopicHandle(*mut rd_kafka_topic_t);

// SAFETY: see the module's header on threads; the handle is used through its owner alone.
unsafe impl Send for TopicHandle {}

impl Drop for TopicHandle {
    fn drop(&mut self) {
        // SAFETY: a reference of our own, given back once, before its client.
        unsafe { bindings::rd_kafka_topic_destroy(self.0) }
    }
}

impl Producer {
    pub(crate) fn new(config: &ClientConfig) -> KafkaResult<Producer> {
        let native = config.create_native_config()?;
        let record_bytes_max = native.get("message.max.bytes")?.parse().unwrap_or(1_000_000);
        // SAFETY: the configuration is ours until `client` hands it over, and the function has the callback's type.
        unsafe { bindings::rd_kafka_conf_set_dr_msg_cb(native.ptr(), Some(on_delivery)) };
        let client = client(RDKafkaType::RD_KAFKA_PRODUCER, config, native, ProducerEvents::default())?;
        Ok(Producer { topics: BTreeMap::new(), client, record_bytes_max })
    }

    /// The largest key and value together that the client takes.
    pub(crate) fn record_bytes_max(&self) -> usize {
        self.record_bytes_max
    }

    pub(crate) fn health(&self) -> &Health {
        &self.client.context().health
    }

    /// Takes a record into the client's own memory, to be sent. `tracked` numbers those whose offset is wanted, from 0.
    ///
    /// [`RDKafkaErrorCode::QueueFull`]: wait with [`Producer::poll`] and try again.
    pub(crate) fn produce(
        &mut self,
        topic: &Arc<str>,
        partition: Partition,
        record: &Record<'_>,
        tracked: Option<usize>,
    ) -> Result<(), NativeError> {
        let (key, n_key) = parts(record.key);
        let (value, n_value) = parts(record.value);
        // The opaque pointer is a number: 0 for a record that nobody asks about.
        let opaque: *mut c_void = ptr::without_provenance_mut(tracked.map_or(0, |number| number + 1));
        let mut headers = OutgoingHeaders::new(record.headers);
        let topic = self.topic(topic)?;
        // SAFETY: a live client and a topic of it; the arguments follow the list of rd_kafka_producev's tags, each with the C
        // type that its tag asks for, up to END. Key and value are copied (F_COPY) before it returns.
        let code = unsafe {
            bindings::rd_kafka_producev(
                self.client.native_ptr(),
                RD_KAFKA_VTYPE_RKT,
                topic,
                RD_KAFKA_VTYPE_PARTITION,
                i32::try_from(partition).unwrap_or(i32::MAX),
                RD_KAFKA_VTYPE_MSGFLAGS,
                bindings::RD_KAFKA_MSG_F_COPY,
                RD_KAFKA_VTYPE_VALUE,
                value,
                n_value,
                RD_KAFKA_VTYPE_KEY,
                key,
                n_key,
                RD_KAFKA_VTYPE_OPAQUE,
                opaque,
                RD_KAFKA_VTYPE_TIMESTAMP,
                record.timestamp_ms,
                RD_KAFKA_VTYPE_HEADERS,
                headers.0,
                RD_KAFKA_VTYPE_END,
            )
        };
        NativeError::check(code)?;
        headers.0 = ptr::null_mut(); // they went with the record
        Ok(())
    }

    fn topic(&mut self, name: &Arc<str>) -> Result<*mut rd_kafka_topic_t, NativeError> {
        if let Some(handle) = self.topics.get(name) {
            return Ok(handle.0);
        }
        let invalid = || NativeError::from_code(rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION);
        let c_name = CString::new(&**name).map_err(|_| invalid())?;
        // SAFETY: a live client and a C string, which is copied; no topic configuration means the default one.
        let handle = unsafe { bindings::rd_kafka_topic_new(self.client.native_ptr(), c_name.as_ptr(), ptr::null_mut()) };
        if handle.is_null() {
            return Err(invalid());
        }
        self.topics.insert(name.clone(), TopicHandle(handle));
        Ok(handle)
    }

    /// Serves delivery reports for up to `wait`; returns as soon as some were served.
    pub(crate) fn poll(&self, wait: Duration) {
        // SAFETY: a live client.
        unsafe { bindings::rd_kafka_poll(self.client.native_ptr(), millis(wait)) };
    }

    /// Sends at once what lingers, and waits until all is reported on. Returns whether it is.
    pub(crate) fn flush(&self, wait: Duration) -> bool {
        // SAFETY: a live producer.
        NativeError::check(unsafe { bindings::rd_kafka_flush(self.client.native_ptr(), millis(wait)) }).is_ok()
    }

    /// What became of the records so far; complete after a [`Producer::flush`]. Numbers start anew afterwards.
    pub(crate) fn take_deliveries(&self) -> Deliveries {
        mem::take(&mut self.client.context().deliveries.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn init_transactions(&self, wait: Duration) -> Result<(), NativeError> {
        // SAFETY: a live producer; the error becomes ours.
        unsafe { NativeError::take(bindings::rd_kafka_init_transactions(self.client.native_ptr(), millis(wait))) }
    }

    pub(crate) fn begin_transaction(&self) -> Result<(), NativeError> {
        // SAFETY: a live producer; the error becomes ours.
        unsafe { NativeError::take(bindings::rd_kafka_begin_transaction(self.client.native_ptr())) }
    }

    pub(crate) fn send_offsets(
        &self,
        offsets: &TopicPartitionList,
        group: &GroupMetadata,
        wait: Duration,
    ) -> Result<(), NativeError> {
        // SAFETY: a live producer, list and metadata, all copied; the error becomes ours.
        unsafe {
            NativeError::take(bindings::rd_kafka_send_offsets_to_transaction(
                self.client.native_ptr(),
                offsets.ptr(),
                group.ptr(),
                millis(wait),
            ))
        }
    }

    pub(crate) fn commit_transaction(&self, wait: Duration) -> Result<(), NativeError> {
        // SAFETY: a live producer; the error becomes ours.
        unsafe { NativeError::take(bindings::rd_kafka_commit_transaction(self.client.native_ptr(), millis(wait))) }
    }

    /// Purges what was not sent, and tells the coordinator.
    pub(crate) fn abort_transaction(&self, wait: Duration) -> Result<(), NativeError> {
        // SAFETY: a live producer; the error becomes ours.
        unsafe { NativeError::take(bindings::rd_kafka_abort_transaction(self.client.native_ptr(), millis(wait))) }
    }

    /// Why this producer is out for good, if it is: a later one took its transactional id, or its sequence has a gap.
    pub(crate) fn fatal_error(&self) -> Option<NativeError> {
        let mut reason = [0; 512];
        // SAFETY: a live client and a buffer of the given size, which is filled with a C string.
        unsafe {
            let code = bindings::rd_kafka_fatal_error(self.client.native_ptr(), reason.as_mut_ptr(), reason.len());
            NativeError::check(code).err().map(|error| NativeError { text: text(reason.as_ptr()), is_fatal: true, ..error })
        }
    }
}

impl Drop for Producer {
    /// Leaves an open transaction open, as a crash would: the next life of the same transactional id ends it.
    fn drop(&mut self) {
        const EVERYTHING: i32 = bindings::RD_KAFKA_PURGE_F_QUEUE | bindings::RD_KAFKA_PURGE_F_INFLIGHT;
        // SAFETY: a live producer. Without the purge, destroying would leave records without a report, and leak them.
        unsafe { bindings::rd_kafka_purge(self.client.native_ptr(), EVERYTHING) };
        if !self.flush(Duration::from_millis(500)) {
            tracing::debug!("a producer was dropped before all its records were reported on");
        }
    }
}

/// # Safety
/// Only librdkafka calls it, as the delivery callback of a producer, with one of its messages and its context.
unsafe extern "C" fn on_delivery(_: *mut rd_kafka_t, message: *const rd_kafka_message_t, context: *mut c_void) {
    // SAFETY: see the module's header for `context`; the message lives for the time of this call. Its code is read as the
    // number that C wrote, see `Message::news`.
    let (events, message, code) = unsafe {
        let message = &*message;
        (&*context.cast::<ProducerEvents>(), message, (&raw const message.err).cast::<i32>().read())
    };
    let tracked = message._private.addr();
    let mut deliveries = events.deliveries.lock().unwrap_or_else(PoisonError::into_inner);
    if code != 0 {
        // SAFETY: the message keeps a reference to its topic.
        let topic = unsafe { text(bindings::rd_kafka_topic_name(message.rkt)) };
        let n_bytes = message.key_len + message.len;
        deliveries.first_error.get_or_insert_with(|| Undelivered { code: code_of(code), topic, n_bytes });
        return;
    }
    // SAFETY: the message lives for the time of this call.
    unsafe { deliveries.delivered(message) };
    if tracked > 0 {
        if deliveries.tracked.len() < tracked {
            deliveries.tracked.resize(tracked, None);
        }
        deliveries.tracked[tracked - 1] = Some((message.partition, message.offset));
    }
}

/// Headers in the form of librdkafka, or null for none; destroyed unless a record took them over.
struct OutgoingHeaders(*mut rd_kafka_headers_t);

impl OutgoingHeaders {
    fn new(headers: &[Header]) -> OutgoingHeaders {
        if headers.is_empty() {
            return OutgoingHeaders(ptr::null_mut());
        }
        // SAFETY: a new list that is ours; names and values are copied with the lengths given.
        unsafe {
            let list = bindings::rd_kafka_headers_new(headers.len());
            for (name, value) in headers {
                let (value, n_value) = parts(Some(value));
                bindings::rd_kafka_header_add(list, name.as_ptr().cast(), name.len() as isize, value, n_value as isize);
            }
            OutgoingHeaders(list)
        }
    }
}

impl Drop for OutgoingHeaders {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: still ours.
            unsafe { bindings::rd_kafka_headers_destroy(self.0) }
        }
    }
}

/// Null stands for no bytes, any other address for some, be they zero.
fn parts(bytes: Option<&[u8]>) -> (*const c_void, usize) {
    bytes.map_or((ptr::null(), 0), |bytes| (bytes.as_ptr().cast(), bytes.len()))
}
