//! A replicated log for a deterministic state machine: raft-rs, driven by one task, over our own gRPC service.

/// What is replicated. Deterministic: the same log gives the same state, byte for byte.
pub trait Replicated: Send + Sync + 'static {
    /// What applying a command gives its proposer.
    type Outcome: Send + 'static;

    /// Applies a committed command. Total: any bytes give an outcome.
    fn apply(&mut self, index: u64, command: &[u8]) -> Self::Outcome;

    /// The whole state.
    fn snapshot(&self) -> Vec<u8>;

    /// Takes over a snapshot.
    ///
    /// # Errors
    /// Says why the bytes are not a snapshot.
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String>;
}
