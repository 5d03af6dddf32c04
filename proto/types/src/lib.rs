//! The vocabulary that client, coordinator and node share.
//!
//! Values and total functions on them: no clock, no randomness, no tasks, and no I/O except in `durable`. What is
//! persisted carries a format version (`graph::FORMAT`, `checkpoint::MANIFEST_FORMAT`).

pub mod address;
pub mod assignment;
pub mod bug;
pub mod chain;
pub mod checkpoint;
pub mod client;
pub mod connector;
pub mod durable;
pub mod expr;
pub mod graph;
pub mod id;
pub mod job;
pub mod key_group;
pub mod node;
pub mod path;
pub mod seam;
pub mod session;
pub mod settings;
pub mod split;
pub mod text;
pub mod time;
pub mod trace;

pub use assignment::Assignment;
pub use chain::{Chain, ChainPlan, ChannelId, Exchange};
pub use expr::{ExprBytes, Fault, Place};
pub use graph::{JobGraph, Operator, OperatorKind};
pub use id::{
    Attempt, ChainId, CheckpointId, ClusterId, Incarnation, JobId, MemberId, NodeId, OperatorId, RequestId, SubtaskId,
    Term,
};
pub use job::JobStatus;
pub use key_group::{KeyGroup, KeyGroupTable};
pub use split::{Split, SplitId, TooManySplits, check_splits};
pub use time::{LatencyMarker, Watermark};
pub use trace::TraceContext;

/// The version of this engine. Coordinators refuse nodes of another version.
pub const ENGINE_VERSION: &str = env!("CARGO_PKG_VERSION");
