//! Publishes part files by giving them their final names, and removes those that were never published.
//!
//! | hidden | final | meaning | action |
//! |---|---|---|---|
//! | yes | no | prepared | rename |
//! | no | yes | published before | nothing |
//! | yes | yes | something else took the final name | rename to `NAME-K` |
//! | no | no | lost | error |
//!
//! No published file is ever overwritten, and no file of another cluster is touched: names contain the cluster. In an
//! object store a rename is a copy (one that refuses to overwrite, if the store supports it) and a delete. A crash
//! between the two leaves both objects: a final object of the same length counts as that copy and stays. Two nodes may
//! be told to publish the same parts: the second finds them published, even if the first is between two steps.
//!
//! A part that can never be published, such as a lost one, does not hold back the others: they are published first,
//! then the error is returned. A transient failure ends the round; the next round finds what this one published.
//!
//! Partition directories that become empty with the removal of hidden files are removed too.

use std::{collections::BTreeSet, fs, io::ErrorKind, path::PathBuf, sync::Arc};

use arrow::datatypes::Schema;
use async_trait::async_trait;
use futures::TryStreamExt as _;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt as _, path::Path};
use serde_json::Value;
use thalweg_types::{Attempt, ClusterId, JobId, graph::SinkOperator};

use super::{
    partition::Partitions,
    parts::{Folder, LocalFolder, PartCommittable, attempt_of, folder_of, key_of, remove_if_empty, sync_folders},
    sink::PART_STEM,
};
use crate::{
    ConnectorError, Epochs, SinkCommitter, allowed::Reach, error::store_error, location::Location, options::Options,
};

/// Passed as the attempt to discard up to; then the last attempt's own files are discarded too.
const EVERY_ATTEMPT: Attempt = Attempt(u32::MAX);

/// Publishes the part files of a directory.
#[derive(Debug)]
pub(crate) struct PartCommitter {
    folder: Folder,
    stem: &'static str,
    /// Prefix of the partition directories' names, per level.
    partitions: Vec<String>,
}

impl PartCommitter {
    pub(crate) fn new(location: &Location, stem: &'static str, partitions: Vec<String>) -> Self {
        Self { folder: Folder::new(location), stem, partitions }
    }

    /// The committer of the table that a sink writes, with the columns of `schema`.
    pub(crate) fn of_table(spec: &SinkOperator, schema: &Schema, location: &Location) -> Result<Self, ConnectorError> {
        let options = Options::new(&spec.table, &spec.connector);
        let partitions = Partitions::new(&spec.partition_by, schema).map_err(|reason| options.error(reason))?;
        Ok(Self::new(location, PART_STEM, partitions.prefixes()))
    }
}

#[async_trait]
impl SinkCommitter for PartCommitter {
    async fn commit(&self, _: Epochs, committables: &[Value]) -> Result<(), ConnectorError> {
        let (mut failed, mut unsynced) = (Vec::new(), BTreeSet::new());
        for value in committables {
            match self.publish(value).await {
                Ok(folder) => unsynced.extend(folder),
                // The others can still be published.
                Err(ConnectorError::Data { attempted, reason }) => failed.push((attempted, reason)),
                Err(
                    error @ (ConnectorError::Config { .. }
                    | ConnectorError::Secret { .. }
                    | ConnectorError::Record { .. }
                    | ConnectorError::Store { .. }
                    | ConnectorError::GaveUp { .. }
                    | ConnectorError::Refused { .. }),
                ) => return Err(error),
            }
            tokio::task::yield_now().await;
        }
        sync_folders(&unsynced)?;
        let others = failed.len().saturating_sub(1);
        let Some((attempted, mut reason)) = failed.into_iter().next() else { return Ok(()) };
        if others > 0 {
            reason = format!("{reason} ({others} more could not be published either; all others are)");
        }
        Err(ConnectorError::Data { attempted, reason })
    }

    async fn discard(&self, cluster: &ClusterId, job: JobId, before: Attempt) -> Result<(), ConnectorError> {
        let is_left = |name: &str| {
            attempt_of(name, self.stem, (cluster, job))
                .is_some_and(|attempt| attempt < before || before == EVERY_ATTEMPT)
        };
        match &self.folder {
            Folder::Local(folder) => discard_local(folder, &self.partitions, is_left),
            Folder::Stored(store, folder) => {
                let failed = || format!("remove unpublished files below {folder}");
                let objects: Vec<_> = store.list(Some(folder)).try_collect().await.map_err(store_error(failed()))?;
                for object in objects {
                    if object.location.filename().is_some_and(is_left) {
                        ignore_missing(store.delete(&object.location).await).map_err(store_error(failed()))?;
                    }
                }
                Ok(())
            }
        }
    }
}

