//! Pruning by statistics loses no row, for every kind of column and for edge values.

use std::{fs, sync::Arc};

use ::parquet::{
    arrow::ArrowWriter,
    basic::Compression,
    file::properties::{EnabledStatistics, WriterProperties},
};
use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
        Int8Array, Int32Array, Int64Array, RecordBatch, StringArray, StructArray, TimestampMicrosecondArray,
        TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt32Array,
    },
    buffer::NullBuffer,
    compute::cast,
    datatypes::{DataType, Field, Float64Type, Int64Type, Schema, SchemaRef, TimeUnit},
};
use thalweg_types::graph::{ColumnPredicate, Comparison, PredicateValue};

use crate::{
    open_source,
    testing::{context, read_all, settings, source},
};

const COMPARISONS: [Comparison; 6] = [
    Comparison::Equal,
    Comparison::NotEqual,
    Comparison::Less,
    Comparison::LessOrEqual,
    Comparison::Greater,
    Comparison::GreaterOrEqual,
];

/// A column of a file by row group, its declared type in a table, and constants to compare it with.
struct Column {
    groups: Vec<ArrayRef>,
    declared: DataType,
    constants: Vec<PredicateValue>,
}

impl Column {
    fn new<A: Array + 'static>(groups: Vec<A>, declared: DataType, constants: &[PredicateValue]) -> Self {
        let groups = groups.into_iter().map(|group| Arc::new(group) as ArrayRef).collect();
        Self { groups, declared, constants: constants.to_vec() }
    }
}

fn write(path: &std::path::Path, groups: &[ArrayRef], properties: WriterProperties) {
    let of = |data_type: &DataType| {
        Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false), Field::new("c", data_type.clone(), true)]))
    };
    let schema = of(groups[0].data_type());
    let file = fs::File::create(path).expect("created");
    let mut writer = ArrowWriter::try_new(file, schema.clone(), Some(properties)).expect("a writer");
    let mut next = 0;
    for group in groups {
        let count = i64::try_from(group.len()).expect("few rows");
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(next..next + count));
        next += count;
        writer
            .write(&RecordBatch::try_new(schema.clone(), vec![ids, group.clone()]).expect("a batch"))
            .expect("written");
        writer.flush().expect("a row group");
    }
    writer.close().expect("closed");
}

async fn read(path: &str, columns: &SchemaRef, predicate: Option<ColumnPredicate>) -> RecordBatch {
    let mut spec = source("filesystem", &[("path", path), ("format", "parquet")], columns.clone());
    spec.predicates.extend(predicate);
    let table = open_source(&spec, &settings(8192), &context()).expect("a table");
    let given = read_all(&*table).await.expect("it can be read");
    if given.batches.is_empty() { RecordBatch::new_empty(columns.clone()) } else { given.batch() }
}

fn ids(batch: &RecordBatch) -> Vec<i64> {
    batch.column(0).as_primitive::<Int64Type>().values().to_vec()
}

/// How a table's value compares with a constant; `None` if it is NULL.
fn compare(values: &ArrayRef, row: usize, constant: &PredicateValue) -> Option<std::cmp::Ordering> {
    if values.is_null(row) {
        return None;
    }
    let as_type = |data_type: &DataType| cast(values, data_type).expect("a column of its kind");
    Some(match constant {
        PredicateValue::Integer(wanted) => as_type(&DataType::Int64).as_primitive::<Int64Type>().value(row).cmp(wanted),
        PredicateValue::Float(wanted) => {
            let value = as_type(&DataType::Float64).as_primitive::<Float64Type>().value(row);
            // NaN is greater than all numbers.
            value.partial_cmp(wanted).unwrap_or(std::cmp::Ordering::Greater)
        }
        PredicateValue::Text(wanted) => as_type(&DataType::Utf8).as_string::<i32>().value(row).cmp(wanted),
        PredicateValue::Boolean(wanted) => values.as_boolean().value(row).cmp(wanted),
        PredicateValue::TimestampMicros(wanted) => {
            let per_second = match values.data_type() {
                DataType::Timestamp(TimeUnit::Second, _) => 1,
                DataType::Timestamp(TimeUnit::Millisecond, _) => 1_000,
                DataType::Timestamp(TimeUnit::Microsecond, _) => 1_000_000,
                _ => 1_000_000_000,
            };
            let ticks = i128::from(as_type(&DataType::Int64).as_primitive::<Int64Type>().value(row));
            (ticks * 1_000_000).cmp(&(i128::from(*wanted) * per_second))
        }
    })
}

