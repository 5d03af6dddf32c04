//! Seals between writes, concurrent sealings, and crashes at any point: exactly the rows of committed checkpoints are
//! visible, each once, and everything else is removed.

use arrow::array::{AsArray, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::Int64Type;
use futures::{StreamExt as _, TryStreamExt as _, future::join_all};
use proptest::prelude::*;
use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use thalweg_types::{
    Attempt, JobId,
    graph::SinkOperator,
    seam::{Spawner, TaskFuture, TaskHandle},
};

use super::{
    super::{
        names::PartCommittable,
        sink::{FileSinkWriter, SUSPENDED_PARTS_MAX},
    },
    *,
};
use crate::{AllowedPaths, Sealing, SinkCommitter, location::Location};

pub(super) const JOB: JobId = JobId(3);
const EVERY_ATTEMPT: Attempt = Attempt(u32::MAX);

/// A number, and a text by which a table may be partitioned.
pub(super) fn columns() -> SchemaRef {
    schema(&[("a", DataType::Int64, true), ("p", DataType::Utf8View, true)])
}

pub(super) fn batch_of(values: impl Iterator<Item = i64> + Clone, text: impl Fn(i64) -> Option<String>) -> RecordBatch {
    let texts = StringViewArray::from_iter(values.clone().map(text));
    RecordBatch::try_new(columns(), vec![Arc::new(Int64Array::from_iter_values(values)), Arc::new(texts)])
        .expect("two columns")
}

/// The place a table is written to, and how to read it.
pub(super) struct Place {
    pub(super) context: ConnectorContext,
    pub(super) spec: SinkOperator,
    pub(super) format: &'static str,
    pub(super) path: String,
    pub(super) store: Option<Arc<dyn ObjectStore>>,
    _folder: TempDir,
}

impl Place {
    pub(super) fn new(format: &'static str, is_stored: bool, is_partitioned: bool, options: &[(&str, &str)]) -> Self {
        let (folder, mut context) = (folder(), context());
        let store: Option<Arc<dyn ObjectStore>> = is_stored.then(|| Arc::new(InMemory::new()) as _);
        if let Some(store) = &store {
            context.stores = ObjectStores::default().with_store("memory://bucket", store.clone());
        }
        let path = if is_stored { "memory://bucket/out".to_owned() } else { path(&folder) };
        let all = [("path", path.as_str()), ("format", format), ("csv.header", "true")];
        let options: Vec<_> = all.into_iter().chain(options.iter().copied()).collect();
        let mut spec = sink("filesystem", &options);
        spec.partition_by = if is_partitioned { vec![1] } else { Vec::new() };
        Self { context, spec, format, path, store, _folder: folder }
    }

    pub(super) fn writer(&self, attempt: u32) -> Box<dyn SinkWriter> {
        open_sink_writer(&self.spec, columns(), identity(JOB.0, attempt, 0), &self.context).expect("a writer")
    }

    pub(super) fn committer(&self) -> Box<dyn SinkCommitter> {
        open_sink_committer(&self.spec, columns(), &self.context).expect("a committer")
    }

    /// All files below the table's path, including hidden ones.
    pub(super) async fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        if let Some(store) = &self.store {
            let objects: Vec<_> = store.list(Some(&Path::from("out"))).try_collect().await.expect("listed");
            files.extend(objects.iter().map(|object| object.location.as_ref()["out/".len()..].to_owned()));
        } else {
            let mut folders = vec![std::path::PathBuf::from(&self.path)];
            while let Some(folder) = folders.pop() {
                for entry in fs::read_dir(&folder).expect("a directory") {
                    let entry = entry.expect("an entry").path();
                    let name = entry.strip_prefix(&self.path).expect("below it").to_string_lossy().into_owned();
                    if entry.is_dir() { folders.push(entry) } else { files.push(name) }
                }
            }
        }
        files.sort_unstable();
        files
    }

    pub(super) async fn hidden(&self) -> Vec<String> {
        let files = self.files().await.into_iter();
        files.filter(|name| name.rsplit('/').next().is_some_and(|name| name.starts_with('.'))).collect()
    }

    /// The content of a file.
    pub(super) async fn read(&self, name: &str) -> Vec<u8> {
        match &self.store {
            Some(store) => {
                let got = store.get(&Path::parse(format!("out/{name}")).expect("a key")).await.expect("there");
                got.bytes().await.expect("readable").to_vec()
            }
            None => fs::read(std::path::Path::new(&self.path).join(name)).expect("readable"),
        }
    }

    pub(super) async fn remove(&self, name: &str) {
        match &self.store {
            Some(store) => store.delete(&Path::parse(format!("out/{name}")).expect("a key")).await.expect("removed"),
            None => fs::remove_file(std::path::Path::new(&self.path).join(name)).expect("removed"),
        }
    }

    /// The numbers that a reader sees, sorted.
    pub(super) async fn visible(&self) -> Vec<i64> {
        let kept = if self.spec.partition_by.is_empty() { columns() } else { numbers() };
        let source = table(&self.context, &self.path, self.format, &[("csv.header", "true")], kept).expect("a table");
        let given = match read_all(&*source).await {
            // A store has no directory until it contains an object.
            Err(error) if self.store.is_some() && error.to_string().contains("no such files") => return Vec::new(),
            given => given.expect("readable"),
        };
        assert!(given.letters.is_empty(), "{:?}", given.letters);
        let values = |batch: &RecordBatch| batch.column(0).as_primitive::<Int64Type>().values().to_vec();
        let mut seen: Vec<i64> = given.batches.iter().flat_map(values).collect();
        seen.sort_unstable();
        seen
    }

    /// Acts as a committer that crashes between copying an object and deleting the hidden one.
    pub(super) async fn commit_by_half(&self, committable: &Value) {
        let Some(store) = &self.store else { return };
        let part: PartCommittable = serde_json::from_value(committable.clone()).expect("a committable");
        let key = |name: &str| Path::parse(format!("out/{}/{name}", part.directory).replace("//", "/")).expect("a key");
        store.copy(&key(&part.hidden), &key(&part.published)).await.expect("copied");
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Write(i64),
    Seal,
}

/// The fate of a sealing that is in no checkpoint.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Dropped,
    /// As by a crash: nothing is removed.
    Forgotten,
    Finished,
}

