//! Builds the actors of a deployment that run on this node: their channels, operators, readers and writers.
//!
//! Nothing is connected or read here. Either everything is built, or the deployment fails with the reason.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use thalweg_connectors::{CommonTables, DecodingShare, SinkIdentity, SinkSubtask, Source, SourceIdentity};
use thalweg_exchange::{
    Endpoints, Inbound, InboundChannel, Outbound, OutboundBuilder, OutboundConfig, PeerFailure, PeerLink,
};
use thalweg_flow::SplitWatermarks;
use thalweg_keyed_state::StateBatch;
use thalweg_operators::{FailedRows, LateRows, Operator as Operate, OperatorContext, OperatorError, build};
use thalweg_storage::CheckpointStore;
use thalweg_types::{
    Attempt, Chain as PlannedChain, ChainPlan, ChannelId, ClusterId, JobId, KeyGroupTable, NodeId, Operator,
    OperatorId, SubtaskId,
    checkpoint::{ManifestRef, SplitProgress},
    graph::{Description, Distribution, Identities, Role, SourceOperator, StateScope},
    session::{Deployment, ReportBody},
    settings::JobSettings,
};
use tokio::sync::{mpsc, watch};

use crate::{
    attempt_orders::AttemptOrders,
    chain::{Chain, ChainParts, Stage, Vertex},
    checkpoint::{Completion, FormerState, Restored, Routing, Uploader, Uploads, owned_groups},
    context::RuntimeContext,
    enumerator::EnumeratorSubtask,
    failure::SubtaskError,
    gate::{Gate, Inputs, Returned},
    home::Home,
    known::KnownPieces,
    measures::MemoryUse,
    meter::Meter,
    portion::Portion,
    readers::Readers,
    replay::ReplayClock,
    rolling::RollingSink,
    side_outputs::{SideOutputPaths, SideOutputs},
    source::{Assigned, IdleTimer, SourceSubtask},
    spans::SubtaskSpans,
    stamp::Stamp,
    state_budget::{StateBudget, StateShare},
    subtask::InputSubtask,
    tables::Tables,
};

mod enumerated;
mod queryable;
mod replayed;

use replayed::pacer;

/// The exchange windows of one attempt may fill the node's memory divided by this.
const EXCHANGE_MEMORY_SHARE: u64 = 4;
/// The readers of one attempt may decode files in the node's memory divided by this.
const DECODING_MEMORY_SHARE: u64 = 4;
/// The sinks of one attempt may have rows on their way in the node's memory divided by this, queues of clients included.
const SINKS_MEMORY_SHARE: u64 = 16;
/// What each subtask of a sink may take at least.
const SINK_BYTES_MIN: u64 = 1 << 20;
/// The rows in all committables of a job together: at its end they are one command of the replicated log.
const COMMITTABLES_BYTES_MAX: u64 = 4 << 20;
/// The rows of one checkpoint of a sink that writes them in one transaction. Brokers abort those that last too long.
const EPOCH_BYTES_MAX: u64 = 1 << 30;
/// The smallest window of a channel under memory pressure. Below it, batches are too small to be worth their cost.
const WINDOW_BYTES_MIN: u64 = 64 << 10;

/// What a deployment is built from.
pub(crate) struct Builder<'a> {
    pub(crate) context: &'a RuntimeContext,
    pub(crate) tables: Arc<dyn Tables>,
    pub(crate) store: CheckpointStore,
    pub(crate) reports: mpsc::Sender<ReportBody>,
    pub(crate) cluster: ClusterId,
    pub(crate) job: JobId,
    pub(crate) attempt: Attempt,
    pub(crate) deployment: &'a Deployment,
    pub(crate) identities: Arc<Identities>,
    pub(crate) plan: &'a ChainPlan,
    pub(crate) orders: watch::Receiver<AttemptOrders>,
    /// Where the newest complete checkpoint stands.
    pub(crate) complete: watch::Receiver<Option<ManifestRef>>,
    pub(crate) memory: &'a MemoryUse,
}

