//! Plans a client's script as a job. Planning takes milliseconds of CPU, so it runs away from the tasks that keep the
//! cluster alive.

mod places;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use thalweg_cluster_state::JobSpec;
use thalweg_proto::compute::on_compute;
use thalweg_types::{
    JobGraph,
    client::{JobSubmission, check_length},
    seam::Seams,
    settings::{JobSettings, settings_of_restart},
};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
/// Why a script was not planned.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum PlanError {
    /// The script is wrong. The text names line and column.
    #[error("{0}")]
    Script(String),
    /// The planner panicked.
    #[error("the planner has failed on this script")]
    Broken,
    /// Too many other scripts wait.
    #[error("{WAITING_MAX} other scripts wait to be planned: try again later")]
    Busy,
}

/// The most scripts that wait to be planned. Each holds its text.
const WAITING_MAX: usize = 32;
/// The most bytes of a planned dataflow. It goes through the replicated log, and to every node that runs a part of it.
const GRAPH_BYTES_MAX: usize = 4 << 20;

/// The most scripts that are planned at the same time. Few, because planning occupies whole threads that operators may
/// share. Two, so that one long script does not block all others.
const TURNS: usize = 2;

/// Lets scripts wait for their turn to be planned.
#[derive(Debug, Clone)]
pub(crate) struct PlanningTurns {
    turn: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Default for PlanningTurns {
    fn default() -> Self {
        Self { turn: Arc::new(Semaphore::new(TURNS)), places: Arc::new(Semaphore::new(WAITING_MAX + TURNS)) }
    }
}

/// A script's turn. Dropping it lets the next script begin.
type Turn = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl PlanningTurns {
    async fn next(&self) -> Result<Turn, PlanError> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| PlanError::Busy)?;
        let turn = self.turn.clone().acquire_owned().await.map_err(|_| PlanError::Broken)?;
        Ok((place, turn))
    }
}

/// A planned script.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    /// The dataflow to run; `None` if the script only declares or explains.
    pub(crate) graph: Option<JobGraph>,
    /// The answer to each `EXPLAIN`, `SHOW TABLES` and `DESCRIBE` of the script.
    pub(crate) explained: Vec<String>,
    /// The job's name, if the script sets one.
    pub(crate) name: Option<String>,
    /// The number of slices, if the script or the coordinator's configuration sets one.
    pub(crate) parallelism: Option<u32>,
}

/// Plans scripts. A trait, so that tests of the services need no SQL.
pub(crate) trait Planner: Send + Sync + std::fmt::Debug {
    /// Plans a script. `settings` win over the script's own.
    fn plan(&self, sql: &str, settings: &BTreeMap<String, String>) -> Result<Plan, PlanError>;

    /// The text of a dataflow, for people.
    fn describe(&self, graph: &JobGraph) -> String;
}

/// The planner of SQL scripts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SqlPlanner {
    /// The number of slices of a job whose script sets none.
    pub(crate) parallelism: Option<u32>,
}

