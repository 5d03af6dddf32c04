//! What tables say about their files: values that cannot be, and templates that do not tell partitions apart.

use super::{nexmark, refusals::refused_at};

#[test]
fn templates_of_directories_fit_the_columns_of_partitions() {
    let of = |by: &str, template: &str| {
        format!(
            "CREATE TABLE x (a INT, ts TIMESTAMP(3), b INT, at AS ts) PARTITIONED BY ({by}) WITH ('connector' = 'filesystem', \
             'path' = '/x', 'format' = 'json',\n'sink.path-template' = {template})"
        )
    };
    let refused = |by: &str, template: &str, reason: &str| refused_at(&of(by, template), 2, 24, reason);
    refused("a", "'{b}'", "'b' is no column of PARTITIONED BY");
    refused("a, b", "'{b}'", "leaves out 'a', a column of PARTITIONED BY");
    refused("a, at", "'{at:yyyy}/{a:yyyy}'", "'a' is INT, and a pattern is for a TIMESTAMP");
    refused("at", "'{at:yyyy-bb}'", "pattern 'yyyy-bb'");
    refused("a", "'{a'", "a { is not closed by }");
}

/// What is in no file must be told by its directory.
#[test]
fn templates_that_do_not_tell_partitions_apart_are_refused() {
    let of = |template: &str| {
        format!(
            "CREATE TABLE x (n INT, s STRING, a INT, d DATE, ts TIMESTAMP(3), t STRING, at AS ts) \
             PARTITIONED BY (s, a, d, ts, t, at) WITH ('connector' = 'filesystem', \
             'path' = '/x', 'format' = 'json',\n'sink.path-template' = '{template}')"
        )
    };
    let refused = |template: &str, reason: &str| refused_at(&of(template), 2, 24, reason);
    let rest = "{s}/{t}/{a}/{d}/{at:yyyy}";
    refused(&format!("{rest}/{{ts:yyyy-MM-dd/HH}}"), "the patterns of 'ts' leave out its minute");
    refused(&format!("{rest}/{{ts:yyyy-MM-dd/HH}}"), "declare a column `of_ts` AS `ts`");
    refused(&format!("{rest}/{{ts:yyyy-MM-dd HH-mm-ss}}"), "leave out digits of its second");
    refused(&format!("{rest}/{{ts:yyyyMdHHmmssSSS}}"), "different times of 'ts' have one directory");
    let rest = "{ts}/{at:yyyy-MM-dd}";
    refused(&format!("{rest}/{{d}}/{{a}}/{{s}}-{{t}}"), "different values of 's' and 't' have one directory");
    refused(&format!("{rest}/{{d}}/{{a}}/{{s}}-{{t}}"), "put / or = between them");
    refused(&format!("{rest}/{{t}}/{{d}}/{{s}}{{a}}"), "different values of 's' and 'a' have one directory");
    refused(&format!("{rest}/{{t}}/{{s}}/{{a}}{{d}}"), "different values of 'a' and 'd' have one directory");
    refused("{ts}/{t}/{a}/{d}/{at:yyyy}{s}{arrival-time:HHH}", "pattern 'HHH'");
    for template in [
        "{ts:yyyy/MM/dd/HH-mm-ss.SSS}/s={s},t={t}/{a}-{d}/{at:yyyy/MM}",
        "{ts}/{s}/{t}-{at:yyyy-MM}/{d}{a}/{arrival-time:HH}",
        "{ts:yyyyMMddHHmmssSSS}/{s}/{t}/{d}/{a}{at:'h'HH}",
    ] {
        let planned = nexmark(&of(&template.replace('\'', "''")));
        assert!(planned.is_ok(), "{template}: {planned:?}");
    }
}

#[test]
fn values_of_delivery_that_cannot_be_are_refused_where_they_stand() {
    let of = |path: &str, by: &str, option: &str, value: &str, more: &str| {
        format!(
            "CREATE TABLE x (a INT, b INT) {by} WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'json'{more},\n\
             '{option}' = '{value}')"
        )
    };
    let marks = ", 'sink.partition-commit.policy.kind' = 'success-file'";
    let by_time = &format!("{marks}, 'sink.partition-commit.trigger' = 'partition-time'");
    for (path, by, option, value, more, reason) in [
        ("/x", "", "error-prefix", "errors", "", "let it begin with _"),
        ("/x", "", "sink.manifest.path", "_a/../b", "", "= '_a/../b' is no path below"),
        ("/x", "", "sink.rolling-policy.file-size", "0 b", "", "must be above 0"),
        ("s3://b/x", "", "sink.rolling-policy.file-size", "5 GiB", "", "at most 4 GiB in an object store"),
        ("s3://b/x", "", "compaction.file-size", "5 GiB", "", "at most 4 GiB in an object store"),
        ("/x", "PARTITIONED BY (a)", "sink.partition-commit.success-file.name", "DONE", marks, "begins with _"),
        ("/x", "", "sink.partition-commit.policy.kind", "success-file", "", "needs a table that is PARTITIONED BY"),
        (
            "/x",
            "PARTITIONED BY (a)",
            "partition.time-extractor.timestamp-pattern",
            "$b 00:00",
            by_time,
            "'$b 00:00' begins with no column of PARTITIONED BY",
        ),
        ("/x", "", "sink.partition-commit.policy.kind", "metastore", "", "neither a metastore nor code of one's own"),
        ("/x", "", "sink.partition-commit.policy.kind", "custom", "", "reads the manifests of 'sink.manifest.path'"),
    ] {
        let column = option.len() as u64 + 6;
        refused_at(&of(path, by, option, value, more), 2, column, reason);
    }
    for (path, option, value) in
        [("/x", "sink.rolling-policy.file-size", "5 GiB"), ("/x", "error-prefix", "_errors/of-x")]
    {
        assert!(nexmark(&of(path, "", option, value, "")).is_ok(), "{option}");
    }
}

#[test]
fn options_of_delivery_that_would_say_nothing_are_refused() {
    let of = |options: &str| {
        let table = "CREATE TABLE x (a INT, b INT) PARTITIONED BY (b) WITH ('connector' = 'filesystem', 'path' = '/x', 'format' = 'json',";
        format!("{table} {options}); INSERT INTO x SELECT 1, 2")
    };
    for (options, reason) in [
        ("'sink.partition-commit.delay' = '1 h'", "needs 'sink.partition-commit.policy.kind' = 'success-file'"),
        (
            "'sink.partition-commit.trigger' = 'process-time'",
            "needs 'sink.partition-commit.policy.kind' = 'success-file'",
        ),
        (
            "'sink.partition-commit.success-file.name' = '_x'",
            "needs 'sink.partition-commit.policy.kind' = 'success-file'",
        ),
        (
            "'partition.time-extractor.timestamp-pattern' = '$b'",
            "needs 'sink.partition-commit.trigger' = 'partition-time'",
        ),
        ("'compaction.file-size' = '1 MiB'", "needs 'auto-compaction' = 'true'"),
        ("'sink.rolling-policy.on-checkpoint' = 'false'", "needs 'sink.rolling-policy.rollover-interval', "),
        ("'sink.partition-commit.trigger' = 'partition-time'", "needs 'sink.partition-commit.policy.kind'"),
    ] {
        let refused = nexmark(&of(options)).expect_err("refused").to_string();
        assert!(refused.contains(reason), "{options}: {refused}");
    }
}
