//! Decodes CSV records into columns.

use std::borrow::Cow;

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, SchemaRef},
    error::ArrowError,
};

use super::Dialect;
use crate::{
    json::{Column, Scanner, column_of, text::write_string},
    lines::{BYTE_ORDER_MARK, LineDecoder, LineFault, without_holes},
    notices::Absent,
};

/// How a field's text is spelled as JSON for its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spelling {
    /// Quoted as a JSON string.
    Quoted,
    /// Trimmed, then quoted: times.
    Trimmed,
    /// Trimmed; verbatim if it is a JSON number, else quoted: numbers.
    Number,
    /// Verbatim, in lower case: booleans.
    LowerCase,
}

/// So many names of a header are told, and so many characters of each.
const NAMED_MAX: usize = 20;
const NAME_CHARS: usize = 100;
/// What may part fields where a header seems to have one alone.
const DELIMITERS: [char; 4] = [',', ';', '\t', '|'];

struct Target {
    name: String,
    column: Box<dyn Column>,
    spelling: Spelling,
}

/// Decodes CSV records.
pub(crate) struct CsvDecoder {
    schema: SchemaRef,
    dialect: Dialect,
    targets: Vec<Target>,
    /// Per field of a record, the index of its target column, if any.
    layout: Vec<Option<usize>>,
    rows: usize,
    holes: Vec<usize>,
    scratch: Vec<u8>,
}

/// One field of a record.
struct Field<'a> {
    /// The field's text; doubled quotes are still doubled if `has_quotes`.
    raw: &'a [u8],
    is_quoted: bool,
    has_quotes: bool,
}

/// The result of walking over a record's text.
enum Walk {
    /// The record ends before this offset; its line feed is included.
    Record(usize),
    /// The block ends inside a quoted field.
    Open,
}

impl CsvDecoder {
    /// A decoder of records with the fields `names`. The error says which column is missing or ambiguous.
    pub(super) fn new(schema: SchemaRef, names: &[String], dialect: Dialect) -> Result<Self, String> {
        let mut targets = Vec::new();
        let mut layout = vec![None; names.len()];
        for (index, field) in schema.fields().iter().enumerate() {
            let mut places = names.iter().enumerate().filter(|(_, name)| *name == field.name()).map(|(place, _)| place);
            let place = places.next().ok_or_else(|| missing(field.name(), names, dialect.delimiter))?;
            if places.next().is_some() {
                return Err(format!("there is more than one column {}", field.name()));
            }
            layout[place] = Some(index);
            let column = column_of(field).map_err(|reason| format!("column {}: {reason}", field.name()))?;
            targets.push(Target { name: field.name().clone(), column, spelling: spelling(field.data_type()) });
        }
        Ok(Self { schema, dialect, targets, layout, rows: 0, holes: Vec::new(), scratch: Vec::new() })
    }

    /// Decodes a message, which holds one record, with or without a line feed at its end. `multi_line` must be set.
    pub(crate) fn read_message(&mut self, message: &[u8]) -> Result<(), String> {
        let (walk, result) = self.read_record(message, 0);
        let row = self.rows;
        self.rows += 1;
        let result = match walk {
            Walk::Open => Err("a quoted field does not end before the end of the message".to_owned()),
            Walk::Record(end) if result.is_ok() && end < message.len() => {
                Err("expected one record, found a second one".to_owned())
            }
            Walk::Record(_) => result,
        };
        if result.is_err() {
            self.holes.push(row);
        }
        result
    }

    /// Decodes the record that starts at `start`. Returns where it ends, and what is wrong with it.
    fn read_record(&mut self, block: &[u8], start: usize) -> (Walk, Result<(), String>) {
        let row = self.rows;
        let mut count = 0;
        let mut result = Ok(());
        let walk = walk_record(block, start, &self.dialect, |field| {
            if result.is_ok()
                && let Some(Some(index)) = self.layout.get(count)
            {
                let target = &mut self.targets[*index];
                let is_null = !field.is_quoted && (field.raw.is_empty() || field.raw == self.dialect.null_literal);
                self.scratch.clear();
                result = spell(&field, is_null, target.spelling, &mut self.scratch)
                    .map_err(|reason| format!("{}: {reason}", target.name))
                    .and_then(|()| read_field(target, &self.scratch, row));
            }
            count += 1;
        });
        if result.is_ok() && count != self.layout.len() {
            result = Err(format!("expected {} fields, found {count}", self.layout.len()));
        }
        match walk {
            Ok(walk) => (walk, result),
            Err((end, reason)) => (Walk::Record(end), Err(reason)),
        }
    }
}

