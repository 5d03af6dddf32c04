//! The bytes of the format, and round trips.

use std::{fs, path::Path, sync::Arc};

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, UInt32Array},
    compute::{concat_batches, take_record_batch},
};
use object_store::{ObjectStore, memory::InMemory};
use proptest::prelude::*;
use thalweg_types::{
    KeyGroup, OperatorId, Split, SplitId,
    checkpoint::{MANIFEST_FORMAT, Manifest, SourceSnapshot, SplitProgress, SplitState, StateObject},
};
use xxhash_rust::xxh3::xxh3_64;

use super::rig::{
    bare_rows, block_on, groups, manifest, nested_rows, plain_rows, state_file, state_name, stored, types_of,
};
use crate::{
    Compression, STATE_FILE_FORMAT, StateFileBuilder, StateReader, StateRows, checkpoint_store::parse_manifest,
};

const GOLDEN_STATE: &[u8] = include_bytes!("golden/2.state");
const GOLDEN_STATE_1: &[u8] = include_bytes!("golden/1.state");
const GOLDEN_MANIFEST: &str = include_str!("golden/manifest-2.json");
const GOLDEN_MANIFEST_1: &str = include_str!("golden/manifest-1.json");

fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

fn reader(builder: StateFileBuilder) -> StateReader {
    StateReader::of_bytes(memory(), "x.state", builder.finish().to_bytes()).expect("it was just built")
}

/// Rows sorted by key group, by other means than the builder's.
fn sorted(key_groups: &[KeyGroup], rows: &RecordBatch) -> (Vec<KeyGroup>, RecordBatch) {
    let mut order: Vec<u32> = (0..).take(key_groups.len()).collect();
    order.sort_by_key(|row| key_groups[*row as usize]);
    let groups = order.iter().map(|row| key_groups[*row as usize]).collect();
    (groups, take_record_batch(rows, &UInt32Array::from(order)).expect("all rows are there"))
}

fn check_round_trip(mut builder: StateFileBuilder, key_groups: &[KeyGroup], rows: &RecordBatch) {
    let indexes = builder.add(OperatorId(9), "t", key_groups, rows).expect("rows of these types are stored");
    assert_eq!(builder.is_empty(), rows.num_rows() == 0);
    let reader = reader(builder);
    assert_eq!(indexes, (0..).take(reader.entries().len()).collect::<Vec<u32>>());
    let read = block_on(reader.read_all(&indexes)).expect("it was just built");
    for (entry, segment) in reader.entries().iter().zip(&read) {
        assert_eq!((entry.operator, entry.table.as_str()), (OperatorId(9), "t"));
        let groups = &segment.key_groups;
        assert_eq!(groups.iter().min().zip(groups.iter().max()), Some((&entry.lowest, &entry.highest)));
    }
    let (wanted_groups, wanted) =
        if read.len() > 1 { sorted(key_groups, rows) } else { (key_groups.to_vec(), rows.clone()) };
    let groups: Vec<KeyGroup> = read.iter().flat_map(|segment| segment.key_groups.iter().copied()).collect();
    assert_eq!(groups, wanted_groups);
    let pieces: Vec<RecordBatch> = read.into_iter().map(|segment| segment.rows).collect();
    let Some(first) = pieces.first() else { return };
    assert_eq!((first.schema(), types_of(first)), (rows.schema(), types_of(rows)));
    assert_eq!(concat_batches(&rows.schema(), &pieces).expect("the pieces have one schema"), wanted);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn rows_come_back_in_the_order_of_their_key_groups_where_they_fill_several_segments(
        keyed in prop::collection::vec((0_u16..9, -40_i64..40), 0..200),
        target in 1_usize..20_000,
        offset in 0_usize..3,
    ) {
        let numbers: Vec<i64> = keyed.iter().map(|(_, number)| *number).collect();
        let keyed = keyed.get(offset..).unwrap_or_default();
        let key_groups = groups(&keyed.iter().map(|(group, _)| *group).collect::<Vec<_>>());
        for rows in [plain_rows(&numbers), nested_rows(&numbers)] {
            let rows = rows.slice(numbers.len() - keyed.len(), keyed.len());
            for compression in [Compression::None, Compression::WhereItSaves] {
                check_round_trip(StateFileBuilder::new(target, compression), &key_groups, &rows);
            }
        }
    }
}

#[test]
fn rows_without_columns_come_back() {
    let mut builder = StateFileBuilder::new(1 << 20, Compression::WhereItSaves);
    builder.add(OperatorId(0), "t", &groups(&[65535, 0, 3]), &bare_rows(3)).expect("there is nothing to store");
    let StateRows { key_groups, rows } = block_on(reader(builder).read(0)).expect("it was just built");
    assert_eq!((key_groups.to_vec(), rows.num_rows()), (groups(&[65535, 0, 3]), 3));
}

