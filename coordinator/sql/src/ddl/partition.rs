//! `PARTITIONED BY`: a table's files lie in one directory per combination of these columns' values, or its records have keys
//! of them.
//!
//! The columns are of scalar types and named once each. Those of files are not in the files, so that at least one physical
//! column must be left for these; and they may be computed, from the row that is written. Those of keys are physical.

use thalweg_functions::{names::sql_type, time_pattern::TimePattern};

use super::{statement::PartitionClause, written::Written};
use crate::{
    catalog::{Column, is_timestamp},
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

/// Holds `sink.path-template` against the columns that name directories.
pub(super) fn check_template(
    table: &TableConnector,
    options: &[Written],
    partitions: &PartitionColumns,
    columns: &[Column],
) -> Result<()> {
    let Some(option) = options.iter().find(|option| option.key == "sink.path-template") else { return Ok(()) };
    let refused = |reason: String| SqlError::at(option.value_at, reason);
    let Some(template) = table.path_template().map_err(|error| refused(error.to_string()))? else { return Ok(()) };
    let written: Vec<&Column> = columns.iter().filter(|column| column.is_written()).collect();
    let computed = partitions.computed.iter().map(|at| &columns[*at]);
    let all: Vec<&Column> = written.into_iter().chain(computed).collect();
    let named: Vec<&Column> = partitions.indexes.iter().map(|index| all[*index]).collect();
    let of = |name: &str| named.iter().find(|column| column.field.name() == name);
    for name in template.columns() {
        if of(name).is_none() {
            let message = format!("option 'sink.path-template': '{name}' is no column of PARTITIONED BY");
            return Err(refused(message).with_suggestion(name, named.iter().map(|column| column.field.name().as_str())));
        }
    }
    if let Some(unused) = named.iter().find(|column| template.columns().all(|name| name != column.field.name())) {
        let name = unused.field.name();
        return Err(refused(format!(
            "option 'sink.path-template' leaves out '{name}', a column of PARTITIONED BY, which is not in the files either"
        )));
    }
    for (name, pattern) in template.patterns() {
        let column = name.and_then(of);
        if let Some(column) = column.filter(|column| !is_timestamp(column.field.data_type())) {
            let kind = sql_type(column.field.data_type());
            let message = format!(
                "option 'sink.path-template': '{}' is {kind}, and a pattern is for a TIMESTAMP",
                column.field.name()
            );
            return Err(refused(message));
        }
        TimePattern::read(pattern).map_err(|error| refused(format!("option 'sink.path-template': {error}")))?;
    }
    Ok(())
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
