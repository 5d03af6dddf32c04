//! What the leader has done in the store of checkpoints: each piece of work in a task beside the actor, which is told of the
//! outcome. Work of an earlier reign may still end; nobody is told then, and names of objects hold the term.
//!
//! Deleting is bound by what is kept: the manifests that stay are read first, and where one cannot be read nothing is deleted.
//! An object that one of them refers to stays, whoever wrote it. Of the live attempt only what a dropped manifest names goes, and
//! of the job's ingest logs the segments that lie before the positions of all kept manifests: what they still need, promised
//! idempotency keys included, their own positions say (`thalweg_storage::ingest_log`). After the end of a job of which no
//! checkpoint is kept, its logs go as a whole. In a local directory also what killed puts have left goes: of older attempts, and
//! whatever is so old that no put can still be writing it.

use std::{collections::BTreeSet, time::Duration};

use futures::future::BoxFuture;
use thalweg_control::{Effect, JobController};
use thalweg_storage::{
    CheckpointStore, ListedObject, StorageError,
    ingest_log::{self, LogPosition},
    names,
};
use thalweg_types::{
    Attempt, CheckpointId, ClusterId, JobId, Term,
    checkpoint::{Manifest, ManifestRef},
    job::{Failure, FailureKind},
    seam::Seams,
    session::ALL_ATTEMPTS,
};
use tokio::sync::oneshot;

/// A file that a put has not written to for so long was left by one that was killed.
const PUT_MAX: Duration = Duration::from_secs(3600);

/// What came of a piece of work.
#[derive(Debug)]
pub(super) enum Stored {
    Put(CheckpointId, Result<ManifestRef, Failure>),
    Got(CheckpointId, Box<Result<Manifest, Failure>>),
    Collected(Result<(), Failure>),
    /// All of a job that is to be forgotten.
    Cleared(Result<(), Failure>),
}

/// The outcome of a job's piece of work, once there is one.
pub(super) type Work = BoxFuture<'static, (JobId, Stored)>;

/// Whose checkpoints they are.
#[derive(Debug, Clone)]
pub(super) struct Owner {
    pub(super) cluster: ClusterId,
    pub(super) job: JobId,
    pub(super) term: Term,
}

/// Begins what a controller wants of the store; `None`: the effect is none of the store's.
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

/// Deletes all checkpoints of a job that has ended and is to be forgotten, and whatever else its attempts have left there.
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
    // Nobody waits any more where the reign is over.
    let told = async move { _ = outcome.send(task.await) };
    // Manifests may be large: they are written and read where that delays no heartbeat.
    seams.compute.spawn("checkpoint store", Box::pin(told));
    Box::pin(async move { (job, done.await.unwrap_or(lost)) })
}

/// Tells a controller.
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
        // What is damaged or gone names nothing; it goes itself all the same.
        match store.get_manifest(reference).await {
            Ok(manifest) => useless.extend(objects_of(&manifest)),
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
    // A failed job that has no checkpoint goes on from the beginning of its logs, should it be started again.
    if !(kept.is_empty() && older_than.is_some_and(|attempt| attempt < ALL_ATTEMPTS)) {
        useless.extend(useless_segments(store, owner, &kept).await?);
    }
    let useless: Vec<String> = useless.difference(&needed).cloned().collect();
    store.delete(&useless).await
}

/// Since when no put goes on, in milliseconds since the Unix epoch.
fn before(seams: &Seams) -> u64 {
    let moment = seams.clock.since_epoch().saturating_sub(PUT_MAX);
    u64::try_from(moment.as_millis()).unwrap_or(0)
}

/// Removes what killed puts have left, where what older attempts left is swept.
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
    Ok(ingest_log::unneeded(listed.into_iter().map(|object| object.name).collect(), kept))
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
