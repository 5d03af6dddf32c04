//! Makes maps of arrays and of other maps, and finds values by key. Of equal keys, the last one counts.

use std::{collections::HashMap, ops::Range, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, MapArray, StructArray},
    buffer::{NullBuffer, OffsetBuffer},
    compute::cast,
    datatypes::{DataType, Field},
};
use datafusion_common::{Result, exec_datafusion_err, exec_err};

use crate::{
    arrays::{Lists, as_list, chosen, comparable, pick_one},
    native::{Arguments, Gives, Native, Takes, unexpected},
    unify::{element, unified},
};

pub(crate) const FUNCTIONS: &[Native] = &[
    Native::new("map_at", "map[key]", Takes::By(map_and_key), Gives::By(of_value), map_at),
    Native::new(
        "map_from_arrays",
        "MAP_FROM_ARRAYS(keys, values)",
        Takes::By(keys_and_values),
        Gives::By(of_map),
        map_from_arrays,
    ),
    Native::new("map_union", "MAP_UNION(map, …)", Takes::By(maps), Gives::By(of_maps), map_union),
];

type Types = Option<Vec<DataType>>;

fn keys_and_values(found: &[DataType]) -> Types {
    let [keys, values] = found else { return None };
    Some(vec![as_list(keys)?, as_list(values)?])
}

/// The types of a map's keys and values.
fn key_and_value(map: &DataType) -> Option<[&DataType; 2]> {
    let DataType::Map(entries, _) = map else { return None };
    let DataType::Struct(pair) = entries.data_type() else { return None };
    match pair.as_ref() {
        [key, value] => Some([key.data_type(), value.data_type()]),
        _ => None,
    }
}

fn map_and_key(found: &[DataType]) -> Types {
    let [map, wanted] = found else { return None };
    let [key, _] = key_and_value(map)?;
    Some(vec![map.clone(), unified(key, wanted)?])
}

fn of_value(types: &[DataType]) -> DataType {
    types.first().and_then(key_and_value).map_or(DataType::Null, |[_, value]| value.clone())
}

fn maps(found: &[DataType]) -> Types {
    let first = found.iter().find(|found| **found != DataType::Null)?;
    let fits =
        matches!(first, DataType::Map(_, _)) && found.iter().all(|other| other == first || *other == DataType::Null);
    fits.then(|| vec![first.clone(); found.len()])
}

fn of_map(types: &[DataType]) -> DataType {
    let part = |at: usize| types.get(at).and_then(element).unwrap_or(DataType::Null);
    let key = Field::new("key", part(0), false);
    let value = Field::new("value", part(1), true);
    let entries = Field::new("entries", DataType::Struct(vec![key, value].into()), false);
    DataType::Map(Arc::new(entries), false)
}

fn of_maps(types: &[DataType]) -> DataType {
    types.first().cloned().unwrap_or(DataType::Null)
}

/// Makes maps of picked keys and values, each given by source and place.
fn pick_entries(
    arguments: &Arguments,
    keys: &[&ArrayRef],
    values: &[&ArrayRef],
    mut picked: impl FnMut(usize) -> Result<Option<Vec<[(usize, usize); 2]>>>,
) -> Result<ArrayRef> {
    let DataType::Map(field, sorted) = arguments.returns else { return Err(unexpected()) };
    let DataType::Struct(fields) = field.data_type() else { return Err(unexpected()) };
    let (mut of_keys, mut of_values) = (Vec::new(), Vec::new());
    let (mut lengths, mut valid) = (Vec::new(), Vec::new());
    for row in 0..arguments.rows {
        let entries = picked(row)?;
        valid.push(entries.is_some());
        let entries = entries.unwrap_or_default();
        lengths.push(entries.len());
        of_keys.extend(entries.iter().map(|[key, _]| *key));
        of_values.extend(entries.iter().map(|[_, value]| *value));
    }
    let (keys, values) = (chosen(keys, &of_keys)?, chosen(values, &of_values)?);
    if keys.null_count() > 0 {
        return exec_err!("a key of a map is NULL");
    }
    let entries = StructArray::try_new(fields.clone(), vec![keys, values], None)?;
    let offsets = OffsetBuffer::<i32>::from_lengths(lengths);
    Ok(Arc::new(MapArray::try_new(field.clone(), offsets, entries, Some(NullBuffer::from(valid)), *sorted)?))
}

