//! Details of a SQL type that its Arrow type lacks: lengths of texts and bytes, and precisions between Arrow's units.
//!
//! A detail is in the metadata of the field that a cast is to, so it reaches nodes with the expression.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, BinaryBuilder, Int64Array, StringViewBuilder},
    datatypes::{DataType, Field, Int64Type, TimeUnit},
};

use super::arrow_cast;

/// The key of a detail in a field's metadata.
const KEY: &str = "thalweg.type";

/// What a SQL type says beyond its Arrow type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Detail {
    /// Nothing.
    #[default]
    None,
    /// `CHAR(n)`: texts of exactly n characters, cut or padded with spaces.
    Char(u32),
    /// `VARCHAR(n)`: texts of at most n characters, cut.
    VarChar(u32),
    /// `BINARY(n)`: exactly n bytes, cut or padded with zeros.
    Binary(u32),
    /// `VARBINARY(n)`: at most n bytes, cut.
    VarBinary(u32),
    /// `TIMESTAMP(n)`: n digits of a second's fraction, rounded down.
    Digits(u32),
}

impl Detail {
    /// The detail in a field's metadata.
    #[must_use]
    pub fn of(field: &Field) -> Self {
        field.metadata().get(KEY).and_then(|text| Self::parse(text)).unwrap_or_default()
    }

    /// The metadata of a field with this detail.
    #[must_use]
    pub fn metadata(self) -> HashMap<String, String> {
        let text = match self {
            Self::None => return HashMap::new(),
            Self::Char(length) => format!("CHAR({length})"),
            Self::VarChar(length) => format!("VARCHAR({length})"),
            Self::Binary(length) => format!("BINARY({length})"),
            Self::VarBinary(length) => format!("VARBINARY({length})"),
            Self::Digits(digits) => format!("TIMESTAMP({digits})"),
        };
        HashMap::from([(KEY.to_owned(), text)])
    }

    fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.split_once('(')?;
        let number = rest.strip_suffix(')')?.parse().ok()?;
        Some(match name {
            "CHAR" => Self::Char(number),
            "VARCHAR" => Self::VarChar(number),
            "BINARY" => Self::Binary(number),
            "VARBINARY" => Self::VarBinary(number),
            "TIMESTAMP" => Self::Digits(number),
            _ => return None,
        })
    }

    /// Fits values to the type. A detail that does not belong to the array's type changes nothing.
    pub(super) fn apply(self, array: &ArrayRef) -> ArrayRef {
        match (self, array.data_type()) {
            (Self::Char(length), DataType::Utf8View) => with_length(array, length, true),
            (Self::VarChar(length), DataType::Utf8View) => with_length(array, length, false),
            (Self::Binary(length), DataType::Binary) => with_bytes(array, length, true),
            (Self::VarBinary(length), DataType::Binary) => with_bytes(array, length, false),
            (Self::Digits(digits), DataType::Timestamp(unit, _)) => with_digits(array, *unit, digits),
            _ => array.clone(),
        }
    }
}

fn with_length(array: &ArrayRef, length: u32, fill: bool) -> ArrayRef {
    let texts = array.as_string_view();
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    // Texts of at most so many bytes have no more characters than that.
    let fits = |bytes: usize| bytes <= length && !fill;
    if texts.lengths().all(|bytes| fits(usize::try_from(bytes).unwrap_or(usize::MAX))) {
        return array.clone();
    }
    let mut made = StringViewBuilder::with_capacity(texts.len());
    let mut filled = String::new();
    for text in texts {
        let Some(text) = text else {
            made.append_null();
            continue;
        };
        let cut = text.char_indices().nth(length).map_or(text, |(end, _)| &text[..end]);
        let missing = if fill { length.saturating_sub(cut.chars().count()) } else { 0 };
        if missing == 0 {
            made.append_value(cut);
        } else {
            filled.clear();
            filled.push_str(cut);
            filled.extend(std::iter::repeat_n(' ', missing));
            made.append_value(&filled);
        }
    }
    Arc::new(made.finish())
}

fn with_bytes(array: &ArrayRef, length: u32, fill: bool) -> ArrayRef {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let mut made = BinaryBuilder::new();
    for bytes in array.as_binary::<i32>() {
        match bytes {
            None => made.append_null(),
            Some(bytes) if fill && bytes.len() < length => {
                let mut filled = bytes.to_vec();
                filled.resize(length, 0);
                made.append_value(filled);
            }
            Some(bytes) => made.append_value(&bytes[..bytes.len().min(length)]),
        }
    }
    Arc::new(made.finish())
}

fn with_digits(array: &ArrayRef, unit: TimeUnit, digits: u32) -> ArrayRef {
    let of_unit: u32 = match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    };
    let step = 10i64.pow(of_unit.saturating_sub(digits));
    if step == 1 {
        return array.clone();
    }
    let floored = |ticks: &ArrayRef| -> ArrayRef {
        // The least value has nothing below it to be rounded to.
        let floor = |tick: i64| tick.checked_sub(tick.rem_euclid(step)).unwrap_or(tick);
        Arc::new(ticks.as_primitive::<Int64Type>().unary::<_, Int64Type>(floor) as Int64Array)
    };
    let ticks = arrow_cast(array, &DataType::Int64).map(|ticks| floored(&ticks));
    ticks.and_then(|ticks| arrow_cast(&ticks, array.data_type())).unwrap_or_else(|_| array.clone())
}
