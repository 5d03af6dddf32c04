//! How attempts end: by order, because a newer one is proved, or because no leader was heard for too long. Also builds
//! the attempt that waits for older ones to be gone.

use std::time::Duration;

use thalweg_types::{
    Attempt, CheckpointId, JobId,
    bug::{self, Bug},
    job::{Failure, FailureKind},
    session::{Report, ReportBody},
};

use super::{Effect, Orders, Phase};

/// How many times longer an attempt may take to end while other jobs run here.
const PATIENCE_BESIDE: u32 = 10;

impl Orders {
    /// Cancels an attempt, and reports it as gone at once if there is nothing to wait for. An attempt that was never
    /// here is remembered as cancelled, so that a late deployment cannot start it.
    pub(super) fn cancel(&mut self, job: JobId, attempt: Attempt, now: Duration) -> Vec<Effect> {
        let mut effects = self.fence(job, attempt, now);
        effects.extend(self.end(job, attempt, now));
        self.forget_old_fences();
        effects
    }

    /// Ends one attempt in any phase. Reports that it is gone as soon as it is.
    pub(super) fn end(&mut self, job: JobId, attempt: Attempt, now: Duration) -> Vec<Effect> {
        let phase = self.job(job).attempts.entry(attempt).or_insert(Phase::Cancelled);
        match phase {
            Phase::Running { .. } => {
                *phase = Phase::Ending { since: now };
                vec![Effect::Cancel { job, attempt }]
            }
            Phase::Ending { .. } => Vec::new(),
            Phase::Waiting(..) | Phase::Cancelled => {
                *phase = Phase::Cancelled;
                self.report_once(Report { job, attempt, body: ReportBody::Gone })
            }
        }
    }

    /// Makes an attempt the oldest that orders may be about, and ends all older ones.
    pub(super) fn fence(&mut self, job: JobId, attempt: Attempt, now: Duration) -> Vec<Effect> {
        let known = self.job(job);
        known.newest = known.newest.max(attempt);
        if bug::is_active(Bug::ZombieWrites) {
            return Vec::new();
        }
        let over = |(attempt, phase): (&Attempt, &Phase)| (*phase != Phase::Cancelled).then_some(*attempt);
        let older: Vec<Attempt> = known.attempts.range(..attempt).filter_map(over).collect();
        let effects = older.into_iter().flat_map(|older| self.end(job, older, now)).collect();
        self.job(job).attempts.retain(|of, phase| *of >= attempt || phase.is_live());
        effects
    }

    /// Builds the waiting attempt of a job, once no other one is live.
    pub(super) fn deploy_waiting(&mut self, job: JobId) -> Vec<Effect> {
        let known = self.job(job);
        let is_waiting = |phase: &Phase| matches!(phase, Phase::Waiting(..));
        let counts = |phase: &Phase| !bug::is_active(Bug::ZombieWrites) || is_waiting(phase);
        let mut live = known.attempts.iter_mut().filter(|(_, phase)| phase.is_live() && counts(phase));
        let (Some((attempt, phase @ Phase::Waiting(..))), None) = (live.next(), live.next()) else {
            return Vec::new();
        };
        let running = Phase::Running { is_started: false, is_stopping: false, aborted: CheckpointId(0) };
        let Phase::Waiting(cluster, deployment, trace) = std::mem::replace(phase, running) else {
            unreachable!("matched above");
        };
        vec![Effect::Deploy { cluster, job, attempt: *attempt, deployment, trace }]
    }

    /// The runtime holds nothing of an attempt any more.
    pub(super) fn gone(&mut self, job: JobId, attempt: Attempt) -> Vec<Effect> {
        self.job(job).attempts.insert(attempt, Phase::Cancelled);
        let mut effects =
            vec![Effect::Forget { job, attempt }, self.report(Report { job, attempt, body: ReportBody::Gone })];
        effects.extend(self.deploy_waiting(job));
        effects
    }

    pub(super) fn end_orphans(&mut self, now: Duration) -> Vec<Effect> {
        let is_orphan = |phase: &Phase| matches!(phase, Phase::Waiting(..) | Phase::Running { .. });
        let orphans: Vec<(JobId, Attempt)> =
            self.attempts().filter(|(.., phase)| is_orphan(phase)).map(|(job, attempt, _)| (job, attempt)).collect();
        let message = format!("no leader was heard of for {:?}", self.limits.orphan_timeout);
        let failure = Failure { kind: FailureKind::Node, message };
        let mut effects = Vec::new();
        for (job, attempt) in orphans {
            let failed = Report {
                job,
                attempt,
                body: ReportBody::Failed { subtask: None, failure: failure.clone(), peer: None },
            };
            effects.push(self.report(failed));
            effects.extend(self.end(job, attempt, now));
        }
        effects
    }

    /// Attempts that only the end of the process can end. That would end other jobs too, so an attempt gets longer
    /// while any run here: only its own job waits for it.
    pub(super) fn overdue(&self, now: Duration) -> Vec<Effect> {
        let runs_beside =
            |job| self.attempts().any(|(other, _, phase)| other != job && matches!(phase, Phase::Running { .. }));
        let is_overdue = |job: JobId, phase: &Phase| match phase {
            Phase::Ending { since } => {
                let patience = if runs_beside(job) { PATIENCE_BESIDE } else { 1 };
                now.saturating_sub(*since) >= self.limits.stop_timeout * patience
            }
            Phase::Waiting(..) | Phase::Running { .. } | Phase::Cancelled => false,
        };
        let overdue = self.attempts().filter(|(job, _, phase)| is_overdue(*job, phase));
        overdue.map(|(job, attempt, _)| Effect::Abandon { job, attempt }).collect()
    }
}
