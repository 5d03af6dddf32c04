//! Names of hosts and clients.

/// The host that executes the calls of producers.
pub(in crate::simulation) const BROKERS: &str = "brokers";
/// The simulation's own producer: its client, and what its transactional ids begin with.
pub(super) const PRODUCER: &str = "producer";
