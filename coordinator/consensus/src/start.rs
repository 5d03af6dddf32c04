//! The start of a member: its store decides what it is.
//!
//! ```text
//!   empty store, first members --> the group's first snapshot, the same on each of them, at index 1 of term 1
//!   empty store, join          --> an identity and nothing else: a learner waits for the leader's snapshot
//!   any other store            --> what it holds, if it is this member's and this cluster's
//! ```
//!
//! A group begins with a snapshot, so that a member that joins later gets the first members by one too: no log
//! begins at nothing.

use std::sync::Arc;

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
use tracing::warn;

use crate::{
    Replicated,
    config::{ConfigError, ConsensusConfig, Member},
    consensus::{Consensus, Leadership, Published},
    driver::{Calls, Driver, Inputs, Stopping},
    election::ElectionTimer,
    log::{Log, encode_message},
    logger,
    membership::Roster,
    message_codec::{Incoming, Post},
    peers::{PeerContext, Peers, Report},
    ready::new_snapshot,
    record_codec::{RecordError, decode_snapshot, encode_snapshot},
    service::{RaftServer, RaftService},
    store::{HardState, Identity, LogPosition, LogStore, LogWrite, StoreError, Stored},
};

/// Where every group begins.
const FIRST: LogPosition = LogPosition { index: 1, term: 1 };
/// Calls that wait for the driver to look; each waits for its outcome anyway.
const COMMANDS: usize = 256;
/// Messages that wait for the driver, of all members together: one fsync's worth.
const MESSAGES: usize = 256;
/// Reports of peers' tasks, which may wait.
const REPORTS: usize = 64;
/// One append carries at most this much, but for a single larger entry.
const APPEND_BYTES_MAX: u64 = 1 << 20;
/// Proposals beyond this much uncommitted data are refused: followers that are cut off must not fill memory.
const UNCOMMITTED_BYTES_MAX: u64 = 64 << 20;

