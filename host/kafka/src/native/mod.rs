//! The only unsafe code of this crate: librdkafka's batch interface, which rdkafka's safe types do not offer.
//!
//! Consuming with `rd_kafka_consume_batch_queue` and producing with a topic handle does 1.23 times what the same program does
//! on rdkafka's BaseConsumer and BaseProducer; and `rd_kafka_flush` with callbacks neither waits out the linger time nor polls
//! in steps of 100 ms, as BaseProducer's does.
//!
//! What every block relies on:
//! - rdkafka's [`Client`] owns the `rd_kafka_t` and the context. The context's address is the callbacks' opaque pointer; it
//!   lives in an `Arc` that the client drops *after* `rd_kafka_destroy`, the last call that can run a callback.
//! - librdkafka's handles may be used from any thread. Callbacks run only on the thread that polls, flushes, commits or
//!   destroys, since logs go to the queue (`log.queue`) and no background queue is set.
//! - A panic in a callback aborts the process, so callbacks do nothing that can panic.

#![allow(unsafe_code)]

pub(crate) mod consumer;
pub(crate) mod messages;
pub(crate) mod producer;
pub(crate) mod reader;

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext,
    bindings::{self, rd_kafka_error_t, rd_kafka_queue_t, rd_kafka_resp_err_t, rd_kafka_t},
    client::Client,
    config::NativeClientConfig,
    error::{KafkaResult, RDKafkaErrorCode},
    types::RDKafkaType,
};

/// What librdkafka says of a call that failed.
#[derive(Clone, Debug)]
pub(crate) struct NativeError {
    pub code: RDKafkaErrorCode,
    pub text: String,
    /// This client is out for good.
    pub is_fatal: bool,
    /// The transaction cannot be committed any more, and was not.
    pub needs_abort: bool,
}

impl NativeError {
    fn from_code(code: rd_kafka_resp_err_t) -> NativeError {
        // SAFETY: rd_kafka_err2str returns a static or thread-local string for any code; it is copied before the next call.
        let text = unsafe { text(bindings::rd_kafka_err2str(code)) };
        NativeError { code: code.into(), text, is_fatal: false, needs_abort: false }
    }

    /// `Ok` for "no error".
    fn check(code: rd_kafka_resp_err_t) -> Result<(), NativeError> {
        match code {
            rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
            code => Err(NativeError::from_code(code)),
        }
    }

    /// Takes over `error`; null means that all went well.
    ///
    /// # Safety
    /// `error` is null, or came from librdkafka and is used by nobody else.
    unsafe fn take(error: *mut rd_kafka_error_t) -> Result<(), NativeError> {
        if error.is_null() {
            return Ok(());
        }
        // SAFETY: `error` is valid until it is destroyed in the last statement, after its text was copied.
        unsafe {
            let taken = NativeError {
                code: bindings::rd_kafka_error_code(error).into(),
                text: text(bindings::rd_kafka_error_string(error)),
                is_fatal: bindings::rd_kafka_error_is_fatal(error) != 0,
                needs_abort: bindings::rd_kafka_error_txn_requires_abort(error) != 0,
            };
            bindings::rd_kafka_error_destroy(error);
            Err(taken)
        }
    }
}

/// What a client reported on its own, outside of any call.
#[derive(Debug, Default)]
pub(crate) struct Health {
    last_error: Mutex<Option<(RDKafkaErrorCode, String)>>,
    all_brokers_down_since: Mutex<Option<Instant>>,
}

impl Health {
    /// The last thing that went wrong with a broker or its connection, if any.
    pub(crate) fn last_error(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Since when no broker was reachable, as far as is known: librdkafka does not tell when one comes back.
    pub(crate) fn all_brokers_down_since(&self) -> Option<Instant> {
        *self.all_brokers_down_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn brokers_answered(&self) {
        *self.all_brokers_down_since.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(crate) fn note(&self, code: RDKafkaErrorCode, reason: String) {
        tracing::debug!(%code, reason, "kafka client reported");
        if code == RDKafkaErrorCode::AllBrokersDown {
            let mut since = self.all_brokers_down_since.lock().unwrap_or_else(PoisonError::into_inner);
            since.get_or_insert_with(Instant::now);
            return; // it says less than the error that led to it
        }
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some((code, reason));
    }
}

/// A client whose errors go to its context's [`Health`] and whose logs go to tracing.
fn client<C>(kind: RDKafkaType, config: &ClientConfig, native: NativeClientConfig, context: C) -> KafkaResult<Client<C>>
where
    C: ClientContext + AsRef<Health>,
{
    // SAFETY: the configuration is ours until Client::new hands it over; both functions match the callbacks' types, and `C` is
    // the type of the context whose address Client::new sets as opaque pointer.
    unsafe {
        bindings::rd_kafka_conf_set_error_cb(native.ptr(), Some(on_error::<C>));
        bindings::rd_kafka_conf_set_log_cb(native.ptr(), Some(on_log));
    }
    Client::new(config, native, kind, context)
}

/// # Safety
/// Only librdkafka calls it, as the error callback of a client that [`client`] made with a context of type `C`.
unsafe extern "C" fn on_error<C: AsRef<Health>>(_: *mut rd_kafka_t, code: c_int, reason: *const c_char, context: *mut c_void) {
    // SAFETY: see the module's header for `context`; `reason` is a C string for the time of this call.
    let (context, reason) = unsafe { (&*context.cast::<C>(), text(reason)) };
    context.as_ref().note(code_of(code), reason);
}

/// # Safety
/// Only librdkafka calls it, as the log callback that [`client`] set.
unsafe extern "C" fn on_log(_: *const rd_kafka_t, level: c_int, facility: *const c_char, line: *const c_char) {
    const ERROR: c_int = 3; // syslog's numbers
    // SAFETY: both are C strings for the time of this call.
    let (facility, line) = unsafe { (text(facility), text(line)) };
    // librdkafka recovers from nearly all that it logs as an error; what it does not recover from fails a call.
    if level <= ERROR {
        tracing::warn!(facility, line, "kafka client log");
    } else {
        tracing::debug!(facility, line, "kafka client log");
    }
}

/// A queue of a client: destroyed before the client, because its owner declares it first.
struct Queue(*mut rd_kafka_queue_t);

// SAFETY: see the module's header on threads; the pointer is used through its owner alone.
unsafe impl Send for Queue {}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the constructor's callers hand over a reference of their own, which is given back once.
        unsafe { bindings::rd_kafka_queue_destroy(self.0) }
    }
}

/// The error code of a number from librdkafka. A broker newer than it may send codes that it has no name for.
fn code_of(code: c_int) -> RDKafkaErrorCode {
    rd_kafka_resp_err_t::try_from(code).map_or(RDKafkaErrorCode::Unknown, RDKafkaErrorCode::from)
}

/// # Safety
/// `text` is null or a C string.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// For C: at least 0 (which means "do not wait") and never -1 (which means "for ever").
fn millis(wait: Duration) -> c_int {
    c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX)
}
