//! Partitions of a written table in Hive's layout: `a=VALUE/b=VALUE/` below the table's path, for `PARTITIONED BY (a,
//! b)`.
//!
//! A partition's column values are in its directory's name, not in its files. Characters of names and values that have
//! a meaning in paths are written as `%XX`; NULL and the empty text are `__HIVE_DEFAULT_PARTITION__`.

use std::{collections::BTreeMap, fmt::Write as _};

use arrow::{
    array::{Array as _, AsArray as _, RecordBatch, UInt32Array},
    compute::take_record_batch,
    datatypes::{DataType, Schema, SchemaRef},
    error::ArrowError,
};
use thalweg_types::Fault;

use crate::json::{PlainColumn, timestamp::TimestampForm};

/// The directory value for NULL and the empty text.
const DEFAULT_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

/// The longest directory name that file systems accept.
const NAME_BYTES_MAX: usize = 255;

/// The partition columns of a table.
#[derive(Debug, Clone)]
pub(super) struct Partitions {
    /// Column index, and the prefix of the directory's name: `NAME=`.
    columns: Vec<(usize, String)>,
    /// Indexes of the columns stored in the files.
    kept: Vec<usize>,
}

impl Partitions {
    /// The partition columns by their indexes in a table's schema, outermost first; empty if the table has no
    /// partitions.
    pub(super) fn new(partition_by: &[usize], schema: &Schema) -> Result<Self, String> {
        let mut columns = Vec::with_capacity(partition_by.len());
        for index in partition_by {
            let Some(field) = schema.fields().get(*index) else {
                return Err(format!("partition column {index} is not one of its columns"));
            };
            columns.push((*index, format!("{}=", escaped(field.name()))));
        }
        let kept: Vec<usize> = (0..schema.fields().len()).filter(|index| !partition_by.contains(index)).collect();
        if kept.is_empty() && !columns.is_empty() {
            return Err("all columns are partition columns".to_owned());
        }
        Ok(Self { columns, kept })
    }

    /// The prefixes of the directories' names, per level.
    pub(super) fn prefixes(&self) -> Vec<String> {
        self.columns.iter().map(|(_, prefix)| prefix.clone()).collect()
    }

    /// Whether the table has no partitions.
    pub(super) fn are_none(&self) -> bool {
        self.columns.is_empty()
    }

    /// The columns stored in the files.
    pub(super) fn kept(&self, schema: &SchemaRef) -> Result<SchemaRef, ArrowError> {
        if self.columns.is_empty() { Ok(schema.clone()) } else { Ok(schema.project(&self.kept)?.into()) }
    }

    /// The rows with the columns stored in the files.
    pub(super) fn kept_of(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        if self.columns.is_empty() { Ok(batch.clone()) } else { batch.project(&self.kept) }
    }

    /// Splits rows by directory, relative to the table's path. Rows of one directory keep their order.
    pub(super) fn split(&self, batch: &RecordBatch) -> Result<Vec<(String, RecordBatch)>, ArrowError> {
        if self.columns.is_empty() {
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

    /// The rows with a value that makes a directory's name too long.
    pub(super) fn unfit(&self, batch: &RecordBatch) -> Vec<Fault> {
        let mut faults: BTreeMap<usize, Fault> = BTreeMap::new();
        for (index, prefix) in &self.columns {
            let Some(array) = batch.columns().get(*index) else { continue };
            // Only these types are unbounded. An escaped byte takes three.
            let is_long = |length: usize| prefix.len() + 3 * length > NAME_BYTES_MAX;
            let may_be_long = match array.data_type() {
                DataType::Utf8View => array.as_string_view().iter().flatten().any(|text| is_long(text.len())),
                DataType::Utf8 | DataType::LargeUtf8 => true,
                // Written as base64.
                DataType::Binary | DataType::LargeBinary | DataType::BinaryView => true,
                _ => false,
            };
            let column = may_be_long.then(|| PlainColumn::of(array, TimestampForm::Sql)).and_then(Result::ok);
            let Some(column) = column else { continue };
            let (mut value, mut name) = (Vec::new(), String::new());
            for row in (0..batch.num_rows()).filter(|row| array.is_valid(*row)) {
                value.clear();
                column.write(row, &mut value);
                name.clear();
                name.push_str(prefix);
                push_value(&value, &mut name);
                if name.len() > NAME_BYTES_MAX {
                    let bytes = name.len();
                    let reason = format!("the name of its partition has {bytes} bytes, more than {NAME_BYTES_MAX}");
                    let expression = batch.schema_ref().field(*index).name().clone();
                    faults.entry(row).or_insert(Fault { row, expression, place: None, reason });
                }
            }
        }
        faults.into_values().collect()
    }

    fn rows_by_directory(&self, batch: &RecordBatch) -> Result<BTreeMap<String, Vec<u32>>, ArrowError> {
        let columns = self.columns.iter().map(|(index, prefix)| {
            let array = batch.columns().get(*index).ok_or_else(|| {
                ArrowError::SchemaError(format!("there is no column {index} for the partition {prefix}"))
            })?;
            Ok((array, prefix, PlainColumn::of(array, TimestampForm::Sql)?))
        });
        let columns = columns.collect::<Result<Vec<_>, ArrowError>>()?;
        let mut rows: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        let (mut directory, mut value) = (String::new(), Vec::new());
        for (row, number) in (0..batch.num_rows()).zip(0u32..) {
            directory.clear();
            for (array, prefix, column) in &columns {
                value.clear();
                if array.is_valid(row) {
                    column.write(row, &mut value);
                }
                if !directory.is_empty() {
                    directory.push('/');
                }
                directory.push_str(prefix);
                push_value(&value, &mut directory);
            }
            match rows.get_mut(&directory) {
                Some(known) => known.push(number),
                None => _ = rows.insert(directory.clone(), vec![number]),
            }
        }
        Ok(rows)
    }
}

fn push_value(value: &[u8], into: &mut String) {
    match std::str::from_utf8(value) {
        Ok("") => into.push_str(DEFAULT_PARTITION),
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
    let is_special = |c: char| c.is_ascii_control() || r##""#%'*/:=?\{}[]^"##.contains(c);
    for c in text.chars() {
        if is_special(c) {
            write!(into, "%{:02X}", u32::from(c)).expect("text takes everything");
        } else {
            into.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_as_hive_does() {
        assert_eq!(escaped("2026-01-01 00:00:00.5"), "2026-01-01 00%3A00%3A00.5");
        assert_eq!(escaped("a/b=c%{d}\u{1}\u{7f}"), "a%2Fb%3Dc%25%7Bd%7D%01%7F");
        assert_eq!(escaped("..\\ä~<#>"), "..%5Cä~<%23>");
        let mut name = "a=".to_owned();
        push_value(b"", &mut name);
        assert_eq!(name, "a=__HIVE_DEFAULT_PARTITION__");
    }
}
