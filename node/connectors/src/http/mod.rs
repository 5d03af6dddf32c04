//! Records by HTTP: a source that takes them by POST, a sink that POSTs them.

mod client;
mod ingest;
mod registry;
mod sink;

pub use client::{HttpAnswer, HttpClient, HttpPost, ReqwestClient};
pub use ingest::ingest_router;
pub use registry::IngestRegistry;

pub(crate) use registry::IngestSource;
pub(crate) use sink::HttpSinkWriter;

#[cfg(test)]
mod tests;
