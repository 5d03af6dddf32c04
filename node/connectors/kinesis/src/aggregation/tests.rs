//! Against what AWS's own library for Python packs (`tests/golden/aggregated.py`), and against bytes that nobody meant.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::{NewRecord, put_bytes};

const GOLDEN: &str = include_str!("../../tests/golden/aggregated.json");

#[derive(Deserialize)]
struct Case {
    records: Vec<Given>,
    partition_key: String,
    explicit_hash_key: Option<String>,
    data: String,
}

#[derive(Deserialize)]
struct Given {
    partition_key: String,
    explicit_hash_key: Option<String>,
    data: String,
}

impl Given {
    fn record(&self) -> NewRecord {
        NewRecord {
            partition_key: self.partition_key.clone(),
            explicit_hash_key: self.explicit_hash_key.as_deref().map(number),
            data: decoded(&self.data),
        }
    }
}

fn golden() -> BTreeMap<String, Case> {
    serde_json::from_str(GOLDEN).expect("cases")
}

fn number(digits: &str) -> u128 {
    digits.parse().expect("a number")
}

fn decoded(text: &str) -> Bytes {
    BASE64_STANDARD.decode(text).expect("base64").into()
}

fn new(partition_key: &str, explicit_hash_key: Option<u128>, data: &'static [u8]) -> NewRecord {
    NewRecord { partition_key: partition_key.to_owned(), explicit_hash_key, data: Bytes::from_static(data) }
}

fn packed(records: &[NewRecord]) -> NewRecord {
    let mut packer = Packer::new(1 << 20);
    records.iter().for_each(|record| packer.push(record.clone()).expect("it fits"));
    packer.finish().expect("there are records")
}

fn without_place(records: &[NewRecord]) -> Vec<SubRecord> {
    let sub_record = |record: &NewRecord| SubRecord {
        partition_key: record.partition_key.clone(),
        explicit_hash_key: record.explicit_hash_key,
        data: record.data.clone(),
    };
    records.iter().map(sub_record).collect()
}

fn taken_apart(data: &Bytes) -> Option<Vec<SubRecord>> {
    unpack(data).map(Iterator::collect)
}

/// Puts a message into the frame of an aggregated record.
fn framed(message: &[u8]) -> Bytes {
    [&MAGIC[..], message, Md5::digest(message).as_slice()].concat().into()
}

#[test]
fn what_the_library_packs_is_taken_apart() {
    for (name, case) in golden() {
        let given: Vec<NewRecord> = case.records.iter().map(Given::record).collect();
        assert_eq!(taken_apart(&decoded(&case.data)), Some(without_place(&given)), "{name}");
    }
}

#[test]
fn what_is_packed_is_what_the_library_packs() {
    for (name, case) in golden() {
        let given: Vec<NewRecord> = case.records.iter().map(Given::record).collect();
        let whole = packed(&given);
        assert_eq!(whole.data, decoded(&case.data), "{name}");
        assert_eq!(whole.partition_key, case.partition_key, "{name}");
        // The library leaves it out where the first record has none; the shard is the same.
        let explicit = case.explicit_hash_key.as_deref().map(number);
        assert_eq!(
            whole.explicit_hash_key,
            Some(explicit.unwrap_or_else(|| hash_key_of(&case.partition_key))),
            "{name}"
        );
    }
}

#[test]
fn a_record_alone_is_not_packed() {
    let alone = new("key", None, b"data");
    assert_eq!(packed(std::slice::from_ref(&alone)), alone);
    assert_eq!(Packer::new(100).finish(), None);
}

#[test]
fn a_record_that_does_not_fit_is_handed_back() {
    let records = [new("a", None, b"0123456789"), new("b", Some(7), b"0123456789")];
    let bytes = put_bytes(&packed(&records));
    let mut fits = Packer::new(bytes);
    let mut too_small = Packer::new(bytes - 1);
    for packer in [&mut fits, &mut too_small] {
        packer.push(records[0].clone()).expect("the first always fits");
    }
    assert_eq!(too_small.push(records[1].clone()), Err(records[1].clone()));
    assert_eq!((too_small.len(), too_small.finish()), (1, Some(records[0].clone())));
    fits.push(records[1].clone()).expect("it fits");
    assert_eq!(fits.bytes(), bytes);
}

#[test]
fn records_like_others_are_not_taken_apart() {
    let whole = decoded(&golden()["explicit hash keys"].data);
    assert!(unpack(&whole).is_some());
    for like_others in [&b""[..], b"data", &MAGIC, b"\xf3\x89\x9a\xc2 and more than sixteen bytes behind them"] {
        assert_eq!(taken_apart(&Bytes::copy_from_slice(like_others)), None);
    }
    for at in 0..whole.len() {
        let mut changed = whole.to_vec();
        changed[at] ^= 1;
        assert_eq!(taken_apart(&changed.into()), None, "changed at {at}");
        assert_eq!(taken_apart(&whole.slice(..at)), None, "cut at {at}");
    }
}

