//! Which object store a URL means.
//!
//! A URL is one that the program has registered, one of the services that `object_store` knows (`s3://`, `gs://`, `az://`, ..),
//! or a local directory: `file://` or a plain path. A directory is created where it is missing, and what is put there is
//! durable (`directory.rs`).

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use object_store::{ObjectStore, path::Path};
use url::Url;

use crate::{StorageError, directory::DirectoryStore, error::config};

/// Opens object stores by URL.
///
/// Options are those of the stores' own configuration, by their usual names in lower case (`aws_access_key_id`, ..); the
/// program collects them from its environment.
#[derive(Debug, Clone, Default)]
pub struct ObjectStores {
    options: Arc<BTreeMap<String, String>>,
    registered: Arc<BTreeMap<String, Arc<dyn ObjectStore>>>,
}

/// Whether a local directory is created where it is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    Create,
    Refuse,
}

impl ObjectStores {
    /// Stores that are configured by these options.
    #[must_use]
    pub fn new(options: BTreeMap<String, String>) -> Self {
        Self { options: Arc::new(options), registered: Arc::default() }
    }

    /// Also knows a store by a URL's beginning, such as `memory://test`.
    #[must_use]
    pub fn with_store(mut self, url: &str, store: Arc<dyn ObjectStore>) -> Self {
        Arc::make_mut(&mut self.registered).insert(url.trim_end_matches('/').to_owned(), store);
        self
    }

    /// The store that a URL is in, and the key there that it means. A local directory is a store of its own, whose key is
    /// empty; it is created where it is missing.
    ///
    /// # Errors
    /// When the URL is none that is known, its store's options are not sound, or the directory cannot be created.
    pub fn open(&self, url: &str) -> Result<(Arc<dyn ObjectStore>, Path), StorageError> {
        self.open_or(url, Missing::Create)
    }

    /// The local directory that a URL means, where it means one.
    pub(crate) fn directory_of(&self, url: &str) -> Option<PathBuf> {
        let is_registered = self.registered.keys().any(|known| url.starts_with(known.as_str()));
        if is_registered { None } else { local_folder(url) }
    }

    pub(crate) fn open_or(&self, url: &str, missing: Missing) -> Result<(Arc<dyn ObjectStore>, Path), StorageError> {
        let invalid = |reason: String| config(format!("open {url}"), reason);
        if let Some((store, rest)) = self.registered.iter().find_map(|(known, store)| {
            let rest = url.strip_prefix(known.as_str()).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
            Some((store, rest))
        }) {
            let path = Path::parse(rest.trim_matches('/')).map_err(|error| invalid(error.to_string()))?;
            return Ok((store.clone(), path));
        }
        if let Some(folder) = local_folder(url) {
            return Ok((Arc::new(DirectoryStore::open(&folder, missing)?), Path::default()));
        }
        let parsed = Url::parse(url).map_err(|error| invalid(error.to_string()))?;
        let options = self.options.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let (store, path) =
            object_store::parse_url_opts(&parsed, options).map_err(|error| invalid(error.to_string()))?;
        Ok((Arc::from(store), path))
    }
}

/// The local directory that a URL means, where it means one.
fn local_folder(url: &str) -> Option<PathBuf> {
    if !url.contains("://") {
        return Some(PathBuf::from(url));
    }
    let plain = url.strip_prefix("file://")?;
    let decoded = Url::parse(url).ok().and_then(|url| url.to_file_path().ok());
    Some(decoded.unwrap_or_else(|| PathBuf::from(plain)))
}
