//! Columns under construction; each parses its own values straight from the text.
//!
//! A column may lag behind the row: the next value, or the end, fills in the missing rows. So a record costs nothing
//! for the fields it lacks, and a key repeated within a record shows in the column's length. After a fault, a column
//! may or may not hold a value for the faulty row; the caller drops that row.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, ArrowPrimitiveType, BinaryBuilder, BooleanBufferBuilder, NullArray, NullBufferBuilder,
        PrimitiveArray, StringViewBuilder,
    },
    compute::cast,
    datatypes::{
        DataType, Date32Type, Decimal128Type, Field, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
        Int64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimeUnit,
        TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type,
        UInt16Type, UInt32Type, UInt64Type,
    },
    error::ArrowError,
};

use super::{
    fault::{Fault, not_utf8},
    number::{Integer, parse_decimal, read_float, read_integer, read_quoted},
    scan::{Scanner, other_as_text},
    text::{read_base64, unescape},
    timestamp::{Moment, TimestampReader, parse_date, parse_time},
};

/// A column under construction.
pub(crate) trait Column: Send {
    /// How many rows it has.
    fn len(&self) -> usize;

    /// Parses the value here as that of `row`, and fills in the rows before it. If the column already has the row, the
    /// fault is a duplicate key.
    fn read(&mut self, scanner: &mut Scanner<'_>, row: usize) -> Result<(), Fault>;

    /// Fills in missing values up to `rows` rows.
    fn pad(&mut self, rows: usize);

    /// Returns an array of `rows` rows and resets the column.
    fn finish(&mut self, rows: usize) -> Result<ArrayRef, ArrowError>;
}

/// A column for a field whose values have no parts; `None` for a nested type, and for one that cannot be read.
pub(super) fn plain_column_of(field: &Field) -> Option<Box<dyn Column>> {
    use DataType as D;
    let nullable = field.is_nullable();
    Some(match field.data_type() {
        D::Null => Box::new(NullColumn { rows: 0 }),
        D::Boolean => Box::new(BooleanColumn::new(nullable)),
        D::Int8 => integer::<Int8Type>(field),
        D::Int16 => integer::<Int16Type>(field),
        D::Int32 => integer::<Int32Type>(field),
        D::Int64 => integer::<Int64Type>(field),
        D::UInt8 => integer::<UInt8Type>(field),
        D::UInt16 => integer::<UInt16Type>(field),
        D::UInt32 => integer::<UInt32Type>(field),
        D::UInt64 => integer::<UInt64Type>(field),
        D::Float32 => scalar::<Float32Type, _>(field, |scanner| Ok(read_float(scanner)?.and_then(narrowed))),
        D::Float64 => scalar::<Float64Type, _>(field, read_float),
        D::Decimal128(precision, scale) => {
            let (precision, scale) = (*precision, *scale);
            scalar::<Decimal128Type, _>(field, move |scanner| read_decimal(scanner, precision, scale))
        }
        D::Timestamp(TimeUnit::Second, _) => timestamp::<TimestampSecondType>(field, TimeUnit::Second),
        D::Timestamp(TimeUnit::Millisecond, _) => timestamp::<TimestampMillisecondType>(field, TimeUnit::Millisecond),
        D::Timestamp(TimeUnit::Microsecond, _) => timestamp::<TimestampMicrosecondType>(field, TimeUnit::Microsecond),
        D::Timestamp(TimeUnit::Nanosecond, _) => timestamp::<TimestampNanosecondType>(field, TimeUnit::Nanosecond),
        D::Date32 => scalar::<Date32Type, _>(field, |scanner| Ok(parse_date(scanner.string()?.as_bytes()))),
        D::Time32(TimeUnit::Second) => time::<Time32SecondType>(field, TimeUnit::Second),
        D::Time32(_) => time::<Time32MillisecondType>(field, TimeUnit::Millisecond),
        D::Time64(TimeUnit::Microsecond) => time::<Time64MicrosecondType>(field, TimeUnit::Microsecond),
        D::Time64(_) => time::<Time64NanosecondType>(field, TimeUnit::Nanosecond),
        D::Utf8View | D::Utf8 | D::LargeUtf8 => Box::new(TextColumn::new(field)),
        D::Binary | D::BinaryView | D::LargeBinary => Box::new(BinaryColumn::new(field)),
        _ => return None,
    })
}

/// The SQL name of a type.
pub(crate) fn sql_name(data_type: &DataType) -> String {
    use DataType as D;
    let precision = |unit: &TimeUnit| super::timestamp::fraction_digits(*unit);
    match data_type {
        D::Boolean => "BOOLEAN".to_owned(),
        D::Int8 => "TINYINT".to_owned(),
        D::Int16 => "SMALLINT".to_owned(),
        D::Int32 => "INT".to_owned(),
        D::Int64 => "BIGINT".to_owned(),
        D::Float32 => "FLOAT".to_owned(),
        D::Float64 => "DOUBLE".to_owned(),
        D::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        D::Timestamp(unit, _) => format!("TIMESTAMP({})", precision(unit)),
        D::Time32(unit) | D::Time64(unit) => format!("TIME({})", precision(unit)),
        D::Date32 => "DATE".to_owned(),
        D::Utf8View | D::Utf8 | D::LargeUtf8 => "STRING".to_owned(),
        D::Binary | D::BinaryView | D::LargeBinary => "BYTES".to_owned(),
        D::Struct(_) => "ROW".to_owned(),
        D::List(item) => format!("ARRAY<{}>", sql_name(item.data_type())),
        D::Map(..) => "MAP".to_owned(),
        other => other.to_string(),
    }
}

/// Refuses a row that the column already has. Otherwise takes `null` if it is here, and returns whether it was.
#[inline]
pub(super) fn begin(column_rows: usize, row: usize, nullable: bool, scanner: &mut Scanner<'_>) -> Result<bool, Fault> {
    if column_rows > row {
        return Err(Fault::duplicate_key());
    }
    if !scanner.take_null()? {
        return Ok(false);
    }
    if !nullable {
        return Err(Fault::new("is NOT NULL, found null"));
    }
    Ok(true)
}

#[cold]
fn mismatch(scanner: &mut Scanner<'_>, start: usize, data_type: &DataType) -> Fault {
    scanner.seek(start);
    scanner.unexpected(&sql_name(data_type))
}

/// A column of fixed-width values, with the function that parses one.
struct Scalar<T: ArrowPrimitiveType, R> {
    values: Vec<T::Native>,
    nulls: NullBufferBuilder,
    nullable: bool,
    data_type: DataType,
    read: R,
}

impl<T, R> Column for Scalar<T, R>
where
    T: ArrowPrimitiveType,
    R: FnMut(&mut Scanner<'_>) -> Result<Option<T::Native>, Fault> + Send,
{
    fn len(&self) -> usize {
        self.values.len()
    }

    #[inline]
    fn read(&mut self, scanner: &mut Scanner<'_>, row: usize) -> Result<(), Fault> {
        if begin(self.values.len(), row, self.nullable, scanner)? {
            self.pad(row + 1);
            return Ok(());
        }
        let start = scanner.position();
        let Some(value) = (self.read)(scanner)? else {
            return Err(mismatch(scanner, start, &self.data_type));
        };
        if self.values.len() < row {
            self.pad(row);
        }
        self.values.push(value);
        self.nulls.append_non_null();
        Ok(())
    }

    fn pad(&mut self, rows: usize) {
        let missing = rows.saturating_sub(self.values.len());
        self.values.resize(self.values.len() + missing, T::Native::default());
        pad_nulls(&mut self.nulls, missing, self.nullable);
    }

    fn finish(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        self.pad(rows);
        let values = std::mem::replace(&mut self.values, Vec::with_capacity(rows));
        let array = PrimitiveArray::<T>::try_new(values.into(), self.nulls.finish())?;
        Ok(Arc::new(array.with_data_type(self.data_type.clone())))
    }
}

/// Adds missing rows: nulls, or defaults if the column is NOT NULL (such rows are dropped, or lie below a null).
pub(crate) fn pad_nulls(nulls: &mut NullBufferBuilder, count: usize, nullable: bool) {
    if nullable {
        nulls.append_n_nulls(count);
    } else {
        nulls.append_n_non_nulls(count);
    }
}

fn scalar<T, R>(field: &Field, read: R) -> Box<dyn Column>
where
    T: ArrowPrimitiveType,
    R: FnMut(&mut Scanner<'_>) -> Result<Option<T::Native>, Fault> + Send + 'static,
{
    Box::new(Scalar::<T, R> {
        values: Vec::new(),
        nulls: NullBufferBuilder::new(0),
        nullable: field.is_nullable(),
        data_type: field.data_type().clone(),
        read,
    })
}

fn integer<T: ArrowPrimitiveType>(field: &Field) -> Box<dyn Column>
where
    T::Native: Integer,
{
    scalar::<T, _>(field, |scanner| Ok(read_integer(scanner)))
}

fn timestamp<T: ArrowPrimitiveType<Native = i64>>(field: &Field, unit: TimeUnit) -> Box<dyn Column> {
    let mut reader = TimestampReader::default();
    scalar::<T, _>(field, move |scanner| {
        if scanner.peek() != b'"' {
            return Ok(None);
        }
        let (raw, escaped) = scanner.raw_string()?;
        let moment = if escaped { reader.read(&unescaped(raw)?) } else { reader.read(raw) };
        let Some(moment) = moment else { return Ok(None) };
        moment.in_unit(unit).map(Some).ok_or_else(|| out_of_range(raw, unit))
    })
}

#[cold]
fn out_of_range(raw: &[u8], unit: TimeUnit) -> Fault {
    let text = String::from_utf8_lossy(raw);
    Fault::new(format!("'{text}' is out of range of TIMESTAMP({})", super::timestamp::fraction_digits(unit)))
}

fn time<T: ArrowPrimitiveType>(field: &Field, unit: TimeUnit) -> Box<dyn Column>
where
    T::Native: TryFrom<i64>,
{
    scalar::<T, _>(field, move |scanner| {
        let nanos = parse_time(scanner.string()?.as_bytes());
        let seconds = |nanos: i64| Moment::from_unit(nanos, TimeUnit::Nanosecond);
        Ok(nanos.and_then(|nanos| seconds(nanos).in_unit(unit)).and_then(|value| T::Native::try_from(value).ok()))
    })
}

fn unescaped(raw: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut text = Vec::with_capacity(raw.len());
    unescape(raw, &mut text)?;
    Ok(text)
}

/// The nearest `f32`.
fn narrow(value: f64) -> f32 {
    #[allow(clippy::cast_possible_truncation, reason = "the range was checked")]
    let nearest = value as f32;
    // Rounding twice can miss the nearest by one unit, but only if the text has more digits than an `f64` keeps.
    nearest
}

/// A FLOAT; `None` if a finite number is too large. An infinity spelled as such stays one.
fn narrowed(value: f64) -> Option<f32> {
    let nearest = narrow(value);
    (nearest.is_finite() || !value.is_finite()).then_some(nearest)
}

/// A decimal, quoted or not.
fn read_decimal(scanner: &mut Scanner<'_>, precision: u8, scale: i8) -> Result<Option<i128>, Fault> {
    if scanner.peek() == b'"' {
        return Ok(read_quoted(scanner, |text| parse_decimal(text, precision, scale)));
    }
    Ok(parse_decimal(scanner.number()?, precision, scale))
}

struct BooleanColumn {
    values: BooleanBufferBuilder,
    nulls: NullBufferBuilder,
    nullable: bool,
}

impl BooleanColumn {
    fn new(nullable: bool) -> Self {
        Self { values: BooleanBufferBuilder::new(0), nulls: NullBufferBuilder::new(0), nullable }
    }
}

#[cold]
fn read_quoted_boolean(scanner: &mut Scanner<'_>) -> Result<bool, Fault> {
    let start = scanner.position();
    match scanner.string()?.trim().to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(mismatch(scanner, start, &DataType::Boolean)),
    }
}

impl Column for BooleanColumn {
    fn len(&self) -> usize {
        self.values.len()
    }

    fn read(&mut self, scanner: &mut Scanner<'_>, row: usize) -> Result<(), Fault> {
        if begin(self.len(), row, self.nullable, scanner)? {
            self.pad(row + 1);
            return Ok(());
        }
        let value = match scanner.peek() {
            b't' => scanner.literal(b"true").map(|()| true)?,
            b'f' => scanner.literal(b"false").map(|()| false)?,
            b'"' => read_quoted_boolean(scanner)?,
            _ => return Err(scanner.unexpected("BOOLEAN")),
        };
        self.pad(row);
        self.values.append(value);
        self.nulls.append_non_null();
        Ok(())
    }

    fn pad(&mut self, rows: usize) {
        let missing = rows.saturating_sub(self.len());
        self.values.append_n(missing, false);
        pad_nulls(&mut self.nulls, missing, self.nullable);
    }

    fn finish(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        self.pad(rows);
        Ok(Arc::new(arrow::array::BooleanArray::new(self.values.finish(), self.nulls.finish())))
    }
}

/// Text in any Arrow encoding: built as views, and cast at the end if the column wants another encoding.
struct TextColumn {
    values: StringViewBuilder,
    rows: usize,
    nullable: bool,
    data_type: DataType,
    scratch: Vec<u8>,
}

impl TextColumn {
    fn new(field: &Field) -> Self {
        Self {
            values: StringViewBuilder::new(),
            rows: 0,
            nullable: field.is_nullable(),
            data_type: field.data_type().clone(),
            scratch: Vec::new(),
        }
    }
}

impl Column for TextColumn {
    fn len(&self) -> usize {
        self.rows
    }

    #[inline]
    fn read(&mut self, scanner: &mut Scanner<'_>, row: usize) -> Result<(), Fault> {
        if begin(self.rows, row, self.nullable, scanner)? {
            self.pad(row + 1);
            return Ok(());
        }
        if scanner.peek() != b'"' {
            let text = other_as_text(scanner)?;
            self.pad(row);
            self.values.append_value(text);
            self.rows = row + 1;
            return Ok(());
        }
        let (raw, escaped) = scanner.raw_string()?;
        if self.rows < row {
            self.pad(row);
        }
        let mut bytes = raw;
        if escaped {
            self.scratch.clear();
            unescape(raw, &mut self.scratch)?;
            bytes = &self.scratch;
        }
        self.values.append_value(std::str::from_utf8(bytes).map_err(|_| not_utf8())?);
        self.rows = row + 1;
        Ok(())
    }

    fn pad(&mut self, rows: usize) {
        for _ in self.rows..rows {
            if self.nullable {
                self.values.append_null();
            } else {
                self.values.append_value("");
            }
        }
        self.rows = self.rows.max(rows);
    }

    fn finish(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        self.pad(rows);
        self.rows = 0;
        let views: ArrayRef = Arc::new(self.values.finish());
        if self.data_type == DataType::Utf8View { Ok(views) } else { cast(&views, &self.data_type) }
    }
}

/// Bytes, from base64 text.
struct BinaryColumn {
    values: BinaryBuilder,
    rows: usize,
    nullable: bool,
    data_type: DataType,
}

impl BinaryColumn {
    fn new(field: &Field) -> Self {
        let data_type = field.data_type().clone();
        Self { values: BinaryBuilder::new(), rows: 0, nullable: field.is_nullable(), data_type }
    }
}

impl Column for BinaryColumn {
    fn len(&self) -> usize {
        self.rows
    }

    fn read(&mut self, scanner: &mut Scanner<'_>, row: usize) -> Result<(), Fault> {
        if begin(self.rows, row, self.nullable, scanner)? {
            self.pad(row + 1);
            return Ok(());
        }
        let start = scanner.position();
        let Some(bytes) = read_base64(scanner.string()?.as_bytes()) else {
            scanner.seek(start);
            return Err(scanner.unexpected("BYTES in base-64"));
        };
        self.pad(row);
        self.values.append_value(bytes);
        self.rows = row + 1;
        Ok(())
    }

    fn pad(&mut self, rows: usize) {
        for _ in self.rows..rows {
            if self.nullable {
                self.values.append_null();
            } else {
                self.values.append_value(b"");
            }
        }
        self.rows = self.rows.max(rows);
    }

    fn finish(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        self.pad(rows);
        self.rows = 0;
        let bytes: ArrayRef = Arc::new(self.values.finish());
        if self.data_type == DataType::Binary { Ok(bytes) } else { cast(&bytes, &self.data_type) }
    }
}

/// A column without a type: every value is NULL.
struct NullColumn {
    rows: usize,
}

impl Column for NullColumn {
    fn len(&self) -> usize {
        self.rows
    }

    fn read(&mut self, scanner: &mut Scanner<'_>, row: usize) -> Result<(), Fault> {
        if self.rows > row {
            return Err(Fault::duplicate_key());
        }
        scanner.skip_value()?;
        self.rows = row + 1;
        Ok(())
    }

    fn pad(&mut self, rows: usize) {
        self.rows = self.rows.max(rows);
    }

    fn finish(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        self.rows = 0;
        Ok(Arc::new(NullArray::new(rows)))
    }
}
