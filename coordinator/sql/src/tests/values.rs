//! Rows that stand in the text: their plans and their errors.

use thalweg_types::{OperatorKind, connector::VALUES_CONNECTOR, graph::Parallelism};

use super::{explained, plan_text};

fn types(sql: &str) -> Vec<String> {
    let planned = plan_text(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let column = |field: &arrow::datatypes::FieldRef| {
        let null = if field.is_nullable() { "" } else { " NOT NULL" };
        format!("{} {}{null}", field.name(), thalweg_functions::names::sql_type(field.data_type()))
    };
    planned.queries[0].schema.fields().iter().map(column).collect()
}

#[track_caller]
fn refused(sql: &str, place: (u64, u64), words: &str) {
    let error = plan_text(sql).expect_err(sql);
    assert!(error.to_string().contains(words), "{sql}\n  gives: {error}");
    assert_eq!((error.line, error.column), (Some(place.0), Some(place.1)), "{sql}\n  gives: {error}");
}

#[test]
fn rows_have_the_names_and_types_of_flink() {
    assert_eq!(types("SELECT 1"), ["1 INT NOT NULL"]);
    assert_eq!(types("SELECT 1 + 1 AS x, 'a' || 'b'"), ["x INT NOT NULL", "'a' || 'b' STRING NOT NULL"]);
    assert_eq!(types("VALUES (1, 'a'), (3000000000, NULL)"), ["EXPR$0 BIGINT NOT NULL", "EXPR$1 STRING"]);
    assert_eq!(types("VALUES (1), (1.25)"), ["EXPR$0 DECIMAL(12, 2) NOT NULL"]);
    assert_eq!(types("VALUES (1.5), (1e0)"), ["EXPR$0 DOUBLE NOT NULL"]);
    assert_eq!(
        types("VALUES (DATE '2020-01-01'), (TIMESTAMP '2020-01-01 00:00:00')"),
        ["EXPR$0 TIMESTAMP(6) NOT NULL"]
    );
    assert_eq!(types("SELECT a FROM (VALUES (CAST(1 AS BIGINT), 2)) AS v (a, b)"), ["a BIGINT NOT NULL"]);
    assert_eq!(types("WITH c (a) AS (VALUES (1)) SELECT a * 2 AS b FROM c"), ["b INT NOT NULL"]);
    assert_eq!(types("CREATE VIEW v AS SELECT CAST(1 AS BIGINT) AS a; SELECT a FROM v"), ["a BIGINT NOT NULL"]);
    assert_eq!(types("SELECT 1, 1"), ["1 INT NOT NULL", "1_2 INT NOT NULL"]);
}

#[test]
fn rows_are_a_source_of_one_subtask() {
    let planned = plan_text("VALUES (1), (2), (3)").unwrap();
    let operator = &planned.graph.as_ref().unwrap().operators[0];
    let OperatorKind::Source(source) = &operator.kind else { panic!("{operator:?}") };
    assert_eq!((source.connector.name.as_str(), operator.parallelism), (VALUES_CONNECTOR, Parallelism::One));
    let text = explained(plan_text("SELECT a FROM (VALUES (1, 2)) AS v (a, b) WHERE a < b AND 1 = 1"));
    assert_eq!(
        text,
        "Collect query 1: a [one] op-2\n\
         └─ forward ─ Calc EXPR$0 AS a where EXPR$0 < EXPR$1 [one] op-1\n   \
            └─ forward ─ Values of 1 row: EXPR$0, EXPR$1 [one] op-0\n"
    );
    let never = explained(plan_text("SELECT 1 WHERE 1 = 0"));
    assert!(never.contains(" where false "), "a condition without columns stays: {never}");
    assert!(plan_text("CREATE TABLE t (a INT) WITH ('connector' = 'values')").is_err(), "no table can be so");
}

#[test]
fn what_fails_fails_while_it_is_planned_where_it_stands() {
    refused("SELECT 1 / 0", (1, 8), "1 / 0 divides by zero");
    refused("VALUES (1, 'a'),\n (2, CAST('x' AS INT))", (2, 11), "'x' cannot be cast to INT");
    refused("VALUES (1),\n ('a')", (2, 3), "column 1 of VALUES is INT in one row and STRING in another");
    refused("VALUES (1), (2, 3)", (1, 14), "row 2 of VALUES has 2 values, and the first row has 1");
    refused("SELECT a", (1, 8), "unknown column 'a'");
    refused("SELECT *", (1, 1), "SELECT * needs FROM");
    refused("SELECT count(*)", (1, 8), "count(*): a function of many rows needs FROM");
    refused("VALUES (REPEAT('a', 1000000000))", (1, 9), "write SELECT");
    refused("SELECT 1 FROM (VALUES (1, 2)) AS v (a)", (1, 1), "2 columns");
}

#[test]
fn a_plan_holds_so_many_rows_and_bytes() {
    let rows = |count: usize, value: &str| format!("VALUES {}", vec![format!("({value})"); count].join(", "));
    assert!(plan_text(&rows(10_000, "1")).is_ok());
    refused(&rows(10_001, "1"), (1, 9), "VALUES has 10001 rows, and at most 10000 are taken: put them into a file");
    let long = format!("'{}'", "x".repeat(600_000));
    assert!(plan_text(&rows(1, &long)).is_ok());
    refused(&rows(2, &long), (1, 9), "bytes, and at most 1048576 are taken");
}
