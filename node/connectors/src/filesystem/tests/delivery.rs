//! Partitions are told complete once they are, and rows that cannot be written are files too.

use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch, StringViewArray};
use serde_json::Value;
use thalweg_types::{Attempt, OperatorId, Watermark};

use super::{
    epochs::{JOB, Place, batch_of},
    *,
};
use crate::testing::EPOCHS;

const EVERY_ATTEMPT: Attempt = Attempt(u32::MAX);
const MARKS: (&str, &str) = ("sink.partition-commit.policy.kind", "success-file");
const BY_TIME: [(&str, &str); 4] = [
    MARKS,
    ("sink.partition-commit.trigger", "partition-time"),
    ("sink.partition-commit.delay", "1 h"),
    ("partition.time-extractor.timestamp-pattern", "$p:00"),
];

/// A row of each of these partitions.
fn rows(partitions: &[&str]) -> RecordBatch {
    let texts = partitions.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let count = i64::try_from(partitions.len()).expect("few");
    batch_of(0..count, move |row| texts.get(usize::try_from(row).expect("a row")).cloned())
}

async fn write(writer: &mut dyn SinkWriter, partitions: &[&str]) {
    let rows = writer.arrive(&rows(partitions), &|_| None).expect("rows");
    writer.write(&rows).await.expect("written");
}

/// Seals and publishes, and returns the partitions that are told complete.
async fn publish(place: &Place, writer: &mut dyn SinkWriter, is_end: bool) -> Vec<String> {
    let before = place.files().await;
    writer.completing(is_end);
    let prepared = seal(writer).await;
    for _ in 0..2 {
        place.committer().commit(EPOCHS, &prepared).await.expect("published");
    }
    let named: Vec<String> =
        prepared.iter().filter_map(|value| Some(value.get("marker")?.as_str()?.to_owned())).collect();
    let marked = prepared.iter().filter(|value| value.get("marker").is_some());
    let marked: Vec<String> = marked.filter_map(|value| Some(value["directory"].as_str()?.to_owned())).collect();
    let files = place.files().await;
    for (directory, name) in marked.iter().zip(named) {
        assert!(files.contains(&format!("{directory}/{name}")), "{files:?}");
        assert!(before.iter().chain(&files).any(|file| file.starts_with(&format!("{directory}/part-"))));
    }
    marked
}

#[tokio::test(start_paused = true)]
async fn partitions_are_complete_a_while_after_their_first_rows() {
    for is_stored in [false, true] {
        let place = Place::new("json", is_stored, true, &[MARKS, ("sink.partition-commit.delay", "10 s")]);
        let mut writer = place.writer(1);
        write(&mut *writer, &["a", "b"]).await;
        assert_eq!(publish(&place, &mut *writer, false).await, [""; 0]);
        tokio::time::advance(Duration::from_secs(6)).await;
        write(&mut *writer, &["a", "c"]).await;
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(publish(&place, &mut *writer, false).await, ["p=a", "p=b"]);
        assert_eq!(writer.freeze().into_keys().collect::<Vec<_>>(), ["due/p=c"]);

        // What is pending is state.
        let mut restored = place.writer(2);
        restored.restore(&[writer.freeze(), writer.freeze()], &|_| false);
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(publish(&place, &mut *restored, false).await, ["p=c"]);
        write(&mut *restored, &["a"]).await;
        assert_eq!(publish(&place, &mut *restored, true).await, ["p=a"], "at the end all are");
        assert_eq!(publish(&place, &mut *restored, true).await, [""; 0]);
        place.committer().discard(&cluster(), JOB, EVERY_ATTEMPT).await.expect("nothing to remove");
        assert_eq!(place.hidden().await, [""; 0]);
        assert_eq!(place.visible().await.len(), 5, "readers pass the markers over");
    }
}

