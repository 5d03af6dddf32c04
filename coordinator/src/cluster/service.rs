//! The cluster service, for people and programs. The leader answers; every other member passes requests on to it.

mod members;
mod rows;
mod rpc;
mod watch;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions, write_message};
use arrow_schema::Schema;
use thalweg_cluster_state::{Command, EndMode, Event, JobRecord, Outcome};
use thalweg_consensus::Consensus;
use thalweg_proto::{
    MESSAGE_BYTES_MAX,
    compute::on_compute,
    convert::trace::trace_of,
    network::Network,
    v1::{
        self,
        cluster_server::{Cluster, ClusterServer, SERVICE_NAME},
    },
};
use thalweg_types::{
    JobGraph, JobId, NodeId,
    client::{
        CollectedQuery, JobAnswer, JobRequest, JobSubmission, MemberChange, NodeOverview, PlanRequest,
        SCRIPT_BYTES_MAX, SubmittedJob,
    },
    job::{CheckpointOverview, JobOverview},
    seam::Seams,
};
use tonic::{Request, Response, Status};

use self::{
    rows::RowsMemory,
    rpc::{LeaderChannel, Route, consensus_status, forwarded, plan_status, rejection_status, relayed},
    watch::{Changes, Watches},
};
use super::spans;
use crate::{
    leader::{Claim, LeaderHandle},
    machine::Machine,
    overview::{self, ReaderPlace, TablePlace},
    planning::{self, Plan, Planner, PlanningTurns},
};

/// The longest wait of a request. Some networks cut connections that are silent for longer; a client that wants to wait
/// longer asks again.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// The most bytes of a request. Scripts that are somewhat too long must fit, so that the client gets a proper error.
const REQUEST_BYTES_MAX: usize = 2 * SCRIPT_BYTES_MAX;
/// How often, and at which distance, a submission checks whether the place for checkpoints is marked. Together 5 s,
/// less than a client waits for an answer.
const CLAIM_TRIES: u32 = 25;
const CLAIM_PAUSE: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(crate) struct ClusterService {
    pub(super) consensus: Consensus<Machine>,
    pub(super) leader: LeaderHandle,
    pub(super) network: Arc<dyn Network>,
    pub(super) seams: Seams,
    pub(super) planner: Arc<dyn Planner>,
    turns: PlanningTurns,
    leader_channel: LeaderChannel,
    rows: RowsMemory,
    watches: Watches,
    /// The URL of the place for checkpoints.
    pub(super) checkpoints_url: Arc<str>,
}

impl ClusterService {
    /// The first part of the path of each of its calls.
    pub(crate) const NAME: &str = SERVICE_NAME;

    pub(crate) fn new(
        consensus: Consensus<Machine>,
        (leader, checkpoints_url): (LeaderHandle, Arc<str>),
        network: Arc<dyn Network>,
        seams: Seams,
        planner: Arc<dyn Planner>,
    ) -> Self {
        Self {
            consensus,
            leader,
            network,
            seams,
            planner,
            turns: PlanningTurns::default(),
            leader_channel: LeaderChannel::default(),
            rows: RowsMemory::default(),
            watches: Watches::default(),
            checkpoints_url,
        }
    }

