//! Verifies a whole checkpoint: an attempt could go on from it.
//!
//! A manifest is found by URL: the root of checkpoints is the URL without the manifest's own name. Every object that it
//! names is read whole, every segment is decoded, and every reference is followed. A manifest that exists does not
//! prove that its checkpoint was completed: only the replicated record says so.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use thalweg_types::{
    Attempt, ChainId, CheckpointId, JobId, KeyGroup, OperatorId, SubtaskId,
    checkpoint::{BatchRef, Manifest, RecordedOperator, SnapshotCost, StateObject, SubtaskSnapshot},
    job::shortened_name,
};

use crate::{
    CheckpointStore, ObjectStores, StateReader, StateRows, StorageError,
    checkpoint_store::parse_manifest,
    directory::Missing,
    error::{config, corrupt},
    names::{self, ObjectName},
};

/// What a sound checkpoint consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The checkpoint.
    pub checkpoint: CheckpointId,
    /// The job.
    pub job: JobId,
    /// The attempt that took it.
    pub attempt: Attempt,
    /// The number of its subtasks.
    pub subtasks: u64,
    /// The number of state objects that it refers to.
    pub objects: u64,
    /// The length of these together, in bytes.
    pub bytes: u64,
    /// The number of their segments that it refers to.
    pub segments: u64,
    /// The number of rows in those.
    pub rows: u64,
    /// The release that took it; `None` if its format does not tell.
    pub release: Option<String>,
    /// The operators that have state in it, by their index.
    pub operators: Vec<VerifiedOperator>,
    /// What each subtask's part cost, the one that took longest first; of equal ones the one with most state.
    pub costs: Vec<VerifiedCost>,
}

/// What a subtask's part of a checkpoint cost, as the manifest tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedCost {
    /// The subtask.
    pub subtask: SubtaskId,
    /// The operators of its chain, shortened; `None` if the manifest's format does not tell.
    pub name: Option<Arc<str>>,
    /// What its part cost.
    pub cost: SnapshotCost,
}

/// An operator that has state in a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedOperator {
    /// Its index in the graph.
    pub operator: OperatorId,
    /// What the manifest tells of it; `None` if its format does not tell.
    pub recorded: Option<RecordedOperator>,
    /// The number of rows in the segments that its state refers to.
    pub rows: u64,
}

/// Verifies the checkpoint of a manifest, by the manifest's URL. The URL of a job's folder stands for the newest
/// manifest there.
///
/// # Errors
/// The first problem, with the object that has it; or a failure of the store.
pub async fn verify(url: &str, stores: &ObjectStores) -> Result<Verified, StorageError> {
    let (store, name) = find(url, stores).await?;
    let found = store.read(&name).await.map_err(|error| {
        let is_missing = matches!(error, StorageError::NotFound { .. });
        if is_missing { StorageError::NoCheckpoint { url: url.to_owned() } } else { error }
    });
    let manifest = parse_manifest(&name, &found?)?;
    check_name(&name, &manifest)?;
    let mut verification = Verification { manifest: &manifest, name: &name, objects: BTreeMap::new() };
    let mut bytes = 0;
    for object in listed_objects(&name, &manifest)?.into_values() {
        verification.objects.insert(object.name.as_str(), decode_all(&store, object).await?);
        bytes += object.bytes;
    }
    let (segments, rows) = verification.follow_references()?;
    let operators = verification.operators()?;
    Ok(Verified {
        checkpoint: manifest.checkpoint,
        job: manifest.job,
        attempt: manifest.attempt,
        subtasks: count(manifest.subtasks.len()),
        objects: count(verification.objects.len()),
        bytes,
        segments,
        rows,
        release: manifest.graph.as_ref().map(|graph| graph.release.clone()),
        operators,
        costs: costs(&manifest),
    })
}

fn costs(manifest: &Manifest) -> Vec<VerifiedCost> {
    let names = chain_names(manifest);
    let of = |SubtaskSnapshot { subtask, cost, .. }: &SubtaskSnapshot| VerifiedCost {
        subtask: *subtask,
        name: names.get(&subtask.chain).cloned(),
        cost: *cost,
    };
    let mut costs: Vec<VerifiedCost> = manifest.subtasks.iter().map(of).collect();
    // The sort is stable: subtasks that cost the same stay in their order.
    costs.sort_by_key(|VerifiedCost { cost, .. }| {
        let steps = [cost.alignment_micros, cost.freeze_micros, cost.upload_micros];
        let took = steps.into_iter().fold(0, u64::saturating_add);
        std::cmp::Reverse((took, cost.state_bytes))
    });
    costs
}

