//! Partitions of a written table: `a=VALUE/b=VALUE/` below the table's path as Hive names them, for `PARTITIONED BY (a,
//! b)`, or by a template (`sink.path-template`).
//!
//! A partition's column values are in its directory's name, not in its files. Characters of names and values that have
//! a meaning in paths are written as `%XX`; NULL and the empty text are `__HIVE_DEFAULT_PARTITION__`. No directory's
//! name begins with a dot or an underscore, which readers pass over: a value that does has `%XX` there.
//!
//! The time when rows came is a column behind all others, which is added to them at once (`with_arrival`): so it stays
//! the same while they wait, as state too.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc, time::Duration};

use arrow::{
    array::{Array as _, ArrayRef, AsArray as _, RecordBatch, TimestampMicrosecondArray, UInt32Array},
    compute::{cast, take_record_batch},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    error::ArrowError,
};
use thalweg_functions::time_pattern::TimePattern;
use thalweg_types::{
    Fault,
    connector::{NULL_DIRECTORY, PathPiece, is_escaped_in_paths},
    graph::SinkOperator,
};

use crate::{
    ConnectorError,
    json::{PlainColumn, timestamp::TimestampForm},
    options::Options,
};

/// The longest directory name that file systems accept.
const NAME_BYTES_MAX: usize = 255;

/// The name of the column of arrival times: no table can declare it.
const ARRIVAL: &str = "\u{0}arrival";

const MICROS: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// How the directories of a table are named.
#[derive(Debug, Clone)]
pub(super) struct Partitions {
    /// The pieces of each level's names.
    levels: Vec<Vec<Piece>>,
    /// Indexes of the columns stored in the files.
    kept: Vec<usize>,
    /// Whether names have the time when rows came.
    has_arrival: bool,
}

#[derive(Debug, Clone)]
enum Piece {
    Text(String),
    /// The value of the column with this index.
    Value(usize),
    /// The time in the column with this index.
    Time(usize, TimePattern),
}