    /// The service for a gRPC server.
    pub(crate) fn into_server(self) -> ClusterServer<Self> {
        ClusterServer::new(self)
            .max_decoding_message_size(REQUEST_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    async fn plan(
        &self,
        sql: String,
        mut settings: BTreeMap<String, String>,
        parallelism: Option<u32>,
    ) -> Result<Plan, Status> {
        // The planner's choices may depend on the parallelism.
        if let Some(parallelism) = parallelism {
            settings.insert("parallelism.default".to_owned(), parallelism.to_string());
        }
        let planning = planning::plan(&self.seams, (self.planner.clone(), &self.turns), sql, settings);
        spans::around(spans::plan(), async { planning.await.map_err(|error| plan_status(&error)) }).await
    }

    async fn submit(&self, submission: JobSubmission) -> Result<SubmittedJob, Status> {
        let (request, unix_time) = (submission.request.clone(), self.seams.clock.unix_time());
        let known = self.read(move |machine| machine.state().job_of_request(&request)).await?;
        let planned = self.plan(submission.sql.clone(), submission.settings.clone(), submission.parallelism).await;
        if let Some(job) = known {
            // The job exists, even if this engine could not plan its script again.
            return self.submitted(job, planned.map(|plan| plan.explained).unwrap_or_default()).await;
        }
        let mut plan = planned?;
        if let Some(graph) = &plan.graph {
            planning::check_places(graph, &self.checkpoints_url).map_err(|error| plan_status(&error))?;
        }
        let answers = std::mem::take(&mut plan.explained);
        self.may_take_jobs().await?;
        let operators = plan.graph.as_ref().map_or(0, |graph| graph.operators.len());
        let request = submission.request.clone();
        self.leader.note_submission(request.clone(), thalweg_trace::current());
        let command = on_compute(&self.seams, "encode a job", move || {
            let spec = Arc::new(planning::job_spec(submission, plan)?);
            Some(Command::SubmitJob { request, spec }.to_bytes(unix_time))
        });
        let command = command.await.ok_or_else(|| Status::internal("the job cannot be encoded"))?;
        let nothing = || Status::invalid_argument("the script has no INSERT and no SELECT to run");
        let command = command.ok_or_else(nothing)?;
        let events = spans::around(spans::record("submit_job"), self.propose_bytes(command)).await?;
        let accepted =
            events.iter().find_map(|event| if let Event::JobAccepted { job } = event { Some(*job) } else { None });
        let job = accepted.ok_or_else(|| Status::internal("the job was recorded without an id"))?;
        spans::name_job(job);
        tracing::info!(%job, operators, "job submitted");
        self.submitted(job, answers).await
    }

    /// Waits until the cluster may take jobs: before the first one, the place for checkpoints must be marked as this
    /// cluster's. The marker tells coordinators that have lost everything that there was a cluster.
    async fn may_take_jobs(&self) -> Result<(), Status> {
        if self.consensus.peek(|machine| machine.state().has_taken_jobs()) {
            return Ok(());
        }
        let mut tries = 0;
        loop {
            match self.leader.claim().await {
                Claim::Held => return Ok(()),
                Claim::Lost(why) => return Err(Status::failed_precondition(why)),
                Claim::Open(why) if tries == CLAIM_TRIES => return Err(Status::unavailable(why)),
                Claim::Open(_) => tokio::time::sleep(CLAIM_PAUSE).await,
            }
            tries += 1;
        }
    }

    /// The answer to a submission. A repeated submission gets the same answer.
    async fn submitted(&self, job: JobId, answers: Vec<String>) -> Result<SubmittedJob, Status> {
        let record = self.record(job)?;
        let queries =
            on_compute(&self.seams, "find queries", move || graph_of(&record).map(|graph| collected(&graph))).await;
        let queries = queries.unwrap_or_else(|| Err(Status::internal("the job cannot be decoded")))?;
        Ok(SubmittedJob { job, queries, answers })
    }

    /// A job's answer, once its record is newer than the client knows or the client has waited long enough.
    async fn job_once_changed(&self, request: JobRequest) -> Result<JobAnswer, Status> {
        let mut applied = self.consensus.applied();
        self.read(|_| ()).await?;
        let patience = tokio::time::sleep(request.wait.min(WAIT_MAX));
        tokio::pin!(patience);
        loop {
            applied.borrow_and_update();
            let record = self.record(request.job)?;
            if record.revision > request.after_revision || patience.is_elapsed() || request.wait.is_zero() {
                return self.describe(request.job, &record).await;
            }
            tokio::select! {
                biased;
                changed = applied.changed() => {
                    changed.map_err(|_| Status::unavailable("this coordinator has stopped"))?;
                }
                () = &mut patience => {}
            }
        }
    }

    async fn describe(&self, job: JobId, record: &JobRecord) -> Result<JobAnswer, Status> {
        let memory = self.leader.recall(job).await;
        let (planner, of) = (self.planner.clone(), record.clone());
        let described = on_compute(&self.seams, "describe a job", move || {
            let graph = graph_of(&of)?;
            let plan = planner.describe(&graph);
            Ok::<_, Status>((graph, plan))
        });
        let (graph, plan) = described.await.unwrap_or_else(|| Err(Status::internal("the plan cannot be described")))?;
        let mut job = overview::details(job, record, &graph, plan, &memory);
        job.failure = job.failure.or_else(|| self.consensus.peek(|machine| overview::waiting(record, machine.state())));
        job.ingest_urls = self.consensus.peek(|machine| overview::ingest_urls(record, machine.state()));
        job.asked_urls = self.consensus.peek(|machine| overview::asked_urls(record, machine.state()));
        Ok(JobAnswer { job, revision: record.revision })
    }

    async fn checkpoints_of(&self, job: JobId) -> Result<Vec<CheckpointOverview>, Status> {
        self.read(|_| ()).await?;
        let record = self.record(job)?;
        Ok(overview::checkpoints(&record, self.leader.recall(job).await, &self.checkpoints_url))
    }

    /// A linearizable read.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Machine) -> T + Send + 'static,
    ) -> Result<T, Status> {
        self.consensus.read(look).await.map_err(consensus_status)
    }

    /// A job's record as this member knows it.
    pub(super) fn record(&self, job: JobId) -> Result<JobRecord, Status> {
        let record = self.consensus.peek(|machine| machine.state().job(job).cloned());
        record.ok_or_else(|| Status::not_found(format!("{job} is not known")))
    }

    async fn propose(&self, command: &Command) -> Result<Vec<Event>, Status> {
        self.propose_bytes(command.to_bytes(self.seams.clock.unix_time())).await
    }

    pub(super) async fn propose_bytes(&self, command: Vec<u8>) -> Result<Vec<Event>, Status> {
        match self.consensus.propose(command).await {
            Ok(Outcome::Applied(events)) => Ok(events),
            Ok(Outcome::Rejected(reason)) => Err(rejection_status(&reason)),
            Err(error) => Err(consensus_status(error)),
        }
    }
}

/// The dataflow of a job.
fn graph_of(record: &JobRecord) -> Result<JobGraph, Status> {
    JobGraph::from_bytes(record.spec.graph.as_bytes()).map_err(|error| Status::internal(error.to_string()))
}

/// The queries whose rows clients fetch.
fn collected(graph: &JobGraph) -> Vec<CollectedQuery> {
    let queries = graph.collects();
    queries.map(|(operator, query)| CollectedQuery { query, schema: schema_message(&operator.output) }).collect()
}

/// A schema as an encapsulated Arrow IPC message.
fn schema_message(schema: &Schema) -> Vec<u8> {
    let options = IpcWriteOptions::default();
    let mut dictionaries = DictionaryTracker::new(false);
    let encoded =
        IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(schema, &mut dictionaries, &options);
    let mut bytes = Vec::new();
    write_message(&mut bytes, encoded, &options).expect("writing to memory does not fail");
    bytes
}

#[tonic::async_trait]
impl Cluster for ClusterService {
    type WatchJobStream = Changes;

