//! The replicated state machine, as the consensus crate drives it: bytes in, bytes out.

use thalweg_cluster_state::{ClusterState, Command, Outcome};
use thalweg_consensus::{Replicated, Unreadable};
use thalweg_types::bug;

/// The cluster's state, as a state machine of the log.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    state: ClusterState,
}

impl Machine {
    /// The state that the members agree on.
    #[must_use]
    pub fn state(&self) -> &ClusterState {
        &self.state
    }
}

impl Replicated for Machine {
    /// The command, and the time of its proposal in milliseconds since the Unix epoch.
    type Command = (Command, u64);
    type Outcome = Outcome;

    fn decode(command: &[u8]) -> Result<Self::Command, Unreadable> {
        Ok(Command::from_bytes(command)?)
    }

    fn apply(&mut self, index: u64, (command, at_ms): Self::Command) -> Outcome {
        let outcome = self.state.apply_at(index, command, at_ms);
        if bug::checks_invariants() {
            let broken = self.state.check_invariants().err();
            assert!(broken.is_none(), "after the entry at {index}: {}", broken.unwrap_or_default());
        }
        outcome
    }

    fn snapshot(&self) -> Vec<u8> {
        self.state.to_bytes()
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), Unreadable> {
        self.state = ClusterState::from_bytes(snapshot)?;
        Ok(())
    }
}
