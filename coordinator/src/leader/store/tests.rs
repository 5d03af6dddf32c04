//! What is deleted from the store, and what is not.

use std::sync::Arc;

use bytes::Bytes;
use object_store::memory::InMemory;
use thalweg_ingest_log::{LogName, SegmentNumber, ingest_folder, segment_name, segment_of};
use thalweg_storage::ObjectStores;
use thalweg_types::{
    KeyGroupTable, OperatorId, Split, SplitId, SubtaskId,
    checkpoint::{
        MANIFEST_FORMAT, Prepared, RecordCounts, RecordedGraph, RecordedOperator, STAGED, SinkCommittables,
        SnapshotCost, SourceSnapshot, SplitProgress, StateObject, SubtaskSnapshot,
    },
    graph::{GraphFingerprint, OperatorIdentity},
};

use super::*;

fn owner() -> Owner {
    Owner { cluster: ClusterId("c".to_owned()), job: JobId(1), term: Term(1) }
}

fn store() -> CheckpointStore {
    let stores = ObjectStores::default().with_store("memory://test", Arc::new(InMemory::new()));
    CheckpointStore::open("memory://test", &stores).unwrap()
}

/// Puts a state object of an attempt and a checkpoint.
async fn state(store: &CheckpointStore, attempt: u32, checkpoint: u64) -> StateObject {
    let subtask = SubtaskId::default();
    let name = names::state_object(&owner().cluster, JobId(1), Attempt(attempt), subtask, CheckpointId(checkpoint));
    store.put_state(&name, Bytes::from_static(b"rows").into()).await.unwrap()
}

/// A graph of a source.
fn one_source() -> RecordedGraph {
    let source = RecordedOperator {
        operator: OperatorId(0),
        identity: OperatorIdentity(7),
        kind: "source".to_owned(),
        state_version: 1,
        name: "source t".to_owned(),
        chain: thalweg_types::ChainId(0),
        output: Vec::new(),
    };
    let fingerprint = GraphFingerprint(7);
    RecordedGraph { release: "1".to_owned(), fingerprint, operators: vec![source], exchanges: Vec::new() }
}

async fn manifest(store: &CheckpointStore, attempt: u32, checkpoint: u64, objects: &[&StateObject]) -> ManifestRef {
    manifest_with(store, attempt, checkpoint, objects, Vec::new()).await
}

async fn manifest_with(
    store: &CheckpointStore,
    attempt: u32,
    checkpoint: u64,
    objects: &[&StateObject],
    prepared: Vec<Prepared>,
) -> ManifestRef {
    let snapshot = SubtaskSnapshot {
        subtask: SubtaskId::default(),
        is_finished: false,
        operators: Vec::new(),
        source: None,
        in_flight: Vec::new(),
        objects: objects.iter().map(|object| (*object).clone()).collect(),
        counts: RecordCounts::default(),
        prepared,
        cost: SnapshotCost::default(),
    };
    let manifest = Manifest {
        format: MANIFEST_FORMAT,
        cluster: owner().cluster,
        job: JobId(1),
        attempt: Attempt(attempt),
        checkpoint: CheckpointId(checkpoint),
        key_groups: KeyGroupTable::even(2, 1),
        parallelism: 1,
        graph: Some(one_source()),
        subtasks: vec![snapshot],
    };
    let name = names::manifest(&owner().cluster, JobId(1), CheckpointId(checkpoint), Attempt(attempt), Term(1));
    store.put_manifest(&name, &manifest).await.unwrap()
}

async fn listed(store: &CheckpointStore) -> BTreeSet<String> {
    store.list("").await.unwrap().into_iter().map(|object| object.name).collect()
}