#[test]
fn segments_end_with_key_groups_where_they_can() {
    let numbers: Vec<i64> = (0..1000).collect();
    let key_groups: Vec<KeyGroup> = numbers.iter().map(|n| KeyGroup(u16::try_from(n / 100).unwrap())).collect();
    let mut builder = StateFileBuilder::new(6000, Compression::WhereItSaves);
    builder.add(OperatorId(0), "t", &key_groups, &plain_rows(&numbers)).expect("plain rows are stored");
    let ends: Vec<(u16, u16)> = reader(builder).entries().iter().map(|e| (e.lowest.0, e.highest.0)).collect();
    assert!(ends.len() > 2 && ends.windows(2).all(|pair| pair[0].1 < pair[1].0), "{ends:?}");
    let mut builder = StateFileBuilder::new(6000, Compression::WhereItSaves);
    let one_group = vec![KeyGroup(5); 1000];
    let segments = builder.add(OperatorId(0), "t", &one_group, &plain_rows(&numbers)).expect("plain rows are stored");
    assert!(segments.len() > 2, "a group that is too large is cut");
}

#[test]
fn segments_bring_no_more_than_they_show() {
    let numbers: Vec<i64> = (0..20_000).collect();
    let whole = nested_rows(&numbers);
    let mut builder = StateFileBuilder::new(1 << 20, Compression::WhereItSaves);
    builder.add(OperatorId(0), "t", &groups(&[1, 2]), &whole.slice(10, 2)).expect("nested rows are stored");
    assert!(builder.bytes() < 10_000, "{} bytes for two rows", builder.bytes());
    let mut builder = StateFileBuilder::new(64 << 10, Compression::WhereItSaves);
    let key_groups = vec![KeyGroup(0); numbers.len()];
    let segments = builder.add(OperatorId(0), "t", &key_groups, &whole).expect("nested rows are stored").len();
    assert!(segments > 10 && builder.bytes() < 4 << 20, "{} bytes in {segments} segments", builder.bytes());
}

#[test]
fn a_large_file_is_read_by_ranges() {
    for is_poor in [false, true] {
        let inner = if is_poor { Arc::new(super::rig::PoorStore::default()) as _ } else { memory() };
        block_on(async {
            let (_, store, _) = stored(inner).await;
            let mut builder = StateFileBuilder::new(100, Compression::WhereItSaves);
            let mut seed = 7_i64;
            let mut next = || {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                seed
            };
            let numbers: Vec<i64> = (0..4000).map(|_| next()).collect();
            let key_groups: Vec<KeyGroup> = (0..4000).map(|row| KeyGroup(row / 10)).collect();
            let rows = plain_rows(&numbers);
            let segments = builder.add(OperatorId(1), "t", &key_groups, &rows).expect("plain rows are stored");
            let file = builder.finish();
            assert!(file.bytes > 200 << 10 && segments.len() > 1000, "the footer alone is longer than one read");
            store.put_state("large.state", file).await.expect("memory takes it");
            let reader = store.open_state("large.state").await.expect("it is sound");
            let last = *segments.last().expect("there are many");
            let some = reader.read_all(&[last, 0, 1, 0]).await.expect("they are sound");
            assert_eq!(some[1].rows, rows.slice(0, some[1].rows.num_rows()));
            assert_eq!(some[1], some[3]);
            assert_eq!(some[0].rows, rows.slice(4000 - some[0].rows.num_rows(), some[0].rows.num_rows()));
            assert!(reader.read(last + 1).await.is_err());
        });
    }
}

#[test]
fn what_cannot_be_compressed_is_not() {
    let mut seed = 7_u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::from_le_bytes((seed ^ (seed >> 29)).to_le_bytes())
    };
    let columns = ["a", "b"].map(|name| {
        let column: Int64Array = (0..40_000).map(|_| Some(next())).collect();
        (name, Arc::new(column) as ArrayRef)
    });
    let rows = RecordBatch::try_from_iter(columns).expect("two columns");
    let key_groups = vec![KeyGroup(0); rows.num_rows()];
    let mut builder = StateFileBuilder::new(128 << 10, Compression::WhereItSaves);
    let segments = builder.add(OperatorId(0), "t", &key_groups, &rows).expect("integers are stored");
    let reader = reader(builder);
    let read = block_on(reader.read_all(&segments)).expect("it was just built");
    let lengths: Vec<u64> = reader.entries().iter().map(|entry| entry.bytes / entry.rows).collect();
    assert!(lengths.len() > 2 && lengths.iter().all(|bytes| (16..=18).contains(bytes)), "{lengths:?}");
    for segment in &read {
        let held = segment.rows.get_array_memory_size();
        assert!(held < segment.rows.num_rows() * 20, "{held} bytes for {} rows", segment.rows.num_rows());
    }
    let pieces: Vec<RecordBatch> = read.into_iter().map(|segment| segment.rows).collect();
    assert_eq!(concat_batches(&rows.schema(), &pieces).expect("the pieces have one schema"), rows);
}

