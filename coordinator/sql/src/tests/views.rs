//! Views that several statements read.

use super::{explained, nexmark};

const TUMBLE: &str = "TABLE(TUMBLE(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '10' SECOND))";

fn script(view: &str, inserts: &[&str]) -> String {
    let tables: String = (0..inserts.len())
        .map(|number| format!("CREATE TABLE t{number} (a BIGINT, b BIGINT) WITH ('connector' = 'blackhole');\n"))
        .collect();
    let inserts: String =
        inserts.iter().enumerate().map(|(number, query)| format!("INSERT INTO t{number} {query};\n")).collect();
    format!("CREATE VIEW v AS {view};\n{tables}{inserts}")
}

fn counts() -> String {
    format!(
        "SELECT auction, count(*) AS n, max(price) AS m, window_end FROM {TUMBLE} WHERE price > 3 GROUP BY auction, window_start, window_end"
    )
}

/// How many operators of a kind there are, and the plan.
fn count(word: &str, view: &str, inserts: &[&str]) -> (usize, String) {
    let plan = explained(nexmark(&script(view, inserts)));
    (plan.matches(word).count(), plan)
}

#[test]
fn what_several_statements_take_of_a_view_is_computed_once() {
    for inserts in [
        &["SELECT auction, n FROM v", "SELECT auction, n FROM v"][..],
        &["SELECT auction, n FROM v", "SELECT n, auction + 1 FROM v", "SELECT n, n FROM v WHERE n > 3"],
        &["SELECT n, m FROM v", "SELECT m, n FROM v WHERE m > n"],
    ] {
        let (aggregates, plan) = count("WindowAggregate(global)", &counts(), inserts);
        assert_eq!(aggregates, 1, "{plan}");
        assert_eq!(plan.matches("WindowAggregate(local)").count(), 1, "{plan}");
        assert_eq!(plan.matches("(as above)").count(), inserts.len() - 1, "{plan}");
    }
    let joined = format!(
        "SELECT L.auction, R.id FROM (SELECT * FROM {TUMBLE}) L JOIN \
         (SELECT * FROM TABLE(TUMBLE(TABLE auction, DESCRIPTOR(dateTime), INTERVAL '10' SECOND))) R \
         ON L.window_start = R.window_start AND L.window_end = R.window_end AND L.auction = R.id"
    );
    let (joins, plan) = count("WindowJoin", &joined, &["SELECT auction, id FROM v", "SELECT id, auction * 2 FROM v"]);
    assert_eq!(joins, 1, "{plan}");
    // Views over views, and queries beside a view that are the same.
    let over = format!("CREATE VIEW w AS {}; CREATE VIEW v AS SELECT auction, n FROM w WHERE n > 1", counts());
    let plan = explained(nexmark(&format!(
        "{over}; CREATE TABLE a (x BIGINT, y BIGINT) WITH ('connector' = 'blackhole'); \
         CREATE TABLE b (x BIGINT, y BIGINT) WITH ('connector' = 'blackhole'); \
         INSERT INTO a SELECT auction, n FROM v; INSERT INTO b SELECT n, auction FROM w"
    )));
    assert_eq!(plan.matches("WindowAggregate(global)").count(), 1, "{plan}");
}

/// A condition or a choice of columns goes down as far as it can, and what is below it is this use's own.
#[test]
fn uses_of_a_view_that_differ_below_get_their_own() {
    for inserts in [
        ["SELECT auction, n FROM v", "SELECT auction, m FROM v"],
        ["SELECT auction, n FROM v", "SELECT auction, n FROM v WHERE auction > 3"],
    ] {
        let (aggregates, plan) = count("WindowAggregate(global)", &counts(), &inserts);
        assert_eq!(aggregates, 2, "{plan}");
        assert_eq!(plan.matches("Source nexmark").count(), 1, "{plan}");
    }
}

/// Sinks stay apart, whatever they are fed by.
#[test]
fn a_table_that_is_written_twice_gets_all_rows_twice() {
    let sql = "CREATE TABLE t (a BIGINT) WITH ('connector' = 'blackhole'); \
               INSERT INTO t SELECT price FROM bid WHERE price > 3; INSERT INTO t SELECT price FROM bid WHERE price > 3";
    let plan = explained(nexmark(sql));
    assert_eq!((plan.matches("Sink t").count(), plan.matches("Calc").count()), (2, 1), "{plan}");
}
