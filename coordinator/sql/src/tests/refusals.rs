//! What is refused, with its place and advice.

use super::{explained, nexmark, plan_text};

const TUMBLE: &str = "TABLE(TUMBLE(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '10' SECOND))";
/// The line of the script on which the statement under test begins.
const LINES: u64 = 6;

#[track_caller]
pub(super) fn refused(sql: &str, column: u64, words: &str) {
    refused_at(sql, 1, column, words);
}

#[track_caller]
pub(super) fn refused_at(sql: &str, line: u64, column: u64, words: &str) {
    let error = match nexmark(sql) {
        Ok(planned) => panic!("{sql} was planned: {:?}", planned.graph.map(|graph| crate::explain(&graph))),
        Err(error) => error,
    };
    let text = error.to_string();
    assert!(text.contains(words), "{sql}\n  gives: {text}\n  not: {words}");
    assert_eq!((error.line, error.column), (Some(LINES + line - 1), Some(column)), "{sql}\n  gives: {text}");
}

#[test]
fn what_needs_an_end_is_refused_where_it_stands() {
    refused("SELECT DISTINCT auction FROM bid", 8, "SELECT DISTINCT");
    refused("SELECT auction FROM bid ORDER BY auction", 25, "ORDER BY needs an end of its input, and table 'nexmark'");
    refused_at("SELECT auction FROM bid\nLIMIT 3", 2, 1, "LIMIT needs an end of its input");
    refused("SELECT auction FROM bid OFFSET 3", 25, "OFFSET needs an end of its input");
    refused("SELECT auction FROM bid FETCH FIRST 1 ROWS ONLY", 25, "FETCH needs an end");
    refused("SELECT auction FROM bid FETCH FIRST ROW ONLY", 25, "give it 'events.num'");
    refused("SELECT auction FROM bid UNION SELECT id FROM auction", 25, "UNION ALL");
    refused("SELECT auction FROM bid EXCEPT SELECT id FROM auction", 25, "EXCEPT");
    refused("SELECT auction, count(*) FROM bid GROUP BY auction", 35, "GROUP BY without a window");
    refused("SELECT count(*) FROM bid", 8, "an aggregate over the whole stream");
    refused("SELECT auction FROM bid EMIT CHANGES", 25, "EMIT");
}

#[test]
fn words_of_sql_that_are_meant_as_names_are_to_be_quoted() {
    refused("SELECT user FROM bid", 8, "if it is a name, quote it: `user`");
    refused("SELECT auction FROM select", 21, "quote it: `select`");
}

#[test]
fn joins_need_equal_windows() {
    refused("SELECT 1 FROM auction A JOIN person P ON A.seller = P.id", 25, "without equal windows");
    refused("SELECT 1 FROM auction A LEFT JOIN person P ON A.seller = P.id", 25, "LEFT JOIN");
    refused("SELECT 1 FROM auction A FULL OUTER JOIN person P ON A.seller = P.id", 25, "FULL JOIN");
    refused("SELECT 1 FROM auction, person", 10, "without equal windows");
    let other = "TABLE(TUMBLE(TABLE auction, DESCRIPTOR(dateTime), INTERVAL '20' SECOND))";
    let sql = format!(
        "SELECT 1 FROM (SELECT * FROM {TUMBLE}) L JOIN (SELECT * FROM {other}) R ON L.window_end = R.window_end"
    );
    refused(&sql, 102, "without equal windows");
    refused("SELECT * FROM bid FOR SYSTEM_TIME AS OF dateTime", 19, "FOR SYSTEM_TIME");
}

