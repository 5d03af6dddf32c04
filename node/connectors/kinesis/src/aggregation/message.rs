//! The message of an aggregated record, on the wire.
//!
//! Parsed by hand: data stays in the record's own bytes, and only what is needed is looked at.

use bytes::Bytes;

use super::SubRecord;

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

/// `None`: it is no such message, or has no records, or one of them names a key that there is not.
pub(super) fn parse(message: &Bytes) -> Option<Vec<SubRecord>> {
    let (mut partition_keys, mut hash_keys, mut records) = (Vec::new(), Vec::new(), Vec::new());
    let mut rest = message.clone();
    while let Some((field, value)) = next_field(&mut rest)? {
        match (field, value) {
            (PARTITION_KEYS, Value::Bytes(key)) => partition_keys.push(String::from_utf8(key.to_vec()).ok()?),
            (EXPLICIT_HASH_KEYS, Value::Bytes(key)) => hash_keys.push(hash_key(&key)?),
            (RECORDS, Value::Bytes(record)) => records.push(record),
            (PARTITION_KEYS | EXPLICIT_HASH_KEYS | RECORDS, Value::Number(_) | Value::Other) => return None,
            (_, Value::Number(_) | Value::Bytes(_) | Value::Other) => {}
        }
    }
    // The tables may stand behind the records, since fields have no order.
    let parsed: Option<Vec<SubRecord>> =
        records.into_iter().map(|record| parse_record(record, &partition_keys, &hash_keys)).collect();
    parsed.filter(|records| !records.is_empty())
}

fn parse_record(mut record: Bytes, partition_keys: &[String], hash_keys: &[u128]) -> Option<SubRecord> {
    let (mut partition_key, mut explicit_hash_key, mut data) = (None, None, None);
    while let Some((field, value)) = next_field(&mut record)? {
        match (field, value) {
            (PARTITION_KEY_INDEX, Value::Number(index)) => partition_key = Some(index),
            (EXPLICIT_HASH_KEY_INDEX, Value::Number(index)) => explicit_hash_key = Some(index),
            (DATA, Value::Bytes(bytes)) => data = Some(bytes),
            (
                PARTITION_KEY_INDEX | EXPLICIT_HASH_KEY_INDEX | DATA,
                Value::Number(_) | Value::Bytes(_) | Value::Other,
            ) => return None,
            (_, Value::Number(_) | Value::Bytes(_) | Value::Other) => {}
        }
    }
    let explicit_hash_key = match explicit_hash_key {
        Some(index) => Some(*hash_keys.get(usize::try_from(index).ok()?)?),
        None => None,
    };
    Some(SubRecord {
        partition_key: partition_keys.get(usize::try_from(partition_key?).ok()?)?.clone(),
        explicit_hash_key,
        data: data?,
    })
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
