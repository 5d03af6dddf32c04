//! The bytes of segments, damage in them, who gets a number, and what may be deleted.

use std::sync::Arc;

use bytes::Bytes;
use object_store::memory::InMemory;
use proptest::prelude::*;
use serde_json::{Value, json};
use thalweg_types::{
    Attempt, ClusterId, JobId, OperatorId, Split, SplitId,
    checkpoint::{Manifest, SourceSnapshot, SplitProgress},
};

use super::{
    segment::{head_bytes, parse, parse_head},
    *,
};
use thalweg_storage::{CheckpointStore, ObjectStores, StorageError};

const GOLDEN: &[u8] = include_bytes!("tests/golden/1.segment");

fn requests() -> (SegmentHead, Vec<Bytes>) {
    let bodies = vec![Bytes::from_static(b"{\"a\":1}\n{\"a\":2}\n"), Bytes::from_static(b"[{\"a\":3}]")];
    let request = |key: Option<&str>, body: &Bytes, rows| LoggedRequest {
        key: key.map(str::to_owned),
        arrived_millis: 1_767_225_600_000,
        rows,
        bytes: body.len() as u64,
        hash: body_hash(body),
    };
    let requests = vec![request(Some("k-1"), &bodies[0], 2), request(None, &bodies[1], 1)];
    (SegmentHead { segment: SegmentNumber(12), writer: writer(3), requests }, bodies)
}

fn writer(attempt: u32) -> WriterId {
    WriterId { attempt: Attempt(attempt), nonce: u64::MAX - u64::from(attempt) }
}

fn seal(attempt: u32, number: u64) -> Bytes {
    encode(&SegmentHead { segment: SegmentNumber(number), writer: writer(attempt), requests: Vec::new() }, &[])
}

fn log() -> (CheckpointStore, IngestLog) {
    let stores = ObjectStores::default().with_store("memory://test", Arc::new(InMemory::new()));
    let store = CheckpointStore::open("memory://test", &stores).unwrap();
    (store.clone(), IngestLog::new(store, "c/job-1/ingest/7-0".to_owned()))
}

/// After a change of the format and of its number: `cargo test -p thalweg-ingest-log --lib -- --ignored golden`.
#[test]
#[ignore = "writes a file of the repository"]
fn the_golden_segment_of_the_newest_format_is_made() {
    let (head, bodies) = requests();
    let name = format!("src/tests/golden/{SEGMENT_FORMAT}.segment");
    std::fs::write(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name), encode(&head, &bodies)).unwrap();
}

#[test]
fn the_format_of_segments_is_this() {
    let (head, bodies) = requests();
    assert_eq!(encode(&head, &bodies), GOLDEN, "another format needs another number");
    let segment = parse("x", SegmentNumber(12), &Bytes::from_static(GOLDEN)).unwrap();
    assert_eq!((&segment.head, &segment.bodies), (&head, &bodies));
    let end = head_bytes("x", GOLDEN).unwrap();
    assert_eq!(parse_head("x", SegmentNumber(12), &GOLDEN[..end]).unwrap(), (head, end));
}

#[test]
fn any_damage_is_noticed() {
    let is_damaged = |bytes: Vec<u8>| {
        let result = parse("x", SegmentNumber(12), &bytes.into());
        matches!(result, Err(StorageError::Corrupt { .. }))
    };
    for at in 0..GOLDEN.len() {
        let mut changed = GOLDEN.to_vec();
        changed[at] ^= 1;
        assert!(is_damaged(changed), "byte {at}");
        assert!(is_damaged(GOLDEN[..at].to_vec()), "cut off at {at}");
    }
    assert!(parse("x", SegmentNumber(11), &Bytes::from_static(GOLDEN)).is_err(), "it is another segment's place");
}

#[tokio::test]
async fn a_number_is_given_once() {
    let (_, log) = log();
    assert!(matches!(log.create(SegmentNumber(1), seal(1, 1)).await, Ok(Created::Put)));
    assert!(matches!(log.create(SegmentNumber(1), seal(1, 1)).await, Ok(Created::Put)), "the same once more");
    match log.create(SegmentNumber(1), seal(2, 1)).await.unwrap() {
        Created::Taken(segment) => assert!(segment.head.writer == writer(1) && segment.head.is_seal()),
        Created::Put => panic!("the number is taken"),
    }
    let (head, bodies) = requests();
    log.create(SegmentNumber(12), encode(&head, &bodies)).await.unwrap();
    let listed = log.list().await.unwrap();
    assert_eq!(listed.keys().map(|number| number.0).collect::<Vec<_>>(), [1, 12]);
    assert_eq!(log.head(SegmentNumber(12), listed[&SegmentNumber(12)]).await.unwrap(), head);
    assert_eq!(log.read(SegmentNumber(12)).await.unwrap().bodies, bodies);
}

#[tokio::test]
async fn heads_of_any_length_are_read_without_the_bodies() {
    let (store, log) = log();
    let (mut head, _) = requests();
    head.requests.truncate(1);
    let body = Bytes::from(vec![b' '; 100_000]);
    head.requests[0].key = Some("k".repeat(50_000));
    head.requests[0].bytes = 100_000;
    log.create(SegmentNumber(12), encode(&head, &[body])).await.unwrap();
    let bytes = log.list().await.unwrap()[&SegmentNumber(12)];
    assert_eq!(log.head(SegmentNumber(12), bytes).await.unwrap(), head);
    let name = segment_name("c/job-1/ingest/7-0", SegmentNumber(13));
    store.create_exclusively(&name, Bytes::new()).await.unwrap();
    assert!(matches!(log.head(SegmentNumber(13), 0).await, Err(StorageError::Corrupt { .. })));
}

