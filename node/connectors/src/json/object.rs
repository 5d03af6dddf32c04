//! Objects: maps each key to its column.
//!
//! Records of one source mostly have the same keys in the same order. So each object remembers the keys as last
//! written, with quotes and colon, and compares the text with the next one. Only a key that is not there is looked up
//! by name and remembered.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, NullBufferBuilder, StructArray},
    datatypes::Fields,
    error::ArrowError,
};

use super::{
    column::{Column, begin, pad_nulls},
    fault::Fault,
    scan::Scanner,
};
use crate::notices::Absent;

/// At most this many keys are remembered: an object with arbitrary keys must not fill the memory.
const LEARNT_KEYS_MAX: usize = 64;
const HEAD_BYTES: usize = 16;

/// A key as it was written: `"name":`.
struct WrittenKey {
    text: Box<[u8]>,
    /// The first bytes of `text` as a number, and a mask for those that count.
    head: u128,
    mask: u128,
    /// The index of the column that wants the key's value, if any.
    column: Option<usize>,
}

impl WrittenKey {
    fn new(text: &[u8], column: Option<usize>) -> Self {
        let mut head = [0; HEAD_BYTES];
        let mut mask = [0; HEAD_BYTES];
        for ((head, mask), byte) in head.iter_mut().zip(&mut mask).zip(text) {
            (*head, *mask) = (*byte, u8::MAX);
        }
        Self { text: text.into(), head: u128::from_le_bytes(head), mask: u128::from_le_bytes(mask), column }
    }

    /// The key's name; meaningless if it has escapes.
    fn name(&self) -> String {
        let text = String::from_utf8_lossy(&self.text);
        text.split('"').nth(1).unwrap_or_default().to_owned()
    }

    #[inline]
    fn is_at(&self, text: &[u8]) -> bool {
        match text.first_chunk::<HEAD_BYTES>() {
            Some(chunk) => {
                u128::from_le_bytes(*chunk) & self.mask == self.head
                    && (self.text.len() <= HEAD_BYTES || text.starts_with(&self.text))
            }
            None => text.starts_with(&self.text),
        }
    }
}

/// The keys of one object, by column.
pub(super) struct Keys {
    written: Vec<WrittenKey>,
    columns: HashMap<Box<str>, usize>,
    /// Per column, whether any object had it.
    is_known: Vec<bool>,
}

impl Keys {
    fn new(fields: &Fields) -> Self {
        let columns = fields.iter().enumerate().map(|(index, field)| (field.name().as_str().into(), index)).collect();
        Self { written: Vec::new(), columns, is_known: vec![false; fields.len()] }
    }

    /// Takes a key and its colon; returns the column that wants the value. `expected` is the key's place in the
    /// remembered order.
    #[inline]
    fn take(&mut self, scanner: &mut Scanner<'_>, expected: &mut usize) -> Result<Option<usize>, Fault> {
        if let Some(key) = self.written.get(*expected).filter(|key| key.is_at(scanner.rest())) {
            scanner.advance(key.text.len());
            *expected += 1;
            return Ok(key.column);
        }
        self.take_unexpected(scanner, expected)
    }

    #[inline(never)]
    fn take_unexpected(&mut self, scanner: &mut Scanner<'_>, expected: &mut usize) -> Result<Option<usize>, Fault> {
        let text = scanner.rest();
        if let Some(place) = self.written.iter().position(|key| key.is_at(text)) {
            let key = &self.written[place];
            scanner.advance(key.text.len());
            *expected = place + 1;
            return Ok(key.column);
        }
        let start = scanner.position();
        let name = scanner.string()?;
        let column = self.columns.get(&*name).copied();
        if let Some(is_known) = column.and_then(|column| self.is_known.get_mut(column)) {
            *is_known = true;
        }
        scanner.expect(b':')?;
        let written = text.get(..scanner.position() - start).unwrap_or_default();
        if self.written.len() < LEARNT_KEYS_MAX {
            let place = (*expected).min(self.written.len());
            self.written.insert(place, WrittenKey::new(written, column));
            *expected = place + 1;
        }
        Ok(column)
    }
}

