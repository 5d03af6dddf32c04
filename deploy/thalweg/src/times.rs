//! Times, and keys of maps, as the text that people see of them.

use std::sync::Arc;

use anyhow::Result;
use arrow::{
    array::{Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, StringArray, StructArray},
    datatypes::{DataType, FieldRef, Fields, Int64Type, Schema},
    util::display::{ArrayFormatter, FormatOptions},
};
use thalweg_functions::moment::{self, TimestampForm};

use crate::floats::with_named_floats;

/// Writes timestamps as in files: a blank between date and time, and all digits of a second that the unit has. Keys of maps become text too:
/// JSON has no others.
pub(crate) fn with_times_as_text(batch: &RecordBatch) -> Result<RecordBatch> {
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let column = times_as_text(column)?;
        fields.push(field.as_ref().clone().with_data_type(column.data_type().clone()));
        columns.push(column);
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

fn times_as_text(column: &ArrayRef) -> Result<ArrayRef> {
    Ok(match column.data_type() {
        DataType::Timestamp(unit, _) => {
            // chrono covers fewer years, so it is not used here.
            let ticks = arrow::compute::cast(column, &DataType::Int64)?;
            let text = |tick| {
                let mut text = Vec::new();
                moment::write(tick, *unit, TimestampForm::Sql, &mut text);
                String::from_utf8(text)
            };
            let texts = ticks.as_primitive::<Int64Type>().iter().map(|tick| tick.map(text).transpose());
            Arc::new(texts.collect::<Result<StringArray, _>>()?)
        }
        DataType::Struct(fields) => {
            let (structs, mut changed) = (column.as_struct(), Vec::new());
            for (field, values) in fields.iter().zip(structs.columns()) {
                let values = times_as_text(values)?;
                changed.push((Arc::new(field.as_ref().clone().with_data_type(values.data_type().clone())), values));
            }
            let (fields, values): (Vec<_>, Vec<_>) = changed.into_iter().unzip();
            Arc::new(StructArray::try_new_with_length(fields.into(), values, column.nulls().cloned(), column.len())?)
        }
        DataType::List(field) => {
            let lists = column.as_list::<i32>();
            let values = times_as_text(lists.values())?;
            let field = field.as_ref().clone().with_data_type(values.data_type().clone());
            Arc::new(ListArray::try_new(Arc::new(field), lists.offsets().clone(), values, column.nulls().cloned())?)
        }
        DataType::Map(entries, is_sorted) => map_as_text(column.as_map(), entries, *is_sorted)?,
        _ => column.clone(),
    })
}

fn map_as_text(map: &MapArray, entries: &FieldRef, is_sorted: bool) -> Result<ArrayRef> {
    let columns = vec![keys_as_text(&times_as_text(map.keys())?)?, times_as_text(map.values())?];
    let typed = map.entries().fields().iter().zip(&columns);
    let fields: Fields =
        typed.map(|(field, column)| field.as_ref().clone().with_data_type(column.data_type().clone())).collect();
    let entries = entries.as_ref().clone().with_data_type(DataType::Struct(fields.clone()));
    let pairs = StructArray::try_new(fields, columns, None)?;
    Ok(Arc::new(MapArray::try_new(Arc::new(entries), map.offsets().clone(), pairs, map.nulls().cloned(), is_sorted)?))
}

fn keys_as_text(keys: &ArrayRef) -> Result<ArrayRef> {
    if matches!(keys.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) {
        return Ok(keys.clone());
    }
    let named = with_named_floats(keys)?;
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(named.as_ref(), &options)?;
    let texts = (0..named.len()).map(|at| formatter.value(at).try_to_string());
    Ok(Arc::new(StringArray::from(texts.collect::<Result<Vec<_>, _>>()?)))
}
