//! Apache Avro: datums straight into columns, rows straight into datums, and the blocks of container files.
//!
//! ```text
//! schema text --schema--> nodes --resolve (columns)--> ReadPlan --decode (datum, typed)--> rows
//! columns --derive--> schema text       nodes --layout (columns)--> WritePlan --encode (typed)--> datum
//! file --container (header, blocks)--> datums
//! ```
//!
//! `apache-avro` parses schemas and compresses blocks; datums are read here, since a tree of values per record would cost more
//! than the rest. Bytes come from anybody: lengths are held against what is there, nesting has a bound, and so has the number
//! of items that take no bytes.

mod container;
mod datum;
mod decode;
mod derive;
mod encode;
mod format;
mod layout;
mod resolve;
mod schema;

pub(crate) use container::{BLOCK_HEAD_BYTES_MAX, BlockHead, Head, MARKER_BYTES, decompress};
pub(crate) use datum::Datum;
pub(crate) use decode::AvroReader;
pub(crate) use format::{FORMAT, writer_of};
pub(crate) use layout::write_long;
pub(crate) use schema::AvroSchema;

#[cfg(test)]
pub(crate) mod tests;
