//! From an opened store to a running member. What the store holds decides; if it is empty, what the other members
//! answer.
//!
//! ```text
//!   the founding and no more --> wait a little until the others have founded, too --> take part
//!   more                     --> take part
//!   nothing, join            --> bind the store to the number that was given      --> take part, as a learner to be added
//!   nothing, first members   --> ask all of them, again and again:
//!                                  found     --> write the founding, wait a little --> take part
//!                                  apply     --> a number of the leader's; bind the store to it --> take part, as a learner
//!                                  wait      --> say for whom, and ask again
//! ```
//!
//! Peeks are answered all the while through `service`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use thalweg_proto::network::Network;
use thalweg_types::{
    MemberId,
    bug::{self, Bug},
    seam::Seams,
};
use tokio::{sync::watch, time};
use tracing::{info, warn};

use super::{
    decide::{Decision, Holds, Sight, decide},
    rpc::{Lines, others},
    service::{Threshold, ThresholdServer},
};
use crate::{
    Consensus, Replicated,
    config::{ConfigError, ConsensusConfig, FirstMembers},
    service::RaftServer,
    start::{self, StartError},
    store::{Identity, LogStore, LogWrite, Stored},
};

/// The pause between two rounds of questions.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// How long a founder waits for the others to found.
const COURTESY: Duration = Duration::from_secs(5);
/// What a member waits for is logged when it changes, at most this often.
const SAY_EVERY: Duration = Duration::from_secs(5);
/// What a member waits for is logged again after this time.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// Looks for traces of a group that was founded before. Its members cannot know of it if all of them lost their stores.
#[async_trait]
pub trait Precedent: Send + Sync {
    /// Looks once.
    async fn look(&self) -> Traces;
}

/// The traces of a group that was founded before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Traces {
    /// There are none.
    Absent,
    /// There are some, described here.
    Found(String),
    /// It is not known now, for this reason. It is asked again.
    Unknown(String),
}

/// For groups that have no place for such traces: there is never one.
#[derive(Debug, Clone, Copy)]
pub struct NoPrecedent;

#[async_trait]
impl Precedent for NoPrecedent {
    async fn look(&self) -> Traces {
        Traces::Absent
    }
}

/// A member whose store is open and whose raft does not run yet.
pub struct Opening {
    config: ConsensusConfig,
    /// The snapshot of the empty state machine.
    first_state: Vec<u8>,
    store: Arc<dyn LogStore>,
    stored: Stored,
    network: Arc<dyn Network>,
    seams: Seams,
    lines: Lines,
    sight: watch::Sender<Sight>,
    waits_for: watch::Sender<Option<String>>,
    said: Option<(Duration, String)>,
}

impl std::fmt::Debug for Opening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opening({})", self.config.member)
    }
}

impl Opening {
    /// Reads the store.
    ///
    /// # Errors
    /// The configuration is invalid, or the store cannot be read or is not this member's.
    pub async fn open<R: Replicated>(
        mut config: ConsensusConfig,
        machine: &R,
        store: Arc<dyn LogStore>,
        network: Arc<dyn Network>,
        seams: Seams,
    ) -> Result<Self, StartError> {
        config.check()?;
        let stored = store.load().await?;
        start::take_identity(&mut config, &stored)?;
        let sight = Sight {
            incarnation: seams.entropy.next(),
            cluster: config.cluster.clone(),
            member: config.member,
            holds: Holds::Nothing,
            first: first_members(&config),
        };
        let opening = Self {
            first_state: machine.snapshot(),
            lines: Lines::new(network.clone()),
            sight: watch::Sender::new(sight),
            waits_for: watch::Sender::new(None),
            said: None,
            config,
            store,
            stored,
            network,
            seams,
        };
        opening.show()?;
        Ok(opening)
    }

    /// The service that answers peeks until the member runs.
    #[must_use]
    pub fn service(&self) -> ThresholdServer {
        Threshold::mounted(self.sight.subscribe())
    }

