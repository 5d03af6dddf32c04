//! Parquet files: cut into runs of row groups; only the columns asked for are read, and row groups whose statistics rule
//! out a predicate are left out.

mod object;
mod project;
mod prune;
mod read;
mod stored;

use std::ops::Range;

use ::parquet::{arrow::arrow_reader::ArrowReaderMetadata, errors::ParquetError};
use object_store::path::Path;

pub(crate) use object::ObjectReader;
pub(crate) use read::{ParquetTable, RowGroups, open};
pub(crate) use stored::{stored, stored_schema};

use crate::{
    ConnectorError,
    filesystem::{FoundFile, Location, store_error},
};

/// The error of a failed read: the store's where it failed, else that the file is not what Parquet says.
pub(crate) fn failed(name: &str, error: ParquetError) -> ConnectorError {
    match error {
        ParquetError::External(source) => ConnectorError::Store { attempted: format!("read {name}"), source },
        error => ConnectorError::Data { attempted: format!("read {name} as Parquet"), reason: error.to_string() },
    }
}

/// Reads the footer.
pub(crate) async fn metadata(location: &Location, name: &str) -> Result<ArrowReaderMetadata, ConnectorError> {
    let metadata = match location {
        Location::Local(_) => {
            let file = std::fs::File::open(name).map_err(store_error(format!("open {name}")))?;
            ArrowReaderMetadata::load(&file, Default::default())
        }
        Location::Stored { .. } => {
            let mut reader = object_reader(location, name).await?;
            ArrowReaderMetadata::load_async(&mut reader, Default::default()).await
        }
    };
    metadata.map_err(|error| failed(name, error))
}

/// The reader of an object; the location must be in a store.
pub(crate) async fn object_reader(location: &Location, name: &str) -> Result<ObjectReader, ConnectorError> {
    let attempted = || format!("open {name}");
    let Location::Stored { store, .. } = location else {
        let reason = "it is not in an object store".to_owned();
        return Err(ConnectorError::Data { attempted: attempted(), reason });
    };
    let path = Path::parse(name).map_err(store_error(attempted()))?;
    ObjectReader::open(store, path).await.map_err(store_error(attempted()))
}

/// Cuts a file into runs of row groups of about so many bytes.
pub(crate) async fn cut(
    location: &Location,
    file: &FoundFile,
    split_bytes: u64,
) -> Result<Vec<Range<usize>>, ConnectorError> {
    let metadata = metadata(location, &file.name).await?;
    let mut runs: Vec<Range<usize>> = Vec::new();
    let mut run_bytes = 0u64;
    for (index, group) in metadata.metadata().row_groups().iter().enumerate() {
        match runs.last_mut().filter(|_| run_bytes < split_bytes) {
            Some(run) => run.end = index + 1,
            None => {
                runs.push(index..index + 1);
                run_bytes = 0;
            }
        }
        run_bytes = run_bytes.saturating_add(u64::try_from(group.compressed_size()).unwrap_or(0));
    }
    Ok(runs)
}
