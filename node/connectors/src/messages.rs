//! Formats of single messages: how the rows of a table are decoded from the values (and keys) of messages, and encoded into
//! them.
//!
//! ```text
//! options of a part --view--> its format --+--> json, csv                   on the decoders of files
//!                                          +--> raw, avro, protobuf         rows.rs, over `typed`
//!                                          '--> avro-, protobuf-confluent   confluent.rs, with the schemas of registry.rs
//! ```
//!
//! Each format is a module with a `FORMAT`, and a line below; its options are in its spec (`thalweg_types::connector`).

mod avro;
mod confluent;
mod csv;
mod json;
mod protobuf;
mod raw;
mod registry;
mod rows;
mod view;

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    ConnectorContext, ConnectorError,
    notices::{Absent, Lost},
    options::Options,
};
use view::FormatView;

/// A part of a message with a format of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Key,
    Value,
}

/// A format of messages.
struct MessageFormat {
    /// Its spec's.
    name: &'static str,
    decoder: OpenDecoder,
    encoder: OpenEncoder,
}

type OpenDecoder = fn(&FormatView, &SchemaRef, &ConnectorContext) -> Result<Box<dyn MessageDecoder>, ConnectorError>;
/// The text is the subject that the schema has in a registry if the table names none.
type OpenEncoder =
    fn(&FormatView, &str, &SchemaRef, &ConnectorContext) -> Result<Box<dyn MessageEncoder>, ConnectorError>;

/// All of them.
const FORMATS: &[MessageFormat] =
    &[json::FORMAT, csv::FORMAT, avro::FORMAT, avro::CONFLUENT, protobuf::FORMAT, protobuf::CONFLUENT, raw::FORMAT];

/// A decoder of a part of a table's messages. `columns`: those of this part, in the order of the result; if only some of the part's
/// are read, the schema's metadata names all of them (`TABLE_COLUMNS`). Opening asks nothing over the network.
///
/// # Errors
/// If the options name no format of messages, or do not fit it; if the columns do not.
pub(crate) fn open_decoder(
    options: &Options<'_>,
    part: Part,
    columns: &SchemaRef,
    context: &ConnectorContext,
) -> Result<Box<dyn MessageDecoder>, ConnectorError> {
    let view = FormatView::new(options, part)?;
    (format_of(&view)?.decoder)(&view, columns, context).map_err(|error| of_part(error, part))
}

/// An encoder of a part of a table's messages. `topic` names the registry's default subject (`TOPIC-key`, `TOPIC-value`).
/// Opening asks nothing over the network.
///
/// # Errors
/// As `open_decoder`.
pub(crate) fn open_encoder(
    options: &Options<'_>,
    part: Part,
    topic: &str,
    columns: &SchemaRef,
    context: &ConnectorContext,
) -> Result<Box<dyn MessageEncoder>, ConnectorError> {
    let view = FormatView::new(options, part)?;
    let subject = match part {
        Part::Key => format!("{topic}-key"),
        Part::Value => format!("{topic}-value"),
    };
    (format_of(&view)?.encoder)(&view, &subject, columns, context).map_err(|error| of_part(error, part))
}

fn format_of(view: &FormatView) -> Result<&'static MessageFormat, ConnectorError> {
    let found = FORMATS.iter().find(|format| format.name == view.name());
    found.ok_or_else(|| view.options().error(format!("there are no messages of format '{}'", view.name())))
}

/// Says of an error that it is about keys.
fn of_part(mut error: ConnectorError, part: Part) -> ConnectorError {
    if part == Part::Key
        && let ConnectorError::Config { reason, .. } = &mut error
    {
        *reason = format!("its keys: {reason}");
    }
    error
}

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

    /// The columns that the last schema has no more, if one was learnt since the last call, for formats whose messages name their schemas.
    fn lost(&mut self) -> Vec<Lost> {
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

#[cfg(test)]
mod tests;
