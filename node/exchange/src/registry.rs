//! The attempts that this node can receive for, shared between the exchange service and the runtime.
//!
//! A stream opened by a peer of an attempt proves that the peer runs a newer one. Then an older attempt of the same job
//! that still runs here is over, and is told so. Other streams prove nothing: only the leader ends attempts otherwise.

use std::{sync::Arc, time::Duration};

use dashmap::DashMap;
use thalweg_proto::convert::exchange::Hello;
use thalweg_types::{Attempt, JobId};
use tokio::sync::watch;

use crate::{
    endpoints::Endpoints,
    traffic::{Traffic, TrafficBytes},
};

#[derive(Debug)]
struct Shared {
    attempts: DashMap<(JobId, Attempt), Arc<Endpoints>>,
    registered: watch::Sender<()>,
    traffic: Arc<Traffic>,
}

/// An attempt that is further ahead proves nothing: this node has missed the end of many, and learns that from the
/// leader.
const ATTEMPTS_AHEAD_MAX: u32 = 16;

/// Why no stream can be opened to an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotHere {
    /// A newer attempt of its job runs here.
    #[error("{attempt} of {job} is over: {newer} has begun")]
    Superseded { job: JobId, attempt: Attempt, newer: Attempt },
    /// Its deployment has not arrived.
    #[error("{attempt} of {job} does not run here")]
    Unknown { job: JobId, attempt: Attempt },
}

/// Endpoints by job and attempt.
#[derive(Debug, Clone)]
pub struct ExchangeRegistry {
    shared: Arc<Shared>,
}

impl Default for ExchangeRegistry {
    fn default() -> Self {
        let (attempts, registered, traffic) = (DashMap::new(), watch::Sender::new(()), Arc::default());
        Self { shared: Arc::new(Shared { attempts, registered, traffic }) }
    }
}

impl ExchangeRegistry {
    /// Lets other nodes open streams to this attempt.
    pub fn register(&self, endpoints: Arc<Endpoints>) {
        endpoints.count_in(&self.shared.traffic);
        self.shared.attempts.insert((endpoints.job(), endpoints.attempt()), endpoints);
        self.shared.registered.send_replace(());
    }

    /// Refuses the attempt's streams from now on.
    pub fn remove(&self, job: JobId, attempt: Attempt) {
        self.shared.attempts.remove(&(job, attempt));
    }

    /// What has gone over the streams of all attempts that were registered.
    #[must_use]
    pub fn traffic(&self) -> TrafficBytes {
        self.shared.traffic.bytes()
    }

    /// Whether the attempt is registered.
    #[must_use]
    pub fn contains(&self, job: JobId, attempt: Attempt) -> bool {
        self.shared.attempts.contains_key(&(job, attempt))
    }

    /// Ends attempts that are slightly older than the one for which a peer of theirs opens a stream.
    pub(crate) fn on_proof(&self, hello: &Hello) {
        let Hello { job, attempt, from: peer, .. } = *hello;
        let is_just_before = |earlier: Attempt| {
            let ahead = attempt.0.checked_sub(earlier.0);
            ahead.is_some_and(|ahead| (1..=ATTEMPTS_AHEAD_MAX).contains(&ahead))
        };
        let older = self.shared.attempts.iter().filter(|entry| entry.key().0 == job && is_just_before(entry.key().1));
        // Collects them first, so that no lock is held while they are told.
        let older: Vec<Arc<Endpoints>> = older.map(|entry| entry.value().clone()).collect();
        for endpoints in older.into_iter().filter(|endpoints| endpoints.check(hello).is_ok()) {
            let over = endpoints.attempt();
            endpoints.report(peer, format!("{over} of {job} is over: {peer} runs {attempt}"));
        }
    }

    /// The endpoints of an attempt. Waits until its deployment arrives here.
    pub(crate) async fn find(
        &self,
        job: JobId,
        attempt: Attempt,
        patience: Duration,
    ) -> Result<Arc<Endpoints>, NotHere> {
        let mut registered = self.shared.registered.subscribe();
        let search = async {
            loop {
                registered.mark_unchanged();
                if let Some(endpoints) = self.get(job, attempt) {
                    return Ok(endpoints);
                }
                if let Some(newer) = self.newer(job, attempt) {
                    return Err(NotHere::Superseded { job, attempt, newer });
                }
                if registered.changed().await.is_err() {
                    return Err(NotHere::Unknown { job, attempt });
                }
            }
        };
        let found = tokio::time::timeout(patience, search).await;
        found.unwrap_or(Err(NotHere::Unknown { job, attempt }))
    }

    fn get(&self, job: JobId, attempt: Attempt) -> Option<Arc<Endpoints>> {
        self.shared.attempts.get(&(job, attempt)).map(|entry| entry.value().clone())
    }

    fn newer(&self, job: JobId, attempt: Attempt) -> Option<Attempt> {
        let newer = self.shared.attempts.iter().filter(|entry| entry.key().0 == job && entry.key().1 > attempt);
        newer.map(|entry| entry.key().1).max()
    }
}