/// A piece, for the rows of one batch.
enum Writer<'a> {
    Text(&'a str),
    Value(&'a ArrayRef, PlainColumn),
    Time(TimestampMicrosecondArray, &'a TimePattern),
}

impl Partitions {
    /// Those of the table that a sink writes, with the columns of `schema`.
    pub(super) fn of_table(spec: &SinkOperator, schema: &Schema) -> Result<Self, ConnectorError> {
        let options = Options::new(&spec.table, &spec.connector);
        Self::new(spec, schema).map_err(|reason| options.error(reason))
    }

    fn new(spec: &SinkOperator, schema: &Schema) -> Result<Self, String> {
        let partition_by = &spec.partition_by;
        let column = |index: usize| {
            schema.fields().get(index).ok_or_else(|| format!("partition column {index} is not one of its columns"))
        };
        let (levels, has_arrival) = match spec.connector.path_template().map_err(|error| error.to_string())? {
            None => {
                let level = |index: &usize| {
                    Ok(vec![Piece::Text(format!("{}=", escaped(column(*index)?.name()))), Piece::Value(*index)])
                };
                (partition_by.iter().map(level).collect::<Result<_, String>>()?, false)
            }
            Some(template) => {
                let find = |name: &str| {
                    let mut named =
                        partition_by.iter().filter(|index| column(**index).is_ok_and(|field| field.name() == name));
                    named.next().copied().ok_or_else(|| format!("the template's '{name}' is no partition column"))
                };
                let time = |pattern: &str| TimePattern::read(pattern).map_err(|error| error.to_string());
                let piece = |piece: &PathPiece| {
                    Ok(match piece {
                        PathPiece::Text(text) => Piece::Text(text.clone()),
                        PathPiece::Column(name) => Piece::Value(find(name)?),
                        PathPiece::Time { column, pattern } => Piece::Time(find(column)?, time(pattern)?),
                        PathPiece::Arrival { pattern } => Piece::Time(schema.fields().len(), time(pattern)?),
                    })
                };
                let level = |pieces: &Vec<PathPiece>| pieces.iter().map(piece).collect::<Result<Vec<_>, String>>();
                (template.levels.iter().map(level).collect::<Result<_, String>>()?, template.has_arrival())
            }
        };
        for index in partition_by {
            column(*index)?;
        }
        let kept: Vec<usize> = (0..schema.fields().len()).filter(|index| !partition_by.contains(index)).collect();
        if kept.is_empty() && !partition_by.is_empty() {
            return Err("all columns are partition columns".to_owned());
        }
        Ok(Self { levels, kept, has_arrival })
    }

    /// What the directories' names begin with, per level.
    pub(super) fn prefixes(&self) -> Vec<String> {
        let prefix = |level: &Vec<Piece>| match level.first() {
            Some(Piece::Text(text)) => {
                let mut name = text.clone();
                show(&mut name, 0);
                name
            }
            Some(Piece::Value(_) | Piece::Time(..)) | None => String::new(),
        };
        self.levels.iter().map(prefix).collect()
    }

    /// Whether the table has no partitions.
    pub(super) fn are_none(&self) -> bool {
        self.levels.is_empty()
    }

    /// The columns stored in the files.
    pub(super) fn kept_schema(&self, schema: &SchemaRef, options: &Options<'_>) -> Result<SchemaRef, ConnectorError> {
        if self.are_none() {
            return Ok(schema.clone());
        }
        schema.project(&self.kept).map(SchemaRef::new).map_err(|error| options.error(error.to_string()))
    }

    /// The rows with the columns stored in the files.
    pub(super) fn kept_of(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        if self.are_none() { Ok(batch.clone()) } else { batch.project(&self.kept) }
    }

    /// The rows with the time when they came, since the Unix epoch, if it is part of directories' names.
    pub(super) fn with_arrival(&self, batch: &RecordBatch, now: Duration) -> Result<RecordBatch, ArrowError> {
        if !self.has_arrival {
            return Ok(batch.clone());
        }
        let mut fields: Vec<Arc<Field>> = batch.schema_ref().fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(ARRIVAL, MICROS, false)));
        let now = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
        let mut columns = batch.columns().to_vec();
        columns.push(Arc::new(TimestampMicrosecondArray::from(vec![now; batch.num_rows()])));
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
    }

    /// Splits rows by directory, relative to the table's path. Rows of one directory keep their order.
    pub(super) fn split(&self, batch: &RecordBatch) -> Result<Vec<(String, RecordBatch)>, ArrowError> {
        if self.are_none() {
            return Ok(vec![(String::new(), batch.clone())]);
        }
        let rows = self.rows_by_directory(batch)?;
        let kept = self.kept_of(batch)?;
        if rows.len() == 1 {
            return Ok(rows.into_keys().map(|directory| (directory, kept.clone())).collect());
        }
        let taken = rows.into_iter().map(|(directory, rows)| {
            let rows = take_record_batch(&kept, &UInt32Array::from(rows))?;
            Ok((directory, rows))
        });
        taken.collect()
    }

    /// The rows with a value that makes a directory's name too long. They have no time of arrival yet.
    pub(super) fn unfit(&self, batch: &RecordBatch) -> Vec<Fault> {
        let mut faults: BTreeMap<usize, Fault> = BTreeMap::new();
        for level in &self.levels {
            let values = level.iter().filter_map(|piece| match piece {
                Piece::Value(index) => Some(*index),
                Piece::Text(_) | Piece::Time(..) => None,
            });
            let indexes: Vec<usize> = values.collect();
            let most = NAME_BYTES_MAX.saturating_sub(fixed_bytes(level)) / indexes.len().max(1);
            let is_long = |index: &usize| batch.columns().get(*index).is_some_and(|array| may_be_long(array, most));
            if !indexes.iter().any(is_long) {
                continue;
            }
            let is_known = |piece: &&Piece| !matches!(piece, Piece::Time(index, _) if *index >= batch.num_columns());
            let reserved = SHORT_BYTES_MAX * level.iter().filter(|piece| !is_known(piece)).count();
            let pieces = level.iter().filter(is_known);
            let Ok(writers) = pieces.map(|piece| writer(piece, batch)).collect::<Result<Vec<_>, _>>() else { continue };
            let (mut value, mut name) = (Vec::new(), String::new());
            for row in 0..batch.num_rows() {
                name.clear();
                push_name(&writers, row, &mut value, &mut name);
                let bytes = name.len() + reserved;
                if bytes > NAME_BYTES_MAX {
                    let reason = format!("the name of its partition has {bytes} bytes, more than {NAME_BYTES_MAX}");
                    let named = indexes.first().map(|index| batch.schema_ref().field(*index).name().clone());
                    let expression = named.unwrap_or_default();
                    faults.entry(row).or_insert(Fault { row, expression, place: None, reason });
                }
            }
        }
        faults.into_values().collect()
    }

    /// The rows of each directory, in order.
    pub(super) fn rows_by_directory(&self, batch: &RecordBatch) -> Result<BTreeMap<String, Vec<u32>>, ArrowError> {
        let levels = self.levels.iter().map(|level| level.iter().map(|piece| writer(piece, batch)).collect());
        let levels = levels.collect::<Result<Vec<Vec<Writer<'_>>>, ArrowError>>()?;
        let mut rows: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        let (mut directory, mut value) = (String::new(), Vec::new());
        for (row, number) in (0..batch.num_rows()).zip(0u32..) {
            directory.clear();
            for level in &levels {
                if !directory.is_empty() {
                    directory.push('/');
                }
                push_name(level, row, &mut value, &mut directory);
            }
            match rows.get_mut(&directory) {
                Some(known) => known.push(number),
                None => _ = rows.insert(directory.clone(), vec![number]),
            }
        }
        Ok(rows)
    }
}

