//! A store on disk: one redb file in the member's data directory.
//!
//! One write is one transaction with immediate durability, so it is on disk when `write` returns. Transactions run on a
//! thread that the store starts and joins: an fsync of tens of milliseconds must not stop the tasks that share the
//! caller's thread, and a thread per store costs less than a blocking pool that must be handed in. The driver awaits
//! each write, so a leader whose disk stalls for an election timeout loses its leadership, as it should.
//!
//! ```text
//!   meta:  "format" u32 | "member" u64 | "cluster" utf-8 | "hard_state" term vote commit | "compacted" index term
//!          "pieces" generation count
//!   log:   index -> entry          snapshot: "latest" -> snapshot          (integers little-endian)
//!   pieces: (generation, number) -> a piece of a snapshot
//! ```
//!
//! A large snapshot is prepared: its pieces are written one by one, between the driver's writes. They become the
//! snapshot when a write of it names their generation, which also drops the pieces of others. Format 1 had no pieces.

use std::{
    fmt,
    fs::{OpenOptions, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    thread::JoinHandle,
};

use async_trait::async_trait;
use bytes::Bytes;
use redb::{Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, StorageError, TableDefinition};
use thalweg_types::{ClusterId, MemberId, durable};
use tokio::sync::{mpsc, oneshot};

use super::{HardState, Identity, LogEntry, LogPosition, LogStore, LogWrite, StoreError, Stored};

/// The version of the layout above.
const FORMAT: u32 = 2;
/// The oldest format that is read. Opening a store of it raises its format to the current one.
const FORMAT_MIN: u32 = 1;
/// How much of a snapshot one transaction writes. The driver may wait for it.
const PIECE_BYTES: usize = 1 << 20;
const FILE: &str = "raft.redb";
/// Nobody but the file's user may read it.
const PRIVATE: u32 = 0o600;
/// Redb reads little here after the start. Its default of a gigabyte would be waste.
const CACHE_BYTES: usize = 8 << 20;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const SNAPSHOT: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("snapshot");
const PIECES: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("pieces");

enum Request {
    Load(oneshot::Sender<Result<Stored, StoreError>>),
    Write(LogWrite, oneshot::Sender<Result<(), StoreError>>),
    /// Writes the next piece of a snapshot: the first one if it is another snapshot than before.
    Prepare(Bytes, oneshot::Sender<Result<Prepared, StoreError>>),
}

/// How far a snapshot is prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prepared {
    Partly,
    Whole,
}

/// A log on disk. Dropping it waits for the write in progress, and closes the file.
pub struct RedbStore {
    path: PathBuf,
    requests: Option<mpsc::Sender<Request>>,
    writer: Option<JoinHandle<()>>,
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedbStore({})", self.path.display())
    }
}

impl RedbStore {
    /// The name of its file in the data directory.
    pub const FILE: &'static str = FILE;

    /// Opens the log in a data directory. Creates both if they are missing. Blocks, so call it when the program starts.
    ///
    /// # Errors
    /// Another process has it open, it is damaged, or the operating system refuses.
    #[allow(clippy::disallowed_methods, reason = "fsync blocks: the log's one writer has a thread, not a task")]
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, StoreError> {
        let directory = directory.as_ref();
        let path = directory.join(FILE);
        // Redb may panic on some damage, which counts as damage too.
        let opened = panic::catch_unwind(AssertUnwindSafe(|| open_database(directory, &path)));
        let database = opened.unwrap_or_else(|_| Err(damaged(&path, "reading it failed badly")))?;
        // Room for the driver's write, and for a step of preparing a snapshot beside it.
        let (requests, inbox) = mpsc::channel(2);
        let writer = std::thread::Builder::new()
            .name("raft-log".to_owned())
            .spawn(move || serve(&database, inbox))
            .map_err(|source| StoreError::Open { path: path.display().to_string(), source: source.into() })?;
        Ok(Self { path, requests: Some(requests), writer: Some(writer) })
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Request,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let requests = self.requests.as_ref().ok_or(StoreError::Closed)?;
        requests.send(request(reply)).await.map_err(|_| StoreError::Closed)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }
}

impl Drop for RedbStore {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has closed the file already.
            let _ = writer.join();
        }
    }
}

#[async_trait]
impl LogStore for RedbStore {
    async fn load(&self) -> Result<Stored, StoreError> {
        self.ask(Request::Load).await
    }

