//! The fused operators of one subtask and its outputs, run step by step.
//!
//! A chain is a tree. A stack holds the steps to do next: a batch goes through all operators below before the
//! operator that emitted it is asked for more. The work can pause between any two steps, for credit, for a slow sink,
//! or to let another actor run. No step begins while an output lacks credit; meanwhile all other channels are
//! flushed.
//!
//! ```text
//! Process(op, batch) -> Drain(op)  -> emit -> Process(child, batch).. | outbound.push
//! Signal(op, w)      -> Drain(op), then the signal goes on to the children and outbounds
//! ```
//!
//! A watermark is forwarded after all that it released, as the operator says; a barrier after what operators may not hold across
//! it, and when it has passed an operator, the operator's state is frozen for the checkpoint. A barrier waits for no credit: what
//! it makes operators release is bounded by their state. Rows over which an operator evaluates expressions are given to it in portions: what
//! is left of a batch is a step of its own, behind the output of the rows before. Between two steps, and while it waits, a chain attends to checkpoints (`part`).

use std::{sync::Arc, time::Duration};

use arrow::{array::RecordBatch, datatypes::SchemaRef, error::ArrowError};
use thalweg_connectors::DeadLetter;
use thalweg_exchange::{Carried, Control, Outbound};
use thalweg_keyed_state::FrozenState;
use thalweg_operators::{FailedRows, Operator, OperatorError, part_rows};
use thalweg_types::{CheckpointId, LatencyMarker, OperatorId, Watermark, checkpoint::Barrier};

use crate::{
    checkpoint::{Sealed, Upload, Uploads},
    collect::CollectWriter,
    failure::SubtaskError,
    gate::Gate,
    known::KnownPieces,
    meter::Meter,
    portion::Portion,
    rolling::{Fill, RollingSink},
    side_outputs::SideOutputs,
    source_view::SourceView,
    state_budget::StateShare,
};

mod part;
mod wait;

use wait::flushing;
pub(crate) use wait::{Came, passing};

/// An actor yields after this many steps or this long, whichever comes first. Simulated time may stand still, so the
/// number of steps is bounded too.
const STEPS_PER_TURN: u32 = 32;
const TURN: Duration = Duration::from_millis(2);

/// What travels through a chain in order with the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Watermark(Watermark),
    Barrier(CheckpointId),
    /// Passes between the rows, and concerns no operator.
    Marker(LatencyMarker),
}

/// What a vertex of the chain does.
pub(crate) enum Stage {
    /// The head of a source chain. Rows and signals pass it unchanged.
    Source,
    /// The head of an enumerator's chain, with what it remembers.
    Enumerator(KnownPieces),
    /// Transforms rows.
    Operator(Box<dyn Operator>),
    /// Writes a table.
    Sink(RollingSink),
    /// Keeps rows for the client.
    Collect(CollectWriter),
}

/// One vertex of the chain, and where its output goes.
pub(crate) struct Vertex {
    pub(crate) id: OperatorId,
    /// The operator's name, or the table's for a sink.
    pub(crate) name: String,
    /// The schema of its output.
    pub(crate) output: SchemaRef,
    pub(crate) stage: Stage,
    /// How many rows it is given at a time, if it evaluates expressions.
    pub(crate) portion: Portion,
    /// Indexes of the vertices that take its output.
    pub(crate) children: Vec<usize>,
    /// Indexes of the outbounds that take its output.
    pub(crate) outbounds: Vec<usize>,
    /// Its description's: what it holds in mid-emission is emitted before it is frozen.
    pub(crate) drains_at_barriers: bool,
    /// Its description's.
    pub(crate) keeps_state: bool,
}

enum Step {
    Process { vertex: usize, port: u8, batch: RecordBatch },
    Signal { vertex: usize, signal: Signal },
    Drain { vertex: usize, then: Option<Signal> },
}

