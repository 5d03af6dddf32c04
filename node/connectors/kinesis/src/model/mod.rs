//! Streams in process, for tests and the simulation.
//!
//! Kinesis is a value (`service`, `stream`, `shard`) behind a lock; clients change it and wait for changes. Time and randomness
//! are handed in, and waits follow the runtime's timers, so that two runs with the same seed are equal. What goes wrong is set
//! from outside (`ModelKinesis::fault` and others). It passes the suite that AWS's SDK passes with an emulator
//! (`testing::suite`), so what is tested with it may be believed.
//!
//! It keeps the limits of shards (`Limits`), of retention, of iterators and of subscriptions by its clock. Splits and merges
//! are done at once. All that its streams hold is in memory. It has one region and one account; credentials are not looked at.

mod client;
mod faults;
mod iterator;
mod limits;
mod service;
mod shard;
mod shared;
mod stream;
mod subscription;

use std::{fmt, sync::Arc, time::Duration};

use thalweg_types::seam::Seams;

use self::{
    client::ModelStream,
    faults::Caller,
    service::Service,
    shared::{Shared, milliseconds},
};
pub use self::{
    faults::{Call, Fault},
    limits::Limits,
};
use crate::{ClientConfig, Kinesis, KinesisError, Record, Shard, ShardFilter, ShardId, Stream};

/// The endpoint that leads to the model, besides none at all.
pub const ENDPOINT: &str = "http://model:4567";

/// Kinesis in process. Clones are the same one, called by the same caller.
#[derive(Clone)]
pub struct ModelKinesis {
    shared: Arc<Shared>,
    caller: Caller,
}

/// What the streams held at some moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot(Service);

impl fmt::Debug for ModelKinesis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelKinesis").field("caller", &self.caller).finish_non_exhaustive()
    }
}

impl ModelKinesis {
    /// Kinesis without streams. Its clock must go with the timers of all runtimes that use it.
    #[must_use]
    pub fn new(seams: &Seams) -> Self {
        Self { shared: Arc::new(Shared::new(seams)), caller: Caller::default() }
    }

    /// The same Kinesis, called by somebody whom faults can tell from others: a node, for example.
    #[must_use]
    pub fn called_by(&self, caller: &str) -> Self {
        Self { shared: self.shared.clone(), caller: Caller(caller.into()) }
    }

    /// Creates a stream. Its shards are equal parts of all hash keys.
    ///
    /// # Errors
    /// `Busy`, if there is one of that name; `Refused`, if the name or the number of shards is not allowed.
    pub fn create_stream(&self, name: &str, shards: u32) -> Result<(), KinesisError> {
        self.shared.try_change(|state, now| state.service.create_stream(name, shards, now))
    }

    /// Deletes a stream, its consumers too. Returns whether there was one.
    pub fn delete_stream(&self, name: &str) -> bool {
        self.shared.change(|state, _| state.service.delete_stream(name))
    }

    /// Splits a shard; the second child begins at this hash key. Returns the children.
    ///
    /// # Errors
    /// `NoStream`; `NoShard`; `Refused`, if the shard is closed, or the hash key is not inside of it.
    pub fn split(&self, stream: &str, shard: &ShardId, at: u128) -> Result<[ShardId; 2], KinesisError> {
        self.shared.try_change(|state, now| state.service.stream_mut(stream)?.split(shard, at, now))
    }

    /// Merges two shards. Returns the child.
    ///
    /// # Errors
    /// `NoStream`; `NoShard`; `Refused`, if one of them is closed, or they are not beside one another.
    pub fn merge(&self, stream: &str, first: &ShardId, second: &ShardId) -> Result<ShardId, KinesisError> {
        self.shared.try_change(|state, now| state.service.stream_mut(stream)?.merge(first, second, now))
    }

    /// How long a stream keeps records from now on; 24 hours at first. Unlike Kinesis, it may be short.
    ///
    /// # Errors
    /// `NoStream`.
    pub fn keep_records(&self, stream: &str, retention: Duration) -> Result<(), KinesisError> {
        let retention_ms = milliseconds(retention);
        self.shared.try_change(|state, _| {
            state.service.stream_mut(stream)?.retention_ms = retention_ms;
            Ok(())
        })
    }