#[test]
fn windows_that_have_closed_group_nothing() {
    let views = format!(
        "CREATE VIEW a AS SELECT auction AS k, sum(price) AS v, window_start AS ws0, window_end AS we0, window_time AS rt
         FROM {TUMBLE} GROUP BY auction, window_start, window_end, window_time;
         CREATE VIEW b AS SELECT * FROM TABLE(TUMBLE(TABLE a, DESCRIPTOR(rt), INTERVAL '1' HOUR));"
    );
    let join = "(SELECT x.ws0, x.we0, y.v FROM b x JOIN b y ON x.k = y.k AND x.window_start = y.window_start AND x.window_end = y.window_end)";
    let sql = format!("{views}\nSELECT ws0, sum(v) FROM {join}\nGROUP BY ws0, we0");
    refused_at(&sql, 5, 1, "GROUP BY without a window");
    let top = "(SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY v DESC) AS rn FROM b)";
    let sql = format!("{views}\nSELECT ws0, sum(v) FROM {top} WHERE rn <= 3\nGROUP BY ws0, we0");
    refused_at(&sql, 5, 1, "GROUP BY without a window");
    let largest = "(SELECT ws0, we0, max(v) AS v FROM b GROUP BY window_start, window_end, ws0, we0)";
    let sql = format!("{views}\nSELECT ws0, sum(v) FROM {largest}\nGROUP BY ws0, we0");
    refused_at(&sql, 5, 1, "GROUP BY without a window");
    // Below the window made over them, the smaller windows are still open.
    let sql = format!("{views} SELECT ws0, sum(v) FROM b GROUP BY ws0, we0");
    assert!(nexmark(&sql).is_ok(), "{:?}", nexmark(&sql));
}

#[test]
fn rows_are_in_so_many_windows_at_most() {
    let of = |function: &str, size: &str| {
        format!(
            "SELECT count(*) FROM TABLE(\n{function}(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '0.001' SECOND, INTERVAL '{size}' SECOND)) GROUP BY window_start, window_end"
        )
    };
    refused_at(&of("HOP", "86400"), 2, 1, "a row would be in 86400000 windows, and at most 10000 are supported");
    refused_at(&of("HOP", "86400"), 2, 1, "take a longer slide");
    refused_at(&of("CUMULATE", "10.001"), 2, 1, "10001 windows");
    assert!(nexmark(&of("HOP", "10")).is_ok());
    assert!(nexmark(&of("CUMULATE", "10")).is_ok());
}

#[test]
fn queries_that_do_not_unite_are_refused_where_they_differ() {
    let two = "SELECT auction FROM bid UNION ALL";
    refused(&format!("{two} SELECT 'x' FROM bid"), 25, "BIGINT in one query and STRING in another");
    refused(
        &format!("{two} SELECT id FROM person UNION ALL SELECT 'x' FROM bid"),
        57,
        "BIGINT in one query and STRING",
    );
    refused(&format!("{two} SELECT 'x' FROM person UNION ALL SELECT id FROM person"), 25, "column 'auction'");
    refused(&format!("{two} SELECT bid FROM nexmark"), 42, "BIGINT in one query and ROW<");
    refused(&format!("{two} SELECT ARRAY['x'] FROM bid"), 25, "BIGINT in one query and ARRAY<STRING>");
    refused(&format!("{two} SELECT auction, url FROM bid"), 25, "UNION queries have different number of columns");
    refused(
        &format!("{two} SELECT id FROM person UNION ALL SELECT id, name FROM person"),
        57,
        "UNION queries have different number of columns",
    );
    refused(&format!("{two} SELECT * FROM bid"), 25, "UNION queries have different number of columns");
}

#[test]
fn types_of_unlike_families_do_not_mix() {
    refused("SELECT auction AS v FROM bid UNION ALL SELECT url FROM bid", 47, "column 'v' of UNION ALL is BIGINT");
    refused("SELECT 1 FROM bid WHERE auction = channel", 25, "BIGINT cannot be compared with STRING");
    refused("SELECT 1 FROM bid WHERE channel < 10", 25, "STRING cannot be compared with INT: CAST one of them");
    refused("SELECT 1 FROM bid WHERE auction IN (1, '2')", 25, "BIGINT cannot be compared with STRING");
    refused("SELECT 1 FROM bid WHERE price BETWEEN '1' AND '2'", 25, "cannot be compared");
    refused("SELECT 1 FROM bid WHERE dateTime > 5", 25, "TIMESTAMP(3) cannot be compared with INT");
    refused("SELECT CASE channel WHEN 1 THEN 2 END FROM bid", 13, "cannot be compared");
    refused("SELECT CASE WHEN price > 3 THEN price ELSE url END FROM bid", 33, "cannot both be results");
    refused("SELECT COALESCE(url, price) FROM bid", 17, "STRING and BIGINT cannot both be results");
    refused("SELECT GREATEST(dateTime, '2026-01-01') FROM bid", 8, "GREATEST(value, …)");
    refused(
        "CREATE TABLE x (a INT, b AS a = 'x') WITH ('connector' = 'datagen')",
        29,
        "INT cannot be compared with STRING",
    );
    let sides = format!("(SELECT * FROM {TUMBLE}) L JOIN (SELECT * FROM {TUMBLE}) R");
    refused_at(
        &format!(
            "SELECT 1 FROM {sides}\nON L.window_start = R.window_start AND L.window_end = R.window_end AND L.auction = R.url"
        ),
        2,
        72,
        "cannot be compared",
    );
}

