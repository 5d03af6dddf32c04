//! Turns places (`earliest-offset`, a time, what a group has committed) into offsets, once, before anything is read.

use std::collections::BTreeMap;

use thalweg_kafka::{Admin, Isolation, KafkaError, OffsetAt, TopicPartition};

use super::{
    faults::failed,
    options::{Place, ReadOptions},
};
use crate::ConnectorError;

/// Why a place has no offset.
#[derive(Debug)]
pub(super) enum Unplaced {
    /// The client could not tell.
    Client(KafkaError),
    /// A group has no offset of a partition.
    NotCommitted { group: String, partition: TopicPartition, advice: &'static str },
}

impl Unplaced {
    /// The error of a table.
    pub(super) fn of_table(self, table: &str) -> ConnectorError {
        match self {
            Self::Client(error) => failed(table, "find where partitions begin and end".to_owned(), error),
            Self::NotCommitted { group, partition, advice } => ConnectorError::Config {
                table: table.to_owned(),
                reason: format!("group '{group}' has committed no offset of {partition}: {advice}"),
            },
        }
    }
}

impl From<KafkaError> for Unplaced {
    fn from(error: KafkaError) -> Self {
        Self::Client(error)
    }
}

/// Where partitions begin that are there when the job begins.
pub(super) async fn starts(
    admin: &dyn Admin,
    options: &ReadOptions,
    partitions: &[TopicPartition],
) -> Result<BTreeMap<TopicPartition, i64>, Unplaced> {
    let isolation = options.isolation;
    match &options.startup {
        Place::Group => {
            let (group, mut found) = of_group(admin, options, partitions).await?;
            let left = without(partitions, &found);
            match (left.first(), &options.reset) {
                (None, _) => {}
                (Some(_), Some(reset)) => found.extend(told(admin, *reset, &left, isolation).await?),
                (Some(partition), None) => {
                    let advice = "'properties.auto.offset.reset' can say where to begin then, or 'scan.startup.mode'";
                    return Err(Unplaced::NotCommitted { group, partition: partition.clone(), advice });
                }
            }
            Ok(found)
        }
        Place::Offsets(offsets) => {
            let mut found = named(offsets, partitions);
            let left = without(partitions, &found);
            found.extend(told(admin, OffsetAt::Earliest, &left, isolation).await?);
            Ok(found)
        }
        Place::At(at) => Ok(told(admin, *at, partitions, isolation).await?),
    }
}

/// Where partitions begin that are found later: at their beginning.
pub(super) async fn beginnings(
    admin: &dyn Admin,
    isolation: Isolation,
    partitions: &[TopicPartition],
) -> Result<BTreeMap<TopicPartition, i64>, Unplaced> {
    Ok(told(admin, OffsetAt::Earliest, partitions, isolation).await?)
}

/// Where partitions end; `None`: the table has no end. A partition that is not in it is not read.
pub(super) async fn ends(
    admin: &dyn Admin,
    options: &ReadOptions,
    partitions: &[TopicPartition],
) -> Result<Option<BTreeMap<TopicPartition, i64>>, Unplaced> {
    Ok(Some(match &options.bounded {
        None => return Ok(None),
        Some(Place::Group) => {
            let (group, found) = of_group(admin, options, partitions).await?;
            if let Some(partition) = without(partitions, &found).into_iter().next() {
                let advice = "so where it ends is not known; 'scan.bounded.mode' can say so in other ways";
                return Err(Unplaced::NotCommitted { group, partition, advice });
            }
            found
        }
        Some(Place::Offsets(offsets)) => named(offsets, partitions),
        // Whatever is read: brokers answer a commit before its marks are in all partitions, and until then what was committed is
        // behind the last that can be read. Readers wait for what is open before the end.
        Some(Place::At(at)) => told(admin, *at, partitions, Isolation::ReadUncommitted).await?,
    }))
}

async fn of_group(
    admin: &dyn Admin,
    options: &ReadOptions,
    partitions: &[TopicPartition],
) -> Result<(String, BTreeMap<TopicPartition, i64>), KafkaError> {
    let group = options.group.clone().ok_or_else(|| KafkaError::Config { reason: "group.id is missing".to_owned() })?;
    let found = admin.group_offsets(&group, partitions).await?;
    Ok((group, found))
}

/// What brokers tell, of all partitions.
async fn told(
    admin: &dyn Admin,
    at: OffsetAt,
    partitions: &[TopicPartition],
    isolation: Isolation,
) -> Result<BTreeMap<TopicPartition, i64>, KafkaError> {
    if partitions.is_empty() {
        return Ok(BTreeMap::new());
    }
    let found = admin.offsets(partitions, at, isolation).await?;
    match partitions.iter().find(|partition| !found.contains_key(*partition)) {
        Some(partition) => {
            Err(KafkaError::Unavailable { reason: format!("no broker tells the offset of {partition}") })
        }
        None => Ok(found),
    }
}

fn named(offsets: &BTreeMap<i32, i64>, partitions: &[TopicPartition]) -> BTreeMap<TopicPartition, i64> {
    let offset = |at: &TopicPartition| Some((at.clone(), *offsets.get(&at.partition)?));
    partitions.iter().filter_map(offset).collect()
}

fn without(partitions: &[TopicPartition], found: &BTreeMap<TopicPartition, i64>) -> Vec<TopicPartition> {
    partitions.iter().filter(|partition| !found.contains_key(*partition)).cloned().collect()
}
