//! The text of a file of lines, as it is or decompressed.

use std::borrow::Cow;

use super::{decompressed::Decompressed, read::OpenFile};
use crate::ConnectorError;

/// How much decompressed text is read at a time.
const TEXT_BYTES: usize = 512 << 10;

pub(super) enum TextFile {
    Plain(OpenFile),
    /// It is read from its beginning on, whatever is wanted.
    Compressed(Box<Decompressed>),
}

impl TextFile {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Plain(file) => &file.name,
            Self::Compressed(file) => file.name(),
        }
    }

    /// What the text is, for messages about its content.
    pub(super) fn shown(&self) -> Cow<'_, str> {
        match self {
            Self::Plain(file) => Cow::Borrowed(&file.name),
            Self::Compressed(file) => Cow::Owned(format!("the content of {}", file.name())),
        }
    }

    pub(super) fn is_compressed(&self) -> bool {
        matches!(self, Self::Compressed(_))
    }

    /// The length of a file that is not compressed.
    pub(super) fn bytes(&self) -> Option<u64> {
        match self {
            Self::Plain(file) => Some(file.bytes),
            Self::Compressed(_) => None,
        }
    }

    /// How many bytes one read should ask for.
    pub(super) fn block_bytes(&self) -> usize {
        match self {
            Self::Plain(file) => file.block_bytes(),
            Self::Compressed(_) => TEXT_BYTES,
        }
    }

    /// Reads into a buffer; returns 0 at the end. Cancel-safe.
    pub(super) async fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Result<usize, ConnectorError> {
        match self {
            Self::Plain(file) => file.read_at(offset, into).await,
            Self::Compressed(file) => file.read_at(offset, into).await,
        }
    }
}
