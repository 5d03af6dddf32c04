//! The cluster's claim to its place for checkpoints: its marker there, created if absent, before its first job is taken.
//!
//! Founders looked for a marker before (`opening`). Two clusters that were founded at the same time over one place still meet
//! here, where one of them finds the other's: it takes no job. A cluster that has taken jobs goes on all the same, and says so:
//! it may be older than markers.

use std::time::Duration;

use futures::future::BoxFuture;
use thalweg_storage::{CheckpointStore, Marker, StorageError};
use thalweg_types::{ClusterId, seam::Seams, text::with_causes};
use tokio::{sync::oneshot, time};

/// How long the store may take.
const PUT_WITHIN: Duration = Duration::from_secs(10);
/// After it failed.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Not there yet, and why.
    Open(String),
    /// The place is this cluster's.
    Held,
    /// It is another's, or cannot be told whose.
    Lost(String),
}

/// The leader's work on it.
#[derive(Debug)]
pub(super) struct Claiming {
    pub(super) claim: Claim,
    is_under_way: bool,
    not_before: Duration,
}

/// What came of putting the marker.
pub(super) type Claimed = Result<Marker, StorageError>;

impl Claiming {
    pub(super) fn new(marks: bool) -> Self {
        let open = || Claim::Open("the place for checkpoints is just being marked".to_owned());
        let claim = if marks { open() } else { Claim::Held };
        Self { claim, is_under_way: false, not_before: Duration::ZERO }
    }

    /// The next try, where one is due.
    pub(super) fn begin(
        &mut self,
        store: &CheckpointStore,
        seams: &Seams,
        (cluster, name): (ClusterId, ClusterId),
    ) -> Option<BoxFuture<'static, Claimed>> {
        let is_open = matches!(self.claim, Claim::Open(_));
        if !is_open || self.is_under_way || seams.clock.monotonic() < self.not_before {
            return None;
        }
        self.is_under_way = true;
        let (store, marker) = (store.clone(), Marker::new(cluster, name));
        let (outcome, done) = oneshot::channel();
        let put = async move {
            let put = time::timeout(PUT_WITHIN, store.put_marker(&marker)).await;
            // Nobody waits any more where the reign is over.
            _ = outcome.send(put.unwrap_or_else(|_| Err(late())));
        };
        seams.io.spawn("cluster marker", Box::pin(put));
        Some(Box::pin(async move { done.await.unwrap_or_else(|_| Err(late())) }))
    }

    pub(super) fn on_claimed(&mut self, claimed: Claimed, cluster: Option<&ClusterId>, now: Duration) {
        self.is_under_way = false;
        self.not_before = now + AGAIN_AFTER;
        let before = std::mem::replace(&mut self.claim, Claim::Held);
        self.claim = match claimed {
            Ok(marker) if cluster == Some(&marker.cluster) => Claim::Held,
            Ok(marker) => Claim::Lost(format!("the place for checkpoints belongs to another cluster ({marker})")),
            Err(error @ StorageError::Corrupt { .. }) => Claim::Lost(format!("the place for checkpoints: {error}")),
            Err(error) => Claim::Open(format!("the place for checkpoints cannot be marked: {}", with_causes(&error))),
        };
        match &self.claim {
            Claim::Lost(why) => tracing::error!(why, "this cluster takes no job before it has a place for checkpoints"),
            Claim::Open(why) if before != self.claim => tracing::warn!(why, "tried again"),
            Claim::Open(_) | Claim::Held => {}
        }
    }
}

fn late() -> StorageError {
    let attempted = format!("put {} within {PUT_WITHIN:?}", thalweg_storage::MARKER);
    StorageError::Store { attempted, source: "there was no answer".into() }
}
