//! `METADATA` columns: what sources and sinks get of them, and what is refused.

use arrow::datatypes::{Field, Schema};
use thalweg_functions::names::sql_type;
use thalweg_types::{
    JobGraph, OperatorKind,
    connector::METADATA_COLUMN,
    graph::{Operator, SourceOperator},
};

use super::{TOPIC, checker, plan_text, refusals::refused};

/// A table of a topic with these columns.
fn topic(name: &str, columns: &str) -> String {
    format!("CREATE TABLE {name} ({columns}) WITH {TOPIC}, 'format' = 'json');\n")
}

fn graph(sql: &str) -> JobGraph {
    let planned = plan_text(sql).unwrap_or_else(|error| panic!("{sql}\n  gives: {error}"));
    let graph = planned.graph.expect("a query");
    checker::check(&graph);
    graph
}

fn source(graph: &JobGraph) -> (&Operator, &SourceOperator) {
    let of = |operator| Some((operator, as_source(operator)?));
    graph.operators.iter().find_map(of).expect("a source")
}

fn as_source(operator: &Operator) -> Option<&SourceOperator> {
    operator.kind.as_source()
}

/// `name TYPE [NOT NULL] [<- key]` of each column.
fn columns(schema: &Schema) -> Vec<String> {
    let text = |field: &Field| {
        let null = if field.is_nullable() { "" } else { " NOT NULL" };
        let key = field.metadata().get(METADATA_COLUMN).map(|key| format!(" <- {key}")).unwrap_or_default();
        format!("{} {}{null}{key}", field.name(), sql_type(field.data_type()))
    };
    schema.fields().iter().map(|field| text(field)).collect()
}

const COLUMNS: &str = "a BIGINT, off BIGINT METADATA FROM 'offset' VIRTUAL, ts TIMESTAMP(3) METADATA FROM 'timestamp', \
     headers MAP<STRING, BYTES> METADATA COMMENT 'c', `partition` BIGINT NOT NULL METADATA VIRTUAL";

#[test]
fn a_source_gives_them_by_the_types_of_its_connector_and_other_operators_know_nothing_of_them() {
    let graph = graph(&(topic("k", COLUMNS) + "SELECT `partition`, ts, off, a FROM k"));
    let (operator, source) = source(&graph);
    assert_eq!(
        columns(&source.physical),
        [
            "a BIGINT",
            "off BIGINT NOT NULL <- offset",
            "ts TIMESTAMP_LTZ(3) <- timestamp",
            "partition INT NOT NULL <- partition"
        ],
        "what nothing uses is not read"
    );
    assert_eq!(
        columns(&operator.output),
        ["a BIGINT", "off BIGINT NOT NULL", "ts TIMESTAMP(3)", "partition BIGINT NOT NULL"]
    );
    for operator in graph.operators.iter().filter(|operator| operator.kind.as_source().is_none()) {
        assert!(operator.output.fields().iter().all(|field| field.metadata().is_empty()), "{operator:?}");
    }
}

/// What `MAP` gives has no NULL among its values here.
#[test]
fn headers_are_written_whether_or_not_their_values_can_be_null() {
    let mut types = std::collections::HashSet::new();
    for headers in ["MAP['a', CAST('b' AS BYTES)]", "MAP['a', CAST(NULL AS BYTES)]", "NULL"] {
        let sql =
            topic("k", "a BIGINT, headers MAP<STRING, BYTES> METADATA") + &format!("INSERT INTO k SELECT 1, {headers}");
        let planned = graph(&sql);
        let sink = planned.operators.iter().find(|operator| matches!(operator.kind, OperatorKind::Sink(_)));
        types.insert(sink.expect("a sink").output.field(1).data_type().clone());
        let text = crate::explain(&planned);
        assert!(text.contains("Sink k (kafka, exactly once)"), "{text}");
    }
    assert_eq!(types.len(), 1, "the connector gets one type: {types:?}");
    let texts = topic("k", "a BIGINT, headers MAP<STRING, BYTES> METADATA") + "INSERT INTO k SELECT 1, MAP['a', 'b']";
    let error = plan_text(&texts).map(drop).expect_err("it has texts").to_string();
    assert!(error.contains("is MAP<STRING, BYTES>, but the query gives MAP<STRING, STRING>"), "{error}");
}

#[test]
fn a_star_has_them_where_they_are_declared() {
    let planned = plan_text(&(topic("k", COLUMNS) + "SELECT * FROM k")).expect("planned");
    let fields = planned.queries[0].schema.fields();
    let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["a", "off", "ts", "headers", "partition"]);
}

