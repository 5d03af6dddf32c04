//! Merges the small parts of one checkpoint and directory before they become visible.
//!
//! The committables of a checkpoint are always the same, so every node that publishes them makes the same groups. A
//! group's file has names of its own (`PartCommittable::merged`), which say how far a node has come that crashed:
//!
//! ```text
//! parts --merge--> file of this node --rename--> merged, hidden --remove the parts, rename--> visible
//! ```
//!
//! | visible | merged | parts | meaning | action |
//! |---|---|---|---|---|
//! | yes | any | any | published before | remove what is left |
//! | no | yes | any | merged before | remove the parts, rename |
//! | no | no | all | prepared | merge |
//! | no | no | some or none | lost, or readers have taken it away | error |
//!
//! So the file becomes visible last of all, when nothing is left that it could be made of again: if a reader has taken
//! it away, it does not come back. In an object store, where a rename is a copy and a delete, it may: as the same bytes
//! under the same name, as other files may there (`commit`).
//!
//! The first part is removed first. A node that has merged the parts too looks for it before it renames: if it is gone,
//! another node was faster.

use std::{
    collections::BTreeMap,
    fs,
    io::{ErrorKind, Read as _},
    sync::Arc,
};

use arrow::error::ArrowError;
use bytes::Bytes;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt as _, path::Path};
use thalweg_types::seam::Entropy;

use super::{
    names::PartCommittable,
    parts::{Folder, Part, PartFolder, folder_of, ignore_gone, key_of, sync_folders},
    publish::{Folders, Published, ignore_missing, length, local_length, lost, overwritten},
};
use crate::{ConnectorError, error::store_error, format::PartFormat};

/// Larger parts are left alone: a part is read into memory.
const MERGED_PART_BYTES_MAX: u64 = 32 << 20;
/// Groups with fewer bytes are merged side by side.
const SMALL_GROUP_BYTES: u64 = 4 << 20;
/// Rows that a format collects are written out once they take this much.
const ROW_GROUP_BYTES: usize = 64 << 20;
/// How many encoded bytes are collected before they are appended to the file.
const PIECE_BYTES: usize = 1 << 20;

/// How small parts are merged.
pub(super) struct Merging {
    pub(super) format: Arc<dyn PartFormat>,
    /// About how large merged files are.
    pub(super) bytes: u64,
    pub(super) place: PartFolder,
    pub(super) entropy: Arc<dyn Entropy>,
}

/// Parts that become one visible file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) first: PartCommittable,
    pub(super) others: Vec<PartCommittable>,
}

impl Group {
    pub(super) fn alone(first: PartCommittable) -> Self {
        Self { first, others: Vec::new() }
    }

    fn parts(&self) -> impl Iterator<Item = &PartCommittable> {
        std::iter::once(&self.first).chain(&self.others)
    }

    fn bytes(&self) -> u64 {
        self.parts().filter_map(|part| part.bytes).sum()
    }

    pub(super) fn is_small(&self) -> bool {
        self.bytes() < SMALL_GROUP_BYTES
    }
}

/// Groups the parts of each directory, in their order, up to about `bytes`. The names of merged files depend on this:
/// it must stay as it is, or a checkpoint that was published by half would be published otherwise.
pub(super) fn groups(parts: Vec<PartCommittable>, bytes: u64) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    // The last group of each directory, while it takes more.
    let mut open: BTreeMap<String, (usize, u64)> = BTreeMap::new();
    for part in parts {
        let own = part.bytes.filter(|own| *own < bytes.min(MERGED_PART_BYTES_MAX));
        let Some(own) = own else {
            groups.push(Group::alone(part));
            continue;
        };
        let known = open.get_mut(&part.directory).filter(|(_, taken)| *taken + own <= bytes);
        match known.and_then(|(at, taken)| Some((groups.get_mut(*at)?, taken))) {
            Some((group, taken)) => {
                group.others.push(part);
                *taken += own;
            }
            None => {
                open.insert(part.directory.clone(), (groups.len(), own));
                groups.push(Group::alone(part));
            }
        }
    }
    groups
}

impl Merging {
    /// Publishes a group of several parts as one file.
    pub(super) async fn publish(&self, folder: &Folder, group: &Group) -> Result<(Published, Folders), ConnectorError> {
        let merged = group.first.merged();
        if let Some(published) = conclude(folder, group, &merged).await? {
            return Ok(published);
        }
        let own = PartCommittable { hidden: merged.hidden_of_node(self.entropy.next()), ..merged.clone() };
        let Some(part) = self.place.create(own)? else {
            return Err(not_merged(&merged, "the name of the node's own file is taken".to_owned()));
        };
        if let Some(own) = self.write(folder, group, part).await? {
            let named = name_merged(folder, group, (&own, &merged)).await;
            if !matches!(named, Ok(true)) {
                // If this fails, it stays hidden until the job's unpublished files are discarded.
                let _ = remove(folder, &own.directory, &own.hidden).await;
            }
            named?;
        }
        if let Some(published) = conclude(folder, group, &merged).await? {
            return Ok(published);
        }
        for part in group.parts() {
            if find(folder, &part.directory, &part.hidden).await?.is_none() {
                return Err(lost(part));
            }
        }
        Err(lost(&group.first))
    }