/// What a chain is built from. The first vertex is its head.
pub(crate) struct ChainParts {
    pub(crate) vertices: Vec<Vertex>,
    pub(crate) outbounds: Vec<Outbound>,
    pub(crate) side_outputs: SideOutputs,
    pub(crate) uploads: Uploads,
    pub(crate) gate: Gate,
    pub(crate) meter: Arc<Meter>,
    pub(crate) state: StateShare,
}

/// What the chain's operators and sinks have frozen so far for the checkpoint whose barrier is passing through it.
#[derive(Default)]
struct Gathered {
    operators: Vec<(OperatorId, FrozenState)>,
    sealed: Vec<Sealed>,
    freeze: Duration,
}

/// The chain of one subtask.
pub(crate) struct Chain {
    parts: ChainParts,
    stack: Vec<Step>,
    steps: u32,
    turn_began: Duration,
    is_idle: bool,
    /// All that was sent with the last probe; `None`: the subtask has been idle since. Receivers begin with every channel active.
    probed: Option<Vec<Carried>>,
    watermark: Watermark,
    /// Whether checkpoints must wait.
    is_held: bool,
    gathered: Gathered,
    is_finished: bool,
}

impl Chain {
    pub(crate) fn new(parts: ChainParts) -> Self {
        let turn_began = parts.meter.now();
        Self {
            parts,
            stack: Vec::new(),
            steps: 0,
            turn_began,
            is_idle: false,
            probed: Some(Vec::new()),
            watermark: Watermark::MIN,
            is_held: false,
            gathered: Gathered::default(),
            is_finished: false,
        }
    }

    /// Writes malformed records of the source.
    pub(crate) async fn write_dead_letters(&mut self, letters: &[DeadLetter]) -> Result<(), SubtaskError> {
        flushing(&mut self.parts.outbounds, self.parts.side_outputs.write_dead_letters(letters)).await?
    }

    /// Whether rows without an event time go to the dead letters.
    pub(crate) fn takes_dead_letters(&self) -> bool {
        self.parts.side_outputs.takes_dead_letters()
    }

    /// Writes rows that the source could not evaluate to their side output.
    pub(crate) async fn write_failed_rows(&mut self, failed: Vec<FailedRows>) -> Result<(), SubtaskError> {
        let Vertex { id, name, .. } = &self.parts.vertices[0];
        self.parts.side_outputs.add_failed((*id, name), failed, &self.parts.meter)?;
        flushing(&mut self.parts.outbounds, self.parts.side_outputs.write_waiting()).await?
    }

    /// The checkpoint gate of the subtask, with its inputs.
    pub(crate) fn gate(&mut self) -> &mut Gate {
        &mut self.parts.gate
    }

    /// Gives rows to the head, and then a watermark. Both come in one call: a checkpoint taken meanwhile contains the
    /// effect of the rows, but not the watermark. `source` is the source's position after these rows.
    pub(crate) async fn feed(
        &mut self,
        rows: Option<(u8, RecordBatch)>,
        watermark: Option<Watermark>,
        source: Option<SourceView<'_>>,
    ) -> Result<(), SubtaskError> {
        if let Some(watermark) = watermark {
            self.watermark = watermark;
            self.parts.meter.set_watermark(watermark);
            self.stack.push(Step::Signal { vertex: 0, signal: Signal::Watermark(watermark) });
        }
        if let Some((port, batch)) = rows {
            self.stack.push(Step::Process { vertex: 0, port, batch });
        }
        self.run(source).await
    }

    /// What the enumerator at the head remembers; `None` if the head is none.
    pub(crate) fn known(&mut self) -> Option<&mut KnownPieces> {
        match &mut self.parts.vertices[0].stage {
            Stage::Enumerator(known) => Some(known),
            Stage::Source | Stage::Operator(_) | Stage::Sink(_) | Stage::Collect(_) => None,
        }
    }

    /// Sends rows of the head at once. They count as no records.
    pub(crate) fn push(&mut self, rows: &RecordBatch) -> Result<(), SubtaskError> {
        for outbound in &mut self.parts.outbounds {
            outbound.push(rows)?;
        }
        Ok(())
    }

