//! `PARTITIONED BY`: a table's files lie in one directory per combination of these columns' values, or its records have keys
//! of them.
//!
//! The columns are of scalar types and named once each. Those of files are not in the files, so that at least one physical
//! column must be left for these; and they may be computed, from the row that is written. Those of keys are physical.

use sqlparser::tokenizer::Location;
use thalweg_functions::names::sql_type;

use super::{statement::PartitionClause, template, written::Written};
use crate::{
    catalog::Column,
    errors::{Result, SqlError},
};
use thalweg_types::connector::{CONNECTORS, ConnectorSpec, Output, TableConnector};

/// The columns that name directories, or make keys.
#[derive(Debug, Default)]
pub(super) struct PartitionColumns {
    /// Their indexes among the columns that are written, and behind these the computed ones.
    pub(super) indexes: Vec<usize>,
    /// The computed ones: their indexes among all columns.
    pub(super) computed: Vec<usize>,
}

/// Checks the clause's columns.
pub(super) fn columns(clause: &PartitionClause, columns: &[Column], spec: &ConnectorSpec) -> Result<PartitionColumns> {
    if !takes_partitions(spec) {
        let message = format!("PARTITIONED BY is not supported by connector '{}'", spec.name);
        let able = CONNECTORS.iter().filter(|spec| takes_partitions(spec)).map(|spec| format!("'{}'", spec.name));
        let hint = format!("connector {} writes partitions", able.collect::<Vec<_>>().join(" or "));
        return Err(SqlError::at(clause.at, message).with_hint(hint));
    }
    let physical: Vec<&Column> = columns.iter().filter(|column| column.is_written()).collect();
    let mut found = PartitionColumns::default();
    for name in &clause.columns {
        let refused = |message: String| SqlError::at(name.span.start, message);
        let is_it = |column: &&Column| *column.field.name() == name.value;
        let (index, column) = match physical.iter().position(&is_it) {
            Some(index) => (index, physical[index]),
            None => {
                let Some(at) = columns.iter().position(|column| is_it(&column) && column.computed.is_some()) else {
                    let names = || columns.iter().map(|column| column.field.name().as_str());
                    return Err(
                        refused(format!("unknown column '{}'", name.value)).with_suggestion(&name.value, names())
                    );
                };
                // A record has all columns of the sink, and none more.
                if !writes_files(spec) {
                    return Err(refused(format!("'{}' is a computed column, which is not written", name.value)));
                }
                let known = found.computed.iter().position(|known| *known == at);
                let number = known.unwrap_or(found.computed.len());
                if known.is_none() {
                    found.computed.push(at);
                }
                (physical.len() + number, &columns[at])
            }
        };
        if found.indexes.contains(&index) {
            return Err(refused(format!("column '{}' is named twice", name.value)));
        }
        let data_type = column.field.data_type();
        if data_type.is_nested() {
            let kind = sql_type(data_type);
            return Err(refused(format!("column '{}' is {kind}, which cannot name a partition", name.value)));
        }
        found.indexes.push(index);
    }
    if writes_files(spec) && found.indexes.len() - found.computed.len() == physical.len() {
        return Err(SqlError::at(clause.at, "PARTITIONED BY all columns leaves none for the files"));
    }
    Ok(found)
}

/// Holds what is said about files against the columns that name directories.
pub(super) fn check_delivery(
    table: &TableConnector,
    (options, at): (&[Written], Location),
    partitions: &PartitionColumns,
    columns: &[Column],
) -> Result<()> {
    let named = named(partitions, columns);
    let names: Vec<&str> = named.iter().map(|column| column.field.name().as_str()).collect();
    if let Err(error) = table.check_delivery(&names) {
        let given = options.iter().find(|option| option.key == error.option());
        return Err(SqlError::at(given.map_or(at, |option| option.value_at), error.to_string()));
    }
    template::check(table, options, &named)
}

/// The columns that name directories, or make keys.
fn named<'a>(partitions: &PartitionColumns, columns: &'a [Column]) -> Vec<&'a Column> {
    let written = columns.iter().filter(|column| column.is_written());
    let computed = partitions.computed.iter().map(|at| &columns[*at]);
    let all: Vec<&Column> = written.chain(computed).collect();
    partitions.indexes.iter().map(|index| all[*index]).collect()
}

fn takes_partitions(spec: &ConnectorSpec) -> bool {
    spec.sink.is_some_and(|sink| match sink.output {
        Output::Files { .. } | Output::Keyed => true,
        Output::StandardOutput | Output::Elsewhere | Output::Queryable | Output::Nowhere => false,
    })
}

fn writes_files(spec: &ConnectorSpec) -> bool {
    spec.sink.is_some_and(|sink| matches!(sink.output, Output::Files { .. }))
}
