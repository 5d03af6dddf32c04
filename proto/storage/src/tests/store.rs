//! What is put is in the store, once, and below its root.

use std::{fs, sync::Arc};

use bytes::Bytes;
use object_store::{ObjectStore, ObjectStoreExt as _, memory::InMemory};
use thalweg_types::{
    CheckpointId,
    checkpoint::{ManifestRef, StateObject},
};

use super::rig::{PoorStore, block_on, manifest_name, state_file, state_name, stored};
use crate::{CheckpointStore, ListedObject, ObjectStores, StorageError};

async fn check_manifests_are_created_once(inner: Arc<dyn ObjectStore>) {
    let (_, store, mut manifest) = stored(inner).await;
    let name = manifest_name();
    let reference = store.put_manifest(&name, &manifest).await.expect("it is the first");
    let again = store.put_manifest(&name, &manifest).await.expect("it is the same");
    assert_eq!(reference, again);
    assert_eq!(store.get_manifest(&reference).await.expect("it is sound"), manifest);
    manifest.parallelism = 3;
    let error = store.put_manifest(&name, &manifest).await.expect_err("it is another one");
    assert!(matches!(error, StorageError::Exists { .. }), "{error:?}");
    manifest.parallelism = 2;
    assert_eq!(store.get_manifest(&reference).await.expect("it is as it was"), manifest);
    let other = ManifestRef { checkpoint: CheckpointId(4), ..reference.clone() };
    assert!(matches!(store.get_manifest(&other).await, Err(StorageError::Corrupt { .. })));
    let longer = ManifestRef { bytes: reference.bytes + 1, ..reference.clone() };
    assert!(matches!(store.get_manifest(&longer).await, Err(StorageError::Corrupt { .. })));
    let absent = ManifestRef { name: "c/job-1/none.json".to_owned(), ..reference };
    assert!(matches!(store.get_manifest(&absent).await, Err(StorageError::NotFound { .. })));
}

#[test]
fn a_manifest_is_created_once() {
    block_on(async {
        check_manifests_are_created_once(Arc::new(InMemory::new())).await;
        check_manifests_are_created_once(Arc::new(PoorStore::default())).await;
        let folder = tempfile::tempdir().expect("a folder is made");
        let (local, _) = ObjectStores::default().open(&folder.path().to_string_lossy()).expect("it is there");
        check_manifests_are_created_once(local).await;
    });
}

async fn put(store: &CheckpointStore, name: &str) {
    let file = state_file(0);
    let (bytes, checksum) = (file.bytes, file.checksum);
    let object = store.put_state(name, file).await.expect("there is room");
    assert_eq!(object, StateObject { name: name.to_owned(), bytes, checksum });
}

async fn names(store: &CheckpointStore, prefix: &str) -> Vec<String> {
    let listed = store.list(prefix).await.expect("it can be listed");
    assert!(listed.iter().all(|ListedObject { bytes, .. }| *bytes > 0));
    listed.into_iter().map(|object| object.name).collect()
}

async fn check_lists_and_deletes(store: &CheckpointStore) {
    assert!(names(store, "c/job-1").await.is_empty());
    for name in ["c/job-1/attempt-1/0-0-1.state", "c/job-10/attempt-1/0-0-1.state", "c/job-1/m.json"] {
        put(store, name).await;
    }
    assert_eq!(names(store, "c/job-1").await, ["c/job-1/attempt-1/0-0-1.state", "c/job-1/m.json"]);
    assert_eq!(names(store, "c/job-1/").await.len(), 2);
    assert_eq!(names(store, "").await.len(), 3);
    let absent = "c/job-1/attempt-9/0-0-1.state".to_owned();
    let doomed = [absent.clone(), "c/job-1/attempt-1/0-0-1.state".to_owned(), absent, "c/job-1/m.json".to_owned()];
    store.delete(&doomed).await.expect("what is not there needs no deletion");
    let bad = ["../x".to_owned(), "c/job-10/attempt-1/0-0-1.state".to_owned()];
    assert!(matches!(store.delete(&bad).await, Err(StorageError::Config { .. })));
    assert!(names(store, "").await.is_empty(), "the others are deleted all the same");
}