#[derive(Debug, Clone)]
struct Case {
    format: &'static str,
    is_stored: bool,
    is_partitioned: bool,
    part_bytes: &'static str,
    steps: Vec<Step>,
    committed: prop::sample::Index,
    fates: Vec<Fate>,
}

fn case() -> impl Strategy<Value = Case> {
    let step = prop_oneof![3 => (1i64..40).prop_map(Step::Write), 2 => Just(Step::Seal)];
    let fate = prop_oneof![Just(Fate::Dropped), Just(Fate::Forgotten), Just(Fate::Finished)];
    (
        prop::sample::select(vec!["json", "csv", "parquet"]),
        any::<bool>(),
        any::<bool>(),
        prop::sample::select(vec!["1 b", "400 b", "1 GiB"]),
        prop::collection::vec(step, 1..20),
        any::<prop::sample::Index>(),
        prop::collection::vec(fate, 3),
    )
        .prop_map(|(format, is_stored, is_partitioned, part_bytes, steps, committed, fates)| Case {
            format,
            is_stored,
            is_partitioned,
            part_bytes,
            steps,
            committed,
            fates,
        })
}

pub(super) fn text(value: i64) -> Option<String> {
    (value % 5 != 0).then(|| format!("{}/é", value % 3))
}

/// Writes and seals. Returns each sealing with the number of rows in it and all before, and the writer.
async fn run(place: &Place, attempt: u32, steps: &[Step]) -> (Vec<(Sealing, i64)>, Box<dyn SinkWriter>) {
    let (mut writer, mut sealings, mut next) = (place.writer(attempt), Vec::new(), 0);
    for step in steps {
        match *step {
            Step::Write(rows) => {
                writer.write(&batch_of(next..next + rows, text)).await.expect("written");
                next += rows;
            }
            Step::Seal => sealings.push((writer.seal().await.expect("sealed"), next)),
        }
    }
    (sealings, writer)
}

async fn settle(sealing: Sealing, fate: Fate) {
    match fate {
        Fate::Dropped => drop(sealing),
        Fate::Forgotten => std::mem::forget(sealing),
        Fate::Finished => _ = sealing.await.expect("durable"),
    }
}

