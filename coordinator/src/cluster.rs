//! The services for clients.

mod again;
mod recent;
mod rows;
mod rpc;
mod service;

pub(crate) use service::ClusterService;
