//! Files of a directory, a glob or an object store, as tables.
//!
//! ```text
//! read:   discover --splits--> open --split.rs (lines) | parquet.rs (row groups) | monitor.rs (new files)--> batches
//! write:  sink.rs --hidden part files, durable--> committables --commit.rs--> final names
//! ```
//!
//! A table's path is one of: a local file, a local directory (all files below it), a local glob, or a URL of an object store
//! that is a file, a prefix or a glob. Names that begin with a dot or an underscore are hidden: writers of all kinds use
//! them for what is not final.

mod commit;
mod discover;
mod location;
mod monitor;
mod partition;
pub(crate) mod parts;
mod read;
mod sink;
mod split;

pub(crate) use commit::PartCommitter;
pub(crate) use discover::FileSource;
pub(crate) use location::{FoundFile, Location, store_error};
pub(crate) use read::OpenFile;
pub(crate) use sink::{FileSinkWriter, json_form};
pub(crate) use split::LineRange;

#[cfg(test)]
mod tests;
