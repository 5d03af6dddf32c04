//! Generates the values of one column.

use std::{str::FromStr, sync::Arc};

use arrow::{
    array::{ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, StringViewArray, StructArray},
    buffer::NullBuffer,
    compute::cast,
    datatypes::{DataType, Field, Fields},
    error::ArrowError,
};
use thalweg_types::settings::parse_duration;

use crate::{
    json::{number::parse_decimal, sql_name, timestamp},
    options::Options,
    random::Random,
};

/// The default start of generated timestamps.
const START: &str = "2026-01-01 00:00:00";
const TEXT_LETTERS: u64 = 100;
const DAY_MICROS: i64 = 86_400_000_000;

/// What a draw is for; mixed with the column's hash.
const VALUE: u64 = 1;
const IS_NULL: u64 = 2;

#[derive(Debug)]
pub(super) struct FieldGenerator {
    random: Random,
    /// Hash of the column's path, so that columns draw different numbers.
    column: u64,
    data_type: DataType,
    /// A row is NULL if its 32 random bits are below this.
    null_below: u64,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Boolean,
    /// `count` different values, from `min` on.
    Integer {
        min: i128,
        count: u128,
    },
    Decimal {
        min: i128,
        count: u128,
    },
    Float {
        min: f64,
        max: f64,
    },
    Text {
        letters: u64,
    },
    IntegerSequence {
        start: i128,
        end: Option<i128>,
    },
    TextSequence {
        start: i128,
        end: Option<i128>,
    },
    /// In microseconds; rows are `step` apart.
    TimeSequence {
        start: i64,
        step: i64,
    },
    TimeRandom {
        start: i64,
        max_past: i64,
    },
    Struct {
        fields: Fields,
        children: Vec<FieldGenerator>,
    },
}

/// The options of one column.
struct FieldOptions<'a> {
    options: Vec<(&'a str, &'a str)>,
    name: &'a str,
}

impl<'a> FieldOptions<'a> {
    fn text(&self, key: &str) -> Option<&'a str> {
        self.options.iter().find(|(known, _)| *known == key).map(|(_, value)| *value)
    }

    fn parsed<T>(&self, key: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, String> {
        let Some(text) = self.text(key) else { return Ok(None) };
        match parse(text) {
            Some(value) => Ok(Some(value)),
            None => Err(format!("option 'fields.{}.{key}' = '{text}' cannot be read", self.name)),
        }
    }

    fn number<T: FromStr>(&self, key: &str) -> Result<Option<T>, String> {
        self.parsed(key, |text| text.parse().ok())
    }
}