fn golden_manifest() -> Manifest {
    serde_json::from_str(include_str!("../../storage/src/tests/golden/manifest-2.json")).unwrap()
}

fn manifest(payload: Value) -> Manifest {
    let mut manifest = golden_manifest();
    manifest.cluster = ClusterId("c".to_owned());
    manifest.job = JobId(1);
    let id = split();
    let split = Split { id: id.clone(), sequence: id.0, ordinal: 0, payload };
    let source = SourceSnapshot { source: OperatorId(7), splits: vec![SplitProgress::unread(split)] };
    manifest.subtasks[0].source = Some(source);
    manifest
}

fn split() -> SplitId {
    SplitId("/ingest/t".to_owned())
}

/// The log by the source's identity in these manifests, and that by its index.
fn logs() -> [LogName; 2] {
    let recorded = golden_manifest().graph.unwrap();
    [LogName::of(recorded.operators[7].identity, &split()), LogName::by_index(OperatorId(7), &split())]
}

/// The numbers of those of the first nine segments of a log that no manifest needs.
fn unneeded_of(log: &LogName, kept: &[Manifest]) -> Vec<u64> {
    let folder = ingest_folder(&ClusterId("c".to_owned()), JobId(1), log);
    let objects = (1..=9).map(|number| segment_name(&folder, SegmentNumber(number))).chain(["c/x".to_owned()]);
    let unneeded = unneeded(objects.collect(), kept).into_iter();
    unneeded.map(|name| segment_of(&name).unwrap().1.0).collect()
}

#[test]
fn what_no_kept_checkpoint_needs_goes_but_seals_stay() {
    let [named, indexed] = logs();
    for (log, told, other) in [(&named, Some(named.clone()), &indexed), (&indexed, None, &named)] {
        let at = |segment, keep, seals: &[u64]| {
            let seals = seals.iter().copied().map(SegmentNumber).collect();
            let (segment, keep, log) = (SegmentNumber(segment), SegmentNumber(keep), told.clone());
            manifest(LogPosition { segment, row: 0, keep, seals, log }.to_payload())
        };
        let numbers = |kept: &[Manifest]| unneeded_of(log, kept);
        assert_eq!(numbers(&[at(8, 6, &[1, 4]), at(9, 9, &[1, 4, 8])]), [2, 3, 5]);
        assert_eq!(numbers(&[at(9, 9, &[1, 4, 8])]), [2, 3, 5, 6, 7]);
        assert_eq!(numbers(&[at(9, 9, &[1]), manifest(Value::Null)]), [0; 0], "one of them has read nothing");
        assert_eq!(numbers(&[manifest(json!({"ingest-log": 7}))]), [0; 0], "one of them is not understood");
        assert_eq!(numbers(&[]), [1, 2, 3, 4, 5, 6, 7, 8, 9], "the job is over");
        assert_eq!(unneeded_of(other, &[at(9, 9, &[1, 4, 8])]), [0; 0], "nobody tells of this log");
    }
}

#[test]
fn names_of_logs_are_of_one_form() {
    let [named, indexed] = logs();
    assert_eq!(indexed.to_string(), "7-f0cdd6bb395812ff");
    for name in [named, indexed] {
        assert_eq!(serde_json::from_value::<LogName>(json!(name)).unwrap(), name);
    }
    for wrong in ["", "7", "-", "7-", "-7", "7-x", "../7-0", "7-0/..", "7-0-0", "7-A", "00000000000000000-0"] {
        assert!(LogName::try_from(wrong.to_owned()).is_err(), "{wrong}");
    }
    let payload = json!({"ingest-log": {"segment": 3, "row": 0, "keep": 2, "seals": [], "log": "../7-0"}});
    assert!(LogPosition::of_payload(&payload).is_err());
}

#[test]
fn positions_that_are_none_are_refused() {
    assert_eq!(LogPosition::of_payload(&Value::Null).unwrap(), None);
    let position =
        |segment: u64, keep: u64| json!({"ingest-log": {"segment": segment, "row": 0, "keep": keep, "seals": []}});
    assert!(LogPosition::of_payload(&position(3, 2)).unwrap().is_some());
    assert!(LogPosition::of_payload(&position(2, 3)).is_err() && LogPosition::of_payload(&position(2, 0)).is_err());
}

proptest! {
    #[test]
    fn what_goes_in_comes_out(bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..5)) {
        let bodies: Vec<Bytes> = bodies.into_iter().map(Bytes::from).collect();
        let request = |body: &Bytes| LoggedRequest {
            key: None, arrived_millis: 1, rows: 2, bytes: body.len() as u64, hash: body_hash(body),
        };
        let head =
            SegmentHead { segment: SegmentNumber(5), writer: writer(1), requests: bodies.iter().map(request).collect() };
        let bytes = encode(&head, &bodies);
        prop_assert_eq!(parse("x", SegmentNumber(5), &bytes).unwrap(), Segment { head, bodies });
    }
}
