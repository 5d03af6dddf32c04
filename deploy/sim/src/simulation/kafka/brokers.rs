//! The brokers of a run, and what goes wrong with them and on the ways to them.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use thalweg_kafka::{
    Isolation, KafkaError, Record, Topic, TopicPartition,
    model::{ADDRESS, Call, Fault, ModelKafka},
};
use thalweg_types::seam::{Seams, TaskFuture};
use tokio::sync::oneshot;

use super::{
    super::{
        executor::{Executor, ProcessSpawner},
        gate::Gate,
        journal::{Journal, JournalClock},
        seams::SeededEntropy,
    },
    faults::{KafkaTrouble, Message, Sender},
    names::{BROKERS, PRODUCER},
};
use crate::input::Dice;

/// The longest time for which the network holds up a message.
const HELD_MAX: Duration = Duration::from_secs(4);
/// The time in which a sender dies or freezes after its call has tripped a wire.
pub(super) const STRUCK_WITHIN: Duration = Duration::from_millis(3);
/// The time in which the brokers execute a message that was held up.
const LANDED_WITHIN: Duration = Duration::from_millis(2);

/// The brokers. Cheap to clone.
#[derive(Clone)]
pub struct SimulatedKafka {
    pub(super) model: ModelKafka,
    /// Runs the calls that are on their way, on the brokers' host.
    executor: Arc<Executor>,
    state: Arc<Mutex<State>>,
    pub(super) journal: Journal,
}

struct State {
    dice: Dice,
    trouble: Option<KafkaTrouble>,
    tripwires: Vec<Tripwire>,
    /// Hosts that were struck, until they are taken.
    struck: Vec<(String, Sender)>,
    held: Vec<Held>,
    /// How many calls are on their way.
    underway: u64,
    last_client: u64,
    pace: Option<Pace>,
}

/// How fast the records of some topics reach a reader, as over a narrow line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    pub topics: &'static [&'static str],
    /// The most records at once.
    pub records: usize,
    /// The time before each of them.
    pub every: Duration,
}

struct Tripwire {
    call: Call,
    /// Calls of this kind until it trips.
    after: u64,
    message: Message,
    sender: Sender,
    /// What is set once it has tripped.
    then: Option<Box<Tripwire>>,
}

/// A message that the network holds up.
struct Held {
    client: u64,
    /// The call of another client that releases it.
    by: Call,
    /// Whether it arrives behind that call, and not before.
    is_behind: bool,
    release: oneshot::Sender<()>,
}

/// How a call reaches the brokers.
pub(super) struct Passage {
    pub(super) delay: Duration,
    /// What goes wrong at the brokers.
    pub(super) fault: Option<Fault>,
    /// What happens to the message, if its sender is struck.
    pub(super) struck: Option<Message>,
}

/// What ends a trouble.
#[derive(Debug)]
pub(in crate::simulation) enum Remedy {
    Brokers,
    Way(String),
    Leader(TopicPartition),
    Calls,
    Marks,
}

impl fmt::Debug for SimulatedKafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimulatedKafka")
    }
}

impl SimulatedKafka {
    /// Brokers without topics.
    #[must_use]
    pub fn new(seed: u64, journal: Journal) -> Self {
        let executor = Executor::new(Arc::new(Gate::default()));
        let spawner = Arc::new(ProcessSpawner(executor.clone()));
        let seams = Seams {
            clock: Arc::new(JournalClock(journal.clone())),
            entropy: Arc::new(SeededEntropy::new(BROKERS, seed, 1)),
            io: spawner.clone(),
            compute: spawner,
        };
        let state = State {
            dice: Dice::new(seed ^ 0xb40c_e750_0000_0001),
            trouble: None,
            tripwires: Vec::new(),
            struck: Vec::new(),
            held: Vec::new(),
            underway: 0,
            last_client: 0,
            pace: None,
        };
        Self { model: ModelKafka::new(&seams), executor, state: Arc::new(Mutex::new(state)), journal }
    }

    /// Makes readers of nodes get records at a pace.
    #[must_use]
    pub fn paced(self, pace: Option<Pace>) -> Self {
        self.state().pace = pace;
        self
    }

    /// What a reader of committed records finds in each partition of a topic.
    ///
    /// # Errors
    /// If there is no such topic.
    pub fn committed(&self, topic: &str) -> Result<Vec<Vec<Record>>, KafkaError> {
        let partitions = self.partitions().into_iter().filter(|of| &*of.topic == topic);
        partitions.map(|of| Ok(self.model.read_now(&of, 0, Isolation::ReadCommitted)?.0)).collect()
    }

