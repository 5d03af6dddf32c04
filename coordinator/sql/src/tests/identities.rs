//! What of a script changes the identities of its operators, and what does not.

use std::collections::BTreeSet;

use insta::assert_snapshot;
use thalweg_types::graph::{Identities, OperatorIdentity, StateScope};

use super::{nexmark, plan_text};

const COUNTS: &str = "SELECT auction, count(*) AS n, window_end
    FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '10' SECOND)) GROUP BY auction, window_start, window_end";

/// The identities of operators that keep something, by a graph of a script over Nexmark. Those that keep rows for a client
/// are left out: each query has one.
fn keeping(sql: &str) -> BTreeSet<OperatorIdentity> {
    let graph = nexmark(sql).unwrap_or_else(|error| panic!("{sql}: {error}")).graph.expect("a query");
    let identities = Identities::of(&graph);
    let keeps = graph.operators.iter().filter(|operator| {
        let description = operator.kind.describe();
        description.state != StateScope::None && !operator.kind.is_end()
    });
    let found: BTreeSet<OperatorIdentity> = keeps.map(|operator| identities.get(operator.id)).collect();
    assert!(!found.is_empty(), "{sql}");
    found
}

#[track_caller]
fn check_same(sql: &str, other: &str) {
    assert!(keeping(other).is_superset(&keeping(sql)), "{sql}\n{other}");
}

/// No identity is the same.
#[track_caller]
fn check_other(sql: &str, other: &str) {
    assert!(keeping(other).is_disjoint(&keeping(sql)), "{sql}\n{other}");
}

#[test]
fn another_query_before_changes_nothing() {
    check_same(COUNTS, &format!("SELECT name, city FROM person; {COUNTS}"));
    check_same(COUNTS, &format!("SELECT bidder, url FROM bid WHERE price > 7; {COUNTS}"));
    let sums = "SELECT bidder, sum(price) AS s FROM TABLE(HOP(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '1' SECOND, \
                INTERVAL '5' SECOND)) GROUP BY bidder, window_start, window_end";
    check_same(COUNTS, &format!("{sums}; {COUNTS}"));
    check_same(sums, &format!("{COUNTS}; {sums}"));
}

#[test]
fn a_filter_or_a_name_changes_nothing() {
    let dear = COUNTS.replace("TABLE bid", "TABLE dear");
    let over = |view: &str| format!("CREATE VIEW dear AS {view}; {dear}");
    check_same(COUNTS, &over("SELECT * FROM bid WHERE price > 100"));
    check_same(COUNTS, &over("SELECT dateTime, auction FROM bid WHERE url LIKE 'https%' AND bidder <> 3"));
    check_same(COUNTS, &over("SELECT auction, dateTime FROM bid"));
    check_same(COUNTS, &COUNTS.replace("SELECT auction, count(*) AS n", "SELECT count(*) AS m, auction AS a"));
    check_same(COUNTS, &format!("SELECT auction, n + 1 AS more FROM ({COUNTS}) WHERE n > 3"));
}

#[test]
fn what_the_state_means_changes_everything() {
    check_other(COUNTS, &COUNTS.replace("auction", "bidder"));
    check_other(COUNTS, &COUNTS.replace("auction", "price"));
    check_other(COUNTS, &COUNTS.replace("count(*)", "sum(price)"));
    check_other(COUNTS, &COUNTS.replace("count(*)", "count(DISTINCT price)"));
    check_other(COUNTS, &COUNTS.replace("count(*)", "count(*) FILTER (WHERE price > 3)"));
    check_other(COUNTS, &COUNTS.replace("'10'", "'20'"));
    check_other(COUNTS, &COUNTS.replace("GROUP BY auction", "GROUP BY auction, channel"));
    check_other(
        COUNTS,
        &COUNTS.replace("GROUP BY auction", "GROUP BY auction + 1").replace("SELECT auction,", "SELECT"),
    );
}

#[test]
fn a_computed_key_is_what_it_is_computed_from() {
    let keyed = |key: &str| {
        format!(
            "CREATE VIEW keyed AS SELECT {key} AS k, dateTime FROM bid;
             SELECT k, count(*) AS n FROM TABLE(TUMBLE(TABLE keyed, DESCRIPTOR(dateTime), INTERVAL '10' SECOND))
             GROUP BY k, window_start, window_end"
        )
    };
    check_other(&keyed("price * 2"), &keyed("price * 3"));
    check_other(&keyed("price * 2"), &keyed("bidder * 2"));
    check_other(&keyed("price"), &keyed("bidder"));
}

#[test]
fn another_table_is_another_input() {
    let counts = |table: &str, connector: &str| {
        format!(
            "CREATE TABLE {table} (k INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ({connector});
             SELECT k, count(*) FROM TABLE(TUMBLE(TABLE {table}, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY k, window_end"
        )
    };
    let identities = |sql: String| {
        let graph = plan_text(&sql).unwrap_or_else(|error| panic!("{sql}: {error}")).graph.expect("a query");
        Identities::of(&graph).iter().map(|(_, identity)| identity).collect::<BTreeSet<_>>()
    };
    let generated = "'connector' = 'datagen'";
    let usual = identities(counts("t", generated));
    assert_eq!(
        usual,
        identities(counts("t", "'connector' = 'datagen', 'rows-per-second' = '7'")),
        "an option does not count"
    );
    assert!(usual.is_disjoint(&identities(counts("u", generated))));
    let files = "'connector' = 'filesystem', 'path' = '/data', 'format' = 'json'";
    assert!(usual.is_disjoint(&identities(counts("t", files))));
}

/// A running job's state is found by these in every later release. A planner that makes others for the same script leaves
/// it without its state.
#[test]
fn identities_of_scripts_are_pinned() {
    let joined = "SELECT B.auction, B.price, B.bidder, B.dateTime, B.extra
         FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '10' SECOND)) B
         JOIN (SELECT MAX(price) AS maxprice, window_start, window_end
             FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '10' SECOND)) GROUP BY window_start, window_end) M
         ON B.window_start = M.window_start AND B.window_end = M.window_end AND B.price = M.maxprice";
    let ranked = "SELECT auction, price, window_start, window_end FROM (
             SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, auction ORDER BY price DESC) AS r
             FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '10' SECOND))) WHERE r <= 3";
    let graph = nexmark(&format!("{COUNTS}; {joined}; {ranked}")).expect("planned").graph.expect("a query");
    let identities = Identities::of(&graph);
    let lines = graph.operators.iter().map(|operator| {
        let kind = operator.kind.state_form().kind;
        format!("{} {kind} {}", identities.get(operator.id), operator.name)
    });
    assert_snapshot!("identities", lines.collect::<Vec<_>>().join("\n"));
}
