//! A coordinator's configuration: as it is written, and checked for the parts that take it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thalweg_consensus::{ConsensusConfig, Member};
use thalweg_control::ControlConfig;
use thalweg_types::{ClusterId, MemberId};
use thiserror::Error;

/// A node sends four heartbeats per lease, and the leader checks leases twenty times per lease. With a shorter lease
/// both would be busy with little else.
const LEASE_MS_MIN: u64 = 100;

/// A coordinator's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CoordinatorConfig {
    /// This member's id, from 1, bound to its data directory. Default 1.
    pub member: MemberId,
    /// The address at which other coordinators, nodes and clients reach this one, as `host:port`. Required.
    pub address: String,
    /// The cluster's id. Required to found a cluster of several coordinators and to join one. A lone coordinator draws
    /// it.
    pub cluster: Option<ClusterId>,
    /// The first coordinators, with this one among them, the same list for all. Used only with an empty data directory.
    /// If empty, this one is the only one, unless it joins.
    pub members: Vec<MemberConfig>,
    /// With an empty data directory, wait to be added to a cluster that exists. Default false.
    pub join: bool,
    /// With an empty data directory, found the cluster even if some of `members` do not answer. Only for members that
    /// never will. Default false.
    pub bootstrap: bool,
    /// The length of a tick of Raft in milliseconds. Default 50.
    pub raft_tick_ms: u64,
    /// The ticks without word from a leader after which a follower starts an election. Default 10.
    pub election_ticks: usize,
    /// The ticks between two heartbeats of the leader to followers. Default 2.
    pub heartbeat_ticks: usize,
    /// The entries after which the log is compacted. Default 1000.
    pub snapshot_every_entries: u64,
    /// How long a node is trusted without a heartbeat, in milliseconds. After a broken connection, a sixth of it.
    /// Default 3000.
    pub lease_ms: u64,
    /// How long a job waits for as many slots as it wants before it begins with the free ones, in milliseconds. Default
    /// 10000.
    pub slot_wait_ms: u64,
    /// How long the deployment of an attempt may take, in milliseconds. Default 120000.
    pub deploy_timeout_ms: u64,
    /// The number of ended jobs that are remembered, with their rows that were not fetched. Default 100.
    pub ended_jobs_max: usize,
    /// The place for checkpoints: the URL of a directory or of a prefix in an object store. It is the same for all
    /// coordinators, and all nodes reach it. Required.
    pub checkpoints: String,
    /// Whether to mark the place for checkpoints as this cluster's own. Not if each coordinator has a directory of its
    /// own and no checkpoints are taken. Default true.
    pub marks_checkpoints: bool,
    /// The time from the beginning of a checkpoint to the beginning of the next, in milliseconds, unless a job sets it.
    /// 0 means that no checkpoint is taken by time. Default 10000.
    pub checkpoint_interval_ms: u64,
    /// The number of slices of a job if neither its script nor the submission sets it. Default: half of the free slots,
    /// rounded up.
    pub parallelism: Option<u32>,
}

/// One of the first coordinators of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberConfig {
    /// Its id.
    pub member: MemberId,
    /// Where it listens, as `host:port`.
    pub address: String,
}

impl Default for CoordinatorConfig {
    fn default() -> Self {
        let raft = ConsensusConfig::default();
        Self {
            member: raft.member,
            address: String::new(),
            cluster: None,
            members: Vec::new(),
            join: false,
            bootstrap: false,
            raft_tick_ms: 50,
            election_ticks: raft.election_ticks,
            heartbeat_ticks: raft.heartbeat_ticks,
            snapshot_every_entries: raft.snapshot_every_entries,
            lease_ms: 3000,
            slot_wait_ms: 10_000,
            deploy_timeout_ms: 120_000,
            ended_jobs_max: 100,
            checkpoints: String::new(),
            marks_checkpoints: true,
            checkpoint_interval_ms: 10_000,
            parallelism: None,
        }
    }
}

