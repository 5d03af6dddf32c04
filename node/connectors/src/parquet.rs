//! Parquet files, cut into runs of row groups. Only the wanted fields are read, by name at any depth, and row groups
//! whose statistics rule out a predicate are skipped.
//!
//! A malformed file is bad data, even where the `parquet` crate would panic on it.

mod conform;
mod format;
mod int96;
mod local;
mod need;
mod object;
mod pages;
mod project;
mod prune;
mod read;
mod sizes;
mod stored;
#[cfg(test)]
mod tests;

use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
};

use ::parquet::{
    arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions},
    errors::ParquetError,
    file::metadata::ParquetMetaData,
};
use futures::FutureExt as _;

pub(crate) use format::FORMAT;
use local::{LocalFile, check_range};
use object::ObjectReader;
pub(crate) use read::{ParquetTable, RowGroups, open};

use crate::{
    ConnectorError,
    error::store_error,
    location::{FoundFile, Location, key_found, not_found, open_found},
};

/// An open file with its footer's metadata.
#[derive(Debug)]
pub(crate) struct OpenParquet {
    name: String,
    kind: Kind,
    metadata: ArrowReaderMetadata,
}

#[derive(Debug, Clone)]
enum Kind {
    Local(LocalFile),
    Stored(ObjectReader),
}

/// A reader's result, or its panic: the `parquet` crate panics on some malformed files.
type Attempt<T> = std::thread::Result<Result<T, ParquetError>>;

impl OpenParquet {
    /// Opens a file and reads its footer.
    pub(crate) async fn open(location: &Location, name: &str) -> Result<Self, ConnectorError> {
        let attempted = || format!("open {name}");
        match location {
            Location::Local(_, allowed) => {
                let file = LocalFile::of(open_found(name, allowed)?).map_err(store_error(attempted()))?;
                let loaded = catch_unwind(AssertUnwindSafe(|| load(&file)));
                Self::of(name, Kind::Local(file), loaded)
            }
            Location::Stored { store, allowed, .. } => {
                let path = key_found(name, allowed)?;
                let mut reader = ObjectReader::open(store, path).await.map_err(not_found(attempted()))?;
                let loading = ArrowReaderMetadata::load_async(&mut reader, ArrowReaderOptions::new());
                let loaded = AssertUnwindSafe(loading).catch_unwind().await;
                Self::of(name, Kind::Stored(reader), loaded)
            }
        }
    }

    fn of(name: &str, kind: Kind, loaded: Attempt<ArrowReaderMetadata>) -> Result<Self, ConnectorError> {
        let bytes = kind.bytes();
        let checked = kind.settle(name, "its footer", loaded).and_then(|metadata| {
            check(metadata.metadata(), bytes).map_err(|reason| damaged(name, "its footer", reason))?;
            Ok(metadata)
        });
        let metadata = checked.map_err(|error| if bytes == 0 { damaged(name, "its footer", EMPTY) } else { error })?;
        Ok(Self { name: name.to_owned(), kind, metadata })
    }
}

const EMPTY: &str = "the file is empty";

fn load(file: &LocalFile) -> Result<ArrowReaderMetadata, ParquetError> {
    ArrowReaderMetadata::load(file, ArrowReaderOptions::new())
}

impl Kind {
    fn bytes(&self) -> u64 {
        match self {
            Self::Local(file) => ::parquet::file::reader::Length::len(file),
            Self::Stored(object) => object.bytes(),
        }
    }

    /// Converts the result of reading a place of a file: the store's error if the store failed, otherwise that the file
    /// is malformed.
    fn settle<T, E: Into<ParquetError>>(
        &self,
        name: &str,
        place: &str,
        result: std::thread::Result<Result<T, E>>,
    ) -> Result<T, ConnectorError> {
        let error = match result {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error.into(),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it cannot be decoded");
                return Err(damaged(name, place, text));
            }
        };
        let attempted = || format!("read {name}");
        if let Self::Local(file) = self
            && let Some(error) = file.take_failure()
        {
            return Err(not_found(attempted())(error));
        }
        match error {
            ParquetError::External(source) => match source.downcast::<object_store::Error>() {
                Ok(source) => Err(not_found(attempted())(*source)),
                Err(source) => Err(damaged(name, place, source)),
            },
            error => Err(damaged(name, place, error)),
        }
    }
}

fn damaged(name: &str, place: &str, reason: impl std::fmt::Display) -> ConnectorError {
    ConnectorError::Data { attempted: format!("read {name} as Parquet ({place})"), reason: reason.to_string() }
}

/// Refuses invalid numbers in a footer, which the reader would trust.
fn check(metadata: &ParquetMetaData, file_bytes: u64) -> Result<(), ParquetError> {
    let negative = |what: &str| ParquetError::General(format!("{what} is negative"));
    let number = |what: &str, value: i64| u64::try_from(value).map_err(|_| negative(what));
    for group in metadata.row_groups() {
        number("a number of rows", group.num_rows())?;
        for column in group.columns() {
            number("a number of values", column.num_values())?;
            number("a column's uncompressed length", column.uncompressed_size())?;
            number("a column's place", column.data_page_offset())?;
            let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
            let length = number("a column's length", column.compressed_size())?;
            check_range(file_bytes, number("a column's place", start)?, length)?;
        }
    }
    Ok(())
}

/// Cuts a file into runs of row groups of about `split_bytes` bytes each.
pub(crate) async fn cut(
    location: &Location,
    file: &FoundFile,
    split_bytes: u64,
) -> Result<Vec<Range<usize>>, ConnectorError> {
    let OpenParquet { metadata, .. } = OpenParquet::open(location, &file.name).await?;
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
