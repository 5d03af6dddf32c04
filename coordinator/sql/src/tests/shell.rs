//! What an interactive shell needs: the ends of statements, names to complete, and answers that are text.

use super::{nexmark, plan_text};
use crate::{catalog, is_complete, split_statements};

#[test]
fn statements_end_at_semicolons_outside_of_texts_and_comments() {
    let script = "SELECT ';' FROM a; -- not; here\n/* nor; here */ SELECT `b;`\n FROM \"c;\" ;\n;SELECT 1";
    assert_eq!(split_statements(script), ["SELECT ';' FROM a", "SELECT `b;`\n FROM \"c;\"", "SELECT 1"]);
    assert_eq!(split_statements("  "), [""; 0]);
}

#[test]
fn a_statement_set_is_one_statement() {
    let set = "BEGIN STATEMENT SET; INSERT INTO a SELECT 1; INSERT INTO b SELECT 2; END";
    assert_eq!(split_statements(&format!("SELECT 0; {set}; SELECT 3;")), ["SELECT 0", set, "SELECT 3"]);
    assert!(!is_complete("BEGIN STATEMENT SET; INSERT INTO a SELECT 1;"));
    assert!(is_complete(&format!("{set};")));
}

#[test]
fn a_text_is_complete_at_its_semicolon() {
    assert!(is_complete(""));
    assert!(is_complete("SELECT 1; -- done"));
    assert!(!is_complete("SELECT 1"));
    assert!(!is_complete("SELECT 'a;"));
    assert!(!is_complete("SELECT 1; SELECT"));
}

#[test]
fn the_catalog_lists_what_could_be_declared() {
    let tables = catalog(
        "CREATE TABLE t (a INT NOT NULL, b ROW<c STRING, d ARRAY<DECIMAL(10, 2)>>, ts TIMESTAMP(3)) WITH ('connector' = 'print');
         CREATE VIEW v AS SELECT a + 1 AS next FROM u; SELECT nonsense FROM",
    );
    assert_eq!(tables.len(), 1);
    assert_eq!((tables[0].name.as_str(), tables[0].connector.as_deref()), ("t", Some("print")));
    let columns: Vec<_> =
        tables[0].columns.iter().map(|c| (c.name.as_str(), c.data_type.as_str(), c.nullable)).collect();
    assert_eq!(
        columns,
        [("a", "INT", false), ("b", "ROW<c STRING, d ARRAY<DECIMAL(10, 2)>>", true), ("ts", "TIMESTAMP(3)", true)]
    );
}

#[test]
fn describe_show_and_explain_answer_in_text() {
    let planned =
        nexmark("DESCRIBE auction; SHOW TABLES; EXPLAIN SELECT auction FROM bid;").expect("all of it is known");
    assert!(planned.graph.is_none());
    assert!(planned.explain[0].starts_with("id BIGINT\nitemName STRING\n"), "{}", planned.explain[0]);
    assert_eq!(planned.explain[1], "auction\nbid\nnexmark\nperson");
    assert!(planned.explain[2].starts_with("Collect query 1: auction [one]"), "{}", planned.explain[2]);
}

#[test]
fn every_type_of_the_dialect_can_be_declared() {
    let planned = plan_text(
        "CREATE TABLE t (a BOOLEAN, b TINYINT, c SMALLINT, d INT, e BIGINT, f FLOAT, g DOUBLE PRECISION, h DECIMAL, i DECIMAL(38, 10),
            j STRING, k VARCHAR(20), l CHAR(3), m BYTES, n DATE, o TIME, p TIMESTAMP, q TIMESTAMP(3), r TIMESTAMP(9), s TIMESTAMP_LTZ(3),
            t ROW<a ROW<b INT NOT NULL>, c MAP<STRING, ARRAY<INT>>> NOT NULL, PRIMARY KEY (e) NOT ENFORCED) COMMENT 'all' WITH ('connector' = 'print');
         DESCRIBE t;",
    );
    let text = &planned.expect("each type is known").explain[0];
    let types: Vec<&str> = text.lines().filter_map(|line| line.split_once(' ')).map(|(_, kind)| kind).collect();
    assert_eq!(
        types,
        [
            "BOOLEAN",
            "TINYINT",
            "SMALLINT",
            "INT",
            "BIGINT",
            "FLOAT",
            "DOUBLE",
            "DECIMAL(10, 0)",
            "DECIMAL(38, 10)",
            "STRING",
            "STRING",
            "STRING",
            "BYTES",
            "DATE",
            "TIME",
            "TIMESTAMP(6)",
            "TIMESTAMP(3)",
            "TIMESTAMP(9)",
            "TIMESTAMP_LTZ(3)",
            "ROW<a ROW<b INT>, c MAP<STRING, ARRAY<INT>>> NOT NULL",
        ]
    );
}