/// The names of the operators of each chain, in one pass: a manifest may tell of very many of both.
fn chain_names(manifest: &Manifest) -> BTreeMap<ChainId, Arc<str>> {
    let mut names: BTreeMap<ChainId, Vec<&str>> = BTreeMap::new();
    for operator in manifest.graph.iter().flat_map(|graph| &graph.operators) {
        names.entry(operator.chain).or_default().push(&operator.name);
    }
    names.into_iter().map(|(chain, names)| (chain, shortened_name(names.join(" -> ")).into())).collect()
}

/// The store of a manifest's URL, and the manifest's name in it.
async fn find(url: &str, stores: &ObjectStores) -> Result<(CheckpointStore, String), StorageError> {
    let url = url.trim_end_matches('/');
    let is_whole = url.ends_with(".json");
    let parts = if is_whole { 3 } else { 2 };
    let split = url.rmatch_indices('/').nth(parts - 1).map(|(at, _)| at);
    let Some((root, name)) = split.map(|at| (&url[..at], url[at..].trim_start_matches('/'))) else {
        let reason = "a manifest is ROOT/CLUSTER/job-J/manifest-CHECKPOINT-ATTEMPT-TERM.json";
        return Err(config(format!("find a checkpoint at {url}"), reason));
    };
    let store = CheckpointStore::open_or(root, stores, Missing::Refuse)?;
    if is_whole {
        return Ok((store, name.to_owned()));
    }
    let listed = store.list(name).await?.into_iter();
    let manifests = listed.filter_map(|object| match names::parse(&object.name)? {
        ObjectName::Manifest { checkpoint, attempt, term, .. } => Some(((checkpoint, attempt, term), object.name)),
        ObjectName::State { .. } | ObjectName::Staged { .. } => None,
    });
    let newest = manifests.max().map(|(_, name)| name);
    let newest = newest.ok_or_else(|| StorageError::NoCheckpoint { url: url.to_owned() })?;
    Ok((store, newest))
}

/// Refuses a manifest that was renamed, or copied over another: its name does not match its content.
fn check_name(name: &str, manifest: &Manifest) -> Result<(), StorageError> {
    let Some(ObjectName::Manifest { job, checkpoint, attempt, .. }) = names::parse(name) else {
        return Err(corrupt(name, "it is not named as a manifest is"));
    };
    let folder = names::job_prefix(&manifest.cluster, manifest.job);
    let is_named = (job, checkpoint, attempt) == (manifest.job, manifest.checkpoint, manifest.attempt);
    if is_named && name.starts_with(&folder) {
        return Ok(());
    }
    let Manifest { job, attempt, checkpoint, .. } = manifest;
    Err(corrupt(name, format!("it is of {folder}, {job}, {attempt} and {checkpoint}, and not what its name says")))
}

/// All objects of a manifest, by name.
fn listed_objects<'a>(name: &str, manifest: &'a Manifest) -> Result<BTreeMap<&'a str, &'a StateObject>, StorageError> {
    let mut objects: BTreeMap<&str, &StateObject> = BTreeMap::new();
    for object in manifest.subtasks.iter().flat_map(|snapshot| &snapshot.objects) {
        if objects.insert(&object.name, object).is_some_and(|other| other != object) {
            return Err(corrupt(name, format!("it says different things of {}", object.name)));
        }
    }
    Ok(objects)
}

/// The key groups and the number of rows of each segment of an object.
async fn decode_all(store: &CheckpointStore, object: &StateObject) -> Result<Vec<Segment>, StorageError> {
    let bytes = store.get_checked(&object.name, object.bytes, object.checksum).await?;
    let reader = StateReader::of_bytes(store.store.clone(), &object.name, bytes)?;
    let mut segments = Vec::with_capacity(reader.entries().len());
    for index in (0..).take(reader.entries().len()) {
        let StateRows { key_groups, rows } = reader.read(index).await?;
        segments.push(Segment { groups: key_groups.iter().copied().collect(), rows: count(rows.num_rows()) });
    }
    Ok(segments)
}

struct Segment {
    groups: BTreeSet<KeyGroup>,
    rows: u64,
}

struct Verification<'a> {
    manifest: &'a Manifest,
    name: &'a str,
    /// Segments by object.
    objects: BTreeMap<&'a str, Vec<Segment>>,
}

