//! The services for clients.

mod again;
mod recent;
mod service;

pub(crate) use service::ClusterService;
