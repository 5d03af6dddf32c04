//! What the whole engine is measured against: generated input, a batch engine as reference, and the cases that both answer.
//!
//! A case is one file of `cases/`: a streaming script and, written by hand, the batch queries that must give the same rows.
//! Nothing of the engine is used to compute the expected side: DataFusion reads the same files by Arrow's own readers.

pub mod answers;
pub mod case;
pub mod duckdb;
pub mod input;
pub mod oracle;
pub mod rows;
pub mod seeds;
pub mod simulation;

/// Writes a line to standard output. A reader who has gone away is no reason to stop.
pub fn say(line: impl std::fmt::Display) {
    use std::io::Write as _;

    writeln!(std::io::stdout(), "{line}").ok();
}
