//! The persisted form of the whole state: JSON text with a format number.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    command::{FORMAT, FORMAT_MIN},
    state::ClusterState,
};

/// A snapshot that this engine cannot read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the snapshot of the cluster state cannot be read: {reason}")]
pub struct UnreadableSnapshot {
    /// What is wrong with the bytes.
    pub reason: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<S> {
    format: u32,
    state: S,
}

impl ClusterState {
    /// The persisted form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let envelope = Envelope { format: FORMAT, state: self };
        serde_json::to_vec(&envelope).expect("the state has only text and integer keys")
    }

    /// Reads the persisted form and checks it.
    ///
    /// # Errors
    /// When the bytes are not a consistent state of this format or an older one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, UnreadableSnapshot> {
        let unreadable = |reason| UnreadableSnapshot { reason };
        let envelope: Envelope<Self> = serde_json::from_slice(bytes).map_err(|error| unreadable(error.to_string()))?;
        if !(FORMAT_MIN..=FORMAT).contains(&envelope.format) {
            return Err(unreadable(format!("format {}, expected {FORMAT}", envelope.format)));
        }
        envelope.state.check_invariants().map_err(unreadable)?;
        Ok(envelope.state)
    }
}
