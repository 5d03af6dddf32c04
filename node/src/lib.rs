//! The worker process of a cluster.

mod config;
mod engine;
mod leader_search;
mod orders;
mod outbox;
mod rpc;
mod session;
#[cfg(test)]
mod testing;
mod worker;