#[tokio::test]
async fn partitions_are_complete_with_the_checkpoint_if_there_is_no_delay() {
    let options = [MARKS, ("sink.partition-commit.success-file.name", "_DONE")];
    let place = Place::new("json", false, true, &options);
    let mut writer = place.writer(1);
    write(&mut *writer, &["a"]).await;
    assert_eq!(publish(&place, &mut *writer, false).await, ["p=a"]);
    assert_eq!(place.files().await[0], "p=a/_DONE");
    assert_eq!(publish(&place, &mut *writer, false).await, [""; 0]);
    // Rows that are handed to the sealing.
    let sealed = writer.seal_with(vec![rows(&["b"])]).await.expect("sealed").await.expect("durable");
    assert_eq!(sealed.last(), Some(&serde_json::json!({"marker": "_DONE", "directory": "p=b"})));
    let later = Place::new("json", false, true, &[MARKS, ("sink.partition-commit.delay", "1 h")]);
    let mut writer = later.writer(1);
    writer.completing(true);
    let sealed = writer.seal_with(vec![rows(&["b"])]).await.expect("sealed").await.expect("durable");
    assert_eq!(sealed.len(), 2, "the end: {sealed:?}");
}

#[tokio::test]
async fn partitions_without_a_time_are_remembered_up_to_a_bound() {
    let place = Place::new("json", false, true, &BY_TIME);
    let mut writer = place.writer(1);
    let come = |writer: &mut dyn SinkWriter, partitions: std::ops::Range<i64>| {
        let rows = batch_of(partitions, |row| Some(format!("no time {row}")));
        writer.arrive(&rows, &|_| None).expect("rows");
    };
    come(&mut *writer, 0..9_999);
    let bytes = writer.state_bytes();
    assert!((100 * 9_999..200 * 9_999).contains(&bytes), "{bytes} bytes of state");
    come(&mut *writer, 0..10_050);
    assert_eq!(writer.freeze().len(), 10_000);
    let nine = "2026-01-01 09:00";
    writer.arrive(&rows(&[nine]), &|_| None).expect("rows");
    assert_eq!(writer.freeze().len(), 10_001, "one that has a time is remembered");

    // What was remembered is, by whoever goes on with it; nothing beyond that is.
    let mut restored = place.writer(2);
    restored.restore(&[writer.freeze()], &|_| true);
    assert_eq!(restored.state_bytes(), writer.state_bytes());
    come(&mut *restored, 20_000..20_001);
    restored.on_watermark(Watermark((1_767_225_600 + 3600 * 10) * 1_000_000));
    assert_eq!(restored.completing(false).len(), 1);
    assert_eq!(restored.freeze().len(), 10_000);
    assert_eq!((restored.completing(true).len(), restored.state_bytes()), (10_001, 0));
    seal(&mut *restored).await;
    come(&mut *restored, 20_000..20_001);
    assert_eq!(restored.freeze().len(), 1, "there is room again");
}

#[tokio::test]
async fn partitions_are_complete_when_the_watermark_has_passed_them() {
    let place = Place::new("json", false, true, &BY_TIME);
    let mut writer = place.writer(1);
    let hour = |hour: i64| Watermark((1_767_225_600 + 3600 * hour) * 1_000_000);
    let (nine, ten) = ("2026-01-01 09:00", "2026-01-01 10:00");
    write(&mut *writer, &[nine, ten, "tomorrow"]).await;
    writer.on_watermark(Watermark(hour(10).0 - 1));
    assert_eq!(publish(&place, &mut *writer, false).await, [""; 0]);
    writer.on_watermark(hour(10));
    assert_eq!(writer.completing(false), ["p=2026-01-01 09%3A00"], "so that none of its rows are held");
    assert_eq!(publish(&place, &mut *writer, false).await, ["p=2026-01-01 09%3A00"]);
    writer.on_watermark(hour(12));
    write(&mut *writer, &[nine]).await;
    assert_eq!(publish(&place, &mut *writer, false).await, ["p=2026-01-01 09%3A00", "p=2026-01-01 10%3A00"], "again");
    assert_eq!(publish(&place, &mut *writer, true).await, ["p=tomorrow"], "it has no time");
}

