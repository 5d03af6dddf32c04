//! A sound checkpoint passes, and problems are reported.

use std::sync::Arc;

use object_store::{ObjectStore, ObjectStoreExt as _, memory::InMemory, path::Path};
use thalweg_types::{
    Attempt, ChainId, CheckpointId, JobId, KeyGroupTable, Term,
    checkpoint::{BatchRef, Manifest},
};
use xxhash_rust::xxh3::xxh3_64;

use super::rig::{URL, block_on, cluster, manifest_name, state_name, stored};
use crate::{StorageError, Verified, VerifiedCost, VerifiedOperator, names, verify};

/// Verifies a checkpoint after changes: to its manifest before it is put, to its objects afterwards.
async fn verified(
    change: impl FnOnce(&mut Manifest),
    damage: impl AsyncFnOnce(&dyn ObjectStore),
) -> Result<Verified, StorageError> {
    let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (stores, store, mut manifest) = stored(inner.clone()).await;
    change(&mut manifest);
    store.put_manifest(&manifest_name(), &manifest).await.expect("memory takes it");
    damage(inner.as_ref()).await;
    verify(&format!("{URL}/{}", manifest_name()), &stores).await
}

fn key(name: &str) -> Path {
    Path::parse(format!("below/{name}")).expect("it is sound")
}

#[track_caller]
fn check_found(verified: Result<Verified, StorageError>, object: &str, reason: &str) {
    let error = verified.expect_err(reason).to_string();
    assert!(error.contains(object) && error.contains(reason), "{error}");
}

#[test]
fn a_sound_checkpoint_is_counted() {
    let verified = block_on(verified(|_| {}, async |_| {})).expect("it is sound");
    assert!(verified.bytes > 1000);
    let wanted = Verified {
        checkpoint: CheckpointId(3),
        job: JobId(1),
        attempt: Attempt(2),
        subtasks: 2,
        objects: 2,
        bytes: verified.bytes,
        segments: 6,
        rows: 14,
        release: Some("0.1.0".to_owned()),
        operators: verified.operators.clone(),
        costs: verified.costs.clone(),
    };
    assert_eq!(verified, wanted);
    let [VerifiedOperator { operator, recorded: Some(recorded), rows }] = verified.operators.as_slice() else {
        panic!("{:?}", verified.operators);
    };
    assert_eq!((operator.0, recorded.kind.as_str(), recorded.state_version, *rows), (4, "window_aggregate", 1, 12));
}

/// The subtasks in the order of what their parts cost, and what their chain is called.
fn costs_of(change: impl FnOnce(&mut Manifest)) -> Vec<(String, Option<String>)> {
    let verified = block_on(verified(change, async |_| {})).expect("it is sound");
    verified
        .costs
        .into_iter()
        .map(|VerifiedCost { subtask, name, .. }| (subtask.to_string(), name.map(|name| name.to_string())))
        .collect()
}

#[test]
fn the_part_that_took_longest_comes_first_and_of_equal_ones_the_larger() {
    let cost = |cost: [[u64; 4]; 2]| {
        move |manifest: &mut Manifest| {
            for (snapshot, [alignment, freeze, upload, state]) in manifest.subtasks.iter_mut().zip(cost) {
                let told = &mut snapshot.cost;
                (told.alignment_micros, told.freeze_micros) = (alignment, freeze);
                (told.upload_micros, told.state_bytes) = (upload, state);
            }
        }
    };
    let order = |told: Vec<(String, Option<String>)>| told.into_iter().map(|(subtask, _)| subtask).collect::<Vec<_>>();
    let first = costs_of(|_| {});
    assert_eq!(first[0].1.as_deref(), Some("count per k"));
    let (in_order, reversed) = (order(first.clone()), order(first.into_iter().rev().collect()));
    assert_ne!(in_order, reversed);
    assert_eq!(order(costs_of(cost([[1, 1, 7, 0], [8, 0, 0, 0]]))), in_order);
    assert_eq!(order(costs_of(cost([[1, 1, 7, 0], [9, 0, 1, 0]]))), reversed);
    assert_eq!(order(costs_of(cost([[1, 2, 3, 4], [3, 2, 1, 5]]))), reversed, "it has more state");
    let forged = costs_of(cost([[1, 1, 1, 1], [u64::MAX, u64::MAX, 1, 1]]));
    assert_eq!(order(forged), reversed);
    let wordy = costs_of(|manifest| {
        let mut operators = manifest.graph.iter_mut().flat_map(|graph| &mut graph.operators);
        operators.find(|operator| operator.name == "count per k").expect("it is there").name = "ä".repeat(5000);
    });
    assert_eq!(wordy[0].1, Some("ä".repeat(120) + "…"));
    let older = costs_of(|manifest| (manifest.format, manifest.graph) = (1, None));
    assert!(older.iter().all(|(_, name)| name.is_none()), "{older:?}");
}

#[test]
fn a_checkpoint_of_the_oldest_format_is_counted() {
    let older = |manifest: &mut Manifest| (manifest.format, manifest.graph) = (1, None);
    let verified = block_on(verified(older, async |_| {})).expect("it is sound");
    assert_eq!((verified.rows, verified.release), (14, None));
    let told: Vec<_> = verified.operators.iter().map(|of| (of.operator.0, of.recorded.is_some(), of.rows)).collect();
    assert_eq!(told, [(4, false, 12)]);
}

