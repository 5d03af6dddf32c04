//! The message of an aggregated record, on the wire.
//!
//! Parsed by hand: data stays in the record's own bytes, and only what is needed is looked at.

use bytes::Bytes;

use super::SubRecord;
use crate::PARTITION_KEY_CHARS_MAX;

const PARTITION_KEYS: u64 = 1;
const EXPLICIT_HASH_KEYS: u64 = 2;
const RECORDS: u64 = 3;

const PARTITION_KEY_INDEX: u64 = 1;
const EXPLICIT_HASH_KEY_INDEX: u64 = 2;
const DATA: u64 = 3;

const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;
const FIXED_32: u64 = 5;

/// A field's value.
enum Value {
    Number(u64),
    Bytes(Bytes),
    /// Of a type that no field of ours has.
    Other,
}

/// The records of a message, which is sound, in their order.
#[derive(Debug, Clone)]
pub struct SubRecords {
    message: Bytes,
    /// What was not looked at since.
    rest: Bytes,
    partition_keys: Vec<Place>,
    hash_keys: Vec<Place>,
}

/// Where something is in the message: an entry of a table takes two bytes of it at least, and eight here.
#[derive(Debug, Clone, Copy)]
struct Place {
    at: u32,
    length: u32,
}

/// A record as it is in the message.
struct Raw {
    partition_key: u64,
    hash_key: Option<u64>,
    data: Bytes,
}

impl SubRecords {
    /// `None`: it is no such message, or has no records, or one of them names a key that there is not, or a key is none.
    pub(super) fn of(message: Bytes) -> Option<Self> {
        let (mut partition_keys, mut hash_keys) = (Vec::new(), Vec::new());
        // The tables may stand behind the records, since fields have no order.
        let (mut has_records, mut last_key, mut last_hash_key) = (false, 0, None);
        let mut rest = message.clone();
        while let Some((field, value)) = next_field(&mut rest)? {
            // The value ends where the rest begins.
            let end = message.len() - rest.len();
            match (field, value) {
                (PARTITION_KEYS, Value::Bytes(key)) => {
                    partition_key(&key)?;
                    partition_keys.push(Place::of(end, key.len())?);
                }
                (EXPLICIT_HASH_KEYS, Value::Bytes(key)) => {
                    hash_key(&key)?;
                    hash_keys.push(Place::of(end, key.len())?);
                }
                (RECORDS, Value::Bytes(record)) => {
                    let raw = raw(record)?;
                    has_records = true;
                    last_key = last_key.max(raw.partition_key);
                    last_hash_key = last_hash_key.max(raw.hash_key);
                }
                (PARTITION_KEYS | EXPLICIT_HASH_KEYS | RECORDS, Value::Number(_) | Value::Other) => return None,
                (_, Value::Number(_) | Value::Bytes(_) | Value::Other) => {}
            }
        }
        let is_in = |index: u64, table: &[Place]| usize::try_from(index).is_ok_and(|index| index < table.len());
        let are_there = is_in(last_key, &partition_keys) && last_hash_key.is_none_or(|last| is_in(last, &hash_keys));
        (has_records && are_there).then(|| Self { rest: message.clone(), message, partition_keys, hash_keys })
    }

    fn entry(&self, table: &[Place], index: u64) -> Option<&[u8]> {
        let Place { at, length } = *table.get(usize::try_from(index).ok()?)?;
        let at = usize::try_from(at).ok()?;
        self.message.get(at..at.checked_add(usize::try_from(length).ok()?)?)
    }

    fn made(&self, raw: Raw) -> Option<SubRecord> {
        let explicit_hash_key = match raw.hash_key {
            Some(index) => Some(hash_key(self.entry(&self.hash_keys, index)?)?),
            None => None,
        };
        let partition_key = partition_key(self.entry(&self.partition_keys, raw.partition_key)?)?.to_owned();
        Some(SubRecord { partition_key, explicit_hash_key, data: raw.data })
    }
}

impl Iterator for SubRecords {
    type Item = SubRecord;

    /// All of the message was found to be sound, so only its end is one.
    fn next(&mut self) -> Option<SubRecord> {
        loop {
            if let (RECORDS, Value::Bytes(record)) = next_field(&mut self.rest)?? {
                return self.made(raw(record)?);
            }
        }
    }
}

impl Place {
    fn of(end: usize, length: usize) -> Option<Self> {
        Some(Self { at: u32::try_from(end - length).ok()?, length: u32::try_from(length).ok()? })
    }
}

fn raw(mut record: Bytes) -> Option<Raw> {
    let (mut partition_key, mut hash_key, mut data) = (None, None, None);
    while let Some((field, value)) = next_field(&mut record)? {
        match (field, value) {
            (PARTITION_KEY_INDEX, Value::Number(index)) => partition_key = Some(index),
            (EXPLICIT_HASH_KEY_INDEX, Value::Number(index)) => hash_key = Some(index),
            (DATA, Value::Bytes(bytes)) => data = Some(bytes),
            (
                PARTITION_KEY_INDEX | EXPLICIT_HASH_KEY_INDEX | DATA,
                Value::Number(_) | Value::Bytes(_) | Value::Other,
            ) => return None,
            (_, Value::Number(_) | Value::Bytes(_) | Value::Other) => {}
        }
    }
    Some(Raw { partition_key: partition_key?, hash_key, data: data? })
}