#[tokio::test]
async fn what_a_kept_manifest_refers_to_stays_and_the_live_attempt_is_left_alone() {
    let store = store();
    let (shared, dropped) = (state(&store, 1, 1).await, state(&store, 1, 2).await);
    let (aborted, in_progress) = (state(&store, 1, 3).await, state(&store, 2, 6).await);
    let old = manifest(&store, 1, 4, &[&shared, &dropped]).await;
    let new = manifest(&store, 2, 5, &[&shared]).await;
    collect(&store, &owner(), std::slice::from_ref(&old), std::slice::from_ref(&new), None).await.unwrap();
    let expected = [&shared.name, &aborted.name, &in_progress.name, &new.name].map(Clone::clone);
    assert_eq!(listed(&store).await, BTreeSet::from(expected));
    collect(&store, &owner(), &[], std::slice::from_ref(&new), Some(Attempt(2))).await.unwrap();
    let expected = [&shared.name, &in_progress.name, &new.name].map(Clone::clone);
    assert_eq!(listed(&store).await, BTreeSet::from(expected), "of older attempts only what is referred to");
}

#[tokio::test]
async fn what_was_staged_goes_with_the_checkpoint_that_published_it() {
    let store = store();
    let cluster = owner().cluster;
    let mut staged = Vec::new();
    for (attempt, number) in [(1, 0), (1, 1), (2, 0)] {
        let name = names::staged_object((&cluster, JobId(1)), Attempt(attempt), OperatorIdentity(8), 0, number);
        staged.push(store.put_state(&name, Bytes::from_static(b"rows").into()).await.unwrap());
    }
    let prepared = |checkpoint, object: &StateObject| {
        let committables = vec![serde_json::json!({ "rows": 1, STAGED: [object] })];
        let committables = SinkCommittables { sink: OperatorId(0), subtask: 0, committables };
        vec![Prepared { epoch: CheckpointId(checkpoint), committables }]
    };
    let old = manifest_with(&store, 1, 1, &[], prepared(1, &staged[0])).await;
    let kept = manifest_with(&store, 1, 2, &[], prepared(2, &staged[1])).await;
    collect(&store, &owner(), &[old], std::slice::from_ref(&kept), None).await.unwrap();
    let expected = [&kept.name, &staged[1].name, &staged[2].name].map(Clone::clone);
    assert_eq!(listed(&store).await, BTreeSet::from(expected), "what may not be published yet stays");
    // Attempt 2 has begun, so all before it is published: nobody restores what was staged.
    collect(&store, &owner(), &[], std::slice::from_ref(&kept), Some(Attempt(2))).await.unwrap();
    let expected = [&kept.name, &staged[2].name].map(Clone::clone);
    assert_eq!(listed(&store).await, BTreeSet::from(expected));
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_job_that_is_to_be_forgotten_stays_and_others_are_left_alone() {
    let (store, cluster) = (store(), crate::tests::TestCluster::start(1, &[]).await);
    let (own, aborted) = (state(&store, 1, 1).await, state(&store, 1, 2).await);
    let newest = manifest(&store, 1, 1, &[&own]).await;
    let orphan = manifest(&store, 1, 3, &[&aborted]).await;
    let other = names::state_object(&owner().cluster, JobId(10), Attempt(1), SubtaskId::default(), CheckpointId(1));
    store.put_state(&other, Bytes::from_static(b"rows").into()).await.unwrap();
    assert!(listed(&store).await.contains(&orphan.name));
    let (job, told) = clear(&store, &cluster.seams(), owner(), vec![newest]).await;
    assert!(matches!((job, &told), (JobId(1), Stored::Cleared(Ok(())))), "{told:?}");
    assert_eq!(listed(&store).await, BTreeSet::from([other]));
}

#[tokio::test]
async fn nothing_is_deleted_where_what_is_kept_cannot_be_read() {
    let store = store();
    let object = state(&store, 1, 1).await;
    let old = manifest(&store, 1, 1, &[&object]).await;
    let lost = ManifestRef { name: "c/job-1/manifest-000000000002-1-1.json".to_owned(), ..old.clone() };
    let before = listed(&store).await;
    collect(&store, &owner(), &[old], &[lost], Some(Attempt(9))).await.unwrap_err();
    assert_eq!(listed(&store).await, before);
}

#[tokio::test]
async fn a_manifest_of_another_job_is_refused() {
    let store = store();
    let reference = manifest(&store, 1, 1, &[]).await;
    assert!(get(&store, &owner(), &reference).await.is_ok());
    let other = Owner { job: JobId(2), ..owner() };
    assert_eq!(get(&store, &other, &reference).await.unwrap_err().kind, FailureKind::Data);
}

#[tokio::test]
async fn segments_of_ingest_logs_go_once_no_kept_checkpoint_needs_them() {
    let store = store();
    let (source, split) = (OperatorId(0), SplitId("/in".to_owned()));
    let log = LogName::of(OperatorIdentity(7), &split);
    let folder = ingest_folder(&owner().cluster, JobId(1), &log);
    for number in 1..=5 {
        let name = segment_name(&folder, SegmentNumber(number));
        store.put_state(&name, Bytes::from_static(b"rows").into()).await.unwrap();
    }
    let reading = async |checkpoint: u64, segment: u64| {
        let segment = SegmentNumber(segment);
        let seals = vec![SegmentNumber(1)];
        let log = Some(log.clone());
        let payload = LogPosition { segment, row: 1, keep: segment, seals, log }.to_payload();
        let split = Split { id: split.clone(), sequence: String::new(), ordinal: 0, payload };
        let splits = vec![SplitProgress::unread(split)];
        let reference = manifest(&store, 1, checkpoint, &[]).await;
        let mut whole = store.get_manifest(&reference).await.unwrap();
        whole.subtasks[0].source = Some(SourceSnapshot { source, splits });
        store.delete(&[reference.name]).await.unwrap();
        let name = names::manifest(&owner().cluster, JobId(1), CheckpointId(checkpoint), Attempt(1), Term(1));
        store.put_manifest(&name, &whole).await.unwrap()
    };
    let (first, second, third) = (reading(1, 2).await, reading(2, 3).await, reading(3, 5).await);
    let left = async || {
        let numbers = listed(&store).await.into_iter().filter_map(|name| Some(segment_of(&name)?.1.0));
        numbers.collect::<Vec<_>>()
    };
    collect(&store, &owner(), &[first], &[second.clone(), third.clone()], None).await.unwrap();
    assert_eq!(left().await, [1, 3, 4, 5]);
    collect(&store, &owner(), &[second], std::slice::from_ref(&third), None).await.unwrap();
    assert_eq!(left().await, [1, 5], "seals stay");
    collect(&store, &owner(), &[third], &[], Some(Attempt(u32::MAX))).await.unwrap();
    assert_eq!(listed(&store).await, BTreeSet::new(), "the job is over");
}

#[tokio::test]
async fn files_of_killed_puts_go_with_what_their_attempt_left() {
    let directory = tempfile::tempdir().unwrap();
    let store = CheckpointStore::open(directory.path().to_str().unwrap(), &ObjectStores::default()).unwrap();
    let job = directory.path().join("c/job-1");
    let files = ["attempt-1/0-0-1.state#1", "attempt-2/0-0-2.state#1", "manifest-000000000002-2-1.json#1"];
    let left = || files.map(|file| job.join(file).exists());
    for file in files {
        std::fs::create_dir_all(job.join(file).parent().unwrap()).unwrap();
        std::fs::write(job.join(file), "half").unwrap();
    }
    sweep_staged(&store, &owner(), None, 0).await.unwrap();
    assert_eq!(left(), [true; 3]);
    sweep_staged(&store, &owner(), Some(Attempt(2)), 0).await.unwrap();
    assert_eq!(left(), [false, true, true], "puts of the live attempt go on");
    sweep_staged(&store, &owner(), Some(Attempt(2)), u64::MAX).await.unwrap();
    assert_eq!(left(), [false; 3], "nobody writes to them any more");
    assert!(!job.exists(), "nor do folders stay");
}
