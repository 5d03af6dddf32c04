//! Small files that are written as a whole, in place of one of the same name: markers and manifests.
//!
//! Readers see all of such a file or none, even if two nodes write it at once: each has a hidden name of its own, which
//! belongs to the attempt that publishes, so that what a crashed node leaves is discarded with the attempt's files.

use std::{collections::BTreeSet, io::Write as _, sync::Arc};

use object_store::{ObjectStoreExt as _, PutPayload};
use thalweg_types::{Attempt, durable, seam::Entropy};

use super::{
    names::hidden_whole,
    parts::{Folder, LocalFolder, create_directory, folder_of, key_of, sync_folders},
};
use crate::{CommitterIdentity, ConnectorError, error::store_error};

/// Writes such files of one table.
#[derive(Debug)]
pub(super) struct WholeFiles {
    folder: Folder,
    stem: &'static str,
    identity: CommitterIdentity,
    entropy: Arc<dyn Entropy>,
}

impl WholeFiles {
    pub(super) fn new(
        folder: Folder,
        stem: &'static str,
        (identity, entropy): (CommitterIdentity, Arc<dyn Entropy>),
    ) -> Self {
        Self { folder, stem, identity, entropy }
    }

    pub(super) fn identity(&self) -> &CommitterIdentity {
        &self.identity
    }

    /// Writes a file and makes it durable with its name. `directory` is relative to the table's path.
    pub(super) async fn write(
        &self,
        attempt: Attempt,
        (directory, name): (&str, &str),
        content: Vec<u8>,
    ) -> Result<(), ConnectorError> {
        match &self.folder {
            Folder::Local(folder) => {
                let CommitterIdentity { cluster, job, .. } = &self.identity;
                let hidden = hidden_whole(self.stem, (cluster, *job), attempt, self.entropy.next());
                write_local(folder, directory, (&hidden, name), &content)
            }
            Folder::Stored(store, folder) => {
                let key = key_of(folder, directory, name)?;
                let put = store.put(&key, PutPayload::from(content)).await;
                put.map(|_| ()).map_err(store_error(format!("write {key}")))
            }
        }
    }
}

fn write_local(
    folder: &LocalFolder,
    directory: &str,
    (hidden, name): (&str, &str),
    content: &[u8],
) -> Result<(), ConnectorError> {
    let directory = folder.directory(directory)?;
    create_directory(&directory)?;
    let file = directory.join(hidden);
    let written = file
        .create_new()
        .and_then(|mut opened| opened.write_all(content).map(|()| opened))
        .and_then(|opened| durable::sync_file(&opened, file.path()))
        .and_then(|()| directory.rename(hidden, name));
    if written.is_err() {
        // If this fails, it stays hidden until the job's unpublished files are discarded.
        let _ = file.remove();
    }
    written.map_err(store_error(format!("write {}", directory.path().join(name).display())))?;
    sync_folders(&BTreeSet::from([folder_of(file.path()).to_owned()]))
}
