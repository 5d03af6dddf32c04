//! The node's side of a session: finds the leader, registers, and passes on what the leader sends.
//!
//! ```text
//! searching --opened, Register sent--> registering --Registered--> open --broken, ended, given up--> searching
//!     ^                                     |
//!     +---- not leading (a hint), silent ---+--- Refused: the node ends
//! ```
//!
//! One task runs for as long as the node does. It owns no state but the search. What a new leader must be told belongs
//! to the worker, which gets the sending half of each session. If this task fails, the process must end.

use std::{sync::Arc, time::Duration};

use thalweg_proto::network::Network;
use thalweg_types::{
    Term,
    node::NodeRegistration,
    seam::Entropy,
    session::{CoordinatorMessage, NodeMessage},
};
use tokio::{sync::mpsc, time};
use tokio_util::sync::CancellationToken;

use crate::{
    leader_search::LeaderSearch,
    rpc::{self, Received, SessionError, SessionStream},
    worker::{SessionLink, WorkerHandle},
};

#[cfg(test)]
mod tests;

/// The most messages that wait for the network. With more, the link is stuck and the worker gives the session up. This
/// must exceed the number of reports that a node can have kept (one per subtask: at most 4096 slots of some chains
/// each), because a new session begins with all of them. The channel takes memory only as it is used.
const OUTGOING_MAX: usize = 1 << 16;
/// A coordinator that leads answers a registration after one replicated decision.
const REGISTRATION_TIMEOUT: Duration = Duration::from_secs(5);

/// Why no more sessions are opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SessionExit {
    /// The node stops.
    Stopped,
    /// The leader refuses this node.
    Refused {
        /// The leader's reason.
        reason: String,
    },
}

/// What the session client needs.
#[derive(Debug)]
pub(crate) struct SessionClient {
    pub(crate) registration: NodeRegistration,
    pub(crate) search: LeaderSearch,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) worker: WorkerHandle,
    pub(crate) stop: CancellationToken,
}

/// The answer to a registration.
enum Registered {
    Accepted { term: Term, lease: Duration },
    Refused { reason: String },
}

impl SessionClient {
    /// Holds a session with the current leader, until the node stops or is refused.
    pub(crate) async fn run(mut self) -> SessionExit {
        loop {
            let stop = self.stop.clone();
            let ended = tokio::select! {
                biased;
                () = stop.cancelled() => return SessionExit::Stopped,
                ended = self.hold_session() => ended,
            };
            let error = match ended {
                Ok(refused) => return refused,
                Err(error) => error,
            };
            match error.occupied() {
                // Most often that process has just ended, and its lease is about to run out.
                Some(occupant) => tracing::warn!(occupant, "this node's number is taken; trying again"),
                None => tracing::debug!(error = &error as &dyn std::error::Error, "no session with a leader"),
            }
            let delay = self.search.on_failed(error.leader(), self.entropy.next());
            if self.search.is_to_be_told() {
                tracing::warn!(error = &error as &dyn std::error::Error, "no leader takes this node; trying on");
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return SessionExit::Stopped,
                () = time::sleep(delay) => {}
            }
        }
    }

    /// Opens one session and stays in it. Returns only if the node is refused.
    async fn hold_session(&mut self) -> Result<SessionExit, SessionError> {
        let coordinator = self.search.next_address();
        let (outgoing, to_send) = mpsc::channel(OUTGOING_MAX);
        let register = NodeMessage::Register(self.registration.clone());
        outgoing.try_send(register).expect("the channel is new and has room");
        let registration = self.register(&coordinator, to_send);
        let (mut stream, registered) = time::timeout(REGISTRATION_TIMEOUT, registration)
            .await
            .map_err(|_| SessionError::Silent { coordinator: coordinator.clone() })??;
        let (term, lease) = match registered {
            Registered::Accepted { term, lease } => (term, lease),
            Registered::Refused { reason } => return Ok(SessionExit::Refused { reason }),
        };
        self.search.on_registered();
        tracing::info!(coordinator, %term, "registered");
        let given_up = CancellationToken::new();
        self.worker.opened(SessionLink { outgoing, given_up: given_up.clone(), term, lease }).await;
        let ended = self.receive(&mut stream, &given_up).await;
        self.worker.closed().await;
        ended.inspect_err(|error| {
            tracing::warn!(error = error as &dyn std::error::Error, "lost the leader; what runs here runs on");
        })
    }

    async fn register(
        &self,
        coordinator: &str,
        to_send: mpsc::Receiver<NodeMessage>,
    ) -> Result<(SessionStream, Registered), SessionError> {
        let mut stream = rpc::open(&self.network, coordinator, to_send).await?;
        match stream.next().await? {
            Received::Message(CoordinatorMessage::Registered { node, .. }) if node != self.registration.node => {
                Err(stream.violation(&format!("registered this node as {node}")))
            }
            Received::Message(CoordinatorMessage::Registered { term, lease_ms, .. }) => {
                Ok((stream, Registered::Accepted { term, lease: Duration::from_millis(lease_ms) }))
            }
            Received::Message(CoordinatorMessage::Refused { reason }) => Ok((stream, Registered::Refused { reason })),
            Received::Message(
                CoordinatorMessage::Order { .. }
                | CoordinatorMessage::ReportAcknowledged { .. }
                | CoordinatorMessage::LeaveRecorded,
            )
            | Received::MalformedOrder { .. } => {
                Err(stream.violation(&"gave orders before it answered the registration"))
            }
        }
    }

    /// Passes on what arrives, until the session ends. A leader may still refuse the node, when a newer incarnation of
    /// it has registered.
    async fn receive(
        &self,
        stream: &mut SessionStream,
        given_up: &CancellationToken,
    ) -> Result<SessionExit, SessionError> {
        loop {
            let received = tokio::select! {
                biased;
                () = given_up.cancelled() => {
                    return Err(SessionError::GivenUp { coordinator: stream.coordinator().to_owned() });
                }
                received = stream.next() => received?,
            };
            match received {
                Received::Message(CoordinatorMessage::Refused { reason }) => {
                    return Ok(SessionExit::Refused { reason });
                }
                Received::Message(CoordinatorMessage::Registered { .. }) => {
                    return Err(stream.violation(&"registered this node twice"));
                }
                order @ (Received::Message(
                    CoordinatorMessage::Order { .. }
                    | CoordinatorMessage::ReportAcknowledged { .. }
                    | CoordinatorMessage::LeaveRecorded,
                )
                | Received::MalformedOrder { .. }) => self.worker.received(order).await,
            }
        }
    }
}
