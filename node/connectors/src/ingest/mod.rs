//! Takes records by POST: routes, a queue per table, and the log in which they are kept until the job has read them.

mod append;
mod body;
mod elsewhere;
mod endpoint;
mod keys;
mod outcome;
mod registry;
mod routes;
mod source;
mod takeover;

pub use elsewhere::{Elsewhere, ReaderDirectory, ReaderPlace};
pub use registry::IngestRegistry;
pub use routes::ingest_router;

pub(crate) use source::IngestSource;

#[cfg(test)]
mod tests;
