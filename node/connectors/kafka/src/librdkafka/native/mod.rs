//! What rdkafka does not wrap of librdkafka, behind functions that are safe to call: partitions' own queues with the offsets of their
//! ends and leaders' epochs, most of what an administrator asks, groups' offsets one by one, flushing, and how OpenSSL ends.
//!
//! Each block that calls into C says why it may.

mod admin;
mod event;
mod group;
mod messages;
mod openssl;
mod queue;

use std::ffi::{CStr, CString, c_char};

use rdkafka::{
    bindings,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::RDKafkaErrorCode,
    producer::{BaseProducer, Producer as _, ProducerContext},
    types::RDKafka,
};

pub(super) use self::{
    admin::{Answer, Question, ask, take_answer},
    group::{commit, committed},
    messages::{Polled, poll},
    openssl::keep_to_the_end,
    queue::Queue,
};

/// A client of librdkafka. What belongs to it holds it, so that it outlives them.
pub(super) trait Client: Send + Sync {
    /// Not null while `self` lives.
    fn handle(&self) -> *mut RDKafka;
}

impl<C: ConsumerContext + 'static> Client for BaseConsumer<C> {
    fn handle(&self) -> *mut RDKafka {
        self.client().native_ptr()
    }
}

impl<C: ProducerContext + 'static> Client for BaseProducer<C> {
    fn handle(&self) -> *mut RDKafka {
        self.client().native_ptr()
    }
}

/// Why librdkafka or a broker did not do something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) code: RDKafkaErrorCode,
    pub(super) reason: String,
}

/// Waits until all records that were handed over are acknowledged or given up; returns whether they are, within so many milliseconds. Another
/// thread must serve the client meanwhile.
pub(super) fn flush(client: &dyn Client, timeout_ms: i32) -> bool {
    // SAFETY: the client lives, and the function may be called by any thread.
    let flushed = unsafe { bindings::rd_kafka_flush(client.handle(), timeout_ms) };
    flushed == bindings::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
}

/// Gives up all records that are not acknowledged.
pub(super) fn purge(client: &dyn Client) {
    let flags = bindings::RD_KAFKA_PURGE_F_QUEUE | bindings::RD_KAFKA_PURGE_F_INFLIGHT;
    // It fails only for consumers and for unknown flags.
    // SAFETY: the client lives, and the function may be called by any thread.
    unsafe { bindings::rd_kafka_purge(client.handle(), flags) };
}

/// A text for C. One with a zero within is not passed on: no name has one.
fn c_string(text: &str) -> Result<CString, Failure> {
    let invalid =
        |_| Failure { code: RDKafkaErrorCode::InvalidArgument, reason: format!("{text:?} has a zero byte within") };
    CString::new(text).map_err(invalid)
}

/// Copies a text of C, if there is one.
///
/// # Safety
/// It is null or ends with a zero byte.
unsafe fn text_of(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: it is not null, and the caller promises the rest.
    Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

/// A code and its text as a failure, if it is one.
///
/// # Safety
/// The text is null or ends with a zero byte.
unsafe fn failure_of(code: bindings::rd_kafka_resp_err_t, text: *const c_char) -> Result<(), Failure> {
    if code == bindings::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Ok(());
    }
    let code = RDKafkaErrorCode::from(code);
    // SAFETY: the caller promises it.
    let reason = unsafe { text_of(text) }.unwrap_or_else(|| code.to_string());
    Err(Failure { code, reason })
}