/// The most bytes of a time or a number in a name.
const SHORT_BYTES_MAX: usize = 64;

/// About how many bytes of a name on a level are not of texts.
fn fixed_bytes(level: &[Piece]) -> usize {
    let bytes = |piece: &Piece| match piece {
        Piece::Text(text) => text.len(),
        Piece::Time(..) => SHORT_BYTES_MAX,
        Piece::Value(_) => 0,
    };
    level.iter().map(bytes).sum()
}

/// Whether a value of a column may take more bytes in a name. Only these types are unbounded. An escaped byte takes
/// three.
fn may_be_long(array: &ArrayRef, most: usize) -> bool {
    match array.data_type() {
        DataType::Utf8View => array.as_string_view().iter().flatten().any(|text| 3 * text.len() > most),
        DataType::Utf8 | DataType::LargeUtf8 => true,
        // Written as base64.
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => true,
        _ => most < SHORT_BYTES_MAX,
    }
}

fn writer<'a>(piece: &'a Piece, batch: &'a RecordBatch) -> Result<Writer<'a>, ArrowError> {
    let column = |index: usize| {
        let missing = || ArrowError::SchemaError(format!("there is no column {index} for a partition"));
        batch.columns().get(index).ok_or_else(missing)
    };
    Ok(match piece {
        Piece::Text(text) => Writer::Text(text),
        Piece::Value(index) => {
            let array = column(*index)?;
            Writer::Value(array, PlainColumn::of(array, TimestampForm::Sql)?)
        }
        Piece::Time(index, pattern) => {
            let micros = cast(column(*index)?, &MICROS)?;
            Writer::Time(micros.as_primitive().clone(), pattern)
        }
    })
}

