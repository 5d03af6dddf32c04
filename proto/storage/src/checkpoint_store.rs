//! The objects of checkpoints below one root: put durably, read with checks, listed and deleted.
//!
//! A state object has one writer, which puts the same bytes on each try. A manifest is created and never replaced: a
//! second one of the same name is refused, unless it has the same content, because the first put may have gone
//! unanswered.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::{Error, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload, path::Path};
use serde::Deserialize;
use thalweg_types::checkpoint::{MANIFEST_FORMAT, MANIFEST_FORMAT_MIN, Manifest, ManifestRef, StateObject};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    Compression, ObjectStores, StateFile, StateReader, StorageError,
    directory::Missing,
    error::{config, corrupt, store_error},
};

/// A manifest with more key groups than a job may have is damaged.
const KEY_GROUPS_MAX: usize = 32768;

/// The object that an access check writes and deletes.
const ACCESS_CHECK: &str = "access-check";
/// The most objects that are looked up at once.
const LOOKS_MAX: usize = 16;

/// Objects below a root. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CheckpointStore {
    url: Arc<str>,
    pub(crate) store: Arc<dyn ObjectStore>,
    /// The directory, if the store is local.
    pub(crate) directory: Option<Arc<std::path::Path>>,
    root: Path,
}

/// An object in the store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedObject {
    /// Its name below the root.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// When it was written, by the store's clock: milliseconds since the Unix epoch.
    pub modified_millis: u64,
}

impl CheckpointStore {
    /// Opens the objects below a URL. Creates a local directory that is missing.
    ///
    /// # Errors
    /// When the URL cannot be opened.
    pub fn open(url: &str, stores: &ObjectStores) -> Result<Self, StorageError> {
        Self::open_or(url, stores, Missing::Create)
    }

    pub(crate) fn open_or(url: &str, stores: &ObjectStores, missing: Missing) -> Result<Self, StorageError> {
        let (store, root) = stores.open_or(url, missing)?;
        let directory = stores.directory_of(url).map(Into::into);
        Ok(Self { url: url.into(), store, directory, root })
    }

    /// Writes and deletes an object, so that a refusal shows early.
    ///
    /// # Errors
    /// When the store fails or refuses.
    pub async fn check_access(&self) -> Result<(), StorageError> {
        let key = self.key(ACCESS_CHECK)?;
        self.store.put(&key, PutPayload::from_static(b"checked")).await.map_err(store_error("write to", &self.url))?;
        match self.store.delete(&key).await {
            // Another process that checks the same place may have deleted it.
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(store_error("delete from", &self.url)(error)),
        }
    }

