//! The clients' way in.

mod recent;
mod rows;
mod rpc;
mod service;

pub(crate) use service::ClusterService;
