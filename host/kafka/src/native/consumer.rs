//! A member of a consumer group that reads in batches.

use std::{
    collections::VecDeque,
    ffi::{CStr, c_void},
    mem::ManuallyDrop,
    ptr, slice,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext, TopicPartitionList,
    bindings::{
        self, rd_kafka_consumer_group_metadata_t, rd_kafka_event_t, rd_kafka_resp_err_t, rd_kafka_t,
        rd_kafka_topic_partition_list_t,
    },
    client::Client,
    error::KafkaResult,
    types::RDKafkaType,
};

use super::{
    Health, NativeError, Queue, client,
    messages::{Buffer, Messages},
    millis, text,
};

/// What the group decided. librdkafka waits for [`GroupConsumer::assign`] or [`GroupConsumer::unassign`] after each, and goes
/// on sending heartbeats meanwhile.
pub(crate) enum Rebalance {
    /// These (topic, partition) are ours, in this generation of the group.
    Assigned(Vec<(String, i32)>, GroupMetadata),
    Revoked,
    Lost,
}

/// Which generation of the group commits: taken when partitions are assigned and kept, so that a member that was thrown out
/// meanwhile cannot commit under a later generation, or as nobody.
pub(crate) struct GroupMetadata(*mut rd_kafka_consumer_group_metadata_t);

// SAFETY: a plain value on the heap without interior mutability.
unsafe impl Send for GroupMetadata {}

impl GroupMetadata {
    pub(super) fn ptr(&self) -> *const rd_kafka_consumer_group_metadata_t {
        self.0
    }
}

impl Drop for GroupMetadata {
    fn drop(&mut self) {
        // SAFETY: the constructor checked that it is not null; it is ours alone.
        unsafe { bindings::rd_kafka_consumer_group_metadata_destroy(self.0) }
    }
}

/// What the callbacks leave for the next poll.
#[derive(Default)]
pub(crate) struct GroupEvents {
    health: Health,
    rebalances: Mutex<VecDeque<Rebalance>>,
    is_closing: AtomicBool,
    /// Whether the last decision was an assignment, be it of nothing: the group has this member in its current generation.
    is_settled: AtomicBool,
}

impl AsRef<Health> for GroupEvents {
    fn as_ref(&self) -> &Health {
        &self.health
    }
}

impl ClientContext for GroupEvents {}

/// The consumer.
pub(crate) struct GroupConsumer {
    /// Both are dropped by [`GroupConsumer`] itself.
    queue: ManuallyDrop<Queue>,
    client: ManuallyDrop<Client<GroupEvents>>,
    buffer: Buffer,
}

impl GroupConsumer {
    /// `n_messages_max`: how many one call of [`GroupConsumer::consume`] gives at most.
    pub(crate) fn new(config: &ClientConfig, n_messages_max: usize) -> KafkaResult<GroupConsumer> {
        let native = config.create_native_config()?;
        // SAFETY: the configuration is ours until `client` hands it over, and the function has the callback's type.
        unsafe { bindings::rd_kafka_conf_set_rebalance_cb(native.ptr(), Some(on_rebalance)) };
        let client = client(RDKafkaType::RD_KAFKA_CONSUMER, config, native, GroupEvents::default())?;
        // SAFETY: a live consumer with a group, so that it has a consumer queue; the reference to it becomes the Queue's.
        // Afterwards all that happens comes to this one queue.
        let queue = unsafe {
            bindings::rd_kafka_poll_set_consumer(client.native_ptr());
            Queue(bindings::rd_kafka_queue_get_consumer(client.native_ptr()))
        };
        let (queue, client) = (ManuallyDrop::new(queue), ManuallyDrop::new(client));
        Ok(GroupConsumer { queue, client, buffer: Buffer::new(n_messages_max) })
    }

    pub(crate) fn health(&self) -> &Health {
        &self.client.context().health
    }

    pub(crate) fn client(&self) -> &Client<GroupEvents> {
        &self.client
    }

    pub(crate) fn subscribe(&self, topics: &TopicPartitionList) -> Result<(), NativeError> {
        // SAFETY: a live client and a live list, which is copied.
        NativeError::check(unsafe { bindings::rd_kafka_subscribe(self.client.native_ptr(), topics.ptr()) })
    }

