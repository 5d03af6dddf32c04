//! Runs one seed and judges the result.

use std::{
    panic::{self, AssertUnwindSafe},
    rc::Rc,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use thalweg_types::{
    JobStatus,
    bug::{self, Bug},
    job::JobOverview,
};

use super::{
    check::{self, Outputs},
    data::files_of,
    scenario::{Input, Scenario},
};
use crate::simulation::{Ending, Journal, SharedDirectory, SimulatedKafka, SimulatedKinesis, SimulatedStore, panics};

/// The result of a seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub seed: u64,
    /// Why it failed, if it did.
    pub failure: Option<String>,
    /// The hash of all journal entries, and their number.
    pub trace: (u64, u64),
    /// The duration in virtual time, in milliseconds.
    pub virtual_ms: u128,
}

/// Runs a seed on a thread of its own, so that no thread-local state of another run is left.
///
/// # Panics
/// If the system cannot start a thread.
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

/// Runs a seed on this thread, and records its panics.
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
    for (name, content) in files_of(scenario.dataset).files.iter().filter(|_| scenario.input == Input::Files) {
        store.place(&format!("in/{name}"), content.clone())?;
    }
    let directory = scenario.is_local.then(SharedDirectory::new).transpose()?.map(Rc::new);
    let kafka = scenario.streams(SimulatedKafka::new(scenario.seed, journal.clone()));
    let cluster = kafka.as_ref().map(|streams| streams.cluster.clone());
    let kinesis = scenario.kinesis(SimulatedKinesis::new(scenario.seed, journal.clone()));
    let streams = kinesis.as_ref().map(|kinesis| kinesis.streams.clone());
    let outcome = scenario.simulation(directory.clone(), (kafka, kinesis)).run_with(store.clone(), journal)?;
    let ending = scenario.ending.map(|(_, ending)| ending);
    ensure_well(scenario, ending, &outcome.job)?;
    if let (Some(companion), Some(cancelled)) = (&outcome.companion, scenario.companion) {
        ensure_well(scenario, cancelled.map(|_| Ending::Cancel), companion).context("beside it")?;
    }
    let (directory, kafka, kinesis) = (directory.as_deref(), cluster.as_ref(), streams.as_ref());
    let outputs = Outputs { store: &store, directory, kafka, kinesis };
    check::check(scenario, outputs, outcome).map_err(|error| anyhow!("{error:#}"))
}

/// Checks that a job ended as it was told to. A cancellation may come too late, or while output is being published,
/// which cannot be undone. A job with endless input must end as its client asked.
fn ensure_well(scenario: &Scenario, ending: Option<Ending>, job: &JobOverview) -> Result<()> {
    let (status, failure) = (job.status, &job.failure);
    let is_given_up = || failure.as_ref().is_some_and(|failure| failure.message.starts_with("publishing was given up"));
    let is_well = match ending {
        None => status == JobStatus::Finished,
        Some(Ending::Cancel) if status == JobStatus::Failed => is_given_up(),
        Some(ending) => {
            let asked = if ending == Ending::Cancel { JobStatus::Cancelled } else { JobStatus::Stopped };
            status == asked || (status == JobStatus::Finished && scenario.is_given())
        }
    };
    ensure!(is_well, "{} has {status}: {failure:?}", job.job);
    Ok(())
}
