//! Plans as text. To accept changed snapshots, run `INSTA_UPDATE=always cargo test -p thalweg-sql`.

use std::collections::BTreeMap;

use insta::assert_snapshot;
use thalweg_types::{
    OperatorKind,
    connector::TABLE_COLUMNS,
    graph::{Comparison, Distribution, Parallelism},
};

use super::{NEXMARK, explained, nexmark, plan_text};

const TUMBLE: &str = "TABLE(TUMBLE(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '10' SECOND))";
const HOP: &str = "TABLE(HOP(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '2' SECOND, INTERVAL '10' SECOND))";

#[test]
fn pass_through_currency_and_selection_are_one_calc() {
    assert_snapshot!("q0", explained(nexmark("SELECT auction, bidder, price, dateTime, extra FROM bid")));
    assert_snapshot!("q1", explained(nexmark("SELECT auction, bidder, 0.908 * price AS price, dateTime FROM bid")));
    assert_snapshot!("q2", explained(nexmark("SELECT auction, price FROM bid WHERE MOD(auction, 123) = 0")));
}

#[test]
fn partitions_are_planned_by_the_written_columns() {
    let sql = "CREATE TABLE out (auction BIGINT, twice AS auction * 2, url STRING, price BIGINT, channel STRING) \
               COMMENT 'c' PARTITIONED BY (channel, url) WITH ('connector' = 'filesystem', 'path' = '/x', 'format' = 'json'); \
               INSERT INTO out SELECT auction, url, price, channel FROM bid";
    let graph = nexmark(sql).expect("planned").graph.expect("a query");
    let sinks = graph.operators.iter().filter_map(|operator| match &operator.kind {
        OperatorKind::Sink(sink) => Some(sink.partition_by.as_slice()),
        _ => None,
    });
    assert_eq!(sinks.collect::<Vec<_>>(), [[3, 1]], "without the computed column");
    let text = explained(nexmark(sql));
    assert!(text.contains("Sink out (filesystem) partitioned by channel, url: auction, url, price, channel"), "{text}");
}

#[test]
fn computed_columns_name_partitions_by_the_row_that_is_written() {
    let sql = "CREATE TABLE out (auction BIGINT, twice AS auction * 2, price DOUBLE, up AS UPPER(channel), channel STRING, note STRING) \
               PARTITIONED BY (up, auction, twice) WITH ('connector' = 'filesystem', 'path' = '/x', 'format' = 'json'); \
               INSERT INTO out (price, auction, channel) SELECT price, bidder, url FROM bid";
    let graph = nexmark(sql).expect("planned").graph.expect("a query");
    let sinks = graph.operators.iter().filter_map(|operator| match &operator.kind {
        OperatorKind::Sink(sink) => Some((sink.partition_by.clone(), operator.output.fields().len())),
        _ => None,
    });
    assert_eq!(sinks.collect::<Vec<_>>(), [(vec![4, 0, 5], 6)], "behind the written ones");
    let text = explained(nexmark(sql));
    let sink = "Sink out (filesystem) partitioned by up, auction, twice: auction, price, channel, note, up, twice";
    assert!(text.contains(sink), "{text}");
    assert!(text.contains("url") && text.contains("bidder"), "{text}");
}

