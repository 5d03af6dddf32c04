//! A whole cluster in one thread: turmoil's network, virtual time and seeded entropy under the real code.
//!
//! Every process of the cluster is a host of the simulation. The code above the seams is the product's own; what stands in
//! is the network ([`SimulatedNetwork`]), the clock (tokio's, paused and stepped), the tasks (all on the host's one thread)
//! and the randomness (a counter behind a mixing function, from the run's seed and the host's name).

mod cluster;
mod network;
mod processes;
mod seams;

pub use cluster::{Fault, Outcome, Simulation};
pub use network::SimulatedNetwork;
pub use seams::seams_for;
