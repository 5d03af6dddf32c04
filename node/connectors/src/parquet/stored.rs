//! Converts columns to types that Parquet stores: it has no timestamps in seconds, which Arrow would write as bare
//! integers.

use std::sync::Arc;

use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit},
    error::ArrowError,
};
use thalweg_functions::cast::{Detail, Failing, cast};

/// The schema in which rows of `schema` are stored.
pub(crate) fn stored_schema(schema: &SchemaRef) -> SchemaRef {
    let fields = fields(schema.fields());
    if fields == *schema.fields() { schema.clone() } else { Arc::new(Schema::new(fields)) }
}

/// Converts a batch to its stored form; `schema` is the stored schema.
pub(crate) fn stored(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let mut pairs = batch.columns().iter().zip(schema.fields());
    if pairs.all(|(column, field)| column.data_type() == field.data_type()) {
        return Ok(batch.clone());
    }
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        cast(column, field.data_type(), Detail::None, Failing::Error)
            .map_err(|error| ArrowError::CastError(format!("column {}: {error}", field.name())))
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns.collect::<Result<_, _>>()?, &options)
}

fn fields(given: &Fields) -> Fields {
    given.iter().map(|field| stored_field(field)).collect()
}

fn stored_field(field: &Field) -> Field {
    let inner = |field: &Field| Arc::new(stored_field(field));
    let data_type = match field.data_type() {
        DataType::Timestamp(TimeUnit::Second, zone) => DataType::Timestamp(TimeUnit::Millisecond, zone.clone()),
        DataType::Struct(given) => DataType::Struct(fields(given)),
        DataType::List(item) => DataType::List(inner(item)),
        DataType::Map(entries, is_sorted) => DataType::Map(inner(entries), *is_sorted),
        other => other.clone(),
    };
    field.clone().with_data_type(data_type)
}
