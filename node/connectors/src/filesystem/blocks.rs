//! Reads the blocks of an Avro object container file, from the first to the last.
//!
//! A position is a block, by where it begins, and how many of its records were returned. A record that does not fit is set
//! aside alone if it can be skipped by its schema; if not, nobody knows where the next one begins, and the rest of the block is
//! set aside with it.

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use thalweg_types::Split;

use super::{payload::FilePayload, read::OpenFile};
use crate::{
    ConnectorError, DeadLetter, Read, SplitReader,
    avro::{AvroReader, BLOCK_HEAD_BYTES_MAX, BlockHead, Datum, Head, MARKER_BYTES, decompress},
    lines::shown_record,
    notices::{Absent, TableNotices},
    sizes::BATCH_BYTES,
    typed::Rows,
};

/// The longest head of a file; its schema is most of it.
const HEAD_BYTES_MAX: usize = 16 << 20;

/// How records are decoded into batches.
pub(super) struct BlockDecoding {
    pub(super) schema: SchemaRef,
    pub(super) batch_rows: usize,
    /// Whether malformed records are set aside as dead letters; otherwise the first one is an error.
    pub(super) keeps_dead_letters: bool,
    pub(super) notices: TableNotices,
}

/// The next record of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockPlace {
    /// Where its block begins; 0: the first one.
    pub(super) block: u64,
    /// How many records of the block come before it.
    pub(super) record: u64,
}

/// A block whose datums are decompressed.
struct OpenBlock {
    datums: Vec<u8>,
    /// The offset of the next datum.
    at: usize,
    /// Where the next block begins.
    end: u64,
    /// How many records it has.
    records: u64,
}

/// Reads a file of blocks.
pub(super) struct BlockReader {
    split: Split,
    file: OpenFile,
    head: Head,
    reader: AvroReader,
    decoding: BlockDecoding,
    rows: Rows,
    letters: Vec<DeadLetter>,
    /// The next record to be decoded.
    next: BlockPlace,
    /// The next record to be returned.
    given: BlockPlace,
    block: Option<OpenBlock>,
    /// Blocks that begin here or behind are not read: the file was shorter when it was found.
    end: u64,
    /// Bytes of the datums that were decoded and not returned.
    decoded_bytes: usize,
}

impl BlockReader {
    /// Opens a file, which ended at `end` when it was found, at a place.
    pub(super) async fn open(
        split: Split,
        (file, end): (OpenFile, u64),
        place: BlockPlace,
        decoding: BlockDecoding,
    ) -> Result<Self, ConnectorError> {
        let head = read_head(&file).await?;
        let first = head.bytes as u64;
        let columns = decoding.schema.fields();
        let reader = AvroReader::new(head.schema.clone(), columns).map_err(|reason| malformed(&file, reason))?;
        let rows = Rows::new(&decoding.schema).map_err(|reason| malformed(&file, reason))?;
        let names = || head.schema.names();
        let lacks = |name: &str| names().all(|own| own != name);
        let absent = columns.iter().filter(|column| lacks(column.name()));
        if names().next().is_some() {
            let absent = absent.map(|column| Absent::new(column.name(), names())).collect();
            decoding.notices.tell_absent(absent, &file.name);
        }
        let next = if place.block < first { BlockPlace { block: first, record: 0 } } else { place };
        let mut opened = Self {
            split,
            file,
            head,
            reader,
            decoding,
            rows,
            letters: Vec::new(),
            next: BlockPlace { record: 0, ..next },
            given: next,
            block: None,
            end,
            decoded_bytes: 0,
        };
        if next.record > 0 {
            opened.skip_to(next.record).await?;
        }
        Ok(opened)
    }

    /// Opens the block at the place, and skips records of it that were returned before.
    async fn skip_to(&mut self, record: u64) -> Result<(), ConnectorError> {
        let Some(mut block) = self.load().await? else {
            return Err(malformed(&self.file, format!("there is no block at byte {}", self.next.block)));
        };
        let mut datum = Datum::new(&block.datums);
        for _ in 0..record.min(block.records) {
            datum.next_datum();
            let skipped = self.reader.skip(&mut datum);
            skipped.map_err(|fault| malformed(&self.file, format!("{}: {fault}", self.here())))?;
        }
        block.at = datum.position();
        self.next.record = record.min(block.records);
        self.block = Some(block);
        Ok(())
    }

    /// Reads the block at the place; `None` at the end of the file.
    async fn load(&self) -> Result<Option<OpenBlock>, ConnectorError> {
        let start = self.next.block;
        if start >= self.end {
            return Ok(None);
        }
        let wrong = |reason: String| malformed(&self.file, format!("block at byte {start}: {reason}"));
        let mut head = [0; BLOCK_HEAD_BYTES_MAX];
        let filled = read_full(&self.file, start, &mut head).await?;
        let about = BlockHead::parse(&head[..filled]).map_err(wrong)?;
        let mut bytes = vec![0; about.bytes + MARKER_BYTES];
        let at = start + about.head_bytes as u64;
        if read_full(&self.file, at, &mut bytes).await? < bytes.len() {
            return Err(wrong("the file ends in it".to_owned()));
        }
        if bytes.split_off(about.bytes) != self.head.marker {
            return Err(wrong("it does not end with the file's marker".to_owned()));
        }
        let datums = decompress(self.head.codec, bytes).map_err(wrong)?;
        about.check(&self.head.schema, datums.len()).map_err(wrong)?;
        let end = at + (about.bytes + MARKER_BYTES) as u64;
        Ok(Some(OpenBlock { datums, at: 0, end, records: about.records as u64 }))
    }

