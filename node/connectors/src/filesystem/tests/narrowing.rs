//! Values in columns of a narrower type: all formats give the same, or refuse, and nothing is cut off unseen.

use arrow::{
    array::{
        ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringViewArray, StructArray,
        TimestampMicrosecondArray, new_empty_array,
    },
    datatypes::Field,
};
use thalweg_types::job::FailureKind;

use super::{
    formats::{nested_columns, write},
    *,
};

const SECOND: i64 = 1_000_000;

fn decimal(unscaled: i128, precision: u8, scale: i8) -> ArrayRef {
    Arc::new(Decimal128Array::from(vec![unscaled]).with_precision_and_scale(precision, scale).expect("it fits"))
}

fn integer(value: i64) -> ArrayRef {
    Arc::new(Int64Array::from(vec![value]))
}

fn double(value: f64) -> ArrayRef {
    Arc::new(Float64Array::from(vec![value]))
}

fn text(value: &str) -> ArrayRef {
    Arc::new(StringViewArray::from(vec![value]))
}

fn moment(micros: i64) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(vec![micros]))
}

/// What a file has, the type that is declared, and what is read; `None` where it is refused.
fn cases() -> Vec<(ArrayRef, DataType, Option<&'static str>)> {
    use DataType::{Boolean, Date32, Decimal128, Float32, Float64, Int8, Int32, Int64, Time64, Timestamp};
    let time = Time64(TimeUnit::Nanosecond);
    let millis = || Timestamp(TimeUnit::Millisecond, None);
    vec![
        (decimal(249, 10, 2), Int32, None),
        (decimal(-1, 10, 2), Int32, None),
        (decimal(200, 10, 2), Int32, Some("2")),
        (decimal(3_000_000_000, 20, 0), Int32, None),
        (decimal(10i128.pow(19), 38, 0), Int64, None),
        // As numbers of JSON and CSV, which have digits beyond the scale more often than not.
        (decimal(249, 10, 2), Decimal128(10, 0), Some("2")),
        (decimal(250, 10, 2), Decimal128(10, 0), Some("3")),
        (decimal(-250, 10, 2), Decimal128(10, 0), Some("-3")),
        (decimal(999, 3, 2), Decimal128(1, 0), None),
        (decimal(123_400, 10, 2), Decimal128(5, 2), None),
        (decimal(249, 10, 2), Decimal128(3, 2), Some("2.49")),
        (decimal(249, 10, 2), Float64, Some("2.49")),
        (integer(127), Int8, Some("127")),
        (integer(128), Int8, None),
        (integer(-(1 << 40)), Int32, None),
        (integer(1000), Decimal128(3, 0), None),
        (integer(5), Boolean, None),
        (integer(5), millis(), None),
        (integer(5), Date32, None),
        (double(2.49), Int32, None),
        (double(-0.5), Int8, None),
        (double(2.0), Int32, Some("2")),
        (double(-0.0), Int64, Some("0")),
        (double(3e9), Int32, None),
        (double(1e300), Int64, None),
        (double(f64::NAN), Int64, None),
        (double(f64::INFINITY), Decimal128(38, 0), None),
        (double(2.495), Decimal128(10, 2), Some("2.50")),
        (double(1e300), Float32, None),
        (double(0.1), Float32, Some("0.1")),
        (text("2.49"), Int32, None),
        (text(" 7.0 "), Int32, Some("7")),
        (text("7 a"), Int32, None),
        (text("2.49"), Decimal128(10, 0), Some("2")),
        (text("2026-01-02 10:00:00"), Date32, None),
        (text("2026-01-02"), Date32, Some("\"2026-01-02\"")),
        (text("2026-01-02 00:00:00.1239"), millis(), Some("\"2026-01-02 00:00:00.123\"")),
        (moment(1_999), millis(), Some("\"1970-01-01 00:00:00.001\"")),
        (moment(-1), Timestamp(TimeUnit::Second, None), Some("\"1969-12-31 23:59:59\"")),
        (moment(i64::MAX), Timestamp(TimeUnit::Nanosecond, None), None),
        (moment(36_000 * SECOND), Date32, None),
        (moment(86_400 * SECOND), time, None),
    ]
}

