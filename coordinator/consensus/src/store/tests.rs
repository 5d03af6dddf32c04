use proptest::prelude::*;

use super::{
    disk::{decode_hard_state, decode_position, encode_hard_state, encode_position},
    *,
};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime")
}

/// One write in the course of a log, as the driver makes it.
#[derive(Debug, Clone)]
enum Step {
    Append { back: u64, count: u64 },
    Vote { term: u64, vote: u64 },
    Compact { share: u64 },
    Install { ahead: u64 },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4u64, 1..6u64).prop_map(|(back, count)| Step::Append { back, count }),
        1 => (1..9u64, 0..4u64).prop_map(|(term, vote)| Step::Vote { term, vote }),
        1 => (1..4u64).prop_map(|share| Step::Compact { share }),
        1 => (1..9u64).prop_map(|ahead| Step::Install { ahead }),
        1 => Just(Step::Reopen),
    ]
}

fn entry(index: u64, salt: usize) -> LogEntry {
    LogEntry { index, bytes: Bytes::from(format!("{index}/{salt}")) }
}

/// The write of a step, given what is stored.
fn write_of(step: &Step, stored: &Stored, salt: usize) -> LogWrite {
    let last = stored.entries.last().map_or(stored.compacted.index, |entry| entry.index);
    match step {
        Step::Append { back, count } => {
            let first = (last + 1).saturating_sub(*back).max(stored.compacted.index + 1);
            LogWrite {
                entries: (first..first + count).map(|index| entry(index, salt)).collect(),
                ..LogWrite::default()
            }
        }
        Step::Vote { term, vote } => LogWrite {
            hard_state: Some(HardState { term: *term, vote: *vote, commit: last }),
            identity: Some(Identity { member: MemberId(*vote), cluster: ClusterId(format!("c{salt}")) }),
            ..LogWrite::default()
        },
        Step::Compact { share } => LogWrite {
            compacted: Some(LogPosition { index: last - (last - stored.compacted.index) / share, term: 1 }),
            snapshot: Some(Bytes::from(format!("snapshot {salt}"))),
            ..LogWrite::default()
        },
        Step::Install { ahead } => LogWrite {
            clears_log: true,
            compacted: Some(LogPosition { index: last + ahead, term: 2 }),
            snapshot: Some(Bytes::from(format!("installed {salt}"))),
            ..LogWrite::default()
        },
        Step::Reopen => LogWrite::default(),
    }
}

proptest! {
    // Every write is an fsync: few cases, each of many writes.
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn the_disk_holds_what_memory_holds(steps in prop::collection::vec(step(), 1..12)) {
        runtime().block_on(async {
            let directory = tempfile::tempdir().expect("a directory");
            let memory = MemoryStore::new();
            let mut disk = RedbStore::open(directory.path()).expect("opens");
            for (salt, step) in steps.iter().enumerate() {
                if matches!(step, Step::Reopen) {
                    drop(disk);
                    disk = RedbStore::open(directory.path()).expect("opens again");
                }
                let write = write_of(step, &memory.load().await.expect("loads"), salt);
                memory.write(write.clone()).await.expect("writes");
                disk.write(write).await.expect("writes");
                assert_eq!(disk.load().await.expect("loads"), memory.load().await.expect("loads"));
            }
        });
    }

    #[test]
    fn fixed_fields_come_back(a: u64, b: u64, c: u64) {
        let state = HardState { term: a, vote: b, commit: c };
        prop_assert_eq!(decode_hard_state(&encode_hard_state(&state)).expect("its own bytes"), state);
        let position = LogPosition { index: a, term: b };
        prop_assert_eq!(decode_position(&encode_position(&position)).expect("its own bytes"), position);
    }
}

#[test]
fn format_1_has_these_bytes() {
    let state = HardState { term: 1, vote: 2, commit: 259 };
    assert_eq!(encode_hard_state(&state), b"\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x03\x01\0\0\0\0\0\0");
    assert_eq!(encode_position(&LogPosition { index: 5, term: 6 }), b"\x05\0\0\0\0\0\0\0\x06\0\0\0\0\0\0\0");
}

#[test]
fn fields_of_another_length_are_damage() {
    for bytes in [&[0u8; 23][..], &[0; 25], &[0; 16], &[]] {
        assert!(matches!(decode_hard_state(bytes), Err(StoreError::Damaged(_))));
    }
}

