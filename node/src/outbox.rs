//! The reports that a node keeps until the leader has recorded them.
//!
//! Sequences grow within the incarnation and are never reused, so a report that is sent again over another session, even to
//! another leader, is the same report. Acknowledgements may repeat, and may come for reports already forgotten.

use std::collections::BTreeMap;

use thalweg_types::session::{NodeMessage, Report};

/// Reports by sequence, until acknowledged.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Outbox {
    last_sequence: u64,
    kept: BTreeMap<u64, Report>,
}

impl Outbox {
    /// Keeps a report and gives the message to send, now and after each reconnection.
    pub(crate) fn keep(&mut self, report: Report) -> NodeMessage {
        self.last_sequence += 1;
        self.kept.insert(self.last_sequence, report.clone());
        NodeMessage::Report { sequence: self.last_sequence, report }
    }

    /// The leader has recorded a report.
    pub(crate) fn on_acknowledged(&mut self, sequence: u64) {
        self.kept.remove(&sequence);
    }

    /// What is not acknowledged, in the order in which it was reported.
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
