//! `PARTITIONED BY`: a table's files lie in one directory per combination of these columns' values.
//!
//! The columns are physical, of scalar types and named once each. At least one other physical column must be left for
//! the files.

use thalweg_functions::names::sql_type;

use super::statement::PartitionClause;
use crate::{
    catalog::Column,
    errors::{Result, SqlError},
};
use thalweg_types::connector::{CONNECTORS, ConnectorSpec, Output};

/// The indexes of the clause's columns among those that are written.
pub(super) fn columns(clause: &PartitionClause, columns: &[Column], spec: &ConnectorSpec) -> Result<Vec<usize>> {
    if !writes_files(spec) {
        let message = format!("PARTITIONED BY is not supported by connector '{}'", spec.name);
        let able = CONNECTORS.iter().filter(|spec| writes_files(spec)).map(|spec| format!("'{}'", spec.name));
        let hint = format!("connector {} writes partitions", able.collect::<Vec<_>>().join(" or "));
        return Err(SqlError::at(clause.at, message).with_hint(hint));
    }
    let physical: Vec<&Column> = columns.iter().filter(|column| column.is_written()).collect();
    let mut indexes = Vec::with_capacity(clause.columns.len());
    for name in &clause.columns {
        let refused = |message: String| SqlError::at(name.span.start, message);
        let Some(index) = physical.iter().position(|column| *column.field.name() == name.value) else {
            let names = || physical.iter().map(|column| column.field.name().as_str());
            if columns.iter().any(|column| *column.field.name() == name.value) {
                return Err(refused(format!("'{}' is a computed column, which is not written", name.value)));
            }
            return Err(refused(format!("unknown column '{}'", name.value)).with_suggestion(&name.value, names()));
        };
        if indexes.contains(&index) {
            return Err(refused(format!("column '{}' is named twice", name.value)));
        }
        let data_type = physical[index].field.data_type();
        if data_type.is_nested() {
            let kind = sql_type(data_type);
            return Err(refused(format!("column '{}' is {kind}, which cannot name a directory", name.value)));
        }
        indexes.push(index);
    }
    if indexes.len() == physical.len() {
        return Err(SqlError::at(clause.at, "PARTITIONED BY all columns leaves none for the files"));
    }
    Ok(indexes)
}

fn writes_files(spec: &ConnectorSpec) -> bool {
    spec.sink.is_some_and(|sink| matches!(sink.output, Output::Files { .. }))
}