    /// The ids whose transaction is open.
    #[must_use]
    pub fn open_transactions(&self) -> Vec<String> {
        self.model.open_transactions()
    }

    /// Runs the calls that are on their way, for ever. Call it on the brokers' host.
    pub(in crate::simulation) async fn serve(self) {
        self.executor.drive();
        std::future::pending::<()>().await;
    }

    /// Begins a trouble. `node_name` names the host of a node. Returns what ends the trouble.
    pub(in crate::simulation) fn begin(
        &self,
        trouble: KafkaTrouble,
        node_name: impl FnOnce(u32) -> String,
    ) -> Option<Remedy> {
        match trouble {
            KafkaTrouble::Out => {
                self.model.brokers_down();
                Some(Remedy::Brokers)
            }
            KafkaTrouble::CutOff(node) => {
                let host = node_name(node);
                self.model.cut_off(&host);
                Some(Remedy::Way(host))
            }
            KafkaTrouble::Leaderless(nth) => {
                let partitions = self.partitions();
                let count = u64::try_from(partitions.len()).unwrap_or(u64::MAX).max(1);
                let of = partitions.into_iter().nth(usize::try_from(nth % count).unwrap_or_default())?;
                self.model.lose_leader(&of);
                Some(Remedy::Leader(of))
            }
            KafkaTrouble::LateMarks(by) => {
                self.model.delay_marks(by);
                Some(Remedy::Marks)
            }
            KafkaTrouble::Slow | KafkaTrouble::Failing(_) | KafkaTrouble::Unanswered(_) | KafkaTrouble::Hanging(_) => {
                self.state().trouble = Some(trouble);
                Some(Remedy::Calls)
            }
        }
    }

    /// Ends a trouble. Of overlapping ones of a kind, the first remedy ends all.
    pub(in crate::simulation) fn end(&self, remedy: Remedy) {
        match remedy {
            Remedy::Brokers => self.model.brokers_up(),
            Remedy::Way(host) => self.model.mend(&host),
            // The topic may have been deleted meanwhile.
            Remedy::Leader(of) => drop(self.model.elect_leader(&of)),
            Remedy::Marks => self.model.delay_marks(Duration::ZERO),
            Remedy::Calls => {
                self.state().trouble = None;
                self.model.release();
            }
        }
    }

    /// Aborts all open transactions of nodes. Returns their ids.
    pub(in crate::simulation) fn expire(&self) -> Vec<String> {
        let mut open = self.model.open_transactions();
        open.retain(|id| !id.starts_with(PRODUCER));
        open.iter().for_each(|id| _ = self.model.expire(id));
        open
    }

    /// Sets a tripwire for the n-th call of a kind from now, from 1.
    pub(in crate::simulation) fn watch_for(&self, call: Call, nth: u64, (message, sender): (Message, Sender)) {
        self.state().tripwires.push(Tripwire { call, after: nth, message, sender, then: None });
    }

    /// Sets tripwires for a committer that freezes at its n-th batch, and for the one that takes over.
    pub(in crate::simulation) fn watch_for_overtaking(&self, nth: u64, freezes: Duration) {
        let (message, sender) = (Message::HeldBehind(Call::Commit), Sender::Stays);
        let then = Some(Box::new(Tripwire { call: Call::Init, after: 1, message, sender, then: None }));
        let (message, sender) = (Message::Unsent, Sender::Freezes(freezes));
        self.state().tripwires.push(Tripwire { call: Call::Produce, after: nth, message, sender, then });
    }

    /// Takes the hosts that were struck, and what is to happen to them.
    pub(in crate::simulation) fn struck(&self) -> Vec<(String, Sender)> {
        std::mem::take(&mut self.state().struck)
    }

    /// Whether no call of a producer is on its way.
    pub(in crate::simulation) fn is_quiet(&self) -> bool {
        self.state().underway == 0
    }

    /// All partitions there are, in order.
    pub(super) fn partitions(&self) -> Vec<TopicPartition> {
        let topics = self.model.topics_now();
        let of = |topic: Topic| {
            let name: Arc<str> = topic.name.into();
            (0..topic.partitions).map(move |partition| TopicPartition { topic: name.clone(), partition })
        };
        topics.into_iter().flat_map(of).collect()
    }

    /// The number of a new client.
    pub(super) fn new_client(&self) -> u64 {
        let mut state = self.state();
        state.last_client += 1;
        state.last_client
    }

