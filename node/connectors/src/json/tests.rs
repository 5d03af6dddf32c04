//! Tests the decoder against `serde_json` as the oracle, the writer against the decoder, and every kind of malformed
//! record.

use arrow::datatypes::{DataType, Field, Fields, SchemaRef, TimeUnit};
use std::sync::Arc;

use super::*;
use crate::{
    lines::{LineDecoder as _, LineFault},
    testing::{schema, to_lines},
};

mod oracle;
mod values;

/// Decodes lines. Returns the rows as JSON lines, and the faults.
fn decode(schema: &SchemaRef, text: &str) -> (Vec<String>, Vec<LineFault>) {
    let mut decoder = JsonDecoder::new(schema.clone()).expect("a readable schema");
    let mut faults = Vec::new();
    let end = decoder.decode(text.as_bytes(), 0, usize::MAX, &mut faults);
    assert_eq!(end, text.len(), "all lines are taken");
    (to_lines(&decoder.finish().expect("arrays of the schema's types")), faults)
}

/// Decodes one valid line.
fn decode_good(schema: &SchemaRef, line: &str) -> String {
    let (rows, faults) = decode(schema, &format!("{line}\n"));
    assert_eq!(faults, [], "{line}");
    assert_eq!(rows.len(), 1, "{line}");
    rows.into_iter().next().expect("one row")
}

/// The fault of one malformed line.
fn reason(schema: &SchemaRef, line: &str) -> String {
    let (rows, faults) = decode(schema, &format!("{line}\n"));
    assert_eq!(rows, [""; 0], "{line}");
    assert_eq!(faults.len(), 1, "{line}");
    faults.into_iter().next().expect("one fault").reason
}

fn row(fields: &[(&str, DataType, bool)]) -> DataType {
    let fields = fields.iter().map(|(name, data_type, nullable)| Field::new(*name, data_type.clone(), *nullable));
    DataType::Struct(fields.collect::<Vec<_>>().into())
}

fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

fn map(value: DataType) -> DataType {
    let entries = Fields::from(vec![Field::new("key", DataType::Utf8View, false), Field::new("value", value, true)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
}

fn millis() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, None)
}

#[test]
fn objects_of_several_lines_and_arrays_of_objects_are_told_of() {
    let numbers = crate::testing::schema(&[("a", DataType::Int64, true)]);
    for line in ["{", "[", "[{\"a\":1}, {\"a\":2}]"] {
        let told = reason(&numbers, line);
        assert!(told.ends_with("; JSON is read one object a line"), "{line}: {told}");
    }
    assert!(!reason(&numbers, "{\"a\":").contains("one object a line"));
}
