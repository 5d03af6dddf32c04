//! A simulated cluster that runs one job while faults happen at chosen points of virtual time.

mod client;
mod disasters;
mod streams;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use arrow::array::RecordBatch;
use thalweg_types::job::JobOverview;

use self::{client::client, disasters::Ledger, streams::Streaming};
use super::{
    SharedDirectory,
    faults::{Cast, Fault, Host},
    journal::Journal,
    kafka::{BROKERS, Feed, Remedy, SimulatedKafka},
    kinesis::{KinesisTrouble, SimulatedKinesis, StreamFeed},
    observe::Observer,
    processes::{self, Stage},
    producer::Posts,
    store::SimulatedStore,
};

/// The parameters of a run.
#[derive(Debug, Clone)]
pub struct Simulation {
    /// The seed of all randomness, including the network's delays.
    pub seed: u64,
    /// Members of the Raft group.
    pub coordinators: u32,
    /// The number of nodes.
    pub nodes: u32,
    /// The slots of each node.
    pub slots: u32,
    /// The job's script. A run returns the rows of its query, if it has one.
    pub sql: String,
    /// The job's parallelism.
    pub parallelism: u32,
    /// The faults, each with its time after the submission.
    pub faults: Vec<(Duration, Fault)>,
    /// Requests that are POSTed to the job after its submission.
    pub posts: Option<Posts>,
    /// Log entries between two snapshots of a coordinator.
    pub snapshot_every: u64,
    /// How the client ends the job, and how long after the submission. With posts or arrivals, the time counts from
    /// when all of them were taken.
    pub ending: Option<(Duration, Ending)>,
    /// Input that appears while the job runs. The client ends the job only after it was read.
    pub arrivals: Option<Arrivals>,
    /// Whether a second job of the same script runs, and how long after its submission the client cancels it.
    pub companion: Option<Option<Duration>>,
    /// A directory that all hosts share. A power cut loses what was not synced.
    pub directory: Option<Rc<SharedDirectory>>,
    /// Kafka, as nodes reach it.
    pub kafka: Option<Streams>,
    /// Kinesis, as nodes reach it.
    pub kinesis: Option<KinesisStreams>,
}

/// Kafka in a run.
#[derive(Debug, Clone)]
pub struct Streams {
    /// The brokers.
    pub cluster: SimulatedKafka,
    /// What is written to its topics beside the job.
    pub feed: Feed,
    /// The group that is told the job's positions.
    pub group: Option<String>,
    /// Whether records go as soon as a checkpoint is behind them.
    pub is_forgetful: bool,
}

/// Kinesis in a run.
#[derive(Debug, Clone)]
pub struct KinesisStreams {
    /// The streams.
    pub streams: SimulatedKinesis,
    /// What is written beside the job, and how shards change.
    pub feed: StreamFeed,
}

/// Input that appears while a job runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrivals {
    /// The names and contents of files, each with its time after the submission. Others write to topics.
    pub files: Vec<(Duration, String, String)>,
    /// The number of records in all of the input.
    pub records: u64,
    /// The number of malformed lines in it.
    pub malformed: u64,
}

/// A client's order to end a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// At once: output that no complete checkpoint holds is discarded.
    Cancel,
    /// After all input read so far has been processed.
    Stop,
}

/// The result of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The rows of the job's query, in order of arrival; none if it only inserts.
    pub rows: Vec<RecordBatch>,
    /// Whether these are all rows. A job that has ended cannot give those again that were on a lost node.
    pub has_all_rows: bool,
    /// The job at its end.
    pub job: JobOverview,
    /// Whether all that the job had read when it was stopped is its to publish: an attempt that fails before a
    /// checkpoint takes with it what it read.
    pub is_kept: bool,
    /// The second job at its end.
    pub companion: Option<JobOverview>,
    /// Whether the leader changed during the run.
    pub has_leaders: bool,
}

/// What the client has seen so far, for the loop that steps the simulation.
#[derive(Debug, Default)]
struct Progress {
    submitted_at: Option<Duration>,
    outcome: Option<Result<Outcome>>,
}

/// The longest time from the end of the last fault to the end of the job: several restarts with backoff.
const PROGRESS_WITHIN: Duration = Duration::from_secs(120);
/// The longest time until the cluster has formed and accepted the job.
const SUBMITTED_WITHIN: Duration = Duration::from_secs(60);
/// The time after the job's end in which work still in progress completes.
const REST: Duration = Duration::from_secs(4);
/// The same if a client ends the job: a put may land after its attempt is gone, and is removed seconds later.
const REST_AFTER_ENDING: Duration = Duration::from_secs(13);
/// The longest time until the second sweep after a job's end. It follows ten seconds after the first, which may be
/// late itself.
const SWEPT_WITHIN: Duration = Duration::from_secs(16);
/// The store is quiet if it was not called for this time: consecutive calls of one piece of work are closer together.
const QUIET: Duration = Duration::from_millis(300);
/// The longest time after the job's end until the store is quiet.
const QUIET_WITHIN: Duration = Duration::from_secs(60);
/// How long after an unexpected end a process is started again.
const RESTART_AFTER: Duration = Duration::from_secs(1);