    async fn write(&self, write: LogWrite) -> Result<(), StoreError> {
        self.ask(|reply| Request::Write(write, reply)).await
    }

    async fn prepare(&self, snapshot: &Bytes) -> Result<(), StoreError> {
        if snapshot.len() <= PIECE_BYTES {
            return Ok(());
        }
        while self.ask(|reply| Request::Prepare(snapshot.clone(), reply)).await? == Prepared::Partly {}
        Ok(())
    }
}

/// Sees to it that the file is its user's alone: jobs are kept as they were submitted, with what passwords stand in them. Creates it
/// empty if it is missing.
fn keep_private(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).mode(PRIVATE).open(path)?;
    let is_private = file.metadata()?.permissions().mode() & 0o777 == PRIVATE;
    if is_private { Ok(()) } else { file.set_permissions(Permissions::from_mode(PRIVATE)) }
}

fn open_database(directory: &Path, path: &Path) -> Result<Database, StoreError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| StoreError::Open {
        path: path.display().to_string(),
        source,
    };
    durable::create_directory(directory).map_err(|error| failed(error.into()))?;
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    let refuse = |error| match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse { path: path.display().to_string() },
        DatabaseError::Storage(StorageError::Corrupted(what)) => damaged(path, &what),
        // The file is not redb's.
        DatabaseError::Storage(StorageError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
            damaged(path, &error.to_string())
        }
        error => failed(error.into()),
    };
    keep_private(path).map_err(|error| failed(error.into()))?;
    let mut database = builder.create(path).map_err(refuse)?;
    // Every page is checked once: a member that forgot a vote is worse than one that does not start.
    if !database.check_integrity().map_err(refuse)? {
        return Err(damaged(path, "its checksums are wrong"));
    }
    check_format(&database).map_err(|error| match error {
        MetaError::Format(found) => StoreError::Format { found, known: FORMAT },
        MetaError::Redb(error) => failed(Box::new(error)),
    })?;
    // The file's name is durable only once its directory is.
    durable::sync(directory).map_err(|error| failed(error.into()))?;
    Ok(database)
}

fn damaged(path: &Path, what: &str) -> StoreError {
    StoreError::Damaged(format!("{}: {what}", path.display()))
}

enum MetaError {
    Format(u32),
    Redb(redb::Error),
}

impl<E: Into<redb::Error>> From<E> for MetaError {
    fn from(error: E) -> Self {
        Self::Redb(error.into())
    }
}

/// Writes the format into a new file, and checks that of an old one.
fn check_format(database: &Database) -> Result<(), MetaError> {
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        transaction.open_table(LOG)?;
        transaction.open_table(SNAPSHOT)?;
        transaction.open_table(PIECES)?;
        let found = meta.get("format")?.map(|value| u32_from(value.value()));
        match found {
            Some(FORMAT_MIN..=FORMAT) | None => {
                meta.insert("format", FORMAT.to_le_bytes().as_slice())?;
            }
            Some(other) => return Err(MetaError::Format(other)),
        }
    }
    transaction.commit()?;
    Ok(())
}

/// The store's thread: serves requests in order until the store is dropped.
fn serve(database: &Database, mut inbox: mpsc::Receiver<Request>) {
    let mut staged: Option<Staged> = None;
    let failed = |error: redb::Error| StoreError::Write(Box::new(error));
    while let Some(request) = inbox.blocking_recv() {
        // A caller that is gone needs no answer.
        match request {
            Request::Load(reply) => {
                let _ = reply.send(load(database));
            }
            Request::Write(write, reply) => {
                let named = staged.take_if(|staged| write.snapshot.as_ref().is_some_and(|it| staged.is_all_of(it)));
                let _ = reply.send(commit(database, &write, named.as_ref()).map_err(failed));
            }
            Request::Prepare(snapshot, reply) => {
                let _ = reply.send(stage(database, &mut staged, snapshot).map_err(failed));
            }
        }
    }
}

/// A snapshot of which some pieces are written.
struct Staged {
    snapshot: Bytes,
    generation: u64,
    pieces: u64,
}

impl Staged {
    fn is_all_of(&self, snapshot: &Bytes) -> bool {
        self.pieces == count_of(snapshot) && self.snapshot == *snapshot
    }
}

fn count_of(snapshot: &Bytes) -> u64 {
    snapshot.len().div_ceil(PIECE_BYTES) as u64
}