#[tokio::test]
async fn what_says_that_partitions_are_complete_is_checked() {
    let refusal = |is_partitioned: bool, options: &[(&str, &str)]| {
        let place = Place::new("json", false, is_partitioned, options);
        let opened = open_sink_writer(&place.spec, super::epochs::columns(), identity(1, 1, 0), &place.context);
        opened.err().expect("refused").to_string()
    };
    assert!(refusal(false, &[MARKS]).contains("needs a table that is PARTITIONED BY columns"));
    let named = |name: &str| refusal(true, &[MARKS, ("sink.partition-commit.success-file.name", name)]);
    for name in ["DONE", "..", "_a/b"] {
        assert!(named(name).contains("begins with _, so that readers pass it over"), "{name}");
    }
    assert!(named(&format!("_{}", "x".repeat(100))).contains("is too long"));
    let mut by_time = BY_TIME;
    by_time[3].1 = "$q";
    assert!(refusal(true, &by_time).contains("'$q' begins with no column of PARTITIONED BY"));
    assert!(refusal(true, &[("error-prefix", "errors")]).contains("option 'error-prefix' = 'errors' would be read"));
    assert!(refusal(true, &[("sink.path-template", "x")]).contains("it has no placeholder"));
}

/// The lines of the files of a kind of error.
async fn errors(place: &Place, kind: &str) -> Vec<Value> {
    let mut lines = Vec::new();
    for name in place.files().await.iter().filter(|name| name.starts_with(&format!("_errors/{kind}/part-"))) {
        let bytes = match &place.store {
            Some(store) => {
                let key = Path::from(format!("out/{name}"));
                store.get(&key).await.expect("there").bytes().await.expect("readable").to_vec()
            }
            None => fs::read(std::path::Path::new(&place.path).join(name)).expect("readable"),
        };
        let text = String::from_utf8(bytes).expect("text");
        lines.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")));
    }
    lines
}

#[tokio::test]
async fn rows_that_cannot_be_written_are_files_by_their_error() {
    for is_stored in [false, true] {
        // A number that the schema's int does not hold.
        let avro = r#"{"type":"record","name":"r","fields":[{"name":"a","type":["null","int"]}]}"#;
        let options = [("error-prefix", "_errors"), ("avro.schema", avro), ("auto-compaction", "true")];
        let place = Place::new("avro", is_stored, true, &options);
        let opened = open_sink_writer(&place.spec, super::epochs::columns(), identity(JOB.0, 1, 0), &place.context);
        let mut writer = match opened {
            Ok(writer) => writer,
            Err(error) => panic!("{error}"),
        };
        assert!(writer.keeps_unfit());
        let (long, fine) = ("x".repeat(300), "fine".to_owned());
        let texts: StringViewArray = [Some(&fine), Some(&long), Some(&fine)].into_iter().collect();
        let columns: Vec<arrow::array::ArrayRef> =
            vec![Arc::new(Int64Array::from(vec![1, 2, 1 << 40])), Arc::new(texts)];
        let batch = RecordBatch::try_new(super::epochs::columns(), columns).expect("two columns");
        let faults = writer.unfit(&batch);
        assert_eq!(faults.iter().map(|fault| fault.row).collect::<Vec<_>>(), [1, 2]);
        writer.write(&batch.slice(0, 1)).await.expect("written");
        let mut parted = faults;
        (0..).zip(&mut parted).for_each(|(row, fault)| fault.row = row);
        writer.set_aside((OperatorId(3), "t"), &batch.slice(1, 2), &parted).await.expect("set aside");
        let prepared = seal(&mut *writer).await;
        assert_eq!(prepared.len(), 3);
        assert_eq!(errors(&place, "format").await.len() + errors(&place, "partition").await.len(), 0, "hidden");
        for _ in 0..2 {
            place.committer().commit(EPOCHS, &prepared).await.expect("published");
        }
        let [of_format, of_partition] = [errors(&place, "format").await, errors(&place, "partition").await];
        assert_eq!((of_format.len(), of_partition.len()), (1, 1));
        assert_eq!(of_format[0]["row"]["a"], 1i64 << 40);
        assert!(of_format[0]["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{}", of_format[0]);
        assert_eq!(of_partition[0]["row"], serde_json::json!({"a": 2, "p": long}));
        assert!(of_partition[0]["reason"].as_str().is_some_and(|reason| reason.contains("302 bytes")));
        assert_eq!(place.visible().await, [1]);

        // What is not published is removed.
        writer.set_aside((OperatorId(3), "t"), &batch.slice(1, 1), &parted[..1]).await.expect("set aside");
        seal(&mut *writer).await;
        std::mem::forget(writer);
        assert_eq!(place.hidden().await.len(), 1);
        place.committer().discard(&cluster(), JOB, EVERY_ATTEMPT).await.expect("removed");
        assert_eq!(place.hidden().await, [""; 0]);
    }
}
