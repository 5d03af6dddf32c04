//! Whether a job restarts after its attempt failed, and when the next attempt may begin.
//!
//! Node, link and store failures may pass: the job restarts without limit, after a delay that doubles up to a maximum.
//! An operator failure may pass too, but counts towards the job's limit. Bad data and plans that cannot run never pass.

use std::time::Duration;

use thalweg_cluster_state::Verdict;
use thalweg_types::{job::FailureKind, settings::JobSettings};

/// Delays stop doubling here even if the maximum is far away: 2^20 times the default first delay is six days.
const DOUBLINGS_MAX: u32 = 20;

/// Whether another attempt follows a failure. `operator_failures` counts those before it.
#[must_use]
pub fn verdict(settings: &JobSettings, kind: FailureKind, operator_failures: u32) -> Verdict {
    match kind {
        FailureKind::Node | FailureKind::Link | FailureKind::Store => Verdict::Restart,
        FailureKind::Operator if operator_failures < settings.restart_attempts => Verdict::Restart,
        FailureKind::Operator | FailureKind::Data => Verdict::Fail,
    }
}

/// Whether a retry may succeed after a failure of this kind, however often it failed before.
#[must_use]
pub fn passes(kind: FailureKind) -> bool {
    match kind {
        FailureKind::Node | FailureKind::Link | FailureKind::Store => true,
        FailureKind::Operator | FailureKind::Data => false,
    }
}

/// How long to wait before the next attempt after `failures` failures in a row, at least one. `jitter` adds up to a
/// quarter, so that jobs that failed together do not restart together.
///
/// The first loss of a node needs no delay: the job has waited for the node's lease already.
#[must_use]
pub fn backoff(settings: &JobSettings, kind: FailureKind, failures: u32, jitter: u8) -> Duration {
    if kind == FailureKind::Node && failures <= 1 {
        return Duration::ZERO;
    }
    let doublings = failures.saturating_sub(1).min(DOUBLINGS_MAX);
    let delay = settings.restart_backoff.saturating_mul(1 << doublings).min(settings.restart_backoff_max);
    delay.saturating_add(delay.saturating_mul(u32::from(jitter)) / 1024)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn settings() -> JobSettings {
        JobSettings::parse(&BTreeMap::from([("restart.attempts".to_owned(), "2".to_owned())])).unwrap()
    }

    #[test]
    fn only_operator_and_data_failures_end_a_job() {
        for kind in [FailureKind::Node, FailureKind::Link, FailureKind::Store] {
            assert_eq!(verdict(&settings(), kind, 1000), Verdict::Restart);
        }
        assert_eq!(verdict(&settings(), FailureKind::Operator, 1), Verdict::Restart);
        assert_eq!(verdict(&settings(), FailureKind::Operator, 2), Verdict::Fail);
        assert_eq!(verdict(&settings(), FailureKind::Data, 0), Verdict::Fail);
    }

    #[test]
    fn the_delay_doubles_up_to_its_maximum() {
        let delay = |kind, failures| backoff(&settings(), kind, failures, 0).as_millis();
        let delays: Vec<u128> = (1..9).map(|failures| delay(FailureKind::Link, failures)).collect();
        assert_eq!(delays, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        assert_eq!(delay(FailureKind::Link, u32::MAX), 30_000);
        assert!(backoff(&settings(), FailureKind::Link, 1, u8::MAX) < Duration::from_millis(626));
        assert_eq!((delay(FailureKind::Node, 1), delay(FailureKind::Node, 2)), (0, 1000));
    }
}
