//! Seeded runs: one number determines the whole run, and its output is compared with the batch answer.
//!
//! ```text
//! seed -> scenario (job, input, cluster, faults) -> simulation -> checks: output, side outputs, leftovers, panics
//! ```

mod check;
mod data;
mod delivery;
mod jobs;
mod outputs;
mod put;
mod run;
mod scenario;
mod sink;
mod streams;
mod topics;
mod written;

pub use data::Dataset;
pub use delivery::FileDelivery;
pub use jobs::JobKind;
pub use put::StreamSink;
pub use run::{Report, run, run_apart};
pub use scenario::{Input, Scenario};
pub use sink::Sink;
pub use streams::StreamInput;
pub use topics::TopicInput;
pub use written::TopicSink;
