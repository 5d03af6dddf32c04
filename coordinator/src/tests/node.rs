//! A node that keeps the session's protocol and runs nothing. Subtasks end as soon as they are started, unless the test
//! holds them back.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use thalweg_proto::network::Network;
use thalweg_types::{
    Attempt, ChainPlan, CheckpointId, ClusterId, JobId, NodeId, OperatorKind, Split, SplitId, SubtaskId,
    checkpoint::{Prepared, RecordCounts, SinkCommittables, SnapshotCost, SubtaskSnapshot},
    job::{Failure, FailureKind, SubtaskMetrics},
    node::NodeRegistration,
    seam::{Seams, TaskHandle},
    session::{
        ALL_ATTEMPTS, Action, CoordinatorMessage, Deployment, NodeMessage, Order, Publication, Report, ReportBody,
        SubtaskReport, SubtaskState,
    },
};
use tokio::sync::{Notify, mpsc};

use super::{
    PATIENCE,
    rpc::{NodeStream, serve_rows},
};

/// The number of records that each subtask reports at its end.
const RECORDS: u64 = 10;

struct Held {
    deployment: Deployment,
    is_started: bool,
    is_stopping: bool,
    finished: Vec<SubtaskId>,
}

#[derive(Default)]
struct Books {
    is_registered: bool,
    holds_back: bool,
    /// The reason why snapshots fail, if they do.
    trouble: Option<String>,
    /// The bytes of each committable.
    prepares: usize,
    attempts: BTreeMap<(JobId, Attempt), Held>,
    last_sequence: u64,
    outbox: BTreeMap<u64, Report>,
    published: Vec<(JobId, Attempt, usize)>,
    discarded: Vec<JobId>,
    confirmed: Vec<CheckpointId>,
    committed: Vec<CheckpointId>,
    clusters: BTreeSet<ClusterId>,
}

/// The test's handle of a node.
pub(super) struct TestNode {
    registration: NodeRegistration,
    books: Arc<Mutex<Books>>,
    nudge: Arc<Notify>,
    tasks: Vec<Box<dyn TaskHandle>>,
}

impl TestNode {
    pub(super) async fn start(
        registration: NodeRegistration,
        coordinators: Vec<String>,
        network: Arc<dyn Network>,
        seams: &Seams,
    ) -> Self {
        let (books, nudge) = (Arc::new(Mutex::new(Books::default())), Arc::new(Notify::new()));
        let listener = network.listen(&registration.address).await.unwrap();
        let rows = seams.io.spawn("rows", Box::pin(serve_rows(listener)));
        let process = Process {
            registration: registration.clone(),
            coordinators,
            network,
            books: books.clone(),
            nudge: nudge.clone(),
        };
        let session = seams.io.spawn("node", Box::pin(process.run()));
        Self { registration, books, nudge, tasks: vec![rows, session] }
    }

    pub(super) fn id(&self) -> NodeId {
        self.registration.node
    }

    pub(super) fn is_registered(&self) -> bool {
        self.books.lock().unwrap().is_registered
    }

    pub(super) fn attempts(&self) -> Vec<(JobId, Attempt)> {
        self.books.lock().unwrap().attempts.keys().copied().collect()
    }

    pub(super) fn published(&self) -> Vec<(JobId, Attempt, usize)> {
        self.books.lock().unwrap().published.clone()
    }

    pub(super) fn discarded(&self) -> Vec<JobId> {
        self.books.lock().unwrap().discarded.clone()
    }

    /// The checkpoints whose committables the node was told to publish.
    pub(super) fn committed(&self) -> Vec<CheckpointId> {
        self.books.lock().unwrap().committed.clone()
    }

    /// The checkpoint from which the attempt on this node was restored.
    pub(super) fn restored(&self) -> Option<CheckpointId> {
        let books = self.books.lock().unwrap();
        books.attempts.values().find_map(|held| Some(held.deployment.restore.as_ref()?.checkpoint))
    }

    /// The clusters that orders have named.
    pub(super) fn clusters(&self) -> BTreeSet<ClusterId> {
        self.books.lock().unwrap().clusters.clone()
    }

    /// The checkpoints that the node was told are complete.
    pub(super) fn confirmed(&self) -> Vec<CheckpointId> {
        self.books.lock().unwrap().confirmed.clone()
    }

    pub(super) fn hold_back(&self, hold: bool) {
        self.books.lock().unwrap().holds_back = hold;
        self.nudge.notify_one();
    }

    /// Makes snapshots fail for this reason, or succeed again.
    pub(super) fn fail_snapshots(&self, reason: Option<&str>) {
        self.books.lock().unwrap().trouble = reason.map(str::to_owned);
    }

    /// Sets the size of committables in bytes.
    pub(super) fn prepare(&self, bytes: usize) {
        self.books.lock().unwrap().prepares = bytes;
    }

    pub(super) fn let_go(&self) {
        self.hold_back(false);
    }