    /// Removes all records that a stream has now, as retention does. Closed shards go with their records.
    ///
    /// # Errors
    /// `NoStream`.
    pub fn trim(&self, stream: &str) -> Result<(), KinesisError> {
        self.shared.try_change(|state, _| {
            state.service.stream_mut(stream)?.trim_all();
            Ok(())
        })
    }

    /// What shards allow from now on; `Limits::KINESIS` at first.
    pub fn limit(&self, limits: Limits) {
        self.shared.change(|state, _| state.limits = limits);
    }

    /// From now on, so many of a hundred records that are put, and of calls that read, are throttled, at random.
    pub fn throttle(&self, percent: u8) {
        self.shared.change(|state, _| state.faults.throttled_percent = percent.min(100));
    }

    /// From now on, so many of a hundred calls that read return no records although there are some, at random: Kinesis may do that.
    pub fn skip_reads(&self, percent: u8) {
        self.shared.change(|state, _| state.faults.empty_percent = percent.min(100));
    }

    /// From now on, the records of one call come to a shard in any order, or not any more.
    pub fn shuffle_puts(&self, on: bool) {
        self.shared.change(|state, _| state.faults.shuffle = on);
    }

    /// Ends all running subscriptions as broken connections do. Returns how many.
    pub fn break_subscriptions(&self) -> usize {
        self.shared.change(|state, _| state.service.end_subscriptions())
    }

    /// All iterators that were handed out are expired from now on.
    pub fn expire_iterators(&self) {
        self.shared.change(|state, _| state.iterators_made_since += 1);
    }

    /// Nobody answers from now on.
    pub fn down(&self) {
        self.shared.change(|state, _| {
            state.faults.down = true;
            state.service.end_subscriptions();
        });
    }

    /// Kinesis answers again. It has lost nothing.
    pub fn up(&self) {
        self.shared.change(|state, _| state.faults.down = false);
    }

    /// Nobody answers this caller from now on.
    pub fn cut_off(&self, caller: &str) {
        self.shared.change(|state, _| _ = state.faults.cut_off.insert(caller.to_owned()));
    }

    /// Kinesis answers this caller again.
    pub fn mend(&self, caller: &str) {
        self.shared.change(|state, _| _ = state.faults.cut_off.remove(caller));
    }

    /// The next call of this kind, by any caller, goes wrong. Several are taken in the order in which they were planned.
    pub fn fault(&self, call: Call, fault: Fault) {
        self.shared.change(|state, _| state.faults.plan(None, call, fault));
    }

    /// The next call of this kind by this caller goes wrong. These are taken before those that any caller takes.
    pub fn fault_of(&self, caller: &str, call: Call, fault: Fault) {
        self.shared.change(|state, _| state.faults.plan(Some(caller), call, fault));
    }

    /// Lets the calls that hang go on.
    pub fn release(&self) {
        self.shared.change(|state, _| state.faults.released += 1);
    }

    /// Changes whenever the streams do, so that whoever looks again and again need not look at all of them.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.shared.with(|state, _| state.service.revision())
    }

    /// The shards of a stream, without a client.
    ///
    /// # Errors
    /// `NoStream`.
    pub fn shards_now(&self, stream: &str) -> Result<Vec<Shard>, KinesisError> {
        self.shared.with(|state, _| Ok(state.service.stream(stream)?.shards(&ShardFilter::All)))
    }

    /// What a shard holds, without a client.
    ///
    /// # Errors
    /// `NoStream`; `NoShard`.
    pub fn records_now(&self, stream: &str, shard: &ShardId) -> Result<Vec<Record>, KinesisError> {
        self.shared.with(|state, _| Ok(state.service.stream(stream)?.shard(shard)?.records_now()))
    }

    /// Keeps what the streams hold.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.shared.with(|state, _| Snapshot(state.service.clone()))
    }

    /// Goes back to a snapshot. What is wrong stays so; subscriptions end.
    pub fn restore(&self, snapshot: &Snapshot) {
        self.shared.change(|state, _| state.service.restore(&snapshot.0));
    }
}

impl Kinesis for ModelKinesis {
    fn stream(&self, config: &ClientConfig) -> Result<Arc<dyn Stream>, KinesisError> {
        Ok(Arc::new(ModelStream::new(self.shared.clone(), self.caller.clone(), config)?))
    }
}

#[cfg(test)]
mod tests;