#[test]
fn objects_are_listed_by_whole_folders_and_deleted_whatever_fails() {
    block_on(async {
        let stores = ObjectStores::default().with_store("memory://b", Arc::new(InMemory::new()));
        check_lists_and_deletes(&CheckpointStore::open("memory://b", &stores).expect("it is known")).await;
        check_lists_and_deletes(&CheckpointStore::open("memory://b/deep/root/", &stores).expect("it is known")).await;
        let folder = tempfile::tempdir().expect("a folder is made");
        let root = folder.path().join("made/for it");
        let url = url::Url::from_directory_path(&root).expect("it is absolute");
        let store = CheckpointStore::open(url.as_str(), &stores).expect("it is made");
        assert!(root.is_dir() && store.url() == url.as_str());
        check_lists_and_deletes(&store).await;
        assert!(root.is_dir() && fs::read_dir(&root).expect("it is there").next().is_none(), "no empty folders stay");
    });
}

#[test]
fn a_directory_is_a_store_by_path_and_by_url() {
    block_on(async {
        let folder = tempfile::tempdir().expect("a folder is made");
        let root = folder.path().join("check points");
        let stores = ObjectStores::default();
        let by_path = CheckpointStore::open(&root.to_string_lossy(), &stores).expect("it is made");
        put(&by_path, &state_name(0)).await;
        assert!(root.join(state_name(0)).is_file());
        let url = url::Url::from_directory_path(&root).expect("it is absolute");
        let by_url = CheckpointStore::open(url.as_str(), &stores).expect("it is there");
        let reader = by_url.open_state(&state_name(0)).await.expect("it is there");
        assert_eq!(reader.read_all(&[2, 0]).await.expect("it is sound").len(), 2);
        fs::write(folder.path().join("file"), "x").expect("there is room");
        let file = folder.path().join("file");
        let refused = CheckpointStore::open(&file.to_string_lossy(), &stores).expect_err("it is a file");
        assert!(matches!(refused, StorageError::Config { .. }), "{refused:?}");
        let below = CheckpointStore::open(&file.join("x").to_string_lossy(), &stores).expect_err("it is a file");
        assert!(matches!(below, StorageError::Config { .. }), "{below:?}");
    });
}

#[test]
fn parts_that_are_put_in_a_directory_are_one_object() {
    block_on(async {
        let folder = tempfile::tempdir().expect("a folder is made");
        let (local, _) = ObjectStores::default().open(&folder.path().to_string_lossy()).expect("it is there");
        let key = "a/b".into();
        let mut upload = local.put_multipart(&key).await.expect("there is room");
        upload.put_part("x".into()).await.expect("there is room");
        upload.put_part("yz".into()).await.expect("there is room");
        upload.complete().await.expect("there is room");
        assert_eq!(fs::read(folder.path().join("a/b")).expect("it is there"), b"xyz");
    });
}

#[test]
fn names_cannot_leave_the_root() {
    block_on(async {
        let (_, store, _) = stored(Arc::new(InMemory::new())).await;
        for name in ["", "/x", "x/", "..", "../x", "a/../../x", "a//b", "./x"] {
            let bytes = Bytes::from_static(b"x");
            let error = store.put_state(name, bytes.into()).await.expect_err(name);
            assert!(matches!(error, StorageError::Config { .. }), "{name}: {error:?}");
        }
        assert!(matches!(store.open_state("none").await, Err(StorageError::NotFound { .. })));
    });
}

#[test]
fn urls_of_no_store_are_refused() {
    for url in ["ftp://host/x", "s3://", "://", "http://host/x"] {
        let error = CheckpointStore::open(url, &ObjectStores::default()).expect_err(url);
        assert!(matches!(error, StorageError::Config { .. }), "{url}: {error:?}");
    }
}

#[test]
fn one_of_several_creators_succeeds_and_a_store_that_cannot_decide_is_refused() {
    block_on(async {
        let stores = ObjectStores::default().with_store("memory://test", Arc::new(InMemory::new()));
        let store = CheckpointStore::open("memory://test", &stores).expect("it opens");
        let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
        assert_eq!(store.create_exclusively("a", bytes("one")).await.expect("it is free"), None);
        assert_eq!(store.create_exclusively("a", bytes("two")).await.expect("it is read"), Some(bytes("one")));
        assert_eq!(store.read_range("a", 1..3).await.expect("it is there"), bytes("ne"));
        let stores = ObjectStores::default().with_store("poor://test", Arc::new(PoorStore::default()));
        let poor = CheckpointStore::open("poor://test", &stores).expect("it opens");
        let error = poor.create_exclusively("a", bytes("one")).await.expect_err("nothing else is safe");
        assert!(error.to_string().contains("no conditional put"), "{error}");
    });
}