#[test]
fn subqueries_and_exotic_clauses_are_refused() {
    refused("SELECT auction FROM bid WHERE auction IN (SELECT id FROM auction)", 43, "IN (SELECT");
    refused("SELECT auction FROM bid WHERE EXISTS (SELECT id FROM auction)", 39, "subquery");
    refused("SELECT (SELECT max(price) FROM bid) FROM bid", 9, "subquery");
    refused("SELECT auction, count(*) FROM bid GROUP BY GROUPING SETS ((auction), ())", 44, "GROUPING SETS");
    refused("SELECT auction, count(*) FROM bid GROUP BY CUBE (auction)", 44, "CUBE");
    refused(
        "SELECT * FROM nexmark MATCH_RECOGNIZE (PARTITION BY a ORDER BY b MEASURES c AS d PATTERN (A) DEFINE A AS A.x > 1)",
        23,
        "MATCH_RECOGNIZE",
    );
    refused("SELECT * FROM bid CROSS JOIN UNNEST(ARRAY[1, 2])", 30, "UNNEST");
    refused("WITH RECURSIVE x AS (SELECT 1) SELECT * FROM x", 1, "WITH RECURSIVE");
    refused("SELECT auction FROM bid TABLESAMPLE BERNOULLI (10)", 25, "TABLESAMPLE");
    refused("SELECT auction FROM bid, LATERAL f(auction)", 26, "LATERAL");
    refused("SELECT auction FROM bid FETCH FIRST 1 ROWS WITH TIES", 25, "WITH TIES is not supported");
    refused("SELECT auction FROM bid LIMIT -1", 25, "LIMIT takes a whole number from 0");
    refused("SELECT auction FROM bid OFFSET 1.5", 25, "OFFSET takes a whole number from 0");
    refused("SELECT auction FROM bid LIMIT 1 FETCH FIRST 2 ROWS ONLY", 33, "LIMIT or FETCH, not both");
    refused("SELECT 1 FROM auction A LEFT SEMI JOIN person P ON A.seller = P.id", 30, "SEMI JOIN is not supported");
    refused("SELECT dateTime + INTERVAL '1 02:03' DAY TO MINUTE FROM bid", 19, "INTERVAL with TO");
    refused("SELECT dateTime + INTERVAL '3000000000' DAY FROM bid", 19, "INTERVAL '3000000000' DAY is too large");
}

#[test]
fn what_the_planner_finds_is_told_in_the_words_of_sql() {
    refused("SELECT url FROM bid WHERE count(*) > 1", 21, "aggregate functions are not allowed in the WHERE clause");
    refused("SELECT url FROM bid WHERE price", 21, "WHERE needs a BOOLEAN, but 'bid.price' is BIGINT");
    refused("SELECT price, UPPER(price) FROM bid", 15, "function 'upper' does not take BIGINT");
    refused("SELECT price, UPPER() FROM bid", 15, "'upper' does not support zero arguments");
    refused(&format!("SELECT SUM(url) FROM {TUMBLE} GROUP BY window_end"), 8, "function 'sum' does not take STRING");
    refused(&format!("SELECT MAX(ARRAY[url]) FROM {TUMBLE} GROUP BY window_end"), 8, "'max' does not take ARRAY");
    refused("SELECT price + url FROM bid", 8, "BIGINT + STRING");
    refused("SELECT dateTime + 1 FROM bid", 8, "TIMESTAMP(3) + BIGINT");
    refused("SELECT price.a FROM bid", 1, "only ROWs and MAPs have fields, but BIGINT has none");
    refused("SELECT CASE WHEN price > 1 THEN 'a' ELSE 1 END FROM bid", 18, "STRING and INT cannot both be results");
}