    async fn submit_job(
        &self,
        request: Request<v1::SubmitJobRequest>,
    ) -> Result<Response<v1::SubmitJobResponse>, Status> {
        match self.route(&request).await? {
            Route::Leader(mut leader) => leader.submit_job(forwarded(request)).await.map_err(relayed),
            Route::Here => {
                let span = spans::submit(trace_of(request.metadata()));
                let submission = JobSubmission::try_from(request.into_inner())?;
                let submitted = spans::around(span, self.submit(submission)).await?;
                Ok(Response::new(submitted.into()))
            }
        }
    }

    /// Any member can plan.
    async fn explain(&self, request: Request<v1::ExplainRequest>) -> Result<Response<v1::ExplainResponse>, Status> {
        let PlanRequest { sql, settings, parallelism } = request.into_inner().try_into()?;
        let plan = self.plan(sql, settings, parallelism).await?;
        let planner = self.planner.clone();
        let described = on_compute(&self.seams, "describe a plan", move || {
            let dataflow = plan.graph.as_ref().map(|graph| planner.describe(graph));
            plan.explained.into_iter().chain(dataflow).collect::<Vec<String>>().join("\n\n")
        });
        let plan = described.await.ok_or_else(|| Status::internal("the plan cannot be described"))?;
        Ok(Response::new(v1::ExplainResponse { plan }))
    }

