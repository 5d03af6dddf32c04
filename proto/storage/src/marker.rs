//! The marker of a cluster at the root of its place for checkpoints: the place belongs to this cluster and to no other.
//!
//! The leader creates it, if absent, before the cluster takes its first job. It is never replaced. A group of
//! coordinators that have all lost their stores finds it before they would found another cluster over the remains of
//! this one.

use std::fmt;

use bytes::Bytes;
use object_store::ObjectStoreExt as _;
use serde::{Deserialize, Serialize};
use thalweg_types::ClusterId;

use crate::{
    CheckpointStore, StorageError,
    error::{corrupt, store_error},
};

/// The marker's name below the root.
pub const MARKER: &str = "thalweg-cluster.json";
const FORMAT: u32 = 1;

/// Whom the place belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    format: u32,
    /// The id that the cluster drew.
    pub cluster: ClusterId,
    /// Its name, for people.
    pub name: ClusterId,
}

impl Marker {
    /// The marker of a cluster.
    #[must_use]
    pub fn new(cluster: ClusterId, name: ClusterId) -> Self {
        Self { format: FORMAT, cluster, name }
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cluster {}, named {}", self.cluster, self.name)
    }
}

impl CheckpointStore {
    /// The marker that exists, if any.
    ///
    /// # Errors
    /// When it is no marker that this program knows, or the store fails.
    pub async fn marker(&self) -> Result<Option<Marker>, StorageError> {
        let got = match self.store.get(&self.key(MARKER)?).await {
            Ok(got) => got.bytes().await,
            Err(error) => Err(error),
        };
        match got.map_err(store_error("read", MARKER)) {
            Ok(bytes) => parse(&bytes).map(Some),
            Err(StorageError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates a cluster's marker if there is none, and gives the one that exists then.
    ///
    /// # Errors
    /// As `marker`.
    pub async fn put_marker(&self, marker: &Marker) -> Result<Marker, StorageError> {
        let bytes = Bytes::from(serde_json::to_vec(marker).expect("a marker has only text keys"));
        let there = self.create(MARKER, bytes).await?;
        parse(&there)
    }
}

fn parse(bytes: &[u8]) -> Result<Marker, StorageError> {
    let marker: Marker = serde_json::from_slice(bytes).map_err(|error| corrupt(MARKER, error.to_string()))?;
    if marker.format != FORMAT {
        return Err(corrupt(MARKER, format!("it has format {}; this program knows format {FORMAT}", marker.format)));
    }
    Ok(marker)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::{ObjectStoreExt as _, memory::InMemory, path::Path};

    use super::*;
    use crate::ObjectStores;

    /// Another format needs another number, and another file beside this one.
    const GOLDEN: &[u8] = include_bytes!("tests/golden/marker-1.json");

    #[tokio::test]
    async fn a_marker_of_each_format_is_read() {
        let memory = Arc::new(InMemory::new());
        let stores = ObjectStores::default().with_store("memory://test", memory.clone());
        let store = CheckpointStore::open("memory://test", &stores).unwrap();
        memory.put(&Path::from(MARKER), GOLDEN.to_vec().into()).await.unwrap();
        assert_eq!(store.marker().await.unwrap(), Some(marker("a")));
        assert_eq!(store.put_marker(&marker("b")).await.unwrap(), marker("a"), "it stays");
    }

    fn marker(cluster: &str) -> Marker {
        Marker::new(ClusterId(cluster.to_owned()), ClusterId("river".to_owned()))
    }

    #[tokio::test]
    async fn the_first_marker_stays() {
        let directory = tempfile::tempdir().unwrap();
        let (memory, local) = (Arc::new(InMemory::new()), directory.path().join("checkpoints"));
        let stores = ObjectStores::default().with_store("memory://test", memory.clone());
        for url in ["memory://test/checkpoints", local.to_str().unwrap()] {
            let store = CheckpointStore::open(url, &stores).unwrap();
            assert_eq!(store.marker().await.unwrap(), None);
            assert_eq!(store.put_marker(&marker("a")).await.unwrap(), marker("a"));
            assert_eq!(store.put_marker(&marker("a")).await.unwrap(), marker("a"), "its own again");
            assert_eq!(store.put_marker(&marker("b")).await.unwrap(), marker("a"), "another's");
            assert_eq!(store.marker().await.unwrap(), Some(marker("a")));
        }
        let name = Path::from("checkpoints/thalweg-cluster.json");
        let bytes = memory.get(&name).await.unwrap().bytes().await.unwrap();
        assert_eq!(&bytes[..], GOLDEN);
        memory.put(&name, br#"{"format":2,"cluster":"a","name":"river"}"#.to_vec().into()).await.unwrap();
        let store = CheckpointStore::open("memory://test/checkpoints", &stores).unwrap();
        let error = store.marker().await.unwrap_err();
        assert_eq!(error.to_string(), "thalweg-cluster.json is damaged: it has format 2; this program knows format 1");
    }
}
