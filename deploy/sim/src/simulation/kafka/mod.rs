//! Kafka of a run: brokers that all hosts share, and the way to them from each process.
//!
//! ```text
//! connector --seam--> Link of its process --takes time, may be cut, trips wires--> brokers (thalweg_kafka::model)
//! feed.rs: the simulation's own producer --------------------------------------------^      |
//! witness.rs: what committed records, a group's offsets and recorded checkpoints say <------'
//! ```
//!
//! A call of a producer is a message: once it has left its process, the brokers execute it, even if the process is gone
//! by then. So calls of producers run on a host of their own, the brokers'. Readers and questions have no effect, and run
//! on the host that asks.
//!
//! | trouble | executed | the caller gets |
//! |---|---|---|
//! | none | yes | the result |
//! | slow | yes, later | the result |
//! | failing | no | an error, for a share of the calls |
//! | unanswered | yes | an error, for a share of the calls |
//! | hanging | once the trouble ends, if the caller still waits | nothing until then, for calls of one kind |
//! | out, cut off, leaderless | once the trouble ends, if the caller still waits | nothing until then |
//! | late marks | yes | the result; readers of committed records see it later |
//!
//! A tripwire waits for the n-th call of a kind. Its sender crashes, freezes or stays; its message is delivered, not sent
//! yet, or held up by the network until just before or right behind a call of another client that it could harm.

mod brokers;
mod couriers;
mod faults;
mod feed;
mod link;
mod names;
mod outcome;
mod witness;

pub(super) use brokers::Remedy;
pub use brokers::{Pace, SimulatedKafka};
pub use faults::{KafkaFault, KafkaTrouble, Message, Sender, draw_kafka_faults};
pub(super) use feed::Feeder;
pub use feed::{Feed, Step};
pub(super) use link::Link;
pub(super) use names::BROKERS;
pub(super) use witness::Witness;
