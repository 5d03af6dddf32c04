//! A run as its seed draws it.

use std::{fmt, time::Duration};

use super::{
    check,
    data::{Dataset, SPAN_MS, START},
    jobs::{self, JobKind},
    sink::Sink,
};
use crate::{
    input::Dice,
    simulation::{Cast, Ending, Fault, Posts, STORE_URL, Simulation, draw_disasters, draw_faults},
};

/// The setting of the time between two checkpoints, where the engine knows it; otherwise an attempt that is lost begins anew.
const CHECKPOINT_INTERVAL: Option<&str> = Some("checkpoint.interval");

/// Rows of one request.
const POST_ROWS: usize = 20;

/// Folders of the store.
pub(super) const OUTPUT: &str = "out";
pub(super) const LATE: &str = "late";
pub(super) const DEAD_LETTERS: &str = "dead";

/// Everything about a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// What it was drawn from.
    pub seed: u64,
    /// The job.
    pub job: JobKind,
    /// Its input.
    pub dataset: Dataset,
    /// Whether the input is posted to it, instead of lying in files.
    pub is_posted: bool,
    /// Where its rows go.
    pub sink: Sink,
    /// Its slices.
    pub parallelism: u32,
    /// Who is there.
    pub cast: Cast,
    /// What goes wrong, each so long after the job was submitted.
    pub faults: Vec<(Duration, Fault)>,
    /// Log entries between two snapshots of a coordinator.
    pub snapshot_every: u64,
    /// How the client ends it, and how long after it was submitted.
    pub ending: Option<(Duration, Ending)>,
    /// Settings of the job.
    settings: Vec<(&'static str, String)>,
    split_bytes: u64,
}

impl Scenario {
    /// Draws a run.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let dice = &mut Dice::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5eed);
        let job = JobKind::draw(dice);
        let mut dataset = Dataset::draw(dice, job.has_late());
        let is_posted = draw_posted(seed, job);
        // A request with a malformed line is refused as a whole.
        dataset.has_malformed &= !is_posted;
        let nodes = 3 + u32::try_from(dice.below(3)).expect("below three");
        let parallelism = 1 + u32::try_from(dice.below(6)).expect("below six");
        // Often there are just enough, so that whoever is lost takes slices along, and brings them back.
        let slots = if dice.percent(60) { parallelism.div_ceil(nodes) } else { 2 };
        let cast = Cast { coordinators: 3, nodes, slots };
        let speed = ["1", "1.5", "2"];
        let mut settings = vec![
            ("pipeline.batch-rows", dice.pick(&["7", "32", "256"]).to_owned()),
            ("exchange.window", dice.pick(&["1 KiB", "4 KiB", "16 KiB", "1 MiB"]).to_owned()),
            ("pipeline.max-parallelism", dice.pick(&["8", "32"]).to_owned()),
            ("replay.speed", dice.pick(&speed).to_owned()),
            ("restart.backoff", "100 ms".to_owned()),
            ("restart.backoff-max", "2 s".to_owned()),
        ];
        if !is_posted {
            settings.push(("replay.start", START.to_owned()));
        }
        if job == JobKind::TwoPhase {
            settings.push(("optimizer.two-phase", "always".to_owned()));
        }
        if job.has_late() {
            settings.push(("late.path", format!("{STORE_URL}/{LATE}")));
        }
        let interval = 200 + dice.below(800);
        if let Some(key) = CHECKPOINT_INTERVAL {
            settings.push((key, format!("{interval} ms")));
        }
        settings.push(("checkpoint.alignment-timeout", dice.pick(&["0 ms", "50 ms", "1 s"]).to_owned()));
        let over = Duration::from_millis(u64::try_from(SPAN_MS).expect("positive") + 1500);
        let sink = Sink::draw(seed, job, jobs::draw_format(dice));
        Self {
            seed,
            job,
            dataset,
            is_posted,
            ending: draw_ending(seed, job, is_posted).filter(|_| is_posted || sink != Sink::Client),
            sink,
            parallelism,
            cast,
            settings,
            split_bytes: 1024 * (2 + dice.below(20)),
            snapshot_every: draw_snapshot_every(seed),
            faults: draw_all(seed, dice, cast, over),
        }
    }

    /// The job's script.
    #[must_use]
    pub fn sql(&self) -> String {
        let settings: String = self.settings.iter().map(|(key, value)| format!("SET '{key}' = '{value}';\n")).collect();
        let (events, others) = (self.table("events"), self.table("others"));
        let others = if self.job.has_others() { others } else { String::new() };
        let output = self.sink.statements(self.job.columns(), self.job.query());
        format!("{settings}{events}{others}{output}")
    }

    fn table(&self, name: &str) -> String {
        let connector = if self.is_posted { "'connector' = 'http'".to_owned() } else { self.files(name) };
        let delay = if self.dataset.has_late && name == "events" { "0.3" } else { "1" };
        format!(
            "CREATE TABLE {name} (id BIGINT NOT NULL, ts TIMESTAMP(3) NOT NULL, k BIGINT NOT NULL, v BIGINT NOT NULL, \
             tag STRING NOT NULL, WATERMARK FOR ts AS ts - INTERVAL '{delay}' SECOND) \
             WITH ({connector}, 'format' = 'json');\n"
        )
    }

    fn files(&self, name: &str) -> String {
        let dead_letters = if name == "events" && self.dataset.has_malformed {
            format!(", 'dead-letter.path' = '{STORE_URL}/{DEAD_LETTERS}'")
        } else {
            String::new()
        };
        format!(
            "'connector' = 'filesystem', 'path' = '{STORE_URL}/in/{name}', 'source.split-size' = '{} B', \
             'replay.column' = 'ts'{dead_letters}",
            self.split_bytes
        )
    }

    fn posts(&self) -> Posts {
        let files = check::files_of(self.dataset);
        let lines: Vec<&str> = files.events.split_inclusive('\n').collect();
        let bodies: Vec<String> = lines.chunks(POST_ROWS).map(<[&str]>::concat).collect();
        let pause = Duration::from_millis(u64::try_from(SPAN_MS).expect("positive") / bodies.len().max(1) as u64);
        Posts { path: "ingest/events".to_owned(), bodies, pause }
    }

    pub(super) fn simulation(&self) -> Simulation {
        Simulation {
            seed: self.seed,
            coordinators: self.cast.coordinators,
            nodes: self.cast.nodes,
            slots: self.cast.slots,
            sql: self.sql(),
            parallelism: self.parallelism,
            faults: self.faults.clone(),
            snapshot_every: self.snapshot_every,
            posts: self.is_posted.then(|| self.posts()),
            ending: self.ending,
        }
    }
}

