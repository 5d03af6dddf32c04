//! Times beside times and texts, and casts: how they are compared, and what is refused.

use super::{explained, plan_text};

const TABLE: &str = "CREATE TABLE t (ts TIMESTAMP(3), u TIMESTAMP(6), n TIMESTAMP(9), s TIMESTAMP(0), d DATE, c TIME, x STRING, b BIGINT, \
     f DOUBLE, m DECIMAL(5, 2)) WITH ('connector' = 'filesystem', 'path' = '/x', 'format' = 'json');";

/// The condition in the plan.
#[track_caller]
fn condition(sql: &str) -> String {
    let text = explained(plan_text(&format!("{TABLE} SELECT b FROM t WHERE {sql}")));
    let line = text.lines().find_map(|line| line.split_once("where "));
    line.unwrap_or_else(|| panic!("no condition in {text}")).1.to_owned()
}

#[track_caller]
fn refused(expression: &str, words: &str) {
    let error = plan_text(&format!("{TABLE} SELECT {expression} FROM t")).expect_err("it is refused");
    assert!(error.to_string().contains(words), "{expression}\n  gives: {error}\n  not: {words}");
    assert!(error.line.is_some(), "{expression} has no place: {error}");
}

#[test]
fn constants_take_the_type_of_the_column() {
    let same = |one: &str, other: &str| assert_eq!(condition(one), condition(other));
    same("ts >= '2026-01-01'", "ts >= CAST('2026-01-01' AS TIMESTAMP(3))");
    same("ts >= TIMESTAMP '2026-01-01 00:00:00'", "ts >= CAST('2026-01-01' AS TIMESTAMP(3))");
    same("ts < DATE '9999-12-31'", "ts < CAST('9999-12-31' AS TIMESTAMP(3))");
    same("'2026-01-01' < ts", "ts > CAST('2026-01-01' AS TIMESTAMP(3))");
    same("ts BETWEEN '2026-01-01' AND '9999-12-31'", "ts >= '2026-01-01' AND ts <= '9999-12-31'");
    same("ts NOT BETWEEN '2026-01-01' AND '9999-12-31'", "ts < '2026-01-01' OR ts > '9999-12-31'");
    same(
        "ts IN ('2026-01-01', DATE '9999-12-31')",
        "ts IN (CAST('2026-01-01' AS TIMESTAMP(3)), CAST('9999-12-31' AS TIMESTAMP(3)))",
    );
    same("d >= TIMESTAMP '2026-01-01 00:00:00'", "d >= DATE '2026-01-01'");
}

#[test]
fn what_is_finer_or_farther_than_the_column_moves_the_bound() {
    let same = |one: &str, other: &str| assert_eq!(condition(one), condition(other));
    let floor = "CAST('2026-01-01 00:00:00.123' AS TIMESTAMP(3))";
    same("ts < '2026-01-01 00:00:00.123456'", &format!("ts <= {floor}"));
    same("ts >= '2026-01-01 00:00:00.123456'", &format!("ts > {floor}"));
    same("ts > TIMESTAMP '2026-01-01 00:00:00.123456789'", &format!("ts > {floor}"));
    same("s < '1969-12-31 23:59:59.5'", "s <= CAST('1969-12-31 23:59:59' AS TIMESTAMP(0))");
    same("d > '1969-12-31 12:00:00'", "d > DATE '1969-12-31'");
    same("n < '9999-12-31'", "n <= CAST('2262-04-11 23:47:16.854775807' AS TIMESTAMP(9))");
    same("n >= '0001-01-01'", "n >= CAST('1677-09-21 00:12:43.145224192' AS TIMESTAMP(9))");
}

#[test]
fn what_no_constant_of_the_column_is_is_compared_as_instants() {
    for sql in [
        "ts = '2026-01-01 00:00:00.123456'",
        "n = '9999-12-31'",
        "ts IN ('2026-01-01 00:00:00.0001')",
        "ts > u",
        "n <> ts",
        "ts = x",
        "d < ts",
    ] {
        let text = condition(sql);
        assert!(text.contains("$instant"), "{sql} is {text}");
    }
    for sql in ["ts = '2026-01-01'", "ts < ts", "n < '9999-12-31'", "c < '12:00'", "d = '2026-01-01'"] {
        let text = condition(sql);
        assert!(!text.contains("$instant"), "{sql} is {text}");
    }
}

#[test]
fn dates_beside_timestamps_are_timestamps_of_their_precision() {
    let types = |sql: &str| {
        let planned = plan_text(&format!("{TABLE} {sql}")).unwrap_or_else(|error| panic!("{error}"));
        thalweg_functions::names::sql_type(planned.queries[0].schema.field(0).data_type())
    };
    assert_eq!(types("SELECT COALESCE(d, ts) FROM t"), "TIMESTAMP(3)");
    assert_eq!(types("SELECT CASE WHEN b = 1 THEN d ELSE u END FROM t"), "TIMESTAMP(6)");
    assert_eq!(types("SELECT d FROM t UNION ALL SELECT ts FROM t"), "TIMESTAMP(3)");
    assert_eq!(types("SELECT CAST(u AS TIMESTAMP(0)) FROM t"), "TIMESTAMP(0)");
}

#[test]
fn casts_that_there_are_not_are_refused() {
    refused("CAST(ts AS BIGINT)", "TIMESTAMP(3) cannot be cast to BIGINT: EXTRACT(EPOCH FROM");
    refused("TRY_CAST(b AS TIMESTAMP(3))", "BIGINT cannot be cast to TIMESTAMP(3): TO_TIMESTAMP_LTZ");
    refused("CAST(f AS BOOLEAN)", "DOUBLE cannot be cast to BOOLEAN");
    refused("CAST(m AS BOOLEAN)", "DECIMAL(5, 2) cannot be cast to BOOLEAN");
    refused("CAST(d AS TIME)", "DATE cannot be cast to TIME");
    refused("CAST(c AS DATE)", "TIME cannot be cast to DATE");
    refused("c < ts", "TIME < TIMESTAMP(3)");
    refused("ts > '2026'", "'2026' cannot be compared with a time: it is not a timestamp");
    refused("ts - ts > INTERVAL '1' DAY", "INTERVALs cannot be compared");
    refused("ts < ts + INTERVAL '1.5' MONTH", "a whole number of its unit");
    refused("ts < ts + INTERVAL '3000000000' DAY", "INTERVAL '3000000000' DAY is too large");
    refused("ts < ts + INTERVAL '-9999999999999' SECOND", "is too large");
    refused("ts = 'nonsense'", "'nonsense' cannot be compared with a time: it is not a timestamp");
}
