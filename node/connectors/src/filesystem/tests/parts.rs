//! Part files stay hidden until they are committed, whatever crashes.

use super::*;
use crate::{
    DeadLetter, SideOutputKind, SideOutputWriter, SideRecords, SinkCommitter, SinkIdentity, open_side_output_committer,
};
use thalweg_types::{Attempt, ClusterId, JobId, OperatorId};

const EVERY_ATTEMPT: Attempt = Attempt(u32::MAX);

fn names(folder: &TempDir) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder.path())
        .expect("the directory exists")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort_unstable();
    names
}

pub(super) fn rows(text: &str) -> arrow::array::RecordBatch {
    use crate::lines::LineDecoder as _;
    let mut decoder = crate::json::JsonDecoder::new(numbers()).expect("a readable schema");
    decoder.decode(text.as_bytes(), 0, 1000, &mut Vec::new());
    decoder.finish().expect("a batch")
}

fn late_rows(rows: &arrow::array::RecordBatch, window: (i64, i64)) -> SideRecords<'_> {
    SideRecords::LateRows { operator: OperatorId(4), window, rows }
}

fn of_cluster(id: &str) -> SinkIdentity {
    SinkIdentity { cluster: ClusterId(id.to_owned()), ..identity(1, 1, 0) }
}

/// Writes as attempt 1 of job 1 of two clusters at the same time: rows, a part that stays hidden, late rows and dead
/// letters.
async fn write_as_two_clusters(context: &ConnectorContext, path: &str) -> [Vec<Vec<serde_json::Value>>; 2] {
    let spec = sink("filesystem", &[("path", path), ("format", "json")]);
    let mut prepared = [Vec::new(), Vec::new()];
    let mut writers = ["a", "a-1"].map(|id| {
        let rows = open_sink_writer(&spec, numbers(), of_cluster(id), context).expect("a writer");
        let side_output = |kind| SideOutputWriter::open(kind, path, of_cluster(id), context).expect("a writer");
        (rows, side_output(SideOutputKind::LateRows), side_output(SideOutputKind::DeadLetters))
    });
    for number in 0..2 {
        for (cluster, (parts, late, letters)) in writers.iter_mut().enumerate() {
            let row = format!("{{\"a\":{}}}\n", 10 * cluster + number);
            parts.write(&rows(&row)).await.expect("written");
            late.write(late_rows(&rows(&row), (0, 1))).await.expect("written");
            let letter = DeadLetter { position: row, reason: String::new(), record: String::new() };
            letters.write(SideRecords::DeadLetters(&[letter])).await.expect("written");
        }
        for (prepared, (parts, late, letters)) in prepared.iter_mut().zip(&mut writers) {
            prepared.push(seal(&mut **parts).await);
            prepared.push(late.seal().await.expect("sealed").await.expect("durable"));
            prepared.push(letters.seal().await.expect("sealed").await.expect("durable"));
        }
    }
    prepared
}

/// Each cluster publishes its first parts and discards the rest.
async fn check_two_clusters(context: &ConnectorContext, path: &str, names: impl AsyncFn() -> Vec<String>) {
    let [ours, theirs] = write_as_two_clusters(context, path).await;
    assert_eq!(names().await.len(), 12, "each has its own");
    let spec = sink("filesystem", &[("path", path)]);
    let side_output = |kind| open_side_output_committer(kind, path, context).expect("opened");
    let committers: [Box<dyn SinkCommitter>; 3] = [
        open_sink_committer(&spec, numbers(), context).expect("opened"),
        side_output(SideOutputKind::LateRows),
        side_output(SideOutputKind::DeadLetters),
    ];
    let finish = async |id: &str, prepared: &[Vec<serde_json::Value>]| {
        let cluster = ClusterId(id.to_owned());
        for (committer, committables) in committers.iter().zip(prepared) {
            committer.commit(EPOCHS, committables).await.expect("published");
            committer.discard(&cluster, JobId(1), EVERY_ATTEMPT).await.expect("removed");
            committer.commit(EPOCHS, committables).await.expect("again");
        }
    };
    finish("a", &ours).await;
    let now = names().await;
    assert_eq!(now.len(), 9, "theirs are left alone: {now:?}");
    assert_eq!(now.iter().filter(|name| name.starts_with('.')).count(), 6, "{now:?}");
    finish("a-1", &theirs).await;
    let now = names().await;
    assert!(now.len() == 6 && now.iter().all(|name| !name.starts_with('.')), "{now:?}");
    let source = table(context, &format!("{path}/part-*"), "json", &[], numbers()).expect("a table");
    let mut lines = read_all(&*source).await.expect("readable").lines();
    lines.sort_unstable();
    assert_eq!(lines, ["{\"a\":0}", "{\"a\":10}"]);
}

