//! Compresses part files of lines: members of gzip, frames of zstd or chunks of snappy's framing, one behind the other.
//! Readers of these forms take any number of them as one text, so compressed parts are merged as they are.

use std::sync::Arc;

use apache_avro::{Codec, DeflateSettings, ZstandardSettings};
use arrow::{array::RecordBatch, error::ArrowError};
use bytes::Bytes;
use thalweg_types::Fault;

use crate::format::{PartEncoder, PartFormat};

/// How many bytes of lines are compressed at a time.
const CHUNK_BYTES: usize = 512 << 10;
/// Snappy's framing takes no more in a chunk.
const SNAPPY_CHUNK_BYTES: usize = 64 << 10;
/// What a file in snappy's framing begins with.
const SNAPPY_HEAD: &[u8] = b"\xff\x06\x00\x00sNaPpY";
/// The library puts a checksum of its own behind a block.
const CHECKSUM_BYTES: usize = 4;
/// What a member of gzip begins with: deflate, no flags, no time, made anywhere.
const GZIP_HEAD: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\xff";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Gzip,
    Zstd,
    Snappy,
}

impl Compression {
    pub(super) fn named(name: &str) -> Option<Option<Self>> {
        match name {
            "none" => Some(None),
            "gzip" => Some(Some(Self::Gzip)),
            "zstd" => Some(Some(Self::Zstd)),
            "snappy" => Some(Some(Self::Snappy)),
            _ => None,
        }
    }

    /// What a file begins with.
    fn head(self) -> &'static [u8] {
        match self {
            Self::Gzip | Self::Zstd => &[],
            Self::Snappy => SNAPPY_HEAD,
        }
    }

    /// Appends text, compressed.
    fn compress(self, text: &[u8], into: &mut Vec<u8>) -> Result<(), ArrowError> {
        match self {
            Self::Gzip => {
                into.extend_from_slice(GZIP_HEAD);
                into.append(&mut by(Codec::Deflate(DeflateSettings::default()), text)?);
                into.extend_from_slice(&checksum(&CRC32, text).to_le_bytes());
                let length = u32::try_from(text.len() as u64 & u64::from(u32::MAX)).unwrap_or_default();
                into.extend_from_slice(&length.to_le_bytes());
            }
            Self::Zstd => into.append(&mut by(Codec::Zstandard(ZstandardSettings::default()), text)?),
            Self::Snappy => text.chunks(SNAPPY_CHUNK_BYTES).try_for_each(|chunk| snappy_chunk(chunk, into))?,
        }
        Ok(())
    }
}

fn by(codec: Codec, text: &[u8]) -> Result<Vec<u8>, ArrowError> {
    let mut block = text.to_vec();
    codec.compress(&mut block).map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
    Ok(block)
}

fn snappy_chunk(text: &[u8], into: &mut Vec<u8>) -> Result<(), ArrowError> {
    let mut block = by(Codec::Snappy, text)?;
    block.truncate(block.len().saturating_sub(CHECKSUM_BYTES));
    let length = u32::try_from(block.len() + CHECKSUM_BYTES).unwrap_or(u32::MAX);
    // Type 0: compressed data. The length takes three bytes.
    into.push(0);
    into.extend_from_slice(&length.to_le_bytes()[..3]);
    let masked = checksum(&CRC32C, text).rotate_right(15).wrapping_add(0xa282_ead8);
    into.extend_from_slice(&masked.to_le_bytes());
    into.append(&mut block);
    Ok(())
}

/// That of gzip.
static CRC32: [u32; 256] = crc_table(0xedb8_8320);
/// That of snappy's framing.
static CRC32C: [u32; 256] = crc_table(0x82f6_3b78);

const fn crc_table(polynomial: u32) -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < table.len() {
        let (mut value, mut bit) = (index as u32, 0);
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ polynomial } else { value >> 1 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}

