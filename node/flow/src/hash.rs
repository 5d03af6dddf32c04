//! The routing hash: to which key group a row belongs, the same for every operator, node and attempt.
//!
//! ```text
//! h(0) = SEED      h(n) = xxh3_64(canonical bytes of the row's n-th key column, seed h(n - 1))
//! ```
//!
//! The canonical bytes depend only on the value, not on Arrow's encoding of it:
//!
//! | value | bytes, little-endian |
//! |---|---|
//! | NULL | the one byte `ff`, which begins no text |
//! | boolean | one byte |
//! | integer of any width | 8 as i64; above i64's range 9: the u64 and a `01` |
//! | float of any width | 8 as f64; −0.0 as 0.0, every NaN as one |
//! | decimal | the unscaled value without trailing zeros (16, or 32 where needed), then its scale (1) |
//! | timestamp, time, duration | 16: nanoseconds as i128 |
//! | date | 8: days |
//! | interval | 16: months (4), days (4), nanoseconds (8) |
//! | text, bytes | the content, whatever the encoding; dictionaries by value |
//! | struct | 8: the hash of its fields as if they were key columns |
//! | list | 8 per element: its hash as if it were a key column, after the length (8) |
//! | map | 16: how many entries, and the sum of their hashes, each as if key and value were key columns |
//!
//! The hash is frozen, because state is stored by key group. Another hash needs another version of the state's format.
//! Local hash tables must not use it, because all rows of a subtask share its top bits.

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, GenericByteArray, GenericByteViewArray,
    GenericListArray, MapArray, OffsetSizeTrait, PrimitiveArray, StructArray,
    types::{
        ByteArrayType, ByteViewType, Date32Type, Date64Type, Decimal128Type, Decimal256Type, DurationMicrosecondType,
        DurationMillisecondType, DurationNanosecondType, DurationSecondType, Float16Type, Float32Type, Float64Type,
        Int8Type, Int16Type, Int32Type, Int64Type, IntervalDayTimeType, IntervalMonthDayNanoType,
        IntervalYearMonthType, Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType,
        TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type,
        UInt16Type, UInt32Type, UInt64Type,
    },
};
use arrow::compute::cast;
use arrow::datatypes::{ArrowNativeType, BinaryViewType, DataType, IntervalUnit, StringViewType, TimeUnit, i256};
use thalweg_types::KeyGroup;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The seed of the first key column. Part of the state's format.
const SEED: u64 = 0x7468_616c_7765_6701;

/// NULL. No text begins with this byte.
const NULL: &[u8] = &[0xff];

const MILLIS_PER_DAY: i64 = 86_400_000;

/// Computes the routing hash of each row over the key columns, in order. Overwrites `hashes`, with one hash per row.
/// Without key columns `hashes` is empty, because nothing distinguishes rows.
///
/// # Panics
/// A column's type is not `is_routable`.
pub fn hash_rows(columns: &[ArrayRef], hashes: &mut Vec<u64>) {
    hashes.clear();
    hashes.resize(columns.first().map_or(0, |column| column.len()), SEED);
    for column in columns {
        fold_column(column, hashes);
    }
}

/// The key group of each of `rows` rows by its key columns. Without key columns, all rows are in the first group.
///
/// # Panics
/// Those of `hash_rows`.
#[must_use]
pub fn key_groups_of(columns: &[ArrayRef], rows: usize, groups: u16) -> Vec<KeyGroup> {
    if columns.is_empty() {
        return vec![KeyGroup(0); rows];
    }
    let mut hashes = Vec::new();
    hash_rows(columns, &mut hashes);
    hashes.into_iter().map(|hash| KeyGroup::of_hash(hash, groups)).collect()
}

/// Whether columns of this type can be keys.
#[must_use]
pub fn is_routable(data_type: &DataType) -> bool {
    match data_type {
        DataType::Null
        | DataType::Boolean
        | DataType::Date32
        | DataType::Date64
        | DataType::Timestamp(..)
        | DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Duration(_)
        | DataType::Interval(_)
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..)
        | DataType::Decimal32(..)
        | DataType::Decimal64(..) => true,
        DataType::Dictionary(_, value) => is_routable(value),
        DataType::RunEndEncoded(_, value) => is_routable(value.data_type()),
        DataType::List(item) | DataType::LargeList(item) => is_routable(item.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| is_routable(field.data_type())),
        DataType::Map(entries, _) => is_routable(entries.data_type()),
        other => other.is_integer() || other.is_floating(),
    }
}

