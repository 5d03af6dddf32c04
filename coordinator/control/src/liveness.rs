//! Which nodes count as alive: each has a lease, renewed by every message from it.
//!
//! ```text
//! heard ----> trusted for a lease ----lease runs out----> expired, until forgotten or heard again
//!                  |                                         ^
//!                  +-- session broke: for a sixth of it -----+
//! ```
//!
//! A new leader grants every known node a full lease, because it does not know what its predecessor heard. If two ticks
//! of a leader are more than half a lease apart, it restarts all leases, because it was itself away. Time is monotonic
//! and an argument; a time that goes back counts as no progress.

use std::{collections::BTreeMap, time::Duration};

use thalweg_types::{Incarnation, NodeId};

/// A disconnected node that is alive reconnects at once, and then with delays that start at a few milliseconds. This
/// part of the lease is long enough to tell.
const DISCONNECTED_PART: u32 = 6;

/// The leases of all nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeLiveness {
    lease: Duration,
    now: Duration,
    ticked: Duration,
    leases: BTreeMap<NodeId, Lease>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lease {
    incarnation: Incarnation,
    ends: Duration,
}

impl NodeLiveness {
    /// A leader's first view: every known node has a full lease from now.
    pub fn new(lease: Duration, known: impl IntoIterator<Item = (NodeId, Incarnation)>, now: Duration) -> Self {
        let mut liveness = Self { lease, now, ticked: now, leases: BTreeMap::new() };
        for (node, incarnation) in known {
            liveness.on_heard(node, incarnation, now);
        }
        liveness
    }

    /// This incarnation of a node sent something. A new incarnation replaces the old one.
    pub fn on_heard(&mut self, node: NodeId, incarnation: Incarnation, now: Duration) {
        let now = self.advance(now);
        self.leases.insert(node, Lease { incarnation, ends: now + self.lease });
    }

    /// The session of this incarnation of a node broke.
    pub fn on_disconnected(&mut self, node: NodeId, incarnation: Incarnation, now: Duration) {
        let ends = self.advance(now) + self.lease / DISCONNECTED_PART;
        self.shorten(node, incarnation, ends);
    }

    /// This incarnation of a node left on purpose, so its lease ends at once.
    pub fn on_left(&mut self, node: NodeId, incarnation: Incarnation, now: Duration) {
        let now = self.advance(now);
        self.shorten(node, incarnation, now);
    }

    /// The record says that the node is lost.
    pub fn forget(&mut self, node: NodeId, incarnation: Incarnation) {
        if self.leases.get(&node).is_some_and(|lease| lease.incarnation == incarnation) {
            self.leases.remove(&node);
        }
    }

    /// How long ago this incarnation of a node was heard. `None` once its lease has run out.
    #[must_use]
    pub fn heard_ago(&self, node: NodeId, incarnation: Incarnation, now: Duration) -> Option<Duration> {
        let lease = self.leases.get(&node).filter(|lease| lease.incarnation == incarnation && lease.ends > now)?;
        Some((now + self.lease).saturating_sub(lease.ends))
    }

    /// The nodes whose lease has run out.
    #[must_use]
    pub fn on_tick(&mut self, now: Duration) -> Vec<(NodeId, Incarnation)> {
        let now = self.advance(now);
        let since = now.saturating_sub(self.ticked);
        self.ticked = now;
        if since > self.lease / 2 {
            for lease in self.leases.values_mut() {
                lease.ends = now + self.lease;
            }
        }
        let expired = self.leases.iter().filter(|(_, lease)| lease.ends <= now);
        expired.map(|(node, lease)| (*node, lease.incarnation)).collect()
    }

    /// How often to call `on_tick`: far more often than the half lease that counts as late.
    #[must_use]
    pub fn tick_interval(lease: Duration) -> Duration {
        lease / 20
    }

    fn shorten(&mut self, node: NodeId, incarnation: Incarnation, ends: Duration) {
        if let Some(lease) = self.leases.get_mut(&node).filter(|lease| lease.incarnation == incarnation) {
            lease.ends = lease.ends.min(ends);
        }
    }

    fn advance(&mut self, now: Duration) -> Duration {
        self.now = self.now.max(now);
        self.now
    }

    /// Checks that no lease is longer than a full one.
    ///
    /// # Errors
    /// Names a node whose lease is.
    pub fn check_invariants(&self) -> Result<(), String> {
        match self.leases.iter().find(|(_, lease)| lease.ends > self.now + self.lease) {
            Some((node, _)) => Err(format!("the lease of {node} outlasts a full one")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
