//! The object store of a run. All hosts share it, calls take time, and it has troubles.
//!
//! A call is a message to the store. It is executed when it arrives, even if its caller is gone by then. Troubles
//! change that:
//!
//! | trouble | executed | the caller gets |
//! |---|---|---|
//! | none | yes | the result |
//! | slow | yes, much later | the result |
//! | failing | no | an error, for a share of the calls |
//! | ambiguous | yes | a timeout after one second, for a share of the calls |
//! | out | no | an error, or nothing until the outage ends |
//! | refusing | no | an error, for calls of one kind |
//!
//! A tripwire waits for the n-th call of a kind, and crashes hosts before the store executes it (`Fault::AtCall`).

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult, UploadPart,
    memory::InMemory,
    path::{Path, PathPart},
};
use thalweg_storage::MARKER;
use tokio::sync::oneshot;

use super::{directory::is_hidden, journal::Journal, publications::COMPLETE};
use crate::input::Dice;

/// The path of checkpoints and ingest logs in the store.
pub(crate) const CHECKPOINTS: &str = "checkpoints";

/// A temporary problem of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Calls take up to a second and a half.
    Slow,
    /// This percentage of calls fails.
    Failing(u64),
    /// This percentage of calls is executed, but answered with an error.
    Ambiguous(u64),
    /// All calls fail.
    Out,
    /// All calls of one kind fail, as if output and checkpoints were in different stores.
    Refusing(Call),
}

/// The kind of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Puts the manifest of a checkpoint.
    Manifest,
    /// Puts state.
    State,
    /// Writes output under a hidden name.
    Prepare,
    /// Publishes output.
    Publish,
    /// Deletes an object.
    Delete,
    /// Reads or lists objects.
    Read,
}

impl Call {
    fn of_put(path: &Path) -> Self {
        match path.filename() {
            // Markers and manifests of what was published lie beside it.
            Some(_) if !path.as_ref().starts_with(CHECKPOINTS) && path.parts().any(is_aside) => Self::Publish,
            Some(name) if name.starts_with("manifest-") => Self::Manifest,
            Some(name) if name.ends_with(".state") => Self::State,
            _ => Self::Prepare,
        }
    }
}

/// Whether readers of a table pass over this part of a name, though it is published.
fn is_aside(part: PathPart<'_>) -> bool {
    part.as_ref().starts_with('_')
}

/// Waits for the n-th call of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tripwire {
    /// Identifies the tripwire to whoever set it.
    key: u64,
    call: Call,
    /// Calls of this kind until it trips.
    after: u64,
    /// Whether the store refuses the call that trips it.
    is_refused: bool,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slow => f.write_str("slow"),
            Self::Failing(percent) => write!(f, "failing {percent} % of calls"),
            Self::Ambiguous(percent) => write!(f, "answering {percent} % of calls with an error after doing them"),
            Self::Out => f.write_str("out"),
            Self::Refusing(call) => write!(f, "refusing calls of the kind {call:?}"),
        }
    }
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Done,
    Refused,
    DoneUntold,
}

const AMBIGUOUS_WAIT: Duration = Duration::from_secs(1);

type Step = Box<dyn FnOnce() + Send>;

/// The store. Cheap to clone.
#[derive(Clone)]
pub struct SimulatedStore {
    objects: Arc<InMemory>,
    state: Arc<Mutex<State>>,
    journal: Journal,
}

struct State {
    now: Duration,
    dice: Dice,
    trouble: Option<Trouble>,
    trouble_until: Duration,
    /// The time of the last call.
    called_at: Duration,
    /// Pending steps by time and number.
    due: BTreeMap<(Duration, u64), Step>,
    last: u64,
    /// When each object was written, in virtual time.
    written: BTreeMap<Path, Duration>,
    /// Objects copied to their final names, until they are taken.
    published: Vec<String>,
    tripwires: Vec<Tripwire>,
    tripped: Vec<u64>,
}

impl fmt::Debug for SimulatedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimulatedStore")
    }
}

impl fmt::Display for SimulatedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimulatedStore")
    }
}

