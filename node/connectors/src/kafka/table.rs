//! A table of topics, as all readers of an attempt share it on a node: one client that reads, one that asks.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use thalweg_kafka::{Admin, ClientConfig, Consumer, Isolation, Kafka, KafkaError, OffsetAt, Topic, TopicPartition};
use thalweg_types::seam::Seams;
use tokio::sync::{Notify, OnceCell};

use super::{
    faults::{ANSWERED_WITHIN, answered, failed},
    group::GroupCommitter,
    options::{ReadOptions, Topics, client_properties},
    watch::{OpenPartition, Watch},
};
use crate::{ConnectorContext, ConnectorError, DecodingShare, notices::TableNotices, options::Options};

/// What a client holds of records that nobody has read, if memory allows it: as much as librdkafka takes by default.
const QUEUE_BYTES: u64 = 64 << 20;
/// What it needs at least.
const QUEUE_BYTES_MIN: u64 = 256 << 10;

/// What all readers of a table share.
pub(super) struct KafkaTable {
    pub(super) name: String,
    /// `properties.bootstrap.servers`.
    pub(super) servers: String,
    pub(super) options: ReadOptions,
    pub(super) notices: TableNotices,
    seams: Seams,
    kafka: Arc<dyn Kafka>,
    config: ClientConfig,
    admin: OnceCell<Arc<dyn Admin>>,
    consumer: OnceCell<Arc<dyn Consumer>>,
    watch: OnceLock<Watch>,
    group: OnceLock<GroupCommitter>,
    /// How many open partitions cannot be read now.
    unreachable: Mutex<usize>,
    /// Partitions that have a reader: each has one at a time.
    claimed: Mutex<BTreeSet<TopicPartition>>,
    freed: Notify,
}