#[test]
fn a_partition_is_written_by_one_subtask_if_its_table_needs_that() {
    let sink_of = |partitions: &str, options: &str| {
        let sql = format!(
            "CREATE TABLE out (auction BIGINT, channel STRING, ts TIMESTAMP(3), price BIGINT, at AS ts) {partitions} \
             WITH ('connector' = 'filesystem', 'path' = '/x', 'format' = 'json'{options}); \
             INSERT INTO out SELECT auction, channel, dateTime, price FROM bid"
        );
        let graph = nexmark(&sql).expect("planned").graph.expect("a query");
        let sink = graph.operators.iter().find(|operator| operator.kind.as_sink().is_some()).expect("a sink").clone();
        let edge = graph.edges.iter().find(|edge| edge.to == sink.id).expect("an edge");
        (edge.distribution.clone(), sink.parallelism)
    };
    let by_hash = |keys: &[usize]| (Distribution::Hash { keys: keys.to_vec() }, Parallelism::Job);
    let shuffles = ", 'sink.shuffle-by-partition.enable' = 'true'";
    let by_time = ", 'sink.partition-commit.policy.kind' = 'success-file', 'sink.partition-commit.trigger' = 'partition-time', \
                   'partition.time-extractor.timestamp-pattern' = '$channel'";
    let (partitions, template) = ("PARTITIONED BY (channel, at)", ", 'sink.path-template' = '{channel}/{at:HH}'");
    assert_eq!(sink_of(partitions, ""), (Distribution::Forward, Parallelism::Job));
    assert_eq!(sink_of("", shuffles), (Distribution::Forward, Parallelism::Job), "it has no partitions");
    assert_eq!(sink_of(partitions, shuffles), by_hash(&[1, 4]));
    assert_eq!(sink_of(partitions, by_time), by_hash(&[1, 4]));
    assert_eq!(sink_of(partitions, &format!("{template}{shuffles}")), by_hash(&[1]), "rows of an hour have many times");
    let (_, parallelism) = sink_of("PARTITIONED BY (at)", &format!(", 'sink.path-template' = '{{at:HH}}'{shuffles}"));
    assert_eq!(parallelism, Parallelism::One, "no column tells directories apart");
}

#[test]
fn a_sink_that_goes_by_the_watermark_is_given_one() {
    let watermark = |trigger: &str| {
        let sql = format!(
            "CREATE TABLE out (auction BIGINT, ts TIMESTAMP(3), hour AS DATE_FORMAT(ts, 'yyyy-MM-dd HH')) PARTITIONED BY (hour) \
             WITH ('connector' = 'filesystem', 'path' = '/x', 'format' = 'json', \
             'sink.partition-commit.policy.kind' = 'success-file'{trigger}); \
             INSERT INTO out SELECT auction, dateTime FROM bid"
        );
        explained(nexmark(&sql)).contains("watermark")
    };
    let by_time = ", 'sink.partition-commit.trigger' = 'partition-time', \
                   'partition.time-extractor.timestamp-pattern' = '$hour:00:00'";
    assert!(watermark(by_time));
    assert!(!watermark(""), "nothing needs it");
    let endless = "CREATE TABLE made (n BIGINT, ts TIMESTAMP(3)) WITH ('connector' = 'datagen'); \
                   CREATE TABLE out (n BIGINT, ts TIMESTAMP(3), hour AS DATE_FORMAT(ts, 'yyyy-MM-dd HH')) PARTITIONED BY (hour) \
                   WITH ('connector' = 'filesystem', 'path' = '/x', 'format' = 'json', \
                   'sink.partition-commit.policy.kind' = 'success-file', 'sink.partition-commit.trigger' = 'partition-time', \
                   'partition.time-extractor.timestamp-pattern' = '$hour:00:00'); \
                   INSERT INTO out SELECT n, ts FROM made";
    let refused = nexmark(endless).expect_err("no partition would ever be complete").to_string();
    assert!(
        refused.contains("but table 'made' has no watermark, by which its partitions would be complete"),
        "{refused}"
    );
}

#[test]
fn hot_items_share_their_counts() {
    let sql = format!(
        "SELECT AuctionBids.auction, AuctionBids.num FROM (
            SELECT auction, count(*) AS num, window_start AS starttime, window_end AS endtime
            FROM {HOP} GROUP BY auction, window_start, window_end) AS AuctionBids
         JOIN (
            SELECT max(CountBids.num) AS maxn, CountBids.starttime, CountBids.endtime FROM (
                SELECT count(*) AS num, window_start AS starttime, window_end AS endtime
                FROM {HOP} GROUP BY auction, window_start, window_end) AS CountBids
            GROUP BY CountBids.starttime, CountBids.endtime) AS MaxBids
         ON AuctionBids.starttime = MaxBids.starttime AND AuctionBids.endtime = MaxBids.endtime
            AND AuctionBids.num >= MaxBids.maxn"
    );
    assert_snapshot!("q5", explained(nexmark(&sql)));
}

