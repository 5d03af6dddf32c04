//! Clusters of up to three coordinators and three nodes, one process each, which are killed and frozen.

#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod faults;
pub(crate) mod flow;

use std::{
    fs,
    ops::Range,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Background, Place, free_addresses};

/// The most coordinators, and the most nodes.
const EACH_MAX: usize = 3;
/// Slots of a node.
const SLOTS: usize = 2;
/// How long the cluster trusts a node without a heartbeat.
pub(crate) const LEASE: Duration = Duration::from_secs(3);
/// The longest time of any step, even on a slow machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// A generator of numbers from a seed: SplitMix64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// One process of the cluster, with its arguments to start it again.
struct Member {
    name: String,
    arguments: Vec<String>,
    process: Option<Background>,
    is_frozen: bool,
    /// The logs of earlier incarnations.
    log: String,
}

/// How many processes of each role a cluster has: one to three.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) coordinators: usize,
    pub(crate) nodes: usize,
}

impl Shape {
    /// Three of each.
    pub(crate) const LARGE: Self = Self { coordinators: EACH_MAX, nodes: EACH_MAX };

    /// The slices of a job: where there are several nodes, as many as the others have slots for when one is gone.
    fn parallelism(self) -> usize {
        SLOTS * self.nodes.saturating_sub(1).max(1)
    }
}

/// The cluster, and the directory of a test's files. If the test fails, the directory is kept, with the logs of all
/// processes.
pub(crate) struct Cluster {
    place: Place,
    shape: Shape,
    /// The coordinators, then the nodes.
    members: Vec<Member>,
    coordinators: String,
    directory: Option<TempDir>,
    /// Printed if the test fails.
    story: Vec<String>,
    /// Prints the story and keeps the directory even if the test passes.
    pub(crate) is_shown: bool,
    started: Instant,
    /// How often processes have ended by themselves, without a panic.
    pub(crate) own_ends: usize,
}

