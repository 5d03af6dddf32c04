//! A replicated log for a deterministic state machine: raft-rs, driven by one task, over a gRPC service of this crate.
//!
//! ```text
//!   callers --requests--> +--------+ --messages--> peers: one queue and one gRPC stream per member
//!   RaftService ---------> | driver | --writes----> LogStore: on disk before anything that depends on it is sent
//!   clock ------ticks----> +--------+ --entries---> the state machine, in the log's order
//! ```
//!
//! Rules that the crate keeps:
//! - What a message promises is on disk before the message leaves. An outcome is given only for a command that is
//!   committed and applied on this member.
//! - A member's id and its cluster's id are bound to its store. A store that lost its log cannot pass for the member
//!   that it was: that member has to be removed and added again as a learner.
//! - An empty store founds a group only if none of its first members has promised anything yet. Otherwise it joins as a
//!   learner under a number that was never used, and the leader makes it a voter once it has caught up.
//! - Reads are linearizable by ReadIndex: a quorum confirms the leader after the read was asked for. No clock is
//!   trusted.
//! - `apply` never learns who leads: all replicas do the same.
//!
//! Raft's own protobuf stays inside this crate: stores and the wire see opaque bytes. Members are authenticated by
//! whatever carries the connections (TLS). This crate refuses envelopes of other clusters and for other members, bounds
//! what it takes from the wire, and parses before it trusts.

mod admission;
mod beside;
mod config;
mod consensus;
mod driver;
mod election;
mod founding;
mod guard;
mod heard;
mod log;
mod logger;
mod measures;
mod membership;
mod message_codec;
mod peers;
mod reads;
mod record_codec;
mod refusal;
mod service;
mod start;
pub mod store;
mod waiting;

#[cfg(test)]
mod tests;

pub use config::{ConfigError, ConsensusConfig, Member};
pub use consensus::{COMMAND_BYTES_MAX, Consensus, ConsensusError, ConsensusExit, Leadership};
pub use founding::{Gatekeeper, GatekeeperServer, NoPrecedent, Opening, Precedent, Threshold, ThresholdServer, Traces};
pub use measures::Measures;
pub use refusal::Refusal;
pub use service::{RaftServer, RaftService};
pub use start::{StartError, start};

/// Why bytes are no command, or no snapshot.
pub type Unreadable = Box<dyn std::error::Error + Send + Sync>;

/// What is replicated. Deterministic: the same log gives the same state, byte for byte.
///
/// Cloning and applying must be quick, whatever the size of state and command, so clones share data. Large commands are
/// decoded, and states encoded and decoded, outside the driver's task.
pub trait Replicated: Clone + Send + Sync + 'static {
    /// A decoded command.
    type Command: Send + 'static;
    /// What the proposer of a command gets.
    type Outcome: Send + 'static;

    /// Decodes a committed command.
    ///
    /// # Errors
    /// Why the bytes are not a command that this replica knows, for example one of a newer version. The member stops:
    /// if it skipped the command, its state would differ from the others'.
    fn decode(command: &[u8]) -> Result<Self::Command, Unreadable>;

    /// Applies a committed command. `index` is its log index.
    fn apply(&mut self, index: u64, command: Self::Command) -> Self::Outcome;

    /// Encodes the whole state.
    fn snapshot(&self) -> Vec<u8>;

    /// Replaces the state by a snapshot.
    ///
    /// # Errors
    /// Why the bytes are not a snapshot.
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), Unreadable>;
}
