//! Part files. A writer gives them hidden names, which readers skip; the committer renames them to their final names.
//!
//! ```text
//! .part-CLUSTER-JOB-ATTEMPT-SINK-SUBTASK-N.json.inprogress  --commit-->  part-CLUSTER-JOB-ATTEMPT-SINK-SUBTASK-N.json
//! ```
//!
//! Both names are in the directory of the part's rows: the table's, or that of their partition below it. SINK is the
//! sink's identity, as 16 hexadecimal digits; releases that had no identities wrote its index in the graph.
//!
//! No two writers share a name, hidden or final. Names contain the cluster, since every cluster numbers its jobs from
//! one and several clusters may write to one place. Names contain the attempt: a writer that does not know of a newer
//! attempt cannot touch the newer one's files, and what an older attempt published stays as it is. So a final name
//! identifies its hidden file. An existing local hidden file is never reopened: the writer takes the next number.
//!
//! In an object store a part is uploaded under its hidden name, in pieces if it is large; the object exists once the
//! part is closed. An incomplete upload is not an object, but its pieces take space, so dropping a part aborts its
//! upload. If a process crashes, only the store's own rule for incomplete uploads, if it has one, removes the pieces.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, ErrorKind, Write as _},
    path::{Path as LocalPath, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use futures::{StreamExt as _, TryStreamExt as _, channel::oneshot, stream};
use object_store::{ObjectStore, buffered::BufWriter, path::Path};
use thalweg_types::{durable, seam::Spawner};
use tokio::io::AsyncWriteExt as _;

use super::names::{PartCommittable, PartNames};
use crate::{AllowedPaths, ConnectorError, allowed::Reach, error::store_error, location::Location};

/// By default, a part that reaches this size is closed and the next one begun.
pub(crate) const PART_BYTES: u64 = 1 << 30;
/// Piece size and number of concurrent pieces of an upload, for a writer with many open parts. Stores accept no smaller
/// pieces.
const PIECE_BYTES_MIN: usize = 5 << 20;
const SMALL_PIECES_MAX: usize = 2;

/// How many files or directories of one seal are synced concurrently.
pub(super) const SYNCS_MAX: usize = 8;

/// How often `begin` retries after another writer has removed the directory.
const REMOVALS_MAX: u32 = 16;

/// Where part files are created.
#[derive(Debug, Clone)]
pub(super) struct PartFolder {
    folder: Folder,
    /// Whether many parts may be open at once.
    are_many: bool,
    io: Arc<dyn Spawner>,
}

/// The part files of one writer. Clones share the counter of part numbers.
#[derive(Debug, Clone)]
pub(crate) struct PartFiles {
    place: PartFolder,
    names: PartNames,
    number: Arc<AtomicU32>,
}

/// A part file that is being written. Dropping it unfinished removes a local file or aborts an upload.
#[derive(Debug)]
pub(crate) struct Part {
    committable: PartCommittable,
    file: PartFile,
    is_finished: bool,
    io: Arc<dyn Spawner>,
}

/// Creates a directory and its parents durably. An error that a new attempt would meet again is `Data`.
pub(super) fn create_directory(directory: &Reach) -> Result<(), ConnectorError> {
    let path = directory.path().display();
    directory.create_directories().map_err(|error| match is_impossible(&error) {
        _ if error.kind() == ErrorKind::AlreadyExists => ConnectorError::Data {
            attempted: format!("create the directory {path}"),
            reason: "it is there, and is not a directory".to_owned(),
        },
        true => not_created(&format!("the directory {path}"), &error),
        false => store_error(format!("create the directory {path}"))(error),
    })
}

fn is_impossible(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn not_created(what: &str, error: &std::io::Error) -> ConnectorError {
    ConnectorError::Data { attempted: format!("create {what}"), reason: error.to_string() }
}

/// Creates a file, and its directory first if that may be missing.
fn create_in_directory(directory: &Reach, file: &Reach, may_be_missing: bool) -> std::io::Result<File> {
    if may_be_missing {
        directory.create_directories_for_now().map_err(|error| match error.kind() {
            // The directory's name is taken, not the file's; a retry would not help.
            ErrorKind::AlreadyExists => std::io::Error::other(error),
            _ => error,
        })?;
    }
    file.create_new()
}

/// Removes up to `levels` empty partition directories, from the innermost outwards.
pub(super) fn remove_if_empty(innermost: &LocalPath, levels: usize) {
    for directory in innermost.ancestors().take(levels) {
        // `remove_dir` fails if the directory is not empty.
        if fs::remove_dir(directory).is_err() {
            return;
        }
    }
}

/// A local directory, and the paths that its table may use.
#[derive(Debug, Clone)]
pub(super) struct LocalFolder {
    path: PathBuf,
    allowed: AllowedPaths,
}

impl LocalFolder {
    /// The directory of a partition, or the table's own if `directory` is empty. Checked each time, since a link may
    /// have changed.
    pub(super) fn directory(&self, directory: &str) -> Result<Reach, ConnectorError> {
        let path = if directory.is_empty() { self.path.clone() } else { self.path.join(directory) };
        self.allowed.check_local(&path)
    }

    /// Checks a directory below this one; `None` if a link leads it outside the allowed paths.
    pub(super) fn below(&self, path: &LocalPath) -> Option<Reach> {
        self.allowed.check_local(path).ok()
    }
}

/// A local directory, or a prefix of keys.
#[derive(Debug, Clone)]
pub(super) enum Folder {
    Local(LocalFolder),
    Stored(Arc<dyn ObjectStore>, Path),
}

impl Folder {
    pub(super) fn new(location: &Location) -> Self {
        match location {
            Location::Local(path, allowed) => Self::Local(LocalFolder { path: path.clone(), allowed: allowed.clone() }),
            Location::Stored { store, path, .. } => Self::Stored(store.clone(), path.clone()),
        }
    }

    pub(super) fn is_stored(&self) -> bool {
        matches!(self, Self::Stored(..))
    }
}

enum PartFile {
    /// Without an open file while the part is closed for a while (`suspend`).
    Local(Option<File>, Reach),
    /// `None` once the upload is being completed.
    Stored(Option<Box<BufWriter>>),
}

impl std::fmt::Debug for PartFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local(_, reach) => write!(f, "PartFile({})", reach.path().display()),
            Self::Stored(_) => f.write_str("PartFile(stored)"),
        }
    }
}

