//! Outbounds and inbounds together: on one node, and over gRPC on a network in memory.

mod local;
mod remote;
mod rig;
mod rpc;
