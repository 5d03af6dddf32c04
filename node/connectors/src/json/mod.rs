//! JSON lines: a decoder that parses only the wanted columns, and a writer.
//!
//! ```text
//! block of lines --scan (walks)--> column (values) / object (keys) --decode (rows, faults)--> RecordBatch
//! RecordBatch --write--> block of lines
//! ```
//!
//! Each line is walked once. A value that no column wants is skipped by structure alone: its strings and brackets must
//! be well-formed, but text between them inside a skipped object or array is not checked.

mod column;
mod decode;
mod fault;
mod fields;
mod form;
mod format;
mod lanes;
mod nested;
pub(crate) mod number;
mod object;
mod scan;
pub(crate) mod text;
pub(crate) mod timestamp;
mod write;

pub(crate) use column::{Column, pad_nulls, sql_name};
pub(crate) use decode::{JsonDecoder, array_to_lines};
pub(crate) use fault::Fault;
pub(crate) use fields::column_of;
pub(crate) use form::json_form;
pub(crate) use format::FORMAT;
pub(crate) use nested::Extents;
pub(crate) use scan::Scanner;
pub(crate) use write::{JsonWriter, PlainColumn};

#[cfg(test)]
mod tests;
