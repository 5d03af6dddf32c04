//! Finding the leader and passing requests on to it, and turning outcomes into statuses.

use std::time::Duration;

use parking_lot::Mutex;
use thalweg_cluster_state::Rejection;
use thalweg_consensus::ConsensusError;
use thalweg_proto::{
    BROKE_KEY, MESSAGE_BYTES_MAX,
    network::broke_under_way,
    v1::{self, cluster_client::ClusterClient, collect_client::CollectClient},
};
use thalweg_types::{
    Attempt,
    client::{RowsAnswer, RowsRequest},
    text::with_causes,
};
use tonic::{Request, Status, metadata::MetadataValue, transport::Channel};

use super::service::ClusterService;
use crate::planning::PlanError;

/// Marks a request that a follower passed on: it is not passed on again, so that two members that disagree on who leads do
/// not play ball.
const FORWARDED_KEY: &str = "thalweg-forwarded";
/// An election takes about a second; a client that comes in the middle of one need not notice.
const LEADER_WAIT: Duration = Duration::from_secs(3);

/// Where a request is answered.
pub(super) enum Route {
    /// By this member.
    Here,
    /// By the leader.
    Leader(ClusterClient<Channel>),
}

/// The channel to the last known leader.
#[derive(Debug, Default)]
pub(super) struct LeaderChannel {
    last: Mutex<Option<(String, Channel)>>,
}

impl ClusterService {
    /// Where a request is to be answered.
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

/// Whether a follower has passed a request on.
pub(super) fn is_forwarded<T>(request: &Request<T>) -> bool {
    request.metadata().contains_key(FORWARDED_KEY)
}

/// A request as it is passed on.
pub(super) fn forwarded<T>(request: Request<T>) -> Request<T> {
    let mut onward = Request::new(request.into_inner());
    onward.metadata_mut().insert(FORWARDED_KEY, MetadataValue::from_static("1"));
    onward
}

/// Another process's answer as it is passed back. A connection that broke is no answer: another try may get one.
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

/// A failed proposal or read. What is unavailable may be tried again: requests that change something carry an id.
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

/// A rejected command.
pub(super) fn rejection_status(reason: &Rejection) -> Status {
    match reason {
        Rejection::UnknownJob(_) | Rejection::UnknownNode(_) => Status::not_found(reason.to_string()),
        _ => Status::failed_precondition(reason.to_string()),
    }
}

/// A script that was not planned.
pub(super) fn plan_status(error: &PlanError) -> Status {
    match error {
        PlanError::Script(_) => Status::invalid_argument(error.to_string()),
        PlanError::Broken => Status::internal(error.to_string()),
        PlanError::Busy => Status::unavailable(error.to_string()),
    }
}

/// Asks a node for rows: for all that it has where the attempt has ended well, else for those that a checkpoint holds.
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
