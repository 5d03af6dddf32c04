//! The leader's decisions, as values: where a job runs, when a node is lost, what a job needs next.
//!
//! This crate does no I/O: inputs are method calls with time as an argument, outputs are return values. The driver in
//! `coordinator` gives the orders and proposes the commands. `cluster-state` checks and records the decisions made
//! here.

pub mod job;
pub mod liveness;
pub mod placement;
pub mod restart;
pub mod splits;

pub use job::{ControlConfig, Effect, JobController, JobView, NodeView};
pub use liveness::NodeLiveness;
pub use placement::{Avoid, NoRoom, NodeOffer, PlacementRequest, check_assignment, plan_assignment};
