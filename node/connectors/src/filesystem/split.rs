//! Reads the lines that *start* in one byte range of a file.
//!
//! ```text
//!            start                    end
//! ....line a\n|..rest of a\nline b\nli|ne c\nline d
//!                          [--- this split ---]
//! ```
//!
//! The line that contains `start` belongs to the range before, unless it begins exactly there; the line that contains
//! `end` is read to its end. So for any cut of a file into ranges, each line is read exactly once.
//!
//! A compressed file is one range, whose offsets are those of its text.

use std::collections::VecDeque;

use async_trait::async_trait;
use thalweg_types::{
    Split,
    bug::{self, Bug},
};

use super::{payload::FilePayload, text::TextFile};
use crate::{
    ConnectorError, DeadLetter, Read, SplitReader,
    lines::{BYTE_ORDER_MARK, LineDecoder, LineFault, RECORD_BYTES_MAX, check_text, shown_record},
    location::shortened,
    notices::TableNotices,
    sizes::BATCH_BYTES,
};

/// How many bytes past the range's end are read at first, to complete its last line.
const LOOKAHEAD_BYTES: usize = 64 << 10;

/// The byte range of a file that one split covers.
#[derive(Debug, Clone)]
pub(crate) struct LineRange {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Where the next line begins, if the split was partly read before.
    pub(crate) offset: Option<u64>,
}

/// How lines are decoded into batches.
pub(super) struct LineDecoding {
    pub(super) decoder: Box<dyn LineDecoder>,
    pub(super) batch_rows: usize,
    /// Whether malformed records are set aside as dead letters; otherwise the first one is an error.
    pub(super) keeps_dead_letters: bool,
    pub(super) notices: TableNotices,
}

/// A malformed line whose line number is not known yet.
struct UnnumberedFault {
    offset: u64,
    reason: String,
    record: String,
}

/// Reads one range of a file of lines.
pub(super) struct LineReader {
    split: Split,
    file: TextFile,
    end: u64,
    decoding: LineDecoding,
    buffer: Vec<u8>,
    /// The file offset of the buffer's first byte.
    base: u64,
    /// Buffer indexes: end of the decoded bytes, of the whole lines, and of the filled bytes.
    decoded: usize,
    complete: usize,
    filled: usize,
    skips_first_line: bool,
    /// The range's last line is in the buffer, or the file has ended.
    is_last: bool,
    /// The file offset behind everything returned so far; the next line begins there.
    given: u64,
    faults: VecDeque<UnnumberedFault>,
    letters: Vec<DeadLetter>,
    /// The range is read from its beginning, not resumed.
    is_whole: bool,
    has_given: bool,
    /// The offset of a line with a known number, and the number of lines before it. In a compressed file that is the buffer's
    /// first byte: what is before it could only be counted by decompressing it again.
    known_line: (u64, u64),
}

impl LineReader {
    pub(super) fn new(split: Split, file: TextFile, range: &LineRange, decoding: LineDecoding) -> Self {
        let (base, skips_first_line) = match range.offset {
            Some(offset) => (offset, bug::is_active(Bug::ReplayOneOff)),
            None => (range.start.saturating_sub(1), range.start > 0),
        };
        Self {
            split,
            end: range.end,
            decoding,
            buffer: vec![0; file.block_bytes()],
            file,
            base,
            decoded: 0,
            complete: 0,
            filled: 0,
            skips_first_line,
            is_last: base >= range.end,
            given: base,
            faults: VecDeque::new(),
            letters: Vec::new(),
            is_whole: range.offset.is_none(),
            has_given: false,
            known_line: (0, 0),
        }
    }

    fn offset(&self, index: usize) -> u64 {
        self.base + u64::try_from(index).expect("an index fits 64 bits")
    }

    /// The buffer index of a file offset, clamped to the filled bytes.
    fn index(&self, offset: u64) -> usize {
        usize::try_from(offset.saturating_sub(self.base)).unwrap_or(usize::MAX).min(self.filled)
    }

