//! Where conditions go. A guard stays before what it guards.

use super::{explained, plan_text};

const TABLES: &str = "
CREATE TABLE l (ts TIMESTAMP(3), k INT, i INT, s STRING, WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen');
CREATE TABLE r (ts TIMESTAMP(3), k INT, i INT, s STRING, WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen');
CREATE VIEW numeric AS SELECT k, i, s FROM l WHERE s <> 'x';
";
const L: &str = "TABLE(TUMBLE(TABLE l, DESCRIPTOR(ts), INTERVAL '1' MINUTE))";
const R: &str = "TABLE(TUMBLE(TABLE r, DESCRIPTOR(ts), INTERVAL '1' MINUTE))";
const EQUAL_WINDOWS: &str = "a.window_start = b.window_start AND a.window_end = b.window_end";

fn planned(query: &str) -> String {
    explained(plan_text(&format!("{TABLES}{query}")))
}

/// Checks that the plan has these parts in this order.
fn in_order(query: &str, parts: &[&str]) {
    let text = planned(query);
    let mut rest = text.as_str();
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => panic!("{part} is not there, or not behind the others:\n{text}"),
        }
    }
}

#[test]
fn conditions_keep_their_order() {
    let fails = "CAST(s AS INT) > 1";
    in_order(&format!("SELECT k FROM l WHERE s <> 'x' AND {fails}"), &["s != 'x'", fails]);
    in_order(&format!("SELECT k FROM (SELECT * FROM l WHERE s <> 'x') WHERE {fails}"), &["s != 'x'", fails]);
    in_order(&format!("SELECT k FROM numeric WHERE {fails} AND k > 3"), &["s != 'x'", fails]);
    in_order(
        "SELECT n FROM (SELECT CAST(s AS INT) AS n, k FROM numeric WHERE k > 2) WHERE n > 1",
        &["s != 'x'", "k > 2", "CAST(s AS INT) > 1"],
    );
    in_order(
        "SELECT n FROM (SELECT CAST(s AS INT) AS n FROM numeric UNION ALL SELECT i FROM r) WHERE n > 1",
        &["s != 'x'", "CAST(s AS INT) > 1"],
    );
}

#[test]
fn case_stays_a_case() {
    let text = planned("SELECT k FROM l WHERE CASE WHEN s <> 'x' THEN CAST(s AS INT) > 8 ELSE FALSE END");
    assert!(text.contains("CASE WHEN s != 'x' THEN CAST(s AS INT) > 8 ELSE"), "{text}");
}

#[test]
fn only_what_cannot_fail_goes_below_joins() {
    let join = |condition: &str| format!("SELECT a.k FROM {L} a JOIN {R} b ON {EQUAL_WINDOWS} AND {condition}");
    let text = planned(&join("a.k = b.k AND a.s <> 'x' AND CAST(a.s AS INT) > 1"));
    let (above, below) = text.split_once("Join").expect("a join");
    assert!(below.contains("s != 'x'"), "{text}");
    assert!(!below.lines().skip(1).any(|line| line.contains("CAST")), "{text}");
    assert!(text.contains("CAST(s AS INT) > 1"), "{above}");
    // The guard is about both sides, so the equality that it guards must not become a key.
    let text = planned(&join("a.k = b.k AND a.s <> b.s AND CAST(a.s AS INT) = b.i"));
    assert!(!text.lines().any(|line| line.contains("Calc") && line.contains("CAST")), "{text}");
    // Without a guard the same equality is a key.
    let text = planned(&join("CAST(a.s AS INT) = b.i"));
    assert!(text.lines().any(|line| line.contains("Calc") && line.contains("CAST(s AS INT)")), "{text}");
    // A condition on a key of one side holds for the equal key of the other side too.
    let text = planned(&join("a.k = b.k AND a.k = 7"));
    let scans = text.lines().filter(|line| line.contains("Source") && line.contains("where k = 7"));
    assert_eq!(scans.count(), 2, "{text}");
}

#[test]
fn conditions_about_groups_go_below_aggregates_where_they_cannot_fail() {
    let query =
        |having: &str| format!("SELECT k, COUNT(*) AS n FROM {L} GROUP BY k, window_start, window_end HAVING {having}");
    let below = |text: &str, condition: &str| {
        let aggregate = text.lines().position(|line| line.contains("Aggregate")).expect("an aggregate");
        text.lines().skip(aggregate + 1).any(|line| line.contains(condition))
    };
    let text = planned(&query("k > 3 AND COUNT(*) > 1"));
    assert!(below(&text, "k > 3"), "{text}");
    let text = planned(&query("COUNT(*) > 1 AND 10 / k > 3"));
    assert!(!below(&text, "10 / k"), "{text}");
}
