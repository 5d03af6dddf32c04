//! The nodes' way in.

mod service;

pub(crate) use service::NodeSessionService;
