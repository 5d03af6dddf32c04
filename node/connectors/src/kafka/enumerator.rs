//! Finds the topics of a table and their partitions, and says where each begins and ends.
//!
//! What the first listing finds begins where `scan.startup.mode` says, as offsets that are state from then on; what comes later,
//! at its beginning. Only the first listing gives partitions an end: a table with ends is not looked at again.
//!
//! So the first listing must not miss a partition that is there. A broker that has just started may tell of former times: two
//! answers in a row have to be the same, and all topics that the table names have to be among them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use thalweg_kafka::{Admin, KafkaError, Topic, TopicId, TopicPartition};
use thalweg_types::Split;
use tokio::time::sleep;

use super::{
    faults::{ANSWERED_WITHIN, answered, failed, patiently},
    offsets::{Unplaced, beginnings, ends, ends_to_come, starts},
    options::{OnLoss, ReadOptions},
    payload::{PartitionSplit, of_piece_name, piece_name},
    table::KafkaTable,
};
use crate::{ConnectorError, Enumerator, FormerEnumerator, Listing, Piece};

/// How long after one answer the next is asked for, at the first listing.
const LISTED_AGAIN: Duration = Duration::from_secs(1);
/// After so many answers without a topic, a table with an end has none: it would be finished without the topic's records.
const MISSED_MAX: u32 = 60;
/// Where losses are skipped, topics are looked for so often at least: readers learn as fast that theirs was made anew.
const REMADE_EVERY: Duration = Duration::from_secs(10);

pub(super) struct TopicEnumerator {
    pub(super) table: Arc<KafkaTable>,
}

impl TopicEnumerator {
    async fn topics(&self, listing: Listing) -> Result<Vec<Topic>, ConnectorError> {
        let (table, topics) = (&self.table, &self.table.options.topics);
        let (admin, wanted) = (table.admin().await?, topics.wanted());
        let found = patiently(&table.notices, "list topics", || admin.topics(&wanted)).await;
        let mut found = found.map_err(|error| failed(&table.name, "list topics".to_owned(), error))?;
        found.retain(|topic| topics.has(&topic.name));
        for missing in table.missing(&found) {
            table.notices.tell(&format!("topic {missing}"), || {
                let first = if listing == Listing::First { ", and nothing is read before it is there" } else { "" };
                format!("there is no topic '{missing}' now; it is looked for again and again{first}")
            });
        }
        if found.is_empty() {
            table.notices.tell("no topics", || "no topic matches 'topic-pattern' yet".to_owned());
        }
        Ok(found)
    }

    /// What is there when the job begins.
    async fn first_topics(&self) -> Result<Vec<Topic>, ConnectorError> {
        let table = &self.table;
        let (mut before, mut looks) = (None, 0);
        loop {
            let found = self.topics(Listing::First).await?;
            let missing = table.missing(&found).next().map(str::to_owned);
            match missing {
                None if before.as_ref() == Some(&places_of(&found)) => return Ok(found),
                None => before = Some(places_of(&found)),
                Some(missing) if table.options.bounded.is_some() && looks >= MISSED_MAX => {
                    return Err(ConnectorError::Data {
                        attempted: format!("find the end of topic '{missing}'"),
                        reason: format!(
                            "there is no such topic at {}: so the table would end without its records",
                            table.servers
                        ),
                    });
                }
                Some(_) => (before, looks) = (None, looks + 1),
            }
            sleep(LISTED_AGAIN).await;
        }
    }

    /// Where partitions begin and end. Asked again until there is an answer: nothing is known of them before.
    async fn place(&self, partitions: &[TopicPartition], listing: Listing) -> Result<Placed, ConnectorError> {
        let table = &self.table;
        let admin = table.admin().await?;
        let place = || async {
            // Only what the client could not do may pass; all else is an answer.
            match placed(admin.as_ref(), &table.options, partitions, listing).await {
                Err(Unplaced::Client(error)) => Err(error),
                answer @ (Ok(_) | Err(Unplaced::NotCommitted { .. } | Unplaced::NoPartition { .. })) => Ok(answer),
            }
        };
        let placed = patiently(&table.notices, "find where partitions begin and end", place).await;
        let placed = placed.map_err(|error| match error {
            // It was there when it was listed. Another attempt lists again.
            KafkaError::NoTopic { .. } => ConnectorError::Store {
                attempted: "find where partitions begin and end".to_owned(),
                source: error.into(),
            },
            other @ (KafkaError::Config { .. }
            | KafkaError::Unavailable { .. }
            | KafkaError::Denied { .. }
            | KafkaError::OffsetOutOfRange { .. }
            | KafkaError::Refused { .. }
            | KafkaError::Fenced { .. }
            | KafkaError::Aborted { .. }
            | KafkaError::Broken { .. }) => Unplaced::Client(other).of_table(&table.name),
        })?;
        let placed = placed.map_err(|unplaced| unplaced.of_table(&table.name))?;
        if let Some(ends) = &placed.ends {
            self.tell_ends_to_come(admin.as_ref(), ends).await;
        }
        Ok(placed)
    }