impl Verification<'_> {
    /// Checks every reference, and counts the segments that are referred to and their rows.
    fn follow_references(&self) -> Result<(u64, u64), StorageError> {
        let mut followed = BTreeMap::new();
        for snapshot in &self.manifest.subtasks {
            let own: BTreeSet<&str> = snapshot.objects.iter().map(|object| object.name.as_str()).collect();
            for batch in state_batches(snapshot).chain(waiting_batches(snapshot)) {
                if !own.contains(batch.object.as_str()) {
                    let reason = format!("{} refers to {} and does not list it", snapshot.subtask, batch.object);
                    return Err(corrupt(self.name, reason));
                }
                for index in &batch.segments {
                    followed.insert((batch.object.as_str(), *index), self.segment(&batch.object, *index)?.rows);
                }
            }
            for batch in state_batches(snapshot) {
                self.check_owned(snapshot, batch)?;
            }
        }
        Ok((count(followed.len()), followed.values().sum()))
    }

    /// The operators that have state. Segments that several subtasks refer to count once.
    fn operators(&self) -> Result<Vec<VerifiedOperator>, StorageError> {
        let mut rows: BTreeMap<OperatorId, BTreeMap<(&str, u32), u64>> = BTreeMap::new();
        let snapshots = || self.manifest.subtasks.iter();
        let states = snapshots().flat_map(|snapshot| &snapshot.operators);
        let of_states =
            states.map(|state| (state.operator, state.tables.values().flatten().collect::<Vec<&BatchRef>>()));
        let sources = snapshots().filter_map(|snapshot| snapshot.source.as_ref());
        let of_sources =
            sources.map(|source| (source.source, source.splits.iter().flat_map(|split| &split.held).collect()));
        for (operator, batches) in of_states.chain(of_sources) {
            let counted = rows.entry(operator).or_default();
            for (batch, index) in batches.into_iter().flat_map(|batch| batch.segments.iter().map(move |at| (batch, at)))
            {
                counted.insert((batch.object.as_str(), *index), self.segment(&batch.object, *index)?.rows);
            }
        }
        let graph = self.manifest.graph.as_ref();
        let told = |(operator, counted): (OperatorId, BTreeMap<_, u64>)| VerifiedOperator {
            operator,
            recorded: graph.and_then(|graph| graph.operator(operator)).cloned(),
            rows: counted.values().sum(),
        };
        Ok(rows.into_iter().map(told).collect())
    }

    fn segment(&self, object: &str, index: u32) -> Result<&Segment, StorageError> {
        let segments = self.objects.get(object).map(Vec::as_slice).unwrap_or_default();
        let found = usize::try_from(index).ok().and_then(|index| segments.get(index));
        found.ok_or_else(|| corrupt(object, format!("{} refers to its segment {index}, which is not there", self.name)))
    }

    /// State is of the key groups that its subtask owns. An object of an earlier attempt may have others: key groups
    /// may have moved when the job went on from it, and rows of groups that are not owned do not count.
    fn check_owned(&self, snapshot: &SubtaskSnapshot, batch: &BatchRef) -> Result<(), StorageError> {
        let owners = self.manifest.key_groups.owners();
        let is_single = self.is_single(snapshot.subtask.chain);
        let is_earlier = names::attempt_of(&batch.object).is_some_and(|attempt| attempt < self.manifest.attempt);
        let is_owned = |group: &&KeyGroup| match owners.get(usize::from(group.0)) {
            Some(owner) => is_single || is_earlier || *owner == snapshot.subtask.index,
            None => false,
        };
        for index in &batch.segments {
            let segment = self.segment(&batch.object, *index)?;
            if let Some(foreign) = segment.groups.iter().find(|group| !is_owned(group)) {
                let reason =
                    format!("segment {index} has rows of key group {}, not of {}", foreign.0, snapshot.subtask);
                return Err(corrupt(&batch.object, reason));
            }
        }
        Ok(())
    }

    /// A chain of one subtask owns all key groups, whatever the job's parallelism.
    fn is_single(&self, chain: ChainId) -> bool {
        self.manifest.subtasks.iter().filter(|snapshot| snapshot.subtask.chain == chain).count() == 1
    }
}

/// Rows of state, by key group.
fn state_batches(snapshot: &SubtaskSnapshot) -> impl Iterator<Item = &BatchRef> {
    snapshot.operators.iter().flat_map(|operator| operator.tables.values()).flatten()
}

/// Rows that wait to be processed. Their key groups need not be the subtask's.
fn waiting_batches(snapshot: &SubtaskSnapshot) -> impl Iterator<Item = &BatchRef> {
    let held = snapshot.source.iter().flat_map(|source| &source.splits).flat_map(|split| &split.held);
    held.chain(snapshot.in_flight.iter().flat_map(|rows| &rows.batches))
}

fn count(value: usize) -> u64 {
    u64::try_from(value).expect("counts fit in 64 bits")
}
