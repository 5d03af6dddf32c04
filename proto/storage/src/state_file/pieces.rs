//! A file's bytes as a list of pieces: large buffers are shared, small ones are copied together.

use arrow::buffer::Buffer;
use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3Default;

/// A separate piece costs a write or a frame. Copying fewer bytes than this costs no more.
const SHARED_BYTES_MIN: usize = 8 << 10;

/// The file so far.
pub(super) struct Pieces {
    whole: Vec<Bytes>,
    /// The last bytes, which become the next piece.
    small: Vec<u8>,
    bytes: usize,
    checksum: Xxh3Default,
}

/// Lets `Bytes` share Arrow's memory.
struct Shared(Buffer);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl Pieces {
    pub(super) fn new() -> Self {
        Self { whole: Vec::new(), small: Vec::new(), bytes: 0, checksum: Xxh3Default::new() }
    }

    /// The length so far.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn copy(&mut self, bytes: &[u8]) {
        self.note(bytes);
        self.small.extend_from_slice(bytes);
    }

    pub(super) fn push(&mut self, buffer: Buffer) {
        if buffer.len() < SHARED_BYTES_MIN {
            self.copy(&buffer);
            return;
        }
        self.note(&buffer);
        self.close();
        self.whole.push(Bytes::from_owner(Shared(buffer)));
    }

    /// The pieces, and the xxh3-64 of their bytes.
    pub(super) fn finish(mut self) -> (Vec<Bytes>, u64) {
        self.close();
        (self.whole, self.checksum.digest())
    }

    fn note(&mut self, bytes: &[u8]) {
        self.checksum.update(bytes);
        self.bytes += bytes.len();
    }

    fn close(&mut self) {
        if !self.small.is_empty() {
            self.whole.push(std::mem::take(&mut self.small).into());
        }
    }
}
