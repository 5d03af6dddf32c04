//! How a group begins, and how a member that has lost its store comes back.
//!
//! A member with an empty store can't know whether it is new or has forgotten what it promised. So it asks, before raft runs,
//! what the stores of all first members hold, and founds only where nobody can have seen a promise of it. Else it is admitted
//! by the leader under a number that has promised nothing. docs/design/founding.md has the argument.

mod decide;
mod opening;
mod rpc;
mod service;
mod sight_codec;

#[cfg(test)]
mod tests;

pub(crate) use decide::FirstMembers;
pub use decide::Refusal;
pub use opening::{NoPrecedent, Opening, Precedent};
pub use service::{Gatekeeper, GatekeeperServer, Threshold, ThresholdServer};