/// Writes the next piece of a snapshot.
fn stage(database: &Database, staged: &mut Option<Staged>, snapshot: Bytes) -> Result<Prepared, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    let is_same = |other: &Bytes| (other.as_ptr(), other.len()) == (snapshot.as_ptr(), snapshot.len());
    let under_way = staged.take().filter(|staged| is_same(&staged.snapshot));
    let mut next = match under_way {
        Some(under_way) => under_way,
        None => {
            let named = transaction.open_table(META)?.get("pieces")?.map(|value| generation_of(value.value()));
            let generation = named.unwrap_or(0) + 1;
            // Those of one that was given up.
            transaction.open_table(PIECES)?.retain_in((generation, 0).., |_, _| false)?;
            Staged { snapshot, generation, pieces: 0 }
        }
    };
    let piece = next.snapshot.chunks(PIECE_BYTES).nth(usize::try_from(next.pieces).unwrap_or(usize::MAX));
    if let Some(piece) = piece {
        transaction.open_table(PIECES)?.insert((next.generation, next.pieces), piece)?;
        next.pieces += 1;
    }
    transaction.commit()?;
    let is_whole = next.pieces == count_of(&next.snapshot);
    *staged = Some(next);
    Ok(if is_whole { Prepared::Whole } else { Prepared::Partly })
}

/// The generation of the pieces that the snapshot is in. A store in which that cannot be read was not loaded.
fn generation_of(named: &[u8]) -> u64 {
    decode_pieces(named).map_or(0, |[generation, _]| generation)
}

/// Names the pieces of a prepared snapshot, or writes one that is not prepared.
fn commit_snapshot(
    transaction: &redb::WriteTransaction,
    meta: &mut redb::Table<'_, &str, &[u8]>,
    snapshot: &Bytes,
    staged: Option<&Staged>,
) -> Result<(), redb::Error> {
    let (mut latest, mut pieces) = (transaction.open_table(SNAPSHOT)?, transaction.open_table(PIECES)?);
    match staged {
        Some(Staged { generation, pieces: count, .. }) => {
            let named: Vec<u8> = [*generation, *count].into_iter().flat_map(u64::to_le_bytes).collect();
            meta.insert("pieces", named.as_slice())?;
            latest.remove("latest")?;
            pieces.retain_in(..(*generation, 0), |_, _| false)?;
        }
        None => {
            latest.insert("latest", snapshot.as_ref())?;
            if let Some(generation) = meta.remove("pieces")?.map(|value| generation_of(value.value())) {
                pieces.retain_in(..(generation + 1, 0), |_, _| false)?;
            }
        }
    }
    Ok(())
}

fn commit(database: &Database, write: &LogWrite, staged: Option<&Staged>) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    {
        let mut meta = transaction.open_table(META)?;
        if let Some(identity) = &write.identity {
            meta.insert("member", identity.member.0.to_le_bytes().as_slice())?;
            meta.insert("cluster", identity.cluster.0.as_bytes())?;
        }
        if let Some(hard_state) = &write.hard_state {
            meta.insert("hard_state", encode_hard_state(hard_state).as_slice())?;
        }
        if let Some(compacted) = &write.compacted {
            meta.insert("compacted", encode_position(compacted).as_slice())?;
        }
        if let Some(snapshot) = &write.snapshot {
            commit_snapshot(&transaction, &mut meta, snapshot, staged)?;
        }
        commit_log(&mut transaction.open_table(LOG)?, write)?;
    }
    transaction.commit()?;
    Ok(())
}

fn commit_log(log: &mut redb::Table<'_, u64, &[u8]>, write: &LogWrite) -> Result<(), redb::Error> {
    if write.clears_log {
        log.retain(|_, _| false)?;
    }
    if let Some(compacted) = &write.compacted {
        log.retain_in(..=compacted.index, |_, _| false)?;
    }
    if let Some(first) = write.entries.first() {
        log.retain_in(first.index.., |_, _| false)?;
    }
    for entry in &write.entries {
        log.insert(entry.index, entry.bytes.as_ref())?;
    }
    Ok(())
}

