//! Reads a compressed file as the text that it holds: members of gzip, frames of zstd, or chunks of snappy's framing.
//!
//! ```text
//! file --a block at a time--> fed --as much as there is room for--> text
//! ```
//!
//! A position is one of the text, so whoever goes on in the middle decompresses all that is before it. However much a few
//! bytes become, no more of it is made than fits the reader's buffer. Each piece is held against its checksum, if it has one.
//! A file that ends within a piece was cut off; between two pieces nobody can tell.

use std::io::{self, BufRead, Cursor, ErrorKind, Read};

use flate2::bufread::GzDecoder;
use snap::read::FrameDecoder;
use zstd::{
    stream::raw::{Decoder, Operation as _},
    zstd_safe::DParameter,
};

use super::{compressed::Compression, read::OpenFile};
use crate::{ConnectorError, location::shortened};

/// A frame of zstd may look back so far, and takes as much memory: the logarithm. Encoders use no more unless they are told to
/// (`--ultra`, `--long`).
const WINDOW_LOG_MAX: u32 = 27;
/// The longest chunk of snappy's framing with data: 64 KiB that cannot be compressed, with their checksum.
const CHUNK_BYTES_MAX: usize = 76490;
/// Text that was read before is passed over in pieces of this size.
const PASSED_BYTES: usize = 64 << 10;

/// A compressed file. It is read from its beginning on, once more if something before is wanted.
pub(super) struct Decompressed {
    file: OpenFile,
    compression: Compression,
    /// The file's length when it was found. What was added since is not read.
    end: u64,
    /// The next byte of the file that is not fetched.
    next: u64,
    engine: Engine,
    /// The next byte of the text.
    position: u64,
}

impl Decompressed {
    /// `end` is the file's length when it was found.
    pub(super) fn new(file: OpenFile, end: u64, compression: Compression) -> Result<Self, ConnectorError> {
        let engine = Engine::new(compression).map_err(|error| not_decompressed(&file, compression, &error))?;
        Ok(Self { file, compression, end, next: 0, engine, position: 0 })
    }

    pub(super) fn name(&self) -> &str {
        &self.file.name
    }

    /// Reads text into a buffer; returns 0 at its end. Cancel-safe.
    pub(super) async fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Result<usize, ConnectorError> {
        if offset < self.position {
            (self.next, self.position) = (0, 0);
            self.engine = Engine::new(self.compression).map_err(|error| self.failed(&error))?;
        }
        let mut passed = Vec::new();
        while self.position < offset {
            passed.resize(PASSED_BYTES, 0);
            let left = usize::try_from(offset - self.position).unwrap_or(usize::MAX);
            if self.read(&mut passed[..left.min(PASSED_BYTES)]).await? == 0 {
                return Ok(0);
            }
        }
        self.read(into).await
    }

    async fn read(&mut self, into: &mut [u8]) -> Result<usize, ConnectorError> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            match self.engine.read(into) {
                Ok(count) => {
                    self.position += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.fetch().await?,
                Err(error) => return Err(self.failed(&error)),
            }
        }
    }

    /// Feeds another block of the file.
    async fn fetch(&mut self) -> Result<(), ConnectorError> {
        // Decompressing a block takes a while; let other tasks on this thread run.
        tokio::task::yield_now().await;
        let left = usize::try_from(self.end - self.next).unwrap_or(usize::MAX);
        let fed = self.engine.fed();
        if left > 0 {
            let room = fed.room(left.min(self.file.block_bytes()));
            let count = self.file.read_at(self.next, room).await?;
            if count == 0 {
                return Err(shortened(&self.file.name, self.next, self.end));
            }
            fed.filled += count;
            self.next += count as u64;
        }
        fed.is_whole = self.next == self.end;
        Ok(())
    }

    fn failed(&self, error: &io::Error) -> ConnectorError {
        not_decompressed(&self.file, self.compression, error)
    }
}

fn not_decompressed(file: &OpenFile, compression: Compression, error: &io::Error) -> ConnectorError {
    let told = error.to_string();
    let reason = if error.kind() == ErrorKind::UnexpectedEof {
        "it ends in the middle of a piece: it was cut off, or got its name before it was complete".to_owned()
    } else if told.contains("too much memory") {
        format!("it needs a window of more than {} MiB: compress it with a smaller one", (1u64 << WINDOW_LOG_MAX) >> 20)
    } else {
        format!("it is damaged, or not compressed as its name says: {told}")
    };
    ConnectorError::Data { attempted: format!("decompress {} with {}", file.name, compression.name()), reason }
}

/// Bytes of the file that are fetched and not decompressed.
#[derive(Debug, Default)]
struct Fed {
    bytes: Vec<u8>,
    at: usize,
    filled: usize,
    /// Nothing follows in the file.
    is_whole: bool,
}

impl Fed {
    /// Room for more bytes, behind those that are there.
    fn room(&mut self, bytes: usize) -> &mut [u8] {
        self.bytes.copy_within(self.at..self.filled, 0);
        (self.at, self.filled) = (0, self.filled - self.at);
        let end = self.filled + bytes;
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        &mut self.bytes[self.filled..end]
    }

