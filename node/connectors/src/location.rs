//! Where a table's path points: to the local file system, which is accessed directly, or to an object store.

use std::{fs::File, io, path::PathBuf, sync::Arc};

use object_store::{ObjectStore, path::Path};
use thalweg_storage::local_path;

use crate::{
    AllowedPaths, ConnectorError, ObjectStores,
    allowed::AllowedKeys,
    error::{failed, store_error},
};

/// The places that tables may name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places<'a> {
    pub(crate) allowed: &'a AllowedPaths,
    pub(crate) stores: &'a ObjectStores,
}

impl Places<'_> {
    /// Checks that a table may name a path.
    pub(crate) fn check(&self, path: &str) -> Result<(), ConnectorError> {
        match local_path(path) {
            Some(local) => self.allowed.check_local(&local).map(|_| ()),
            None => self.allowed.check_url(path),
        }
    }
}

/// The location of a table's path, taken literally, without wildcards.
#[derive(Debug, Clone)]
pub(crate) enum Location {
    /// A local path, and the local paths that may be used.
    Local(PathBuf, AllowedPaths),
    /// A key in an object store.
    Stored {
        store: Arc<dyn ObjectStore>,
        path: Path,
        /// The part of the store that may be used.
        allowed: AllowedKeys,
    },
}

impl Location {
    /// The location of a path; an error if tables may not name it.
    pub(crate) fn new(path: &str, places: Places<'_>) -> Result<Self, ConnectorError> {
        places.check(path)?;
        Self::unchecked(path, places)
    }

    pub(crate) fn unchecked(path: &str, places: Places<'_>) -> Result<Self, ConnectorError> {
        match local_path(path) {
            Some(local) => Ok(Self::Local(local, places.allowed.clone())),
            None => {
                let allowed = places.allowed.keys_of(path);
                let (store, path) = places.stores.open(path)?;
                Ok(Self::Stored { store, path, allowed })
            }
        }
    }
}

/// Opens a local file that was listed. Checks it again, since a link may have changed meanwhile.
pub(crate) fn open_found(name: &str, allowed: &AllowedPaths) -> Result<File, ConnectorError> {
    allowed.check_local(name.as_ref())?.open().map_err(not_found(format!("open {name}")))
}

/// The key of an object that was listed.
pub(crate) fn key_found(name: &str, allowed: &AllowedKeys) -> Result<Path, ConnectorError> {
    let key = Path::parse(name).map_err(store_error(format!("open {name}")))?;
    allowed.check(&key)?;
    Ok(key)
}

/// A file that was listed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FoundFile {
    /// The local path, or the key in the store.
    pub(crate) name: String,
    pub(crate) bytes: u64,
}

/// Whether readers must skip a file of this name.
pub(crate) fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}

/// As `store_error`, for a file that was there when files were listed: if it is gone now, rows are missing.
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

/// The error for a file that is shorter than when it was listed.
pub(crate) fn shortened(name: &str, bytes: u64, found: u64) -> ConnectorError {
    ConnectorError::Data {
        attempted: format!("read {name}"),
        reason: format!("it has {bytes} bytes, and had at least {found} when it was found"),
    }
}