#[test]
fn the_newest_manifest_of_a_job_is_taken() {
    block_on(async {
        let (stores, store, mut manifest) = stored(Arc::new(InMemory::new())).await;
        for (checkpoint, attempt, term) in [(9, 1, 1), (10, 2, 7), (10, 2, 10), (2, 3, 11)] {
            (manifest.checkpoint, manifest.attempt) = (CheckpointId(checkpoint), Attempt(attempt));
            let name = names::manifest(&cluster(), JobId(1), manifest.checkpoint, manifest.attempt, Term(term));
            store.put_manifest(&name, &manifest).await.expect("memory takes it");
        }
        for end in ["", "/"] {
            let url = format!("{URL}/{}{end}", names::job_prefix(&cluster(), JobId(1)));
            let verified = verify(&url, &stores).await.expect("it is sound");
            assert_eq!((verified.checkpoint, verified.attempt), (CheckpointId(10), Attempt(2)));
        }
        let none = verify(&format!("{URL}/{}", names::job_prefix(&cluster(), JobId(2))), &stores).await;
        assert!(matches!(none, Err(StorageError::NoCheckpoint { .. })), "{none:?}");
        let none =
            verify(&format!("{URL}/{}/manifest-9-9-9.json", names::job_prefix(&cluster(), JobId(1))), &stores).await;
        assert!(matches!(none, Err(StorageError::NoCheckpoint { .. })), "{none:?}");
        let odd = verify("x.json", &stores).await;
        assert!(matches!(odd, Err(StorageError::Config { .. })), "{odd:?}");
    });
}

#[test]
fn a_look_at_a_directory_that_is_not_there_makes_none() {
    let folder = tempfile::tempdir().expect("a folder is made");
    let root = folder.path().join("none");
    let url = format!("{}/{}", root.display(), manifest_name());
    block_on(verify(&url, &crate::ObjectStores::default())).expect_err("there is nothing");
    assert!(!root.exists());
}

#[test]
fn damaged_objects_are_found() {
    block_on(async {
        let gone = verified(|_| {}, async |store| store.delete(&key(&state_name(1))).await.expect("it is there"));
        assert!(matches!(gone.await, Err(StorageError::NotFound { object }) if object == state_name(1)));
        let cut = async |store: &dyn ObjectStore| {
            let whole = store.get(&key(&state_name(1))).await.unwrap().bytes().await.unwrap();
            store.put(&key(&state_name(1)), whole.slice(1..).into()).await.unwrap();
        };
        check_found(verified(|_| {}, cut).await, &state_name(1), "bytes instead of");
        let flipped = async |store: &dyn ObjectStore| {
            let mut whole = store.get(&key(&state_name(1))).await.unwrap().bytes().await.unwrap().to_vec();
            whole[100] ^= 1;
            store.put(&key(&state_name(1)), whole.into()).await.unwrap();
        };
        check_found(verified(|_| {}, flipped).await, &state_name(1), "checksum");
    });
}

#[test]
fn damage_that_a_manifest_agrees_with_is_found() {
    block_on(async {
        let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let (stores, store, mut manifest) = stored(inner.clone()).await;
        let name = state_name(1);
        let mut whole = store.read(&name).await.expect("it is there").to_vec();
        whole[200] ^= 1;
        manifest.subtasks[1].objects[0].checksum = xxh3_64(&whole);
        inner.put(&key(&name), whole.into()).await.expect("memory takes it");
        store.put_manifest(&manifest_name(), &manifest).await.expect("memory takes it");
        let found = verify(&format!("{URL}/{}", manifest_name()), &stores).await;
        check_found(found, &name, "segment 0: it does not have the checksum");
    });
}

#[test]
fn references_to_nothing_are_found() {
    block_on(async {
        let beyond = verified(|manifest| manifest.subtasks[0].in_flight[0].batches[0].segments.push(3), async |_| {});
        check_found(beyond.await, &state_name(0), "segment 3, which is not there");
        let unlisted = verified(
            |manifest| {
                let batch = BatchRef { object: state_name(0), segments: vec![0] };
                manifest.subtasks[1].operators[0].tables.insert("other".to_owned(), vec![batch]);
            },
            async |_| {},
        );
        check_found(unlisted.await, &manifest_name(), "does not list it");
        let differing = verified(
            |manifest| {
                let mut object = manifest.subtasks[0].objects[0].clone();
                object.bytes += 1;
                manifest.subtasks[1].objects.push(object);
            },
            async |_| {},
        );
        check_found(differing.await, &state_name(0), "different things");
    });
}

#[test]
fn state_of_another_slice_is_found() {
    block_on(async {
        let moved = |manifest: &mut Manifest| manifest.key_groups = KeyGroupTable::new(vec![0, 1, 0, 0, 1, 1, 1, 1]);
        check_found(verified(moved, async |_| {}).await, &state_name(0), "key group 1, not of");
        let fewer = |manifest: &mut Manifest| manifest.key_groups = KeyGroupTable::new(vec![0, 0, 0, 0, 1]);
        check_found(verified(fewer, async |_| {}).await, &state_name(1), "key group 5, not of");
        let single = |manifest: &mut Manifest| {
            manifest.subtasks[1].subtask.chain = ChainId(2);
            manifest.subtasks[1].subtask.index = 0;
        };
        verified(single, async |_| {}).await.expect("a chain of one subtask owns all groups");
    });
}

#[test]
fn a_manifest_under_a_false_name_is_found() {
    block_on(async {
        let other = |manifest: &mut Manifest| manifest.checkpoint = CheckpointId(4);
        check_found(verified(other, async |_| {}).await, &manifest_name(), "not what its name says");
        let other = |manifest: &mut Manifest| manifest.cluster.0.push('x');
        check_found(verified(other, async |_| {}).await, &manifest_name(), "not what its name says");
        let other = |manifest: &mut Manifest| manifest.format = 7;
        check_found(verified(other, async |_| {}).await, &manifest_name(), "format 7");
    });
}
