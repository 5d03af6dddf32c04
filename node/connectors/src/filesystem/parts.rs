//! Part files: written under hidden names, so that no reader sees them, and named finally by the committer.
//!
//! ```text
//! .part-CLUSTER-JOB-ATTEMPT-SINK-SUBTASK-N.json.inprogress  --commit-->  part-CLUSTER-JOB-ATTEMPT-SINK-SUBTASK-N.json
//! ```
//!
//! Both lie in the directory that their rows belong to: the table's, or that of their partition below it.
//!
//! No two writers have a name in common, hidden or final. Names hold the cluster: every cluster counts its jobs from one, and
//! any number of them may write to one place. They hold the attempt: what an older one has published stays as it is, and a
//! writer that lives on without knowing of a newer attempt can touch nothing of it. So a final name says which hidden file
//! it was. A local hidden file that is there already is never opened again: the writer takes the next number.
//!
//! In an object store a part is uploaded under its hidden name, in pieces where it is large: it is there, hidden, from when
//! it is closed. An upload that is never completed is no object, but its pieces take room: a part that is dropped gives its upload
//! up. What a process leaves that ends suddenly is removed by the store's own rule for such uploads, where it has one.

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
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thalweg_types::{
    Attempt, ClusterId, JobId,
    bug::{self, Bug},
    durable,
    seam::Spawner,
};
use tokio::io::AsyncWriteExt as _;

use super::location::{Location, store_error};
use crate::{AllowedPaths, ConnectorError, SinkIdentity, allowed::Reach};

const HIDDEN_SUFFIX: &str = ".inprogress";

/// A part that has grown to this is closed, and the next one begun, where nothing else is asked for.
pub(crate) const PART_BYTES: u64 = 1 << 30;
/// The largest that can be asked for in an object store: it copies an object of at most 5 GiB in one request, and publishes by
/// that.
pub(super) const STORED_PART_BYTES_MAX: u64 = 4 << 30;
/// The pieces in which a part is uploaded, and how many at once, where a writer has many parts open. The least that stores take.
const PIECE_BYTES_MIN: usize = 5 << 20;
const SMALL_PIECES_MAX: usize = 2;

/// How many files or directories of one seal are made durable at the same time.
pub(super) const SYNCS_MAX: usize = 8;

/// How often a directory may be removed before a file lies in it.
const REMOVALS_MAX: u32 = 16;

/// What a committer needs to publish one part file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PartCommittable {
    /// The file's name as long as it is hidden.
    pub(crate) hidden: String,
    /// Its name from then on.
    pub(crate) published: String,
    /// Where both are, below the table's path; empty where the table has no partitions.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) directory: String,
    /// Its length when it was finished: a file of another length is not the one that was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<u64>,
}

impl PartCommittable {
    /// Whether a file of this length may be the one that was finished.
    pub(super) fn fits(&self, bytes: u64) -> bool {
        self.bytes.is_none_or(|finished| finished == bytes)
    }

    /// How many directories of partitions it lies in.
    fn levels(&self) -> usize {
        self.directory.split('/').filter(|name| !name.is_empty()).count()
    }

    fn to_value(&self) -> Value {
        serde_json::to_value(self).expect("a committable has only text keys")
    }
}

/// As a writer hands them out.
pub(crate) fn to_values(parts: &[PartCommittable]) -> Vec<Value> {
    parts.iter().map(PartCommittable::to_value).collect()
}

/// The attempt that a hidden name is of, where it is one of the cluster's job.
pub(super) fn attempt_of(name: &str, stem: &str, (cluster, job): (&ClusterId, JobId)) -> Option<Attempt> {
    let rest = name.strip_prefix(&hidden_prefix(stem, cluster, job))?.strip_suffix(HIDDEN_SUFFIX)?;
    let (attempt, _) = rest.split_once('-')?;
    attempt.parse().ok().map(Attempt)
}

/// The beginning of all hidden names of a cluster's job.
fn hidden_prefix(stem: &str, cluster: &ClusterId, job: JobId) -> String {
    format!(".{stem}-{}-{}-", cluster.object_part(), job.0)
}

/// Names the files of one writer.
#[derive(Debug, Clone)]
pub(crate) struct PartNames {
    /// What the names begin with.
    pub(crate) stem: &'static str,
    /// What they end with, such as `json`.
    pub(crate) extension: &'static str,
    pub(crate) identity: SinkIdentity,
}