    /// Charges what the enumerator at the head remembers.
    pub(crate) fn observe_state(&mut self) -> Result<(), SubtaskError> {
        let Self { parts: ChainParts { vertices, state, .. }, .. } = self;
        let Vertex { name, stage: Stage::Enumerator(known), .. } = &vertices[0] else { return Ok(()) };
        state.observe(0, name, || known.state_bytes())
    }

    /// Sends a batch without rows over every channel (see `Outbound::probe`), and returns what was sent by then. If this
    /// subtask was not idle since the last one, that one's answer still holds: no receiver with an active channel has become
    /// idle itself.
    pub(crate) fn probe(&mut self) -> Result<Vec<Carried>, SubtaskError> {
        if let Some(carried) = &self.probed {
            return Ok(carried.clone());
        }
        let ChainParts { vertices, outbounds, .. } = &mut self.parts;
        for vertex in vertices {
            for outbound in &vertex.outbounds {
                outbounds[*outbound].probe(&vertex.output)?;
            }
        }
        Ok(self.probed.insert(self.carried()).clone())
    }

    /// All that was sent so far, by outbound.
    pub(crate) fn carried(&self) -> Vec<Carried> {
        self.parts.outbounds.iter().map(Outbound::carried).collect()
    }

    /// Lets a marker through the chain.
    pub(crate) async fn mark(
        &mut self,
        marker: LatencyMarker,
        source: Option<SourceView<'_>>,
    ) -> Result<(), SubtaskError> {
        self.stack.push(Step::Signal { vertex: 0, signal: Signal::Marker(marker) });
        self.run(source).await
    }

    /// Gives the head some rows of a batch, more of which follow. No checkpoint is taken meanwhile, since its
    /// position would be after the whole batch.
    pub(crate) async fn feed_part(&mut self, rows: RecordBatch) -> Result<(), SubtaskError> {
        self.is_held = true;
        self.stack.push(Step::Process { vertex: 0, port: 0, batch: rows });
        let done = self.run(None).await;
        self.is_held = false;
        done
    }

    /// Emits the output that restored operators had released before the checkpoint.
    pub(crate) async fn release_restored(&mut self) -> Result<(), SubtaskError> {
        // The stack runs from the last vertex to the head: downstream output was released earlier.
        for (at, vertex) in self.parts.vertices.iter().enumerate() {
            if matches!(vertex.stage, Stage::Operator(_)) {
                self.stack.push(Step::Drain { vertex: at, then: None });
            }
        }
        self.run(None).await
    }

    /// Tells the receivers to leave this subtask out of their watermark's minimum while it is idle, and to include it
    /// again afterwards.
    pub(crate) fn set_idle(&mut self, idle: bool) -> Result<(), SubtaskError> {
        if self.is_idle == idle {
            return Ok(());
        }
        self.is_idle = idle;
        if idle {
            self.probed = None;
        }
        let control = if idle { Control::Idle } else { Control::Watermark(self.watermark) };
        self.broadcast_all(control)
    }

    /// Called after the last watermark: seals the sinks and ends all outputs. Barriers may follow.
    pub(crate) async fn finish(&mut self, source: Option<SourceView<'_>>) -> Result<(), SubtaskError> {
        for Vertex { id, name, stage, .. } in &mut self.parts.vertices {
            match stage {
                Stage::Sink(sink) => {
                    let now = self.parts.meter.now();
                    let sealing = flushing(&mut self.parts.outbounds, sink.seal_all(now)).await?;
                    let sealing = sealing.map_err(|source| SubtaskError::Connector { table: name.clone(), source })?;
                    self.parts.gate.keep_sealed(vec![Sealed { operator: *id, name: name.clone(), sealing }]);
                }
                Stage::Collect(writer) => writer.end(),
                Stage::Source | Stage::Enumerator(_) | Stage::Operator(_) => {}
            }
        }
        let sealed = flushing(&mut self.parts.outbounds, self.parts.side_outputs.seal()).await??;
        self.parts.gate.keep_sealed(sealed);
        self.broadcast_all(Control::End)?;
        // The uploader gets the parts in order, so an earlier part must be handed over first.
        self.drain(source).await?;
        self.is_finished = true;
        let sealed = self.parts.gate.take_sealed();
        let handing = self.parts.uploads.hand_over(Upload::End(sealed, source.map(|source| source.freeze())));
        Ok(flushing(&mut self.parts.outbounds, handing).await?)
    }

