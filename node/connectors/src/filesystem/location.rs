//! Where a path of a table points: the local file system, read and written directly, or an object store.

use std::{io, path::PathBuf, sync::Arc};

use object_store::{ObjectStore, path::Path};
use thalweg_storage::{ObjectStores, local_path};

use crate::{ConnectorError, error::failed};

/// A path of a table, as it is written: without wildcards.
#[derive(Debug, Clone)]
pub(crate) enum Location {
    /// Below the local file system.
    Local(PathBuf),
    /// In an object store.
    Stored {
        /// The store.
        store: Arc<dyn ObjectStore>,
        /// The key.
        path: Path,
    },
}

impl Location {
    /// What a path means.
    pub(crate) fn new(path: &str, stores: &ObjectStores) -> Result<Self, ConnectorError> {
        match local_path(path) {
            Some(local) => Ok(Self::Local(local)),
            None => {
                let (store, path) = stores.open(path)?;
                Ok(Self::Stored { store, path })
            }
        }
    }
}

/// A file that was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FoundFile {
    /// Local path, or key in the store.
    pub(crate) name: String,
    pub(crate) bytes: u64,
}

/// Whether a name is one of those that no reader should see.
pub(super) fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}

pub(crate) fn store_error<E>(attempted: String) -> impl FnOnce(E) -> ConnectorError
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    move |error| failed(attempted, error.into())
}

/// As `store_error`, for a file that was there when files were listed: without it there are rows missing.
pub(crate) fn not_found<E>(attempted: String) -> impl FnOnce(E) -> ConnectorError
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    move |error| {
        let source: Box<dyn std::error::Error + Send + Sync> = error.into();
        let is_gone = match (source.downcast_ref::<io::Error>(), source.downcast_ref::<object_store::Error>()) {
            (Some(error), _) => error.kind() == io::ErrorKind::NotFound,
            (_, Some(error)) => matches!(error, object_store::Error::NotFound { .. }),
            _ => false,
        };
        if is_gone {
            let reason = "it was there when files were looked for, and is gone".to_owned();
            return ConnectorError::Data { attempted, reason };
        }
        failed(attempted, source)
    }
}

/// The error of a file that is not as long as it was when it was found.
pub(crate) fn shortened(name: &str, bytes: u64, found: u64) -> ConnectorError {
    ConnectorError::Data {
        attempted: format!("read {name}"),
        reason: format!("it has {bytes} bytes, and had at least {found} when it was found"),
    }
}
