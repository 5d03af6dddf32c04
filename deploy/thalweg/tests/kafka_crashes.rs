//! From Kafka through keyed windows to Kafka, and from Kafka to files, each effect once and in order of each key, through any
//! crash: of nodes, of coordinators, and of the broker. Processes are killed with SIGKILL and started again, or nodes frozen with
//! SIGSTOP for longer than their lease, while a test writes the topic that is read, and reads the topics that are written.
//!
//! Readers of committed records are there all the while: what they see may come late, but nothing comes twice, or before what is
//! older by its key. In the end all that is there is compared with the batch answer (`ticks/mod.rs`).
//!
//! Rows and faults come from one seed. If a test fails, it prints the seed, the events, and where the logs of the processes are.
//!
//! | variable | |
//! |---|---|
//! | `THALWEG_KAFKA=DIR` | an installation of Apache Kafka (`deploy/kafka/apache-kafka`); without it, the tests are skipped |
//! | `THALWEG_KAFKA_CRASHES=N` | a long run: N kills each of nodes, coordinators and the broker, and N / 4 freezes; prints a report and keeps the logs |
//! | `THALWEG_KAFKA_BROKERS=N` | N brokers, of which one is killed at a time, instead of one; three hold each record |
//! | `THALWEG_CRASHES_SEED=N` | this seed instead of a new one |

#![allow(clippy::disallowed_methods, reason = "tests of processes use real surroundings")]

mod broker;
mod chaos;
mod process;
mod ticks;
mod topics;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use broker::Broker;
use chaos::{Cluster, LEASE, Random, Shape, flow::assert_equal};
use process::{Place, lines_below, wait_until};
use serde_json::Value;
use ticks::{
    Answer, COPIES, PARTITIONS, TICKS, TOTALS,
    feed::Feed,
    seen::{Seen, lock},
};
use topics::Follower;

const ROWS_PER_SECOND: u64 = 300;

/// Runs tests one after the other: each has many processes and a short lease, and the machine may be small.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("the variable is a number"))
}

fn seed() -> u64 {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_nanos();
    number("THALWEG_CRASHES_SEED").unwrap_or_else(|| u64::try_from(now() % 1_000_000).expect("it is small"))
}

/// A run: a broker, a cluster, a job, who writes its input and who reads its output.
struct World {
    seed: u64,
    broker: Broker,
    cluster: Cluster,
    job: String,
    feed: Feed,
    seen: Arc<Mutex<Seen>>,
    followers: [Follower; 2],
}

impl World {
    /// `None`: there is no Apache Kafka here.
    fn start(shape: Shape, rows_per_second: u64) -> Option<Self> {
        let brokers = number("THALWEG_KAFKA_BROKERS").map_or(1, |count| usize::try_from(count).expect("it is small"));
        let (broker, seed) = (Broker::start_several(brokers)?, seed());
        let servers = broker.servers();
        for topic in [TICKS, TOTALS, COPIES] {
            topics::create(servers, topic, PARTITIONS);
        }
        let mut cluster = Cluster::start(shape, Place::default(), None);
        cluster.tell(&format!("THALWEG_CRASHES_SEED={seed}"));
        let feed = Feed::start(servers, seed, rows_per_second);
        let (seen, followers) = Seen::follow(servers);
        let job = cluster.submit(&ticks::script(servers, cluster.directory()), &[]);
        Some(Self { seed, broker, cluster, job, feed, seen, followers })
    }

    fn shown(&mut self) -> Value {
        let job = self.job.clone();
        self.cluster.wait_until("the job to be shown", |cluster| cluster.show(&job))
    }

