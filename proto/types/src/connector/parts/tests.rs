use std::collections::BTreeMap;

use arrow_schema::DataType;

use super::*;
use crate::connector::{CONNECTORS, FORMATS};

fn connector(options: &[(&str, &str)]) -> TableConnector {
    let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    TableConnector { name: "messages".to_owned(), options, secrets: BTreeMap::new() }
}

/// Columns by name; one that begins with `@` is of the metadata.
fn schema(columns: &[&str]) -> Schema {
    let field = |name: &&str| match name.strip_prefix('@') {
        Some(key) => {
            Field::new(key, DataType::Int64, false).with_metadata([(METADATA_COLUMN.to_owned(), key.to_owned())].into())
        }
        None => Field::new(*name, DataType::Utf8View, true),
    };
    Schema::new(columns.iter().map(field).collect::<Vec<_>>())
}

fn names(part: &PartColumns) -> Vec<&str> {
    part.schema.fields().iter().map(|field| field.name().as_str()).collect()
}

fn all_names(part: &PartColumns) -> Option<&str> {
    part.schema.metadata().get(TABLE_COLUMNS).map(String::as_str)
}

#[test]
fn without_a_key_format_all_columns_but_metadata_are_in_the_value() {
    let parts = connector(&[("format", "json")]).parts(&schema(&["a", "@offset", "b"]));
    assert_eq!((names(&parts.key), parts.key.indexes.as_slice()), (vec![], [].as_slice()));
    assert_eq!((names(&parts.value), parts.value.indexes.as_slice()), (vec!["a", "b"], [0, 2].as_slice()));
}

#[test]
fn columns_of_the_key_are_in_the_value_too_unless_left_out() {
    let options = [("value.format", "json"), ("key.format", "json"), ("key.fields", "b; a")];
    let parts = connector(&options).parts(&schema(&["a", "b", "c"]));
    assert_eq!((names(&parts.key), parts.key.indexes.as_slice()), (vec!["b", "a"], [1, 0].as_slice()));
    assert_eq!(names(&parts.value), ["a", "b", "c"]);
    let options: Vec<_> = options.into_iter().chain([("value.fields-include", "EXCEPT_KEY")]).collect();
    let parts = connector(&options).parts(&schema(&["a", "b", "c"]));
    assert_eq!((names(&parts.value), parts.value.indexes.as_slice()), (vec!["c"], [2].as_slice()));
}

#[test]
fn the_names_in_the_key_have_no_prefix() {
    let options = [
        ("value.format", "json"),
        ("key.format", "json"),
        ("key.fields", "k_id"),
        ("key.fields-prefix", "k_"),
        ("value.fields-include", "EXCEPT_KEY"),
    ];
    let parts = connector(&options).parts(&schema(&["id", "k_id"]));
    assert_eq!((names(&parts.key), parts.key.indexes.as_slice()), (vec!["id"], [1].as_slice()));
    assert_eq!((names(&parts.value), parts.value.indexes.as_slice()), (vec!["id"], [0].as_slice()));
}

/// A reader of ordered fields has to know of those too that nothing uses.
#[test]
fn ordered_formats_know_all_columns_of_their_part() {
    let options = |key: &str, value: &str| {
        connector(&[
            ("value.format", value),
            ("key.format", key),
            ("key.fields", "k_a;k_b"),
            ("key.fields-prefix", "k_"),
            ("value.fields-include", "EXCEPT_KEY"),
        ])
    };
    let all = [(TABLE_COLUMNS.to_owned(), r#"["x","k_b","k_a","y"]"#.to_owned())].into();
    let used = schema(&["k_b", "y"]).with_metadata(all);
    let parts = options("csv", "csv").parts(&used);
    assert_eq!((all_names(&parts.key), all_names(&parts.value)), (Some(r#"["a","b"]"#), Some(r#"["x","y"]"#)));
    assert_eq!((names(&parts.key), names(&parts.value)), (vec!["b"], vec!["y"]));
    let parts = options("json", "csv").parts(&used);
    assert_eq!((all_names(&parts.key), all_names(&parts.value)), (None, Some(r#"["x","y"]"#)));
    let parts = options("csv", "json").parts(&used);
    assert_eq!((all_names(&parts.key), all_names(&parts.value)), (Some(r#"["a","b"]"#), None));
    let written = options("csv", "csv").parts(&schema(&["x", "k_b", "k_a", "y"]));
    assert_eq!((names(&written.key), names(&written.value)), (vec!["a", "b"], vec!["x", "y"]));
    assert_eq!(all_names(&written.value), None, "the schema has them all");
}

#[test]
fn options_of_formats_are_found_by_their_part() {
    let table = connector(&[
        ("value.format", "csv"),
        ("key.format", "json"),
        ("value.csv.field-delimiter", ";"),
        ("key.json.timestamp-format", "iso-8601"),
    ]);
    assert_eq!(table.value_option("csv.field-delimiter"), Some(";"));
    assert_eq!(table.value_option("csv.header"), Some("false"), "its default");
    assert_eq!(table.value_option("json.timestamp-format"), None);
    assert_eq!(table.key_option("json.timestamp-format"), Some("iso-8601"));
    let bare = connector(&[("format", "csv"), ("csv.field-delimiter", "|")]);
    assert_eq!((bare.value_option("csv.field-delimiter"), bare.key_option("csv.field-delimiter")), (Some("|"), None));
    let keyed = connector(&[("format", "json"), ("key.format", "json")]);
    assert_eq!(keyed.key_option("json.timestamp-format"), Some("sql"), "its default");
}

/// Else one option would cover another.
#[test]
fn no_other_option_begins_like_those_of_keys_and_values() {
    let others = CONNECTORS.iter().flat_map(|spec| spec.options).chain(FORMATS.iter().flat_map(|spec| spec.options));
    for option in others {
        assert!(!option.key.starts_with(KEY_PREFIX) && !option.key.starts_with(VALUE_PREFIX), "{}", option.key);
    }
    for option in KEYED_OPTIONS {
        assert!(option.default.is_empty() || option.refuses(option.default).is_none(), "{}", option.key);
    }
}