    async fn list_jobs(&self, request: Request<v1::ListJobsRequest>) -> Result<Response<v1::ListJobsResponse>, Status> {
        match self.route(&request).await? {
            Route::Leader(mut leader) => leader.list_jobs(forwarded(request)).await.map_err(relayed),
            Route::Here => {
                let jobs: Vec<JobOverview> = self
                    .read(|machine| {
                        let state = machine.state();
                        let line = |(job, record): (&JobId, &Arc<JobRecord>)| JobOverview {
                            failure: record.failure.clone().or_else(|| overview::waiting(record, state)),
                            ..overview::summary(*job, record)
                        };
                        state.jobs().iter().map(line).collect()
                    })
                    .await?;
                Ok(Response::new(v1::ListJobsResponse { jobs: jobs.into_iter().map(Into::into).collect() }))
            }
        }
    }

    async fn get_job(&self, request: Request<v1::GetJobRequest>) -> Result<Response<v1::GetJobResponse>, Status> {
        match self.route(&request).await? {
            Route::Leader(mut leader) => leader.get_job(forwarded(request)).await.map_err(relayed),
            Route::Here => {
                let answer = self.job_once_changed(request.into_inner().into()).await?;
                Ok(Response::new(answer.into()))
            }
        }
    }

    async fn watch_job(&self, request: Request<v1::WatchJobRequest>) -> Result<Response<Changes>, Status> {
        let place = self.watches.enter()?;
        match self.route(&request).await? {
            Route::Leader(mut leader) => {
                let changes = leader.watch_job(forwarded(request)).await.map_err(relayed)?;
                Ok(Response::new(watch::passed_on(changes.into_inner(), place)))
            }
            Route::Here => Ok(Response::new(self.watch(JobId(request.into_inner().job), place).await?)),
        }
    }

    async fn end_job(&self, request: Request<v1::EndJobRequest>) -> Result<Response<v1::EndJobResponse>, Status> {
        match self.route(&request).await? {
            Route::Leader(mut leader) => leader.end_job(forwarded(request)).await.map_err(relayed),
            Route::Here => {
                let v1::EndJobRequest { job, drain, abandon } = request.into_inner();
                let mode = match (drain, abandon) {
                    (false, false) => EndMode::Cancel,
                    (true, false) => EndMode::Stop,
                    (false, true) => EndMode::Abandon,
                    (true, true) => {
                        let both = "a job cannot be stopped, which publishes its output, and have that given up";
                        return Err(Status::invalid_argument(both));
                    }
                };
                let job = JobId(job);
                self.propose(&Command::EndJob { job, mode }).await?;
                tracing::info!(%job, ?mode, "job is to end");
                Ok(Response::new(v1::EndJobResponse {}))
            }
        }
    }

    async fn restart_job(
        &self,
        request: Request<v1::RestartJobRequest>,
    ) -> Result<Response<v1::RestartJobResponse>, Status> {
        match self.route(&request).await? {
            Route::Leader(mut leader) => leader.restart_job(forwarded(request)).await.map_err(relayed),
            Route::Here => {
                let span = spans::restart(trace_of(request.metadata()));
                spans::around(span, self.restart(request.into_inner().try_into()?)).await?;
                Ok(Response::new(v1::RestartJobResponse {}))
            }
        }
    }

    async fn forget_job(
        &self,
        request: Request<v1::ForgetJobRequest>,
    ) -> Result<Response<v1::ForgetJobResponse>, Status> {
        match self.route(&request).await? {
            Route::Leader(mut leader) => leader.forget_job(forwarded(request)).await.map_err(relayed),
            Route::Here => {
                self.forget(JobId(request.into_inner().job)).await?;
                Ok(Response::new(v1::ForgetJobResponse {}))
            }
        }
    }

