//! The job graph: the submitted dataflow before parallelism, made by the planner and carried as data through Raft to
//! nodes.
//!
//! ```text
//! Source -Forward-> Calc -Forward-> WindowAggregate(Local) -Hash-> WindowAggregate(Global) -Forward-> Calc -> Sink
//! ```
//!
//! Rules that `JobGraph::check` enforces: an operator's id is its index; edges go from lower to higher ids (so the
//! graph is acyclic), but for those of enumerators, which stand behind all others and have no inputs; every port that an
//! operator has is fed; field names of every schema are unique; sources have no inputs but an enumerator's, and sinks no
//! outputs. Several edges may feed one port: that is `UNION ALL`.

use std::collections::BTreeMap;

use arrow_schema::SchemaRef;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{connector::TableConnector, expr::ExprBytes, id::OperatorId};

mod check;
mod description;
mod enumerate;
mod identity;
mod state_form;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use description::{Description, Role, SideOutput, StateScope};
pub use enumerate::{EnumerateOperator, assignment_schema};
pub use identity::{GraphFingerprint, Identities, NotAHash, OperatorIdentity, type_text};
pub use state_form::StateForm;

/// The version of the job graph's format.
pub const FORMAT: u32 = 1;

/// A dataflow: operators and the edges between them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobGraph {
    /// The version of the format, `FORMAT`.
    pub format: u32,
    /// The version of the engine that planned it.
    pub engine_version: String,
    /// The number of key groups: a power of two, fixed as long as the job exists.
    pub key_groups: u16,
    /// The vertices; an operator's id is its index.
    pub operators: Vec<Operator>,
    /// The edges, ordered by (`to`, `port`, `from`); behind them those of enumerators.
    pub edges: Vec<Edge>,
    /// The script's settings, checked.
    pub settings: BTreeMap<String, String>,
}

/// A vertex of the job graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Operator {
    /// Its index in the graph.
    pub id: OperatorId,
    /// A description for people: kind and essential parameters, in one line.
    pub name: String,
    /// What it does.
    pub kind: OperatorKind,
    /// How many subtasks it has.
    pub parallelism: Parallelism,
    /// The schema of what it emits; field names are unique. Sinks: the schema they write.
    pub output: SchemaRef,
}

/// How many subtasks an operator has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parallelism {
    /// As many as the job has slices.
    Job,
    /// One: there is no key to distribute by.
    One,
}

/// What an operator does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatorKind {
    /// Reads a table.
    Source(Box<SourceOperator>),
    /// Filters, then projects. Stateless.
    Calc(Calc),
    /// Appends `window_start`, `window_end`, `window_time` to each row; a row is repeated for each of its windows.
    WindowAssign(WindowAssign),
    /// Aggregates per window and key.
    WindowAggregate(WindowAggregate),
    /// Joins two inputs (port 0 left, port 1 right) within equal windows.
    WindowJoin(WindowJoin),
    /// Keeps the first rows per window and key by an order.
    WindowTopN(WindowTopN),
    /// Emits all rows, or the first ones, in an order, once its input has ended; one subtask.
    Sort(Sort),
    /// Passes a range of the rows, in the order of arrival.
    Limit(RowRange),
    /// Writes a table.
    Sink(SinkOperator),
    /// Keeps rows for the client to fetch; one subtask.
    Collect(CollectOperator),
    /// Finds the splits of a source while the job runs; one subtask.
    Enumerate(EnumerateOperator),
}

/// Reads a table: connector, then computed columns, then watermarks per split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceOperator {
    /// The table's name in the script.
    pub table: String,
    /// Connector, format and their options, checked.
    pub connector: TableConnector,
    /// What the reader must produce: the physical columns that the job uses, with structs reduced to the fields that it
    /// uses.
    pub physical: SchemaRef,
    /// Conjuncts over `physical`. The job applies them anyway; a reader may use them to skip data.
    pub predicates: Vec<ColumnPredicate>,
    /// The operator's output columns over `physical`, in the order of the output schema; `None` where they are the
    /// same.
    pub projection: Option<Vec<ExprBytes>>,
    /// The table's watermark; `None` where it declares none.
    pub watermark: Option<WatermarkStrategy>,
}

/// A comparison of one physical column with a constant, simple enough for a reader to skip data by it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnPredicate {
    /// The column, followed by fields of nested structs.
    pub path: Vec<String>,
    /// How it is compared.
    pub comparison: Comparison,
    /// The constant; `None` for `IS NULL` and `IS NOT NULL`.
    pub value: Option<PredicateValue>,
}

/// How a column is compared with a constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `IS NULL`
    IsNull,
    /// `IS NOT NULL`
    IsNotNull,
}

/// A constant of a predicate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PredicateValue {
    /// Any integer type.
    Integer(i64),
    /// A float.
    Float(f64),
    /// Text.
    Text(String),
    /// A boolean.
    Boolean(bool),
    /// A timestamp in microseconds.
    TimestampMicros(i64),
}

