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
//! between the two leaves both objects: a final object of the same length counts as that copy and stays. If a reader has
//! taken it away by then, it comes again, as the same bytes under the same name. Two nodes may be told to publish the
//! same parts: the second finds them published, even if the first is between two steps.
//!
//! Small parts may be merged instead (`merge`). Behind all files come the markers of complete partitions, and the manifest.
//!
//! A part that can never be published, such as a lost one, does not hold back the others: they are published first,
//! then the error is returned. A transient failure ends the round; the next round finds what this one published.
//!
//! Partition directories that become empty with the removal of hidden files are removed too. However many files a table
//! has, its listing is never held as a whole.

use std::{fs, io::ErrorKind, sync::Arc};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt as _, path::Path};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thalweg_types::{Attempt, ClusterId, JobId, graph::SinkOperator, seam::Seams};

use super::{
    error_files::ErrorPrefix,
    manifest::Manifests,
    merge::{Group, Merging, groups},
    names::{Marker, PART_STEM, PartCommittable, attempt_of},
    options::{AUTO_COMPACTION, FileOptions},
    partition::Partitions,
    parts::{Folder, LocalFolder, PartFolder, ignore_gone, remove_if_empty, sync_folders},
    publish::{Folders, Published, ignore_missing, publish},
    whole::WholeFiles,
};
use crate::{
    CommitterIdentity, ConnectorError, Epochs, SinkCommitter, allowed::Reach, error::store_error, location::Location,
    options::Options,
};

/// Passed as the attempt to discard up to; then the last attempt's own files are discarded too.
const EVERY_ATTEMPT: Attempt = Attempt(u32::MAX);

/// How many files of one checkpoint are published side by side: stores take their time for each request.
const PUBLISHED_AT_ONCE: usize = 32;

/// How many objects to remove are collected from a listing before they are.
const REMOVED_AT_ONCE: usize = 1000;

/// Publishes the part files of a directory.
pub(crate) struct PartCommitter {
    folder: Folder,
    stem: &'static str,
    /// Prefix of the partition directories' names, per level.
    partitions: Vec<String>,
    /// Where rows lie that could not be written.
    errors: Option<ErrorPrefix>,
    merging: Option<Merging>,
    manifests: Option<Manifests>,
    /// Writes markers and manifests; only tables have any.
    whole: Option<WholeFiles>,
}

/// What a writer has prepared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Prepared {
    Part(PartCommittable),
    Marker(Marker),
}

impl PartCommitter {
    pub(crate) fn new(location: &Location, stem: &'static str) -> Self {
        Self {
            folder: Folder::new(location),
            stem,
            partitions: Vec::new(),
            errors: None,
            merging: None,
            manifests: None,
            whole: None,
        }
    }

    /// The committer of the table that a sink writes, with the columns of `schema`.
    pub(crate) fn of_table(
        spec: &SinkOperator,
        schema: &SchemaRef,
        (location, identity): (&Location, CommitterIdentity),
        seams: &Seams,
    ) -> Result<Self, ConnectorError> {
        let options = Options::new(&spec.table, &spec.connector);
        let partitions = Partitions::of_table(spec, schema)?;
        let merging = match options.is_true(AUTO_COMPACTION) {
            true => {
                let file_options = FileOptions::new(&options)?;
                let kept = partitions.kept_schema(schema, &options)?;
                Some(Merging {
                    format: file_options.format_of_parts(&options, &kept, seams)?,
                    bytes: file_options.merged_bytes,
                    place: PartFolder::new(location, seams.io.clone()),
                    entropy: seams.entropy.clone(),
                })
            }
            false => None,
        };
        let (manifests, errors) = (Manifests::of_table(&options)?, ErrorPrefix::of_table(&options)?);
        let partitions = partitions.prefixes();
        let whole = Some(WholeFiles::new(Folder::new(location), PART_STEM, (identity, seams.entropy.clone())));
        Ok(Self { partitions, errors, merging, manifests, whole, ..Self::new(location, PART_STEM) })
    }
}

#[async_trait]
impl SinkCommitter for PartCommitter {
    async fn commit(&self, epochs: Epochs, committables: &[Value]) -> Result<(), ConnectorError> {
        let (mut parts, mut markers) = (Vec::with_capacity(committables.len()), Vec::new());
        for value in committables {
            match prepared(value)? {
                Prepared::Part(part) => parts.push(part),
                Prepared::Marker(marker) => markers.push(marker),
            }
        }
        let published = self.publish_parts(parts).await?;
        let Some(whole) = &self.whole else { return Ok(()) };
        let marks = markers.into_iter().map(|marker| mark(whole, epochs.attempt, marker));
        stream::iter(marks).buffer_unordered(PUBLISHED_AT_ONCE).try_collect::<()>().await?;
        self.list(whole, epochs, published).await
    }

