//! A whole cluster in one thread: the real code over turmoil's network, virtual time and seeded entropy.
//!
//! Every process of the cluster is a host of the simulation. All code above the seams is the product's. Simulated are
//! the network ([`SimulatedNetwork`]), the clock (tokio's, paused and stepped), the tasks (all on one thread), the
//! coordinators' disks ([`SimulatedDisk`]), the object store ([`SimulatedStore`]), a directory's durability
//! ([`SharedDirectory`]), Kafka's brokers ([`SimulatedKafka`]) and Kinesis ([`SimulatedKinesis`]). Random numbers come from a
//! counter behind a mixing function, seeded by the run's seed, the host's name and the process's incarnation.
//!
//! When a link is cut, the network loses messages in flight and does not resend them, unlike TCP. So a stream that
//! was cut is dead, and its ends notice that by HTTP/2 pings.

use std::time::Duration;

mod cluster;
mod directory;
mod disk;
mod draw;
mod executor;
mod faults;
mod gate;
mod journal;
mod kafka;
mod kinesis;
mod network;
mod observe;
pub mod panics;
mod processes;
mod producer;
mod publications;
mod seams;
mod store;

pub use cluster::{Arrivals, Ending, KinesisStreams, Outcome, Simulation, Streams};
pub use directory::{SharedDirectory, is_hidden};
pub use disk::SimulatedDisk;
pub use faults::{Cast, Fault, Host, Loss, draw_disasters, draw_faults, draw_skew};
pub use gate::Gate;
pub use journal::Journal;
pub use kafka::{Feed, KafkaFault, KafkaTrouble, Message, Pace, Sender, SimulatedKafka, Step, draw_kafka_faults};
pub use kinesis::{KinesisFault, KinesisTrouble, SimulatedKinesis, StreamFeed, StreamStep, draw_kinesis_faults};
pub use network::SimulatedNetwork;
pub use processes::STORE_URL;
pub use producer::Posts;
pub(crate) use publications::COMPLETE;
pub(crate) use store::CHECKPOINTS;
pub use store::{Call, SimulatedStore, Trouble};

/// 2026-01-01 00:00:00 UTC, the start of every simulated wall clock.
const UNIX_START: Duration = Duration::from_secs(1_767_225_600);