/// What a table of this type reads of a file with this column.
async fn read(format: &str, column: &ArrayRef, declared: &DataType) -> Option<Vec<String>> {
    let (folder, context) = (folder(), context());
    let batch = RecordBatch::try_new(schema(&[("v", column.data_type().clone(), true)]), vec![column.clone()]);
    write(&context, &path(&folder), format, &[], &[batch.expect("one column")]).await;
    let source = table(&context, &path(&folder), format, &[], schema(&[("v", declared.clone(), true)]));
    match read_all(&*source.expect("a table")).await {
        Ok(given) => Some(given.lines()),
        Err(error) => {
            assert_eq!(error.failure_kind(), FailureKind::Data, "{error}");
            None
        }
    }
}

#[tokio::test]
async fn all_formats_read_the_same_or_refuse() {
    for (column, declared, expected) in cases() {
        let line = expected.map(|value| vec![format!("{{\"v\":{value}}}")]);
        for format in ["json", "csv", "parquet"] {
            assert_eq!(read(format, &column, &declared).await, line, "{format}: {column:?} as {declared}");
        }
        let wanted = nested_columns(&new_empty_array(&declared));
        for (column, wanted) in nested_columns(&column).iter().zip(&wanted) {
            let [json, parquet] =
                [read("json", column, wanted.data_type()).await, read("parquet", column, wanted.data_type()).await];
            assert_eq!(json, parquet, "{column:?} as {declared}");
            let has = |value: &str| parquet.as_ref().is_some_and(|lines| lines[0].contains(value));
            assert!(expected.map_or(parquet.is_none(), has), "{column:?} as {declared}: {parquet:?}");
        }
    }
}

/// What only Parquet has a type for is read where nothing is lost.
#[tokio::test]
async fn what_loses_nothing_is_read() {
    let flags: ArrayRef = Arc::new(BooleanArray::from(vec![true]));
    for (column, declared, expected) in [
        (moment(86_400 * SECOND), DataType::Date32, "\"1970-01-02\""),
        (integer(1), DataType::Boolean, "true"),
        (flags, DataType::Int32, "1"),
    ] {
        let given = read("parquet", &column, &declared).await;
        assert_eq!(given, Some(vec![format!("{{\"v\":{expected}}}")]), "{column:?} as {declared}");
    }
}

#[tokio::test]
async fn a_value_of_parquet_that_does_not_fit_is_named_with_its_column_and_row() {
    let cents = Decimal128Array::from_iter_values((0..10).map(|row| if row == 6 { 249 } else { 100 * row }));
    let cents: ArrayRef = Arc::new(cents.with_precision_and_scale(10, 2).expect("they fit"));
    let in_row = |column: &ArrayRef| -> ArrayRef {
        let fields = vec![Field::new("n", column.data_type().clone(), true)];
        Arc::new(StructArray::new(fields.into(), vec![column.clone()], None))
    };
    let lists = |of: &ArrayRef| -> ArrayRef {
        let item = Arc::new(Field::new_list_field(of.data_type().clone(), true));
        // The rows have 0, 3, 2 and 5 items.
        let offsets = arrow::buffer::OffsetBuffer::from_lengths([0, 3, 2, of.len().saturating_sub(5)]);
        Arc::new(arrow::array::ListArray::new(item, offsets, of.clone(), None))
    };
    let none = arrow::array::new_null_array(&DataType::Int32, 10);
    for (column, declared, place, name) in [
        (cents.clone(), DataType::Int32, "row group 0, row 6 of it", "v"),
        (in_row(&cents), in_row(&none).data_type().clone(), "row group 0, row 6 of it", "v.n"),
        (lists(&in_row(&cents)), lists(&in_row(&none)).data_type().clone(), "row group 0, row 3 of it", "v.element.n"),
    ] {
        let (folder, context) = (folder(), context());
        let batch = RecordBatch::try_new(schema(&[("v", column.data_type().clone(), true)]), vec![column]);
        write(&context, &path(&folder), "parquet", &[], &[batch.expect("one column")]).await;
        let source =
            table(&context, &path(&folder), "parquet", &[], schema(&[("v", declared, true)])).expect("a table");
        let error = error_of(&*source).await;
        let reason = format!(
            "as Parquet ({place}): column {name}: DECIMAL(10, 2) '2.49' cannot be cast to INT: a part of it would be lost"
        );
        assert!(error.ends_with(&reason), "{error}");
    }
}