    /// The names of those objects that do not exist.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn missing(&self, names: impl IntoIterator<Item = String>) -> Result<Vec<String>, StorageError> {
        let look = |name: String| async move {
            match self.store.head(&self.key(&name)?).await {
                Ok(_) => Ok(None),
                Err(Error::NotFound { .. }) => Ok(Some(name)),
                Err(error) => Err(store_error("look at", &name)(error)),
            }
        };
        let looked = futures::stream::iter(names.into_iter().map(look)).buffered(LOOKS_MAX);
        looked.try_filter_map(|missing| std::future::ready(Ok(missing))).try_collect().await
    }

    /// The URL of the root, as it was opened.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How to compress state that is put here. For a local directory, writing the bytes costs less than compressing
    /// them.
    #[must_use]
    pub fn compression(&self) -> Compression {
        if self.directory.is_some() { Compression::None } else { Compression::WhereItSaves }
    }

    /// Puts a state object.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn put_state(&self, name: &str, file: StateFile) -> Result<StateObject, StorageError> {
        let StateFile { pieces, bytes, checksum } = file;
        let payload = PutPayload::from_iter(pieces);
        self.store.put(&self.key(name)?, payload).await.map_err(store_error("put", name))?;
        Ok(StateObject { name: name.to_owned(), bytes, checksum })
    }

    /// Creates a manifest. Succeeds if it exists already with the same content.
    ///
    /// # Errors
    /// When the name has other content, or the store fails.
    pub async fn put_manifest(&self, name: &str, manifest: &Manifest) -> Result<ManifestRef, StorageError> {
        let bytes = Bytes::from(serde_json::to_vec(manifest).expect("a manifest has only text keys"));
        let reference = ManifestRef {
            checkpoint: manifest.checkpoint,
            name: name.to_owned(),
            bytes: to_u64(bytes.len()),
            checksum: xxh3_64(&bytes),
        };
        if self.create(name, bytes.clone()).await? == bytes {
            Ok(reference)
        } else {
            Err(StorageError::Exists { object: name.to_owned() })
        }
    }

    /// Creates an object unless its name is taken, and gives the content that the name has then.
    pub(crate) async fn create(&self, name: &str, bytes: Bytes) -> Result<Bytes, StorageError> {
        let key = self.key(name)?;
        match self.store.put_opts(&key, bytes.clone().into(), PutMode::Create.into()).await {
            Ok(_) => return Ok(bytes),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {}
            // This store has no conditional put. Looking first is all that it allows: two concurrent creators may both
            // succeed.
            Err(Error::NotImplemented { .. } | Error::NotSupported { .. }) => match self.store.head(&key).await {
                Ok(_) => {}
                Err(Error::NotFound { .. }) => {
                    self.store.put(&key, bytes.clone().into()).await.map_err(store_error("put", name))?;
                    return Ok(bytes);
                }
                Err(error) => return Err(store_error("look at", name)(error)),
            },
            Err(error) => return Err(store_error("create", name)(error)),
        }
        self.read(name).await
    }

    /// Creates an object by a conditional put, so that of several creators one succeeds. Returns `None` if it is this one, or
    /// the content that was there. After an error the object may have been created or not.
    ///
    /// # Errors
    /// When the store fails or has no conditional put.
    pub async fn create_exclusively(&self, name: &str, bytes: Bytes) -> Result<Option<Bytes>, StorageError> {
        match self.store.put_opts(&self.key(name)?, bytes.into(), PutMode::Create.into()).await {
            Ok(_) => Ok(None),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => self.read(name).await.map(Some),
            Err(Error::NotImplemented { .. } | Error::NotSupported { .. }) => {
                let reason = "the object store has no conditional put, which decides who may create it";
                Err(config(format!("create {name}"), reason))
            }
            Err(error) => Err(store_error("create", name)(error)),
        }
    }

    /// Reads a manifest, and checks that it is the one that was put.
    ///
    /// # Errors
    /// When it does not exist, is not whole, is of another format or checkpoint, or the store fails.
    pub async fn get_manifest(&self, reference: &ManifestRef) -> Result<Manifest, StorageError> {
        let name = &reference.name;
        let bytes = self.get_checked(name, reference.bytes, reference.checksum).await?;
        let manifest = parse_manifest(name, &bytes)?;
        if manifest.checkpoint != reference.checkpoint {
            let reason = format!("it is of {} instead of {}", manifest.checkpoint, reference.checkpoint);
            return Err(corrupt(name, reason));
        }
        Ok(manifest)
    }

    /// Opens a state object.
    ///
    /// # Errors
    /// When it does not exist, its end is damaged, or the store fails.
    pub async fn open_state(&self, name: &str) -> Result<StateReader, StorageError> {
        StateReader::open(self.store.clone(), self.key(name)?, name).await
    }

    /// Lists the objects below a folder, by name. The folder matches whole parts between `/`: `c/job-1` has nothing of
    /// `c/job-10`. An empty folder lists all objects.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self, prefix: &str) -> Result<Vec<ListedObject>, StorageError> {
        let folder = prefix.trim_matches('/');
        let key = if folder.is_empty() { self.root.clone() } else { self.key(folder)? };
        let within = Some(&key).filter(|key| !key.as_ref().is_empty());
        let mut found = Vec::new();
        let mut objects = self.store.list(within);
        while let Some(object) = objects.try_next().await.map_err(store_error("list", prefix))? {
            let Some(name) = self.name_of(&object.location) else { continue };
            let modified_millis = u64::try_from(object.last_modified.timestamp_millis()).unwrap_or(0);
            found.push(ListedObject { name, bytes: object.size, modified_millis });
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Deletes objects. Missing ones count as deleted; if one cannot be deleted, the others still are.
    ///
    /// # Errors
    /// The first failure.
    pub async fn delete(&self, names: &[String]) -> Result<(), StorageError> {
        let mut first = Ok(());
        let mut keys = Vec::with_capacity(names.len());
        for name in names {
            match self.key(name) {
                Ok(key) => keys.push(Ok(key)),
                Err(error) => first = first.and(Err(error)),
            }
        }
        let mut deleted = self.store.delete_stream(futures::stream::iter(keys).boxed());
        while let Some(result) = deleted.next().await {
            match result {
                Ok(_) | Err(Error::NotFound { .. }) => {}
                Err(error) => first = first.and(Err(store_error("delete", "objects of checkpoints")(error))),
            }
        }
        first
    }

    /// Reads a whole object, and checks its length and checksum.
    pub(crate) async fn get_checked(&self, name: &str, bytes: u64, checksum: u64) -> Result<Bytes, StorageError> {
        let found = self.store.get(&self.key(name)?).await.map_err(store_error("read", name))?;
        if found.meta.size != bytes {
            return Err(corrupt(name, format!("it has {} bytes instead of {bytes}", found.meta.size)));
        }
        let whole = found.bytes().await.map_err(store_error("read", name))?;
        if xxh3_64(&whole) != checksum {
            return Err(corrupt(name, "it does not have the checksum that it should"));
        }
        Ok(whole)
    }

    /// Reads a whole object.
    ///
    /// # Errors
    /// When it does not exist, or the store fails.
    pub async fn read(&self, name: &str) -> Result<Bytes, StorageError> {
        let found = self.store.get(&self.key(name)?).await.map_err(store_error("read", name))?;
        found.bytes().await.map_err(store_error("read", name))
    }

    /// Reads some bytes of an object.
    ///
    /// # Errors
    /// When it does not exist or is shorter, or the store fails.
    pub async fn read_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        self.store.get_range(&self.key(name)?, range).await.map_err(store_error("read", name))
    }

    /// The key of a name in the store. Names also come from files, so one with `..` is refused.
    pub(crate) fn key(&self, name: &str) -> Result<Path, StorageError> {
        let unfit = |reason: String| config(format!("use {name:?} as the name of an object"), reason);
        if name.is_empty() || name.starts_with('/') || name.ends_with('/') {
            return Err(unfit("it is empty, or begins or ends with /".to_owned()));
        }
        let key = if self.root.as_ref().is_empty() { name.to_owned() } else { format!("{}/{name}", self.root) };
        Path::parse(key).map_err(|error| unfit(error.to_string()))
    }

    fn name_of(&self, key: &Path) -> Option<String> {
        if self.root.as_ref().is_empty() {
            return Some(key.to_string());
        }
        Some(key.as_ref().strip_prefix(self.root.as_ref())?.strip_prefix('/')?.to_owned())
    }
}

/// Parses a manifest from untrusted bytes.
pub(crate) fn parse_manifest(name: &str, bytes: &[u8]) -> Result<Manifest, StorageError> {
    /// What manifests of all formats contain.
    #[derive(Deserialize)]
    struct FormatHeader {
        format: u32,
    }
    let FormatHeader { format } = serde_json::from_slice(bytes).map_err(|error| corrupt(name, error.to_string()))?;
    // A later format may have anything in it, so its number is told before the rest is read.
    if !(MANIFEST_FORMAT_MIN..=MANIFEST_FORMAT).contains(&format) {
        let known = format!("{MANIFEST_FORMAT_MIN} to {MANIFEST_FORMAT} are known");
        return Err(corrupt(name, format!("it is of format {format}, and {known}")));
    }
    let manifest: Manifest = serde_json::from_slice(bytes).map_err(|error| corrupt(name, error.to_string()))?;
    if manifest.key_groups.owners().len() > KEY_GROUPS_MAX {
        return Err(corrupt(name, "its key groups are too many"));
    }
    manifest.check().map_err(|reason| corrupt(name, reason))?;
    Ok(manifest)
}

fn to_u64(value: usize) -> u64 {
    u64::try_from(value).expect("lengths fit in 64 bits")
}