#[test]
fn a_file_without_rows_is_a_file() {
    let builder = StateFileBuilder::new(1, Compression::WhereItSaves);
    assert!(builder.is_empty());
    assert!(reader(builder).entries().is_empty());
}

#[test]
fn what_is_not_compressed_shares_the_memory_of_the_rows() {
    let rows = plain_rows(&(0..20_000).collect::<Vec<_>>());
    let key_groups: Vec<KeyGroup> = (0..20_000).map(|row| KeyGroup(row % 7)).collect();
    let memory = rows.column(0).to_data().buffers()[0].as_ptr();
    let is_shared = |compression| {
        let mut builder = StateFileBuilder::new(1 << 20, compression);
        builder.add(OperatorId(0), "t", &key_groups, &rows).expect("plain rows are stored");
        builder.finish().pieces.iter().any(|piece| piece.as_ptr() == memory)
    };
    assert!(is_shared(Compression::None) && !is_shared(Compression::WhereItSaves));
}

/// After a change of a format and of its number: `cargo test -p thalweg-storage --lib -- --ignored golden`. Files of older
/// formats stay.
#[test]
#[ignore = "writes files of the repository"]
fn golden_files_of_the_newest_formats_are_made() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/golden");
    fs::write(folder.join(format!("{STATE_FILE_FORMAT}.state")), state_file(0).to_bytes()).expect("it is written");
    let manifest = serde_json::to_vec(&golden_manifest()).expect("a manifest has only text keys");
    fs::write(folder.join(format!("manifest-{MANIFEST_FORMAT}.json")), manifest).expect("it is written");
}

/// Another format needs another version number, another file here, and a reader of all versions.
#[test]
fn bytes_of_a_state_file_stay_as_they_are() {
    let file = state_file(0);
    assert_eq!((file.bytes, file.checksum), (GOLDEN_STATE.len() as u64, xxh3_64(GOLDEN_STATE)));
    assert_eq!(file.to_bytes(), GOLDEN_STATE);
    check_golden(GOLDEN_STATE, &[1, 0, 1], &[1, 20, 30]);
}

#[test]
fn the_first_version_is_read() {
    check_golden(GOLDEN_STATE_1, &[0, 1, 1], &[20, 1, 30]);
}

fn check_golden(bytes: &'static [u8], key_groups: &[u16], numbers: &[i64]) {
    let reader = StateReader::of_bytes(memory(), "golden.state", bytes.into()).expect("it is sound");
    let read = block_on(reader.read(0)).expect("it is sound");
    assert_eq!(read.key_groups.to_vec(), groups(key_groups));
    assert_eq!(read.rows, plain_rows(numbers));
}

/// A manifest with state, rows on their way, and a source with a position in an ingest log.
fn golden_manifest() -> Manifest {
    let object = |index| StateObject { name: state_name(index), bytes: 1000, checksum: u64::MAX };
    let mut manifest = manifest(vec![object(0), object(1)]);
    let source = manifest.graph.as_ref().expect("it has one").operators[3].clone();
    let id = SplitId("/ingest/t".to_owned());
    let payload = serde_json::json!({"ingest-log": {
        "keep": 9, "log": "00c0ffee00000003-f0cdd6bb395812ff", "row": 3, "seals": [1, 12], "segment": 17,
    }});
    let split = Split { sequence: id.0.clone(), id, ordinal: 0, payload };
    let splits = vec![SplitProgress { state: SplitState::Open, ..SplitProgress::unread(split) }];
    manifest.subtasks[0].source = Some(SourceSnapshot { source: source.operator, splits });
    manifest
}

#[test]
fn bytes_of_a_manifest_stay_as_they_are() {
    let text = |manifest: &Manifest| serde_json::to_string(manifest).expect("a manifest has only text keys");
    assert_eq!(text(&golden_manifest()), GOLDEN_MANIFEST);
    assert_eq!(parse_manifest("golden", GOLDEN_MANIFEST.as_bytes()).expect("it is sound"), golden_manifest());
}

#[test]
fn the_first_format_of_manifests_is_read() {
    let mut expected = golden_manifest();
    (expected.format, expected.graph) = (1, None);
    expected.subtasks[0].source = None;
    assert_eq!(parse_manifest("golden", GOLDEN_MANIFEST_1.as_bytes()).expect("it is sound"), expected);
}
