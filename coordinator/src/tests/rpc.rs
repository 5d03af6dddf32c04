//! The wire for tests: a client, a node's end of a session, and the servers.

use std::{collections::BTreeMap, sync::Arc};

use futures::StreamExt;
use thalweg_proto::{
    network::{Listener, Network, channel},
    v1::{
        self, CollectRequest, CollectResponse,
        cluster_client::ClusterClient,
        collect_server::{Collect, CollectServer},
        node_session_client::NodeSessionClient,
    },
};
use thalweg_types::{
    JobId, RequestId,
    client::{
        ClusterOverview, JobAnswer, JobRequest, JobSubmission, NodeOverview, RowsAnswer, RowsRequest, SubmittedJob,
    },
    job::{CheckpointOverview, JobOverview},
    node::NodeRegistration,
    session::{CoordinatorMessage, NodeMessage},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status, Streaming,
    service::Routes,
    transport::{Channel, Server},
};

/// Serves a coordinator's routes.
pub(super) async fn serve(routes: Routes, listener: Listener) {
    Server::builder().add_routes(routes).serve_with_incoming(listener.incoming).await.unwrap();
}

struct FakeCollect;

#[tonic::async_trait]
impl Collect for FakeCollect {
    async fn fetch(&self, request: Request<CollectRequest>) -> Result<Response<CollectResponse>, Status> {
        let CollectRequest { offset, .. } = request.into_inner();
        Ok(Response::new(CollectResponse { offset, rows: 1, batches: b"rows".to_vec().into(), end: true }))
    }
}

/// Serves what a node serves to coordinators.
pub(super) async fn serve_rows(listener: Listener) {
    Server::builder()
        .add_service(CollectServer::new(FakeCollect))
        .serve_with_incoming(listener.incoming)
        .await
        .unwrap();
}

/// A client of one coordinator.
pub(super) struct TestClient {
    channel: Channel,
}

impl TestClient {
    pub(super) fn new(network: &Arc<dyn Network>, address: &str) -> Self {
        Self { channel: channel(network, address).unwrap() }
    }

    fn cluster(&self) -> ClusterClient<Channel> {
        ClusterClient::new(self.channel.clone())
    }

    pub(super) async fn submit(&self, request: &str, sql: &str) -> Result<SubmittedJob, Status> {
        let submission = JobSubmission {
            request: RequestId(request.to_owned()),
            name: None,
            sql: sql.to_owned(),
            settings: BTreeMap::new(),
            parallelism: None,
        };
        let submitted = self.cluster().submit_job(v1::SubmitJobRequest::from(submission)).await?;
        Ok(submitted.into_inner().into())
    }

    pub(super) async fn job(&self, request: JobRequest) -> Result<JobAnswer, Status> {
        let answer = self.cluster().get_job(v1::GetJobRequest::from(request)).await?;
        Ok(answer.into_inner().try_into().unwrap())
    }

    /// Follows a job.
    pub(super) async fn watch(&self, job: JobId) -> Result<TestWatch, Status> {
        let changes = self.cluster().watch_job(v1::WatchJobRequest { job: job.0 }).await?;
        Ok(TestWatch { changes: changes.into_inner() })
    }

    pub(super) async fn jobs(&self) -> Result<Vec<JobOverview>, Status> {
        let jobs = self.cluster().list_jobs(v1::ListJobsRequest {}).await?.into_inner().jobs;
        Ok(jobs.into_iter().map(|job| job.try_into().unwrap()).collect())
    }

    pub(super) async fn end(&self, job: JobId, drain: bool) -> Result<(), Status> {
        self.cluster().end_job(v1::EndJobRequest { job: job.0, drain, abandon: false }).await.map(|_| ())
    }

    pub(super) async fn rows(&self, request: RowsRequest) -> Result<RowsAnswer, Status> {
        Ok(self.cluster().fetch_rows(v1::FetchRowsRequest::from(request)).await?.into_inner().into())
    }

    pub(super) async fn checkpoints(&self, job: JobId) -> Result<Vec<CheckpointOverview>, Status> {
        let answer = self.cluster().list_checkpoints(v1::ListCheckpointsRequest { job: job.0 }).await?;
        Ok(answer.into_inner().checkpoints.into_iter().map(|checkpoint| checkpoint.try_into().unwrap()).collect())
    }

    pub(super) async fn nodes(&self) -> Result<Vec<NodeOverview>, Status> {
        let nodes = self.cluster().list_nodes(v1::ListNodesRequest {}).await?.into_inner().nodes;
        Ok(nodes.into_iter().map(|node| node.try_into().unwrap()).collect())
    }

    pub(super) async fn describe(&self) -> Result<ClusterOverview, Status> {
        let overview = self.cluster().describe_cluster(v1::DescribeClusterRequest {}).await?;
        Ok(overview.into_inner().try_into().unwrap())
    }

    pub(super) async fn remove_member(&self, member: u64) -> Result<(), Status> {
        let change = thalweg_types::client::MemberChange::Remove(thalweg_types::MemberId(member));
        self.cluster().change_members(v1::ChangeMembersRequest::from(change)).await.map(drop)
    }

    /// The status with which a session ends after a registered node sends this message.
    pub(super) async fn end_of_session(&self, registration: NodeRegistration, last: v1::NodeMessage) -> Status {
        let register = v1::NodeMessage::from(NodeMessage::Register(registration));
        let messages = futures::stream::iter([register, last]).chain(futures::stream::pending());
        let mut client = NodeSessionClient::new(self.channel.clone());
        let mut stream = client.open(messages).await.unwrap().into_inner();
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it ended without a status"),
                Err(status) => return status,
            }
        }
    }

    /// The first answer to a registration.
    pub(super) async fn open_session(&self, registration: NodeRegistration) -> Result<CoordinatorMessage, Status> {
        let register = v1::NodeMessage::from(NodeMessage::Register(registration));
        let messages = futures::stream::iter([register]);
        let mut stream = NodeSessionClient::new(self.channel.clone()).open(messages).await?.into_inner();
        let first = stream.message().await?.expect("an answer");
        Ok(first.try_into().unwrap())
    }
}

/// A job that is followed.
pub(super) struct TestWatch {
    changes: Streaming<v1::WatchJobResponse>,
}

impl TestWatch {
    /// The next change; `None` once the watch has ended well.
    pub(super) async fn next(&mut self) -> Result<Option<JobOverview>, Status> {
        let change = self.changes.message().await?;
        Ok(change.map(|change| JobAnswer::try_from(change).unwrap().job))
    }
}

/// A node's end of a session.
pub(super) struct NodeStream {
    incoming: Streaming<v1::CoordinatorMessage>,
}

impl NodeStream {
    pub(super) async fn open(
        network: &Arc<dyn Network>,
        coordinator: &str,
        messages: mpsc::Receiver<NodeMessage>,
    ) -> Result<Self, Status> {
        let channel = channel(network, coordinator).unwrap();
        let outgoing = ReceiverStream::new(messages).map(v1::NodeMessage::from);
        let incoming = NodeSessionClient::new(channel).open(outgoing).await?.into_inner();
        Ok(Self { incoming })
    }

    /// The next message; `None` once the session has ended in any way.
    pub(super) async fn next(&mut self) -> Option<CoordinatorMessage> {
        let message = self.incoming.message().await.ok().flatten()?;
        Some(message.try_into().unwrap())
    }
}