fn map_from_arrays(arguments: &Arguments) -> Result<ArrayRef> {
    let (keys, values) = (Lists::of(arguments, 0)?, Lists::of(arguments, 1)?);
    let [comparable] = comparable([keys.values()])?;
    pick_entries(arguments, &[keys.values()], &[values.values()], |row| {
        let (Some(of_keys), Some(of_values)) = (keys.range(row), values.range(row)) else { return Ok(None) };
        if of_keys.len() != of_values.len() {
            return exec_err!("MAP_FROM_ARRAYS: {} keys and {} values", of_keys.len(), of_values.len());
        }
        let entries = of_keys.zip(of_values).map(|(key, value)| [(0, key), (0, value)]);
        Ok(Some(last_of_equal(entries, |(_, place)| comparable.row(place).data().to_vec())))
    })
}

/// The value of a key; NULL if the map lacks the key.
fn map_at(arguments: &Arguments) -> Result<ArrayRef> {
    let (array, wanted) = (arguments.array(0)?, arguments.array(1)?);
    let map = array.as_map_opt().ok_or_else(unexpected)?;
    let keys = cast(map.keys(), wanted.data_type())?;
    let [keys, needles] = comparable([&keys, &wanted])?;
    let picked = (0..arguments.rows).map(|row| {
        let mut range = entries_of(map, row)?;
        let is_it = |place: &usize| wanted.is_valid(row) && keys.row(*place) == needles.row(row);
        Ok(range.as_mut().and_then(|range| range.rfind(is_it)))
    });
    pick_one(map.values(), picked)
}

/// The places of a row's entries among all entries; `None` if the map is NULL.
fn entries_of(map: &MapArray, row: usize) -> Result<Option<Range<usize>>> {
    let place = |at: usize| map.value_offsets().get(at).and_then(|offset| usize::try_from(*offset).ok());
    let range = place(row).zip(place(row + 1)).map(|(start, end)| start..end);
    let range = range.ok_or_else(|| exec_datafusion_err!("a map has no end"))?;
    Ok(map.is_valid(row).then_some(range))
}

fn last_of_equal(
    entries: impl Iterator<Item = [(usize, usize); 2]>,
    bytes: impl Fn((usize, usize)) -> Vec<u8>,
) -> Vec<[(usize, usize); 2]> {
    let (mut kept, mut places) = (Vec::<[(usize, usize); 2]>::new(), HashMap::new());
    for [key, value] in entries {
        let place = *places.entry(bytes(key)).or_insert(kept.len());
        match kept.get_mut(place) {
            Some(earlier) => earlier[1] = value,
            None => kept.push([key, value]),
        }
    }
    kept
}

/// Of equal keys, that of the last map counts.
fn map_union(arguments: &Arguments) -> Result<ArrayRef> {
    let arrays = (0..arguments.len()).map(|at| arguments.array(at)).collect::<Result<Vec<_>>>()?;
    let maps = arrays.iter().map(|array| array.as_map_opt().ok_or_else(unexpected)).collect::<Result<Vec<_>>>()?;
    let keys: Vec<&ArrayRef> = maps.iter().map(|map| map.keys()).collect();
    let values: Vec<&ArrayRef> = maps.iter().map(|map| map.values()).collect();
    let rows = keys.iter().map(|keys| comparable([*keys]).map(|[rows]| rows)).collect::<Result<Vec<_>>>()?;
    pick_entries(arguments, &keys, &values, |row| {
        let mut entries = Vec::new();
        for (source, map) in maps.iter().enumerate() {
            let Some(range) = entries_of(map, row)? else { return Ok(None) };
            entries.extend(range.map(|place| [(source, place), (source, place)]));
        }
        let bytes = |(source, place): (usize, usize)| {
            rows.get(source).map(|rows| rows.row(place).data().to_vec()).unwrap_or_default()
        };
        Ok(Some(last_of_equal(entries.into_iter(), bytes)))
    })
}