#[test]
fn watermarks_computed_columns_and_filters_use_them() {
    let table = topic(
        "k",
        "a BIGINT, at_ TIMESTAMP(3) METADATA FROM 'timestamp', `offset` BIGINT METADATA, next AS `offset` + 1, \
         later AS at_ + INTERVAL '1' SECOND, `partition` INT METADATA, WATERMARK FOR at_ AS at_ - INTERVAL '1' SECOND",
    );
    let graph = graph(&format!(
        "{table}SELECT window_start, max(next), max(later) FROM TABLE(TUMBLE(TABLE k, DESCRIPTOR(at_), INTERVAL '1' MINUTE))
         WHERE `partition` = 3 AND at_ > TIMESTAMP '2026-01-01 00:00:00' GROUP BY window_start, window_end"
    ));
    let (operator, source) = source(&graph);
    let watermark = source.watermark.as_ref().expect("a watermark");
    assert_eq!(operator.output.field(watermark.column).name(), "at_");
    assert_eq!(
        columns(&source.physical),
        [
            "at_ TIMESTAMP_LTZ(3) <- timestamp",
            "offset BIGINT NOT NULL <- offset",
            "partition INT NOT NULL <- partition"
        ]
    );
    let predicates: Vec<&str> = source.predicates.iter().map(|predicate| predicate.path[0].as_str()).collect();
    assert!(!predicates.contains(&"at_"), "the reader has another type: {predicates:?}");
}

#[test]
fn sides_of_joins_and_unions_need_not_agree_on_them() {
    let tables = topic(
        "k",
        "a BIGINT, `offset` BIGINT METADATA, ts TIMESTAMP(3) METADATA FROM 'timestamp', WATERMARK FOR ts AS ts",
    ) + &topic("l", "a BIGINT, b BIGINT NOT NULL, ts TIMESTAMP(3), WATERMARK FOR ts AS ts");
    graph(&format!("{tables}SELECT `offset`, ts FROM k UNION ALL SELECT b, ts FROM l UNION ALL SELECT a, ts FROM k"));
    let window = |table: &str| format!("TABLE(TUMBLE(TABLE {table}, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) {table}");
    graph(&format!(
        "{tables}SELECT k.`offset`, l.b FROM {} JOIN {} ON k.window_start = l.window_start AND k.window_end = l.window_end AND k.`offset` = l.b",
        window("k"),
        window("l")
    ));
}

fn sink(graph: &JobGraph) -> &Operator {
    let is_sink = |operator: &&Operator| matches!(operator.kind, OperatorKind::Sink(_));
    graph.operators.iter().find(is_sink).expect("a sink")
}

#[test]
fn a_sink_gets_what_is_not_virtual_by_the_types_of_its_connector() {
    let from = "CREATE TABLE g (a BIGINT, ts TIMESTAMP(6), h MAP<STRING, BYTES>) WITH ('connector' = 'stdin', 'format' = 'json');";
    let into = topic("s", COLUMNS.replace(", `partition` BIGINT NOT NULL METADATA VIRTUAL", "").as_str());
    let all = graph(&format!("{from}{into}INSERT INTO s SELECT a, ts, h FROM g"));
    let written = ["a BIGINT", "ts TIMESTAMP_LTZ(3) <- timestamp", "headers MAP<STRING, BYTES> <- headers"];
    assert_eq!(columns(&sink(&all).output), written);
    let some = graph(&format!("{from}{into}INSERT INTO s (a, headers) SELECT a, h FROM g"));
    assert_eq!(columns(&sink(&some).output), written, "what gets no value is NULL");
    let one = graph(&format!("{from}{into}INSERT INTO s (a) SELECT a FROM g"));
    assert_eq!(columns(&sink(&one).output), written);
}

#[test]
fn what_a_sink_writes_does_not_depend_on_the_query() {
    let tables =
        "CREATE TABLE g (a BIGINT, b STRING, c BIGINT NOT NULL) WITH ('connector' = 'stdin', 'format' = 'json');
        CREATE TABLE s (a BIGINT, b STRING, c BIGINT NOT NULL) WITH ('connector' = 'blackhole');";
    for query in ["SELECT a, b, c FROM g", "SELECT c, 'x', c FROM g", "VALUES (1, 'a', 1)", "VALUES (NULL, NULL, 1)"] {
        let graph = graph(&format!("{tables} INSERT INTO s {query}"));
        let columns = columns(&sink(&graph).output);
        assert_eq!(columns, ["a BIGINT", "b STRING", "c BIGINT NOT NULL"], "{query}");
    }
}

#[test]
fn a_table_of_metadata_alone_can_be_read() {
    let graph = graph(&(topic("k", "`offset` BIGINT METADATA") + "SELECT `offset` FROM k"));
    assert_eq!(columns(&source(&graph).1.physical), ["offset BIGINT NOT NULL <- offset"]);
}

#[test]
fn they_are_described_as_they_are_declared() {
    let planned = plan_text(&(topic("k", COLUMNS) + "DESCRIBE k")).expect("planned");
    assert_eq!(
        planned.explain,
        ["a BIGINT\noff BIGINT NOT NULL METADATA FROM 'offset' VIRTUAL\nts TIMESTAMP(3) METADATA FROM 'timestamp'\n\
          headers MAP<STRING, BYTES> METADATA\npartition BIGINT NOT NULL METADATA VIRTUAL"]
    );
}

