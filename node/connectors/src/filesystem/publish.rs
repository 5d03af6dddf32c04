//! Gives one part its final name, whoever else is at it, and however often.

use std::{collections::BTreeSet, fs, io::ErrorKind, path::PathBuf, sync::Arc};

use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt as _, path::Path};

use super::{
    names::PartCommittable,
    parts::{Folder, folder_of, key_of},
};
use crate::{ConnectorError, allowed::Reach, error::store_error};

/// A file that is visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Published {
    /// Its directory, relative to the table's path.
    pub(super) directory: String,
    pub(super) name: String,
    pub(super) bytes: u64,
}

impl Published {
    fn of(part: &PartCommittable, name: String, bytes: u64) -> Self {
        Self { directory: part.directory.clone(), name, bytes }
    }
}

/// Local directories whose entries the caller still has to sync.
pub(super) type Folders = BTreeSet<PathBuf>;

/// Publishes one part.
pub(super) async fn publish(folder: &Folder, part: &PartCommittable) -> Result<(Published, Folders), ConnectorError> {
    match folder {
        Folder::Local(folder) => {
            let directory = folder.directory(&part.directory)?;
            let unsynced = folder_of(&directory.path().join(&part.published)).to_owned();
            publish_local(&directory, part).map(|published| (published, Folders::from([unsynced])))
        }
        Folder::Stored(store, folder) => {
            publish_stored(store, folder, part).await.map(|published| (published, Folders::new()))
        }
    }
}

/// A part that was published and then removed by a consumer looks the same as a lost one.
pub(super) fn lost(part: &PartCommittable) -> ConnectorError {
    let reason = format!(
        "{} is gone and was not published: it was lost, or it was published before and something else has removed it since",
        part.hidden
    );
    ConnectorError::Data { attempted: format!("publish {}", part.published), reason }
}

/// This program never writes to a finished part again.
pub(super) fn overwritten(part: &PartCommittable) -> ConnectorError {
    ConnectorError::Data {
        attempted: format!("publish {}", part.published),
        reason: format!("{} was overwritten by something else", part.hidden),
    }
}

/// The final name, then the alternatives to try if it is taken.
fn final_names(published: &str) -> impl Iterator<Item = String> + '_ {
    let (stem, extension) = published.rsplit_once('.').unwrap_or((published, ""));
    std::iter::once(published.to_owned()).chain((1u32..).map(move |k| format!("{stem}-{k}.{extension}")))
}

fn publish_local(folder: &Reach, part: &PartCommittable) -> Result<Published, ConnectorError> {
    let path_of = |name: &str| folder.path().join(name);
    let hidden = path_of(&part.hidden);
    let failed = |path: &std::path::Path| store_error(format!("publish {}", path.display()));
    let names = || final_names(&part.published);
    let published_before = || {
        let taken = |name: String| local_length(&path_of(&name)).ok().flatten().map(|bytes| (name, bytes));
        let mut published = names().map_while(taken);
        // The node that renamed it may have crashed before the name was durable.
        let found = published.find(|(_, bytes)| part.fits(*bytes));
        found.map(|(name, bytes)| Published::of(part, name, bytes)).ok_or_else(|| lost(part))
    };
    let Some(bytes) = local_length(&hidden).map_err(failed(&hidden))? else {
        return published_before();
    };
    if !part.fits(bytes) {
        return Err(overwritten(part));
    }
    // The writer creates regular files. A link is somebody else's, and readers of the final name would follow it.
    if fs::symlink_metadata(&hidden).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(overwritten(part));
    }
    let is_free = |name: &String| fs::symlink_metadata(path_of(name)).is_err();
    let name = names().find(is_free).ok_or_else(|| lost(part))?;
    match folder.rename(&part.hidden, &name) {
        // Another node was told to publish it too, and was faster.
        Err(error) if error.kind() == ErrorKind::NotFound => published_before(),
        Err(error) => Err(failed(&path_of(&name))(error)),
        Ok(()) => Ok(Published::of(part, name, bytes)),
    }
}

pub(super) fn local_length(path: &std::path::Path) -> std::io::Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

async fn publish_stored(
    store: &Arc<dyn ObjectStore>,
    folder: &Path,
    part: &PartCommittable,
) -> Result<Published, ConnectorError> {
    let failed = || format!("publish {}", part.published);
    let key = |name: &str| key_of(folder, &part.directory, name);
    let hidden = key(&part.hidden)?;
    let Some(bytes) = length(store, &hidden).await.map_err(store_error(failed()))? else {
        return find_published(store, folder, part).await;
    };
    if !part.fits(bytes) {
        return Err(overwritten(part));
    }
    for name in final_names(&part.published) {
        let target = key(&name)?;
        match copy_or_find(store, (&hidden, bytes), &target).await {
            Ok(true) => {
                ignore_missing(store.delete(&hidden).await).map_err(store_error(failed()))?;
                return Ok(Published::of(part, name, bytes));
            }
            Ok(false) => {}
            // Another node was told to publish it too, and was faster.
            Err(StoreError::NotFound { .. }) => return find_published(store, folder, part).await,
            Err(error) => return Err(store_error(failed())(error)),
        }
    }
    Err(lost(part))
}

/// Finds the published object of a part whose hidden object is gone.
async fn find_published(
    store: &Arc<dyn ObjectStore>,
    folder: &Path,
    part: &PartCommittable,
) -> Result<Published, ConnectorError> {
    for name in final_names(&part.published) {
        let published = key_of(folder, &part.directory, &name)?;
        let found = length(store, &published).await;
        match found.map_err(store_error(format!("publish {}", part.published)))? {
            Some(bytes) if part.fits(bytes) => return Ok(Published::of(part, name, bytes)),
            Some(_) => {}
            None => break,
        }
    }
    Err(lost(part))
}

/// Copies the hidden object, or finds it copied. `false` if something else has the target's name.
async fn copy_or_find(
    store: &Arc<dyn ObjectStore>,
    (hidden, bytes): (&Path, u64),
    target: &Path,
) -> Result<bool, StoreError> {
    if let Some(taken) = length(store, target).await? {
        return Ok(taken == bytes);
    }
    match store.copy_if_not_exists(hidden, target).await {
        Ok(()) => Ok(true),
        Err(StoreError::AlreadyExists { .. }) => Ok(length(store, target).await? == Some(bytes)),
        // The store does not support it. Only this job uses the name, and it was free.
        Err(StoreError::NotSupported { .. } | StoreError::NotImplemented { .. }) => {
            store.copy(hidden, target).await.map(|()| true)
        }
        Err(error) => Err(error),
    }
}

pub(super) async fn length(store: &Arc<dyn ObjectStore>, key: &Path) -> Result<Option<u64>, StoreError> {
    match store.head(key).await {
        Ok(meta) => Ok(Some(meta.size)),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn ignore_missing(result: Result<(), StoreError>) -> Result<(), StoreError> {
    match result {
        Err(StoreError::NotFound { .. }) => Ok(()),
        other => other,
    }
}
