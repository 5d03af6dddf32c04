//! Starts a member from what its store holds.
//!
//! ```text
//!   empty store, first members --> the group's first snapshot, the same on each of them, at index 1 of term 1
//!   empty store, join          --> an identity and nothing else: a learner waits for the leader's snapshot
//!   any other store            --> what it holds, if it is this cluster's, under the number that it holds
//! ```
//!
//! Whether an empty store may found a group is decided by `founding`. A group begins with a snapshot, so that a member
//! that joins later gets the first members by a snapshot too: no log begins empty.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::RwLock;
use raft::{Config, RawNode, ReadOnlyOption, eraftpb::ConfState};
use thalweg_proto::network::Network;
use thalweg_types::{
    ClusterId, MemberId,
    bug::{self, Bug},
    seam::Seams,
};
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::{
    Replicated, Unreadable,
    config::{ConfigError, ConsensusConfig, FirstMembers, Member},
    consensus::{Consensus, Leadership, Published},
    driver::{Calls, Driver, Inputs, Stopping},
    election::ElectionTimer,
    heard::Heard,
    log::{Log, encode_message, new_snapshot},
    logger,
    measures::Meter,
    membership::Roster,
    message_codec::{Incoming, Post},
    peers::{PeerContext, Peers, Report},
    record_codec::{RecordError, decode_snapshot, encode_snapshot},
    refusal::Refusal,
    service::{RaftServer, RaftService},
    store::{HardState, Identity, LogPosition, LogStore, LogWrite, StoreError, Stored},
};

/// Where every group begins.
pub(crate) const FIRST: LogPosition = LogPosition { index: 1, term: 1 };
/// The most calls that wait until the driver reads them. Each caller waits for its outcome anyway.
const REQUESTS: usize = 256;
/// The most messages of all members together that wait for the driver: as many as one fsync serves.
const MESSAGES: usize = 256;
/// The most reports of peers' tasks that wait for the driver. The tasks may wait.
const REPORTS: usize = 64;
/// The most bytes that one append carries, unless a single entry is larger.
const APPEND_BYTES_MAX: u64 = 1 << 20;
/// Proposals are refused beyond this much uncommitted data: followers that are cut off must not fill the leader's
/// memory.
const UNCOMMITTED_BYTES_MAX: u64 = 64 << 20;