    /// Whether no further row of the head can change the chain's output.
    pub(crate) fn is_satisfied(&self) -> bool {
        self.is_satisfied_at(0)
    }

    fn is_satisfied_at(&self, at: usize) -> bool {
        let Vertex { stage, children, outbounds, .. } = &self.parts.vertices[at];
        let enough = matches!(stage, Stage::Operator(operator) if operator.is_satisfied());
        let leaves_nothing = outbounds.is_empty() && !children.is_empty();
        enough || leaves_nothing && children.iter().all(|child| self.is_satisfied_at(*child))
    }

    async fn run(&mut self, source: Option<SourceView<'_>>) -> Result<(), SubtaskError> {
        while !self.stack.is_empty() {
            self.ready(source).await?;
            self.take_turn().await;
            // A checkpoint may have run steps meanwhile.
            let Some(step) = self.stack.pop() else { break };
            self.step(step).await?;
        }
        Ok(())
    }

    async fn step(&mut self, step: Step) -> Result<(), SubtaskError> {
        match step {
            Step::Process { vertex, port, batch } => self.process_at(vertex, port, batch).await?,
            Step::Signal { vertex, signal } => self.signal_at(vertex, signal).await?,
            Step::Drain { vertex, then } => self.drain_at(vertex, then)?,
        }
        if self.parts.side_outputs.is_waiting() {
            flushing(&mut self.parts.outbounds, self.parts.side_outputs.write_waiting()).await??;
        }
        Ok(())
    }

    async fn process_at(&mut self, at: usize, port: u8, batch: RecordBatch) -> Result<(), SubtaskError> {
        let Vertex { id, name, stage, portion, children, outbounds, .. } = &mut self.parts.vertices[at];
        match stage {
            Stage::Source | Stage::Enumerator(_) => self.emit(at, batch)?,
            Stage::Operator(operator) => {
                let (batch, rest) = if operator.evaluates() { portion.cut(batch) } else { (batch, None) };
                let (rows, began) = (batch.num_rows(), self.parts.meter.now());
                // The rest of the batch is the next step after the output of its first rows, so the work can pause
                // between portions.
                if let Some(batch) = rest {
                    self.stack.push(Step::Process { vertex: at, port, batch });
                }
                let processed = operator.process(port, batch.clone());
                if rows > 1 && processed.as_ref().is_err_and(OperatorError::asks_for_fewer_rows) {
                    portion.was_too_much(rows);
                    self.stack.push(Step::Process { vertex: at, port, batch });
                    return Ok(());
                }
                processed.map_err(|source| failed(name, source))?;
                portion.took(rows, self.parts.meter.now().saturating_sub(began));
                let failed = self.parts.side_outputs.take((*id, name), operator.as_mut(), &self.parts.meter)?;
                if children.is_empty() && outbounds.is_empty() {
                    // It keeps what others would pass on or write.
                    self.parts.meter.count_kept(&batch, failed);
                }
                self.parts.state.observe(at, name, || operator.state_bytes())?;
                self.stack.push(Step::Drain { vertex: at, then: None });
            }
            Stage::Sink(sink) => {
                let faults = sink.unfit(&batch);
                let batch = if faults.is_empty() || !sink.keeps_unfit() {
                    self.parts.side_outputs.part((*id, name), batch, faults, &self.parts.meter)?
                } else {
                    let (fit, unfit) = part_rows(&batch, faults).map_err(|source| failed(name, source))?;
                    self.parts.meter.count_failed(unfit.faults.len());
                    let FailedRows { rows, faults } = &unfit;
                    let kept = flushing(&mut self.parts.outbounds, sink.set_aside((*id, name), rows, faults)).await?;
                    kept.map_err(|source| SubtaskError::Connector { table: name.clone(), source })?;
                    fit
                };
                let now = self.parts.meter.now();
                let written = flushing(&mut self.parts.outbounds, sink.write(&batch, now)).await?;
                written.map_err(|source| SubtaskError::Connector { table: name.clone(), source })?;
                let refused = sink.refused();
                let batch = self.parts.side_outputs.part((*id, name), batch, refused, &self.parts.meter)?;
                self.parts.meter.count_out(&batch);
                if sink.fill(self.parts.gate.outcomes()) > Fill::Little {
                    self.parts.uploads.want_checkpoint();
                }
                self.parts.state.observe(at, name, || sink.state_bytes())?;
            }
            Stage::Collect(writer) => {
                self.parts.meter.count_out(&batch);
                writer.push(batch, || self.parts.uploads.want_checkpoint());
            }
        }
        Ok(())
    }

