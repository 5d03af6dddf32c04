//! What committers keep between publications, such as a client that is connected: opening one again for each checkpoint would
//! take longer than the publication.
//!
//! What is kept is a shortcut and no more: whoever finds nothing begins anew. It is taken while it is used, so that of two
//! committers of a sink in one process at most one has it.
//!
//! The queues of all their clients share a part of the node's memory. Nobody waits for it: a destination that does not answer must
//! not keep other jobs from publishing. Who comes later gets less.

use std::{
    any::Any,
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use thalweg_types::{
    ClusterId, JobId,
    graph::OperatorIdentity,
    seam::{Clock, Seams},
};

use crate::CommitterIdentity;

/// How many are kept, at most. Beyond it, the one that was used least recently goes.
const KEPT_MAX: usize = 64;
/// A committer gets so much of what is left: this one among so many.
const SHARES: u64 = 4;
/// What was not used for so long goes: another node may commit for that sink now.
const UNUSED_MAX: Duration = Duration::from_mins(5);

/// What the committers of a process keep. Clones share it.
#[derive(Clone, Default)]
pub struct KeptSessions {
    sessions: Arc<Mutex<Sessions>>,
    /// What the queues of all committers' clients may take now, kept ones included.
    queued_bytes: Arc<AtomicU64>,
}

/// Memory for the queues of one committer's clients. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct QueueShare {
    all: Arc<AtomicU64>,
    bytes: u64,
}

impl QueueShare {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for QueueShare {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Relaxed);
    }
}

#[derive(Default)]
struct Sessions {
    kept: BTreeMap<Key, Kept>,
    /// Whether a task looks for those that nobody uses.
    is_swept: bool,
}

type Key = (ClusterId, JobId, OperatorIdentity);

struct Kept {
    session: Box<dyn Any + Send>,
    used: Duration,
}

impl fmt::Debug for KeptSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeptSessions({})", lock(&self.sessions).kept.len())
    }
}

impl KeptSessions {
    /// Takes what was kept for a sink.
    pub(crate) fn take<T: Any>(&self, of: &CommitterIdentity) -> Option<T> {
        let kept = lock(&self.sessions).kept.remove(&key(of))?;
        Some(*kept.session.downcast().ok()?)
    }

    /// Keeps something for the next publication of a sink.
    pub(crate) fn keep<T: Any + Send>(&self, of: &CommitterIdentity, session: T, seams: &Seams) {
        let used = seams.clock.monotonic();
        let (gone, is_swept) = {
            let mut sessions = lock(&self.sessions);
            let mut gone: Vec<Kept> = Vec::new();
            gone.extend(sessions.kept.insert(key(of), Kept { session: Box::new(session), used }));
            while sessions.kept.len() > KEPT_MAX
                && let Some(oldest) = sessions.kept.iter().min_by_key(|(_, kept)| kept.used).map(|(key, _)| key.clone())
            {
                gone.extend(sessions.kept.remove(&oldest));
            }
            (gone, std::mem::replace(&mut sessions.is_swept, true))
        };
        // Closing a client may take a while, and nobody should wait for the lock meanwhile.
        drop(gone);
        if !is_swept {
            let sweep = sweep(Arc::downgrade(&self.sessions), seams.clock.clone());
            seams.io.spawn("sweeper of committers' sessions", Box::pin(sweep));
        }
    }

    /// Forgets what was kept for a sink.
    pub(crate) fn forget(&self, of: &CommitterIdentity) {
        let gone = lock(&self.sessions).kept.remove(&key(of));
        drop(gone);
    }

    /// Takes memory for a committer's queues: a part of what is left of what all may take, but not less than `bytes_min`.
    pub(crate) fn share(&self, of: &CommitterIdentity, bytes_min: u64) -> QueueShare {
        let mut bytes = 0;
        // It never fails: there is always a next value.
        let _ = self.queued_bytes.fetch_update(Relaxed, Relaxed, |queued| {
            bytes = (of.memory_bytes.saturating_sub(queued) / SHARES).max(bytes_min);
            Some(queued.saturating_add(bytes))
        });
        QueueShare { all: self.queued_bytes.clone(), bytes }
    }
}

