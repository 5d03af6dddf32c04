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
mod location;
mod monitor;
mod partition;
pub(crate) mod parts;
mod pattern;
mod read;
mod sink;
mod split;

pub(crate) use commit::PartCommitter;
pub(crate) use discover::FileSource;
pub(crate) use listing::Files;
pub(crate) use location::{FoundFile, Location, key_found, not_found, open_found, store_error};
pub(crate) use read::OpenFile;
pub(crate) use sink::{FileSinkWriter, json_form};
pub(crate) use split::LineRange;

#[cfg(test)]
mod tests;
