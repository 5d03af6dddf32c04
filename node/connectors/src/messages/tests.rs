//! Formats of messages: every type there and back, what other libraries wrote, and bytes of any kind.

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit},
};
use bytes::Bytes;
use thalweg_types::connector::TABLE_COLUMNS;

use super::*;
use crate::{
    ConnectorContext,
    json::JsonDecoder,
    lines::LineDecoder as _,
    testing::{connector, context, schema, to_lines},
};

mod formats;
mod golden;
mod hostile;
mod registered;
mod server;
mod types;

type Given<'a> = &'a [(&'a str, &'a str)];

fn try_decoder(
    context: &ConnectorContext,
    part: Part,
    options: Given<'_>,
    columns: &SchemaRef,
) -> Result<Box<dyn MessageDecoder>, ConnectorError> {
    let table = connector("filesystem", options);
    open_decoder(&Options::new("t", &table), part, columns, context)
}

fn try_encoder(
    context: &ConnectorContext,
    part: Part,
    options: Given<'_>,
    columns: &SchemaRef,
) -> Result<Box<dyn MessageEncoder>, ConnectorError> {
    let table = connector("filesystem", options);
    open_encoder(&Options::new("t", &table), part, "orders", columns, context)
}

fn decoder(options: Given<'_>, columns: &SchemaRef) -> Box<dyn MessageDecoder> {
    try_decoder(&context(), Part::Value, options, columns).expect("a decoder")
}

fn encoder(options: Given<'_>, columns: &SchemaRef) -> Box<dyn MessageEncoder> {
    try_encoder(&context(), Part::Value, options, columns).expect("an encoder")
}

fn bytes(messages: &[&[u8]]) -> Vec<Bytes> {
    messages.iter().map(|message| Bytes::copy_from_slice(message)).collect()
}

/// The rows of messages as JSON, and the faults with the indexes of their messages.
async fn read(decoder: &mut dyn MessageDecoder, messages: &[Bytes]) -> (Vec<String>, Vec<(usize, String)>) {
    let decoded = decoder.decode(messages).await.expect("they can be decoded");
    assert_eq!(decoded.rows.num_rows() + decoded.faults.len(), messages.len(), "a row or a fault for each");
    let faults = decoded.faults.into_iter().map(|fault| (fault.message, fault.reason)).collect();
    (to_lines(&decoded.rows), faults)
}

/// As `read`, of a decoder made for it.
async fn read_with(options: Given<'_>, columns: &SchemaRef, messages: &[&[u8]]) -> (Vec<String>, Vec<(usize, String)>) {
    read(&mut *decoder(options, columns), &bytes(messages)).await
}

/// Rows of lines of JSON.
fn rows(columns: &SchemaRef, lines: &[String]) -> RecordBatch {
    let mut decoder = JsonDecoder::new(columns.clone()).expect("types that JSON has");
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let mut faults = Vec::new();
    decoder.decode(text.as_bytes(), 0, usize::MAX, &mut faults);
    assert_eq!(faults, []);
    decoder.finish().expect("a batch")
}

fn row(fields: &[(&str, DataType)]) -> DataType {
    DataType::Struct(fields.iter().map(|(name, of)| Field::new(*name, of.clone(), true)).collect())
}

fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

fn map(key: DataType, value: DataType) -> DataType {
    let entries = Fields::from(vec![Field::new("key", key, false), Field::new("value", value, true)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
}

/// With the names of all columns of a part, of which the schema's are read.
fn of_columns(columns: &SchemaRef, all: &[&str]) -> SchemaRef {
    let names = serde_json::to_string(all).expect("texts");
    let metadata = [(TABLE_COLUMNS.to_owned(), names)].into();
    Arc::new(Schema::new_with_metadata(columns.fields().clone(), metadata))
}
