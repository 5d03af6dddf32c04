//! The open spans of one job, and the lines of the log that belong to them.

use std::{collections::BTreeMap, time::Duration};

use thalweg_control::job::SlowCheckpoint;
use thalweg_trace::{Lasting, TARGET, context_of, fail, under};
use thalweg_types::{
    Attempt, CheckpointId, JobId, JobStatus, MemberId, NodeId, Term, TraceContext,
    job::{CheckpointWaits, Failure},
};
use tracing::{
    Span, error,
    field::{Empty, display},
    info, info_span, warn,
};

use super::{Decision, goes_on};

/// The most complete checkpoints whose publication is awaited: many times as many as may wait before no more are begun.
const COMPLETE_MAX: usize = 64;
/// Between two lines about slow checkpoints of one job: all of its checkpoints may be slow.
const SLOW_TOLD_EVERY: Duration = Duration::from_mins(1);

/// From a failure to the first output after it.
#[derive(Debug)]
struct Recovery {
    span: Lasting,
    /// Whether the failure is recorded. Until then it may be a false alarm.
    is_certain: bool,
    /// The node whose loss it is.
    lost: Option<NodeId>,
    /// The checkpoint that was open when it began. Its completion may have been on its way.
    open: Option<CheckpointId>,
    /// The first checkpoint after it, as far as one has begun.
    first: Option<CheckpointId>,
}

/// What is under way for a job.
#[derive(Debug)]
pub(super) struct JobSpans {
    member: MemberId,
    term: Term,
    job: JobId,
    /// The span of the request that the job goes back to, until it has run.
    cause: Option<TraceContext>,
    recovery: Option<Recovery>,
    attempt: Option<Lasting>,
    /// The span of the attempt that runs.
    started: Option<TraceContext>,
    discover: Option<Lasting>,
    deploy: Option<Lasting>,
    record: Option<(Span, Decision)>,
    checkpoint: Option<(CheckpointId, Lasting)>,
    manifest: Option<Lasting>,
    /// The last slow checkpoint that was told of, and when.
    slow: Option<(CheckpointId, Duration)>,
    /// The spans of checkpoints that are complete and not published.
    complete: BTreeMap<CheckpointId, TraceContext>,
    publish: Option<(CheckpointId, Lasting)>,
    /// Whether publishing has failed before.
    is_repeated: bool,
    /// Whether the end of the job was told.
    has_ended: bool,
}

impl JobSpans {
    pub(super) fn new(
        (member, term, job): (MemberId, Term, JobId),
        status: JobStatus,
        cause: Option<TraceContext>,
    ) -> Self {
        let mut spans = Self {
            member,
            term,
            job,
            cause,
            recovery: None,
            attempt: None,
            started: None,
            discover: None,
            deploy: None,
            record: None,
            checkpoint: None,
            manifest: None,
            slow: None,
            complete: BTreeMap::new(),
            publish: None,
            is_repeated: false,
            has_ended: status.is_terminal(),
        };
        if matches!(status, JobStatus::Created | JobStatus::Restarting | JobStatus::Deploying) {
            spans.attempt_span();
        }
        spans
    }

    /// Tells the end of the job, once, and ends what is awaited no longer.
    pub(super) fn follow(&mut self, status: JobStatus, attempt: Attempt) {
        // What was proposed is told first: its outcome is on its way.
        if !status.is_terminal() || self.record.is_some() || std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        let Self { job, .. } = *self;
        self.last_span().in_scope(|| info!(%job, %attempt, %status, "job ended"));
        self.end_attempt("the job has ended");
        self.recovery = None;
        self.publish.take_if(|(open, _)| *open == CheckpointId::FINAL);
    }

    /// The span of the work that is nearest to the job's end.
    fn last_span(&self) -> Span {
        let recovery = self.recovery.as_ref().map(|recovery| &recovery.span);
        recovery.or(self.attempt.as_ref()).map_or_else(Span::none, |span| (*span).clone())
    }

    /// Something is wrong: the recovery begins. `cause` is exported, so it quotes nothing.
    pub(super) fn on_failure(&mut self, attempt: Attempt, cause: &str, lost: Option<NodeId>) {
        if self.recovery.is_some() || self.has_ended {
            return;
        }
        let Self { member, term, job, .. } = *self;
        let span = info_span!(target: TARGET, parent: None, "recovery", %job, %attempt, %term, %member, cause);
        let open = self.checkpoint.as_ref().map(|(checkpoint, _)| *checkpoint);
        self.recovery = Some(Recovery { span: Lasting::new(span), is_certain: false, lost, open, first: None });
    }

