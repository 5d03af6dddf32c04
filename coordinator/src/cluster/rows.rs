//! Rows of bare SELECTs: the leader asks the node that runs the Collect subtask.

use std::time::Duration;

use thalweg_cluster_state::{AttemptRecord, JobRecord};
use thalweg_types::{
    Attempt, JobStatus, NodeId, OperatorKind,
    client::{RowsAnswer, RowsRequest},
};
use tonic::Status;

use super::service::{ClusterService, WAIT_MAX, graph_of};

/// What can be said of a query's rows by the record alone.
enum Rows {
    /// They are on the attempt's node.
    There(AttemptRecord),
    /// There may be some later.
    NotYet(Attempt),
}

impl ClusterService {
    /// Rows from an offset on; none where none came in time.
    pub(super) async fn fetch(&self, request: RowsRequest) -> Result<RowsAnswer, Status> {
        let mut applied = self.consensus.applied();
        self.read(|_| ()).await?;
        let begun = self.seams.clock.monotonic();
        let wait = request.wait.min(WAIT_MAX);
        loop {
            applied.borrow_and_update();
            let record = self.record(request.job)?;
            check_query(&record, &request)?;
            let left = wait.saturating_sub(self.seams.clock.monotonic().saturating_sub(begun));
            match rows_of(&record, &request)? {
                Rows::There(attempt) if request.attempt.is_some_and(|of| of != attempt.attempt) => {
                    return Ok(no_rows(attempt.attempt));
                }
                Rows::There(attempt) => return self.fetch_from(&attempt, RowsRequest { wait: left, ..request }).await,
                Rows::NotYet(attempt) if left.is_zero() => {
                    return Ok(no_rows(attempt));
                }
                Rows::NotYet(_) => wait_for_change(&mut applied, left).await?,
            }
        }
    }

    /// The Collect subtask has parallelism one, hence it is in slice 0.
    async fn fetch_from(&self, attempt: &AttemptRecord, request: RowsRequest) -> Result<RowsAnswer, Status> {
        let node = attempt.plan.assignment.slices.first().copied();
        let node = node.ok_or_else(|| Status::internal("the attempt has no slices"))?;
        let address = self.address_of(node, attempt)?;
        let channel = thalweg_proto::network::channel(&self.network, &address)
            .map_err(|error| Status::unavailable(format!("{node} at {address} cannot be reached: {error}")))?;
        super::rpc::collect(channel, attempt.attempt, request).await
    }

    fn address_of(&self, node: NodeId, attempt: &AttemptRecord) -> Result<String, Status> {
        let incarnation = attempt.plan.nodes.get(&node).copied();
        let address = self.consensus.peek(|machine| {
            let record = machine.state().node(node)?;
            let is_same = Some(record.registration.incarnation) == incarnation;
            is_same.then(|| record.registration.address.clone())
        });
        address.ok_or_else(|| Status::unavailable(format!("{node}, which had the rows, is gone")))
    }
}

fn no_rows(attempt: Attempt) -> RowsAnswer {
    RowsAnswer { attempt, offset: 0, rows: 0, batches: Vec::new(), end: false }
}

fn check_query(record: &JobRecord, request: &RowsRequest) -> Result<(), Status> {
    let is_collected = graph_of(record)?
        .operators
        .iter()
        .any(|operator| matches!(&operator.kind, OperatorKind::Collect(collect) if collect.query == request.query));
    if is_collected {
        Ok(())
    } else {
        Err(Status::not_found(format!("{} has no query {}", request.job, request.query)))
    }
}

fn rows_of(record: &JobRecord, request: &RowsRequest) -> Result<Rows, Status> {
    let job = request.job;
    match (record.status, &record.attempt) {
        (JobStatus::Running | JobStatus::Committing | JobStatus::Finished | JobStatus::Stopped, Some(attempt)) => {
            Ok(Rows::There(attempt.clone()))
        }
        (JobStatus::Failed, _) => {
            let cause = record.failure.as_ref().map_or("the cause is not known", |failure| &failure.message);
            Err(Status::failed_precondition(format!("{job} has failed: {cause}")))
        }
        (JobStatus::Cancelled, _) | (JobStatus::Stopped, None) => {
            Err(Status::failed_precondition(format!("{job} was {}", record.status)))
        }
        _ => Ok(Rows::NotYet(record.last_attempt())),
    }
}

async fn wait_for_change(applied: &mut tokio::sync::watch::Receiver<u64>, patience: Duration) -> Result<(), Status> {
    match tokio::time::timeout(patience, applied.changed()).await {
        Ok(Ok(())) | Err(_) => Ok(()),
        Ok(Err(_)) => Err(Status::unavailable("this coordinator has stopped")),
    }
}
