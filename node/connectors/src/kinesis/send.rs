//! Sends records: the queue, and what drives it.
//!
//! ```text
//! push (waits for room) --> [aggregated by shard] --> queue --full, waited long enough, or sealed--> PutRecords, some at a time
//!                                                       ^ '-- not written: after a pause, again ---------'
//! seal --> the epoch's number; written(epoch) waits until nothing of it is left
//! ```
//!
//! What is not written is tried again for as long as somebody waits for it. Only what will not be written in any case is an error.

use std::{
    future::pending,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use thalweg_kinesis::{KinesisError, NewRecord, Put, PutFailed, Shard, ShardFilter, Stream};
use thalweg_types::seam::Seams;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::{
    aggregate::Aggregator,
    faults::{Backoff, is_passing, patiently},
    queue::{Entry, PutQueue, record_bytes},
    sink_options::SendOptions,
};
use crate::{notices::TableNotices, resent::Resent};

/// The pause after a request of which a part was written: the other shards may take more.
const PART_PAUSE: Duration = Duration::from_millis(100);

/// Sends the records of one writer or committer.
pub(super) struct Sender {
    stream: Arc<dyn Stream>,
    options: SendOptions,
    memory_bytes: usize,
    notices: TableNotices,
    resent: Resent,
    seams: Seams,
    state: Mutex<State>,
    /// Something may be sent.
    due: Notify,
    /// Something was written, or cannot be.
    done: Notify,
}

/// Whom a sender tells what it does, and what it does it with.
pub(super) struct About {
    pub(super) notices: TableNotices,
    pub(super) resent: Resent,
    pub(super) seams: Seams,
}

struct State {
    queue: PutQueue,
    aggregator: Option<Aggregator>,
    epoch: u64,
    /// Epochs up to this one are sent without waiting for more.
    flushed: Option<u64>,
    /// Since when something waits that is not on its way.
    waits_since: Option<Duration>,
    on_their_way: usize,
    /// Somebody waits for room: nothing more comes that could be waited for.
    is_crowded: bool,
    /// How many records were written.
    written: u64,
    failure: Option<KinesisError>,
    is_over: bool,
}

/// A request that is on its way, with what became of it.
struct Answer {
    entries: Vec<Entry>,
    results: Result<Vec<Result<Put, PutFailed>>, KinesisError>,
    /// The shards, if some aggregated record came to another one than was expected.
    shards: Option<Vec<Shard>>,
}

impl Sender {
    pub(super) fn new(
        stream: Arc<dyn Stream>,
        options: SendOptions,
        memory_bytes: u64,
        About { notices, resent, seams }: About,
    ) -> Arc<Self> {
        let state = State {
            queue: PutQueue::new(options.is_strict, options.batch_max),
            aggregator: options.aggregated_bytes.map(Aggregator::new),
            epoch: 0,
            flushed: None,
            waits_since: None,
            on_their_way: 0,
            is_crowded: false,
            written: 0,
            failure: None,
            is_over: false,
        };
        Arc::new(Self {
            stream,
            options,
            memory_bytes: usize::try_from(memory_bytes).unwrap_or(usize::MAX),
            notices,
            resent,
            seams,
            state: Mutex::new(state),
            due: Notify::new(),
            done: Notify::new(),
        })
    }

    /// Finds out what has to be known before anything is sent. Returns the most bytes of a record.
    pub(super) async fn prepare(&self) -> Result<usize, KinesisError> {
        let about = (&self.notices, &self.seams);
        let described = patiently(about, "ask for the stream", || self.stream.describe()).await?;
        if self.options.aggregated_bytes.is_some() {
            let shards = self.shards().await?;
            if let Some(aggregator) = &mut self.lock().aggregator {
                aggregator.set_shards(&shards);
            }
        }
        Ok(described.record_bytes_max)
    }

    async fn shards(&self) -> Result<Vec<Shard>, KinesisError> {
        let about = (&self.notices, &self.seams);
        patiently(about, "list shards", || self.stream.shards(&ShardFilter::All)).await
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while the state is half changed, so a poisoned lock's value is sound.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes records, as there is room. Nothing is lost if the call is dropped but what it was not able to take.
    pub(super) async fn push(&self, records: Vec<NewRecord>) -> Result<(), KinesisError> {
        for record in records {
            let bytes = record_bytes(&record);
            let has_room = |state: &State| state.bytes() == 0 || state.bytes() + bytes <= self.memory_bytes;
            if !has_room(&self.lock()) {
                self.lock().is_crowded = true;
                self.due.notify_one();
                self.until(|state| has_room(state).then_some(())).await?;
            }
            let now = self.seams.clock.monotonic();
            let mut state = self.lock();
            state.push(record, now);
            // A request that is full need not wait.
            let is_due = state.queue.is_full() || state.waits_since == Some(now);
            drop(state);
            if is_due {
                self.due.notify_one();
            }
        }
        Ok(())
    }

    /// Ends an epoch. What was pushed before is sent without waiting for more.
    pub(super) fn seal(&self) -> u64 {
        let mut state = self.lock();
        let sealed = state.epoch;
        state.flush();
        state.flushed = Some(sealed);
        state.epoch += 1;
        drop(state);
        self.due.notify_one();
        sealed
    }

    /// Waits until all of an epoch is written. If nothing at all is written for so long, it is an error.
    pub(super) async fn written(&self, epoch: u64, patience: Duration) -> Result<(), KinesisError> {
        loop {
            let before = self.lock().written;
            let over = self.until(|state| {
                let is_over = state.queue.oldest_left().is_none_or(|left| left > epoch);
                (is_over || state.written > before).then_some(is_over)
            });
            match timeout(patience, over).await {
                Ok(Ok(true)) => return Ok(()),
                Ok(Ok(false)) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    let reason = format!("no record could be written for {} s", patience.as_secs());
                    return Err(KinesisError::Unavailable { reason });
                }
            }
        }
    }

    /// Waits until `ready` gives something, or sending has failed.
    async fn until<T>(&self, mut ready: impl FnMut(&State) -> Option<T>) -> Result<T, KinesisError> {
        loop {
            let mut done = pin!(self.done.notified());
            // Before the look: what is done right after it wakes this call too.
            done.as_mut().enable();
            {
                let state = self.lock();
                if let Some(failure) = &state.failure {
                    return Err(failure.clone());
                }
                if let Some(ready) = ready(&state) {
                    return Ok(ready);
                }
            }
            done.await;
        }
    }

    /// Nobody waits for anything any more.
    pub(super) fn end(&self) {
        self.lock().is_over = true;
        self.due.notify_one();
    }

    /// Sends until the end, or until sending has failed.
    pub(super) async fn run(&self) {
        let mut requests = FuturesUnordered::new();
        let (mut backoff, mut not_before) = (Backoff::default(), Duration::ZERO);
        loop {
            let mut due = pin!(self.due.notified());
            due.as_mut().enable();
            let now = self.seams.clock.monotonic();
            let (next, at) = {
                let mut state = self.lock();
                if state.is_over || state.failure.is_some() {
                    return;
                }
                let has_room = requests.len() < self.options.inflight_max && now >= not_before;
                let next = if has_room { state.next(now, self.options.linger) } else { Vec::new() };
                (next, state.next_at(self.options.linger))
            };
            if !next.is_empty() {
                requests.push(self.put(next));
                continue;
            }
            let has_room = requests.len() < self.options.inflight_max;
            let wait = at.filter(|_| has_room).map(|at| at.max(not_before).saturating_sub(now));
            let pause = async {
                match wait {
                    Some(wait) => sleep(wait).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                Some(answer) = requests.next(), if !requests.is_empty() => {
                    if let Some(pause) = self.on_answer(answer, &mut backoff) {
                        not_before = self.seams.clock.monotonic() + pause;
                    }
                }
                () = due => {}
                () = pause => {}
            }
        }
    }

    async fn put(&self, entries: Vec<Entry>) -> Answer {
        let records: Vec<NewRecord> = entries.iter().map(|entry| entry.record.clone()).collect();
        let results = self.stream.put_records(&records).await;
        let came_elsewhere =
            results.iter().flatten().zip(&entries).any(|(result, entry)| match (result, &entry.packed) {
                (Ok(put), Some(packed)) => put.shard != packed.shard,
                _ => false,
            });
        let shards = if came_elsewhere { self.shards().await.ok() } else { None };
        Answer { entries, results, shards }
    }

    /// Takes what became of a request. Returns how long to wait before the next one, if that is wise.
    fn on_answer(&self, Answer { entries, results, shards }: Answer, backoff: &mut Backoff) -> Option<Duration> {
        let now = self.seams.clock.monotonic();
        let mut state = self.lock();
        state.on_their_way -= entries.len();
        if let (Some(shards), Some(aggregator)) = (shards, &mut state.aggregator) {
            aggregator.set_shards(&shards);
        }
        let count = entries.len();
        let (mut again, mut why) = (Vec::new(), None);
        match results {
            Ok(results) if results.len() == count => {
                for (entry, result) in entries.into_iter().zip(results) {
                    match result {
                        Ok(put) => state.on_written(&entry, &put),
                        Err(failed) => {
                            why = Some(failed.to_string());
                            again.push(entry);
                        }
                    }
                }
            }
            Ok(results) => {
                let reason = format!("{count} records were put, and {} results came", results.len());
                state.failure = Some(KinesisError::Refused { reason });
            }
            Err(error) if is_passing(&error) => {
                why = Some(error.to_string());
                again = entries;
            }
            Err(error) => state.failure = Some(error),
        }
        let is_part = again.len() < count;
        if !again.is_empty() {
            // They have waited.
            state.waits_since = Some(Duration::ZERO);
            self.resent.add(again.iter().map(Entry::rows).sum());
            state.queue.on_not_written(again);
        }
        state.settle_waiting(now);
        drop(state);
        self.done.notify_waiters();
        let about = "records not written";
        match why {
            None => {
                backoff.reset();
                self.notices.is_over(about, || "all records are written again".to_owned());
                None
            }
            Some(why) => {
                self.notices.tell(about, || format!("some records were not written, and are sent again: {why}"));
                Some(if is_part { PART_PAUSE } else { backoff.take(&self.seams) })
            }
        }
    }
}

impl State {
    fn bytes(&self) -> usize {
        self.queue.bytes() + self.aggregator.as_ref().map_or(0, Aggregator::bytes)
    }

    fn push(&mut self, record: NewRecord, now: Duration) {
        let entry = match &mut self.aggregator {
            Some(aggregator) => aggregator.push(record, self.epoch),
            None => Some(Entry::alone(record, self.epoch)),
        };
        entry.into_iter().for_each(|entry| self.queue.push(entry));
        self.waits_since.get_or_insert(now);
        self.is_crowded = false;
    }

    /// Whether what waits need not wait for more.
    fn is_due(&self) -> bool {
        self.is_crowded || self.is_flushed() || self.queue.is_full()
    }

    /// What is gathered goes to the queue.
    fn flush(&mut self) {
        if let Some(aggregator) = &mut self.aggregator {
            aggregator.flush(self.epoch).into_iter().for_each(|entry| self.queue.push(entry));
        }
    }

    /// Whether what is left of sealed epochs is to be sent.
    fn is_flushed(&self) -> bool {
        self.queue.oldest_left().is_some_and(|left| Some(left) <= self.flushed)
    }

    /// The next request, if one is due.
    fn next(&mut self, now: Duration, linger: Duration) -> Vec<Entry> {
        let has_waited = self.waits_since.is_some_and(|since| now.saturating_sub(since) >= linger);
        if has_waited || self.is_crowded {
            self.flush();
        }
        if !(has_waited || self.is_due()) {
            return Vec::new();
        }
        let next = self.queue.take();
        self.on_their_way += next.len();
        self.settle_waiting(now);
        next
    }

    /// When the next request is due at the latest, if nothing happens.
    fn next_at(&self, linger: Duration) -> Option<Duration> {
        // Under `strict` all that waits may be behind what is on its way.
        let is_held = self.queue.ready() == 0 && self.aggregator.as_ref().is_none_or(|all| all.bytes() == 0);
        if is_held {
            return None;
        }
        // What is left of a sealed epoch may be on its way, while only later records wait.
        if self.is_crowded || self.queue.ready() > 0 && self.is_due() {
            return Some(Duration::ZERO);
        }
        self.waits_since.map(|since| since + linger)
    }

    fn settle_waiting(&mut self, now: Duration) {
        let waits =
            self.queue.count() > self.on_their_way || self.aggregator.as_ref().is_some_and(|all| all.bytes() > 0);
        self.waits_since = if waits { Some(self.waits_since.unwrap_or(now)) } else { None };
    }

    fn on_written(&mut self, entry: &Entry, put: &Put) {
        if let (Some(aggregator), Some(packed)) = (&self.aggregator, &entry.packed) {
            // Before the entry is counted as written: its epoch must not be over.
            let misplaced = aggregator.misplaced(packed, &put.shard);
            misplaced.into_iter().for_each(|part| self.queue.push(Entry::alone(part, entry.epoch)));
        }
        self.queue.on_written(entry);
        self.written += 1;
    }
}

#[cfg(test)]
mod tests {
    use thalweg_kinesis::{HashKeyRange, SequenceNumberRange};

    use super::*;

    /// Otherwise the sender would look again and again, without a pause, until it is answered.
    #[test]
    fn what_is_gathered_waits_although_a_sealed_epoch_is_on_its_way() {
        let mut aggregator = Aggregator::new(1000);
        aggregator.set_shards(&[Shard {
            id: "a".into(),
            parent: None,
            adjacent_parent: None,
            hash_keys: HashKeyRange { first: 0, last: u128::MAX },
            sequence_numbers: SequenceNumberRange { start: 1.into(), end: None },
        }]);
        let mut state = State {
            queue: PutQueue::new(false, 10),
            aggregator: Some(aggregator),
            epoch: 0,
            flushed: None,
            waits_since: None,
            on_their_way: 0,
            is_crowded: false,
            written: 0,
            failure: None,
            is_over: false,
        };
        let (now, linger) = (Duration::from_secs(5), Duration::from_millis(100));
        let record = || NewRecord { partition_key: "k".to_owned(), explicit_hash_key: None, data: "x".into() };
        state.push(record(), now);
        state.flush();
        (state.flushed, state.epoch) = (Some(0), 1);
        assert_eq!(state.next_at(linger), Some(Duration::ZERO));
        assert_eq!(state.next(now, linger).len(), 1);
        state.push(record(), now);
        assert!(state.next(now, linger).is_empty());
        assert_eq!(state.next_at(linger), Some(now + linger));
        assert_eq!(state.next(now + linger, linger).len(), 1);
    }
}