    /// A node that seemed lost is there.
    pub(super) fn on_false_alarm(&mut self, node: NodeId) {
        self.recovery.take_if(|recovery| !recovery.is_certain && recovery.lost == Some(node));
    }

    /// The way of an attempt to running: part of the recovery, or of what a client asked for.
    fn attempt_span(&mut self) -> &Span {
        let Self { member, term, job, .. } = *self;
        let recovery = self.recovery.as_ref().and_then(|recovery| context_of(&recovery.span));
        let parent = recovery.or(self.cause);
        let open = || info_span!(target: TARGET, parent: None, "attempt", %job, attempt = Empty, %term, %member);
        self.attempt.get_or_insert_with(|| Lasting::new(under(open(), parent)))
    }

    fn named_attempt_span(&mut self, attempt: Attempt) -> &Span {
        let span = self.attempt_span();
        span.record("attempt", display(attempt));
        span
    }

    pub(super) fn discover(&mut self, attempt: Attempt) -> Option<TraceContext> {
        let Self { term, job, .. } = *self;
        let parent = context_of(self.named_attempt_span(attempt));
        let open = || info_span!(target: TARGET, parent: None, "discover", %job, %attempt, %term);
        context_of(self.discover.get_or_insert_with(|| Lasting::new(under(open(), parent))))
    }

    pub(super) fn discovered(&mut self, failure: Option<&Failure>) {
        end(self.discover.take(), failure);
    }

    pub(super) fn deploy(&mut self, attempt: Attempt) -> Option<TraceContext> {
        let Self { term, job, .. } = *self;
        let parent = context_of(self.named_attempt_span(attempt));
        let open = || info_span!(target: TARGET, parent: None, "deploy", %job, %attempt, %term);
        context_of(self.deploy.get_or_insert_with(|| Lasting::new(under(open(), parent))))
    }

    /// The span of the attempt that runs.
    pub(super) fn started(&self) -> Option<TraceContext> {
        self.started
    }

    /// A checkpoint's span. The first one after a failure is part of the recovery.
    pub(super) fn checkpoint(&mut self, attempt: Attempt, checkpoint: CheckpointId) -> Option<TraceContext> {
        if let Some((_, span)) = self.checkpoint.as_ref().filter(|(open, _)| *open == checkpoint) {
            return context_of(span);
        }
        let Self { member, term, job, .. } = *self;
        let first = self.recovery.as_mut().filter(|recovery| recovery.is_certain && recovery.first.is_none());
        let parent = first.and_then(|recovery| {
            recovery.first = Some(checkpoint);
            context_of(&recovery.span)
        });
        let span = info_span!(target: TARGET, parent: None, "checkpoint", %job, %attempt, %checkpoint, %term, %member);
        let span = under(span, parent);
        let context = context_of(&span);
        self.checkpoint = Some((checkpoint, Lasting::new(span)));
        context
    }

    pub(super) fn give_up(
        &mut self,
        (attempt, checkpoint): (Attempt, CheckpointId),
        cause: &str,
        waits: Option<&CheckpointWaits>,
    ) {
        let Some((_, span)) = self.checkpoint.take_if(|(open, _)| *open == checkpoint) else { return };
        let Self { job, .. } = *self;
        let waits_for = waits.map(display);
        span.in_scope(|| warn!(%job, %attempt, %checkpoint, cause, waits_for, "checkpoint given up"));
        fail(&span, "it was given up");
        self.manifest = None;
        if let Some(recovery) = &mut self.recovery {
            recovery.first.take_if(|first| *first == checkpoint);
        }
    }

