//! When to campaign, with jitter from the entropy that was handed in.
//!
//! Raft-rs draws each election timeout from the thread's generator, which no seed controls. It reads the timeout only
//! in `tick`, so this module sets its own before each tick. The timeout is drawn anew for each (term, role) and after
//! each campaign: two members that split the votes draw again, and so do two whose pre-votes crossed.

use std::sync::Arc;

use raft::{RawNode, StateRole, Storage};
use thalweg_types::seam::Entropy;

#[derive(Debug)]
pub(crate) struct ElectionTimer {
    entropy: Arc<dyn Entropy>,
    election_ticks: usize,
    timeout_ticks: usize,
    drawn_for: Option<(u64, StateRole)>,
}

impl ElectionTimer {
    pub(crate) fn new(entropy: Arc<dyn Entropy>, election_ticks: usize) -> Self {
        Self { entropy, election_ticks, timeout_ticks: election_ticks, drawn_for: None }
    }

    /// One tick of raft. The timeout is within `[election_ticks, 2 * election_ticks)` ticks, like raft's default.
    pub(crate) fn tick<S: Storage>(&mut self, node: &mut RawNode<S>) {
        let state = (node.raft.term, node.raft.state);
        if self.drawn_for != Some(state) {
            self.drawn_for = Some(state);
            self.timeout_ticks = self.election_ticks + self.draw();
        }
        node.raft.set_randomized_election_timeout(self.timeout_ticks);
        let has_campaigned = node.tick() && node.raft.state != StateRole::Leader;
        if has_campaigned {
            self.drawn_for = None;
        }
    }

    fn draw(&self) -> usize {
        let choices = u64::try_from(self.election_ticks).unwrap_or(u64::MAX);
        usize::try_from(self.entropy.next() % choices).expect("less than a usize")
    }
}

#[cfg(test)]
mod tests;
