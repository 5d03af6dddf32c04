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
    /// An option names a partition that is not there.
    NoPartition { option: &'static str, partition: i32, there: String },
    /// A group has no offset of a partition.
    NotCommitted { group: String, partition: TopicPartition, advice: &'static str },
}

impl Unplaced {
    /// The error of a table.
    pub(super) fn of_table(self, table: &str) -> ConnectorError {
        match self {
            Self::Client(error) => failed(table, "find where partitions begin and end".to_owned(), error),
            Self::NoPartition { option, partition, there } => ConnectorError::Config {
                table: table.to_owned(),
                reason: format!("option '{option}': {there}, and no {partition}"),
            },
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
            let mut found = named("scan.startup.specific-offsets", offsets, partitions)?;
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
        Some(Place::Offsets(offsets)) => named("scan.bounded.specific-offsets", offsets, partitions)?,
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

/// What an option says of the partitions. One that the topic has not is a mistake, by which all of the topic would be read, or nothing.
fn named(
    option: &'static str,
    offsets: &BTreeMap<i32, i64>,
    partitions: &[TopicPartition],
) -> Result<BTreeMap<TopicPartition, i64>, Unplaced> {
    let is_there = |partition: &i32| partitions.iter().any(|at| at.partition == *partition);
    match offsets.keys().find(|partition| !is_there(partition)) {
        // Where there is no topic yet, nobody knows.
        Some(partition) if !partitions.is_empty() => {
            Err(Unplaced::NoPartition { option, partition: *partition, there: there(partitions) })
        }
        Some(_) | None => {
            let offset = |at: &TopicPartition| Some((at.clone(), *offsets.get(&at.partition)?));
            Ok(partitions.iter().filter_map(offset).collect())
        }
    }
}

/// Says which partitions the topic has: such options are of one.
fn there(partitions: &[TopicPartition]) -> String {
    let last = partitions.iter().max_by_key(|at| at.partition);
    match last.map(|last| (&last.topic, last.partition)) {
        None => "there is no partition".to_owned(),
        Some((topic, 0)) => format!("topic '{topic}' has partition 0"),
        Some((topic, last)) => format!("topic '{topic}' has partitions 0 to {last}"),
    }
}

/// Ends that an option names and that are behind what partitions hold now, with where these end.
pub(super) async fn ends_to_come(
    admin: &dyn Admin,
    options: &ReadOptions,
    ends: &BTreeMap<TopicPartition, i64>,
) -> Result<Vec<(TopicPartition, i64, i64)>, KafkaError> {
    if !matches!(options.bounded, Some(Place::Offsets(_))) {
        return Ok(Vec::new());
    }
    let partitions: Vec<TopicPartition> = ends.keys().cloned().collect();
    let now = told(admin, OffsetAt::Latest, &partitions, Isolation::ReadUncommitted).await?;
    let to_come = ends.iter().filter_map(|(at, end)| {
        let now = *now.get(at)?;
        (now < *end).then(|| (at.clone(), now, *end))
    });
    Ok(to_come.collect())
}

fn without(partitions: &[TopicPartition], found: &BTreeMap<TopicPartition, i64>) -> Vec<TopicPartition> {
    partitions.iter().filter(|partition| !found.contains_key(*partition)).cloned().collect()
}
