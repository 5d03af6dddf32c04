use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    datatypes::{DataType, Field, TimeUnit},
};

use super::{scalar::decimal_in, *};
use crate::{
    json::{Fault, timestamp::Moment},
    testing::{schema, to_lines},
};

fn read(data_type: &DataType, scalars: &[Scalar<'_>]) -> (Vec<String>, Vec<String>) {
    let mut rows = Rows::new(&schema(&[("c", data_type.clone(), true)])).expect("it can be built");
    let mut faults = Vec::new();
    for scalar in scalars {
        let result = rows.read(|root, row| {
            root.read_field(0, |builder| match builder {
                Builder::Scalar(column) => column.push(row, *scalar),
                Builder::Row(_) | Builder::List(_) | Builder::Map(_) => panic!("it has parts"),
            })
        });
        faults.extend(result.err().map(|fault| fault.to_string()));
    }
    (to_lines(&rows.finish().expect("a batch")), faults)
}

#[test]
fn values_go_into_the_columns_that_hold_them() {
    use Scalar as S;
    let micros = TimeUnit::Microsecond;
    let moment = Moment { seconds: -1, nanos: 999_999_999 };
    for (data_type, scalars, lines, faults) in [
        (DataType::Int8, &[S::Integer(-128), S::Integer(128), S::Unsigned(127)][..], &["-128", "127"][..], 1),
        (DataType::Int64, &[S::Unsigned(u64::MAX), S::Integer(i64::MIN)], &["-9223372036854775808"], 1),
        (DataType::Float32, &[S::Double(1e39), S::Double(f64::INFINITY), S::Double(0.1)], &[r#""Infinity""#, "0.1"], 1),
        (DataType::Float64, &[S::Integer(3), S::Float(0.5)], &["3.0", "0.5"], 0),
        (
            DataType::Decimal128(4, 2),
            &[
                S::Decimal { unscaled: 12_345, scale: 3 },
                S::Decimal { unscaled: -12_345, scale: 3 },
                S::Decimal { unscaled: 99_995, scale: 3 },
                S::Integer(99),
                S::Unsigned(100),
                S::Literal(" 1.005 "),
                S::Decimal { unscaled: i128::MAX, scale: 100 },
            ],
            &["12.35", "-12.35", "99.00", "1.01", "0.00"],
            2,
        ),
        (DataType::Utf8View, &[S::Text("é"), S::Bytes("ü".as_bytes()), S::Bytes(&[0xff])], &[r#""é""#, r#""ü""#], 1),
        (DataType::LargeUtf8, &[S::Text("x")], &[r#""x""#], 0),
        (DataType::Binary, &[S::Bytes(&[0]), S::Text("a")], &[r#""AA==""#, r#""YQ==""#], 0),
        (DataType::BinaryView, &[S::Bytes(&[0])], &[r#""AA==""#], 0),
        (DataType::Date32, &[S::Date(-1), S::Literal("2026-01-01")], &[r#""1969-12-31""#, r#""2026-01-01""#], 0),
        (
            DataType::Time64(TimeUnit::Nanosecond),
            &[S::Time(1), S::Time(-1), S::Time(86_400_000_000_000), S::Literal("01:00:00.5")],
            &[r#""00:00:00.000000001""#, r#""01:00:00.500000000""#],
            2,
        ),
        (
            DataType::Timestamp(TimeUnit::Millisecond, None),
            &[S::Timestamp(-1, micros), S::Moment(moment), S::Timestamp(i64::MAX, TimeUnit::Second)],
            &[r#""1969-12-31 23:59:59.999""#, r#""1969-12-31 23:59:59.999""#],
            1,
        ),
        (
            DataType::Timestamp(micros, None),
            &[S::Timestamp(1, micros), S::Literal("x")],
            &[r#""1970-01-01 00:00:00.000001""#],
            1,
        ),
        (DataType::Boolean, &[S::Boolean(true), S::Integer(1)], &["true"], 1),
    ] {
        let (got, wrong) = read(&data_type, scalars);
        let expected: Vec<String> = lines.iter().map(|value| format!(r#"{{"c":{value}}}"#)).collect();
        assert_eq!(got, expected, "{data_type}: {wrong:?}");
        assert_eq!(wrong.len(), faults, "{data_type}: {wrong:?}");
        assert!(wrong.iter().all(|fault| fault.starts_with("c: expected ")), "{wrong:?}");
    }
}

#[test]
fn decimals_change_their_scale_as_text_does() {
    for (from, precision, to, expected) in [
        ((15, 1), 38, 0, Some(2)),
        ((-15, 1), 38, 0, Some(-2)),
        ((14, 1), 38, 0, Some(1)),
        ((1, 0), 38, 37, Some(10i128.pow(37))),
        ((1, 0), 38, 38, None),
        ((0, 0), 38, 38, Some(0)),
        ((i128::MIN, 0), 38, 0, None),
        ((i128::MIN, 38), 38, 0, Some(-2)),
        ((95, 1), 1, 0, None),
    ] {
        assert_eq!(decimal_in(from, precision, to), expected, "{from:?} in {precision}, {to}");
    }
}

fn nested() -> DataType {
    let item = DataType::Struct(vec![Field::new("n", DataType::Int32, true)].into());
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

fn numbers(builder: &mut Builder, row: usize, items: &[Option<i64>]) -> Result<(), Fault> {
    let Builder::List(list) = builder else { panic!("it is a list") };
    list.begin(row);
    for (index, number) in items.iter().enumerate() {
        let read = list.read_item(|item, at| {
            let Builder::Row(fields) = item else { panic!("it is a row") };
            fields.read_row(at, |fields| {
                fields.read_field(0, |field| match (field, number) {
                    (Builder::Scalar(column), Some(number)) => column.push(at, Scalar::Integer(*number)),
                    (field, None) => field.push_null(at),
                    _ => panic!("it is a number"),
                })
            })
        });
        read.map_err(|fault| fault.of_field(&format!("[{}]", index + 1)))?;
    }
    list.end();
    Ok(())
}

/// Whatever a faulty row left in the columns, the others are whole.
#[test]
fn a_fault_in_an_item_takes_its_row_alone() {
    let mut rows =
        Rows::new(&schema(&[("l", nested(), true), ("m", DataType::Int64, false)])).expect("it can be built");
    let mut read = |items: Option<&[Option<i64>]>| {
        rows.read(|root, row| {
            root.read_field(0, |list| match items {
                Some(items) => numbers(list, row, items),
                None => list.push_null(row),
            })?;
            root.read_field(1, |field| match field {
                Builder::Scalar(column) => column.push(row, Scalar::Integer(7)),
                _ => panic!("it is a number"),
            })
        })
    };
    read(Some(&[Some(1), None])).expect("it fits");
    let fault = read(Some(&[Some(2), Some(i64::MAX), Some(3)])).expect_err("it is too large");
    assert_eq!(fault.to_string(), "l[2].n: expected INT, found 9223372036854775807");
    read(None).expect("it is nullable");
    read(Some(&[])).expect("it fits");
    read(Some(&[Some(4)])).expect("it fits");
    assert_eq!(rows.len(), 4);
    let batch = rows.finish().expect("a batch");
    assert_eq!(
        to_lines(&batch),
        [r#"{"l":[{"n":1},{"n":null}],"m":7}"#, r#"{"l":null,"m":7}"#, r#"{"l":[],"m":7}"#, r#"{"l":[{"n":4}],"m":7}"#]
    );
    assert_eq!(rows.finish().expect("an empty batch").num_rows(), 0);
}

#[test]
fn null_is_refused_where_a_column_has_none() {
    for data_type in [DataType::Int64, DataType::Utf8View, nested()] {
        let mut rows = Rows::new(&schema(&[("c", data_type, false)])).expect("it can be built");
        let fault = rows.read(|root, row| root.read_field(0, |column| column.push_null(row))).expect_err("it has none");
        assert_eq!(fault.to_string(), "c: is NOT NULL, found NULL");
        assert_eq!(rows.finish().expect("a batch without the row").num_rows(), 0);
    }
    let unknown = schema(&[("c", DataType::Duration(TimeUnit::Second), true)]);
    assert!(Rows::new(&unknown).is_err_and(|reason| reason.starts_with("column c: type Duration")));
}

#[test]
fn rows_without_columns_are_counted() {
    let mut rows = Rows::new(&schema(&[])).expect("it can be built");
    for _ in 0..3 {
        rows.read(|_, _| Ok(())).expect("nothing is read");
    }
    assert_eq!(rows.finish().expect("a batch").num_rows(), 3);
}

/// What is read out of arrays is what columns are built of.
#[test]
fn cells_give_what_columns_take() {
    let samples: Vec<ArrayRef> = vec![
        Arc::new(arrow::array::Int16Array::from(vec![Some(i16::MIN), None])),
        Arc::new(arrow::array::Float32Array::from(vec![Some(f32::MIN), None])),
        Arc::new(arrow::array::LargeStringArray::from(vec![Some("ä"), None])),
        Arc::new(arrow::array::LargeBinaryArray::from(vec![Some(&b"\xff"[..]), None])),
        Arc::new(arrow::array::Time32MillisecondArray::from(vec![Some(1), None])),
        Arc::new(arrow::array::TimestampSecondArray::from(vec![Some(-1), None]).with_timezone("UTC")),
    ];
    for array in samples {
        let wanted = match array.data_type() {
            DataType::Time32(_) => DataType::Time64(TimeUnit::Nanosecond),
            other => other.clone(),
        };
        let cells = Cells::of(&array).expect("it can be read");
        assert!(!cells.is_null(0) && cells.is_null(1));
        let mut rows = Rows::new(&schema(&[("c", wanted.clone(), true)])).expect("it can be built");
        for row in 0..2 {
            let read = rows.read(|root, at| {
                root.read_field(0, |builder| match (builder, cells.is_null(row)) {
                    (Builder::Scalar(column), false) => column.push(at, cells.scalar(row).expect("it has no parts")),
                    (builder, _) => builder.push_null(at),
                })
            });
            read.expect("it fits");
        }
        let made: RecordBatch = rows.finish().expect("a batch");
        assert_eq!(made.column(0).data_type(), &wanted);
        assert_eq!(made.column(0).null_count(), 1);
        if array.data_type() == &wanted {
            assert_eq!(made.column(0), &array);
        } else {
            assert_eq!(made.column(0).as_primitive::<arrow::datatypes::Time64NanosecondType>().value(0), 1_000_000);
        }
    }
}
