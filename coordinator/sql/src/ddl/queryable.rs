//! The `PRIMARY KEY` of a table whose newest rows are kept by it, and asked.
//!
//! It is needed there, of physical columns of scalar types, named once each. Its columns are `NOT NULL`, as in Flink, whether the
//! table says so or not: a row without a key would be nobody's.

use sqlparser::{ast::Ident, tokenizer::Location};
use thalweg_functions::names::sql_type;
use thalweg_types::connector::{ConnectorSpec, LIMIT, Output};

use crate::{
    catalog::Column,
    errors::{Result, SqlError},
};

/// Whether tables of a connector are asked for their newest rows.
pub(super) fn is_queryable(spec: &ConnectorSpec) -> bool {
    spec.sink.is_some_and(|sink| sink.output == Output::Queryable)
}

/// The indexes of the key's columns among those that are written, which become `NOT NULL`.
pub(super) fn key(
    primary_key: &[Ident],
    columns: &mut [Column],
    spec: &ConnectorSpec,
    at: Location,
) -> Result<Vec<usize>> {
    if primary_key.is_empty() {
        let message = format!("connector '{}' keeps the newest row of each key, so it needs a PRIMARY KEY", spec.name);
        return Err(SqlError::at(at, message).with_hint("PRIMARY KEY (a, b) NOT ENFORCED"));
    }
    let mut indexes = Vec::with_capacity(primary_key.len());
    for name in primary_key {
        let refused = |reason: &str| Err(SqlError::at(name.span.start, format!("column '{}' {reason}", name.value)));
        let mut written = (0..).zip(columns.iter_mut().filter(|column| column.is_written()));
        let Some((index, column)) = written.find(|(_, column)| *column.field.name() == name.value) else {
            return refused("is a computed column, which is not written");
        };
        if indexes.contains(&index) {
            return refused("is named twice in the PRIMARY KEY");
        }
        if column.field.data_type().is_nested() {
            return refused(&format!("is {}, which cannot be a key", sql_type(column.field.data_type())));
        }
        if name.value == LIMIT {
            return refused("cannot be a key by this name: in a request it says how many rows are wanted");
        }
        column.field = column.field.clone().with_nullable(false);
        indexes.push(index);
    }
    Ok(indexes)
}