fn fold_column(column: &ArrayRef, hashes: &mut [u64]) {
    match column.data_type() {
        DataType::Null => hashes.iter_mut().for_each(|hash| *hash = xxh3_64_with_seed(NULL, *hash)),
        DataType::Boolean => fold_booleans(column.as_boolean(), hashes),
        DataType::Utf8 => fold_bytes(column.as_string::<i32>(), hashes),
        DataType::LargeUtf8 => fold_bytes(column.as_string::<i64>(), hashes),
        DataType::Binary => fold_bytes(column.as_binary::<i32>(), hashes),
        DataType::LargeBinary => fold_bytes(column.as_binary::<i64>(), hashes),
        DataType::Utf8View => fold_views::<StringViewType>(column.as_byte_view(), hashes),
        DataType::BinaryView => fold_views::<BinaryViewType>(column.as_byte_view(), hashes),
        DataType::FixedSizeBinary(_) => {
            let array = column.as_fixed_size_binary();
            fold(hashes, |row| array.is_valid(row), |row, seed| xxh3_64_with_seed(array.value(row), seed));
        }
        DataType::Dictionary(_, value) => fold_column(&decoded(column, value), hashes),
        DataType::RunEndEncoded(_, value) => fold_column(&decoded(column, value.data_type()), hashes),
        DataType::List(_) => fold_lists(column.as_list::<i32>(), hashes),
        DataType::LargeList(_) => fold_lists(column.as_list::<i64>(), hashes),
        DataType::Struct(_) => fold_structs(column.as_struct(), hashes),
        DataType::Map(_, _) => fold_maps(column.as_map(), hashes),
        _ => fold_fixed_width(column, hashes),
    }
}

fn fold_fixed_width(column: &ArrayRef, hashes: &mut [u64]) {
    match column.data_type() {
        DataType::Int8 => fold_integers::<Int8Type>(column, hashes),
        DataType::Int16 => fold_integers::<Int16Type>(column, hashes),
        DataType::Int32 => fold_integers::<Int32Type>(column, hashes),
        DataType::Int64 => fold_integers::<Int64Type>(column, hashes),
        DataType::UInt8 => fold_integers::<UInt8Type>(column, hashes),
        DataType::UInt16 => fold_integers::<UInt16Type>(column, hashes),
        DataType::UInt32 => fold_integers::<UInt32Type>(column, hashes),
        DataType::UInt64 => fold_values::<UInt64Type, _>(column, hashes, hash_u64),
        DataType::Float16 => fold_values::<Float16Type, _>(column, hashes, |v, seed| hash_f64(v.to_f64(), seed)),
        DataType::Float32 => fold_values::<Float32Type, _>(column, hashes, |v, seed| hash_f64(f64::from(v), seed)),
        DataType::Float64 => fold_values::<Float64Type, _>(column, hashes, hash_f64),
        DataType::Date32 => fold_integers::<Date32Type>(column, hashes),
        DataType::Date64 => {
            fold_values::<Date64Type, _>(column, hashes, |v, seed| hash_i64(v.div_euclid(MILLIS_PER_DAY), seed));
        }
        DataType::Decimal32(_, scale) => {
            let (column, scale) = (cast_or_panic(column, &DataType::Decimal128(38, *scale)), *scale);
            fold_values::<Decimal128Type, _>(&column, hashes, |v, seed| hash_decimal(v, scale, seed));
        }
        DataType::Decimal64(_, scale) => {
            let (column, scale) = (cast_or_panic(column, &DataType::Decimal128(38, *scale)), *scale);
            fold_values::<Decimal128Type, _>(&column, hashes, |v, seed| hash_decimal(v, scale, seed));
        }
        DataType::Decimal128(_, scale) => {
            fold_values::<Decimal128Type, _>(column, hashes, |v, seed| hash_decimal(v, *scale, seed));
        }
        DataType::Decimal256(_, scale) => {
            fold_values::<Decimal256Type, _>(column, hashes, |v, seed| hash_wide_decimal(v, *scale, seed));
        }
        _ => fold_times(column, hashes),
    }
}

