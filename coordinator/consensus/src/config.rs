//! The configuration of a member, given at its start.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use thalweg_types::{ClusterId, MemberId, address::can_be_dialled};
use thiserror::Error;

/// The first members of a group, and where they listen.
pub(crate) type FirstMembers = BTreeMap<MemberId, String>;

/// A member of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The member's id.
    pub member: MemberId,
    /// Where its Raft service listens, as `host:port`.
    pub address: String,
    /// Whether it votes. For a member to add: whether it becomes a voter once it has caught up.
    pub voter: bool,
}

/// How a member runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsensusConfig {
    /// This member's id. Not zero, and never given to another store.
    pub member: MemberId,
    /// Where other members reach this member's Raft service, as `host:port`.
    pub address: String,
    /// The group's cluster. `None` if the store knows it already, or for a new group of one, which draws it.
    pub cluster: Option<ClusterId>,
    /// The first members including this one, the same list for all of them. Used only while the store is empty. A
    /// member that lost its store does not found a group again: it joins.
    pub bootstrap: Vec<Member>,
    /// With an empty store: start as a learner without a log, and wait until the leader adds it.
    pub join: bool,
    /// With an empty store: found the group although some of its first members do not answer. An operator sets it for
    /// one start.
    pub overrides_silence: bool,
    /// The unit of Raft's time.
    pub tick: Duration,
    /// A follower that hears nothing campaigns after this many ticks, or up to twice as many. The number is drawn anew
    /// each time.
    pub election_ticks: usize,
    /// A leader sends heartbeats every this many ticks.
    pub heartbeat_ticks: usize,
    /// A snapshot is taken after this many applied entries. Then the log before it is dropped, but for half as many
    /// entries: followers that are slightly behind do not need the snapshot.
    pub snapshot_every_entries: u64,
}

impl Default for ConsensusConfig {
    fn default() -> Self {
        Self {
            member: MemberId(1),
            address: String::new(),
            cluster: None,
            bootstrap: Vec::new(),
            join: false,
            overrides_silence: false,
            tick: Duration::from_millis(50),
            election_ticks: 10,
            heartbeat_ticks: 2,
            snapshot_every_entries: 1000,
        }
    }
}

impl ConsensusConfig {
    /// The configuration of a group of one, for its first start and all later ones.
    #[must_use]
    pub fn single(member: MemberId, address: impl Into<String>) -> Self {
        let address = address.into();
        let bootstrap = vec![Member { member, address: address.clone(), voter: true }];
        Self { member, address, bootstrap, ..Self::default() }
    }

    /// Checks everything that can be checked without the store.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.member.0 == 0 {
            return Err(ConfigError::MemberZero);
        }
        check_address(self.member, &self.address)?;
        if self.tick.is_zero() || self.heartbeat_ticks == 0 || self.election_ticks <= self.heartbeat_ticks {
            return Err(ConfigError::Ticks);
        }
        if self.snapshot_every_entries == 0 {
            return Err(ConfigError::SnapshotEvery);
        }
        self.check_bootstrap()
    }

    fn check_bootstrap(&self) -> Result<(), ConfigError> {
        let mut seen = BTreeSet::new();
        for member in &self.bootstrap {
            if member.member.0 == 0 {
                return Err(ConfigError::MemberZero);
            }
            check_address(member.member, &member.address)?;
            if !seen.insert(member.member) {
                return Err(ConfigError::Twice(member.member));
            }
        }
        if !self.bootstrap.is_empty() && !self.bootstrap.iter().any(|member| member.voter) {
            return Err(ConfigError::NoVoter);
        }
        Ok(())
    }
}

/// Checks that an address can be dialled: `host:port`.
pub(crate) fn check_address(member: MemberId, address: &str) -> Result<(), ConfigError> {
    if can_be_dialled(address) { Ok(()) } else { Err(ConfigError::Address { member, address: address.to_owned() }) }
}

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// Raft uses zero for "nobody".
    #[error("a member's id must not be zero")]
    MemberZero,
    /// The address cannot be dialled.
    #[error("the address of {member} is not host:port: {address:?}")]
    Address {
        /// The member with that address.
        member: MemberId,
        /// The address as it was given.
        address: String,
    },
    /// The tick counts do not fit together.
    #[error(
        "the tick must not be zero, and the election ticks must be more than the heartbeat ticks, which must be at least 1"
    )]
    Ticks,
    /// With zero, no snapshot could be taken.
    #[error("the entries between two snapshots must be at least 1")]
    SnapshotEvery,
    /// A member is listed twice.
    #[error("{0} stands twice among the first members")]
    Twice(MemberId),
    /// Without a voter, nobody could lead.
    #[error("none of the first members votes")]
    NoVoter,
    /// The first members do not include this one.
    #[error("{0} is not among the first members that it was given")]
    NotAmongFirst(MemberId),
    /// The store is empty, and the configuration says neither to found nor to join.
    #[error(
        "the store of {0} is empty, and it was told of no other members: give it the first members of its group (--members), or \
         have it join one (--join); a member on its own has the number 1"
    )]
    NothingToStart(MemberId),
    /// Without a given id, the members of a new group would draw different ones.
    #[error("a new group of several members, and a member that joins one, must be given the cluster's id")]
    NoCluster,
}
