//! Checks the declared lengths of a stream's compressed buffers, before memory is reserved for them.
//!
//! Arrow reserves as many bytes as a buffer's prefix declares for it when unpacked. A false prefix would end the
//! process, but a damaged file must be an error. So no prefix may declare more than LZ4 can make of the packed bytes.
//!
//! ```text
//! ff ff ff ff | length of the header: i32 | header (flatbuffers) | body | ..      ff ff ff ff | 0: the end
//! ```

use arrow_ipc::{Buffer, root_as_message};

/// The most bytes that one byte of an LZ4 block can become.
const LZ4_FACTOR_MAX: u64 = 255;
const CONTINUATION: [u8; 4] = [0xff; 4];

/// Fails with a reason if a length is impossible.
pub(super) fn check(mut stream: &[u8]) -> Result<(), String> {
    while let Some((header, rest)) = next_header(stream)? {
        let message = root_as_message(header).map_err(|error| format!("a header of it: {error}"))?;
        let body_bytes = usize::try_from(message.bodyLength()).map_err(|_| "a body has no length".to_owned())?;
        let (body, rest) = rest.split_at_checked(body_bytes).ok_or("a body is cut")?;
        let dictionary = message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data());
        let batch = message.header_as_record_batch().or(dictionary);
        if let Some(batch) = batch.filter(|batch| batch.compression().is_some()) {
            batch.buffers().into_iter().flatten().try_for_each(|buffer| check_buffer(buffer, body))?;
        }
        stream = rest;
    }
    Ok(())
}

/// The header of a message, and the bytes after it.
type Header<'a> = (&'a [u8], &'a [u8]);

/// The header of the next message; `None` at the end.
fn next_header(stream: &[u8]) -> Result<Option<Header<'_>>, String> {
    if stream.is_empty() {
        return Ok(None);
    }
    let cut = "a header is cut";
    let (length, rest) = stream.strip_prefix(&CONTINUATION).and_then(<[u8]>::split_first_chunk).ok_or(cut)?;
    let length = usize::try_from(i32::from_le_bytes(*length)).map_err(|_| "a header has no length".to_owned())?;
    if length == 0 {
        return Ok(None);
    }
    rest.split_at_checked(length).map(Some).ok_or_else(|| cut.to_owned())
}

fn check_buffer(buffer: &Buffer, body: &[u8]) -> Result<(), String> {
    let start = usize::try_from(buffer.offset()).ok();
    let packed =
        start.zip(usize::try_from(buffer.length()).ok()).and_then(|(start, length)| body.get(start..)?.get(..length));
    let packed = packed.ok_or("a buffer lies outside of the body")?;
    // Arrow itself refuses shorter buffers. -1 says that the buffer is not packed.
    let Some((unpacked, packed)) = packed.split_first_chunk() else { return Ok(()) };
    let unpacked = i64::from_le_bytes(*unpacked);
    let most = u64::try_from(packed.len()).unwrap_or(u64::MAX).saturating_mul(LZ4_FACTOR_MAX);
    if unpacked == -1 || u64::try_from(unpacked).is_ok_and(|unpacked| unpacked <= most) {
        return Ok(());
    }
    Err(format!("{} packed bytes cannot become {unpacked}", packed.len()))
}
