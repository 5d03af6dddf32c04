//! Finds the shards of a stream, and says where each begins and what it follows.
//!
//! | | at the first listing | later |
//! |---|---|---|
//! | `LATEST` | open shards at the time of the listing, closed ones not at all | at their beginning |
//! | `TRIM_HORIZON` | at their beginning | at their beginning |
//! | `AT_TIMESTAMP` | at that time | at that time |
//!
//! A shard follows its parents: nothing of it is read before all of theirs. The runtime sees to that.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use thalweg_kinesis::{KinesisError, Shard, ShardFilter};
use thalweg_types::Split;

use super::{
    faults::{failed, patiently},
    options::{Init, OnLoss},
    payload::{Position, ShardSplit, piece_name},
    table::KinesisTable,
};
use crate::{ConnectorError, Enumerator, FormerEnumerator, Listing, Piece};

pub(super) struct ShardEnumerator {
    table: Arc<KinesisTable>,
    /// The last listing: when the stream was created, and its shards by the names of their pieces.
    listed: Mutex<BTreeMap<String, (i64, Shard)>>,
}

impl ShardEnumerator {
    pub(super) fn new(table: Arc<KinesisTable>) -> Self {
        Self { table, listed: Mutex::default() }
    }

    /// When the stream was created, and its shards; `None`: there is no stream, and the table goes on without.
    async fn shards(&self) -> Result<Option<(i64, Vec<Shard>)>, ConnectorError> {
        let table = &self.table;
        let about = (&table.notices, &table.seams);
        let ask = || async {
            let described = table.describe_now().await?;
            Ok((described.created_ms, table.stream().shards(&ShardFilter::All).await?))
        };
        match patiently(about, "list shards", ask).await {
            Ok(found) => {
                table.notices.is_over("no stream", || format!("there is a stream '{}' again", table.stream_name));
                Ok(Some(found))
            }
            Err(KinesisError::NoStream { .. }) if table.options.on_loss == OnLoss::Skip => {
                table.notices.tell("no stream", || {
                    format!("there is no stream '{}' now; it is looked for again and again", table.stream_name)
                });
                Ok(None)
            }
            Err(error) => Err(failed(&table.name, "list shards".to_owned(), error)),
        }
    }

    /// Where a shard begins; `None`: nothing of it is read.
    fn beginning(&self, shard: &Shard, listing: Listing, now_ms: i64) -> Option<Position> {
        match (self.table.options.init, listing) {
            (Init::Latest, Listing::First) => shard.is_open().then_some(Position::Timestamp(now_ms)),
            (Init::Latest, Listing::Later) | (Init::TrimHorizon, _) => Some(Position::TrimHorizon),
            (Init::At(millis), _) => Some(Position::Timestamp(millis)),
        }
    }
}

/// Where shards begin that go on where others have ended.
pub(super) fn later_beginning(init: Init) -> Position {
    match init {
        Init::Latest | Init::TrimHorizon => Position::TrimHorizon,
        Init::At(millis) => Position::Timestamp(millis),
    }
}

#[async_trait]
impl Enumerator for ShardEnumerator {
    fn interval(&self) -> Option<Duration> {
        Some(self.table.options.discovery)
    }

    fn cuts_together(&self) -> bool {
        true
    }

    fn awaits_ends(&self) -> bool {
        true
    }

    async fn list(&self, _: Listing) -> Result<Vec<Piece>, ConnectorError> {
        let Some((created_ms, shards)) = self.shards().await? else { return Ok(Vec::new()) };
        let piece = |shard: &Shard| Piece {
            name: piece_name(&shard.id, created_ms),
            bytes: 0,
            after: shard.parents().map(|parent| piece_name(parent, created_ms)).collect(),
        };
        let pieces: Vec<Piece> = shards.iter().map(piece).collect();
        let named = pieces.iter().map(|piece| piece.name.clone());
        let listed = named.zip(shards.into_iter().map(|shard| (created_ms, shard))).collect();
        *self.listed.lock().unwrap_or_else(PoisonError::into_inner) = listed;
        Ok(pieces)
    }

    async fn cut(&self, pieces: &[Piece], listing: Listing) -> Result<Vec<Vec<Split>>, ConnectorError> {
        let listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        let now_ms = self.table.now_ms();
        let cut = |piece: &Piece| {
            let (created_ms, shard) = listed.get(&piece.name).ok_or_else(|| ConnectorError::Data {
                attempted: format!("find the beginning of {}", piece.name),
                reason: "it is no shard of the last listing".to_owned(),
            })?;
            let split = |position| ShardSplit {
                shard: shard.id.clone(),
                created_ms: *created_ms,
                hash_keys: shard.hash_keys,
                position,
            };
            let position = self.beginning(shard, listing, now_ms);
            Ok(position.map(|position| split(position).into_split()).into_iter().collect())
        };
        pieces.iter().map(cut).collect()
    }

    fn former(&self, _: &Split) -> Result<Option<FormerEnumerator>, ConnectorError> {
        Ok(None)
    }
}