#[test]
fn highest_bid_joins_rows_with_their_windows_maximum() {
    let sql = format!(
        "SELECT B.auction, B.price, B.bidder, B.dateTime, B.extra FROM {TUMBLE} B
         JOIN (SELECT MAX(price) AS maxprice, window_start, window_end FROM {TUMBLE} GROUP BY window_start, window_end) M
         ON B.window_start = M.window_start AND B.window_end = M.window_end AND B.price = M.maxprice"
    );
    assert_snapshot!("q7", explained(nexmark(&sql)));
}

#[test]
fn new_users_join_by_comma_and_condition() {
    let sql = "SELECT P.id, P.name, P.starttime FROM (
            SELECT P.id, P.name, window_start AS starttime, window_end AS endtime
            FROM TABLE(TUMBLE(TABLE person, DESCRIPTOR(dateTime), INTERVAL '10' SECOND)) P
            GROUP BY P.id, P.name, window_start, window_end) P, (
            SELECT A.seller, window_start AS starttime, window_end AS endtime
            FROM TABLE(TUMBLE(TABLE auction, DESCRIPTOR(dateTime), INTERVAL '10' SECOND)) A
            GROUP BY A.seller, window_start, window_end) A
        WHERE P.id = A.seller AND P.starttime = A.starttime AND P.endtime = A.endtime";
    assert_snapshot!("q8", explained(nexmark(sql)));
}

#[test]
fn keyed_counts_are_pre_aggregated_unless_told_not_to_be() {
    let sql =
        format!("SELECT auction, count(*) AS n, window_end FROM {TUMBLE} GROUP BY auction, window_start, window_end");
    assert_snapshot!("two_phase_auto", explained(nexmark(&sql)));
    assert_snapshot!("two_phase_never", explained(nexmark(&format!("SET 'optimizer.two-phase' = 'never'; {sql}"))));
}

#[test]
fn what_cannot_or_need_not_be_merged_has_one_phase() {
    let of = |calls: &str| {
        explained(nexmark(&format!("SELECT auction, {calls} FROM {TUMBLE} GROUP BY auction, window_end")))
    };
    assert!(!of("count(DISTINCT bidder)").contains("(local)"));
    assert!(!of("first_value(price ORDER BY dateTime)").contains("(local)"));
    assert!(!of("percentile_cont(0.5) WITHIN GROUP (ORDER BY price)").contains("(local)"));
    assert!(of("avg(price), count(*) FILTER (WHERE price > 3)").contains("(local)"));
}

#[test]
fn windows_of_more_slides_than_a_slide_has_microseconds_have_one_phase() {
    let of = |slide: &str, size: &str| {
        let hop =
            format!("TABLE(HOP(TABLE bid, DESCRIPTOR(dateTime), INTERVAL {slide} SECOND, INTERVAL {size} SECOND))");
        explained(nexmark(&format!("SELECT auction, count(*) FROM {hop} GROUP BY auction, window_start, window_end")))
    };
    assert!(of("'0.001'", "'1'").contains("(local)"));
    assert!(!of("'0.001'", "'2'").contains("(local)"));
}

#[test]
fn a_source_with_an_idle_timeout_is_not_pre_aggregated() {
    let table = |options: &str| {
        format!(
            "CREATE TABLE t (a INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen'{options});
             SET 'optimizer.two-phase' = 'always';
             SELECT a, count(*) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY a, window_end;"
        )
    };
    assert!(explained(plan_text(&table(""))).contains("(local)"));
    assert!(!explained(plan_text(&table(", 'scan.watermark.idle-timeout' = '5 s'"))).contains("(local)"));
}

/// A watched directory is idle between two files.
#[test]
fn a_directory_that_is_watched_is_not_pre_aggregated() {
    let local = |options: &str| {
        let sql = format!(
            "CREATE TABLE t (a INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
               WITH ('connector' = 'filesystem', 'path' = '/data', 'format' = 'json'{options});
             SET 'optimizer.two-phase' = 'always';
             SELECT a, count(*) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY a, window_end;"
        );
        explained(plan_text(&sql)).contains("(local)")
    };
    assert!(local(""));
    assert!(!local(", 'source.monitor-interval' = '5 s'"));
}