/// An actor that is ready to run.
pub(crate) enum Actor {
    Source(Box<SourceSubtask>),
    Input(Box<InputSubtask>),
    Enumerator(Box<EnumeratorSubtask>),
}

/// A deployment's actors and connections on this node.
pub(crate) struct Built {
    pub(crate) actors: Vec<(SubtaskId, Arc<Meter>, Actor)>,
    pub(crate) uploaders: Vec<Uploader>,
    pub(crate) endpoints: Arc<Endpoints>,
    pub(crate) links: Vec<PeerLink>,
}

/// The subtasks of a deployment that run on `node`.
pub(crate) fn local_subtasks(plan: &ChainPlan, deployment: &Deployment, node: NodeId) -> Vec<SubtaskId> {
    let assignment = &deployment.assignment;
    plan.subtasks(assignment.parallelism()).filter(|subtask| assignment.node_of(*subtask) == Some(node)).collect()
}

struct Shared {
    settings: JobSettings,
    operators: OperatorContext,
    state: Arc<StateBudget>,
    decoding: DecodingShare,
    /// The assignment's, for tables that are asked.
    owners: Arc<KeyGroupTable>,
    /// What each subtask of a sink may take.
    sink_bytes: u64,
    common: CommonTables,
    replay: Option<Arc<ReplayClock>>,
    restored: Restored,
    /// Late rows of the head that is being restored.
    late: Vec<LateRows>,
    /// Rows that this head could not evaluate.
    failed: Vec<FailedRows>,
}

