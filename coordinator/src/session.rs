//! The nodes' way in.

mod service;

pub(crate) use service::NodeSessionService;

/// The metadata key under which a coordinator that does not lead names the leader's address.
pub(crate) const LEADER_KEY: &str = "thalweg-leader";
