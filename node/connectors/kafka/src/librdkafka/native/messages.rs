//! Takes records and events out of a partition's queue.

use std::{
    ffi::{CStr, c_void},
    ops::Range,
    ptr, slice,
};

use bytes::Bytes;
use rdkafka::{
    bindings::{self, rd_kafka_message_t, rd_kafka_resp_err_t, rd_kafka_timestamp_type_t},
    error::RDKafkaErrorCode,
};

use super::{Failure, Queue, event::Event};
use crate::{Header, Record, TimestampKind};

/// More are not taken at once.
const EVENTS_MAX: usize = 4_096;

/// What was in a partition's queue.
#[derive(Debug)]
pub(in crate::librdkafka) enum Polled {
    Record(Record),
    /// There is nothing more before this offset.
    End {
        offset: i64,
    },
    Failed(Failure),
}

/// Takes what is in a partition's queue, without waiting. A failure is the last that is taken: what comes behind it is nobody's who has not
/// dealt with it.
pub(in crate::librdkafka) fn poll(queue: &Queue, events_max: usize) -> Vec<Polled> {
    let mut taken = Taken::default();
    while taken.events.len() < events_max.min(EVENTS_MAX)
        && !matches!(taken.events.last(), Some((Polled::Failed(_), _)))
        && let Some(event) = Event::take(queue)
    {
        taken.add(&event);
    }
    taken.finish()
}

/// What was taken, with the bytes of all keys and values together: they are mostly small, and so share one allocation.
#[derive(Default)]
struct Taken {
    events: Vec<(Polled, Parts)>,
    bytes: Vec<u8>,
}

/// Where a record's key and value are in `Taken::bytes`.
#[derive(Default)]
struct Parts {
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
}

impl Taken {
    fn add(&mut self, event: &Event) {
        match event.failure() {
            Err(failure) if failure.code == RDKafkaErrorCode::PartitionEOF => {
                self.events.extend(end_of(event).map(|offset| (Polled::End { offset }, Parts::default())));
            }
            Err(failure) => self.events.push((Polled::Failed(failure), Parts::default())),
            Ok(()) => {
                // SAFETY: the event lives, and its message does as long as it. Events of other kinds have none.
                let message = unsafe { bindings::rd_kafka_event_message_next(event.pointer()).as_ref() };
                self.events.extend(message.map(|message| {
                    // SAFETY: the message lives, and these are its parts.
                    let (key, value) =
                        unsafe { (part_of(message.key, message.key_len), part_of(message.payload, message.len)) };
                    let parts = Parts { key: copied(key, &mut self.bytes), value: copied(value, &mut self.bytes) };
                    (Polled::Record(record_of(message)), parts)
                }));
            }
        }
    }

    fn finish(self) -> Vec<Polled> {
        let bytes = Bytes::from(self.bytes);
        let slice = |range: Option<Range<usize>>| range.map(|range| bytes.slice(range));
        let finished = self.events.into_iter().map(|(polled, parts)| match polled {
            Polled::Record(record) => {
                Polled::Record(Record { key: slice(parts.key), value: slice(parts.value), ..record })
            }
            Polled::End { .. } | Polled::Failed(_) => polled,
        });
        finished.collect()
    }
}

fn copied(part: Option<&[u8]>, into: &mut Vec<u8>) -> Option<Range<usize>> {
    let part = part?;
    let begin = into.len();
    into.extend_from_slice(part);
    Some(begin..into.len())
}

/// The offset of an end: behind all records before it, also those that no reader sees.
fn end_of(event: &Event) -> Option<i64> {
    // SAFETY: the event lives. The partition is ours: it is read, then freed.
    unsafe {
        let partition = bindings::rd_kafka_event_topic_partition(event.pointer());
        let offset = partition.as_ref().map(|partition| partition.offset);
        if !partition.is_null() {
            bindings::rd_kafka_topic_partition_destroy(partition);
        }
        offset
    }
}

/// A part of a message, if it has it.
///
/// # Safety
/// It is null, or has so many bytes for `'a`.
unsafe fn part_of<'a>(part: *const c_void, length: usize) -> Option<&'a [u8]> {
    if part.is_null() {
        return None;
    }
    // SAFETY: it is not null, and the caller promises the rest.
    Some(unsafe { slice::from_raw_parts(part.cast::<u8>(), length) })
}

/// A record without its key and value.
fn record_of(message: &rd_kafka_message_t) -> Record {
    // SAFETY: the message lives.
    let leader_epoch = unsafe { bindings::rd_kafka_message_leader_epoch(message) };
    Record {
        offset: message.offset,
        timestamp: timestamp_of(message),
        key: None,
        value: None,
        headers: headers_of(message),
        leader_epoch: Some(leader_epoch).filter(|epoch| *epoch >= 0),
    }
}

fn timestamp_of(message: &rd_kafka_message_t) -> Option<(TimestampKind, i64)> {
    let mut kind = rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    // SAFETY: the message lives, and so does what is written to.
    let timestamp = unsafe { bindings::rd_kafka_message_timestamp(message, &raw mut kind) };
    let kind = match kind {
        rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE => return None,
        rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_CREATE_TIME => TimestampKind::CreateTime,
        rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME => TimestampKind::LogAppendTime,
    };
    Some((kind, timestamp)).filter(|_| timestamp != -1)
}

fn headers_of(message: &rd_kafka_message_t) -> Vec<Header> {
    let mut list = ptr::null_mut();
    // SAFETY: the message lives, and so does what is written to. The list belongs to the message.
    let code = unsafe { bindings::rd_kafka_message_headers(message, &raw mut list) };
    if code != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || list.is_null() {
        return Vec::new();
    }
    let mut headers = Vec::new();
    loop {
        let (mut name, mut value, mut length) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the list lives as long as the message, and so does what is written to.
        let code = unsafe {
            bindings::rd_kafka_header_get_all(list, headers.len(), &raw mut name, &raw mut value, &raw mut length)
        };
        if code != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || name.is_null() {
            return headers;
        }
        // SAFETY: a header that exists has a name that ends with a zero byte, and a value of this length, or none.
        let (name, value) = unsafe { (CStr::from_ptr(name), part_of(value, length)) };
        headers.push((name.to_string_lossy().into_owned(), value.map(Bytes::copy_from_slice)));
    }
}