/// A partition that nobody else reads meanwhile.
pub(super) struct Claim {
    table: Arc<KafkaTable>,
    at: TopicPartition,
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.table.claimed).remove(&self.at);
        self.table.freed.notify_waiters();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code panics while the locked value is half changed, so a poisoned lock's value is sound.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl KafkaTable {
    /// `decoding`: the memory of the attempt's readers; `None`: nothing is read.
    pub(super) fn new(
        options: &Options<'_>,
        name: &str,
        notices: TableNotices,
        (context, decoding): (&ConnectorContext, Option<&DecodingShare>),
    ) -> Result<Self, ConnectorError> {
        let kafka = context.kafka.clone().ok_or_else(|| {
            options.error("this build has no Kafka client: build it with the feature 'kafka', which is on by default")
        })?;
        let queue_bytes = decoding.map_or(0, |decoding| decoding.keep(QUEUE_BYTES)).max(QUEUE_BYTES_MIN);
        Ok(Self {
            name: name.to_owned(),
            servers: options.required("properties.bootstrap.servers")?.to_owned(),
            options: ReadOptions::of(options)?,
            notices,
            seams: context.seams.clone(),
            kafka,
            config: ClientConfig { properties: client_properties(options)?, queue_bytes, token: None },
            admin: OnceCell::new(),
            consumer: OnceCell::new(),
            watch: OnceLock::new(),
            group: OnceLock::new(),
            unreachable: Mutex::default(),
            claimed: Mutex::default(),
            freed: Notify::new(),
        })
    }

    /// The client that asks.
    pub(super) async fn admin(&self) -> Result<Arc<dyn Admin>, ConnectorError> {
        // Those who come meanwhile wait without a thread.
        self.admin.get_or_try_init(async || self.new_admin()).await.cloned()
    }

    fn new_admin(&self) -> Result<Arc<dyn Admin>, ConnectorError> {
        let made = self.kafka.admin(&self.config);
        made.map_err(|error| failed(&self.name, self.opening(), error))
    }

    /// The client that reads.
    pub(super) async fn consumer(&self) -> Result<Arc<dyn Consumer>, ConnectorError> {
        let make = async || {
            let made = self.kafka.consumer(&self.config, self.options.isolation);
            made.map_err(|error| failed(&self.name, self.opening(), error))
        };
        self.consumer.get_or_try_init(make).await.cloned()
    }

    fn opening(&self) -> String {
        format!("open a client for {}", self.servers)
    }

    /// Looks from now on who a partition's topic is, and where it ends.
    pub(super) async fn watch(&self, partition: &Arc<OpenPartition>) -> Result<(), ConnectorError> {
        if self.watch.get().is_none() {
            let admin = self.admin().await?;
            self.watch.get_or_init(|| Watch::start(&self.seams, admin, self.options.isolation));
        }
        if let Some(watch) = self.watch.get() {
            watch.add(partition);
        }
        Ok(())
    }

    /// What is known of a partition may not hold any more.
    pub(super) fn doubt(&self, partition: &OpenPartition) {
        if let Some(watch) = self.watch.get() {
            watch.doubt(partition);
        }
    }

    /// The first offset of a partition, and the one behind the last, whether or not transactions are open before it.
    pub(super) async fn range(&self, at: &TopicPartition) -> Result<(i64, i64), KafkaError> {
        let admin = self.admin().await.map_err(|error| KafkaError::Broken { reason: error.to_string() })?;
        let mut range = [0, 0];
        for (offset, place) in range.iter_mut().zip([OffsetAt::Earliest, OffsetAt::Latest]) {
            let asked = admin.offsets(std::slice::from_ref(at), place, Isolation::ReadUncommitted);
            let none = || KafkaError::Unavailable { reason: format!("no broker tells the offsets of {at}") };
            *offset = answered(ANSWERED_WITHIN, asked).await?.get(at).copied().ok_or_else(none)?;
        }
        Ok((range[0], range[1]))
    }

    /// Looks at all partitions soon. Returns the number of the last look that has begun.
    pub(super) fn look_soon(&self) -> u64 {
        self.watch.get().map_or(0, Watch::look_soon)
    }

    /// Whether brokers have not answered the look at the partitions that goes on now, although it began some time ago.
    pub(super) fn is_look_slow(&self) -> bool {
        self.watch.get().is_some_and(Watch::is_slow)
    }

    /// Says whether a partition cannot be read now, and why not. That some cannot is told once for all of them.
    pub(super) fn set_unreachable(&self, partition: &OpenPartition, why: Option<&str>) {
        if !partition.set_unreachable(why.is_some()) {
            return;
        }
        let mut unreachable = lock(&self.unreachable);
        let about = "unreachable";
        match why {
            Some(why) => {
                *unreachable += 1;
                self.notices.tell(about, || {
                    format!("{} cannot be read now, and perhaps others; it is waited for: {why}", partition.at)
                });
            }
            None => {
                *unreachable = unreachable.saturating_sub(1);
                if *unreachable == 0 {
                    self.notices.is_over(about, || "all partitions can be read again".to_owned());
                }
            }
        }
    }

    /// Waits until nobody reads a partition.
    pub(super) async fn claim(self: &Arc<Self>, at: &TopicPartition) -> Claim {
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            // Before the look: a partition that is freed right after it wakes this call too.
            freed.as_mut().enable();
            if lock(&self.claimed).insert(at.clone()) {
                return Claim { table: self.clone(), at: at.clone() };
            }
            freed.await;
        }
    }

    /// Tells the table's group, if it names one, how far complete checkpoints are.
    pub(super) fn commit(&self, offsets: BTreeMap<TopicPartition, i64>, are_last: bool) {
        let (Some(group), false) = (&self.options.group, offsets.is_empty()) else { return };
        // Where nothing was read, as after the end, there is none yet.
        let Ok(admin) = self.admin.get().cloned().map_or_else(|| self.new_admin(), Ok) else { return };
        let start = || GroupCommitter::start(&self.seams, admin, group.clone(), self.notices.clone());
        self.group.get_or_init(start).commit(offsets, are_last);
    }

    /// The topics that the table names and that are not among these.
    pub(super) fn missing<'a>(&'a self, found: &'a [Topic]) -> impl Iterator<Item = &'a str> {
        let names = match &self.options.topics {
            Topics::Named(names) => Some(names),
            Topics::Pattern(_) => None,
        };
        let is_missing = move |name: &&str| found.iter().all(|topic| topic.name != **name);
        names.into_iter().flatten().map(String::as_str).filter(is_missing)
    }
}