/// Why a member did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Its configuration makes no sense.
    #[error("the configuration of the group's member is wrong")]
    Config(#[from] ConfigError),
    /// Its store failed.
    #[error("could not read or write the member's log")]
    Store(#[from] StoreError),
    /// The store is another member's.
    #[error("the log belongs to {stored}, and this is {given}: each member needs a data directory of its own")]
    OtherMember {
        /// Whose it is.
        stored: MemberId,
        /// Who was to use it.
        given: MemberId,
    },
    /// The store is another cluster's.
    #[error("the log belongs to cluster {stored}, and this member was told to be in {given}")]
    OtherCluster {
        /// Whose it is.
        stored: ClusterId,
        /// What was configured.
        given: ClusterId,
    },
    /// The snapshot in the store is of no use.
    #[error("the snapshot in the log can't be read: {0}")]
    Snapshot(String),
    /// Raft refused what the store holds.
    #[error("raft refused the log")]
    Raft(#[from] raft::Error),
}

impl From<RecordError> for StartError {
    fn from(error: RecordError) -> Self {
        Self::Snapshot(error.to_string())
    }
}

/// Starts a member: gives its handle, and the service to mount into its gRPC server.
///
/// # Errors
/// When the configuration, the store and the state machine do not go together. Nothing runs then.
pub async fn start<R: Replicated>(
    config: ConsensusConfig,
    mut machine: R,
    store: Arc<dyn LogStore>,
    network: Arc<dyn Network>,
    seams: Seams,
) -> Result<(Consensus<R>, RaftServer), StartError> {
    config.check()?;
    let stored = prepare(&config, &machine, store.as_ref(), &seams).await?;
    let cluster = stored.identity.clone().expect("preparing binds the store").cluster;
    let log = Log::from_stored(&stored)?;
    drop(stored);
    let roster = restore(&mut machine, &log)?;
    warn_of_other_address(&config, &roster);
    let applied = applied_of(&log);
    let node = RawNode::new(&raft_config(&config, applied), log, &logger::forwarding())?;

    let (commands, command_inbox) = mpsc::channel(COMMANDS);
    let (messages, message_inbox) = mpsc::channel::<Incoming>(MESSAGES);
    let (reports, report_inbox) = mpsc::channel::<Report>(REPORTS);
    let post = Post { member: config.member, cluster: cluster.clone(), address: config.address.clone() };
    let mut peers = Peers::new(PeerContext { post: post.clone(), network, io: seams.io.clone(), reports });
    peers.update(&roster);
    let voters = node.raft.prs().conf().to_conf_state();
    let published = publish(applied, roster.members(voters.get_voters()));
    let machine = Arc::new(RwLock::new(machine));
    let handle = Consensus::new((config.member, cluster), commands, machine.clone(), &published);
    let driver = Driver {
        life: seams.entropy.next(),
        timer: ElectionTimer::new(seams.entropy.clone(), config.election_ticks),
        config,
        node,
        machine,
        store,
        roster,
        applied,
        is_snapshot_wanted: false,
        peers,
        published,
        calls: Calls::new(),
        stopping: Stopping::No,
    };
    let inputs = Inputs { commands: command_inbox, messages: message_inbox, reports: report_inbox };
    // Its end, good or bad, shows in `Consensus::exited`.
    seams.io.spawn("raft-driver", Box::pin(driver.run(inputs)));
    Ok((handle, RaftService::mounted(post, messages)))
}

/// Loads the store; an empty one first becomes this member's.
async fn prepare<R: Replicated>(
    config: &ConsensusConfig,
    machine: &R,
    store: &dyn LogStore,
    seams: &Seams,
) -> Result<Stored, StartError> {
    let mut stored = store.load().await?;
    if let Some(identity) = &stored.identity {
        check_identity(config, identity)?;
        if bug::is_active(Bug::LoseRaftEntry) {
            stored.entries.pop();
        }
        return Ok(stored);
    }
    let write = if config.join { join(config)? } else { found(config, machine, seams)? };
    store.write(write.clone()).await?;
    stored.apply(write);
    Ok(stored)
}

fn check_identity(config: &ConsensusConfig, identity: &Identity) -> Result<(), StartError> {
    if identity.member != config.member {
        return Err(StartError::OtherMember { stored: identity.member, given: config.member });
    }
    match &config.cluster {
        Some(given) if *given != identity.cluster => {
            Err(StartError::OtherCluster { stored: identity.cluster.clone(), given: given.clone() })
        }
        _ => Ok(()),
    }
}

fn join(config: &ConsensusConfig) -> Result<LogWrite, StartError> {
    let cluster = config.cluster.clone().ok_or(ConfigError::NoCluster)?;
    Ok(LogWrite { identity: Some(Identity { member: config.member, cluster }), ..LogWrite::default() })
}

/// The beginning of a group. The same members given the same list write the same.
fn found<R: Replicated>(config: &ConsensusConfig, machine: &R, seams: &Seams) -> Result<LogWrite, StartError> {
    let members = &config.bootstrap;
    if members.is_empty() {
        return Err(ConfigError::NothingToStart(config.member).into());
    }
    if !members.iter().any(|member| member.member == config.member) {
        return Err(ConfigError::NotAmongFirst(config.member).into());
    }
    let cluster = match &config.cluster {
        Some(cluster) => cluster.clone(),
        None if members.len() == 1 => ClusterId(format!("{:016x}", seams.entropy.next())),
        None => return Err(ConfigError::NoCluster.into()),
    };
    let ids = |is_voter: bool| {
        let mut ids: Vec<u64> = members.iter().filter(|m| m.voter == is_voter).map(|m| m.member.0).collect();
        ids.sort_unstable();
        ids
    };
    let configuration = ConfState::from((ids(true), ids(false)));
    let content = encode_snapshot(&Roster::from_members(members), &machine.snapshot());
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

/// The entries after the snapshot are applied anew.
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

fn publish(applied: LogPosition, members: Vec<Member>) -> Published {
    Published {
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