impl FieldGenerator {
    pub(super) fn new(
        options: &Options<'_>,
        prefix: &str,
        field: &Field,
        random: Random,
        rate: Option<f64>,
    ) -> Result<Self, String> {
        let path = format!("{prefix}{}.", field.name());
        let own = FieldOptions { options: options.below(&path).collect(), name: field.name() };
        let null_rate: f64 = own.number("null-rate")?.unwrap_or(0.0);
        if !(0.0..=1.0).contains(&null_rate) || (null_rate > 0.0 && !field.is_nullable()) {
            return Err(format!("column {}: a null-rate of {null_rate} is impossible", field.name()));
        }
        let values = match field.data_type() {
            DataType::Struct(fields) => {
                let child = |field: &Arc<Field>| Self::new(options, &path, field, random, rate);
                Values::Struct { fields: fields.clone(), children: fields.iter().map(child).collect::<Result<_, _>>()? }
            }
            data_type => scalar_values(&own, data_type, rate)?,
        };
        Ok(Self {
            random,
            column: path
                .bytes()
                .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)),
            data_type: field.data_type().clone(),
            null_below: (null_rate * (1u64 << 32) as f64) as u64,
            values,
        })
    }

    /// How many rows there are, if a sequence ends.
    pub(super) fn rows(&self) -> Option<u64> {
        match &self.values {
            Values::IntegerSequence { start, end: Some(end) } | Values::TextSequence { start, end: Some(end) } => {
                Some(u64::try_from(end.saturating_sub(*start).saturating_add(1).max(0)).unwrap_or(u64::MAX))
            }
            Values::Struct { children, .. } => children.iter().filter_map(Self::rows).min(),
            Values::IntegerSequence { end: None, .. }
            | Values::TextSequence { end: None, .. }
            | Values::TimeSequence { .. }
            | Values::TimeRandom { .. }
            | Values::Boolean
            | Values::Integer { .. }
            | Values::Decimal { .. }
            | Values::Float { .. }
            | Values::Text { .. } => None,
        }
    }

    /// Rough size of a value in bytes.
    pub(super) fn row_bytes(&self) -> u64 {
        match &self.values {
            Values::Text { letters } => letters.saturating_add(16),
            Values::Struct { children, .. } => children.iter().map(Self::row_bytes).fold(0, u64::saturating_add),
            Values::Boolean
            | Values::Integer { .. }
            | Values::Decimal { .. }
            | Values::Float { .. }
            | Values::IntegerSequence { .. }
            | Values::TextSequence { .. }
            | Values::TimeSequence { .. }
            | Values::TimeRandom { .. } => 16,
        }
    }

    fn draw(&self, what: u64, row: u64) -> u64 {
        self.random.draw(self.column.wrapping_add(what), row)
    }

    /// A random number below `bound`, from 128 random bits.
    fn draw_below(&self, row: u64, bound: u128) -> i128 {
        let bits = u128::from(self.draw(VALUE, row)) << 64 | u128::from(self.draw(VALUE + 2, row));
        i128::try_from(bits % bound.max(1)).unwrap_or(0)
    }

    pub(super) fn generate(&self, rows: &[u64]) -> Result<ArrayRef, ArrowError> {
        let nulls = (self.null_below > 0)
            .then(|| rows.iter().map(|row| self.draw(IS_NULL, *row) >> 32 >= self.null_below).collect::<NullBuffer>());
        let each = || rows.iter().copied();
        let whole = |value: i128| i64::try_from(value).unwrap_or(i64::MAX);
        let array: ArrayRef = match &self.values {
            Values::Boolean => {
                Arc::new(BooleanArray::from_iter(each().map(|row| Some(self.draw(VALUE, row) >> 63 == 1))))
            }
            Values::Integer { min, count } => {
                let value = |row| whole(min + self.draw_below(row, *count));
                Arc::new(Int64Array::from_iter_values(each().map(value)))
            }
            Values::Decimal { min, count } => {
                let DataType::Decimal128(precision, scale) = self.data_type else {
                    return Err(ArrowError::SchemaError("not a decimal".to_owned()));
                };
                let values = each().map(|row| min + self.draw_below(row, *count));
                Arc::new(Decimal128Array::from_iter_values(values).with_precision_and_scale(precision, scale)?)
            }
            Values::Float { min, max } => {
                let share = |row| (self.draw(VALUE, row) >> 11) as f64 / (1u64 << 53) as f64;
                Arc::new(Float64Array::from_iter_values(each().map(|row| min + share(row) * (max - min))))
            }
            Values::Text { letters } => {
                Arc::new(StringViewArray::from_iter_values(each().map(|row| self.text(row, *letters))))
            }
            Values::IntegerSequence { start, .. } => {
                Arc::new(Int64Array::from_iter_values(each().map(|row| whole(start + i128::from(row)))))
            }
            Values::TextSequence { start, .. } => {
                let text = |row| start.saturating_add(i128::from(row)).to_string();
                Arc::new(StringViewArray::from_iter_values(each().map(text)))
            }
            Values::TimeSequence { start, step } => {
                let time = |row: u64| start.saturating_add(step.saturating_mul(i64::try_from(row).unwrap_or(i64::MAX)));
                self.times(each().map(time).collect())?
            }
            Values::TimeRandom { start, max_past } => {
                let past = |row| whole(self.draw_below(row, max_past.unsigned_abs().into()));
                self.times(each().map(|row| start.saturating_sub(past(row))).collect())?
            }
            Values::Struct { fields, children } => {
                let arrays = children.iter().map(|child| child.generate(rows)).collect::<Result<_, _>>()?;
                return Ok(Arc::new(StructArray::try_new(fields.clone(), arrays, nulls)?));
            }
        };
        let array = cast(&array, &self.data_type)?;
        match nulls {
            None => Ok(array),
            Some(nulls) => arrow::compute::nullif(&array, &BooleanArray::new(!nulls.inner(), None)),
        }
    }

    /// Converts microseconds to the column's temporal type.
    fn times(&self, micros: Vec<i64>) -> Result<ArrayRef, ArrowError> {
        if self.data_type == DataType::Date32 {
            let days: ArrayRef =
                Arc::new(Int64Array::from_iter_values(micros.iter().map(|time| time.div_euclid(DAY_MICROS))));
            return cast(&days, &DataType::Int32);
        }
        Ok(Arc::new(arrow::array::TimestampMicrosecondArray::from(micros)))
    }

    fn text(&self, row: u64, letters: u64) -> String {
        let letter = |place: u64| {
            let random = self.random.draw(self.column ^ row.rotate_left(32), place) >> 32;
            char::from(b'a' + u8::try_from((random * 26) >> 32).expect("below 26"))
        };
        (0..letters).map(letter).collect()
    }
}

