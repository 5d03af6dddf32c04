//! The paths that take records on a node. A path exists while a reader is open; it has one reader at a time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use tokio::sync::Notify;

use super::{
    endpoint::{Endpoint, Reservation, lock},
    outcome::Refusal,
};

/// The paths that take records on this node. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct IngestRegistry {
    endpoints: Arc<Mutex<BTreeMap<String, Arc<Endpoint>>>>,
    /// Notified when a path becomes free.
    freed: Arc<Notify>,
}

/// A mounted path; dropping it frees the path.
#[derive(Debug)]
pub(super) struct Mounted {
    registry: IngestRegistry,
    path: String,
    endpoint: Arc<Endpoint>,
}

impl IngestRegistry {
    /// Begins an empty request to a path.
    pub(super) fn reserve(&self, path: &str) -> Result<Reservation, Refusal> {
        lock(&self.endpoints).get(path).cloned().ok_or(Refusal::UnknownPath)?.reserve()
    }

    /// The bytes that each path's buffer holds.
    #[must_use]
    pub fn backlogs(&self) -> Vec<(String, u64)> {
        let endpoints = lock(&self.endpoints);
        endpoints.iter().map(|(path, endpoint)| (path.clone(), endpoint.held_bytes())).collect()
    }

    /// Waits until a path is free and mounts a table's endpoint there. Cancel-safe.
    pub(super) async fn mount(&self, path: &str, endpoint: Arc<Endpoint>) -> Mounted {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // From here on no notification is missed.
            freed.as_mut().enable();
            if self.take(path, &endpoint) {
                return Mounted { registry: self.clone(), path: path.to_owned(), endpoint };
            }
            freed.await;
        }
    }

    fn take(&self, path: &str, endpoint: &Arc<Endpoint>) -> bool {
        let mut endpoints = lock(&self.endpoints);
        let is_free = !endpoints.contains_key(path);
        if is_free {
            endpoints.insert(path.to_owned(), endpoint.clone());
        }
        is_free
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        lock(&self.registry.endpoints).remove(&self.path);
        self.endpoint.close();
        self.registry.freed.notify_waiters();
    }
}