#[test]
fn a_store_that_is_open_is_not_opened_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = RedbStore::open(directory.path()).expect("opens");
    assert!(matches!(RedbStore::open(directory.path()), Err(StoreError::InUse { .. })));
    drop(first);
    RedbStore::open(directory.path()).expect("opens once the first is closed");
}

#[test]
fn a_file_that_is_no_store_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("raft.redb"), b"something else altogether").expect("writes");
    let refused = RedbStore::open(directory.path()).expect_err("it is none");
    assert!(matches!(refused, StoreError::Open { .. } | StoreError::Damaged(_)), "{refused}");
}

#[test]
fn a_store_of_another_format_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    drop(RedbStore::open(directory.path()).expect("opens"));
    let database = redb::Database::open(directory.path().join("raft.redb")).expect("opens");
    let transaction = database.begin_write().expect("begins");
    {
        let table: redb::TableDefinition<'_, &str, &[u8]> = redb::TableDefinition::new("meta");
        let mut meta = transaction.open_table(table).expect("opens");
        meta.insert("format", 7u32.to_le_bytes().as_slice()).expect("inserts");
    }
    transaction.commit().expect("commits");
    drop(database);
    assert!(matches!(RedbStore::open(directory.path()), Err(StoreError::Format { found: 7, known: 2 })));
}

/// A snapshot of several pieces, each different from the others.
fn large(salt: u8) -> Bytes {
    (0..5 << 19).map(|at: u32| salt ^ at.to_le_bytes()[2] ^ at.to_le_bytes()[0]).collect::<Vec<u8>>().into()
}

#[test]
fn a_prepared_snapshot_counts_when_it_is_written() {
    let runtime = runtime();
    let directory = tempfile::tempdir().expect("a directory");
    let open = || RedbStore::open(directory.path()).expect("opens");
    let written = |snapshot: &Bytes| LogWrite { snapshot: Some(snapshot.clone()), ..LogWrite::default() };
    let snapshot_of = |store: &RedbStore| runtime.block_on(store.load()).expect("loads").snapshot;
    let prepare = |store: &RedbStore, snapshot: &Bytes| runtime.block_on(store.prepare(snapshot)).expect("prepared");
    let write =
        |store: &RedbStore, snapshot: &Bytes| runtime.block_on(store.write(written(snapshot))).expect("written");
    let mut store = open();
    write(&store, &Bytes::from_static(b"small"));
    for salt in 2..4 {
        let before = snapshot_of(&store);
        prepare(&store, &large(salt));
        assert_eq!(snapshot_of(&store), before, "it is not written yet");
        write(&store, &large(salt));
        assert_eq!(snapshot_of(&store), Some(large(salt)));
        drop(store);
        store = open();
        assert_eq!(snapshot_of(&store), Some(large(salt)), "{salt}");
    }
    // A snapshot that was prepared and given up, because its process ended or another one came.
    prepare(&store, &large(5));
    drop(store);
    store = open();
    assert_eq!(snapshot_of(&store), Some(large(3)));
    prepare(&store, &large(6));
    prepare(&store, &large(7));
    write(&store, &large(8));
    assert_eq!(snapshot_of(&store), Some(large(8)), "one that was not prepared is written whole");
    prepare(&store, &large(9));
    write(&store, &large(9));
    write(&store, &Bytes::from_static(b"small again"));
    drop(store);
    assert_eq!(snapshot_of(&open()), Some(Bytes::from_static(b"small again")));
}

#[test]
fn a_snapshot_of_which_a_piece_is_missing_is_damage() {
    let runtime = runtime();
    let directory = tempfile::tempdir().expect("a directory");
    {
        let store = RedbStore::open(directory.path()).expect("opens");
        runtime.block_on(store.prepare(&large(1))).expect("prepared");
        let write = LogWrite { snapshot: Some(large(1)), ..LogWrite::default() };
        runtime.block_on(store.write(write)).expect("written");
    }
    let database = redb::Database::open(directory.path().join(RedbStore::FILE)).expect("opens");
    let transaction = database.begin_write().expect("begins");
    {
        let pieces: redb::TableDefinition<'_, (u64, u64), &[u8]> = redb::TableDefinition::new("pieces");
        assert!(transaction.open_table(pieces).expect("opens").remove((1, 1)).expect("removes").is_some());
    }
    transaction.commit().expect("commits");
    drop(database);
    let store = RedbStore::open(directory.path()).expect("opens");
    let error = runtime.block_on(store.load()).expect_err("a piece is missing");
    assert!(error.to_string().contains("of the 3 pieces of its snapshot 2 are there"), "{error}");
}

