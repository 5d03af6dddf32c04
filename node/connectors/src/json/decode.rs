//! Decodes lines of JSON into record batches.
//!
//! A malformed line leaves a *hole*: a row whose columns hold what was parsed before the fault. Holes are filtered out
//! when the batch is finished, so that good lines cost nothing extra.

use std::collections::HashMap;

use arrow::{array::RecordBatch, datatypes::SchemaRef, error::ArrowError};

use super::{
    fault::Fault,
    fields::struct_of,
    object::{StructColumn, for_each_member},
    scan::{LINE, Scanner},
    text::write_string,
};
use crate::{
    lines::{LineDecoder, LineFault, without_holes},
    notices::Absent,
};

const MESSAGE: &str = "message";

/// Decodes one JSON object per line.
pub(crate) struct JsonDecoder {
    schema: SchemaRef,
    root: StructColumn,
    rows: usize,
    holes: Vec<usize>,
    /// What a line is, in faults.
    unit: &'static str,
}

impl JsonDecoder {
    /// A decoder for these columns. The error names a column that cannot be decoded.
    pub(crate) fn new(schema: SchemaRef) -> Result<Self, String> {
        let root = struct_of(schema.fields(), false)?;
        Ok(Self { schema, root, rows: 0, holes: Vec::new(), unit: LINE })
    }

    /// As `new`, for lines that are messages in truth.
    pub(crate) fn of_messages(schema: SchemaRef) -> Result<Self, String> {
        Ok(Self { unit: MESSAGE, ..Self::new(schema)? })
    }

    /// Decodes the line that begins here, up to its line feed.
    fn read_line(&mut self, scanner: &mut Scanner<'_>) -> Result<(), Fault> {
        let row = self.rows;
        self.rows += 1;
        let result = self.root.read_object(scanner, row).and_then(|()| {
            scanner.skip_blank();
            if scanner.peek() == b'\n' { Ok(()) } else { Err(scanner.unended()) }
        });
        if result.is_err() {
            self.holes.push(row);
        }
        result
    }

    /// Decodes a line in which a key occurs twice: the last one wins. `None` if no key does.
    fn read_without_duplicates(&mut self, line: &[u8]) -> Option<Result<(), Fault>> {
        let mut scanner = Scanner::of_units(line, 0, self.unit);
        let mut rewriter = Rewriter { text: Vec::with_capacity(line.len()), has_duplicates: false };
        let result = rewriter.value(&mut scanner, 0);
        if !rewriter.has_duplicates {
            return None;
        }
        if let Err(fault) = result {
            return Some(Err(fault));
        }
        rewriter.text.extend_from_slice(scanner.rest());
        Some(self.read_line(&mut Scanner::of_units(&rewriter.text, 0, self.unit)))
    }
}

/// A hint for a line that looks like part of a multi-line object, or like an array of objects.
fn one_a_unit(line: &[u8], unit: &'static str) -> String {
    let line = line.trim_ascii();
    if line == b"{" || line.starts_with(b"[") { format!("; JSON is read one object a {unit}") } else { String::new() }
}

impl LineDecoder for JsonDecoder {
    fn decode(&mut self, block: &[u8], from: usize, rows_max: usize, faults: &mut Vec<LineFault>) -> usize {
        let mut scanner = Scanner::of_units(block, from, self.unit);
        while self.rows() < rows_max && scanner.position() < block.len() {
            scanner.skip_blank();
            if scanner.peek() == b'\n' {
                scanner.advance(1);
                continue;
            }
            let start = scanner.position();
            let Err(fault) = self.read_line(&mut scanner) else {
                scanner.advance(1);
                continue;
            };
            let line = block.get(start..).unwrap_or_default();
            let line = memchr::memchr(b'\n', line).and_then(|end| line.get(..end)).unwrap_or(line);
            // A replaced value may have any type, so look for duplicates whatever the fault is.
            let result = self.read_without_duplicates(line);
            if let Err(fault) = result.unwrap_or(Err(fault)) {
                let reason = format!("{fault}{}", one_a_unit(line, self.unit));
                faults.push(LineFault { start, end: start + line.len(), reason });
            }
            scanner.seek(start + line.len() + 1);
        }
        scanner.position().min(block.len())
    }

