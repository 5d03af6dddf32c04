//! Checks the tables of a job before it runs, so that a mistake shows at once, and not at the first record or checkpoint.
//!
//! Paths are checked on each node, since each may allow others. What another system is asked, one node asks: that of the
//! table's first subtask.

use arrow::datatypes::SchemaRef;
use futures::future::try_join_all;
use thalweg_connectors::ConnectorContext;
use thalweg_types::{
    Attempt, ChainPlan, OperatorId, SubtaskId, graph::SinkOperator, session::Deployment, settings::JobSettings,
};

use crate::{failure::SubtaskError, tables::Tables};

/// What is checked, and by what.
pub(crate) struct Checks<'a> {
    pub(crate) connectors: &'a ConnectorContext,
    pub(crate) tables: &'a dyn Tables,
    pub(crate) deployment: &'a Deployment,
    pub(crate) attempt: Attempt,
}

impl Checks<'_> {
    /// Checks what is to be checked on this node, which has these subtasks.
    pub(crate) async fn check_all(&self, plan: &ChainPlan, here: &[SubtaskId]) -> Result<(), SubtaskError> {
        self.check_destinations().await?;
        let is_here = |operator: OperatorId| {
            let chain = plan.chains.iter().find(|chain| chain.operators.contains(&operator));
            chain.is_some_and(|chain| here.contains(&SubtaskId { chain: chain.id, index: 0 }))
        };
        self.check_sources(is_here).await?;
        self.check_sinks(is_here).await
    }

    /// Checks all paths that the job writes to.
    async fn check_destinations(&self) -> Result<(), SubtaskError> {
        let (connectors, graph) = (self.connectors, &self.deployment.graph);
        let of_sinks = graph.sinks().filter_map(|(_, sink)| Some((&sink.table, sink.connector.written_path()?)));
        try_join_all(of_sinks.map(async |(table, path)| {
            let failed = |source| SubtaskError::Connector { table: table.clone(), source };
            connectors.check_destination(path).await.map_err(failed)
        }))
        .await?;
        let of_sources = graph.sources().filter_map(|(_, source)| source.connector.dead_letter_path());
        let of_job = ["late.path", "error.path"].into_iter().filter_map(|key| graph.settings.get(key));
        let side_outputs = of_sources.chain(of_job.map(String::as_str)).map(|path| connectors.check_destination(path));
        try_join_all(side_outputs).await.map_err(|source| SubtaskError::SideOutput { source })?;
        Ok(())
    }

    /// Checks the tables that are read.
    async fn check_sources(&self, is_here: impl Fn(OperatorId) -> bool) -> Result<(), SubtaskError> {
        let graph = &self.deployment.graph;
        let settings = JobSettings::parse(&graph.settings);
        let settings = settings.map_err(|error| SubtaskError::Plan { reason: error.to_string() })?;
        let here = graph.sources().filter(|(source, _)| is_here(*source));
        try_join_all(here.map(async |(_, spec)| {
            let failed = |source| SubtaskError::Connector { table: spec.table.clone(), source };
            self.tables.check_source(spec, &settings, self.has_run()).await.map_err(failed)
        }))
        .await?;
        Ok(())
    }

    /// Checks the tables that are written.
    async fn check_sinks(&self, is_here: impl Fn(OperatorId) -> bool) -> Result<(), SubtaskError> {
        let sink_here = |operator: &thalweg_types::Operator| -> Option<(SinkOperator, SchemaRef)> {
            let sink = operator.kind.as_sink().filter(|_| is_here(operator.id))?;
            Some((sink.clone(), operator.output.clone()))
        };
        let here: Vec<_> = self.deployment.graph.operators.iter().filter_map(sink_here).collect();
        try_join_all(here.iter().map(async |(sink, schema)| {
            let failed = |source| SubtaskError::Connector { table: sink.table.clone(), source };
            self.tables.check_sink(sink, schema.clone(), self.has_run()).await.map_err(failed)
        }))
        .await?;
        Ok(())
    }

    /// Whether the job has run before, so that what does not answer now is waited for.
    fn has_run(&self) -> bool {
        self.attempt > Attempt(1) || self.deployment.restore.is_some()
    }
}
