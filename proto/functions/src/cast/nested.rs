//! Casts of `ARRAY`, `MAP` and `ROW`: what they hold is cast, with the fields of a `ROW` by position.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray, UInt64Array},
    buffer::OffsetBuffer,
    compute::{is_null, nullif, take},
    datatypes::{DataType, Field, FieldRef},
};

use super::{CastError, Failing, arrow_cast, convert};

/// As the outer `check`, for nested types.
pub(super) fn check(from: &DataType, to: &DataType) -> Result<(), &'static str> {
    match (from, to) {
        (DataType::Struct(from), DataType::Struct(to)) if from.len() != to.len() => {
            Err("they have different numbers of fields")
        }
        (DataType::Struct(from), DataType::Struct(to)) => {
            from.iter().zip(to).try_for_each(|(from, to)| super::check(from.data_type(), to.data_type()))
        }
        (DataType::Map(from, _), DataType::Map(to, _)) => super::check(from.data_type(), to.data_type()),
        _ => match (item(from), item(to)) {
            (Some(from), Some(to)) => super::check(from.data_type(), to.data_type()),
            _ => Err("there is no such cast"),
        },
    }
}

fn item(data_type: &DataType) -> Option<&FieldRef> {
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => Some(item),
        _ => None,
    }
}

pub(super) fn list(array: &ArrayRef, to: &DataType, failing: Failing) -> Result<ArrayRef, CastError> {
    let refused = |_| CastError::at(array, 0, to, "there is no such cast");
    let (DataType::List(wanted), Some(given)) = (to, item(array.data_type())) else {
        // Tables do not have lists of this kind: cast to the kind that they have, and convert.
        let plain = item(to).map(|item| DataType::List(item.clone()));
        let plain = plain.ok_or_else(|| refused(()))?;
        return arrow_cast(&list(array, &plain, failing)?, to).map_err(|_| refused(()));
    };
    let lists = arrow_cast(array, &DataType::List(given.clone())).map_err(|_| refused(()))?;
    let lists = dense(&lists, lists.as_list::<i32>().offsets(), lists.as_list::<i32>().values().len());
    let lists = lists.as_list::<i32>();
    let values = inner(lists.values(), wanted, failing, Some(lists.offsets()))?;
    Ok(Arc::new(ListArray::new(wanted.clone(), lists.offsets().clone(), values, lists.nulls().cloned())))
}

pub(super) fn map(array: &ArrayRef, to: &DataType, failing: Failing) -> Result<ArrayRef, CastError> {
    let refused = || CastError::at(array, 0, to, "there is no such cast");
    let DataType::Map(wanted, sorted) = to else { return Err(refused()) };
    let maps = dense(array, array.as_map().offsets(), array.as_map().entries().len());
    let maps = maps.as_map();
    let entries: ArrayRef = Arc::new(maps.entries().clone());
    let entries = inner(&entries, wanted, failing, Some(maps.offsets()))?;
    let entries = entries.as_struct().clone();
    MapArray::try_new(wanted.clone(), maps.offsets().clone(), entries, maps.nulls().cloned(), *sorted)
        .map(|made| Arc::new(made) as ArrayRef)
        .map_err(|_| refused())
}

pub(super) fn row(array: &ArrayRef, to: &DataType, failing: Failing) -> Result<ArrayRef, CastError> {
    let refused = || CastError::at(array, 0, to, "there is no such cast");
    let (DataType::Struct(wanted), rows) = (to, array.as_struct()) else { return Err(refused()) };
    if wanted.len() != rows.num_columns() {
        return Err(refused());
    }
    let columns = rows.columns().iter().zip(wanted).map(|(column, field)| {
        // Values below a NULL mean nothing, so they must not fail.
        let column = match rows.null_count() {
            0 => column.clone(),
            _ => is_null(rows).and_then(|nulls| nullif(column, &nulls)).map_err(|_| refused())?,
        };
        inner(&column, field, failing, None)
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    StructArray::try_new_with_length(wanted.clone(), columns, rows.nulls().cloned(), rows.len())
        .map(|made| Arc::new(made) as ArrayRef)
        .map_err(|_| refused())
}

/// Casts the values of an inner field. Errors name the row of the outer array.
fn inner(
    values: &ArrayRef,
    wanted: &Field,
    failing: Failing,
    offsets: Option<&OffsetBuffer<i32>>,
) -> Result<ArrayRef, CastError> {
    convert(values, wanted.data_type(), failing).map_err(|error| {
        let outer = |offsets: &OffsetBuffer<i32>| {
            let ends = offsets.iter().skip(1);
            ends.take_while(|end| usize::try_from(**end).is_ok_and(|end| end <= error.row)).count()
        };
        CastError { row: offsets.map_or(error.row, outer), ..error }
    })
}

/// The same lists or maps, without values that belong to no row or to a NULL.
fn dense(array: &ArrayRef, offsets: &OffsetBuffer<i32>, values: usize) -> ArrayRef {
    let ends = offsets.last().map(|last| usize::try_from(*last));
    if array.null_count() == 0 && offsets.first() == Some(&0) && ends == Some(Ok(values)) {
        return array.clone();
    }
    let rows: UInt64Array =
        (0..array.len()).map(|row| u64::try_from(row).unwrap_or(u64::MAX)).collect::<Vec<_>>().into();
    take(array, &rows, None).unwrap_or_else(|_| array.clone())
}
