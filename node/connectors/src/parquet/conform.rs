//! Converts decoded columns to the wanted ones, by name at any depth.
//!
//! A field that the file lacks is NULL; one that is not wanted is left out. A value that does not fit is an error that
//! names its path, such as `lines.element.price`: `element` is an item of an ARRAY, `key` and `value` are those of a
//! MAP.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, FixedSizeListArray, GenericListViewArray, ListArray, MapArray, OffsetSizeTrait,
        RecordBatch, RecordBatchOptions, StructArray, UInt64Array, new_null_array,
    },
    buffer::{NullBuffer, OffsetBuffer},
    compute::{CastOptions, cast_with_options, kernels::cmp::eq, take},
    datatypes::{DataType, Field, FieldRef, Fields, SchemaRef},
    util::display::array_value_to_string,
};

use thalweg_functions::cast::{self, Detail, Failing};

use super::project::{item, key_and_value};
use crate::json::sql_name;

/// The wanted columns, cast to their types; NULL if the file lacks the column.
pub(super) fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, String> {
    let rows = batch.num_rows();
    let column = |field: &FieldRef| {
        let mut path = Path::default();
        path.below(field.name(), |path| conform_field(batch.column_by_name(field.name()), field, (rows, None), path))
    };
    let arrays = schema.fields().iter().map(column).collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema.clone(), arrays, &options).map_err(|error| error.to_string())
}

/// The path of a value within a column.
#[derive(Debug, Default)]
struct Path(Vec<String>);

impl Path {
    fn below<T>(&mut self, name: &str, then: impl FnOnce(&mut Self) -> T) -> T {
        self.0.push(name.to_owned());
        let result = then(self);
        self.0.pop();
        result
    }

    fn error(&self, reason: impl std::fmt::Display) -> String {
        format!("column {}: {reason}", self.0.join("."))
    }
}

/// Converts a field. Rows that are null in `parents` do not exist themselves, so NOT NULL does not apply to them.
fn conform_field(
    array: Option<&ArrayRef>,
    field: &Field,
    (rows, parents): (usize, Option<&NullBuffer>),
    path: &mut Path,
) -> Result<ArrayRef, String> {
    let is_there = |row: usize| parents.is_none_or(|parents| parents.is_valid(row));
    let Some(array) = array else {
        if !field.is_nullable() && (0..rows).any(is_there) {
            return Err(path.error("is NOT NULL and missing"));
        }
        return Ok(new_null_array(field.data_type(), rows));
    };
    let array = conform_array(array, field.data_type(), path)?;
    if !field.is_nullable() && array.null_count() > 0 && (0..rows).any(|row| is_there(row) && array.is_null(row)) {
        return Err(path.error("is NOT NULL, found NULL"));
    }
    Ok(array)
}

fn conform_array(array: &ArrayRef, wanted: &DataType, path: &mut Path) -> Result<ArrayRef, String> {
    if array.data_type() == wanted {
        return Ok(array.clone());
    }
    match (wanted, array.data_type()) {
        (DataType::Struct(fields), DataType::Struct(_)) => conform_struct(array.as_struct(), fields, path),
        (DataType::List(wanted), file) if item(file).is_some() => {
            let list = Items::of(array).map_err(|reason| path.error(reason))?;
            path.below("element", |path| list.conform(wanted, path))
        }
        (DataType::Map(wanted, is_sorted), DataType::Map(..)) => {
            conform_map(array.as_map(), (wanted, *is_sorted), path)
        }
        (wanted, file) if wanted.is_nested() || (file.is_nested() && !matches!(file, DataType::Dictionary(..))) => {
            Err(path.error(format!("is {} in the file, not {}", sql_name(file), sql_name(wanted))))
        }
        _ => conform_scalar(array, wanted).map_err(|reason| path.error(reason)),
    }
}

fn conform_struct(whole: &StructArray, fields: &Fields, path: &mut Path) -> Result<ArrayRef, String> {
    let rows = (whole.len(), whole.nulls());
    let child = |field: &FieldRef| {
        let found = whole.column_by_name(field.name());
        path.below(field.name(), |path| conform_field(found, field, rows, path))
    };
    let children = fields.iter().map(child).collect::<Result<Vec<_>, _>>()?;
    let whole = StructArray::try_new_with_length(fields.clone(), children, whole.nulls().cloned(), whole.len());
    Ok(Arc::new(whole.map_err(|error| path.error(error))?))
}

fn conform_map(whole: &MapArray, (wanted, is_sorted): (&FieldRef, bool), path: &mut Path) -> Result<ArrayRef, String> {
    let (DataType::Struct(fields), Some((key, value))) = (wanted.data_type(), key_and_value(wanted)) else {
        return Err(path.error("is no MAP of keys and values"));
    };
    let rows = (whole.entries().len(), None);
    let keys = path.below("key", |path| conform_field(Some(whole.keys()), key, rows, path))?;
    let values = path.below("value", |path| conform_field(Some(whole.values()), value, rows, path))?;
    let entries = StructArray::try_new_with_length(fields.clone(), vec![keys, values], None, whole.entries().len());
    let entries = entries.map_err(|error| path.error(error))?;
    let offsets = whole.offsets().clone();
    let map = MapArray::try_new(wanted.clone(), offsets, entries, whole.nulls().cloned(), is_sorted);
    Ok(Arc::new(map.map_err(|error| path.error(error))?))
}