impl Planner for SqlPlanner {
    fn plan(&self, sql: &str, settings: &BTreeMap<String, String>) -> Result<Plan, PlanError> {
        let script = thalweg_sql::plan(sql, settings).map_err(|error| PlanError::Script(error.to_string()))?;
        script.graph.as_ref().map_or(Ok(()), check_graph)?;
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

/// Plans on the compute runtime, when it is the script's turn.
pub(crate) async fn plan(
    seams: &Seams,
    (planner, turns): (Arc<dyn Planner>, &PlanningTurns),
    sql: String,
    settings: BTreeMap<String, String>,
) -> Result<Plan, PlanError> {
    check_length(&sql, &settings).map_err(|error| PlanError::Script(error.to_string()))?;
    let turn = turns.next().await?;
    let planned = on_compute(seams, "sql-planning", move || {
        let planned = planner.plan(&sql, &settings);
        drop(turn);
        planned
    });
    planned.await.unwrap_or(Err(PlanError::Broken))
}

/// A job as it is started again: the same dataflow, with some other settings. No side output lies in the place for
/// checkpoints.
pub(crate) fn restarted(
    spec: &JobSpec,
    changes: &BTreeMap<String, String>,
    checkpoints: &str,
) -> Result<JobSpec, String> {
    let mut graph = JobGraph::from_bytes(spec.graph.as_bytes()).map_err(|error| error.to_string())?;
    graph.settings = settings_of_restart(&graph.settings, changes).map_err(|error| error.to_string())?;
    if changes.contains_key("error.path") || changes.contains_key("late.path") {
        places::check_written(&graph)?;
        places::check_outside(&graph, checkpoints)?;
    }
    let settings = JobSettings::parse(&graph.settings).map_err(|error| error.to_string())?;
    let parallelism = if changes.contains_key("parallelism.default") { settings.parallelism } else { spec.parallelism };
    let graph = String::from_utf8(graph.to_bytes()).map_err(|error| error.to_string())?;
    Ok(JobSpec { graph, parallelism, ..spec.clone() })
}

/// The spec of a planned script; `None` if it has nothing to run.
pub(crate) fn job_spec(submission: JobSubmission, plan: Plan) -> Option<JobSpec> {
    let graph = plan.graph?;
    let text = String::from_utf8(graph.to_bytes()).expect("a job graph is JSON");
    Some(JobSpec {
        name: submission.name.or(plan.name).unwrap_or_else(|| "job".to_owned()),
        sql: thalweg_sql::without_secrets(&submission.sql),
        graph: text,
        key_groups: graph.key_groups,
        parallelism: submission.parallelism.or(plan.parallelism),
        ingest_paths: ingest_sources(&graph).chain(asked_sinks(&graph)).map(|(path, _)| path).collect(),
    })
}

/// Refuses tables in the place for checkpoints.
pub(crate) fn check_places(graph: &JobGraph, checkpoints: &str) -> Result<(), PlanError> {
    places::check_outside(graph, checkpoints).map_err(PlanError::Script)
}

/// The paths at which a job takes records over HTTP, with their tables.
fn ingest_sources(graph: &JobGraph) -> impl Iterator<Item = (String, &str)> {
    graph
        .sources()
        .filter_map(|(_, source)| Some((source.connector.ingest_path(&source.table)?, source.table.as_str())))
}

/// The paths at which a job's tables are asked for their newest rows, with their tables.
fn asked_sinks(graph: &JobGraph) -> impl Iterator<Item = (String, &str)> {
    graph.sinks().filter_map(|(_, sink)| Some((sink.connector.asked_path(&sink.table)?, sink.table.as_str())))
}

/// Refuses a dataflow that is too large, two tables that take records at one path, because each would get only some
/// of them, and two statements that write one table that is asked, because each would keep only its own rows.
fn check_graph(graph: &JobGraph) -> Result<(), PlanError> {
    let text = graph.to_bytes();
    let bytes = text.len();
    if bytes > GRAPH_BYTES_MAX {
        let what = format!(
            "the script's dataflow has {bytes} bytes, and at most {GRAPH_BYTES_MAX} are taken: make several jobs of it"
        );
        return Err(PlanError::Script(what));
    }
    // The log would keep it although nobody could read it again.
    if let Err(error) = thalweg_sql::with_room(|| JobGraph::from_bytes(&text).map(drop)) {
        return Err(PlanError::Script(format!("the script's dataflow cannot be read again: {error}")));
    }
    let mut tables = BTreeMap::new();
    for (path, table) in ingest_sources(graph) {
        if let Some(other) = tables.insert(path.clone(), table) {
            let what = format!("tables {other} and {table} both take records at /{path}: give one another 'path'");
            return Err(PlanError::Script(what));
        }
    }
    let mut asked = BTreeSet::new();
    for (path, table) in asked_sinks(graph) {
        if !asked.insert(path) {
            let what = format!("table {table} is asked, and written by two INSERTs: make one of them, with UNION ALL");
            return Err(PlanError::Script(what));
        }
    }
    places::check_written(graph).map_err(PlanError::Script)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_tables_of_a_script_do_not_take_records_at_one_path() {
        let table = |name: &str, path: &str| {
            format!("CREATE TABLE {name} (a INT) WITH ('connector' = 'http', 'format' = 'json'{path});")
        };
        let script =
            format!("{} {} SELECT a FROM t; SELECT a FROM u;", table("t", ""), table("u", ", 'path' = '/ingest/t/'"));
        let refused = SqlPlanner::default().plan(&script, &BTreeMap::new()).expect_err("one path");
        assert_eq!(refused.to_string(), "tables t and u both take records at /ingest/t: give one another 'path'");
        let script = format!("{} SELECT a FROM t; SELECT a + 1 FROM t;", table("t", ""));
        let planned = SqlPlanner::default().plan(&script, &BTreeMap::new()).expect("one table");
        let paths: Vec<String> = ingest_sources(&planned.graph.expect("a graph")).map(|(path, _)| path).collect();
        assert_eq!(paths, ["ingest/t"]);
    }

    #[test]
    fn a_table_that_is_asked_is_written_by_one_statement() {
        let tables = "CREATE TABLE n (a INT) WITH ('connector' = 'datagen'); \
             CREATE TABLE t (a INT PRIMARY KEY NOT ENFORCED) WITH ('connector' = 'queryable'); INSERT INTO t SELECT a FROM n;";
        let planned = SqlPlanner::default().plan(tables, &BTreeMap::new()).expect("one statement");
        let paths: Vec<String> = asked_sinks(&planned.graph.expect("a graph")).map(|(path, _)| path).collect();
        assert_eq!(paths, ["/tables/t"]);
        let twice = format!("{tables} INSERT INTO t SELECT a + 1 FROM n;");
        let refused = SqlPlanner::default().plan(&twice, &BTreeMap::new()).expect_err("two statements");
        assert!(refused.to_string().contains("table t is asked, and written by two INSERTs"), "{refused}");
    }

    #[test]
    fn no_table_is_in_the_place_for_checkpoints() {
        let script = |path: &str, more: &str| {
            format!(
                "CREATE TABLE t (a INT) WITH ('connector' = 'filesystem', 'format' = 'json', 'path' = '{path}'{more}); \
                 SELECT a FROM t;"
            )
        };
        let check = |path: &str, more: &str, root: &str| {
            let planned = SqlPlanner::default().plan(&script(path, more), &BTreeMap::new()).expect("it can be planned");
            check_places(&planned.graph.expect("a graph"), root).map_err(|error| error.to_string())
        };
        let refused = |what: &str| Err(format!("{what} cannot be used: checkpoints are there, and no table can be"));
        assert_eq!(check("/c/x/*.json", "", "/c"), refused("table t: '/c/x/*.json'"));
        assert_eq!(check("file:///c", "", "/c/"), refused("table t: 'file:///c'"));
        assert_eq!(check("s3://b/c/d", "", "s3://b/c"), refused("table t: 's3://b/c/d'"));
        assert_eq!(
            check("/d", ", 'dead-letter.path' = '/d/../c'", "/c"),
            refused("table t: dead-letter.path: '/d/../c'")
        );
        for (path, root) in [("/cc", "/c"), ("c", "/c"), ("s3://b/cc", "s3://b/c"), ("/d", "s3://b")] {
            assert_eq!(check(path, "", root), Ok(()), "{path}");
        }
    }

    #[test]
    fn a_job_is_started_again_with_settings_that_a_script_could_have() {
        let script = "CREATE TABLE t (a INT) WITH ('connector' = 'filesystem', 'format' = 'json', 'path' = 'in'); SELECT a FROM t;";
        let plan = SqlPlanner::default().plan(script, &BTreeMap::new()).expect("it can be planned");
        let submission = JobSubmission {
            request: thalweg_types::RequestId("r".to_owned()),
            name: None,
            sql: script.to_owned(),
            settings: BTreeMap::new(),
            parallelism: None,
        };
        let spec = job_spec(submission, plan).expect("it has something to run");
        let with = |path: &str| {
            let changes = BTreeMap::from([("error.path".to_owned(), path.to_owned())]);
            restarted(&spec, &changes, "/c").map(|spec| {
                let graph = JobGraph::from_bytes(spec.graph.as_bytes()).expect("a graph");
                graph.settings.get("error.path").cloned()
            })
        };
        assert_eq!(with("out"), Ok(Some("out".to_owned())));
        for (path, reason) in
            [("", "'error.path' is empty"), ("in/x", "would read what it writes"), ("/c/x", "checkpoints are there")]
        {
            let refused = with(path).expect_err("it is refused");
            assert!(refused.contains(reason), "{refused}");
        }
    }

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
