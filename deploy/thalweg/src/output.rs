//! Results on standard output: the rows of SELECTs and lists of what a cluster has. Messages go to standard error.
//!
//! With several SELECTs, rows come in turn. JSON lines and lines of tables carry the query's number, and each table
//! has its head once. CSV is printed in blocks, each with its head. The reader may close the output at any time (`|
//! head`): this is an error that can be told apart.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, IsTerminal, Write},
    sync::Arc,
};

use anyhow::Result;
use arrow::{
    array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StringArray, UInt32Array},
    csv,
    datatypes::{DataType, Field, Schema, SchemaRef},
    json,
    util::display::{ArrayFormatter, DurationFormat, FormatOptions},
};
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use thiserror::Error;

use crate::{
    args::OutputFormat,
    floats::{json_writer, with_named_floats},
    times::with_times_as_text,
};

/// The widest column of a table of rows.
const COLUMN_WIDTH_MAX: usize = 60;

/// Standard output could not be written to.
#[derive(Debug, Error)]
#[error("could not write to the standard output")]
pub struct OutputError(#[source] io::Error);

impl OutputError {
    /// The error for an output whose reader is gone.
    #[must_use]
    pub fn unwanted() -> Self {
        Self(io::ErrorKind::BrokenPipe.into())
    }

    /// Whether the reader is gone.
    #[must_use]
    pub fn is_unwanted(&self) -> bool {
        self.0.kind() == io::ErrorKind::BrokenPipe
    }
}

/// Writes a text to standard output.
///
/// # Errors
/// If it cannot be written.
pub fn print(text: &str) -> Result<(), OutputError> {
    write_to(&mut io::stdout().lock(), text.as_bytes())
}

/// Prints a message for the user to standard error. Errors are ignored, since there may be no reader.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Writes all bytes and flushes them.
///
/// # Errors
/// If they cannot be written.
pub fn write_to(out: &mut impl Write, bytes: &[u8]) -> Result<(), OutputError> {
    out.write_all(bytes).and_then(|()| out.flush()).map_err(OutputError)
}

/// Prints the rows of a job's SELECTs.
#[derive(Debug)]
pub struct RowPrinter<W> {
    out: W,
    /// The output that is being built, written at once.
    text: Vec<u8>,
    format: OutputFormat,
    has_several: bool,
    seen: BTreeSet<u32>,
    last: Option<u32>,
    /// Column widths of each SELECT's table.
    widths: BTreeMap<u32, Vec<usize>>,
}

impl<W: Write> RowPrinter<W> {
    /// A printer for `queries` SELECTs.
    pub fn new(out: W, format: OutputFormat, queries: usize) -> Self {
        let (text, seen, widths) = (Vec::new(), BTreeSet::new(), BTreeMap::new());
        Self { out, text, format, has_several: queries > 1, seen, last: None, widths }
    }

    /// Prints rows of one SELECT.
    ///
    /// # Errors
    /// If they cannot be shown or written.
    pub fn print(&mut self, query: u32, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 { Ok(()) } else { self.print_block(query, batch) }
    }

    /// Prints the heads of SELECTs that have given no rows, in order.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn finish<'a>(&mut self, schemas: impl IntoIterator<Item = (u32, &'a SchemaRef)>) -> Result<()> {
        for (query, schema) in schemas {
            if self.format != OutputFormat::Json && !self.seen.contains(&query) {
                self.print_block(query, &RecordBatch::new_empty(schema.clone()))?;
            }
        }
        Ok(())
    }

    fn print_block(&mut self, query: u32, batch: &RecordBatch) -> Result<()> {
        let is_first = self.seen.insert(query);
        self.text.clear();
        let is_new = if self.format == OutputFormat::Table { is_first } else { self.last != Some(query) };
        if is_new && self.has_several && self.format != OutputFormat::Json {
            if self.last.is_some() {
                writeln!(self.text)?;
            }
            if self.format == OutputFormat::Table {
                writeln!(self.text, "-- SELECT {}", query + 1)?;
            }
        }
        self.last = Some(query);
        let batch = with_times_as_text(batch)?;
        match self.format {
            OutputFormat::Table => self.add_table(query, &batch, is_new)?,
            OutputFormat::Json => self.add_json(query, &batch)?,
            OutputFormat::Csv => {
                let mut writer = csv::WriterBuilder::new().with_header(is_new).build(&mut self.text);
                let batch = with_nested_as_text(&batch)?;
                writer.write(&if self.has_several { with_query(query + 1, &batch)? } else { batch })?;
            }
        }
        Ok(write_to(&mut self.out, &self.text)?)
    }

    fn add_json(&mut self, query: u32, batch: &RecordBatch) -> Result<()> {
        let mut lines = Vec::new();
        let mut writer = json_writer().build::<_, json::writer::LineDelimited>(&mut lines);
        writer.write(batch)?;
        writer.finish()?;
        if !self.has_several {
            self.text.append(&mut lines);
            return Ok(());
        }
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            write!(self.text, "{{\"query\":{},\"row\":", query + 1)?;
            self.text.extend_from_slice(line);
            self.text.extend_from_slice(b"}\n");
        }
        Ok(())
    }

    fn add_table(&mut self, query: u32, batch: &RecordBatch, with_head: bool) -> Result<()> {
        let (mut rows, fields) = (texts(batch)?, batch.schema_ref().fields());
        let mut head: Vec<String> = fields.iter().map(|field| field.name().clone()).collect();
        let mut is_right: Vec<bool> = fields.iter().map(|field| field.data_type().is_numeric()).collect();
        if self.has_several {
            let number = (query + 1).to_string();
            rows.iter_mut().for_each(|row| row.insert(0, number.clone()));
            head.insert(0, "#".to_owned());
            is_right.insert(0, true);
        }
        let width_of = |column: usize| {
            let cells = rows.iter().chain([&head]).map(|row| width(&row[column]));
            cells.max().unwrap_or_default().min(COLUMN_WIDTH_MAX)
        };
        let widths = self.widths.entry(query).or_insert_with(|| (0..head.len()).map(width_of).collect());
        let rule = || widths.iter().map(|width| "─".repeat(*width)).collect();
        let lines = if with_head { vec![(head, false), (rule(), false)] } else { Vec::new() };
        for (cells, is_row) in lines.into_iter().chain(rows.into_iter().map(|row| (row, true))) {
            let is_right: Vec<bool> = is_right.iter().map(|right| *right && is_row).collect();
            let line = aligned(&cells, widths, &is_right);
            self.text.extend_from_slice(line.trim_end().as_bytes());
            self.text.push(b'\n');
        }
        Ok(())
    }
}

