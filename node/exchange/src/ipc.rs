//! Batches on the wire: an Arrow IPC record batch message without its schema, and its body, optionally compressed with
//! LZ4.
//!
//! Both ends know the schema from the job graph. The bytes are untrusted: every length, offset and count of the header
//! is checked against the body and the schema before Arrow reads it, and Arrow's own validation of values is on.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use arrow::{
    array::RecordBatch,
    buffer::MutableBuffer,
    datatypes::{DataType, FieldRef, Fields, SchemaRef},
    error::ArrowError,
};
use arrow_ipc::{
    CompressionType, MetadataVersion,
    reader::read_record_batch,
    root_as_message,
    writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions},
};
use bytes::Bytes;

/// How much a body may exceed twice the charge of its batch. Buffers are padded to 64 bytes, absent validity is written
/// out, and view columns may retain up to a quarter more than their rows need.
const BODY_SLACK_BYTES: u64 = 256 << 10;

/// A batch as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EncodedBatch {
    /// The IPC message.
    pub(crate) header: Bytes,
    pub(crate) body: Bytes,
}

/// The most bytes that the body of a batch of this cost may have, compressed or not.
pub(crate) fn body_bytes_max(cost: u64) -> u64 {
    cost.saturating_mul(2).saturating_add(BODY_SLACK_BYTES)
}

/// Encodes the batches of one channel.
#[derive(Debug)]
pub(crate) struct Encoder {
    options: IpcWriteOptions,
    context: IpcWriteContext,
}

impl Encoder {
    pub(crate) fn new(lz4: bool) -> Self {
        let compression = lz4.then_some(CompressionType::LZ4_FRAME);
        let options = IpcWriteOptions::default().try_with_compression(compression);
        Self { options: options.expect("LZ4 is compiled in"), context: IpcWriteContext::default() }
    }

    pub(crate) fn encode(&mut self, batch: &RecordBatch) -> Result<EncodedBatch, ArrowError> {
        let mut dictionaries = DictionaryTracker::new(false);
        let (sent_before, encoded) =
            IpcDataGenerator::default().encode(batch, &mut dictionaries, &self.options, &mut self.context)?;
        if !sent_before.is_empty() {
            return Err(ArrowError::NotYetImplemented("dictionaries do not travel between nodes".to_owned()));
        }
        Ok(EncodedBatch { header: encoded.ipc_message.into(), body: encoded.arrow_data.into() })
    }
}

/// Reads a batch of this schema and cost. Returns what is wrong with it otherwise. Never panics.
pub(crate) fn decode(encoded: &EncodedBatch, schema: &SchemaRef, cost: u64) -> Result<RecordBatch, String> {
    let message = root_as_message(&encoded.header).map_err(|error| format!("bad header: {error}"))?;
    if message.version() != MetadataVersion::V5 {
        return Err(format!("a header of version {:?}", message.version()));
    }
    let header = message.header_as_record_batch().ok_or("the header is not that of a record batch")?;
    check(&header, &encoded.body, schema.fields(), cost)?;
    // One copy into memory that is aligned as arrays need it. It also releases the transport's buffer.
    let mut aligned = MutableBuffer::with_capacity(encoded.body.len());
    aligned.extend_from_slice(&encoded.body);
    let (body, no_dictionaries) = (aligned.into(), HashMap::new());
    // Arrow asserts some of what it reads, such as the lengths of validity buffers. For a peer's bytes that is an error
    // like any other.
    let read = AssertUnwindSafe(|| {
        read_record_batch(&body, header, schema.clone(), &no_dictionaries, None, &MetadataVersion::V5)
    });
    match catch_unwind(read) {
        Ok(Ok(batch)) => Ok(batch),
        Ok(Err(error)) => Err(format!("bad batch: {error}")),
        Err(_) => Err("bad batch: lengths contradict each other".to_owned()),
    }
}

fn check(header: &arrow_ipc::RecordBatch<'_>, body: &[u8], fields: &Fields, cost: u64) -> Result<(), String> {
    // A row takes at least one bit. Only a batch without columns has rows that cost nothing; it has as few as any
    // batch, so they are within the slack.
    let limit = i64::try_from(body_bytes_max(cost)).unwrap_or(i64::MAX).saturating_mul(8);
    if !(0..=limit).contains(&header.length()) {
        return Err(format!("{} rows in a batch charged {cost}", header.length()));
    }
    let nodes = header.nodes().ok_or("no field nodes")?;
    for node in nodes {
        if !(0..=limit).contains(&node.length()) || !(0..=node.length()).contains(&node.null_count()) {
            return Err(format!("a column of {} values, {} of them null", node.length(), node.null_count()));
        }
    }
    let views: usize = fields.iter().map(count_views).sum();
    let counts: Vec<i64> = header.variadicBufferCounts().into_iter().flatten().collect();
    let buffers = header.buffers().ok_or("no buffers")?;
    let most = i64::try_from(buffers.len()).unwrap_or(i64::MAX);
    if counts.len() != views || counts.iter().any(|count| !(0..=most).contains(count)) {
        return Err(format!("buffer counts {counts:?} for {views} view columns"));
    }
    let is_packed = match header.compression() {
        None => false,
        Some(compression) if compression.codec() == CompressionType::LZ4_FRAME => true,
        Some(compression) => return Err(format!("compression {:?}", compression.codec())),
    };
    let mut unpacked = 0u64;
    for buffer in buffers {
        let range = slice_of(body, buffer.offset(), buffer.length())
            .ok_or_else(|| format!("a buffer at {} of {} bytes", buffer.offset(), buffer.length()))?;
        let bytes = if is_packed && !range.is_empty() { unpacked_bytes(range)? } else { range.len() as u64 };
        unpacked = unpacked.saturating_add(bytes);
    }
    if unpacked > body_bytes_max(cost) {
        return Err(format!("{unpacked} bytes in a batch charged {cost}"));
    }
    Ok(())
}

fn slice_of(body: &[u8], offset: i64, length: i64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    let end = start.checked_add(usize::try_from(length).ok()?)?;
    body.get(start..end)
}

/// The uncompressed length that a compressed buffer claims.
fn unpacked_bytes(buffer: &[u8]) -> Result<u64, String> {
    let prefix: [u8; 8] = buffer.first_chunk().copied().ok_or("a packed buffer without its length")?;
    match i64::from_le_bytes(prefix) {
        -1 => Ok(buffer.len() as u64),
        length => u64::try_from(length).map_err(|_| format!("a packed buffer of {length} bytes")),
    }
}

fn count_views(field: &FieldRef) -> usize {
    match field.data_type() {
        DataType::Utf8View | DataType::BinaryView => 1,
        DataType::Struct(fields) => fields.iter().map(count_views).sum(),
        DataType::List(child)
        | DataType::LargeList(child)
        | DataType::FixedSizeList(child, _)
        | DataType::Map(child, _) => count_views(child),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
