//! Reads the standard input of an embedded cluster as one split, until it ends.
//!
//! Lines are returned as soon as they arrive. The input cannot be read twice, so a job that has begun to read it cannot
//! be restarted: the second attempt fails with that reason. So the position only records how far the input was read.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use thalweg_types::{Split, SplitId, graph::SourceOperator};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::{
    ConnectorError, DeadLetter, Read, Source, SplitReader,
    connector::Connector,
    error::store_error,
    format::LineFormat,
    formats::lines_of,
    lines::{BYTE_ORDER_MARK, LineDecoder, LineFault, RECORD_BYTES_MAX, shown_record},
    notices::TableNotices,
    options::Options,
    standard::StandardInput,
};

const NAME: &str = "stdin";
const BLOCK_BYTES: usize = 256 << 10;
/// The member of the payload that holds the number of lines returned.
const LINES: &str = "lines";

pub(crate) const CONNECTOR: Connector = Connector {
    name: "stdin",
    source: Some(|table| {
        let input = table.context.stdin.clone();
        Ok(Box::new(StdinSource::new(table.spec, table.batch_rows, input, table.notices)?))
    }),
    sink: None,
};

struct StdinSource {
    input: Arc<dyn StandardInput>,
    format: Arc<dyn LineFormat>,
    batch_rows: usize,
    keeps_dead_letters: bool,
    notices: TableNotices,
}

impl StdinSource {
    fn new(
        spec: &SourceOperator,
        batch_rows: usize,
        input: Option<Arc<dyn StandardInput>>,
        notices: TableNotices,
    ) -> Result<Self, ConnectorError> {
        let options = Options::new(&spec.table, &spec.connector);
        let input = input.ok_or_else(|| options.error("standard input can be read in an embedded cluster only"))?;
        let format = lines_of(&options, "json", &spec.physical)?;
        let keeps_dead_letters = options.text("dead-letter.path").is_some();
        Ok(Self { input, format, batch_rows, keeps_dead_letters, notices })
    }
}

#[async_trait]
impl Source for StdinSource {
    async fn discover(&self) -> Result<Vec<Split>, ConnectorError> {
        Ok(vec![Split { id: SplitId(NAME.to_owned()), sequence: NAME.to_owned(), ordinal: 0, payload: Value::Null }])
    }

    async fn open(&self, split: &Split) -> Result<Box<dyn SplitReader>, ConnectorError> {
        let failed = |reason| ConnectorError::Data { attempted: "read standard input".to_owned(), reason };
        // A restarted process has another input, which must not be taken for the rest of this one.
        let lines = split.payload.get(LINES).and_then(Value::as_u64).unwrap_or(0);
        if lines > 0 {
            return Err(failed(format!("it was read before, up to line {lines}, and cannot be read again")));
        }
        let input =
            self.input.take().ok_or_else(|| failed("it was read before and cannot be read again".to_owned()))?;
        Ok(Box::new(StdinReader {
            split: split.clone(),
            input,
            format: self.format.clone(),
            decoder: None,
            batch_rows: self.batch_rows,
            keeps_dead_letters: self.keeps_dead_letters,
            buffer: Vec::with_capacity(BLOCK_BYTES),
            decoded: 0,
            complete: 0,
            lines: 0,
            has_ended: false,
            has_given: false,
            notices: self.notices.clone(),
        }))
    }
}

struct StdinReader {
    split: Split,
    input: Box<dyn AsyncRead + Send + Unpin>,
    format: Arc<dyn LineFormat>,
    /// Created at the first line, which may be a header.
    decoder: Option<Box<dyn LineDecoder>>,
    batch_rows: usize,
    keeps_dead_letters: bool,
    buffer: Vec<u8>,
    decoded: usize,
    complete: usize,
    /// The number of decoded lines.
    lines: u64,
    has_ended: bool,
    has_given: bool,
    notices: TableNotices,
}

