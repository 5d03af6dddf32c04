//! Where a path of a table points: the local file system, read and written directly, or an object store.

use std::{fs::File, io, path::PathBuf, sync::Arc};

use object_store::{ObjectStore, path::Path};
use thalweg_storage::local_path;

use crate::{AllowedPaths, ConnectorContext, ConnectorError, allowed::AllowedKeys, error::failed};

/// A path of a table, as it is written: without wildcards.
#[derive(Debug, Clone)]
pub(crate) enum Location {
    /// Below the local file system, and what may be used of that.
    Local(PathBuf, AllowedPaths),
    /// In an object store.
    Stored {
        /// The store.
        store: Arc<dyn ObjectStore>,
        /// The key.
        path: Path,
        /// What may be used of the store.
        allowed: AllowedKeys,
    },
}

impl Location {
    /// What a path means, where a table may name it.
    pub(crate) fn new(path: &str, context: &ConnectorContext) -> Result<Self, ConnectorError> {
        check(path, context)?;
        Self::unchecked(path, context)
    }

    pub(super) fn unchecked(path: &str, context: &ConnectorContext) -> Result<Self, ConnectorError> {
        match local_path(path) {
            Some(local) => Ok(Self::Local(local, context.allowed.clone())),
            None => {
                let allowed = context.allowed.keys_of(path);
                let (store, path) = context.stores.open(path)?;
                Ok(Self::Stored { store, path, allowed })
            }
        }
    }
}

/// Whether a table may name a path.
pub(super) fn check(path: &str, context: &ConnectorContext) -> Result<(), ConnectorError> {
    match local_path(path) {
        Some(local) => context.allowed.check_local(&local).map(|_| ()),
        None => context.allowed.check_url(path),
    }
}

/// Opens a local file that was found. A link may have come to lead elsewhere since.
pub(crate) fn open_found(name: &str, allowed: &AllowedPaths) -> Result<File, ConnectorError> {
    allowed.check_local(name.as_ref())?.open().map_err(not_found(format!("open {name}")))
}

/// The key of an object that was found.
pub(crate) fn key_found(name: &str, allowed: &AllowedKeys) -> Result<Path, ConnectorError> {
    let key = Path::parse(name).map_err(store_error(format!("open {name}")))?;
    allowed.check(&key)?;
    Ok(key)
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
