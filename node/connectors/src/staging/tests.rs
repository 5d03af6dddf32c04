use arrow::array::{AsArray as _, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use object_store::memory::InMemory;
use thalweg_types::checkpoint::staged_objects;

use super::*;
use crate::{
    ObjectStores,
    testing::{cluster, context, identity},
};

fn store() -> CheckpointStore {
    let stores = ObjectStores::default().with_store("memory://c", Arc::new(InMemory::new()));
    CheckpointStore::open("memory://c", &stores).expect("it is registered")
}

fn stager(store: &CheckpointStore, attempt: u32) -> Stager {
    stager_of(store, attempt, 1 << 20)
}

fn stager_of(store: &CheckpointStore, attempt: u32, inline_bytes: u64) -> Stager {
    let (identity, store) = (identity(1, attempt, 3), store.clone());
    let own = SinkSubtask { identity, store, memory_bytes: 0, inline_bytes, epoch_bytes: 1 << 20, subtasks: 1 };
    Stager::new(own, context().seams.compute)
}

/// Rows with these numbers, each with a text of so many bytes that does not become smaller.
fn rows(numbers: std::ops::Range<i64>, bytes: usize) -> RecordBatch {
    let schema =
        Schema::new(vec![Field::new("number", DataType::Int64, false), Field::new("text", DataType::Utf8, false)]);
    let mut random = 1_u64;
    let mut text = |_| {
        let mut letter = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'!' + u8::try_from((random >> 33) % 90).expect("it is below 90"))
        };
        (0..bytes).map(|_| letter()).collect::<String>()
    };
    let texts = StringArray::from_iter_values(numbers.clone().map(&mut text));
    let numbers = Int64Array::from_iter_values(numbers);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(numbers), Arc::new(texts)]).expect("they fit")
}

async fn sealed(stager: &mut Stager) -> Vec<Value> {
    stager.seal().await.expect("durable")
}

async fn numbers(committable: &Value, store: Option<&CheckpointStore>) -> Result<Vec<i64>, ConnectorError> {
    let staged = Staged::of_committable(committable)?;
    let batches: Vec<RecordBatch> = staged.batches(store).try_collect().await?;
    let read: Vec<i64> =
        batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
    assert_eq!(staged.rows, read.len() as u64);
    Ok(read)
}

#[tokio::test]
async fn few_rows_travel_in_the_committable() {
    let store = store();
    let mut stager = stager(&store, 1);
    assert_eq!(sealed(&mut stager).await, Vec::<Value>::new(), "nothing was written");
    stager.write(rows(0..3, 10)).await.expect("written");
    stager.write(rows(0..0, 10)).await.expect("written");
    stager.write(rows(3..5, 10)).await.expect("written");
    let committables = sealed(&mut stager).await;
    let [committable] = committables.as_slice() else { panic!("{committables:?}") };
    assert_eq!(numbers(committable, None).await.expect("read"), [0, 1, 2, 3, 4]);
    assert_eq!(staged_objects(committable).count(), 0);
    assert_eq!(store.list("").await.expect("listed"), []);
    assert_eq!(sealed(&mut stager).await, Vec::<Value>::new(), "all was sealed before");
}

#[tokio::test]
async fn where_there_are_many_subtasks_fewer_rows_travel() {
    let store = store();
    let mut stager = stager_of(&store, 1, 100);
    stager.write(rows(0..3, 10)).await.expect("written");
    let committables = sealed(&mut stager).await;
    assert_eq!(committables.iter().flat_map(staged_objects).count(), 1);
    assert_eq!(numbers(&committables[0], Some(&store)).await.expect("read"), [0, 1, 2]);
}

#[tokio::test]
async fn many_rows_are_in_objects_and_in_order() {
    let store = store();
    let mut stager = stager(&store, 1);
    for number in 0..2000 {
        stager.write(rows(number..number + 1, 1000)).await.expect("written");
    }
    let first = sealed(&mut stager).await;
    stager.write(rows(0..100, 1000)).await.expect("written");
    let second = sealed(&mut stager).await;
    assert_eq!(numbers(&first[0], Some(&store)).await.expect("read"), (0..2000).collect::<Vec<_>>());
    assert_eq!(numbers(&second[0], Some(&store)).await.expect("read"), (0..100).collect::<Vec<_>>());
    let named: Vec<&str> = first.iter().chain(&second).flat_map(staged_objects).collect();
    assert!(named.len() > 5, "256 KiB each: {named:?}");
    let mut listed: Vec<String> = store.list("").await.expect("listed").into_iter().map(|object| object.name).collect();
    listed.sort_unstable();
    let mut sorted = named.clone();
    sorted.sort_unstable();
    assert_eq!(listed, sorted, "the leader knows them all");
    let error = numbers(&first[0], None).await.expect_err("there is no store").to_string();
    assert!(error.contains("staged-0000000000000007-3-"), "{error}");
}

