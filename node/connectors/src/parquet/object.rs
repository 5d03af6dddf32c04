//! Reads ranges of an object for the Parquet reader.

use std::{ops::Range, sync::Arc};

use ::parquet::{
    arrow::{arrow_reader::ArrowReaderOptions, async_reader::AsyncFileReader},
    errors::{ParquetError, Result},
    file::{
        metadata::{ParquetMetaData, ParquetMetaDataReader},
        reader::{ChunkReader, Length},
    },
};
use bytes::{Buf as _, Bytes, buf::Reader};
use futures::{FutureExt as _, future::BoxFuture};
use object_store::{ObjectStore, ObjectStoreExt as _, path::Path};

use super::local::check_range;

/// How many bytes of the object's end are read first; usually the whole footer.
const FOOTER_BYTES: usize = 64 << 10;

/// An object of known length.
#[derive(Debug, Clone)]
pub(crate) struct ObjectReader {
    store: Arc<dyn ObjectStore>,
    path: Path,
    bytes: u64,
}

impl ObjectReader {
    pub(super) async fn open(store: &Arc<dyn ObjectStore>, path: Path) -> object_store::Result<Self> {
        let bytes = store.head(&path).await?.size;
        Ok(Self { store: store.clone(), path, bytes })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Fetches some ranges of the object.
    pub(super) async fn fetch(&mut self, ranges: Vec<Range<u64>>) -> Result<Fetched> {
        let parts = self.get_byte_ranges(ranges.clone()).await?;
        let starts = ranges.into_iter().map(|range| range.start);
        Ok(Fetched { bytes: self.bytes, parts: starts.zip(parts).collect() })
    }

    /// Checks a range, which a malformed footer may give wrongly.
    fn check(&self, range: &Range<u64>) -> Result<()> {
        let length = range.end.checked_sub(range.start);
        check_range(self.bytes, range.start, length.unwrap_or(u64::MAX))
    }
}

/// Ranges of an object with their offsets.
#[derive(Debug, Clone)]
pub(super) struct Fetched {
    bytes: u64,
    parts: Vec<(u64, Bytes)>,
}

impl Fetched {
    /// The bytes from `start` to the end of the fetched range that contains it.
    fn from(&self, start: u64) -> Result<Bytes> {
        let found = self.parts.iter().find_map(|(first, part)| {
            let offset = usize::try_from(start.checked_sub(*first)?).ok()?;
            (offset < part.len()).then(|| part.slice(offset..))
        });
        found.ok_or_else(|| ParquetError::EOF(format!("byte {start} is in none of the columns that are read")))
    }
}

impl Length for Fetched {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for Fetched {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        if length == 0 {
            return Ok(Bytes::new());
        }
        let rest = self.from(start)?;
        if length > rest.len() {
            return Err(ParquetError::EOF(format!(
                "{length} bytes from byte {start} are not in a column that is read"
            )));
        }
        Ok(rest.slice(..length))
    }
}

fn external(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

impl AsyncFileReader for ObjectReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        async move {
            self.check(&range)?;
            self.store.get_range(&self.path, range).await.map_err(external)
        }
        .boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        async move {
            ranges.iter().try_for_each(|range| self.check(range))?;
            self.store.get_ranges(&self.path, &ranges).await.map_err(external)
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>>> {
        async move {
            let bytes = self.bytes;
            let metadata = ParquetMetaDataReader::new()
                .with_metadata_options(options.map(|options| options.metadata_options().clone()))
                .with_prefetch_hint(Some(FOOTER_BYTES))
                .load_and_finish(self, bytes)
                .await?;
            Ok(Arc::new(metadata))
        }
        .boxed()
    }
}