    /// The next record, for messages.
    fn here(&self) -> String {
        format!("record {} of the block at byte {}", self.next.record + 1, self.next.block)
    }

    /// Decodes records of the open block until there are as many as a batch takes.
    fn decode(&mut self, block: &mut OpenBlock) -> Result<(), ConnectorError> {
        while self.next.record < block.records && !self.is_full() {
            let mut datum = Datum::new(&block.datums);
            datum.seek(block.at);
            let read = self.rows.read(|root, row| self.reader.read(&mut datum, root, row));
            let mut is_lost = false;
            if let Err(fault) = read {
                datum.seek(block.at);
                is_lost = self.reader.skip(&mut datum).is_err();
                if is_lost {
                    datum.seek(block.datums.len());
                }
                self.set_aside(fault.to_string(), is_lost, &block.datums[block.at..datum.position()])?;
            }
            self.decoded_bytes += datum.position() - block.at;
            block.at = datum.position();
            self.next.record = if is_lost { block.records } else { self.next.record + 1 };
        }
        if self.next.record == block.records && block.at < block.datums.len() {
            let (start, left) = (self.next.block, block.datums.len() - block.at);
            let reason = match left {
                1 => format!("block at byte {start}: a byte follows its last record"),
                left => format!("block at byte {start}: {left} bytes follow its last record"),
            };
            return Err(malformed(&self.file, reason));
        }
        Ok(())
    }

    fn set_aside(&mut self, reason: String, is_lost: bool, record: &[u8]) -> Result<(), ConnectorError> {
        let position = format!("{}: {}", self.file.name, self.here());
        let reason = if is_lost { format!("{reason}; the rest of the block is lost with it") } else { reason };
        if !self.decoding.keeps_dead_letters {
            return Err(ConnectorError::Record { position, reason });
        }
        self.letters.push(DeadLetter { position, reason, record: shown_record(record) });
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= self.decoding.batch_rows
            || self.letters.len() >= self.decoding.batch_rows
            || self.decoded_bytes >= BATCH_BYTES
    }

    fn emit(&mut self) -> Result<Read, ConnectorError> {
        let batch = self.rows.finish().map_err(|error| ConnectorError::Data {
            attempted: format!("build a batch from {}", self.file.name),
            reason: error.to_string(),
        })?;
        self.given = self.next;
        self.decoded_bytes = 0;
        Ok(Read::Records { batch, dead_letters: std::mem::take(&mut self.letters) })
    }
}

/// Reads the beginning of a file, as far as its head goes.
async fn read_head(file: &OpenFile) -> Result<Head, ConnectorError> {
    let mut bytes = vec![0; file.block_bytes().min(HEAD_BYTES_MAX)];
    let mut filled = 0;
    loop {
        filled += read_full(file, filled as u64, &mut bytes[filled..]).await?;
        let beginning = bytes.get(..filled).unwrap_or_default();
        Head::check_magic(beginning).map_err(|reason| malformed(file, reason))?;
        match Head::parse(beginning) {
            Ok(head) => return Ok(head),
            Err(_) if filled == bytes.len() && filled < HEAD_BYTES_MAX => {
                bytes.resize((bytes.len() * 2).min(HEAD_BYTES_MAX), 0);
            }
            Err(reason) => return Err(malformed(file, reason)),
        }
    }
}

/// Reads until a buffer is full or the file has ended.
async fn read_full(file: &OpenFile, at: u64, into: &mut [u8]) -> Result<usize, ConnectorError> {
    let mut filled = 0;
    while filled < into.len() {
        match file.read_at(at + filled as u64, &mut into[filled..]).await? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

fn malformed(file: &OpenFile, reason: String) -> ConnectorError {
    ConnectorError::Data { attempted: format!("read {} as Avro", file.name), reason }
}

#[async_trait]
impl SplitReader for BlockReader {
    async fn next(&mut self) -> Result<Read, ConnectorError> {
        loop {
            if self.is_full() {
                return self.emit();
            }
            let Some(mut block) = self.block.take() else {
                match self.load().await? {
                    Some(block) => self.block = Some(block),
                    None if self.rows.len() == 0 && self.letters.is_empty() => return Ok(Read::End),
                    None => return self.emit(),
                }
                continue;
            };
            self.decode(&mut block)?;
            if self.next.record < block.records {
                self.block = Some(block);
            } else {
                self.next = BlockPlace { block: block.end, record: 0 };
            }
        }
    }

    fn position(&self) -> Split {
        let mut split = self.split.clone();
        if let Ok(FilePayload::Blocks { file, bytes, .. }) = FilePayload::of(&split) {
            let BlockPlace { block, record } = self.given;
            split.payload = FilePayload::Blocks { file, bytes, block, record }.to_value();
        }
        split
    }
}