/// Why a member did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Its configuration is invalid.
    #[error("the configuration of the group's member is wrong")]
    Config(#[from] ConfigError),
    /// Its store failed.
    #[error("could not read or write the member's log")]
    Store(#[from] StoreError),
    /// The store belongs to another member.
    #[error(
        "the log belongs to {stored}, which the group knows at {known}, and this is {given} at {address}: each member needs a \
         data directory of its own. To move {stored} here, start it under its own number (--member)"
    )]
    OtherMember {
        /// The member that the store belongs to.
        stored: MemberId,
        /// Where the group knows that member to listen.
        known: String,
        /// The member that was to use it.
        given: MemberId,
        /// Where that one listens.
        address: String,
    },
    /// The other members are configured differently.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There are traces of a group that was founded before.
    #[error("a group was founded here before, and nothing of it may be overwritten: {0}")]
    Precedent(String),
    /// The store belongs to another cluster.
    #[error("the log belongs to cluster {stored}, and this member was told to be in {given}")]
    OtherCluster {
        /// The cluster that the store belongs to.
        stored: ClusterId,
        /// The configured cluster.
        given: ClusterId,
    },
    /// The snapshot in the store cannot be used.
    #[error("the snapshot in the log can't be read")]
    Snapshot(#[source] Unreadable),
    /// Raft refused what the store holds.
    #[error("raft refused the log")]
    Raft(#[from] raft::Error),
}

impl From<RecordError> for StartError {
    fn from(error: RecordError) -> Self {
        Self::Snapshot(error.into())
    }
}

/// Starts a member. Returns its handle, and the service to mount into its gRPC server. A member with an empty store
/// founds the group with its first members without asking whether it may: `Opening` asks.
///
/// # Errors
/// The configuration, the store and the state machine do not fit together. Nothing runs then.
pub async fn start<R: Replicated>(
    mut config: ConsensusConfig,
    machine: R,
    store: Arc<dyn LogStore>,
    network: Arc<dyn Network>,
    seams: Seams,
) -> Result<(Consensus<R>, RaftServer), StartError> {
    config.check()?;
    let mut stored = store.load().await?;
    take_identity(&mut config, &stored)?;
    if stored.identity.is_none() {
        let write = if config.join { join(&config)? } else { found(&config, &machine.snapshot(), &seams)? };
        store.write(write.clone()).await?;
        stored.apply(write);
    }
    run(config, machine, (store, stored), network, seams)
}

/// Starts a member with what its store holds.
pub(crate) fn run<R: Replicated>(
    config: ConsensusConfig,
    mut machine: R,
    (store, mut stored): (Arc<dyn LogStore>, Stored),
    network: Arc<dyn Network>,
    seams: Seams,
) -> Result<(Consensus<R>, RaftServer), StartError> {
    if bug::is_active(Bug::LoseRaftEntry) {
        stored.entries.pop();
    }
    let cluster = stored.identity.clone().ok_or(ConfigError::NothingToStart(config.member))?.cluster;
    let log = Log::from_stored(&stored)?;
    drop(stored);
    let roster = restore(&mut machine, &log)?;
    warn_of_other_address(&config, &roster);
    let applied = applied_of(&log);
    let node = RawNode::new(&raft_config(&config, applied), log, &logger::forwarding())?;

    let (requests, request_inbox) = mpsc::channel(REQUESTS);
    let (messages, message_inbox) = mpsc::channel::<Incoming>(MESSAGES);
    let (reports, report_inbox) = mpsc::channel::<Report>(REPORTS);
    let post = Post { member: config.member, cluster: cluster.clone(), address: config.address.clone() };
    let mut peers = Peers::new(PeerContext { post: post.clone(), network, io: seams.io.clone(), reports });
    peers.update(&roster);
    let voters = node.raft.prs().conf().to_conf_state();
    let published = publish(applied, roster.members(voters.get_voters()), &seams);
    let machine = Arc::new(RwLock::new(Arc::new(machine)));
    let handle = Consensus::new((config.member, cluster), requests, machine.clone(), &published);
    let driver = Driver {
        incarnation: seams.entropy.next(),
        timer: ElectionTimer::new(seams.entropy.clone(), config.election_ticks),
        config,
        node,
        machine,
        store,
        compute: seams.compute.clone(),
        roster,
        applied,
        unapplied: VecDeque::new(),
        decoding: None,
        is_snapshot_wanted: false,
        encoding: None,
        restoring: None,
        restored: None,
        peers,
        published,
        calls: Calls::new(),
        stopping: Stopping::No,
    };
    let inputs = Inputs { requests: request_inbox, messages: message_inbox, reports: report_inbox };
    // Its exit is published to `Consensus::exited`.
    seams.io.spawn("raft-driver", Box::pin(driver.run(inputs)));
    Ok((handle, RaftService::mounted(post, messages)))
}

/// Checks whose store it is. The store's number replaces the configured one, because a member that was admitted under a
/// new number is still started with its old configuration. If the address differs too, it is another member's
/// directory, which is an error.
pub(crate) fn take_identity(config: &mut ConsensusConfig, stored: &Stored) -> Result<(), StartError> {
    let Some(identity) = &stored.identity else { return Ok(()) };
    if let Some(given) = config.cluster.as_ref().filter(|given| **given != identity.cluster) {
        return Err(StartError::OtherCluster { stored: identity.cluster.clone(), given: given.clone() });
    }
    if identity.member == config.member {
        return Ok(());
    }
    let known = roster_of(stored)?.and_then(|roster| roster.address(identity.member).map(str::to_owned));
    if let Some(known) = known.filter(|known| *known != config.address) {
        let (given, address) = (config.member, config.address.clone());
        return Err(StartError::OtherMember { stored: identity.member, known, given, address });
    }
    info!(stored = %identity.member, given = %config.member, "the number in the log counts, not the one that was given");
    config.member = identity.member;
    Ok(())
}

/// The members as of the last snapshot.
fn roster_of(stored: &Stored) -> Result<Option<Roster>, StartError> {
    if stored.snapshot.is_none() {
        return Ok(None);
    }
    let log = Log::from_stored(stored)?;
    Ok(Some(decode_snapshot(&log.latest_snapshot().data)?.0))
}

/// The first members, if the store holds the founding of a group and no more.
pub(crate) fn founded(stored: &Stored) -> Result<Option<FirstMembers>, StartError> {
    let state = HardState { term: FIRST.term, vote: 0, commit: FIRST.index };
    if stored.identity.is_none()
        || stored.hard_state != state
        || stored.compacted != FIRST
        || !stored.entries.is_empty()
    {
        return Ok(None);
    }
    let seats = |roster: Roster| roster.seats.into_iter().map(|(member, seat)| (member, seat.address)).collect();
    Ok(roster_of(stored)?.map(seats))
}

/// An identity and nothing else.
pub(crate) fn join(config: &ConsensusConfig) -> Result<LogWrite, StartError> {
    let cluster = config.cluster.clone().ok_or(ConfigError::NoCluster)?;
    Ok(LogWrite { identity: Some(Identity { member: config.member, cluster }), ..LogWrite::default() })
}

/// Checks that this member can be one of the first.
pub(crate) fn check_first(config: &ConsensusConfig) -> Result<(), ConfigError> {
    let members = &config.bootstrap;
    if members.is_empty() {
        return Err(ConfigError::NothingToStart(config.member));
    }
    if !members.iter().any(|member| member.member == config.member) {
        return Err(ConfigError::NotAmongFirst(config.member));
    }
    if config.cluster.is_none() && members.len() > 1 {
        return Err(ConfigError::NoCluster);
    }
    Ok(())
}

/// The founding of a group, in one write. First members with the same list write the same bytes, but for their
/// identity.
pub(crate) fn found(config: &ConsensusConfig, first_state: &[u8], seams: &Seams) -> Result<LogWrite, StartError> {
    check_first(config)?;
    let members = &config.bootstrap;
    let drawn = || ClusterId(format!("{:016x}", seams.entropy.next()));
    let cluster = config.cluster.clone().unwrap_or_else(drawn);
    let ids = |is_voter: bool| {
        let mut ids: Vec<u64> = members.iter().filter(|m| m.voter == is_voter).map(|m| m.member.0).collect();
        ids.sort_unstable();
        ids
    };
    let configuration = ConfState::from((ids(true), ids(false)));
    let content = encode_snapshot(&Roster::from_members(members), first_state);
    Ok(LogWrite {
        identity: Some(Identity { member: config.member, cluster }),
        hard_state: Some(HardState { term: FIRST.term, vote: 0, commit: FIRST.index }),
        snapshot: Some(encode_message(&new_snapshot(FIRST, configuration, content))),
        compacted: Some(FIRST),
        ..LogWrite::default()
    })
}

fn restore<R: Replicated>(machine: &mut R, log: &Log) -> Result<Roster, StartError> {
    if log.snapshot_index() == 0 {
        return Ok(Roster::default());
    }
    let (roster, state) = decode_snapshot(&log.latest_snapshot().data)?;
    machine.restore(&state).map_err(StartError::Snapshot)?;
    Ok(roster)
}

/// The entries after the snapshot are applied again.
fn applied_of(log: &Log) -> LogPosition {
    let metadata = log.latest_snapshot().get_metadata();
    LogPosition { index: metadata.index, term: metadata.term }
}

fn warn_of_other_address(config: &ConsensusConfig, roster: &Roster) {
    if let Some(known) = roster.address(config.member)
        && known != config.address
    {
        warn!(
            member = %config.member, known, configured = config.address,
            "the group knows this member by another address: add it again with the new one"
        );
    }
}

fn publish(applied: LogPosition, members: Vec<Member>, seams: &Seams) -> Published {
    Published {
        heard: Heard::new(seams.clock.clone()),
        meter: Meter::new(seams.clock.clone()),
        leadership: watch::Sender::new(Leadership::default()),
        applied: watch::Sender::new(applied.index),
        members: watch::Sender::new(members),
        exit: watch::Sender::new(None),
    }
}

fn raft_config(config: &ConsensusConfig, applied: LogPosition) -> Config {
    Config {
        id: config.member.0,
        election_tick: config.election_ticks,
        heartbeat_tick: config.heartbeat_ticks,
        applied: applied.index,
        max_size_per_msg: APPEND_BYTES_MAX,
        max_inflight_msgs: 256,
        check_quorum: true,
        pre_vote: true,
        read_only_option: ReadOnlyOption::Safe,
        max_uncommitted_size: UNCOMMITTED_BYTES_MAX,
        ..Config::default()
    }
}