    pub(super) fn kill(self) {
        self.tasks.iter().for_each(|task| task.abort());
    }

    /// Waits until the node is as wanted.
    pub(super) async fn until(&self, wanted: impl Fn(&Self) -> bool) {
        let polling = async {
            while !wanted(self) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, polling).await.expect("the node becomes as wanted");
    }
}

struct Process {
    registration: NodeRegistration,
    coordinators: Vec<String>,
    network: Arc<dyn Network>,
    books: Arc<Mutex<Books>>,
    nudge: Arc<Notify>,
}

impl Process {
    async fn run(self) {
        loop {
            for coordinator in &self.coordinators {
                self.session(coordinator).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    async fn session(&self, coordinator: &str) {
        let (outgoing, messages) = mpsc::channel(1024);
        outgoing.try_send(NodeMessage::Register(self.registration.clone())).unwrap();
        let Ok(mut incoming) = NodeStream::open(&self.network, coordinator, messages).await else { return };
        let mut beat = tokio::time::interval(Duration::from_millis(750));
        loop {
            let replies = tokio::select! {
                biased;
                message = incoming.next() => match message {
                    Some(message) => self.on_message(message),
                    None => return,
                },
                () = self.nudge.notified() => self.progress(),
                _ = beat.tick() => vec![NodeMessage::Heartbeat { metrics: Vec::new() }],
            };
            for reply in replies {
                if outgoing.send(reply).await.is_err() {
                    return;
                }
            }
        }
    }

    fn on_message(&self, message: CoordinatorMessage) -> Vec<NodeMessage> {
        match message {
            CoordinatorMessage::Registered { .. } => self.reattach(),
            CoordinatorMessage::Refused { reason } => panic!("refused: {reason}"),
            CoordinatorMessage::ReportAcknowledged { sequence } => {
                self.books.lock().unwrap().outbox.remove(&sequence);
                Vec::new()
            }
            CoordinatorMessage::LeaveRecorded => Vec::new(),
            CoordinatorMessage::Order { sequence, order } => {
                let mut replies = vec![NodeMessage::Acknowledge { sequence, refused: None }];
                replies.extend(self.on_order(order));
                replies
            }
        }
    }

    fn reattach(&self) -> Vec<NodeMessage> {
        let mut books = self.books.lock().unwrap();
        books.is_registered = true;
        let mut subtasks = Vec::new();
        for ((job, attempt), held) in &books.attempts {
            for subtask in own(&held.deployment, self.registration.node) {
                let state = match held {
                    Held { finished, .. } if finished.contains(&subtask) => SubtaskState::Finished,
                    Held { is_started: true, .. } => SubtaskState::Running,
                    Held { .. } => SubtaskState::Ready,
                };
                subtasks.push(SubtaskReport { job: *job, attempt: *attempt, subtask, state });
            }
        }
        let kept = books.outbox.iter();
        let kept = kept.map(|(sequence, report)| NodeMessage::Report { sequence: *sequence, report: report.clone() });
        [NodeMessage::Reattach { subtasks }].into_iter().chain(kept).collect()
    }

    fn on_order(&self, Order { cluster, job, attempt, action, .. }: Order) -> Vec<NodeMessage> {
        self.books.lock().unwrap().clusters.insert(cluster);
        match action {
            Action::Discover { sources, .. } => {
                let split = |ordinal| Split {
                    id: SplitId(format!("split-{ordinal}")),
                    sequence: "file".to_owned(),
                    ordinal,
                    payload: serde_json::Value::Null,
                };
                let splits = sources.into_iter().map(|source| (source, (0..4).map(split).collect())).collect();
                self.report(vec![Report { job, attempt, body: ReportBody::Discovered { splits: Ok(splits) } }])
            }
            Action::Deploy(deployment) => {
                let held =
                    Held { deployment: *deployment, is_started: false, is_stopping: false, finished: Vec::new() };
                self.books.lock().unwrap().attempts.insert((job, attempt), held);
                self.report(vec![Report { job, attempt, body: ReportBody::Ready }])
            }
            Action::Start => self.mark(job, attempt, |held| held.is_started = true),
            Action::Stop => self.mark(job, attempt, |held| held.is_stopping = true),
            Action::Cancel => {
                self.books.lock().unwrap().attempts.remove(&(job, attempt));
                self.report(vec![Report { job, attempt, body: ReportBody::Gone }])
            }
            Action::Commit(publication) => {
                let Publication { checkpoint, committables, .. } = *publication;
                let commit = (job, attempt, committables.len());
                let mut books = self.books.lock().unwrap();
                if checkpoint != CheckpointId::FINAL {
                    books.committed.push(checkpoint);
                } else if !books.published.contains(&commit) {
                    books.published.push(commit);
                }
                drop(books);
                self.report(vec![Report { job, attempt, body: ReportBody::Committed { checkpoint, result: Ok(()) } }])
            }
            Action::Discard { before, .. } => {
                if before == ALL_ATTEMPTS {
                    self.books.lock().unwrap().discarded.push(job);
                }
                self.report(vec![Report { job, attempt, body: ReportBody::Discarded { before, result: Ok(()) } }])
            }
            Action::BeginCheckpoint { checkpoint } => self.snapshots(job, attempt, checkpoint),
            Action::AbortCheckpoint { .. } => Vec::new(),
            Action::ConfirmCheckpoint { checkpoint, .. } => {
                self.books.lock().unwrap().confirmed.push(checkpoint);
                Vec::new()
            }
        }
    }

    /// Every subtask reports its snapshot at once, with one committable per sink. Finished subtasks report their final
    /// committables.
    fn snapshots(&self, job: JobId, attempt: Attempt, checkpoint: CheckpointId) -> Vec<NodeMessage> {
        let books = self.books.lock().unwrap();
        let Some(held) = books.attempts.get(&(job, attempt)) else { return Vec::new() };
        let snapshot = |subtask: SubtaskId| {
            let is_finished = held.finished.contains(&subtask);
            let epoch = if is_finished { CheckpointId::FINAL } else { checkpoint };
            if let Some(reason) = books.trouble.clone() {
                let failure = Failure { kind: FailureKind::Store, message: reason };
                return Report { job, attempt, body: ReportBody::SnapshotFailed { checkpoint, subtask, failure } };
            }
            let snapshot = SubtaskSnapshot {
                subtask,
                is_finished,
                operators: Vec::new(),
                source: None,
                in_flight: Vec::new(),
                objects: Vec::new(),
                counts: RecordCounts::default(),
                prepared: prepared(subtask, &held.deployment, (epoch, 1)),
                cost: SnapshotCost::default(),
            };
            Report { job, attempt, body: ReportBody::Snapshot { checkpoint, snapshot: snapshot.into() } }
        };
        let reports = own(&held.deployment, self.registration.node).into_iter().map(snapshot).collect();
        drop(books);
        self.report(reports)
    }

    fn mark(&self, job: JobId, attempt: Attempt, mark: impl Fn(&mut Held)) -> Vec<NodeMessage> {
        if let Some(held) = self.books.lock().unwrap().attempts.get_mut(&(job, attempt)) {
            mark(held);
        }
        self.progress()
    }

    /// Ends every subtask that is started and not held back.
    fn progress(&self) -> Vec<NodeMessage> {
        let mut books = self.books.lock().unwrap();
        let (holds_back, prepares) = (books.holds_back, books.prepares);
        let mut reports = Vec::new();
        for ((job, attempt), held) in &mut books.attempts {
            if !held.is_started || (holds_back && !held.is_stopping) {
                continue;
            }
            for subtask in own(&held.deployment, self.registration.node) {
                if !held.finished.contains(&subtask) {
                    held.finished.push(subtask);
                    reports.push(finished((*job, *attempt, subtask), &held.deployment, prepares));
                }
            }
        }
        drop(books);
        self.report(reports)
    }

    fn report(&self, reports: Vec<Report>) -> Vec<NodeMessage> {
        let mut books = self.books.lock().unwrap();
        let keep = |report: Report| {
            books.last_sequence += 1;
            let sequence = books.last_sequence;
            books.outbox.insert(sequence, report.clone());
            NodeMessage::Report { sequence, report }
        };
        reports.into_iter().map(keep).collect()
    }
}

fn own(deployment: &Deployment, node: NodeId) -> Vec<SubtaskId> {
    let assignment = &deployment.assignment;
    let all = ChainPlan::of(&deployment.graph);
    all.subtasks(assignment.parallelism()).filter(|subtask| assignment.node_of(*subtask) == Some(node)).collect()
}

fn finished((job, attempt, subtask): (JobId, Attempt, SubtaskId), deployment: &Deployment, prepares: usize) -> Report {
    let metrics = SubtaskMetrics { records_in: RECORDS, watermark: i64::MAX, ..SubtaskMetrics::default() };
    let prepared = prepared(subtask, deployment, (CheckpointId::FINAL, prepares));
    Report { job, attempt, body: ReportBody::Finished { subtask, metrics, prepared } }
}

/// One committable of so many bytes for each sink of a subtask.
fn prepared(subtask: SubtaskId, deployment: &Deployment, (epoch, bytes): (CheckpointId, usize)) -> Vec<Prepared> {
    let plan = ChainPlan::of(&deployment.graph);
    let chain = plan.chains.iter().find(|chain| chain.id == subtask.chain).unwrap();
    let sinks =
        chain.operators.iter().filter(|id| matches!(deployment.graph.operator(**id).kind, OperatorKind::Sink(_)));
    let prepared = |sink: &_| {
        let committables = vec![serde_json::json!("x".repeat(bytes))];
        Prepared { epoch, committables: SinkCommittables { sink: *sink, subtask: subtask.index, committables } }
    };
    sinks.map(prepared).collect()
}
