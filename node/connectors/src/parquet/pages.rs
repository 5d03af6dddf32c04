//! Reads the sizes of a column chunk's pages from their headers, before any page is decompressed.
//!
//! ```text
//! chunk:  header page header page ..     a header is a struct in Thrift's compact protocol:
//!         1: type i32 | 2: uncompressed bytes i32 | 3: compressed bytes i32 | 5, 7, 8: not used here
//! ```
//!
//! A footer holds only sums, and a page of a few KB may claim to decompress to a gigabyte, so every header is checked.

use std::io::Read;

use ::parquet::{
    errors::{ParquetError, Result},
    file::reader::ChunkReader,
};

/// The deepest nesting of a header's structs: a page header contains statistics, which contain values.
const DEPTH_MAX: usize = 8;
const DICTIONARY_PAGE: i64 = 2;

/// The sizes of a column chunk's pages in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PageSizes {
    /// The dictionary, decompressed; it is held while the chunk is read.
    dictionary: u64,
    /// The largest other page, decompressed.
    largest: u64,
    /// All other pages, decompressed.
    others: u64,
    /// The largest page as stored.
    pub(super) compressed: u64,
}

impl PageSizes {
    /// Decompressed bytes held at once: rows may refer to the page before the one being decoded.
    pub(super) fn held(&self) -> u64 {
        self.dictionary.saturating_add(self.others.min(self.largest.saturating_mul(2)))
    }
}

/// Reads the headers of a chunk's pages.
pub(super) fn page_sizes<R: ChunkReader>(reader: &R, start: u64, length: u64) -> Result<PageSizes> {
    let end = start.saturating_add(length);
    let (mut at, mut sizes) = (start, PageSizes::default());
    while at < end {
        let mut input = Counted { input: reader.get_read(at)?, count: 0 };
        let header = Header::read(&mut input)?;
        let number = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok()).ok_or_else(malformed);
        let (compressed, uncompressed) = (number(header.compressed)?, number(header.uncompressed)?);
        if header.kind == Some(DICTIONARY_PAGE) {
            sizes.dictionary = sizes.dictionary.max(uncompressed);
        } else {
            sizes.largest = sizes.largest.max(uncompressed);
            sizes.others = sizes.others.saturating_add(uncompressed);
        }
        sizes.compressed = sizes.compressed.max(compressed);
        at = at.saturating_add(input.count).saturating_add(compressed);
    }
    Ok(sizes)
}

fn malformed() -> ParquetError {
    ParquetError::General("the header of a page is malformed".to_owned())
}

struct Counted<R> {
    input: R,
    count: u64,
}

impl<R: Read> Counted<R> {
    fn byte(&mut self) -> Result<u8> {
        let mut byte = [0];
        self.input.read_exact(&mut byte)?;
        self.count += 1;
        Ok(byte[0])
    }

    /// An unsigned number of up to 64 bits, in groups of seven bits (Thrift's varint).
    fn varint(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(malformed())
    }

    fn signed(&mut self) -> Result<i64> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    fn skip_bytes(&mut self, count: u64) -> Result<()> {
        let skipped = std::io::copy(&mut self.input.by_ref().take(count), &mut std::io::sink())?;
        self.count += skipped;
        if skipped == count { Ok(()) } else { Err(malformed()) }
    }

    /// Skips a value of a Thrift type.
    fn skip(&mut self, kind: u8, depth: usize) -> Result<()> {
        match kind {
            // The type of a boolean field holds its value.
            1 | 2 => Ok(()),
            3 => self.skip_bytes(1),
            4..=6 => self.varint().map(|_| ()),
            7 => self.skip_bytes(8),
            8 => {
                let length = self.varint()?;
                self.skip_bytes(length)
            }
            12 if depth < DEPTH_MAX => {
                let mut field = 0;
                while let Some(kind) = self.field(&mut field)? {
                    self.skip(kind, depth + 1)?;
                }
                Ok(())
            }
            // Page headers contain no lists, sets or maps.
            _ => Err(malformed()),
        }
    }

    /// The type of a struct's next field, or `None` at its end. `number` is updated from the last field's number to
    /// this one's.
    fn field(&mut self, number: &mut i64) -> Result<Option<u8>> {
        let byte = self.byte()?;
        if byte == 0 {
            return Ok(None);
        }
        let delta = i64::from(byte >> 4);
        *number = if delta == 0 { self.signed()? } else { number.saturating_add(delta) };
        Ok(Some(byte & 0x0f))
    }
}

#[derive(Default)]
struct Header {
    kind: Option<i64>,
    uncompressed: Option<i64>,
    compressed: Option<i64>,
}

impl Header {
    fn read<R: Read>(input: &mut Counted<R>) -> Result<Self> {
        let (mut header, mut number) = (Self::default(), 0);
        while let Some(kind) = input.field(&mut number)? {
            let value = match number {
                1 => &mut header.kind,
                2 => &mut header.uncompressed,
                3 => &mut header.compressed,
                _ => {
                    input.skip(kind, 0)?;
                    continue;
                }
            };
            if kind != 5 {
                return Err(malformed());
            }
            *value = Some(input.signed()?);
        }
        Ok(header)
    }
}
