//! From a client's script to a job, away from the tasks that keep the cluster alive: planning takes CPU for milliseconds.

use std::{collections::BTreeMap, sync::Arc};

use thalweg_cluster_state::JobSpec;
use thalweg_types::{JobGraph, client::JobSubmission, seam::Seams};
use thiserror::Error;
use tokio::sync::oneshot;

/// A script that cannot be planned.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum PlanError {
    /// The script is wrong; the text names line and column.
    #[error("{0}")]
    Script(String),
    /// Planning itself broke down.
    #[error("the planner has failed on this script")]
    Broken,
}

/// A script, planned.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    /// What is to run; `None` where the script only declares or explains.
    pub(crate) graph: Option<JobGraph>,
    /// The text of each `EXPLAIN`, `SHOW TABLES` and `DESCRIBE` of the script.
    pub(crate) explained: Vec<String>,
    /// The name that the script gives the job.
    pub(crate) name: Option<String>,
    /// The slices that the script asks for.
    pub(crate) parallelism: Option<u32>,
}

/// Plans scripts. A seam, so that tests of the services need no SQL.
pub(crate) trait Planner: Send + Sync + std::fmt::Debug {
    /// Plans a script with settings that win over its own.
    fn plan(&self, sql: &str, settings: &BTreeMap<String, String>) -> Result<Plan, PlanError>;

    /// A dataflow as text.
    fn describe(&self, graph: &JobGraph) -> String;
}

/// The real planner.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SqlPlanner {
    /// The slices of a job whose script does not say how many.
    pub(crate) parallelism: Option<u32>,
}

impl Planner for SqlPlanner {
    fn plan(&self, sql: &str, settings: &BTreeMap<String, String>) -> Result<Plan, PlanError> {
        let script = thalweg_sql::plan(sql, settings).map_err(|error| PlanError::Script(error.to_string()))?;
        Ok(Plan {
            graph: script.graph,
            explained: script.explain,
            name: script.settings.name,
            parallelism: script.settings.parallelism.or(self.parallelism),
        })
    }

    fn describe(&self, graph: &JobGraph) -> String {
        thalweg_sql::explain(graph)
    }
}

/// Plans on the compute runtime.
pub(crate) async fn plan(
    seams: &Seams,
    planner: Arc<dyn Planner>,
    sql: String,
    settings: BTreeMap<String, String>,
) -> Result<Plan, PlanError> {
    let (reply, planned) = oneshot::channel();
    let task = async move {
        // A client that went away waits for no answer.
        let _ = reply.send(planner.plan(&sql, &settings));
    };
    seams.compute.spawn("sql-planning", Box::pin(task));
    planned.await.unwrap_or(Err(PlanError::Broken))
}

/// What is proposed for a planned script; `None` where it has nothing to run.
pub(crate) fn job_spec(submission: JobSubmission, plan: Plan) -> Option<JobSpec> {
    let graph = plan.graph?;
    let text = String::from_utf8(graph.to_bytes()).expect("a job graph is JSON");
    Some(JobSpec {
        name: submission.name.or(plan.name).unwrap_or_else(|| "job".to_owned()),
        sql: submission.sql,
        graph: text,
        key_groups: graph.key_groups,
        parallelism: submission.parallelism.or(plan.parallelism),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_script_says_of_its_slices_wins_and_comments_say_nothing() {
        let declared = "CREATE TABLE t (a INT) WITH ('connector' = 'datagen');";
        let slices = |sql: &str| {
            let planned = SqlPlanner { parallelism: Some(8) }.plan(sql, &BTreeMap::new());
            planned.expect("it can be planned").parallelism
        };
        assert_eq!(slices(&format!("{declared} -- SET 'parallelism.default' = '3';\nSELECT a FROM t")), Some(8));
        assert_eq!(slices(&format!("SET 'parallelism.default' = '3'; {declared} SELECT a FROM t")), Some(3));
    }
}