    /// Says once of a checkpoint that it is slow, and of one checkpoint in a while.
    pub(super) fn tell_slow(
        &mut self,
        SlowCheckpoint { attempt, checkpoint, open_for }: SlowCheckpoint,
        now: Duration,
        waits: impl FnOnce() -> Option<CheckpointWaits>,
    ) {
        let is_told =
            |(told, at): (CheckpointId, Duration)| told == checkpoint || now.saturating_sub(at) < SLOW_TOLD_EVERY;
        if self.slow.is_some_and(is_told) {
            return;
        }
        self.slow = Some((checkpoint, now));
        let Self { job, .. } = *self;
        let (seconds, waits) = (open_for.as_secs(), waits());
        let waits_for = waits.as_ref().map(display);
        let span = self.checkpoint.as_ref().filter(|(open, _)| *open == checkpoint);
        let span = span.map_or_else(Span::none, |(_, span)| (**span).clone());
        span.in_scope(|| warn!(%job, %attempt, %checkpoint, seconds, waits_for, "checkpoint is slow"));
    }

    pub(super) fn put(&mut self, checkpoint: CheckpointId) {
        let Self { term, job, .. } = *self;
        let parent = self.checkpoint.as_ref().and_then(|(_, span)| context_of(span));
        let span = info_span!(target: TARGET, parent: None, "manifest", %job, %checkpoint, %term);
        self.manifest = Some(Lasting::new(under(span, parent)));
    }

    pub(super) fn put_done(&mut self, result: Result<(), &Failure>) {
        end(self.manifest.take(), result.err());
    }

    /// The span of a publication, whose order is given now or follows from nothing being there to publish.
    pub(super) fn publish(&mut self, checkpoint: CheckpointId, is_ordered: bool) -> Option<TraceContext> {
        let Self { term, job, .. } = *self;
        if let Some((_, span)) = self.publish.as_ref().filter(|(open, _)| *open == checkpoint) {
            if is_ordered && self.is_repeated {
                span.in_scope(|| info!(%job, %checkpoint, "publishing is tried again"));
            }
            return context_of(span);
        }
        let parent =
            if checkpoint == CheckpointId::FINAL { self.started } else { self.complete.get(&checkpoint).copied() };
        let span = under(info_span!(target: TARGET, parent: None, "publish", %job, %checkpoint, %term), parent);
        let context = context_of(&span);
        (self.publish, self.is_repeated) = (Some((checkpoint, Lasting::new(span))), false);
        context
    }

    pub(super) fn not_published(&mut self, node: NodeId, checkpoint: CheckpointId, failure: &Failure) {
        let Self { job, .. } = *self;
        self.is_repeated = true;
        let span = self.publish.as_ref().map_or_else(Span::none, |(_, span)| (**span).clone());
        span.in_scope(|| {
            warn!(%job, %node, %checkpoint, kind = ?failure.kind, cause = failure.message, "publishing failed");
        });
    }

    /// A proposal is a span of its own, below what it is for.
    pub(super) fn on_propose(&mut self, decision: Decision, command: &'static str) {
        let parent = match &decision {
            Decision::Place { .. } | Decision::Run(_) => context_of(self.attempt_span()),
            Decision::Begin(attempt, checkpoint) | Decision::Complete(attempt, checkpoint) => {
                self.checkpoint(*attempt, *checkpoint)
            }
            Decision::Published(checkpoint) => self.publish(*checkpoint, false),
            Decision::Fail { attempt, failure, .. } => {
                self.on_failure(*attempt, failure.outline(), None);
                self.recovery.as_ref().and_then(|recovery| context_of(&recovery.span))
            }
            Decision::Move(attempt) => {
                self.on_failure(*attempt, "a node of it leaves", None);
                self.recovery.as_ref().and_then(|recovery| context_of(&recovery.span))
            }
            Decision::FailJob(_) | Decision::Finish(_) | Decision::Other => None,
        };
        if let Decision::Run(attempt) = decision
            && let Some(span) = self.deploy.take()
        {
            let Self { job, .. } = *self;
            span.in_scope(|| info!(%job, %attempt, "attempt deployed"));
        }
        let Self { term, job, .. } = *self;
        let span = match parent {
            Some(_) => under(info_span!(target: TARGET, parent: None, "record", %job, command, %term), parent),
            None => Span::none(),
        };
        self.record = Some((span, decision));
    }

    /// What was proposed last.
    pub(super) fn on_outcome(&mut self, outcome: &Result<(), String>) -> Option<Decision> {
        let (span, decision) = self.record.take()?;
        if let Err(reason) = outcome {
            fail(&span, reason.as_str());
        }
        Some(decision)
    }