fn checksum(table: &[u32; 256], bytes: &[u8]) -> u32 {
    let next = |sum: u32, byte: &u8| (sum >> 8) ^ table[usize::from(sum.to_le_bytes()[0] ^ byte)];
    !bytes.iter().fold(u32::MAX, next)
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
        let mut lines = Vec::new();
        let inner = self.inner.begin(&mut lines)?;
        let mut head = self.compression.head().to_vec();
        if !lines.is_empty() {
            // By itself, so that it can be taken off when parts are merged.
            self.compression.compress(&lines, &mut head)?;
            lines.clear();
        }
        piece.extend_from_slice(&head);
        Ok(Box::new(CompressedPart { inner, compression: self.compression, head, lines }))
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
        self.compress(piece)
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
        if rest.is_empty() { Ok(()) } else { self.compression.compress(&rest, piece) }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Decompresses members, frames or chunks, each held against its checksum.
    pub(in crate::filesystem) fn decompress(compression: Compression, mut bytes: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        match compression {
            Compression::Gzip => {
                while let Some(rest) = bytes.strip_prefix(GZIP_HEAD) {
                    // The length of a member is known by its end alone, so each end is tried.
                    let (member, end) = (1..=rest.len() - 8)
                        .find_map(|end| {
                            let mut block = rest[..end].to_vec();
                            Codec::Deflate(DeflateSettings::default()).decompress(&mut block).ok()?;
                            let sum = checksum(&CRC32, &block).to_le_bytes();
                            (rest[end..end + 4] == sum).then_some((block, end))
                        })
                        .expect("a member");
                    assert_eq!(rest[end + 4..end + 8], u32::try_from(member.len()).unwrap().to_le_bytes());
                    text.extend(member);
                    bytes = &rest[end + 8..];
                }
                assert!(bytes.is_empty(), "nothing else follows");
            }
            Compression::Zstd => {
                let mut all = bytes.to_vec();
                Codec::Zstandard(ZstandardSettings::default()).decompress(&mut all).expect("frames");
                text = all;
            }
            Compression::Snappy => {
                bytes = bytes.strip_prefix(SNAPPY_HEAD).expect("the stream's head");
                while let [0, a, b, c, rest @ ..] = bytes {
                    let (chunk, next) = rest.split_at(u32::from_le_bytes([*a, *b, *c, 0]) as usize);
                    let (sum, data) = chunk.split_at(4);
                    // The library checks a sum of its own, which is known only behind: so the text is found first.
                    let mut plain = vec![0; SNAPPY_CHUNK_BYTES];
                    let length = raw_snappy(data, &mut plain);
                    let masked = checksum(&CRC32C, &plain[..length]).rotate_right(15).wrapping_add(0xa282_ead8);
                    assert_eq!(sum, masked.to_le_bytes());
                    text.extend_from_slice(&plain[..length]);
                    bytes = next;
                }
                assert!(bytes.is_empty(), "nothing else follows");
            }
        }
        text
    }

    /// Snappy's block format, by its description.
    fn raw_snappy(data: &[u8], into: &mut [u8]) -> usize {
        let mut at = data.iter().position(|byte| byte & 0x80 == 0).expect("a length") + 1;
        let mut length = 0;
        while at < data.len() {
            let tag = data[at];
            let number = |from: usize, bytes: usize| {
                data[from..from + bytes].iter().rev().fold(0, |value, byte| value << 8 | usize::from(*byte))
            };
            let (count, offset) = match tag & 3 {
                0 => {
                    let short = usize::from(tag >> 2);
                    let bytes = short.saturating_sub(59);
                    let count = if bytes == 0 { short } else { number(at + 1, bytes) } + 1;
                    at += 1 + bytes;
                    into[length..length + count].copy_from_slice(&data[at..at + count]);
                    (at, length) = (at + count, length + count);
                    continue;
                }
                1 => (4 + (usize::from(tag) >> 2 & 7), (usize::from(tag) >> 5) << 8 | number(at + 1, 1)),
                2 => (1 + (usize::from(tag) >> 2), number(at + 1, 2)),
                _ => (1 + (usize::from(tag) >> 2), number(at + 1, 4)),
            };
            at += [0, 2, 3, 5][usize::from(tag & 3)];
            for _ in 0..count {
                into[length] = into[length - offset];
                length += 1;
            }
        }
        length
    }

    #[test]
    fn checksums_are_those_that_everybody_knows() {
        assert_eq!(checksum(&CRC32, b"123456789"), 0xcbf4_3926);
        assert_eq!(checksum(&CRC32C, b"123456789"), 0xe306_9283);
    }

    #[test]
    fn what_is_compressed_is_decompressed_in_any_number_of_pieces() {
        let text: Vec<u8> = (0u32..4000).flat_map(|n| format!("{{\"a\":{}}}\n", n * n % 977).into_bytes()).collect();
        for compression in [Compression::Gzip, Compression::Zstd, Compression::Snappy] {
            let mut bytes = compression.head().to_vec();
            for piece in [&text[..10], &text[10..300]] {
                compression.compress(piece, &mut bytes).expect("compressed");
            }
            assert_eq!(decompress(compression, &bytes), &text[..300], "{compression:?}");
        }
        let mut long = SNAPPY_HEAD.to_vec();
        let text = text.repeat(3);
        Compression::Snappy.compress(&text, &mut long).expect("compressed");
        assert!(long.len() < text.len() / 2 && text.len() > SNAPPY_CHUNK_BYTES);
        assert_eq!(decompress(Compression::Snappy, &long), text);
    }
}
