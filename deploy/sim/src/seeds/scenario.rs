//! A run, as its seed determines it.

use std::{fmt, rc::Rc, time::Duration};

use super::{
    data::{Dataset, SPAN_MS, START, files_of},
    jobs::{self, JobKind},
    outputs::{DEAD_LETTERS, FAILED, LATE},
    sink::Sink,
    streams::{StreamInput, reshardings_of_output},
    topics::TopicInput,
};
use crate::{
    input::Dice,
    simulation::{
        Arrivals, Cast, Ending, Fault, KinesisStreams, Posts, STORE_URL, SharedDirectory, SimulatedKafka,
        SimulatedKinesis, Simulation, StreamFeed, Streams, draw_disasters, draw_faults, draw_kafka_faults,
        draw_kinesis_faults, draw_skew,
    },
};

/// The setting for the time between two checkpoints.
const CHECKPOINT_INTERVAL: Option<&str> = Some("checkpoint.interval");

/// Rows per POST request.
const POST_ROWS: usize = 20;

/// The interval at which a watched directory is listed.
const LOOKS: &str = "150 ms";
/// The number of files of a watched table, in the order of its rows.
const WATCHED_FILES: usize = 12;

/// Where a job's input comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Files that are there before the job starts. They are replayed.
    Files,
    /// Files that appear while the job runs.
    Watched,
    /// Requests that are POSTed to the job.
    Posted,
    /// Topics of Kafka.
    Topics(TopicInput),
    /// A stream of Kinesis.
    Stream(StreamInput),
}