    async fn discard(&self, cluster: &ClusterId, job: JobId, before: Attempt) -> Result<(), ConnectorError> {
        let is_left = |name: &str| {
            attempt_of(name, self.stem, (cluster, job))
                .is_some_and(|attempt| attempt < before || before == EVERY_ATTEMPT)
        };
        match &self.folder {
            Folder::Local(folder) => {
                discard_local(folder, (folder.directory("")?, &self.partitions[..]), &is_left)?;
                let of_errors = self.errors.iter().flat_map(ErrorPrefix::directories);
                let of_manifests = self.manifests.iter().map(|manifests| manifests.directory().to_owned());
                for directory in of_errors.chain(of_manifests) {
                    discard_local(folder, (folder.directory(&directory)?, &[][..]), &is_left)?;
                }
                Ok(())
            }
            Folder::Stored(store, folder) => {
                let removed = discard_stored(store, folder, &is_left).await;
                removed.map_err(store_error(format!("remove unpublished files below {folder}")))
            }
        }
    }
}

impl PartCommitter {
    /// Publishes all parts that can be, and returns their files.
    async fn publish_parts(&self, parts: Vec<PartCommittable>) -> Result<Vec<Published>, ConnectorError> {
        let (errors, parts): (Vec<_>, Vec<_>) = parts.into_iter().partition(|part| self.is_of_errors(&part.directory));
        let mut groups = match &self.merging {
            Some(merging) => groups(parts, merging.bytes),
            None => parts.into_iter().map(Group::alone).collect(),
        };
        groups.extend(errors.into_iter().map(Group::alone));
        // Merged parts are held in memory, so large groups come one by one.
        let (small, large): (Vec<_>, Vec<_>) =
            groups.into_iter().partition(|group| group.others.is_empty() || group.is_small());
        let (mut files, mut failed, mut unsynced) = (Vec::new(), Vec::new(), Folders::new());
        for (groups, at_once) in [(small, PUBLISHED_AT_ONCE), (large, 1)] {
            let publications = groups.into_iter().map(|group| self.publish_group(group));
            let mut publications = stream::iter(publications).buffered(at_once);
            while let Some(publication) = publications.next().await {
                match publication {
                    Ok((file, folders)) => {
                        files.push(file);
                        unsynced.extend(folders);
                    }
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
        }
        sync_folders(&unsynced)?;
        let others = failed.len().saturating_sub(1);
        let Some((attempted, mut reason)) = failed.into_iter().next() else { return Ok(files) };
        if others > 0 {
            reason = format!("{reason} ({others} more could not be published either; all others are)");
        }
        Err(ConnectorError::Data { attempted, reason })
    }

    fn is_of_errors(&self, directory: &str) -> bool {
        self.errors.as_ref().is_some_and(|errors| errors.holds(directory))
    }

    async fn publish_group(&self, group: Group) -> Result<(Published, Folders), ConnectorError> {
        match &self.merging {
            Some(merging) if !group.others.is_empty() => merging.publish(&self.folder, &group).await,
            _ => publish(&self.folder, &group.first).await,
        }
    }

    /// Writes the manifest of what a checkpoint has published, if that is anything.
    async fn list(
        &self,
        whole: &WholeFiles,
        epochs: Epochs,
        mut published: Vec<Published>,
    ) -> Result<(), ConnectorError> {
        published.retain(|file| !self.is_of_errors(&file.directory));
        match &self.manifests {
            Some(manifests) if !published.is_empty() => manifests.write(whole, epochs, &published).await,
            _ => Ok(()),
        }
    }
}

/// Says that a partition is complete.
async fn mark(files: &WholeFiles, attempt: Attempt, marker: Marker) -> Result<(), ConnectorError> {
    files.write(attempt, (&marker.directory, &marker.marker), Vec::new()).await
}

fn prepared(value: &Value) -> Result<Prepared, ConnectorError> {
    serde_json::from_value(value.clone()).map_err(|error| ConnectorError::Data {
        attempted: "understand a committable".to_owned(),
        reason: error.to_string(),
    })
}

/// Removes what is left below a prefix, while it is listed.
async fn discard_stored(
    store: &Arc<dyn ObjectStore>,
    folder: &Path,
    is_left: &(dyn Fn(&str) -> bool + Send + Sync),
) -> Result<(), StoreError> {
    let mut objects = store.list(Some(folder));
    let mut left = Vec::new();
    loop {
        let object = objects.try_next().await?;
        let is_end = object.is_none();
        left.extend(object.map(|object| object.location).filter(|at| at.filename().is_some_and(is_left)));
        if left.len() >= REMOVED_AT_ONCE || is_end {
            let removals = left.drain(..).map(|at| async move { ignore_missing(store.delete(&at).await) });
            stream::iter(removals).buffer_unordered(PUBLISHED_AT_ONCE).try_collect::<()>().await?;
        }
        if is_end {
            return Ok(());
        }
    }
}

/// Looks in a directory of the table, and the partition directories below it.
fn discard_local(
    table: &LocalFolder,
    (folder, partitions): (Reach, &[String]),
    is_left: &dyn Fn(&str) -> bool,
) -> Result<(), ConnectorError> {
    let failed = || format!("remove unpublished files in {}", folder.path().display());
    let entries = match fs::read_dir(folder.path()) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
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
            if let Some(folder) = table.below(&entry.path()) {
                discard_local(table, (folder, below), is_left)?;
            }
        } else if is_left(name) {
            ignore_gone(folder.join(name).remove()).map_err(store_error(failed()))?;
            is_emptied = true;
        }
    }
    if is_emptied {
        let root = table.directory("")?;
        let levels = folder.path().strip_prefix(root.path()).map_or(0, |below| below.components().count());
        remove_if_empty(folder.path(), levels);
    }
    Ok(())
}
