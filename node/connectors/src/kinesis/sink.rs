//! Writes rows to a stream, at least once.
//!
//! | | `write` | the sealing | the committer |
//! |---|---|---|---|
//! | as a rule | encodes, and hands records to the sender | waits until all are written | does nothing |
//! | with `sink.record-id.field` | encodes, and stages what it has encoded | the rest is staged | sends it, once the checkpoint is complete |
//!
//! What is staged has its ids, and is sent again as it is after a failure: so whoever reads can drop repeats by their ids. Records
//! that are sent at once are made anew after a failure, and nobody knows which of them were written before.
//!
//! A stream that takes no more makes `write` wait, by which the job's sources stop; what is held is bounded.

use std::{sync::Arc, time::Duration};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use futures::{FutureExt as _, StreamExt as _};
use serde_json::Value;
use thalweg_storage::{CheckpointStore, ObjectStores};
use thalweg_types::{Attempt, ClusterId, Fault, JobId, seam::Seams};

use super::{
    check::{Place, check_stream},
    faults::{failed, patiently},
    records::{RecordEncoder, records_of},
    send::{About, Sender},
    sink_options::WriteOptions,
    table::open_stream,
};
use crate::{
    CommitterIdentity, ConnectorError, Epochs, Sealing, SinkCommitter, SinkSubtask, SinkWriter, Written,
    connector::{Sink, SinkTable, publishes_nothing},
    notices::TableNotices,
    options::Options,
    resent::Resent,
    staging::{self, Staged, Stager},
};

/// How long nothing may be written before a checkpoint that waits for it is given up.
const WRITTEN_WITHIN: Duration = Duration::from_mins(5);
/// How long a committer waits for that. The leader orders it again then, perhaps on another node.
const COMMITTED_WITHIN: Duration = Duration::from_mins(1);
/// Records are handed over so many at a time.
const RECORDS_MAX: usize = 1000;
const MEMORY_BYTES_MIN: u64 = 1 << 20;

/// How the connector writes.
pub(super) const SINK: Sink = Sink {
    writer: |table, subtask| {
        let write = WriteOptions::of(&Options::new(&table.spec.table, &table.spec.connector))?;
        let encoder = RecordEncoder::open(&table, &write, &subtask.identity)?;
        Ok(match write.id_field {
            Some(_) => {
                let job = subtask.identity.job;
                let stager = Stager::new(subtask, table.context.seams.compute.clone());
                let options = Options::new(&table.spec.table, &table.spec.connector);
                let stream = open_stream(&options, &write.config, table.context)?;
                let notices = table.context.notices.of(Some(job), &write.table);
                let about = (notices, table.context.seams.clone());
                Box::new(StagingWriter { encoder, stager, write, stream, about, record_bytes_max: None })
            }
            None => Box::new(DirectWriter::new(&table, write, encoder, &subtask)?),
        })
    },
    committer: |table, identity| {
        let write = WriteOptions::of(&Options::new(&table.spec.table, &table.spec.connector))?;
        match write.id_field {
            Some(_) => Ok(Box::new(KinesisCommitter::new(&table, write, identity)?)),
            None => publishes_nothing(table, identity),
        }
    },
    check: Some(|table, patient| check(table, patient).boxed()),
};

/// Checks that a table can be written. `patient`: what does not answer now may do so later.
async fn check(table: SinkTable<'_>, patient: bool) -> Result<(), ConnectorError> {
    let options = Options::new(&table.spec.table, &table.spec.connector);
    let write = WriteOptions::of(&options)?;
    let stream = open_stream(&options, &write.config, table.context)?;
    check_stream(&Place::new(&write.table, &write.config), stream.as_ref(), patient).await
}

fn failed_to_write(write: &WriteOptions, error: thalweg_kinesis::KinesisError) -> ConnectorError {
    failed(&write.table, format!("write to stream '{}'", write.stream_name), error)
}

/// Stages records for the committer.
struct StagingWriter {
    encoder: RecordEncoder,
    stager: Stager,
    write: WriteOptions,
    stream: Arc<dyn thalweg_kinesis::Stream>,
    about: (TableNotices, Seams),
    /// The most bytes of a record; `None`: that was not asked for yet.
    record_bytes_max: Option<usize>,
}

#[async_trait]
impl SinkWriter for StagingWriter {
    async fn write(&mut self, batch: &RecordBatch) -> Result<(), ConnectorError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let bytes_max = match self.record_bytes_max {
            Some(bytes) => bytes,
            None => {
                let about = (&self.about.0, &self.about.1);
                let described = patiently(about, "ask for the stream", || self.stream.describe()).await;
                described.map_err(|error| failed_to_write(&self.write, error))?.record_bytes_max
            }
        };
        self.record_bytes_max = Some(bytes_max);
        let records = self.encoder.encode(batch, bytes_max).await?;
        self.stager.write(records).await
    }

    async fn seal(&mut self) -> Result<Sealing, ConnectorError> {
        Ok(self.stager.seal())
    }

    fn written(&self) -> Option<Written> {
        Some(self.stager.written())
    }

    fn unfit(&self, batch: &RecordBatch) -> Vec<Fault> {
        self.encoder.unfit(batch)
    }

    fn refused(&mut self) -> Vec<Fault> {
        self.encoder.take_too_large()
    }
}

/// Hands records over at once.
struct DirectWriter {
    encoder: RecordEncoder,
    write: Arc<WriteOptions>,
    sending: Arc<Sending>,
    /// The most bytes of a record; `None`: nothing was sent yet.
    record_bytes_max: Option<usize>,
}