/// All parameters of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// The seed that it was drawn from.
    pub seed: u64,
    pub job: JobKind,
    /// The rows of its input.
    pub dataset: Dataset,
    /// Where its input comes from.
    pub input: Input,
    /// The sink of its rows.
    pub sink: Sink,
    /// Whether the output is in a local directory, where a power cut loses what was not synced.
    pub is_local: bool,
    /// Whether a second job of the same script writes to the same places. The inner value is when that one is
    /// cancelled.
    pub companion: Option<Option<Duration>>,
    /// The parallelism of the job.
    pub parallelism: u32,
    /// The processes of the cluster.
    pub cast: Cast,
    /// The faults, each with its time after the submission.
    pub faults: Vec<(Duration, Fault)>,
    /// Log entries between two snapshots of a coordinator.
    pub snapshot_every: u64,
    /// How the client ends the job, and how long after the submission.
    pub ending: Option<(Duration, Ending)>,
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
        let input = draw_input(seed, job);
        // A request with a malformed line is refused as a whole, so posted input has none.
        dataset.has_malformed &= input != Input::Posted;
        let nodes = 3 + u32::try_from(dice.below(3)).expect("below three");
        let parallelism = 1 + u32::try_from(dice.below(6)).expect("below six");
        // In most runs slots are scarce, so a lost node reduces the job's parallelism until it comes back.
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
        if input == Input::Files {
            settings.push(("replay.start", START.to_owned()));
        }
        if job == JobKind::TwoPhase {
            settings.push(("optimizer.two-phase", "always".to_owned()));
        }
        let interval = 200 + dice.below(800);
        if let Some(key) = CHECKPOINT_INTERVAL {
            settings.push((key, format!("{interval} ms")));
        }
        let over = Duration::from_millis(u64::try_from(SPAN_MS).expect("positive") + 1500);
        let skew = draw_skew(&mut Dice::new(seed ^ 0x5ce3_0000), cast, over);
        let timeout = dice.pick(&["0 ms", "50 ms", "1 s"]);
        // Under skew barriers come late. A long timeout makes some checkpoints wait for them.
        settings.push(("checkpoint.alignment-timeout", if skew.is_empty() { timeout } else { "1 s" }.to_owned()));
        let sink = Sink::draw(seed, job, jobs::draw_format(dice), input.is_of_stream());
        let is_local = sink.is_of_files() && Dice::new(seed ^ 0x10ca_0000).percent(20);
        let ending = draw_ending(seed, job, !input.is_given());
        let mut faults = draw_all(seed, dice, cast, over);
        faults.extend(skew);
        faults.extend(draw_power_cut(seed, over).filter(|_| is_local));
        if input.is_of_topics() || sink.topic().is_some() {
            faults.extend(draw_faults_of_kafka(seed, cast, over));
        }
        if input.is_of_stream() || sink.stream().is_some() {
            faults.extend(draw_faults_of_kinesis(seed, cast, over));
        }
        if let Input::Stream(stream) = &input {
            faults.extend(stream.crash_after_merge(seed, &files_of(dataset), cast));
        }
        faults.sort_by_key(|(at, _)| *at);
        Self {
            seed,
            job,
            dataset,
            is_local,
            ending: ending.filter(|_| !input.is_given() || sink != Sink::Client),
            // Who drops repeats takes equal rows of two jobs for one.
            companion: draw_companion(seed, job)
                .filter(|_| input.is_given() && sink != Sink::Client && sink.stream().is_none()),
            input,
            sink,
            parallelism,
            cast,
            settings,
            split_bytes: 1024 * (2 + dice.below(20)),
            snapshot_every: draw_snapshot_every(seed),
            faults,
        }
    }

    /// The job's script. Its output goes below `outputs`.
    fn sql(&self, outputs: &str) -> String {
        let settings: String = self.settings.iter().map(|(key, value)| format!("SET '{key}' = '{value}';\n")).collect();
        let set = |key: &str, folder: &str| format!("SET '{key}' = '{outputs}/{folder}';\n");
        let late = if self.job.has_late() { set("late.path", LATE) } else { String::new() };
        let failed = if self.job.has_failing() { set("error.path", FAILED) } else { String::new() };
        let (events, others) = (self.table("events", outputs), self.table("others", outputs));
        let others = if self.job.has_others() { others } else { String::new() };
        let output = self.sink.statements(self.job.columns(), self.job.query(), outputs, self.companion.is_some());
        format!("{settings}{late}{failed}{events}{others}{output}")
    }

    fn table(&self, name: &str, outputs: &str) -> String {
        let connector = match &self.input {
            Input::Files | Input::Watched => self.files(name, outputs),
            Input::Posted => "'connector' = 'http', 'format' = 'json'".to_owned(),
            Input::Stream(stream) => stream.options(&self.dead_letters(name, outputs)),
            Input::Topics(topics) => topics.options(name, &self.dead_letters(name, outputs), self.companion.is_some()),
        };
        let delay = if self.dataset.has_late && name == "events" { "0.3" } else { "1" };
        format!(
            "CREATE TABLE {name} (id BIGINT NOT NULL, ts TIMESTAMP(3) NOT NULL, k BIGINT NOT NULL, v BIGINT NOT NULL, \
             tag STRING NOT NULL, WATERMARK FOR ts AS ts - INTERVAL '{delay}' SECOND) \
             WITH ({connector});\n"
        )
    }

    fn dead_letters(&self, name: &str, outputs: &str) -> String {
        if name == "events" && self.dataset.has_malformed {
            format!(", 'dead-letter.path' = '{outputs}/{DEAD_LETTERS}'")
        } else {
            String::new()
        }
    }

    fn files(&self, name: &str, outputs: &str) -> String {
        let appearing = format!("'source.monitor-interval' = '{LOOKS}'");
        let pace = if self.input == Input::Watched { appearing } else { "'replay.column' = 'ts'".to_owned() };
        format!(
            "'connector' = 'filesystem', 'path' = '{STORE_URL}/in/{name}', 'source.split-size' = '{} B', \
             'format' = 'json', {pace}{}",
            self.split_bytes,
            self.dead_letters(name, outputs)
        )
    }

    /// What appears while the job runs: the files of a watched table, in order, with the time of each, or records.
    fn arrivals(&self) -> Arrivals {
        let made = files_of(self.dataset);
        let (records, malformed) = (self.job.records(&made), made.malformed.len() as u64);
        if self.input.is_of_topics() || self.input.is_of_stream() {
            return Arrivals { files: Vec::new(), records, malformed };
        }
        let lines: Vec<&str> = made.all_events.split_inclusive('\n').collect();
        let file = |(at, part): (usize, &[&str])| {
            let after = (SPAN_MS as u64) * (at as u64) / (WATCHED_FILES as u64);
            (Duration::from_millis(after), format!("in/events/part-{at:03}.json"), part.concat())
        };
        let files = lines.chunks(lines.len().div_ceil(WATCHED_FILES)).enumerate().map(file).collect();
        Arrivals { files, records, malformed }
    }

    fn posts(&self) -> Posts {
        let files = files_of(self.dataset);
        let lines: Vec<&str> = files.events.split_inclusive('\n').collect();
        let bodies: Vec<String> = lines.chunks(POST_ROWS).map(<[&str]>::concat).collect();
        let pause = Duration::from_millis(u64::try_from(SPAN_MS).expect("positive") / bodies.len().max(1) as u64);
        Posts { path: "ingest/events".to_owned(), bodies, pause }
    }

    /// Whether all input is there before the job starts.
    pub(super) fn is_given(&self) -> bool {
        self.input.is_given()
    }

    /// Kafka, if the job reads or writes topics.
    pub(super) fn streams(&self, cluster: SimulatedKafka) -> Option<Streams> {
        let (mut feed, mut group, mut is_forgetful, mut pace) = Default::default();
        if let Input::Topics(topics) = &self.input {
            feed = topics.feed(self.seed, self.job, &files_of(self.dataset));
            (group, pace) = (topics.group(), topics.pace());
            // Two jobs have positions of their own.
            is_forgetful = topics.is_forgetful && self.companion.is_none();
        }
        feed.topics.extend(self.sink.topic());
        let is_used = !feed.topics.is_empty();
        is_used.then(|| Streams { cluster: cluster.paced(pace), feed, group, is_forgetful })
    }

    /// Kinesis, if the job reads or writes streams.
    pub(super) fn kinesis(&self, streams: SimulatedKinesis) -> Option<KinesisStreams> {
        let mut feed = match &self.input {
            Input::Stream(stream) => stream.feed(self.seed, &files_of(self.dataset)),
            Input::Files | Input::Watched | Input::Posted | Input::Topics(_) => StreamFeed::default(),
        };
        if let Some(stream) = self.sink.stream() {
            feed.streams.push(stream.stream());
            feed.during.extend(reshardings_of_output(self.seed));
            feed.during.sort_by_key(|(after, _)| *after);
        }
        let is_used = !feed.streams.is_empty();
        is_used.then_some(KinesisStreams { streams, feed })
    }

    /// The simulation of this run, with its output in `directory` if there is one.
    pub(super) fn simulation(
        &self,
        directory: Option<Rc<SharedDirectory>>,
        (kafka, kinesis): (Option<Streams>, Option<KinesisStreams>),
    ) -> Simulation {
        let outputs = directory.as_ref().map(|directory| directory.path().display().to_string());
        Simulation {
            seed: self.seed,
            coordinators: self.cast.coordinators,
            nodes: self.cast.nodes,
            slots: self.cast.slots,
            sql: self.sql(outputs.as_deref().unwrap_or(STORE_URL)),
            parallelism: self.parallelism,
            faults: self.faults.clone(),
            snapshot_every: self.snapshot_every,
            posts: (self.input == Input::Posted).then(|| self.posts()),
            ending: self.ending,
            arrivals: (self.input.is_of_topics() || self.input.is_of_stream() || self.input == Input::Watched)
                .then(|| self.arrivals())
                .filter(|_| !self.is_given()),
            companion: self.companion,
            directory,
            kafka,
            kinesis,
        }
    }
}

