//! Streams of Kinesis as a test writes, reads and reshards them: by AWS's SDK itself, with nothing of the product in between.
#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod throttle;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use aws_sdk_kinesis::{
    Client,
    config::{Credentials, Region, retry::RetryConfig},
    error::DisplayErrorContext,
    primitives::Blob,
    types::{PutRecordsRequestEntry, Record, Shard, ShardIteratorType, StreamStatus},
};
use serde_json::Value;
use thalweg_kinesis::{
    aws::Aws,
    testing::emulator::{Emulator, Kind},
};
use tokio::runtime::Runtime;

/// The longest time of any step, even on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often a stream is looked at that changes.
const LOOK_EACH: Duration = Duration::from_millis(50);

/// An emulator with its streams. Dropping it ends it.
pub(crate) struct Streams {
    emulator: Emulator,
    caller: Caller,
}

/// Who calls the emulator, from one thread.
#[derive(Clone)]
pub(crate) struct Caller {
    client: Client,
    runtime: Arc<Runtime>,
}

impl Streams {
    /// Starts kinesis-local. If it is not installed, says so and returns `None`.
    pub(crate) fn start() -> Option<Self> {
        Self::of(Kind::KinesisLocal)
    }

    /// Starts an emulator, likewise.
    pub(crate) fn of(kind: Kind) -> Option<Self> {
        let emulator = Emulator::start(kind)?;
        let caller = Caller::new(&emulator.endpoint());
        Some(Self { emulator, caller })
    }

    /// Where it is.
    pub(crate) fn endpoint(&self) -> String {
        self.emulator.endpoint()
    }

    pub(crate) fn caller(&self) -> Caller {
        self.caller.clone()
    }

    /// The options of a table over a stream, and more.
    pub(crate) fn table(&self, stream: &str, more: &str) -> String {
        table(&self.endpoint(), stream, more)
    }
}

/// The options of a table over a stream of the emulator at this endpoint, and more.
pub(crate) fn table(endpoint: &str, stream: &str, more: &str) -> String {
    format!(
        "'connector' = 'kinesis', 'stream' = '{stream}', 'aws.region' = 'us-east-1', 'aws.endpoint' = '{endpoint}',
         'aws.credentials.provider' = 'BASIC', 'aws.credentials.basic.accesskeyid' = 'local',
         'aws.credentials.basic.secretkey' = 'local', {more}"
    )
}

