//! How a group begins, and how a member that lost its store rejoins.
//!
//! A member with an empty store does not know whether it is new or has lost what it promised. So, before raft runs, it
//! asks all first members what their stores hold. It founds a group only if nobody can have seen a promise of its.
//! Otherwise the leader admits it under a number that has promised nothing. docs/design/founding.md has the proof.

mod decide;
mod opening;
mod rpc;
mod service;
mod sight_codec;

#[cfg(test)]
mod tests;

pub use opening::{NoPrecedent, Opening, Precedent, Traces};
pub use service::{Gatekeeper, GatekeeperServer, Threshold, ThresholdServer};
