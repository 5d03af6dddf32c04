//! The clients' way in.

mod rows;
mod rpc;
mod service;

pub(crate) use service::ClusterService;
