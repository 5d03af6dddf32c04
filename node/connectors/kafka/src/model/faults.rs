//! What goes wrong in the cluster, set from outside.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::cluster::Now;
use crate::{KafkaError, TopicPartition};

/// A call that can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// `Admin::topics`
    Topics,
    /// `Admin::offsets`
    Offsets,
    /// `Admin::group_offsets`
    GroupOffsets,
    /// `Admin::commit_group_offsets`
    CommitGroupOffsets,
    /// `Admin::create_topic`
    CreateTopic,
    /// `Admin::topic_config`
    TopicConfig,
    /// `PartitionReader::next`
    Fetch,
    /// The records of a `send`, `flush` or `commit` on their way to brokers.
    Produce,
    /// `TransactionalProducer::init`
    Init,
    /// The end of a transaction by `TransactionalProducer::commit`, after its records were written.
    Commit,
    /// `TransactionalProducer::abort`
    Abort,
}

/// How a call goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It does not end before `ModelKafka::release`, or the client's own limit.
    Hang,
    /// It has no effect, and this error.
    Fail(KafkaError),
    /// It has its effect, but the client is not answered. Records are sent again, and known by their numbers; a commit ends as
    /// `Broken`, other calls as `Unavailable`.
    LoseAnswer,
}

/// What is wrong now, and what will be.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) down: bool,
    /// Since when.
    pub(super) leaderless: BTreeMap<TopicPartition, Now>,
    /// Clients that no broker answers, by `client.id`.
    pub(super) cut_off: BTreeSet<String>,
    /// As many as tests plan: for a client, by `client.id`, or for any.
    planned: BTreeMap<(Option<String>, Call), VecDeque<Fault>>,
    /// Counts `release`.
    pub(super) released: u64,
}

impl Faults {
    pub(super) fn plan(&mut self, client: Option<&str>, call: Call, fault: Fault) {
        self.planned.entry((client.map(str::to_owned), call)).or_default().push_back(fault);
    }

    /// The fault of a client's call that begins now.
    pub(super) fn take(&mut self, client: &str, call: Call) -> Option<Fault> {
        if self.planned.is_empty() {
            return None;
        }
        let mut take = |client| self.planned.get_mut(&(client, call)).and_then(VecDeque::pop_front);
        take(Some(client.to_owned())).or_else(|| take(None))
    }
}