impl SimulatedStore {
    /// Creates an empty store.
    #[must_use]
    pub fn new(seed: u64, journal: Journal) -> Self {
        let state = State {
            now: Duration::ZERO,
            dice: Dice::new(seed ^ 0x5704_e5ee_d000_0001),
            trouble: None,
            trouble_until: Duration::ZERO,
            called_at: Duration::ZERO,
            due: BTreeMap::new(),
            last: 0,
            written: BTreeMap::new(),
            published: Vec::new(),
            tripwires: Vec::new(),
            tripped: Vec::new(),
        };
        Self { objects: Arc::new(InMemory::new()), state: Arc::new(Mutex::new(state)), journal }
    }

    /// Puts an object at once, without a simulated call.
    ///
    /// # Errors
    /// If the path is invalid.
    pub fn place(&self, path: &str, bytes: impl Into<Bytes>) -> Result<(), Error> {
        let path = Path::parse(path)?;
        at_once(self.objects.put(&path, PutPayload::from(bytes.into()))).map(|_| ())
    }

    /// All objects below a path with their contents, without a simulated call.
    ///
    /// # Errors
    /// If the path is invalid.
    pub fn look(&self, path: &str) -> Result<Vec<(String, Bytes)>, Error> {
        let found: Vec<ObjectMeta> = at_once(self.objects.list(Some(&Path::parse(path)?)).try_collect())?;
        let mut objects = Vec::new();
        for meta in found {
            let bytes = at_once(async { self.objects.get(&meta.location).await?.bytes().await })?;
            objects.push((meta.location.to_string(), bytes));
        }
        objects.sort();
        Ok(objects)
    }

    /// Whether only visible objects and the cluster's marker are left.
    pub(super) fn is_swept(&self) -> Result<bool, Error> {
        let found: Vec<ObjectMeta> = at_once(self.objects.list(None).try_collect())?;
        let is_kept = |name: &str| match name.starts_with(CHECKPOINTS) {
            true => name.ends_with(MARKER),
            false => !is_hidden(name),
        };
        Ok(found.iter().all(|meta| is_kept(meta.location.as_ref())))
    }

    /// The content of an object, without a simulated call.
    ///
    /// # Errors
    /// If the path is invalid, or there is no such object.
    pub(super) fn look_at(&self, path: &str) -> Result<Bytes, Error> {
        let path = Path::parse(path)?;
        at_once(async { self.objects.get(&path).await?.bytes().await })
    }

    /// Takes the objects published since the last call.
    pub(super) fn published(&self) -> Vec<String> {
        std::mem::take(&mut self.state().published)
    }

    /// Starts or ends a trouble. `until` is when it will end.
    pub(super) fn trouble(&self, trouble: Option<Trouble>, until: Duration) {
        let mut state = self.state();
        (state.trouble, state.trouble_until) = (trouble, until);
    }

    /// Sets a tripwire for the n-th call of a kind from now, from 1. `tripped` then returns `key`.
    pub(super) fn watch_for(&self, key: u64, (call, nth): (Call, u64), is_refused: bool) {
        self.state().tripwires.push(Tripwire { key, call, after: nth, is_refused });
    }

    /// Takes the keys of tripwires that have tripped.
    pub(super) fn tripped(&self) -> Vec<u64> {
        std::mem::take(&mut self.state().tripped)
    }

    /// Whether no call is pending, and none was made for `long`.
    pub(super) fn is_quiet(&self, long: Duration) -> bool {
        let state = self.state();
        state.due.is_empty() && state.now >= state.called_at + long
    }