    /// A random number that identifies this process.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.sight.borrow().incarnation
    }

    /// What it waits for, shown to users. `None` while it waits for nothing.
    #[must_use]
    pub fn waits_for(&self) -> watch::Receiver<Option<String>> {
        self.waits_for.subscribe()
    }

    /// Returns once this member may run. Waits without limit, and says for what.
    ///
    /// # Errors
    /// The configuration contradicts the other members, a group was founded before, or the store fails.
    pub async fn settle(&mut self, precedent: &dyn Precedent) -> Result<(), StartError> {
        let is_new = self.stored.identity.is_none();
        if is_new && bug::is_active(Bug::FoundAnew) {
            self.write(start::found(&self.config, &self.first_state, &self.seams)?).await?;
        } else if is_new && self.config.join {
            self.write(start::join(&self.config)?).await?;
        } else if is_new {
            self.found_or_apply(precedent).await?;
        }
        if self.sight.borrow().holds == Holds::Founding {
            self.until_others_have_founded().await;
        }
        self.waits_for.send_replace(None);
        Ok(())
    }

    /// Runs the member.
    ///
    /// # Errors
    /// What the store holds cannot be used.
    pub async fn start<R: Replicated>(self, machine: R) -> Result<(Consensus<R>, RaftServer), StartError> {
        start::run(self.config, machine, (self.store, self.stored), self.network, self.seams)
    }

    async fn found_or_apply(&mut self, precedent: &dyn Precedent) -> Result<(), StartError> {
        start::check_first(&self.config)?;
        // The precedent is looked for before the round of answers that counts, so a group that begins meanwhile shows
        // in the answers.
        let mut looked: Option<Traces> = None;
        loop {
            let (own, answers) = self.ask().await;
            let decision = decide(&own, &answers, self.config.overrides_silence)?;
            let why = match (decision, looked.take()) {
                (Decision::Found, None) => {
                    looked = Some(precedent.look().await);
                    continue;
                }
                (Decision::Found, Some(Traces::Absent)) => {
                    info!(member = %self.config.member, "founding the group");
                    return self.write(start::found(&self.config, &self.first_state, &self.seams)?).await;
                }
                (Decision::Found, Some(Traces::Found(found))) => return Err(StartError::Precedent(found)),
                (Decision::Found, Some(Traces::Unknown(why))) => why,
                (Decision::Wait(silent), _) => self.waits_for_answers(&silent),
                (Decision::Apply(holders), _) => match self.apply(&holders).await {
                    Ok(member) => return self.bind(member).await,
                    Err(why) => why,
                },
            };
            self.say(why);
            time::sleep(ASK_EVERY).await;
        }
    }

    async fn ask(&mut self) -> (Sight, BTreeMap<MemberId, Option<Sight>>) {
        let own = self.sight.borrow().clone();
        let answers = self.lines.peek_at(others(&own.first, own.member)).await;
        (own, answers)
    }

    /// Asks the holders of a log, in turn, for a number.
    async fn apply(&mut self, holders: &BTreeSet<MemberId>) -> Result<MemberId, String> {
        let own = self.sight.borrow().clone();
        let cluster = own.cluster.ok_or_else(|| "this member was not told its cluster's name".to_owned())?;
        // The address by which the group knows this member.
        let address = own.first.get(&own.member).unwrap_or(&self.config.address).clone();
        let mut reasons = Vec::new();
        for holder in holders {
            let Some(at) = own.first.get(holder) else { continue };
            match self.lines.apply_to(at, (&cluster, &address, own.incarnation)).await {
                Ok(member) => return Ok(member),
                Err(why) => reasons.push(format!("{holder}: {why}")),
            }
        }
        let holders: Vec<String> = holders.iter().map(MemberId::to_string).collect();
        Err(format!(
            "its store is empty, and {} the group's log: waiting to be admitted under a new number ({})",
            if let [one] = &holders[..] { format!("{one} holds") } else { format!("{} hold", holders.join(", ")) },
            reasons.join("; ")
        ))
    }

    /// Binds the store to a number.
    async fn bind(&mut self, member: MemberId) -> Result<(), StartError> {
        let cluster = self.config.cluster.clone().ok_or(ConfigError::NoCluster)?;
        info!(was = %self.config.member, %member, "admitted to the group under a new number");
        self.config.member = member;
        self.write(LogWrite { identity: Some(Identity { member, cluster }), ..LogWrite::default() }).await
    }

    /// Waits a little for the other founders. Without this courtesy, a member that has not written yet would find the
    /// others leading, and get another number. The wait is bounded, because nothing depends on it.
    async fn until_others_have_founded(&mut self) {
        let until = self.seams.clock.monotonic() + COURTESY;
        while self.seams.clock.monotonic() < until {
            let (own, answers) = self.ask().await;
            let is_late = |answer: &Option<Sight>| match answer {
                Some(sight) => sight.holds == Holds::Nothing && sight.first == own.first,
                None => !self.config.overrides_silence,
            };
            let late: BTreeSet<MemberId> =
                answers.iter().filter(|(_, answer)| is_late(answer)).map(|(member, _)| *member).collect();
            if late.is_empty() {
                return;
            }
            self.say(format!("the group is founded: waiting a little for {}", self.listed(&late)));
            time::sleep(ASK_EVERY).await;
        }
    }

    async fn write(&mut self, write: LogWrite) -> Result<(), StartError> {
        self.store.write(write.clone()).await?;
        self.stored.apply(write);
        self.show()
    }

    /// Sets the answer to peeks from what the store holds.
    fn show(&self) -> Result<(), StartError> {
        let founded = start::founded(&self.stored)?;
        let cluster = self.stored.identity.as_ref().map(|identity| identity.cluster.clone());
        self.sight.send_modify(|sight| {
            sight.member = self.config.member;
            sight.cluster = cluster.clone().or_else(|| self.config.cluster.clone());
            sight.holds = match (&cluster, &founded) {
                (None, _) => Holds::Nothing,
                (Some(_), Some(_)) => Holds::Founding,
                (Some(_), None) => Holds::More,
            };
            if let Some(founded) = founded {
                sight.first = founded;
            }
        });
        Ok(())
    }

    fn waits_for_answers(&self, silent: &BTreeSet<MemberId>) -> String {
        format!(
            "its store is empty: waiting for an answer of {}. A group is founded once all of its first members were asked; \
             where they will never come back, --bootstrap founds it without them",
            self.listed(silent)
        )
    }

    fn listed(&self, members: &BTreeSet<MemberId>) -> String {
        let sight = self.sight.borrow();
        let at = |member: &MemberId| match sight.first.get(member) {
            Some(address) => format!("{member} at {address}"),
            None => member.to_string(),
        };
        members.iter().map(at).collect::<Vec<_>>().join(", ")
    }

    fn say(&mut self, why: String) {
        let now = self.seams.clock.monotonic();
        let is_due = match &self.said {
            None => true,
            Some((at, said)) => now.saturating_sub(*at) >= if *said == why { SAY_AGAIN } else { SAY_EVERY },
        };
        if is_due {
            warn!(member = %self.config.member, "{why}");
            self.said = Some((now, why.clone()));
        }
        self.waits_for.send_replace(Some(why));
    }
}

fn first_members(config: &ConsensusConfig) -> FirstMembers {
    config.bootstrap.iter().map(|member| (member.member, member.address.clone())).collect()
}