    fn rows(&self) -> usize {
        self.rows - self.holes.len()
    }

    fn absent(&self) -> Vec<Absent> {
        self.root.absent()
    }

    fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let rows = std::mem::take(&mut self.rows);
        let holes = std::mem::take(&mut self.holes);
        without_holes(&self.schema, self.root.finish_children(rows)?, rows, &holes)
    }
}

/// The deepest nesting of a record that is rewritten.
const REWRITE_DEPTH_MAX: u32 = 127;

/// Copies a value, without object members that a later member with the same key replaces.
struct Rewriter {
    text: Vec<u8>,
    has_duplicates: bool,
}

impl Rewriter {
    fn value(&mut self, scanner: &mut Scanner<'_>, depth: u32) -> Result<(), Fault> {
        if depth > REWRITE_DEPTH_MAX {
            return Err(Fault::new(format!("nested deeper than {REWRITE_DEPTH_MAX} levels")));
        }
        match scanner.peek() {
            b'{' => self.object(scanner, depth),
            b'[' => self.array(scanner, depth),
            _ => {
                let (rest, start) = (scanner.rest(), scanner.position());
                scanner.skip_value()?;
                self.text.extend_from_slice(rest.get(..scanner.position() - start).unwrap_or_default());
                Ok(())
            }
        }
    }

    fn array(&mut self, scanner: &mut Scanner<'_>, depth: u32) -> Result<(), Fault> {
        self.text.push(b'[');
        let mut is_first = true;
        for_each_member(scanner, (b'[', b']'), |scanner| {
            if !std::mem::take(&mut is_first) {
                self.text.push(b',');
            }
            self.value(scanner, depth + 1)
        })?;
        self.text.push(b']');
        Ok(())
    }

    fn object(&mut self, scanner: &mut Scanner<'_>, depth: u32) -> Result<(), Fault> {
        let mut members: Vec<(String, Vec<u8>)> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        let outer = std::mem::take(&mut self.text);
        for_each_member(scanner, (b'{', b'}'), |scanner| {
            let key = scanner.string()?.into_owned();
            scanner.expect(b':')?;
            scanner.skip_blank();
            self.value(scanner, depth + 1)?;
            let value = std::mem::take(&mut self.text);
            match places.get(&key).and_then(|place| members.get_mut(*place)) {
                Some((_, last)) => {
                    *last = value;
                    self.has_duplicates = true;
                }
                None => {
                    places.insert(key.clone(), members.len());
                    members.push((key, value));
                }
            }
            Ok(())
        })?;
        self.text = outer;
        self.text.push(b'{');
        for (index, (key, value)) in members.iter().enumerate() {
            if index > 0 {
                self.text.push(b',');
            }
            write_string(key, &mut self.text);
            self.text.push(b':');
            self.text.extend_from_slice(value);
        }
        self.text.push(b'}');
        Ok(())
    }
}

/// The items of a JSON array, one per line. The error gives the item and what is wrong with it.
pub(crate) fn array_to_lines(text: &[u8]) -> Result<Vec<u8>, (usize, String)> {
    // Between tokens a line feed is whitespace. Inside a string it is invalid; as a carriage return it is refused there
    // too.
    let flat: Vec<u8> = text.iter().map(|byte| if *byte == b'\n' { b'\r' } else { *byte }).collect();
    let mut scanner = Scanner::new(&flat, 0);
    let mut lines = Vec::with_capacity(flat.len());
    let mut item = 0;
    let result = for_each_member(&mut scanner, (b'[', b']'), |scanner| {
        item += 1;
        let (rest, start) = (scanner.rest(), scanner.position());
        scanner.skip_value()?;
        lines.extend_from_slice(rest.get(..scanner.position() - start).unwrap_or_default());
        lines.push(b'\n');
        Ok(())
    })
    .and_then(|()| {
        scanner.skip_blank();
        if scanner.rest().is_empty() { Ok(()) } else { Err(scanner.unexpected("the end of the array")) }
    });
    result.map(|()| lines).map_err(|fault| (item, fault.to_string()))
}