fn load(database: &Database) -> Result<Stored, StoreError> {
    let failed = |error: redb::Error| StoreError::Read(Box::new(error));
    let (fields, entries, latest) = read_all(database).map_err(failed)?;
    let [member, cluster, hard_state, compacted, pieces] = fields;
    let snapshot = match pieces.map(|bytes| decode_pieces(&bytes)).transpose()? {
        None => latest,
        Some([generation, count]) => {
            let (snapshot, found) = read_pieces(database, generation).map_err(failed)?;
            if found != count {
                let reason = format!("of the {count} pieces of its snapshot {found} are there");
                return Err(StoreError::Damaged(reason));
            }
            Some(snapshot)
        }
    };
    let identity = match (member, cluster) {
        (Some(member), Some(cluster)) => Some(decode_identity(&member, cluster)?),
        (None, None) => None,
        _ => return Err(StoreError::Damaged("it names a member without a cluster or the reverse".to_owned())),
    };
    Ok(Stored {
        identity,
        hard_state: hard_state.map_or(Ok(HardState::default()), |bytes| decode_hard_state(&bytes))?,
        compacted: compacted.map_or(Ok(LogPosition::default()), |bytes| decode_position(&bytes))?,
        snapshot,
        entries,
    })
}

type Fields = [Option<Vec<u8>>; 5];

fn read_all(database: &Database) -> Result<(Fields, Vec<LogEntry>, Option<Bytes>), redb::Error> {
    let transaction = database.begin_read()?;
    let meta = transaction.open_table(META)?;
    let mut fields = Fields::default();
    for (field, key) in fields.iter_mut().zip(["member", "cluster", "hard_state", "compacted", "pieces"]) {
        *field = meta.get(key)?.map(|value| value.value().to_vec());
    }
    let mut entries = Vec::new();
    for pair in transaction.open_table(LOG)?.iter()? {
        let (index, bytes) = pair?;
        entries.push(LogEntry { index: index.value(), bytes: Bytes::copy_from_slice(bytes.value()) });
    }
    let latest = transaction.open_table(SNAPSHOT)?.get("latest")?.map(|value| Bytes::copy_from_slice(value.value()));
    Ok((fields, entries, latest))
}

/// A snapshot that is in pieces, and how many there are.
fn read_pieces(database: &Database, generation: u64) -> Result<(Bytes, u64), redb::Error> {
    let pieces = database.begin_read()?.open_table(PIECES)?;
    let (mut bytes, mut found) = (Vec::new(), 0);
    for piece in pieces.range((generation, 0)..=(generation, u64::MAX))? {
        bytes.extend_from_slice(piece?.1.value());
        found += 1;
    }
    Ok((bytes.into(), found))
}

fn u32_from(bytes: &[u8]) -> u32 {
    // A format number of another length is an unknown format. Zero was never one.
    bytes.try_into().map_or(0, u32::from_le_bytes)
}

fn decode_identity(member: &[u8], cluster: Vec<u8>) -> Result<Identity, StoreError> {
    let [member] = decode_numbers(member, "the member's id")?;
    let cluster =
        String::from_utf8(cluster).map_err(|_| StoreError::Damaged("the cluster's id is not text".to_owned()))?;
    Ok(Identity { member: MemberId(member), cluster: ClusterId(cluster) })
}

pub(super) fn encode_hard_state(state: &HardState) -> Vec<u8> {
    [state.term, state.vote, state.commit].into_iter().flat_map(u64::to_le_bytes).collect()
}

pub(super) fn decode_hard_state(bytes: &[u8]) -> Result<HardState, StoreError> {
    let [term, vote, commit] = decode_numbers(bytes, "term, vote and commit")?;
    Ok(HardState { term, vote, commit })
}

pub(super) fn encode_position(position: &LogPosition) -> Vec<u8> {
    [position.index, position.term].into_iter().flat_map(u64::to_le_bytes).collect()
}

pub(super) fn decode_position(bytes: &[u8]) -> Result<LogPosition, StoreError> {
    let [index, term] = decode_numbers(bytes, "the log's start")?;
    Ok(LogPosition { index, term })
}

fn decode_pieces(bytes: &[u8]) -> Result<[u64; 2], StoreError> {
    decode_numbers(bytes, "the generation and number of its snapshot's pieces")
}

fn decode_numbers<const N: usize>(bytes: &[u8], what: &str) -> Result<[u64; N], StoreError> {
    let damaged = || StoreError::Damaged(format!("{what} has {} bytes", bytes.len()));
    let (numbers, rest) = bytes.as_chunks::<8>();
    let numbers: [[u8; 8]; N] = numbers.try_into().map_err(|_| damaged())?;
    if rest.is_empty() { Ok(numbers.map(u64::from_le_bytes)) } else { Err(damaged()) }
}