fn holds(values: &ArrayRef, row: usize, comparison: Comparison, constant: Option<&PredicateValue>) -> bool {
    let ordering = constant.and_then(|constant| compare(values, row, constant));
    let is = |test: fn(std::cmp::Ordering) -> bool| ordering.is_some_and(test);
    match comparison {
        Comparison::Equal => is(std::cmp::Ordering::is_eq),
        Comparison::NotEqual => is(std::cmp::Ordering::is_ne),
        Comparison::Less => is(std::cmp::Ordering::is_lt),
        Comparison::LessOrEqual => is(std::cmp::Ordering::is_le),
        Comparison::Greater => is(std::cmp::Ordering::is_gt),
        Comparison::GreaterOrEqual => is(std::cmp::Ordering::is_ge),
        Comparison::IsNull => values.is_null(row),
        Comparison::IsNotNull => values.is_valid(row),
    }
}

/// How many rows were skipped.
async fn check(column: &Column, properties: WriterProperties) -> usize {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("f.parquet");
    write(&path, &column.groups, properties);
    let path = path.to_str().expect("text");
    let fields = vec![Field::new("id", DataType::Int64, true), Field::new("c", column.declared.clone(), true)];
    let columns: SchemaRef = Arc::new(Schema::new(fields));
    let all = read(path, &columns, None).await;
    let presence = [Comparison::IsNull, Comparison::IsNotNull].map(|comparison| (comparison, None));
    let compared = COMPARISONS.iter().flat_map(|op| column.constants.iter().map(|value| (*op, Some(value.clone()))));
    // For a ROW, compare its first column.
    let (mut names, mut values) = (vec!["c".to_owned()], all.column(1).clone());
    if let DataType::Struct(fields) = &column.declared {
        names.push(fields[0].name().clone());
        let whole = values.as_struct();
        values =
            arrow::compute::nullif(whole.column(0), &arrow::compute::is_null(whole).expect("a mask")).expect("nulls");
    }
    let mut unread = 0;
    for (comparison, value) in presence.into_iter().chain(compared) {
        let predicate = ColumnPredicate { path: names.clone(), comparison, value: value.clone() };
        let read = ids(&read(path, &columns, Some(predicate)).await);
        unread += all.num_rows() - read.len();
        let wanted = (0..all.num_rows()).filter(|row| holds(&values, *row, comparison, value.as_ref()));
        let lost: Vec<usize> = wanted.filter(|row| !read.contains(&ids(&all)[*row])).collect();
        let file = column.groups[0].data_type();
        assert!(lost.is_empty(), "{file} as {}, {comparison:?} {value:?}: lost {lost:?}", column.declared);
    }
    unread
}

fn integers() -> Vec<PredicateValue> {
    [i64::MIN, -8, -7, -1, 0, 1, 127, 128, 2_147_483_647, 4_294_967_295, i64::MAX].map(PredicateValue::Integer).to_vec()
}

fn floats() -> Vec<PredicateValue> {
    [f64::MIN, -1.5, -0.0, 0.0, 1e-300, 0.1, 1.5, f64::MAX].map(PredicateValue::Float).to_vec()
}

fn texts() -> Vec<PredicateValue> {
    ["", " ", "a", "b", "z", "é", "\u{ff}", "日本", "😀", "zzzzzzzzzzzzzzzz"]
        .map(|text| PredicateValue::Text(text.to_owned()))
        .to_vec()
}

fn moments() -> Vec<PredicateValue> {
    [i64::MIN, -62_135_596_800_000_000, -1_000_000, -1_001, -1_000, -999, -1, 0, 1, 999, 1_000, 1_999_999, i64::MAX]
        .map(PredicateValue::TimestampMicros)
        .to_vec()
}

