//! Converts decoded columns to the wanted ones, by name at any depth.
//!
//! A field that the file does not have is NULL, one that nobody asked for is left out. A value that does not fit is an error that
//! names its row and its path, such as `lines.element.price`: `element` is an item of an ARRAY, `key` and `value` are those of a MAP.

use std::{fmt, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, FixedSizeListArray, GenericListViewArray, ListArray, MapArray, OffsetSizeTrait,
        RecordBatch, RecordBatchOptions, StructArray, UInt64Array, new_null_array,
    },
    buffer::{NullBuffer, OffsetBuffer},
    compute::take,
    datatypes::{DataType, Field, FieldRef, Fields, SchemaRef},
};
use thalweg_functions::cast::hold;

use super::project::item;
use crate::{json::sql_name, typed::key_and_value};

/// The columns that were asked for, cast to their types; NULL where the file has no such column.
pub(super) fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, Misfit> {
    let rows = batch.num_rows();
    let column = |field: &FieldRef| {
        let mut path = Path::default();
        path.below(field.name(), |path| conform_field(batch.column_by_name(field.name()), field, (rows, None), path))
    };
    let arrays = schema.fields().iter().map(column).collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema.clone(), arrays, &options)
        .map_err(|error| Misfit { row: None, reason: error.to_string() })
}

/// What does not fit.
#[derive(Debug)]
pub(super) struct Misfit {
    /// The row of the batch, from 0; `None`: it lies in no single one.
    pub(super) row: Option<usize>,
    reason: String,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl Misfit {
    fn at(self, row: usize) -> Self {
        Self { row: Some(row), ..self }
    }

    /// As of the lists or maps that have the items: these are their offsets.
    fn of_lists(self, offsets: &OffsetBuffer<i32>) -> Self {
        let ends = offsets.get(1..).unwrap_or_default();
        let list = |item: usize| ends.partition_point(|end| usize::try_from(*end).is_ok_and(|end| end <= item));
        Self { row: self.row.map(list), ..self }
    }
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

    fn error(&self, reason: impl fmt::Display) -> Misfit {
        Misfit { row: None, reason: format!("column {}: {reason}", self.0.join(".")) }
    }
}

/// Converts a field. Rows that are null in `parents` do not exist themselves, so NOT NULL does not apply to them.
fn conform_field(
    array: Option<&ArrayRef>,
    field: &Field,
    (rows, parents): (usize, Option<&NullBuffer>),
    path: &mut Path,
) -> Result<ArrayRef, Misfit> {
    let is_there = |row: &usize| parents.is_none_or(|parents| parents.is_valid(*row));
    let Some(array) = array else {
        if !field.is_nullable() && (0..rows).any(|row| is_there(&row)) {
            return Err(path.error("is NOT NULL and missing"));
        }
        return Ok(new_null_array(field.data_type(), rows));
    };
    let array = conform_array(array, field.data_type(), path)?;
    if !field.is_nullable() && array.null_count() > 0 {
        let found = (0..rows).filter(is_there).find(|row| array.is_null(*row));
        found.map_or(Ok(()), |row| Err(path.error("is NOT NULL, found NULL").at(row)))?;
    }
    Ok(array)
}

fn conform_array(array: &ArrayRef, wanted: &DataType, path: &mut Path) -> Result<ArrayRef, Misfit> {
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
        // Times are rounded down, numbers to a DECIMAL's scale, as in all formats; nothing else is cut off.
        _ => hold(array, wanted).map_err(|error| path.error(&error).at(error.row)),
    }
}

fn conform_struct(whole: &StructArray, fields: &Fields, path: &mut Path) -> Result<ArrayRef, Misfit> {
    let rows = (whole.len(), whole.nulls());
    let child = |field: &FieldRef| {
        let found = whole.column_by_name(field.name());
        path.below(field.name(), |path| conform_field(found, field, rows, path))
    };
    let children = fields.iter().map(child).collect::<Result<Vec<_>, _>>()?;
    let whole = StructArray::try_new_with_length(fields.clone(), children, whole.nulls().cloned(), whole.len());
    Ok(Arc::new(whole.map_err(|error| path.error(error))?))
}

fn conform_map(whole: &MapArray, (wanted, is_sorted): (&FieldRef, bool), path: &mut Path) -> Result<ArrayRef, Misfit> {
    let (DataType::Struct(fields), Some((key, value))) = (wanted.data_type(), key_and_value(wanted)) else {
        return Err(path.error("is no MAP of keys and values"));
    };
    let rows = (whole.entries().len(), None);
    let conform = |name, array: &ArrayRef, field: &Field, path: &mut Path| {
        let conformed = path.below(name, |path| conform_field(Some(array), field, rows, path));
        conformed.map_err(|misfit| misfit.of_lists(whole.offsets()))
    };
    let keys = conform("key", whole.keys(), key, path)?;
    let values = conform("value", whole.values(), value, path)?;
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

    fn conform(self, wanted: &FieldRef, path: &mut Path) -> Result<ArrayRef, Misfit> {
        // Items of a row that is NULL are of no account, and may be anything.
        let values = if wanted.is_nullable() || self.nulls.is_none() {
            conform_field(Some(&self.values), wanted, (self.values.len(), None), path)
        } else {
            conform_array(&self.values, wanted.data_type(), path)
        };
        let values = values.map_err(|misfit| misfit.of_lists(&self.offsets))?;
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
