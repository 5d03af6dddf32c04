//! The handle: what callers can ask of the replicated log.
//!
//! Commands go to the driver's task through one bounded queue. Outcomes come back when the command is applied on this
//! member, so a caller that proposed sees its own effect in `peek`. The state machine itself is read directly: readers share it
//! as it was when they began, and a command that is applied meanwhile goes to a clone.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use parking_lot::RwLock;
use thalweg_proto::network::Network;
use thalweg_types::{ClusterId, MemberId, Term};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    Replicated,
    config::{ConfigError, Member, check_address},
    founding::{Gatekeeper, GatekeeperServer},
    heard::Heard,
    membership::{Admission, Applicant, Change, Seat},
};

/// The most bytes of one command. It must fit into the reassembly buffer of a peer many times over.
pub const COMMAND_BYTES_MAX: usize = 16 << 20;

/// Who leads, as far as this member knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Leadership {
    /// The term.
    pub term: Term,
    /// The leader, where one is known.
    pub leader: Option<MemberId>,
    /// Where the leader's Raft service listens.
    pub leader_address: Option<String>,
    /// This member leads, and has applied all that was committed before its term: it may decide from its state.
    pub is_self: bool,
}

/// Why a call gave no outcome.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConsensusError {
    /// Only the leader takes it; nothing was done.
    #[error("this member does not lead the group")]
    NotLeader {
        /// The leader and the address of its Raft service, where known.
        leader: Option<(MemberId, String)>,
    },
    /// The leadership was lost on the way: the command may or may not take effect.
    #[error("leadership was lost before the command was known to be committed; it may still take effect")]
    Dropped,
    /// Too much is under way, or leadership is being handed over; nothing was done.
    #[error("the group takes no more commands for the moment")]
    Busy,
    /// The command is too large; nothing was done.
    #[error("the command has {bytes} bytes; at most {COMMAND_BYTES_MAX} are taken")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// A read that the leader did not confirm in time.
    #[error("the leader did not confirm the read in time")]
    Unconfirmed,
    /// A group without voters could decide nothing any more.
    #[error("{0} is the last voter")]
    LastVoter(MemberId),
    /// A number stands for one store, and is not used again.
    #[error("{0} was removed: give the new member a number that was never used")]
    Retired(MemberId),
    /// No member has or had that number.
    #[error("there is no member {number}", number = .0.0)]
    UnknownMember(MemberId),
    /// The member to add is not acceptable.
    #[error("the member can not be added")]
    Member(#[from] ConfigError),
    /// The group refused the change of its members.
    #[error("the change of members was refused: {0}")]
    ChangeRefused(String),
    /// This member has stopped. A command that was under way may still take effect.
    #[error("this member of the group has stopped")]
    Stopped,
}

/// How a member ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsensusExit {
    /// It was told to stop, or its last handle was dropped.
    Stopped,
    /// It could not go on, such as on a full disk: the process should end.
    Failed(String),
}

pub(crate) type Reply<T> = oneshot::Sender<Result<T, ConsensusError>>;

/// All that the driver can be asked.
pub(crate) enum Command<O> {
    Propose { command: Vec<u8>, reply: Reply<O> },
    Read { reply: Reply<()> },
    Change { change: Change, reply: Reply<()> },
    Admit { applicant: Applicant, reply: Reply<Admission> },
    Stand { reply: Reply<Standing> },
    Beat { reply: Reply<()> },
    Stop,
}

/// Where a member stands, for one that has no log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The group was founded, and nothing was promised since: term 1, no vote, last index 1.
    pub(crate) is_founding: bool,
    /// The members and where they listen.
    pub(crate) seats: BTreeMap<MemberId, String>,
}

/// What the driver tells the world.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) heard: Heard,
    pub(crate) leadership: watch::Sender<Leadership>,
    pub(crate) applied: watch::Sender<u64>,
    pub(crate) members: watch::Sender<Vec<Member>>,
    pub(crate) exit: watch::Sender<Option<ConsensusExit>>,
}

/// A handle of a member of the group. The member stops when the last one is dropped.
pub struct Consensus<R: Replicated> {
    shared: Arc<Shared<R>>,
}