/// Removes what nobody uses, until nothing is left.
async fn sweep(sessions: Weak<Mutex<Sessions>>, clock: Arc<dyn Clock>) {
    loop {
        tokio::time::sleep(UNUSED_MAX / 4).await;
        let Some(sessions) = sessions.upgrade() else { return };
        let (unused, is_over) = {
            let (mut sessions, now) = (lock(&sessions), clock.monotonic());
            let is_unused = |kept: &Kept| now.saturating_sub(kept.used) > UNUSED_MAX;
            let keys: Vec<Key> =
                sessions.kept.iter().filter(|(_, kept)| is_unused(kept)).map(|(key, _)| key.clone()).collect();
            let unused: Vec<Kept> = keys.into_iter().filter_map(|key| sessions.kept.remove(&key)).collect();
            sessions.is_swept = !sessions.kept.is_empty();
            (unused, !sessions.is_swept)
        };
        drop(unused);
        if is_over {
            return;
        }
    }
}

fn lock(sessions: &Mutex<Sessions>) -> MutexGuard<'_, Sessions> {
    // No code panics while the locked value is half changed, so a poisoned lock's value is sound.
    sessions.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key(of: &CommitterIdentity) -> Key {
    (of.cluster.clone(), of.job, of.sink)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::context;

    fn sink(sink: u64) -> CommitterIdentity {
        CommitterIdentity {
            cluster: ClusterId("c".to_owned()),
            job: JobId(1),
            sink: OperatorIdentity(sink),
            checkpoints: String::new(),
            memory_bytes: 0,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_kept_is_taken_once_and_by_its_sink() {
        let (kept, seams) = (KeptSessions::default(), context().seams);
        kept.keep(&sink(1), 7_u32, &seams);
        assert_eq!(kept.take::<u32>(&sink(2)), None);
        assert_eq!(kept.clone().take::<u32>(&sink(1)), Some(7));
        assert_eq!(kept.take::<u32>(&sink(1)), None);
        kept.keep(&sink(1), 7_u32, &seams);
        kept.forget(&sink(1));
        assert_eq!(kept.take::<u32>(&sink(1)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_uses_goes_and_so_does_what_is_too_much() {
        let (kept, seams) = (KeptSessions::default(), context().seams);
        for number in 0..=KEPT_MAX as u64 {
            kept.keep(&sink(number), number, &seams);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(kept.take::<u64>(&sink(0)), None, "it was the oldest");
        tokio::time::sleep(UNUSED_MAX - Duration::from_secs(1)).await;
        let used = kept.take::<u64>(&sink(1)).expect("it is kept");
        kept.keep(&sink(1), used, &seams);
        tokio::time::sleep(UNUSED_MAX / 2).await;
        assert_eq!(lock(&kept.sessions).kept.len(), 1, "only one was used");
        tokio::time::sleep(UNUSED_MAX * 2).await;
        assert!(lock(&kept.sessions).kept.is_empty() && !lock(&kept.sessions).is_swept, "and that no more");
        kept.keep(&sink(1), used, &seams);
        tokio::time::sleep(UNUSED_MAX * 2).await;
        assert!(lock(&kept.sessions).kept.is_empty(), "it is looked after again");
    }

    #[test]
    fn queues_of_all_committers_share_what_there_is() {
        let kept = KeptSessions::default();
        let of = CommitterIdentity { memory_bytes: 64 << 20, ..sink(1) };
        let mut shares: Vec<QueueShare> = (0..100).map(|_| kept.share(&of, 1 << 20)).collect();
        assert_eq!(shares[..3].iter().map(|share| share.bytes() >> 20).collect::<Vec<_>>(), [16, 12, 9]);
        let all: u64 = shares.iter().map(QueueShare::bytes).sum();
        let least = shares.iter().filter(|share| share.bytes() == 1 << 20).count() as u64;
        assert!(all - (least << 20) <= 64 << 20, "what is more than the least is within the bound");
        shares.clear();
        assert_eq!(kept.share(&of, 1 << 20).bytes(), 16 << 20, "all was given back");
    }
}
