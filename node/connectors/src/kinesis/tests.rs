//! Streams as tables, against the model of Kinesis.

mod beginnings;
mod losses;
mod manners;
mod resharding;
mod written;

use std::{sync::Arc, time::Duration};

use arrow::{
    array::{AsArray as _, RecordBatch},
    datatypes::{DataType, Int64Type, SchemaRef},
};
use bytes::Bytes;
use thalweg_kinesis::{
    ClientConfig, HashKeyRange, Kinesis, NewRecord, ShardId, Stream, StreamName,
    model::{Limits, ModelKinesis},
};
use thalweg_types::Split;

use crate::{
    CommonTables, ConnectorContext, ConnectorError, DeadLetter, Listing, Piece, Read, Source, SourceIdentity,
    SplitReader, open_source_of,
    testing::{context, schema, settings, source, source_identity},
};

const STREAM: &str = "clicks";

/// Kinesis, and a node that reads from it.
struct World {
    kinesis: ModelKinesis,
    context: ConnectorContext,
    common: CommonTables,
}

/// The columns of most tables here.
fn numbers() -> SchemaRef {
    schema(&[("n", DataType::Int64, true)])
}

fn record(partition_key: &str, hash_key: u128, n: i64) -> NewRecord {
    NewRecord {
        partition_key: partition_key.to_owned(),
        explicit_hash_key: Some(hash_key),
        data: Bytes::from(format!("{{\"n\": {n}}}")),
    }
}

/// A hash key in the middle of a part of all.
fn hash_key(part: u32, of: u32) -> u128 {
    u128::MAX / u128::from(of) * u128::from(part) + u128::MAX / u128::from(of) / 2
}

impl World {
    /// A stream of so many shards.
    fn of(shards: u32) -> Self {
        let mut context = context();
        let kinesis = ModelKinesis::new(&context.seams);
        kinesis.create_stream(STREAM, shards).expect("it is new");
        context.kinesis = Some(Arc::new(kinesis.clone()));
        Self { kinesis, context, common: CommonTables::default() }
    }

    fn client(&self) -> Arc<dyn Stream> {
        self.kinesis.stream(&ClientConfig::new(StreamName::Name(STREAM.to_owned()))).expect("a client")
    }

    async fn put_records(&self, records: &[NewRecord]) {
        let put = self.client().put_records(records).await.expect("they are sound");
        assert!(put.iter().all(Result::is_ok), "{put:?}");
    }

    /// Writes `{"n": …}` for each number, one after the other, to the shard of a hash key.
    async fn put(&self, hash_key: u128, numbers: impl IntoIterator<Item = i64>) {
        for n in numbers {
            self.put_records(&[record(&format!("key {n}"), hash_key, n)]).await;
        }
    }

    fn try_table(&self, options: &[(&str, &str)], columns: SchemaRef) -> Result<Box<dyn Source>, ConnectorError> {
        let given = [("stream", STREAM), ("source.init.position", "TRIM_HORIZON"), ("format", "json")];
        let unset = given.into_iter().filter(|(key, _)| options.iter().all(|(other, _)| other != key));
        let options: Vec<(&str, &str)> = unset.chain(options.iter().copied()).collect();
        let identity = SourceIdentity { common: self.common.clone(), ..source_identity(1 << 30) };
        open_source_of(identity, &source("kinesis", &options, columns), &settings(1000), &self.context)
    }

    fn table(&self, options: &[(&str, &str)]) -> Box<dyn Source> {
        self.try_table(options, numbers()).expect("its options are sound")
    }

    /// Another attempt has nothing in common with the one before.
    fn next_attempt(&mut self) {
        self.common = CommonTables::default();
    }

    fn shard(&self, number: usize) -> ShardId {
        self.kinesis.shards_now(STREAM).expect("the stream is there")[number].id.clone()
    }
}

async fn list(table: &dyn Source) -> Vec<Piece> {
    table.enumerator().expect("it has one").list(Listing::Later).await.expect("they can be listed")
}

/// The splits of all shards that there are now.
async fn splits_at(table: &dyn Source, listing: Listing) -> Vec<Split> {
    let enumerator = table.enumerator().expect("it has one");
    let pieces = enumerator.list(listing).await.expect("they can be listed");
    let cut = enumerator.cut(&pieces, listing).await.expect("they can be cut");
    cut.into_iter().flatten().collect()
}

async fn splits(table: &dyn Source) -> Vec<Split> {
    splits_at(table, Listing::First).await
}

/// What a reader gave.
#[derive(Debug, Default)]
struct Got {
    batches: Vec<RecordBatch>,
    letters: Vec<DeadLetter>,
    has_ended: bool,
}

impl Got {
    fn numbers(&self) -> Vec<i64> {
        let of = |batch: &RecordBatch| batch.column(0).as_primitive::<Int64Type>().values().to_vec();
        self.batches.iter().flat_map(of).collect()
    }
}

/// Reads until there is nothing more, or the end.
async fn read_on(reader: &mut dyn SplitReader) -> Result<Got, ConnectorError> {
    let mut got = Got::default();
    loop {
        let read = tokio::time::timeout(Duration::from_secs(600), reader.next()).await.expect("it goes on")?;
        match read {
            Read::Records { batch, dead_letters } => {
                got.batches.push(batch);
                got.letters.extend(dead_letters);
            }
            Read::Idle | Read::Waiting => {}
            Read::CaughtUp => return Ok(got),
            Read::End => {
                got.has_ended = true;
                return Ok(got);
            }
        }
    }
}

async fn read(table: &dyn Source, split: &Split) -> Result<Got, ConnectorError> {
    read_on(table.open(split).await?.as_mut()).await
}

/// Reads numbers until so many have come.
async fn numbers_of(reader: &mut dyn SplitReader, count: usize) -> Vec<i64> {
    let mut all = Vec::new();
    while all.len() < count {
        let got = read_on(reader).await.expect("they can be read");
        all.extend(got.numbers());
        assert!(!got.has_ended || all.len() >= count, "{all:?} is not all");
    }
    all
}

const FAN_OUT: &[(&str, &str)] = &[("source.reader.type", "EFO"), ("source.efo.consumer.name", "shop")];
/// Both ways to read.
const WAYS: [&[(&str, &str)]; 2] = [&[], FAN_OUT];

fn unlimited(world: &World) {
    world.kinesis.limit(Limits::NONE);
}

fn middle(range: HashKeyRange) -> u128 {
    range.first + (range.last - range.first) / 2
}