impl PartFolder {
    pub(super) fn new(location: &Location, io: Arc<dyn Spawner>) -> Self {
        Self { folder: Folder::new(location), are_many: false, io }
    }

    /// Creates a part; `None` if its hidden name is taken.
    pub(super) fn create(&self, committable: PartCommittable) -> Result<Option<Part>, ConnectorError> {
        let file = match &self.folder {
            Folder::Local(folder) => match create_local(folder, &committable)? {
                Some(file) => file,
                None => return Ok(None),
            },
            Folder::Stored(store, folder) => {
                let key = key_of(folder, &committable.directory, &committable.hidden)?;
                let upload = match self.are_many {
                    true => BufWriter::with_capacity(store.clone(), key, PIECE_BYTES_MIN)
                        .with_max_concurrency(SMALL_PIECES_MAX),
                    false => BufWriter::new(store.clone(), key),
                };
                PartFile::Stored(Some(Box::new(upload)))
            }
        };
        Ok(Some(Part { committable, file, is_finished: false, io: self.io.clone() }))
    }
}

/// `None` if the hidden name is taken.
fn create_local(folder: &LocalFolder, committable: &PartCommittable) -> Result<Option<PartFile>, ConnectorError> {
    let is_partition = !committable.directory.is_empty();
    let mut removals = 0;
    loop {
        let folder = folder.directory(&committable.directory)?;
        let part = folder.join(&committable.hidden);
        let path = part.path().display();
        match create_in_directory(&folder, &part, is_partition) {
            Ok(file) => return Ok(Some(PartFile::Local(Some(file), part))),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(None),
            // Another writer removed the empty directory before this file was in it.
            Err(error) if error.kind() == ErrorKind::NotFound && removals < REMOVALS_MAX => removals += 1,
            Err(error) if is_partition && is_impossible(&error) => {
                return Err(not_created(&path.to_string(), &error));
            }
            Err(error) => return Err(store_error(format!("create {path}"))(error)),
        }
    }
}

impl PartFiles {
    pub(crate) fn new(location: &Location, names: PartNames, io: Arc<dyn Spawner>) -> Result<Self, ConnectorError> {
        let place = PartFolder::new(location, io);
        if let Folder::Local(folder) = &place.folder {
            create_directory(&folder.directory("")?)?;
        }
        Ok(Self { place, names, number: Arc::default() })
    }

    /// The same, for many open parts: each one buffers less.
    pub(super) fn with_many_open(mut self) -> Self {
        self.place.are_many = true;
        self
    }

    pub(super) fn is_stored(&self) -> bool {
        self.place.folder.is_stored()
    }

    /// Begins the next part in a directory, relative to the table's path.
    pub(crate) fn begin(&self, directory: &str) -> Result<Part, ConnectorError> {
        loop {
            let number = self.number.fetch_add(1, Relaxed);
            let committable = PartCommittable { directory: directory.to_owned(), ..self.names.of(number) };
            if let Some(part) = self.place.create(committable)? {
                return Ok(part);
            }
        }
    }
}

