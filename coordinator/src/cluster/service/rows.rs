//! Rows of bare SELECTs. The leader fetches them from the node that runs the Collect subtask.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use thalweg_cluster_state::{AttemptRecord, JobRecord};
use thalweg_types::{
    Attempt, JobId, JobStatus, NodeId,
    client::{RowsAnswer, RowsRequest},
};
use tonic::{Status, transport::Channel};

use super::{super::recent::Recent, ClusterService, WAIT_MAX, graph_of};

/// The number of nodes with Collect subtasks whose channels are kept.
const CHANNELS_MAX: usize = 64;
/// The number of jobs whose queries are kept.
const QUERIES_MAX: usize = 256;

/// What the many requests of a client share.
#[derive(Debug)]
pub(super) struct RowsMemory {
    channels: Mutex<Recent<String, Channel>>,
    /// The queries of jobs. A job's dataflow never changes.
    queries: Mutex<Recent<JobId, Arc<[u32]>>>,
}

impl Default for RowsMemory {
    fn default() -> Self {
        Self { channels: Mutex::new(Recent::new(CHANNELS_MAX)), queries: Mutex::new(Recent::new(QUERIES_MAX)) }
    }
}

/// Where a query's rows are, by the record.
enum RowsPlace {
    /// They are on the node of this attempt.
    There(AttemptRecord),
    /// There may be some later.
    NotYet,
}

impl ClusterService {
    /// The rows from an offset on; empty if none come in time.
    pub(super) async fn fetch(&self, request: RowsRequest) -> Result<RowsAnswer, Status> {
        let mut applied = self.consensus.applied();
        self.read(|_| ()).await?;
        let begun = self.seams.clock.monotonic();
        let wait = request.wait.min(WAIT_MAX);
        loop {
            applied.borrow_and_update();
            let record = self.record(request.job)?;
            self.check_query(&record, &request)?;
            let left = wait.saturating_sub(self.seams.clock.monotonic().saturating_sub(begun));
            match rows_of(&record, &request)? {
                RowsPlace::There(attempt) => {
                    let fetched = self.fetch_from(&record, &attempt, RowsRequest { wait: left, ..request }).await;
                    match fetched {
                        // Another attempt follows, or the node was started anew. The record is about to tell.
                        Err(status) if is_gone(&status, record.status) => {}
                        fetched => return fetched,
                    }
                }
                RowsPlace::NotYet => {}
            }
            let waited = self.seams.clock.monotonic().saturating_sub(begun);
            if waited >= wait {
                return Ok(no_rows(record.last_attempt()));
            }
            wait_for_change(&mut applied, wait - waited).await?;
        }
    }

    /// Fetches rows from an attempt's node. The Collect subtask has parallelism one, so it is in slice 0.
    async fn fetch_from(
        &self,
        record: &JobRecord,
        attempt: &AttemptRecord,
        request: RowsRequest,
    ) -> Result<RowsAnswer, Status> {
        let node = attempt.plan.assignment.slices.first().copied();
        let node = node.ok_or_else(|| Status::internal("the attempt has no slices"))?;
        let address = self.address_of(node, attempt).ok_or_else(|| lost_rows(node, request.job, record.status))?;
        let channel = self.rows.channels.lock().get_or_make(address.clone(), || {
            thalweg_proto::network::channel(&self.network, &address)
                .map_err(|error| Status::unavailable(format!("{node} at {address} cannot be reached: {error}")))
        })?;
        let has_ended = attempt.committables.is_some();
        super::rpc::collect(channel, (attempt.attempt, has_ended), request).await
    }

    /// The address of the node on which the attempt runs, unless the node's incarnation is lost.
    fn address_of(&self, node: NodeId, attempt: &AttemptRecord) -> Option<String> {
        let incarnation = attempt.plan.nodes.get(&node).copied()?;
        self.consensus.peek(|machine| {
            let state = machine.state();
            let record = state.node(node).filter(|_| state.is_present(node, incarnation))?;
            Some(record.registration.address.clone())
        })
    }

    fn check_query(&self, record: &JobRecord, request: &RowsRequest) -> Result<(), Status> {
        let queries = self.rows.queries.lock().get_or_make(request.job, || queries_of(record))?;
        if queries.contains(&request.query) {
            Ok(())
        } else {
            Err(Status::not_found(no_query(request.job, request.query, &queries)))
        }
    }
}

/// The error text for a query that the job does not have. Users count SELECTs from one.
fn no_query(job: JobId, query: u32, queries: &[u32]) -> String {
    let has = match queries.len() {
        0 => "it has none whose rows can be fetched".to_owned(),
        1 => "it has one".to_owned(),
        several => format!("it has {several}, from 1 on"),
    };
    format!("{job} has no SELECT {}: {has}", query.saturating_add(1))
}

/// Whether a node lacks the rows of an attempt although the job goes on, so that its next attempt will have them.
fn is_gone(status: &Status, job: JobStatus) -> bool {
    status.code() == tonic::Code::NotFound && !job.is_terminal()
}

/// The error for rows on a lost node. A job that has ended cannot give them again; any other job starts again.
fn lost_rows(node: NodeId, job: JobId, status: JobStatus) -> Status {
    if status.is_terminal() {
        Status::failed_precondition(format!("{job}'s rows were on {node}, which is lost"))
    } else {
        Status::unavailable(format!("{node}, which had the rows of {job}, is lost"))
    }
}

fn no_rows(attempt: Attempt) -> RowsAnswer {
    RowsAnswer { attempt, offset: 0, rows: 0, batches: Vec::new(), end: false }
}

fn queries_of(record: &JobRecord) -> Result<Arc<[u32]>, Status> {
    let graph = graph_of(record)?;
    Ok(graph.collects().map(|(_, query)| query).collect())
}

fn rows_of(record: &JobRecord, request: &RowsRequest) -> Result<RowsPlace, Status> {
    let job = request.job;
    match (record.status, &record.attempt) {
        (JobStatus::Running | JobStatus::Committing, Some(attempt)) => Ok(RowsPlace::There(attempt.clone())),
        (JobStatus::Finished | JobStatus::Stopped, Some(attempt)) if record.ended_well() => {
            Ok(RowsPlace::There(attempt.clone()))
        }
        (JobStatus::Failed, _) => {
            let cause = record.failure.as_ref().map_or("the cause is not known", |failure| &failure.message);
            Err(Status::failed_precondition(format!("{job} has failed: {cause}")))
        }
        (JobStatus::Cancelled | JobStatus::Stopped | JobStatus::Finished, _) => {
            Err(Status::failed_precondition(format!("{job} was {}", record.status)))
        }
        _ => Ok(RowsPlace::NotYet),
    }
}

async fn wait_for_change(applied: &mut tokio::sync::watch::Receiver<u64>, patience: Duration) -> Result<(), Status> {
    match tokio::time::timeout(patience, applied.changed()).await {
        Ok(Ok(())) | Err(_) => Ok(()),
        Ok(Err(_)) => Err(Status::unavailable("this coordinator has stopped")),
    }
}
