//! Kinesis behind its lock, and how clients wait for it.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use thalweg_types::seam::{Clock, Entropy, Seams};
use tokio::{sync::Notify, time::timeout};

use super::{
    faults::{Call, Caller, Fault, Faults},
    limits::Limits,
    service::Service,
    shard::Now,
};
use crate::{KinesisError, PutFailed};

pub(super) struct Shared {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    state: Mutex<State>,
    /// Tells those who wait of each change.
    changed: Notify,
}

pub(super) struct State {
    pub(super) service: Service,
    pub(super) faults: Faults,
    pub(super) limits: Limits,
    /// Counts `expire_iterators`: older ones than the last are expired.
    pub(super) iterators_made_since: u64,
}

/// What a fault does to a call that goes on.
#[derive(Debug, Default)]
pub(super) struct Spoilt {
    /// Whether the caller is not answered.
    pub(super) is_lost: bool,
    /// The places of records that fail, and how.
    pub(super) records: Option<(Vec<usize>, PutFailed)>,
}

/// Who calls, where, and how long it waits.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) caller: Caller,
    /// The endpoint that is asked, if it is not the model's.
    pub(super) elsewhere: Option<String>,
    pub(super) limit: Duration,
}

impl Line {
    /// The error of a call that nobody answers.
    pub(super) fn check(&self, state: &State) -> Result<(), KinesisError> {
        let endpoint = self.elsewhere.as_deref().unwrap_or(super::ENDPOINT);
        if self.elsewhere.is_some() || state.faults.is_away(&self.caller) {
            return Err(KinesisError::Unavailable { reason: format!("{endpoint}: connection refused") });
        }
        Ok(())
    }
}

impl Shared {
    pub(super) fn new(seams: &Seams) -> Self {
        let state = State {
            service: Service::default(),
            faults: Faults::default(),
            limits: Limits::KINESIS,
            iterators_made_since: 0,
        };
        Self {
            clock: seams.clock.clone(),
            entropy: seams.entropy.clone(),
            state: Mutex::new(state),
            changed: Notify::new(),
        }
    }

    /// Looks at the state, after what is due was done.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut State, Now) -> T) -> T {
        let now = self.now();
        let mut state = self.state.lock();
        let before = state.service.revision();
        state.service.advance(now);
        let result = act(&mut state, now);
        if state.service.revision() != before {
            self.changed.notify_waiters();
        }
        result
    }

    /// Changes something. Those who wait are woken.
    pub(super) fn change<T>(&self, act: impl FnOnce(&mut State, Now) -> T) -> T {
        self.with(|state, now| {
            state.service.touch();
            act(state, now)
        })
    }

    /// Changes something, unless it fails.
    pub(super) fn try_change<T>(
        &self,
        act: impl FnOnce(&mut State, Now) -> Result<T, KinesisError>,
    ) -> Result<T, KinesisError> {
        self.with(|state, now| act(state, now).inspect(|_| state.service.touch()))
    }

    /// Waits until `ready` gives something. Cancel-safe.
    pub(super) async fn until<T>(&self, mut ready: impl FnMut(&mut State, Now) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            if let Some(found) = self.with(&mut ready) {
                return found;
            }
            changed.await;
        }
    }

    /// A call of a client. `effect` is its answer.
    pub(super) async fn ask<T>(
        &self,
        line: &Line,
        call: Call,
        effect: impl FnOnce(&mut State, Now, Spoilt) -> Result<T, KinesisError>,
    ) -> Result<T, KinesisError> {
        let unanswered = || KinesisError::Unavailable {
            reason: format!("{} did not answer within {} ms", super::ENDPOINT, milliseconds(line.limit)),
        };
        let begun = timeout(line.limit, self.begin(line, call)).await;
        let spoilt = begun.unwrap_or_else(|_| Err(unanswered()))?;
        let is_lost = spoilt.is_lost;
        let answer = self.with(|state, now| {
            line.check(state)?;
            effect(state, now, spoilt)
        });
        if is_lost { Err(unanswered()) } else { answer }
    }

    /// The fault of a call that begins now: one that hangs does so here, one that fails is the error.
    pub(super) async fn begin(&self, line: &Line, call: Call) -> Result<Spoilt, KinesisError> {
        match self.with(|state, _| state.faults.take(&line.caller, call)) {
            None => Ok(Spoilt::default()),
            Some(Fault::LoseAnswer) => Ok(Spoilt { is_lost: true, records: None }),
            Some(Fault::Fail(error)) => Err(error),
            Some(Fault::FailRecords(places, how)) => Ok(Spoilt { is_lost: false, records: Some((places, how)) }),
            Some(Fault::Hang) => {
                let released = self.with(|state, _| state.faults.released);
                self.until(|state, _| (state.faults.released > released).then_some(())).await;
                Ok(Spoilt::default())
            }
        }
    }

    /// Whether something happens that does so many times of a hundred.
    pub(super) fn chance(&self, percent: u8) -> bool {
        percent > 0 && self.entropy.next() % 100 < u64::from(percent)
    }

    /// Numbers below `count` in any order.
    pub(super) fn shuffled(&self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for at in (1..count).rev() {
            let bound = u64::try_from(at + 1).unwrap_or(u64::MAX);
            let other = usize::try_from(self.entropy.next() % bound).unwrap_or_default();
            order.swap(at, other);
        }
        order
    }

    pub(super) fn now(&self) -> Now {
        let unix_ms = i64::try_from(milliseconds(self.clock.unix_time())).unwrap_or(i64::MAX);
        Now { monotonic_ms: milliseconds(self.clock.monotonic()), unix_ms }
    }
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
