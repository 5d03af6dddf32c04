//! Checks the types in an expression: arrow must be able to make their values without a panic, and the values must be
//! small.

use arrow::datatypes::{
    Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DecimalType, validate_decimal_precision_and_scale,
};
use arrow_schema::{DataType, TimeUnit};

use crate::CodecError;

/// The most levels of a nested type. Each takes three of the 128 levels of JSON that serde_json reads.
const LEVELS_MAX: usize = 32;
/// The most bytes of one value besides texts and items: a short type (`FixedSizeBinary`) must not stand for much
/// memory.
const VALUE_BYTES_MAX: u64 = 64 * 1024;
/// Items of at most so many bytes take little more memory than their text.
const ITEM_BYTES_PLAIN: u64 = 256;
/// The most bytes of all items of a list, if an item takes more than that.
const ITEMS_BYTES_MAX: u64 = 16 << 20;

/// Refuses illegal types, and types whose values are large.
pub(crate) fn check(data_type: &DataType) -> Result<(), CodecError> {
    let refused = |reason| CodecError::Type { data_type: data_type.clone(), reason };
    let bytes = bytes(data_type, LEVELS_MAX).map_err(refused)?;
    if bytes > VALUE_BYTES_MAX { Err(refused("its values are too large")) } else { Ok(()) }
}

/// Refuses a number of items that would take far more memory than their text.
pub(crate) fn check_items(data_type: &DataType, items: usize) -> Result<(), CodecError> {
    let refused = |reason| CodecError::Type { data_type: data_type.clone(), reason };
    let each = bytes(data_type, LEVELS_MAX).map_err(refused)?;
    let all = each.saturating_mul(u64::try_from(items).unwrap_or(u64::MAX));
    if each > ITEM_BYTES_PLAIN && all > ITEMS_BYTES_MAX { Err(refused("its values are too many")) } else { Ok(()) }
}

/// The most bytes that a NULL of a type takes.
fn bytes(data_type: &DataType, levels: usize) -> Result<u64, &'static str> {
    let levels = levels.checked_sub(1).ok_or("it is nested too deeply")?;
    let size = |size: i32| u64::try_from(size).map_err(|_| "its size is negative");
    // The items of a list are written one by one, so here it only counts that their type is legal.
    let list = |item: &DataType| bytes(item, levels).map(|item| item.saturating_add(16));
    match data_type {
        DataType::FixedSizeBinary(length) => size(*length),
        DataType::FixedSizeList(item, length) => {
            Ok(bytes(item.data_type(), levels)?.saturating_mul(size(*length)?).saturating_add(1))
        }
        DataType::List(item) | DataType::LargeList(item) => list(item.data_type()),
        DataType::ListView(item) | DataType::LargeListView(item) => list(item.data_type()),
        DataType::Struct(fields) => fields
            .iter()
            .try_fold(1, |sum: u64, field| bytes(field.data_type(), levels).map(|bytes| sum.saturating_add(bytes))),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => list(entries.data_type()),
            _ => Err("its entries are not pairs"),
        },
        DataType::Dictionary(key, value) if key.is_dictionary_key_type() && !has_items(value) => bytes(value, levels),
        DataType::Dictionary(_, _) => Err("it is not a dictionary of plain values by integers"),
        DataType::Decimal32(precision, scale) => decimal::<Decimal32Type>(*precision, *scale),
        DataType::Decimal64(precision, scale) => decimal::<Decimal64Type>(*precision, *scale),
        DataType::Decimal128(precision, scale) => decimal::<Decimal128Type>(*precision, *scale),
        DataType::Decimal256(precision, scale) => decimal::<Decimal256Type>(*precision, *scale),
        DataType::Time32(TimeUnit::Microsecond | TimeUnit::Nanosecond)
        | DataType::Time64(TimeUnit::Second | TimeUnit::Millisecond) => Err("its unit does not fit"),
        DataType::Union(_, _) | DataType::RunEndEncoded(_, _) => Err("a job has no such columns"),
        _ => Ok(16),
    }
}

fn decimal<T: DecimalType>(precision: u8, scale: i8) -> Result<u64, &'static str> {
    let legal = validate_decimal_precision_and_scale::<T>(precision, scale).is_ok() && scale >= -T::MAX_SCALE;
    if legal { Ok(32) } else { Err("its precision or scale is out of range") }
}

fn has_items(data_type: &DataType) -> bool {
    data_type.is_nested() || matches!(data_type, DataType::Dictionary(_, _) | DataType::Null)
}
