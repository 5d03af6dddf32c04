//! Finds the leader, passes requests on to it, and turns outcomes into statuses.

use std::time::Duration;

use parking_lot::Mutex;
use thalweg_cluster_state::Rejection;
use thalweg_consensus::ConsensusError;
use thalweg_proto::{
    BROKE_KEY, MESSAGE_BYTES_MAX,
    convert::trace::{set_trace, trace_of},
    network::broke_under_way,
    v1::{self, cluster_client::ClusterClient, collect_client::CollectClient},
};
use thalweg_types::{
    Attempt,
    client::{RowsAnswer, RowsRequest},
    text::with_causes,
};
use tonic::{Request, Status, metadata::MetadataValue, transport::Channel};

use super::ClusterService;
use crate::planning::PlanError;

/// Marks a request that a follower has passed on. It is not passed on again, because two members that disagree on the
/// leader would pass it back and forth.
const FORWARDED_KEY: &str = "thalweg-forwarded";
/// How long a request waits for a leader. An election takes about a second, so a client need not notice one.
const LEADER_WAIT: Duration = Duration::from_secs(3);

/// The place where a request is answered.
pub(super) enum Route {
    /// This member.
    Here,
    Leader(ClusterClient<Channel>),
}

/// The channel to the last known leader.
#[derive(Debug, Default)]
pub(super) struct LeaderChannel {
    last: Mutex<Option<(String, Channel)>>,
}

impl ClusterService {
    /// Finds where to answer a request.
    pub(super) async fn route<T>(&self, request: &Request<T>) -> Result<Route, Status> {
        let mut leadership = self.consensus.leadership();
        let own = self.consensus.member();
        let known = leadership
            .wait_for(|current| current.is_self || (current.leader_address.is_some() && current.leader != Some(own)));
        let current = tokio::time::timeout(LEADER_WAIT, known)
            .await
            .map_err(|_| Status::unavailable("the cluster has no leader at the moment"))?
            .map_err(|_| Status::unavailable("this coordinator has stopped"))?
            .clone();
        if current.is_self {
            return Ok(Route::Here);
        }
        if is_forwarded(request) {
            return Err(Status::unavailable("the leader has just changed"));
        }
        let address = current.leader_address.ok_or_else(|| Status::unavailable("the leader's address is not known"))?;
        let channel = self.channel_to(address)?;
        let client = ClusterClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Ok(Route::Leader(client))
    }

    pub(super) fn channel_to(&self, address: String) -> Result<Channel, Status> {
        let mut last = self.leader_channel.last.lock();
        if let Some((to, channel)) = last.as_ref()
            && *to == address
        {
            return Ok(channel.clone());
        }
        let channel = thalweg_proto::network::channel(&self.network, &address)
            .map_err(|error| Status::unavailable(format!("the leader's address {address} cannot be used: {error}")))?;
        *last = Some((address, channel.clone()));
        Ok(channel)
    }
}

/// Whether a follower has passed the request on.
pub(super) fn is_forwarded<T>(request: &Request<T>) -> bool {
    request.metadata().contains_key(FORWARDED_KEY)
}

/// The request, marked as passed on, for the span that it came with.
pub(super) fn forwarded<T>(request: Request<T>) -> Request<T> {
    let trace = trace_of(request.metadata());
    let mut onward = Request::new(request.into_inner());
    set_trace(onward.metadata_mut(), trace);
    onward.metadata_mut().insert(FORWARDED_KEY, MetadataValue::from_static("1"));
    onward
}

/// Another process's answer, to be passed back. A broken connection is not an answer, so it becomes UNAVAILABLE:
/// another try may get one.
pub(super) fn relayed(status: Status) -> Status {
    if std::error::Error::source(&status).is_none() {
        return status;
    }
    let mut passed = Status::unavailable(format!("the process that knows did not answer: {}", status.message()));
    if broke_under_way(&status) {
        passed.metadata_mut().insert(BROKE_KEY, MetadataValue::from_static("1"));
    }
    passed
}

/// The status of a failed proposal or read. UNAVAILABLE may be tried again, because requests that change something
/// carry an id.
pub(super) fn consensus_status(error: ConsensusError) -> Status {
    match error {
        ConsensusError::TooLarge { .. } => Status::invalid_argument(error.to_string()),
        ConsensusError::UnknownMember(_) => Status::not_found(error.to_string()),
        ConsensusError::LastVoter(_)
        | ConsensusError::Retired(_)
        | ConsensusError::Member(_)
        | ConsensusError::ChangeRefused(_) => Status::failed_precondition(with_causes(&error)),
        ConsensusError::NotLeader { .. }
        | ConsensusError::Dropped
        | ConsensusError::Busy
        | ConsensusError::Unconfirmed
        | ConsensusError::Stopped => Status::unavailable(error.to_string()),
    }
}

/// The status of a rejected command.
pub(super) fn rejection_status(reason: &Rejection) -> Status {
    match reason {
        Rejection::UnknownJob(_) | Rejection::UnknownNode(_) => Status::not_found(reason.to_string()),
        Rejection::AlreadyNamed(_)
        | Rejection::NotCurrentIncarnation { .. }
        | Rejection::Superseded { .. }
        | Rejection::NotAvailable(_)
        | Rejection::NodeNeeded(_)
        | Rejection::NoSlots { .. }
        | Rejection::BadAssignment(_)
        | Rejection::PathTaken { .. }
        | Rejection::NotFailed { .. }
        | Rejection::PartlyPublished(_)
        | Rejection::NotCurrentAttempt { .. }
        | Rejection::NotDueCheckpoint { .. }
        | Rejection::UnknownCheckpoint { .. }
        | Rejection::CheckpointNeeded { .. }
        | Rejection::NotCommitted { .. }
        | Rejection::WrongStatus { .. } => Status::failed_precondition(reason.to_string()),
    }
}

/// The status of a script that was not planned.
pub(super) fn plan_status(error: &PlanError) -> Status {
    match error {
        PlanError::Script(_) => Status::invalid_argument(error.to_string()),
        PlanError::Broken => Status::internal(error.to_string()),
        PlanError::Busy => Status::unavailable(error.to_string()),
    }
}

/// Fetches rows from a node: all that it has if the attempt has ended well, else those that a checkpoint covers.
pub(super) async fn collect(
    channel: Channel,
    (attempt, all): (Attempt, bool),
    request: RowsRequest,
) -> Result<RowsAnswer, Status> {
    let wait_ms = u32::try_from(request.wait.as_millis()).unwrap_or(u32::MAX);
    let request = v1::CollectRequest {
        job: request.job.0,
        query: request.query,
        offset: request.offset,
        max_bytes: request.bytes_max,
        wait_ms,
        attempt: attempt.0,
        all,
    };
    let mut client = CollectClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let answer = client.fetch(request).await.map_err(relayed)?.into_inner();
    let v1::CollectResponse { offset, rows, batches, end } = answer;
    Ok(RowsAnswer { attempt, offset, rows, batches: batches.into(), end })
}