    /// Waits until `n_messages_max` messages are there or `wait` has passed, and records what the group decided meanwhile.
    pub(crate) fn consume(&mut self, wait: Duration, n_messages_max: usize) -> Messages<'_> {
        self.buffer.fill(&self.queue, wait, n_messages_max)
    }

    pub(crate) fn has_rebalance(&self) -> bool {
        !self.rebalances().is_empty()
    }

    pub(crate) fn next_rebalance(&self) -> Option<Rebalance> {
        self.rebalances().pop_front()
    }

    fn rebalances(&self) -> std::sync::MutexGuard<'_, VecDeque<Rebalance>> {
        self.client.context().rebalances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads `positions` from now on; replaces what was assigned before.
    pub(crate) fn assign(&self, positions: &TopicPartitionList) -> Result<(), NativeError> {
        // SAFETY: a live client and a live list, which is copied.
        NativeError::check(unsafe { bindings::rd_kafka_assign(self.client.native_ptr(), positions.ptr()) })
    }

    pub(crate) fn unassign(&self) -> Result<(), NativeError> {
        // SAFETY: a live client; no list means no partitions.
        NativeError::check(unsafe { bindings::rd_kafka_assign(self.client.native_ptr(), ptr::null()) })
    }

    pub(crate) fn pause(&self, partitions: &TopicPartitionList, paused: bool) -> Result<(), NativeError> {
        // SAFETY: a live client and a live list that is ours; each partition's outcome is written into it.
        let code = unsafe {
            match paused {
                true => bindings::rd_kafka_pause_partitions(self.client.native_ptr(), partitions.ptr()),
                false => bindings::rd_kafka_resume_partitions(self.client.native_ptr(), partitions.ptr()),
            }
        };
        NativeError::check(code)
    }

    /// Goes on reading at the offsets of `positions`. Waits until each partition has turned there.
    pub(crate) fn seek(&self, positions: &TopicPartitionList, wait: Duration) -> Result<(), NativeError> {
        // SAFETY: a live client and a live list that is ours; each partition's outcome is written into it.
        let error = unsafe { bindings::rd_kafka_seek_partitions(self.client.native_ptr(), positions.ptr(), millis(wait)) };
        // SAFETY: the error is null, or ours alone.
        unsafe { NativeError::take(error)? };
        let failed = positions.elements().iter().find_map(|element| element.error().err());
        let code = failed.and_then(|error| error.rdkafka_error_code());
        match code {
            None => Ok(()),
            Some(code) => Err(NativeError { code, text: code.to_string(), is_fatal: false, needs_abort: false }),
        }
    }

    /// Why this member is out for good, if it is: another one took its name.
    pub(crate) fn fatal_error(&self) -> Option<NativeError> {
        let mut reason = [0; 512];
        // SAFETY: a live client and a buffer of the given size, which is filled with a C string.
        unsafe {
            let code = bindings::rd_kafka_fatal_error(self.client.native_ptr(), reason.as_mut_ptr(), reason.len());
            NativeError::check(code).err().map(|error| NativeError { text: text(reason.as_ptr()), is_fatal: true, ..error })
        }
    }

    /// Commits offsets with their metadata, outside of transactions. Waits for the answer.
    pub(crate) fn commit(&self, offsets: &TopicPartitionList, wait: Duration) -> Result<(), NativeError> {
        // SAFETY: a live client; the reference to a new queue becomes the Queue's. The list is copied. Without a callback the
        // answer is an event on that queue, which is null when the time is over.
        let event = unsafe {
            let answers = Queue(bindings::rd_kafka_queue_new(self.client.native_ptr()));
            let sent = bindings::rd_kafka_commit_queue(self.client.native_ptr(), offsets.ptr(), answers.0, None, ptr::null_mut());
            NativeError::check(sent)?;
            Event(bindings::rd_kafka_queue_poll(answers.0, millis(wait)))
        };
        if event.0.is_null() {
            return Err(NativeError::from_code(rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__TIMED_OUT));
        }
        // SAFETY: a live event of a commit; its list lives as long as it.
        unsafe {
            NativeError::check(bindings::rd_kafka_event_error(event.0))?;
            let committed = bindings::rd_kafka_event_topic_partition_list(event.0);
            elements(committed).iter().try_for_each(|element| NativeError::check(element.err))
        }
    }

    /// Tells the group that this member goes, also a static one, so that the others need not wait for its session time-out.
    ///
    /// Unsubscribing does that where closing would not: librdkafka keeps quiet about a static member that terminates (KIP-345).
    /// It keeps quiet about one that is just joining, too, although the group knows it already: hence that is waited for.
    /// Returns whether the group was told in time.
    pub(crate) fn leave(&mut self, wait: Duration) -> bool {
        let deadline = Instant::now() + wait;
        self.close();
        while !self.client.context().is_settled.load(Ordering::Relaxed) {
            if self.fatal_error().is_some() {
                return true; // somebody else has its name
            }
            if !self.serve_until(deadline) {
                return false;
            }
        }
        // SAFETY: a live client.
        if NativeError::check(unsafe { bindings::rd_kafka_unsubscribe(self.client.native_ptr()) }).is_err() {
            return false;
        }
        while self.has_member_id() {
            if !self.serve_until(deadline) {
                return false;
            }
        }
        true
    }

    /// Lets the client answer the group for a moment. Returns `false` when the time is over.
    fn serve_until(&mut self, deadline: Instant) -> bool {
        drop(self.consume(Duration::from_millis(5), usize::MAX));
        Instant::now() < deadline
    }

    /// librdkafka forgets its member id in the moment in which it sends the request to leave; destroying waits for the answer.
    fn has_member_id(&self) -> bool {
        // SAFETY: a live client; the string is ours, and freed once.
        unsafe {
            let id = bindings::rd_kafka_memberid(self.client.native_ptr());
            if id.is_null() {
                return false;
            }
            let has_one = !CStr::from_ptr(id).is_empty();
            bindings::rd_kafka_mem_free(self.client.native_ptr(), id.cast());
            has_one
        }
    }

    /// From now on nobody else answers the group's decisions, so the callback does. The last one may be open: giving up answers
    /// that partitions go, and taking on none answers that some came. The respective other does nothing.
    fn close(&self) {
        self.client.context().is_closing.store(true, Ordering::Relaxed);
        if let Err(error) = self.unassign().and_then(|()| self.assign(&TopicPartitionList::new())) {
            tracing::debug!(error.text, "partitions of a closing consumer could not be given up");
        }
        self.rebalances().clear();
    }
}