/// A line of cells, each padded on its side to the column's width.
#[must_use]
pub fn aligned(cells: &[String], widths: &[usize], is_right: &[bool]) -> String {
    let mut line = String::new();
    for ((cell, width_of_column), right) in cells.iter().zip(widths).zip(is_right) {
        let padding = " ".repeat(width_of_column.saturating_sub(width(cell)));
        match right {
            true => line.extend([&padding, cell, "  "].map(|part| part as &str)),
            false => line.extend([cell, &padding, "  "].map(|part| part as &str)),
        }
    }
    line
}

/// Every value of a batch as text, row by row.
///
/// # Errors
/// If a column's type cannot be shown.
pub fn texts(batch: &RecordBatch) -> Result<Vec<Vec<String>>> {
    let options = FormatOptions::default()
        .with_null("NULL")
        .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
        .with_datetime_format(Some("%Y-%m-%d %H:%M:%S%.f"))
        .with_duration_format(DurationFormat::Pretty);
    let named = batch.columns().iter().map(with_named_floats).collect::<Result<Vec<_>, _>>()?;
    let columns = named.iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let cell = |column: &ArrayFormatter<'_>, at| Ok(in_one_line(column.value(at).try_to_string()?));
    let row = |at| columns.iter().map(|column| cell(column, at)).collect::<Result<Vec<_>>>();
    (0..batch.num_rows()).map(row).collect()
}

/// Escapes control characters, which would break the lines of a table or control the terminal.
fn in_one_line(text: String) -> String {
    match text.contains(char::is_control) {
        true => {
            text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
        }
        false => text,
    }
}