impl Simulation {
    /// Runs the job to its end, with an empty object store.
    ///
    /// # Errors
    /// If the job does not finish in time after the last fault, a call fails for good, or an invariant is broken.
    pub fn run(&self) -> Result<Outcome> {
        let journal = Journal::default();
        self.run_with(SimulatedStore::new(self.seed, journal.clone()), &journal)
    }

    /// Runs the job to its end, and until the cluster is at rest.
    ///
    /// # Errors
    /// Like `run`.
    pub fn run_with(&self, store: SimulatedStore, journal: &Journal) -> Result<Outcome> {
        let mut sim = turmoil::Builder::new()
            .rng_seed(self.seed)
            .simulation_duration(Duration::from_hours(1))
            .tick_duration(Duration::from_millis(1))
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(5))
            .tcp_capacity(4096)
            .build();
        let cast = Cast { coordinators: self.coordinators, nodes: self.nodes, slots: self.slots };
        let kafka = self.kafka.as_ref().map(|streams| streams.cluster.clone());
        let kinesis = self.kinesis.as_ref().map(|kinesis| kinesis.streams.clone());
        let stage = Stage::new(self.seed, cast, store, self.snapshot_every, (kafka.clone(), kinesis));
        for member in 1..=self.coordinators {
            let (name, stage) = (processes::coordinator_name(member), stage.clone());
            sim.host(name.clone(), move || {
                let (name, stage) = (name.clone(), stage.clone());
                async move {
                    let (process, of_main) = (stage.begin(&name), stage.clone());
                    processes::run(stage, process, move |process| processes::coordinator(of_main, process, member))
                        .await
                }
            });
        }
        for node in 1..=self.nodes {
            let (name, stage) = (processes::node_name(node), stage.clone());
            sim.host(name.clone(), move || {
                let (name, stage) = (name.clone(), stage.clone());
                async move {
                    let (process, of_main) = (stage.begin(&name), stage.clone());
                    processes::run(stage, process, move |process| processes::node(of_main, process, node)).await
                }
            });
        }
        if let Some(kafka) = kafka {
            sim.host(BROKERS, move || {
                let serving = kafka.clone().serve();
                async move {
                    serving.await;
                    Ok(())
                }
            });
        }
        let progress = Rc::new(RefCell::new(Progress::default()));
        sim.client("client", client(self.clone(), stage.clone(), progress.clone()));
        let direction = Direction {
            sim,
            stage,
            journal: journal.clone(),
            observer: Observer::new(journal.clone(), self.kafka.as_ref().map(Streams::witness)),
            streaming: Streaming { jobs: 1 + usize::from(self.companion.is_some()) },
            due: self.faults.clone().into(),
            ends: BTreeMap::new(),
            over_at: Duration::ZERO,
            at_calls: Vec::new(),
            down: BTreeSet::new(),
            ledger: Ledger::default(),
            arriving: self.arrivals.iter().flat_map(|arrivals| arrivals.files.clone()).collect(),
            directory: self.directory.clone(),
            rest: match self.ending.is_some() || self.companion.is_some() {
                true => REST_AFTER_ENDING,
                false if self.faults.is_empty() => Duration::from_millis(300),
                false => REST,
            },
        };
        direction.run(&progress)
    }
}

/// What to do at the end of a fault.
pub(super) enum End {
    Start(String),
    Replace(String),
    SetRight(String, i64),
    Resume(String),
    Repair(Vec<(String, String)>),
    Quicken(String, String),
    MendStore,
    MendKafka(Remedy),
    MendKinesis(KinesisTrouble),
    /// The fault could not begin yet.
    Begin(Fault),
}

/// Steps the simulation, and starts and ends faults.
pub(super) struct Direction<'a> {
    pub(super) sim: turmoil::Sim<'a>,
    pub(super) stage: Stage,
    pub(super) journal: Journal,
    observer: Observer,
    streaming: Streaming,
    due: VecDeque<(Duration, Fault)>,
    ends: BTreeMap<(Duration, usize), End>,
    /// When the last fault so far ends.
    over_at: Duration,
    /// Hosts that crash at a call of the store, and for how long. The index is the key with which the store reports
    /// the call.
    at_calls: Vec<(Vec<Host>, Duration)>,
    /// Hosts without a process.
    pub(super) down: BTreeSet<String>,
    /// Disks that were lost.
    pub(super) ledger: Ledger,
    /// Files that have not appeared yet.
    arriving: VecDeque<(Duration, String, String)>,
    pub(super) directory: Option<Rc<SharedDirectory>>,
    /// The time to wait after the job's end.
    rest: Duration,
}

