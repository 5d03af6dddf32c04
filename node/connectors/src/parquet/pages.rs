//! What the pages of a column chunk say of their sizes, before any of them is decompressed.
//!
//! ```text
//! chunk:  header page header page ..     a header is a struct in Thrift's compact protocol:
//!         1: type i32 | 2: uncompressed bytes i32 | 3: compressed bytes i32 | 5, 7, 8: what is of no interest here
//! ```
//!
//! A footer tells sums, and a page of a few KB may say that it has a gigabyte: so every header is looked at.

use std::io::Read;

use ::parquet::{
    errors::{ParquetError, Result},
    file::reader::ChunkReader,
};

/// How deep a header's structs go, at most: a page's header holds one of statistics, which holds values.
const DEPTH_MAX: usize = 8;
const DICTIONARY_PAGE: i64 = 2;

/// What decoding a column chunk takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PageSizes {
    /// Of the dictionary, decompressed: it is kept for as long as the chunk is read.
    dictionary: u64,
    /// Of the largest other page, decompressed.
    largest: u64,
    /// Of all other pages, decompressed.
    others: u64,
    /// Of the largest page, as it is in the file.
    pub(super) compressed: u64,
}

impl PageSizes {
    /// Bytes that are held at once, decompressed: rows may refer to the page before the one that is being decoded.
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

    /// An unsigned number of up to 64 bits, in groups of seven.
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

    /// Passes over a value of one of Thrift's types.
    fn skip(&mut self, kind: u8, depth: usize) -> Result<()> {
        match kind {
            // A boolean field is its type.
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
            // No header of a page has lists, sets or maps.
            _ => Err(malformed()),
        }
    }

    /// The type of a struct's next field, whose number is put in place of the last one's; `None` at its end.
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
