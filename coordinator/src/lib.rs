//! The coordinator: the cluster's gRPC services, and the driver that turns the leader's decisions into orders.
//!
//! ```text
//! clients --Cluster--> service --SQL--> planning --SubmitJob--+
//!                                                             v
//!                        followers forward             consensus (Raft) --> Machine: ClusterState::apply
//!                                                             ^     |
//! nodes --NodeSession--> service --reports--> leader actor ---+     | applied
//!                            ^                    |  control: a controller per live job <---+
//!                            +------ orders ------+
//! ```
//!
//! One task, the leader actor, holds everything that only a leader needs: sessions, leases, controllers, measurements. It
//! lives as long as the process and acts only while this member leads; what it held is dropped when it does not, and built
//! anew from the replicated state when it does. Controllers are values inside of it and not actors of their own: they share
//! the view of nodes and slots, and their steps take microseconds.
//!
//! Left to others: what to do (`control`), what is agreed on (`cluster-state`, `consensus`), what SQL means (`sql`).

mod cluster;
mod compute;
mod config;
mod coordinator;
mod front;
mod leader;
mod machine;
pub mod metrics;
mod opening;
mod overview;
mod planning;
mod session;

#[cfg(test)]
mod tests;

pub use config::{ConfigError, CoordinatorConfig, MemberConfig};
pub use coordinator::{Coordinator, StartError};
pub use machine::Machine;
pub use opening::Opening;
