//! Rows that could not be evaluated or written, as JSON lines with the reason.

use std::sync::Arc;

use arrow::{
    array::{Array as _, ArrayRef, RecordBatch, StringViewArray},
    datatypes::{DataType, Field, Schema},
    util::display::array_value_to_string,
};
use serde::Serialize;
use thalweg_types::{Fault, OperatorId};

use crate::json::{JsonWriter, timestamp::TimestampForm};

/// The line of a failed row; the row itself is appended as the last member.
#[derive(Serialize)]
struct FailedLine<'a> {
    operator: &'a str,
    name: &'a str,
    reason: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    expression: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<u64>,
}

/// Appends a line for each row that could not be evaluated or written.
pub(crate) fn encode_failed(
    (operator, name): (OperatorId, &str),
    rows: &RecordBatch,
    faults: &[Fault],
    into: &mut Vec<u8>,
) {
    let operator = operator.to_string();
    for (row, fault) in rows_as_json(rows).iter().zip(faults) {
        let (line, column) = (fault.place.map(|place| place.line), fault.place.map(|place| place.column));
        let Fault { reason, expression, .. } = fault;
        let line = FailedLine { operator: &operator, name, reason, expression, line, column };
        serde_json::to_writer(&mut *into, &line).expect("texts can be written");
        // Remove the closing brace and append the row, which is already JSON.
        into.pop();
        into.extend_from_slice(b",\"row\":");
        into.extend_from_slice(row.as_bytes());
        into.extend_from_slice(b"}\n");
    }
}

/// Each row as a JSON object. If some column's type cannot be written as JSON, all columns are written as text.
#[must_use]
pub fn rows_as_json(rows: &RecordBatch) -> Vec<String> {
    if let Some(objects) = as_objects(rows) {
        return objects;
    }
    let as_text = |column: &ArrayRef| -> ArrayRef {
        let text = |row| array_value_to_string(column, row).unwrap_or_else(|error| error.to_string());
        Arc::new(StringViewArray::from_iter((0..column.len()).map(|row| column.is_valid(row).then(|| text(row)))))
    };
    let fields: Vec<Field> =
        rows.schema_ref().fields().iter().map(|field| Field::new(field.name(), DataType::Utf8View, true)).collect();
    let columns = rows.columns().iter().map(as_text).collect();
    let texts = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).ok();
    texts.as_ref().and_then(as_objects).unwrap_or_else(|| vec!["{}".to_owned(); rows.num_rows()])
}

fn as_objects(rows: &RecordBatch) -> Option<Vec<String>> {
    let mut lines = Vec::new();
    JsonWriter::new(rows.schema_ref(), TimestampForm::Sql).ok()?.write(rows, &mut lines).ok()?;
    let objects: Vec<String> = String::from_utf8(lines).ok()?.lines().map(str::to_owned).collect();
    (objects.len() == rows.num_rows()).then_some(objects)
}
