//! Takes records and events out of a partition's queue.

use std::{
    ffi::{CStr, c_void},
    ops::Range,
    ptr::{self, NonNull},
    slice,
};

use bytes::Bytes;
use rdkafka::{
    bindings::{self, rd_kafka_message_t, rd_kafka_resp_err_t, rd_kafka_timestamp_type_t},
    error::RDKafkaErrorCode,
};

use super::{Failure, Queue, text_of};
use crate::{Header, Record, TimestampKind};

/// More are not taken at once.
const MESSAGES_MAX: usize = 4_096;

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

/// Takes what is in a partition's queue, without waiting.
pub(in crate::librdkafka) fn poll(queue: &Queue, records_max: usize) -> Vec<Polled> {
    let messages = Messages::take(queue, records_max.clamp(1, MESSAGES_MAX));
    // One allocation for the keys and values of all of them, which are mostly small.
    let mut bytes = Vec::with_capacity(messages.iter().map(|message| message.key_len + message.len).sum());
    let ranges: Vec<_> = messages.iter().map(|message| message_bytes(message, &mut bytes)).collect();
    let bytes = Bytes::from(bytes);
    let slice = |range: Option<Range<usize>>| range.map(|range| bytes.slice(range));
    let polled = |(message, (key, value))| polled_of(message, slice(key), slice(value));
    messages.iter().zip(ranges).map(polled).collect()
}

/// Messages of librdkafka, which are given back when this is dropped.
struct Messages(Vec<NonNull<rd_kafka_message_t>>);

impl Messages {
    fn take(queue: &Queue, count_max: usize) -> Self {
        let mut pointers = vec![ptr::null_mut(); count_max];
        // SAFETY: the queue lives, and there is room for as many pointers as are asked for.
        let count = unsafe {
            bindings::rd_kafka_consume_batch_queue(queue.pointer(), 0, pointers.as_mut_ptr(), pointers.len())
        };
        // Nothing was taken where it is negative.
        pointers.truncate(usize::try_from(count).unwrap_or_default());
        Self(pointers.into_iter().filter_map(NonNull::new).collect())
    }

    fn iter(&self) -> impl Iterator<Item = &rd_kafka_message_t> {
        // SAFETY: a message lives until it is given back, and nobody changes it.
        self.0.iter().map(|message| unsafe { message.as_ref() })
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        for message in &self.0 {
            // SAFETY: it was taken and not given back yet.
            unsafe { bindings::rd_kafka_message_destroy(message.as_ptr()) };
        }
    }
}

/// Copies the key and the value of a record, and tells where they are now.
fn message_bytes(message: &rd_kafka_message_t, into: &mut Vec<u8>) -> (Option<Range<usize>>, Option<Range<usize>>) {
    if message.err != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return (None, None);
    }
    let mut copy = |part: *const c_void, length: usize| {
        // SAFETY: the message lives, and this is a part of it.
        let part = unsafe { part_of(part, length) }?;
        let begin = into.len();
        into.extend_from_slice(part);
        Some(begin..into.len())
    };
    (copy(message.key, message.key_len), copy(message.payload, message.len))
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

fn polled_of(message: &rd_kafka_message_t, key: Option<Bytes>, value: Option<Bytes>) -> Polled {
    match message.err {
        rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => {
            // SAFETY: the message lives.
            let leader_epoch = unsafe { bindings::rd_kafka_message_leader_epoch(message) };
            Polled::Record(Record {
                offset: message.offset,
                timestamp: timestamp_of(message),
                key,
                value,
                headers: headers_of(message),
                leader_epoch: Some(leader_epoch).filter(|epoch| *epoch >= 0),
            })
        }
        rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF => Polled::End { offset: message.offset },
        code => {
            // SAFETY: the message lives; its text does as long as it.
            let reason = unsafe { text_of(bindings::rd_kafka_message_errstr(message)) };
            let code = RDKafkaErrorCode::from(code);
            Polled::Failed(Failure { code, reason: reason.unwrap_or_else(|| code.to_string()) })
        }
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
