//! The handle of a member: what callers can ask of the replicated log.
//!
//! Requests go to the driver's task through one bounded queue. The outcome comes back once the command is applied on
//! this member, so a proposer sees its own effect in `peek`. Callers read the state machine directly: they share the
//! state as of the start of their read, and a command that is applied meanwhile changes a clone.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use parking_lot::RwLock;
use thalweg_types::{ClusterId, MemberId, Term};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    Replicated,
    config::{ConfigError, Member, check_address},
    heard::Heard,
    measures::{Measures, Meter},
    membership::{Admission, Applicant, Change, Seat},
};

/// The most bytes of one command. A peer's reassembly buffer must have room for many of this size.
pub const COMMAND_BYTES_MAX: usize = 16 << 20;

/// Who leads, as far as this member knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Leadership {
    /// The current term.
    pub term: Term,
    /// The leader, if one is known.
    pub leader: Option<MemberId>,
    /// Where the leader's Raft service listens, if it is known.
    pub leader_address: Option<String>,
    /// Whether this member leads and has applied everything committed before its term. Only then may it decide from its
    /// state.
    pub is_self: bool,
}

/// Why a call gave no outcome.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConsensusError {
    /// Only the leader takes this call. Nothing was done.
    #[error("this member does not lead the group")]
    NotLeader {
        /// The leader and the address of its Raft service, if known.
        leader: Option<(MemberId, String)>,
    },
    /// Leadership was lost before the command was known to be committed. It may or may not take effect.
    #[error("leadership was lost before the command was known to be committed; it may still take effect")]
    Dropped,
    /// Too many calls are in progress, or leadership is being handed over. Nothing was done.
    #[error("the group takes no more commands for the moment")]
    Busy,
    /// The command is too large. Nothing was done.
    #[error("the command has {bytes} bytes; at most {COMMAND_BYTES_MAX} are taken")]
    TooLarge {
        /// The command's size.
        bytes: usize,
    },
    /// The leader did not confirm a read in time.
    #[error("the leader did not confirm the read in time")]
    Unconfirmed,
    /// The last voter cannot be removed: without voters the group decides nothing.
    #[error("{0} is the last voter")]
    LastVoter(MemberId),
    /// The number was removed. A number stands for one store and is never used again.
    #[error("{0} was removed: give the new member a number that was never used")]
    Retired(MemberId),
    /// No member has or had this number.
    #[error("there is no member {number}", number = .0.0)]
    UnknownMember(MemberId),
    /// The member to add is not acceptable.
    #[error("the member can not be added")]
    Member(#[from] ConfigError),
    /// The group refused the change of its members.
    #[error("the change of members was refused: {0}")]
    ChangeRefused(String),
    /// This member has stopped. A command in progress may still take effect.
    #[error("this member of the group has stopped")]
    Stopped,
}

/// How a member ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsensusExit {
    /// It was asked to stop, or its last handle was dropped.
    Stopped,
    /// It could not go on, for example because its disk is full. The process should end.
    Failed(String),
}

pub(crate) type Reply<T> = oneshot::Sender<Result<T, ConsensusError>>;

/// Everything that the driver can be asked.
pub(crate) enum DriverRequest<O> {
    Propose { command: Vec<u8>, reply: Reply<O> },
    Read { reply: Reply<()> },
    Change { change: Change, reply: Reply<()> },
    Admit { applicant: Applicant, reply: Reply<Admission> },
    Stand { reply: Reply<Standing> },
    Beat { reply: Reply<()> },
    Stop,
}

/// Where a member stands, for members without a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Whether the group was founded, and nothing was promised since: term 1, no vote, last index 1.
    pub(crate) is_founding: bool,
    /// The members, and where they listen.
    pub(crate) seats: BTreeMap<MemberId, String>,
}

/// What the driver publishes to handles.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) heard: Heard,
    pub(crate) meter: Meter,
    pub(crate) leadership: watch::Sender<Leadership>,
    pub(crate) applied: watch::Sender<u64>,
    pub(crate) members: watch::Sender<Vec<Member>>,
    pub(crate) exit: watch::Sender<Option<ConsensusExit>>,
}

/// A handle of a member of the group. The member stops when its last handle is dropped.
pub struct Consensus<R: Replicated> {
    shared: Arc<Shared<R>>,
}

struct Shared<R: Replicated> {
    member: MemberId,
    cluster: ClusterId,
    requests: mpsc::Sender<DriverRequest<R::Outcome>>,
    machine: Arc<RwLock<Arc<R>>>,
    heard: Heard,
    meter: Meter,
    leadership: watch::Receiver<Leadership>,
    applied: watch::Receiver<u64>,
    members: watch::Receiver<Vec<Member>>,
    exit: watch::Receiver<Option<ConsensusExit>>,
}

impl<R: Replicated> Clone for Consensus<R> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<R: Replicated> fmt::Debug for Consensus<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Consensus({} of {})", self.shared.member, self.shared.cluster)
    }
}