fn scalar_values(own: &FieldOptions<'_>, data_type: &DataType, rate: Option<f64>) -> Result<Values, String> {
    use DataType as D;
    let is_time = matches!(data_type, D::Timestamp(..) | D::Date32);
    let is_sequence = match own.text("kind") {
        None => is_time,
        Some("sequence") => true,
        Some("random") => false,
        Some(other) => {
            return Err(format!("option 'fields.{}.kind' = '{other}': expected random or sequence", own.name));
        }
    };
    if is_time {
        return time_values(own, is_sequence, rate);
    }
    let is_text = matches!(data_type, D::Utf8View | D::Utf8 | D::LargeUtf8);
    if is_sequence && (is_text || data_type.is_integer()) {
        // A sequence ends at the latest at the type's limit.
        let (low, high) = integer_limits(data_type);
        let (start, end) = (own.number("start")?.unwrap_or(0), own.number("end")?);
        if is_text {
            return Ok(Values::TextSequence { start, end });
        }
        if start < low || start > high || end.unwrap_or(high) > high {
            return Err(format!("column {}: start and end must be within {low} and {high}", own.name));
        }
        return Ok(Values::IntegerSequence { start, end: end.or(Some(high)) });
    }
    match data_type {
        _ if is_sequence => Err(format!("column {}: there are no sequences of {}", own.name, sql_name(data_type))),
        D::Boolean => Ok(Values::Boolean),
        data_type if data_type.is_integer() => integer_values(own, data_type),
        D::Float32 | D::Float64 => {
            Ok(Values::Float { min: own.number("min")?.unwrap_or(0.0), max: own.number("max")?.unwrap_or(1.0) })
        }
        D::Decimal128(precision, scale) => {
            let parse = |text: &str| parse_decimal(text.as_bytes(), *precision, *scale);
            let limit = 10i128.checked_pow(u32::from(*precision)).unwrap_or(i128::MAX) - 1;
            let (min, max) = (own.parsed("min", parse)?.unwrap_or(0), own.parsed("max", parse)?.unwrap_or(limit));
            Ok(Values::Decimal { min, count: count(own, min, max)? })
        }
        _ if is_text => Ok(Values::Text { letters: own.number("length")?.unwrap_or(TEXT_LETTERS).min(1 << 20) }),
        other => Err(format!("column {}: {} cannot be generated", own.name, sql_name(other))),
    }
}

/// The least and greatest value of an integer type.
fn integer_limits(data_type: &DataType) -> (i128, i128) {
    match data_type {
        DataType::Int8 => (i8::MIN.into(), i8::MAX.into()),
        DataType::Int16 => (i16::MIN.into(), i16::MAX.into()),
        DataType::Int32 => (i32::MIN.into(), i32::MAX.into()),
        DataType::UInt8 => (0, u8::MAX.into()),
        DataType::UInt16 => (0, u16::MAX.into()),
        DataType::UInt32 => (0, u32::MAX.into()),
        DataType::UInt64 => (0, i64::MAX.into()),
        _ => (i64::MIN.into(), i64::MAX.into()),
    }
}

fn integer_values(own: &FieldOptions<'_>, data_type: &DataType) -> Result<Values, String> {
    let (low, high) = integer_limits(data_type);
    let (min, max) = (own.number("min")?.unwrap_or(low), own.number("max")?.unwrap_or(high));
    if min < low || max > high {
        return Err(format!("column {}: min and max must be within {low} and {high}", own.name));
    }
    Ok(Values::Integer { min, count: count(own, min, max)? })
}

fn count(own: &FieldOptions<'_>, min: i128, max: i128) -> Result<u128, String> {
    if min > max {
        return Err(format!("column {}: min is above max", own.name));
    }
    Ok(max.abs_diff(min) + 1)
}

fn time_values(own: &FieldOptions<'_>, is_sequence: bool, rate: Option<f64>) -> Result<Values, String> {
    let parse = |text: &str| timestamp::parse(text.as_bytes())?.in_unit(arrow::datatypes::TimeUnit::Microsecond);
    let start = own.parsed("start", parse)?.or_else(|| parse(START)).unwrap_or(0);
    let micros = |duration: std::time::Duration| i64::try_from(duration.as_micros()).ok();
    let max_past = own.parsed("max-past", |text| micros(parse_duration(text)?))?;
    if !is_sequence {
        return Ok(Values::TimeRandom { start, max_past: max_past.unwrap_or(DAY_MICROS) });
    }
    let default = rate.map_or(1000, |rate| (1e6 / rate).max(1.0) as i64);
    let step = own.parsed("step", |text| micros(parse_duration(text)?))?.unwrap_or(default);
    Ok(Values::TimeSequence { start, step })
}
