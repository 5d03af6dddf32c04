//! What formats share that read and write rows one by one.

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use bytes::Bytes;
use thalweg_types::Fault as RowFault;

use super::{Decoded, MessageDecoder, MessageEncoder, MessageFault};
use crate::{
    ConnectorError,
    json::Fault,
    notices::Absent,
    typed::{RowColumn, Rows, WriteRow, cells_of, unfit},
};

/// Decodes each message by a function that reads its bytes into the columns of a row.
pub(super) struct RowDecoder<R> {
    rows: Rows,
    read: R,
    /// The columns that no message has.
    absent: Vec<(String, Option<String>)>,
}

impl<R> RowDecoder<R>
where
    R: FnMut(&[u8], &mut RowColumn, usize) -> Result<(), Fault> + Send + 'static,
{
    /// The error names a column that cannot be built.
    pub(super) fn boxed(columns: &SchemaRef, absent: Vec<Absent>, read: R) -> Result<Box<dyn MessageDecoder>, String> {
        let absent = absent.into_iter().map(|Absent { column, near }| (column, near)).collect();
        Ok(Box::new(Self { rows: Rows::new(columns)?, read, absent }))
    }
}

#[async_trait]
impl<R> MessageDecoder for RowDecoder<R>
where
    R: FnMut(&[u8], &mut RowColumn, usize) -> Result<(), Fault> + Send + 'static,
{
    async fn decode(&mut self, messages: &[Bytes]) -> Result<Decoded, ConnectorError> {
        let Self { rows, read, .. } = self;
        let mut faults = Vec::new();
        for (message, bytes) in messages.iter().enumerate() {
            if let Err(fault) = rows.read(|root, row| read(bytes, root, row)) {
                faults.push(MessageFault { message, reason: fault.to_string() });
            }
        }
        Ok(Decoded { rows: finished(rows)?, faults })
    }

    fn absent(&self) -> Vec<Absent> {
        self.absent.iter().map(|(column, near)| Absent { column: column.clone(), near: near.clone() }).collect()
    }
}

/// The rows that were read.
pub(super) fn finished(rows: &mut Rows) -> Result<RecordBatch, ConnectorError> {
    rows.finish().map_err(|error| ConnectorError::Data {
        attempted: "build a batch from messages".to_owned(),
        reason: error.to_string(),
    })
}

/// The columns that are not among the names of a schema's fields.
pub(super) fn absent_of<'a>(columns: &SchemaRef, names: impl Iterator<Item = &'a str> + Clone) -> Vec<Absent> {
    let lacks = |column: &str| names.clone().all(|name| name != column);
    let absent = columns.fields().iter().filter(|column| lacks(column.name()));
    absent.map(|column| Absent::new(column.name(), names.clone())).collect()
}

/// Encodes each row by itself.
pub(super) struct RowEncoder<W>(pub(super) W);

#[async_trait]
impl<W: WriteRow> MessageEncoder for RowEncoder<W> {
    async fn encode(&mut self, rows: &RecordBatch) -> Result<Vec<Bytes>, ConnectorError> {
        encoded(&self.0, rows, &[])
    }

    fn unfit(&self, rows: &RecordBatch) -> Vec<RowFault> {
        unfit(&self.0, rows)
    }
}

/// The messages of rows, each with `head` before it.
pub(super) fn encoded(writer: &impl WriteRow, rows: &RecordBatch, head: &[u8]) -> Result<Vec<Bytes>, ConnectorError> {
    let cells = cells_of(rows).map_err(|error| not_encoded(error.to_string()))?;
    let mut packed = Packed::default();
    for row in 0..rows.num_rows() {
        packed.bytes.extend_from_slice(head);
        writer.write(&cells, row, &mut packed.bytes).map_err(|fault| not_encoded(fault.to_string()))?;
        packed.end();
    }
    Ok(packed.into_messages())
}

pub(super) fn not_encoded(reason: String) -> ConnectorError {
    ConnectorError::Data { attempted: "encode rows".to_owned(), reason }
}

/// Messages one behind the other, so that they share their memory.
#[derive(Default)]
pub(super) struct Packed {
    pub(super) bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Packed {
    /// Ends a message here.
    pub(super) fn end(&mut self) {
        self.ends.push(self.bytes.len());
    }

    pub(super) fn of(bytes: Vec<u8>, ends: Vec<usize>) -> Self {
        Self { bytes, ends }
    }

    pub(super) fn into_messages(self) -> Vec<Bytes> {
        let all = Bytes::from(self.bytes);
        let mut start = 0;
        let cut = self.ends.into_iter().map(|end| all.slice(std::mem::replace(&mut start, end)..end));
        cut.collect()
    }
}
