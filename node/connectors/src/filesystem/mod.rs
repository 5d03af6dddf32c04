//! Files of a directory, a glob or an object store as tables.
//!
//! ```text
//! read:   discover.rs --splits--> open --split.rs (lines, of text.rs) | parquet.rs (row groups) | blocks.rs (Avro)--> batches
//! write:  sink.rs --hidden part files, durable--> committables --commit.rs--> final names
//! ```
//!
//! A table's path is a file, a directory or key prefix (all files below it), or a pattern of these; local, or the URL
//! of an object store (`listing.rs`). Names that begin with a dot or an underscore are hidden: writers of all kinds use
//! them for files that are not final.

mod blocks;
mod commit;
mod compressed;
mod decompressed;
mod discover;
mod error_files;
mod listing;
mod manifest;
mod merge;
pub(crate) mod names;
mod open_part;
mod options;
mod partition;
mod partition_commit;
pub(crate) mod parts;
mod pattern;
mod payload;
mod publish;
mod read;
mod sink;
mod split;
mod table;
mod text;
mod walk;
mod whole;

use crate::{
    ConnectorError,
    connector::{Connector, Sink, SinkTable},
    location::Location,
    options::Options,
};

pub(crate) use commit::PartCommitter;
use discover::FileSource;
use listing::Files;
use sink::FileSinkWriter;

pub(crate) const CONNECTOR: Connector = Connector {
    name: "filesystem",
    source: Some(|table| {
        let path = Options::new(&table.spec.table, &table.spec.connector).required("path")?;
        let files = Files::new(path, table.context.places())?;
        let decoding = table.identity.map(|identity| identity.decoding);
        Ok(Box::new(FileSource::new(table.spec, table.batch_rows, files, (table.notices, decoding))?))
    }),
    sink: Some(Sink {
        writer: |table, subtask| {
            let (location, seams) = (location(&table)?, &table.context.seams);
            Ok(Box::new(FileSinkWriter::new(table.spec, table.schema, subtask.identity, &location, seams)?))
        },
        committer: |table, identity| {
            let (location, seams) = (location(&table)?, &table.context.seams);
            Ok(Box::new(PartCommitter::of_table(table.spec, table.schema, (&location, identity), seams)?))
        },
        // Paths are checked by `ConnectorContext::check_destination`, those of side outputs too.
        check: None,
    }),
};

fn location(table: &SinkTable<'_>) -> Result<Location, ConnectorError> {
    let path = Options::new(&table.spec.table, &table.spec.connector).required("path")?;
    Location::new(path, table.context.places())
}

#[cfg(test)]
mod tests;
