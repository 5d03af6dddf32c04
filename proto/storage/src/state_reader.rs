//! Reads a state file in a store: first its end, then the segments that are asked for.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, memory::InMemory, path::Path};

use crate::{
    StorageError,
    error::{corrupt, store_error},
    state_file::{Footer, SegmentEntry, StateRows, TRAILER_BYTES, TailNeeds, check_head, decode},
};

/// Bytes of an object's end that are read first: all of a small object, or the footer of a large one with some hundreds
/// of segments.
const TAIL_BYTES: u64 = 64 << 10;

/// An open state file. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StateReader {
    store: Arc<dyn ObjectStore>,
    key: Path,
    name: Arc<str>,
    segments: Arc<[SegmentEntry]>,
    /// The last bytes of the object, and where they begin.
    tail: Bytes,
    tail_offset: u64,
}

impl StateReader {
    pub(crate) async fn open(store: Arc<dyn ObjectStore>, key: Path, name: &str) -> Result<Self, StorageError> {
        let (mut tail, size) = read_tail(&store, &key, TAIL_BYTES).await.map_err(store_error("read", name))?;
        let footer = match Footer::parse(name, &tail, size)? {
            TailNeeds::Nothing(footer) => footer,
            TailNeeds::Bytes(needed) => {
                tail = store.get_range(&key, size - needed..size).await.map_err(store_error("read", name))?;
                let TailNeeds::Nothing(footer) = Footer::parse(name, &tail, size)? else {
                    return Err(corrupt(name, "its footer was cut"));
                };
                footer
            }
        };
        let tail_offset = size.saturating_sub(length(&tail));
        if tail_offset == 0 {
            check_head(name, &tail)?;
        }
        Ok(Self { store, key, name: name.into(), segments: footer.segments, tail, tail_offset })
    }

    /// Opens a file that is whole in memory. `name` is for messages.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn of_whole(name: &str, bytes: Bytes) -> Result<Self, StorageError> {
        Self::of_bytes(Arc::new(InMemory::new()), name, bytes)
    }

    /// Opens a file in memory.
    pub(crate) fn of_bytes(store: Arc<dyn ObjectStore>, name: &str, bytes: Bytes) -> Result<Self, StorageError> {
        check_head(name, &bytes)?;
        let TailNeeds::Nothing(footer) = Footer::parse(name, &bytes, length(&bytes))? else {
            return Err(corrupt(name, "its footer was cut"));
        };
        let (key, name) = (Path::default(), name.into());
        Ok(Self { store, key, name, segments: footer.segments, tail: bytes, tail_offset: 0 })
    }

    /// Its segments, by index.
    #[must_use]
    pub fn entries(&self) -> &[SegmentEntry] {
        &self.segments
    }

    /// Reads one segment.
    ///
    /// # Errors
    /// When there is none of this index, it is damaged, or the store fails.
    pub async fn read(&self, segment: u32) -> Result<StateRows, StorageError> {
        let mut rows = self.read_all(&[segment]).await?;
        Ok(rows.pop().expect("as many are read as were asked for"))
    }

    /// Reads segments, in the order in which they are asked for. One request fetches neighbours together.
    ///
    /// # Errors
    /// As `read`.
    pub async fn read_all(&self, segments: &[u32]) -> Result<Vec<StateRows>, StorageError> {
        let entries = segments.iter().map(|segment| self.entry(*segment)).collect::<Result<Vec<_>, _>>()?;
        let absent: Vec<_> =
            entries.iter().map(|entry| entry.range()).filter(|range| self.in_tail(range).is_none()).collect();
        let mut fetched = Vec::new().into_iter();
        if !absent.is_empty() {
            let read = self.store.get_ranges(&self.key, &absent).await.map_err(store_error("read", &self.name))?;
            if read.len() != absent.len() {
                return Err(corrupt(&self.name, "not all that was asked for was read"));
            }
            fetched = read.into_iter();
        }
        let mut decoded = Vec::with_capacity(segments.len());
        for (segment, entry) in segments.iter().zip(entries) {
            let bytes = self.in_tail(&entry.range()).or_else(|| fetched.next()).unwrap_or_default();
            decoded.push(decode(&self.name, *segment, entry, &bytes)?);
            // Decoding takes a while, and a state has thousands of segments. Yielding lets heartbeats on this thread go
            // on.
            tokio::task::yield_now().await;
        }
        Ok(decoded)
    }

    fn entry(&self, segment: u32) -> Result<&SegmentEntry, StorageError> {
        let entry = usize::try_from(segment).ok().and_then(|index| self.segments.get(index));
        entry.ok_or_else(|| corrupt(&self.name, format!("it has {} segments and none {segment}", self.segments.len())))
    }

    fn in_tail(&self, range: &Range<u64>) -> Option<Bytes> {
        let start = usize::try_from(range.start.checked_sub(self.tail_offset)?).ok()?;
        let end = usize::try_from(range.end.checked_sub(self.tail_offset)?).ok()?;
        (end <= self.tail.len()).then(|| self.tail.slice(start..end))
    }
}

/// The last bytes of an object, and its size.
async fn read_tail(store: &Arc<dyn ObjectStore>, key: &Path, bytes: u64) -> object_store::Result<(Bytes, u64)> {
    debug_assert!(bytes > u64::try_from(TRAILER_BYTES).unwrap_or(u64::MAX));
    let options = GetOptions { range: Some(GetRange::Suffix(bytes)), ..GetOptions::default() };
    match store.get_opts(key, options).await {
        Ok(found) => {
            let size = found.meta.size;
            Ok((found.bytes().await?, size))
        }
        // Not every service supports ranges from the end.
        Err(object_store::Error::NotSupported { .. } | object_store::Error::NotImplemented { .. }) => {
            let size = store.head(key).await?.size;
            Ok((store.get_range(key, size.saturating_sub(bytes)..size).await?, size))
        }
        Err(error) => Err(error),
    }
}

fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).expect("lengths fit in 64 bits")
}
