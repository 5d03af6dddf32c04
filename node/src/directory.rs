//! Finds the readers of other nodes by asking the coordinators. An answer is cached for a second, and few requests ask
//! at a time. So clients that POST to the wrong node cost a coordinator next to nothing.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use thalweg_connectors::ingest::{ReaderDirectory, ReaderPlace};
use thalweg_proto::network::Network;
use thalweg_types::seam::Clock;
use tokio::{sync::Semaphore, time};

use crate::rpc;

const BELIEVED_FOR: Duration = Duration::from_secs(1);
/// The most paths whose answers are cached. Beyond it the cache is cleared.
const PATHS_MAX: usize = 1024;
/// No job takes records at a longer path.
const PATH_BYTES_MAX: usize = 4096;
const ASKING_MAX: usize = 4;
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// A cache of what the coordinators know about readers.
pub(crate) struct Directory {
    pub(crate) coordinators: Vec<String>,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) clock: Arc<dyn Clock>,
    known: Mutex<HashMap<String, (Duration, ReaderPlace)>>,
    asking: Semaphore,
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").field("coordinators", &self.coordinators).finish_non_exhaustive()
    }
}

impl Directory {
    pub(crate) fn new(coordinators: Vec<String>, network: Arc<dyn Network>, clock: Arc<dyn Clock>) -> Self {
        Self { coordinators, network, clock, known: Mutex::default(), asking: Semaphore::new(ASKING_MAX) }
    }

    fn known(&self, path: &str) -> Option<ReaderPlace> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (heard, place) = known.get(path)?;
        (self.clock.monotonic().saturating_sub(*heard) < BELIEVED_FOR).then(|| place.clone())
    }

    async fn ask(&self, path: &str) -> Option<ReaderPlace> {
        for coordinator in &self.coordinators {
            let asked = time::timeout(ANSWER_WITHIN, rpc::find_reader(&self.network, coordinator, path.to_owned()));
            match asked.await {
                Ok(Ok((address, reason))) if address.is_empty() && reason.is_empty() => {
                    return Some(ReaderPlace::Nowhere);
                }
                Ok(Ok((address, reason))) if address.is_empty() => return Some(ReaderPlace::NotNow(reason)),
                Ok(Ok((address, _))) => return Some(ReaderPlace::At(address)),
                Ok(Err(error)) => tracing::debug!(coordinator, error, "a coordinator did not say where a reader is"),
                Err(_) => tracing::debug!(coordinator, "a coordinator did not answer"),
            }
        }
        None
    }
}

impl Directory {
    async fn look_up(&self, path: &str) -> ReaderPlace {
        if path.len() > PATH_BYTES_MAX {
            return ReaderPlace::Nowhere;
        }
        if let Some(place) = self.known(path) {
            return place;
        }
        let Ok(_turn) = self.asking.acquire().await else { return ReaderPlace::Nowhere };
        if let Some(place) = self.known(path) {
            return place;
        }
        let Some(place) = self.ask(path).await else {
            return ReaderPlace::NotNow("no coordinator says where the table's reader is".to_owned());
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= PATHS_MAX {
            known.clear();
        }
        known.insert(path.to_owned(), (self.clock.monotonic(), place.clone()));
        place
    }
}

impl ReaderDirectory for Directory {
    fn find<'a>(&'a self, path: &'a str) -> BoxFuture<'a, ReaderPlace> {
        self.look_up(path).boxed()
    }
}
