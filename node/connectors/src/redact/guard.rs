//! What a connector has opened for a table with secrets, with these taken out of every error. A table without any is not wrapped.

use std::{collections::BTreeMap, time::Duration};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use futures::FutureExt as _;
use serde_json::Value;
use thalweg_types::{Attempt, CheckpointId, ClusterId, Fault, JobId, KeyGroup, OperatorId, Split, Watermark};

use super::Hidden;
use crate::{
    Backlog, ConnectorError, Enumerator, Epochs, FormerEnumerator, LaterSplit, Listing, Piece, Read, Rollover, Sealing,
    SinkCommitter, SinkWriter, Source, SplitReader, Successor, Written,
};

struct Guarded<T: ?Sized> {
    hidden: Hidden,
    inner: Box<T>,
}

impl<T: ?Sized> Guarded<T> {
    fn told<V>(&self, told: Result<V, ConnectorError>) -> Result<V, ConnectorError> {
        told.map_err(|error| self.hidden.error(error))
    }

    fn sealing(&self, sealing: Sealing) -> Sealing {
        let hidden = self.hidden.clone();
        async move { sealing.await.map_err(|error| hidden.error(error)) }.boxed()
    }
}

/// A source whose errors have no secrets.
pub(crate) fn source(hidden: Hidden, inner: Box<dyn Source>) -> Box<dyn Source> {
    if hidden.is_empty() { inner } else { Box::new(Guarded { hidden, inner }) }
}

/// A writer whose errors have no secrets.
pub(crate) fn writer(hidden: Hidden, inner: Box<dyn SinkWriter>) -> Box<dyn SinkWriter> {
    if hidden.is_empty() { inner } else { Box::new(Guarded { hidden, inner }) }
}

/// A committer whose errors have no secrets.
pub(crate) fn committer(hidden: Hidden, inner: Box<dyn SinkCommitter>) -> Box<dyn SinkCommitter> {
    if hidden.is_empty() { inner } else { Box::new(Guarded { hidden, inner }) }
}

#[async_trait]
impl Source for Guarded<dyn Source> {
    async fn discover(&self) -> Result<Vec<Split>, ConnectorError> {
        self.told(self.inner.discover().await)
    }

    async fn open(&self, split: &Split) -> Result<Box<dyn SplitReader>, ConnectorError> {
        let inner = self.told(self.inner.open(split).await)?;
        Ok(Box::new(Guarded { hidden: self.hidden.clone(), inner }))
    }

    async fn check(&self, patient: bool) -> Result<(), ConnectorError> {
        self.told(self.inner.check(patient).await)
    }

    fn open_max(&self) -> usize {
        self.inner.open_max()
    }

    fn backlog(&self) -> Option<Backlog> {
        self.inner.backlog()
    }

    fn stop(&self) -> bool {
        self.inner.stop()
    }

    fn enumerator(&self) -> Option<Box<dyn Enumerator>> {
        let inner = self.inner.enumerator()?;
        Some(Box::new(Guarded { hidden: self.hidden.clone(), inner }))
    }

    fn completed(&self, checkpoint: CheckpointId, splits: &[Split]) {
        self.inner.completed(checkpoint, splits);
    }
}

#[async_trait]
impl Enumerator for Guarded<dyn Enumerator> {
    fn interval(&self) -> Option<Duration> {
        self.inner.interval()
    }

    async fn list(&self, listing: Listing) -> Result<Vec<Piece>, ConnectorError> {
        self.told(self.inner.list(listing).await)
    }

    fn cuts_together(&self) -> bool {
        self.inner.cuts_together()
    }

    async fn cut(&self, pieces: &[Piece], listing: Listing) -> Result<Vec<Vec<Split>>, ConnectorError> {
        self.told(self.inner.cut(pieces, listing).await)
    }

    fn awaits_ends(&self) -> bool {
        self.inner.awaits_ends()
    }