    /// A decision holds.
    pub(super) fn on_recorded(&mut self, decision: Decision, takes_checkpoints: bool) {
        let Self { job, .. } = *self;
        match decision {
            Decision::Place { attempt, nodes, slices } => {
                let span = self.named_attempt_span(attempt);
                span.in_scope(|| info!(%job, %attempt, nodes, slices, "attempt placed"));
            }
            Decision::Run(attempt) => self.on_running(attempt, takes_checkpoints),
            Decision::Begin(..) | Decision::Other => {}
            Decision::Complete(_, checkpoint) => self.on_complete(checkpoint),
            Decision::Published(checkpoint) => self.on_published(checkpoint),
            Decision::Fail { attempt, failure, verdict } => self.on_failed((attempt, goes_on(verdict)), &failure),
            Decision::Move(attempt) => {
                self.recovery_span().in_scope(|| info!(%job, %attempt, "job moves: a node of it leaves"));
                self.begin_again("the attempt was moved");
            }
            Decision::FailJob(failure) => {
                self.last_span().in_scope(|| error!(%job, kind = ?failure.kind, cause = failure.message, "job failed"));
            }
            Decision::Finish(attempt) => info!(%job, %attempt, "attempt finished"),
        }
    }

    fn on_running(&mut self, attempt: Attempt, takes_checkpoints: bool) {
        let Self { job, .. } = *self;
        let span = self.named_attempt_span(attempt);
        span.in_scope(|| info!(%job, %attempt, "job running"));
        self.started = context_of(span);
        (self.attempt, self.cause) = (None, None);
        if let Some(recovery) = self.recovery.take_if(|_| !takes_checkpoints) {
            recovery.span.in_scope(|| info!(%job, %attempt, "job recovered"));
        }
    }

    fn on_complete(&mut self, checkpoint: CheckpointId) {
        if let Some((_, span)) = self.checkpoint.take_if(|(open, _)| *open == checkpoint) {
            self.complete.extend(context_of(&span).map(|context| (checkpoint, context)));
            if self.complete.len() > COMPLETE_MAX {
                self.complete.pop_first();
            }
        }
        // Whoever completes a checkpoint that began later has not failed.
        self.recovery.take_if(|recovery| !recovery.is_certain && recovery.open != Some(checkpoint));
    }

    fn on_published(&mut self, checkpoint: CheckpointId) {
        let Self { job, .. } = *self;
        self.publish.take_if(|(open, _)| *open == checkpoint);
        self.complete.remove(&checkpoint);
        if let Some(recovery) =
            self.recovery.take_if(|recovery| recovery.first.is_some_and(|first| first <= checkpoint))
        {
            recovery.span.in_scope(|| info!(%job, %checkpoint, "job recovered"));
        }
    }

    fn on_failed(&mut self, (attempt, goes_on): (Attempt, bool), failure: &Failure) {
        let Self { job, .. } = *self;
        let (kind, cause) = (failure.kind, &failure.message);
        let span = self.recovery_span();
        if goes_on {
            span.in_scope(|| warn!(%job, %attempt, ?kind, cause, "job restarts"));
            self.begin_again(failure.outline());
        } else {
            span.in_scope(|| error!(%job, %attempt, ?kind, cause, "job failed"));
            fail(&span, failure.outline());
            self.end_attempt(failure.outline());
            self.recovery = None;
        }
    }

    fn recovery_span(&self) -> Span {
        self.recovery.as_ref().map_or_else(Span::none, |recovery| (*recovery.span).clone())
    }

    /// Another attempt follows.
    fn begin_again(&mut self, cause: &str) {
        self.end_attempt(cause);
        if let Some(recovery) = &mut self.recovery {
            (recovery.is_certain, recovery.first) = (true, None);
        }
        self.attempt_span();
    }

    fn end_attempt(&mut self, cause: &str) {
        let open = [self.attempt.take(), self.discover.take(), self.deploy.take(), self.manifest.take()];
        let checkpoint = self.checkpoint.take().map(|(_, span)| span);
        for span in open.into_iter().chain([checkpoint]).flatten() {
            fail(&span, cause);
        }
        self.started = None;
    }
}

fn end(span: Option<Lasting>, failure: Option<&Failure>) {
    if let (Some(span), Some(failure)) = (span, failure) {
        fail(&span, failure.outline());
    }
}
