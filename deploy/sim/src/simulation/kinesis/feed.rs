//! The simulation's own producer, which also changes the shards of its stream. What it writes is known in advance, so that the output
//! of a job that reads it can be checked.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use thalweg_kinesis::{ClientConfig, Kinesis as _, NewRecord, Shard, Stream, StreamName};

use super::service::SimulatedKinesis;

/// How long a record that was not written waits.
const PUT_AGAIN: Duration = Duration::from_millis(20);

/// What is in streams, and what comes into one of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamFeed {
    /// The streams that are there when the job is submitted, and the shards of each.
    pub streams: Vec<(String, u32)>,
    /// The stream that is written.
    pub written: String,
    /// What is done before that, in order.
    pub before: Vec<StreamStep>,
    /// What is done later, in order, each with its time after the submission.
    pub during: Vec<(Duration, StreamStep)>,
}

/// What the producer does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamStep {
    /// Writes records, one after the other.
    Put(Vec<NewRecord>),
    /// Splits one of the open shards in the middle, of those of the stream so named.
    Split(String, u64),
    /// Merges two neighbours.
    Merge(String, u64),
}

/// Carries out a feed. What is throttled or not answered is waited for.
pub(in crate::simulation) struct StreamFeeder {
    kinesis: SimulatedKinesis,
    stream: Option<Arc<dyn Stream>>,
}

impl StreamFeeder {
    /// Creates the streams, and writes what is in them before a job is submitted.
    pub(in crate::simulation) async fn begin(kinesis: &SimulatedKinesis, feed: &StreamFeed) -> Result<Self> {
        for (name, shards) in &feed.streams {
            kinesis.model.create_stream(name, *shards).with_context(|| format!("stream {name} was not created"))?;
        }
        let stream = match feed.written.as_str() {
            "" => None,
            name => Some(kinesis.model.stream(&ClientConfig::new(StreamName::Name(name.to_owned())))?),
        };
        let feeder = Self { kinesis: kinesis.clone(), stream };
        for step in &feed.before {
            feeder.take(step).await?;
        }
        Ok(feeder)
    }

    /// Writes the rest, in time after the submission.
    pub(in crate::simulation) async fn go_on(self, feed: &StreamFeed, submitted_at: Duration) -> Result<()> {
        for (after, step) in &feed.during {
            let now = turmoil::sim_elapsed().context("this runs in a simulation")?;
            tokio::time::sleep((submitted_at + *after).saturating_sub(now)).await;
            self.take(step).await?;
        }
        Ok(())
    }

    async fn take(&self, step: &StreamStep) -> Result<()> {
        match step {
            StreamStep::Put(records) => {
                for record in records {
                    self.put(record).await?;
                }
                self.kinesis.journal.detail(&format!("kinesis: {} records are put", records.len()));
            }
            StreamStep::Split(stream, nth) => {
                let open = self.open_shards(stream)?;
                let shard = &open[usize::try_from(*nth)? % open.len()];
                let (first, last) = (shard.hash_keys.first, shard.hash_keys.last);
                if first < last {
                    let children = self.kinesis.model.split(stream, &shard.id, first + (last - first) / 2 + 1)?;
                    self.kinesis.journal.say(format!("{} of {stream} is split into {children:?}", shard.id));
                }
            }
            StreamStep::Merge(stream, nth) => {
                let open = self.open_shards(stream)?;
                let pairs: Vec<&[Shard]> = open.windows(2).collect();
                if let Some([one, other]) = usize::try_from(*nth)?.checked_rem(pairs.len()).map(|at| pairs[at]) {
                    let child = self.kinesis.model.merge(stream, &one.id, &other.id)?;
                    self.kinesis.journal.say(format!("{} and {} of {stream} become {child}", one.id, other.id));
                }
            }
        }
        Ok(())
    }

    /// The open shards of a stream in the order of their hash keys, so that neighbours are side by side.
    fn open_shards(&self, stream: &str) -> Result<Vec<Shard>> {
        let mut open = self.kinesis.model.shards_now(stream)?;
        open.retain(Shard::is_open);
        open.sort_by_key(|shard| shard.hash_keys.first);
        Ok(open)
    }

    /// A call that goes wrong has written nothing: no answer is lost but those to nodes.
    async fn put(&self, record: &NewRecord) -> Result<()> {
        let stream = self.stream.as_ref().context("a feed with records names their stream")?;
        while !matches!(stream.put_records(std::slice::from_ref(record)).await.as_deref(), Ok([Ok(_)])) {
            tokio::time::sleep(PUT_AGAIN).await;
        }
        Ok(())
    }
}