/// A reader of records without names knows a column by its place among all that the table declares.
#[test]
fn readers_know_all_columns_where_records_have_no_names() {
    let known = |format: &str| {
        let sql = format!(
            "CREATE TABLE t (a INT, b INT, c AS a + b) WITH ('connector' = 'filesystem', 'path' = '/data', 'format' = '{format}');
             SELECT b FROM t"
        );
        let graph = plan_text(&sql).expect("planned").graph.expect("a query");
        let (_, source) = graph.sources().next().expect("a source");
        assert_eq!(source.physical.fields().len(), 1, "the query uses one");
        source.physical.metadata().get(TABLE_COLUMNS).cloned()
    };
    assert_eq!(known("csv").as_deref(), Some(r#"["a","b"]"#));
    assert_eq!((known("json"), known("parquet")), (None, None));
}

#[test]
fn every_window_that_a_join_names_is_equal_in_its_rows() {
    let sql = format!(
        "CREATE VIEW a AS SELECT auction AS k, sum(price) AS v, window_start AS ws0, window_end AS we0, window_time AS rt
           FROM {TUMBLE} GROUP BY auction, window_start, window_end, window_time;
         CREATE VIEW b AS SELECT * FROM TABLE(TUMBLE(TABLE a, DESCRIPTOR(rt), INTERVAL '1' HOUR));
         SELECT x.v, y.v AS v2 FROM b x JOIN b y ON x.k = y.k AND x.window_start = y.window_start
           AND x.window_end = y.window_end AND x.ws0 = y.ws0 AND x.we0 = y.we0"
    );
    assert_snapshot!("join_of_windows_in_windows", explained(nexmark(&sql)));
}

/// Rows are routed by the hash of their keys. Equal values of different types have different hashes.
#[test]
fn both_sides_of_a_join_have_keys_of_one_type() {
    use arrow::datatypes::DataType;
    let keys = |left: &str, right: &str| -> Vec<DataType> {
        let table = |name: &str, key: &str| {
            format!(
                "CREATE TABLE {name} (k {key}, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
                   WITH ('connector' = 'filesystem', 'path' = '/data', 'format' = 'json');"
            )
        };
        let windowed = |name: &str| format!("TABLE(TUMBLE(TABLE {name}, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) {name}");
        let sql = format!(
            "{} {} SELECT l.k AS one, r.k AS other FROM {} JOIN {}
               ON l.window_start = r.window_start AND l.window_end = r.window_end AND l.k = r.k",
            table("l", left),
            table("r", right),
            windowed("l"),
            windowed("r")
        );
        let graph = plan_text(&sql).unwrap_or_else(|error| panic!("{left} = {right}: {error}")).graph.expect("a query");
        super::checker::check(&graph);
        let mut joins = graph.operators.iter().filter_map(|operator| match &operator.kind {
            OperatorKind::WindowJoin(join) => Some((operator.id, join)),
            _ => None,
        });
        let (id, join) = joins.next().expect("there is a join");
        let sides = [(0, &join.left_keys), (1, &join.right_keys)].map(|(port, keys)| {
            let mut edges = graph.inputs(id).filter(|edge| edge.port == port);
            let hash = thalweg_types::graph::Distribution::Hash { keys: keys.clone() };
            assert!(edges.all(|edge| edge.distribution == hash), "rows are routed by the keys");
            let input = graph.input_schema(id, port).expect("it is fed");
            keys.iter().map(|key| input.field(*key).data_type().clone()).collect::<Vec<_>>()
        });
        assert_eq!(sides[0], sides[1], "{left} = {right}");
        sides[0].clone()
    };
    assert_eq!(keys("INT", "BIGINT"), [DataType::Int64]);
    assert_eq!(keys("DOUBLE", "INT"), [DataType::Float64]);
    assert_eq!(keys("DECIMAL(10, 2)", "DECIMAL(12, 4)"), [DataType::Decimal128(12, 4)]);
}

#[test]
fn aggregates_of_one_window_stack() {
    let sql = format!(
        "WITH counts AS (SELECT auction, count(*) AS n, window_start, window_end FROM {HOP} GROUP BY auction, window_start, window_end)
         SELECT window_start, window_end, max(n) AS most FROM counts GROUP BY window_start, window_end"
    );
    assert_snapshot!("cascaded_same_window", explained(nexmark(&sql)));
}

#[test]
fn windows_stack_by_their_time() {
    let sql = format!(
        "CREATE VIEW small AS SELECT window_time AS rowtime, sum(price) AS total FROM {TUMBLE} GROUP BY window_start, window_end, window_time;
         SELECT window_start, window_end, sum(total) FROM TABLE(TUMBLE(TABLE small, DESCRIPTOR(rowtime), INTERVAL '1' MINUTE))
         GROUP BY window_start, window_end"
    );
    assert_snapshot!("cascaded_larger_window", explained(nexmark(&sql)));
}

#[test]
fn top_n_takes_its_limit_from_the_query_above() {
    let sql = |condition: &str| {
        format!(
            "SELECT auction, price, place FROM (
                SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, auction ORDER BY price DESC) AS place FROM {TUMBLE})
             WHERE {condition}"
        )
    };
    assert_snapshot!("top_n", explained(nexmark(&sql("place <= 3"))));
    assert!(explained(nexmark(&sql("4 > place AND price > 7"))).contains("WindowTopN 3 "));
    assert!(explained(nexmark(&sql("place BETWEEN 2 AND 5"))).contains("where row_number >= 2"));
}