fn fold_times(column: &ArrayRef, hashes: &mut [u64]) {
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    match column.data_type() {
        DataType::Timestamp(Second, _) => fold_nanos::<TimestampSecondType>(column, hashes, 1_000_000_000),
        DataType::Timestamp(Millisecond, _) => fold_nanos::<TimestampMillisecondType>(column, hashes, 1_000_000),
        DataType::Timestamp(Microsecond, _) => fold_nanos::<TimestampMicrosecondType>(column, hashes, 1000),
        DataType::Timestamp(Nanosecond, _) => fold_nanos::<TimestampNanosecondType>(column, hashes, 1),
        DataType::Time32(Second) => fold_nanos::<Time32SecondType>(column, hashes, 1_000_000_000),
        DataType::Time32(_) => fold_nanos::<Time32MillisecondType>(column, hashes, 1_000_000),
        DataType::Time64(Microsecond) => fold_nanos::<Time64MicrosecondType>(column, hashes, 1000),
        DataType::Time64(_) => fold_nanos::<Time64NanosecondType>(column, hashes, 1),
        DataType::Duration(Second) => fold_nanos::<DurationSecondType>(column, hashes, 1_000_000_000),
        DataType::Duration(Millisecond) => fold_nanos::<DurationMillisecondType>(column, hashes, 1_000_000),
        DataType::Duration(Microsecond) => fold_nanos::<DurationMicrosecondType>(column, hashes, 1000),
        DataType::Duration(Nanosecond) => fold_nanos::<DurationNanosecondType>(column, hashes, 1),
        DataType::Interval(IntervalUnit::YearMonth) => {
            fold_values::<IntervalYearMonthType, _>(column, hashes, |months, seed| hash_interval(months, 0, 0, seed));
        }
        DataType::Interval(IntervalUnit::DayTime) => {
            fold_values::<IntervalDayTimeType, _>(column, hashes, |v, seed| {
                hash_interval(0, v.days, i64::from(v.milliseconds) * 1_000_000, seed)
            });
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            fold_values::<IntervalMonthDayNanoType, _>(column, hashes, |v, seed| {
                hash_interval(v.months, v.days, v.nanoseconds, seed)
            });
        }
        other => panic!("the planner routes by no column of type {other}"),
    }
}

/// Replaces each row's hash by that of its value, or of NULL.
#[inline]
fn fold(hashes: &mut [u64], is_valid: impl Fn(usize) -> bool, hash: impl Fn(usize, u64) -> u64) {
    for (row, slot) in hashes.iter_mut().enumerate() {
        *slot = if is_valid(row) { hash(row, *slot) } else { xxh3_64_with_seed(NULL, *slot) };
    }
}

#[inline]
fn fold_values<T, F>(column: &ArrayRef, hashes: &mut [u64], hash: F)
where
    T: ArrowPrimitiveType,
    F: Fn(T::Native, u64) -> u64,
{
    let array: &PrimitiveArray<T> = column.as_primitive();
    if array.null_count() == 0 {
        for (slot, value) in hashes.iter_mut().zip(array.values()) {
            *slot = hash(*value, *slot);
        }
    } else {
        fold(hashes, |row| array.is_valid(row), |row, seed| hash(array.value(row), seed));
    }
}

fn fold_integers<T>(column: &ArrayRef, hashes: &mut [u64])
where
    T: ArrowPrimitiveType,
    T::Native: Into<i64>,
{
    fold_values::<T, _>(column, hashes, |value, seed| hash_i64(value.into(), seed));
}

fn fold_nanos<T>(column: &ArrayRef, hashes: &mut [u64], nanos: i128)
where
    T: ArrowPrimitiveType,
    T::Native: Into<i64>,
{
    fold_values::<T, _>(column, hashes, |value, seed| {
        let value: i64 = value.into();
        xxh3_64_with_seed(&(i128::from(value) * nanos).to_le_bytes(), seed)
    });
}

fn fold_booleans(array: &BooleanArray, hashes: &mut [u64]) {
    fold(hashes, |row| array.is_valid(row), |row, seed| xxh3_64_with_seed(&[u8::from(array.value(row))], seed));
}

fn fold_bytes<T: ByteArrayType>(array: &GenericByteArray<T>, hashes: &mut [u64]) {
    fold(hashes, |row| array.is_valid(row), |row, seed| xxh3_64_with_seed(array.value(row).as_ref(), seed));
}

fn fold_views<T: ByteViewType>(array: &GenericByteViewArray<T>, hashes: &mut [u64]) {
    fold(hashes, |row| array.is_valid(row), |row, seed| xxh3_64_with_seed(array.value(row).as_ref(), seed));
}