    /// Executes all steps that are due.
    pub(super) fn step(&self, now: Duration) {
        loop {
            let step = {
                let mut state = self.state();
                state.now = now;
                let Some(entry) = state.due.first_entry().filter(|entry| entry.key().0 <= now) else { return };
                entry.remove()
            };
            step();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes one call of the store.
    async fn call<T: Send + 'static>(
        &self,
        call: Call,
        what: String,
        work: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        let (arrives, fate) = self.state().draw(call);
        let store = self.clone();
        let timeout = format!("no answer in time: {what}");
        self.state().at(arrives, move || {
            let result = if fate == Fate::Refused { Err(unavailable(&what)) } else { work(&store) };
            let word = match (&result, fate) {
                (_, Fate::Refused) => "refused",
                (_, Fate::DoneUntold) => "done, answer lost",
                (Ok(_), Fate::Done) => "done",
                (Err(_), Fate::Done) => "failed",
            };
            store.journal.detail(&format!("store: {what}: {word}"));
            let result = if fate == Fate::DoneUntold { Err(generic(timeout)) } else { result };
            let delay = if fate == Fate::DoneUntold { AMBIGUOUS_WAIT } else { Duration::ZERO };
            let mut state = store.state();
            let when = state.now + delay;
            // Sending fails if the caller is gone, and that is fine.
            state.at(when, move || drop(answer.send(result)));
        });
        answered.await.unwrap_or_else(|_| Err(generic("the simulation has ended".to_owned())))
    }

    /// Sets the time of an object to virtual time.
    fn dated(&self, mut meta: ObjectMeta) -> ObjectMeta {
        let written = self.state().written.get(&meta.location).copied().unwrap_or_default();
        meta.last_modified = DateTime::<Utc>::UNIX_EPOCH + super::UNIX_START + written;
        meta
    }

    fn wrote(&self, path: &Path) {
        let mut state = self.state();
        let now = state.now;
        state.written.insert(path.clone(), now);
    }
}

impl State {
    fn at(&mut self, when: Duration, step: impl FnOnce() + Send + 'static) {
        self.last += 1;
        self.due.insert((when, self.last), Box::new(step));
    }

    /// Counts a call on all tripwires. Returns whether one of them refuses it.
    fn trips(&mut self, call: Call) -> bool {
        let mut is_refused = false;
        let tripped = &mut self.tripped;
        self.tripwires.retain_mut(|wire| {
            wire.after -= u64::from(wire.call == call);
            if wire.after == 0 {
                tripped.push(wire.key);
                is_refused |= wire.is_refused;
            }
            wire.after > 0
        });
        is_refused
    }

    /// Draws when a call arrives, and its fate.
    fn draw(&mut self, call: Call) -> (Duration, Fate) {
        self.called_at = self.now;
        let usual = Duration::from_millis(1 + self.dice.below(12));
        if self.trips(call) {
            return (self.now + usual, Fate::Refused);
        }
        let is_hit = |dice: &mut Dice, percent| dice.percent(percent);
        match self.trouble {
            Some(Trouble::Refusing(refused)) if refused == call => (self.now + usual, Fate::Refused),
            None | Some(Trouble::Refusing(_)) => (self.now + usual, Fate::Done),
            Some(Trouble::Slow) => (self.now + usual + Duration::from_millis(self.dice.below(1500)), Fate::Done),
            Some(Trouble::Failing(percent)) => {
                let fate = if is_hit(&mut self.dice, percent) { Fate::Refused } else { Fate::Done };
                (self.now + usual, fate)
            }
            Some(Trouble::Ambiguous(percent)) => {
                let fate = if is_hit(&mut self.dice, percent) { Fate::DoneUntold } else { Fate::Done };
                (self.now + usual, fate)
            }
            Some(Trouble::Out) if self.dice.percent(50) => (self.now + usual, Fate::Refused),
            Some(Trouble::Out) => (self.trouble_until + usual, Fate::Refused),
        }
    }
}

fn generic(what: String) -> Error {
    Error::Generic { store: "simulated", source: what.into() }
}

fn unavailable(what: &str) -> Error {
    generic(format!("the store is not available: {what}"))
}

/// Runs a future of the store in memory, which never waits.
fn at_once<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    work.now_or_never().unwrap_or_else(|| Err(generic("the store in memory waited".to_owned())))
}

#[async_trait]
impl ObjectStore for SimulatedStore {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult, Error> {
        let (path, call) = (path.clone(), Call::of_put(path));
        let what = format!("put {path}, {} bytes", payload.content_length());
        let work = move |store: &Self| {
            let put = at_once(store.objects.put_opts(&path, payload, options))?;
            store.wrote(&path);
            if path.filename() == Some(COMPLETE) {
                store.state().published.push(path.to_string());
            }
            Ok(put)
        };
        self.call(call, what, work).await
    }

