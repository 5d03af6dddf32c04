//! What the cluster knows of a node.

use serde::{Deserialize, Serialize};

use crate::id::{Incarnation, NodeId};

/// A node as it registers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRegistration {
    /// Which node.
    pub node: NodeId,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// Where its exchange and collect services listen, as `host:port`.
    pub address: String,
    /// Where its HTTP ingest listens, as `host:port`; empty where it offers none.
    pub http_address: String,
    /// How many parallel slices of jobs it offers to run.
    pub slots: u32,
    /// Its failure zone; empty where unknown.
    pub zone: String,
    /// Its engine's version.
    pub version: String,
}

/// Whether a node takes work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// It does.
    Alive,
    /// It runs what it has and takes no more.
    Leaving,
    /// Nothing is known to run there.
    Lost,
}

impl NodeState {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Leaving => "leaving",
            Self::Lost => "lost",
        }
    }

    /// The state of this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Alive, Self::Leaving, Self::Lost].into_iter().find(|state| state.word() == word)
    }
}