    /// Ends the input, waits for all of the output, and compares it with the batch answer. Returns the job as it was at its end,
    /// and how many rows there were.
    fn finish(self, faults: usize) -> (Cluster, Value, u64) {
        let Self { seed, broker, mut cluster, job, feed, seen, followers } = self;
        let rows = feed.finish();
        cluster.tell(&format!("{rows} rows are written"));
        cluster.wait_until("copies of all rows", |cluster| {
            assert_running(&cluster.show(&job));
            (lock(&seen).counts.1 >= rows).then_some(())
        });
        cluster.tell("all copies are read");
        assert!(cluster.ask(&["job", "stop", &job]).is_some(), "the job can be stopped");
        let ended = cluster.wait_for_end(&job, "stopped", faults);
        let answer = Answer::of(seed, rows);
        let totals = u64::try_from(answer.total_lines().len()).expect("they are few");
        cluster.wait_until("totals of all windows", |_| (lock(&seen).counts.0 >= totals).then_some(()));
        drop(followers);
        let seen = std::mem::take(&mut *lock(&seen));
        for (who, seen) in [("all the while", seen), ("in the end", Seen::now(broker.servers()))] {
            assert!(seen.wrong.is_empty(), "{who}: {:#?}", seen.wrong);
            assert_equal(&format!("totals {who}"), &seen.answer.total_lines(), &answer.total_lines());
            assert_equal(&format!("copies {who}"), &seen.answer.copy_lines(), &answer.copy_lines());
        }
        let files = cluster.directory().join("files");
        let expected = ticks::file_lines(seed, rows);
        cluster.wait_until("all files", |_| (lines_below(&files).len() >= expected.len()).then_some(()));
        assert_equal("files", &lines_below(&files), &expected);
        let late = cluster.directory().join("late");
        assert!(!late.exists() || lines_below(&late).is_empty(), "no record is late");
        (cluster, ended, rows)
    }
}

#[track_caller]
fn assert_running(shown: &Option<Value>) {
    let status = shown.as_ref().map(|job| job["status"].as_str().expect("a word"));
    let is_over = status.is_some_and(|status| ["failed", "cancelled", "finished", "stopped"].contains(&status));
    assert!(!is_over, "{shown:?}");
}

/// What a fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    KillNode,
    KillCoordinator,
    KillBroker,
    FreezeNode,
}

/// Makes faults in a run, in the order that the seed gives them.
struct Trouble<'a> {
    world: &'a mut World,
    random: Random,
    /// Those to come; the next one is the last.
    faults: Vec<Fault>,
    freeze: Duration,
    pause_max: Duration,
    next: Duration,
    /// The next fault waits for a checkpoint after this one, too.
    behind: u64,
    /// Processes that are down, and until when; `None` is the broker.
    down: Vec<(Option<usize>, Duration)>,
    made: BTreeMap<Fault, usize>,
}

const PAUSE_MIN: Duration = Duration::from_millis(500);
/// Even if no checkpoint completes, the next fault comes.
const PAUSE_FOR_CHECKPOINT: Duration = Duration::from_secs(30);

impl<'a> Trouble<'a> {
    fn new(world: &'a mut World, counts: &[(Fault, u64)], freeze: Duration, pause_max: Duration) -> Self {
        let mut random = Random::new(world.seed);
        let mut faults: Vec<Fault> = Vec::new();
        for (fault, count) in counts {
            for _ in 0..*count {
                let at = random.below(u64::try_from(faults.len()).expect("they are few") + 1);
                faults.insert(usize::try_from(at).expect("it is small"), *fault);
            }
        }
        let next = world.cluster.now() + PAUSE_MIN;
        let (down, made) = (Vec::new(), BTreeMap::new());
        Self { world, random, faults, freeze, pause_max, next, behind: 0, down, made }
    }

