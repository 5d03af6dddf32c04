//! The columns for fields of all types: a nested one is made of the columns of its parts.

use arrow::datatypes::{DataType, Field, Fields};

use super::{
    column::{Column, plain_column_of},
    nested::{ListColumn, MapColumn},
    object::StructColumn,
};

/// A column for a field. The error names a type that has none.
pub(crate) fn column_of(field: &Field) -> Result<Box<dyn Column>, String> {
    let nullable = field.is_nullable();
    Ok(match field.data_type() {
        DataType::Struct(fields) => Box::new(struct_of(fields, nullable)?),
        DataType::List(item) => Box::new(ListColumn::new(item, column_of(item)?, nullable)),
        DataType::Map(entries, _) => Box::new(MapColumn::new(entries, column_of, nullable)?),
        plain => plain_column_of(field).ok_or_else(|| format!("type {plain} cannot be read from text"))?,
    })
}

/// Columns for fields side by side. The error names the field that has none.
pub(super) fn struct_of(fields: &Fields, nullable: bool) -> Result<StructColumn, String> {
    let child = |field: &Field| column_of(field).map_err(|reason| format!("column {}: {reason}", field.name()));
    let children = fields.iter().map(|field| child(field)).collect::<Result<_, _>>()?;
    Ok(StructColumn::new(fields, children, nullable))
}
