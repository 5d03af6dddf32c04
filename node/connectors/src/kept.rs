//! What committers keep between publications, such as a client that is connected: opening one again for each checkpoint would
//! take longer than the publication.
//!
//! What is kept is a shortcut and no more: whoever finds nothing begins anew. It is taken while it is used, so that of two
//! committers of a sink in one process at most one has it.

use std::{
    any::Any,
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use thalweg_types::{ClusterId, JobId, graph::OperatorIdentity};

use crate::CommitterIdentity;

/// How many are kept, at most. Beyond it, the one that was used least recently goes.
const KEPT_MAX: usize = 64;
/// What was not used for so long goes: another node may commit for that sink now.
const UNUSED_MAX: Duration = Duration::from_mins(5);

/// What the committers of a process keep. Clones share it.
#[derive(Clone, Default)]
pub struct KeptSessions(Arc<Mutex<Sessions>>);

type Sessions = BTreeMap<Key, Kept>;
type Key = (ClusterId, JobId, OperatorIdentity);

struct Kept {
    session: Box<dyn Any + Send>,
    used: Duration,
}

impl fmt::Debug for KeptSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeptSessions({})", self.lock().len())
    }
}

impl KeptSessions {
    /// Takes what was kept for a sink.
    pub(crate) fn take<T: Any>(&self, of: &CommitterIdentity) -> Option<T> {
        let kept = self.lock().remove(&key(of))?;
        Some(*kept.session.downcast().ok()?)
    }

    /// Keeps something for the next publication of a sink. `now` is monotonic.
    pub(crate) fn keep<T: Any + Send>(&self, of: &CommitterIdentity, session: T, now: Duration) {
        let gone = {
            let mut sessions = self.lock();
            let mut gone: Vec<Kept> = Vec::new();
            gone.extend(sessions.insert(key(of), Kept { session: Box::new(session), used: now }));
            let unused: Vec<Key> = sessions
                .iter()
                .filter(|(_, kept)| now.saturating_sub(kept.used) > UNUSED_MAX)
                .map(|(key, _)| key.clone())
                .collect();
            gone.extend(unused.into_iter().filter_map(|key| sessions.remove(&key)));
            while sessions.len() > KEPT_MAX
                && let Some(oldest) = sessions.iter().min_by_key(|(_, kept)| kept.used).map(|(key, _)| key.clone())
            {
                gone.extend(sessions.remove(&oldest));
            }
            gone
        };
        // Closing a client may take a while, and nobody should wait for the lock meanwhile.
        drop(gone);
    }

    /// Forgets what was kept for a sink.
    pub(crate) fn forget(&self, of: &CommitterIdentity) {
        let gone = self.lock().remove(&key(of));
        drop(gone);
    }

    fn lock(&self) -> MutexGuard<'_, Sessions> {
        // No code panics while the locked value is half changed, so a poisoned lock's value is sound.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(of: &CommitterIdentity) -> Key {
    (of.cluster.clone(), of.job, of.sink)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sink(sink: u64) -> CommitterIdentity {
        CommitterIdentity {
            cluster: ClusterId("c".to_owned()),
            job: JobId(1),
            sink: OperatorIdentity(sink),
            checkpoints: String::new(),
            memory_bytes: 0,
        }
    }

    #[test]
    fn what_is_kept_is_taken_once_and_by_its_sink() {
        let kept = KeptSessions::default();
        kept.keep(&sink(1), 7_u32, Duration::ZERO);
        assert_eq!(kept.take::<u32>(&sink(2)), None);
        assert_eq!(kept.clone().take::<u32>(&sink(1)), Some(7));
        assert_eq!(kept.take::<u32>(&sink(1)), None);
        kept.keep(&sink(1), 7_u32, Duration::ZERO);
        kept.forget(&sink(1));
        assert_eq!(kept.take::<u32>(&sink(1)), None);
    }

    #[test]
    fn what_nobody_uses_goes_and_so_does_what_is_too_much() {
        let kept = KeptSessions::default();
        let at = |seconds| Duration::from_secs(seconds);
        for number in 0..=KEPT_MAX as u64 {
            kept.keep(&sink(number), number, at(number));
        }
        assert_eq!(kept.take::<u64>(&sink(0)), None, "it was the oldest");
        assert_eq!(kept.take::<u64>(&sink(1)), Some(1));
        kept.keep(&sink(1000), 1000_u64, at(2 + UNUSED_MAX.as_secs()));
        assert_eq!(kept.take::<u64>(&sink(2)), Some(2), "just in time");
        kept.keep(&sink(2), 2_u64, at(4 + UNUSED_MAX.as_secs()));
        assert_eq!((kept.take::<u64>(&sink(3)), kept.take::<u64>(&sink(4))), (None, Some(4)));
    }
}
