//! A cluster in process, for tests and the simulation.
//!
//! The cluster is a value (`cluster`, `partition`, `transactions`) behind a lock; clients change it and wait for changes. Time and
//! randomness are handed in, and waits follow the runtime's timers, so that two runs with the same seed are equal. What goes wrong is
//! set from outside (`ModelKafka::fault` and others). It passes the suite that librdkafka and Apache Kafka pass
//! (`testing::suite`), so what is tested with it may be believed.
//!
//! It is one cluster at `ADDRESS`; at any other address nobody answers. It has no compaction and no groups with members, and everything
//! that its topics hold is in memory.

mod admin;
mod cluster;
mod consumer;
mod faults;
mod partition;
mod producer;
mod shared;
mod transactions;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use thalweg_types::seam::Seams;

pub use self::faults::{Call, Fault};
use self::{
    admin::ModelAdmin,
    cluster::Cluster,
    consumer::ModelConsumer,
    producer::ModelProducer,
    shared::{Limits, Shared},
};
use crate::{
    Admin, ClientConfig, Consumer, Isolation, Kafka, KafkaError, OffsetAt, Position, Producer, Record, Topic,
    TopicPartition, TransactionalProducer, Transactions, properties,
};

/// The value of `bootstrap.servers` that leads to the cluster.
pub const ADDRESS: &str = "model:9092";
/// What is wrong while no broker answers.
const DOWN: &str = "model:9092: connection refused";

/// A cluster in process. Clones are the same cluster.
#[derive(Clone)]
pub struct ModelKafka {
    shared: Arc<Shared>,
}

/// What the cluster held at some moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot(Cluster);

impl fmt::Debug for ModelKafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelKafka").finish_non_exhaustive()
    }
}

impl ModelKafka {
    /// A cluster without topics. Its clock must go with the timers of all runtimes that use it.
    #[must_use]
    pub fn new(seams: &Seams) -> Self {
        Self { shared: Arc::new(Shared::new(seams)) }
    }

    /// No broker answers from now on.
    pub fn brokers_down(&self) {
        self.shared.change(|state| state.faults.down = true);
    }

    /// Brokers answer again. They have lost nothing.
    pub fn brokers_up(&self) {
        self.shared.change(|state| state.faults.down = false);
    }

    /// A partition loses its leader: it can be neither read nor written, until `elect_leader`.
    pub fn lose_leader(&self, of: &TopicPartition) {
        self.shared.with(|state, now| _ = state.faults.leaderless.insert(of.clone(), now));
        self.shared.change(|_| ());
    }

    /// A partition gets another leader.
    ///
    /// # Errors
    /// If there is no such partition.
    pub fn elect_leader(&self, of: &TopicPartition) -> Result<(), KafkaError> {
        self.shared.change(|state| {
            state.faults.leaderless.remove(of);
            state.cluster.change_leader(of)
        })
    }

    /// A partition gets a leader that has only what comes before an offset: an unclean election. What came behind it is lost, and new records take
    /// its place.
    ///
    /// # Errors
    /// If there is no such partition.
    pub fn elect_unclean(&self, of: &TopicPartition, end: i64) -> Result<(), KafkaError> {
        self.shared.change(|state| {
            state.faults.leaderless.remove(of);
            state.cluster.cut_back(of, end)
        })
    }

    /// The next call of this kind, by any client, goes wrong. Several are taken in the order in which they were planned.
    pub fn fault(&self, call: Call, fault: Fault) {
        self.shared.change(|state| state.faults.plan(None, call, fault));
    }

    /// The next call of this kind by the client of this `client.id` goes wrong. These are taken before those that any client takes.
    pub fn fault_of(&self, client_id: &str, call: Call, fault: Fault) {
        self.shared.change(|state| state.faults.plan(Some(client_id), call, fault));
    }

    /// No broker answers the clients of this `client.id` from now on.
    pub fn cut_off(&self, client_id: &str) {
        self.shared.change(|state| _ = state.faults.cut_off.insert(client_id.to_owned()));
    }

    /// Brokers answer the clients of this `client.id` again.
    pub fn mend(&self, client_id: &str) {
        self.shared.change(|state| _ = state.faults.cut_off.remove(client_id));
    }

    /// Lets the calls that hang go on.
    pub fn release(&self) {
        self.shared.change(|state| state.faults.released += 1);
    }

    /// Aborts the open transaction of an id, as brokers do after its timeout. Returns whether one was open.
    pub fn expire(&self, transactional_id: &str) -> bool {
        self.shared.with(|state, now| state.cluster.expire(transactional_id, now))
    }