#[tokio::test]
async fn two_clusters_that_write_to_one_directory_lose_nothing() {
    let (folder, context) = (folder(), context());
    check_two_clusters(&context, &path(&folder), async || names(&folder)).await;
}

#[tokio::test]
async fn two_clusters_that_write_to_one_prefix_lose_nothing() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut context = context();
    context.stores = ObjectStores::default().with_store("memory://bucket", store.clone());
    let names = async || {
        let objects = store.list_with_delimiter(Some(&Path::from("out"))).await.expect("listed").objects;
        objects.iter().filter_map(|object| object.location.filename().map(str::to_owned)).collect()
    };
    check_two_clusters(&context, "memory://bucket/out", names).await;
}

#[tokio::test]
async fn a_hidden_file_that_is_there_already_is_left_alone() {
    let (folder, context) = (folder(), context());
    let path = path(&folder);
    let there = folder.path().join(".part-c1-3-1-0000000000000007-0-0.json.inprogress");
    fs::write(&there, "of before\n").expect("written");
    let mut writer = writer(&context, &path, 3, 1, 0);
    writer.write(&rows("{\"a\":1}\n")).await.expect("written");
    let committables = seal(&mut *writer).await;
    assert_eq!(fs::read_to_string(there).expect("readable"), "of before\n");
    let committer = open_sink_committer(&sink("filesystem", &[("path", &path)]), numbers(), &context).expect("opened");
    committer.commit(EPOCHS, &committables).await.expect("published");
    committer.discard(&cluster(), JobId(3), EVERY_ATTEMPT).await.expect("removed");
    assert_eq!(names(&folder), ["part-c1-3-1-0000000000000007-0-1.json"]);
}

#[tokio::test]
async fn an_object_that_is_published_is_never_overwritten() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut context = context();
    context.stores = ObjectStores::default().with_store("memory://bucket", store.clone());
    let published = Path::from("out/part-c1-3-1-0000000000000007-0-0.json");
    let before = store.put(&published, "of something else\n".into()).await.expect("put");
    let mut writer = writer(&context, "memory://bucket/out", 3, 1, 0);
    writer.write(&rows("{\"a\":1}\n")).await.expect("written");
    let committables = seal(&mut *writer).await;
    let spec = sink("filesystem", &[("path", "memory://bucket/out")]);
    let committer = open_sink_committer(&spec, numbers(), &context).expect("opened");
    for _ in 0..2 {
        committer.commit(EPOCHS, &committables).await.expect("published");
    }
    assert_eq!(store.head(&published).await.expect("there").e_tag, before.e_tag, "never written again");
    let other =
        store.get(&Path::from("out/part-c1-3-1-0000000000000007-0-0-1.json")).await.expect("there").bytes().await;
    assert_eq!(other.expect("readable"), "{\"a\":1}\n");
}

fn writer(context: &ConnectorContext, path: &str, job: u64, attempt: u32, subtask: u32) -> Box<dyn SinkWriter> {
    let spec = sink("filesystem", &[("path", path), ("format", "json")]);
    open_sink_writer(&spec, numbers(), identity(job, attempt, subtask), context).expect("a writer")
}