    /// The next so many bytes, which belong together; `None` at the end.
    fn whole(&mut self, bytes: usize) -> io::Result<Option<&[u8]>> {
        match self.filled - self.at {
            0 if self.is_whole => Ok(None),
            there if there >= bytes => Ok(Some(&self.bytes[self.at..self.at + bytes])),
            _ if self.is_whole => Err(ErrorKind::UnexpectedEof.into()),
            _ => Err(ErrorKind::WouldBlock.into()),
        }
    }
}

impl BufRead for Fed {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match &self.bytes[self.at..self.filled] {
            [] if !self.is_whole => Err(ErrorKind::WouldBlock.into()),
            bytes => Ok(bytes),
        }
    }

    fn consume(&mut self, bytes: usize) {
        self.at += bytes;
    }
}

impl Read for Fed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(into)?;
        self.consume(count);
        Ok(count)
    }
}

/// Decompresses what it is fed. It returns `WouldBlock` when it needs more, and goes on where it was.
enum Engine {
    Gzip(Box<GzDecoder<Fed>>),
    Zstd(Frames),
    Snappy(Box<Chunks>),
}

impl Engine {
    fn new(compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::Gzip => Self::Gzip(Box::new(GzDecoder::new(Fed::default()))),
            Compression::Zstd => Self::Zstd(Frames::new()?),
            Compression::Snappy => Self::Snappy(Box::new(Chunks::new())),
        })
    }

    fn fed(&mut self) -> &mut Fed {
        match self {
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Zstd(frames) => &mut frames.fed,
            Self::Snappy(chunks) => &mut chunks.fed,
        }
    }

    /// Fills a buffer in part; returns 0 at the end.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(decoder) => read_members(decoder, into),
            Self::Zstd(frames) => frames.read(into),
            Self::Snappy(chunks) => chunks.read(into),
        }
    }
}

fn read_members(decoder: &mut GzDecoder<Fed>, into: &mut [u8]) -> io::Result<usize> {
    loop {
        let count = decoder.read(into)?;
        if count > 0 {
            return Ok(count);
        }
        let fed = decoder.get_mut();
        // Zeros may fill a file up.
        while fed.whole(1)?.is_some_and(|byte| byte == [0]) {
            fed.consume(1);
        }
        if fed.whole(1)?.is_none() {
            return Ok(0);
        }
        let fed = std::mem::take(fed);
        decoder.reset(fed);
    }
}

/// Frames of zstd.
struct Frames {
    decoder: Decoder<'static>,
    /// A frame has begun and not ended.
    is_within: bool,
    fed: Fed,
}

impl Frames {
    fn new() -> io::Result<Self> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))?;
        Ok(Self { decoder, is_within: false, fed: Fed::default() })
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let fed = self.fed.fill_buf()?;
            let is_end = fed.is_empty();
            if is_end && !self.is_within {
                return Ok(0);
            }
            let status = self.decoder.run_on_buffers(fed, into)?;
            self.fed.consume(status.bytes_read);
            self.is_within = status.remaining > 0;
            if status.bytes_written > 0 {
                return Ok(status.bytes_written);
            }
            if is_end && self.is_within {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// Chunks of snappy's framing. The library reads whole ones.
struct Chunks {
    decoder: FrameDecoder<Cursor<Vec<u8>>>,
    has_begun: bool,
    /// Bytes that are still to be passed over.
    passed: usize,
    fed: Fed,
}

impl Chunks {
    fn new() -> Self {
        Self { decoder: FrameDecoder::new(Cursor::default()), has_begun: false, passed: 0, fed: Fed::default() }
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.decoder.read(into)?;
            if count > 0 || !self.next_chunk()? {
                return Ok(count);
            }
        }
    }

    /// Gives the library the next chunk; `false` at the end.
    fn next_chunk(&mut self) -> io::Result<bool> {
        loop {
            while self.passed > 0 {
                let count = self.fed.fill_buf()?.len().min(self.passed);
                if count == 0 {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                self.fed.consume(count);
                self.passed -= count;
            }
            let Some(&[kind, low, middle, high]) = self.fed.whole(4)? else { return Ok(false) };
            let bytes = u32::from_le_bytes([low, middle, high, 0]) as usize;
            // Padding, and what readers need not understand.
            if self.has_begun && (0x80..=0xfe).contains(&kind) {
                self.fed.consume(4);
                self.passed = bytes;
                continue;
            }
            if bytes > CHUNK_BYTES_MAX {
                return Err(io::Error::new(ErrorKind::InvalidData, format!("a chunk has {bytes} bytes")));
            }
            let Some(whole) = self.fed.whole(4 + bytes)? else { return Ok(false) };
            let given = self.decoder.get_mut();
            given.set_position(0);
            given.get_mut().clear();
            given.get_mut().extend_from_slice(whole);
            self.fed.consume(4 + bytes);
            self.has_begun = true;
            return Ok(true);
        }
    }
}
