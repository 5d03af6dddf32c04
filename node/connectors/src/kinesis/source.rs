//! A stream, as one subtask reads it.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use thalweg_types::{CheckpointId, Split, graph::SourceOperator};

use super::{
    check::check,
    enumerator::ShardEnumerator,
    metadata::{ShardPlace, ShardRows},
    open::OpenShard,
    payload::ShardSplit,
    reader::{Reading, ShardReader},
    table::KinesisTable,
};
use crate::{
    Backlog, ConnectorContext, ConnectorError, Enumerator, Source, SplitReader, connector::SourceTable,
    options::Options,
};

pub(super) struct KinesisSource {
    table: Arc<KinesisTable>,
    spec: SourceOperator,
    context: ConnectorContext,
    batch_rows: usize,
    /// Those that this subtask reads.
    open: Mutex<Vec<Weak<OpenShard>>>,
}

impl KinesisSource {
    pub(super) fn new(table: SourceTable<'_>) -> Result<Self, ConnectorError> {
        let SourceTable { spec, batch_rows, identity, notices, context } = table;
        let options = Options::new(&spec.table, &spec.connector);
        let decoding = identity.as_ref().map(|identity| &identity.decoding);
        let make = || KinesisTable::new(&options, notices.clone(), (context, decoding));
        let table = match &identity {
            Some(identity) => identity.common.of(identity.source, make)?,
            None => Arc::new(make()?),
        };
        // Columns that do not fit their format are found now and not with the first shard.
        ShardRows::new(spec, ShardPlace("".into()), context)?;
        Ok(Self { table, spec: spec.clone(), context: context.clone(), batch_rows, open: Mutex::default() })
    }
}

#[async_trait]
impl Source for KinesisSource {
    /// An enumerator finds them.
    async fn discover(&self) -> Result<Vec<Split>, ConnectorError> {
        Ok(Vec::new())
    }

    async fn open(&self, split: &Split) -> Result<Box<dyn SplitReader>, ConnectorError> {
        let shard = ShardSplit::of(split)?;
        let open = OpenShard::new(self.table.clone());
        let mut all = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|other| other.strong_count() > 0);
        all.push(Arc::downgrade(&open));
        drop(all);
        Ok(Box::new(ShardReader::new(Reading {
            rows: ShardRows::new(&self.spec, ShardPlace(shard.shard.clone()), &self.context)?,
            keeps_dead_letters: self.spec.connector.dead_letter_path().is_some(),
            batch_rows: self.batch_rows,
            table: self.table.clone(),
            split: split.clone(),
            shard,
            open,
        })))
    }

    async fn check(&self, patient: bool) -> Result<(), ConnectorError> {
        let KinesisTable { place, options, .. } = &*self.table;
        check(place, (self.table.stream().as_ref(), &options.reader), patient).await
    }

    /// A shard has no end that can be waited for.
    fn open_max(&self) -> usize {
        usize::MAX
    }

    fn backlog(&self) -> Option<Backlog> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = Backlog { behind: Some(std::time::Duration::ZERO), ..Backlog::default() };
        for shard in open.iter().filter_map(Weak::upgrade) {
            all.behind = all.behind.max(Some(shard.behind()));
            all.unreachable += u64::from(shard.is_unreachable());
            all.throttled += u64::from(shard.is_throttled());
        }
        Some(all)
    }

    fn enumerator(&self) -> Option<Box<dyn Enumerator>> {
        Some(Box::new(ShardEnumerator::new(self.table.clone())))
    }

    fn completed(&self, checkpoint: CheckpointId, _: &[Split]) {
        if checkpoint == CheckpointId::FINAL {
            self.table.remove_consumer();
        }
    }
}