#[test]
fn casts_that_would_cut_within_are_refused() {
    refused("SELECT price, CAST(NULL AS ARRAY<VARCHAR(2)>) FROM bid", 15, "which would cut what it holds");
    for whole in
        ["VARCHAR", "STRING", "TIMESTAMP(3)", "TIMESTAMP(9)", "VARCHAR(2)", "CHAR(30)", "TIMESTAMP(0)", "TIMESTAMP(4)"]
    {
        let planned = nexmark(&format!("SELECT CAST(dateTime AS {whole}) FROM bid"));
        assert!(planned.is_ok(), "{whole}: {planned:?}");
    }
    refused("SELECT * FROM TABLE(TUMBEL(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '1' DAY))", 21, "tumble");
}

#[test]
fn fields_of_any_expression_can_be_taken() {
    for path in ["(bid).price", "nexmark.bid.price", "ARRAY[bid][1].price", "ARRAY[bid][1]['price']"] {
        let planned = nexmark(&format!("SELECT {path} FROM nexmark"));
        assert!(planned.is_ok(), "{path}: {planned:?}");
    }
}

#[test]
fn older_group_windows_are_refused_with_what_replaces_them() {
    let hint = "SELECT window_start … FROM TABLE(HOP(TABLE t, …)) GROUP BY window_start, window_end";
    refused("SELECT HOP_END(dateTime, INTERVAL '1' DAY) FROM bid", 8, hint);
    let sql = "SELECT count(*) FROM bid GROUP BY TUMBLE(dateTime, INTERVAL '1' DAY)";
    refused(sql, 35, "TUMBLE is not supported here");
}

#[test]
fn what_differs_from_run_to_run_is_refused() {
    for call in ["now()", "CURRENT_TIMESTAMP", "random()", "uuid()", "PROCTIME()", "current_date()"] {
        refused(&format!("SELECT {call} FROM bid"), 8, "not supported");
    }
    refused(
        &format!("SELECT first_value(price) FROM {TUMBLE} GROUP BY window_end"),
        20,
        "first_value without ORDER BY",
    );
    refused(&format!("SELECT array_agg(price) FROM {TUMBLE} GROUP BY window_end"), 18, "array_agg without ORDER BY");
    refused(&format!("SELECT any_value(price) FROM {TUMBLE} GROUP BY window_end"), 8, "ANY_VALUE is not supported");
    refused("CREATE TABLE t (a INT, b AS random()) WITH ('connector' = 'datagen')", 29, "RANDOM");
}

#[test]
fn a_statement_behind_another_may_want_a_semicolon() {
    refused("SELECT auction FROM bid SELECT 1", 25, "is there a ';' missing before it?");
    refused("SELECT auction FROM bid WHERE price > 1 INSERT INTO x SELECT 1", 41, "is there a ';' missing before it?");
}

#[test]
fn rankings_must_be_a_top_n() {
    let over = |call: &str| {
        format!(
            "SELECT auction, {call} OVER (PARTITION BY window_start, window_end ORDER BY price) AS rn FROM {TUMBLE}"
        )
    };
    refused(&over("rank()"), 24, "ROW_NUMBER() only");
    refused(&over("row_number()"), 30, "needs a condition");
    refused(&format!("SELECT auction FROM ({}) WHERE rn > 3", over("row_number()")), 51, "needs a condition");
    refused("SELECT count(*) OVER () FROM bid", 17, "ROW_NUMBER() only");
    refused("SELECT sum(price) OVER (PARTITION BY auction ORDER BY dateTime) FROM bid", 19, "ROW_NUMBER() only");
    let keys =
        "SELECT 1 FROM (SELECT ROW_NUMBER() OVER (PARTITION BY auction ORDER BY price) AS rn FROM bid) WHERE rn = 1";
    refused(keys, 36, "without a window");
}