/// Turns nested columns into JSON text.
fn with_nested_as_text(batch: &RecordBatch) -> Result<RecordBatch> {
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        if field.data_type().is_nested() {
            fields.push(Field::new(field.name(), DataType::Utf8, true));
            columns.push(nested_as_text(column)?);
        } else {
            let column = with_named_floats(column)?;
            fields.push(field.as_ref().clone().with_data_type(column.data_type().clone()));
            columns.push(column);
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
}

fn nested_as_text(column: &ArrayRef) -> Result<ArrayRef> {
    const BEFORE: &str = "{\"v\":";
    let schema = Schema::new(vec![Field::new("v", column.data_type().clone(), true)]);
    let mut lines = Vec::new();
    let mut writer = json_writer().build::<_, json::writer::LineDelimited>(&mut lines);
    writer.write(&RecordBatch::try_new(Arc::new(schema), vec![column.clone()])?)?;
    writer.finish()?;
    let lines = String::from_utf8(lines)?;
    let value =
        |line: &str| line.strip_prefix(BEFORE)?.strip_suffix('}').map(str::to_owned).filter(|text| text != "null");
    Ok(Arc::new(lines.lines().map(value).collect::<StringArray>()))
}

/// Adds the number of the SELECT as the first column.
fn with_query(number: u32, batch: &RecordBatch) -> Result<RecordBatch> {
    let fields = batch.schema_ref().fields().iter().cloned();
    let numbers: ArrayRef = Arc::new(UInt32Array::from(vec![number; batch.num_rows()]));
    let fields: Vec<_> = [Arc::new(Field::new("query", DataType::UInt32, false))].into_iter().chain(fields).collect();
    let columns = [numbers].into_iter().chain(batch.columns().iter().cloned()).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// The width of a text, in characters.
#[must_use]
pub fn width(text: &str) -> usize {
    text.chars().count()
}

/// The width of the terminal; unlimited if standard output is none.
#[must_use]
pub fn columns_of_terminal() -> usize {
    let size = io::stdout().is_terminal().then(crossterm::terminal::size);
    size.and_then(Result::ok).map_or(usize::MAX, |(columns, _)| usize::from(columns))
}

/// Prints a list: a table of the given columns, or each item as JSON, or CSV.
///
/// # Errors
/// If it cannot be written.
pub fn print_list<T: Serialize>(
    format: OutputFormat,
    head: &[&str],
    items: &[T],
    row: impl Fn(&T) -> Vec<String>,
) -> Result<()> {
    let mut lines = Vec::new();
    match format {
        OutputFormat::Json => {
            for item in items {
                lines.push(serde_json::to_string(item)?);
            }
        }
        OutputFormat::Csv => {
            lines.push(head.join(","));
            lines.extend(
                items.iter().map(|item| row(item).iter().map(|cell| quoted(cell)).collect::<Vec<_>>().join(",")),
            );
        }
        OutputFormat::Table => {
            let mut table = Table::new();
            table.load_preset(presets::NOTHING).set_header(head).add_rows(items.iter().map(row));
            if let Ok(columns @ 1..) = u16::try_from(columns_of_terminal()) {
                table.set_content_arrangement(ContentArrangement::Dynamic).set_width(columns);
            }
            for column in table.column_iter_mut() {
                column.set_padding((0, 2));
            }
            lines.extend(table.to_string().lines().map(|line| line.trim_end().to_owned()));
        }
    }
    lines.push(String::new());
    Ok(print(&lines.join("\n"))?)
}

fn quoted(cell: &str) -> String {
    match cell.contains([',', '"', '\n']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    }
}

/// Groups digits by threes: 1234567 is `1,234,567`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A duration in microseconds as text: 1234 is `1.2 ms`.
#[must_use]
pub fn millis_text(micros: u64) -> String {
    format!("{}.{} ms", micros / 1000, micros % 1000 / 100)
}

/// A watermark in microseconds as text.
#[must_use]
pub fn watermark_text(micros: i64) -> String {
    match micros {
        i64::MIN => "-".to_owned(),
        i64::MAX => "end".to_owned(),
        micros => chrono::DateTime::from_timestamp_micros(micros)
            .map_or_else(|| format!("{micros} us"), |time| time.format("%Y-%m-%d %H:%M:%S%.f").to_string()),
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{
            Float32Array, Float64Array, Int64Array, ListArray, StructArray, TimestampMicrosecondArray,
            TimestampMillisecondArray,
        },
        datatypes::Int32Type,
    };

    use super::*;

    fn batch(first: i64) -> RecordBatch {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(first), None]));
        let words: ArrayRef = Arc::new(StringArray::from(vec!["a,b", "é"]));
        RecordBatch::try_from_iter([("n", numbers), ("word", words)]).unwrap()
    }

    fn printed(format: OutputFormat, queries: usize, batches: &[(u32, RecordBatch)]) -> String {
        let mut out = Vec::new();
        let mut printer = RowPrinter::new(&mut out, format, queries);
        for (query, batch) in batches {
            printer.print(*query, batch).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_table_has_one_head_and_aligned_columns() {
        let text = printed(OutputFormat::Table, 1, &[(0, batch(1000)), (0, batch(7))]);
        assert_eq!(text, "n     word\n────  ────\n1000  a,b\nNULL  é\n   7  a,b\nNULL  é\n");
    }

    #[test]
    fn rows_of_several_tables_that_come_in_turn_carry_their_number_below_one_head_each() {
        let text = printed(OutputFormat::Table, 2, &[(0, batch(1000)), (1, batch(2)), (0, batch(7)), (1, batch(3))]);
        let lines = [
            "-- SELECT 1",
            "#  n     word",
            "─  ────  ────",
            "1  1000  a,b",
            "1  NULL  é",
            "",
            "-- SELECT 2",
            "#  n     word",
            "─  ────  ────",
            "2     2  a,b",
            "2  NULL  é",
            "1     7  a,b",
            "1  NULL  é",
            "2     3  a,b",
            "2  NULL  é",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), lines);
    }

    #[test]
    fn maps_of_any_keys_are_shown_and_their_times_as_elsewhere() {
        use arrow::{
            array::{Int32Builder, MapBuilder, StringBuilder, TimestampMillisecondBuilder},
            compute::concat,
        };
        let mut map = MapBuilder::new(None, Int32Builder::new(), TimestampMillisecondBuilder::new());
        map.keys().append_slice(&[1, -2]);
        map.values().append_slice(&[0, 1_500]);
        map.append(true).unwrap();
        map.append(false).unwrap();
        let map: ArrayRef = Arc::new(map.finish());
        let batch = RecordBatch::try_from_iter([("m", concat(&[map.as_ref()]).unwrap())]).unwrap();
        let json = printed(OutputFormat::Json, 1, &[(0, batch.clone())]);
        assert_eq!(
            json,
            "{\"m\":{\"1\":\"1970-01-01 00:00:00.000\",\"-2\":\"1970-01-01 00:00:01.500\"}}\n{\"m\":null}\n"
        );
        let csv = printed(OutputFormat::Csv, 1, &[(0, batch)]);
        assert!(csv.contains("\"\"-2\"\":\"\"1970-01-01 00:00:01.500\"\""), "{csv}");
        let mut texts = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
        texts.keys().append_value("a");
        texts.values().append_null();
        texts.append(true).unwrap();
        let texts: ArrayRef = Arc::new(texts.finish());
        let batch = RecordBatch::try_from_iter([("m", texts)]).unwrap();
        assert_eq!(printed(OutputFormat::Json, 1, &[(0, batch)]), "{\"m\":{\"a\":null}}\n");
    }

    #[test]
    fn json_lines_carry_the_query_only_where_there_are_several() {
        assert_eq!(
            printed(OutputFormat::Json, 1, &[(0, batch(1))]),
            "{\"n\":1,\"word\":\"a,b\"}\n{\"n\":null,\"word\":\"é\"}\n"
        );
        let several = printed(OutputFormat::Json, 2, &[(1, batch(1))]);
        assert_eq!(several.lines().next(), Some("{\"query\":2,\"row\":{\"n\":1,\"word\":\"a,b\"}}"));
    }

    #[test]
    fn csv_has_one_head_per_block() {
        let text = printed(OutputFormat::Csv, 1, &[(0, batch(1)), (0, batch(2))]);
        assert_eq!(text, "n,word\n1,\"a,b\"\n,é\n2,\"a,b\"\n,é\n");
    }

    #[test]
    fn a_select_without_rows_has_its_head() {
        let schemas = [batch(1).schema(), batch(1).schema()];
        let head = |format| {
            let mut out = Vec::new();
            let mut printer = RowPrinter::new(&mut out, format, 2);
            printer.print(1, &batch(1)).unwrap();
            printer.finish((0..).zip(&schemas)).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(head(OutputFormat::Csv), "query,n,word\n2,1,\"a,b\"\n2,,é\n\nquery,n,word\n");
        assert!(
            head(OutputFormat::Table).trim_end().contains("-- SELECT 1\n#  n  word"),
            "{}",
            head(OutputFormat::Table)
        );
        assert_eq!(head(OutputFormat::Json).lines().count(), 2);
    }

    #[test]
    fn values_within_values_are_json_in_csv() {
        let fields =
            vec![Arc::new(Field::new("b", DataType::Int64, true)), Arc::new(Field::new("a", DataType::Utf8, true))];
        let (b, a): (ArrayRef, ArrayRef) =
            (Arc::new(Int64Array::from(vec![1, 2])), Arc::new(StringArray::from(vec!["x", "y"])));
        let nulls = Some(vec![true, false].into());
        let rows: ArrayRef = Arc::new(StructArray::new(fields.into(), vec![b, a], nulls));
        let batch = RecordBatch::try_from_iter_with_nullable([("row", rows, true)]).unwrap();
        assert_eq!(printed(OutputFormat::Csv, 1, &[(0, batch)]), "row\n\"{\"\"b\"\":1,\"\"a\"\":\"\"x\"\"}\"\n\"\"\n");
    }

    #[test]
    fn a_value_stays_in_its_line_of_a_table() {
        let words: ArrayRef = Arc::new(StringArray::from(vec!["a\nb\x1b[2J"]));
        let batch = RecordBatch::try_from_iter([("word", words)]).unwrap();
        let table = printed(OutputFormat::Table, 1, &[(0, batch.clone())]);
        assert_eq!(table.lines().nth(2), Some("a\\nb\\u{1b}[2J"));
        assert_eq!(printed(OutputFormat::Json, 1, &[(0, batch)]), "{\"word\":\"a\\nb\\u001b[2J\"}\n");
    }

    /// Fails like a pipe whose reader is gone.
    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_had_enough_is_told_apart_in_every_format() {
        for format in [OutputFormat::Table, OutputFormat::Json, OutputFormat::Csv] {
            let error = RowPrinter::new(Closed, format, 1).print(0, &batch(1)).unwrap_err();
            assert!(error.downcast_ref::<OutputError>().is_some_and(OutputError::is_unwanted), "{format:?}: {error:?}");
        }
    }

    #[test]
    fn times_are_written_alike_in_every_format_and_depth() {
        let millis: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![Some(1_767_225_600_123), None]));
        let micros: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![0, -1]));
        let fields = vec![Field::new("t", millis.data_type().clone(), true)];
        let nested: ArrayRef = Arc::new(StructArray::new(fields.into(), vec![millis.clone()], None));
        let numbers = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1)]), None]);
        let columns = [("a", millis), ("b", micros), ("s", nested), ("l", Arc::new(numbers) as ArrayRef)];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let json = printed(OutputFormat::Json, 1, &[(0, batch.clone())]);
        let expected = "{\"a\":\"2026-01-01 00:00:00.123\",\"b\":\"1970-01-01 00:00:00.000000\",\
                        \"s\":{\"t\":\"2026-01-01 00:00:00.123\"},\"l\":[1]}";
        assert_eq!(json.lines().next(), Some(expected));
        let flat = batch.project(&[0, 1]).unwrap();
        let csv = "a,b\n2026-01-01 00:00:00.123,1970-01-01 00:00:00.000000\n,1969-12-31 23:59:59.999999\n";
        assert_eq!(printed(OutputFormat::Csv, 1, &[(0, flat.clone())]), csv);
        let table = printed(OutputFormat::Table, 1, &[(0, flat)]);
        assert_eq!(table.lines().nth(2), Some("2026-01-01 00:00:00.123  1970-01-01 00:00:00.000000"));
    }

    #[test]
    fn floats_that_are_no_numbers_are_named() {
        let doubles: ArrayRef = Arc::new(Float64Array::from(vec![f64::NAN, f64::NEG_INFINITY, 1.5]));
        let floats: ArrayRef = Arc::new(Float32Array::from(vec![Some(f32::INFINITY), None, Some(0.1)]));
        let batch = RecordBatch::try_from_iter_with_nullable([("d", doubles, true), ("f", floats, true)]).unwrap();
        let json = "{\"d\":\"NaN\",\"f\":\"Infinity\"}\n{\"d\":\"-Infinity\",\"f\":null}\n{\"d\":1.5,\"f\":0.1}\n";
        assert_eq!(printed(OutputFormat::Json, 1, &[(0, batch.clone())]), json);
        assert_eq!(printed(OutputFormat::Csv, 1, &[(0, batch.clone())]), "d,f\nNaN,Infinity\n-Infinity,\n1.5,0.1\n");
        let table = printed(OutputFormat::Table, 1, &[(0, batch)]);
        let rows: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(rows, ["      NaN  Infinity", "-Infinity      NULL", "      1.5       0.1"]);
    }

    #[test]
    fn numbers_are_grouped_by_threes() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
