//! The paths that take records on a node. A path exists while a reader is open; one reader at a time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use super::endpoint::{Endpoint, Refusal, Reservation, lock};

/// The paths that take records on this node. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct IngestRegistry {
    endpoints: Arc<Mutex<BTreeMap<String, Arc<Endpoint>>>>,
}

/// A path, for as long as this lives.
#[derive(Debug)]
pub(super) struct Mounted {
    registry: IngestRegistry,
    path: String,
    endpoint: Arc<Endpoint>,
}

impl IngestRegistry {
    /// Begins a request to a path, of nothing so far.
    pub(super) fn reserve(&self, path: &str) -> Result<Reservation, Refusal> {
        lock(&self.endpoints).get(path).cloned().ok_or(Refusal::UnknownPath)?.reserve()
    }

    /// Gives a path to a table; `None` where it is taken.
    pub(super) fn mount(&self, path: &str, endpoint: Arc<Endpoint>) -> Option<Mounted> {
        let mut endpoints = lock(&self.endpoints);
        if endpoints.contains_key(path) {
            return None;
        }
        endpoints.insert(path.to_owned(), endpoint.clone());
        drop(endpoints);
        Some(Mounted { registry: self.clone(), path: path.to_owned(), endpoint })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        lock(&self.registry.endpoints).remove(&self.path);
        self.endpoint.close();
    }
}
