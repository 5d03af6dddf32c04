//! The service for nodes.

mod service;

pub(crate) use service::NodeSessionService;