    /// Makes all faults, and waits until all processes are up again.
    fn endure(mut self) -> BTreeMap<Fault, usize> {
        while !self.faults.is_empty() || !self.down.is_empty() {
            self.world.cluster.mind();
            self.revive();
            let shown = self.world.cluster.show(&self.world.job);
            assert_running(&shown);
            self.assert_sound();
            if self.is_due(shown.as_ref()) {
                self.strike(shown.as_ref());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        self.made
    }

    fn assert_sound(&self) {
        let seen = lock(&self.world.seen);
        assert!(seen.wrong.is_empty(), "{:#?}", seen.wrong);
    }

    fn is_due(&self, shown: Option<&Value>) -> bool {
        let now = self.world.cluster.now();
        let is_past = last_complete(shown).is_some_and(|complete| complete > self.behind);
        now >= self.next && (is_past || self.behind == 0 || now >= self.next + PAUSE_FOR_CHECKPOINT)
    }

    fn revive(&mut self) {
        let now = self.world.cluster.now();
        let (due, down): (Vec<_>, Vec<_>) = self.down.iter().copied().partition(|(_, until)| *until <= now);
        self.down = down;
        for (member, _) in due {
            match member {
                Some(member) => self.world.cluster.revive(member),
                None => {
                    self.world.broker.revive();
                    self.world.cluster.tell("the broker is started");
                }
            }
        }
    }

    fn strike(&mut self, shown: Option<&Value>) {
        let Some(fault) = self.faults.last().copied() else { return };
        let nodes = self.world.cluster.nodes();
        let victim = match fault {
            Fault::KillBroker => (!self.is_down(|member| member.is_none())).then_some(None),
            Fault::KillNode | Fault::FreezeNode => self.one_of(nodes).map(Some),
            // A majority remains.
            Fault::KillCoordinator if self.is_down(|member| member.is_some_and(|member| member < nodes.start)) => None,
            Fault::KillCoordinator => self.one_of(0..nodes.start).map(Some),
        };
        let Some(victim) = victim else { return };
        let down_for = match (fault, victim) {
            (Fault::FreezeNode, Some(member)) => {
                self.world.cluster.freeze(member);
                self.freeze
            }
            (_, Some(member)) => {
                self.world.cluster.kill(member);
                Duration::from_millis(self.random.below(2000))
            }
            (_, None) => {
                self.world.broker.kill();
                self.world.cluster.tell("the broker is killed");
                Duration::from_millis(self.random.below(3000))
            }
        };
        let now = self.world.cluster.now();
        self.faults.pop();
        *self.made.entry(fault).or_default() += 1;
        self.down.push((victim, now + down_for));
        let more = self.random.below(u64::try_from(self.pause_max.as_millis()).expect("it is short"));
        self.next = now + PAUSE_MIN + Duration::from_millis(more);
        // Every other fault comes whatever is going on; the others, when the job has got over the one before.
        self.behind = if self.random.below(2) == 0 { 0 } else { last_complete(shown).unwrap_or(self.behind).max(1) };
    }

    fn is_down(&self, which: impl Fn(Option<usize>) -> bool) -> bool {
        self.down.iter().any(|(member, _)| which(*member))
    }

    fn one_of(&mut self, members: std::ops::Range<usize>) -> Option<usize> {
        let up: Vec<usize> = members.filter(|member| self.world.cluster.is_up(*member)).collect();
        let count = u64::try_from(up.len()).ok().filter(|count| *count > 0)?;
        up.get(usize::try_from(self.random.below(count)).expect("it is small")).copied()
    }
}

fn last_complete(shown: Option<&Value>) -> Option<u64> {
    shown?["checkpoints"]["last_complete"].as_u64()
}

#[test]
fn readers_of_committed_records_see_each_effect_once_through_crashes() {
    let _alone = alone();
    let long = number("THALWEG_KAFKA_CRASHES");
    let (kills, freezes) = long.map_or(([2, 1, 2], 1), |each| ([each; 3], each / 4));
    let counts = [
        (Fault::KillNode, kills[0]),
        (Fault::KillCoordinator, kills[1]),
        (Fault::KillBroker, kills[2]),
        (Fault::FreezeNode, freezes),
    ];
    let (freeze, pause_max) = match long {
        None => (LEASE * 2, Duration::from_secs(2)),
        Some(_) => (Duration::from_secs(10), Duration::from_secs(8)),
    };
    let Some(mut world) = World::start(Shape::LARGE, ROWS_PER_SECOND) else { return };
    let job = world.job.clone();
    world.cluster.wait_for_checkpoint(&job, 0);
    let made = Trouble::new(&mut world, &counts, freeze, pause_max).endure();
    let (mut cluster, ended, rows) = world.finish(made.values().sum());
    assert!(ended["attempt"].as_u64() > Some(1), "nodes were killed: {ended}");
    if long.is_some() {
        cluster.is_shown = true;
        let (attempts, own_ends, took) = (&ended["attempt"], cluster.own_ends, cluster.now());
        println!(
            "{rows} rows, {made:?}, {attempts} attempts, {own_ends} ends of processes by themselves, in {took:.0?}"
        );
    }
}

/// What is found out by the tests here, they must not have caused themselves.
#[test]
fn the_test_s_own_clients_lose_and_double_nothing_when_the_broker_is_killed() {
    let _alone = alone();
    let Some(mut broker) = Broker::start() else { return };
    let (seed, seen) = (seed(), Arc::new(Mutex::new(BTreeMap::<String, Vec<u64>>::new())));
    topics::create(broker.servers(), TICKS, PARTITIONS);
    let feed = Feed::start(broker.servers(), seed, ROWS_PER_SECOND);
    let taken = seen.clone();
    let follower = Follower::start(broker.servers(), TICKS, move |message| {
        let row = message.json();
        let (symbol, id) = (row["symbol"].as_str().expect("text").to_owned(), row["id"].as_u64().expect("a number"));
        taken.lock().expect("nobody panics with it").entry(symbol).or_default().push(id);
    });
    let count = || seen.lock().expect("nobody panics with it").values().map(Vec::len).sum::<usize>();
    for _ in 0..2 {
        let before = count();
        wait_until("more rows", || (count() > before + 500).then_some(()));
        broker.kill();
        broker.revive();
    }
    let rows = feed.finish();
    wait_until("all rows", || (count() as u64 >= rows).then_some(()));
    drop(follower);
    assert_eq!(
        *seen.lock().expect("nobody panics with it"),
        Answer::of(seed, rows).copies,
        "THALWEG_CRASHES_SEED={seed}"
    );
}

#[test]
fn everything_killed_at_once_goes_on_where_it_was() {
    let _alone = alone();
    let Some(mut world) = World::start(Shape { coordinators: 1, nodes: 1 }, ROWS_PER_SECOND) else { return };
    let job = world.job.clone();
    for _ in 0..2 {
        let last = last_complete(Some(&world.shown())).unwrap_or(0);
        world.cluster.wait_for_checkpoint(&job, last);
        world.broker.kill();
        (0..world.cluster.nodes().end).for_each(|member| world.cluster.kill(member));
        world.broker.revive();
        (0..world.cluster.nodes().end).for_each(|member| world.cluster.revive(member));
        world.cluster.wait_for_checkpoint(&job, last + 1);
    }
    world.finish(2);
}

/// Others have taken over its transactional ids when it wakes.
#[test]
fn a_node_that_was_frozen_beyond_its_lease_writes_nothing_more() {
    let _alone = alone();
    let Some(mut world) = World::start(Shape { coordinators: 1, nodes: 2 }, ROWS_PER_SECOND) else { return };
    let job = world.job.clone();
    world.cluster.wait_for_checkpoint(&job, 0);
    let first = world.shown()["attempt"].as_u64();
    let busy = |cluster: &Cluster| {
        let nodes = cluster.ask(&["nodes"])?;
        let busy = nodes.iter().find(|node| node["slots_used"].as_u64() > Some(0))?;
        usize::try_from(busy["node"].as_u64()?).ok()
    };
    let zombie = world.cluster.wait_until("a node of the job", busy) + world.cluster.nodes().start - 1;
    world.cluster.freeze(zombie);
    world.cluster.wait_until("another attempt", |cluster| {
        let shown = cluster.show(&job)?;
        (shown["attempt"].as_u64() > first && shown["status"] == "running").then_some(())
    });
    let last = last_complete(Some(&world.shown())).unwrap_or(0);
    world.cluster.wait_for_checkpoint(&job, last);
    world.cluster.revive(zombie);
    world.cluster.wait_until("the thawed node", |cluster| cluster.is_alive(zombie).then_some(()));
    let last = last_complete(Some(&world.shown())).unwrap_or(0);
    world.cluster.wait_for_checkpoint(&job, last);
    world.finish(1);
}
