//! Formats of keys and values.

use thalweg_types::connector::TableConnector;

use super::{plan_text, refusals::refused};

const BARE: &str = "'connector' = 'kafka', 'topic' = 't', 'properties.bootstrap.servers' = 'h:9092', 'scan.startup.mode' = 'earliest-offset'";
/// The columns of the tables under test.
const COLUMNS: &str = "k_a INT, k_b STRING, c INT, ts TIMESTAMP(3) METADATA FROM 'timestamp', d AS c + 1";

fn declared(options: &str) -> String {
    format!("CREATE TABLE x ({COLUMNS}) WITH ({BARE}, {options})")
}

fn connector(options: &str) -> TableConnector {
    let sql = format!("{}; SELECT c FROM x", declared(options));
    let graph = plan_text(&sql).unwrap_or_else(|error| panic!("{sql}\n  gives: {error}")).graph.expect("a query");
    graph.sources().next().expect("a source").1.connector.clone()
}

#[test]
fn a_value_has_a_format_by_either_name() {
    for options in [
        "'format' = 'csv', 'csv.field-delimiter' = ';'",
        "'value.format' = 'csv', 'csv.field-delimiter' = ';'",
        "'format' = 'csv', 'value.csv.field-delimiter' = ';'",
        "'value.format' = 'csv', 'value.csv.field-delimiter' = ';'",
    ] {
        let connector = connector(options);
        assert_eq!(connector.value_format().map(|format| format.name), Some("csv"), "{options}");
        assert_eq!(connector.option("csv.field-delimiter"), Some(";"), "{options}");
        assert!(connector.key_format().is_none() && connector.key_fields().is_empty(), "{options}");
    }
}

#[test]
fn a_key_has_a_format_and_columns() {
    let connector = connector(
        "'value.format' = 'csv', 'key.format' = 'json', 'key.json.timestamp-format' = 'iso-8601', \
         'key.fields' = 'k_b;k_a', 'key.fields-prefix' = 'k_', 'value.fields-include' = 'EXCEPT_KEY'",
    );
    assert_eq!(connector.key_format().map(|format| format.name), Some("json"));
    assert_eq!(connector.key_option("json.timestamp-format"), Some("iso-8601"));
    assert_eq!((connector.key_fields(), connector.key_fields_prefix()), (vec!["k_b", "k_a"], "k_"));
    assert!(!connector.is_key_in_value());
}

/// Refuses the options at the first of them, or at a later one by the text that it begins with.
#[track_caller]
fn refused_at(options: &str, at: &str, words: &str) {
    let sql = declared(options);
    let column = sql.rfind(at).unwrap_or_else(|| panic!("{at} is not in {sql}")) + 1;
    refused(&sql, u64::try_from(column).expect("a column"), words);
}

#[test]
fn formats_that_are_missing_or_given_twice_are_refused() {
    refused(&format!("CREATE TABLE x (a INT) WITH ({BARE})"), 14, "connector 'kafka' needs option 'format'");
    refused_at("'format' = 'json', 'value.format' = 'json'", "'value.format'", "are the same: give one of them");
    refused_at("'value.format' = 'jsn'", "'jsn'", "did you mean 'json'?");
    refused_at("'format' = 'json', 'key.format' = 'jsn', 'key.fields' = 'c'", "'jsn'", "did you mean 'json'?");
    let twice = "'format' = 'csv', 'csv.header' = 'true', 'value.csv.header' = 'true'";
    refused_at(twice, "'value.csv.header'", "options 'csv.header' and 'value.csv.header' are the same");
}

#[test]
fn options_of_formats_are_checked_by_their_part() {
    let both = "'value.format' = 'csv', 'key.format' = 'json', 'key.fields' = 'c'";
    refused_at(
        &format!("{both}, 'key.csv.header' = 'true'"),
        "'key.csv.header'",
        "'key.csv.header' is of format 'csv', and this table's key has format 'json'",
    );
    refused_at(
        &format!("{both}, 'json.timestamp-format' = 'sql'"),
        "'json.timestamp-format'",
        "is of format 'json', and this table has format 'csv'",
    );
    let misspelt = format!("{both}, 'key.json.timestamp-fromat' = 'sql'");
    refused_at(
        &misspelt,
        "'key.json.timestamp-fromat'",
        "of format 'json' (did you mean 'key.json.timestamp-format'?)",
    );
    let misspelt = format!("{both}, 'value.csv.haeder' = 'true'");
    refused_at(&misspelt, "'value.csv.haeder'", "did you mean 'csv.header'?");
    refused_at(&format!("{both}, 'key.json.timestamp-format' = 'x'"), "'x'", "expected one of sql, iso-8601");
    let none = "'format' = 'json', 'key.json.timestamp-format' = 'sql'";
    refused_at(none, "'key.json.timestamp-format'", "option 'key.json.timestamp-format' needs 'key.format'");
    refused_at("'format' = 'json', 'kye.fields' = 'c'", "'kye.fields'", "did you mean 'key.fields'?");
}

#[test]
fn columns_of_the_key_have_to_be_in_its_records() {
    let fields = |fields: &str| format!("'format' = 'json', 'key.format' = 'json', 'key.fields' = '{fields}'");
    for (names, words) in [
        ("k_x", "option 'key.fields': there is no column 'k_x' (did you mean 'k_a'?)"),
        ("ts", "'ts' is a METADATA column"),
        ("d", "'d' is a computed column"),
        ("c;c", "column 'c' is named twice"),
        ("c;", "a name is empty"),
        ("", "a name is empty"),
        ("k_a,k_b", "there is no column 'k_a,k_b'"),
    ] {
        refused_at(&fields(names), &format!("'{names}'"), words);
    }
    refused_at("'format' = 'json', 'key.format' = 'json'", "'key.format'", "option 'key.format' needs 'key.fields'");
    refused_at("'format' = 'json', 'key.fields' = 'c'", "'key.fields'", "option 'key.fields' needs 'key.format'");
}

#[test]
fn a_prefix_is_of_all_columns_of_the_key_and_keeps_them_out_of_the_value() {
    let with = |fields: &str, more: &str| {
        format!("'format' = 'json', 'key.format' = 'json', 'key.fields-prefix' = 'k_', 'key.fields' = '{fields}'{more}")
    };
    let except = ", 'value.fields-include' = 'EXCEPT_KEY'";
    refused_at(&with("k_a", ""), "'key.fields-prefix'", "needs 'value.fields-include' = 'EXCEPT_KEY'");
    refused_at(&with("k_a", ", 'value.fields-include' = 'ALL'"), "'key.fields-prefix'", "needs 'value.fields-include'");
    refused_at(&with("k_a;c", except), "'k_a;c'", "column 'c' does not begin with 'k_', the 'key.fields-prefix'");
    let bare = "'format' = 'json', 'key.fields-prefix' = 'k_'";
    refused_at(bare, "'key.fields-prefix'", "option 'key.fields-prefix' needs 'key.format'");
    let other = ", 'value.fields-include' = 'NONE'";
    refused_at(&with("k_a", other), "'NONE'", "expected one of ALL, EXCEPT_KEY");
    connector(&with("k_a;k_b", except));
}

#[test]
fn connectors_without_keys_have_none_of_their_options() {
    let files = |more: &str| {
        format!("CREATE TABLE x (a INT) WITH ('connector' = 'filesystem', 'path' = 'x', 'format' = 'json', {more})")
    };
    refused(&files("'key.format' = 'json'"), 91, "unknown option 'key.format' of connector 'filesystem'");
    refused(&files("'value.json.timestamp-format' = 'sql'"), 91, "unknown option 'value.json.timestamp-format'");
}
