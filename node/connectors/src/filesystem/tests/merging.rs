//! Small parts of one checkpoint are one file for readers, each row once, wherever a committer crashes and however many
//! of them there are.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicI64, Ordering::SeqCst},
    },
    task::{Context, Waker},
};

use async_trait::async_trait;
use futures::{Future as _, StreamExt as _, stream::BoxStream};
use object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use serde_json::Value;
use thalweg_types::{Attempt, CheckpointId};

use super::{
    epochs::{JOB, Place, batch_of, columns, text},
    *,
};
use crate::{Epochs, testing::EPOCHS};

const MERGES: (&str, &str) = ("auto-compaction", "true");
const EVERY_ATTEMPT: Attempt = Attempt(u32::MAX);

/// What three subtasks have prepared: two parts each, of every partition. Returns the number of rows.
async fn prepare(place: &Place, attempt: u32) -> (Vec<Value>, i64) {
    let (mut all, mut next) = (Vec::new(), 0);
    for subtask in 0..3 {
        let identity = identity(JOB.0, attempt, subtask);
        let mut writer = open_sink_writer(&place.spec, columns(), identity, &place.context).expect("a writer");
        for _ in 0..2 {
            writer.write(&batch_of(next..next + 20, text)).await.expect("written");
            next += 20;
            all.extend(seal(&mut *writer).await);
        }
    }
    (all, next)
}

#[tokio::test]
async fn the_parts_of_a_partition_become_one_file() {
    for format in ["json", "csv", "parquet", "avro"] {
        for (is_stored, is_partitioned) in [(false, false), (false, true), (true, false), (true, true)] {
            let place = Place::new(format, is_stored, is_partitioned, &[MERGES]);
            let (prepared, rows) = prepare(&place, 1).await;
            let partitions = if is_partitioned { 4 } else { 1 };
            assert_eq!(prepared.len(), 6 * partitions);
            for _ in 0..2 {
                place.committer().commit(EPOCHS, &prepared).await.expect("published");
                assert_eq!(place.files().await.len(), partitions, "{format}");
                assert_eq!(place.visible().await, (0..rows).collect::<Vec<_>>(), "{format}");
            }
            place.committer().discard(&cluster(), JOB, EVERY_ATTEMPT).await.expect("nothing to remove");
            assert_eq!(place.files().await.len(), partitions);
        }
    }
}

#[tokio::test]
async fn merged_files_are_about_as_large_as_the_table_says() {
    let place = Place::new("json", false, false, &[MERGES, ("compaction.file-size", "1000 b")]);
    let (prepared, rows) = prepare(&place, 1).await;
    place.committer().commit(EPOCHS, &prepared).await.expect("published");
    let files = place.files().await;
    assert!(files.len() > 1 && files.len() < prepared.len(), "{files:?}");
    assert_eq!(place.visible().await, (0..rows).collect::<Vec<_>>());
}

#[tokio::test]
async fn compressed_parts_are_merged_as_they_are() {
    for (name, extension) in
        [("gzip", "json.gz"), ("zstd", "json.zst"), ("snappy", "csv.snappy"), ("gzip", "csv.gz"), ("zstd", "csv.zst")]
    {
        let format = extension.split('.').next().expect("a format");
        for merges in [false, true] {
            let options = [("sink.compression", name), ("auto-compaction", if merges { "true" } else { "false" })];
            let place = Place::new(format, false, false, &options);
            let (prepared, rows) = prepare(&place, 1).await;
            place.committer().commit(EPOCHS, &prepared).await.expect("published");
            let files = place.files().await;
            assert_eq!(files.len(), if merges { 1 } else { 6 });
            assert!(files.iter().all(|file| file.ends_with(&format!(".{extension}"))), "{files:?}");
            // A second header would be no row.
            assert_eq!(place.visible().await, (0..rows).collect::<Vec<_>>(), "{extension}");
        }
    }
}

/// A store that answers no more after so many requests.
#[derive(Debug)]
struct Crashing {
    inner: Arc<dyn ObjectStore>,
    left: AtomicI64,
    /// Whether it copies objects at all.
    copies: bool,
    /// How many objects it has listed.
    listed: Arc<AtomicI64>,
    /// How many it had listed when the first one was removed.
    listed_before_removal: OnceLock<i64>,
}