impl Input {
    /// Whether all of it is there before the job starts.
    fn is_given(&self) -> bool {
        match self {
            Self::Files => true,
            Self::Watched | Self::Posted | Self::Stream(_) => false,
            Self::Topics(topics) => topics.is_bounded,
        }
    }

    fn is_of_stream(&self) -> bool {
        matches!(self, Self::Stream(_))
    }

    pub(super) fn is_of_topics(&self) -> bool {
        matches!(self, Self::Topics(_))
    }
}

/// Input that is read in any order has no late rows, which would depend on it. What comes from elsewhere than files or topics
/// has one table, since that is idle at times.
fn draw_input(seed: u64, job: JobKind) -> Input {
    if Dice::new(seed ^ 0x57e4_0002_0000).percent(10) && !job.has_late() && !job.has_others() {
        Input::Stream(StreamInput::draw(seed))
    } else if Dice::new(seed ^ 0x70b1_c000).percent(15) && !job.has_late() {
        Input::Topics(TopicInput::draw(seed, job))
    } else if draw_posted(seed, job) {
        Input::Posted
    } else if draw_watched(seed, job) {
        Input::Watched
    } else {
        Input::Files
    }
}

/// Like most functions below, this uses dice of its own, so that other parameters of a seed stay the same. A run has
/// a few hundred log entries, so the log is often compacted many times.
fn draw_snapshot_every(seed: u64) -> u64 {
    Dice::new(seed ^ 0x10c0_0000).pick(&[4, 16, 50, 1000])
}

