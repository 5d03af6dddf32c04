//! The leader's work in the store of checkpoints. Each piece of work is a task beside the actor, which gets the
//! outcome.
//!
//! Work of an earlier term may still run, with nobody to receive its outcome. It does no harm, because names of objects
//! hold the term.

use std::{collections::BTreeSet, time::Duration};

use futures::future::BoxFuture;
use thalweg_control::{Effect, JobController};
use thalweg_ingest_log::{LogPosition, unneeded};
use thalweg_storage::{CheckpointStore, ListedObject, StorageError, names};
use thalweg_types::{
    Attempt, CheckpointId, ClusterId, JobId, Term,
    checkpoint::{Manifest, ManifestRef, staged_objects},
    job::{Failure, FailureKind},
    seam::Seams,
    session::ALL_ATTEMPTS,
};
use tokio::sync::oneshot;

/// A put that has not written for so long was killed.
const PUT_MAX: Duration = Duration::from_secs(3600);

/// The outcome of a piece of work.
#[derive(Debug)]
pub(super) enum Stored {
    Put(CheckpointId, Result<ManifestRef, Failure>),
    Got(CheckpointId, Box<Result<Manifest, Failure>>),
    Collected(Result<(), Failure>),
    /// All objects of a job that is to be forgotten are deleted.
    Cleared(Result<(), Failure>),
}

/// A piece of work for a job. Resolves to its outcome.
pub(super) type Work = BoxFuture<'static, (JobId, Stored)>;

/// The owner of checkpoints, and the leader's term.
#[derive(Debug, Clone)]
pub(super) struct Owner {
    pub(super) cluster: ClusterId,
    pub(super) job: JobId,
    pub(super) term: Term,
}

/// Begins a controller's work in the store; `None` if the effect needs none.
pub(super) fn begin(store: &CheckpointStore, seams: &Seams, owner: Owner, effect: Effect) -> Option<Work> {
    let job = owner.job;
    let store = store.clone();
    let old = before(seams);
    let (task, lost): (BoxFuture<'static, Stored>, Stored) = match effect {
        Effect::PutManifest { manifest } => {
            let checkpoint = manifest.checkpoint;
            let name = names::manifest(&owner.cluster, job, checkpoint, manifest.attempt, owner.term);
            let put = async move {
                let put = store.put_manifest(&name, &manifest).await;
                Stored::Put(checkpoint, put.map_err(|error| failure(&error)))
            };
            (Box::pin(put), Stored::Put(checkpoint, Err(ended())))
        }
        Effect::GetManifest { manifest } => {
            let checkpoint = manifest.checkpoint;
            let get = async move { Stored::Got(checkpoint, Box::new(get(&store, &owner, &manifest).await)) };
            (Box::pin(get), Stored::Got(checkpoint, Box::new(Err(ended()))))
        }
        Effect::CollectCheckpoints { drop, keep, older_than } => {
            let collect = async move {
                let collected = match collect(&store, &owner, &drop, &keep, older_than).await {
                    Ok(()) => sweep_staged(&store, &owner, older_than, old).await,
                    Err(error) => Err(error),
                };
                if let Err(error) = &collected {
                    tracing::warn!(%job, error = error as &dyn std::error::Error, "could not delete old checkpoints");
                }
                Stored::Collected(collected.map_err(|error| failure(&error)))
            };
            (Box::pin(collect), Stored::Collected(Err(ended())))
        }
        Effect::Propose(_) | Effect::Order { .. } => return None,
    };
    Some(spawn(seams, job, task, lost))
}

