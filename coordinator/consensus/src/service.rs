//! Receiving from other members: the gRPC service to which they stream their messages.
//!
//! There is one stream per sender. The first envelope that is malformed, or not for this member and this cluster, ends
//! the stream with a status that says why. While the driver is busy, a stream waits. Then its sender's queue fills and
//! drops messages, so nothing piles up here.

use thalweg_proto::v1::{
    RaftClosed, RaftEnvelope,
    raft_server::{self, Raft},
};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming};

use crate::message_codec::{Assembly, ENVELOPE_BYTES_MAX, Incoming, Post, Refusal};

/// The service to mount into the member's gRPC server.
pub type RaftServer = raft_server::RaftServer<RaftService>;

/// Takes messages of other members.
#[derive(Debug)]
pub struct RaftService {
    post: Post,
    messages: mpsc::Sender<Incoming>,
}

impl RaftService {
    pub(crate) fn mounted(post: Post, messages: mpsc::Sender<Incoming>) -> RaftServer {
        raft_server::RaftServer::new(Self { post, messages }).max_decoding_message_size(ENVELOPE_BYTES_MAX)
    }
}

#[tonic::async_trait]
impl Raft for RaftService {
    async fn send(&self, request: Request<Streaming<RaftEnvelope>>) -> Result<Response<RaftClosed>, Status> {
        let mut envelopes = request.into_inner();
        let mut assembly = Assembly::new(self.post.clone());
        loop {
            let envelope = tokio::select! {
                biased;
                () = self.messages.closed() => return Err(stopped()),
                envelope = envelopes.message() => envelope?,
            };
            let Some(envelope) = envelope else { return Ok(Response::new(RaftClosed {})) };
            if let Some(incoming) = assembly.accept(envelope)? {
                self.messages.send(incoming).await.map_err(|_| stopped())?;
            }
        }
    }
}

fn stopped() -> Status {
    Status::unavailable("this member of the group has stopped")
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            Refusal::OtherCluster { .. } | Refusal::OtherMember { .. } => Self::failed_precondition(text),
            Refusal::TooLarge | Refusal::Malformed(_) | Refusal::Record(_) => Self::invalid_argument(text),
        }
    }
}