#[test]
fn window_functions_check_their_arguments() {
    let tumble = |arguments: &str| format!("SELECT * FROM TABLE(TUMBLE({arguments}))");
    refused(&tumble("TABLE bid, DESCRIPTOR(price), INTERVAL '1' DAY"), 50, "'price' is not an event-time column");
    refused(&tumble("TABLE bid, dateTime, INTERVAL '1' DAY"), 39, "DESCRIPTOR");
    refused(&tumble("TABLE bid, DESCRIPTOR(datetime), INTERVAL '1' DAY"), 50, "did you mean 'dateTime'?");
    refused(&tumble("TABLE bids, DESCRIPTOR(dateTime), INTERVAL '1' DAY"), 34, "did you mean 'bid'?");
    refused(&tumble("TABLE bid, DESCRIPTOR(dateTime), INTERVAL '1' MONTH"), 70, "interval of days or shorter");
    refused(&tumble("TABLE bid, DESCRIPTOR(dateTime), INTERVAL '10'"), 61, "needs a unit");
    refused(&tumble("TABLE bid, DESCRIPTOR(dateTime)"), 21, "size");
    let hop = "SELECT * FROM TABLE(HOP(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '10' SECOND, INTERVAL '2' SECOND))";
    refused(hop, 21, "multiple of the slide");
    let session = "TABLE(SESSION(TABLE bid PARTITION BY bidder, DESCRIPTOR(dateTime), INTERVAL '10' SECOND))";
    refused(&format!("SELECT bidder FROM {session}"), 26, "directly below GROUP BY");
    refused(&format!("SELECT count(*) FROM {session} GROUP BY auction, window_start, window_end"), 112, "PARTITION BY");
    refused(
        &format!("SELECT count(*) FROM {session} WHERE price > 3 GROUP BY bidder, window_start, window_end"),
        128,
        "between SESSION and GROUP BY",
    );
}

#[test]
fn unknown_names_come_with_a_suggestion() {
    refused("SELECT auctoin FROM bid", 8, "unknown column 'auctoin' (did you mean 'auction'?)");
    refused("SELECT auction FROM bids", 21, "unknown table 'bids' (did you mean 'bid'?)");
    refused("SELECT lowr(channel) FROM bid", 8, "unknown function 'lowr' (did you mean 'lower'?)");
    refused("SET 'paralellism.default' = '3'", 5, "did you mean 'parallelism.default'?");
    refused("SET 'parallelism.default' = 'x'", 5, "a whole number");
    refused("FOO BAR", 1, "FOO statements");
    refused("DESCRIBE bidd", 10, "did you mean 'bid'?");
    refused("DROP TABLE bid", 12, "'bid' is a view");
}

#[test]
fn options_are_checked_by_key_and_value() {
    refused("CREATE TABLE x (a INT) WITH ('connector' = 'filesytem')", 44, "did you mean 'filesystem'?");
    refused_at(
        "CREATE TABLE x (a INT) WITH (\n 'connector' = 'filesystem',\n 'pth' = 'x', 'format' = 'json')",
        3,
        2,
        "unknown option 'pth' of connector 'filesystem' (did you mean 'path'?)",
    );
    refused("CREATE TABLE x (a INT) WITH ('connector' = 'filesystem', 'format' = 'json')", 14, "needs option 'path'");
    refused("CREATE TABLE x (a INT) WITH ('connector' = 'stdin')", 14, "needs option 'format'");
    refused(
        "CREATE TABLE x (a INT) WITH ('connector' = 'stdin', 'formta' = 'json')",
        53,
        "unknown option 'formta' of connector 'stdin' (did you mean 'format'?)",
    );
    refused("CREATE TABLE x (a INT) WITH ('connector' = 'stdin', 'format' = 'jsn')", 64, "did you mean 'json'?");
    refused(
        "CREATE TABLE x (a INT) WITH ('connector' = 'stdin', 'format' = 'json', 'json.timestamp-fromat' = 'sql')",
        72,
        "unknown option 'json.timestamp-fromat' of format 'json' (did you mean 'json.timestamp-format'?)",
    );
    refused("CREATE TABLE x (a INT) WITH ('connector' = 'datagen', 'splits' = 'many')", 66, "a whole number");
    refused("CREATE TABLE x (a INT) WITH ('connector' = 'datagen', 'fields.b.min' = '3')", 55, "no column 'b'");
    refused("CREATE TABLE x (a INT) WITH ('connector' = 'datagen', 'seed' = '1', 'seed' = '2')", 69, "given twice");
    refused("CREATE TABLE x (a INT)", 14, "no 'connector' option");
}