    /// Writes the rows of all parts into one; `None` if one of them is gone.
    async fn write(
        &self,
        folder: &Folder,
        group: &Group,
        mut into: Part,
    ) -> Result<Option<PartCommittable>, ConnectorError> {
        let failed = |error: ArrowError| not_merged(&group.first.merged(), error.to_string());
        let mut piece = Vec::new();
        let mut encoder = self.format.begin(&mut piece).map_err(failed)?;
        for part in group.parts() {
            let Some(content) = read(folder, part).await? else { return Ok(None) };
            encoder.absorb(&content, ROW_GROUP_BYTES, &mut piece).map_err(failed)?;
            if piece.len() >= PIECE_BYTES {
                into.write(&piece).await?;
                piece.clear();
            }
            // Encoding takes a while; let other tasks on this thread run.
            tokio::task::yield_now().await;
        }
        encoder.finish(&mut piece).map_err(failed)?;
        into.write(&piece).await?;
        into.finish().await.map(Some)
    }
}

fn not_merged(merged: &PartCommittable, reason: String) -> ConnectorError {
    ConnectorError::Data { attempted: format!("merge parts into {}", merged.published), reason }
}

/// Removes the parts of a merged file, then makes it visible. `None` if there is no such file.
async fn conclude(
    folder: &Folder,
    group: &Group,
    merged: &PartCommittable,
) -> Result<Option<(Published, Folders)>, ConnectorError> {
    let PartCommittable { directory, hidden, published: name, .. } = merged;
    let visible = find(folder, directory, name).await?;
    let bytes = match visible {
        Some(bytes) => bytes,
        None => match find(folder, directory, hidden).await? {
            Some(bytes) => bytes,
            None => return Ok(None),
        },
    };
    let mut unsynced = Folders::new();
    if let Folder::Local(local) = folder {
        unsynced.insert(folder_of(&local.directory(directory)?.path().join(name)).to_owned());
        // Without the parts, all depends on the name.
        sync_folders(&unsynced)?;
    }
    for part in group.parts() {
        remove(folder, &part.directory, &part.hidden).await?;
    }
    let is_taken = visible.is_some() || rename(folder, directory, (hidden, name)).await? == Renamed::Taken;
    if is_taken {
        remove(folder, directory, hidden).await?;
    }
    Ok(Some((Published { directory: directory.clone(), name: name.clone(), bytes }, unsynced)))
}

/// Gives a node's own file the name that all nodes look for. `false` if another node has merged the same parts.
async fn name_merged(
    folder: &Folder,
    group: &Group,
    (own, merged): (&PartCommittable, &PartCommittable),
) -> Result<bool, ConnectorError> {
    let is_first_there = find(folder, &group.first.directory, &group.first.hidden).await?.is_some();
    Ok(is_first_there && rename(folder, &own.directory, (&own.hidden, &merged.hidden)).await? == Renamed::Done)
}

/// The length of a file.
async fn find(folder: &Folder, directory: &str, name: &str) -> Result<Option<u64>, ConnectorError> {
    let failed = || format!("look for {name}");
    match folder {
        Folder::Local(folder) => {
            local_length(&folder.directory(directory)?.path().join(name)).map_err(store_error(failed()))
        }
        Folder::Stored(store, folder) => {
            length(store, &key_of(folder, directory, name)?).await.map_err(store_error(failed()))
        }
    }
}

/// The content of a prepared part; `None` if it is gone.
async fn read(folder: &Folder, part: &PartCommittable) -> Result<Option<Bytes>, ConnectorError> {
    let failed = || format!("read {}", part.hidden);
    let content = match folder {
        Folder::Local(folder) => {
            let file = folder.directory(&part.directory)?.join(&part.hidden);
            let mut content = Vec::new();
            match file.open().and_then(|file| file.take(MERGED_PART_BYTES_MAX + 1).read_to_end(&mut content)) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                read => _ = read.map_err(store_error(failed()))?,
            }
            Bytes::from(content)
        }
        Folder::Stored(store, folder) => {
            let key = key_of(folder, &part.directory, &part.hidden)?;
            match get(store, &key).await {
                Err(StoreError::NotFound { .. }) => return Ok(None),
                got => got.map_err(store_error(failed()))?,
            }
        }
    };
    if part.fits(content.len() as u64) { Ok(Some(content)) } else { Err(overwritten(part)) }
}

