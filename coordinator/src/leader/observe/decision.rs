//! What is told of a command.

use thalweg_cluster_state::{Command, Verdict};
use thalweg_types::{Attempt, CheckpointId, job::Failure};

/// A decision about a job, as far as anybody is told of it.
#[derive(Debug)]
pub(super) enum Decision {
    /// Its next attempt, on so many nodes and slices.
    Place { attempt: Attempt, nodes: usize, slices: usize },
    /// The attempt runs.
    Run(Attempt),
    /// A checkpoint begins.
    Begin(Attempt, CheckpointId),
    /// It is complete.
    Complete(Attempt, CheckpointId),
    /// What it holds is published.
    Published(CheckpointId),
    /// The attempt has ended badly.
    Fail { attempt: Attempt, failure: Failure, verdict: Verdict },
    /// The attempt is given up for a node that leaves.
    Move(Attempt),
    /// The job cannot go on at all.
    FailJob(Failure),
    /// All subtasks have ended well.
    Finish(Attempt),
    /// What needs no telling.
    Other,
}

impl Decision {
    pub(super) fn of(command: &Command) -> Self {
        match command {
            Command::BeginAttempt { attempt, plan, .. } => {
                Self::Place { attempt: *attempt, nodes: plan.nodes.len(), slices: plan.assignment.slices.len() }
            }
            Command::RunAttempt { attempt, .. } => Self::Run(*attempt),
            Command::BeginCheckpoint { attempt, checkpoint, .. } => Self::Begin(*attempt, *checkpoint),
            Command::CompleteCheckpoint { attempt, manifest, .. } => Self::Complete(*attempt, manifest.checkpoint),
            Command::SinksCommitted { checkpoint, .. } => Self::Published(*checkpoint),
            Command::FailAttempt { attempt, failure, verdict, .. } => {
                Self::Fail { attempt: *attempt, failure: failure.clone(), verdict: *verdict }
            }
            Command::MoveAttempt { attempt, .. } => Self::Move(*attempt),
            Command::FailJob { failure, .. } => Self::FailJob(failure.clone()),
            Command::CompleteAttempt { attempt, .. } => Self::Finish(*attempt),
            Command::FinishJob { .. } | Command::EndJob { .. } | Command::RestartJob { .. } => Self::Other,
            Command::ForgetCheckpoints { .. } | Command::ForgetJobs { .. } | Command::SubmitJob { .. } => Self::Other,
            Command::InitCluster { .. } | Command::RegisterNode { .. } | Command::LeaveNode { .. } => Self::Other,
            Command::LoseNode { .. } | Command::ForgetNodes { .. } => Self::Other,
        }
    }
}