    async fn signal_at(&mut self, at: usize, signal: Signal) -> Result<(), SubtaskError> {
        let Vertex { id, name, stage, children, outbounds, .. } = &mut self.parts.vertices[at];
        let is_end = children.is_empty() && outbounds.is_empty();
        if let (Stage::Sink(sink), Signal::Watermark(watermark)) = (&mut *stage, &signal) {
            sink.on_watermark(*watermark);
        }
        let Stage::Operator(operator) = stage else {
            match signal {
                Signal::Barrier(checkpoint) => self.freeze_end(at, checkpoint).await?,
                Signal::Marker(marker) if is_end => self.parts.meter.observe_latency(marker),
                Signal::Marker(_) | Signal::Watermark(_) => {}
            }
            return self.forward(at, signal);
        };
        // A watermark follows all output that it releases. At a barrier, an operator emits what it must not hold
        // across one. This waits for no credit, so its size is bounded only by the operator's state.
        let taken = match signal {
            Signal::Watermark(watermark) => operator.on_watermark(watermark),
            Signal::Barrier(_) => operator.flush(),
            Signal::Marker(marker) if is_end => {
                self.parts.meter.observe_latency(marker);
                return Ok(());
            }
            Signal::Marker(_) => return self.forward(at, signal),
        };
        taken.map_err(|source| failed(name, source))?;
        self.parts.side_outputs.take((*id, name), operator.as_mut(), &self.parts.meter)?;
        self.stack.push(Step::Drain { vertex: at, then: Some(signal) });
        Ok(())
    }

    fn drain_at(&mut self, at: usize, then: Option<Signal>) -> Result<(), SubtaskError> {
        let Vertex { id, name, stage, .. } = &mut self.parts.vertices[at];
        let Stage::Operator(operator) = stage else { unreachable!("only operators are drained") };
        let output = operator.next_output().map_err(|source| failed(name, source))?;
        self.parts.side_outputs.take((*id, name), operator.as_mut(), &self.parts.meter)?;
        if let Some(batch) = output {
            self.stack.push(Step::Drain { vertex: at, then });
            return self.emit(at, batch);
        }
        let Some(mut signal) = then else { return Ok(()) };
        match &mut signal {
            Signal::Watermark(watermark) => {
                *watermark = operator.forwarded(*watermark);
                self.parts.state.observe(at, name, || operator.state_bytes())?;
            }
            Signal::Barrier(_) => self.freeze_operator(at)?,
            Signal::Marker(_) => {}
        }
        self.forward(at, signal)
    }

