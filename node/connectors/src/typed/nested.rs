//! Columns of ROW, ARRAY and MAP types under construction, and the column of any type.
//!
//! Items lie one behind the other in a child column; extents tell each row its items. After a fault in an item, the row is
//! faulty with all its items, and the next row's items begin behind them.

use std::sync::Arc;

use arrow::{
    array::{Array as _, ArrayRef, ListArray, MapArray, NullBufferBuilder, StructArray},
    datatypes::{DataType, Field, FieldRef, Fields},
    error::ArrowError,
};

use super::column::ScalarColumn;
use crate::json::{Extents, Fault, pad_nulls};

/// A column under construction.
pub(crate) enum Builder {
    Scalar(ScalarColumn),
    Row(RowColumn),
    List(ListColumn),
    Map(MapColumn),
}

impl Builder {
    /// A column for a field. The error names a type that cannot be built.
    pub(crate) fn of(field: &Field) -> Result<Self, String> {
        let nullable = field.is_nullable();
        Ok(match field.data_type() {
            DataType::Struct(fields) => Self::Row(RowColumn::new(fields, nullable)?),
            DataType::List(item) => Self::List(ListColumn::new(item, nullable)?),
            DataType::Map(entries, _) => Self::Map(MapColumn::new(entries, nullable)?),
            plain => {
                let column = ScalarColumn::of(field);
                Self::Scalar(column.ok_or_else(|| format!("type {plain} cannot be read"))?)
            }
        })
    }

    /// Adds the NULL of a row.
    pub(crate) fn push_null(&mut self, row: usize) -> Result<(), Fault> {
        let nullable = match self {
            Self::Scalar(column) => return column.push_null(row),
            Self::Row(column) => column.nullable,
            Self::List(column) => column.extents.is_nullable(),
            Self::Map(column) => column.extents.is_nullable(),
        };
        if !nullable {
            return Err(Fault::new("is NOT NULL, found NULL"));
        }
        self.pad(row + 1);
        Ok(())
    }

    fn pad(&mut self, rows: usize) {
        match self {
            Self::Scalar(column) => column.pad(rows),
            Self::Row(column) => column.pad(rows),
            Self::List(column) => column.extents.pad(rows),
            Self::Map(column) => column.extents.pad(rows),
        }
    }

    fn finish(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        match self {
            Self::Scalar(column) => column.finish(rows),
            Self::Row(column) => column.finish(rows),
            Self::List(column) => column.finish(rows),
            Self::Map(column) => column.finish(rows),
        }
    }
}

/// Columns side by side: those of a record, or a column of a ROW type.
pub(crate) struct RowColumn {
    fields: Fields,
    children: Vec<Builder>,
    nulls: NullBufferBuilder,
    nullable: bool,
    rows: usize,
}

impl RowColumn {
    pub(super) fn new(fields: &Fields, nullable: bool) -> Result<Self, String> {
        let child =
            |field: &FieldRef| Builder::of(field).map_err(|reason| format!("column {}: {reason}", field.name()));
        let children = fields.iter().map(child).collect::<Result<_, _>>()?;
        Ok(Self { fields: fields.clone(), children, nulls: NullBufferBuilder::new(0), nullable, rows: 0 })
    }

    /// Reads the value of a field; faults name the field.
    #[inline]
    pub(crate) fn read_field(
        &mut self,
        index: usize,
        read: impl FnOnce(&mut Builder) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        read(&mut self.children[index]).map_err(|fault| fault.of_field(self.fields[index].name()))
    }

    /// Reads a row that is a value of a ROW type, with all its fields.
    pub(crate) fn read_row(
        &mut self,
        row: usize,
        read: impl FnOnce(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        // With a dot before it the path reads `bid.price: ..`.
        read(self).map_err(|fault| Fault::new(format!(".{fault}")))?;
        self.pad(row);
        self.nulls.append_non_null();
        self.rows = row + 1;
        Ok(())
    }

    fn pad(&mut self, rows: usize) {
        pad_nulls(&mut self.nulls, rows.saturating_sub(self.rows), self.nullable);
        self.rows = self.rows.max(rows);
    }

    /// Finishes the children; one array each.
    pub(super) fn finish_children(&mut self, rows: usize) -> Result<Vec<ArrayRef>, ArrowError> {
        self.children.iter_mut().map(|child| child.finish(rows)).collect()
    }

    fn finish(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        self.pad(rows);
        self.rows = 0;
        let nulls = self.nulls.finish();
        let arrays = self.finish_children(rows)?;
        Ok(Arc::new(StructArray::try_new_with_length(self.fields.clone(), arrays, nulls, rows)?))
    }
}

/// A column of an ARRAY type.
pub(crate) struct ListColumn {
    item: FieldRef,
    values: Box<Builder>,
    extents: Extents,
}

impl ListColumn {
    fn new(item: &FieldRef, nullable: bool) -> Result<Self, String> {
        Ok(Self { item: item.clone(), values: Box::new(Builder::of(item)?), extents: Extents::new(nullable) })
    }

    /// Begins a row.
    pub(crate) fn begin(&mut self, row: usize) {
        self.extents.pad(row);
    }

    /// Reads an item of the row, given the column of items and the item's index there.
    #[inline]
    pub(crate) fn read_item(
        &mut self,
        read: impl FnOnce(&mut Builder, usize) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let item = self.extents.next_item()?;
        read(&mut self.values, item)
    }

    /// Ends the row.
    pub(crate) fn end(&mut self) {
        self.extents.push();
    }

    fn finish(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        self.extents.pad(rows);
        let (offsets, nulls, items) = self.extents.finish();
        let values = self.values.finish(items)?;
        Ok(Arc::new(ListArray::try_new(self.item.clone(), offsets, values, nulls)?))
    }
}

/// A column of a MAP type.
pub(crate) struct MapColumn {
    entries: FieldRef,
    fields: Fields,
    keys: ScalarColumn,
    values: Box<Builder>,
    extents: Extents,
}

impl MapColumn {
    fn new(entries: &FieldRef, nullable: bool) -> Result<Self, String> {
        let DataType::Struct(fields) = entries.data_type() else {
            return Err("a map's entries must be a struct".to_owned());
        };
        let [key, value] = fields.as_ref() else {
            return Err("a map's entries must have a key and a value".to_owned());
        };
        let keys = ScalarColumn::of(key).ok_or("a map's keys must have no parts")?;
        let values = Box::new(Builder::of(value)?);
        Ok(Self { entries: entries.clone(), fields: fields.clone(), keys, values, extents: Extents::new(nullable) })
    }

    /// Begins a row.
    pub(crate) fn begin(&mut self, row: usize) {
        self.extents.pad(row);
    }

    /// Reads an entry of the row, given the columns of keys and values, and the entry's index there.
    pub(crate) fn read_entry(
        &mut self,
        read: impl FnOnce(&mut ScalarColumn, &mut Builder, usize) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let item = self.extents.next_item()?;
        read(&mut self.keys, &mut self.values, item)
    }

    /// Ends the row.
    pub(crate) fn end(&mut self) {
        self.extents.push();
    }

    fn finish(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        self.extents.pad(rows);
        let (offsets, nulls, items) = self.extents.finish();
        let keys = self.keys.finish(items)?;
        let values = self.values.finish(items)?;
        debug_assert_eq!(keys.len(), values.len());
        let entries = StructArray::try_new(self.fields.clone(), vec![keys, values], None)?;
        Ok(Arc::new(MapArray::try_new(self.entries.clone(), offsets, entries, nulls, false)?))
    }
}