impl PartCommitter {
    /// Publishes one part. Returns the local directory whose entries the caller still has to sync.
    async fn publish(&self, committable: &Value) -> Result<Option<PathBuf>, ConnectorError> {
        let part: PartCommittable = serde_json::from_value(committable.clone()).map_err(|error| {
            ConnectorError::Data { attempted: "understand a committable".to_owned(), reason: error.to_string() }
        })?;
        match &self.folder {
            Folder::Local(folder) => publish_local(&folder.directory(&part.directory)?, &part).map(Some),
            Folder::Stored(store, folder) => publish_stored(store, folder, &part).await.map(|()| None),
        }
    }
}

/// A part that was published and then removed by a consumer looks the same as a lost one.
fn lost(part: &PartCommittable) -> ConnectorError {
    let reason = format!(
        "{} is gone and was not published: it was lost, or it was published before and something else has removed it since",
        part.hidden
    );
    ConnectorError::Data { attempted: format!("publish {}", part.published), reason }
}

/// This program never writes to a finished part again.
fn overwritten(part: &PartCommittable) -> ConnectorError {
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

/// Returns the directory whose entries the caller still has to sync.
fn publish_local(folder: &Reach, part: &PartCommittable) -> Result<PathBuf, ConnectorError> {
    let path_of = |name: &str| folder.path().join(name);
    let unsynced = || folder_of(&path_of(&part.published)).to_owned();
    let hidden = path_of(&part.hidden);
    let failed = |path: &std::path::Path| store_error(format!("publish {}", path.display()));
    let names = || final_names(&part.published);
    let published_before = || {
        let taken = |name: String| local_length(&path_of(&name)).ok().flatten();
        let mut published = names().map_while(taken);
        // The node that renamed it may have crashed before the name was durable.
        published.find(|bytes| part.fits(*bytes)).map(|_| unsynced()).ok_or_else(|| lost(part))
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
    let target = path_of(&name);
    match folder.rename(&part.hidden, &name) {
        // Another node was told to publish it too, and was faster.
        Err(error) if error.kind() == ErrorKind::NotFound => published_before(),
        Err(error) => Err(failed(&target)(error)),
        Ok(()) => Ok(unsynced()),
    }
}

fn local_length(path: &std::path::Path) -> std::io::Result<Option<u64>> {
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
) -> Result<(), ConnectorError> {
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
            Ok(true) => return ignore_missing(store.delete(&hidden).await).map_err(store_error(failed())),
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
) -> Result<(), ConnectorError> {
    for name in final_names(&part.published) {
        let published = key_of(folder, &part.directory, &name)?;
        let found = length(store, &published).await;
        match found.map_err(store_error(format!("publish {}", part.published)))? {
            Some(bytes) if part.fits(bytes) => return Ok(()),
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

async fn length(store: &Arc<dyn ObjectStore>, key: &Path) -> Result<Option<u64>, StoreError> {
    match store.head(key).await {
        Ok(meta) => Ok(Some(meta.size)),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn ignore_missing(result: Result<(), StoreError>) -> Result<(), StoreError> {
    match result {
        Err(StoreError::NotFound { .. }) => Ok(()),
        other => other,
    }
}

/// Looks in the table's directory and the partition directories below it.
fn discard_local(
    table: &LocalFolder,
    partitions: &[String],
    is_left: impl Fn(&str) -> bool,
) -> Result<(), ConnectorError> {
    let root = table.directory("")?;
    let mut folders = vec![(root.clone(), partitions)];
    while let Some((folder, partitions)) = folders.pop() {
        let failed = || format!("remove unpublished files in {}", folder.path().display());
        let entries = match fs::read_dir(folder.path()) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            entries => entries.map_err(store_error(failed()))?,
        };
        let mut is_emptied = false;
        for entry in entries {
            let entry = entry.map_err(store_error(failed()))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if let Some((prefix, below)) = partitions.split_first()
                && name.starts_with(prefix.as_str())
                && entry.path().is_dir()
            {
                // Skip directories that may not be used: no writer of this table was there.
                folders.extend(table.below(&entry.path()).map(|folder| (folder, below)));
            } else if is_left(name) {
                ignore_gone(folder.join(name).remove()).map_err(store_error(failed()))?;
                is_emptied = true;
            }
        }
        if is_emptied {
            let levels = folder.path().strip_prefix(root.path()).map_or(0, |below| below.components().count());
            remove_if_empty(folder.path(), levels);
        }
    }
    Ok(())
}

fn ignore_gone(removed: std::io::Result<()>) -> std::io::Result<()> {
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