#[tokio::test]
async fn parts_are_hidden_until_committed_and_commits_are_idempotent() {
    let (folder, context) = (folder(), context());
    let path = path(&folder);
    let committer = open_sink_committer(&sink("filesystem", &[("path", &path)]), numbers(), &context).expect("opened");
    let mut committables = Vec::new();
    for subtask in 0..2 {
        let mut writer = writer(&context, &path, 3, 1, subtask);
        writer.write(&rows("{\"a\":1}\n")).await.expect("written");
        committables.extend(seal(&mut *writer).await);
        writer.write(&rows("{\"a\":2}\n")).await.expect("written");
        committables.extend(seal(&mut *writer).await);
        assert_eq!(seal(&mut *writer).await, [serde_json::Value::Null; 0]);
    }
    assert!(
        names(&folder)
            .iter()
            .all(|name| name.starts_with(".part-c1-3-1-0000000000000007-") && name.ends_with(".inprogress"))
    );
    for _ in 0..2 {
        committer.commit(EPOCHS, &committables).await.expect("published");
        let expected = ["0-0", "0-1", "1-0", "1-1"].map(|part| format!("part-c1-3-1-0000000000000007-{part}.json"));
        assert_eq!(names(&folder), expected);
    }
    assert_eq!(
        fs::read_to_string(folder.path().join("part-c1-3-1-0000000000000007-1-1.json")).expect("readable"),
        "{\"a\":2}\n"
    );
}

#[tokio::test]
async fn discard_removes_what_all_attempts_of_one_job_left() {
    let (folder, context) = (folder(), context());
    let path = path(&folder);
    let committer = open_sink_committer(&sink("filesystem", &[("path", &path)]), numbers(), &context).expect("opened");
    let mut committables = Vec::new();
    for (job, attempt) in [(3, 1), (3, 2), (30, 1)] {
        let mut writer = writer(&context, &path, job, attempt, 0);
        writer.write(&rows(&format!("{{\"a\":{attempt}}}\n"))).await.expect("written");
        committables.push(seal(&mut *writer).await);
    }
    committer.commit(EPOCHS, &committables[1]).await.expect("published");
    committer.discard(&cluster(), JobId(3), EVERY_ATTEMPT).await.expect("removed");
    committer.discard(&cluster(), JobId(3), EVERY_ATTEMPT).await.expect("nothing left to remove");
    assert_eq!(
        names(&folder),
        [".part-c1-30-1-0000000000000007-0-0.json.inprogress", "part-c1-3-2-0000000000000007-0-0.json"]
    );
    assert_eq!(
        fs::read_to_string(folder.path().join("part-c1-3-2-0000000000000007-0-0.json")).expect("readable"),
        "{\"a\":2}\n"
    );
    let lost = committer.commit(EPOCHS, &[serde_json::json!({"hidden": ".x", "published": "x"})]).await;
    let lost = lost.expect_err("neither is there").to_string();
    assert!(lost.starts_with("could not publish x: .x is gone and was not published: "), "{lost}");
}

/// Older releases named files by the sink's index. Their attempts may have left hidden ones, and have prepared others.
#[tokio::test]
async fn output_under_the_names_of_older_releases_is_published_and_discarded() {
    let (folder, context) = (folder(), context());
    let path = path(&folder);
    let committer = open_sink_committer(&sink("filesystem", &[("path", &path)]), numbers(), &context).expect("opened");
    for name in ["3-1-7-0-0", "3-1-7-0-1", "3-2-12-1-0", "30-1-7-0-0"] {
        let hidden = folder.path().join(format!(".part-c1-{name}.json.inprogress"));
        fs::write(hidden, "{\"a\":1}\n").expect("written");
    }
    let hidden = ".part-c1-3-1-7-0-1.json.inprogress";
    let prepared = serde_json::json!({"hidden": hidden, "published": "part-c1-3-1-7-0-1.json", "bytes": 8});
    committer.commit(EPOCHS, &[prepared]).await.expect("published");
    committer.discard(&cluster(), JobId(3), Attempt(2)).await.expect("removed");
    let left = [".part-c1-3-2-12-1-0.json.inprogress", ".part-c1-30-1-7-0-0.json.inprogress", "part-c1-3-1-7-0-1.json"];
    assert_eq!(names(&folder), left);
    committer.discard(&cluster(), JobId(3), EVERY_ATTEMPT).await.expect("removed");
    assert_eq!(names(&folder), [".part-c1-30-1-7-0-0.json.inprogress", "part-c1-3-1-7-0-1.json"]);
}

