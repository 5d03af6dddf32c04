//! Kinesis of a run: streams that all hosts share, and the way to them from each process.
//!
//! ```text
//! connector --seam--> Link of its process --takes time, may be cut--> streams (thalweg_kinesis::model)
//! feed.rs: the simulation's own producer, which splits and merges shards --^
//! ```
//!
//! A call has its effect at some moment between its beginning and its end. If its process dies before that, it had none; after it, only
//! the answer is lost.

mod faults;
mod feed;
mod link;
mod service;

pub use faults::{KinesisFault, KinesisTrouble, draw_kinesis_faults};
pub(super) use feed::StreamFeeder;
pub use feed::{StreamFeed, StreamStep};
pub(super) use link::Link;
pub use service::SimulatedKinesis;