#[test]
fn every_window_function_is_taken_over_by_its_aggregate() {
    let sql = |function: &str, keys: &str| {
        format!("SELECT {keys} count(*), window_end FROM TABLE({function}) GROUP BY {keys} window_start, window_end")
    };
    let cumulate = "CUMULATE(DATA => TABLE bid, TIMECOL => DESCRIPTOR(dateTime), STEP => INTERVAL '2' SECOND, SIZE => INTERVAL '10' SECOND)";
    let session = "SESSION(TABLE bid PARTITION BY bidder, auction, DESCRIPTOR(dateTime), INTERVAL '10' SECOND)";
    assert_snapshot!("cumulate", explained(nexmark(&sql(cumulate, ""))));
    assert_snapshot!("session", explained(nexmark(&sql(session, "bidder, auction,"))));
}

#[test]
fn conditions_on_whole_windows_are_applied_after_the_aggregate() {
    let sql = format!(
        "SELECT * FROM (SELECT auction, count(*) AS n, window_start FROM {HOP} GROUP BY auction, window_start, window_end)
         WHERE window_start > TIMESTAMP '2026-01-01 00:00:00' AND n > 3 AND auction > 7"
    );
    assert_snapshot!("window_condition", explained(nexmark(&sql)));
}

#[test]
fn unions_feed_one_port_and_keep_their_watermark() {
    let sql = "CREATE VIEW both_kinds AS SELECT auction AS id, dateTime FROM bid UNION ALL SELECT id, dateTime FROM auction;
        SELECT id, window_start, count(*) FROM TABLE(TUMBLE(TABLE both_kinds, DESCRIPTOR(dateTime), INTERVAL '10' SECOND))
        GROUP BY id, window_start, window_end";
    assert_snapshot!("union", explained(nexmark(sql)));
    assert_snapshot!(
        "union_of_equals",
        explained(nexmark("SELECT auction FROM bid UNION ALL SELECT auction FROM bid"))
    );
}

#[test]
fn a_statement_set_reads_its_table_once() {
    let sql = format!(
        "CREATE TABLE cheap (auction BIGINT, price DECIMAL(23, 3)) WITH ('connector' = 'blackhole');
         CREATE TABLE counts (window_end TIMESTAMP(3), n BIGINT NOT NULL, note STRING) WITH ('connector' = 'print');
         BEGIN STATEMENT SET;
         INSERT INTO cheap SELECT auction, price FROM bid WHERE price < 10;
         INSERT INTO counts (n, window_end) SELECT count(*), window_end FROM {TUMBLE} GROUP BY window_start, window_end;
         END;"
    );
    assert_snapshot!("statement_set", explained(nexmark(&sql)));
}