/// The error text for a column missing from a header, with a hint at what may have been meant.
fn missing(column: &str, names: &[String], delimiter: u8) -> String {
    let near = Absent::new(column, names.iter().map(String::as_str)).near;
    let shown = |name: &String| name.chars().take(NAME_CHARS).collect::<String>();
    let there: Vec<String> = names.iter().take(NAMED_MAX).map(shown).collect();
    let rest = if names.len() > NAMED_MAX { ", …" } else { "" };
    let other = match names {
        [only] => DELIMITERS.into_iter().find(|other| *other != char::from(delimiter) && only.contains(*other)),
        _ => None,
    };
    let hint = match (other, near) {
        (Some(other), _) => {
            let other = other.escape_default();
            format!("; where '{other}' parts the fields, set 'csv.field-delimiter' = '{other}'")
        }
        (None, Some(near)) => format!("; did you mean {near}? Names are told apart by case, too"),
        (None, None) => String::new(),
    };
    format!("there is no column {column} in its header, which has {}{rest}{hint}", there.join(", "))
}

fn spelling(data_type: &DataType) -> Spelling {
    match data_type {
        DataType::Boolean => Spelling::LowerCase,
        data_type if data_type.is_numeric() => Spelling::Number,
        data_type if data_type.is_temporal() => Spelling::Trimmed,
        _ => Spelling::Quoted,
    }
}