/// Draws all faults. Disks and clocks have dice of their own.
fn draw_all(seed: u64, dice: &mut Dice, cast: Cast, over: Duration) -> Vec<(Duration, Fault)> {
    let mut faults = draw_faults(dice, cast, over);
    faults.extend(draw_disasters(&mut Dice::new(seed ^ 0xd15c_0000), cast, over));
    faults.sort_by_key(|(at, _)| *at);
    faults
}

fn draw_posted(seed: u64, job: JobKind) -> bool {
    Dice::new(seed ^ 0x7057_0000).percent(20) && !job.has_late() && !job.has_others()
}

fn draw_watched(seed: u64, job: JobKind) -> bool {
    Dice::new(seed ^ 0x3a7c_0000).percent(15) && !job.has_late() && !job.has_others()
}

/// There is no companion with late rows, since each job decides by itself which rows are late.
fn draw_companion(seed: u64, job: JobKind) -> Option<Option<Duration>> {
    let dice = &mut Dice::new(seed ^ 0xc09a_0000);
    let cancelled = dice.percent(50).then(|| Duration::from_millis(200 + dice.below(5000)));
    (dice.percent(12) && !job.has_late()).then_some(cancelled)
}

/// Power cuts come in addition to other faults.
fn draw_power_cut(seed: u64, over: Duration) -> Option<(Duration, Fault)> {
    let dice = &mut Dice::new(seed ^ 0xb1ac_0000);
    let at = Duration::from_millis(dice.below(u64::try_from(over.as_millis()).unwrap_or(u64::MAX)));
    dice.percent(60).then(|| (at, Fault::Blackout { down: Duration::from_millis(10 + dice.below(2000)) }))
}

/// So do faults of Kafka.
fn draw_faults_of_kafka(seed: u64, cast: Cast, over: Duration) -> impl Iterator<Item = (Duration, Fault)> {
    let dice = &mut Dice::new(seed ^ 0xbadb_0000);
    draw_kafka_faults(dice, cast.nodes, over).into_iter().map(|(at, fault)| (at, Fault::Kafka(fault)))
}

/// And faults of Kinesis.
fn draw_faults_of_kinesis(seed: u64, cast: Cast, over: Duration) -> impl Iterator<Item = (Duration, Fault)> {
    let dice = &mut Dice::new(seed ^ 0x57e4_0bad);
    draw_kinesis_faults(dice, cast.nodes, over).into_iter().map(|(at, fault)| (at, Fault::Kinesis(fault)))
}

/// A job with endless input can only be stopped. Otherwise only a windowless job is stopped, since the answer of open
/// windows differs from the batch answer. A job with late rows is not cancelled, since its unpublished late rows are
/// unknown.
fn draw_ending(seed: u64, job: JobKind, is_endless: bool) -> Option<(Duration, Ending)> {
    if is_endless {
        return Some((Duration::ZERO, Ending::Stop));
    }
    let dice = &mut Dice::new(seed ^ 0x0e4d_0000);
    let after = Duration::from_millis(500 + dice.below(5000));
    let ending = if job.is_windowless() && dice.percent(60) { Ending::Stop } else { Ending::Cancel };
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
        match &self.input {
            Input::Files => {}
            Input::Watched => writeln!(f, "  files appear while the job runs")?,
            Input::Posted => writeln!(f, "  records are posted")?,
            Input::Topics(topics) => writeln!(f, "  {topics}")?,
            Input::Stream(stream) => writeln!(f, "  {stream}")?,
        }
        writeln!(f, "  a coordinator compacts its log every {} entries", self.snapshot_every)?;
        if let Some((after, ending)) = self.ending {
            let event = match &self.input {
                Input::Posted => "all was posted",
                Input::Topics(topics) if topics.is_bounded => "the submission",
                Input::Watched | Input::Topics(_) | Input::Stream(_) => "all was read",
                Input::Files => "the submission",
            };
            writeln!(f, "  {:.3} s after {event}: {ending:?}", after.as_secs_f64())?;
        }
        if self.is_local {
            writeln!(f, "  the output lies in a directory that loses what was not synced")?;
        }
        match self.companion {
            None => {}
            Some(None) => writeln!(f, "  the same job runs a second time beside it")?,
            Some(Some(after)) => {
                let after = after.as_secs_f64();
                writeln!(f, "  the same job runs a second time beside it, and is cancelled after {after:.3} s")?;
            }
        }
        for (at, fault) in &self.faults {
            writeln!(f, "  {:.3} s after the submission: {fault:?}", at.as_secs_f64())?;
        }
        Ok(())
    }
}