/// An invalid configuration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("coordinator configuration: {field}: {reason}")]
pub struct ConfigError {
    /// The invalid field.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

/// A checked configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checked {
    pub(crate) consensus: ConsensusConfig,
    pub(crate) leader: LeaderConfig,
}

/// The part of the configuration for the leader actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeaderConfig {
    pub(crate) lease: Duration,
    pub(crate) control: ControlConfig,
    pub(crate) ended_jobs_max: usize,
    /// Whether to mark the place for checkpoints.
    pub(crate) marks: bool,
}

impl CoordinatorConfig {
    /// Checks the place for checkpoints.
    pub(crate) fn check_checkpoints(&self) -> Result<String, ConfigError> {
        if self.checkpoints.is_empty() {
            let reason = "it must be given: a URL that coordinators and nodes reach".to_owned();
            return Err(ConfigError { field: "checkpoints", reason });
        }
        Ok(self.checkpoints.clone())
    }

    /// Checks the rest, except for what the consensus crate checks.
    pub(crate) fn check(self) -> Result<Checked, ConfigError> {
        let refuse = |field, reason: &str| Err(ConfigError { field, reason: reason.to_owned() });
        if self.address.is_empty() {
            return refuse("address", "it must be given, as host:port");
        }
        if self.lease_ms < LEASE_MS_MIN {
            return refuse("lease_ms", "at least 100 are needed");
        }
        if self.join && !self.members.is_empty() {
            return refuse("members", "a coordinator that joins learns the members from the leader");
        }
        let voter = |member: MemberConfig| Member { member: member.member, address: member.address, voter: true };
        let mut bootstrap: Vec<Member> = self.members.into_iter().map(voter).collect();
        // A member with another number is not alone: it was started without the list of the others.
        if bootstrap.is_empty() && !self.join && self.member == MemberId(1) {
            bootstrap.push(Member { member: self.member, address: self.address.clone(), voter: true });
        }
        let consensus = ConsensusConfig {
            member: self.member,
            address: self.address,
            cluster: self.cluster,
            bootstrap,
            join: self.join,
            overrides_silence: self.bootstrap,
            tick: Duration::from_millis(self.raft_tick_ms),
            election_ticks: self.election_ticks,
            heartbeat_ticks: self.heartbeat_ticks,
            snapshot_every_entries: self.snapshot_every_entries,
        };
        let control = ControlConfig {
            slot_wait: Duration::from_millis(self.slot_wait_ms),
            deploy_timeout: Duration::from_millis(self.deploy_timeout_ms),
            checkpoint_interval: Duration::from_millis(self.checkpoint_interval_ms),
            ..ControlConfig::default()
        };
        let lease = Duration::from_millis(self.lease_ms);
        let leader =
            LeaderConfig { lease, control, ended_jobs_max: self.ended_jobs_max, marks: self.marks_checkpoints };
        Ok(Checked { consensus, leader })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_coordinator_is_its_own_first_member() {
        let config = CoordinatorConfig { address: "a:1".to_owned(), ..CoordinatorConfig::default() };
        let checked = config.check().unwrap();
        assert_eq!(checked.consensus, ConsensusConfig::single(MemberId(1), "a:1"));
        assert_eq!(checked.leader.lease, Duration::from_secs(3));
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_field() {
        let valid = || CoordinatorConfig { address: "a:1".to_owned(), ..CoordinatorConfig::default() };
        let field = |config: CoordinatorConfig| config.check().unwrap_err().field;
        assert_eq!(field(CoordinatorConfig::default()), "address");
        assert_eq!(valid().check_checkpoints().unwrap_err().field, "checkpoints");
        assert_eq!(field(CoordinatorConfig { lease_ms: 10, ..valid() }), "lease_ms");
        let members = vec![MemberConfig { member: MemberId(1), address: "a:1".to_owned() }];
        assert_eq!(field(CoordinatorConfig { join: true, members, ..valid() }), "members");
    }
}