    /// The transactional ids whose transaction is open.
    #[must_use]
    pub fn open_transactions(&self) -> Vec<String> {
        self.shared.with(|state, _| state.cluster.open_transactions())
    }

    /// From now on, readers of committed records see a transaction so long after it was committed. Brokers write the marks at the end of a
    /// transaction after they have answered, too.
    pub fn delay_marks(&self, by: Duration) {
        self.shared.change(|state| state.cluster.marks_delay_ms = shared::milliseconds(by));
    }

    /// Deletes a topic. Returns whether there was one.
    pub fn delete_topic(&self, name: &str) -> bool {
        self.shared.change(|state| state.cluster.delete_topic(name))
    }

    /// Adds partitions to a topic, until it has so many.
    ///
    /// # Errors
    /// If there is no such topic.
    pub fn grow_topic(&self, name: &str, partitions: i32) -> Result<(), KafkaError> {
        self.shared.change(|state| state.cluster.grow_topic(name, partitions))
    }

    /// Removes what is before an offset, as retention does.
    ///
    /// # Errors
    /// If there is no such partition.
    pub fn delete_records(&self, of: &TopicPartition, before: i64) -> Result<(), KafkaError> {
        self.shared.change(|state| state.cluster.delete_records(of, before))
    }

    /// Loses what a partition has from an offset on, as when a broker is restored that has less.
    ///
    /// # Errors
    /// If there is no such partition.
    pub fn truncate(&self, of: &TopicPartition, end: i64) -> Result<(), KafkaError> {
        self.shared.change(|state| state.cluster.truncate(of, end))
    }

    /// Changes whenever the cluster does, so that whoever looks again and again need not look at all of it.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.shared.with(|state, _| state.cluster.revision())
    }

    /// The topics there are, by name, without a client.
    #[must_use]
    pub fn topics_now(&self) -> Vec<Topic> {
        self.shared.with(|state, _| state.cluster.topics().collect())
    }

    /// What readers can read of a partition from an offset on, or from its beginning if that is later, without a client. Returns the
    /// offset to go on from, too.
    ///
    /// # Errors
    /// If there is no such partition.
    pub fn read_now(
        &self,
        of: &TopicPartition,
        from: i64,
        isolation: Isolation,
    ) -> Result<(Vec<Record>, i64), KafkaError> {
        self.shared.with(|state, _| {
            let from = from.max(state.cluster.offset_at(of, OffsetAt::Earliest, isolation)?);
            let from = Position { offset: from, leader_epoch: None };
            let slice = state.cluster.read(of, from, usize::MAX, isolation)?;
            Ok((slice.records, slice.next))
        })
    }

    /// What a group has committed, without a client.
    #[must_use]
    pub fn group_offsets_now(&self, group: &str) -> BTreeMap<TopicPartition, i64> {
        self.shared.with(|state, _| state.cluster.group_offsets(group))
    }

    /// Keeps what the cluster holds.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.shared.with(|state, _| Snapshot(state.cluster.clone()))
    }

    /// Goes back to a snapshot, as if brokers had been restored from a backup. What is wrong stays so.
    pub fn restore(&self, snapshot: &Snapshot) {
        self.shared.change(|state| state.restore(&snapshot.0));
    }
}

impl Kafka for ModelKafka {
    fn admin(&self, config: &ClientConfig) -> Result<Arc<dyn Admin>, KafkaError> {
        properties::check(config, None)?;
        Ok(Arc::new(ModelAdmin::new(self.shared.clone(), Limits::of(config)?)))
    }

    fn consumer(&self, config: &ClientConfig, isolation: Isolation) -> Result<Arc<dyn Consumer>, KafkaError> {
        properties::check(config, Some(isolation))?;
        Ok(Arc::new(ModelConsumer::new(self.shared.clone(), Limits::of(config)?, isolation)))
    }

    fn producer(&self, config: &ClientConfig) -> Result<Box<dyn Producer>, KafkaError> {
        properties::check(config, None)?;
        Ok(Box::new(ModelProducer::new(self.shared.clone(), Limits::of(config)?, None)))
    }

    fn transactional(
        &self,
        config: &ClientConfig,
        transactions: &Transactions,
    ) -> Result<Box<dyn TransactionalProducer>, KafkaError> {
        properties::check(config, None)?;
        Ok(Box::new(ModelProducer::new(self.shared.clone(), Limits::of(config)?, Some(transactions.clone()))))
    }
}

#[cfg(test)]
mod tests;