/// Keeps a sender at work. It ends when nobody holds this any more.
struct Sending(Arc<Sender>);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl DirectWriter {
    fn new(
        table: &SinkTable<'_>,
        write: WriteOptions,
        encoder: RecordEncoder,
        subtask: &SinkSubtask,
    ) -> Result<Self, ConnectorError> {
        let SinkTable { spec, context, .. } = table;
        let stream = open_stream(&Options::new(&spec.table, &spec.connector), &write.config, context)?;
        let job = subtask.identity.job;
        let about = About {
            notices: context.notices.of(Some(job), &write.table),
            resent: context.resent.of(job, &write.table),
            seams: context.seams.clone(),
        };
        let memory_bytes = subtask.memory_bytes.max(MEMORY_BYTES_MIN);
        let sender = Sender::new(stream, write.sending.clone(), memory_bytes, about);
        let running = sender.clone();
        // It ends with `Sending`; whoever waits for what it does learns of its failure.
        let _ = context.seams.io.spawn("sender of records to Kinesis", Box::pin(async move { running.run().await }));
        Ok(Self { encoder, write: Arc::new(write), sending: Arc::new(Sending(sender)), record_bytes_max: None })
    }
}

#[async_trait]
impl SinkWriter for DirectWriter {
    async fn write(&mut self, batch: &RecordBatch) -> Result<(), ConnectorError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let sender = &self.sending.0;
        let bytes_max = match self.record_bytes_max {
            Some(bytes) => bytes,
            None => sender.prepare().await.map_err(|error| failed_to_write(&self.write, error))?,
        };
        self.record_bytes_max = Some(bytes_max);
        let encoded = self.encoder.encode(batch, bytes_max).await?;
        for from in (0..encoded.num_rows()).step_by(RECORDS_MAX) {
            let part = encoded.slice(from, RECORDS_MAX.min(encoded.num_rows() - from));
            let pushed = self.sending.0.push(records_of(&part, bytes_max)?).await;
            pushed.map_err(|error| failed_to_write(&self.write, error))?;
        }
        Ok(())
    }

    async fn seal(&mut self) -> Result<Sealing, ConnectorError> {
        let (sending, write) = (self.sending.clone(), self.write.clone());
        let epoch = sending.0.seal();
        let sealing = async move {
            let written = sending.0.written(epoch, WRITTEN_WITHIN).await;
            written.map_err(|error| failed_to_write(&write, error))?;
            Ok(Vec::new())
        };
        Ok(sealing.boxed())
    }

    fn unfit(&self, batch: &RecordBatch) -> Vec<Fault> {
        self.encoder.unfit(batch)
    }

    fn refused(&mut self) -> Vec<Fault> {
        self.encoder.take_too_large()
    }
}

/// Sends what writers have staged.
struct KinesisCommitter {
    write: WriteOptions,
    identity: CommitterIdentity,
    stream: Arc<dyn thalweg_kinesis::Stream>,
    stores: ObjectStores,
    notices: TableNotices,
    resent: Resent,
    seams: Seams,
}

impl KinesisCommitter {
    fn new(table: &SinkTable<'_>, write: WriteOptions, identity: CommitterIdentity) -> Result<Self, ConnectorError> {
        let SinkTable { spec, context, .. } = table;
        Ok(Self {
            stream: open_stream(&Options::new(&spec.table, &spec.connector), &write.config, context)?,
            notices: context.notices.of(Some(identity.job), &write.table),
            resent: context.resent.of(identity.job, &write.table),
            write,
            identity,
            stores: context.stores.clone(),
            seams: context.seams.clone(),
        })
    }

    /// Hands all records over, and waits until they are written.
    async fn send(&self, sender: &Sender, staged: &[Staged]) -> Result<(), ConnectorError> {
        let failed = |error| failed_to_write(&self.write, error);
        let bytes_max = sender.prepare().await.map_err(failed)?;
        let store = match staged.iter().any(Staged::has_objects) {
            true => Some(CheckpointStore::open(&self.identity.checkpoints, &self.stores)?),
            false => None,
        };
        for staged in staged {
            let mut batches = std::pin::pin!(staged.batches(store.as_ref()));
            while let Some(batch) = batches.next().await {
                sender.push(records_of(&batch?, bytes_max)?).await.map_err(failed)?;
            }
        }
        let epoch = sender.seal();
        sender.written(epoch, COMMITTED_WITHIN).await.map_err(failed)
    }
}

#[async_trait]
impl SinkCommitter for KinesisCommitter {
    async fn commit(&self, _: Epochs, committables: &[Value]) -> Result<(), ConnectorError> {
        let staged: Vec<Staged> = committables.iter().map(Staged::of_committable).collect::<Result<_, _>>()?;
        if staged.is_empty() {
            return Ok(());
        }
        let about = About { notices: self.notices.clone(), resent: self.resent.clone(), seams: self.seams.clone() };
        let memory_bytes = self.identity.memory_bytes.max(MEMORY_BYTES_MIN);
        let sender = Sender::new(self.stream.clone(), self.write.sending.clone(), memory_bytes, about);
        let mut sent = std::pin::pin!(self.send(&sender, &staged));
        tokio::select! {
            biased;
            sent = sent.as_mut() => sent,
            // It has failed: the other one says why.
            () = sender.run() => sent.await,
        }
    }

    async fn discard(&self, cluster: &ClusterId, job: JobId, before: Attempt) -> Result<(), ConnectorError> {
        let store = CheckpointStore::open(&self.identity.checkpoints, &self.stores)?;
        staging::discard(&store, (cluster, job), self.identity.sink, before).await
    }
}
