//! The cluster's claim to its place for checkpoints: a marker there, which is created if absent before the cluster
//! takes its first job.
//!
//! Founders have looked for a marker before (see `opening`). Two clusters that are founded over one place at the same
//! time meet here: one finds the other's marker, and takes no job. A cluster that has taken jobs before continues in
//! any case, with an error in its log, because it may be older than markers.

use std::time::Duration;

use futures::future::BoxFuture;
use thalweg_storage::{CheckpointStore, Marker, StorageError};
use thalweg_types::{ClusterId, seam::Seams, text::with_causes};
use tokio::{sync::oneshot, time};

/// The time that the store has to answer.
const PUT_WITHIN: Duration = Duration::from_secs(10);
/// The pause after a failed try.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The state of the claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Not decided yet, with the reason.
    Open(String),
    /// The place is this cluster's.
    Held,
    /// The place is another cluster's, or its owner cannot be told.
    Lost(String),
}

/// The leader's work on the claim.
#[derive(Debug)]
pub(super) struct Claiming {
    pub(super) claim: Claim,
    is_under_way: bool,
    not_before: Duration,
}

/// The outcome of putting the marker.
pub(super) type Claimed = Result<Marker, StorageError>;

impl Claiming {
    pub(super) fn new(marks: bool) -> Self {
        let open = || Claim::Open("the place for checkpoints is just being marked".to_owned());
        let claim = if marks { open() } else { Claim::Held };
        Self { claim, is_under_way: false, not_before: Duration::ZERO }
    }

    /// The next try, if one is due.
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
            // The receiver is gone if this term of leadership is over.
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
            Claim::Lost(cause) => {
                tracing::error!(cause, "this cluster takes no job before it has a place for checkpoints")
            }
            Claim::Open(cause) if before != self.claim => tracing::warn!(cause, "tried again"),
            Claim::Open(_) | Claim::Held => {}
        }
    }
}

fn late() -> StorageError {
    let attempted = format!("put {} within {PUT_WITHIN:?}", thalweg_storage::MARKER);
    StorageError::Store { attempted, source: "there was no answer".into() }
}