impl Part {
    /// Appends bytes.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), ConnectorError> {
        let failed = store_error(format!("write {}", self.committable.hidden));
        match &mut self.file {
            PartFile::Local(Some(file), _) => file.write_all(bytes).map_err(failed)?,
            PartFile::Local(file, reach) => {
                let opened = reach.append();
                *file = Some(opened.and_then(|mut file| file.write_all(bytes).map(|()| file)).map_err(failed)?);
            }
            PartFile::Stored(Some(upload)) => upload.write_all(bytes).await.map_err(failed)?,
            PartFile::Stored(None) => unreachable!("a part is finished once"),
        }
        let length = self.committable.bytes.get_or_insert_default();
        *length += u64::try_from(bytes.len()).expect("lengths fit in 64 bits");
        Ok(())
    }

    /// Length in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.committable.bytes.unwrap_or_default()
    }

    /// Closes a local file until the next write, so that others may be open. An upload stays as it is.
    pub(super) fn suspend(&mut self) {
        if let PartFile::Local(file, _) = &mut self.file {
            *file = None;
        }
    }

    /// Makes the part durable, its name included.
    pub(crate) async fn finish(self) -> Result<PartCommittable, ConnectorError> {
        let io = self.io.clone();
        let mut unsynced = Unsynced::default();
        let (committable, directories) = self.finish_content().await?;
        unsynced.add(directories);
        unsynced.sync(io.as_ref()).await?;
        Ok(committable)
    }

    /// Makes the content durable. Returns the directories whose entries the caller still has to sync; many parts share
    /// them.
    pub(super) async fn finish_content(mut self) -> Result<(PartCommittable, Vec<PathBuf>), ConnectorError> {
        let failed = format!("make {} durable", self.committable.hidden);
        let mut directories = Vec::new();
        match &mut self.file {
            PartFile::Local(file, reach) => {
                let (file, of_sync) = (file.take(), reach.clone());
                let sync = move || {
                    let file = file.map_or_else(|| of_sync.open(), Ok)?;
                    durable::sync_file(&file, of_sync.path())
                };
                beside(self.io.as_ref(), sync).await.map_err(store_error(failed))?;
                // The partition's directories may be new too.
                let above = reach.path().ancestors().take(self.committable.levels() + 1);
                directories.extend(above.map(|path| folder_of(path).to_owned()));
            }
            PartFile::Stored(upload) => {
                let mut upload = upload.take().expect("a part is finished once");
                upload.shutdown().await.map_err(store_error(failed))?;
            }
        }
        self.is_finished = true;
        Ok((self.committable.clone(), directories))
    }
}

/// Directories with entries that may not be durable yet.
#[derive(Debug, Default)]
pub(super) struct Unsynced(BTreeSet<PathBuf>);

impl Unsynced {
    pub(super) fn add(&mut self, directories: impl IntoIterator<Item = PathBuf>) {
        self.0.extend(directories);
    }

    /// Syncs each directory once.
    pub(super) async fn sync(self, io: &dyn Spawner) -> Result<(), ConnectorError> {
        let syncs = self.0.into_iter().map(|directory| async move {
            let failed = names_not_kept(&directory);
            beside(io, move || durable::sync(&directory)).await.map_err(failed)
        });
        stream::iter(syncs).buffer_unordered(SYNCS_MAX).try_collect().await
    }
}

/// Does blocking work in a task of its own, so that another thread can run it.
async fn beside(io: &dyn Spawner, work: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    let (tell, told) = oneshot::channel();
    let task = async move { _ = tell.send(work()) };
    io.spawn("sync", Box::pin(task));
    told.await.unwrap_or_else(|_| Err(io::Error::other("the process is ending")))
}

impl Drop for Part {
    /// An unfinished part will never be published.
    fn drop(&mut self) {
        if self.is_finished {
            return;
        }
        let is_uploading = self.bytes() >= PIECE_BYTES_MIN as u64;
        match &mut self.file {
            // If this fails, the file stays hidden until the job's unpublished files are discarded.
            PartFile::Local(_, reach) => {
                let _ = reach.remove();
                if let Some(directory) = reach.path().parent() {
                    remove_if_empty(directory, self.committable.levels());
                }
            }
            PartFile::Stored(upload) => {
                let Some(mut upload) = upload.take().filter(|_| is_uploading) else { return };
                let name = self.committable.hidden.clone();
                let give_up = async move {
                    if let Err(error) = upload.abort().await {
                        tracing::warn!(name, error = &error as &dyn std::error::Error, "could not give up an upload");
                    }
                };
                self.io.spawn("give up an upload", Box::pin(give_up));
            }
        }
    }
}

/// The key of a file. `directory` is already escaped.
pub(super) fn key_of(folder: &Path, directory: &str, name: &str) -> Result<Path, ConnectorError> {
    let folder = match directory {
        "" => folder.clone(),
        directory => {
            let path = format!("{folder}/{directory}");
            Path::parse(&path).map_err(store_error(format!("name the directory {path}")))?
        }
    };
    Ok(folder.join(name))
}

/// The directory of a file.
pub(super) fn folder_of(path: &LocalPath) -> &LocalPath {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(LocalPath::new("."))
}

/// Makes the entries of these directories durable.
pub(super) fn sync_folders(folders: &BTreeSet<PathBuf>) -> Result<(), ConnectorError> {
    folders.iter().try_for_each(|folder| durable::sync(folder).map_err(names_not_kept(folder)))
}

fn names_not_kept(directory: &LocalPath) -> impl FnOnce(io::Error) -> ConnectorError + use<> {
    store_error(format!("make the names in {} durable", directory.display()))
}

pub(super) fn ignore_gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
