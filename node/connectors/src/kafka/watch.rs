//! Looks again and again who the topics of the open partitions are, and where these end: one task for all readers of a table
//! on a node, two questions to the brokers each time.
//!
//! ```text
//! Unknown -- the topic is the split's --> Readable -- doubt: of the reader, a look, or a partition that ends earlier --> Unknown
//!    |  '-- refused --> Refused              |
//!    '---------------- another topic of this name, seen some times in a row --> Remade
//!    '---------------- none, or too few partitions, seen for a while ---------> Gone
//! ```
//!
//! Nothing is read before a partition is known to be of the split's topic: the offsets of another topic mean nothing here. A
//! broker that has just started may tell of former times, so one answer is not enough to take a topic for another or for gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use thalweg_kafka::{Admin, Isolation, KafkaError, OffsetAt, Topic, TopicId, TopicPartition, Wanted};
use thalweg_types::seam::{Clock, Seams};
use tokio::{
    sync::{Notify, watch},
    time::sleep,
};

use super::faults::{answered, is_passing};

/// How long after one look the next one follows.
const LOOKED_EVERY: Duration = Duration::from_secs(3);
/// How long after a look that left something open.
const LOOKED_AGAIN: Duration = Duration::from_secs(1);
/// Partitions that are opened within this time are asked for together.
const GATHERED: Duration = Duration::from_millis(10);
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// Brokers that are well and near answer a look sooner.
const SLOW: Duration = Duration::from_millis(1500);
/// A look is slow if it takes so many times as long as the last one that was answered.
const SLOWER: u32 = 3;
/// So many looks in a row must see another topic.
const SEEN_REMADE: u32 = 3;
/// So many looks in a row must see none.
const SEEN_GONE: u32 = 10;
/// No end is known.
const UNKNOWN: i64 = -1;

/// What is known of a partition's topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing that holds now.
    Unknown,
    /// It is the split's.
    Readable,
    /// It was deleted, and there is another one of its name.
    Remade,
    /// It was deleted.
    Gone,
    /// The cluster does not tell.
    Refused(KafkaError),
}

/// A partition that is being read.
#[derive(Debug)]
pub(super) struct OpenPartition {
    pub(super) at: TopicPartition,
    /// Of the split's topic.
    topic: Option<TopicId>,
    position: AtomicI64,
    end: AtomicI64,
    is_unreachable: AtomicBool,
    /// Whether its reader has to know soon what its leader says.
    is_troubled: AtomicBool,
    /// Whether the last look has seen that a broker leads it.
    has_leader: AtomicBool,
    /// The last look at which its leader has told where it ends, by number; 0: none.
    answered: AtomicU64,
    /// Whether the last look was one of these.
    is_answered: AtomicBool,
    fate: watch::Sender<Fate>,
    /// How often it was doubted: an answer to an earlier question settles nothing.
    doubted: AtomicU64,
    /// How many looks in a row have seen another topic, or none.
    seen_otherwise: AtomicU32,
}

impl OpenPartition {
    pub(super) fn new(at: TopicPartition, topic: Option<TopicId>, position: i64) -> Arc<Self> {
        Arc::new(Self {
            at,
            topic,
            position: AtomicI64::new(position),
            end: AtomicI64::new(UNKNOWN),
            is_unreachable: AtomicBool::new(false),
            is_troubled: AtomicBool::new(false),
            has_leader: AtomicBool::new(true),
            answered: AtomicU64::new(0),
            is_answered: AtomicBool::new(false),
            fate: watch::Sender::new(Fate::Unknown),
            doubted: AtomicU64::new(0),
            seen_otherwise: AtomicU32::new(0),
        })
    }

    pub(super) fn fate(&self) -> watch::Receiver<Fate> {
        self.fate.subscribe()
    }

    pub(super) fn set_position(&self, position: i64) {
        self.position.store(position, Relaxed);
    }

    /// The partition ends here now.
    pub(super) fn set_end(&self, end: i64) {
        self.end.store(end, Relaxed);
    }

    /// Where it ended when that was last told.
    pub(super) fn end(&self) -> Option<i64> {
        Some(self.end.load(Relaxed)).filter(|end| *end != UNKNOWN)
    }

    /// Returns whether it was otherwise before.
    pub(super) fn set_unreachable(&self, is_unreachable: bool) -> bool {
        self.is_unreachable.swap(is_unreachable, Relaxed) != is_unreachable
    }

    pub(super) fn is_unreachable(&self) -> bool {
        self.is_unreachable.load(Relaxed)
    }