    /// Draws how a call passes to the brokers.
    pub(super) fn draw(&self, host: &str, call: Call) -> Passage {
        let mut state = self.state();
        let usual = Duration::from_millis(1 + state.dice.below(5));
        if let Some((message, sender)) = state.trip(call) {
            self.journal.detail(&format!("kafka: {host}: {call:?} trips a wire: {message:?}, {sender:?}"));
            if sender == Sender::Stays && message == Message::Delivered {
                return Passage { delay: usual, fault: Some(Fault::LoseAnswer), struck: None };
            }
            state.struck.push((host.to_owned(), sender));
            return Passage { delay: usual, fault: None, struck: Some(message) };
        }
        let (delay, fault) = state.suffer(call);
        Passage { delay: usual + delay, fault, struck: None }
    }

    /// Draws how long records of a topic take to a reader, and how many come at once.
    pub(super) fn draw_fetch(&self, topic: &str) -> (Duration, usize) {
        let mut state = self.state();
        let usual = Duration::from_millis(1 + state.dice.below(5));
        let is_slow = state.trouble == Some(KafkaTrouble::Slow);
        let slow = if is_slow { Duration::from_millis(state.dice.below(1500)) } else { Duration::ZERO };
        match state.pace.as_ref().filter(|pace| pace.topics.contains(&topic)) {
            Some(pace) => (pace.every + slow, pace.records),
            None => (usual + slow, usize::MAX),
        }
    }

    /// Carries a call on the brokers' host, whatever becomes of the caller.
    pub(super) fn carry(&self, call: TaskFuture) {
        self.executor.start_task(call);
    }

    /// Counts a call as being on its way until the result is dropped.
    pub(super) fn under_way(&self) -> UnderWay {
        self.state().underway += 1;
        UnderWay(self.clone())
    }

    /// Holds a message up, until another client is about to make a call of the kind, or has made it.
    pub(super) async fn hold(&self, client: u64, by: Call, is_behind: bool) {
        let (release, released) = oneshot::channel();
        self.state().held.push(Held { client, by, is_behind, release });
        // Both ends of the wait deliver the message.
        let _ = tokio::time::timeout(HELD_MAX, released).await;
    }

    /// Lets messages go first that were held up until such a call by another client.
    pub(super) async fn give_way(&self, client: u64, call: Call) {
        if self.release(client, call, false) {
            tokio::time::sleep(LANDED_WITHIN).await;
        }
    }

    /// Lets messages go on that were held up until behind such a call by another client. Returns whether there were any.
    pub(super) fn release(&self, client: u64, call: Call, is_behind: bool) -> bool {
        let released: Vec<Held> = {
            let mut state = self.state();
            let is_released = |held: &Held| held.by == call && held.client != client && held.is_behind == is_behind;
            let (released, held) = std::mem::take(&mut state.held).into_iter().partition(is_released);
            state.held = held;
            released
        };
        let is_any = !released.is_empty();
        // The receiver may have waited long enough.
        released.into_iter().for_each(|held| _ = held.release.send(()));
        is_any
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts a call on all tripwires. Returns what the first one that trips does.
    fn trip(&mut self, call: Call) -> Option<(Message, Sender)> {
        let (mut tripped, mut set) = (None, Vec::new());
        self.tripwires.retain_mut(|wire| {
            wire.after -= u64::from(wire.call == call);
            if wire.after == 0 {
                tripped.get_or_insert((wire.message, wire.sender));
                set.extend(wire.then.take().map(|then| *then));
            }
            wire.after > 0
        });
        self.tripwires.append(&mut set);
        tripped
    }

    /// What the present trouble does to a call.
    fn suffer(&mut self, call: Call) -> (Duration, Option<Fault>) {
        let none = (Duration::ZERO, None);
        match self.trouble {
            Some(KafkaTrouble::Slow) => (Duration::from_millis(self.dice.below(1500)), None),
            Some(KafkaTrouble::Failing(percent)) if self.dice.percent(percent) => {
                let reason = format!("{ADDRESS} is not available");
                (Duration::ZERO, Some(Fault::Fail(KafkaError::Unavailable { reason })))
            }
            Some(KafkaTrouble::Unanswered(percent)) if self.dice.percent(percent) => {
                (Duration::ZERO, Some(Fault::LoseAnswer))
            }
            Some(KafkaTrouble::Hanging(hanging)) if hanging == call => (Duration::ZERO, Some(Fault::Hang)),
            Some(_) | None => none,
        }
    }
}

/// A call that is on its way.
pub(super) struct UnderWay(SimulatedKafka);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.state().underway -= 1;
    }
}