    fn freeze_operator(&mut self, at: usize) -> Result<(), SubtaskError> {
        let Vertex { id, name, stage: Stage::Operator(operator), keeps_state, .. } = &mut self.parts.vertices[at]
        else {
            return Ok(());
        };
        let began = self.parts.meter.now();
        let state = operator.freeze().map_err(|source| failed(name, source))?;
        debug_assert!(*keeps_state || state.tables.is_empty(), "{name} is described as keeping nothing");
        self.gathered.freeze += self.parts.meter.now().saturating_sub(began);
        self.gathered.operators.push((*id, state));
        Ok(())
    }

    /// Freezes what is no operator at the barrier: everything that a sink has written before it is sealed.
    async fn freeze_end(&mut self, at: usize, checkpoint: CheckpointId) -> Result<(), SubtaskError> {
        let began = self.parts.meter.now();
        let Vertex { id, name, stage, .. } = &mut self.parts.vertices[at];
        match stage {
            Stage::Sink(sink) => {
                let known = self.parts.gate.outcomes();
                let sealing = flushing(&mut self.parts.outbounds, sink.seal(began, checkpoint, known)).await?;
                let wrong = |source| SubtaskError::Connector { table: name.clone(), source };
                let sealing = sealing.map_err(wrong)?;
                if let Some(held) = sink.freeze().map_err(wrong)? {
                    self.gathered.operators.push((*id, held));
                }
                self.gathered.sealed.push(Sealed { operator: *id, name: name.clone(), sealing });
            }
            Stage::Collect(writer) => self.gathered.operators.push((*id, writer.freeze(checkpoint))),
            Stage::Enumerator(known) => {
                let unfrozen = |error: ArrowError| SubtaskError::Assignment { reason: error.to_string() };
                self.gathered.operators.push((*id, known.freeze().map_err(unfrozen)?));
            }
            Stage::Source | Stage::Operator(_) => {}
        }
        self.gathered.freeze += self.parts.meter.now().saturating_sub(began);
        Ok(())
    }

    /// Pushes rows to the outbounds now, and to the children by the stack, the first child on top.
    fn emit(&mut self, at: usize, batch: RecordBatch) -> Result<(), SubtaskError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let Vertex { children, outbounds, .. } = &self.parts.vertices[at];
        if !outbounds.is_empty() {
            self.parts.meter.count_out(&batch);
        }
        for outbound in outbounds {
            self.parts.outbounds[*outbound].push(&batch)?;
        }
        for child in children.iter().rev() {
            self.stack.push(Step::Process { vertex: *child, port: 0, batch: batch.clone() });
        }
        Ok(())
    }

    fn forward(&mut self, at: usize, signal: Signal) -> Result<(), SubtaskError> {
        let Vertex { children, outbounds, .. } = &self.parts.vertices[at];
        for outbound in outbounds {
            let outbound = &mut self.parts.outbounds[*outbound];
            match signal {
                Signal::Watermark(watermark) => outbound.broadcast(Control::Watermark(watermark))?,
                Signal::Barrier(checkpoint) => {
                    let trace = self.parts.gate.trace_of(checkpoint);
                    outbound.broadcast(Control::Barrier(Barrier::aligned(checkpoint).traced(trace)))?;
                }
                Signal::Marker(marker) => outbound.mark(marker)?,
            }
        }
        for child in children.iter().rev() {
            self.stack.push(Step::Signal { vertex: *child, signal });
        }
        Ok(())
    }

    fn broadcast_all(&mut self, control: Control) -> Result<(), SubtaskError> {
        for outbound in &mut self.parts.outbounds {
            outbound.broadcast(control)?;
        }
        Ok(())
    }

    /// Yields to other actors now and then. Every loop whose input may always be ready must call this.
    pub(crate) async fn take_turn(&mut self) {
        self.steps += 1;
        let now = self.parts.meter.now();
        if self.steps >= STEPS_PER_TURN || now.saturating_sub(self.turn_began) >= TURN {
            (self.steps, self.turn_began) = (0, now);
            tokio::task::yield_now().await;
        }
    }
}

fn failed(name: &str, source: OperatorError) -> SubtaskError {
    SubtaskError::Operator { operator: name.to_owned(), source }
}