/// By dice of its own. A run has a few hundred entries: often the log is compacted many times within it.
fn draw_snapshot_every(seed: u64) -> u64 {
    Dice::new(seed ^ 0x10c0_0000).pick(&[4, 16, 50, 1000])
}

/// Disks and clocks fail by dice of their own, beside what else does.
fn draw_all(seed: u64, dice: &mut Dice, cast: Cast, over: Duration) -> Vec<(Duration, Fault)> {
    let mut faults = draw_faults(dice, cast, over);
    faults.extend(draw_disasters(&mut Dice::new(seed ^ 0xd15c_0000), cast, over));
    faults.sort_by_key(|(at, _)| *at);
    faults
}

/// By dice of its own.
fn draw_posted(seed: u64, job: JobKind) -> bool {
    Dice::new(seed ^ 0x7057_0000).percent(20) && !job.has_late() && !job.has_others()
}

/// By dice of its own. A job whose input is posted has no other end. Only what needs no open window can be told from a batch answer when a job has stopped; what a cancelled
/// one had set aside as late and not published is not known.
fn draw_ending(seed: u64, job: JobKind, is_posted: bool) -> Option<(Duration, Ending)> {
    if is_posted {
        return Some((Duration::ZERO, Ending::Stop));
    }
    let dice = &mut Dice::new(seed ^ 0x0e4d_0000);
    let after = Duration::from_millis(500 + dice.below(5000));
    let ending = if job == JobKind::Filter && dice.percent(60) { Ending::Stop } else { Ending::Cancel };
    (dice.percent(12) && !job.has_late()).then_some((after, ending))
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {}: {:?} at parallelism {} on {} nodes of {} slots, {}, {:?}, splits of {} bytes",
            self.seed,
            self.job,
            self.parallelism,
            self.cast.nodes,
            self.cast.slots,
            self.sink,
            self.dataset,
            self.split_bytes
        )?;
        let settings: Vec<String> = self.settings.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        writeln!(f, "  {}", settings.join(", "))?;
        writeln!(f, "  a coordinator compacts its log every {} entries", self.snapshot_every)?;
        if let Some((after, ending)) = self.ending {
            let event = if self.is_posted { "all was posted" } else { "the submission" };
            writeln!(f, "  {:.3} s after {event}: {ending:?}", after.as_secs_f64())?;
        }
        for (at, fault) in &self.faults {
            writeln!(f, "  {:.3} s after the submission: {fault:?}", at.as_secs_f64())?;
        }
        Ok(())
    }
}
