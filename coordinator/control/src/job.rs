//! The lifecycle controller of one job, as a value: it decides what the job needs next.
//!
//! ```text
//! Created|Restarting   cancel leftovers -> all Gone -> backoff -> checkpoints published -> slots -> propose BeginAttempt
//! Deploying            Discover, or the splits of the checkpoint -> Deploy to all -> all Ready -> propose RunAttempt
//! Running              Start to all -> all Finished -> propose CompleteAttempt        (Stop, once, where a client asked)
//!                      Discard, to one node, what older attempts left; checkpoints: see `checkpoint`, `publish`, `collect`
//! Committing           checkpoints published -> Commit to one node -> Committed -> propose FinishJob
//! ended                cancel leftovers -> all Gone -> checkpoints published -> Discard to one node -> checkpoints deleted
//!                      -> done
//! ```
//!
//! The job's status is in the replicated record alone. The controller adds what only this leader knows: which orders it
//! gave, and what nodes answered. `step` compares the two and returns what is missing. So an extra call does nothing,
//! and a call after a loss repairs it. A new leader starts with an empty memory, because orders are idempotent and
//! nodes repeat reports until they are acknowledged.
//!
//! The rules it protects: one failure counts per attempt. An attempt begins only once the previous one is gone from
//! every node that is not lost. Sources start only once `RunAttempt` is recorded, hence once all nodes are ready. After
//! a change of leader, an attempt that was still being deployed is given up unless all of it is ready; a running one
//! goes on.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use thalweg_cluster_state::{Command, JobRecord};
use thalweg_types::{
    Attempt, ChainPlan, CheckpointId, ClusterId, Incarnation, JobGraph, JobId, JobStatus, NodeId, OperatorId, Split,
    SubtaskId,
    checkpoint::{Manifest, ManifestRef, RecordedGraph, SplitProgress},
    graph::GraphError,
    job::{Failure, FailureKind},
    session::{Action, Order, Report, ReportBody, SubtaskReport},
    settings::{JobSettings, SettingError},
};
use thiserror::Error;

use self::{checkpoint::Checkpoints, facts::AttemptFacts};
use crate::placement::Avoid;

mod begin;
mod checkpoint;
mod collect;
mod ended;
mod facts;
mod history;
mod live;
mod publish;
mod reports;
mod unseen;
mod waits;

pub use history::{EndedCheckpoint, of_the_record};
pub use reports::is_settled;
pub use waits::SlowCheckpoint;

/// The pause after a rejected proposal: the state that it needs may not have arrived yet.
const REJECTED_PAUSE: Duration = Duration::from_millis(300);

/// The intervals and timeouts of controllers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlConfig {
    /// How long a job waits for as many slots as it wants, before it takes those that are free.
    pub slot_wait: Duration,
    /// How long the deployment of an attempt may take.
    pub deploy_timeout: Duration,
    /// How long a broken stream waits for the failure that caused it, before the stream itself counts as the cause.
    pub cause_wait: Duration,
    /// From the beginning of one checkpoint to that of the next, unless the job sets its own. Zero: none by time.
    pub checkpoint_interval: Duration,
}

impl Default for ControlConfig {
    fn default() -> Self {
        Self {
            slot_wait: Duration::from_secs(10),
            deploy_timeout: Duration::from_secs(120),
            cause_wait: Duration::from_millis(200),
            checkpoint_interval: Duration::from_secs(10),
        }
    }
}

/// A node that is not lost, as this leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeView {
    /// Its current incarnation.
    pub incarnation: Incarnation,
    /// Where its exchange listens.
    pub address: String,
    /// Its failure zone.
    pub zone: String,
    /// Slots that no live attempt holds, and no ended one still occupies.
    pub free: u32,
    /// Whether it takes new work.
    pub takes_work: bool,
    /// Whether its session is open and it has reported what it runs.
    pub attached: bool,
}

