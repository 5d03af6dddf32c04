//! The options of a table that is written into files.

use std::{sync::Arc, time::Duration};

use arrow::datatypes::SchemaRef;
use thalweg_types::{connector::TableConnector, seam::Seams};

use super::{
    compressed::{CompressedParts, Compression},
    parts::PART_BYTES,
};
use crate::{
    ConnectorError, Rollover,
    format::{Format, PartFormat},
    formats::format_of,
    options::Options,
};

const FILE_SIZE: &str = "sink.rolling-policy.file-size";
const ROLLOVER_INTERVAL: &str = "sink.rolling-policy.rollover-interval";
const INACTIVITY_INTERVAL: &str = "sink.rolling-policy.inactivity-interval";
const CHECK_INTERVAL: &str = "sink.rolling-policy.check-interval";
const COMPRESSION: &str = "sink.compression";
/// Whether small parts are merged before they are visible.
pub(super) const AUTO_COMPACTION: &str = "auto-compaction";

/// How many bytes of rows that stay over checkpoints are held in memory, unless the table asks for larger files.
const HELD_BYTES: u64 = 128 << 20;

/// When a part is closed and the next one begun between two seals.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rolling {
    pub(super) bytes: u64,
    pub(super) age: Option<Duration>,
    pub(super) inactivity: Option<Duration>,
    /// How long after one look at the ages the next one follows.
    pub(super) check: Duration,
    /// `Some` if parts stay open over seals.
    pub(super) over_seals: Option<Rollover>,
}

/// What a table says about its files.
pub(super) struct FileOptions {
    pub(super) rolling: Rolling,
    /// About how large merged files are.
    pub(super) merged_bytes: u64,
    compression: Option<Compression>,
    format: &'static Format,
}

impl FileOptions {
    pub(super) fn new(options: &Options<'_>) -> Result<Self, ConnectorError> {
        let rolling = Rolling::new(options)?;
        let format = format_of(options, None)?;
        let compression = options.parsed(COMPRESSION, Compression::named, "none, gzip, zstd or snappy")?.flatten();
        let merged_bytes = options.checked(TableConnector::merged_bytes)?.unwrap_or(rolling.bytes);
        Ok(Self { rolling, merged_bytes, compression, format })
    }

    /// The part files of a table with these columns.
    pub(super) fn format_of_parts(
        &self,
        options: &Options<'_>,
        kept: &SchemaRef,
        seams: &Seams,
    ) -> Result<Arc<dyn PartFormat>, ConnectorError> {
        let inner = (self.format.parts)(options, kept, &seams.entropy)?;
        Ok(match self.compression {
            Some(compression) => Arc::new(CompressedParts { inner, compression }),
            None => inner,
        })
    }
}

impl Rolling {
    fn new(options: &Options<'_>) -> Result<Self, ConnectorError> {
        let bytes = options.checked(TableConnector::part_bytes)?.unwrap_or(PART_BYTES);
        let (age, inactivity) = (options.duration(ROLLOVER_INTERVAL)?, options.duration(INACTIVITY_INTERVAL)?);
        let check = options.duration(CHECK_INTERVAL)?.unwrap_or_default();
        let over_seals = options.checked(TableConnector::keeps_parts_open)?.then(|| {
            // The default is for parts that end with each seal.
            let bytes = if options.is_set(FILE_SIZE) { bytes } else { HELD_BYTES };
            Rollover { bytes, held_bytes: bytes.max(HELD_BYTES), age, inactivity, check }
        });
        Ok(Self { bytes, age, inactivity, check, over_seals })
    }

    /// Whether a part of this length, begun and last written at these times, is to be closed.
    pub(super) fn is_over(&self, bytes: u64, (since, last): (Duration, Duration), now: Duration) -> bool {
        let passed =
            |limit: Option<Duration>, from: Duration| limit.is_some_and(|limit| now.saturating_sub(from) >= limit);
        bytes >= self.bytes || passed(self.age, since) || passed(self.inactivity, last)
    }
}