/// `WATERMARK FOR column AS expression`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WatermarkStrategy {
    /// The event-time column's index in the source operator's output.
    pub column: usize,
    /// How records yield watermarks.
    pub generator: WatermarkGenerator,
    /// A split that gives nothing for so long becomes idle: it no longer holds back the watermark. Microseconds;
    /// `None`: never.
    pub idle_timeout_micros: Option<i64>,
}

/// How records yield watermarks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WatermarkGenerator {
    /// `column - delay`: at most so many microseconds out of order.
    BoundedDelay {
        /// How late a record may come.
        delay_micros: i64,
    },
    /// Any other expression over the source operator's output, of a timestamp type.
    Expression(ExprBytes),
}

/// Filters, then projects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calc {
    /// Rows for which this is true pass; `None`: all.
    pub filter: Option<ExprBytes>,
    /// The output columns; `None`: the input's.
    pub projection: Option<Vec<ExprBytes>>,
}

/// A window table function. All fields are in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowSpec {
    /// Windows `[n * size + offset, (n + 1) * size + offset)`.
    Tumble {
        size: i64,
        /// Shift of all windows.
        offset: i64,
    },
    /// Windows of `size` that start every `slide`. `size` is a multiple of `slide`.
    Hop {
        size: i64,
        slide: i64,
        /// Shift of all windows.
        offset: i64,
    },
    /// Windows that start every `size` and end at each multiple of `step` within it.
    Cumulate {
        /// The longest window.
        size: i64,
        /// Distance between ends. `size` is a multiple of `step`.
        step: i64,
        /// Shift of all windows.
        offset: i64,
    },
    /// Windows per key of records that are at most `gap` apart; they end `gap` after the last one.
    Session {
        /// The longest pause within a session.
        gap: i64,
    },
}

/// Where an operator finds the windows of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Windowing {
    /// The operator assigns them, by an event-time column.
    EventTime {
        /// The timestamp column's index in the input.
        column: usize,
        spec: WindowSpec,
    },
    /// Columns of the input hold them.
    Attached {
        /// Index of the window's start (timestamp).
        start: usize,
        /// Index of the window's end (timestamp, exclusive).
        end: usize,
    },
}

/// Appends the columns `window_start`, `window_end` and `window_time` (end minus one millisecond).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowAssign {
    /// The timestamp column's index in the input.
    pub column: usize,
    /// Tumble, hop or cumulate.
    pub spec: WindowSpec,
}

/// Which part of a two-phase aggregation an operator is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AggregatePhase {
    /// Rows in, results out.
    Single,
    /// Rows in, partials out. Has no state across barriers: it flushes before each barrier and before each watermark
    /// that closes a window.
    Local,
    /// Partials in, results out.
    Global,
}

/// Aggregates per window and key.
///
/// Output: the keys, then the aggregates, then the columns of `window_columns`. The local phase emits, and the global
/// phase takes: the keys, then every aggregate's state fields, then `slice_end` (timestamp in microseconds, not null),
/// or for attached windows `window_start`, `window_end`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowAggregate {
    /// The phase of the aggregation.
    pub phase: AggregatePhase,
    /// The windows. In the global phase, `column` and `start`, `end` are indexes into the local phase's output.
    pub windowing: Windowing,
    /// Indexes of the key columns in the input.
    pub keys: Vec<usize>,
    /// Logical aggregate function calls (with their `FILTER` and `DISTINCT`) over `row_schema`.
    pub aggregates: Vec<ExprBytes>,
    /// The schema of the aggregated rows: the input's in the single and local phases, the local phase's input in the
    /// global phase.
    pub row_schema: SchemaRef,
    /// Which window columns follow the aggregates.
    pub window_columns: WindowColumns,
}

/// Which window columns an operator emits, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WindowColumns {
    /// `window_start`.
    pub start: bool,
    /// `window_end`.
    pub end: bool,
    /// `window_time`: end minus one millisecond.
    pub time: bool,
}

/// Inner join of rows with equal windows and keys.
///
/// Output: the left columns, then the right ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowJoin {
    /// (start, end) column indexes of the left input.
    pub left_window: (usize, usize),
    /// (start, end) column indexes of the right input.
    pub right_window: (usize, usize),
    /// Key column indexes of the left input. If there are none, parallelism is one.
    pub left_keys: Vec<usize>,
    /// Key column indexes of the right input, of the same number and types.
    pub right_keys: Vec<usize>,
    /// A further condition over the output schema.
    pub filter: Option<ExprBytes>,
}