fn numbers() -> Vec<Column> {
    let wide = || {
        vec![
            Int64Array::from(vec![Some(i64::MIN), None]),
            Int64Array::from(vec![Some(-7), Some(-1)]),
            Int64Array::from(vec![None, None]),
            Int64Array::from(vec![Some(0), Some(127)]),
            Int64Array::from(vec![Some(i64::MAX), Some(4_294_967_295)]),
        ]
    };
    let narrow = || {
        vec![
            Int32Array::from(vec![Some(i32::MIN), None]),
            Int32Array::from(vec![-7, 1]),
            Int32Array::from(vec![None, None]),
            Int32Array::from(vec![0, i32::MAX]),
        ]
    };
    let unsigned = vec![UInt32Array::from(vec![u32::MAX, 0]), UInt32Array::from(vec![1, 128])];
    let tiny = vec![Int8Array::from(vec![-128, 127]), Int8Array::from(vec![Some(0), None])];
    let whole = vec![
        Decimal128Array::from(vec![Some(-7), None]).with_precision_and_scale(9, 0).expect("fits"),
        Decimal128Array::from(vec![127, 128]).with_precision_and_scale(9, 0).expect("fits"),
    ];
    let small = vec![
        Decimal128Array::from(vec![Some(-700), None]).with_precision_and_scale(18, 2).expect("fits"),
        Decimal128Array::from(vec![100, 12_800]).with_precision_and_scale(18, 2).expect("fits"),
    ];
    let digits = vec![
        Decimal128Array::from(vec![Some(-(10i128.pow(38) - 1)), None]).with_precision_and_scale(38, 2).expect("fits"),
        Decimal128Array::from(vec![1, 10i128.pow(38) - 1]).with_precision_and_scale(38, 2).expect("fits"),
    ];
    let single = vec![
        Float32Array::from(vec![f32::NAN, -1.5]),
        Float32Array::from(vec![Some(-0.0), None]),
        Float32Array::from(vec![f32::INFINITY, 0.1]),
    ];
    let double = || {
        vec![
            Float64Array::from(vec![f64::NAN, f64::NAN]),
            Float64Array::from(vec![Some(-0.0), None]),
            Float64Array::from(vec![0.0, f64::NAN]),
            Float64Array::from(vec![f64::NEG_INFINITY, 1.5]),
            Float64Array::from(vec![-f64::NAN, 0.1]),
        ]
    };
    let decimal = DataType::Decimal128(38, 2);
    vec![
        Column::new(wide(), DataType::Int64, &integers()),
        Column::new(narrow(), DataType::Int32, &integers()),
        Column::new(narrow(), DataType::Int64, &integers()),
        Column::new(narrow(), DataType::Float64, &floats()),
        Column::new(unsigned, DataType::Int64, &integers()),
        Column::new(tiny, DataType::Int32, &integers()),
        Column::new(whole, DataType::Int64, &integers()),
        Column::new(small, decimal.clone(), &[]),
        Column::new(digits, decimal, &[]),
        Column::new(single, DataType::Float64, &floats()),
        Column::new(double(), DataType::Float64, &floats()),
        Column::new(wide(), DataType::Utf8View, &texts()),
    ]
}

fn times() -> Vec<Column> {
    let timestamp = |unit: TimeUnit| DataType::Timestamp(unit, None);
    let nanos = || {
        vec![
            TimestampNanosecondArray::from(vec![Some(-1), None]),
            TimestampNanosecondArray::from(vec![-1_000_001, -999_999]),
            TimestampNanosecondArray::from(vec![0, 999]),
            TimestampNanosecondArray::from(vec![1_999, 1_999_999_999]),
            TimestampNanosecondArray::from(vec![i64::MIN, i64::MAX]),
        ]
    };
    let micros = || {
        vec![
            TimestampMicrosecondArray::from(vec![Some(-1), None]),
            TimestampMicrosecondArray::from(vec![-1_001, -999]),
            TimestampMicrosecondArray::from(vec![-62_135_596_800_000_000, -1_000_000]),
            TimestampMicrosecondArray::from(vec![0, 253_402_300_799_999_999]),
            TimestampMicrosecondArray::from(vec![None, None]),
        ]
    };
    let millis = || {
        vec![
            TimestampMillisecondArray::from(vec![-1, 0]),
            TimestampMillisecondArray::from(vec![Some(-1_000), None]),
            TimestampMillisecondArray::from(vec![1, 253_402_300_799_999]),
        ]
    };
    let seconds = || vec![TimestampSecondArray::from(vec![Some(-1), None]), TimestampSecondArray::from(vec![0, 1])];
    let mut made = Vec::new();
    for unit in [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond] {
        made.push(Column::new(nanos(), timestamp(unit), &moments()));
        made.push(Column::new(seconds(), timestamp(unit), &moments()));
        if unit != TimeUnit::Nanosecond {
            made.push(Column::new(micros(), timestamp(unit), &moments()));
            made.push(Column::new(millis(), timestamp(unit), &moments()));
        }
    }
    let days = || vec![Date32Array::from(vec![Some(-1), None]), Date32Array::from(vec![0, 2_932_896])];
    made.push(Column::new(days(), DataType::Date32, &[]));
    made.push(Column::new(days(), timestamp(TimeUnit::Microsecond), &moments()));
    made
}

