//! Reads a log, and creates its segments.

use std::collections::BTreeMap;

use bytes::Bytes;
use thalweg_storage::{CheckpointStore, ListedObject, StorageError};

use crate::{
    names,
    segment::{SEGMENT_BYTES_MIN, Segment, SegmentHead, head_bytes, parse, parse_head},
    segment_number::SegmentNumber,
};

/// How many bytes of a segment are fetched for its head; a longer head costs another request.
const HEAD_BYTES: u64 = 32 << 10;

/// A log below the root of checkpoints. Cheap to clone.
#[derive(Debug, Clone)]
pub struct IngestLog {
    store: CheckpointStore,
    folder: String,
}

/// The outcome of creating a segment.
#[derive(Debug)]
pub enum Created {
    /// It exists, with these bytes.
    Put,
    /// Its number was taken, by this segment.
    Taken(Box<Segment>),
}

impl IngestLog {
    /// The log in a folder (`ingest_folder`).
    #[must_use]
    pub fn new(store: CheckpointStore, folder: String) -> Self {
        Self { store, folder }
    }

    /// Whether an attempt has ever opened it: its first segment is a seal, and stays as long as no position tells of the
    /// log.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn has_begun(&self) -> Result<bool, StorageError> {
        let first = names::segment_name(&self.folder, SegmentNumber::FIRST);
        Ok(self.store.missing([first]).await?.is_empty())
    }

    /// The segments that exist, with their lengths in bytes.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self) -> Result<BTreeMap<SegmentNumber, u64>, StorageError> {
        let listed = self.store.list(&self.folder).await?.into_iter();
        let entry = |object: ListedObject| {
            let (folder, number) = names::segment_of(&object.name)?;
            (folder == self.folder).then_some((number, object.bytes))
        };
        Ok(listed.filter_map(entry).collect())
    }

    /// Creates a segment of these bytes, unless its number is taken. After an error it may have been created or not.
    ///
    /// # Errors
    /// When the store fails or has no conditional put, or the segment that took the number is damaged.
    pub async fn create(&self, number: SegmentNumber, bytes: Bytes) -> Result<Created, StorageError> {
        let name = names::segment_name(&self.folder, number);
        let Some(found) = self.store.create_exclusively(&name, bytes.clone()).await? else {
            return Ok(Created::Put);
        };
        if found == bytes {
            return Ok(Created::Put);
        }
        Ok(Created::Taken(Box::new(parse(&name, number, &found)?)))
    }

    /// Reads the head of a segment that is `bytes` long.
    ///
    /// # Errors
    /// When it does not exist, its head is damaged, or the store fails.
    pub async fn head(&self, number: SegmentNumber, bytes: u64) -> Result<SegmentHead, StorageError> {
        let name = names::segment_name(&self.folder, number);
        if bytes < SEGMENT_BYTES_MIN as u64 {
            return Err(StorageError::corrupt(&name, "it is too short"));
        }
        let fetch = async |end: u64| self.store.read_range(&name, 0..end.min(bytes)).await;
        let mut beginning = fetch(HEAD_BYTES).await?;
        let needed = head_bytes(&name, &beginning)? as u64;
        if needed > beginning.len() as u64 {
            beginning = fetch(needed).await?;
        }
        parse_head(&name, number, &beginning).map(|(head, _)| head)
    }

    /// Reads a segment.
    ///
    /// # Errors
    /// When it does not exist or is damaged, or the store fails.
    pub async fn read(&self, number: SegmentNumber) -> Result<Segment, StorageError> {
        let name = names::segment_name(&self.folder, number);
        parse(&name, number, &self.store.read(&name).await?)
    }

    /// The error of a segment that is missing between others.
    #[must_use]
    pub fn missing(&self, number: SegmentNumber) -> StorageError {
        StorageError::corrupt(
            &names::segment_name(&self.folder, number),
            "it is not there, and segments before and after it are",
        )
    }
}
