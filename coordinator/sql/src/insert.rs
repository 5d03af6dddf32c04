//! Which columns of a table an `INSERT` fills, and with which of the query's columns.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion_expr::LogicalPlan;
use sqlparser::tokenizer::Location;
use thalweg_functions::names::sql_type;

use crate::{
    catalog::{Column, Metadata, Table},
    ddl::Insert,
    errors::{Result, SqlError},
    implicit::is_for_metadata,
    lower::Target,
};

/// Where the rows of an `INSERT` go.
pub(crate) fn target(insert: &Insert, table: &Arc<Table>, plan: &LogicalPlan) -> Result<Target> {
    let at = insert.table.span.start;
    check_metadata(table, at)?;
    let written = table.written();
    let given = plan.schema().fields().len();
    let sources = match insert.columns.is_empty() {
        true => all_in_order(table, &written, given, at)?,
        false => as_named(insert, table, &written, given)?,
    };
    let mut columns = written.fields().iter().zip(&sources);
    let unfilled = columns.find(|(field, source)| source.is_none() && !field.is_nullable());
    if let Some((field, _)) = unfilled {
        let message = format!("column '{}' of table '{}' is NOT NULL and gets no value", field.name(), table.name);
        return Err(SqlError::at(at, message));
    }
    Ok(Target::Table { table: table.clone(), sources, at })
}

fn all_in_order(table: &Table, written: &Schema, given: usize, at: Location) -> Result<Vec<Option<usize>>> {
    let count = written.fields().len();
    if given == count {
        return Ok((0..given).map(Some).collect());
    }
    let columns: Vec<&str> = written.fields().iter().map(|field| field.name().as_str()).collect();
    let message = format!("table '{}' has {count} columns, but the query gives {given}", table.name);
    Err(SqlError::at(at, message).with_hint(format!("its columns are {}", columns.join(", "))))
}

fn as_named(insert: &Insert, table: &Table, written: &Schema, given: usize) -> Result<Vec<Option<usize>>> {
    let mut sources: Vec<Option<usize>> = vec![None; written.fields().len()];
    for (index, column) in insert.columns.iter().enumerate() {
        let place = column.span.start;
        let Ok(position) = written.index_of(&column.value) else {
            let is_it = |known: &&Column| *known.field.name() == column.value;
            let is_virtual = table.columns.iter().find(is_it).is_some_and(|known| known.metadata.is_some());
            let what = if is_virtual { " to write: it is VIRTUAL" } else { " to write" };
            let error = SqlError::at(place, format!("table '{}' has no column '{}'{what}", table.name, column.value));
            return Err(
                error.with_suggestion(&column.value, written.fields().iter().map(|field| field.name().as_str()))
            );
        };
        if sources[position].replace(index).is_some() {
            return Err(SqlError::at(place, format!("column '{}' is named twice", column.value)));
        }
    }
    if insert.columns.len() != given {
        let message = format!("{} columns are named, but the query gives {given}", insert.columns.len());
        return Err(SqlError::at(insert.columns[0].span.start, message));
    }
    Ok(sources)
}

/// Refuses a table with metadata that its connector cannot write, or only as another type.
fn check_metadata(table: &Table, at: Location) -> Result<()> {
    let metadata = table.columns.iter().filter(|column| column.is_written());
    for (column, Metadata { spec, own, .. }) in metadata.filter_map(|column| Some((column, column.metadata.as_ref()?)))
    {
        let (name, connector) = (column.field.name(), table.spec.name);
        if !spec.written {
            let message = format!(
                "column '{name}' of table '{}': connector '{connector}' does not write metadata '{}'",
                table.name, spec.key
            );
            return Err(SqlError::at(at, message).with_hint("declare it VIRTUAL: name type METADATA VIRTUAL"));
        }
        if !is_for_metadata(column.field.data_type(), own.data_type()) {
            let message = format!(
                "column '{name}' of table '{}': connector '{connector}' writes metadata '{}' as {}",
                table.name,
                spec.key,
                sql_type(own.data_type())
            );
            return Err(SqlError::at(at, message));
        }
    }
    Ok(())
}
