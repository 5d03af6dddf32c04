//! One seed, run and judged.

use std::panic::{self, AssertUnwindSafe};

use anyhow::{Result, anyhow, ensure};
use thalweg_types::{
    JobStatus,
    bug::{self, Bug},
    job::Failure,
};

use super::{check, scenario::Scenario};
use crate::simulation::{Ending, Journal, SimulatedStore, panics};

/// What a seed gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Why it failed.
    pub failure: Option<String>,
    /// The hash over all that happened, and how much it was.
    pub trace: (u64, u64),
    /// How long it took in virtual time, in milliseconds.
    pub virtual_ms: u128,
}

/// Runs a seed on a thread of its own, so that nothing of another run is left on it.
///
/// # Panics
/// When the system gives no thread.
#[must_use]
pub fn run_apart(seed: u64, bug: Option<Bug>, journal: Journal) -> Report {
    #[allow(clippy::disallowed_methods, reason = "a run is a thread: this is where it begins")]
    let thread = std::thread::Builder::new().name(format!("seed {seed}")).spawn(move || run(seed, bug, &journal));
    let joined = thread.expect("the system gives a thread").join();
    joined.unwrap_or_else(|_| Report {
        seed,
        failure: Some("the run itself panicked".to_owned()),
        trace: (0, 0),
        virtual_ms: 0,
    })
}

/// Runs a seed on this thread, whose panics are recorded from now on.
#[must_use]
pub fn run(seed: u64, bug: Option<Bug>, journal: &Journal) -> Report {
    panics::record();
    bug::activate(bug);
    bug::check_invariants(true);
    let scenario = Scenario::draw(seed);
    let judged = panic::catch_unwind(AssertUnwindSafe(|| judge(&scenario, journal)));
    let panics = panics::take();
    bug::activate(None);
    bug::check_invariants(false);
    let mut failures: Vec<String> = panics.iter().take(3).map(|panic| format!("a panic: {panic}")).collect();
    if let Ok(Err(error)) = judged {
        failures.push(format!("{error:#}"));
    }
    Report {
        seed,
        failure: (!failures.is_empty()).then(|| failures.join("\n  ")),
        trace: journal.trace(),
        virtual_ms: journal.now().as_millis(),
    }
}

fn judge(scenario: &Scenario, journal: &Journal) -> Result<()> {
    let store = SimulatedStore::new(scenario.seed, journal.clone());
    for (name, content) in &check::files_of(scenario.dataset).files {
        store.place(&format!("in/{name}"), content.clone())?;
    }
    let outcome = scenario.simulation().run_with(store.clone(), journal)?;
    let (status, failure) = (outcome.job.status, &outcome.job.failure);
    ensure!(is_well(scenario, status, failure.as_ref()), "the job has {status}: {failure:?}");
    check::check(scenario, &store, outcome).map_err(|error| anyhow!("{error:#}"))
}

/// Whether a job may end so. A client that cancels it may come too late, also while the output is becoming visible, which cannot
/// be taken back any more; what is posted ends only with the client's word.
fn is_well(scenario: &Scenario, status: JobStatus, failure: Option<&Failure>) -> bool {
    let is_given_up = || failure.is_some_and(|failure| failure.message.starts_with("publishing was given up"));
    match scenario.ending {
        None => status == JobStatus::Finished,
        Some((_, Ending::Cancel)) if status == JobStatus::Failed => is_given_up(),
        Some((_, ending)) => {
            let asked = if ending == Ending::Cancel { JobStatus::Cancelled } else { JobStatus::Stopped };
            status == asked || (status == JobStatus::Finished && !scenario.is_posted)
        }
    }
}
