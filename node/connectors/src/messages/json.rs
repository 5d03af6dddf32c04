//! JSON: one object a message.
//!
//! Messages become lines of one block, which the decoder of files reads at its full speed. A line feed within a message can
//! only stand between tokens, where a carriage return means the same; within a string neither may stand.

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use bytes::Bytes;

use super::{
    Decoded, MessageDecoder, MessageEncoder, MessageFault, MessageFormat,
    rows::{Packed, not_encoded},
};
use crate::{
    ConnectorError,
    json::{JsonDecoder, JsonWriter, json_form},
    lines::LineDecoder as _,
    notices::Absent,
};

pub(super) const FORMAT: MessageFormat = MessageFormat {
    name: "json",
    decoder: |view, columns, _| {
        let decoder = JsonMessages::new(columns).map_err(|reason| view.options().error(reason))?;
        Ok(Box::new(decoder))
    },
    encoder: |view, _, columns, _| {
        let options = view.options();
        let writer = JsonWriter::new(columns, json_form(&options)).map_err(|reason| options.error(reason))?;
        Ok(Box::new(JsonEncoder(writer)))
    },
};

/// A block of more memory than this is not kept for the next call.
const KEPT_BYTES_MAX: usize = 8 << 20;

struct JsonMessages {
    decoder: JsonDecoder,
    block: Vec<u8>,
    /// Where each line of the block begins, and the message that it is.
    starts: Vec<(usize, usize)>,
}

impl JsonMessages {
    fn new(columns: &SchemaRef) -> Result<Self, String> {
        let decoder = JsonDecoder::of_messages(columns.clone())?;
        Ok(Self { decoder, block: Vec::new(), starts: Vec::new() })
    }

    /// Adds a message as a line; `false` if there is nothing in it.
    fn add(&mut self, index: usize, message: &[u8]) -> bool {
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        let Some(last) = message.iter().rposition(|byte| !is_blank(byte)) else { return false };
        let start = self.block.len();
        self.block.extend_from_slice(&message[..=last]);
        let line = &mut self.block[start..];
        let mut at = 0;
        while let Some(next) = line.get(at..).and_then(|rest| memchr::memchr(b'\n', rest)) {
            at += next;
            line[at] = b'\r';
        }
        self.block.push(b'\n');
        self.starts.push((start, index));
        true
    }
}

#[async_trait]
impl MessageDecoder for JsonMessages {
    async fn decode(&mut self, messages: &[Bytes]) -> Result<Decoded, ConnectorError> {
        self.block.clear();
        self.starts.clear();
        self.block.reserve(messages.iter().map(|message| message.len() + 1).sum());
        let mut faults = Vec::new();
        for (index, message) in messages.iter().enumerate() {
            if !self.add(index, message) {
                faults.push(MessageFault { message: index, reason: "the message is empty".to_owned() });
            }
        }
        let mut of_lines = Vec::new();
        self.decoder.decode(&self.block, 0, usize::MAX, &mut of_lines);
        let starts = &self.starts;
        faults.extend(of_lines.into_iter().filter_map(|fault| {
            let line = starts.partition_point(|(start, _)| *start <= fault.start).checked_sub(1)?;
            Some(MessageFault { message: starts[line].1, reason: fault.reason })
        }));
        faults.sort_by_key(|fault| fault.message);
        let rows = self.decoder.finish().map_err(|error| ConnectorError::Data {
            attempted: "build a batch from messages".to_owned(),
            reason: error.to_string(),
        })?;
        if self.block.capacity() > KEPT_BYTES_MAX {
            self.block = Vec::new();
        }
        Ok(Decoded { rows, faults })
    }

    fn absent(&self) -> Vec<Absent> {
        self.decoder.absent()
    }
}

struct JsonEncoder(JsonWriter);

#[async_trait]
impl MessageEncoder for JsonEncoder {
    async fn encode(&mut self, rows: &RecordBatch) -> Result<Vec<Bytes>, ConnectorError> {
        let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(rows.num_rows()));
        let written = self.0.write_each(rows, &mut bytes, |bytes| ends.push(bytes.len()));
        written.map_err(|error| not_encoded(error.to_string()))?;
        Ok(Packed::of(bytes, ends).into_messages())
    }
}
