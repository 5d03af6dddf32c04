//! Tables that are asked for their newest rows.

use thalweg_types::graph::{Distribution, Parallelism};

use super::{explained, plan_text};

const CLICKS: &str = "CREATE TABLE clicks (category STRING, product STRING, n BIGINT, ts TIMESTAMP(3), \
     WATERMARK FOR ts AS ts - INTERVAL '1' SECOND) \
     WITH ('connector' = 'filesystem', 'path' = '/in', 'format' = 'json');";

fn script(columns: &str, options: &str, select: &str) -> String {
    format!(
        "{CLICKS} CREATE TABLE top ({columns}) WITH ('connector' = 'queryable'{options}); INSERT INTO top {select};"
    )
}

const COLUMNS: &str = "n BIGINT, category STRING, product STRING, PRIMARY KEY (category, product) NOT ENFORCED";

#[test]
fn rows_of_a_key_come_to_one_subtask_and_the_key_is_not_null() {
    let planned = plan_text(&script(COLUMNS, ", 'ttl' = '2 h'", "SELECT n, category, product FROM clicks"));
    let graph = planned.as_ref().expect("it can be planned").graph.clone().expect("it has a query");
    let (id, sink) = graph.sinks().next().expect("a sink");
    assert_eq!(sink.table_key(), Some(&[1, 2][..]));
    let edge = graph.inputs(id).next().expect("an input");
    assert_eq!(edge.distribution, Distribution::Hash { keys: vec![1, 2] });
    let operator = graph.operator(id);
    assert_eq!(operator.parallelism, Parallelism::Job);
    let nullable: Vec<bool> = operator.output.fields().iter().map(|field| field.is_nullable()).collect();
    assert_eq!(nullable, [true, false, false]);
    let text = explained(planned);
    let first = text.lines().next().expect("a line");
    assert!(
        first.contains("Sink top (queryable) newest by category, product, kept for 2 h: n, category, product"),
        "{text}"
    );
    assert!(text.contains("watermark ts"), "the rows end by it: {text}");
    let without = explained(plan_text(&script(COLUMNS, "", "SELECT n, category, product FROM clicks")));
    assert!(without.contains("newest by category, product: n") && !without.contains("watermark"), "{without}");
}

#[test]
fn a_key_by_each_column_alone_is_one_too() {
    let columns = "n BIGINT PRIMARY KEY NOT ENFORCED, category STRING";
    let text = explained(plan_text(&script(columns, "", "SELECT n, category FROM clicks")));
    assert!(text.contains("newest by n: n, category"), "{text}");
}

#[test]
fn what_cannot_be_kept_or_asked_is_refused_where_it_is_declared() {
    let told = |columns: &str, options: &str, select: &str| {
        let error = plan_text(&script(columns, options, select)).expect_err(columns);
        assert!(error.line.is_some() && error.column.is_some(), "{error}");
        error.to_string()
    };
    let select = "SELECT n, category FROM clicks";
    let refused = |columns: &str, words: &str| {
        let told = told(columns, "", select);
        assert!(told.contains(words), "{told}");
    };
    refused("n BIGINT, category STRING", "needs a PRIMARY KEY");
    refused("n BIGINT, category STRING, PRIMARY KEY (category)", "NOT ENFORCED");
    refused("n BIGINT, category STRING, PRIMARY KEY (categories) NOT ENFORCED", "unknown column 'categories'");
    refused("n BIGINT, category STRING, PRIMARY KEY (n, n) NOT ENFORCED", "named twice");
    refused("n BIGINT, category ARRAY<STRING>, PRIMARY KEY (category) NOT ENFORCED", "cannot be a key");
    refused("n BIGINT, `limit` STRING, PRIMARY KEY (`limit`) NOT ENFORCED", "how many rows are wanted");
    refused("n BIGINT, category STRING, m AS n + 1, PRIMARY KEY (m) NOT ENFORCED", "computed column");
    let key = "n BIGINT, category STRING, PRIMARY KEY (n) NOT ENFORCED";
    assert!(told(key, ", 'ttl' = 'long'", select).contains("expected a duration"));
    assert!(told(key, ", 'format' = 'json'", select).contains("'format'"));
    let partitioned = format!(
        "{CLICKS} CREATE TABLE top ({key}) PARTITIONED BY (category) WITH ('connector' = 'queryable'); INSERT INTO top {select};"
    );
    assert!(plan_text(&partitioned).expect_err("no files").to_string().contains("PARTITIONED BY is not supported"));
    let read = format!("CREATE TABLE top ({key}) WITH ('connector' = 'queryable'); SELECT n FROM top;");
    assert!(plan_text(&read).expect_err("it is not read").to_string().contains("cannot be read"));
}

#[test]
fn rows_do_not_end_by_watermarks_that_never_come() {
    let no_watermark = "CREATE TABLE other (n BIGINT, category STRING) \
         WITH ('connector' = 'filesystem', 'path' = '/in', 'format' = 'json'); ";
    let key = "n BIGINT, category STRING, PRIMARY KEY (n) NOT ENFORCED";
    let both = "SELECT n, category FROM clicks UNION ALL SELECT n, category FROM other";
    let sql = format!("{no_watermark}{}", script(key, ", 'ttl' = '1 min'", both));
    let told = plan_text(&sql).expect_err("other has none").to_string();
    assert!(told.contains("table 'other' has no watermark") && told.contains("WATERMARK FOR"), "{told}");
    plan_text(&format!("{no_watermark}{}", script(key, "", both))).expect("without 'ttl' it needs none");
    plan_text(&script(key, ", 'ttl' = '1 min'", "SELECT n, category FROM clicks UNION ALL SELECT 1, 'a'"))
        .expect("rows that stand in the script come to an end");
}
