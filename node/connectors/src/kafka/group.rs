//! Tells a group how far complete checkpoints are, for the tools that show lag. Nothing of the job goes by it.
//!
//! ```text
//! completed(positions) --newest offset of each partition--> one task: commit -- failed --> later, with what is newer by then
//! ```

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use thalweg_kafka::{Admin, TopicPartition};
use thalweg_types::seam::Seams;
use tokio::{sync::Notify, time::sleep};

use super::faults::{ANSWERED_WITHIN, answered};
use crate::notices::TableNotices;

/// How long after a failure offsets are committed again, unless newer ones come.
const TRIED_AGAIN: Duration = Duration::from_secs(5);

/// Commits offsets of a group, beside whatever else goes on. Dropping it at the end of the job lets the task try once more what is
/// left. At the end of an attempt nothing more is tried: the next one tells where it goes on from, and what came behind that would
/// set the group back.
#[derive(Debug)]
pub(super) struct GroupCommitter {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

/// At most one offset for each partition.
#[derive(Debug, Default)]
struct State {
    newest: BTreeMap<TopicPartition, i64>,
    /// The job has ended, and these are its last.
    are_last: bool,
    is_over: bool,
}

impl GroupCommitter {
    pub(super) fn start(seams: &Seams, admin: Arc<dyn Admin>, group: String, notices: TableNotices) -> Self {
        let shared = Arc::new(Shared::default());
        let task = commit_all(shared.clone(), admin, group, notices);
        // The attempt does not wait for it: what it does is for people.
        let _ = seams.io.spawn("committer of group offsets", Box::pin(task));
        Self { shared }
    }

    /// `are_last`: the job has ended.
    pub(super) fn commit(&self, offsets: BTreeMap<TopicPartition, i64>, are_last: bool) {
        let mut state = self.shared.lock();
        state.newest.extend(offsets);
        state.are_last |= are_last;
        drop(state);
        self.shared.changed.notify_one();
    }
}

impl Drop for GroupCommitter {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.changed.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Offsets that could not be committed, unless newer ones have come.
    fn put_back(&self, offsets: BTreeMap<TopicPartition, i64>) {
        let mut state = self.lock();
        for (partition, offset) in offsets {
            state.newest.entry(partition).or_insert(offset);
        }
    }
}

async fn commit_all(shared: Arc<Shared>, admin: Arc<dyn Admin>, group: String, notices: TableNotices) {
    loop {
        let (offsets, is_over) = {
            let mut state = shared.lock();
            if state.is_over && !state.are_last {
                return;
            }
            (std::mem::take(&mut state.newest), state.is_over)
        };
        if offsets.is_empty() {
            if is_over {
                return;
            }
            shared.changed.notified().await;
            continue;
        }
        let about = "group offsets";
        match answered(ANSWERED_WITHIN, admin.commit_group_offsets(&group, &offsets)).await {
            Ok(()) => notices.is_over(about, || format!("offsets of group '{group}' are committed again")),
            Err(error) => {
                notices.tell(about, || {
                    format!("offsets cannot be committed for group '{group}', so that its lag looks larger than it is: {error}")
                });
                if is_over {
                    return;
                }
                shared.put_back(offsets);
                sleep(TRIED_AGAIN).await;
            }
        }
    }
}
