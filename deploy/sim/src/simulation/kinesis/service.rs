//! The streams of a run, and what goes wrong with them.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Result;
use thalweg_kinesis::{
    Record, Shard,
    model::{Call, Fault, ModelKinesis},
};
use thalweg_types::seam::Seams;

use super::{
    super::{
        executor::{Executor, ProcessSpawner},
        gate::Gate,
        journal::{Journal, JournalClock},
        seams::SeededEntropy,
    },
    faults::KinesisTrouble,
};
use crate::input::Dice;

/// The longest time that a call takes before its effect, and after it.
const DELAY_MAX_MS: u64 = 12;

/// The streams. Cheap to clone.
#[derive(Clone)]
pub struct SimulatedKinesis {
    pub(super) model: ModelKinesis,
    dice: Arc<Mutex<Dice>>,
    pub(super) journal: Journal,
}

impl fmt::Debug for SimulatedKinesis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimulatedKinesis")
    }
}

impl SimulatedKinesis {
    /// Kinesis without streams.
    #[must_use]
    pub fn new(seed: u64, journal: Journal) -> Self {
        let spawner = Arc::new(ProcessSpawner(Executor::new(Arc::new(Gate::default()))));
        let seams = Seams {
            clock: Arc::new(JournalClock(journal.clone())),
            entropy: Arc::new(SeededEntropy::new("kinesis", seed, 1)),
            io: spawner.clone(),
            compute: spawner,
        };
        let dice = Arc::new(Mutex::new(Dice::new(seed ^ 0x57e4_a350_0000_0001)));
        Self { model: ModelKinesis::new(&seams), dice, journal }
    }

    /// What a stream holds, in each shard that it ever had; parents are before their children.
    ///
    /// # Errors
    /// If there is no such stream.
    pub fn records(&self, stream: &str) -> Result<Vec<(Shard, Vec<Record>)>> {
        let shards = self.model.shards_now(stream)?;
        let of = |shard: Shard| {
            let records = self.model.records_now(stream, &shard.id)?;
            Ok((shard, records))
        };
        shards.into_iter().map(of).collect()
    }

    /// How long a call takes before its effect, and after it.
    pub(super) fn delays(&self) -> [Duration; 2] {
        let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
        [(); 2].map(|()| Duration::from_millis(1 + dice.below(DELAY_MAX_MS)))
    }

    /// Begins a trouble. `node_name` names the host of a node. Returns whether it has to be ended.
    pub(in crate::simulation) fn begin(&self, trouble: KinesisTrouble, node_name: impl FnOnce(u32) -> String) -> bool {
        match trouble {
            KinesisTrouble::Out => self.model.down(),
            KinesisTrouble::CutOff(node) => self.model.cut_off(&node_name(node)),
            KinesisTrouble::Throttled(percent) => self.model.throttle(percent),
            KinesisTrouble::Empty(percent) => self.model.skip_reads(percent),
            KinesisTrouble::Expired => self.model.expire_iterators(),
            KinesisTrouble::Broken => _ = self.model.break_subscriptions(),
            KinesisTrouble::Unanswered(node) => {
                self.model.fault_of(&node_name(node), Call::PutRecords, Fault::LoseAnswer);
            }
        }
        match trouble {
            KinesisTrouble::Out
            | KinesisTrouble::CutOff(_)
            | KinesisTrouble::Throttled(_)
            | KinesisTrouble::Empty(_) => true,
            KinesisTrouble::Expired | KinesisTrouble::Broken | KinesisTrouble::Unanswered(_) => false,
        }
    }

    /// Ends a trouble. Of overlapping ones of a kind, the first end ends all.
    pub(in crate::simulation) fn end(&self, trouble: KinesisTrouble, node_name: impl FnOnce(u32) -> String) {
        match trouble {
            KinesisTrouble::Out => self.model.up(),
            KinesisTrouble::CutOff(node) => self.model.mend(&node_name(node)),
            KinesisTrouble::Throttled(_) => self.model.throttle(0),
            KinesisTrouble::Empty(_) => self.model.skip_reads(0),
            KinesisTrouble::Expired | KinesisTrouble::Broken | KinesisTrouble::Unanswered(_) => {}
        }
    }
}