/// Deletes all checkpoints of an ended job that is to be forgotten, and all else that its attempts left in the store.
pub(super) fn clear(store: &CheckpointStore, seams: &Seams, owner: Owner, checkpoints: Vec<ManifestRef>) -> Work {
    let job = owner.job;
    let store = store.clone();
    let old = before(seams);
    let clear = async move {
        let cleared = match collect(&store, &owner, &checkpoints, &[], Some(ALL_ATTEMPTS)).await {
            Ok(()) => sweep_staged(&store, &owner, Some(ALL_ATTEMPTS), old).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &cleared {
            tracing::warn!(%job, error = error as &dyn std::error::Error, "could not delete the checkpoints of a job to be forgotten");
        }
        Stored::Cleared(cleared.map_err(|error| failure(&error)))
    };
    spawn(seams, job, Box::pin(clear), Stored::Cleared(Err(ended())))
}

fn spawn(seams: &Seams, job: JobId, task: BoxFuture<'static, Stored>, lost: Stored) -> Work {
    let (outcome, done) = oneshot::channel();
    // The receiver is gone if this term of leadership is over.
    let told = async move { _ = outcome.send(task.await) };
    // Manifests may be large. On the compute threads their encoding and decoding delay no heartbeat.
    seams.compute.spawn("checkpoint store", Box::pin(told));
    Box::pin(async move { (job, done.await.unwrap_or(lost)) })
}

/// Passes an outcome to its controller.
pub(super) fn tell(controller: &mut JobController, stored: Stored, now: Duration) {
    match stored {
        Stored::Put(checkpoint, result) => controller.on_manifest_put(checkpoint, result),
        Stored::Got(checkpoint, result) => controller.on_manifest_got(checkpoint, *result, now),
        Stored::Collected(result) => controller.on_collected(&result, now),
        Stored::Cleared(_) => {}
    }
}

async fn get(store: &CheckpointStore, owner: &Owner, reference: &ManifestRef) -> Result<Manifest, Failure> {
    let manifest = store.get_manifest(reference).await.map_err(|error| failure(&error))?;
    if (&manifest.cluster, manifest.job) != (&owner.cluster, owner.job) {
        let message = format!("{} is a manifest of {} of cluster {}", reference.name, manifest.job, manifest.cluster);
        return Err(Failure { kind: FailureKind::Data, message });
    }
    Ok(manifest)
}

/// Deletes the objects of dropped checkpoints that no kept one needs. With them goes what sinks had staged for their
/// committers: a checkpoint is dropped only when that is published, so no manifest keeps it.
///
/// It reads the kept manifests first, and deletes nothing if one cannot be read. An object that a kept manifest names
/// stays, whoever wrote it. Of attempts before `older_than`, everything else is deleted. Of other attempts, or without
/// `older_than`, only what a dropped manifest names is deleted.
///
/// Of the job's ingest logs, the segments before the positions of all kept manifests are deleted. These positions
/// account for everything still needed, with promised idempotency keys (see `thalweg_ingest_log`). If an ended
/// job keeps no checkpoint, its logs are deleted as a whole.
async fn collect(
    store: &CheckpointStore,
    owner: &Owner,
    drop: &[ManifestRef],
    keep: &[ManifestRef],
    older_than: Option<Attempt>,
) -> Result<(), StorageError> {
    let mut needed: BTreeSet<String> = BTreeSet::new();
    let mut kept = Vec::with_capacity(keep.len());
    for reference in keep {
        needed.insert(reference.name.clone());
        let manifest = store.get_manifest(reference).await?;
        needed.extend(objects_of(&manifest));
        kept.push(manifest);
    }
    let mut useless: BTreeSet<String> = BTreeSet::new();
    for reference in drop {
        // A manifest that is damaged or gone names no objects. Delete it all the same.
        match store.get_manifest(reference).await {
            Ok(manifest) => useless.extend(objects_of(&manifest).chain(staged_of(&manifest))),
            Err(StorageError::NotFound { .. } | StorageError::Corrupt { .. }) => {}
            Err(error) => return Err(error),
        }
        useless.insert(reference.name.clone());
    }
    if let Some(older_than) = older_than {
        let listed = store.list(&names::job_prefix(&owner.cluster, owner.job)).await?;
        let is_old = |name: &String| names::attempt_of(name).is_some_and(|attempt| attempt < older_than);
        useless.extend(listed.into_iter().map(|object| object.name).filter(is_old));
    }
    // A failed job without a checkpoint may be started again from the beginning of its logs.
    if !(kept.is_empty() && older_than.is_some_and(|attempt| attempt < ALL_ATTEMPTS)) {
        useless.extend(useless_segments(store, owner, &kept).await?);
    }
    let useless: Vec<String> = useless.difference(&needed).cloned().collect();
    store.delete(&useless).await
}

/// A file of a put that was last written before this time belongs to no running put. In milliseconds since the Unix
/// epoch.
fn before(seams: &Seams) -> u64 {
    let moment = seams.clock.unix_time().saturating_sub(PUT_MAX);
    u64::try_from(moment.as_millis()).unwrap_or(0)
}

/// Removes what killed puts have left in a local directory: of older attempts, and whatever is so old that no put can
/// still write it. Does nothing unless older attempts are swept.
async fn sweep_staged(
    store: &CheckpointStore,
    owner: &Owner,
    older_than: Option<Attempt>,
    old: u64,
) -> Result<(), StorageError> {
    let Some(older_than) = older_than else { return Ok(()) };
    let is_dead = |object: &ListedObject| {
        let is_of_older = names::attempt_of(&object.name).is_some_and(|attempt| attempt < older_than);
        is_of_older || older_than == ALL_ATTEMPTS || object.modified_millis < old
    };
    store.sweep_staged(&names::job_prefix(&owner.cluster, owner.job), is_dead).await
}

/// The segments of ingest logs that none of these manifests needs.
async fn useless_segments(
    store: &CheckpointStore,
    owner: &Owner,
    kept: &[Manifest],
) -> Result<Vec<String>, StorageError> {
    let splits = kept.iter().flat_map(|manifest| &manifest.subtasks).filter_map(|snapshot| snapshot.source.as_ref());
    let mut payloads = splits.flat_map(|source| &source.splits).map(|progress| &progress.split.payload);
    let has_log = payloads.any(|payload| !matches!(LogPosition::of_payload(payload), Ok(None)));
    if !has_log && !kept.is_empty() {
        return Ok(Vec::new());
    }
    let listed = store.list(&names::ingest_prefix(&owner.cluster, owner.job)).await?;
    Ok(unneeded(listed.into_iter().map(|object| object.name).collect(), kept))
}

fn staged_of(manifest: &Manifest) -> impl Iterator<Item = String> {
    let prepared = manifest.subtasks.iter().flat_map(|snapshot| &snapshot.prepared);
    let committables = prepared.flat_map(|prepared| &prepared.committables.committables);
    committables.flat_map(staged_objects).map(str::to_owned)
}

fn objects_of(manifest: &Manifest) -> impl Iterator<Item = String> {
    manifest.subtasks.iter().flat_map(|snapshot| &snapshot.objects).map(|object| object.name.clone())
}

fn failure(error: &StorageError) -> Failure {
    let causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
    let message = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
    Failure { kind: error.failure_kind(), message }
}

fn ended() -> Failure {
    let message = "the task that used the store of checkpoints has ended abnormally".to_owned();
    Failure { kind: FailureKind::Store, message }
}

#[cfg(test)]
mod tests;