#[test]
fn only_conditions_of_every_scan_are_pushed_to_the_reader() {
    let table =
        "CREATE TABLE t (a INT, b ROW<x DOUBLE, y STRING>, c STRING, big DOUBLE) WITH ('connector' = 'datagen');";
    let predicates = |sql: &str| {
        let planned = plan_text(&format!("{table}{sql}")).unwrap_or_else(|error| panic!("{error}"));
        let graph = planned.graph.expect("a query has a graph");
        let sources = graph.operators.iter().filter_map(|operator| match &operator.kind {
            OperatorKind::Source(source) => {
                Some(source.predicates.iter().map(|p| (p.path.join("."), p.comparison)).collect())
            }
            _ => None,
        });
        sources.collect::<Vec<Vec<_>>>()
    };
    let both = vec![vec![("a".to_owned(), Comparison::Greater)]];
    assert_eq!(predicates("SELECT c FROM t WHERE a > 3 AND c = 'x'; SELECT b.x FROM t WHERE a > 3"), both);
    assert_eq!(predicates("SELECT c FROM t WHERE a > 3; SELECT a FROM t"), vec![vec![]]);
    let nested = vec![vec![("b.x".to_owned(), Comparison::LessOrEqual), ("b.y".to_owned(), Comparison::IsNotNull)]];
    assert_eq!(predicates("SELECT a FROM t WHERE 0.5 >= b.x AND b.y IS NOT NULL AND abs(a) = 3"), nested);
}

#[test]
fn structs_are_read_as_far_as_they_are_used() {
    let plan = explained(nexmark("SELECT person.name FROM nexmark WHERE auction IS NULL AND person.city = 'x'"));
    assert!(plan.contains("Source nexmark (nexmark): person<name, city>, auction<id> "), "{plan}");
    let whole = explained(nexmark("SELECT person, person.name FROM nexmark"));
    assert!(whole.contains("person<id, name, emailAddress, creditCard, city, state, dateTime, extra>"), "{whole}");
}

#[test]
fn a_count_of_rows_reads_the_cheapest_column() {
    let plan =
        explained(plan_text("CREATE TABLE t (s STRING, n INT) WITH ('connector' = 'datagen'); SELECT 1 AS one FROM t"));
    assert!(plan.contains("Source t (datagen): n "), "{plan}");
}

#[test]
fn computed_columns_are_made_by_the_source() {
    let sql =
        "CREATE TABLE t (ms BIGINT, page STRING, at AS TO_TIMESTAMP_MILLIS(ms), area AS UPPER(page), unused AS ms + 1,
            WATERMARK FOR at AS at - INTERVAL '5' SECOND) WITH ('connector' = 'datagen');
        SELECT window_start, area, count(*) AS n FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(at), INTERVAL '20' SECOND))
        GROUP BY window_start, window_end, area";
    assert_snapshot!("computed_columns", explained(plan_text(sql)));
}

#[test]
fn doubles_are_compared_as_doubles_and_decimals_stay_exact() {
    let sql = "CREATE TABLE t (d DOUBLE, n BIGINT, m DECIMAL(10, 2)) WITH ('connector' = 'datagen');
        SELECT CASE WHEN d > 0.1 THEN d ELSE 0.0 END AS a, d BETWEEN 0.5 AND 1.5 AS b, COALESCE(d, 0.5) AS c, d < m AS e,
            n * 0.5 AS f, m - 0.01 AS g FROM t WHERE d IN (0.5, 1.5)";
    assert_snapshot!("floats_and_decimals", explained(plan_text(sql)));
}

