//! The services for clients.

mod again;
mod recent;
mod service;
mod spans;

pub(crate) use service::ClusterService;
