//! What goes wrong, set from outside.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use crate::{KinesisError, PutFailed};

/// Who calls, as faults tell them apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller(pub(super) Arc<str>);

impl Default for Caller {
    fn default() -> Self {
        Self("".into())
    }
}

/// A call that can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// `Stream::describe`
    Describe,
    /// `Stream::shards`
    Shards,
    /// `Stream::iterator`
    Iterator,
    /// `Stream::get_records`
    GetRecords,
    /// `Stream::register_consumer`
    RegisterConsumer,
    /// `Stream::consumer`
    Consumer,
    /// `Stream::deregister_consumer`
    DeregisterConsumer,
    /// `Stream::subscribe`
    Subscribe,
    /// `Subscription::next`
    Event,
    /// `Stream::put_records`
    PutRecords,
}

/// How a call goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It does not end before `ModelKinesis::release`, or the client's own limit.
    Hang,
    /// It has no effect, and this error. A subscription whose event fails has ended.
    Fail(KinesisError),
    /// It has its effect, but the caller is not answered (`Unavailable`).
    LoseAnswer,
    /// Of a `PutRecords`, the records at these places are not written; other calls go on.
    FailRecords(Vec<usize>, PutFailed),
}

/// What is wrong now, and what will be.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) down: bool,
    /// Callers whom nobody answers.
    pub(super) cut_off: BTreeSet<String>,
    /// Of a hundred records that are put, and calls that read.
    pub(super) throttled_percent: u8,
    /// Of a hundred calls that read.
    pub(super) empty_percent: u8,
    /// Whether the records of a call come in any order.
    pub(super) shuffle: bool,
    /// As many as tests plan: for a caller, or for any.
    planned: BTreeMap<(Option<String>, Call), VecDeque<Fault>>,
    /// Counts `release`.
    pub(super) released: u64,
}

impl Faults {
    pub(super) fn plan(&mut self, caller: Option<&str>, call: Call, fault: Fault) {
        self.planned.entry((caller.map(str::to_owned), call)).or_default().push_back(fault);
    }

    /// The fault of a caller's call that begins now.
    pub(super) fn take(&mut self, caller: &Caller, call: Call) -> Option<Fault> {
        if self.planned.is_empty() {
            return None;
        }
        let mut take = |caller| self.planned.get_mut(&(caller, call)).and_then(VecDeque::pop_front);
        take(Some(caller.0.to_string())).or_else(|| take(None))
    }

    pub(super) fn is_away(&self, caller: &Caller) -> bool {
        self.down || self.cut_off.contains(&*caller.0)
    }
}
