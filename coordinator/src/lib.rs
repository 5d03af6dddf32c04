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
//! One task, the leader actor, holds everything that only a leader needs: sessions, leases, controllers, measurements.
//! The task runs as long as the process, but acts only while this member leads. When it stops leading it drops what it
//! holds; when it leads again it rebuilds it from the replicated state. Controllers are values inside the actor, not
//! actors: they share the view of nodes and slots, and a step takes microseconds.
//!
//! Left to other crates: what to do (`control`), what the members agree on (`cluster-state`, `consensus`), what SQL
//! means (`sql`).

mod cluster;
mod config;
mod coordinator;
mod front;
mod leader;
mod machine;
mod metrics;
mod opening;
mod overview;
mod planning;
mod session;
mod standard;

#[cfg(test)]
mod tests;

pub use config::{ConfigError, CoordinatorConfig, MemberConfig};
pub use coordinator::{Coordinator, StartError};
pub use machine::Machine;
pub use opening::Opening;
