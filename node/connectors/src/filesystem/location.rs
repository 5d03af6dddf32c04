//! Where a path of a table points: the local file system, read and written directly, or an object store.

use std::{
    fs,
    io::ErrorKind,
    path::{Path as LocalPath, PathBuf},
    sync::Arc,
};

use futures::TryStreamExt as _;
use object_store::{ObjectStore, ObjectStoreExt as _, path::Path};
use thalweg_storage::ObjectStores;
use url::Url;

use crate::ConnectorError;

/// A path of a table.
#[derive(Debug, Clone)]
pub(crate) enum Location {
    /// Below the local file system; may hold wildcards.
    Local(PathBuf),
    /// In an object store.
    Stored {
        /// The store.
        store: Arc<dyn ObjectStore>,
        /// The key, or the part of it before the first component with a wildcard.
        path: Path,
        /// The key with wildcards.
        pattern: Option<glob::Pattern>,
    },
}

/// A file that was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FoundFile {
    /// Local path, or key in the store.
    pub(crate) name: String,
    pub(crate) bytes: u64,
}

const WILDCARDS: [char; 3] = ['*', '?', '['];
const MATCHING: glob::MatchOptions =
    glob::MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

impl Location {
    /// What a path means.
    pub(crate) fn new(path: &str, stores: &ObjectStores) -> Result<Self, ConnectorError> {
        if !path.contains("://") {
            return Ok(Self::Local(PathBuf::from(path)));
        }
        if let Some(local) = path.strip_prefix("file://") {
            return match Url::parse(path).ok().and_then(|url| url.to_file_path().ok()) {
                Some(decoded) if !local.contains(WILDCARDS) => Ok(Self::Local(decoded)),
                _ => Ok(Self::Local(PathBuf::from(local))),
            };
        }
        let Some(wildcard) = path.find(WILDCARDS) else {
            let (store, path) = stores.open(path)?;
            return Ok(Self::Stored { store, path, pattern: None });
        };
        let folder = path.get(..wildcard).and_then(|plain| plain.rfind('/')).unwrap_or(0);
        let (prefix, rest) = path.split_at(folder);
        let (store, prefix) = stores.open(prefix)?;
        let pattern = glob::Pattern::new(format!("{prefix}{rest}").trim_start_matches('/'));
        let pattern = pattern.map_err(|error| ConnectorError::Data {
            attempted: format!("understand the path {path}"),
            reason: error.to_string(),
        })?;
        Ok(Self::Stored { store, path: prefix, pattern: Some(pattern) })
    }

    /// The files there are, by name.
    pub(crate) async fn list(&self) -> Result<Vec<FoundFile>, ConnectorError> {
        let mut files = match self {
            Self::Local(path) => list_local(path)?,
            Self::Stored { store, path, pattern } => list_stored(store, path, pattern.as_ref()).await?,
        };
        files.sort_unstable();
        files.dedup();
        Ok(files)
    }
}

/// Whether a name is one of those that no reader should see.
fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}

pub(crate) fn store_error<E>(attempted: String) -> impl FnOnce(E) -> ConnectorError
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    move |error| ConnectorError::Store { attempted, source: error.into() }
}

fn list_local(path: &LocalPath) -> Result<Vec<FoundFile>, ConnectorError> {
    let attempted = || format!("find {}", path.display());
    let text = path.to_string_lossy();
    let mut files = Vec::new();
    if !path.exists() && text.contains(WILDCARDS) {
        let found = glob::glob_with(&text, MATCHING)
            .map_err(|error| ConnectorError::Data { attempted: attempted(), reason: error.to_string() })?;
        for entry in found {
            let entry = entry.map_err(|error| store_error::<std::io::Error>(attempted())(error.into()))?;
            if entry.is_file() {
                files.extend(found_local(&entry)?);
            }
        }
        return Ok(files);
    }
    let metadata = fs::metadata(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => ConnectorError::Data { attempted: attempted(), reason: "no such file".to_owned() },
        _ => store_error(attempted())(error),
    })?;
    if metadata.is_file() {
        return Ok(found_local(path)?.into_iter().collect());
    }
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        let failed = |error| store_error(format!("list {}", folder.display()))(error);
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?.path();
            if entry.file_name().is_none_or(|name| is_hidden(&name.to_string_lossy())) {
                continue;
            }
            if entry.is_dir() {
                folders.push(entry);
            } else {
                files.extend(found_local(&entry)?);
            }
        }
    }
    Ok(files)
}

/// A file that was listed; none where it is gone meanwhile: whoever writes the others may remove or rename its own.
fn found_local(path: &LocalPath) -> Result<Option<FoundFile>, ConnectorError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(FoundFile { name: path.to_string_lossy().into_owned(), bytes: metadata.len() })),
        // A link to nowhere is there itself.
        Err(error) if error.kind() == ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => Ok(None),
        Err(error) => Err(store_error(format!("look at {}", path.display()))(error)),
    }
}

async fn list_stored(
    store: &Arc<dyn ObjectStore>,
    path: &Path,
    pattern: Option<&glob::Pattern>,
) -> Result<Vec<FoundFile>, ConnectorError> {
    let attempted = || format!("list {path}");
    if pattern.is_none() {
        match store.head(path).await {
            Ok(meta) => return Ok(vec![FoundFile { name: meta.location.to_string(), bytes: meta.size }]),
            Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(store_error(attempted())(error)),
        }
    }
    let objects: Vec<_> = store.list(Some(path)).try_collect().await.map_err(store_error(attempted()))?;
    let is_wanted = |key: &Path| match pattern {
        Some(pattern) => pattern.matches_with(key.as_ref(), MATCHING),
        None => key.prefix_match(path).is_some_and(|mut parts| !parts.any(|part| is_hidden(part.as_ref()))),
    };
    let wanted = objects.into_iter().filter(|object| is_wanted(&object.location));
    Ok(wanted.map(|object| FoundFile { name: object.location.to_string(), bytes: object.size }).collect())
}