async fn commits_of_a_prefix_are_what_is_visible(case: Case) {
    let options = [("sink.rolling-policy.file-size", case.part_bytes)];
    let place = Place::new(case.format, case.is_stored, case.is_partitioned, &options);
    let committer = place.committer();
    let (mut sealings, writer) = run(&place, 1, &case.steps).await;
    let rest = sealings.split_off(case.committed.index(sealings.len() + 1));
    let rows = sealings.last().map_or(0, |(_, rows)| *rows);
    let durable = join_all(sealings.into_iter().map(|(sealing, _)| sealing)).await;
    for (sealed, fate) in durable.into_iter().zip(case.fates.iter().cycle()) {
        let committables = sealed.expect("durable");
        if let (Fate::Finished, Some(first)) = (fate, committables.first()) {
            place.commit_by_half(first).await;
        }
        committer.commit(EPOCHS, &committables).await.expect("published");
        committer.commit(EPOCHS, &committables).await.expect("again");
    }
    for ((sealing, _), fate) in rest.into_iter().zip(case.fates.iter().cycle()) {
        settle(sealing, *fate).await;
    }
    std::mem::forget(writer);
    assert_eq!(place.visible().await, (0..rows).collect::<Vec<_>>(), "the committed epochs");

    // The next attempt writes what was not committed, while the first one's leftovers are removed.
    let mut writer = place.writer(2);
    let (end, values) = (rows + 10, rows..rows + 10);
    writer.write(&batch_of(values, text)).await.expect("written");
    let sealing = writer.seal().await.expect("sealed");
    committer.discard(&cluster(), JOB, Attempt(2)).await.expect("removed");
    let committables = sealing.await.expect("durable");
    assert_eq!(place.hidden().await.len(), committables.len(), "nothing else is hidden");
    committer.commit(EPOCHS, &committables).await.expect("published");
    assert_eq!(place.visible().await, (0..end).collect::<Vec<_>>(), "each row once");
    committer.discard(&cluster(), JOB, EVERY_ATTEMPT).await.expect("removed");
    assert_eq!(place.hidden().await, [""; 0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn seals_lose_and_double_nothing(case in case()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(commits_of_a_prefix_are_what_is_visible(case));
    }
}

#[tokio::test]
async fn partitions_are_directories_and_their_columns_are_left_out() {
    for (format, content) in [("json", Some("{\"a\":1}\n{\"a\":4}\n")), ("csv", Some("a\n1\n4\n")), ("parquet", None)] {
        for is_stored in [false, true] {
            let place = Place::new(format, is_stored, true, &[]);
            let mut writer = place.writer(1);
            let text = |value: i64| [None, Some("x=/%y"), Some("")][(value % 3) as usize].map(str::to_owned);
            writer.write(&batch_of(0..3, text)).await.expect("written");
            writer.write(&batch_of(3..5, text)).await.expect("written");
            let committables = seal(&mut *writer).await;
            place.committer().commit(EPOCHS, &committables).await.expect("published");
            place.committer().discard(&cluster(), JOB, EVERY_ATTEMPT).await.expect("nothing left to remove");
            let of_nothing = format!("p=__HIVE_DEFAULT_PARTITION__/part-c1-3-1-0000000000000007-0-0.{format}");
            let of_text = format!("p=x%3D%2F%25y/part-c1-3-1-0000000000000007-0-1.{format}");
            assert_eq!(place.files().await, [of_nothing, of_text.clone()], "NULL and the empty text are one");
            assert_eq!(place.visible().await, [0, 1, 2, 3, 4]);
            if let (Some(content), None) = (content, &place.store) {
                let file = std::path::Path::new(&place.path).join(of_text);
                assert_eq!(fs::read_to_string(file).expect("readable"), content);
            }
        }
    }
}

/// Each batch has a row for each of 300 partitions, more than may have open files, so rows wait for the seal.
#[tokio::test]
async fn an_epoch_has_one_file_for_each_of_many_partitions() {
    let rows = batch_of(0..2100, |value| Some((value % 300).to_string()));
    for (format, is_stored) in [("json", false), ("csv", false), ("parquet", false), ("json", true)] {
        let place = Place::new(format, is_stored, true, &[]);
        let mut writer = place.writer(1);
        for batch in 0..7 {
            writer.write(&rows.slice(300 * batch, 300)).await.expect("written");
        }
        let committables = seal(&mut *writer).await;
        match is_stored {
            true => assert!(committables.len() <= 900, "one for each time that rows waited no longer"),
            false => assert_eq!(committables.len(), 300),
        }
        place.committer().commit(EPOCHS, &committables).await.expect("published");
        assert_eq!(place.visible().await, (0..2100).collect::<Vec<_>>(), "{format}");
    }
}

#[tokio::test]
async fn parts_that_are_closed_for_a_while_have_a_bound() {
    let place = Place::new("json", false, true, &[("sink.compression", "zstd")]);
    let location = Location::Local(place.path.clone().into(), AllowedPaths::everywhere());
    let (attempt, seams) = (identity(JOB.0, 1, 0), &place.context.seams);
    let mut writer = FileSinkWriter::new(&place.spec, &columns(), attempt, &location, seams).expect("a writer");
    let partitions = i64::try_from(SUSPENDED_PARTS_MAX).expect("few") + 150;
    let rows = batch_of(0..partitions, |value| Some(value.to_string()));
    for _ in 0..2 {
        writer.keep_waiting(&rows);
        writer.pour().await.expect("written");
        assert_eq!(writer.parts(), (SUSPENDED_PARTS_MAX + 100, SUSPENDED_PARTS_MAX));
    }
    let committables = seal(&mut writer).await;
    assert_eq!(committables.len(), 2 * rows.num_rows(), "each part was finished before its partition came again");
    place.committer().commit(EPOCHS, &committables).await.expect("published");
    assert_eq!(place.visible().await, (0..2 * partitions).map(|row| row / 2).collect::<Vec<_>>());
}

/// Counts syncs, each in a task of its own.
#[derive(Debug)]
struct CountsSyncs(Arc<AtomicUsize>, Arc<dyn Spawner>);

impl Spawner for CountsSyncs {
    fn spawn(&self, name: &str, task: TaskFuture) -> Box<dyn TaskHandle> {
        self.0.fetch_add(usize::from(name == "sync"), Relaxed);
        self.1.spawn(name, task)
    }
}

#[tokio::test]
async fn a_seal_syncs_each_file_and_each_directory_once() {
    let mut place = Place::new("json", false, true, &[]);
    let syncs = Arc::new(AtomicUsize::new(0));
    place.context.seams.io = Arc::new(CountsSyncs(syncs.clone(), place.context.seams.io.clone()));
    let mut writer = place.writer(1);
    writer.write(&batch_of(0..300, |value| Some((value % 150).to_string()))).await.expect("written");
    assert_eq!(seal(&mut *writer).await.len(), 150);
    assert_eq!(syncs.load(Relaxed), 150 + 150 + 1, "files, directories of partitions, and the table's");
}

#[tokio::test]
async fn rows_that_are_sealed_with_the_others_are_written_by_the_sealing() {
    for is_partitioned in [false, true] {
        let place = Place::new("json", false, is_partitioned, &[]);
        let mut writer = place.writer(1);
        let first = writer.seal_with(vec![batch_of(0..5, text), batch_of(5..9, text)]).await.expect("sealed");
        assert_eq!(place.files().await, [""; 0], "at the barrier nothing is written");
        writer.write(&batch_of(9..12, text)).await.expect("written");
        let second = writer.seal_with(vec![batch_of(12..20, text)]).await.expect("sealed");
        place.committer().commit(EPOCHS, &second.await.expect("durable")).await.expect("published");
        assert_eq!(place.visible().await, (9..20).collect::<Vec<_>>());
        place.committer().commit(EPOCHS, &first.await.expect("durable")).await.expect("published");
        assert_eq!(place.visible().await, (0..20).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_lost_part_keeps_no_other_back() {
    for is_stored in [false, true] {
        let place = Place::new("json", is_stored, false, &[("sink.rolling-policy.file-size", "1 b")]);
        let mut writer = place.writer(1);
        for value in 0..4 {
            writer.write(&batch_of(value..value + 1, text)).await.expect("written");
        }
        let mut committables = seal(&mut *writer).await;
        let lost = |name: &str| serde_json::json!({"hidden": format!(".{name}"), "published": name});
        committables.insert(0, lost("x.json"));
        committables.insert(2, lost("y.json"));
        for _ in 0..2 {
            let error = place.committer().commit(EPOCHS, &committables).await.expect_err("two are lost");
            let text = error.to_string();
            assert!(text.starts_with("could not publish x.json: .x.json is gone"), "{text}");
            assert!(text.ends_with("(1 more could not be published either; all others are)"), "{text}");
            assert_eq!(place.visible().await, [0, 1, 2, 3]);
        }
    }
}

/// The directories of partitions, below the table's own.
fn directories(place: &Place) -> Vec<String> {
    let entries = fs::read_dir(&place.path).expect("a directory").map(|entry| entry.expect("an entry").path());
    let mut names: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    names.sort_unstable();
    names.iter().filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect()
}

#[tokio::test]
async fn directories_that_hold_nothing_any_more_are_removed() {
    let place = Place::new("json", false, true, &[]);
    let by_parity = |value: i64| Some((value % 2).to_string());
    let mut writer = place.writer(1);
    writer.write(&batch_of(0..1, by_parity)).await.expect("written");
    let committables = seal(&mut *writer).await;
    place.committer().commit(EPOCHS, &committables).await.expect("published");
    fs::create_dir(std::path::Path::new(&place.path).join("other")).expect("created");
    writer.write(&batch_of(0..4, by_parity)).await.expect("written");
    let unpublished = seal(&mut *writer).await;
    assert_eq!((unpublished.len(), directories(&place)), (2, vec!["other".into(), "p=0".into(), "p=1".into()]));
    place.committer().discard(&cluster(), JOB, EVERY_ATTEMPT).await.expect("removed");
    assert_eq!(directories(&place), ["other", "p=0"], "nothing was published in the other partition");
    writer.write(&batch_of(0..4, by_parity)).await.expect("written");
    drop(writer);
    assert_eq!(directories(&place), ["other", "p=0"], "nor what is dropped while it is written");
    assert_eq!(place.visible().await, [0]);
}

#[tokio::test(start_paused = true)]
async fn parts_that_are_old_enough_are_followed_by_others() {
    let place = Place::new("json", false, false, &[("sink.rolling-policy.rollover-interval", "10 s")]);
    let mut writer = place.writer(1);
    for value in 0..6 {
        writer.write(&batch_of(value..value + 1, |_| None)).await.expect("written");
        tokio::time::advance(std::time::Duration::from_secs(4)).await;
    }
    let committables = seal(&mut *writer).await;
    assert_eq!(committables.len(), 2, "of three rows each");
    assert!(seal(&mut *writer).await.is_empty(), "each committable once");
    place.committer().commit(EPOCHS, &committables).await.expect("published");
    assert_eq!(place.visible().await, [0, 1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn partitions_and_sizes_that_cannot_be_are_refused() {
    let refusal = |place: &Place| {
        let opened = open_sink_writer(&place.spec, columns(), identity(1, 1, 0), &place.context);
        opened.err().map(|error| error.to_string()).unwrap_or_default()
    };
    let mut place = Place::new("json", false, false, &[]);
    place.spec.partition_by = vec![2];
    assert_eq!(refusal(&place), "table t: partition column 2 is not one of its columns");
    place.spec.partition_by = vec![1, 0];
    assert_eq!(refusal(&place), "table t: all columns are partition columns");
    let large = [("sink.rolling-policy.file-size", "5 GiB")];
    assert_eq!(refusal(&Place::new("json", false, false, &large)), "");
    let refused = refusal(&Place::new("json", true, false, &large));
    assert!(refused.contains("must be at most 4 GiB in an object store"), "{refused}");
    let refused = refusal(&Place::new("json", false, false, &[("sink.rolling-policy.on-checkpoint", "false")]));
    assert!(refused.contains("'sink.rolling-policy.on-checkpoint' = 'false' needs"), "{refused}");
    let refused = refusal(&Place::new("json", false, false, &[("sink.rolling-policy.file-size", "0 b")]));
    assert!(refused.contains("must be above 0"), "{refused}");
}

#[tokio::test]
async fn a_sealing_is_driven_while_the_next_epoch_is_written_and_sealed() {
    let place = Place::new("parquet", true, true, &[]);
    let mut writer = place.writer(1);
    let mut sealings = futures::stream::FuturesUnordered::new();
    for epoch in 0..4 {
        writer.write(&batch_of(10 * epoch..10 * epoch + 10, text)).await.expect("written");
        sealings.push(writer.seal().await.expect("sealed"));
    }
    drop(writer);
    while let Some(sealed) = sealings.next().await {
        place.committer().commit(EPOCHS, &sealed.expect("durable")).await.expect("published");
    }
    assert_eq!(place.visible().await, (0..40).collect::<Vec<_>>());
}