impl Cluster {
    /// Starts all processes, and waits until all nodes have registered. By default, checkpoints are in the directory.
    pub(crate) fn start(shape: Shape, place: Place, checkpoints: Option<&str>) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let addresses: [String; 2 * EACH_MAX] = free_addresses();
        let (coordinators, nodes) = addresses.split_at(EACH_MAX);
        let (coordinators, nodes) = (&coordinators[..shape.coordinators], &nodes[..shape.nodes]);
        let local = directory.path().join("checkpoints").display().to_string();
        let checkpoints = checkpoints.unwrap_or(&local);
        let first: Vec<String> = coordinators.iter().zip(1..).map(|(address, id)| format!("{id}={address}")).collect();
        let (first, all) = (first.join(","), coordinators.join(","));
        let lease = format!("{} ms", LEASE.as_millis());
        let mut members = Vec::new();
        for (number, listen) in (1..).zip(coordinators) {
            let data = directory.path().join(format!("coordinator-{number}")).display().to_string();
            let number = number.to_string();
            let identity = ["coordinator", "--member", &number, "--listen", listen, "--cluster", "chaos", "--members"];
            let place = [&first, "--data-dir", &data, "--checkpoints", checkpoints, "--checkpoint-interval", "500 ms"];
            let times = ["--lease", &lease, "--slot-wait", "1 s"];
            members
                .push(Member::new(format!("coordinator-{number}"), &[&identity[..], &place[..], &times[..]].concat()));
        }
        for (number, listen) in (1..).zip(nodes) {
            let (number, slots) = (number.to_string(), SLOTS.to_string());
            let arguments = ["node", "--node", &number, "--listen", listen, "--slots", &slots, "--coordinator", &all];
            members.push(Member::new(format!("node-{number}"), &arguments));
        }
        #[allow(clippy::disallowed_methods, reason = "a test of real processes has real time")]
        let started = Instant::now();
        let directory = Some(directory);
        let mut cluster = Self {
            place,
            shape,
            members,
            coordinators: all,
            directory,
            story: Vec::new(),
            is_shown: false,
            started,
            own_ends: 0,
        };
        (0..cluster.members.len()).for_each(|member| cluster.revive(member));
        cluster.wait_until("all nodes", |cluster| (cluster.alive_nodes()? == shape.nodes).then_some(()));
        cluster
    }

    /// Which of the members are nodes; those before are coordinators.
    pub(crate) fn nodes(&self) -> Range<usize> {
        self.shape.coordinators..self.members.len()
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.as_ref().expect("it is there as long as the cluster").path()
    }

    /// The time since the cluster was started.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Adds an event to the story.
    pub(crate) fn tell(&mut self, what: &str) {
        self.story.push(format!("{:7.2} s  {what}", self.now().as_secs_f64()));
    }

    /// A command's answer as lines of JSON; `None` if it fails.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Option<Vec<Value>> {
        let outcome = self.run(arguments, "3 s");
        let line = |line: &str| serde_json::from_str(line).expect("a line of JSON");
        (outcome.code == Some(0)).then(|| outcome.stdout.lines().map(line).collect())
    }

    fn run(&self, arguments: &[&str], timeout: &str) -> crate::process::Outcome {
        let more = ["--coordinator", &self.coordinators, "-o", "json", "--timeout", timeout];
        self.place.thalweg(&[arguments, &more].concat())
    }

    /// Runs a command that needs no cluster.
    pub(crate) fn thalweg(&self, arguments: &[&str]) -> crate::process::Outcome {
        self.place.thalweg(arguments)
    }

    fn alive_nodes(&self) -> Option<usize> {
        Some(self.ask(&["nodes"])?.iter().filter(|node| node["state"] == "alive").count())
    }

    /// Whether a node is alive.
    pub(crate) fn is_alive(&self, member: usize) -> bool {
        let number = member - self.nodes().start + 1;
        let nodes = self.ask(&["nodes"]).unwrap_or_default();
        nodes.iter().any(|node| node["state"] == "alive" && node["node"] == number)
    }

    /// Submits a script. Returns the job's id.
    pub(crate) fn submit(&mut self, sql: &str, more: &[&str]) -> String {
        let parallelism = self.shape.parallelism().to_string();
        let outcome = self.run(&[&["submit", "-e", sql, "--parallelism", &parallelism], more].concat(), "30 s");
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        let submitted: Value = serde_json::from_str(outcome.stdout.trim()).expect("a line of JSON");
        let job = format!("job-{}", submitted["job"]);
        self.tell(&format!("{job} was submitted"));
        self.wait_until("the job's start", |cluster| {
            let shown = cluster.show(&job)?;
            assert_ne!(shown["status"], "failed", "{shown}");
            (shown["status"] == "running").then_some(())
        });
        self.tell("it runs");
        job
    }

    /// The state of a job; `None` if no leader answers.
    pub(crate) fn show(&self, job: &str) -> Option<Value> {
        self.ask(&["job", "show", job])?.into_iter().next()
    }

    /// Waits for a complete checkpoint after `after`. Returns its number.
    pub(crate) fn wait_for_checkpoint(&mut self, job: &str, after: u64) -> u64 {
        self.wait_until(&format!("a checkpoint after {after}"), |cluster| {
            let checkpoints = cluster.ask(&["job", "checkpoints", job])?;
            let complete = checkpoints.iter().filter(|checkpoint| checkpoint["state"] == "complete");
            complete.filter_map(|checkpoint| checkpoint["checkpoint"].as_u64()).max().filter(|newest| *newest > after)
        })
    }

    /// Waits until the job has finished or was stopped, as `wanted` says. The more faults, the longer this may take.
    pub(crate) fn wait_for_end(&mut self, job: &str, wanted: &str, faults: usize) -> Value {
        let patience = PATIENCE + Duration::from_secs(30) * u32::try_from(faults).expect("they are few");
        let ended = self.wait_for(patience, "the job's end", |cluster| {
            let job = cluster.show(job)?;
            let status = job["status"].as_str().expect("a word");
            ["finished", "failed", "cancelled", "stopped"].contains(&status).then_some(job)
        });
        self.tell("the job has ended");
        for checkpoint in self.ask(&["job", "checkpoints", job]).unwrap_or_default() {
            self.tell(&checkpoint.to_string());
        }
        assert_eq!(ended["status"], wanted, "{ended}");
        ended
    }

    /// Calls `look` again and again until it finds something. Meanwhile, processes that end by themselves are started
    /// again.
    #[track_caller]
    pub(crate) fn wait_until<T>(&mut self, what: &str, look: impl FnMut(&Self) -> Option<T>) -> T {
        self.wait_for(PATIENCE, what, look)
    }

    #[track_caller]
    fn wait_for<T>(&mut self, patience: Duration, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let end = self.now() + patience;
        loop {
            self.mind();
            if let Some(found) = look(self) {
                return found;
            }
            assert!(self.now() < end, "waited in vain for {what}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Restarts processes that have ended by themselves, as their supervisor would. None of them may have panicked.
    pub(crate) fn mind(&mut self) {
        for at in 0..self.members.len() {
            let member = &mut self.members[at];
            let Some(code) = member.process.as_mut().and_then(Background::ended) else { continue };
            let (name, log) = (member.name.clone(), member.process.as_ref().map(Background::log));
            assert_ne!(code, Some(101), "{name} has panicked");
            assert!(self.now() > Duration::from_secs(5), "{name} does not start: {log:?}");
            self.tell(&format!("{name} has ended by itself: {code:?}"));
            self.own_ends += 1;
            self.members[at].end(Background::kill);
            self.revive(at);
        }
    }

    /// Whether the process is neither dead nor frozen.
    pub(crate) fn is_up(&self, member: usize) -> bool {
        self.members[member].process.is_some() && !self.members[member].is_frozen
    }

    /// Kills the process (SIGKILL).
    pub(crate) fn kill(&mut self, member: usize) {
        self.members[member].end(Background::kill);
        self.tell(&format!("{} is killed", self.members[member].name));
    }

    /// Freezes the process (SIGSTOP).
    pub(crate) fn freeze(&mut self, member: usize) {
        self.members[member].signal("STOP");
        self.tell(&format!("{} is frozen", self.members[member].name));
    }

    /// Resumes a frozen process (SIGCONT), or starts a dead one again.
    pub(crate) fn revive(&mut self, member: usize) {
        let place = self.place.clone();
        let this = &mut self.members[member];
        let how = if this.process.is_some() {
            this.signal("CONT");
            "thawed"
        } else {
            let arguments: Vec<&str> = this.arguments.iter().map(String::as_str).collect();
            this.process = Some(Background::start_at(&place, &arguments));
            "started"
        };
        self.tell(&format!("{} is {how}", self.members[member].name));
    }
}

impl Member {
    fn new(name: String, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self { name, arguments, process: None, is_frozen: false, log: String::new() }
    }

    fn signal(&mut self, name: &str) {
        self.process.as_ref().expect("it runs").signal(name);
        self.is_frozen = name == "STOP";
    }

    fn end(&mut self, how: impl FnOnce(Background)) {
        let process = self.process.take().expect("it runs");
        self.log += &process.log();
        self.log += "-- its end --\n";
        how(process);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() && !self.is_shown {
            return;
        }
        let Some(directory) = self.directory.take().map(TempDir::keep) else { return };
        for member in &self.members {
            let log = member.process.as_ref().map(Background::log).unwrap_or_default();
            fs::write(directory.join(format!("{}.log", member.name)), member.log.clone() + &log).ok();
        }
        eprintln!("{}\nlogs and files are in {}", self.story.join("\n"), directory.display());
    }
}