impl PartNames {
    fn of(&self, number: u32) -> PartCommittable {
        let SinkIdentity { cluster, job, attempt, sink, subtask } = &self.identity;
        let Self { stem, extension, .. } = self;
        let attempt = if bug::is_active(Bug::ZombieWrites) { &Attempt(1) } else { attempt };
        let rest = format!("{}-{subtask}-{number}.{extension}", sink.0);
        PartCommittable {
            hidden: format!("{}{}-{rest}{HIDDEN_SUFFIX}", hidden_prefix(stem, cluster, *job), attempt.0),
            published: format!("{stem}-{}-{}-{}-{rest}", cluster.object_part(), job.0, attempt.0),
            directory: String::new(),
            bytes: None,
        }
    }
}

/// The part files of one writer. Clones share the numbers that are taken.
#[derive(Debug, Clone)]
pub(crate) struct PartFiles {
    folder: Folder,
    names: PartNames,
    number: Arc<AtomicU32>,
    /// Whether many parts may be open at once.
    are_many: bool,
    io: Arc<dyn Spawner>,
}

/// A part file that is being written. Dropped before it is finished, it is removed where it is local; an upload is given up.
#[derive(Debug)]
pub(crate) struct Part {
    committable: PartCommittable,
    file: PartFile,
    is_finished: bool,
    io: Arc<dyn Spawner>,
}

