//! The clients' way in.

mod again;
mod recent;
mod rows;
mod rpc;
mod service;

pub(crate) use service::ClusterService;
