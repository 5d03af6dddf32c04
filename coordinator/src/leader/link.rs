//! What the leader holds of one incarnation of a node: its session, its unacknowledged orders, and its reports that are
//! not settled.
//!
//! Orders outlive a session: the next session of the same incarnation repeats them, under the same numbers. A link may
//! exist before any session, because a new leader knows the nodes before they come.

use std::collections::{BTreeMap, BTreeSet};

use thalweg_types::{
    Attempt, Incarnation, JobId, Term,
    session::{CoordinatorMessage, Order, Report},
};
use tokio::sync::mpsc;

use super::SessionId;

/// What the leader holds of one incarnation of a node.
#[derive(Debug)]
pub(super) struct NodeLink {
    pub(super) incarnation: Incarnation,
    session: Option<(SessionId, mpsc::Sender<CoordinatorMessage>)>,
    /// Whether the node has told over this session which attempts it has.
    pub(super) is_reattached: bool,
    /// Attempts that are over and were still on the node. It gets no work before they are gone.
    pub(super) leftovers: BTreeSet<(JobId, Attempt)>,
    last_sequence: u64,
    orders: BTreeMap<u64, Order>,
    /// Reports that are not settled, by the node's sequence number.
    held: BTreeMap<u64, Report>,
}

impl NodeLink {
    pub(super) fn new(incarnation: Incarnation) -> Self {
        Self {
            incarnation,
            session: None,
            is_reattached: false,
            leftovers: BTreeSet::new(),
            last_sequence: 0,
            orders: BTreeMap::new(),
            held: BTreeMap::new(),
        }
    }

    /// Opens a session of this incarnation: greets the node, and repeats unacknowledged orders. The node repeats its
    /// reports.
    pub(super) fn open(
        &mut self,
        session: SessionId,
        outgoing: mpsc::Sender<CoordinatorMessage>,
        greeting: CoordinatorMessage,
    ) {
        self.session = Some((session, outgoing));
        self.is_reattached = false;
        self.held.clear();
        self.send(greeting);
        let again: Vec<CoordinatorMessage> = self
            .orders
            .iter()
            .map(|(sequence, order)| CoordinatorMessage::Order { sequence: *sequence, order: order.clone() })
            .collect();
        again.into_iter().for_each(|message| self.send(message));
    }

    /// Whether a session is open and its stream too.
    pub(super) fn has_session(&self) -> bool {
        self.session.as_ref().is_some_and(|(_, outgoing)| !outgoing.is_closed())
    }

    /// Whether this is the open session.
    pub(super) fn is_open(&self, session: SessionId) -> bool {
        self.session.as_ref().is_some_and(|(open, _)| *open == session)
    }

    /// Ends the session, and with it the stream to the node.
    pub(super) fn close(&mut self) {
        self.session = None;
        self.is_reattached = false;
    }

    /// Gives an order. It is sent at once, or when a session opens.
    pub(super) fn order(&mut self, order: Order) {
        self.last_sequence += 1;
        let sequence = self.last_sequence;
        self.orders.insert(sequence, order.clone());
        self.send(CoordinatorMessage::Order { sequence, order });
    }

    /// Removes and returns an order that the node has taken or refused.
    pub(super) fn on_acknowledged(&mut self, sequence: u64) -> Option<Order> {
        self.orders.remove(&sequence)
    }

    /// Holds a report until it is settled.
    pub(super) fn hold(&mut self, sequence: u64, report: Report) {
        self.held.insert(sequence, report);
    }

    /// Acknowledges the reports that are settled.
    pub(super) fn settle(&mut self, is_settled: impl Fn(&Report) -> bool) {
        let settled: Vec<u64> =
            self.held.iter().filter(|(_, report)| is_settled(report)).map(|(sequence, _)| *sequence).collect();
        for sequence in settled {
            self.held.remove(&sequence);
            self.send(CoordinatorMessage::ReportAcknowledged { sequence });
        }
    }

    /// Tells the node that its leaving is recorded.
    pub(super) fn confirm_leave(&mut self) {
        self.send(CoordinatorMessage::LeaveRecorded);
    }

    /// Whether the node can get work.
    pub(super) fn is_attached(&self) -> bool {
        self.session.is_some() && self.is_reattached && self.leftovers.is_empty()
    }

    /// Sends over the session, if one is open. A session with a full queue is stuck: it ends here, and the node opens
    /// another one.
    fn send(&mut self, message: CoordinatorMessage) {
        let Some((_, outgoing)) = &self.session else { return };
        if outgoing.try_send(message).is_err() {
            self.close();
        }
    }
}

/// The first message to a node.
pub(super) fn greeting(node: thalweg_types::NodeId, term: Term, lease: std::time::Duration) -> CoordinatorMessage {
    let lease_ms = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
    CoordinatorMessage::Registered { node, term, lease_ms }
}

#[cfg(test)]
mod tests;
