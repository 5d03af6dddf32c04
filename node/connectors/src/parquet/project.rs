//! Which leaves of a file are read, and how what is read becomes the columns that were asked for.

use std::sync::Arc;

use ::parquet::{arrow::ProjectionMask, schema::types::SchemaDescriptor};
use arrow::{
    array::{Array, ArrayRef, ListArray, RecordBatch, RecordBatchOptions, StructArray, new_null_array},
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, Field, Fields, SchemaRef},
    error::ArrowError,
};

/// The leaves that are needed for these columns.
pub(super) fn mask(wanted: &Fields, file: &SchemaDescriptor) -> ProjectionMask {
    let leaves: Vec<Vec<&str>> =
        file.columns().iter().map(|leaf| leaf.path().parts().iter().map(String::as_str).collect()).collect();
    let mut indices: Vec<usize> =
        (0..leaves.len()).filter(|leaf| leaves.get(*leaf).is_some_and(|path| wants(wanted, path))).collect();
    // A struct of which the file has no wanted field: any leaf tells whether it is null.
    for field in wanted {
        let is_of =
            |leaf: &usize| leaves.get(*leaf).and_then(|path| path.first()).is_some_and(|name| name == field.name());
        if !indices.iter().any(is_of) {
            indices.extend((0..leaves.len()).find(is_of));
        }
    }
    ProjectionMask::leaves(file, indices)
}

fn wants(fields: &Fields, path: &[&str]) -> bool {
    let Some((name, below)) = path.split_first() else { return true };
    match fields.iter().find(|field| field.name() == name).map(|field| field.data_type()) {
        Some(DataType::Struct(fields)) => wants(fields, below),
        Some(_) => true,
        None => false,
    }
}

/// The columns that were asked for, by name, cast to their types; NULL where the file has no such column.
pub(super) fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let rows = batch.num_rows();
    let arrays = schema
        .fields()
        .iter()
        .map(|field| conform_field(batch.column_by_name(field.name()), field, rows))
        .collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new_with_options(schema.clone(), arrays, &RecordBatchOptions::new().with_row_count(Some(rows)))
}

fn conform_field(array: Option<&ArrayRef>, field: &Field, rows: usize) -> Result<ArrayRef, ArrowError> {
    match array {
        Some(array) => conform_array(array, field.data_type())
            .map_err(|error| ArrowError::CastError(format!("column {}: {error}", field.name()))),
        None if field.is_nullable() => Ok(new_null_array(field.data_type(), rows)),
        None => Err(ArrowError::SchemaError(format!("column {} is NOT NULL and missing", field.name()))),
    }
}

fn conform_array(array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == wanted {
        return Ok(array.clone());
    }
    match (wanted, array.data_type()) {
        (DataType::Struct(fields), DataType::Struct(_)) => {
            let whole = array.as_any().downcast_ref::<StructArray>().expect("the type says so");
            let children = fields
                .iter()
                .map(|field| conform_field(whole.column_by_name(field.name()), field, whole.len()))
                .collect::<Result<Vec<_>, _>>()?;
            Ok(Arc::new(StructArray::try_new(fields.clone(), children, whole.nulls().cloned())?))
        }
        (DataType::List(item), DataType::List(_)) => {
            let whole = array.as_any().downcast_ref::<ListArray>().expect("the type says so");
            let values = conform_array(whole.values(), item.data_type())?;
            let offsets = whole.offsets().clone();
            Ok(Arc::new(ListArray::try_new(item.clone(), offsets, values, whole.nulls().cloned())?))
        }
        // A value that the column cannot hold is an error, not NULL.
        _ => cast_with_options(array, wanted, &CastOptions { safe: false, ..CastOptions::default() }),
    }
}