    /// Reads more whole lines into the buffer; `false` if there are none.
    async fn fill(&mut self) -> Result<bool, ConnectorError> {
        if self.is_last {
            return Ok(false);
        }
        self.make_room()?;
        if self.file.is_compressed() && self.known_line.0 < self.base {
            self.count_lines(self.base).await?;
        }
        let at = self.offset(self.filled);
        let to_end = usize::try_from(self.end.saturating_sub(at)).unwrap_or(usize::MAX);
        let wanted = to_end.saturating_add(LOOKAHEAD_BYTES).min(self.buffer.len() - self.filled);
        let count = self.file.read_at(at, &mut self.buffer[self.filled..self.filled + wanted]).await?;
        let searched = self.filled;
        self.filled += count;
        if count == 0 {
            if at < self.end && !self.file.is_compressed() {
                return Err(shortened(self.file.name(), at, self.end));
            }
            self.end_of_file();
            return Ok(true);
        }
        if at == 0 {
            self.check_beginning()?;
        }
        self.find_lines(searched);
        Ok(true)
    }

    /// Moves the undecoded bytes to the buffer's front; grows the buffer if a line fills it.
    fn make_room(&mut self) -> Result<(), ConnectorError> {
        if self.file.is_compressed() && self.known_line.0 == self.base {
            let dropped = self.offset(self.decoded);
            self.known_line = (dropped, self.lines_within(dropped));
        }
        self.buffer.copy_within(self.decoded..self.filled, 0);
        self.base = self.offset(self.decoded);
        self.filled -= self.decoded;
        self.complete -= self.decoded;
        self.decoded = 0;
        if self.filled < self.buffer.len() {
            return Ok(());
        }
        if self.buffer.len() >= RECORD_BYTES_MAX {
            return Err(ConnectorError::Data {
                attempted: format!("read {} at byte {}", self.file.shown(), self.base),
                reason: format!("a record is longer than {RECORD_BYTES_MAX} bytes"),
            });
        }
        self.buffer.resize(self.buffer.len() * 2, 0);
        Ok(())
    }

    /// Finds how far the buffer holds whole lines of this range, after bytes were added at `added`.
    fn find_lines(&mut self, added: usize) {
        let mut searched = added;
        if self.skips_first_line {
            let Some(first) = memchr::memchr(b'\n', &self.buffer[..self.filled]) else {
                self.decoded = self.filled;
                self.complete = self.filled;
                return;
            };
            self.skips_first_line = false;
            self.decoded = first + 1;
            self.complete = first + 1;
            searched = first;
        }
        // The range's last line ends with the first line feed at or behind the range's last byte.
        let last_byte = self.index(self.end - 1).max(searched);
        if let Some(at) = memchr::memchr(b'\n', &self.buffer[last_byte..self.filled]) {
            self.complete = last_byte + at + 1;
            self.is_last = true;
        } else if let Some(at) = memchr::memrchr(b'\n', &self.buffer[searched..last_byte]) {
            self.complete = searched + at + 1;
        }
    }

    /// Handles the end of the file; its last line may have no line feed.
    fn end_of_file(&mut self) {
        self.is_last = true;
        if self.skips_first_line {
            self.decoded = self.filled;
        } else if self.filled > self.decoded && self.buffer[self.filled - 1] != b'\n' {
            self.buffer[self.filled] = b'\n';
            self.filled += 1;
        }
        self.complete = self.filled;
    }

    fn check_beginning(&mut self) -> Result<(), ConnectorError> {
        let start = &self.buffer[..self.filled];
        check_text(&self.file.shown(), start)?;
        if start.starts_with(BYTE_ORDER_MARK) {
            self.decoded = BYTE_ORDER_MARK.len();
            self.complete = BYTE_ORDER_MARK.len();
        }
        Ok(())
    }

    fn decode(&mut self) {
        let mut faults = Vec::new();
        let before = self.decoded;
        let block = &self.buffer[..self.complete];
        self.decoded = self.decoding.decoder.decode(block, before, self.decoding.batch_rows, &mut faults);
        if self.decoded == before {
            if !self.is_last {
                // A record that spans lines continues behind the buffered bytes.
                self.complete = before;
                return;
            }
            let reason = "the record does not end before the end of the file".to_owned();
            faults.push(LineFault { start: before, end: self.complete, reason });
            self.decoded = self.complete;
        }
        for fault in faults {
            self.faults.push_back(UnnumberedFault {
                offset: self.offset(fault.start),
                reason: fault.reason,
                record: shown_record(&self.buffer[fault.start..fault.end]),
            });
        }
    }

    /// Numbers the lines of malformed records and sets them aside, or fails with the first one.
    async fn settle_faults(&mut self) -> Result<(), ConnectorError> {
        while let Some(offset) = self.faults.front().map(|fault| fault.offset) {
            let line = self.lines_before(offset).await? + 1;
            let Some(fault) = self.faults.pop_front() else { break };
            let position = format!("{}:{line}", self.file.name());
            if !self.decoding.keeps_dead_letters {
                return Err(ConnectorError::Record { position, reason: fault.reason });
            }
            self.letters.push(DeadLetter { position, reason: fault.reason, record: fault.record });
        }
        Ok(())
    }

