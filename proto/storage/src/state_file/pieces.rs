//! A file's bytes as the list of its pieces: large buffers are taken as they are, small ones are copied together.

use arrow::buffer::Buffer;
use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3Default;

/// A piece of its own costs a write or a frame; copying less than this costs no more.
const SHARED_BYTES_MIN: usize = 8 << 10;

/// What a file consists of so far.
pub(super) struct Pieces {
    whole: Vec<Bytes>,
    /// The last bytes.
    small: Vec<u8>,
    bytes: usize,
    checksum: Xxh3Default,
}

/// Arrow's memory as bytes.
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

    /// How many bytes there are.
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

    /// The pieces, and xxh3-64 of them.
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