#[tokio::test]
async fn a_writer_that_is_dropped_removes_what_it_did_not_finish() {
    let (folder, context) = (folder(), context());
    let mut writer = writer(&context, &path(&folder), 3, 1, 0);
    writer.write(&rows("{\"a\":1}\n")).await.expect("written");
    seal(&mut *writer).await;
    let kind = SideOutputKind::DeadLetters;
    let mut letters = SideOutputWriter::open(kind, &path(&folder), identity(3, 1, 0), &context).expect("opened");
    let letter = DeadLetter { position: "f:1".to_owned(), reason: "r".to_owned(), record: "x".to_owned() };
    letters.write(SideRecords::DeadLetters(&[letter])).await.expect("written");
    assert_eq!(names(&folder).len(), 2);
    drop((writer, letters));
    assert_eq!(
        names(&folder),
        [".part-c1-3-1-0000000000000007-0-0.json.inprogress"],
        "what is finished may be published yet"
    );
}

#[tokio::test]
async fn what_is_published_is_never_overwritten() {
    let (folder, context) = (folder(), context());
    let path = path(&folder);
    fs::write(folder.path().join("part-c1-3-1-0000000000000007-0-0.json"), "of another cluster\n").expect("written");
    let committer = open_sink_committer(&sink("filesystem", &[("path", &path)]), numbers(), &context).expect("opened");
    let mut writer = writer(&context, &path, 3, 1, 0);
    writer.write(&rows("{\"a\":1}\n")).await.expect("written");
    let committables = seal(&mut *writer).await;
    committer.commit(EPOCHS, &committables).await.expect("published");
    committer.commit(EPOCHS, &committables).await.expect("again");
    assert_eq!(names(&folder), ["part-c1-3-1-0000000000000007-0-0-1.json", "part-c1-3-1-0000000000000007-0-0.json"]);
    assert_eq!(
        fs::read_to_string(folder.path().join("part-c1-3-1-0000000000000007-0-0.json")).expect("readable"),
        "of another cluster\n"
    );
}

#[tokio::test]
async fn what_others_do_to_hidden_files_is_not_silent() {
    let (folder, context) = (folder(), context());
    let path = path(&folder);
    let committer = open_sink_committer(&sink("filesystem", &[("path", &path)]), numbers(), &context).expect("opened");
    let mut writer = writer(&context, &path, 1, 1, 0);
    writer.write(&rows("{\"a\":1}\n")).await.expect("written");
    let prepared = seal(&mut *writer).await;
    let hidden = folder.path().join(".part-c1-1-1-0000000000000007-0-0.json.inprogress");
    fs::write(&hidden, "{\"a\":22}\n").expect("overwritten");
    let error = committer.commit(EPOCHS, &prepared).await.expect_err("it is another's").to_string();
    assert!(error.contains("was overwritten"), "{error}");
    fs::rename(&hidden, folder.path().join("part-c1-1-1-0000000000000007-0-0.json")).expect("renamed");
    let error = committer.commit(EPOCHS, &prepared).await.expect_err("what is published is not its own").to_string();
    assert!(error.contains("is gone"), "{error}");
}

#[tokio::test]
async fn a_writer_without_rows_leaves_no_file() {
    let (folder, context) = (folder(), context());
    for format in ["json", "csv", "parquet"] {
        let spec = sink("filesystem", &[("path", &path(&folder)), ("format", format), ("csv.header", "true")]);
        let mut writer = open_sink_writer(&spec, numbers(), identity(1, 1, 0), &context).expect("a writer");
        writer.write(&rows("")).await.expect("nothing to write");
        assert!(seal(&mut *writer).await.is_empty());
    }
    assert_eq!(names(&folder), [""; 0]);
}

