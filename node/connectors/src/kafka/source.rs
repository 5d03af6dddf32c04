//! A table of topics, as one subtask reads it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use async_trait::async_trait;
use thalweg_kafka::TopicPartition;
use thalweg_types::{CheckpointId, Split, graph::SourceOperator};

use super::{
    check::check,
    enumerator::TopicEnumerator,
    metadata::PartitionRows,
    payload::PartitionSplit,
    reader::{KafkaReader, Reading},
    table::KafkaTable,
    watch::OpenPartition,
};
use crate::{
    Backlog, ConnectorContext, ConnectorError, Enumerator, Source, SplitReader, connector::SourceTable,
    options::Options,
};

pub(super) struct KafkaSource {
    table: Arc<KafkaTable>,
    spec: SourceOperator,
    context: ConnectorContext,
    batch_rows: usize,
    /// Those that this subtask reads.
    open: Mutex<Vec<Weak<OpenPartition>>>,
}

impl KafkaSource {
    pub(super) fn new(table: SourceTable<'_>) -> Result<Self, ConnectorError> {
        let SourceTable { spec, batch_rows, identity, notices, context } = table;
        let options = Options::new(&spec.table, &spec.connector);
        let decoding = identity.as_ref().map(|identity| &identity.decoding);
        let make = || KafkaTable::new(&options, &spec.table, notices.clone(), (context, decoding));
        let table = match &identity {
            Some(identity) => identity.common.of(identity.source, make)?,
            None => Arc::new(make()?),
        };
        // Columns that do not fit their formats are found now and not with the first partition.
        PartitionRows::new(spec, TopicPartition { topic: "".into(), partition: 0 }, context)?;
        Ok(Self { table, spec: spec.clone(), context: context.clone(), batch_rows, open: Mutex::default() })
    }
}

#[async_trait]
impl Source for KafkaSource {
    /// An enumerator finds them.
    async fn discover(&self) -> Result<Vec<Split>, ConnectorError> {
        Ok(Vec::new())
    }

    async fn open(&self, split: &Split) -> Result<Box<dyn SplitReader>, ConnectorError> {
        let partition = PartitionSplit::of(split)?;
        let open = OpenPartition::new(partition.at.clone(), partition.topic, partition.offset);
        self.table.watch(&open).await?;
        let mut all = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|other| other.strong_count() > 0);
        all.push(Arc::downgrade(&open));
        drop(all);
        Ok(Box::new(KafkaReader::new(Reading {
            rows: PartitionRows::new(&self.spec, partition.at.clone(), &self.context)?,
            keeps_dead_letters: self.spec.connector.dead_letter_path().is_some(),
            batch_rows: self.batch_rows,
            table: self.table.clone(),
            split: split.clone(),
            partition,
            open,
        })))
    }

    async fn check(&self, patient: bool) -> Result<(), ConnectorError> {
        check(&self.table, patient).await
    }

    /// A partition has no end, so that none may wait for another's.
    fn open_max(&self) -> usize {
        usize::MAX
    }

    fn backlog(&self) -> Option<Backlog> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sum = Backlog::default();
        for partition in open.iter().filter_map(Weak::upgrade) {
            sum.records = sum.records.saturating_add(partition.backlog());
            sum.unreachable += u64::from(partition.is_unreachable());
        }
        Some(sum)
    }

    fn enumerator(&self) -> Option<Box<dyn Enumerator>> {
        Some(Box::new(TopicEnumerator { table: self.table.clone() }))
    }

    fn completed(&self, checkpoint: CheckpointId, splits: &[Split]) {
        let offset = |split: &Split| {
            let partition = PartitionSplit::of(split).ok()?;
            Some((partition.at, partition.offset))
        };
        let offsets = splits.iter().filter_map(offset).collect::<BTreeMap<_, _>>();
        self.table.commit(offsets, checkpoint == CheckpointId::FINAL);
    }
}