    /// Looks follow each other sooner as long as this is so.
    pub(super) fn set_troubled(&self, is_troubled: bool) {
        self.is_troubled.store(is_troubled, Relaxed);
    }

    /// Whether a broker leads it, as far as that is known.
    pub(super) fn has_leader(&self) -> bool {
        self.has_leader.load(Relaxed)
    }

    /// Whether its leader has answered the last look, and that began behind look `since`.
    pub(super) fn is_answered_since(&self, since: u64) -> bool {
        self.is_answered.load(Relaxed) && self.answered.load(Relaxed) > since
    }

    /// Whether an end that is told now is before one that was told earlier.
    fn has_gone_back(&self, end: i64) -> bool {
        self.end().is_some_and(|before| end < before)
    }

    /// A look has found out, or not, where it ends.
    fn note_answer(&self, look: u64, end: Option<i64>) {
        if let Some(end) = end {
            self.set_end(end);
            self.answered.store(look, Relaxed);
        }
        self.is_answered.store(end.is_some(), Relaxed);
    }

    /// Records that are there and not read, as far as that is known.
    pub(super) fn backlog(&self) -> u64 {
        let behind = self.end().map_or(0, |end| end.saturating_sub(self.position.load(Relaxed)));
        u64::try_from(behind).unwrap_or(0)
    }

    /// Takes what a look has found that began when it had been doubted so often. Returns whether that settles it for a while.
    fn judge(&self, found: Option<&Topic>, doubted: u64) -> bool {
        let has_leader = found.is_none_or(|topic| !topic.leaderless.contains(&self.at.partition));
        self.has_leader.store(has_leader, Relaxed);
        let is_other = found.is_some_and(|topic| self.topic.is_some() && topic.id.is_some() && topic.id != self.topic);
        let is_there = found.is_some_and(|topic| self.at.partition < topic.partitions);
        if is_there && !is_other {
            self.seen_otherwise.store(0, Relaxed);
            return self.settle(Fate::Readable, doubted) && has_leader;
        }
        let seen = self.seen_otherwise.fetch_add(1, Relaxed) + 1;
        // Until it is known, nothing more is read: it may be of another topic.
        self.settle(Fate::Unknown, doubted);
        match is_other {
            true if seen >= SEEN_REMADE => self.settle(Fate::Remade, doubted),
            false if seen >= SEEN_GONE => self.settle(Fate::Gone, doubted),
            _ => false,
        }
    }

    /// Notes what has become of it, unless it was doubted since. Returns whether it was not.
    fn settle(&self, fate: Fate, doubted: u64) -> bool {
        let mut is_of_now = false;
        self.fate.send_if_modified(|known| {
            // Doubts come in between only before or behind this.
            is_of_now = self.doubted.load(Relaxed) == doubted;
            let is_new = is_of_now && *known != fate && matches!(known, Fate::Unknown | Fate::Readable);
            if is_new {
                *known = fate;
            }
            is_new
        });
        is_of_now
    }

    /// What is known of it may not hold any more.
    fn doubt(&self) {
        self.fate.send_if_modified(|known| {
            self.doubted.fetch_add(1, Relaxed);
            let is_new = *known == Fate::Readable;
            if is_new {
                *known = Fate::Unknown;
            }
            is_new
        });
    }
}

/// The open partitions of a table on a node.
pub(super) struct Watch {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Default)]
struct Shared {
    open: Mutex<Vec<Weak<OpenPartition>>>,
    asked: Notify,
    is_over: AtomicBool,
    /// How many looks have begun.
    looks: AtomicU64,
    pace: Mutex<Pace>,
}

/// How long looks take.
#[derive(Debug, Clone, Copy, Default)]
struct Pace {
    /// When the look began that goes on now.
    since: Option<Duration>,
    /// How long the last one took that was answered.
    took: Duration,
}

impl Pace {
    fn is_slow(self, now: Duration) -> bool {
        self.since.is_some_and(|since| now.saturating_sub(since) >= SLOW.max(self.took.saturating_mul(SLOWER)))
    }

    fn on_end(&mut self, now: Duration, is_answered: bool) {
        let since = self.since.take();
        if let Some(since) = since.filter(|_| is_answered) {
            self.took = now.saturating_sub(since);
        }
    }
}

impl Watch {
    pub(super) fn start(seams: &Seams, admin: Arc<dyn Admin>, isolation: Isolation) -> Self {
        let shared = Arc::new(Shared::default());
        // It ends with the table. What it does not find out, the readers wait for.
        let clock = seams.clock.clone();
        let watching = watch_all(shared.clone(), clock.clone(), (admin, isolation));
        let _ = seams.io.spawn("watch of Kafka partitions", Box::pin(watching));
        Self { shared, clock }
    }