/// What a controller sees of the cluster at one moment.
#[derive(Debug, Clone, Copy)]
pub struct JobView<'a> {
    /// The replicated record.
    pub record: &'a JobRecord,
    /// Every node that is not lost.
    pub nodes: &'a BTreeMap<NodeId, NodeView>,
    /// The cluster's id.
    pub cluster: &'a ClusterId,
    /// The URL of the place for checkpoints.
    pub checkpoints: &'a str,
    /// Monotonic time.
    pub now: Duration,
    /// Time since the Unix epoch, shown to users.
    pub unix_time: Duration,
    /// A random number that spreads restarts.
    pub jitter: u8,
}

impl JobView<'_> {
    /// Whether this incarnation of a node is not lost.
    fn is_present(&self, node: NodeId, incarnation: Incarnation) -> bool {
        self.nodes.get(&node).is_some_and(|view| view.incarnation == incarnation)
    }
}

/// Something that a controller wants the driver to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Propose this command, and pass the outcome to `on_proposed`. At most one proposal is outstanding.
    Propose(Command),
    /// Give this order, and repeat it until it arrives, while this incarnation of the node lasts.
    Order {
        node: NodeId,
        attempt: Attempt,
        /// What the node is to do.
        action: Action,
    },
    /// Write this manifest under a unique name, and pass the outcome to `on_manifest_put`.
    PutManifest {
        /// The manifest of the open checkpoint.
        manifest: Arc<Manifest>,
    },
    /// Read a manifest, and pass the outcome to `on_manifest_got`.
    GetManifest {
        /// Where the manifest is, and its checksum.
        manifest: ManifestRef,
    },
    /// Delete the objects of checkpoints, but none that a kept manifest refers to. Then call `on_collected`.
    CollectCheckpoints {
        /// Delete these manifests, and what they refer to.
        drop: Vec<ManifestRef>,
        /// The manifests to keep.
        keep: Vec<ManifestRef>,
        /// Also delete what attempts older than this one wrote.
        older_than: Option<Attempt>,
    },
}

/// What became of a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proposed {
    /// The record holds it.
    Applied,
    /// It was rejected, or its outcome is unknown: decide again.
    NotApplied,
}

