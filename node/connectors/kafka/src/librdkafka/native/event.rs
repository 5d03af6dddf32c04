//! What librdkafka puts into a queue.

use std::ptr::NonNull;

use rdkafka::bindings::{self, rd_kafka_event_t};

use super::{Failure, Queue, failure_of};

/// An event, which is given back when this is dropped. What it holds lives as long as it.
pub(super) struct Event(NonNull<rd_kafka_event_t>);

impl Event {
    /// Takes one out of a queue, without waiting.
    pub(super) fn take(queue: &Queue) -> Option<Self> {
        // SAFETY: the queue lives. An event that is returned is ours.
        NonNull::new(unsafe { bindings::rd_kafka_queue_poll(queue.pointer(), 0) }).map(Self)
    }

    pub(super) fn pointer(&self) -> *mut rd_kafka_event_t {
        self.0.as_ptr()
    }

    /// One of `bindings::RD_KAFKA_EVENT_*`.
    pub(super) fn kind(&self) -> i32 {
        // SAFETY: the event lives.
        unsafe { bindings::rd_kafka_event_type(self.pointer()) }
    }

    /// The failure that it tells of, if it does.
    pub(super) fn failure(&self) -> Result<(), Failure> {
        // SAFETY: the event lives, and so do its code and text.
        unsafe {
            let code = bindings::rd_kafka_event_error(self.pointer());
            failure_of(code, bindings::rd_kafka_event_error_string(self.pointer()))
        }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: it was taken and not given back yet.
        unsafe { bindings::rd_kafka_event_destroy(self.pointer()) };
    }
}