struct Shared<R: Replicated> {
    member: MemberId,
    cluster: ClusterId,
    commands: mpsc::Sender<Command<R::Outcome>>,
    machine: Arc<RwLock<Arc<R>>>,
    heard: Heard,
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
        commands: mpsc::Sender<Command<R::Outcome>>,
        machine: Arc<RwLock<Arc<R>>>,
        published: &Published,
    ) -> Self {
        let shared = Shared {
            member,
            cluster,
            commands,
            machine,
            heard: published.heard.clone(),
            leadership: published.leadership.subscribe(),
            applied: published.applied.subscribe(),
            members: published.members.subscribe(),
            exit: published.exit.subscribe(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Which member this is.
    #[must_use]
    pub fn member(&self) -> MemberId {
        self.shared.member
    }

    /// The cluster's id, as the store has it.
    #[must_use]
    pub fn cluster(&self) -> &ClusterId {
        &self.shared.cluster
    }

    /// Has a command committed, and gives what applying it here gave.
    ///
    /// # Errors
    /// After `Dropped` and `Stopped` the command may still take effect; after all others it does not.
    pub async fn propose(&self, command: Vec<u8>) -> Result<R::Outcome, ConsensusError> {
        if command.len() > COMMAND_BYTES_MAX {
            return Err(ConsensusError::TooLarge { bytes: command.len() });
        }
        self.ask(|reply| Command::Propose { command, reply }).await
    }

    /// Reads the state, linearizably: it holds all that was committed before the call. Any member that knows a leader
    /// can be asked. The closure runs on the caller's task.
    ///
    /// # Errors
    /// When there is no leader or it does not confirm in time.
    pub async fn read<T: Send + 'static>(&self, f: impl FnOnce(&R) -> T + Send + 'static) -> Result<T, ConsensusError> {
        self.ask(|reply| Command::Read { reply }).await?;
        Ok(self.peek(f))
    }

    /// Reads the state as it is here, which may be old. It may take its time: it keeps nobody from changing the state.
    pub fn peek<T>(&self, f: impl FnOnce(&R) -> T) -> T {
        let machine = self.shared.machine.read().clone();
        f(&machine)
    }

    /// Follows who leads.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.shared.leadership.clone()
    }

    /// Follows the index of the last entry that was applied here: it wakes those who act on the state.
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

    /// Adds a member as a learner, or gives a present one another address. One with `voter` becomes a voter by itself
    /// once it has caught up. Resolves when it is a member; adding what is there already succeeds.
    ///
    /// # Errors
    /// Those of `propose`, and when the member is not acceptable, or one of its number was removed.
    pub async fn add_member(&self, member: Member) -> Result<(), ConsensusError> {
        if member.member.0 == 0 {
            return Err(ConfigError::MemberZero.into());
        }
        check_address(member.member, &member.address)?;
        self.change(Change::Add(member.member, Seat::of(&member))).await
    }

    pub(crate) async fn change(&self, change: Change) -> Result<(), ConsensusError> {
        self.ask(|reply| Command::Change { change, reply }).await
    }

    /// What comes next for a process with an empty store; only the leader can say.
    pub(crate) async fn admission(&self, applicant: Applicant) -> Result<Admission, ConsensusError> {
        self.ask(|reply| Command::Admit { applicant, reply }).await
    }

    pub(crate) async fn standing(&self) -> Result<Standing, ConsensusError> {
        self.ask(|reply| Command::Stand { reply }).await
    }

    /// The service that tells members without a log where this one stands, and admits them. `life` tells this process from
    /// any other.
    #[must_use]
    pub fn gatekeeper(&self, network: Arc<dyn Network>, life: u64) -> GatekeeperServer<R> {
        Gatekeeper::mounted(self.clone(), network, life)
    }

    /// How long ago each member was last heard, of those that were since the start; nothing of itself. A leader hears of all, a
    /// follower of its leader.
    #[must_use]
    pub fn heard(&self) -> BTreeMap<MemberId, Duration> {
        self.shared.heard.ago()
    }

    /// Removes a member; removing one that was removed before succeeds. A leader that is told to remove itself hands its
    /// leadership over and answers `NotLeader`: ask its successor.
    ///
    /// # Errors
    /// Those of `propose`, for the last voter, and for a number that no member has or had.
    pub async fn remove_member(&self, member: MemberId) -> Result<(), ConsensusError> {
        self.ask(|reply| Command::Change { change: Change::Remove(member), reply }).await
    }

    /// Resolves when this member's task takes its turn, whether or not there is a leader: a member that does not give its
    /// beat is stuck.
    ///
    /// # Errors
    /// When it has stopped.
    pub async fn beat(&self) -> Result<(), ConsensusError> {
        self.ask(|reply| Command::Beat { reply }).await
    }

    /// Stops this member. A leader first hands its leadership over, if someone can take it. Returns when it is over.
    pub async fn shutdown(&self) {
        // A driver that takes no commands any more has stopped or is about to.
        let _ = self.shared.commands.send(Command::Stop).await;
        self.exited().await;
    }

    /// Waits until this member has stopped, and says how.
    pub async fn exited(&self) -> ConsensusExit {
        let mut exit = self.shared.exit.clone();
        match exit.wait_for(Option::is_some).await {
            Ok(ended) => ended.clone().expect("waited until there is one"),
            Err(_) => ConsensusExit::Failed("the consensus task ended abnormally".to_owned()),
        }
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command<R::Outcome>) -> Result<T, ConsensusError> {
        let (reply, outcome) = oneshot::channel();
        self.shared.commands.send(command(reply)).await.map_err(|_| ConsensusError::Stopped)?;
        outcome.await.unwrap_or(Err(ConsensusError::Stopped))
    }
}
