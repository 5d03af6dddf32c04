//! The worker process of a cluster: registers with the leader, runs the subtasks it is ordered to run, and reports on
//! them.
//!
//! ```text
//! leader <--- session ---> worker --- effects ---> runtime: actors of this node's subtasks
//!                            | decides by `orders`            ^ streams of other nodes
//!                            |                                |
//!                       Node::start ---- serves ----> exchange, collect, HTTP ingest
//! ```
//!
//! - `node` starts all of it together and ends it together.
//! - `session` finds the leader and holds the session; `leader_search` says whom to try, `rpc` speaks gRPC.
//! - `worker` owns the state and carries out effects; `orders` and `outbox` are its pure decisions; `engine` is the runtime
//!   behind a seam.
//! - `service` serves what the runtime keeps; `own_routes` puts what the process tells of itself beside the tables that take records
//!   over HTTP, which `request_meter` counts.
//! - `tables` answers for the newest rows of tables over HTTP, from all nodes that have them.
//! - `spans` are what is traced.
//! - `metrics` says what is told to those who monitor the node.

mod config;
mod directory;
mod engine;
mod error;
mod leader_search;
mod metrics;
mod node;
mod orders;
mod outbox;
mod own_routes;
mod request_meter;
mod rpc;
mod service;
mod session;
mod spans;
mod tables;
#[cfg(test)]
mod testing;
mod worker;

pub use config::{ConfigError, NodeConfig};
pub use error::{NodeFailure, StartError};
pub use node::Node;
