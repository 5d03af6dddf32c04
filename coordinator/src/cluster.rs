//! The clients' way in.

mod again;
mod members;
mod recent;
mod rows;
mod rpc;
mod service;

pub(crate) use service::ClusterService;
