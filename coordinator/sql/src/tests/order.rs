//! `ORDER BY` and `LIMIT` of tables that end.

use super::{explained, plan_text};

const TABLES: &str = "CREATE TABLE t (a INT, b STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen', 'number-of-rows' = '9');
CREATE TABLE o (b STRING) WITH ('connector' = 'blackhole');
";

fn plan_of(sql: &str) -> String {
    explained(plan_text(&format!("{TABLES}{sql}")))
}

#[test]
fn a_limit_above_an_order_is_the_operators() {
    let text = plan_of("SELECT b FROM t WHERE a > 1 ORDER BY a DESC, 1 LIMIT 3 OFFSET 2");
    assert_eq!(
        text,
        "Collect query 1: b [one] op-4\n\
         └─ forward ─ Calc b [one] op-3\n   \
            └─ forward ─ Sort a desc nulls last, b asc nulls first limit 3 offset 2 [one] op-2\n      \
               └─ gather ─ Calc b, a where a > 1 [job] op-1\n         \
                  └─ forward ─ Source t (datagen): a, b where a > 1 [job] op-0\n"
    );
    assert!(plan_of("INSERT INTO o SELECT b FROM t ORDER BY b").contains("Sort b asc nulls first [one]"));
    let twice = plan_of("SELECT b FROM (SELECT b FROM t ORDER BY a LIMIT 3) LIMIT 2");
    assert!(twice.contains("Limit 2 [one]") && twice.contains("limit 3"), "{twice}");
    let filtered = plan_of("SELECT b FROM (SELECT a, b FROM t ORDER BY b LIMIT 5) WHERE a = 1 LIMIT 2");
    assert!(filtered.contains("Limit 2 [one]") && filtered.contains("nulls first limit 5 [one]"), "{filtered}");
}

#[test]
fn without_an_order_each_subtask_gives_all_that_is_wanted() {
    let text = plan_of("SELECT a FROM t LIMIT 3 OFFSET 2");
    assert!(text.contains("Limit 3 offset 2 [one]") && text.contains("gather ─ Limit 5 [job]"), "{text}");
    assert!(plan_of("SELECT a FROM t OFFSET 2").contains("gather ─ Source"));
    assert!(plan_of("SELECT a FROM t FETCH NEXT ROW ONLY").contains("Limit 1 [one]"));
    assert!(!plan_of("SELECT a FROM t LIMIT ALL").contains("Limit"));
}

#[test]
fn what_leaves_at_the_end_has_no_event_time() {
    let windowed = |order: &str| {
        let sql = format!(
            "SELECT COUNT(*) FROM TABLE(TUMBLE((SELECT * FROM t {order}), DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_end"
        );
        plan_text(&format!("{TABLES}{sql}")).map(|_| ())
    };
    assert!(windowed("LIMIT 3").is_ok());
    let refused = windowed("ORDER BY ts LIMIT 5").unwrap_err().to_string();
    assert!(refused.contains("'ts' is not an event-time column"), "{refused}");
}
