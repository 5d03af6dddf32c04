//! A whole cluster in one thread: turmoil's network, virtual time and seeded entropy under the real code.
//!
//! Every process of the cluster is a host of the simulation. The code above the seams is the product's own; what stands in
//! is the network ([`SimulatedNetwork`]), the clock (tokio's, paused and stepped), the tasks (all on the host's one thread),
//! the randomness (a counter behind a mixing function, from the run's seed, the host's name and the life of its process), the
//! coordinators' disks ([`SimulatedDisk`]), the object store ([`SimulatedStore`]) and what a directory keeps ([`SharedDirectory`]).
//!
//! The network loses what is under way when a link is cut, and does not send it again as TCP would: a stream that was cut is
//! dead, and its ends learn it from HTTP/2's pings.

use std::time::Duration;

mod cluster;
mod directory;
mod disasters;
mod disk;
mod executor;
mod faults;
mod gate;
mod journal;
mod network;
mod observe;
pub mod panics;
mod processes;
mod producer;
mod publications;
mod seams;
mod store;

pub use cluster::{Arrivals, Ending, Outcome, Simulation};
pub use directory::{SharedDirectory, is_hidden};
pub use disk::SimulatedDisk;
pub use faults::{Cast, Fault, Host, Loss, draw_disasters, draw_faults, draw_skew};
pub use gate::Gate;
pub use journal::Journal;
pub use network::SimulatedNetwork;
pub(crate) use processes::CHECKPOINTS;
pub use processes::STORE_URL;
pub use producer::Posts;
pub use store::{Call, SimulatedStore, Trouble};

/// 2026-01-01 00:00:00 UTC: where every simulated wall clock starts.
const EPOCH_OFFSET: Duration = Duration::from_secs(1_767_225_600);
