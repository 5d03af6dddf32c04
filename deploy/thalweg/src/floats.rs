//! Writes floats that JSON has no numbers for as the JSON format of tables does: `"NaN"`, `"Infinity"`,
//! `"-Infinity"`.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, StringArray},
    datatypes::{DataType, FieldRef, Float32Type, Float64Type},
    error::ArrowError,
    json::writer::{Encoder, EncoderFactory, EncoderOptions, NullableEncoder, WriterBuilder},
    util::display::{ArrayFormatter, FormatOptions},
};

/// A builder of JSON writers that lose no value: they write NULLs, and non-finite floats as text.
pub(crate) fn json_writer() -> WriterBuilder {
    WriterBuilder::new().with_explicit_nulls(true).with_encoder_factory(Arc::new(Floats))
}

/// A column for CSV and tables, where non-finite floats are named as in JSON.
pub(crate) fn with_named_floats(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let all_finite = match column.data_type() {
        DataType::Float32 => column.as_primitive::<Float32Type>().iter().flatten().all(f32::is_finite),
        DataType::Float64 => column.as_primitive::<Float64Type>().iter().flatten().all(f64::is_finite),
        _ => true,
    };
    if all_finite {
        return Ok(column.clone());
    }
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
    let text = |at| {
        let text = column.is_valid(at).then(|| formatter.value(at).try_to_string()).transpose()?;
        Ok(text.map(|text| text.replace("inf", "Infinity")))
    };
    Ok(Arc::new((0..column.len()).map(text).collect::<Result<StringArray, ArrowError>>()?))
}

#[derive(Debug)]
struct Floats;

impl EncoderFactory for Floats {
    fn make_default_encoder<'a>(
        &self,
        _field: &'a FieldRef,
        array: &'a dyn Array,
        _options: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        let encoder: Box<dyn Encoder + 'a> = match array.data_type() {
            DataType::Float32 => Box::new(FloatEncoder(array.as_primitive::<Float32Type>())),
            DataType::Float64 => Box::new(FloatEncoder(array.as_primitive::<Float64Type>())),
            _ => return Ok(None),
        };
        Ok(Some(NullableEncoder::new(encoder, array.nulls().cloned())))
    }
}

struct FloatEncoder<'a, T: ArrowPrimitiveType>(&'a PrimitiveArray<T>);

impl<T: ArrowPrimitiveType> Encoder for FloatEncoder<'_, T>
where
    T::Native: Into<f64> + serde::Serialize,
{
    fn encode(&mut self, at: usize, out: &mut Vec<u8>) {
        let value = self.0.value(at);
        let wide: f64 = value.into();
        let word = match (wide.is_nan(), wide.is_infinite(), wide > 0.0) {
            (true, _, _) => "\"NaN\"",
            (_, true, true) => "\"Infinity\"",
            (_, true, false) => "\"-Infinity\"",
            _ => return out.extend(serde_json::to_vec(&value).unwrap_or_else(|_| b"null".to_vec())),
        };
        out.extend_from_slice(word.as_bytes());
    }
}
