//! Values of options of delivery that can be, and others.

use std::collections::BTreeMap;

use super::*;

fn table(path: &str, options: &[(&str, &str)]) -> TableConnector {
    let all = [options, &[("path", path)]].concat();
    let options = all.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    TableConnector { name: "filesystem".to_owned(), options, secrets: BTreeMap::new() }
}

#[test]
fn directories_are_hidden_and_below_the_tables() {
    assert_eq!(unfit_directory("_manifests"), None);
    assert_eq!(unfit_directory("_a/b-1=c"), None);
    for refused in ["", "/", "manifests", ".m", "_a/../b", "_a//b", "_a/.", "_a*", "_%41", "_\u{1}"] {
        assert!(unfit_directory(refused).is_some(), "{refused}");
    }
    let refused = table("/x", &[("error-prefix", "errors")]).check_delivery(&[]).expect_err("it would be read");
    assert_eq!(refused.option(), "error-prefix");
    assert!(refused.to_string().starts_with("option 'error-prefix' = 'errors' would be read as data"), "{refused}");
    let refused = table("/x", &[("sink.manifest.path", "_a/..")]).check_delivery(&[]).expect_err("no path");
    assert!(refused.to_string().starts_with("option 'sink.manifest.path' = '_a/..' is no path below"), "{refused}");
}

#[test]
fn sizes_are_above_zero_and_fit_the_store() {
    for key in ["sink.rolling-policy.file-size", "compaction.file-size"] {
        let check = |path: &str, size: &str| table(path, &[(key, size)]).check_delivery(&[]);
        assert_eq!(check("/x", "5 GiB"), Ok(()));
        assert_eq!(check("file:///x", "5 GiB"), Ok(()));
        assert_eq!(check("s3://b/x", "4 GiB"), Ok(()));
        let refused = check("s3://b/x", "5 GiB").expect_err("one request copies less");
        assert_eq!(refused.to_string(), format!("option '{key}' must be at most 4 GiB in an object store"));
        for size in ["0", "0.2 b"] {
            let refused = check("/x", size).expect_err("nothing");
            assert_eq!(refused.to_string(), format!("option '{key}' must be above 0"));
        }
    }
}

#[test]
fn parts_that_go_on_over_checkpoints_have_an_end() {
    let on = |options: &[(&str, &str)]| {
        let all = [options, &[("sink.rolling-policy.on-checkpoint", "false")]].concat();
        table("/x", &all).keeps_parts_open()
    };
    assert_eq!(table("/x", &[]).keeps_parts_open(), Ok(false));
    let refused = on(&[]).expect_err("nothing ends them").to_string();
    assert!(refused.contains("= 'false' needs 'sink.rolling-policy.rollover-interval', "), "{refused}");
    for key in ["file-size", "rollover-interval", "inactivity-interval"] {
        assert_eq!(on(&[(&format!("sink.rolling-policy.{key}"), "1")]), Ok(true), "{key}");
    }
}

#[test]
fn a_success_file_is_hidden_and_of_a_partition() {
    let named = |name: &str, partition_by: &[&str]| {
        let options =
            [("sink.partition-commit.policy.kind", "success-file"), ("sink.partition-commit.success-file.name", name)];
        table("/x", &options).check_delivery(partition_by).map_err(|error| error.to_string())
    };
    assert_eq!(named("_DONE", &["a"]), Ok(()));
    assert!(named("_DONE", &[]).expect_err("no partitions").contains("needs a table that is PARTITIONED BY columns"));
    for name in ["DONE", "..", "_a/b"] {
        let refused = named(name, &["a"]).expect_err("readers would see it");
        assert!(refused.contains(&format!("name' = '{name}' is no name of a file that begins with _")), "{refused}");
    }
    assert!(named(&format!("_{}", "x".repeat(100)), &["a"]).expect_err("long").contains("is too long"));
    let unused = table("/x", &[("sink.partition-commit.success-file.name", "DONE")]);
    assert_eq!(unused.success_file(false), Ok(None));
}

#[test]
fn the_time_of_a_partition_is_of_its_columns() {
    let pieces = |pattern: &str| {
        let options = [("partition.time-extractor.timestamp-pattern", pattern)];
        table("/x", &options).partition_time(&["d", "day", "hour"]).map_err(|error| error.to_string())
    };
    let (text, column) =
        (|text: &str| TimePiece::Text(text.to_owned()), |name: &str| TimePiece::Column(name.to_owned()));
    let expected = vec![text("2026-"), column("day"), text(" "), column("hour"), text(":00")];
    assert_eq!(pieces("2026-$day $hour:00"), Ok(expected));
    assert!(pieces("$x").expect_err("unknown").contains("'$x' begins with no column"));
    assert!(pieces("2026-01-01").expect_err("the same for ever").contains("no column"));
    assert!(pieces("").expect_err("none").ends_with("is missing"));
    let by_time = table(
        "/x",
        &[
            ("sink.partition-commit.policy.kind", "success-file"),
            ("sink.partition-commit.trigger", "partition-time"),
            ("partition.time-extractor.timestamp-pattern", "$q"),
        ],
    );
    let refused = by_time.check_delivery(&["day"]).expect_err("no such column");
    assert_eq!(refused.option(), "partition.time-extractor.timestamp-pattern");
}
