//! What the cluster knows about a node.

use serde::{Deserialize, Serialize};

use crate::id::{Incarnation, NodeId};

/// A node as it registers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRegistration {
    /// Its id.
    pub node: NodeId,
    /// The incarnation of its process.
    pub incarnation: Incarnation,
    /// Where its exchange and collect services listen, as `host:port`.
    pub address: String,
    /// Where its HTTP ingest listens, as `host:port`; empty if it offers none.
    pub http_address: String,
    /// The number of slots that it offers.
    pub slots: u32,
    /// Its failure zone; empty if unknown.
    pub zone: String,
    /// Its engine's version.
    pub version: String,
}

/// Whether a node takes work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// It takes work.
    Alive,
    /// It keeps what it runs and takes no more.
    Leaving,
    /// Nothing is known to run there.
    Lost,
}

impl NodeState {
    /// Its text form.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Leaving => "leaving",
            Self::Lost => "lost",
        }
    }

    /// Parses the text form.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Alive, Self::Leaving, Self::Lost].into_iter().find(|state| state.word() == word)
    }
}
