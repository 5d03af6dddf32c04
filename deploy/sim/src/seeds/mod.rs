//! Seeded runs: one number determines the whole run, and its output is compared with the batch answer.
//!
//! ```text
//! seed -> scenario (job, input, cluster, faults) -> simulation -> checks: output, side outputs, leftovers, panics
//! ```

mod check;
mod data;
mod jobs;
mod outputs;
mod run;
mod scenario;
mod sink;
mod topics;
mod written;

pub use data::Dataset;
pub use jobs::JobKind;
pub use run::{Report, run, run_apart};
pub use scenario::{Input, Scenario};
pub use sink::Sink;
pub use topics::TopicInput;
pub use written::TopicSink;