async fn get(store: &Arc<dyn ObjectStore>, key: &Path) -> Result<Bytes, StoreError> {
    store.get_range(key, 0..MERGED_PART_BYTES_MAX + 1).await
}

/// What became of a file that was to have another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Renamed {
    Done,
    /// There is a file of that name, of another node that has merged the same parts.
    Taken,
    /// Another node has renamed it.
    Gone,
}

async fn rename(folder: &Folder, directory: &str, (from, to): (&str, &str)) -> Result<Renamed, ConnectorError> {
    let failed = || format!("rename {from} to {to}");
    match folder {
        Folder::Local(folder) => {
            let directory = folder.directory(directory)?;
            if local_length(&directory.path().join(to)).map_err(store_error(failed()))?.is_some() {
                return Ok(Renamed::Taken);
            }
            // This program writes regular files. A link is somebody else's, and readers would follow it.
            if fs::symlink_metadata(directory.path().join(from)).is_ok_and(|metadata| !metadata.is_file()) {
                let reason = "it is no regular file".to_owned();
                return Err(ConnectorError::Data { attempted: failed(), reason });
            }
            match directory.rename(from, to) {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(Renamed::Gone),
                renamed => renamed.map_err(store_error(failed())).map(|()| Renamed::Done),
            }
        }
        Folder::Stored(store, folder) => {
            let (source, target) = (key_of(folder, directory, from)?, key_of(folder, directory, to)?);
            match copy(store, &source, &target).await.map_err(store_error(failed()))? {
                Renamed::Done => {
                    let deleted = ignore_missing(store.delete(&source).await);
                    deleted.map_err(store_error(failed())).map(|()| Renamed::Done)
                }
                other @ (Renamed::Taken | Renamed::Gone) => Ok(other),
            }
        }
    }
}

async fn copy(store: &Arc<dyn ObjectStore>, source: &Path, target: &Path) -> Result<Renamed, StoreError> {
    if length(store, target).await?.is_some() {
        return Ok(Renamed::Taken);
    }
    let copied = match store.copy_if_not_exists(source, target).await {
        // The store does not support it. What may have come between holds the same rows.
        Err(StoreError::NotSupported { .. } | StoreError::NotImplemented { .. }) => store.copy(source, target).await,
        copied => copied,
    };
    match copied {
        Ok(()) => Ok(Renamed::Done),
        Err(StoreError::AlreadyExists { .. }) => Ok(Renamed::Taken),
        Err(StoreError::NotFound { .. }) => Ok(Renamed::Gone),
        Err(error) => Err(error),
    }
}

async fn remove(folder: &Folder, directory: &str, name: &str) -> Result<(), ConnectorError> {
    let failed = || format!("remove {name}");
    match folder {
        Folder::Local(folder) => {
            let removed = folder.directory(directory)?.join(name).remove();
            ignore_gone(removed).map_err(store_error(failed()))
        }
        Folder::Stored(store, folder) => {
            let key = key_of(folder, directory, name)?;
            ignore_missing(store.delete(&key).await).map_err(store_error(failed()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(directory: &str, number: usize, bytes: Option<u64>) -> PartCommittable {
        let published = format!("part-c1-3-1-07-0-{number}.json.gz");
        PartCommittable { hidden: format!(".{published}.inprogress"), published, directory: directory.into(), bytes }
    }

    #[test]
    fn small_parts_of_a_directory_are_grouped_in_their_order() {
        let sizes = [("a", 40), ("b", 10), ("a", 70), ("a", 30), ("b", 99), ("a", 100), ("a", 70), ("b", 90)];
        let parts = sizes.iter().enumerate().map(|(at, (directory, bytes))| part(directory, at, Some(*bytes)));
        let grouped = groups(parts.chain([part("a", 8, None)]).collect(), 100);
        let shown: Vec<Vec<&str>> =
            grouped.iter().map(|group| group.parts().map(|part| &part.published[17..18]).collect()).collect();
        assert_eq!(
            shown,
            [vec!["0"], vec!["1"], vec!["2", "3"], vec!["4"], vec!["5"], vec!["6"], vec!["7"], vec!["8"]]
        );
    }

    #[test]
    fn a_merged_file_is_named_by_its_first_part() {
        let merged = part("a", 5, Some(1)).merged();
        assert_eq!(merged.published, "part-c1-3-1-07-0-5-merged.json.gz");
        assert_eq!(merged.hidden, ".part-c1-3-1-07-0-5-merged.json.gz.inprogress");
        let own = merged.hidden_of_node(7);
        assert_eq!(own, ".part-c1-3-1-07-0-5-merged.json.gz-0000000000000007.inprogress");
        assert_eq!(merged.directory, "a");
    }
}