    async fn fetch_rows(
        &self,
        request: Request<v1::FetchRowsRequest>,
    ) -> Result<Response<v1::FetchRowsResponse>, Status> {
        match self.route(&request).await? {
            Route::Leader(mut leader) => leader.fetch_rows(forwarded(request)).await.map_err(relayed),
            Route::Here => Ok(Response::new(self.fetch(request.into_inner().into()).await?.into())),
        }
    }

    async fn list_checkpoints(
        &self,
        request: Request<v1::ListCheckpointsRequest>,
    ) -> Result<Response<v1::ListCheckpointsResponse>, Status> {
        match self.route(&request).await? {
            Route::Leader(mut leader) => leader.list_checkpoints(forwarded(request)).await.map_err(relayed),
            Route::Here => {
                let checkpoints = self.checkpoints_of(JobId(request.into_inner().job)).await?;
                let checkpoints = checkpoints.into_iter().map(Into::into).collect();
                Ok(Response::new(v1::ListCheckpointsResponse { checkpoints }))
            }
        }
    }

    /// Any member answers. A node that is sent to a wrong place asks again.
    async fn find_reader(
        &self,
        request: Request<v1::FindReaderRequest>,
    ) -> Result<Response<v1::FindReaderResponse>, Status> {
        let path = request.into_inner().path;
        let found = self.consensus.peek(|machine| overview::reader_of(&path, machine.state()));
        let (address, reason) = match found {
            ReaderPlace::At(address) => (address, String::new()),
            ReaderPlace::NotNow(reason) => (String::new(), reason),
            ReaderPlace::Nowhere => (String::new(), String::new()),
        };
        Ok(Response::new(v1::FindReaderResponse { address, reason }))
    }

    /// Any member answers. A node that asks for an attempt that is over finds none of it.
    async fn find_table(
        &self,
        request: Request<v1::FindTableRequest>,
    ) -> Result<Response<v1::FindTableResponse>, Status> {
        let table = request.into_inner().table;
        let found = self.consensus.peek(|machine| overview::parts_of(&table, machine.state()));
        Ok(Response::new(match found {
            TablePlace::At { job, attempt, slices } => {
                let slice = |(node, address): (NodeId, String)| v1::TableSlice { node: node.0, address };
                let slices = slices.into_iter().map(slice).collect();
                v1::FindTableResponse { job: job.0, attempt: attempt.0, slices, ..v1::FindTableResponse::default() }
            }
            TablePlace::NotNow(reason) => v1::FindTableResponse { reason, ..v1::FindTableResponse::default() },
            TablePlace::Nowhere(tables) => v1::FindTableResponse { tables, ..v1::FindTableResponse::default() },
        }))
    }

    async fn list_nodes(
        &self,
        request: Request<v1::ListNodesRequest>,
    ) -> Result<Response<v1::ListNodesResponse>, Status> {
        match self.route(&request).await? {
            Route::Leader(mut leader) => leader.list_nodes(forwarded(request)).await.map_err(relayed),
            Route::Here => {
                let nodes: Vec<NodeOverview> = self
                    .read(|machine| {
                        let state = machine.state();
                        let nodes = state.nodes().iter().map(|(node, record)| NodeOverview {
                            registration: record.registration.clone(),
                            slots_used: state.slots_used(*node),
                            state: record.state,
                        });
                        nodes.collect()
                    })
                    .await?;
                Ok(Response::new(v1::ListNodesResponse { nodes: nodes.into_iter().map(Into::into).collect() }))
            }
        }
    }

    /// The leader answers, because it hears of all other members. If it does not, every member answers for itself.
    async fn describe_cluster(
        &self,
        request: Request<v1::DescribeClusterRequest>,
    ) -> Result<Response<v1::DescribeClusterResponse>, Status> {
        self.describe_members(request).await
    }

    async fn change_members(
        &self,
        request: Request<v1::ChangeMembersRequest>,
    ) -> Result<Response<v1::ChangeMembersResponse>, Status> {
        match self.route(&request).await? {
            Route::Leader(mut leader) => leader.change_members(forwarded(request)).await.map_err(relayed),
            Route::Here => {
                self.change_members_here(MemberChange::try_from(request.into_inner())?).await?;
                Ok(Response::new(v1::ChangeMembersResponse {}))
            }
        }
    }
}
