//! The offsets of a consumer's own group.

use std::sync::Arc;

use rdkafka::{TopicPartitionList, bindings};

use super::{Answer, Client, Failure, Queue, admin::offsets_in, failure_of};

/// Commits offsets for the client's group. The answer comes into the queue.
pub(in crate::librdkafka) fn commit(
    client: &dyn Client,
    queue: &Queue,
    offsets: &TopicPartitionList,
) -> Result<(), Failure> {
    // SAFETY: all of them live; the list is copied, and the queue is counted. There is nothing to call back.
    unsafe {
        let (handle, queue) = (client.handle(), queue.pointer());
        let code = bindings::rd_kafka_commit_queue(handle, offsets.ptr(), queue, None, std::ptr::null_mut());
        failure_of(code, std::ptr::null())
    }
}

/// Reads what the client's group has committed, within so many milliseconds: waits in C.
pub(in crate::librdkafka) fn committed(
    client: &Arc<dyn Client>,
    partitions: &TopicPartitionList,
    timeout_ms: i32,
) -> Result<Answer, Failure> {
    // SAFETY: both live. Nobody else has the list while the call writes to it.
    unsafe {
        let code = bindings::rd_kafka_committed(client.handle(), partitions.ptr(), timeout_ms);
        failure_of(code, std::ptr::null())?;
        Ok(offsets_in(partitions.ptr()))
    }
}
