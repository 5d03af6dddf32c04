//! Three coordinators and three nodes in one thread: a job finishes with the same rows for every seed, even if the
//! leader or a node dies.

use std::time::Duration;

use arrow::util::pretty::pretty_format_batches;
use thalweg_sim::simulation::{Fault, Host, Loss, Outcome, Simulation};
use thalweg_types::{Attempt, JobStatus};

/// Four seconds of events in real time, so that faults can happen in between.
const EVENTS: &str = "
    CREATE TABLE nexmark (WATERMARK FOR dateTime AS dateTime - INTERVAL '1' SECOND) WITH (
      'connector' = 'nexmark', 'events.num' = '4000', 'events.rate' = '1000', 'events.speed' = 'real-time');";
const COUNTS: &str = "
    SELECT bid.auction % 10 AS auction, COUNT(*) AS bids, window_start
    FROM TABLE(TUMBLE(TABLE nexmark, DESCRIPTOR(dateTime), INTERVAL '1' SECOND))
    WHERE event_type = 2
    GROUP BY bid.auction % 10, window_start, window_end;";

fn run(seed: u64, query: &str, faults: Vec<(Duration, Fault)>) -> Outcome {
    let sql = format!("{EVENTS}{query}");
    let simulation = Simulation {
        seed,
        coordinators: 3,
        nodes: 3,
        slots: 2,
        sql,
        parallelism: 3,
        faults,
        snapshot_every: 8,
        posts: None,
        ending: None,
        arrivals: None,
        companion: None,
        directory: None,
        kafka: None,
        kinesis: None,
    };
    let outcome = simulation.run().unwrap_or_else(|error| panic!("seed {seed}: {error:#}"));
    assert_eq!(outcome.job.status, JobStatus::Finished, "seed {seed}");
    outcome
}

fn sorted_rows(outcome: &Outcome) -> Vec<String> {
    let table = pretty_format_batches(&outcome.rows).expect("rows can be shown").to_string();
    let mut lines: Vec<String> = table.lines().filter(|line| line.starts_with('|')).map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn the_answer_does_not_depend_on_the_seed() {
    let rows = sorted_rows(&run(1, COUNTS, vec![]));
    assert!(rows.len() > 40, "{rows:?}");
    assert_eq!(rows, sorted_rows(&run(2, COUNTS, vec![])));
}

#[test]
fn a_leader_that_dies_changes_nothing_for_a_running_job() {
    let down = Duration::from_secs(2);
    let outcome = run(3, COUNTS, vec![(Duration::from_millis(1500), Fault::Crash { host: Host::Leader, down })]);
    assert_eq!(outcome.job.attempt, Attempt(1));
    assert_eq!(sorted_rows(&outcome), sorted_rows(&run(1, COUNTS, vec![])));
}

#[test]
fn a_node_that_dies_costs_an_attempt_and_the_job_finishes() {
    let query = "
        CREATE TABLE sink (auction BIGINT, price BIGINT) WITH ('connector' = 'blackhole');
        INSERT INTO sink SELECT bid.auction, bid.price FROM nexmark WHERE event_type = 2;";
    for seed in 4..8 {
        let crash = Fault::Crash { host: Host::Node(2), down: Duration::from_secs(5) };
        let outcome = run(seed, query, vec![(Duration::from_millis(1500), crash)]);
        assert_eq!(outcome.job.attempt, Attempt(2), "seed {seed}");
        let written = outcome.job.subtasks.iter().filter(|subtask| subtask.is_sink);
        assert_eq!(written.map(|subtask| subtask.metrics.records_out).sum::<u64>(), 4000 * 46 / 50, "seed {seed}");
    }
}

#[test]
fn everything_dies_and_one_coordinator_has_lost_its_disk_and_the_job_goes_on() {
    let down = Duration::from_secs(1);
    let at = Duration::from_millis(1500);
    for (seed, loss) in [(9, Loss::Wiped), (10, Loss::Damaged)] {
        for coordinator in 1..=3 {
            let faults = vec![(at, Fault::Disk { coordinator, loss, down }), (at, Fault::Blackout { down })];
            let outcome = run(seed, COUNTS, faults);
            assert_eq!(
                sorted_rows(&outcome),
                sorted_rows(&run(1, COUNTS, vec![])),
                "coordinator {coordinator}, {loss:?}"
            );
        }
    }
}