#[test]
fn tables_that_find_their_splits_are_not_replayed() {
    let table = |watched: &str| {
        format!(
            "CREATE TABLE x (ts TIMESTAMP(3)) WITH ('connector' = 'filesystem', 'path' = 'x', 'format' = 'json',\n 'replay.column' = 'ts'{watched})"
        )
    };
    assert!(nexmark(&table("")).is_ok());
    let reason = "'replay.column' needs a table whose splits are known when the job begins, and this one finds further ones: \
                  leave its 'source.monitor-interval' out";
    refused_at(&table(", 'source.monitor-interval' = '1 s'"), 2, 2, reason);
}

#[test]
fn declarations_are_checked() {
    refused("CREATE TABLE x (a INT, b UUID) WITH ('connector' = 'datagen')", 26, "UUID");
    refused("CREATE TABLE x (a INT, a STRING) WITH ('connector' = 'datagen')", 24, "declared twice");
    refused("CREATE TABLE x (a INT, WATERMARK FOR b AS b) WITH ('connector' = 'datagen')", 38, "unknown column 'b'");
    refused(
        "CREATE TABLE x (a INT, WATERMARK FOR a AS a) WITH ('connector' = 'datagen')",
        38,
        "TIMESTAMP, but 'a' is INT",
    );
    refused("CREATE TABLE x (a INT, PRIMARY KEY (a)) WITH ('connector' = 'datagen')", 24, "NOT ENFORCED");
    refused("CREATE TABLE x (a INT METADATA) WITH ('connector' = 'datagen')", 23, "METADATA");
    refused(
        "CREATE TABLE x (bid ROW<prise BIGINT>) WITH ('connector' = 'nexmark')",
        21,
        "column 'bid' of connector 'nexmark'",
    );
    refused("CREATE TABLE x (bit INT) WITH ('connector' = 'nexmark')", 17, "did you mean 'bid'?");
    refused("CREATE VIEW bid AS SELECT 1 FROM nexmark", 13, "exists already");
    refused("CREATE VIEW v (a, b) AS SELECT auction FROM bid", 13, "2 columns are named");
}

#[test]
fn partitions_are_of_written_files() {
    let files = "WITH ('connector' = 'filesystem', 'path' = '/x', 'format' = 'json')";
    let of = |columns: &str, by: &str| format!("CREATE TABLE x ({columns}) PARTITIONED BY ({by}) {files}");
    for connector in ["datagen", "print", "blackhole"] {
        let sql = format!("CREATE TABLE x (a INT, b INT) PARTITIONED BY (a) WITH ('connector' = '{connector}')");
        refused(&sql, 31, &format!("PARTITIONED BY is not supported by connector '{connector}'"));
    }
    refused(&of("auction INT, b INT", "auctoin"), 53, "unknown column 'auctoin' (did you mean 'auction'?)");
    refused(&of("a INT, b INT", "a, b"), 31, "PARTITIONED BY all columns");
    refused(&of("a INT, b AS a + 1", "a"), 36, "PARTITIONED BY all columns");
    refused(&of("a INT, b AS ARRAY[a]", "b"), 55, "column 'b' is ARRAY<INT>, which cannot name a partition");
    refused(&of("a INT, b INT", "a, a"), 50, "column 'a' is named twice");
    refused(&of("a INT, b ARRAY<INT>", "b"), 54, "column 'b' is ARRAY<INT>, which cannot name a partition");
    refused(&of("a INT, b INT", ""), 47, "expected");
    let read = format!("{} SELECT b FROM\nx", of("a INT, b INT", "a") + ";");
    refused_at(&read, 2, 1, "table 'x' is PARTITIONED BY columns, and can be written only");
}

/// A record has its key's columns, so that such a table can have no others, none that are computed, and can be read.
#[test]
fn partitions_of_records_are_their_keys() {
    let stream = "WITH ('connector' = 'kinesis', 'stream' = 's', 'format' = 'json')";
    let of = |columns: &str, by: &str| format!("CREATE TABLE x ({columns}) PARTITIONED BY ({by}) {stream};");
    refused(&of("a INT, b ARRAY<INT>", "b"), 54, "column 'b' is ARRAY<INT>, which cannot name a partition");
    refused(&of("a INT, b AS a + 1", "b"), 52, "'b' is a computed column, which is not written");
    let script = format!("{} INSERT INTO x SELECT a, b FROM x", of("a INT, b STRING", "b, a"));
    let plan = explained(plan_text(&script));
    assert!(plan.contains("partitioned by b, a"), "{plan}");
    assert!(plan.contains("at least once"), "{plan}");
}