/// Keeps the first `limit` rows per window and partition.
///
/// Output: the input's columns, then, with `emit_row_number`, the row number (UInt64, from 1). The whole row breaks
/// ties, so that the result does not depend on the order of arrival.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowTopN {
    /// (start, end) column indexes of the input.
    pub window: (usize, usize),
    /// Indexes of the partition columns, without the window's.
    pub partition: Vec<usize>,
    /// The order.
    pub order: Vec<SortColumn>,
    /// How many rows per window and partition.
    pub limit: u64,
    /// Whether the row number is the last column of the output.
    pub emit_row_number: bool,
}

/// One column of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SortColumn {
    /// Index in the input.
    pub column: usize,
    /// Whether the largest value comes first.
    pub descending: bool,
    /// Whether NULLs come first.
    pub nulls_first: bool,
}

/// Emits the rows of a bounded input in an order. The whole row breaks ties.
///
/// Output: the input's columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sort {
    /// The order.
    pub order: Vec<SortColumn>,
    /// Which rows of this order to emit.
    pub range: RowRange,
}

/// A range of rows in some order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RowRange {
    /// How many rows to skip at the beginning.
    pub offset: u64,
    /// How many rows follow; `None`: all.
    pub limit: Option<u64>,
}

impl RowRange {
    /// How many rows from the beginning cover the range; `None`: all.
    #[must_use]
    pub fn needed(&self) -> Option<u64> {
        self.limit.map(|limit| limit.saturating_add(self.offset))
    }
}

/// Writes a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SinkOperator {
    /// The table's name in the script.
    pub table: String,
    /// Connector, format and their options, checked.
    pub connector: TableConnector,
    /// The input columns whose values name the directories that rows go to, outermost first, and which are not in the
    /// files, so that they are never all columns; or that make a record's key; or by which the newest row is kept. Only where
    /// the connector's `Output` says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partition_by: Vec<usize>,
}

impl SinkOperator {
    /// The input columns by which the newest row is kept for those who ask; `None` if rows are written elsewhere.
    #[must_use]
    pub fn table_key(&self) -> Option<&[usize]> {
        self.connector.is_queryable().then_some(self.partition_by.as_slice())
    }
}

/// Keeps rows for the client to fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectOperator {
    /// The index of its bare `SELECT` in the script, from 0.
    pub query: u32,
}

/// An edge of the job graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    /// The sender.
    pub from: OperatorId,
    /// The receiver.
    pub to: OperatorId,
    /// The receiver's input port.
    pub port: u8,
    /// How rows are distributed over the receiver's subtasks.
    pub distribution: Distribution,
}

/// How rows are distributed over the receiver's subtasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// Subtask i to subtask i; both ends have the same parallelism.
    Forward,
    /// By the key group of these columns.
    Hash {
        /// Column indexes of the sender's output.
        keys: Vec<usize>,
    },
    /// Whole batches, in turn.
    Rebalance,
    /// All rows to subtask 0.
    Gather,
    /// To the subtask whose index is in the first column. Only an enumerator's.
    Assigned,
}

/// What is wrong with a job graph.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum GraphError {
    /// It cannot be parsed.
    #[error("the job graph cannot be read: {0}")]
    Malformed(String),
    /// It has another format.
    #[error("the job graph has format {found}, this engine reads {FORMAT}")]
    Format {
        /// The graph's format.
        found: u32,
    },
    /// It breaks a rule of this module.
    #[error("the job graph is inconsistent: {0}")]
    Inconsistent(String),
}

impl JobGraph {
    /// The persisted form: JSON that contains the format's number.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a job graph has only string keys and finite numbers")
    }

    /// Parses the persisted form and checks it. Sources that need an enumerator get one.
    ///
    /// # Errors
    /// When the bytes are not a consistent graph of this format.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, GraphError> {
        let graph: Self = serde_json::from_slice(bytes).map_err(|error| GraphError::Malformed(error.to_string()))?;
        let graph = graph.with_enumerators();
        graph.check()?;
        Ok(graph)
    }

    /// The edges into an operator, by port and sender.
    pub fn inputs(&self, operator: OperatorId) -> impl Iterator<Item = &Edge> + '_ {
        self.edges.iter().filter(move |edge| edge.to == operator)
    }

    /// The edges out of an operator.
    pub fn outputs(&self, operator: OperatorId) -> impl Iterator<Item = &Edge> + '_ {
        self.edges.iter().filter(move |edge| edge.from == operator)
    }

    /// The operator with this id. The id must be one of this graph.
    #[must_use]
    pub fn operator(&self, id: OperatorId) -> &Operator {
        &self.operators[id.0 as usize]
    }

    /// The schema of a port's rows: that of any sender, as all have the same. `None` if nothing feeds the port.
    #[must_use]
    pub fn input_schema(&self, operator: OperatorId, port: u8) -> Option<SchemaRef> {
        let edge = self.inputs(operator).find(|edge| edge.port == port)?;
        Some(self.operator(edge.from).output.clone())
    }
}