#[test]
fn is_not_distinct_from_binds_tighter_than_and() {
    let of = |condition: &str| explained(nexmark(&format!("SELECT auction FROM bid WHERE {condition}")));
    assert_eq!(
        of("auction IS NOT DISTINCT FROM bidder AND price > 3"),
        of("(auction IS NOT DISTINCT FROM bidder) AND price > 3")
    );
    assert_eq!(
        of("auction IS DISTINCT FROM bidder + 1 OR price > 3"),
        of("(auction IS DISTINCT FROM (bidder + 1)) OR price > 3")
    );
    assert!(of("auction IS NOT NULL AND (channel = 'x') IS TRUE").contains("IS NOT NULL"));
}

#[test]
fn numbers_of_different_width_and_times_as_text_still_mix() {
    let types = |query: &str| {
        let table =
            "CREATE TABLE t (i INT, n BIGINT, d DOUBLE, s STRING, ts TIMESTAMP(3)) WITH ('connector' = 'datagen');";
        let planned = plan_text(&format!("{table}{query}")).unwrap_or_else(|error| panic!("{error}"));
        let fields = planned.queries[0].schema.fields().clone();
        fields.iter().map(|field| thalweg_functions::names::sql_type(field.data_type())).collect::<Vec<_>>()
    };
    assert_eq!(types("SELECT n AS x, i AS y FROM t UNION ALL SELECT d, n FROM t"), ["DOUBLE", "BIGINT"]);
    assert_eq!(types("SELECT CASE WHEN i > 1.5 THEN n ELSE d END, COALESCE(i, n) FROM t"), ["DOUBLE", "BIGINT"]);
    assert_eq!(types("SELECT NULL AS x, s FROM t UNION ALL SELECT n, NULL FROM t"), ["BIGINT", "STRING"]);
    assert_eq!(types("SELECT n FROM t WHERE ts > '2026-01-01 00:00:00' AND s IN ('a', NULL) AND n = d"), ["BIGINT"]);
}

#[test]
fn unnamed_columns_are_called_by_path_or_text() {
    let planned = nexmark("SELECT bid.price, bid.price + 1, count(*) FROM (SELECT bid, 1 AS one FROM nexmark)");
    assert!(planned.is_err(), "an aggregate over the whole stream");
    let planned = nexmark("SELECT bid.price, bid.price + 1 FROM nexmark").unwrap_or_else(|error| panic!("{error}"));
    let names: Vec<&str> = planned.queries[0].schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["price", "bid.price + 1"]);
}

#[test]
fn settings_of_the_caller_win() {
    let overrides = BTreeMap::from([("parallelism.default".to_owned(), "3".to_owned())]);
    let script = format!("{NEXMARK} SET 'parallelism.default' = '2'; SET 'job.name' = 'q'; SELECT auction FROM bid;");
    let planned = crate::plan(&script, &overrides).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(planned.settings.parallelism, Some(3));
    let graph = planned.graph.expect("a query has a graph");
    assert_eq!(graph.settings.get("parallelism.default").map(String::as_str), Some("3"));
    assert_eq!(graph.settings.get("job.name").map(String::as_str), Some("q"));
}

#[test]
fn tables_of_one_name_after_another_are_two() {
    let table = |columns: &str, path: &str| {
        format!("CREATE TABLE g ({columns}) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'json');")
    };
    let script = format!(
        "{} SELECT i FROM g; CREATE VIEW v AS SELECT i FROM g; DROP TABLE g; {} SELECT i, j FROM g; SELECT i + 1 AS k FROM v; \
         INSERT INTO g SELECT i, i FROM v; DROP TABLE g; {} INSERT INTO g SELECT i FROM v",
        table("i INT", "/a"),
        table("i INT, j INT", "/b"),
        table("i INT", "/c"),
    );
    let graph = plan_text(&script).expect("planned").graph.expect("a query");
    let connectors = graph.operators.iter().filter_map(|operator| match &operator.kind {
        OperatorKind::Source(source) => Some(("source", &source.connector)),
        OperatorKind::Sink(sink) => Some(("sink", &sink.connector)),
        _ => None,
    });
    let paths: Vec<_> = connectors.map(|(what, connector)| (what, connector.option("path").unwrap_or(""))).collect();
    assert_eq!(paths, [("source", "/a"), ("source", "/b"), ("sink", "/b"), ("sink", "/c")]);
}
