//! Streams of Amazon Kinesis Data Streams as tables.
//!
//! ```text
//! enumerator.rs --shards, what each follows, where it begins by source.init.position--> splits
//! open --reader.rs: one shard; fetch.rs asks for records (as pace.rs allows), or subscribes to them
//!          '--> unpack.rs: aggregated records taken apart --> record_rows: values and metadata.rs --> batches, dead letters
//! loss.rs: whether what is missing was read
//!
//! rows --records.rs--> records --aggregate.rs, if wanted--> queue.rs --send.rs: PutRecords, what is not written again--> stream
//!                         '-- staged until their checkpoint is complete, if they have ids (sink.rs)
//! ```
//!
//! What the job goes on from is in its checkpoints alone. That nothing of a shard is read before all of its parents is the
//! runtime's (`Piece::after`, `SplitReader::successors`). The client is behind `thalweg_kinesis`' traits.

mod aggregate;
mod check;
mod enumerator;
mod faults;
mod fetch;
mod loss;
mod metadata;
mod open;
mod options;
mod pace;
mod payload;
mod queue;
mod reader;
mod records;
mod send;
mod sink;
mod sink_options;
mod source;
mod table;
mod unpack;

use std::sync::Arc;

use thalweg_kinesis::Kinesis;

use crate::connector::Connector;
use sink::SINK;
use source::KinesisSource;

pub(crate) const CONNECTOR: Connector =
    Connector { name: "kinesis", source: Some(|table| Ok(Box::new(KinesisSource::new(table)?))), sink: Some(SINK) };

/// The client of Kinesis that this build has; `None`: it was built without (feature `kinesis`).
#[must_use]
pub fn kinesis_client() -> Option<Arc<dyn Kinesis>> {
    #[cfg(feature = "kinesis")]
    let client = Some(Arc::new(thalweg_kinesis::aws::Aws::new()) as Arc<dyn Kinesis>);
    #[cfg(not(feature = "kinesis"))]
    let client = None;
    client
}

#[cfg(test)]
mod tests;