/// Spells a field as the JSON value that its column reads.
fn spell(field: &Field<'_>, is_null: bool, spelling: Spelling, into: &mut Vec<u8>) -> Result<(), &'static str> {
    if is_null {
        into.extend_from_slice(b"null");
        return Ok(());
    }
    let text = std::str::from_utf8(field.raw).map_err(|_| "is not valid UTF-8")?;
    let text: Cow<'_, str> = if field.has_quotes { text.replace("\"\"", "\"").into() } else { text.into() };
    match spelling {
        Spelling::Quoted => write_string(&text, into),
        Spelling::LowerCase => into.extend_from_slice(text.trim().to_ascii_lowercase().as_bytes()),
        Spelling::Trimmed => write_string(text.trim(), into),
        Spelling::Number => match text.trim() {
            number if is_spelled_otherwise(number.as_bytes()) => write_string(number, into),
            number => into.extend_from_slice(number.as_bytes()),
        },
    }
    Ok(())
}

/// Whether a number is spelled in a way JSON does not allow, such as `007`, `+1`, `.5` or `NaN`. Columns parse these
/// from JSON strings.
fn is_spelled_otherwise(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let begins = match digits {
        [b'0', second, ..] => !second.is_ascii_digit(),
        [first, ..] => first.is_ascii_digit(),
        [] => false,
    };
    let is_plain = begins && digits.last().is_some_and(u8::is_ascii_digit);
    !is_plain && (matches!(digits, b"NaN" | b"Infinity") || digits.iter().any(u8::is_ascii_digit))
}

fn read_field(target: &mut Target, text: &[u8], row: usize) -> Result<(), String> {
    let mut scanner = Scanner::new(text, 0);
    target.column.read(&mut scanner, row).map_err(|fault| fault.of_field(&target.name).to_string())?;
    if scanner.position() < text.len() {
        return Err(format!("{}: unexpected text after the value", target.name));
    }
    Ok(())
}

/// Walks a record's fields. The error holds where the record ends and what is wrong.
fn walk_record<'a>(
    block: &'a [u8],
    start: usize,
    dialect: &Dialect,
    mut on_field: impl FnMut(Field<'a>),
) -> Result<Walk, (usize, String)> {
    let mut at = start;
    loop {
        let (field, end) = match block.get(at) {
            Some(b'"') => match quoted_end(block, at + 1, dialect.multi_line) {
                Some(end) => {
                    let raw = block.get(at + 1..end).unwrap_or_default();
                    (Field { raw, is_quoted: true, has_quotes: raw.contains(&b'"') }, end + 1)
                }
                None if dialect.multi_line => return Ok(Walk::Open),
                None => {
                    return Err((
                        line_end(block, at),
                        "a quoted field does not end before the end of the line".to_owned(),
                    ));
                }
            },
            _ => {
                let rest = block.get(at..).unwrap_or_default();
                let length = memchr::memchr2(dialect.delimiter, b'\n', rest).unwrap_or(rest.len());
                let raw = rest.get(..length).unwrap_or_default();
                let is_last = rest.get(length) != Some(&dialect.delimiter);
                let raw = if is_last { raw.strip_suffix(b"\r").unwrap_or(raw) } else { raw };
                (Field { raw, is_quoted: false, has_quotes: false }, at + length)
            }
        };
        on_field(field);
        at = end;
        if block.get(at) == Some(&b'\r') && block.get(at + 1).is_none_or(|byte| *byte == b'\n') {
            at += 1;
        }
        match block.get(at) {
            Some(byte) if *byte == dialect.delimiter => at += 1,
            Some(b'\n') => return Ok(Walk::Record(at + 1)),
            None => return Ok(Walk::Record(at)),
            Some(_) => return Err((line_end(block, at), "text follows a quoted field".to_owned())),
        }
    }
}

/// The index of the quote that closes a field.
fn quoted_end(block: &[u8], from: usize, multi_line: bool) -> Option<usize> {
    let mut at = from;
    loop {
        let rest = block.get(at..)?;
        let offset = if multi_line { memchr::memchr(b'"', rest) } else { memchr::memchr2(b'"', b'\n', rest) }?;
        at += offset;
        match (block.get(at), block.get(at + 1)) {
            (Some(b'\n'), _) => return None,
            (_, Some(b'"')) => at += 2,
            _ => return Some(at),
        }
    }
}

fn line_end(block: &[u8], from: usize) -> usize {
    let rest = block.get(from..).unwrap_or_default();
    memchr::memchr(b'\n', rest).map_or(block.len(), |at| from + at + 1)
}

/// The column names in a header.
pub(super) fn header_names(header: &[u8], dialect: &Dialect) -> Vec<String> {
    let header = header.strip_prefix(BYTE_ORDER_MARK).unwrap_or(header);
    let mut names = Vec::new();
    // A malformed header yields the names before its fault; columns missing because of it are reported by name.
    let _ = walk_record(header, 0, dialect, |field| {
        let name = String::from_utf8_lossy(field.raw);
        names.push(if field.has_quotes { name.replace("\"\"", "\"") } else { name.into_owned() });
    });
    names
}

impl LineDecoder for CsvDecoder {
    fn decode(&mut self, block: &[u8], from: usize, rows_max: usize, faults: &mut Vec<LineFault>) -> usize {
        let mut at = from;
        while self.rows() < rows_max && at < block.len() {
            let is_blank = matches!(block.get(at..), Some([b'\n', ..] | [b'\r', b'\n', ..]));
            if is_blank && self.layout.len() != 1 {
                at = line_end(block, at);
                continue;
            }
            let (walk, result) = self.read_record(block, at);
            let row = self.rows;
            self.rows += 1;
            let Walk::Record(end) = walk else {
                self.holes.push(row);
                return at;
            };
            if let Err(reason) = result {
                self.holes.push(row);
                let record = block.get(at..end).unwrap_or_default();
                let length = record.strip_suffix(b"\n").unwrap_or(record).len();
                faults.push(LineFault { start: at, end: at + length, reason });
            }
            at = end;
        }
        at
    }

    fn rows(&self) -> usize {
        self.rows - self.holes.len()
    }

    fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let rows = std::mem::take(&mut self.rows);
        let holes = std::mem::take(&mut self.holes);
        let finished = self.targets.iter_mut().map(|target| target.column.finish(rows));
        without_holes(&self.schema, finished.collect::<Result<_, _>>()?, rows, &holes)
    }
}
