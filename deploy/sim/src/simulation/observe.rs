//! Observes the replicated state during a run: logs what happens to jobs and nodes, and checks invariants.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hasher as _},
};

use anyhow::{Context as _, Result, ensure};
use thalweg_cluster_state::{ClusterState, JobRecord};
use thalweg_consensus::Consensus;
use thalweg_coordinator::Machine;
use thalweg_types::{CheckpointId, JobId, JobStatus, NodeId, Term, checkpoint::Manifest, node::NodeState};

use super::{
    journal::Journal,
    kafka::Witness,
    processes::Stage,
    publications::Publications,
    store::{CHECKPOINTS, SimulatedStore},
};

/// What has been seen of the replicated state.
pub(super) struct Observer {
    journal: Journal,
    /// The highest log index that was looked at.
    applied: u64,
    /// The applied log index of each member.
    members: BTreeMap<String, u64>,
    /// Hash of the state at each log index, and the member that had it first.
    states: BTreeMap<u64, (u64, String)>,
    jobs: BTreeMap<JobId, String>,
    nodes: BTreeMap<NodeId, String>,
    publications: Publications,
    witness: Option<Witness>,
    /// Names of manifests already read.
    manifests: BTreeSet<String>,
    /// Jobs that have run.
    ran: BTreeSet<JobId>,
    /// Terms that had a leader.
    terms: BTreeSet<Term>,
}

impl Observer {
    pub(super) fn new(journal: Journal, witness: Option<Witness>) -> Self {
        Self {
            journal,
            applied: 0,
            members: BTreeMap::new(),
            states: BTreeMap::new(),
            jobs: BTreeMap::new(),
            nodes: BTreeMap::new(),
            publications: Publications::default(),
            witness,
            manifests: BTreeSet::new(),
            ran: BTreeSet::new(),
            terms: BTreeSet::new(),
        }
    }

    /// Looks at all members whose applied index has changed.
    ///
    /// # Errors
    /// If an invariant is broken, two members have different states at the same index, or output is published too
    /// early.
    pub(super) fn look(&mut self, stage: &Stage) -> Result<()> {
        let seen = stage.seen();
        for (name, consensus) in &seen.members {
            let leadership = consensus.leadership();
            let leadership = leadership.borrow();
            if leadership.is_self {
                self.terms.insert(leadership.term);
            }
            let applied = *consensus.applied().borrow();
            if self.members.get(name) == Some(&applied) {
                continue;
            }
            self.members.insert(name.clone(), applied);
            self.look_at(name, consensus, applied, &stage.store)?;
        }
        if let Some(witness) = &mut self.witness {
            witness.look()?;
        }
        self.publications.check(stage.store.published())
    }

    fn look_at(
        &mut self,
        name: &str,
        consensus: &Consensus<Machine>,
        applied: u64,
        store: &SimulatedStore,
    ) -> Result<()> {
        consensus.peek(|machine| {
            let state = machine.state();
            state.check_invariants().map_err(|broken| anyhow::anyhow!("{name} at entry {applied}: {broken}"))?;
            let mut hasher = DefaultHasher::new();
            hasher.write(&state.to_bytes());
            let hash = hasher.finish();
            let (known, by) = self.states.entry(applied).or_insert_with(|| (hash, name.to_owned()));
            ensure!(*known == hash, "{name} and {by} have different states after the entry at {applied}");
            if applied > self.applied {
                self.applied = applied;
                self.tell(state);
                for (job, record) in state.jobs() {
                    self.learn(*job, record, store)?;
                }
            }
            Ok(())
        })
    }

    /// Takes what the replicated record of a job says of its checkpoints.
    fn learn(&mut self, job: JobId, record: &JobRecord, store: &SimulatedStore) -> Result<()> {
        if record.status.is_terminal() || matches!(record.status, JobStatus::Running | JobStatus::Restarting) {
            self.ran.insert(job);
        }
        for reference in &record.checkpoints {
            if !self.manifests.insert(reference.name.clone()) {
                continue;
            }
            let path = format!("{CHECKPOINTS}/{}", reference.name);
            let bytes = store.look_at(&path).with_context(|| format!("{path} is recorded"))?;
            let manifest: Manifest = serde_json::from_slice(&bytes).with_context(|| path)?;
            self.publications.learn(&manifest);
            if let Some(witness) = &mut self.witness {
                witness.learn(&manifest)?;
            }
        }
        if let Some(witness) = &mut self.witness {
            let is_processed = record.attempt.as_ref().is_some_and(|attempt| attempt.committables.is_some());
            let newest = record.newest_checkpoint().map(|newest| newest.checkpoint).unwrap_or_default();
            witness.learn_complete(job, if is_processed { CheckpointId::FINAL } else { newest });
        }
        self.publications.learn_last(record);
        Ok(())
    }

    fn tell(&mut self, state: &ClusterState) {
        for (job, record) in state.jobs() {
            let now = describe(record);
            if self.jobs.get(job) != Some(&now) {
                self.journal.say(format!("{job}: {now}"));
                self.jobs.insert(*job, now);
            }
        }
        for (node, record) in state.nodes() {
            let incarnation = record.registration.incarnation;
            let now = match record.state {
                NodeState::Lost => format!("lost: {}", record.reason),
                NodeState::Leaving => format!("leaving, {incarnation}"),
                NodeState::Alive => format!("registered, {incarnation}"),
            };
            if self.nodes.get(node) != Some(&now) {
                self.journal.say(format!("{node}: {now}"));
                self.nodes.insert(*node, now);
            }
        }
    }

    /// How many jobs have run.
    pub(super) fn jobs_that_ran(&self) -> usize {
        self.ran.len()
    }

    /// Whether more than one term had a leader.
    pub(super) fn has_seen_leaders_change(&self) -> bool {
        self.terms.len() > 1
    }

    /// The last known status of each job.
    pub(super) fn jobs(&self) -> String {
        self.jobs.iter().map(|(job, doing)| format!("{job} is {doing}")).collect::<Vec<_>>().join("; ")
    }
}

fn describe(record: &JobRecord) -> String {
    let failure =
        record.failure.as_ref().map(|failure| format!(", last failure: {:?}, {}", failure.kind, failure.message));
    let newest = record.newest_checkpoint().map(|newest| format!(", complete up to {}", newest.checkpoint));
    let published = format!(", published up to {}", record.committed);
    let checkpoints = newest.map(|newest| newest + &published).unwrap_or_default();
    format!("{}, {}{checkpoints}{}", record.status, record.last_attempt(), failure.unwrap_or_default())
}