#[test]
fn messages_that_make_no_sense_are_not_taken_apart() {
    let key = b"\x0a\x01k";
    let behind_key = |rest: &[u8]| framed(&[key, rest].concat());
    assert_eq!(taken_apart(&behind_key(b"\x1a\x05\x08\x00\x1a\x01d")).map(|records| records.len()), Some(1));
    for (what, message) in [
        ("no records", behind_key(b"")),
        ("no bytes", framed(b"")),
        ("no such partition key", behind_key(b"\x1a\x05\x08\x01\x1a\x01d")),
        ("no such explicit hash key", behind_key(b"\x1a\x07\x08\x00\x10\x00\x1a\x01d")),
        ("no partition key", behind_key(b"\x1a\x03\x1a\x01d")),
        ("no data", behind_key(b"\x1a\x02\x08\x00")),
        ("a record that is a number", behind_key(b"\x18\x05")),
        ("data that is a number", behind_key(b"\x1a\x04\x08\x00\x18\x00")),
        ("a length beyond the end", behind_key(b"\x1a\x06\x08\x00\x1a\x01d")),
        ("a number without an end", behind_key(b"\x1a\x80")),
        ("a number that is too large", behind_key(b"\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02")),
        ("a group", behind_key(b"\x1a\x05\x08\x00\x1a\x01d\x23\x24")),
        ("field 0", behind_key(b"\x1a\x05\x08\x00\x1a\x01d\x02\x00")),
        ("a key that is no text", framed(b"\x0a\x01\xff\x1a\x05\x08\x00\x1a\x01d")),
        ("a hash key that is no number", behind_key(b"\x12\x02+1\x1a\x05\x08\x00\x1a\x01d")),
    ] {
        assert_eq!(taken_apart(&message), None, "{what}");
    }
}

/// A message with one partition key, and so many records without data that have it.
fn of_one_key(key: &str, records: usize) -> Bytes {
    let mut message = Vec::new();
    message::put_partition_key(&mut message, key);
    (0..records).for_each(|_| message::put_record(&mut message, 0, None, b""));
    framed(&message)
}

#[test]
fn a_key_is_no_longer_than_kinesis_takes() {
    // Characters count, not bytes.
    let longest = "ü".repeat(256);
    let parts = taken_apart(&of_one_key(&longest, 2)).expect("it is aggregated");
    assert!(parts.len() == 2 && parts.iter().all(|part| part.partition_key == longest));
    assert_eq!(taken_apart(&of_one_key(&format!("{longest}u"), 2)), None);
    assert_eq!(taken_apart(&of_one_key(&"k".repeat(1 << 20), 1)), None);
}

/// Else 6 bytes of a record could become a thousand of memory, each.
#[test]
fn parts_are_made_one_by_one() {
    let data = of_one_key(&"k".repeat(256), 100_000);
    let mut parts = unpack(&data).expect("it is aggregated");
    assert_eq!(parts.next().map(|part| part.partition_key.len()), Some(256));
    assert_eq!(parts.count(), 99_999);
}

#[test]
fn tags_unknown_fields_and_tables_behind_records_are_passed_over() {
    // A record with a tag and a field of 4 bytes, one of 8 bytes beside it, and the table last.
    let record = b"\x1a\x11\x08\x00\x1a\x01d\x22\x05\x0a\x03tag\x2d\x01\x02\x03\x04";
    let message = [&record[..], b"\x21\x01\x02\x03\x04\x05\x06\x07\x08", b"\x0a\x01k"].concat();
    assert_eq!(taken_apart(&framed(&message)), Some(without_place(&[new("k", None, b"d")])));
}

#[test]
fn a_record_belongs_to_the_shard_of_its_hash_key() {
    let low = HashKeyRange { first: 0, last: 99 };
    let mut record = without_place(&[new("a", Some(99), b"")]).remove(0);
    assert!(record.belongs_to(&low));
    record.explicit_hash_key = None;
    assert_eq!((record.hash_key(), record.belongs_to(&low)), (hash_key_of("a"), false));
}

fn records() -> impl Strategy<Value = Vec<NewRecord>> {
    let key = prop_oneof!["[a-c]", "\\PC{1,20}"];
    let hash_key = prop::option::of(prop_oneof![0..3_u128, any::<u128>()]);
    let record =
        (key, hash_key, prop::collection::vec(any::<u8>(), 0..60)).prop_map(|(partition_key, hash_key, data)| {
            NewRecord { partition_key, explicit_hash_key: hash_key, data: data.into() }
        });
    prop::collection::vec(record, 2..60)
}

proptest! {
    #[test]
    fn what_is_packed_is_taken_apart_again(records in records(), bytes_max in 50..2_000_usize) {
        let mut packer = Packer::new(bytes_max);
        let (mut wholes, mut expected) = (Vec::new(), Vec::new());
        for record in &records {
            if let Err(record) = packer.push(record.clone()) {
                expected.push(packer.bytes());
                wholes.extend(packer.finish());
                packer.push(record).expect("the first always fits");
            }
        }
        expected.push(packer.bytes());
        wholes.extend(packer.finish());
        let bytes: Vec<usize> = wholes.iter().map(put_bytes).collect();
        prop_assert_eq!(&bytes, &expected);
        let mut apart = Vec::new();
        for whole in &wholes {
            let plain = without_place(std::slice::from_ref(whole));
            let parts = taken_apart(&whole.data).unwrap_or(plain);
            prop_assert!(parts.len() == 1 || put_bytes(whole) <= bytes_max);
            prop_assert_eq!(whole.explicit_hash_key.unwrap_or_else(|| hash_key_of(&whole.partition_key)), parts[0].hash_key());
            apart.extend(parts);
        }
        prop_assert_eq!(apart, without_place(&records));
    }

    #[test]
    fn no_message_makes_it_panic(message in prop::collection::vec(prop_oneof![0..0x24_u8, any::<u8>()], 0..60)) {
        let _ = taken_apart(&framed(&message));
    }
}
