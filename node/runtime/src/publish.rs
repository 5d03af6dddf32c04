//! Work on tables outside an attempt: finds the splits of sources, and publishes or discards the output of sinks.

use std::collections::BTreeMap;

use serde_json::Value;
use thalweg_connectors::{
    CommitterIdentity, ConnectorError, Epochs, SideOutputKind, SinkCommitter, open_side_output_committer,
    open_sink_committer, open_source, part_committables,
};
use thalweg_types::{
    Attempt, ClusterId, JobGraph, JobId, Operator, OperatorId, Split,
    checkpoint::SinkCommittables,
    graph::{Identities, SideOutput},
    job::{Failure, FailureKind},
    session::Publication,
    settings::JobSettings,
    text::with_causes,
};

use crate::context::RuntimeContext;

/// The clients of all committers may have queues in the node's memory divided by this.
const COMMITTERS_MEMORY_SHARE: u64 = 16;

/// Finds the splits of sources, in reading order for each.
///
/// # Errors
/// If a table cannot be opened or listed, or an operator is not a source.
pub async fn discover(
    context: &RuntimeContext,
    graph: &JobGraph,
    sources: &[OperatorId],
) -> Result<Vec<(OperatorId, Vec<Split>)>, Failure> {
    let settings = settings_of(graph)?;
    let mut found = Vec::with_capacity(sources.len());
    for id in sources {
        let Some((_, spec)) = graph.sources().find(|(source, _)| source == id) else {
            return Err(data_failure(format!("{id} is not a source")));
        };
        let failed = |error| table_failure(&spec.table, &error);
        let source = open_source(spec, &settings, &context.connectors).map_err(failed)?;
        found.push((*id, source.discover().await.map_err(failed)?));
    }
    Ok(found)
}

/// Publishes what the writers of a job have prepared up to a checkpoint, including late rows and dead letters.
/// Idempotent. Output that is never published stays hidden until `discard` removes it.
///
/// A sink is told of each publication that names it, also if only rows are to be published that it could not write: its
/// progress, if it keeps any, is held against the checkpoint of that publication.
///
/// # Errors
/// If something cannot be published now.
pub async fn commit(
    context: &RuntimeContext,
    (cluster, job, attempt): (&ClusterId, JobId, Attempt),
    publication: &Publication,
) -> Result<(), Failure> {
    let Publication { graph, checkpoint, committables, published, complete, checkpoints } = publication;
    let committers = Committers::of(context, graph, (cluster, job), checkpoints)?;
    let mut prepared: BTreeMap<OperatorId, Vec<Value>> = BTreeMap::new();
    for SinkCommittables { sink, committables, .. } in committables {
        prepared.entry(*sink).or_default().extend(committables.iter().cloned());
    }
    for operator in &graph.operators {
        let Some(values) = prepared.remove(&operator.id) else { continue };
        let failed = |error| table_failure(&operator.name, &error);
        let published = published.get(&operator.id).copied();
        let epochs = Epochs { attempt, publishing: *checkpoint, published, complete: *complete };
        let (own, failed_rows) = part_committables(values);
        if let Some(committer) = committers.of_failed_rows().map_err(failed)?.filter(|_| !failed_rows.is_empty()) {
            committer.commit(epochs, &failed_rows).await.map_err(failed)?;
        }
        let Some(committer) = committers.of_operator(operator).map_err(failed)? else { continue };
        committer.commit(epochs, &own).await.map_err(failed)?;
    }
    Ok(())
}

/// Removes the unpublished output of a job's attempts before `before`; `Attempt(u32::MAX)` selects all. None of those
/// attempts may run any more, and all they prepared for a checkpoint that may be restored must be published. The job's
/// checkpoints are at `checkpoints`.
///
/// # Errors
/// If something cannot be removed.
pub async fn discard(
    context: &RuntimeContext,
    (graph, checkpoints): (&JobGraph, &str),
    (cluster, job): (&ClusterId, JobId),
    before: Attempt,
) -> Result<(), Failure> {
    let committers = Committers::of(context, graph, (cluster, job), checkpoints)?;
    for operator in &graph.operators {
        let failed = |error| table_failure(&operator.name, &error);
        if let Some(committer) = committers.of_operator(operator).map_err(failed)? {
            committer.discard(cluster, job, before).await.map_err(failed)?;
        }
    }
    let failed = |error: ConnectorError| Failure {
        kind: error.failure_kind(),
        message: format!("could not clear the 'error.path': {}", with_causes(&error)),
    };
    if let Some(committer) = committers.of_failed_rows().map_err(failed)? {
        committer.discard(cluster, job, before).await.map_err(failed)?;
    }
    Ok(())
}

/// Opens the committers of a job.
struct Committers<'a> {
    context: &'a RuntimeContext,
    settings: JobSettings,
    identities: Identities,
    job: (&'a ClusterId, JobId),
    checkpoints: &'a str,
}

impl<'a> Committers<'a> {
    fn of(
        context: &'a RuntimeContext,
        graph: &JobGraph,
        job: (&'a ClusterId, JobId),
        checkpoints: &'a str,
    ) -> Result<Self, Failure> {
        let (settings, identities) = (settings_of(graph)?, Identities::of(graph));
        Ok(Self { context, settings, identities, job, checkpoints })
    }

    /// The committer for what subtasks prepared in an operator's name: a sink's rows, a source's dead letters, or another
    /// operator's late rows.
    fn of_operator(&self, operator: &Operator) -> Result<Option<Box<dyn SinkCommitter>>, ConnectorError> {
        let connectors = &self.context.connectors;
        if let Some(sink) = operator.kind.as_sink() {
            let identity = CommitterIdentity {
                cluster: self.job.0.clone(),
                job: self.job.1,
                sink: self.identities.get(operator.id),
                checkpoints: self.checkpoints.to_owned(),
                memory_bytes: self.context.memory_budget_bytes / COMMITTERS_MEMORY_SHARE,
            };
            return open_sink_committer(sink, operator.output.clone(), identity, connectors).map(Some);
        }
        let (kind, path) = match operator.kind.describe().side_output {
            Some(SideOutput::DeadLetters(path)) => (SideOutputKind::DeadLetters, Some(path)),
            Some(SideOutput::LateRows) => (SideOutputKind::LateRows, self.settings.late_path.as_deref()),
            None => return Ok(None),
        };
        path.map(|path| open_side_output_committer(kind, path, connectors)).transpose()
    }

    /// The committer for rows that operators could not evaluate.
    fn of_failed_rows(&self) -> Result<Option<Box<dyn SinkCommitter>>, ConnectorError> {
        let path = self.settings.error_path.as_deref();
        let open = |path| open_side_output_committer(SideOutputKind::FailedRows, path, &self.context.connectors);
        path.map(open).transpose()
    }
}

fn settings_of(graph: &JobGraph) -> Result<JobSettings, Failure> {
    JobSettings::parse(&graph.settings).map_err(|error| data_failure(error.to_string()))
}

fn table_failure(table: &str, error: &ConnectorError) -> Failure {
    let told = with_causes(error);
    let told = told.strip_prefix(&format!("table {table}: ")).unwrap_or(&told);
    Failure { kind: error.failure_kind(), message: format!("table {table} failed: {told}") }
}

fn data_failure(message: String) -> Failure {
    Failure { kind: FailureKind::Data, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_its_table_once() {
        let of = |table: &str| ConnectorError::Config { table: table.to_owned(), reason: "no".to_owned() };
        assert_eq!(table_failure("t", &of("t")).message, "table t failed: no");
        assert_eq!(table_failure("t", &of("tt")).message, "table t failed: table tt: no");
    }
}