    /// How many lines end before an offset that is in the buffer.
    async fn lines_before(&mut self, offset: u64) -> Result<u64, ConnectorError> {
        if self.file.is_compressed() {
            return Ok(self.lines_within(offset));
        }
        self.count_lines(offset).await?;
        Ok(self.known_line.1)
    }

    /// The same, if the number of the buffer's first line is known.
    fn lines_within(&self, offset: u64) -> u64 {
        let before = &self.buffer[..self.index(offset)];
        self.known_line.1 + memchr::memchr_iter(b'\n', before).count() as u64
    }

    /// Counts the lines before an offset. Reads the file again, so that only malformed records pay for line numbers.
    async fn count_lines(&mut self, offset: u64) -> Result<(), ConnectorError> {
        let mut block = vec![0; self.file.block_bytes()];
        while self.known_line.0 < offset {
            let (at, lines) = self.known_line;
            let wanted = usize::try_from(offset - at).unwrap_or(usize::MAX).min(block.len());
            let count = self.file.read_at(at, &mut block[..wanted]).await?;
            if count == 0 {
                return Err(shortened(&self.file.shown(), at, offset));
            }
            let ended = memchr::memchr_iter(b'\n', &block[..count]).count();
            self.known_line = (at + count as u64, lines + ended as u64);
        }
        Ok(())
    }

    /// Whether the decoded, unreturned bytes are as many as a batch should take.
    fn is_large(&self) -> bool {
        self.offset(self.decoded).saturating_sub(self.given) >= BATCH_BYTES as u64
    }

    /// Reports columns that never occurred, at the end of a range that this reader read from its beginning.
    fn tell_absent(&self) {
        if !self.is_whole || !self.has_given {
            return;
        }
        let input = match FilePayload::of(&self.split) {
            Ok(FilePayload::Lines { file, start, end, .. }) => match self.file.bytes() {
                Some(bytes) if start > 0 || end < bytes => format!("{file} from byte {start} to {end}"),
                Some(_) | None => file,
            },
            Ok(FilePayload::Compressed { file, .. }) => file,
            Ok(FilePayload::RowGroups { .. } | FilePayload::Blocks { .. } | FilePayload::Monitor { .. }) | Err(_) => {
                return;
            }
        };
        self.decoding.notices.tell_absent(self.decoding.decoder.absent(), &input);
    }

    fn emit(&mut self) -> Result<Read, ConnectorError> {
        let batch = self.decoding.decoder.finish().map_err(|error| ConnectorError::Data {
            attempted: format!("build a batch from {}", self.file.name()),
            reason: error.to_string(),
        })?;
        self.given = self.offset(self.decoded);
        self.has_given |= batch.num_rows() > 0;
        Ok(Read::Records { batch, dead_letters: std::mem::take(&mut self.letters) })
    }
}

#[async_trait]
impl SplitReader for LineReader {
    async fn next(&mut self) -> Result<Read, ConnectorError> {
        loop {
            self.settle_faults().await?;
            let given_up = self.letters.len() >= self.decoding.batch_rows;
            if self.decoding.decoder.rows() >= self.decoding.batch_rows || given_up || self.is_large() {
                return self.emit();
            }
            if self.decoded < self.complete {
                self.decode();
            } else if !self.fill().await? {
                let is_empty = self.decoding.decoder.rows() == 0 && self.letters.is_empty();
                if is_empty {
                    self.tell_absent();
                    return Ok(Read::End);
                }
                return self.emit();
            }
        }
    }

    fn position(&self) -> Split {
        let mut split = self.split.clone();
        let payload = match FilePayload::of(&split) {
            Ok(FilePayload::Lines { file, start, end, .. }) => {
                // Before anything is returned, a later reader must still find the first line that starts in the range.
                let offset = (self.given > start || start == 0).then_some(self.given);
                FilePayload::Lines { file, start, end, offset }
            }
            Ok(FilePayload::Compressed { file, bytes, .. }) => {
                FilePayload::Compressed { file, bytes, offset: self.given }
            }
            Ok(FilePayload::RowGroups { .. } | FilePayload::Blocks { .. } | FilePayload::Monitor { .. }) | Err(_) => {
                return split;
            }
        };
        split.payload = payload.to_value();
        split
    }
}
