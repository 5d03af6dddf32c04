//! AWS's SDK, with the emulators `kinesis-local` and `kinesalite`.

use std::collections::BTreeMap;

use async_trait::async_trait;
use aws_sdk_kinesis::{Client, config::Credentials, error::DisplayErrorContext};
use futures::{StreamExt as _, stream};
use thalweg_kinesis::{
    ClientConfig, Kinesis, KinesisError, ShardId,
    aws::Aws,
    testing::{
        emulator::{Emulator, Kind},
        suite::{Check, Harness, checks_of_fan_out, checks_of_streams, run},
    },
};

/// Most checks wait more than they do.
const AT_ONCE: usize = 4;

/// Checks that fail with kinesis-local 0.6.2, and what it does that Kinesis does not.
const FAULTS: [(&str, &str); 5] = [
    (
        "numbers of children are greater",
        "a closed shard's last sequence number is 9223372036854775807, smaller than all",
    ),
    ("shards are filtered at the trim horizon", "AT_TRIM_HORIZON lists all shards"),
    ("a number that no stream has is refused", "sequence numbers are not looked at, unless they are like others"),
    ("what is no iterator is refused", "it answers 500, and no JSON"),
    ("a record that is too large is refused", "the partition key does not count, and the record alone fails"),
];

/// Checks that fail with kinesalite 3.3.3, likewise. It has no fan-out.
const FAULTS_OF_KINESALITE: [(&str, &str); 10] = [
    ("shards are filtered", "all shards are listed, whatever filter is given"),
    ("shards are filtered at the trim horizon", "likewise"),
    ("shards are filtered by time", "likewise"),
    ("a closed shard ends with its children", "no children are told"),
    ("a shard that was merged ends with one child", "the end of a shard without records is told one page later"),
    ("an open iterator reaches the end of its shard", "no children are told"),
    ("a reader knows how far behind it is", "it tells 0 although more follows"),
    ("a stream that is missing is told of", "whoever wants an iterator is told that the shard is missing"),
    ("a stream that is deleted is told of", "likewise, of records"),
    ("a record that is too large is refused", "the partition key does not count"),
];

/// The same, of fan-out.
const FAULTS_OF_FAN_OUT: [(&str, &str); 4] = [
    ("a subscription tells of a shard's end", "it does not: events without records go on for ever"),
    ("a closed shard ends its subscription at once", "it does not: events without records go on for ever"),
    ("no shard no subscription", "a shard that is missing has events without records"),
    ("a number of another stream is not subscribed to", "it begins at the first record"),
];

struct Emulated {
    kinesis: Aws,
    emulator: Emulator,
    /// For what the connector's own client cannot do.
    client: Client,
}

impl Emulated {
    fn start(kind: Kind) -> Option<Self> {
        let emulator = Emulator::start(kind)?;
        let config = aws_sdk_kinesis::Config::builder()
            .behavior_version_latest()
            .region(aws_sdk_kinesis::config::Region::new("us-east-1"))
            .credentials_provider(Credentials::new("local", "local", None, None, "test"))
            .endpoint_url(emulator.endpoint())
            .http_client(Aws::new().http_client());
        Some(Self { kinesis: Aws::new(), emulator, client: Client::from_conf(config.build()) })
    }
}

fn failed<T, E: std::error::Error>(result: Result<T, E>) -> Result<(), KinesisError> {
    result.map(drop).map_err(|error| KinesisError::Refused { reason: DisplayErrorContext(error).to_string() })
}

#[async_trait]
impl Harness for Emulated {
    fn kinesis(&self) -> &dyn Kinesis {
        &self.kinesis
    }

    fn config(&self, stream: &str) -> ClientConfig {
        self.emulator.config(stream)
    }

    async fn create_stream(&self, name: &str, shards: u32) -> Result<(), KinesisError> {
        let shards = i32::try_from(shards).unwrap_or(i32::MAX);
        failed(self.client.create_stream().stream_name(name).shard_count(shards).send().await)
    }

    async fn delete_stream(&self, name: &str) -> Result<(), KinesisError> {
        failed(self.client.delete_stream().stream_name(name).enforce_consumer_deletion(true).send().await)
    }

    async fn split(&self, stream: &str, shard: &ShardId, at: u128) -> Result<(), KinesisError> {
        let call = self.client.split_shard().stream_name(stream).shard_to_split(shard.as_str());
        failed(call.new_starting_hash_key(at.to_string()).send().await)
    }

    async fn merge(&self, stream: &str, one: &ShardId, other: &ShardId) -> Result<(), KinesisError> {
        let call = self.client.merge_shards().stream_name(stream).shard_to_merge(one.as_str());
        failed(call.adjacent_shard_to_merge(other.as_str()).send().await)
    }
}

/// Runs checks; those that have a fault must fail, lest the list of faults is longer than it has to be.
async fn check(kind: Kind, checks: Vec<Check>, at_once: usize, faults: &[(&str, &str)]) {
    let Some(emulated) = Emulated::start(kind) else { return };
    let run_one = async |check: Check| (check.name, run(&check, &emulated).await.err());
    let results: Vec<_> = stream::iter(checks).map(run_one).buffer_unordered(at_once).collect().await;
    let failed: BTreeMap<&str, String> =
        results.into_iter().filter_map(|(name, error)| Some((name, error?.to_string()))).collect();
    let known: BTreeMap<&str, &str> = faults.iter().copied().collect();
    let unknown: Vec<&String> =
        failed.iter().filter(|(name, _)| !known.contains_key(*name)).map(|(_, error)| error).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
    let mended: Vec<&&str> = known.keys().filter(|name| !failed.contains_key(*name)).collect();
    assert!(mended.is_empty(), "{kind:?} has these faults no more: {mended:?}");
}

#[tokio::test]
async fn the_sdk_with_kinesis_local_passes_the_suite_but_for_its_faults() {
    check(Kind::KinesisLocal, checks_of_streams(), AT_ONCE, &FAULTS).await;
}

#[tokio::test]
async fn the_sdk_with_kinesalite_passes_the_suite_but_for_its_faults() {
    check(Kind::Kinesalite, checks_of_streams(), AT_ONCE, &FAULTS_OF_KINESALITE).await;
}

/// One after another: kinesis-local loses consumers of one stream while another stream changes.
#[tokio::test]
async fn the_sdk_with_kinesis_local_passes_the_suite_of_fan_out_but_for_its_faults() {
    check(Kind::KinesisLocal, checks_of_fan_out(), 1, &FAULTS_OF_FAN_OUT).await;
}
