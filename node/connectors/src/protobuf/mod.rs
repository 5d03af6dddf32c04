//! Protocol Buffers: messages by a definition that is known only when the job runs.
//!
//! ```text
//! .proto text, .proto file, FileDescriptorSet --definition--> message   (columns --derive--> .proto text)
//! message + columns --resolve--> ReadPlan --read (DynamicMessage, typed)--> rows
//! message + columns --layout--> WritePlan --write (typed)--> bytes
//! ```
//!
//! `protox` compiles definitions, `prost-reflect` decodes messages: it bounds their nesting, and merges what occurs twice.
//! Messages are encoded here, since a map's entries must be in the same order each time.

mod definition;
mod derive;
mod layout;
mod read;
mod resolve;
mod write;

pub(crate) use definition::{Definition, compile_file, compile_text, path_of, read_set};
pub(crate) use derive::derive;
pub(crate) use read::ProtobufReader;
pub(crate) use write::ProtobufWriter;

#[cfg(test)]
pub(crate) mod tests;