    fn former(&self, split: &Split) -> Result<Option<FormerEnumerator>, ConnectorError> {
        self.told(self.inner.former(split))
    }
}

#[async_trait]
impl SplitReader for Guarded<dyn SplitReader> {
    async fn next(&mut self) -> Result<Read, ConnectorError> {
        let read = self.inner.next().await;
        match self.told(read)? {
            // A schema registry may have said the reason.
            Read::Records { batch, mut dead_letters } => {
                for letter in &mut dead_letters {
                    letter.reason = self.hidden.text(std::mem::take(&mut letter.reason));
                }
                Ok(Read::Records { batch, dead_letters })
            }
            other @ (Read::Idle | Read::Waiting | Read::CaughtUp | Read::End) => Ok(other),
        }
    }

    fn position(&self) -> Split {
        self.inner.position()
    }

    fn successors(&self) -> Vec<Successor> {
        self.inner.successors()
    }

    fn later_position(&self) -> LaterSplit {
        self.inner.later_position()
    }
}

#[async_trait]
impl SinkWriter for Guarded<dyn SinkWriter> {
    async fn write(&mut self, batch: &RecordBatch) -> Result<(), ConnectorError> {
        let written = self.inner.write(batch).await;
        self.told(written)
    }

    async fn seal(&mut self) -> Result<Sealing, ConnectorError> {
        let sealed = self.inner.seal().await;
        self.told(sealed).map(|sealing| self.sealing(sealing))
    }

    async fn seal_with(&mut self, rows: Vec<RecordBatch>) -> Result<Sealing, ConnectorError> {
        let sealed = self.inner.seal_with(rows).await;
        self.told(sealed).map(|sealing| self.sealing(sealing))
    }

    fn unfit(&self, batch: &RecordBatch) -> Vec<Fault> {
        self.inner.unfit(batch)
    }

    fn keeps_unfit(&self) -> bool {
        self.inner.keeps_unfit()
    }

    async fn set_aside(
        &mut self,
        operator: (OperatorId, &str),
        rows: &RecordBatch,
        faults: &[Fault],
    ) -> Result<(), ConnectorError> {
        let kept = self.inner.set_aside(operator, rows, faults).await;
        self.told(kept)
    }

    fn refused(&mut self) -> Vec<Fault> {
        self.inner.refused()
    }

    fn written(&self) -> Option<Written> {
        self.inner.written()
    }

    fn rollover(&self) -> Option<Rollover> {
        self.inner.rollover()
    }

    fn arrive(
        &mut self,
        rows: &RecordBatch,
        group_of: &dyn Fn(usize) -> Option<KeyGroup>,
    ) -> Result<RecordBatch, ConnectorError> {
        let arrived = self.inner.arrive(rows, group_of);
        self.told(arrived)
    }

    fn partitions(&self, rows: &RecordBatch) -> Result<Option<BTreeMap<String, Vec<u32>>>, ConnectorError> {
        self.told(self.inner.partitions(rows))
    }

    fn on_watermark(&mut self, watermark: Watermark) {
        self.inner.on_watermark(watermark);
    }

    fn completing(&mut self, is_end: bool) -> Vec<String> {
        self.inner.completing(is_end)
    }

    fn freeze(&self) -> BTreeMap<String, i64> {
        self.inner.freeze()
    }

    fn restore(&mut self, former: &[BTreeMap<String, i64>], owns: &dyn Fn(KeyGroup) -> bool) {
        self.inner.restore(former, owns);
    }
}

#[async_trait]
impl SinkCommitter for Guarded<dyn SinkCommitter> {
    async fn commit(&self, epochs: Epochs, committables: &[Value]) -> Result<(), ConnectorError> {
        self.told(self.inner.commit(epochs, committables).await)
    }

    async fn discard(&self, cluster: &ClusterId, job: JobId, before: Attempt) -> Result<(), ConnectorError> {
        self.told(self.inner.discard(cluster, job, before).await)
    }
}
