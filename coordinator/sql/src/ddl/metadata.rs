//! `METADATA` columns: what a connector knows of a record beside the record, such as its offset.
//!
//! The connector reads and writes each by its own type and key; a table may declare another type that it casts to, and another
//! name. Whether a column may be NULL is the connector's to say: it says so of what it reads, and takes a NULL for what it
//! writes as *not given*.

use arrow::datatypes::Field;
use sqlparser::{parser::Parser, tokenizer::Location};
use thalweg_functions::names::sql_type;
use thalweg_types::connector::{ConnectorSpec, METADATA_COLUMN, MetadataSpec};

use super::columns::{ColumnClause, MetadataClause, TableElements};
use crate::{
    catalog::{Column, Metadata},
    declared_type::arrow_type,
    dialect::ThalwegDialect,
    errors::{Result, SqlError},
    implicit::is_for_metadata,
    text,
};

/// Checks a column's declaration against what the connector has.
pub(super) fn column(clause: &MetadataClause, spec: &ConnectorSpec) -> Result<Column> {
    let known = find(clause, spec)?;
    let own = own_field(known, &clause.name.value)?;
    let declared = arrow_type(&clause.data_type).map_err(|reason| SqlError::at(clause.type_at, reason))?;
    let refused = |what: &str| {
        let message = format!("metadata '{}' of connector '{}' {what}", known.key, spec.name);
        SqlError::at(clause.type_at, message)
    };
    if !is_for_metadata(own.data_type(), &declared) {
        return Err(refused(&format!("is {}", sql_type(own.data_type()))));
    }
    if !clause.nullable && own.is_nullable() {
        return Err(refused("may be NULL").with_hint("leave NOT NULL out"));
    }
    let field = Field::new(&clause.name.value, declared, own.is_nullable());
    Ok(Column { field, computed: None, metadata: Some(Metadata { spec: known, own, is_virtual: clause.is_virtual }) })
}

fn find(clause: &MetadataClause, spec: &ConnectorSpec) -> Result<&'static MetadataSpec> {
    if spec.metadata.is_empty() {
        let message = format!("connector '{}' has no metadata for METADATA columns", spec.name);
        return Err(SqlError::at(clause.at, message));
    }
    let (key, at): (&str, Location) = match &clause.from {
        Some((key, at)) => (key, *at),
        None => (&clause.name.value, clause.name.span.start),
    };
    spec.metadata.iter().find(|known| known.key == key).ok_or_else(|| {
        let keys: Vec<&str> = spec.metadata.iter().map(|known| known.key).collect();
        let error = SqlError::at(at, format!("connector '{}' has no metadata '{key}'", spec.name));
        error.with_hint(format!("it has {}", keys.join(", "))).with_suggestion(key, keys)
    })
}

/// The column as the connector knows it.
fn own_field(spec: &MetadataSpec, name: &str) -> Result<Field> {
    let text = format!("x {})", spec.data_type);
    let tokens = text::statements_of(&text::tokens_of(&text)?);
    let mut parser = Parser::new(&ThalwegDialect).with_tokens_with_locations(tokens.into_iter().flatten().collect());
    let elements = TableElements::parse(&mut parser)?;
    let Some(ColumnClause::Physical { data_type, nullable, .. }) = elements.columns.first() else {
        return Err(SqlError::new(format!("metadata '{}' has no type", spec.key)));
    };
    let flag = [(METADATA_COLUMN.to_owned(), spec.key.to_owned())].into();
    Ok(Field::new(name, arrow_type(data_type).map_err(SqlError::new)?, *nullable).with_metadata(flag))
}
