//! The cluster behind its lock, and how clients wait for it.

use std::{fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use thalweg_types::seam::{Clock, Entropy, Seams};
use tokio::{sync::Notify, time::timeout};

use super::{
    ADDRESS, DOWN,
    cluster::{Cluster, Now},
    faults::{Call, Fault, Faults},
};
use crate::{ClientConfig, KafkaError, TopicId, properties};

/// The property by which a client names itself.
const CLIENT_ID: &str = "client.id";

pub(super) struct Shared {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    state: Mutex<State>,
    /// Tells those who wait of each change.
    changed: Notify,
}

pub(super) struct State {
    pub(super) cluster: Cluster,
    pub(super) faults: Faults,
}

impl State {
    pub(super) fn restore(&mut self, snapshot: &Cluster) {
        self.cluster = snapshot.clone();
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn new(seams: &Seams) -> Self {
        let state = State { cluster: Cluster::default(), faults: Faults::default() };
        Self {
            clock: seams.clock.clone(),
            entropy: seams.entropy.clone(),
            state: Mutex::new(state),
            changed: Notify::new(),
        }
    }

    /// Looks at the cluster or changes it. Those who wait are woken if it has changed.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut State, Now) -> T) -> T {
        let now = self.now();
        let mut state = self.state.lock();
        let before = state.cluster.revision();
        state.cluster.advance(now);
        let result = act(&mut state, now);
        if state.cluster.revision() != before {
            self.changed.notify_waiters();
        }
        result
    }

    /// Changes something from outside. Those who wait are woken.
    pub(super) fn change<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let result = self.with(|state, _| act(state));
        self.changed.notify_waiters();
        result
    }

    /// Waits until `ready` gives something. Cancel-safe.
    pub(super) async fn until<T>(&self, mut ready: impl FnMut(&mut State, Now) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            let (found, due_ms) = self.with(|state, now| (ready(state, now), state.cluster.next_due(now)));
            if let Some(found) = found {
                return found;
            }
            match due_ms {
                // Time alone changes the cluster then.
                Some(due_ms) => _ = timeout(Duration::from_millis(due_ms.max(1)), changed).await,
                None => changed.await,
            }
        }
    }

    /// The fault of a call that begins now: one that hangs does so here, one that fails is the error. Returns whether the answer is lost.
    pub(super) async fn begin(&self, limits: &Limits, call: Call) -> Result<bool, KafkaError> {
        match self.with(|state, _| state.faults.take(&limits.client, call)) {
            None => Ok(false),
            Some(Fault::LoseAnswer) => Ok(true),
            Some(Fault::Fail(error)) => Err(error),
            Some(Fault::Hang) => {
                let released = self.with(|state, _| state.faults.released);
                self.until(|state, _| (state.faults.released > released).then_some(())).await;
                Ok(false)
            }
        }
    }

    /// Asks the brokers, within a limit. `None` from `effect`: they cannot answer yet.
    pub(super) async fn ask<T>(
        &self,
        call: Call,
        limits: &Limits,
        limit: Duration,
        mut effect: impl FnMut(&mut State, Now) -> Option<Result<T, KafkaError>>,
    ) -> Result<T, KafkaError> {
        let asked = async {
            let is_lost = self.begin(limits, call).await?;
            let answer = self.until(|state, now| if limits.is_away(state) { None } else { effect(state, now) }).await?;
            if is_lost { Err(limits.unanswered(limit)) } else { Ok(answer) }
        };
        timeout(limit, asked).await.unwrap_or_else(|_| Err(limits.unanswered(limit)))
    }

    pub(super) fn random(&self) -> u64 {
        self.entropy.next()
    }

    pub(super) fn new_topic_id(&self) -> TopicId {
        TopicId(u128::from(self.random()) << 64 | u128::from(self.random()))
    }

    fn now(&self) -> Now {
        let unix_ms = i64::try_from(milliseconds(self.clock.unix_time())).unwrap_or(i64::MAX);
        Now { monotonic_ms: milliseconds(self.clock.monotonic()), unix_ms }
    }
}

/// What a client's properties say about waiting, and where it looks.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    servers: String,
    client: String,
    /// For an answer.
    pub(super) answer: Duration,
    /// For records to be written.
    pub(super) delivery: Duration,
    pub(super) queue_bytes: u64,
}

impl Limits {
    pub(super) fn of(config: &ClientConfig) -> Result<Self, KafkaError> {
        let of = &config.properties;
        let answer = properties::milliseconds(of, properties::ANSWER_MS, properties::ANSWER_MS_DEFAULT)?;
        let delivery = properties::milliseconds(of, properties::DELIVERY_MS, properties::DELIVERY_MS_DEFAULT)?;
        Ok(Self {
            servers: of.get(properties::SERVERS).cloned().unwrap_or_default(),
            client: of.get(CLIENT_ID).cloned().unwrap_or_default(),
            answer: Duration::from_millis(answer),
            delivery: Duration::from_millis(delivery),
            queue_bytes: config.queue_bytes,
        })
    }

    /// Whether no broker answers this client.
    pub(super) fn is_away(&self, state: &State) -> bool {
        state.faults.down || state.faults.cut_off.contains(&self.client) || self.is_elsewhere()
    }

    /// What keeps this client from asking.
    pub(super) fn trouble(&self, state: &State) -> Option<String> {
        if self.is_elsewhere() {
            return Some(format!("{}: connection refused", self.servers));
        }
        self.is_away(state).then(|| DOWN.to_owned())
    }

    pub(super) fn unanswered(&self, limit: Duration) -> KafkaError {
        KafkaError::Unavailable { reason: format!("{} did not answer within {} ms", self.servers, milliseconds(limit)) }
    }

    fn is_elsewhere(&self) -> bool {
        !self.servers.split(',').any(|server| server.trim() == ADDRESS)
    }
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
