//! Follows a job for a client, as a stream that the leader gives. A follower passes it on.
//!
//! ```text
//! the job as it is --> what has changed, as often as it does --> its final status: the stream ends with OK
//!        '--> this member leads no more or stops, or the watch is old: UNAVAILABLE, and the client asks again
//! ```
//!
//! What changes while the client takes nothing is told as one change, so nothing queues. A checkpoint is no change.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt};
use thalweg_consensus::{Consensus, Leadership};
use thalweg_proto::v1;
use thalweg_types::{JobId, client::JobAnswer};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{ClusterService, rpc::relayed};
use crate::{machine::Machine, overview};

/// The most watches at a member. A follower passes all calls on over one connection, so others must find room on it.
const WATCHES_MAX: usize = 256;
/// Who watches keeps a connection from making room for others, so nobody is forgotten here for ever.
const WATCHED_MAX: Duration = Duration::from_secs(600);
/// One change is on its way, and the newest follows.
const CHANGES: usize = 1;

pub(super) type Changes = Pin<Box<dyn Stream<Item = Result<v1::WatchJobResponse, Status>> + Send>>;

/// Room for so many watches.
#[derive(Debug)]
pub(super) struct Watches(Arc<Semaphore>);

impl Default for Watches {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(WATCHES_MAX)))
    }
}

impl Watches {
    /// A place, which is kept as long as the watch lasts.
    pub(super) fn enter(&self) -> Result<OwnedSemaphorePermit, Status> {
        let place = self.0.clone().try_acquire_owned();
        place.map_err(|_| Status::unavailable(format!("{WATCHES_MAX} watches are open here already")))
    }
}

/// Passes on the leader's stream.
pub(super) fn passed_on(changes: Streaming<v1::WatchJobResponse>, place: OwnedSemaphorePermit) -> Changes {
    Box::pin(changes.map(move |change| {
        let _place = &place;
        change.map_err(relayed)
    }))
}

impl ClusterService {
    /// Follows a job at the leader, which this member is.
    pub(super) async fn watch(&self, job: JobId, place: OwnedSemaphorePermit) -> Result<Changes, Status> {
        let watch = Watch {
            applied: self.consensus.applied(),
            leadership: self.consensus.leadership(),
            consensus: self.consensus.clone(),
            job,
        };
        self.read(|_| ()).await?;
        self.record(job)?;
        let (changes, told) = mpsc::channel(CHANGES);
        let watching = async move {
            let ended = tokio::select! {
                biased;
                () = changes.closed() => return,
                ended = time::timeout(WATCHED_MAX, watch.tell(&changes)) => ended,
            };
            let old = || Err(Status::unavailable(format!("{job} was watched for {WATCHED_MAX:?}: ask again")));
            if let Err(status) = ended.unwrap_or_else(|_| old()) {
                // This fails if the client went away, and then nobody needs it.
                let _ = changes.send(Err(status)).await;
            }
            drop(place);
        };
        self.seams.io.spawn("watch-job", Box::pin(watching));
        Ok(Box::pin(ReceiverStream::new(told)))
    }
}

/// What the task of a watch looks at.
struct Watch {
    applied: watch::Receiver<u64>,
    leadership: watch::Receiver<Leadership>,
    consensus: Consensus<Machine>,
    job: JobId,
}

impl Watch {
    /// Tells what changes, until the job's end has been told.
    async fn tell(mut self, changes: &mpsc::Sender<Result<v1::WatchJobResponse, Status>>) -> Result<(), Status> {
        let stopped = || Status::unavailable("this coordinator has stopped");
        let mut told: Option<JobAnswer> = None;
        loop {
            // Room first: what is told then is the newest.
            let room = changes.reserve().await.map_err(|_| stopped())?;
            self.applied.borrow_and_update();
            if !self.leadership.borrow_and_update().is_self {
                return Err(Status::unavailable("the leader has just changed: ask again"));
            }
            let seen = self.look()?;
            if told.as_ref().is_none_or(|told| seen.job.differs_from(&told.job)) {
                let is_end = seen.job.status.is_terminal();
                room.send(Ok(seen.clone().into()));
                if is_end {
                    return Ok(());
                }
                told = Some(seen);
            }
            tokio::select! {
                biased;
                changed = self.leadership.changed() => changed.map_err(|_| stopped())?,
                changed = self.applied.changed() => changed.map_err(|_| stopped())?,
            }
        }
    }

    fn look(&self) -> Result<JobAnswer, Status> {
        let seen = self.consensus.peek(|machine| {
            let state = machine.state();
            let record = state.job(self.job)?;
            let mut job = overview::summary(self.job, record);
            job.failure = job.failure.or_else(|| overview::waiting(record, state));
            job.ingest_urls = overview::ingest_urls(record, state);
            Some(JobAnswer { job, revision: record.revision })
        });
        seen.ok_or_else(|| Status::not_found(format!("{} is not known any more", self.job)))
    }
}
