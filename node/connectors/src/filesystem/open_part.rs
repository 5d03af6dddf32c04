//! A part file that takes rows.

use std::{path::PathBuf, time::Duration};

use arrow::error::ArrowError;

use super::{names::PartCommittable, parts::Part};
use crate::{
    ConnectorError,
    format::{PartEncoder, PartFormat},
};

/// A part file, with what is not yet appended to it.
pub(super) struct OpenPart {
    pub(super) part: Part,
    /// Encoded bytes.
    pub(super) piece: Vec<u8>,
    pub(super) encoder: Box<dyn PartEncoder>,
    /// Monotonic time when the part was begun.
    pub(super) since: Duration,
    /// Monotonic time when rows were last written to it.
    pub(super) last: Duration,
    /// The number of the last run of rows written to it.
    pub(super) last_write: u64,
}

impl OpenPart {
    pub(super) fn begin(format: &dyn PartFormat, part: Part, since: Duration) -> Result<Self, ConnectorError> {
        let mut piece = Vec::new();
        let encoder = format.begin(&mut piece).map_err(|error| not_encoded(&error))?;
        Ok(Self { part, piece, encoder, since, last: since, last_write: 0 })
    }

    /// Estimated length in bytes.
    pub(super) fn bytes(&self) -> u64 {
        let waiting = self.piece.len() + self.encoder.collected_bytes();
        self.part.bytes() + waiting as u64
    }

    /// Appends all that it holds to the file, and closes the file until the next write.
    pub(super) async fn suspend(&mut self) -> Result<(), ConnectorError> {
        self.encoder.flush(&mut self.piece).map_err(|error| not_encoded(&error))?;
        self.hand_over().await?;
        self.piece = Vec::new();
        self.part.suspend();
        Ok(())
    }

    pub(super) async fn hand_over(&mut self) -> Result<(), ConnectorError> {
        if !self.piece.is_empty() {
            self.part.write(&self.piece).await?;
            self.piece.clear();
        }
        Ok(())
    }

    /// Encodes the end and makes the content durable. Returns the directories whose entries the caller still has to
    /// sync.
    pub(super) async fn finish(mut self) -> Result<(PartCommittable, Vec<PathBuf>), ConnectorError> {
        self.encoder.finish(&mut self.piece).map_err(|error| not_encoded(&error))?;
        if !self.piece.is_empty() {
            self.part.write(&self.piece).await?;
        }
        self.part.finish_content().await
    }
}

pub(super) fn not_encoded(error: &ArrowError) -> ConnectorError {
    ConnectorError::Data { attempted: "encode rows".to_owned(), reason: error.to_string() }
}
