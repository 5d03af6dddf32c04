//! What a reader of committed records has seen so far: it may be less than the answer, and nothing else.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use serde_json::Value;

use super::{Answer, COPIES, TOTALS};
use crate::topics::{self, Follower, Message};

/// What was read of both topics, and what was wrong with it when it came.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) answer: Answer,
    /// Totals and copies.
    pub(crate) counts: (u64, u64),
    pub(crate) wrong: Vec<String>,
    /// The partition of each symbol in each of the topics.
    partitions: BTreeMap<(&'static str, String), i32>,
}

impl Seen {
    /// All that is committed now.
    pub(crate) fn now(servers: &str) -> Self {
        let mut seen = Self::default();
        topics::read(servers, TOTALS).iter().for_each(|message| seen.take_total(message));
        topics::read(servers, COPIES).iter().for_each(|message| seen.take_copy(message));
        seen
    }

    /// Reads both topics from now on.
    pub(crate) fn follow(servers: &str) -> (Arc<Mutex<Self>>, [Follower; 2]) {
        let seen = Arc::new(Mutex::new(Self::default()));
        let (first, second) = (seen.clone(), seen.clone());
        let totals = Follower::start(servers, TOTALS, move |message| lock(&first).take_total(&message));
        let copies = Follower::start(servers, COPIES, move |message| lock(&second).take_copy(&message));
        (seen, [totals, copies])
    }

    fn take_total(&mut self, message: &Message) {
        let Some((symbol, value)) = self.parse(TOTALS, message) else { return };
        let (Some(start), Some(count), Some(sum)) =
            (value["window_start"].as_str(), value["ticks"].as_u64(), value["amount"].as_u64())
        else {
            return self.wrong.push(format!("{TOTALS}: {value} is no total"));
        };
        self.counts.0 += 1;
        let totals = self.answer.totals.entry(symbol).or_default();
        // Windows of a symbol are written in their order, each once.
        if let Some((last, ..)) = totals.last().filter(|(last, ..)| last.as_str() >= start) {
            self.wrong.push(format!("{TOTALS}: {value} comes after that of {last} (offset {})", message.offset));
        }
        totals.push((start.to_owned(), count, sum));
    }

    fn take_copy(&mut self, message: &Message) {
        let Some((symbol, value)) = self.parse(COPIES, message) else { return };
        let Some(id) = value["id"].as_u64() else { return self.wrong.push(format!("{COPIES}: {value} is no copy")) };
        self.counts.1 += 1;
        let copies = self.answer.copies.entry(symbol).or_default();
        if let Some(last) = copies.last().filter(|last| **last >= id) {
            self.wrong.push(format!("{COPIES}: {value} comes after {last} (offset {})", message.offset));
        }
        copies.push(id);
    }

    /// The symbol, which is the key, and the value. All records of a symbol are in one partition.
    fn parse(&mut self, topic: &'static str, message: &Message) -> Option<(String, Value)> {
        let value: Option<Value> = message.value.as_deref().and_then(|value| serde_json::from_slice(value).ok());
        let key = message.key.clone().and_then(|key| String::from_utf8(key).ok());
        let (Some(key), Some(value)) = (key, value) else {
            self.wrong.push(format!("{topic}: {message:?} is no JSON with a key of text"));
            return None;
        };
        if value["symbol"] != key.as_str() {
            self.wrong.push(format!("{topic}: {value} has the key {key}"));
        }
        let partition = *self.partitions.entry((topic, key.clone())).or_insert(message.partition);
        if partition != message.partition {
            self.wrong.push(format!("{topic}: {value} is in {}, others in {partition}", message.partition));
        }
        Some((key, value))
    }
}

pub(crate) fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().expect("nobody panics with it")
}