impl Drop for GroupConsumer {
    /// Ends the member without a word to the group: a static member that comes back within its session time-out gets its
    /// partitions back without a rebalance.
    ///
    /// Not by `rd_kafka_destroy`, which would first let the callback answer what the group decided meanwhile: an answer that comes
    /// while the group's handler ends is thrown away, and the caller waits for ever (librdkafka issue 4884).
    fn drop(&mut self) {
        self.rebalances().clear(); // their group metadata must go before the client
        // SAFETY: nothing uses queue or client afterwards. The client is destroyed here instead of by its own `drop`, which never
        // runs; so the reference that it holds to the context is given back here, too, once no callback can come any more.
        unsafe {
            ManuallyDrop::drop(&mut self.queue);
            let context = Arc::as_ptr(self.client.context());
            let flags = bindings::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE;
            bindings::rd_kafka_destroy_flags(self.client.native_ptr(), flags);
            Arc::decrement_strong_count(context);
        }
    }
}

/// # Safety
/// Only librdkafka calls it, as the rebalance callback of a client that [`client`] made, with that client and its context.
unsafe extern "C" fn on_rebalance(
    rk: *mut rd_kafka_t,
    code: rd_kafka_resp_err_t,
    partitions: *mut rd_kafka_topic_partition_list_t,
    context: *mut c_void,
) {
    // SAFETY: see the module's header for `context`; `rk` is its client and `partitions` lives for the time of this call.
    unsafe {
        let events = &*context.cast::<GroupEvents>();
        let is_assignment = code == rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        events.is_settled.store(is_assignment, Ordering::Relaxed);
        if events.is_closing.load(Ordering::Relaxed) {
            if is_assignment {
                let nothing = bindings::rd_kafka_topic_partition_list_new(0);
                bindings::rd_kafka_assign(rk, nothing);
                bindings::rd_kafka_topic_partition_list_destroy(nothing);
            } else {
                bindings::rd_kafka_assign(rk, ptr::null());
            }
            return;
        }
        let rebalance = match is_assignment {
            true => {
                let metadata = bindings::rd_kafka_consumer_group_metadata(rk);
                let assigned = elements(partitions).iter().map(|element| (text(element.topic), element.partition)).collect();
                match metadata.is_null() {
                    false => Rebalance::Assigned(assigned, GroupMetadata(metadata)),
                    true => Rebalance::Lost, // the client is going down
                }
            }
            false if bindings::rd_kafka_assignment_lost(rk) != 0 => Rebalance::Lost,
            false => Rebalance::Revoked,
        };
        // No rd_kafka_yield here: rd_kafka_q_serve_rkmessages would then drop the message that it takes from the queue next.
        events.rebalances.lock().unwrap_or_else(PoisonError::into_inner).push_back(rebalance);
    }
}

/// An event, or null.
struct Event(*mut rd_kafka_event_t);

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: ours alone; null is ignored.
        unsafe { bindings::rd_kafka_event_destroy(self.0) }
    }
}

/// # Safety
/// `list` is null or lives for `'a`.
unsafe fn elements<'a>(list: *const rd_kafka_topic_partition_list_t) -> &'a [bindings::rd_kafka_topic_partition_t] {
    if list.is_null() {
        return &[];
    }
    // SAFETY: the caller's promise; a list's `elems` has `cnt` elements, and may be null if that is 0.
    unsafe {
        match usize::try_from((*list).cnt) {
            Ok(n @ 1..) => slice::from_raw_parts((*list).elems, n),
            _ => &[],
        }
    }
}