/// Visits the members of an object or the items of an array; calls `member` at each, behind any blanks.
#[inline]
pub(super) fn for_each_member<'a>(
    scanner: &mut Scanner<'a>,
    (open, close): (u8, u8),
    mut member: impl FnMut(&mut Scanner<'a>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    scanner.expect(open)?;
    scanner.skip_blank();
    if scanner.peek() == close {
        scanner.advance(1);
        return Ok(());
    }
    loop {
        member(scanner)?;
        scanner.skip_blank();
        let byte = scanner.peek();
        if byte == b',' {
            scanner.advance(1);
            scanner.skip_blank();
        } else if byte == close {
            scanner.advance(1);
            return Ok(());
        } else {
            return Err(scanner.unexpected(&format!("',' or '{}'", char::from(close))));
        }
    }
}

/// Several columns side by side: a record, or a column of a struct type.
pub(super) struct StructColumn {
    fields: Fields,
    children: Vec<Box<dyn Column>>,
    keys: Keys,
    /// Indexes of the children that every object must have.
    required: Vec<usize>,
    nulls: NullBufferBuilder,
    nullable: bool,
    rows: usize,
}

impl StructColumn {
    /// Each field has its child.
    pub(super) fn new(fields: &Fields, children: Vec<Box<dyn Column>>, nullable: bool) -> Self {
        let is_required = |index: &usize| fields.get(*index).is_some_and(|field| !field.is_nullable());
        Self {
            children,
            keys: Keys::new(fields),
            required: (0..fields.len()).filter(is_required).collect(),
            fields: fields.clone(),
            nulls: NullBufferBuilder::new(0),
            nullable,
            rows: 0,
        }
    }

    /// Parses an object into the children.
    pub(super) fn read_object(&mut self, scanner: &mut Scanner<'_>, row: usize) -> Result<(), Fault> {
        let Self { fields, children, keys, .. } = self;
        let mut expected = 0;
        for_each_member(scanner, (b'{', b'}'), |scanner| {
            let column = keys.take(scanner, &mut expected)?;
            scanner.skip_blank();
            match column {
                Some(index) => children[index].read(scanner, row).map_err(|fault| fault.of_field(fields[index].name())),
                None => scanner.skip_value(),
            }
        })?;
        match self.required.iter().find(|index| self.children[**index].len() <= row) {
            Some(missing) => Err(Fault::new("is NOT NULL and missing").of_field(self.fields[*missing].name())),
            None => Ok(()),
        }
    }

    /// The fields that no object has had so far.
    pub(super) fn absent(&self) -> Vec<Absent> {
        let unwanted = self.keys.written.iter().filter(|key| key.column.is_none());
        let names: Vec<String> = unwanted.map(WrittenKey::name).collect();
        let fields = self.fields.iter().zip(&self.keys.is_known).filter(|(_, is_known)| !**is_known);
        fields.map(|(field, _)| Absent::new(field.name(), names.iter().map(String::as_str))).collect()
    }

    /// Finishes the children; one array each.
    pub(super) fn finish_children(&mut self, rows: usize) -> Result<Vec<ArrayRef>, ArrowError> {
        self.children.iter_mut().map(|child| child.finish(rows)).collect()
    }
}

impl Column for StructColumn {
    fn len(&self) -> usize {
        self.rows
    }

    fn read(&mut self, scanner: &mut Scanner<'_>, row: usize) -> Result<(), Fault> {
        if begin(self.rows, row, self.nullable, scanner)? {
            self.pad(row + 1);
            return Ok(());
        }
        if scanner.peek() != b'{' {
            return Err(scanner.unexpected("ROW"));
        }
        self.read_object(scanner, row).map_err(nested)?;
        self.pad(row);
        self.nulls.append_non_null();
        self.rows = row + 1;
        Ok(())
    }

    fn pad(&mut self, rows: usize) {
        pad_nulls(&mut self.nulls, rows.saturating_sub(self.rows), self.nullable);
        self.rows = self.rows.max(rows);
    }

    fn finish(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        self.pad(rows);
        self.rows = 0;
        let nulls = self.nulls.finish();
        let arrays = self.finish_children(rows)?;
        if arrays.is_empty() {
            return Ok(Arc::new(StructArray::new_empty_fields(rows, nulls)));
        }
        let array = StructArray::try_new(self.fields.clone(), arrays, nulls)?;
        debug_assert_eq!(array.len(), rows);
        Ok(Arc::new(array))
    }
}

/// Prefixes a fault with a dot, so that the path reads `bid.price: ..`.
fn nested(fault: Fault) -> Fault {
    if fault.is_duplicate_key() { fault } else { Fault::new(format!(".{fault}")) }
}