/// A job whose record this engine cannot run.
#[derive(Debug, Error)]
pub enum UnusableJob {
    /// Its graph cannot be read.
    #[error("the job's dataflow cannot be used by this engine")]
    Graph(#[from] GraphError),
    /// Its settings cannot be read.
    #[error("the job's settings cannot be used by this engine")]
    Settings(#[from] SettingError),
}

/// The controller of one job.
#[derive(Debug, Clone, PartialEq)]
pub struct JobController {
    job: JobId,
    config: ControlConfig,
    graph: JobGraph,
    plan: ChainPlan,
    /// What manifests tell of the graph.
    recorded: RecordedGraph,
    settings: JobSettings,
    /// The record's count of restarts by clients when this controller was made.
    restarts: u32,
    facts: AttemptFacts,
    checkpoints: Checkpoints,
    avoid: Avoid,
    /// Attempts that failed in a row, each soon after its start. Determines the backoff.
    failures_in_a_row: u32,
    waits_for_slots_since: Option<Duration>,
    proposing: bool,
    paused_until: Duration,
}

impl JobController {
    /// Takes charge of a job, new or found in the replicated state.
    ///
    /// # Errors
    /// The job's graph or settings cannot be read by this engine.
    pub fn new(job: JobId, record: &JobRecord, config: ControlConfig, now: Duration) -> Result<Self, UnusableJob> {
        let graph = JobGraph::from_bytes(record.spec.graph.as_bytes())?;
        let settings = JobSettings::parse(&graph.settings)?;
        let mut facts = AttemptFacts::new(record.last_attempt(), now);
        facts.resumed = record.live_attempt().is_some();
        let mut checkpoints = Checkpoints::default();
        if facts.resumed && expects_rows(&graph) {
            // An earlier leader may have been told that a client waits for a checkpoint.
            checkpoints.on_wanted();
        }
        let plan = ChainPlan::of(&graph);
        Ok(Self {
            job,
            config,
            recorded: RecordedGraph::of(&graph, &plan),
            plan,
            graph,
            settings,
            restarts: record.restarts,
            facts,
            checkpoints,
            avoid: Avoid::default(),
            // A failure whose restart is still due is counted when its backoff is drawn.
            failures_in_a_row: record.failures.saturating_sub(u32::from(begin::is_to_be_counted(record))),
            waits_for_slots_since: None,
            proposing: false,
            paused_until: Duration::ZERO,
        })
    }

    /// Whether this controller is for the job's current start. When a client starts the job again, it gets a new
    /// controller.
    #[must_use]
    pub fn is_of(&self, record: &JobRecord) -> bool {
        self.restarts == record.restarts
    }

    /// The dataflow.
    #[must_use]
    pub fn graph(&self) -> &JobGraph {
        &self.graph
    }

    /// The dataflow, cut into chains.
    #[must_use]
    pub fn plan(&self) -> &ChainPlan {
        &self.plan
    }

    /// Subtasks of the current attempt that have finished.
    pub fn finished(&self) -> impl Iterator<Item = SubtaskId> + '_ {
        self.facts.finished.keys().copied()
    }

    /// The attempt that the controller works on, or the last one.
    #[must_use]
    pub fn attempt(&self) -> Attempt {
        self.facts.attempt
    }

    /// Nodes of the current attempt on which all subtasks are ready.
    pub fn ready(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.facts.ready.iter().copied()
    }

    /// Whether checkpoints are taken by time.
    #[must_use]
    pub fn takes_checkpoints(&self) -> bool {
        !self.checkpoint_interval().is_zero()
    }

    /// Why publishing last failed, while it is retried.
    #[must_use]
    pub fn commit_failure(&self) -> Option<&Failure> {
        self.facts.commit_failure.as_ref().or(self.checkpoints.publishing.last_failure.as_ref())
    }

    /// Takes a report of a node about this job.
    pub fn on_report(&mut self, node: NodeId, report: &Report, now: Duration) {
        if report.attempt != self.facts.attempt {
            return;
        }
        match &report.body {
            ReportBody::Discovered { splits: Ok(splits), .. } => {
                match thalweg_types::check_splits(splits.iter().flat_map(|(_, splits)| splits)) {
                    Ok(()) => _ = self.facts.splits.get_or_insert_with(|| unread(splits)),
                    Err(error) => self.facts.on_failure(failure(FailureKind::Data, error.to_string()), now),
                }
            }
            ReportBody::Discovered { splits: Err(failure), .. } => self.facts.on_failure(failure.clone(), now),
            ReportBody::Ready => {
                self.facts.ready.insert(node);
            }
            ReportBody::Finished { subtask, prepared, .. } => {
                self.facts.finished.entry(*subtask).or_insert_with(|| prepared.clone());
            }
            ReportBody::Snapshot { checkpoint, snapshot, .. } => self.checkpoints.on_snapshot(*checkpoint, snapshot),
            ReportBody::SnapshotFailed { checkpoint, subtask, failure, .. } => {
                let reason = format!("{subtask} on {node}: {}", failure.message);
                self.checkpoints.on_snapshot_failed(*checkpoint, *subtask, reason);
            }
            ReportBody::CheckpointWanted => self.checkpoints.on_wanted(),
            ReportBody::Failed { failure, peer, .. } => {
                self.avoid_after(node, failure.kind, *peer);
                self.facts.on_failure(failure.clone(), now);
            }
            ReportBody::Gone => {
                self.facts.gone.insert(node);
            }
            ReportBody::Committed { checkpoint: CheckpointId::FINAL, result, .. } => {
                self.facts.on_committed(node, result.clone());
            }
            ReportBody::Committed { checkpoint, result, .. } => {
                self.checkpoints.publishing.on_committed(node, *checkpoint, result.clone());
            }
            ReportBody::Discarded { before, result, .. } => {
                let result = result.as_ref().copied().map_err(|failure| failure.kind);
                self.on_discarded(node, *before, result, now);
            }
        }
    }

    /// A node refused an order: it knows of something newer, or takes no more work.
    pub fn on_refused(&mut self, node: NodeId, order: &Order, reason: &str, now: Duration) {
        if order.attempt != self.facts.attempt {
            return;
        }
        let refused = || failure(FailureKind::Node, format!("{node} refused an order: {reason}"));
        match &order.action {
            Action::Commit(publication) if publication.checkpoint == CheckpointId::FINAL => {
                self.facts.on_committed(node, Err(refused()));
            }
            Action::Commit(publication) => {
                self.checkpoints.publishing.on_committed(node, publication.checkpoint, Err(refused()));
            }
            Action::Discard { before, .. } => self.on_discarded(node, *before, Err(FailureKind::Node), now),
            Action::BeginCheckpoint { checkpoint } => {
                self.checkpoints.on_failed(*checkpoint, &format!("{node} refused it: {reason}"));
            }
            // A node refuses these only after it has dropped the attempt, and then it reports why.
            Action::Start | Action::Stop | Action::Cancel => {}
            Action::AbortCheckpoint { .. } | Action::ConfirmCheckpoint { .. } => {}
            Action::Discover { .. } | Action::Deploy(_) => {
                self.avoid.nodes.insert(node);
                self.facts.on_failure(refused(), now);
            }
        }
    }

    /// What a node runs, as it reported when it last registered.
    pub fn on_reattach(&mut self, node: NodeId, subtasks: &[SubtaskReport]) {
        let own = subtasks.iter().filter(|report| report.job == self.job && report.attempt == self.facts.attempt);
        self.facts.reattached.insert(node, own.map(|report| (report.subtask, report.state)).collect());
        // An order to drop the attempt may have been lost with the node's last session. Ordering it twice does no harm.
        self.facts.cancel_ordered.remove(&node);
    }

    /// What became of the outstanding proposal.
    pub fn on_proposed(&mut self, outcome: Proposed, now: Duration) {
        self.proposing = false;
        if outcome == Proposed::NotApplied {
            self.paused_until = now + REJECTED_PAUSE;
        }
    }

    /// What the job needs now.
    #[must_use]
    pub fn step(&mut self, view: &JobView<'_>) -> Vec<Effect> {
        self.follow(view);
        if self.proposing {
            return Vec::new();
        }
        let effects = match view.record.status {
            JobStatus::Created | JobStatus::Restarting => self.begin(view),
            JobStatus::Deploying => self.deploy(view),
            JobStatus::Running => self.run(view),
            JobStatus::Committing => self.commit(view),
            JobStatus::Finished | JobStatus::Cancelled | JobStatus::Stopped | JobStatus::Failed => self.end(view),
        };
        self.limit_proposals(effects, view.now)
    }

    /// Whether nothing is left to do: the job has ended, no node holds any of it, and its hidden output and its
    /// unneeded checkpoints are removed.
    #[must_use]
    pub fn is_done(&self, view: &JobView<'_>) -> bool {
        self.is_output_settled(view) && !self.proposing && !self.must_collect(view.record)
    }

    /// Slots on this incarnation of a node that an ended attempt still occupies.
    #[must_use]
    pub fn lingering_on(&self, node: NodeId, incarnation: Incarnation, record: &JobRecord) -> u32 {
        let over = record.live_attempt().is_none() && !self.facts.gone.contains(&node) && !self.keeps_rows(record);
        let attempt = record.attempt.as_ref().filter(|_| over);
        attempt.map_or(0, |attempt| attempt.plan.slices_on_incarnation(node, incarnation))
    }

    /// Follows the record: a new attempt begins with an empty memory.
    fn follow(&mut self, view: &JobView<'_>) {
        let attempt = view.record.last_attempt();
        if attempt != self.facts.attempt {
            self.facts = AttemptFacts::new(attempt, view.now);
            self.checkpoints.on_attempt(view.now);
            self.waits_for_slots_since = None;
            self.avoid = Avoid::default();
        }
        if view.record.status == JobStatus::Deploying && !self.facts.resumed {
            // What a node ran before it was ordered to deploy says nothing about this attempt.
            self.facts.reattached.clear();
        }
        // A lost node has lost its orders, even if the same incarnation of it returns.
        let facts = &mut self.facts;
        let publishing = &mut self.checkpoints.publishing;
        for asked in [&mut facts.committing_on, &mut publishing.on] {
            asked.take_if(|(node, incarnation)| !view.is_present(*node, *incarnation));
        }
        for removal in [&mut facts.sweep, &mut facts.discard] {
            removal.forget_order(|node, incarnation| !view.is_present(node, incarnation));
        }
        if view.record.status == JobStatus::Running {
            self.facts.running_since.get_or_insert(view.now);
        } else {
            let waits = self.checkpoint_waits(view.record);
            self.checkpoints.close("the attempt ended", waits, view.now);
        }
        self.forget_manifests(view.record);
    }

    fn limit_proposals(&mut self, mut effects: Vec<Effect>, now: Duration) -> Vec<Effect> {
        let paused = now < self.paused_until;
        let mut proposes = false;
        // One proposal at a time. The next step returns the others again.
        effects.retain(|effect| {
            let is_proposal = matches!(effect, Effect::Propose(_));
            !is_proposal || !(paused || std::mem::replace(&mut proposes, true))
        });
        self.proposing = proposes;
        effects
    }

    fn avoid_after(&mut self, node: NodeId, kind: FailureKind, peer: Option<NodeId>) {
        match (kind, peer) {
            (FailureKind::Link, Some(peer)) => {
                self.avoid.pairs.insert((node.min(peer), node.max(peer)));
            }
            (FailureKind::Node | FailureKind::Link | FailureKind::Store, _) => {
                self.avoid.nodes.insert(node);
            }
            (FailureKind::Operator | FailureKind::Data, _) => {}
        }
    }

    fn order(&self, node: NodeId, action: Action) -> Effect {
        Effect::Order { node, attempt: self.facts.attempt, action }
    }

    /// Orders `action` to each node of the current attempt.
    fn order_all(&self, record: &JobRecord, action: &Action) -> Vec<Effect> {
        nodes_of(record).keys().map(|node| self.order(*node, action.clone())).collect()
    }

    /// Checks that the controller's memory is consistent.
    ///
    /// # Errors
    /// Names the first inconsistency.
    pub fn check_invariants(&self) -> Result<(), String> {
        self.facts.check_invariants()
    }
}

/// The nodes of the last attempt.
fn nodes_of(record: &JobRecord) -> &BTreeMap<NodeId, Incarnation> {
    static NONE: BTreeMap<NodeId, Incarnation> = BTreeMap::new();
    record.attempt.as_ref().map_or(&NONE, |attempt| &attempt.plan.nodes)
}

/// A node that can work outside of any attempt: preferably one of the last attempt. Each failure moves on to the next
/// node, because another node may reach what this one cannot.
fn attached_node(view: &JobView<'_>, failures: u32) -> Option<(NodeId, Incarnation)> {
    let of_attempt = nodes_of(view.record);
    let others = view.nodes.keys().filter(|node| !of_attempt.contains_key(node));
    let attached = |node: &NodeId| {
        let incarnation = view.nodes.get(node).filter(|node| node.attached)?.incarnation;
        Some((*node, incarnation))
    };
    let attached: Vec<_> = of_attempt.keys().chain(others).filter_map(attached).collect();
    let turn = usize::try_from(failures).ok()?.checked_rem(attached.len())?;
    attached.get(turn).copied()
}

/// The subtasks that an attempt has on a node.
fn subtasks_on(plan: &ChainPlan, record: &JobRecord, node: NodeId) -> BTreeSet<SubtaskId> {
    let Some(attempt) = &record.attempt else { return BTreeSet::new() };
    let assignment = &attempt.plan.assignment;
    let all = plan.subtasks(assignment.parallelism());
    all.filter(|subtask| assignment.node_of(*subtask) == Some(node)).collect()
}

/// Splits as they were discovered, none of them read yet.
fn unread(found: &[(OperatorId, Vec<Split>)]) -> Vec<(OperatorId, Vec<SplitProgress>)> {
    let of = |(source, splits): &(OperatorId, Vec<Split>)| {
        (*source, splits.iter().cloned().map(SplitProgress::unread).collect())
    };
    found.iter().map(of).collect()
}

/// Whether clients fetch rows of the job. They may wait for a checkpoint.
fn expects_rows(graph: &JobGraph) -> bool {
    graph.collects().next().is_some()
}

fn failure(kind: FailureKind, message: impl Into<String>) -> Failure {
    Failure { kind, message: message.into() }
}

#[cfg(test)]
mod tests;
