//! What a leader remembers of one attempt: the orders it gave and the answers it received.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use thalweg_types::{
    Attempt, CheckpointId, Incarnation, NodeId, OperatorId, SubtaskId,
    checkpoint::{Prepared, SplitProgress},
    job::{Failure, FailureKind},
    session::SubtaskState,
};

/// The memory of one attempt.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct AttemptFacts {
    pub(super) attempt: Attempt,
    /// When this leader first saw it.
    pub(super) since: Duration,
    /// Whether the attempt was live before this leader took over.
    pub(super) resumed: bool,
    pub(super) discover_ordered: bool,
    pub(super) splits: Option<Vec<(OperatorId, Vec<SplitProgress>)>>,
    pub(super) deploy_ordered: bool,
    pub(super) ready: BTreeSet<NodeId>,
    /// What each node had when it last registered.
    pub(super) reattached: BTreeMap<NodeId, BTreeMap<SubtaskId, SubtaskState>>,
    pub(super) start_ordered: bool,
    pub(super) running_since: Option<Duration>,
    /// The last begun checkpoint when this leader first saw that the job is to stop.
    pub(super) stop_asked_after: Option<CheckpointId>,
    pub(super) stop_ordered: bool,
    pub(super) finished: BTreeMap<SubtaskId, Vec<Prepared>>,
    /// The most severe failure so far, and when the first one was seen.
    pub(super) failure: Option<(Failure, Duration)>,
    pub(super) restart_at: Option<Duration>,
    pub(super) cancel_ordered: BTreeSet<NodeId>,
    pub(super) gone: BTreeSet<NodeId>,
    /// Nodes of the attempt that have said that they leave.
    pub(super) leavers: BTreeSet<NodeId>,
    pub(super) rows_released: bool,
    pub(super) committing_on: Option<(NodeId, Incarnation)>,
    pub(super) commit_at: Duration,
    pub(super) commits_failed: u32,
    pub(super) committed: Option<Result<(), Failure>>,
    /// Why publishing last failed. It is retried.
    pub(super) commit_failure: Option<Failure>,
    /// Removal of what older attempts left.
    pub(super) sweep: Removal,
    /// Removal of everything, after the end.
    pub(super) discard: Removal,
}

/// Removal of what nobody will publish. One node is ordered to do it.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Removal {
    pub(super) on: Option<(NodeId, Incarnation)>,
    pub(super) not_before: Duration,
    pub(super) failures: u32,
    pub(super) is_done: bool,
    /// The first removal after the end is done or given up. This is the second, for what has appeared since.
    pub(super) was_over: bool,
    /// More files to remove appeared after the order was given, so its answer does not count.
    pub(super) is_outdated: bool,
}

/// How often a removal is tried. With the default backoff the last try is minutes after the first: a directory that
/// cannot be written by then may never be.
const REMOVALS_MAX: u32 = 8;

impl Removal {
    /// Whether everything is removed, or the removal was given up.
    pub(super) fn is_over(&self) -> bool {
        self.is_done || self.failures >= REMOVALS_MAX
    }

    /// More files may have been left: starts over.
    fn begin_again(&mut self) {
        let is_asked = self.on.is_some() && !self.is_done;
        *self = if is_asked { Self { is_outdated: true, ..self.clone() } } else { Self::default() };
    }

    /// Removes once more, not before this time. A removal that was given up gets one more try.
    fn come_back(&mut self, not_before: Duration) {
        let failures = if self.is_done { 0 } else { REMOVALS_MAX - 1 };
        if self.is_over() {
            *self = Self { was_over: true, not_before, failures, ..Self::default() };
        }
    }

    /// The order is lost with its node.
    pub(super) fn forget_order(&mut self, is_lost: impl Fn(NodeId, Incarnation) -> bool) {
        if self.on.take_if(|(node, incarnation)| is_lost(*node, *incarnation)).is_some() {
            self.is_outdated = false;
        }
    }
}

impl AttemptFacts {
    pub(super) fn new(attempt: Attempt, since: Duration) -> Self {
        Self {
            attempt,
            since,
            resumed: false,
            discover_ordered: false,
            splits: None,
            deploy_ordered: false,
            ready: BTreeSet::new(),
            reattached: BTreeMap::new(),
            start_ordered: false,
            running_since: None,
            stop_asked_after: None,
            stop_ordered: false,
            finished: BTreeMap::new(),
            failure: None,
            restart_at: None,
            cancel_ordered: BTreeSet::new(),
            gone: BTreeSet::new(),
            leavers: BTreeSet::new(),
            rows_released: false,
            committing_on: None,
            commit_at: Duration::ZERO,
            commits_failed: 0,
            committed: None,
            commit_failure: None,
            sweep: Removal::default(),
            discard: Removal::default(),
        }
    }

    /// Keeps the most severe failure: only one counts per attempt, and a broken stream is often the consequence of a
    /// more severe failure at its other end.
    pub(super) fn on_failure(&mut self, failure: Failure, now: Duration) {
        match &mut self.failure {
            Some((known, _)) if severity(known.kind) >= severity(failure.kind) => {}
            Some((known, _)) => *known = failure,
            None => self.failure = Some((failure, now)),
        }
    }

    /// What was removed, or is being removed, must be removed again.
    pub(super) fn remove_again(&mut self) {
        self.sweep.begin_again();
        self.discard.begin_again();
    }

    /// What was removed must be removed once more, not before this time.
    pub(super) fn remove_later(&mut self, not_before: Duration) {
        self.sweep.come_back(not_before);
        self.discard.come_back(not_before);
    }

    /// Counts an answer from the node that was asked, and any success, because commits are idempotent.
    pub(super) fn on_committed(&mut self, node: NodeId, result: Result<(), Failure>) {
        if result.is_ok() || self.committing_on.is_some_and(|(asked, _)| asked == node) {
            self.committed = Some(result);
        }
    }

    pub(super) fn check_invariants(&self) -> Result<(), String> {
        let ensure =
            |holds: bool, broken: &str| if holds { Ok(()) } else { Err(format!("{}: {broken}", self.attempt)) };
        ensure(!self.deploy_ordered || self.splits.is_some(), "deployed before its splits were known")?;
        ensure(self.attempt.0 > 0 || (self.ready.is_empty() && self.finished.is_empty()), "answers before any attempt")
    }
}

fn severity(kind: FailureKind) -> u8 {
    match kind {
        FailureKind::Link => 0,
        FailureKind::Node => 1,
        FailureKind::Store => 2,
        FailureKind::Operator => 3,
        FailureKind::Data => 4,
    }
}