    /// Tells of partitions that are read further than they go now: the job may wait for long.
    async fn tell_ends_to_come(&self, admin: &dyn Admin, ends: &BTreeMap<TopicPartition, i64>) {
        let table = &self.table;
        // It is for people only.
        let told = answered(ANSWERED_WITHIN, ends_to_come(admin, &table.options, ends)).await.unwrap_or_default();
        for (at, now, end) in told {
            table
                .notices
                .tell(&format!("end of {at}"), || format!("{at} ends at {now}, and is read up to {end}: waiting"));
        }
    }
}

/// What two answers must agree on.
fn places_of(topics: &[Topic]) -> Vec<(String, Option<TopicId>, i32)> {
    topics.iter().map(|topic| (topic.name.clone(), topic.id, topic.partitions)).collect()
}

struct Placed {
    starts: BTreeMap<TopicPartition, i64>,
    /// `None`: the table has no end.
    ends: Option<BTreeMap<TopicPartition, i64>>,
}

async fn placed(
    admin: &dyn Admin,
    options: &ReadOptions,
    partitions: &[TopicPartition],
    listing: Listing,
) -> Result<Placed, Unplaced> {
    let starts = match listing {
        Listing::First => starts(admin, options, partitions).await?,
        Listing::Later => beginnings(admin, options.isolation, partitions).await?,
    };
    Ok(Placed { starts, ends: ends(admin, options, partitions).await? })
}

#[async_trait]
impl Enumerator for TopicEnumerator {
    fn interval(&self) -> Option<Duration> {
        let ReadOptions { discovery, on_loss, .. } = &self.table.options;
        match on_loss {
            OnLoss::Fail => *discovery,
            // A topic that is made anew is read on at once, wherever its readers and this are.
            OnLoss::Skip => discovery.map(|given| given.min(REMADE_EVERY)),
        }
    }

    fn cuts_together(&self) -> bool {
        true
    }

    async fn list(&self, listing: Listing) -> Result<Vec<Piece>, ConnectorError> {
        let topics = match listing {
            Listing::First => self.first_topics().await?,
            Listing::Later => self.topics(listing).await?,
        };
        let mut pieces = Vec::new();
        for Topic { name, id, partitions, .. } in topics {
            let topic: Arc<str> = name.into();
            let piece = |partition| Piece {
                name: piece_name(&TopicPartition { topic: topic.clone(), partition }, id),
                bytes: 0,
                after: Vec::new(),
            };
            pieces.extend((0..partitions).map(piece));
        }
        Ok(pieces)
    }

    async fn cut(&self, pieces: &[Piece], listing: Listing) -> Result<Vec<Vec<Split>>, ConnectorError> {
        let malformed = |piece: &Piece| ConnectorError::Data {
            attempted: format!("find the beginning of {}", piece.name),
            reason: "it is no partition".to_owned(),
        };
        let found = pieces.iter().map(|piece| of_piece_name(&piece.name).ok_or_else(|| malformed(piece)));
        let found = found.collect::<Result<Vec<_>, _>>()?;
        let partitions: Vec<TopicPartition> = found.iter().map(|(at, _)| at.clone()).collect();
        let Placed { starts, ends } = self.place(&partitions, listing).await?;
        let split = |(at, topic): (TopicPartition, _)| {
            let end = match &ends {
                Some(ends) => Some(*ends.get(&at)?),
                None => None,
            };
            let offset = *starts.get(&at)?;
            Some(PartitionSplit { at, topic, offset, end, last_read: None }.into_split())
        };
        Ok(found.into_iter().map(|partition| split(partition).into_iter().collect()).collect())
    }

    fn former(&self, _: &Split) -> Result<Option<FormerEnumerator>, ConnectorError> {
        Ok(None)
    }
}
