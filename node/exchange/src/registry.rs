//! The attempts that this node can receive for: shared between the exchange service and the runtime.

use std::{sync::Arc, time::Duration};

use dashmap::DashMap;
use thalweg_types::{Attempt, JobId};
use tokio::sync::watch;

use crate::endpoints::Endpoints;

#[derive(Debug)]
struct Shared {
    attempts: DashMap<(JobId, Attempt), Arc<Endpoints>>,
    registered: watch::Sender<()>,
}

/// The endpoints by job and attempt.
#[derive(Debug, Clone)]
pub struct ExchangeRegistry {
    shared: Arc<Shared>,
}

impl Default for ExchangeRegistry {
    fn default() -> Self {
        Self { shared: Arc::new(Shared { attempts: DashMap::new(), registered: watch::Sender::new(()) }) }
    }
}

impl ExchangeRegistry {
    /// Lets other nodes open streams to this attempt.
    pub fn register(&self, endpoints: Arc<Endpoints>) {
        self.shared.attempts.insert((endpoints.job(), endpoints.attempt()), endpoints);
        self.shared.registered.send_replace(());
    }

    /// Refuses the attempt's streams from now on.
    pub fn remove(&self, job: JobId, attempt: Attempt) {
        self.shared.attempts.remove(&(job, attempt));
    }

    /// Whether the attempt is registered.
    #[must_use]
    pub fn contains(&self, job: JobId, attempt: Attempt) -> bool {
        self.shared.attempts.contains_key(&(job, attempt))
    }

    /// The endpoints of an attempt, waiting for its deployment to arrive here too.
    pub(crate) async fn find(&self, job: JobId, attempt: Attempt, patience: Duration) -> Option<Arc<Endpoints>> {
        let mut registered = self.shared.registered.subscribe();
        let search = async {
            loop {
                registered.mark_unchanged();
                if let Some(endpoints) = self.get(job, attempt) {
                    return Some(endpoints);
                }
                if self.has_newer(job, attempt) || registered.changed().await.is_err() {
                    return None;
                }
            }
        };
        tokio::time::timeout(patience, search).await.ok().flatten()
    }

    fn get(&self, job: JobId, attempt: Attempt) -> Option<Arc<Endpoints>> {
        self.shared.attempts.get(&(job, attempt)).map(|entry| entry.value().clone())
    }

    fn has_newer(&self, job: JobId, attempt: Attempt) -> bool {
        self.shared.attempts.iter().any(|entry| entry.key().0 == job && entry.key().1 > attempt)
    }
}