    /// Looks at a partition from now on, until it is dropped.
    pub(super) fn add(&self, partition: &Arc<OpenPartition>) {
        self.shared.lock().push(Arc::downgrade(partition));
        self.shared.asked.notify_one();
    }

    /// What is known of a partition may not hold any more.
    pub(super) fn doubt(&self, partition: &OpenPartition) {
        partition.doubt();
        self.shared.asked.notify_one();
    }

    /// Looks soon. Returns the number of the last look that has begun.
    pub(super) fn look_soon(&self) -> u64 {
        self.shared.asked.notify_one();
        self.shared.looks.load(Relaxed)
    }

    /// Whether the look that goes on now takes long.
    pub(super) fn is_slow(&self) -> bool {
        self.shared.pace().is_slow(self.clock.monotonic())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Relaxed);
        self.shared.asked.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Weak<OpenPartition>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pace(&self) -> std::sync::MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn live(&self) -> Vec<Arc<OpenPartition>> {
        let mut open = self.lock();
        open.retain(|partition| partition.strong_count() > 0);
        open.iter().filter_map(Weak::upgrade).collect()
    }
}

async fn watch_all(shared: Arc<Shared>, clock: Arc<dyn Clock>, (admin, isolation): (Arc<dyn Admin>, Isolation)) {
    while !shared.is_over.load(Relaxed) {
        let open = shared.live();
        let next = match open.is_empty() {
            true => None,
            false => {
                let number = shared.looks.fetch_add(1, Relaxed) + 1;
                shared.pace().since = Some(clock.monotonic());
                let next = look(number, &open, admin.as_ref(), isolation).await;
                let is_answered = open.iter().any(|partition| partition.is_answered_since(number - 1));
                shared.pace().on_end(clock.monotonic(), is_answered);
                Some(next)
            }
        };
        // A partition that its reader drops meanwhile is not held here.
        drop(open);
        let pause = async {
            match next {
                Some(pause) => sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shared.asked.notified() => sleep(GATHERED).await,
            () = pause => {}
        }
    }
}

/// Looks once. Returns after what time to look again.
async fn look(number: u64, open: &[Arc<OpenPartition>], admin: &dyn Admin, isolation: Isolation) -> Duration {
    let doubted: Vec<u64> = open.iter().map(|partition| partition.doubted.load(Relaxed)).collect();
    let names: BTreeSet<&str> = open.iter().map(|partition| partition.at.topic.as_ref()).collect();
    let wanted = Wanted::Named(names.into_iter().map(str::to_owned).collect());
    let found = match answered(ANSWERED_WITHIN, admin.topics(&wanted)).await {
        Ok(found) => found,
        Err(error) => {
            if !is_passing(&error) {
                let waiting =
                    open.iter().zip(&doubted).filter(|(partition, _)| *partition.fate.borrow() == Fate::Unknown);
                waiting.for_each(|(partition, doubted)| _ = partition.settle(Fate::Refused(error.clone()), *doubted));
            }
            open.iter().for_each(|partition| partition.note_answer(number, None));
            return LOOKED_AGAIN;
        }
    };
    let found: BTreeMap<&str, &Topic> = found.iter().map(|topic| (topic.name.as_str(), topic)).collect();
    let mut is_settled = true;
    for (partition, doubted) in open.iter().zip(doubted) {
        is_settled &= partition.judge(found.get(partition.at.topic.as_ref()).copied(), doubted);
    }
    // One that nobody leads would keep the answer of all others back.
    let can_tell =
        |partition: &&Arc<OpenPartition>| partition.has_leader() && *partition.fate.borrow() == Fate::Readable;
    let places: Vec<TopicPartition> = open.iter().filter(can_tell).map(|partition| partition.at.clone()).collect();
    let ends = match places.is_empty() {
        true => Ok(BTreeMap::new()),
        false => answered(ANSWERED_WITHIN, admin.offsets(&places, OffsetAt::Latest, isolation)).await,
    };
    is_settled &= ends.is_ok() && !open.iter().any(|partition| partition.is_troubled.load(Relaxed));
    let ends = ends.unwrap_or_default();
    for partition in open {
        let end = ends.get(&partition.at).copied();
        // A topic does not become shorter, unless it is another one, or a leader has lost something. Who reads on may read that.
        if end.is_some_and(|end| end < partition.position.load(Relaxed) && partition.has_gone_back(end)) {
            partition.doubt();
            is_settled = false;
        }
        partition.note_answer(number, end);
    }
    if is_settled { LOOKED_EVERY } else { LOOKED_AGAIN }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(id: u128, partitions: i32) -> Topic {
        let (name, leaderless) = ("t".to_owned(), BTreeSet::new());
        Topic { name, id: Some(TopicId(id)), partitions, replication: 1, leaderless }
    }

    fn partition() -> Arc<OpenPartition> {
        OpenPartition::new(TopicPartition { topic: "t".into(), partition: 1 }, Some(TopicId(7)), 10)
    }

    #[test]
    fn looks_are_slow_by_what_is_usual() {
        let at = Duration::from_millis;
        let mut pace = Pace { since: Some(at(1000)), ..Pace::default() };
        assert!(!pace.is_slow(at(2499)) && pace.is_slow(at(2500)));
        pace.on_end(at(3000), true);
        assert!(!pace.is_slow(at(60_000)), "none goes on");
        pace.since = Some(at(10_000));
        assert!(!pace.is_slow(at(15_999)) && pace.is_slow(at(16_000)), "the last one took two seconds");
        pace.on_end(at(20_000), false);
        assert_eq!(pace.took, at(2000), "one without an answer says nothing of those who answer");
    }

    #[test]
    fn one_look_that_sees_another_topic_is_not_enough() {
        let open = partition();
        assert!(!open.judge(Some(&topic(8, 2)), 0), "it may be told of former times");
        assert!(open.judge(Some(&topic(7, 2)), 0));
        assert_eq!(*open.fate.borrow(), Fate::Readable);
        for _ in 1..SEEN_REMADE {
            assert!(!open.judge(Some(&topic(8, 2)), 0));
            assert_eq!(*open.fate.borrow(), Fate::Unknown, "nothing is read meanwhile");
        }
        assert!(open.judge(Some(&topic(8, 2)), 0));
        assert_eq!(*open.fate.borrow(), Fate::Remade);
        open.judge(Some(&topic(7, 2)), 0);
        assert_eq!(*open.fate.borrow(), Fate::Remade, "that is the end");
    }

    #[test]
    fn a_topic_that_nobody_sees_for_a_while_is_gone() {
        for found in [None, Some(topic(7, 1))] {
            let open = partition();
            for _ in 1..SEEN_GONE {
                assert!(!open.judge(found.as_ref(), 0));
                assert_eq!(*open.fate.borrow(), Fate::Unknown);
            }
            assert!(open.judge(found.as_ref(), 0));
            assert_eq!(*open.fate.borrow(), Fate::Gone);
        }
    }

    #[test]
    fn without_ids_a_topic_is_known_by_its_name() {
        let open = OpenPartition::new(TopicPartition { topic: "t".into(), partition: 0 }, None, 0);
        assert!(open.judge(Some(&topic(7, 1)), 0) && open.judge(Some(&topic(8, 1)), 0));
        assert_eq!(*open.fate.borrow(), Fate::Readable);
    }

    /// It was asked before, and may be of before.
    #[test]
    fn an_answer_to_an_earlier_question_settles_nothing() {
        let open = partition();
        assert!(open.judge(Some(&topic(7, 2)), 0));
        open.doubt();
        assert_eq!(*open.fate.borrow(), Fate::Unknown);
        assert!(!open.judge(Some(&topic(7, 2)), 0));
        assert_eq!(*open.fate.borrow(), Fate::Unknown);
        assert!(open.judge(Some(&topic(7, 2)), 1));
        assert_eq!(*open.fate.borrow(), Fate::Readable);
        // However it falls: behind a doubt, only a later answer counts.
        for _ in 0..2000 {
            let doubted = open.doubted.load(Relaxed);
            std::thread::scope(|scope| {
                scope.spawn(|| open.doubt());
                scope.spawn(|| open.judge(Some(&topic(7, 2)), doubted));
            });
            assert_eq!(*open.fate.borrow(), Fate::Unknown);
        }
    }

    #[test]
    fn a_partition_that_nobody_leads_is_not_settled() {
        let open = partition();
        let led = topic(7, 2);
        let lost = Topic { leaderless: BTreeSet::from([1]), ..led.clone() };
        assert!(!open.judge(Some(&lost), 0) && !open.has_leader());
        assert!(open.judge(Some(&led), 0) && open.has_leader());
    }

    #[test]
    fn a_backlog_is_what_lies_before_the_end() {
        let open = partition();
        assert_eq!(open.backlog(), 0, "no end is known");
        open.set_end(15);
        assert_eq!(open.backlog(), 5);
        open.set_position(16);
        assert_eq!(open.backlog(), 0, "more has come since");
    }
}
