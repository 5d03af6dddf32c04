//! Formats of single messages: how the rows of a table are decoded from the values (and keys) of messages, and encoded into
//! them.

use arrow::array::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;

use crate::{ConnectorError, notices::Absent};

/// Decodes messages into rows of the columns that it was opened for.
#[async_trait]
pub(crate) trait MessageDecoder: Send {
    /// Decodes each message into one row. Those with a fault have none. Cancel-safe: nothing is kept between calls but schemas.
    ///
    /// # Errors
    /// If no message can be decoded now, as when a schema registry does not answer.
    async fn decode(&mut self, messages: &[Bytes]) -> Result<Decoded, ConnectorError>;

    /// The columns that no message has had so far, for formats whose messages name their columns.
    fn absent(&self) -> Vec<Absent> {
        Vec::new()
    }
}

/// What messages were decoded into.
#[derive(Debug)]
pub(crate) struct Decoded {
    /// A row for each message without a fault, in order.
    pub(crate) rows: RecordBatch,
    /// In order.
    pub(crate) faults: Vec<MessageFault>,
}

/// A message that cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MessageFault {
    /// Its index among the messages of the call.
    pub(crate) message: usize,
    pub(crate) reason: String,
}

/// Encodes rows of the columns that it was opened for.
#[async_trait]
pub(crate) trait MessageEncoder: Send {
    /// Encodes each row into one message.
    ///
    /// # Errors
    /// If a row cannot be held, which `unfit` tells before; if a schema registry refuses the schema, or does not answer.
    async fn encode(&mut self, rows: &RecordBatch) -> Result<Vec<Bytes>, ConnectorError>;

    /// The rows that a message of this format cannot hold.
    fn unfit(&self, _rows: &RecordBatch) -> Vec<thalweg_types::Fault> {
        Vec::new()
    }
}