#[test]
fn numbers_of_streams_are_within_their_bounds() {
    for (option, value, words) in [
        ("sink.batch.max-size", "501", "expected a whole number from 1 to 500"),
        ("sink.requests.max-inflight", "0", "expected a whole number from 1 to 64"),
        ("source.shard.get-records.max-record-count", "10001", "expected a whole number from 1 to 10000"),
        ("source.shard.discovery.interval", "0 s", "expected a duration of 1 s or longer"),
        ("source.reader.empty-records-fetch-interval", "10 ms", "expected a duration of 200 ms or longer"),
        ("source.efo.subscription.timeout", "1 s", "expected a duration of 10 s or longer"),
        ("sink.flush-buffer.timeout", "5 min", "expected a duration of 60 s or shorter"),
        ("sink.aggregation.max-size", "2 MiB", "expected a size from 1 KiB to 1 MiB"),
    ] {
        let head = format!("CREATE TABLE x (a INT) WITH ('connector' = 'kinesis', 'stream' = 's', '{option}' = ");
        let column = head.chars().count() as u64 + 1;
        refused(&format!("{head}'{value}', 'format' = 'json')"), column, &format!("'{option}' = '{value}': {words}"));
    }
}

/// Nobody would notice that they say nothing.
#[test]
fn options_of_streams_that_do_not_count_are_refused() {
    let declared = |option: &str| {
        format!("CREATE TABLE x (a INT) WITH ('connector' = 'kinesis', 'stream' = 's', 'format' = 'json', {option});\n")
    };
    let late = declared("'source.init.timestamp' = '0'");
    let words = "table 'x' cannot be read: 'source.init.timestamp' needs 'source.init.position' = 'AT_TIMESTAMP'";
    refused_at(&format!("{late}SELECT a FROM x"), 2, 15, words);
    let key = declared("'aws.credentials.basic.secretkey' = secret('k')");
    let words = "cannot be written: 'aws.credentials.basic.secretkey' needs 'aws.credentials.provider' = 'BASIC'";
    refused_at(&format!("{key}INSERT INTO x VALUES (1)"), 2, 13, words);
}

#[test]
fn sources_and_sinks_are_not_confused() {
    let sink = "CREATE TABLE s (a INT, b STRING) WITH ('connector' = 'print');";
    let after = |sql: &str, column: u64, words: &str| refused(&format!("{sink} {sql}"), 63 + column, words);
    after("SELECT a FROM s", 15, "cannot be read");
    after("INSERT INTO nexmark SELECT * FROM nexmark", 13, "cannot be written");
    after("INSERT INTO bid SELECT * FROM bid", 13, "is a view");
    after("INSERT INTO z SELECT 1 FROM bid", 13, "unknown table 'z'");
    after("INSERT INTO s SELECT 1 FROM bid", 13, "has 2 columns, but the query gives 1");
    after("INSERT INTO s SELECT auction, channel FROM bid", 13, "'a' of table 's' is INT, but the query gives BIGINT");
    after("INSERT INTO s (c) SELECT channel FROM bid", 16, "no column 'c'");
    after("INSERT INTO s (b, b) SELECT channel, url FROM bid", 19, "named twice");
    after("INSERT OVERWRITE s SELECT 1, 'x' FROM bid", 8, "INSERT OVERWRITE");
}

#[test]
fn errors_of_the_tokenizer_and_parser_have_places() {
    refused("SELECT 'abc FROM bid", 8, "unterminated");
    refused("SELECT auction FROM bid WHERE", 30, "an expression");
    refused("SELECT auction bid, FROM WHERE", 26, "expected");
    let error = plan_text("SET 'a' = 'b'").expect_err("there is no such setting");
    assert_eq!((error.line, error.column), (Some(1), Some(5)));
}