impl Builder<'_> {
    /// Builds the actors of all subtasks in `meters`.
    pub(crate) fn build(
        &self,
        meters: &[(SubtaskId, Arc<Meter>)],
        restored: Restored,
        failures: mpsc::Sender<PeerFailure>,
    ) -> Result<Built, SubtaskError> {
        self.deployment.graph.check()?;
        let mut shared = self.shared(meters, restored)?;
        let inbounds = self.inbounds(meters, shared.settings.exchange_window_bytes)?;
        let inputs = inbounds.iter().flatten();
        let endpoints = Arc::new(Endpoints::new(self.context.node, self.job, self.attempt, inputs, failures));
        let (outbounds, links) = self.outbounds(meters, &endpoints, &shared.settings)?;
        let routing = Arc::new(Routing::of(self.plan, self.deployment.graph.key_groups));
        let (mut actors, mut uploaders) = (Vec::with_capacity(meters.len()), Vec::with_capacity(meters.len()));
        for (((subtask, meter), inbound), outbounds) in meters.iter().zip(inbounds).zip(outbounds) {
            meter.go_on_from(shared.restored.counts.remove(subtask).unwrap_or_default());
            let (uploads, mut uploader) = self.uploader((*subtask, meter), &routing, &mut shared.restored);
            let actor = self.actor((*subtask, meter), inbound, (outbounds, uploads), &mut shared)?;
            if let Actor::Source(source) = &actor {
                uploader.completion = Some(self.completion(*subtask, source));
            }
            actors.push((*subtask, meter.clone(), actor));
            uploaders.push(uploader);
        }
        Ok(Built { actors, uploaders, endpoints, links })
    }

    fn uploader(
        &self,
        (subtask, meter): (SubtaskId, &Arc<Meter>),
        routing: &Arc<Routing>,
        restored: &mut Restored,
    ) -> (Uploads, Uploader) {
        let (handle, uploads) = Uploads::channel(self.reports.clone());
        let uploader = Uploader {
            cluster: self.cluster.clone(),
            job: self.job,
            attempt: self.attempt,
            subtask,
            spans: self.spans(subtask),
            store: self.store.clone(),
            compute: self.context.seams.compute.clone(),
            local: self.context.local.clone(),
            uploads,
            orders: self.orders.clone(),
            reports: self.reports.clone(),
            meter: meter.clone(),
            uploaded: restored.take_known(subtask).into(),
            routing: routing.clone(),
            unconfirmed: Vec::new(),
            holding: None,
            completion: None,
        };
        (handle, uploader)
    }

    fn completion(&self, subtask: SubtaskId, source: &SourceSubtask) -> Completion {
        let restored = self.deployment.restore.as_ref().map(|restored| {
            let splits = self.splits(source.id, subtask.index).into_iter().map(|progress| progress.split);
            (restored.checkpoint, splits.collect())
        });
        Completion::new(source.readers.source().clone(), restored)
    }

    fn shared(&self, meters: &[(SubtaskId, Arc<Meter>)], restored: Restored) -> Result<Shared, SubtaskError> {
        let graph = &self.deployment.graph;
        let settings = JobSettings::parse(&graph.settings).map_err(|error| plan_error(error.to_string()))?;
        if self.deployment.assignment.key_groups.groups() != graph.key_groups {
            return Err(plan_error("the assignment has another number of key groups than the graph".to_owned()));
        }
        let operators = OperatorContext { key_groups: graph.key_groups, batch_rows: settings.batch_rows };
        let limit = self.context.memory_budget_bytes as f64 * settings.state_memory_share;
        let replay = self.replay_clock(meters, &settings, &restored)?;
        let (late, failed) = (Vec::new(), Vec::new());
        let state = StateBudget::new(limit as u64);
        let decoding = DecodingShare::new(self.context.memory_budget_bytes / DECODING_MEMORY_SHARE);
        let sink_bytes = self.sink_bytes(meters);
        self.memory.state.get_or_init(|| state.clone());
        self.memory.decoding.get_or_init(|| decoding.clone());
        let (common, owners) = (CommonTables::default(), Arc::new(self.deployment.assignment.key_groups.clone()));
        Ok(Shared { settings, operators, state, decoding, owners, sink_bytes, common, replay, restored, late, failed })
    }

    fn sink_bytes(&self, meters: &[(SubtaskId, Arc<Meter>)]) -> u64 {
        let chains = meters.iter().filter_map(|(subtask, _)| self.plan.chains.get(subtask.chain.0 as usize));
        let operators = chains.flat_map(|chain| &chain.operators);
        let sinks = operators.filter(|id| self.deployment.graph.operator(**id).kind.as_sink().is_some()).count();
        let each = self.context.memory_budget_bytes / SINKS_MEMORY_SHARE / sinks.max(1) as u64;
        each.max(SINK_BYTES_MIN)
    }

    fn spans(&self, subtask: SubtaskId) -> SubtaskSpans {
        SubtaskSpans { node: self.context.node, job: self.job, attempt: self.attempt, subtask }
    }

    fn parallelism(&self) -> u32 {
        self.deployment.assignment.parallelism()
    }

    fn node_of(&self, subtask: SubtaskId) -> Result<NodeId, SubtaskError> {
        let node = self.deployment.assignment.node_of(subtask);
        node.ok_or_else(|| plan_error(format!("no slice is assigned to subtask {subtask}")))
    }

    fn head(&self, subtask: SubtaskId) -> &Operator {
        let chain: &PlannedChain = &self.plan.chains[subtask.chain.0 as usize];
        self.deployment.graph.operator(chain.operators[0])
    }

    fn source_of(&self, subtask: SubtaskId) -> Option<(OperatorId, &SourceOperator)> {
        let head = self.head(subtask);
        Some((head.id, head.kind.as_source()?))
    }

    /// The inputs of each subtask; `None` for sources.
    fn inbounds(&self, meters: &[(SubtaskId, Arc<Meter>)], window: u64) -> Result<Vec<Option<Inbound>>, SubtaskError> {
        let mut channels = Vec::with_capacity(meters.len());
        for (subtask, _) in meters {
            channels.push(self.inbound_channels(*subtask)?);
        }
        let count = channels.iter().map(Vec::len).sum();
        let window = window_of(window, self.context.memory_budget_bytes, count);
        self.memory.windows_bytes.store(window.saturating_mul(count as u64), Relaxed);
        let inbound = |channels: Vec<InboundChannel>| (!channels.is_empty()).then(|| Inbound::new(channels, window));
        Ok(channels.into_iter().map(inbound).collect())
    }

    fn inbound_channels(&self, subtask: SubtaskId) -> Result<Vec<InboundChannel>, SubtaskError> {
        let channel = |id: ChannelId| {
            let exchange = &self.plan.exchanges[id.exchange as usize];
            let from = self.node_of(SubtaskId { chain: exchange.from, index: id.from })?;
            let schema = self.deployment.graph.operator(exchange.edge.from).output.clone();
            Ok(InboundChannel { id, schema, from })
        };
        self.plan.inputs(subtask, self.parallelism()).into_iter().map(channel).collect()
    }

    /// The outputs of each subtask, in the order of the plan's exchanges.
    fn outbounds(
        &self,
        meters: &[(SubtaskId, Arc<Meter>)],
        endpoints: &Endpoints,
        settings: &JobSettings,
    ) -> Result<(Vec<Vec<Outbound>>, Vec<PeerLink>), SubtaskError> {
        let key_groups = self.deployment.assignment.key_groups.clone();
        let config = OutboundConfig { batch_rows: settings.batch_rows, lz4: settings.exchange_lz4, key_groups };
        let mut builder = OutboundBuilder::new(endpoints, config);
        let mut counts = Vec::with_capacity(meters.len());
        for (subtask, _) in meters {
            let exchanges = self.plan.exchanges.iter().filter(|exchange| exchange.from == subtask.chain);
            let mut count = 0;
            for exchange in exchanges {
                let ids = self.plan.outputs(*subtask, exchange, self.parallelism());
                let receiver = |id: ChannelId| Ok((id, self.node_of(SubtaskId { chain: exchange.to, index: id.to })?));
                let channels: Vec<_> = ids.into_iter().map(receiver).collect::<Result<_, SubtaskError>>()?;
                builder.add(exchange, &channels);
                count += 1;
            }
            counts.push(count);
        }
        let (outbounds, links) = builder.build();
        let mut outbounds = outbounds.into_iter();
        let per_subtask = counts.into_iter().map(|count| outbounds.by_ref().take(count).collect()).collect();
        Ok((per_subtask, links))
    }

    fn actor(
        &self,
        (subtask, meter): (SubtaskId, &Arc<Meter>),
        inbound: Option<Inbound>,
        outputs: (Vec<Outbound>, Uploads),
        shared: &mut Shared,
    ) -> Result<Actor, SubtaskError> {
        let timeout = shared.settings.checkpoint_alignment_timeout;
        let Some(inbound) = inbound else {
            let gate = Gate::new(self.spans(subtask), timeout, self.orders.clone(), None);
            let chain = self.chain((subtask, meter), outputs, gate, shared)?;
            return match (
                self.source_of(subtask),
                self.deployment.graph.enumerators().find(|(id, _)| *id == self.head(subtask).id),
            ) {
                (Some((id, spec)), _) => {
                    Ok(Actor::Source(Box::new(self.source(subtask, (id, spec), chain, meter, shared)?)))
                }
                (None, Some(ids)) => Ok(Actor::Enumerator(Box::new(self.enumerator(ids, chain, meter, shared)?))),
                (None, None) => Err(plan_error(format!("subtask {subtask} has neither a source nor an input"))),
            };
        };
        let port_of = |exchange: u32| self.plan.exchanges[exchange as usize].edge.port;
        let ports = inbound.channels().iter().map(|channel| port_of(channel.id.exchange)).collect();
        let in_flight = shared.restored.in_flight.remove(&subtask).unwrap_or_default();
        let in_flight = self.catch_up(subtask, in_flight, shared)?;
        let returned =
            |(exchange, batch): (u32, StateBatch)| Returned { exchange, port: port_of(exchange), rows: batch.rows };
        let returned = in_flight.into_iter().map(returned).collect();
        let inputs = Inputs::new(subtask.index, inbound, returned);
        let gate = Gate::new(self.spans(subtask), timeout, self.orders.clone(), Some(inputs));
        let chain = self.chain((subtask, meter), outputs, gate, shared)?;
        Ok(match self.source_of(subtask) {
            Some((id, spec)) => Actor::Source(Box::new(self.source(subtask, (id, spec), chain, meter, shared)?)),
            None => Actor::Input(Box::new(InputSubtask::new(ports, chain, meter.clone()))),
        })
    }

    /// Processes rows that were in flight on keyed exchanges by the former instances of a head, each from its own
    /// state, and returns the other rows. The merged state has the highest watermark of its parts, by which rows of a
    /// slower instance would be late.
    fn catch_up(
        &self,
        subtask: SubtaskId,
        in_flight: Vec<(u32, StateBatch)>,
        shared: &mut Shared,
    ) -> Result<Vec<(u32, StateBatch)>, SubtaskError> {
        let head = self.head(subtask);
        let Some(formers) = shared.restored.operators.get_mut(&(head.id, subtask.index)) else { return Ok(in_flight) };
        if formers.len() < 2 || in_flight.is_empty() {
            return Ok(in_flight);
        }
        let edge_of = |exchange: u32| &self.plan.exchanges[exchange as usize].edge;
        let is_by_key = |exchange| matches!(edge_of(exchange).distribution, Distribution::Hash { .. });
        let (by_key, rest): (Vec<_>, Vec<_>) = in_flight.into_iter().partition(|(exchange, _)| is_by_key(*exchange));
        let owned = owned_groups(self.plan, subtask, &self.deployment.assignment.key_groups);
        for FormerState { groups, state } in formers {
            let mut operator = self.operator(head, &shared.operators)?;
            let wrong = |source| SubtaskError::Restore { operator: head.name.clone(), source };
            operator.restore(std::slice::from_ref(state), &owned).map_err(wrong)?;
            for (exchange, batch) in &by_key {
                let part = batch.restricted_to(groups).map_err(|error| plan_error(error.to_string()))?;
                if let Some(part) = part {
                    operator.process(edge_of(*exchange).port, part.rows).map_err(wrong)?;
                }
            }
            shared.late.extend(operator.take_late());
            shared.failed.extend(operator.take_failed());
            *state = operator.freeze().map_err(wrong)?;
        }
        Ok(rest)
    }

    fn operator(&self, operator: &Operator, context: &OperatorContext) -> Result<Box<dyn Operate>, SubtaskError> {
        let graph = &self.deployment.graph;
        let inputs = (0..operator.kind.describe().ports).map(|port| graph.input_schema(operator.id, port));
        let inputs: Option<Vec<_>> = inputs.collect();
        let inputs = inputs.ok_or_else(|| plan_error(format!("nothing feeds a port of {}", operator.id)))?;
        build(operator, &inputs, context)
            .map_err(|source| SubtaskError::Operator { operator: operator.name.clone(), source })
    }

    /// An operator of a chain, to which nothing is linked.
    fn vertex(&self, id: OperatorId, subtask: SubtaskId, shared: &mut Shared) -> Result<Vertex, SubtaskError> {
        let operator = self.deployment.graph.operator(id);
        let Description { drains_at_barriers, state, .. } = operator.kind.describe();
        Ok(Vertex {
            id,
            name: operator.kind.as_sink().map_or(&operator.name, |sink| &sink.table).clone(),
            output: operator.output.clone(),
            stage: self.stage(operator, subtask, shared)?,
            children: Vec::new(),
            outbounds: Vec::new(),
            drains_at_barriers,
            keeps_state: state != StateScope::None,
            portion: Portion::default(),
        })
    }

    fn chain(
        &self,
        (subtask, meter): (SubtaskId, &Arc<Meter>),
        (outbounds, uploads): (Vec<Outbound>, Uploads),
        gate: Gate,
        shared: &mut Shared,
    ) -> Result<Chain, SubtaskError> {
        let planned = &self.plan.chains[subtask.chain.0 as usize];
        let index_of: BTreeMap<OperatorId, usize> = planned.operators.iter().copied().zip(0..).collect();
        let vertices = planned.operators.iter().map(|id| self.vertex(*id, subtask, shared));
        let mut vertices = vertices.collect::<Result<Vec<_>, _>>()?;
        let outgoing = self.plan.exchanges.iter().filter(|exchange| exchange.from == subtask.chain);
        for (exchange, outbound) in outgoing.zip(0..) {
            vertices[index_of[&exchange.edge.from]].outbounds.push(outbound);
        }
        // Every operator of a chain except the head has exactly one input, a fused edge.
        for id in &planned.operators[1..] {
            let parent = self.deployment.graph.inputs(*id).next().map(|edge| edge.from);
            let parent = parent.ok_or_else(|| plan_error(format!("nothing feeds {id}")))?;
            vertices[index_of[&parent]].children.push(index_of[id]);
        }
        let identity = self.identity(planned.operators[0], subtask);
        let names = (identity, self.identities.clone());
        let dead_letter_path = self
            .source_of(subtask)
            .and_then(|(id, spec)| spec.connector.dead_letter_path().map(|path| (id, path.to_owned())));
        let JobSettings { late_path: late, error_path: failed, .. } = shared.settings.clone();
        let mut side_outputs = SideOutputs::new(
            self.tables.clone(),
            names,
            SideOutputPaths { late, failed, dead_letters: dead_letter_path },
        );
        let head = planned.operators[0];
        side_outputs.add_late(head, std::mem::take(&mut shared.late), meter);
        side_outputs.add_failed((head, &vertices[0].name), std::mem::take(&mut shared.failed), meter)?;
        Ok(Chain::new(ChainParts {
            state: StateShare::new(shared.state.clone(), meter.clone(), vertices.len()),
            vertices,
            outbounds,
            side_outputs,
            uploads,
            gate,
            meter: meter.clone(),
        }))
    }

    fn stage(&self, operator: &Operator, subtask: SubtaskId, shared: &mut Shared) -> Result<Stage, SubtaskError> {
        let states = shared.restored.operators.remove(&(operator.id, subtask.index)).unwrap_or_default();
        let states: Vec<_> = states.into_iter().map(|former| former.state).collect();
        match operator.kind.describe().role {
            Role::Source(_) => Ok(Stage::Source),
            Role::Enumerator => {
                let wrong = |reason| OperatorError::Restore { operator: operator.name.clone(), reason };
                let known = KnownPieces::restored(&states).map_err(wrong);
                let known =
                    known.map_err(|source| SubtaskError::Restore { operator: operator.name.clone(), source })?;
                Ok(Stage::Enumerator(known))
            }
            Role::Sink(sink) if sink.table_key().is_some() => {
                Ok(Stage::Operator(self.queryable((operator, sink), subtask, &states, shared)?))
            }
            Role::Sink(sink) => {
                let identity = self.identity(operator.id, subtask);
                let wrong = |source| SubtaskError::Connector { table: sink.table.clone(), source };
                let (store, memory_bytes, subtasks) = (self.store.clone(), shared.sink_bytes, self.parallelism());
                let writers = self.deployment.graph.sinks().count() as u64 * u64::from(subtasks);
                let inline_bytes = COMMITTABLES_BYTES_MAX / writers.max(1);
                let epoch_bytes = EPOCH_BYTES_MAX / u64::from(subtasks.max(1));
                let own = SinkSubtask { identity, store, memory_bytes, inline_bytes, epoch_bytes, subtasks };
                let writer = self.tables.sink_writer(sink, operator.output.clone(), own).map_err(wrong)?;
                let owned = owned_groups(self.plan, subtask, &self.deployment.assignment.key_groups);
                let home = Home::new(self.plan, (operator.id, subtask), (owned, self.deployment.graph.key_groups));
                RollingSink::new(writer, home, &states, &*self.context.seams.clock).map(Stage::Sink).map_err(wrong)
            }
            Role::Collect(collect) => {
                Ok(Stage::Collect(self.context.collect.begin(self.job, self.attempt, collect.query, &states)))
            }
            Role::Transform => {
                let mut built = self.operator(operator, &shared.operators)?;
                let owned = owned_groups(self.plan, subtask, &self.deployment.assignment.key_groups);
                built
                    .restore(&states, &owned)
                    .map_err(|source| SubtaskError::Restore { operator: operator.name.clone(), source })?;
                Ok(Stage::Operator(built))
            }
        }
    }

    /// Opens the table of a source, for its readers or for its enumerator.
    fn table(
        &self,
        (id, spec): (OperatorId, &SourceOperator),
        takes_dead_letters: bool,
        shared: &Shared,
    ) -> Result<Arc<dyn Source>, SubtaskError> {
        let head = self.deployment.graph.operator(id);
        let identity = SourceIdentity {
            cluster: self.cluster.clone(),
            job: self.job,
            attempt: self.attempt,
            source: id,
            identity: self.identities.get(id),
            store: self.store.clone(),
            takes_checkpoints: self.deployment.takes_checkpoints,
            check: Some(Stamp::new(head, spec)?.check(takes_dead_letters)),
            decoding: shared.decoding.clone(),
            common: shared.common.clone(),
        };
        let source = self.tables.source(spec, &shared.settings, identity);
        source.map_err(|source| SubtaskError::Connector { table: spec.table.clone(), source })
    }

    fn source(
        &self,
        subtask: SubtaskId,
        (id, spec): (OperatorId, &SourceOperator),
        chain: Chain,
        meter: &Arc<Meter>,
        shared: &Shared,
    ) -> Result<SourceSubtask, SubtaskError> {
        let table = spec.table.clone();
        let source = self.table((id, spec), chain.takes_dead_letters(), shared)?;
        meter.set_source(&source);
        let progress = self.splits(id, subtask.index);
        let is_enumerated = self.deployment.graph.enumerator_of(id).is_some();
        let holds_ends = source.enumerator().is_some_and(|enumerator| enumerator.awaits_ends());
        let mut pacer = pacer(spec, shared.replay.as_ref())?;
        let mut held_back = BTreeSet::new();
        for (progress, split) in progress.iter().zip(0..) {
            let held = shared.restored.held.get(&(id, progress.split.id.clone()));
            if let (Some(pacer), Some(rows)) = (&mut pacer, held.and_then(|held| held.first())) {
                let held = pacer.hold(split, rows.clone());
                held.map_err(|error| plan_error(format!("rows that were held cannot be held again: {error}")))?;
                held_back.insert(split);
            }
        }
        let idle_micros = spec.watermark.as_ref().and_then(|watermark| watermark.idle_timeout_micros);
        let idle_timeout = idle_micros.and_then(|micros| u64::try_from(micros).ok()).map(Duration::from_micros);
        let mut source = SourceSubtask {
            id,
            table,
            readers: Readers::new(source),
            watermarks: if is_enumerated { SplitWatermarks::enumerated() } else { SplitWatermarks::new(&[]) },
            assigned: is_enumerated.then(|| Assigned::new(holds_ends)),
            stamp: Stamp::new(self.head(subtask), spec)?,
            portion: Portion::default(),
            pacer,
            idle_timer: IdleTimer::new(idle_timeout, meter.now()),
            marked: Duration::ZERO,
            orders: self.orders.clone(),
            chain,
            meter: meter.clone(),
        };
        source.add(progress);
        held_back.into_iter().for_each(|split| source.readers.set_paused(split, true));
        Ok(source)
    }

    fn splits(&self, source: OperatorId, subtask: u32) -> Vec<SplitProgress> {
        let assigned = self.deployment.splits.iter();
        let mine = assigned.filter(|assignment| assignment.source == source && assignment.subtask == subtask);
        mine.flat_map(|assignment| assignment.splits.iter().cloned()).collect()
    }

    fn identity(&self, sink: OperatorId, subtask: SubtaskId) -> SinkIdentity {
        let (cluster, sink) = (self.cluster.clone(), self.identities.get(sink));
        SinkIdentity { cluster, job: self.job, attempt: self.attempt, sink, subtask: subtask.index }
    }
}

/// Bytes of each window: the configured size, or an equal share of the memory if that is less.
fn window_of(set: u64, memory: u64, channels: usize) -> u64 {
    let share = memory / EXCHANGE_MEMORY_SHARE / channels.max(1) as u64;
    set.min(share.max(WINDOW_BYTES_MIN))
}

fn plan_error(reason: String) -> SubtaskError {
    SubtaskError::Plan { reason }
}

#[cfg(test)]
mod tests;
