//! Bounds the state of one attempt to a share of the node's memory. An attempt that exceeds it fails, and names the
//! operator.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use crate::{failure::SubtaskError, meter::Meter};

/// State is measured once per this many batches and watermarks, since measuring may walk whole tables.
const STEPS_PER_MEASURE: u32 = 16;

/// The state that all subtasks of an attempt hold on this node.
#[derive(Debug)]
pub(crate) struct StateBudget {
    held_bytes: AtomicUsize,
    limit_bytes: u64,
}

impl StateBudget {
    pub(crate) fn new(limit_bytes: u64) -> Arc<Self> {
        Arc::new(Self { held_bytes: AtomicUsize::new(0), limit_bytes })
    }

    pub(crate) fn held_bytes(&self) -> u64 {
        self.held_bytes.load(Relaxed) as u64
    }

    pub(crate) fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }
}

/// The state of one subtask.
#[derive(Debug)]
pub(crate) struct StateShare {
    budget: Arc<StateBudget>,
    meter: Arc<Meter>,
    /// Per vertex: the last measured bytes, and the steps since then.
    measured: Vec<(usize, u32)>,
}

impl StateShare {
    pub(crate) fn new(budget: Arc<StateBudget>, meter: Arc<Meter>, vertices: usize) -> Self {
        Self { budget, meter, measured: vec![(0, 0); vertices] }
    }

    /// Measures the state of a vertex now and then.
    pub(crate) fn observe(
        &mut self,
        vertex: usize,
        name: &str,
        state_bytes: impl FnOnce() -> usize,
    ) -> Result<(), SubtaskError> {
        let (bytes, steps) = &mut self.measured[vertex];
        *steps += 1;
        if *steps < STEPS_PER_MEASURE {
            return Ok(());
        }
        *steps = 0;
        let before = std::mem::replace(bytes, state_bytes());
        let (now, held) = (*bytes, &self.budget.held_bytes);
        if now != before {
            self.meter.set_state_bytes(self.measured.iter().map(|(bytes, _)| bytes).sum());
        }
        let held_bytes = if now >= before {
            held.fetch_add(now - before, Relaxed) + (now - before)
        } else {
            held.fetch_sub(before - now, Relaxed) - (before - now)
        };
        let limit_bytes = self.budget.limit_bytes;
        if held_bytes as u64 <= limit_bytes || now < before {
            return Ok(());
        }
        let operator = name.to_owned();
        Err(SubtaskError::StateTooLarge { operator, operator_bytes: now, held_bytes, limit_bytes })
    }
}

impl Drop for StateShare {
    fn drop(&mut self) {
        let bytes: usize = self.measured.iter().map(|(bytes, _)| bytes).sum();
        self.budget.held_bytes.fetch_sub(bytes, Relaxed);
    }
}