fn fold_structs(array: &StructArray, hashes: &mut [u64]) {
    let mut fields = vec![SEED; array.len()];
    array.columns().iter().for_each(|field| fold_column(field, &mut fields));
    fold(hashes, |row| array.is_valid(row), |row, seed| xxh3_64_with_seed(&fields[row].to_le_bytes(), seed));
}

fn fold_lists<O: OffsetSizeTrait>(array: &GenericListArray<O>, hashes: &mut [u64]) {
    let mut elements = vec![SEED; array.values().len()];
    fold_column(array.values(), &mut elements);
    let hash = |row: usize, seed: u64| {
        let range = array.value_offsets()[row].as_usize()..array.value_offsets()[row + 1].as_usize();
        let mut bytes = Vec::with_capacity(8 * (range.len() + 1));
        bytes.extend_from_slice(&(range.len() as u64).to_le_bytes());
        elements[range].iter().for_each(|element| bytes.extend_from_slice(&element.to_le_bytes()));
        xxh3_64_with_seed(&bytes, seed)
    };
    fold(hashes, |row| array.is_valid(row), hash);
}

/// The hash does not depend on the order of entries.
fn fold_maps(array: &MapArray, hashes: &mut [u64]) {
    let mut entries = vec![SEED; array.entries().len()];
    fold_column(array.keys(), &mut entries);
    fold_column(array.values(), &mut entries);
    let hash = |row: usize, seed: u64| {
        let range = array.value_offsets()[row].as_usize()..array.value_offsets()[row + 1].as_usize();
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&(range.len() as u64).to_le_bytes());
        let sum = entries[range].iter().fold(0u64, |sum, entry| sum.wrapping_add(*entry));
        bytes[8..].copy_from_slice(&sum.to_le_bytes());
        xxh3_64_with_seed(&bytes, seed)
    };
    fold(hashes, |row| array.is_valid(row), hash);
}

#[inline]
fn hash_i64(value: i64, seed: u64) -> u64 {
    xxh3_64_with_seed(&value.to_le_bytes(), seed)
}

#[inline]
fn hash_u64(value: u64, seed: u64) -> u64 {
    if let Ok(value) = i64::try_from(value) {
        return hash_i64(value, seed);
    }
    let mut bytes = [1; 9];
    bytes[..8].copy_from_slice(&value.to_le_bytes());
    xxh3_64_with_seed(&bytes, seed)
}

#[inline]
fn hash_f64(value: f64, seed: u64) -> u64 {
    let canonical = if value.is_nan() { f64::NAN.to_bits() } else { (value + 0.0).to_bits() };
    xxh3_64_with_seed(&canonical.to_le_bytes(), seed)
}

fn hash_decimal(value: i128, scale: i8, seed: u64) -> u64 {
    let (mut value, mut scale) = (value, scale);
    if value == 0 {
        scale = 0;
    }
    while value != 0 && value % 10 == 0 {
        value /= 10;
        scale -= 1;
    }
    let mut bytes = [0; 17];
    bytes[..16].copy_from_slice(&value.to_le_bytes());
    bytes[16..].copy_from_slice(&scale.to_le_bytes());
    xxh3_64_with_seed(&bytes, seed)
}

fn hash_wide_decimal(value: i256, scale: i8, seed: u64) -> u64 {
    let ten = i256::from_i128(10);
    let (mut value, mut scale) = (value, scale);
    while value.to_i128().is_none() && value % ten == i256::ZERO {
        value /= ten;
        scale -= 1;
    }
    if let Some(narrow) = value.to_i128() {
        return hash_decimal(narrow, scale, seed);
    }
    let mut bytes = [0; 33];
    bytes[..32].copy_from_slice(&value.to_le_bytes());
    bytes[32..].copy_from_slice(&scale.to_le_bytes());
    xxh3_64_with_seed(&bytes, seed)
}

fn hash_interval(months: i32, days: i32, nanos: i64, seed: u64) -> u64 {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&months.to_le_bytes());
    bytes[4..8].copy_from_slice(&days.to_le_bytes());
    bytes[8..].copy_from_slice(&nanos.to_le_bytes());
    xxh3_64_with_seed(&bytes, seed)
}

fn decoded(column: &ArrayRef, value: &DataType) -> ArrayRef {
    cast_or_panic(column, value)
}

fn cast_or_panic(column: &ArrayRef, to: &DataType) -> ArrayRef {
    cast(column, to).expect("a type always casts to its own values' type, or to a wider decimal")
}

#[cfg(test)]
mod tests;
