//! Batches, watermarks and barriers between subtasks, by credit: in memory on one node, over gRPC between two.
//!
//! ```text
//! subtask -> Outbound -> (local) ----------------------------------> queues -> Inbound -> subtask
//!                   '--> (remote) PeerOutbox => gRPC => Receiver ---^   '-- credit, the same way back
//! ```
//!
//! Rules: data is sent only on credit, which counts bytes. Control frames stay in order on their channel and need no
//! credit. A broken stream between two nodes fails the attempt; it is never resumed.

mod cost;
mod endpoints;
mod error;
mod grant;
mod inbound;
mod ipc;
mod outbound;
mod peer;
mod pending;
mod queue;
mod registry;
mod rpc;
mod service;
mod traffic;

pub use endpoints::{Endpoints, OutboundBuilder, OutboundConfig, PeerLink};
pub use error::{ExchangeError, PeerFailure};
pub use inbound::{Element, GivenUp, Inbound, InboundChannel, OvertakenRows};
pub use outbound::{Carried, Control, Outbound};
pub use registry::ExchangeRegistry;
pub use rpc::connect;
pub use service::{ExchangeService, ReceivingStream};
pub use thalweg_proto::network;
pub use traffic::TrafficBytes;

#[cfg(test)]
mod tests;
