//! Arrays and maps: columns whose items are rows of a child column.
//!
//! A fault inside an item leaves that item in the child column. The item's row is dropped with all its items, and the
//! next row's items start after them.

use std::{borrow::Cow, sync::Arc};

use arrow::{
    array::{ArrayRef, ListArray, MapArray, NullBufferBuilder, StringViewBuilder, StructArray},
    buffer::OffsetBuffer,
    compute::cast,
    datatypes::{DataType, Field, FieldRef, Fields},
    error::ArrowError,
};

use super::{
    column::{Column, begin, pad_nulls},
    fault::Fault,
    object::for_each_member,
    scan::Scanner,
};

/// Where each row's items end.
pub(crate) struct Extents {
    ends: Vec<i32>,
    nulls: NullBufferBuilder,
    nullable: bool,
    items: usize,
}

impl Extents {
    pub(crate) fn new(nullable: bool) -> Self {
        Self { ends: Vec::new(), nulls: NullBufferBuilder::new(0), nullable, items: 0 }
    }

    /// The number of rows.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn is_nullable(&self) -> bool {
        self.nullable
    }

    /// Allocates the index of a new item.
    pub(crate) fn next_item(&mut self) -> Result<usize, Fault> {
        let item = self.items;
        i32::try_from(item + 1).map_err(|_| Fault::new("too many items in one batch"))?;
        self.items += 1;
        Ok(item)
    }

    fn end(&self) -> i32 {
        i32::try_from(self.items).expect("checked as items are added")
    }

    /// Ends a row, which has the items since the last one.
    pub(crate) fn push(&mut self) {
        self.ends.push(self.end());
        self.nulls.append_non_null();
    }

    /// Adds missing rows. Items left by a faulty row go to the first of them.
    pub(crate) fn pad(&mut self, rows: usize) {
        let missing = rows.saturating_sub(self.ends.len());
        self.ends.resize(self.ends.len() + missing, self.end());
        pad_nulls(&mut self.nulls, missing, self.nullable);
    }

    /// Offsets, nulls, and the number of items.
    pub(crate) fn finish(&mut self) -> (OffsetBuffer<i32>, Option<arrow::buffer::NullBuffer>, usize) {
        let offsets = std::iter::once(0).chain(self.ends.drain(..)).collect::<Vec<_>>();
        (OffsetBuffer::new(offsets.into()), self.nulls.finish(), std::mem::take(&mut self.items))
    }
}

pub(super) struct ListColumn {
    item: FieldRef,
    values: Box<dyn Column>,
    extents: Extents,
}

impl ListColumn {
    pub(super) fn new(item: &FieldRef, values: Box<dyn Column>, nullable: bool) -> Self {
        Self { item: item.clone(), values, extents: Extents::new(nullable) }
    }
}

impl Column for ListColumn {
    fn len(&self) -> usize {
        self.extents.len()
    }

    fn read(&mut self, scanner: &mut Scanner<'_>, row: usize) -> Result<(), Fault> {
        if begin(self.len(), row, self.extents.is_nullable(), scanner)? {
            self.pad(row + 1);
            return Ok(());
        }
        if scanner.peek() != b'[' {
            return Err(scanner.unexpected("ARRAY"));
        }
        self.pad(row);
        let Self { values, extents, .. } = self;
        let mut index = 0;
        for_each_member(scanner, (b'[', b']'), |scanner| {
            index += 1;
            let item = extents.next_item()?;
            values.read(scanner, item).map_err(|fault| fault.of_field(&format!("[{index}]")))
        })?;
        self.extents.push();
        Ok(())
    }

    fn pad(&mut self, rows: usize) {
        self.extents.pad(rows);
    }

    fn finish(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        self.pad(rows);
        let (offsets, nulls, items) = self.extents.finish();
        let values = self.values.finish(items)?;
        Ok(Arc::new(ListArray::try_new(self.item.clone(), offsets, values, nulls)?))
    }
}

/// A map with text keys, from an object with arbitrary keys.
pub(super) struct MapColumn {
    entries: FieldRef,
    fields: Fields,
    keys: StringViewBuilder,
    values: Box<dyn Column>,
    extents: Extents,
}

impl MapColumn {
    /// `column_of` makes the column of the values.
    pub(super) fn new(
        entries: &FieldRef,
        column_of: impl FnOnce(&Field) -> Result<Box<dyn Column>, String>,
        nullable: bool,
    ) -> Result<Self, String> {
        let DataType::Struct(fields) = entries.data_type() else {
            return Err("a map's entries must be a struct".to_owned());
        };
        let [key, value] = fields.as_ref() else {
            return Err("a map's entries must have a key and a value".to_owned());
        };
        if !matches!(key.data_type(), DataType::Utf8View | DataType::Utf8 | DataType::LargeUtf8) {
            return Err("a map's keys must be STRING".to_owned());
        }
        Ok(Self {
            entries: entries.clone(),
            fields: fields.clone(),
            keys: StringViewBuilder::new(),
            values: column_of(value)?,
            extents: Extents::new(nullable),
        })
    }
}

impl Column for MapColumn {
    fn len(&self) -> usize {
        self.extents.len()
    }

    fn read(&mut self, scanner: &mut Scanner<'_>, row: usize) -> Result<(), Fault> {
        if begin(self.len(), row, self.extents.is_nullable(), scanner)? {
            self.pad(row + 1);
            return Ok(());
        }
        if scanner.peek() != b'{' {
            return Err(scanner.unexpected("MAP"));
        }
        self.pad(row);
        let Self { keys, values, extents, .. } = self;
        let mut seen: Vec<Cow<'_, str>> = Vec::new();
        for_each_member(scanner, (b'{', b'}'), |scanner| {
            let key = scanner.string()?;
            scanner.expect(b':')?;
            scanner.skip_blank();
            let item = extents.next_item()?;
            keys.append_value(&*key);
            seen.push(key);
            values.read(scanner, item).map_err(|fault| fault.of_field(&format!("[{item}]")))
        })?;
        seen.sort_unstable();
        if seen.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Fault::duplicate_key());
        }
        self.extents.push();
        Ok(())
    }

    fn pad(&mut self, rows: usize) {
        self.extents.pad(rows);
    }

    fn finish(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        self.pad(rows);
        let (offsets, nulls, items) = self.extents.finish();
        let keys: ArrayRef = Arc::new(self.keys.finish());
        let keys = cast(&keys, self.fields[0].data_type())?;
        let values = self.values.finish(items)?;
        let entries = StructArray::try_new(self.fields.clone(), vec![keys, values], None)?;
        Ok(Arc::new(MapArray::try_new(self.entries.clone(), offsets, entries, nulls, false)?))
    }
}
