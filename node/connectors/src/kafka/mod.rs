//! Topics of Apache Kafka as tables.
//!
//! ```text
//! enumerator.rs --topics and partitions; at the first listing, offsets by scan.startup.mode (offsets.rs)--> splits
//! open --reader.rs: one partition, by the client that all of an attempt's readers on a node share (table.rs)
//!          '--> record_rows: values, keys and metadata --> batches, dead letters
//! watch.rs: who the topics of open partitions are (one that was made anew is another), and where these end
//! group.rs: offsets of complete checkpoints, for the tools that show a group's lag
//!
//! rows --records.rs--> messages --staged (exactly once)----> commit.rs: one transaction for each epoch, with progress.rs
//!                        '--------sink.rs: sent at once
//! ```
//!
//! What the job goes on from is in its checkpoints alone: an offset for each partition, the first that is not processed. The client
//! is behind `thalweg_kafka`'s traits.

#[cfg_attr(not(feature = "kafka"), cfg(test))]
mod bearer;
mod check;
mod commit;
mod enumerator;
mod faults;
mod group;
mod metadata;
mod new_topic;
mod offsets;
mod options;
mod payload;
mod progress;
mod reader;
mod records;
mod sink;
mod sink_check;
mod sink_options;
mod source;
mod table;
#[cfg_attr(not(feature = "kafka"), cfg(test))]
mod tokens;
mod topic_limit;
mod watch;

use std::{collections::BTreeMap, sync::Arc};

use thalweg_kafka::Kafka;
use thalweg_types::seam::Seams;

pub use thalweg_kafka::msk::VARIABLES as KAFKA_VARIABLES;

use crate::{Secrets, connector::Connector};
use sink::SINK;
use source::KafkaSource;

pub(crate) const CONNECTOR: Connector =
    Connector { name: "kafka", source: Some(|table| Ok(Box::new(KafkaSource::new(table)?))), sink: Some(SINK) };

/// The client of Kafka that this build has; `None`: it was built without (feature `kafka`). `environment` holds those of
/// `KAFKA_VARIABLES` that the process has; tokens that are secrets are read from `secrets` whenever brokers are shown one.
#[must_use]
pub fn kafka_client(
    seams: &Seams,
    environment: BTreeMap<String, String>,
    secrets: &Arc<dyn Secrets>,
) -> Option<Arc<dyn Kafka>> {
    #[cfg(feature = "kafka")]
    let client = {
        let clients = thalweg_kafka::librdkafka::RdKafka::new(seams);
        let (seams, secrets) = (seams.clone(), secrets.clone());
        Some(Arc::new(tokens::WithTokens { clients, seams, environment, secrets }) as Arc<dyn Kafka>)
    };
    #[cfg(not(feature = "kafka"))]
    let client = {
        let _ = (seams, environment, secrets);
        None
    };
    client
}

#[cfg(test)]
mod tests;
