//! The replicated state of a cluster: its nodes, its jobs and their attempts.
//!
//! ```text
//! leader decides (control) -> Command -> Raft log -> every member: ClusterState::apply -> Applied(events) | Rejected(reason)
//! ```
//!
//! The rule it protects: the same log gives the same state on every member. So `apply` is total, knows no time and draws
//! no numbers, and takes no decision of its own: it checks what the leader decided and records it. A rejection is a normal
//! outcome and changes nothing.
//!
//! What a leader must do next is derivable from the state alone (`JobRecord::status`, `JobRecord::attempt`,
//! `ClusterState::live_jobs`), so that a new leader reconciles instead of hoping that an event was handled before a crash.
//!
//! Left to others: heartbeats and measurements (the leader's memory), and every choice of place, time and restart.

mod apply;
mod checkpoint;
mod command;
mod invariants;
mod outcome;
mod snapshot;
mod state;
#[cfg(test)]
mod tests;

pub use command::{AttemptPlan, Command, EndMode, FORMAT, JobSpec, UnreadableCommand, Verdict};
pub use outcome::{Event, Outcome, Rejection};
pub use snapshot::UnreadableSnapshot;
pub use state::{AttemptRecord, ClusterState, JobRecord, NodeRecord};