impl Crashing {
    fn new(place: &Place, requests: i64, copies: bool) -> Self {
        let inner = place.store.clone().expect("a store");
        Self { inner, left: requests.into(), copies, listed: Arc::default(), listed_before_removal: OnceLock::new() }
    }

    fn ask(&self) -> Result<()> {
        match self.left.fetch_sub(1, SeqCst) > 0 {
            true => Ok(()),
            false => Err(StoreError::Generic { store: "crashing", source: "the node has crashed".into() }),
        }
    }
}

impl fmt::Display for Crashing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Crashing")
    }
}

#[async_trait]
impl ObjectStore for Crashing {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.ask()?;
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.ask()?;
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.ask()?;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.listed_before_removal.get_or_init(|| self.listed.load(SeqCst));
        match self.ask() {
            Ok(()) => self.inner.delete_stream(locations),
            Err(error) => futures::stream::iter([Err(error)]).boxed(),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let listed = self.listed.clone();
        self.inner.list(prefix).inspect(move |_| _ = listed.fetch_add(1, SeqCst)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.ask()?;
        if !self.copies {
            return Err(StoreError::Generic { store: "crashing", source: "not now".into() });
        }
        self.inner.copy_opts(from, to, options).await
    }
}

/// A committer of the place whose store answers so many requests.
fn crashing(place: &Place, requests: i64) -> (Box<dyn crate::SinkCommitter>, Arc<Crashing>) {
    upon(place, Crashing::new(place, requests, true))
}

fn upon(place: &Place, store: Crashing) -> (Box<dyn crate::SinkCommitter>, Arc<Crashing>) {
    let store = Arc::new(store);
    let mut context = place.context.clone();
    context.stores = ObjectStores::default().with_store("memory://bucket", store.clone());
    (open_sink_committer(&place.spec, columns(), &context).expect("a committer"), store)
}

#[tokio::test]
async fn what_is_left_is_removed_while_the_store_lists_it() {
    let place = Place::new("json", true, true, &[]);
    let (prepared, rows) = prepare(&place, 1).await;
    place.committer().commit(EPOCHS, &prepared).await.expect("published");
    let store = place.store.clone().expect("a store");
    let part = prepared[0]["hidden"].as_str().expect("a name");
    for copy in 0..2500 {
        let key = Path::parse(format!("out/p={copy}/{part}")).expect("a key");
        store.put(&key, PutPayload::default()).await.expect("put");
    }
    let (committer, crashing) = crashing(&place, i64::MAX);
    committer.discard(&cluster(), JOB, EVERY_ATTEMPT).await.expect("removed");
    assert_eq!(place.hidden().await, [""; 0]);
    assert_eq!(place.visible().await, (0..rows).collect::<Vec<_>>());
    let before = *crashing.listed_before_removal.get().expect("some are removed");
    assert!((1000..1100).contains(&before), "the first were removed when {before} were listed");
}

#[tokio::test]
async fn a_committer_may_crash_at_any_request() {
    let options = [MERGES, ("sink.manifest.path", "_manifests")];
    for crash in 0.. {
        let place = Place::new("json", true, true, &options);
        let (prepared, rows) = prepare(&place, 1).await;
        let (first, store) = crashing(&place, crash);
        let is_done = first.commit(EPOCHS, &prepared).await.is_ok();
        // The next node crashes too, a little later.
        let (second, _) = crashing(&place, 3);
        let _ = second.commit(EPOCHS, &prepared).await;
        place.committer().commit(EPOCHS, &prepared).await.expect("published");
        assert_eq!(place.visible().await, (0..rows).collect::<Vec<_>>(), "crash after {crash} requests");
        place.committer().discard(&cluster(), JOB, EVERY_ATTEMPT).await.expect("removed");
        let files = place.files().await;
        assert_eq!(files.len(), 4 + 1, "the partitions' and the manifest: {files:?}");
        if is_done {
            assert!(crash > 40, "{crash}");
            assert!(store.left.load(SeqCst) >= 0);
            return;
        }
    }
}

/// A reader takes all visible files away. What comes again is the same.
async fn take(place: &Place, taken: &mut BTreeMap<String, Vec<u8>>) {
    let hidden = place.hidden().await;
    for name in place.files().await.into_iter().filter(|name| !hidden.contains(name)) {
        let content = place.read(&name).await;
        place.remove(&name).await;
        if let Some(before) = taken.insert(name.clone(), content.clone()) {
            assert!(before == content, "{name} has come again, otherwise");
        }
    }
}

#[tokio::test]
async fn a_committer_may_crash_while_a_reader_takes_files_away() {
    for crash in 0.. {
        let place = Place::new("json", true, true, &[MERGES]);
        let (prepared, rows) = prepare(&place, 1).await;
        let (first, _) = crashing(&place, crash);
        let is_done = first.commit(EPOCHS, &prepared).await.is_ok();
        let mut taken = BTreeMap::new();
        take(&place, &mut taken).await;
        let (second, _) = crashing(&place, crash % 7);
        let _ = second.commit(EPOCHS, &prepared).await;
        take(&place, &mut taken).await;
        if let Err(error) = place.committer().commit(EPOCHS, &prepared).await {
            assert!(error.to_string().contains("something else has removed it since"), "{error}");
        }
        take(&place, &mut taken).await;
        let lines: usize = taken.values().map(|text| text.iter().filter(|byte| **byte == b'\n').count()).sum();
        assert_eq!((lines as i64, taken.len()), (rows, 4), "crash after {crash} requests");
        if is_done {
            return;
        }
    }
}

#[tokio::test]
async fn a_merged_file_is_published_however_far_its_node_has_come() {
    let place = Place::new("avro", false, false, &[MERGES]);
    let (prepared, rows) = prepare(&place, 1).await;
    let mut parts = Vec::new();
    for name in place.hidden().await {
        parts.push((name.clone(), place.read(&name).await));
    }
    place.committer().commit(EPOCHS, &prepared).await.expect("published");
    let visible = place.files().await.remove(0);
    let content = place.read(&visible).await;
    let write = |name: &str, content: &[u8]| {
        fs::write(std::path::Path::new(&place.path).join(name), content).expect("written");
    };
    for is_published in [false, true] {
        for removed in 0..=parts.len() {
            if !is_published {
                place.remove(&visible).await;
            }
            write(&format!(".{visible}.inprogress"), &content);
            parts.iter().skip(removed).for_each(|(name, content)| write(name, content));
            place.committer().commit(EPOCHS, &prepared).await.expect("published");
            assert_eq!(place.files().await, [visible.as_str()]);
            assert!(place.read(&visible).await == content, "the same bytes");
        }
    }
    assert_eq!(place.visible().await, (0..rows).collect::<Vec<_>>());
    place.remove(&visible).await;
    let error = place.committer().commit(EPOCHS, &prepared).await.expect_err("a reader has it").to_string();
    assert!(error.contains("something else has removed it since"), "{error}");
    assert_eq!(place.files().await, [""; 0], "it does not come back");
}

#[tokio::test]
async fn a_committer_of_local_files_may_crash_between_any_two_steps() {
    for format in ["csv", "parquet"] {
        for polls in 0.. {
            let place = Place::new(format, false, true, &[MERGES]);
            let (prepared, rows) = prepare(&place, 1).await;
            let committer = place.committer();
            let mut first = Box::pin(committer.commit(EPOCHS, &prepared));
            let mut context = Context::from_waker(Waker::noop());
            let mut is_done = false;
            for _ in 0..polls {
                is_done |= first.as_mut().poll(&mut context).is_ready();
                // The tasks that sync take their turn.
                tokio::task::yield_now().await;
                if is_done {
                    break;
                }
            }
            // As by a crash: nothing is removed.
            std::mem::forget(first);
            let again = place.committer();
            again.commit(EPOCHS, &prepared).await.expect("published");
            assert_eq!(place.visible().await, (0..rows).collect::<Vec<_>>(), "after {polls} polls");
            again.discard(&cluster(), JOB, EVERY_ATTEMPT).await.expect("removed");
            assert_eq!(place.files().await.len(), 4, "{:?}", place.files().await);
            std::mem::forget(committer);
            if is_done {
                assert!(polls > 4);
                break;
            }
        }
    }
}

#[tokio::test]
async fn two_committers_at_once_publish_each_row_once() {
    for is_stored in [false, true] {
        let place = Place::new("avro", is_stored, true, &[MERGES, ("sink.manifest.path", "_manifests")]);
        let (prepared, rows) = prepare(&place, 1).await;
        let (one, other) = (place.committer(), place.committer());
        let (first, second) = futures::join!(one.commit(EPOCHS, &prepared), other.commit(EPOCHS, &prepared));
        // One of them may be told that a file has just gone, and is asked again.
        assert!(first.is_ok() || second.is_ok(), "{first:?}, {second:?}");
        one.commit(EPOCHS, &prepared).await.expect("published");
        assert_eq!(place.visible().await, (0..rows).collect::<Vec<_>>());
        assert_eq!(place.hidden().await, [""; 0]);
    }
}

#[tokio::test]
async fn parts_that_are_lost_before_they_are_merged_are_an_error() {
    for is_stored in [false, true] {
        let place = Place::new("json", is_stored, false, &[MERGES]);
        let (mut prepared, _) = prepare(&place, 1).await;
        prepared.push(serde_json::json!({"hidden": ".gone.json.inprogress", "published": "gone.json", "bytes": 7}));
        let error = place.committer().commit(EPOCHS, &prepared).await.expect_err("one is lost").to_string();
        assert!(error.starts_with("could not publish gone.json: .gone.json.inprogress is gone"), "{error}");
        assert_eq!(place.visible().await, [0; 0], "nothing of the group");
    }
}

#[tokio::test]
async fn a_manifest_that_a_crashed_node_has_begun_is_discarded_with_its_attempt() {
    let place = Place::new("json", false, true, &[("sink.manifest.path", "_manifests")]);
    let folder = std::path::Path::new(&place.path).join("_manifests");
    fs::create_dir_all(&folder).expect("created");
    fs::write(folder.join(".part-c1-3-1-whole-0000000000000007.inprogress"), "{").expect("written");
    let committer = place.committer();
    committer.discard(&cluster(), JOB, Attempt(1)).await.expect("nothing is older");
    assert_eq!(place.hidden().await.len(), 1);
    committer.discard(&cluster(), JOB, Attempt(2)).await.expect("removed");
    assert_eq!(place.files().await, [""; 0]);
}

#[tokio::test]
async fn a_merged_file_that_cannot_be_published_now_is_removed() {
    let place = Place::new("json", true, false, &[MERGES]);
    let (prepared, rows) = prepare(&place, 1).await;
    let before = place.hidden().await.len();
    let (committer, _) = upon(&place, Crashing::new(&place, i64::MAX, false));
    for _ in 0..3 {
        committer.commit(EPOCHS, &prepared).await.expect_err("nothing is copied");
        assert_eq!(place.hidden().await.len(), before, "only the parts are left");
    }
    place.committer().commit(EPOCHS, &prepared).await.expect("published");
    assert_eq!(place.visible().await, (0..rows).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_manifest_names_what_a_checkpoint_has_published() {
    for (is_stored, merges) in [(false, "false"), (true, "true")] {
        let options = [("auto-compaction", merges), ("sink.manifest.path", "_loads/t")];
        let place = Place::new("json", is_stored, true, &options);
        let (prepared, _) = prepare(&place, 1).await;
        for publishing in [CheckpointId(12), CheckpointId(13)] {
            let epochs = Epochs { publishing, ..EPOCHS };
            let committables = if publishing.0 == 12 { &prepared[..] } else { &[] };
            for _ in 0..2 {
                place.committer().commit(epochs, committables).await.expect("published");
            }
        }
        let files = place.files().await;
        let (manifests, data): (Vec<String>, Vec<String>) =
            files.into_iter().partition(|name| name.starts_with("_loads/t/"));
        assert_eq!(manifests, ["_loads/t/manifest-c1-1-0000000000000007-0000000012.json"], "none of nothing");
        let bytes = place.read(&manifests[0]).await;
        let manifest: Value = serde_json::from_slice(&bytes).expect("JSON");
        assert_eq!((&manifest["job"], &manifest["checkpoint"]), (&1.into(), &12.into()));
        let entries = manifest["entries"].as_array().expect("entries");
        let urls: Vec<&str> = entries.iter().filter_map(|entry| entry["url"].as_str()).collect();
        let expected: Vec<String> = data.iter().map(|name| format!("{}/{name}", place.path)).collect();
        assert_eq!(urls, expected);
        assert!(entries.iter().all(|entry| entry["meta"]["content_length"].as_u64() > Some(10)));
    }
    let place = Place::new("json", false, false, &[("sink.manifest.path", "manifests")]);
    let error = open_sink_committer(&place.spec, columns(), &place.context).err().expect("refused").to_string();
    assert!(error.contains("option 'sink.manifest.path' = 'manifests' would be read as data"), "{error}");
}