/// The columns of a table of fields by their order are those of its records.
#[test]
fn records_of_ordered_fields_do_not_hold_them() {
    let sql = format!(
        "CREATE TABLE k (a BIGINT, `offset` BIGINT METADATA, b STRING) WITH {TOPIC}, 'format' = 'csv'); SELECT b, `offset` FROM k"
    );
    let graph = graph(&sql);
    let (_, source) = source(&graph);
    let parts = source.connector.parts(&source.physical);
    assert_eq!(parts.value.indexes, [1]);
    let all = parts.value.schema.metadata().get(thalweg_types::connector::TABLE_COLUMNS).map(String::as_str);
    assert_eq!(all, Some(r#"["a","b"]"#));
    let metadata: Vec<_> = parts.metadata.iter().map(|(index, spec)| (*index, spec.key)).collect();
    assert_eq!(metadata, [(0, "offset")]);
}

#[test]
fn declarations_that_do_not_fit_the_connector_are_refused() {
    let declared = |column: &str| format!("CREATE TABLE x ({column}) WITH {TOPIC}, 'format' = 'json')");
    for (column, at, words) in [
        ("a INT METADATA", 17, "connector 'kafka' has no metadata 'a' (it has topic, partition, offset"),
        ("a INT METADATA FROM 'ofset'", 37, "did you mean 'offset'?"),
        ("a INT METADATA FROM offset", 37, "METADATA FROM needs a quoted key"),
        ("`offset` INT METADATA", 26, "metadata 'offset' of connector 'kafka' is BIGINT"),
        ("`offset` STRING METADATA", 26, "is BIGINT"),
        ("`offset` DECIMAL(20, 0) METADATA", 26, "is BIGINT"),
        ("ts BIGINT METADATA FROM 'timestamp'", 20, "is TIMESTAMP_LTZ(3)"),
        ("headers MAP<STRING, STRING> METADATA", 25, "is MAP<STRING, BYTES>"),
        ("headers MAP<STRING, BYTES> NOT NULL METADATA", 25, "may be NULL (leave NOT NULL out)"),
        ("`offset` BIGINT METADATA NOT NULL", 42, "name type [NOT NULL] METADATA [FROM 'key'] [VIRTUAL]"),
        ("`offset` BIGINT METADATA VIRTUAL FROM 'offset'", 50, "FROM does not belong here"),
        ("`offset` BIGINT PRIMARY KEY NOT ENFORCED METADATA", 58, "cannot be part of a PRIMARY KEY"),
        ("`offset` BIGINT METADATA, PRIMARY KEY (`offset`) NOT ENFORCED", 56, "cannot be part of a PRIMARY KEY"),
        ("a INT, a BIGINT METADATA FROM 'offset'", 24, "declared twice"),
    ] {
        refused(&declared(column), at, words);
    }
    let words = "connector 'datagen' has no metadata";
    refused("CREATE TABLE x (a INT METADATA) WITH ('connector' = 'datagen')", 23, words);
}

#[test]
fn timestamps_are_taken_in_every_precision_with_a_zone_or_without() {
    for data_type in
        ["TIMESTAMP", "TIMESTAMP(0)", "TIMESTAMP(3)", "TIMESTAMP(9)", "TIMESTAMP_LTZ(3)", "TIMESTAMP_LTZ(6)"]
    {
        let read = topic("k", &format!("ts {data_type} METADATA FROM 'timestamp'"));
        let graph = graph(&format!("{read}SELECT ts FROM k"));
        assert_eq!(columns(&source(&graph).1.physical), ["ts TIMESTAMP_LTZ(3) <- timestamp"], "{data_type}");
        let written = format!("{read}INSERT INTO k SELECT ts FROM k");
        assert_eq!(columns(&sink(&self::graph(&written)).output), ["ts TIMESTAMP_LTZ(3) <- timestamp"], "{data_type}");
    }
}

#[test]
fn what_a_sink_cannot_write_is_to_be_virtual() {
    let rows = "CREATE TABLE g (a BIGINT) WITH ('connector' = 'datagen');";
    let text = |columns: &str, insert: &str| {
        plan_text(&format!("{rows}{}{insert}", topic("s", columns))).expect_err(insert).to_string()
    };
    let of = |columns: &str| text(columns, "INSERT INTO s SELECT a FROM g");
    let refused = of("a BIGINT, `offset` BIGINT METADATA");
    assert!(refused.contains("connector 'kafka' does not write metadata 'offset' (declare it VIRTUAL"), "{refused}");
    let named = text("a BIGINT, `offset` BIGINT METADATA VIRTUAL", "INSERT INTO s (a, `offset`) SELECT a, a FROM g");
    assert!(named.contains("no column 'offset' to write: it is VIRTUAL"), "{named}");
    let count = text("a BIGINT, `offset` BIGINT METADATA VIRTUAL", "INSERT INTO s SELECT a, a FROM g");
    assert!(count.contains("table 's' has 1 columns, but the query gives 2 (its columns are a)"), "{count}");
}
