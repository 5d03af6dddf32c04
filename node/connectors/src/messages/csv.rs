//! CSV: one record a message, without a header. A quoted field may hold line feeds.

use arrow::array::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;

use super::{
    Decoded, MessageDecoder, MessageEncoder, MessageFault, MessageFormat,
    rows::{Packed, not_encoded},
};
use crate::{
    ConnectorError,
    csv::{CsvDecoder, CsvFormat, CsvWriter},
    lines::LineDecoder as _,
};

pub(super) const FORMAT: MessageFormat = MessageFormat {
    name: "csv",
    decoder: |view, columns, _| {
        let format = CsvFormat::of_messages(&view.options(), columns)?;
        Ok(Box::new(CsvMessages(format.decoder("messages", columns)?)))
    },
    encoder: |view, _, columns, _| {
        let options = view.options();
        CsvFormat::of_messages(&options, columns)?;
        Ok(Box::new(CsvEncoder(CsvWriter::new(&options, columns)?)))
    },
};

struct CsvMessages(CsvDecoder);

#[async_trait]
impl MessageDecoder for CsvMessages {
    async fn decode(&mut self, messages: &[Bytes]) -> Result<Decoded, ConnectorError> {
        let mut faults = Vec::new();
        for (message, bytes) in messages.iter().enumerate() {
            if let Err(reason) = self.0.read_message(bytes) {
                faults.push(MessageFault { message, reason });
            }
        }
        let rows = self.0.finish().map_err(|error| ConnectorError::Data {
            attempted: "build a batch from messages".to_owned(),
            reason: error.to_string(),
        })?;
        Ok(Decoded { rows, faults })
    }
}

struct CsvEncoder(CsvWriter);

#[async_trait]
impl MessageEncoder for CsvEncoder {
    async fn encode(&mut self, rows: &RecordBatch) -> Result<Vec<Bytes>, ConnectorError> {
        let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(rows.num_rows()));
        let written = self.0.write_each(rows, &mut bytes, |bytes| ends.push(bytes.len()));
        written.map_err(|error| not_encoded(error.to_string()))?;
        Ok(Packed::of(bytes, ends).into_messages())
    }
}
