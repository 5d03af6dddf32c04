//! Files of a directory, a glob or an object store as tables.
//!
//! ```text
//! read:   discover --splits--> open --split.rs (lines) | parquet.rs (row groups) | monitor.rs (new files)--> batches
//! write:  sink.rs --hidden part files, durable--> committables --commit.rs--> final names
//! ```
//!
//! A table's path is a file, a directory or key prefix (all files below it), or a pattern of these; local, or the URL
//! of an object store (`listing.rs`). Names that begin with a dot or an underscore are hidden: writers of all kinds use
//! them for files that are not final.

mod commit;
mod discover;
mod listing;
mod monitor;
mod partition;
pub(crate) mod parts;
mod pattern;
mod payload;
mod read;
mod sink;
mod split;
mod table;

pub(crate) use commit::PartCommitter;
pub(crate) use discover::FileSource;
pub(crate) use listing::Files;
pub(crate) use sink::{FileSinkWriter, json_form};

#[cfg(test)]
mod tests;
