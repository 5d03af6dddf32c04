//! Literal rows of a script: they are part of the plan and form one split.

use std::io::Cursor;

use arrow::{array::RecordBatch, compute::concat_batches, error::ArrowError, ipc::reader::StreamReader};
use async_trait::async_trait;
use serde_json::{Value, json};
use thalweg_types::{
    Split, SplitId,
    connector::{VALUES_CONNECTOR, VALUES_ROWS},
    graph::SourceOperator,
    text::from_hex,
};

use crate::{ConnectorError, Read, Source, SplitReader, connector::Connector, options::Options, sizes::fitting_rows};

const SPLIT: &str = "values";
const ROW: &str = "row";

pub(crate) const CONNECTOR: Connector = Connector {
    name: VALUES_CONNECTOR,
    source: Some(|table| Ok(Box::new(ValuesSource::new(table.spec, table.batch_rows)?))),
    sink: None,
};

#[derive(Debug)]
struct ValuesSource {
    table: String,
    rows: RecordBatch,
    batch_rows: usize,
}

impl ValuesSource {
    fn new(spec: &SourceOperator, batch_rows: usize) -> Result<Self, ConnectorError> {
        let options = Options::new(&spec.table, &spec.connector);
        let stream =
            from_hex(options.required(VALUES_ROWS)?).ok_or_else(|| options.error("its rows are not base 16"))?;
        let rows = rows_of(&stream).map_err(|error| options.error(format!("its rows cannot be read: {error}")))?;
        if rows.schema().fields() != spec.physical.fields() {
            return Err(options.error("its rows have other columns than the plan says"));
        }
        Ok(Self { table: spec.table.clone(), rows, batch_rows: batch_rows.max(1) })
    }
}

fn rows_of(stream: &[u8]) -> Result<RecordBatch, ArrowError> {
    let reader = StreamReader::try_new(Cursor::new(stream), None)?;
    let schema = reader.schema();
    let batches = reader.collect::<Result<Vec<RecordBatch>, ArrowError>>()?;
    concat_batches(&schema, &batches)
}

#[async_trait]
impl Source for ValuesSource {
    async fn discover(&self) -> Result<Vec<Split>, ConnectorError> {
        let payload = json!({ ROW: 0 });
        Ok(vec![Split { id: SplitId(SPLIT.to_owned()), sequence: SPLIT.to_owned(), ordinal: 0, payload }])
    }

    async fn open(&self, split: &Split) -> Result<Box<dyn SplitReader>, ConnectorError> {
        let next = split.payload.get(ROW).and_then(Value::as_u64).and_then(|row| usize::try_from(row).ok());
        let next = next.filter(|row| *row <= self.rows.num_rows()).ok_or_else(|| ConnectorError::Config {
            table: self.table.clone(),
            reason: format!("{} is not a position in its rows", split.payload),
        })?;
        let (rows, batch_rows) = (self.rows.clone(), self.batch_rows);
        Ok(Box::new(ValuesReader { split: split.clone(), rows, batch_rows, next }))
    }
}

struct ValuesReader {
    split: Split,
    rows: RecordBatch,
    batch_rows: usize,
    next: usize,
}

#[async_trait]
impl SplitReader for ValuesReader {
    async fn next(&mut self) -> Result<Read, ConnectorError> {
        let left = self.rows.num_rows() - self.next;
        if left == 0 {
            return Ok(Read::End);
        }
        let batch = self.rows.slice(self.next, left.min(self.batch_rows));
        let batch = batch.slice(0, fitting_rows(&batch));
        self.next += batch.num_rows();
        Ok(Read::Records { batch, dead_letters: Vec::new() })
    }

    fn position(&self) -> Split {
        Split { payload: json!({ ROW: self.next }), ..self.split.clone() }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use arrow::{
        array::{ArrayRef, Int32Array},
        ipc::writer::StreamWriter,
    };
    use thalweg_types::{
        connector::{TableConnector, VALUES_CONNECTOR},
        text::to_hex,
    };

    use super::*;

    fn rows() -> RecordBatch {
        let column: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(3), Some(4), Some(5)]));
        RecordBatch::try_from_iter_with_nullable([("n", column, true)]).unwrap()
    }

    fn spec(stream: &[u8]) -> SourceOperator {
        let options = BTreeMap::from([(VALUES_ROWS.to_owned(), to_hex(stream))]);
        SourceOperator {
            table: "t".to_owned(),
            connector: TableConnector { name: VALUES_CONNECTOR.to_owned(), options, secrets: BTreeMap::new() },
            physical: rows().schema(),
            predicates: Vec::new(),
            projection: None,
            watermark: None,
        }
    }

    fn stream() -> Vec<u8> {
        let mut stream = Vec::new();
        let mut writer = StreamWriter::try_new(&mut stream, &rows().schema()).unwrap();
        writer.write(&rows()).unwrap();
        writer.finish().unwrap();
        drop(writer);
        stream
    }

    async fn read(reader: &mut Box<dyn SplitReader>) -> Option<RecordBatch> {
        match reader.next().await.unwrap() {
            Read::Records { batch, .. } => Some(batch),
            Read::Idle | Read::Waiting | Read::CaughtUp | Read::End => None,
        }
    }

    #[tokio::test]
    async fn rows_are_read_in_order_and_on_from_each_position() {
        let source = ValuesSource::new(&spec(&stream()), 2).unwrap();
        let splits = source.discover().await.unwrap();
        let mut position = splits[0].clone();
        for expected in [rows().slice(0, 2), rows().slice(2, 2), rows().slice(4, 1)] {
            let mut reader = source.open(&position).await.unwrap();
            assert_eq!(read(&mut reader).await, Some(expected));
            position = reader.position();
        }
        let mut reader = source.open(&position).await.unwrap();
        assert_eq!((splits.len(), read(&mut reader).await), (1, None));
    }

    #[tokio::test]
    async fn damaged_rows_and_positions_are_refused() {
        let cut = stream();
        assert!(ValuesSource::new(&spec(&cut[..cut.len() / 2]), 2).is_err());
        assert!(ValuesSource::new(&spec(b"no rows at all"), 2).is_err());
        let source = ValuesSource::new(&spec(&cut), 2).unwrap();
        for payload in [json!({ ROW: 6 }), json!({}), json!(null)] {
            let split = Split { payload, ..source.discover().await.unwrap().remove(0) };
            assert!(source.open(&split).await.is_err());
        }
    }
}
