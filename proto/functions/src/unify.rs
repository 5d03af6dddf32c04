//! Finds one type for values of several types: of numbers, of texts, or of times. Nothing else is
//! converted without a cast.

use arrow::datatypes::{DataType, Field};
use datafusion_expr::type_coercion::binary::type_union_resolution;

/// The common type of values of both types; `None` if there is none.
pub(crate) fn unified(one: &DataType, other: &DataType) -> Option<DataType> {
    use DataType as T;
    let is_text = |kind: &T| matches!(kind, T::Utf8 | T::LargeUtf8 | T::Utf8View);
    let both = |is: fn(&T) -> bool| is(one) && is(other);
    match (one, other) {
        _ if is_text(one) && is_text(other) => Some(T::Utf8View),
        (T::Null, known) | (known, T::Null) => Some(known.clone()),
        _ if one == other => Some(one.clone()),
        // Decimals with floats become floats.
        _ if both(T::is_numeric) && (one.is_floating() || other.is_floating()) => {
            let small = [one, other].iter().all(|kind| matches!(kind, T::Float32 | T::Int8 | T::Int16));
            Some(if small { T::Float32 } else { T::Float64 })
        }
        _ if both(T::is_numeric) => type_union_resolution(&[one.clone(), other.clone()]),
        (T::Timestamp(first, zone), T::Timestamp(second, other_zone)) if zone == other_zone => {
            Some(T::Timestamp(*first.max(second), zone.clone()))
        }
        (T::Date32, T::Timestamp(_, None)) => Some(other.clone()),
        (T::Timestamp(_, None), T::Date32) => Some(one.clone()),
        _ => {
            let (one, other) = (element(one)?, element(other)?);
            Some(list(unified(&one, &other)?))
        }
    }
}

/// The common type of all.
pub(crate) fn all_unified(types: &[DataType]) -> Option<DataType> {
    let (first, rest) = types.split_first()?;
    rest.iter().try_fold(first.clone(), |unified_so_far, next| unified(&unified_so_far, next))
}

/// The type of a list's elements; `None` if it is no list.
pub(crate) fn element(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _) => Some(field.data_type().clone()),
        _ => None,
    }
}

pub(crate) fn list(element: DataType) -> DataType {
    DataType::List(std::sync::Arc::new(Field::new_list_field(element, true)))
}
