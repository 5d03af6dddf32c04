//! JSON as a format of tables: an object a line.

use std::sync::Arc;

use arrow::{array::RecordBatch, datatypes::SchemaRef, error::ArrowError};
use bytes::Bytes;

use super::{JsonDecoder, JsonWriter, json_form};
use crate::{
    ConnectorError,
    format::{Format, LineFormat, PartEncoder, PartFormat, Ranges},
    lines::LineDecoder,
};

pub(crate) const FORMAT: Format = Format {
    name: "json",
    ranges: Ranges::Lines(|options, schema| {
        JsonDecoder::new(schema.clone()).map_err(|reason| options.error(reason))?;
        Ok(Arc::new(JsonLines { schema: schema.clone() }))
    }),
    parts: |options, schema, _| {
        let writer = JsonWriter::new(schema, json_form(options)).map_err(|reason| options.error(reason))?;
        Ok(Arc::new(JsonParts(writer)))
    },
};

#[derive(Debug)]
struct JsonLines {
    schema: SchemaRef,
}

impl LineFormat for JsonLines {
    fn decoder(&self, input: &str, _header: Option<&[u8]>) -> Result<Box<dyn LineDecoder>, ConnectorError> {
        let failed = |reason| ConnectorError::Data { attempted: format!("read {input} as JSON"), reason };
        Ok(Box::new(JsonDecoder::new(self.schema.clone()).map_err(failed)?))
    }
}

#[derive(Clone)]
struct JsonParts(JsonWriter);

impl PartFormat for JsonParts {
    fn begin(&self, _piece: &mut Vec<u8>) -> Result<Box<dyn PartEncoder>, ArrowError> {
        Ok(Box::new(self.clone()))
    }
}

impl PartEncoder for JsonParts {
    fn encode(&mut self, rows: &RecordBatch, _group_bytes: usize, piece: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.0.write(rows, piece)
    }

    fn absorb(&mut self, part: &Bytes, _group_bytes: usize, piece: &mut Vec<u8>) -> Result<(), ArrowError> {
        piece.extend_from_slice(part);
        Ok(())
    }
}
