//! The bytes of datums, read from front to back. Nothing is believed: lengths are held against the bytes that are left.

use super::schema::{AvroSchema, Extent, Node, NodeId, Wire};
use crate::json::Fault;

/// The deepest nesting of a value that is skipped.
const DEPTH_MAX: u32 = 100;
/// The most items of one datum that take no bytes: a few bytes could stand for any number of them.
const EMPTY_ITEMS_MAX: usize = 100_000;

/// Bytes of datums, and how far they were read.
#[derive(Debug)]
pub(crate) struct Datum<'a> {
    bytes: &'a [u8],
    at: usize,
    empty_items: usize,
}

#[cold]
fn ends() -> Fault {
    Fault::new("it ends too early")
}

impl<'a> Datum<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, empty_items: 0 }
    }

    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// Goes to a place where a datum begins.
    pub(crate) fn seek(&mut self, at: usize) {
        self.at = at;
        self.empty_items = 0;
    }

    /// Begins the next datum of the same bytes.
    pub(crate) fn next_datum(&mut self) {
        self.empty_items = 0;
    }

    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len()).ok_or_else(ends)?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    #[inline]
    pub(crate) fn long(&mut self) -> Result<i64, Fault> {
        let mut bits = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or_else(ends)?;
            self.at += 1;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                break;
            }
            bits |= part << shift;
            if byte < 0x80 {
                return Ok((bits >> 1).cast_signed() ^ -((bits & 1).cast_signed()));
            }
        }
        Err(Fault::new("a number has more than 64 bits"))
    }

    pub(super) fn int(&mut self) -> Result<i32, Fault> {
        i32::try_from(self.long()?).map_err(|_| Fault::new("an int has more than 32 bits"))
    }

    pub(super) fn boolean(&mut self) -> Result<bool, Fault> {
        match self.take(1)? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(Fault::new("a boolean is neither 0 nor 1")),
        }
    }

    pub(super) fn float(&mut self) -> Result<f32, Fault> {
        self.array().map(f32::from_le_bytes)
    }

    pub(super) fn double(&mut self) -> Result<f64, Fault> {
        self.array().map(f64::from_le_bytes)
    }

    #[inline]
    pub(super) fn bytes(&mut self, extent: Extent) -> Result<&'a [u8], Fault> {
        let length = match extent {
            Extent::Fixed(length) => length,
            Extent::Prefixed => self.length()?,
        };
        self.take(length)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Fault> {
        std::str::from_utf8(self.bytes(Extent::Prefixed)?).map_err(|_| Fault::new("a string is not valid UTF-8"))
    }

    /// A length, which cannot be negative.
    pub(crate) fn length(&mut self) -> Result<usize, Fault> {
        usize::try_from(self.long()?).map_err(|_| Fault::new("a length is negative"))
    }

    /// An index of one of `count` alternatives.
    pub(super) fn choice(&mut self, count: usize) -> Result<usize, Fault> {
        let index = self.long()?;
        let fits = usize::try_from(index).ok().filter(|index| *index < count);
        fits.ok_or_else(|| Fault::new(format!("it is alternative {index} of {count}")))
    }

    /// The head of the next block of an array or a map: how many items it has, and how many bytes if it says so. `None`:
    /// there is no more. `is_empty`: its items take no bytes.
    pub(super) fn block(&mut self, is_empty: bool) -> Result<Option<(usize, Option<usize>)>, Fault> {
        let count = self.long()?;
        if count == 0 {
            return Ok(None);
        }
        let bytes = if count < 0 { Some(self.length()?) } else { None };
        let count = usize::try_from(count.unsigned_abs()).map_err(|_| ends())?;
        if is_empty {
            self.empty_items = self.empty_items.saturating_add(count);
            if self.empty_items > EMPTY_ITEMS_MAX {
                return Err(Fault::new(format!("it has more than {EMPTY_ITEMS_MAX} items without bytes")));
            }
        } else if count > self.left() {
            return Err(ends());
        }
        Ok(Some((count, bytes)))
    }

    /// Skips a value. Texts in it are not checked.
    pub(super) fn skip(&mut self, schema: &AvroSchema, id: NodeId, depth: u32) -> Result<(), Fault> {
        // Records may name one another so that few of them stand for very many fields: those that take no bytes cost nothing.
        if schema.is_empty(id) {
            return Ok(());
        }
        if depth > DEPTH_MAX {
            return Err(Fault::new(format!("nested deeper than {DEPTH_MAX} levels")));
        }
        match schema.node(id) {
            Node::Null => Ok(()),
            Node::Scalar(wire) => self.skip_scalar(wire),
            Node::Array(item) => self.skip_items(schema, *item, false, depth),
            Node::Map(value) => self.skip_items(schema, *value, true, depth),
            Node::Union(branches) => {
                let branch = branches[self.choice(branches.len())?];
                self.skip(schema, branch, depth + 1)
            }
            Node::Record(fields) => fields.iter().try_for_each(|(_, field)| self.skip(schema, *field, depth + 1)),
        }
    }

    fn skip_scalar(&mut self, wire: &Wire) -> Result<(), Fault> {
        match wire {
            Wire::Boolean => self.boolean().map(drop),
            Wire::Int | Wire::Date | Wire::TimeMillis => self.int().map(drop),
            Wire::Enum(symbols) => self.choice(symbols.len()).map(drop),
            Wire::Long | Wire::TimeMicros | Wire::Timestamp(_) => self.long().map(drop),
            Wire::Float => self.take(4).map(drop),
            Wire::Double => self.take(8).map(drop),
            Wire::Text => self.bytes(Extent::Prefixed).map(drop),
            Wire::Bytes(extent) | Wire::Decimal { extent, .. } | Wire::Uuid(extent) => self.bytes(*extent).map(drop),
        }
    }

    fn skip_items(&mut self, schema: &AvroSchema, item: NodeId, has_keys: bool, depth: u32) -> Result<(), Fault> {
        let is_empty = !has_keys && schema.is_empty(item);
        while let Some((count, bytes)) = self.block(is_empty)? {
            if let Some(bytes) = bytes {
                self.take(bytes)?;
                continue;
            }
            if is_empty {
                continue;
            }
            for _ in 0..count {
                if has_keys {
                    self.bytes(Extent::Prefixed)?;
                }
                self.skip(schema, item, depth + 1)?;
            }
        }
        Ok(())
    }
}
