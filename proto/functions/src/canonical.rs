//! Gives all equal values one form: −0.0 becomes 0.0, every NaN the same NaN, and the entries of a MAP are sorted by
//! key; at any depth of ROW, ARRAY and MAP.
//!
//! Canonical values that are equal have equal bits, and Arrow's total order of them is SQL's: NaN equals itself and is
//! greater than any other number. Keys, `DISTINCT` and comparisons use canonical values.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, Float64Array, GenericListArray, MapArray,
        OffsetSizeTrait, StructArray, UInt32Array,
    },
    compute::{take, unary},
    datatypes::{DataType, Float32Type, Float64Type},
    error::ArrowError,
    row::{RowConverter, SortField},
};

/// Whether equal values of a type can have different bits.
#[must_use]
pub fn has_twins(data_type: &DataType) -> bool {
    match data_type {
        DataType::Float32 | DataType::Float64 | DataType::Map(_, _) => true,
        DataType::Struct(fields) => fields.iter().any(|field| has_twins(field.data_type())),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            has_twins(item.data_type())
        }
        _ => false,
    }
}

/// The canonical form of each value; the column itself if equal values of its type always have equal bits.
///
/// # Errors
/// When the keys of a MAP have no order.
pub fn canonical(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    if !has_twins(column.data_type()) {
        return Ok(column.clone());
    }
    Ok(match column.data_type() {
        DataType::Float64 => {
            let canonical: Float64Array = unary(column.as_primitive::<Float64Type>(), canonical_f64);
            Arc::new(canonical)
        }
        DataType::Float32 => {
            let canonical: Float32Array = unary(column.as_primitive::<Float32Type>(), canonical_f32);
            Arc::new(canonical)
        }
        DataType::Struct(fields) => {
            let columns: Result<Vec<ArrayRef>, _> = column.as_struct().columns().iter().map(canonical).collect();
            Arc::new(StructArray::try_new_with_length(fields.clone(), columns?, column.nulls().cloned(), column.len())?)
        }
        DataType::List(_) => Arc::new(canonical_list(column.as_list::<i32>())?),
        DataType::LargeList(_) => Arc::new(canonical_list(column.as_list::<i64>())?),
        DataType::FixedSizeList(item, size) => {
            let values = canonical(column.as_fixed_size_list().values())?;
            Arc::new(FixedSizeListArray::try_new(item.clone(), *size, values, column.nulls().cloned())?)
        }
        DataType::Map(_, _) => Arc::new(canonical_map(column.as_map())?),
        _ => column.clone(),
    })
}

/// The canonical form of a DOUBLE.
#[inline]
#[must_use]
pub fn canonical_f64(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value + 0.0 }
}

/// The canonical form of a FLOAT.
#[inline]
#[must_use]
pub fn canonical_f32(value: f32) -> f32 {
    if value.is_nan() { f32::NAN } else { value + 0.0 }
}

fn canonical_list<O: OffsetSizeTrait>(list: &GenericListArray<O>) -> Result<GenericListArray<O>, ArrowError> {
    let item = match list.data_type() {
        DataType::List(item) | DataType::LargeList(item) => item.clone(),
        other => return Err(ArrowError::InvalidArgumentError(format!("{other} is no list"))),
    };
    GenericListArray::try_new(item, list.offsets().clone(), canonical(list.values())?, list.nulls().cloned())
}

fn canonical_map(map: &MapArray) -> Result<MapArray, ArrowError> {
    let (keys, values) = (canonical(map.keys())?, canonical(map.values())?);
    let rows = RowConverter::new(vec![SortField::new(keys.data_type().clone())])?
        .convert_columns(std::slice::from_ref(&keys))?;
    let count =
        u32::try_from(keys.len()).map_err(|_| ArrowError::InvalidArgumentError("too many entries".to_owned()))?;
    let mut order: Vec<u32> = (0..count).collect();
    for range in map.value_offsets().windows(2) {
        // Offsets refer to the entries, and `order` has one number per entry.
        let (Ok(from), Ok(to)) = (usize::try_from(range[0]), usize::try_from(range[1])) else { continue };
        order[from..to].sort_unstable_by(|a, b| rows.row(*a as usize).cmp(&rows.row(*b as usize)));
    }
    let order = UInt32Array::from(order);
    let columns = vec![take(&keys, &order, None)?, take(&values, &order, None)?];
    let (field, ordered) = match map.data_type() {
        DataType::Map(field, ordered) => (field.clone(), *ordered),
        other => return Err(ArrowError::InvalidArgumentError(format!("{other} is no map"))),
    };
    let entries = StructArray::try_new(map.entries().fields().clone(), columns, None)?;
    MapArray::try_new(field, map.offsets().clone(), entries, map.nulls().cloned(), ordered)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Builder, ListArray, MapBuilder, StringBuilder};

    use super::*;

    fn doubles(values: &[Option<f64>]) -> ArrayRef {
        Arc::new(Float64Array::from(values.to_vec()))
    }

    #[test]
    fn equal_floats_have_equal_bits() {
        let negative_nan = f64::from_bits(f64::NAN.to_bits() | (1 << 63));
        let column = canonical(&doubles(&[Some(-0.0), None, Some(negative_nan), Some(1.5)])).expect("floats");
        let bits: Vec<Option<u64>> = column.as_primitive::<Float64Type>().iter().map(|v| v.map(f64::to_bits)).collect();
        assert_eq!(bits, [Some(0), None, Some(f64::NAN.to_bits()), Some(1.5f64.to_bits())]);
    }

    #[test]
    fn floats_within_rows_and_arrays_are_canonical_too() {
        let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>([
            Some(vec![Some(-0.0), None]),
            None,
            Some(vec![Some(0.0), None]),
        ]));
        let row: ArrayRef = Arc::new(StructArray::from(vec![(
            Arc::new(arrow::datatypes::Field::new("a", list.data_type().clone(), true)),
            list,
        )]));
        let canonical = canonical(&row).expect("nested floats");
        assert_eq!(canonical.slice(0, 1).to_data(), canonical.slice(2, 1).to_data());
        assert_eq!(canonical.data_type(), row.data_type());
    }

    #[test]
    fn maps_are_in_the_order_of_their_keys() {
        let mut builder = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
        for entries in [vec![("b", 2), ("a", 1)], vec![], vec![("a", 1), ("b", 2)]] {
            for (key, value) in entries {
                builder.keys().append_value(key);
                builder.values().append_value(value);
            }
            builder.append(true).expect("as many keys as values");
        }
        builder.append(false).expect("NULL");
        let map: ArrayRef = Arc::new(builder.finish());
        let canonical = canonical(&map).expect("texts have an order");
        let of = |row: usize| canonical.as_map().value(row);
        assert_eq!(of(0), of(2));
        assert_eq!(of(1).len(), 0);
        assert!(canonical.is_null(3));
    }

    #[test]
    fn only_what_has_floats_or_maps_in_it_has_twins() {
        let list = |item: DataType| DataType::new_list(item, true);
        for (data_type, expected) in [
            (DataType::Int64, false),
            (list(DataType::Utf8View), false),
            (list(list(DataType::Float32)), true),
            (DataType::Float64, true),
        ] {
            assert_eq!(has_twins(&data_type), expected, "{data_type}");
        }
    }
}
