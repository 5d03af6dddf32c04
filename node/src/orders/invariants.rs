//! The invariants of orders, which hold after every step.

use super::{Orders, Phase};

impl Orders {
    /// Checks all invariants.
    ///
    /// # Panics
    /// An invariant is broken.
    pub(crate) fn check_invariants(&self) {
        for (id, job) in &self.jobs {
            let built =
                job.attempts.values().filter(|phase| matches!(phase, Phase::Running { .. } | Phase::Ending { .. }));
            assert!(built.count() <= 1, "two attempts of {id} are built at once");
            let live: Vec<_> = job.attempts.iter().filter(|(_, phase)| phase.is_live()).collect();
            let waits_alone = matches!(live.as_slice(), [(_, Phase::Waiting(..))]);
            assert!(!waits_alone, "the attempt of {id} waits for nothing");
            for (attempt, phase) in live {
                assert!(*attempt <= job.newest, "{attempt} of {id} is newer than its fence");
                let may_be_old = matches!(phase, Phase::Ending { .. });
                assert!(*attempt == job.newest || may_be_old, "{attempt} of {id} lives beside a newer one");
            }
        }
    }
}