#[tokio::test]
async fn object_stores_publish_too() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut context = context();
    context.stores = ObjectStores::default().with_store("memory://bucket", store.clone());
    let spec = sink("filesystem", &[("path", "memory://bucket/out"), ("format", "json")]);
    let committer = open_sink_committer(&spec, numbers(), &context).expect("opened");
    let mut committables = Vec::new();
    for attempt in 1..3 {
        let mut writer = open_sink_writer(&spec, numbers(), identity(3, attempt, 0), &context).expect("a writer");
        writer.write(&rows("{\"a\":1}\n{\"a\":2}\n")).await.expect("written");
        committables = seal(&mut *writer).await;
    }
    let source = table(&context, "memory://bucket/out", "json", &[], numbers()).expect("a table");
    assert_eq!(read_all(&*source).await.expect("readable").rows(), 0, "nothing is published yet");
    // A crash between the copy and the delete leaves both.
    let hidden = Path::from("out/.part-c1-3-2-0000000000000007-0-0.json.inprogress");
    let published = Path::from("out/part-c1-3-2-0000000000000007-0-0.json");
    store.copy(&hidden, &published).await.expect("copied");
    let copied = store.head(&published).await.expect("copied").e_tag;
    for _ in 0..2 {
        committer.commit(EPOCHS, &committables).await.expect("published");
    }
    assert_eq!(store.head(&published).await.expect("there").e_tag, copied, "not copied again");
    committer.discard(&cluster(), JobId(3), EVERY_ATTEMPT).await.expect("removed");
    assert_eq!(read_all(&*source).await.expect("readable").lines(), ["{\"a\":1}", "{\"a\":2}"]);
    let left = store.list_with_delimiter(Some(&Path::from("out"))).await.expect("listed").objects;
    assert_eq!(left.len(), 1);
}

/// The published text of a side output of a subtask.
async fn side_output<const N: usize>(folder: &TempDir, kind: SideOutputKind, records: [SideRecords<'_>; N]) -> String {
    let (path, context) = (path(folder), context());
    let mut writer = SideOutputWriter::open(kind, &path, identity(1, 2, 3), &context).expect("opened");
    for records in records {
        writer.write(records).await.expect("written");
    }
    let prepared = writer.seal().await.expect("sealed").await.expect("durable");
    open_side_output_committer(kind, &path, &context)
        .expect("opened")
        .commit(EPOCHS, &prepared)
        .await
        .expect("published");
    let stem = if kind == SideOutputKind::LateRows { "late" } else { "dead-letter" };
    fs::read_to_string(folder.path().join(format!("{stem}-c1-1-2-0000000000000007-3-0.json"))).expect("published")
}

#[tokio::test]
async fn dead_letters_and_late_rows_are_kept_with_their_reasons() {
    let folder = folder();
    let letter = |line: u32| DeadLetter {
        position: format!("f.json:{line}"),
        reason: "no \"object\"".to_owned(),
        record: "x\u{1}".to_owned(),
    };
    let letters = [letter(1), letter(2)];
    let records = [SideRecords::DeadLetters(&letters), SideRecords::DeadLetters(&[])];
    let text = side_output(&folder, SideOutputKind::DeadLetters, records).await;
    assert_eq!(text.lines().count(), 2);
    assert_eq!(text.lines().next(), Some(r#"{"position":"f.json:1","reason":"no \"object\"","record":"x\u0001"}"#));

    let refused = rows("{\"a\":1}\n");
    let text = side_output(&folder, SideOutputKind::LateRows, [late_rows(&refused, (0, 10_000_000))]).await;
    assert_eq!(
        text,
        "{\"operator\":\"op-4\",\"window_start\":\"1970-01-01 00:00:00.000000\",\
         \"window_end\":\"1970-01-01 00:00:10.000000\",\"a\":1}\n"
    );
}
