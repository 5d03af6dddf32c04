//! Writes rows to the node's standard output, as JSON lines with a prefix.
//!
//! Each batch is written as a whole, so that lines of several subtasks never mix. Output is visible at once and cannot
//! be withdrawn: after a restart, rows are printed again.

use std::sync::Arc;

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use thalweg_types::graph::SinkOperator;

use crate::{
    ConnectorError, Sealing, SinkWriter,
    connector::{Connector, Sink, publishes_nothing},
    json::{JsonWriter, timestamp::TimestampForm},
    nothing_to_seal,
    options::Options,
    standard::StandardOutput,
};

pub(crate) const CONNECTOR: Connector = Connector {
    name: "print",
    source: None,
    sink: Some(Sink {
        writer: |table, _| Ok(Box::new(PrintWriter::new(table.spec, table.schema, table.context.stdout.clone())?)),
        committer: publishes_nothing,
        check: None,
    }),
};

struct PrintWriter {
    output: Arc<dyn StandardOutput>,
    writer: JsonWriter,
    prefix: Vec<u8>,
}

impl PrintWriter {
    fn new(spec: &SinkOperator, schema: &SchemaRef, output: Arc<dyn StandardOutput>) -> Result<Self, ConnectorError> {
        let options = Options::new(&spec.table, &spec.connector);
        let writer = JsonWriter::new(schema, TimestampForm::Sql).map_err(|reason| options.error(reason))?;
        let prefix = options.text("print-identifier").map(|text| format!("{text}> ").into_bytes());
        Ok(Self { output, writer, prefix: prefix.unwrap_or_default() })
    }

    /// The rows as lines, each with the prefix.
    fn encode(&self, batch: &RecordBatch) -> Result<Vec<u8>, ConnectorError> {
        let mut lines = Vec::new();
        self.writer
            .write(batch, &mut lines)
            .map_err(|error| ConnectorError::Data { attempted: "encode rows".to_owned(), reason: error.to_string() })?;
        if self.prefix.is_empty() {
            return Ok(lines);
        }
        let mut prefixed = Vec::with_capacity(lines.len() + batch.num_rows() * self.prefix.len());
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            prefixed.extend_from_slice(&self.prefix);
            prefixed.extend_from_slice(line);
        }
        Ok(prefixed)
    }
}

#[async_trait]
impl SinkWriter for PrintWriter {
    async fn write(&mut self, batch: &RecordBatch) -> Result<(), ConnectorError> {
        let lines = self.encode(batch)?;
        self.output.write_lines(&lines).map_err(|error| ConnectorError::Store {
            attempted: "write to standard output".to_owned(),
            source: error.into(),
        })
    }

    async fn seal(&mut self) -> Result<Sealing, ConnectorError> {
        Ok(nothing_to_seal())
    }
}

#[cfg(test)]
mod tests;
