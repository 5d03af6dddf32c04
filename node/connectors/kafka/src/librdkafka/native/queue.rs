//! A queue of librdkafka, which wakes a task when something is put into it.

use std::{
    ffi::c_void,
    ptr::{self, NonNull},
    sync::Arc,
};

use rdkafka::{
    bindings::{self, rd_kafka_queue_t},
    types::RDKafka,
};
use tokio::sync::Notify;

use super::{Client, Failure, c_string};

pub(in crate::librdkafka) struct Queue {
    queue: NonNull<rd_kafka_queue_t>,
    /// librdkafka has a pointer to it until the queue is dropped.
    filled: Arc<Notify>,
    /// Declared last, so that it is dropped last.
    _client: Arc<dyn Client>,
}

// SAFETY: librdkafka's queues have locks of their own and belong to no thread.
unsafe impl Send for Queue {}
// SAFETY: as above.
unsafe impl Sync for Queue {}

impl Queue {
    /// A queue for answers.
    pub(in crate::librdkafka) fn for_answers(client: Arc<dyn Client>) -> Self {
        // SAFETY: the client lives.
        let queue = unsafe { bindings::rd_kafka_queue_new(client.handle()) };
        Self::of(queue, client).expect("librdkafka returns a queue, or ends the process for lack of memory")
    }

    /// The queue of a partition's records. From now on they are put nowhere else.
    pub(in crate::librdkafka) fn of_partition(
        client: Arc<dyn Client>,
        topic: &str,
        partition: i32,
    ) -> Result<Option<Self>, Failure> {
        let topic = c_string(topic)?;
        // SAFETY: the client lives, and the text ends with a zero byte.
        let queue = unsafe { bindings::rd_kafka_queue_get_partition(client.handle(), topic.as_ptr(), partition) };
        if !queue.is_null() {
            // SAFETY: the queue is not null. Without a second one, it forwards to none.
            unsafe { bindings::rd_kafka_queue_forward(queue, ptr::null_mut()) };
        }
        Ok(Self::of(queue, client))
    }

    fn of(queue: *mut rd_kafka_queue_t, client: Arc<dyn Client>) -> Option<Self> {
        let queue = NonNull::new(queue)?;
        let filled = Arc::new(Notify::new());
        let opaque = Arc::as_ptr(&filled).cast_mut().cast::<c_void>();
        // SAFETY: the queue lives; `opaque` does as long as `filled`, which `drop` keeps until librdkafka has forgotten it.
        unsafe { bindings::rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(on_filled), opaque) };
        Some(Self { queue, filled, _client: client })
    }

    pub(super) fn pointer(&self) -> *mut rd_kafka_queue_t {
        self.queue.as_ptr()
    }

    /// Waits until something was put into the empty queue since this was called last. So look into it first. Cancel-safe.
    pub(in crate::librdkafka) async fn filled(&self) {
        self.filled.notified().await;
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the queue lives. It calls back under its lock, so that no call is running when the first function returns.
        unsafe {
            bindings::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, ptr::null_mut());
            bindings::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

/// Called by librdkafka's threads when an empty queue gets something. It keeps a permit, so a task that looks in vain and then waits misses nothing.
///
/// # Safety
/// `opaque` is a `Notify` that lives.
unsafe extern "C" fn on_filled(_: *mut RDKafka, opaque: *mut c_void) {
    // SAFETY: the caller promises it.
    unsafe { &*opaque.cast::<Notify>() }.notify_one();
}
