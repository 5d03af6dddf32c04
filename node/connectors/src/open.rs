//! Opens a table's connector as a source, a sink writer or a committer, with the contents of its secrets in place, and
//! sees to it that nothing else is told of them (`redact`).

use arrow::datatypes::SchemaRef;
use thalweg_types::{
    connector::TableConnector,
    graph::{SinkOperator, SourceOperator},
    settings::JobSettings,
};

use crate::{
    CommitterIdentity, ConnectorError, SinkCommitter, SinkSubtask, SinkWriter, Source, SourceIdentity, blackhole,
    connector::{Connector, Sink, SinkTable, SourceTable},
    context::ConnectorContext,
    datagen, filesystem, http, kafka, kinesis, nexmark,
    notices::TableNotices,
    print, queryable,
    redact::{self, Hidden},
    reveal, stdin, values,
};

/// All connectors; each has a spec of its name in `thalweg_types::connector`.
const CONNECTORS: &[Connector] = &[
    filesystem::CONNECTOR,
    kafka::CONNECTOR,
    kinesis::CONNECTOR,
    nexmark::CONNECTOR,
    datagen::CONNECTOR,
    stdin::CONNECTOR,
    http::CONNECTOR,
    print::CONNECTOR,
    queryable::CONNECTOR,
    blackhole::CONNECTOR,
    values::CONNECTOR,
];

/// Opens the table that a source operator reads, to list its splits. Records POSTed to it meanwhile are
/// kept in memory only.
///
/// # Errors
/// If its options or columns don't fit the connector.
pub fn open_source(
    spec: &SourceOperator,
    settings: &JobSettings,
    context: &ConnectorContext,
) -> Result<Box<dyn Source>, ConnectorError> {
    open(spec, settings, None, context)
}

/// Opens the table that a source operator reads, for an attempt.
///
/// # Errors
/// As `open_source`.
pub fn open_source_of(
    identity: SourceIdentity,
    spec: &SourceOperator,
    settings: &JobSettings,
    context: &ConnectorContext,
) -> Result<Box<dyn Source>, ConnectorError> {
    open(spec, settings, Some(identity), context)
}

fn open(
    spec: &SourceOperator,
    settings: &JobSettings,
    identity: Option<SourceIdentity>,
    context: &ConnectorContext,
) -> Result<Box<dyn Source>, ConnectorError> {
    let spec = &*reveal::of_source(spec, context)?;
    let hidden = Hidden::of(&spec.connector);
    let context = &context.hiding(&hidden);
    let source = find(&spec.connector).and_then(|connector| connector.source);
    let open = source.ok_or_else(|| unable(&spec.table, &spec.connector, "read"))?;
    let notices = context.notices.of(identity.as_ref().map(|identity| identity.job), &spec.table);
    tell_written(&spec.connector, &notices);
    let opened = open(SourceTable { spec, batch_rows: settings.batch_rows, identity, notices, context });
    opened.map_err(|error| hidden.error(error)).map(|opened| redact::source(hidden, opened))
}

/// Opens a writer of one subtask's share of a table.
///
/// # Errors
/// If the options or columns don't fit the connector, or the destination cannot be opened.
pub fn open_sink_writer(
    spec: &SinkOperator,
    schema: SchemaRef,
    subtask: SinkSubtask,
    context: &ConnectorContext,
) -> Result<Box<dyn SinkWriter>, ConnectorError> {
    let spec = &*reveal::of_sink(spec, context)?;
    let hidden = Hidden::of(&spec.connector);
    let context = &context.hiding(&hidden);
    tell_written(&spec.connector, &context.notices.of(Some(subtask.identity.job), &spec.table));
    let opened = (sink_of(spec)?.writer)(SinkTable { spec, schema: &schema, context }, subtask);
    opened.map_err(|error| hidden.error(error)).map(|opened| redact::writer(hidden, opened))
}

/// Opens the committer of a table.
///
/// # Errors
/// If the options don't fit the connector, or the destination cannot be opened.
pub fn open_sink_committer(
    spec: &SinkOperator,
    schema: SchemaRef,
    identity: CommitterIdentity,
    context: &ConnectorContext,
) -> Result<Box<dyn SinkCommitter>, ConnectorError> {
    let spec = &*reveal::of_sink(spec, context)?;
    let hidden = Hidden::of(&spec.connector);
    let context = &context.hiding(&hidden);
    let opened = (sink_of(spec)?.committer)(SinkTable { spec, schema: &schema, context }, identity);
    opened.map_err(|error| hidden.error(error)).map(|opened| redact::committer(hidden, opened))
}

/// Asks a table's destination, before a job runs, whether it can be written. Called once, on one node. `patient` says that the
/// job has run before, so that what does not answer now is waited for.
///
/// # Errors
/// If it cannot be written.
pub async fn check_sink(
    spec: &SinkOperator,
    schema: SchemaRef,
    patient: bool,
    context: &ConnectorContext,
) -> Result<(), ConnectorError> {
    let spec = &*reveal::of_sink(spec, context)?;
    let Some(check) = sink_of(spec)?.check else { return Ok(()) };
    let hidden = Hidden::of(&spec.connector);
    let context = &context.hiding(&hidden);
    check(SinkTable { spec, schema: &schema, context }, patient).await.map_err(|error| hidden.error(error))
}

/// Tells of secrets that stand in the script.
fn tell_written(connector: &TableConnector, notices: &TableNotices) {
    for option in redact::written(connector) {
        notices.tell(&format!("secret {option}"), || redact::written_notice(connector, option));
    }
}

fn find(connector: &TableConnector) -> Option<&'static Connector> {
    CONNECTORS.iter().find(|known| known.name == connector.name)
}

fn sink_of(spec: &SinkOperator) -> Result<&'static Sink, ConnectorError> {
    let sink = find(&spec.connector).and_then(|connector| connector.sink.as_ref());
    sink.ok_or_else(|| unable(&spec.table, &spec.connector, "written"))
}

fn unable(table: &str, connector: &TableConnector, what: &str) -> ConnectorError {
    ConnectorError::Config {
        table: table.to_owned(),
        reason: format!("connector '{}' cannot be {what}", connector.name),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use thalweg_types::connector;

    use super::CONNECTORS;

    #[test]
    fn connectors_do_what_their_specs_say() {
        for known in CONNECTORS {
            let spec = connector::find(known.name).unwrap_or_else(|| panic!("{} has no spec", known.name));
            assert_eq!(known.source.is_some(), spec.source.is_some(), "{}", known.name);
            assert_eq!(known.sink.is_some(), spec.sink.is_some(), "{}", known.name);
        }
        let names: BTreeSet<&str> = CONNECTORS.iter().map(|known| known.name).collect();
        assert!(connector::CONNECTORS.iter().all(|spec| names.contains(spec.name)), "a spec without a connector");
    }
}