impl Caller {
    /// Calls the emulator at this endpoint.
    pub(crate) fn new(endpoint: &str) -> Self {
        let config = aws_sdk_kinesis::Config::builder()
            .behavior_version_latest()
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("local", "local", None, None, "test"))
            .retry_config(RetryConfig::standard())
            .endpoint_url(endpoint)
            .http_client(Aws::new().http_client());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Self { client: Client::from_conf(config.build()), runtime: Arc::new(runtime.expect("a runtime")) }
    }

    #[track_caller]
    fn ask<T, E: std::error::Error>(&self, call: impl Future<Output = Result<T, E>>) -> T {
        self.runtime.block_on(call).unwrap_or_else(|error| panic!("{}", DisplayErrorContext(error)))
    }

    /// Creates a stream, and waits until it can be used.
    pub(crate) fn create(&self, stream: &str, shards: i32) {
        self.ask(self.client.create_stream().stream_name(stream).shard_count(shards).send());
        self.wait_until_active(stream);
    }

    fn wait_until_active(&self, stream: &str) {
        #[allow(clippy::disallowed_methods, reason = "a test of real processes has real time")]
        let begun = Instant::now();
        let is_active = || {
            let told = self.ask(self.client.describe_stream_summary().stream_name(stream).send());
            told.stream_description_summary().is_some_and(|told| *told.stream_status() == StreamStatus::Active)
        };
        while !is_active() {
            assert!(begun.elapsed() < PATIENCE, "stream {stream} does not become active");
            std::thread::sleep(LOOK_EACH);
        }
    }

    /// All shards, also those that were split or merged.
    pub(crate) fn shards(&self, stream: &str) -> Vec<Shard> {
        self.ask(self.client.list_shards().stream_name(stream).send()).shards.unwrap_or_default()
    }

    /// The shards that can be written, in the order of their hash keys, each with the first and the last of those.
    pub(crate) fn open_shards(&self, stream: &str) -> Vec<(String, u128, u128)> {
        let shards = self.shards(stream).into_iter().filter(|shard| {
            shard.sequence_number_range().is_some_and(|range| range.ending_sequence_number().is_none())
        });
        let mut open: Vec<(String, u128, u128)> = shards
            .map(|shard| {
                let keys = shard.hash_key_range().expect("it has hash keys");
                let number = |text: &str| text.parse::<u128>().expect("a number");
                (shard.shard_id().to_owned(), number(keys.starting_hash_key()), number(keys.ending_hash_key()))
            })
            .collect();
        open.sort_by_key(|(_, first, _)| *first);
        open
    }

    /// Splits an open shard in the middle.
    pub(crate) fn split(&self, stream: &str, nth: usize) {
        let open = self.open_shards(stream);
        let (shard, first, last) = &open[nth % open.len()];
        let middle = first + (last - first) / 2 + 1;
        let call = self.client.split_shard().stream_name(stream).shard_to_split(shard);
        self.ask(call.new_starting_hash_key(middle.to_string()).send());
        self.wait_until_active(stream);
    }

    /// Merges an open shard with its neighbour. There have to be two.
    pub(crate) fn merge(&self, stream: &str, nth: usize) {
        let open = self.open_shards(stream);
        let at = nth % (open.len() - 1);
        let call = self.client.merge_shards().stream_name(stream).shard_to_merge(&open[at].0);
        self.ask(call.adjacent_shard_to_merge(&open[at + 1].0).send());
        self.wait_until_active(stream);
    }

    /// Writes records, each a key and its data, and tries those again that are not written.
    pub(crate) fn put(&self, stream: &str, records: &[(&str, &str)]) {
        let entry = |(key, data): &(&str, &str)| {
            let entry = PutRecordsRequestEntry::builder().partition_key(*key).data(Blob::new(data.as_bytes()));
            entry.build().expect("it has a key and data")
        };
        for part in records.chunks(500) {
            let mut left: Vec<PutRecordsRequestEntry> = part.iter().map(entry).collect();
            while !left.is_empty() {
                let put = self.client.put_records().stream_name(stream).set_records(Some(left.clone())).send();
                let put = self.ask(put);
                let failed = left.into_iter().zip(put.records()).filter(|(_, put)| put.error_code().is_some());
                left = failed.map(|(entry, _)| entry).collect();
            }
        }
    }

    /// All that a stream holds, the records of each shard in order, parents before children.
    pub(crate) fn read(&self, stream: &str) -> Vec<Record> {
        self.shards(stream).iter().flat_map(|shard| self.read_shard(stream, shard.shard_id())).collect()
    }

    fn read_shard(&self, stream: &str, shard: &str) -> Vec<Record> {
        let from = self.client.get_shard_iterator().stream_name(stream).shard_id(shard);
        let from = from.shard_iterator_type(ShardIteratorType::TrimHorizon).send();
        let (mut next, mut records) = (self.ask(from).shard_iterator, Vec::new());
        while let Some(iterator) = next {
            let page = self.ask(self.client.get_records().shard_iterator(iterator).send());
            // A page may be empty although more follows.
            let is_end = page.records().is_empty() && page.millis_behind_latest().is_none_or(|behind| behind == 0);
            records.extend(page.records);
            next = page.next_shard_iterator.filter(|_| !is_end);
        }
        records
    }
}

/// The partition key of a record.
pub(crate) fn key(record: &Record) -> &str {
    record.partition_key().expect("it has a key")
}

/// The data of a record as JSON.
pub(crate) fn json(record: &Record) -> Value {
    serde_json::from_slice(record.data().as_ref()).expect("the data is JSON")
}

/// Writes rows in a thread of its own, until it is told to stop.
pub(crate) struct Feed {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Feed {
    /// Writes so many rows at a time, this often; `row` gives the key and the data of each.
    pub(crate) fn start(
        caller: Caller,
        stream: &'static str,
        (rows_each, every): (u64, Duration),
        row: impl Fn(u64) -> (String, String) + Send + 'static,
    ) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let asked = is_over.clone();
        #[allow(clippy::disallowed_methods, reason = "a test writes beside what it does")]
        let thread = std::thread::spawn(move || {
            let mut rows = 0;
            while !asked.load(Ordering::Relaxed) {
                let drawn: Vec<(String, String)> = (rows..rows + rows_each).map(&row).collect();
                let records: Vec<(&str, &str)> =
                    drawn.iter().map(|(key, data)| (key.as_str(), data.as_str())).collect();
                caller.put(stream, &records);
                rows += rows_each;
                std::thread::sleep(every);
            }
            rows
        });
        Self { is_over, thread: Some(thread) }
    }

    /// Stops, and returns how many rows were written.
    pub(crate) fn finish(mut self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.take().expect("it runs").join().expect("the writer has not panicked")
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}