impl<R: Replicated> Consensus<R> {
    pub(crate) fn new(
        (member, cluster): (MemberId, ClusterId),
        requests: mpsc::Sender<DriverRequest<R::Outcome>>,
        machine: Arc<RwLock<Arc<R>>>,
        published: &Published,
    ) -> Self {
        let shared = Shared {
            member,
            cluster,
            requests,
            machine,
            heard: published.heard.clone(),
            meter: published.meter.clone(),
            leadership: published.leadership.subscribe(),
            applied: published.applied.subscribe(),
            members: published.members.subscribe(),
            exit: published.exit.subscribe(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// This member's id.
    #[must_use]
    pub fn member(&self) -> MemberId {
        self.shared.member
    }

    /// The cluster's id, as the store has it.
    #[must_use]
    pub fn cluster(&self) -> &ClusterId {
        &self.shared.cluster
    }

    /// Has a command committed. Returns the outcome of applying it on this member.
    ///
    /// # Errors
    /// After `Dropped` and `Stopped` the command may still take effect. After all other errors it does not.
    pub async fn propose(&self, command: Vec<u8>) -> Result<R::Outcome, ConsensusError> {
        if command.len() > COMMAND_BYTES_MAX {
            return Err(ConsensusError::TooLarge { bytes: command.len() });
        }
        self.ask(|reply| DriverRequest::Propose { command, reply }).await
    }

    /// Reads the state, linearizably: it holds everything committed before the call. Works on any member that knows a
    /// leader. The closure runs on the caller's task.
    ///
    /// # Errors
    /// There is no leader, it did not confirm the read in time, too many reads are in progress, or this member has
    /// stopped.
    pub async fn read<T: Send + 'static>(&self, f: impl FnOnce(&R) -> T + Send + 'static) -> Result<T, ConsensusError> {
        self.ask(|reply| DriverRequest::Read { reply }).await?;
        Ok(self.peek(f))
    }

    /// Reads the state of this member, which may be stale. A slow closure does not block changes of the state.
    pub fn peek<T>(&self, f: impl FnOnce(&R) -> T) -> T {
        let machine = self.shared.machine.read().clone();
        f(&machine)
    }

    /// Follows who leads.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.shared.leadership.clone()
    }

    /// Follows the index of the last entry applied on this member. Wakes tasks that act on the state.
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.shared.applied.clone()
    }

    /// The members as of the last applied entry.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        self.shared.members.borrow().clone()
    }

    /// Follows the members.
    #[must_use]
    pub fn members_watch(&self) -> watch::Receiver<Vec<Member>> {
        self.shared.members.clone()
    }

    /// Adds a member as a learner, or changes the address of a member. With `voter`, it becomes a voter once it has
    /// caught up. Returns once it is a member. Succeeds if there is nothing to change.
    ///
    /// # Errors
    /// Those of `propose`. Also if the member is not acceptable, or its number was removed.
    pub async fn add_member(&self, member: Member) -> Result<(), ConsensusError> {
        if member.member.0 == 0 {
            return Err(ConfigError::MemberZero.into());
        }
        check_address(member.member, &member.address)?;
        self.change(Change::Add(member.member, Seat::of(&member))).await
    }

    pub(crate) async fn change(&self, change: Change) -> Result<(), ConsensusError> {
        self.ask(|reply| DriverRequest::Change { change, reply }).await
    }

    /// The next step for a process with an empty store. Only the leader knows it.
    pub(crate) async fn admission(&self, applicant: Applicant) -> Result<Admission, ConsensusError> {
        self.ask(|reply| DriverRequest::Admit { applicant, reply }).await
    }

    pub(crate) async fn standing(&self) -> Result<Standing, ConsensusError> {
        self.ask(|reply| DriverRequest::Stand { reply }).await
    }

    /// How long ago each other member was last heard, for those heard since the start. A leader hears from all members,
    /// a follower from its leader.
    #[must_use]
    pub fn heard(&self) -> BTreeMap<MemberId, Duration> {
        self.shared.heard.ago()
    }

    /// What this member has measured.
    #[must_use]
    pub fn measures(&self) -> Measures {
        self.shared.meter.measures()
    }

    /// Removes a member. Succeeds if it was removed before. A leader asked to remove itself hands over its leadership
    /// and returns `NotLeader`: ask its successor.
    ///
    /// # Errors
    /// Those of `propose`. Also for the last voter, and for a number that no member has or had.
    pub async fn remove_member(&self, member: MemberId) -> Result<(), ConsensusError> {
        self.ask(|reply| DriverRequest::Change { change: Change::Remove(member), reply }).await
    }

    /// Returns once this member's task has taken a turn, whether or not there is a leader. A member that does not
    /// return from this is stuck.
    ///
    /// # Errors
    /// This member has stopped.
    pub async fn beat(&self) -> Result<(), ConsensusError> {
        self.ask(|reply| DriverRequest::Beat { reply }).await
    }

    /// Stops this member, and returns once it has stopped. A leader first hands over its leadership, if another member
    /// can take it.
    pub async fn shutdown(&self) {
        // A driver that no longer takes requests has stopped, or is about to.
        let _ = self.shared.requests.send(DriverRequest::Stop).await;
        self.exited().await;
    }

    /// Waits until this member has stopped, and returns how.
    pub async fn exited(&self) -> ConsensusExit {
        let mut exit = self.shared.exit.clone();
        match exit.wait_for(Option::is_some).await {
            Ok(ended) => ended.clone().expect("waited until there is one"),
            Err(_) => ConsensusExit::Failed("the consensus task ended abnormally".to_owned()),
        }
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> DriverRequest<R::Outcome>) -> Result<T, ConsensusError> {
        let (reply, outcome) = oneshot::channel();
        self.shared.requests.send(request(reply)).await.map_err(|_| ConsensusError::Stopped)?;
        outcome.await.unwrap_or(Err(ConsensusError::Stopped))
    }
}
