//! An open file that is read at any offset.

use std::{fs::File, os::unix::fs::FileExt as _, sync::Arc};

use object_store::{ObjectStore, ObjectStoreExt as _, path::Path};

use crate::{
    ConnectorError,
    error::store_error,
    location::{Location, key_found, not_found, open_found, shortened},
};

/// A file that can be read at any offset.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) name: String,
    kind: Kind,
    /// Length in bytes when it was opened.
    pub(crate) bytes: u64,
    block_bytes: usize,
}

/// How many bytes one read asks for. Local blocks fit the processor's cache; stored ones are large to save round trips.
const LOCAL_BLOCK_BYTES: usize = 512 << 10;
const STORED_BLOCK_BYTES: usize = 8 << 20;

#[derive(Debug)]
enum Kind {
    Local(File),
    Stored { store: Arc<dyn ObjectStore>, path: Path, bytes: u64 },
}

impl OpenFile {
    /// Opens a file that discovery listed with `found` bytes. Fails if it is shorter now.
    pub(crate) async fn open(location: &Location, name: &str, found: u64) -> Result<Self, ConnectorError> {
        let failed = || format!("open {name}");
        let (kind, bytes) = match location {
            Location::Local(_, allowed) => {
                let file = open_found(name, allowed)?;
                let bytes = file.metadata().map_err(store_error(failed()))?.len();
                (Kind::Local(file), bytes)
            }
            Location::Stored { store, allowed, .. } => {
                let path = key_found(name, allowed)?;
                let bytes = store.head(&path).await.map_err(not_found(failed()))?.size;
                (Kind::Stored { store: store.clone(), path, bytes }, bytes)
            }
        };
        if bytes < found {
            return Err(shortened(name, bytes, found));
        }
        let block_bytes = if let Kind::Local(_) = kind { LOCAL_BLOCK_BYTES } else { STORED_BLOCK_BYTES };
        Ok(Self { name: name.to_owned(), kind, bytes, block_bytes })
    }

    /// How many bytes one read should ask for.
    pub(crate) fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    /// The same file, read in blocks of another size.
    #[cfg(test)]
    pub(crate) fn with_block_bytes(self, block_bytes: usize) -> Self {
        Self { block_bytes, ..self }
    }

    /// Reads into a buffer; returns 0 at the end of the file. Cancel-safe.
    pub(crate) async fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, ConnectorError> {
        let failed = || format!("read {} at byte {offset}", self.name);
        match &self.kind {
            Kind::Local(file) => loop {
                match file.read_at(into, offset) {
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    result => return result.map_err(store_error(failed())),
                }
            },
            Kind::Stored { store, path, bytes } => {
                let wanted = u64::try_from(into.len()).unwrap_or(u64::MAX);
                let end = bytes.min(&offset.saturating_add(wanted)).to_owned();
                if offset >= end {
                    return Ok(0);
                }
                let read = store.get_range(path, offset..end).await.map_err(not_found(failed()))?;
                let count = read.len().min(into.len());
                into[..count].copy_from_slice(&read[..count]);
                Ok(count)
            }
        }
    }
}