/// Appends the name of a row's directory on one level.
fn push_name(pieces: &[Writer<'_>], row: usize, value: &mut Vec<u8>, into: &mut String) {
    let start = into.len();
    for piece in pieces {
        value.clear();
        match piece {
            Writer::Text(text) => {
                into.push_str(text);
                continue;
            }
            Writer::Value(array, column) if array.is_valid(row) => column.write(row, value),
            Writer::Time(times, pattern) if times.is_valid(row) => {
                let mut text = String::new();
                pattern.write_micros(times.value(row), &mut text);
                value.extend_from_slice(text.as_bytes());
            }
            Writer::Value(..) | Writer::Time(..) => {}
        }
        push_value(value, into);
    }
    show(into, start);
}

/// Readers pass over names that begin so, and `..` is another directory.
fn show(name: &mut String, start: usize) {
    if let Some(first) = name[start..].chars().next().filter(|first| matches!(first, '.' | '_')) {
        let escape = format!("%{:02X}", u32::from(first));
        name.replace_range(start..=start, &escape);
    }
}

fn push_value(value: &[u8], into: &mut String) {
    match std::str::from_utf8(value) {
        Ok("") => into.push_str(NULL_DIRECTORY),
        Ok(text) => push_escaped(text, into),
        Err(_) => push_escaped(&String::from_utf8_lossy(value), into),
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    push_escaped(text, &mut escaped);
    escaped
}

fn push_escaped(text: &str, into: &mut String) {
    for c in text.chars() {
        if is_escaped_in_paths(c) {
            write!(into, "%{:02X}", u32::from(c)).expect("text takes everything");
        } else {
            into.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{Int64Array, StringViewArray, TimestampMillisecondArray},
        datatypes::Int64Type,
    };

    use super::*;
    use crate::testing::sink;

    #[test]
    fn values_are_escaped_as_hive_does() {
        assert_eq!(escaped("2026-01-01 00:00:00.5"), "2026-01-01 00%3A00%3A00.5");
        assert_eq!(escaped("a/b=c%{d}\u{1}\u{7f}"), "a%2Fb%3Dc%25%7Bd%7D%01%7F");
        assert_eq!(escaped("..\\ä~<#>"), "..%5Cä~<%23>");
        let mut name = "a=".to_owned();
        push_value(b"", &mut name);
        assert_eq!(name, "a=__HIVE_DEFAULT_PARTITION__");
    }

    fn rows(values: &[(Option<&str>, Option<i64>)]) -> RecordBatch {
        let schema = Schema::new(vec![
            Field::new("n", DataType::Int64, true),
            Field::new("c", DataType::Utf8View, true),
            Field::new("at", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        ]);
        let numbers = Int64Array::from_iter_values(0..i64::try_from(values.len()).unwrap());
        let texts: StringViewArray = values.iter().map(|(text, _)| *text).collect();
        let times: TimestampMillisecondArray = values.iter().map(|(_, at)| *at).collect();
        RecordBatch::try_new(schema.into(), vec![Arc::new(numbers), Arc::new(texts), Arc::new(times)]).unwrap()
    }

    fn partitions(template: &str, partition_by: &[usize]) -> Partitions {
        let mut spec = sink("filesystem", &[("sink.path-template", template)]);
        spec.partition_by = partition_by.to_vec();
        Partitions::of_table(&spec, rows(&[]).schema_ref()).unwrap()
    }

    #[test]
    fn directories_are_named_by_a_template() {
        let partitions = partitions("{c}/x-{at:yyyy/MM:dd}h/{arrival-time:HH}", &[1, 2]);
        assert_eq!(partitions.prefixes(), ["", "x-", "", ""]);
        let at = Some(1_767_225_600_000);
        let batch = rows(&[(Some("a/b"), at), (None, None), (Some(".."), at), (Some("_x"), at), (Some("a/b"), at)]);
        let batch = partitions.with_arrival(&batch, Duration::from_secs(7 * 3600)).unwrap();
        let mut split = partitions.split(&batch).unwrap();
        split.sort_by_key(|(_, rows)| rows.column(0).as_primitive::<Int64Type>().value(0));
        let names: Vec<(&str, usize)> = split.iter().map(|(name, rows)| (name.as_str(), rows.num_rows())).collect();
        assert_eq!(
            names,
            [
                ("a%2Fb/x-2026/01%3A01h/07", 2),
                ("%5F_HIVE_DEFAULT_PARTITION__/x-__HIVE_DEFAULT_PARTITION__/%5F_HIVE_DEFAULT_PARTITION__h/07", 1),
                ("%2E./x-2026/01%3A01h/07", 1),
                ("%5Fx/x-2026/01%3A01h/07", 1),
            ]
        );
        assert!(split.iter().all(|(_, rows)| rows.num_columns() == 1), "no other column is in the files");
    }

    #[test]
    fn rows_with_a_name_that_is_too_long_are_found() {
        let partitions = partitions("c-{c}/{arrival-time:HH}", &[1]);
        let (long, longest) = ("x".repeat(254), "x".repeat(253));
        let faults = partitions.unfit(&rows(&[(Some(&longest), None), (Some(&long), None), (Some("x"), None)]));
        assert_eq!(faults.len(), 1);
        assert_eq!((faults[0].row, faults[0].expression.as_str()), (1, "c"));
        assert!(faults[0].reason.contains("256 bytes"));
    }

    #[test]
    fn times_count_in_a_name() {
        let partitions = partitions("{c}-{at:yyyy-MM-dd HH:mm:ss}-{arrival-time:HH}", &[1, 2]);
        let (long, short) = ("x".repeat(250), "x".repeat(100));
        let at = Some(1_767_225_600_000);
        let faults = partitions.unfit(&rows(&[(Some(&short), at), (Some(&long), at)]));
        assert_eq!(faults.iter().map(|fault| fault.row).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn a_directory_of_a_column_that_would_be_hidden_is_found_by_its_prefix() {
        let mut spec = sink("filesystem", &[]);
        spec.partition_by = vec![1];
        let fields = ["n", "_c"].map(|name| Field::new(name, DataType::Utf8View, true));
        let partitions = Partitions::of_table(&spec, &Schema::new(fields.to_vec())).unwrap();
        let column = || Arc::new(StringViewArray::from(vec!["x"])) as ArrayRef;
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), vec![column(), column()]).unwrap();
        let (name, _) = partitions.split(&batch).unwrap().remove(0);
        assert_eq!((name.as_str(), partitions.prefixes()), ("%5Fc=x", vec!["%5Fc=".to_owned()]));
    }

    #[test]
    fn a_template_without_columns_keeps_all_of_them() {
        let partitions = partitions("{arrival-time:yyyy-MM-dd}", &[]);
        let batch = partitions.with_arrival(&rows(&[(None, None)]), Duration::ZERO).unwrap();
        let split = partitions.split(&batch).unwrap();
        assert_eq!((split[0].0.as_str(), split[0].1.num_columns()), ("1970-01-01", 3));
    }
}