#[test]
fn options_that_no_column_heeds_are_refused() {
    let refused = |option: &str, said: &str| {
        let table = format!(
            "CREATE TABLE t (i INT, s STRING, r ROW<b DOUBLE, c ROW<d INT>>, ts TIMESTAMP(3), twice AS i * 2) \
             WITH ('connector' = 'datagen', '{option}' = '1')"
        );
        match plan_text(&table) {
            Ok(_) => assert_eq!(said, "", "{option}"),
            Err(error) => assert!(error.to_string().contains(said) && !said.is_empty(), "{option}: {error}"),
        }
    };
    for option in ["fields.i.min", "fields.r.b.max", "fields.r.c.d.min", "fields.r.null-rate", "fields.ts.max-past"] {
        refused(option, "");
    }
    refused("fields.i.mni", "what there is of INT is kind, min, max, start, end, null-rate (did you mean 'min'?)");
    refused("fields.i.knid", "did you mean 'kind'?");
    refused("fields.i.length", "what there is of INT is");
    refused("fields.s.min", "what there is of STRING is");
    refused("fields.r.min", "what there is of ROW<");
    refused("fields.r.e.min", "there is no field of 'r' named 'e'");
    refused("fields.r.c.e.min", "there is no field of 'c' named 'e'");
    refused("fields.twice.min", "there is no column 'twice'");
    refused("fields.i", "it names column 'i', and nothing of it");
}

#[test]
fn watermarks_ahead_of_their_column_are_refused() {
    let refused = |watermark: &str, said: &str| {
        let table = format!(
            "CREATE TABLE t (i INT, ts TIMESTAMP(3), WATERMARK FOR ts AS {watermark}) WITH ('connector' = 'datagen')"
        );
        match plan_text(&table) {
            Ok(_) => assert_eq!(said, "", "{watermark}"),
            Err(error) => assert!(error.message.contains(said) && !said.is_empty(), "{watermark}: {error}"),
        }
    };
    for watermark in ["ts", "ts - INTERVAL '5' SECOND", "ts + INTERVAL '5' SECOND - INTERVAL '6' SECOND"] {
        refused(watermark, "");
    }
    for ahead in ["ts - INTERVAL '-5' SECOND", "ts + INTERVAL '5' SECOND", "INTERVAL '5' SECOND + ts"] {
        refused(ahead, "a watermark cannot be ahead of its column");
    }
    refused("TIMESTAMP '2026-01-01 00:00:00'", "a watermark must be computed from its column");
}

#[test]
fn statement_sets_have_inserts_and_an_end() {
    let table =
        "CREATE TABLE t (i INT) WITH ('connector' = 'datagen'); CREATE TABLE u (i INT) WITH ('connector' = 'print');";
    let insert = "INSERT INTO u SELECT i FROM t;";
    let planned = |set: &str| plan_text(&format!("{table}{set}")).map(|_| ()).map_err(|error| error.to_string());
    for begin in ["BEGIN STATEMENT SET;", "EXECUTE STATEMENT SET BEGIN"] {
        assert_eq!(planned(&format!("{begin} {insert} {insert} END; SELECT i FROM t")), Ok(()));
        for (set, said) in [
            (format!("{begin} {insert}"), "this STATEMENT SET has no END"),
            (
                format!("{begin} {insert} SELECT i FROM t; END;"),
                "a STATEMENT SET has no other statements than INSERT INTO",
            ),
            (format!("{begin} {insert} {begin} {insert} END; END;"), "a STATEMENT SET within another"),
        ] {
            let error = planned(&set).expect_err("it is refused");
            assert!(error.contains(said) && error.starts_with("line 1, column "), "{set}: {error}");
        }
    }
    assert!(planned(&format!("{insert} END;")).expect_err("no set").contains("END without BEGIN STATEMENT SET"));
}

#[test]
fn empty_paths_are_refused() {
    for path in ["", "  "] {
        for key in ["error.path", "late.path"] {
            let error = plan_text(&format!("SET '{key}' = '{path}'")).expect_err("it is empty").to_string();
            let refused = format!("setting '{key}' is empty: name a directory, or leave the setting out");
            assert_eq!(error, format!("line 1, column 5: {refused}"));
            let given = std::collections::BTreeMap::from([(key.to_owned(), path.to_owned())]);
            assert_eq!(crate::plan("SELECT 1", &given).expect_err("it is empty").to_string(), refused);
        }
        let table =
            format!("CREATE TABLE t (i INT) WITH ('connector' = 'filesystem', 'format' = 'json', 'path' = '{path}')");
        assert!(plan_text(&table).expect_err("it is empty").message.contains("option 'path' is empty"));
    }
}