#[tokio::test]
async fn what_is_written_counts_until_it_is_sealed() {
    let mut stager = stager(&store(), 1);
    let mut counted = 0;
    for number in 0..12 {
        assert_eq!(stager.written(), Written { bytes: counted, bytes_max: 1 << 20 });
        let batch = rows(number * 100..number * 100 + 100, 1000);
        counted += batch.get_array_memory_size() as u64;
        stager.write(batch).await.expect("written");
    }
    assert!(counted > 1_000_000, "objects have been put meanwhile");
    sealed(&mut stager).await;
    assert_eq!(stager.written().bytes, 0);
}

#[tokio::test]
async fn a_writer_waits_for_the_store() {
    let store = store();
    let mut stager = stager(&store, 1);
    for number in 0..3000 {
        stager.write(rows(number..number + 1, 1000)).await.expect("written");
        assert!(stager.epoch.puts.len() <= PUTS_MAX, "a put too many");
        assert!(stager.buffered_bytes < OBJECT_BYTES_MIN, "the buffer is bounded");
    }
}

#[tokio::test]
async fn what_is_left_of_older_attempts_is_discarded() {
    let store = store();
    let mut names = Vec::new();
    for attempt in 1..=3 {
        let mut stager = stager(&store, attempt);
        stager.write(rows(0..100, 1000)).await.expect("written");
        let committables = sealed(&mut stager).await;
        names.extend(committables.iter().flat_map(staged_objects).map(str::to_owned));
    }
    let other = OperatorIdentity(8);
    let kept = async || {
        let listed = store.list("").await.expect("listed");
        listed.into_iter().map(|object| object.name).collect::<Vec<_>>()
    };
    let job = (&cluster(), JobId(1));
    discard(&store, job, other, Attempt(u32::MAX)).await.expect("nothing is of it");
    discard(&store, (&cluster(), JobId(2)), OperatorIdentity(7), Attempt(u32::MAX)).await.expect("nothing is of it");
    assert_eq!(kept().await, names);
    discard(&store, job, OperatorIdentity(7), Attempt(3)).await.expect("discarded");
    assert_eq!(kept().await, names[2..]);
    discard(&store, job, OperatorIdentity(7), Attempt(u32::MAX)).await.expect("discarded");
    discard(&store, job, OperatorIdentity(7), Attempt(u32::MAX)).await.expect("again");
    assert_eq!(kept().await, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_gone_or_damaged_is_an_error_that_names_it() {
    let store = store();
    let mut stager = stager(&store, 1);
    stager.write(rows(0..100, 1000)).await.expect("written");
    let large = sealed(&mut stager).await.remove(0);
    stager.write(rows(0..1, 10)).await.expect("written");
    let small = sealed(&mut stager).await.remove(0);
    let name = staged_objects(&large).next().expect("it is large").to_owned();
    store.delete(std::slice::from_ref(&name)).await.expect("deleted");
    let error = numbers(&large, Some(&store)).await.expect_err("it is gone");
    assert!(error.to_string().contains(&name) && error.to_string().contains("it is gone"), "{error}");
    assert_eq!(error.failure_kind(), thalweg_types::job::FailureKind::Data);
    let inline = small["inline"].as_str().expect("it is small").to_owned();
    for wrong in ["?", "AAAA", &inline[..inline.len() - 4], &inline.replace('A', "B")] {
        let mut damaged = small.clone();
        damaged["inline"] = wrong.into();
        assert!(numbers(&damaged, None).await.is_err(), "{wrong}");
    }
    for (key, value) in [("version", serde_json::json!(2)), ("rows", serde_json::json!("1")), ("new", Value::Null)] {
        let mut other = small.clone();
        other[key] = value;
        assert!(Staged::of_committable(&other).is_err(), "{key}");
    }
}

#[tokio::test]
async fn other_content_has_another_digest() {
    let store = store();
    let mut staged = Vec::new();
    for numbers in [0..1, 1..2, 0..100, 1..101] {
        let mut stager = stager(&store, 1);
        stager.write(rows(numbers, 1000)).await.expect("written");
        staged.push(Staged::of_committable(&sealed(&mut stager).await[0]).expect("just sealed"));
    }
    let digests: std::collections::BTreeSet<u64> =
        staged.iter().map(|one| Staged::digest(std::slice::from_ref(one))).collect();
    assert_eq!(digests.len(), 4);
    let turned: Vec<Staged> = staged.iter().rev().cloned().collect();
    assert_ne!(Staged::digest(&staged), Staged::digest(&turned), "the order counts");
    assert_eq!(Staged::digest(&staged), Staged::digest(&staged.clone()));
}

/// What a release has written, later ones read.
#[tokio::test]
async fn the_first_version_is_read() {
    let written = include_str!("golden/committable-1.json");
    let committable: Value = serde_json::from_str(written).expect("it is JSON");
    assert_eq!(numbers(&committable, None).await.expect("read"), [0, 1, 2]);
}

#[tokio::test]
#[ignore = "writes files of the repository"]
async fn golden_files_of_the_newest_version_are_made() {
    let mut stager = stager(&store(), 1);
    stager.write(rows(0..3, 10)).await.expect("written");
    let text = format!("{}\n", sealed(&mut stager).await[0]);
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/staging/golden");
    std::fs::create_dir_all(&folder).expect("created");
    std::fs::write(folder.join(format!("committable-{VERSION}.json")), text).expect("written");
}