/// A list of any kind, as consecutive items with offsets.
struct Items {
    offsets: OffsetBuffer<i32>,
    values: ArrayRef,
    nulls: Option<NullBuffer>,
}

const TOO_MANY: &str = "has too many items in one batch";

impl Items {
    fn of(array: &ArrayRef) -> Result<Self, String> {
        match array.data_type() {
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                Self::of_lengths(lengths(list.offsets()), items_between(list.offsets(), list.values()), list.nulls())
            }
            DataType::LargeList(_) => {
                let list = array.as_list::<i64>();
                Self::of_lengths(lengths(list.offsets()), items_between(list.offsets(), list.values()), list.nulls())
            }
            DataType::ListView(_) => Self::of_views::<i32>(array.as_list_view()),
            DataType::LargeListView(_) => Self::of_views::<i64>(array.as_list_view()),
            DataType::FixedSizeList(..) => Self::of_fixed(array.as_fixed_size_list()),
            other => Err(format!("is {} in the file, not ARRAY", sql_name(other))),
        }
    }

    fn of_lengths(
        lengths: impl Iterator<Item = usize>,
        values: ArrayRef,
        nulls: Option<&NullBuffer>,
    ) -> Result<Self, String> {
        i32::try_from(values.len()).map_err(|_| TOO_MANY)?;
        Ok(Self { offsets: OffsetBuffer::from_lengths(lengths), values, nulls: nulls.cloned() })
    }

    fn of_views<O: OffsetSizeTrait>(list: &GenericListViewArray<O>) -> Result<Self, String> {
        let is_there = |row: usize| list.is_valid(row);
        let size = |row: usize| if is_there(row) { list.value_size(row).as_usize() } else { 0 };
        let total = (0..list.len()).try_fold(0usize, |total, row| total.checked_add(size(row)));
        if total.is_none_or(|total| i32::try_from(total).is_err()) {
            return Err(TOO_MANY.to_owned());
        }
        let picked = (0..list.len()).flat_map(|row| {
            let from = list.value_offset(row).as_usize();
            from..from + size(row)
        });
        let picked = UInt64Array::from_iter_values(picked.map(|at| at as u64));
        let values = take(list.values(), &picked, None).map_err(|error| error.to_string())?;
        Self::of_lengths((0..list.len()).map(size), values, list.nulls())
    }

    fn of_fixed(list: &FixedSizeListArray) -> Result<Self, String> {
        let length = usize::try_from(list.value_length()).map_err(|_| TOO_MANY)?;
        let count = list.len();
        Self::of_lengths(std::iter::repeat_n(length, count), list.values().slice(0, length * count), list.nulls())
    }

    fn conform(self, wanted: &FieldRef, path: &mut Path) -> Result<ArrayRef, String> {
        // Items below a NULL row do not count, and may be anything.
        let values = if wanted.is_nullable() || self.nulls.is_none() {
            conform_field(Some(&self.values), wanted, (self.values.len(), None), path)?
        } else {
            conform_array(&self.values, wanted.data_type(), path)?
        };
        let list = ListArray::try_new(wanted.clone(), self.offsets, values, self.nulls);
        Ok(Arc::new(list.map_err(|error| path.error(error))?))
    }
}

fn lengths<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>) -> impl Iterator<Item = usize> + '_ {
    offsets.windows(2).map(|pair| (pair[1] - pair[0]).as_usize())
}

fn items_between<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>, values: &ArrayRef) -> ArrayRef {
    let first = offsets.first().map_or(0, |first| first.as_usize());
    let last = offsets.last().map_or(first, |last| last.as_usize());
    values.slice(first, last - first)
}

/// Casts a scalar column. A value that the column cannot hold is an error, not NULL.
fn conform_scalar(array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, String> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let cast = |array: &ArrayRef, to: &DataType| cast_with_options(array, to, &options).map_err(|e| e.to_string());
    match (array.data_type(), wanted) {
        (DataType::FixedSizeBinary(_), DataType::Utf8View) => cast(&cast(array, &DataType::BinaryView)?, wanted),
        (file, wanted) if file.is_floating() && wanted.is_integer() => {
            let whole = cast(array, wanted)?;
            let same = eq(&cast(&whole, file)?, array).map_err(|error| error.to_string())?;
            match (0..same.len()).find(|row| same.is_valid(*row) && !same.value(*row)) {
                Some(row) => {
                    Err(format!("{} is no {}", array_value_to_string(array, row).unwrap_or_default(), sql_name(wanted)))
                }
                None => Ok(whole),
            }
        }
        // Times round down. An error names the row in the batch.
        _ => cast::cast(array, wanted, Detail::None, Failing::Error)
            .map_err(|error| format!("{error} ({} rows behind that place)", error.row)),
    }
}