    async fn put_multipart_opts(&self, path: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>, Error> {
        let upload = Upload { store: self.clone(), path: path.clone(), parts: Arc::default(), last: 0 };
        self.call(Call::Prepare, format!("begin {path}"), |_| Ok(Box::new(upload) as Box<dyn MultipartUpload>)).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult, Error> {
        let path = path.clone();
        let what = if options.head { format!("head {path}") } else { format!("get {path}") };
        let work = move |store: &Self| {
            let got = at_once(store.objects.get_opts(&path, options))?;
            let (meta, range, attributes) = (store.dated(got.meta.clone()), got.range.clone(), got.attributes.clone());
            let bytes = at_once(got.bytes())?;
            let payload = GetResultPayload::Stream(futures::stream::once(async { Ok(bytes) }).boxed());
            Ok(GetResult { payload, meta, range, attributes })
        };
        self.call(Call::Read, what, work).await
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, Error> {
        let (path, ranges) = (path.clone(), ranges.to_vec());
        let what = format!("get {} ranges of {path}", ranges.len());
        self.call(Call::Read, what, move |store| at_once(store.objects.get_ranges(&path, &ranges))).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path, Error>>) -> BoxStream<'static, Result<Path, Error>> {
        let store = self.clone();
        let deleted = paths.then(move |path| {
            let store = store.clone();
            async move {
                let path = path?;
                let gone = path.clone();
                let work = move |store: &Self| at_once(store.objects.delete(&gone)).map(|()| gone);
                store.call(Call::Delete, format!("delete {path}"), work).await
            }
        });
        deleted.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta, Error>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        let listed = async move {
            let what = format!("list {}", prefix.as_ref().map(ToString::to_string).unwrap_or_default());
            let work = move |store: &Self| {
                let found: Vec<ObjectMeta> = at_once(store.objects.list(prefix.as_ref()).try_collect())?;
                Ok(found.into_iter().map(|meta| store.dated(meta)).collect::<Vec<_>>())
            };
            let found = store.call(Call::Read, what, work).await?;
            Ok::<_, Error>(futures::stream::iter(found.into_iter().map(Ok)))
        };
        futures::stream::once(listed).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult, Error> {
        let prefix = prefix.cloned();
        let what = format!("list in {}", prefix.as_ref().map(ToString::to_string).unwrap_or_default());
        let work = move |store: &Self| {
            let mut found = at_once(store.objects.list_with_delimiter(prefix.as_ref()))?;
            found.objects = found.objects.into_iter().map(|meta| store.dated(meta)).collect();
            Ok(found)
        };
        self.call(Call::Read, what, work).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<(), Error> {
        let (from, to) = (from.clone(), to.clone());
        let what = format!("copy {from} to {to}");
        let work = move |store: &Self| {
            at_once(store.objects.copy_opts(&from, &to, options))?;
            store.wrote(&to);
            store.state().published.push(to.to_string());
            Ok(())
        };
        self.call(Call::Publish, what, work).await
    }
}

/// A multipart upload. The object exists once all parts are complete.
#[derive(Debug)]
struct Upload {
    store: SimulatedStore,
    path: Path,
    parts: Arc<Mutex<BTreeMap<u32, PutPayload>>>,
    last: u32,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.last += 1;
        let (number, parts, store) = (self.last, self.parts.clone(), self.store.clone());
        let what = format!("put part {number} of {}", self.path);
        let work = move |_: &SimulatedStore| {
            parts.lock().unwrap_or_else(PoisonError::into_inner).insert(number, data);
            Ok(())
        };
        async move { store.call(Call::Prepare, what, work).await }.boxed()
    }

    async fn complete(&mut self) -> Result<PutResult, Error> {
        let (parts, path, count) = (self.parts.clone(), self.path.clone(), self.last);
        let work = move |store: &SimulatedStore| {
            let parts = std::mem::take(&mut *parts.lock().unwrap_or_else(PoisonError::into_inner));
            if u32::try_from(parts.len()) != Ok(count) {
                return Err(generic(format!("{path} has {} parts of {count}", parts.len())));
            }
            let payload = parts.into_values().flatten().collect::<PutPayload>();
            let put = at_once(store.objects.put(&path, payload))?;
            store.wrote(&path);
            Ok(put)
        };
        self.store.call(Call::Prepare, format!("complete {}", self.path), work).await
    }

    async fn abort(&mut self) -> Result<(), Error> {
        self.store.call(Call::Prepare, format!("abort {}", self.path), |_| Ok(())).await
    }
}