impl StdinReader {
    /// Waits for more bytes. Cancel-safe: bytes that were read stay in the buffer.
    async fn fill(&mut self) -> Result<(), ConnectorError> {
        self.buffer.drain(..self.decoded);
        self.decoded = 0;
        if self.buffer.len() > RECORD_BYTES_MAX {
            return Err(ConnectorError::Data {
                attempted: format!("read {NAME} after line {}", self.lines),
                reason: format!("a record is longer than {RECORD_BYTES_MAX} bytes"),
            });
        }
        self.complete = 0;
        self.buffer.reserve(BLOCK_BYTES);
        let count = self.input.read_buf(&mut self.buffer).await.map_err(store_error(format!("read {NAME}")))?;
        if count == 0 {
            self.has_ended = true;
            if self.buffer.last().is_some_and(|byte| *byte != b'\n') {
                self.buffer.push(b'\n');
            }
        }
        self.complete = memchr::memrchr(b'\n', &self.buffer).map_or(0, |at| at + 1);
        Ok(())
    }

    fn make_decoder(&mut self) -> Result<Box<dyn LineDecoder>, ConnectorError> {
        if self.buffer.starts_with(BYTE_ORDER_MARK) {
            self.decoded = BYTE_ORDER_MARK.len();
        }
        if !self.format.has_header() {
            return self.format.decoder(NAME, None);
        }
        let end = memchr::memchr(b'\n', &self.buffer).map_or(self.complete, |at| at + 1);
        let decoder = self.format.decoder(NAME, Some(&self.buffer[..end]))?;
        self.decoded = end;
        self.lines = 1;
        Ok(decoder)
    }

    /// Decodes the buffered records; `None` if there is no whole record.
    fn decode(&mut self) -> Result<Option<Read>, ConnectorError> {
        let mut decoder = match self.decoder.take() {
            Some(decoder) => decoder,
            None => self.make_decoder()?,
        };
        let before = self.decoded;
        let mut faults = Vec::new();
        self.decoded = decoder.decode(&self.buffer[..self.complete], before, self.batch_rows, &mut faults);
        if self.decoded == before && before < self.complete && self.has_ended {
            let reason = "the record does not end before the end of the input".to_owned();
            faults.push(LineFault { start: before, end: self.complete, reason });
            self.decoded = self.complete;
        } else if self.decoded == before {
            self.complete = before;
        }
        let letters = self.letters(before, &faults)?;
        self.lines += count_lines(&self.buffer[before..self.decoded]);
        let is_empty = decoder.rows() == 0 && letters.is_empty();
        let batch = decoder.finish().map_err(|error| ConnectorError::Data {
            attempted: format!("build a batch from {NAME}"),
            reason: error.to_string(),
        })?;
        self.decoder = Some(decoder);
        self.has_given |= batch.num_rows() > 0;
        Ok((!is_empty).then_some(Read::Records { batch, dead_letters: letters }))
    }

    fn letters(&self, before: usize, faults: &[LineFault]) -> Result<Vec<DeadLetter>, ConnectorError> {
        let mut letters = Vec::new();
        for fault in faults {
            let line = self.lines + count_lines(&self.buffer[before..fault.start]) + 1;
            let position = format!("{NAME}:{line}");
            if !self.keeps_dead_letters {
                return Err(ConnectorError::Record { position, reason: fault.reason.clone() });
            }
            let record = shown_record(&self.buffer[fault.start..fault.end]);
            letters.push(DeadLetter { position, reason: fault.reason.clone(), record });
        }
        Ok(letters)
    }
}

#[async_trait]
impl SplitReader for StdinReader {
    async fn next(&mut self) -> Result<Read, ConnectorError> {
        loop {
            if self.decoded < self.complete {
                if let Some(read) = self.decode()? {
                    return Ok(read);
                }
            } else if self.has_ended {
                if let Some(decoder) = self.decoder.take_if(|_| self.has_given) {
                    self.notices.tell_absent(decoder.absent(), NAME);
                }
                return Ok(Read::End);
            } else {
                self.fill().await?;
            }
        }
    }

    fn position(&self) -> Split {
        Split { payload: json!({ LINES: self.lines }), ..self.split.clone() }
    }
}

fn count_lines(text: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', text).count() as u64
}
