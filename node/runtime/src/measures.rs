//! What an attempt measures on a node, as those who monitor it read it. `meter` is what each subtask writes.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use thalweg_connectors::{Backlog, DecodingShare};
use thalweg_metrics::Histogram;
use thalweg_types::{ChainId, ChainPlan, NodeId, SubtaskId, job::SubtaskMetrics, session::Deployment};

use crate::{
    meter::{Meter, SplitCounts},
    state_budget::StateBudget,
};

/// What one attempt measures on this node.
#[derive(Debug, Clone)]
pub struct AttemptMeasures {
    /// Slices of the job that are here.
    pub slices: u32,
    /// Chains with subtasks here, in their order.
    pub chains: Vec<ChainMeasures>,
    /// State in memory, as last measured.
    pub state_bytes: u64,
    /// State beyond which the job fails; 0 until its subtasks are built.
    pub state_limit_bytes: u64,
    /// What decoding holds.
    pub decoding_bytes: u64,
    /// The windows of all channels that end here.
    pub exchange_bytes: u64,
    /// How long markers took from sources to the sinks here.
    pub latency: Histogram,
}

/// What the subtasks of one chain here have measured together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainMeasures {
    /// The chain.
    pub chain: ChainId,
    /// The names of its operators.
    pub operators: String,
    /// How many subtasks are here.
    pub subtasks: u32,
    /// Sums since the attempt began: what a checkpoint brought along is not in them. The watermark is the least.
    pub metrics: SubtaskMetrics,
    /// How often a subtask had to wait for credit.
    pub credit_waits: u64,
    /// State in memory, as last measured.
    pub state_bytes: u64,
    /// Of a source.
    pub splits: Option<SplitCounts>,
    /// How far it is behind, if it is a source that knows.
    pub backlog: Option<Backlog>,
}

/// The memory that an attempt takes from its node; known once its subtasks are built.
#[derive(Debug, Default)]
pub(crate) struct MemoryUse {
    pub(crate) state: OnceLock<Arc<StateBudget>>,
    pub(crate) decoding: OnceLock<DecodingShare>,
    pub(crate) windows_bytes: AtomicU64,
}

/// What is known of an attempt here from its deployment.
#[derive(Debug)]
pub(crate) struct Layout {
    slices: u32,
    chains: BTreeMap<ChainId, ChainLayout>,
    latency: Histogram,
}

#[derive(Debug)]
struct ChainLayout {
    operators: String,
    is_source: bool,
}

impl Layout {
    pub(crate) fn of(plan: Option<&ChainPlan>, deployment: &Deployment, node: NodeId, latency: Histogram) -> Self {
        let slices = deployment.assignment.slices.iter().filter(|holder| **holder == node).count();
        let graph = &deployment.graph;
        let chains = plan.into_iter().flat_map(|plan| &plan.chains).map(|chain| {
            let head = chain.operators.first().map(|head| graph.operator(*head));
            let is_source = head.is_some_and(|head| head.kind.as_source().is_some());
            (chain.id, ChainLayout { operators: chain.name(graph), is_source })
        });
        Self { slices: u32::try_from(slices).unwrap_or(u32::MAX), chains: chains.collect(), latency }
    }

    pub(crate) fn measures(&self, meters: &[(SubtaskId, Arc<Meter>)], memory: &MemoryUse) -> AttemptMeasures {
        let mut chains: BTreeMap<ChainId, ChainMeasures> = BTreeMap::new();
        for (subtask, meter) in meters {
            let Some(layout) = self.chains.get(&subtask.chain) else { continue };
            let chain = chains.entry(subtask.chain).or_insert_with(|| layout.empty(subtask.chain));
            chain.add(meter);
        }
        AttemptMeasures {
            slices: self.slices,
            chains: chains.into_values().collect(),
            state_bytes: memory.state.get().map_or(0, |budget| budget.held_bytes()),
            state_limit_bytes: memory.state.get().map_or(0, |budget| budget.limit_bytes()),
            decoding_bytes: memory.decoding.get().map_or(0, DecodingShare::held_bytes),
            exchange_bytes: memory.windows_bytes.load(Relaxed),
            latency: self.latency.clone(),
        }
    }
}

impl ChainLayout {
    fn empty(&self, chain: ChainId) -> ChainMeasures {
        ChainMeasures {
            chain,
            operators: self.operators.clone(),
            subtasks: 0,
            metrics: SubtaskMetrics { watermark: i64::MAX, ..SubtaskMetrics::default() },
            credit_waits: 0,
            state_bytes: 0,
            splits: self.is_source.then(SplitCounts::default),
            backlog: None,
        }
    }
}

impl ChainMeasures {
    fn add(&mut self, meter: &Meter) {
        let new = meter.since_begin();
        let sum = &mut self.metrics;
        self.subtasks += 1;
        sum.records_in += new.records_in;
        sum.records_out += new.records_out;
        sum.bytes_in += new.bytes_in;
        sum.bytes_out += new.bytes_out;
        sum.busy_micros += new.busy_micros;
        sum.blocked_micros += new.blocked_micros;
        sum.idle_micros += new.idle_micros;
        sum.late_records += new.late_records;
        sum.dead_letters += new.dead_letters;
        sum.failed_rows += new.failed_rows;
        sum.watermark = sum.watermark.min(new.watermark);
        self.credit_waits += meter.credit_waits();
        self.state_bytes += meter.state_bytes();
        if let Some(new) = meter.backlog() {
            let sum = self.backlog.get_or_insert_default();
            sum.records += new.records;
            sum.unreachable += new.unreachable;
            sum.throttled += new.throttled;
            sum.behind = sum.behind.max(new.behind);
        }
        if let Some(splits) = &mut self.splits {
            let new = meter.splits();
            splits.waiting += new.waiting;
            splits.open += new.open;
            splits.finished += new.finished;
        }
    }
}
