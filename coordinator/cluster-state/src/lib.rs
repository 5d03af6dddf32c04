//! The replicated state of a cluster: its nodes, its jobs and their attempts.
//!
//! ```text
//! leader decides (control) -> Command -> Raft log -> every member: ClusterState::apply -> Applied(events) | Rejected(reason)
//! ```
//!
//! The rule it protects: the same log gives the same state on every member. So `apply` is total, reads no clock, draws
//! no random numbers and decides nothing: it checks what the leader decided and records it. A rejection is a normal
//! outcome and changes nothing.
//!
//! What a leader must do next can be derived from the state alone (`JobRecord::status`, `JobRecord::attempt`,
//! `ClusterState::live_jobs`). So a new leader reconciles, instead of hoping that an event was handled before a crash.
//!
//! Left to others: heartbeats and measurements (the leader keeps them in memory), and all decisions about placement,
//! time and restarts.

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