/// A text that is not longer than Kinesis takes.
fn partition_key(bytes: &[u8]) -> Option<&str> {
    let key = std::str::from_utf8(bytes).ok()?;
    key.chars().nth(PARTITION_KEY_CHARS_MAX).is_none().then_some(key)
}

/// The outer `None`: the bytes are malformed; the inner: they are at their end.
#[allow(clippy::option_option, reason = "malformed and ended are both no field, and `?` tells them apart")]
fn next_field(rest: &mut Bytes) -> Option<Option<(u64, Value)>> {
    if rest.is_empty() {
        return Some(None);
    }
    let tag = varint(rest)?;
    let value = match tag & 7 {
        VARINT => Value::Number(varint(rest)?),
        LENGTH_DELIMITED => {
            let length = usize::try_from(varint(rest)?).ok()?;
            Value::Bytes(take(rest, length)?)
        }
        FIXED_64 => take(rest, 8).map(|_| Value::Other)?,
        FIXED_32 => take(rest, 4).map(|_| Value::Other)?,
        // Groups, which nobody writes any more, and what is not defined.
        _ => return None,
    };
    let field = tag >> 3;
    (field > 0).then_some(Some((field, value)))
}

fn take(rest: &mut Bytes, length: usize) -> Option<Bytes> {
    (length <= rest.len()).then(|| rest.split_to(length))
}

fn varint(rest: &mut Bytes) -> Option<u64> {
    let mut number = 0_u64;
    for (at, byte) in rest.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        // The tenth byte has but one bit of a number.
        if at == 9 && bits > 1 {
            return None;
        }
        number |= bits << (7 * at);
        if byte & 0x80 == 0 {
            _ = rest.split_to(at + 1);
            return Some(number);
        }
    }
    None
}

/// A number in decimal digits, below 2^128.
fn hash_key(digits: &[u8]) -> Option<u128> {
    let all_digits = digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| all_digits)?.parse().ok()
}

/// An entry of a table of keys.
pub(super) fn put_partition_key(into: &mut Vec<u8>, key: &str) {
    put_bytes(into, PARTITION_KEYS, key.as_bytes());
}

/// An entry of a table of keys.
pub(super) fn put_hash_key(into: &mut Vec<u8>, key: &str) {
    put_bytes(into, EXPLICIT_HASH_KEYS, key.as_bytes());
}

/// A record with its keys' places in the tables.
pub(super) fn put_record(into: &mut Vec<u8>, partition_key: usize, hash_key: Option<usize>, data: &[u8]) {
    put_tag(into, RECORDS, LENGTH_DELIMITED);
    put_varint(into, record_bytes(partition_key, hash_key, data.len()));
    put_tag(into, PARTITION_KEY_INDEX, VARINT);
    put_varint(into, partition_key);
    if let Some(hash_key) = hash_key {
        put_tag(into, EXPLICIT_HASH_KEY_INDEX, VARINT);
        put_varint(into, hash_key);
    }
    put_bytes(into, DATA, data);
}

/// What `put_partition_key` and `put_hash_key` write.
pub(super) fn key_bytes(key: &str) -> usize {
    1 + varint_bytes(key.len()) + key.len()
}

/// What `put_record` writes.
pub(super) fn whole_record_bytes(partition_key: usize, hash_key: Option<usize>, data: usize) -> usize {
    let record = record_bytes(partition_key, hash_key, data);
    1 + varint_bytes(record) + record
}

fn record_bytes(partition_key: usize, hash_key: Option<usize>, data: usize) -> usize {
    let hash_key = hash_key.map_or(0, |index| 1 + varint_bytes(index));
    1 + varint_bytes(partition_key) + hash_key + 1 + varint_bytes(data) + data
}

fn put_bytes(into: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_tag(into, field, LENGTH_DELIMITED);
    put_varint(into, bytes.len());
    into.extend(bytes);
}

/// All fields of ours have numbers below 16, so a tag is one byte.
fn put_tag(into: &mut Vec<u8>, field: u64, kind: u64) {
    into.push(low_byte(field << 3 | kind));
}

fn put_varint(into: &mut Vec<u8>, number: usize) {
    let mut rest = u64::try_from(number).unwrap_or(u64::MAX);
    while rest >= 0x80 {
        into.push(low_byte(rest) | 0x80);
        rest >>= 7;
    }
    into.push(low_byte(rest));
}

fn low_byte(number: u64) -> u8 {
    number.to_le_bytes()[0]
}

fn varint_bytes(number: usize) -> usize {
    let (mut rest, mut bytes) = (number, 1);
    while rest >= 0x80 {
        rest >>= 7;
        bytes += 1;
    }
    bytes
}