fn others() -> Vec<Column> {
    let long = |text: &str| format!("{}{text}", "z".repeat(200));
    let words = || {
        vec![
            StringArray::from(vec![Some(""), None]),
            StringArray::from(vec!["é", "z"]),
            StringArray::from(vec!["\u{ff}\u{ff}", "😀"]),
            StringArray::from(vec![long("a"), long("\u{10ffff}")]),
            StringArray::from(vec!["\u{10ffff}".repeat(100), "b".to_owned()]),
            StringArray::from(vec![None::<&str>, None]),
        ]
    };
    let digits = vec![StringArray::from(vec!["10", "9"]), StringArray::from(vec![Some("-7"), None])];
    let bytes = vec![BinaryArray::from(vec![&b"a"[..], b"\xc3\xa9"]), BinaryArray::from(vec![&b""[..], b"z"])];
    let flags = vec![BooleanArray::from(vec![Some(true), None]), BooleanArray::from(vec![false, false])];
    let dictionary = |group: StringArray| {
        let data_type = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        cast(&group, &data_type).expect("a dictionary")
    };
    let row = |values: Vec<Option<i64>>, is_there: Vec<bool>| {
        let column: ArrayRef = Arc::new(Int64Array::from(values));
        let fields = vec![Field::new("a", DataType::Int64, true)].into();
        StructArray::new(fields, vec![column], Some(NullBuffer::from(is_there)))
    };
    let rows = vec![
        row(vec![Some(1), Some(5)], vec![false, true]),
        row(vec![None, Some(-7)], vec![true, true]),
        row(vec![Some(1), None], vec![false, false]),
        row(vec![Some(0), Some(127)], vec![true, true]),
    ];
    let declared = rows[0].data_type().clone();
    let by_dictionary = Column {
        groups: words().into_iter().map(dictionary).collect(),
        declared: DataType::Utf8View,
        constants: texts(),
    };
    vec![
        Column::new(words(), DataType::Utf8View, &texts()),
        by_dictionary,
        Column::new(digits, DataType::Int64, &integers()),
        Column::new(bytes, DataType::Utf8View, &texts()),
        Column::new(flags, DataType::Boolean, &[true, false].map(PredicateValue::Boolean)),
        Column::new(rows, declared, &integers()),
    ]
}

async fn check_all(columns: Vec<Column>) {
    let mut unread = 0;
    for column in &columns {
        unread += check(column, WriterProperties::default()).await;
        let short = WriterProperties::builder().set_statistics_truncate_length(Some(2));
        check(column, short.set_compression(Compression::SNAPPY).build()).await;
        let none = WriterProperties::builder().set_statistics_enabled(EnabledStatistics::None).build();
        assert_eq!(check(column, none).await, 0, "nothing is known, and something is left out");
    }
    assert!(unread > 0, "nothing was left out, so nothing was tested");
}

#[tokio::test]
async fn no_row_of_numbers_is_lost() {
    check_all(numbers()).await;
}

#[tokio::test]
async fn no_row_of_times_is_lost() {
    check_all(times()).await;
}

#[tokio::test]
async fn no_row_of_other_kinds_is_lost() {
    check_all(others()).await;
}
