//! Compresses part files of lines: members of gzip, frames of zstd or chunks of snappy's framing, one behind the other, each with
//! a checksum of what it holds. Readers of these forms take any number of them as one text (`decompressed`), so compressed
//! parts are merged as they are.

use std::{
    io::{self, Write as _},
    sync::Arc,
};

use arrow::{array::RecordBatch, error::ArrowError};
use bytes::Bytes;
use flate2::write::GzEncoder;
use snap::write::FrameEncoder;
use thalweg_types::Fault;
use zstd::{bulk::Compressor, zstd_safe::CParameter};

use crate::format::{PartEncoder, PartFormat};

/// How many bytes of lines are compressed at a time.
const CHUNK_BYTES: usize = 512 << 10;
/// The library's own default.
const ZSTD_LEVEL: i32 = 0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Gzip,
    Zstd,
    Snappy,
}

impl Compression {
    const ALL: [Self; 3] = [Self::Gzip, Self::Zstd, Self::Snappy];

    pub(super) fn named(name: &str) -> Option<Option<Self>> {
        let found = Self::ALL.into_iter().find(|compression| compression.name() == name);
        if found.is_none() && name != "none" { None } else { Some(found) }
    }

    /// How a file of this name is compressed; `None`: it is not.
    pub(super) fn of_file(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|compression| name.ends_with(compression.extension()))
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Snappy => "snappy",
        }
    }

    fn extension(self) -> &'static str {
        match self {
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
            Self::Snappy => ".snappy",
        }
    }

    /// Appends text, compressed.
    pub(super) fn compress(self, text: &[u8], into: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(into, flate2::Compression::default());
                encoder.write_all(text)?;
                encoder.finish()?;
            }
            Self::Zstd => {
                let mut compressor = Compressor::new(ZSTD_LEVEL)?;
                compressor.set_parameter(CParameter::ChecksumFlag(true))?;
                into.append(&mut compressor.compress(text)?);
            }
            Self::Snappy => {
                let mut encoder = FrameEncoder::new(into);
                encoder.write_all(text)?;
                encoder.flush()?;
            }
        }
        Ok(())
    }
}

/// Part files of a format of lines, compressed.
pub(super) struct CompressedParts {
    pub(super) inner: Arc<dyn PartFormat>,
    pub(super) compression: Compression,
}

struct CompressedPart {
    inner: Box<dyn PartEncoder>,
    compression: Compression,
    /// What each file of the table begins with, compressed.
    head: Vec<u8>,
    /// Lines that are not compressed yet.
    lines: Vec<u8>,
}

impl PartFormat for CompressedParts {
    fn begin(&self, piece: &mut Vec<u8>) -> Result<Box<dyn PartEncoder>, ArrowError> {
        let (mut lines, mut head) = (Vec::new(), Vec::new());
        let inner = self.inner.begin(&mut lines)?;
        if !lines.is_empty() {
            // By itself, so that it can be taken off when parts are merged.
            self.compression.compress(&lines, &mut head)?;
        }
        piece.extend_from_slice(&head);
        Ok(Box::new(CompressedPart { inner, compression: self.compression, head, lines: Vec::new() }))
    }

    fn unfit(&self, rows: &RecordBatch) -> Vec<Fault> {
        self.inner.unfit(rows)
    }
}

impl CompressedPart {
    fn compress(&mut self, piece: &mut Vec<u8>) -> Result<(), ArrowError> {
        if !self.lines.is_empty() {
            self.compression.compress(&self.lines, piece)?;
            self.lines.clear();
        }
        Ok(())
    }
}

impl PartEncoder for CompressedPart {
    fn encode(&mut self, rows: &RecordBatch, group_bytes: usize, piece: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.inner.encode(rows, group_bytes, &mut self.lines)?;
        if self.lines.len() >= CHUNK_BYTES { self.compress(piece) } else { Ok(()) }
    }

    fn collected_bytes(&self) -> usize {
        self.lines.len()
    }

    fn flush(&mut self, piece: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.compress(piece)?;
        // The part may wait for long, beside many others.
        self.lines = Vec::new();
        Ok(())
    }

    fn absorb(&mut self, part: &Bytes, _group_bytes: usize, piece: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.compress(piece)?;
        piece.extend_from_slice(part.strip_prefix(&self.head[..]).unwrap_or(part));
        Ok(())
    }

    fn finish(mut self: Box<Self>, piece: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.compress(piece)?;
        let mut rest = Vec::new();
        self.inner.finish(&mut rest)?;
        if rest.is_empty() { Ok(()) } else { Ok(self.compression.compress(&rest, piece)?) }
    }
}
