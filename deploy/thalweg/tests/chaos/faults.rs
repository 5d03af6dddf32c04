//! Faults in the cluster of a running job, drawn from a seed: processes are killed and restarted, or frozen for a
//! while.
//!
//! The first fault kills a node; the others hit any process. At most one coordinator is down at a time, so that a
//! majority remains. All nodes may be down.

use std::time::Duration;

use serde_json::Value;

use super::{Cluster, Random};

const PAUSE_MIN: Duration = Duration::from_millis(700);

/// The number and lengths of faults.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) faults: usize,
    /// The longest time between two faults.
    pub(crate) pause_max: Duration,
    /// How long a process stays frozen.
    pub(crate) freeze: Duration,
}

/// The effects of the faults.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) kills: usize,
    pub(crate) freezes: usize,
    /// The job's last attempt.
    pub(crate) attempts: u64,
    /// For each kill of a node, the time until the next attempt was running.
    pub(crate) recoveries: Vec<Duration>,
}

struct Faults<'a> {
    cluster: &'a mut Cluster,
    plan: Plan,
    random: Random,
    report: Report,
    /// When the next fault is due.
    next: Duration,
    /// Processes that are down, and until when.
    down: Vec<(usize, Duration)>,
    /// When a node was killed, and in which attempt.
    pending: Option<(Duration, u64)>,
}

/// Makes all planned faults and waits until all processes are up again, then for the job's end.
pub(crate) fn endure(cluster: &mut Cluster, job: &str, plan: Plan) -> Report {
    let random = Random::new(plan.seed);
    let next = cluster.now() + PAUSE_MIN;
    let mut faults = Faults { cluster, plan, random, report: Report::default(), next, down: Vec::new(), pending: None };
    while faults.report.kills + faults.report.freezes < plan.faults || !faults.down.is_empty() {
        let shown = faults.cluster.show(job);
        faults.step(shown.as_ref());
        std::thread::sleep(Duration::from_millis(50));
    }
    while faults.pending.is_some() {
        let shown = faults.cluster.wait_until("the job to be shown", |cluster| cluster.show(job));
        faults.observe(&shown);
        if ["finished", "failed", "cancelled"].iter().any(|status| shown["status"] == *status) {
            faults.pending = None;
        }
    }
    let Faults { mut report, .. } = faults;
    let ended = cluster.wait_for_end(job, "finished", plan.faults);
    report.attempts = ended["attempt"].as_u64().expect("a number");
    assert!(report.attempts > 1, "a node was killed: {ended}");
    report
}

impl Faults<'_> {
    fn step(&mut self, shown: Option<&Value>) {
        self.cluster.mind();
        if let Some(shown) = shown {
            self.observe(shown);
        }
        let now = self.cluster.now();
        let (due, down): (Vec<_>, Vec<_>) = self.down.iter().copied().partition(|(_, until)| *until <= now);
        self.down = down;
        for (member, _) in due {
            self.cluster.revive(member);
        }
        let made = self.report.kills + self.report.freezes;
        if now >= self.next && made < self.plan.faults {
            self.strike(shown);
            let more = self.plan.pause_max.saturating_sub(PAUSE_MIN).as_millis();
            let more = self.random.below(u64::try_from(more).expect("it is short").max(1));
            self.next = self.cluster.now() + PAUSE_MIN + Duration::from_millis(more);
        }
    }

    fn strike(&mut self, shown: Option<&Value>) {
        let nodes = self.cluster.nodes();
        let is_coordinator_down = self.down.iter().any(|(member, _)| !nodes.contains(member));
        let is_first = self.report.kills + self.report.freezes == 0;
        let first = if is_first || is_coordinator_down { nodes.start } else { 0 };
        let up: Vec<usize> = (first..nodes.end).filter(|member| self.cluster.is_up(*member)).collect();
        let Some(at) = (!up.is_empty()).then(|| self.random.below(up.len() as u64)) else { return };
        let member = up[usize::try_from(at).expect("it is small")];
        let is_kill = is_first || self.random.below(3) > 0;
        let until = if is_kill {
            self.report.kills += 1;
            self.cluster.kill(member);
            Duration::from_millis(self.random.below(2000))
        } else {
            self.report.freezes += 1;
            self.cluster.freeze(member);
            self.plan.freeze
        };
        let now = self.cluster.now();
        self.down.push((member, now + until));
        if let Some(shown) = shown.filter(|shown| is_kill && nodes.contains(&member) && shown["status"] == "running") {
            let attempt = shown["attempt"].as_u64().expect("a number");
            self.pending.get_or_insert((now, attempt));
        }
    }

    /// Checks that the job is still running and has not failed.
    fn observe(&mut self, shown: &Value) {
        let made = self.report.kills + self.report.freezes;
        let status = shown["status"].as_str().expect("a word");
        assert!(status != "failed" && status != "cancelled", "{shown}");
        assert!(status != "finished" || made >= self.plan.faults, "the job has ended after {made} faults: {shown}");
        let attempt = shown["attempt"].as_u64().expect("a number");
        if let Some((since, before)) = self.pending
            && status == "running"
            && attempt > before
        {
            let took = self.cluster.now().saturating_sub(since);
            self.cluster.tell(&format!("the job runs on, in attempt {attempt}, after {took:.2?}"));
            self.report.recoveries.push(took);
            self.pending = None;
        }
    }
}