const LATENCY_MAX: Duration = Duration::from_millis(5);

impl Direction<'_> {
    fn run(mut self, progress: &Rc<RefCell<Progress>>) -> Result<Outcome> {
        let mut over_since = None;
        let last_end = self.due.iter().map(|(at, fault)| *at + fault.lasts()).max().unwrap_or_default();
        loop {
            let now = self.sim.elapsed();
            self.journal.set_now(now);
            self.stage.store.step(now);
            let submitted_at = progress.borrow().submitted_at;
            let is_over = progress.borrow().outcome.is_some();
            while !is_over
                && let Some((_, fault)) =
                    self.due.pop_front_if(|(after, _)| submitted_at.is_some_and(|at| now >= at + *after))
            {
                self.begin(fault, now);
            }
            self.follow_calls(is_over, now);
            self.follow_kafka(is_over, now);
            while let Some((_, name, content)) =
                self.arriving.pop_front_if(|(after, ..)| submitted_at.is_some_and(|at| now >= at + *after))
            {
                self.journal.say(format!("{name} is there"));
                self.stage.store.place(&name, content)?;
            }
            while let Some(entry) = self.ends.first_entry().filter(|entry| entry.key().0 <= now) {
                let end = entry.remove();
                self.end(end, is_over, now);
            }
            self.sim.step().map_err(|error| anyhow!("a host has ended: {error}"))?;
            self.follow_processes(now);
            self.observer.look(&self.stage)?;
            self.ledger.look(&self.stage)?;
            if is_over && self.ends.is_empty() && self.is_at_rest(*over_since.get_or_insert(now), now)? {
                break;
            }
            let limit = submitted_at.map_or(SUBMITTED_WITHIN, |at| self.over_at.max(at + last_end) + PROGRESS_WITHIN);
            if !is_over && now > limit {
                bail!("no end in {:.0} s: {}", now.as_secs_f64(), self.observer.jobs());
            }
        }
        let outcome = progress.borrow_mut().outcome.take().context("the client has ended")?;
        outcome.map(|outcome| Outcome { has_leaders: self.observer.has_seen_leaders_change(), ..outcome })
    }

    /// Whether the cluster has come to rest after the job's end and all faults. What the first sweep misses is left
    /// to the second.
    fn is_at_rest(&self, over_since: Duration, now: Duration) -> Result<bool> {
        let store = &self.stage.store;
        ensure!(now < over_since + QUIET_WITHIN, "the store or Kafka is still called {QUIET_WITHIN:?} after the end");
        let is_underway = self.stage.kafka.as_ref().is_some_and(|kafka| !kafka.is_quiet());
        if now < over_since + self.rest || !store.is_quiet(QUIET) || is_underway {
            return Ok(false);
        }
        let shared = self.directory.as_ref();
        let is_swept = || anyhow::Ok(store.is_swept()? && shared.map_or(Ok(true), |shared| shared.is_swept())?);
        Ok(now >= over_since + SWEPT_WITHIN || is_swept()?)
    }

    /// Crashes hosts whose awaited call has come. After the job's end there are no more crashes.
    fn follow_calls(&mut self, is_over: bool, now: Duration) {
        for key in self.stage.store.tripped() {
            let awaited = usize::try_from(key).ok().and_then(|at| self.at_calls.get(at)).filter(|_| !is_over);
            let Some((hosts, down)) = awaited.cloned() else { continue };
            for host in hosts {
                self.begin(Fault::Crash { host, down }, now);
            }
        }
    }

    /// Logs processes that ended by themselves, and schedules their restart.
    fn follow_processes(&mut self, now: Duration) {
        let ended = std::mem::take(&mut self.stage.seen().ended);
        for (host, why) in ended {
            self.journal.say(format!("{host} has ended: {why}"));
            self.down.insert(host.clone());
            // This does not extend the deadline: otherwise a process that ends again and again would never be
            // noticed.
            self.schedule(now + RESTART_AFTER, End::Start(host));
        }
    }

    /// Schedules the end of a fault. Until then no progress is expected.
    pub(super) fn later(&mut self, when: Duration, end: End) {
        self.over_at = self.over_at.max(when);
        self.schedule(when, end);
    }

    fn schedule(&mut self, when: Duration, end: End) {
        let place = self.ends.range((when, 0)..=(when, usize::MAX)).count();
        self.ends.insert((when, place), end);
    }

    pub(super) fn name_of(&self, host: Host) -> String {
        if host != Host::Leader {
            return host.to_string();
        }
        let seen = self.stage.seen();
        let leading = seen.members.iter().filter_map(|(name, consensus)| {
            let leadership = consensus.leadership();
            let leadership = leadership.borrow();
            leadership.is_self.then_some((leadership.term, name.clone()))
        });
        leading.max().map_or_else(|| processes::coordinator_name(1), |(_, name)| name)
    }

    fn begin(&mut self, fault: Fault, now: Duration) {
        let until = now + fault.lasts();
        match fault {
            Fault::Crash { host, .. } => {
                let host = self.name_of(host);
                self.crash(host, until);
            }
            Fault::Disk { coordinator, loss, .. } => self.lose_disk(coordinator, loss, until),
            Fault::Blackout { down } => self.black_out(now + down),
            Fault::Clock { host, by_ms, .. } => self.set_wrong(host, by_ms, until),
            Fault::Pause { host, .. } => {
                let host = self.name_of(host);
                self.pause(host, until);
            }
            Fault::Partition { from, to, is_mutual, .. } => {
                let pairs = self.pairs(&from, &to, is_mutual);
                let shown: Vec<String> = pairs.iter().map(|(from, to)| format!("{from} to {to}")).collect();
                self.journal.say(format!("cut off: {}", shown.join(", ")));
                for (from, to) in &pairs {
                    self.sim.partition_oneway(from.as_str(), to.as_str());
                }
                self.later(until, End::Repair(pairs));
            }
            Fault::Delay { a, b, latency, .. } => {
                let (a, b) = (self.name_of(a), self.name_of(b));
                if a != b {
                    self.journal.say(format!("messages between {a} and {b} take up to {latency:?}"));
                    self.sim.set_link_max_message_latency(a.as_str(), b.as_str(), latency);
                    self.later(until, End::Quicken(a, b));
                }
            }
            Fault::AtCall { call, nth, is_refused, hosts, down } => {
                let key = u64::try_from(self.at_calls.len()).expect("few faults");
                self.at_calls.push((hosts, down));
                self.stage.store.watch_for(key, (call, nth), is_refused);
            }
            Fault::Store { trouble, .. } => {
                self.journal.say(format!("the store is {trouble}"));
                self.stage.store.trouble(Some(trouble), until);
                self.later(until, End::MendStore);
            }
            Fault::Kafka(fault) => self.begin_kafka(fault, now),
            Fault::Kinesis(fault) => self.begin_kinesis(fault, now),
        }
    }

    pub(super) fn pause(&mut self, host: String, until: Duration) {
        self.journal.say(format!("{host} stands still"));
        self.stage.gate(&host).close();
        self.later(until, End::Resume(host));
    }

    fn pairs(&self, from: &[Host], to: &[Host], is_mutual: bool) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        for (a, b) in from.iter().flat_map(|a| to.iter().map(|b| (self.name_of(*a), self.name_of(*b)))) {
            if a == b {
                continue;
            }
            if is_mutual {
                pairs.push((b.clone(), a.clone()));
            }
            pairs.push((a, b));
        }
        pairs
    }

    fn end(&mut self, end: End, is_over: bool, now: Duration) {
        match end {
            End::MendKafka(remedy) => self.mend_kafka(remedy),
            End::MendKinesis(trouble) => self.mend_kinesis(trouble),
            End::Begin(fault) if !is_over => self.begin(fault, now),
            End::Begin(_) => {}
            End::Replace(host) => self.replace_disk(&host),
            End::SetRight(host, by_ms) => self.set_right(&host, by_ms),
            End::Start(host) => {
                if self.down.remove(&host) {
                    self.journal.say(format!("{host} starts"));
                    self.stage.gate(&host).begin_end();
                    self.sim.bounce(host.as_str());
                }
            }
            End::Resume(host) => {
                self.journal.say(format!("{host} goes on"));
                self.stage.gate(&host).open();
            }
            End::Repair(pairs) => {
                self.journal.say("a cut is mended");
                for (from, to) in &pairs {
                    self.sim.repair_oneway(from.as_str(), to.as_str());
                }
            }
            End::Quicken(a, b) => {
                self.journal.say(format!("messages between {a} and {b} are quick again"));
                self.sim.set_link_max_message_latency(a.as_str(), b.as_str(), LATENCY_MAX);
            }
            End::MendStore => {
                self.journal.say("the store is well again");
                self.stage.store.trouble(None, Duration::ZERO);
            }
        }
    }
}
