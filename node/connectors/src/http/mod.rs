//! Records over HTTP: a source that takes them by POST, and a sink that POSTs them.

mod append;
mod body;
mod chain;
mod client;
mod elsewhere;
mod endpoint;
mod ingest;
mod keys;
mod outcome;
mod registry;
mod sink;
mod source;

pub use client::{HttpAnswer, HttpClient, HttpPost, ReqwestClient};
pub use elsewhere::{Elsewhere, ReaderDirectory, ReaderPlace};
pub use ingest::ingest_router;
pub use registry::IngestRegistry;

pub(crate) use sink::HttpSinkWriter;
pub(crate) use source::IngestSource;

#[cfg(test)]
mod tests;