/// Creates a directory and those above it, for good. Where that is not possible at all, another attempt would not help.
fn create_directory(directory: &Reach) -> Result<(), ConnectorError> {
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

/// Creates a file, and the directory that it is in where that may be missing.
fn create_in_directory(directory: &Reach, file: &Reach, may_be_missing: bool) -> std::io::Result<File> {
    if may_be_missing {
        directory.create_directories_for_now().map_err(|error| match error.kind() {
            // It is the directory's name that is taken, not the file's.
            ErrorKind::AlreadyExists => std::io::Error::other(error),
            _ => error,
        })?;
    }
    file.create_new()
}

/// Removes directories of partitions that are empty, from the innermost of so many levels on.
pub(super) fn remove_if_empty(innermost: &LocalPath, levels: usize) {
    for directory in innermost.ancestors().take(levels) {
        // Only what is empty can be removed so.
        if fs::remove_dir(directory).is_err() {
            return;
        }
    }
}

/// A local directory, and where its table may write.
#[derive(Debug, Clone)]
pub(super) struct LocalFolder {
    path: PathBuf,
    allowed: AllowedPaths,
}

impl LocalFolder {
    /// A directory of a partition below it; itself where that is empty. A link may have come to lead elsewhere since the last look.
    pub(super) fn directory(&self, directory: &str) -> Result<Reach, ConnectorError> {
        let path = if directory.is_empty() { self.path.clone() } else { self.path.join(directory) };
        self.allowed.check_local(&path)
    }

    /// A directory below it; `None` where that is elsewhere, by a link.
    pub(super) fn below(&self, path: &LocalPath) -> Option<Reach> {
        self.allowed.check_local(path).ok()
    }
}

/// A directory, or a prefix of keys.
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
    /// Without the file while the part is laid aside.
    Local(Option<File>, Reach),
    /// Nothing once it is being completed.
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

impl PartFiles {
    pub(crate) fn new(location: &Location, names: PartNames, io: Arc<dyn Spawner>) -> Result<Self, ConnectorError> {
        let folder = Folder::new(location);
        if let Folder::Local(folder) = &folder {
            create_directory(&folder.directory("")?)?;
        }
        Ok(Self { folder, names, number: Arc::default(), are_many: false, io })
    }

    /// The same, where many may be open at once: each takes less memory.
    pub(super) fn with_many_open(mut self) -> Self {
        self.are_many = true;
        self
    }

    pub(super) fn is_stored(&self) -> bool {
        self.folder.is_stored()
    }

    /// Begins the next part, in a directory below the table's path; in that itself where it is empty.
    pub(crate) fn begin(&self, directory: &str) -> Result<Part, ConnectorError> {
        let mut removals = 0;
        loop {
            let number = self.number.fetch_add(1, Relaxed);
            let committable = PartCommittable { directory: directory.to_owned(), ..self.names.of(number) };
            let file = match &self.folder {
                Folder::Local(folder) => {
                    let folder = folder.directory(directory)?;
                    let part = folder.join(&committable.hidden);
                    let path = part.path().display();
                    match create_in_directory(&folder, &part, !directory.is_empty()) {
                        Ok(file) => PartFile::Local(Some(file), part),
                        Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                        // Another writer has removed the directory, empty as it was, before this file lay in it.
                        Err(error) if error.kind() == ErrorKind::NotFound && removals < REMOVALS_MAX => {
                            removals += 1;
                            continue;
                        }
                        Err(error) if !directory.is_empty() && is_impossible(&error) => {
                            return Err(not_created(&path.to_string(), &error));
                        }
                        Err(error) => return Err(store_error(format!("create {path}"))(error)),
                    }
                }
                Folder::Stored(store, folder) => {
                    let key = key_of(folder, directory, &committable.hidden)?;
                    let upload = match self.are_many {
                        true => BufWriter::with_capacity(store.clone(), key, PIECE_BYTES_MIN)
                            .with_max_concurrency(SMALL_PIECES_MAX),
                        false => BufWriter::new(store.clone(), key),
                    };
                    PartFile::Stored(Some(Box::new(upload)))
                }
            };
            return Ok(Part { committable, file, is_finished: false, io: self.io.clone() });
        }
    }
}

impl Part {
    /// Appends.
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

    /// How long it is.
    pub(crate) fn bytes(&self) -> u64 {
        self.committable.bytes.unwrap_or_default()
    }

    /// Closes a local file until more is written: others may be open meanwhile. An upload stays as it is.
    pub(super) fn lay_aside(&mut self) {
        if let PartFile::Local(file, _) = &mut self.file {
            *file = None;
        }
    }

    /// Makes it durable.
    pub(crate) async fn finish(self) -> Result<PartCommittable, ConnectorError> {
        let io = self.io.clone();
        let mut unsynced = Unsynced::default();
        let (committable, directories) = self.finish_content().await?;
        unsynced.add(directories);
        unsynced.sync(io.as_ref()).await?;
        Ok(committable)
    }

    /// Makes its content durable. The names in the directories are still to be, which many parts have in common.
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
                // The directories of its partition may be new as well.
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

/// Directories that have names which the disk may not keep yet.
#[derive(Debug, Default)]
pub(super) struct Unsynced(BTreeSet<PathBuf>);

impl Unsynced {
    pub(super) fn add(&mut self, directories: impl IntoIterator<Item = PathBuf>) {
        self.0.extend(directories);
    }

    /// Makes the names durable, each directory once.
    pub(super) async fn sync(self, io: &dyn Spawner) -> Result<(), ConnectorError> {
        let syncs = self.0.into_iter().map(|directory| async move {
            let failed = names_not_kept(&directory);
            beside(io, move || durable::sync(&directory)).await.map_err(failed)
        });
        stream::iter(syncs).buffer_unordered(SYNCS_MAX).try_collect().await
    }
}

/// Does what blocks on another thread than the one that waits for it, where there are several.
async fn beside(io: &dyn Spawner, work: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    let (tell, told) = oneshot::channel();
    let task = async move { _ = tell.send(work()) };
    io.spawn("sync", Box::pin(task));
    told.await.unwrap_or_else(|_| Err(io::Error::other("the process is ending")))
}

impl Drop for Part {
    /// A part that is not finished will never be published.
    fn drop(&mut self) {
        if self.is_finished {
            return;
        }
        let is_uploading = self.bytes() >= PIECE_BYTES_MIN as u64;
        match &mut self.file {
            // Where it fails the file stays hidden, until what its job has left is discarded.
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

/// The key of a file. The directory's name is escaped already.
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

/// The directory that a file is in.
pub(super) fn folder_of(path: &LocalPath) -> &LocalPath {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(LocalPath::new("."))
}

/// Makes the names in directories durable, each once.
pub(super) fn sync_folders(folders: &BTreeSet<PathBuf>) -> Result<(), ConnectorError> {
    folders.iter().try_for_each(|folder| durable::sync(folder).map_err(names_not_kept(folder)))
}

fn names_not_kept(directory: &LocalPath) -> impl FnOnce(io::Error) -> ConnectorError + use<> {
    store_error(format!("make the names in {} durable", directory.display()))
}
