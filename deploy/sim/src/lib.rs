//! The references for the whole engine: generated input, a batch engine, and the cases that both answer.
//!
//! A case is one file of `cases/`: a streaming script, and batch queries, written by hand, that must give the same
//! rows. The expected side uses nothing of the engine: DataFusion reads the same files with Arrow's readers.

pub mod answers;
pub mod case;
pub mod duckdb;
pub mod input;
pub mod oracle;
pub mod rows;
pub mod seeds;
pub mod simulation;

/// Writes a line to standard output. Ignores errors, since the reader may be gone.
pub fn say(line: impl std::fmt::Display) {
    use std::io::Write as _;

    writeln!(std::io::stdout(), "{line}").ok();
}
