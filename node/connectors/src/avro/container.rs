//! Object container files: what stands at their beginning, and before and behind each of their blocks.
//!
//! ```text
//! Obj 1 | metadata: avro.schema, avro.codec | marker
//! number of records | length | compressed datums | marker      and so on to the end of the file
//! ```

use std::{collections::HashMap, sync::Arc};

use apache_avro::{Codec as Library, DeflateSettings, ZstandardSettings};

use super::{
    datum::Datum,
    layout::write_long,
    schema::{AvroSchema, Extent},
};
use crate::json::Fault;

const MAGIC: &[u8; 4] = b"Obj\x01";
/// The length of the marker behind each block.
pub(crate) const MARKER_BYTES: usize = 16;
/// The longest block, compressed or not.
pub(crate) const BLOCK_BYTES_MAX: usize = 64 << 20;
/// Number and length before a block take at most this much.
pub(crate) const BLOCK_HEAD_BYTES_MAX: usize = 20;
/// The most records of a block that take no bytes.
const EMPTY_RECORDS_MAX: usize = 100_000;

/// How blocks are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    Null,
    Deflate,
    Snappy,
    Zstandard,
}

impl Codec {
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Null, Self::Deflate, Self::Snappy, Self::Zstandard].into_iter().find(|codec| codec.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Deflate => "deflate",
            Self::Snappy => "snappy",
            Self::Zstandard => "zstandard",
        }
    }

    fn library(self) -> Library {
        match self {
            Self::Null => Library::Null,
            Self::Deflate => Library::Deflate(DeflateSettings::default()),
            Self::Snappy => Library::Snappy,
            Self::Zstandard => Library::Zstandard(ZstandardSettings::default()),
        }
    }
}

/// What stands at the beginning of a file.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) schema: Arc<AvroSchema>,
    pub(crate) codec: Codec,
    pub(crate) marker: [u8; MARKER_BYTES],
    /// How long it is.
    pub(crate) bytes: usize,
}

impl Head {
    /// The head of a file that begins so. The error says what is wrong, which may be that it goes on behind these bytes.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        Self::check_magic(bytes)?;
        let mut datum = Datum::new(bytes);
        let metadata = metadata(&mut datum).map_err(|fault| format!("its metadata: {fault}"))?;
        let marker = datum.bytes(Extent::Fixed(MARKER_BYTES)).map_err(|fault| format!("its marker: {fault}"))?;
        let mut own = [0; MARKER_BYTES];
        own.copy_from_slice(marker);
        let text = |key: &str| {
            let value = metadata.get(key.as_bytes()).copied();
            value.map(|value| std::str::from_utf8(value).map_err(|_| format!("its {key} is no text"))).transpose()
        };
        let name = text("avro.codec")?.unwrap_or("null");
        let codec = Codec::named(name).ok_or_else(|| {
            let name: String = name.chars().take(32).collect();
            format!("its codec is '{name}', and null, deflate, snappy and zstandard can be read")
        })?;
        let schema = AvroSchema::parse(text("avro.schema")?.ok_or("it has no avro.schema")?, &[])?;
        Ok(Self { schema: Arc::new(schema), codec, marker: own, bytes: datum.position() })
    }

    /// Refuses what begins otherwise.
    pub(crate) fn check_magic(bytes: &[u8]) -> Result<(), String> {
        match bytes.starts_with(MAGIC) {
            true => Ok(()),
            false => Err("it is no Avro object container file: it does not begin with 'Obj' and 1".to_owned()),
        }
    }

    /// Appends the head of a file with this schema.
    pub(super) fn write(schema: &str, codec: Codec, marker: &[u8; MARKER_BYTES], into: &mut Vec<u8>) {
        into.extend_from_slice(MAGIC);
        write_long(2, into);
        for (key, value) in [("avro.codec", codec.name()), ("avro.schema", schema)] {
            for part in [key, value] {
                length(part.len(), into);
                into.extend_from_slice(part.as_bytes());
            }
        }
        write_long(0, into);
        into.extend_from_slice(marker);
    }
}

fn metadata<'a>(datum: &mut Datum<'a>) -> Result<HashMap<&'a [u8], &'a [u8]>, Fault> {
    datum.bytes(Extent::Fixed(MAGIC.len()))?;
    let mut metadata = HashMap::new();
    while let Some((count, _)) = datum.block(false)? {
        for _ in 0..count {
            let key = datum.bytes(Extent::Prefixed)?;
            metadata.insert(key, datum.bytes(Extent::Prefixed)?);
        }
    }
    Ok(metadata)
}

/// What stands before a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockHead {
    pub(crate) records: usize,
    /// The length of the compressed datums.
    pub(crate) bytes: usize,
    /// The length of this head.
    pub(crate) head_bytes: usize,
}

impl BlockHead {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut datum = Datum::new(bytes);
        let mut length = || datum.length().map_err(|fault| fault.to_string());
        let (records, block_bytes) = (length()?, length()?);
        if block_bytes > BLOCK_BYTES_MAX {
            return Err(format!("a block has {block_bytes} bytes, more than {BLOCK_BYTES_MAX}"));
        }
        Ok(Self { records, bytes: block_bytes, head_bytes: datum.position() })
    }

    /// Checks that so many records can be in a block that is decompressed.
    pub(crate) fn check(&self, schema: &AvroSchema, bytes: usize) -> Result<(), String> {
        let most = if schema.is_empty(schema.root()) { EMPTY_RECORDS_MAX } else { bytes };
        match self.records > most {
            true => Err(format!("a block of {bytes} bytes has {} records", self.records)),
            false => Ok(()),
        }
    }
}

/// The datums of a block.
pub(crate) fn decompress(codec: Codec, mut bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    // The library holds against it what a block says of its length. It takes the first bound that it is given.
    apache_avro::util::max_allocation_bytes(BLOCK_BYTES_MAX);
    codec.library().decompress(&mut bytes).map_err(|error| format!("a block cannot be decompressed: {error}"))?;
    Ok(bytes)
}

/// Appends a block of datums, which are left empty.
pub(super) fn write_block(
    (records, datums): (usize, &mut Vec<u8>),
    codec: Codec,
    marker: &[u8; MARKER_BYTES],
    into: &mut Vec<u8>,
) -> Result<(), String> {
    codec.library().compress(datums).map_err(|error| format!("a block cannot be compressed: {error}"))?;
    length(records, into);
    length(datums.len(), into);
    into.append(datums);
    into.extend_from_slice(marker);
    Ok(())
}

fn length(length: usize, into: &mut Vec<u8>) {
    write_long(i64::try_from(length).unwrap_or(i64::MAX), into);
}
