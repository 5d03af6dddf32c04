//! The reports that a node keeps until the leader has recorded them.
//!
//! Sequence numbers grow within the incarnation and are never reused. So a report that is sent again over another
//! session, even to another leader, is recognised. Acknowledgements may repeat, and may arrive for reports that were
//! dropped already.

use std::collections::BTreeMap;

use thalweg_types::session::{NodeMessage, Report};

/// Reports by sequence number, until they are acknowledged.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Outbox {
    last_sequence: u64,
    kept: BTreeMap<u64, Report>,
}

impl Outbox {
    /// Keeps a report. Returns the message to send now, and again after each reconnection.
    pub(crate) fn keep(&mut self, report: Report) -> NodeMessage {
        self.last_sequence += 1;
        self.kept.insert(self.last_sequence, report.clone());
        NodeMessage::Report { sequence: self.last_sequence, report }
    }

    /// The leader has recorded a report.
    pub(crate) fn on_acknowledged(&mut self, sequence: u64) {
        self.kept.remove(&sequence);
    }

    /// The messages that are not acknowledged, in the order of their reports.
    pub(crate) fn messages(&self) -> impl Iterator<Item = NodeMessage> + '_ {
        self.kept.iter().map(|(sequence, report)| NodeMessage::Report { sequence: *sequence, report: report.clone() })
    }

    /// Whether the leader has recorded everything.
    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Whether an equal report is kept already.
    pub(crate) fn holds(&self, report: &Report) -> bool {
        self.kept.values().any(|kept| kept == report)
    }
}
