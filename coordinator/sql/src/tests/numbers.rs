//! The types of literals and arithmetic are those that Flink documents.

use super::plan_text;
use thalweg_functions::names::sql_type;

const TABLE: &str = "CREATE TABLE t (y TINYINT, s SMALLINT, i INT, n BIGINT, f FLOAT, d DOUBLE, m DECIMAL(10, 2),
    w DECIMAL(38, 18), ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND) WITH ('connector' = 'datagen');";

fn types(query: &str) -> Vec<String> {
    let planned = plan_text(&format!("{TABLE}{query}")).unwrap_or_else(|error| panic!("{query}: {error}"));
    let fields = planned.queries[0].schema.fields().clone();
    fields.iter().map(|field| sql_type(field.data_type())).collect()
}

fn refusal(query: &str) -> String {
    match plan_text(&format!("{TABLE}{query}")) {
        Ok(_) => panic!("{query} is not refused"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn literals_have_the_least_type_that_holds_them() {
    assert_eq!(
        types("SELECT 1, 2147483647, 2147483648, -2147483648, 9223372036854775807, 9223372036854775808, -1 FROM t"),
        ["INT", "INT", "BIGINT", "INT", "BIGINT", "DECIMAL(19, 0)", "INT"]
    );
    assert_eq!(
        types("SELECT 1.5, 0.5, 0.05, 12.50, 1e3, 1.5E-2, -1e3 FROM t"),
        ["DECIMAL(2, 1)", "DECIMAL(2, 1)", "DECIMAL(3, 2)", "DECIMAL(4, 2)", "DOUBLE", "DOUBLE", "DOUBLE"]
    );
    assert!(refusal(&format!("SELECT {} FROM t", "9".repeat(39))).contains("at most"));
}

#[test]
fn arithmetic_has_flinks_types() {
    assert_eq!(
        types("SELECT y + y, y + 1, s * i, i - 1, i + n, i / 2, n % 3, i % n FROM t"),
        ["TINYINT", "INT", "INT", "INT", "BIGINT", "INT", "INT", "BIGINT"]
    );
    assert_eq!(
        types("SELECT i + f, n * d, m + d, m * f, -m, -y FROM t"),
        ["FLOAT", "DOUBLE", "DOUBLE", "DOUBLE", "DECIMAL(10, 2)", "TINYINT"]
    );
    assert_eq!(
        types("SELECT 1.0 / 3, m + 1, m * m, m / i, m % 7, w + w, w * w, w / w, MOD(m, 3.5) FROM t"),
        [
            "DECIMAL(13, 12)",
            "DECIMAL(13, 2)",
            "DECIMAL(21, 4)",
            "DECIMAL(21, 13)",
            "DECIMAL(10, 2)",
            "DECIMAL(38, 17)",
            "DECIMAL(38, 6)",
            "DECIMAL(38, 6)",
            "DECIMAL(3, 2)"
        ]
    );
    assert_eq!(
        types("SELECT NULL + 1, NULL * m, CASE WHEN i > 0 THEN 1 ELSE 1.5 END + 1 FROM t"),
        ["INT", "DECIMAL(21, 4)", "DECIMAL(12, 1)"]
    );
}

#[test]
fn sums_and_averages_have_types_that_hold_them() {
    let windowed = |calls: &str| {
        types(&format!(
            "SELECT {calls} FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end"
        ))
    };
    assert_eq!(
        windowed("SUM(y), SUM(n), SUM(m), SUM(f), SUM(i * 2)"),
        ["BIGINT", "BIGINT", "DECIMAL(38, 2)", "DOUBLE", "BIGINT"]
    );
    assert_eq!(
        windowed("AVG(i), AVG(m), AVG(w), AVG(d), MIN(y), MAX(m), COUNT(*)"),
        ["DOUBLE", "DECIMAL(38, 6)", "DECIMAL(38, 18)", "DOUBLE", "TINYINT", "DECIMAL(10, 2)", "BIGINT"]
    );
}

#[test]
fn an_int_less_one_goes_into_an_int_column() {
    let sink = "CREATE TABLE o (x INT) WITH ('connector' = 'print');";
    plan_text(&format!("{TABLE}{sink} INSERT INTO o SELECT i - 1 FROM t;")).unwrap_or_else(|error| panic!("{error}"));
    assert!(refusal(&format!("{sink} INSERT INTO o SELECT i + n FROM t;")).contains("the query gives BIGINT"));
}

#[test]
fn views_and_subqueries_keep_types() {
    assert_eq!(
        types(
            "CREATE VIEW v AS SELECT 1 AS one, CAST(1 AS BIGINT) AS big, i + 1 AS next FROM t; SELECT one, big, next, big + 1 FROM v"
        ),
        ["INT", "BIGINT", "INT", "BIGINT"]
    );
    assert_eq!(
        types("SELECT a, b + 1 FROM (SELECT 1 AS a, n AS b FROM t UNION ALL SELECT i, i + 1 FROM t)"),
        ["INT", "BIGINT"]
    );
    assert_eq!(
        types(
            "CREATE VIEW u AS SELECT i + 1 AS x, ts FROM t;
             SELECT x FROM TABLE(TUMBLE(TABLE u, DESCRIPTOR(ts), INTERVAL '1' MINUTE))"
        ),
        ["INT"]
    );
}

#[test]
fn row_numbers_are_bigint() {
    let ranked = "SELECT x, -rn AS d, rn FROM (SELECT i AS x, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY i) AS rn
        FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE))) WHERE rn <= 3";
    assert_eq!(types(ranked), ["INT", "BIGINT", "BIGINT"]);
}

#[test]
fn functions_that_take_bigint_take_int_literals() {
    types(
        "SELECT SUBSTRING('abc', 2, 1), REPEAT('x', 3), LPAD('a', 5, 'b'), ROUND(m, 1), ROUND(d, 2), LEFT('abc', 2),
         POWER(2, 3), ARRAY[1, 2][1], COALESCE(n, 0), NULLIF(i, 0), ABS(-5), MOD(n, 10), GREATEST(n, 1), date_bin(INTERVAL '1' MINUTE, ts),
         ts + INTERVAL '1' DAY, CHR(65), TO_TIMESTAMP_MILLIS(1000), n IN (1, 2, 3), n BETWEEN 1 AND 10 FROM t",
    );
}

#[test]
fn what_is_no_number_is_refused_in_arithmetic() {
    assert!(refusal("SELECT 'a' + 1 FROM t").contains("STRING"));
    assert!(refusal("SELECT (i > 1) * 2 FROM t").contains("BOOLEAN"));
}
