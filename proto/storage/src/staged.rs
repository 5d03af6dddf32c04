//! Files that puts leave in a local directory when their process is killed: `object_store` writes `NAME#N` before it
//! renames the file to the object's name, and never lists such files.
//!
//! A put that still runs has such a file too, and fails if it is removed. So the caller of a sweep says for which
//! objects no put can matter any more.

use std::{
    io::{Error, ErrorKind},
    path::{Path, PathBuf},
};

use tokio::fs;

use crate::{CheckpointStore, ListedObject, StorageError};

impl CheckpointStore {
    /// Removes the files below a folder that puts have begun and not ended, if `is_dead` says so. It gets the object
    /// that each file was to become, with the file's length and time. Folders that become empty go too. Does nothing if
    /// the store is no local directory.
    ///
    /// # Errors
    /// When the directory cannot be read, or a file cannot be removed.
    pub async fn sweep_staged(
        &self,
        prefix: &str,
        is_dead: impl Fn(&ListedObject) -> bool,
    ) -> Result<(), StorageError> {
        let Some(root) = self.directory.as_deref() else { return Ok(()) };
        // Refuses a name that leads out of the root.
        self.key(prefix)?;
        let failed = |source: Error| StorageError::Store {
            attempted: format!("remove what puts have left below {prefix}"),
            source: source.into(),
        };
        for (file, object) in staged_below(root, prefix).await.map_err(failed)? {
            if is_dead(&object) {
                remove(root, &file).await.map_err(failed)?;
            }
        }
        Ok(())
    }
}

async fn staged_below(root: &Path, prefix: &str) -> Result<Vec<(PathBuf, ListedObject)>, Error> {
    let mut found = Vec::new();
    let mut folders = vec![root.join(prefix)];
    while let Some(folder) = folders.pop() {
        let Some(mut entries) = unless_missing(fs::read_dir(&folder).await)? else { continue };
        while let Some(entry) = entries.next_entry().await? {
            let file = entry.path();
            let Some(metadata) = unless_missing(entry.metadata().await)? else { continue };
            if metadata.is_dir() {
                folders.push(file);
                continue;
            }
            let below = file.strip_prefix(root).ok().and_then(Path::to_str);
            let Some(name) = below.and_then(object_of) else { continue };
            let modified = metadata.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            let modified_millis = u64::try_from(modified.as_millis()).unwrap_or(u64::MAX);
            let object = ListedObject { name: name.to_owned(), bytes: metadata.len(), modified_millis };
            found.push((file, object));
        }
    }
    Ok(found)
}

/// The object that a file was to become; `None` for other files.
fn object_of(name: &str) -> Option<&str> {
    let (object, number) = name.rsplit_once('#')?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    Some(object).filter(|_| is_number)
}

async fn remove(root: &Path, file: &Path) -> Result<(), Error> {
    unless_missing(fs::remove_file(file).await)?;
    for folder in file.ancestors().skip(1).take_while(|folder| *folder != root) {
        // A folder that is not empty stays.
        if fs::remove_dir(folder).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// A file that is gone by now is no failure.
fn unless_missing<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::{CheckpointStore, ObjectStores, names};

    #[tokio::test]
    async fn what_killed_puts_left_is_removed_where_it_is_dead() {
        let directory = tempfile::tempdir().unwrap();
        let store = CheckpointStore::open(directory.path().to_str().unwrap(), &ObjectStores::default()).unwrap();
        let folder = |attempt: u32| directory.path().join(format!("c/job-1/attempt-{attempt}"));
        for (attempt, file) in [(1, "0-0-1.state#1"), (1, "0-0-1.state#12"), (2, "0-0-2.state#1"), (2, "x#y")] {
            fs::create_dir_all(folder(attempt)).unwrap();
            fs::write(folder(attempt).join(file), "half").unwrap();
        }
        let is_old = |name: &str| names::attempt_of(name).is_some_and(|attempt| attempt.0 < 2);
        store.sweep_staged("c/job-1", |object| object.modified_millis > 0 && is_old(&object.name)).await.unwrap();
        assert!(!folder(1).exists(), "it is empty");
        assert!(folder(2).join("0-0-2.state#1").exists(), "its put may still run");
        store.sweep_staged("c/job-1", |_| true).await.unwrap();
        assert!(!folder(2).join("0-0-2.state#1").exists() && folder(2).join("x#y").exists());
        store.sweep_staged("c/job-2", |_| true).await.unwrap();
        assert!(store.sweep_staged("../elsewhere", |_| true).await.is_err());
    }
}