#[test]
fn a_store_of_the_first_format_is_read() {
    let runtime = runtime();
    let directory = tempfile::tempdir().expect("a directory");
    let write = LogWrite { snapshot: Some(Bytes::from_static(b"old")), ..LogWrite::default() };
    let stored = {
        let store = RedbStore::open(directory.path()).expect("opens");
        runtime.block_on(store.write(write)).expect("writes");
        runtime.block_on(store.load()).expect("loads")
    };
    let database = redb::Database::open(directory.path().join("raft.redb")).expect("opens");
    let transaction = database.begin_write().expect("begins");
    {
        let table: redb::TableDefinition<'_, &str, &[u8]> = redb::TableDefinition::new("meta");
        let mut meta = transaction.open_table(table).expect("opens");
        meta.insert("format", 1u32.to_le_bytes().as_slice()).expect("inserts");
        let pieces: redb::TableDefinition<'_, (u64, u64), &[u8]> = redb::TableDefinition::new("pieces");
        transaction.delete_table(pieces).expect("deletes");
    }
    transaction.commit().expect("commits");
    drop(database);
    let store = RedbStore::open(directory.path()).expect("opens");
    assert_eq!(runtime.block_on(store.load()).expect("loads"), stored);
}

/// Jobs may have passwords in them.
#[test]
fn nobody_but_its_user_reads_the_file() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join(RedbStore::FILE);
    let mode = || std::fs::metadata(&file).expect("it is there").permissions().mode() & 0o777;
    drop(RedbStore::open(directory.path()).expect("opens"));
    assert_eq!(mode(), 0o600);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("its mode can be set");
    drop(RedbStore::open(directory.path()).expect("opens"));
    assert_eq!(mode(), 0o600, "nor one that an older version has made");
}

/// Truncating a file or flipping bits in it makes it refused, or it reads as it was. Nothing panics, and nothing is
/// forgotten.
#[test]
fn a_torn_or_damaged_file_is_refused_or_reads_as_it_was() {
    let runtime = runtime();
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("raft.redb");
    let open = || RedbStore::open(directory.path()).and_then(|store| runtime.block_on(store.load()));
    let written = {
        let store = RedbStore::open(directory.path()).expect("opens");
        let identity = Identity { member: MemberId(3), cluster: ClusterId("river".to_owned()) };
        let first = LogWrite {
            identity: Some(identity),
            hard_state: Some(HardState { term: 5, vote: 2, commit: 300 }),
            snapshot: Some(Bytes::from(vec![7; 9000])),
            compacted: Some(LogPosition { index: 100, term: 4 }),
            entries: (101..400).map(|index| entry(index, 1)).collect(),
            ..LogWrite::default()
        };
        runtime.block_on(store.write(first)).expect("writes");
        let vote = LogWrite { hard_state: Some(HardState { term: 6, vote: 3, commit: 300 }), ..LogWrite::default() };
        runtime.block_on(store.write(vote)).expect("writes");
        runtime.block_on(store.load()).expect("loads")
    };
    let whole = std::fs::read(&file).expect("it is there");
    let (mut refused, mut read) = (0, 0);
    let mut check = |bytes: &[u8], what: String| {
        std::fs::write(&file, bytes).expect("writes");
        match open() {
            Ok(stored) if stored == written => read += 1,
            Ok(stored) => panic!("{what}: it reads as {:?}", (stored.identity, stored.hard_state)),
            Err(StoreError::Damaged(_)) => refused += 1,
            Err(StoreError::Format { .. } | StoreError::Open { .. } | StoreError::Read(_)) => refused += 1,
            Err(error) => panic!("{what}: {error}"),
        }
    };
    for part in 1..40 {
        let length = whole.len() * part / 40;
        check(&whole[..length], format!("the first {length} bytes"));
    }
    for at in (0..whole.len()).step_by(whole.len() / 150).chain(0..320) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        check(&bytes, format!("byte {at} flipped"));
    }
    assert!(refused > 60 && read > 20, "{refused} refused, {read} read as they were");
}
