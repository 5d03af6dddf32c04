//! The job graph: the submitted dataflow before parallelism, made by the planner and carried as data through Raft to nodes.
//!
//! ```text
//! Source -Forward-> Calc -Forward-> WindowAggregate(Local) -Hash-> WindowAggregate(Global) -Forward-> Calc -> Sink
//! ```
//!
//! Rules that `JobGraph::check` enforces: an operator's id is its index; edges go from lower to higher ids (so the graph is
//! acyclic); every port that an operator has is fed; field names of every schema are unique; sources have no
//! inputs and sinks no outputs. Several edges may feed one port: that is `UNION ALL`.

use std::collections::BTreeMap;

use arrow_schema::SchemaRef;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{connector::TableConnector, expr::ExprBytes, id::OperatorId};

mod check;
#[cfg(test)]
mod tests;

/// The version of the job graph's format.
pub const FORMAT: u32 = 1;

/// A dataflow: operators and the edges between them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobGraph {
    /// `FORMAT`.
    pub format: u32,
    /// The engine that planned it.
    pub engine_version: String,
    /// How many key groups its keyed operators have: a power of two, fixed for the job's life.
    pub key_groups: u16,
    /// The vertices; an operator's id is its index.
    pub operators: Vec<Operator>,
    /// The edges, ordered by (`to`, `port`, `from`).
    pub edges: Vec<Edge>,
    /// What the script `SET`, checked.
    pub settings: BTreeMap<String, String>,
}

/// A vertex of the job graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Operator {
    /// Its index in the graph.
    pub id: OperatorId,
    /// For people: kind and the essential parameters in one line.
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
    /// One: it has no key to spread by.
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
    /// Gives all rows, or the first ones, in an order, when its input has ended; one subtask.
    Sort(Sort),
    /// Lets some rows pass, whichever come first.
    Limit(RowRange),
    /// Writes a table.
    Sink(SinkOperator),
    /// Keeps rows for the client to fetch; one subtask.
    Collect(CollectOperator),
}

/// Reads a table: connector, then computed columns, then watermarks per split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceOperator {
    /// The table's name in the script.
    pub table: String,
    /// Connector, format and their options, checked.
    pub connector: TableConnector,
    /// What the reader must produce: physical columns that the job uses, structs reduced to the fields it uses.
    pub physical: SchemaRef,
    /// Conjuncts over `physical` that the job applies anyway; a reader may use them to skip data, or ignore them.
    pub predicates: Vec<ColumnPredicate>,
    /// The operator's output columns over `physical`, in the order of the output schema; `None` where they are the same.
    pub projection: Option<Vec<ExprBytes>>,
    /// The table's watermark; `None` where it declares none.
    pub watermark: Option<WatermarkStrategy>,
}

/// A comparison of one physical column with a constant, simple enough for readers to skip data by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnPredicate {
    /// The column, and below it the fields of a struct.
    pub path: Vec<String>,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what; `None` for the comparisons with NULL.
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
    /// What a record promises.
    pub generator: WatermarkGenerator,
    /// A split that was asked and gave nothing for so long steps out of the minimum. Microseconds; `None`: never.
    pub idle_timeout_micros: Option<i64>,
}

/// What a record promises about those that follow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WatermarkGenerator {
    /// `column - delay`: at most so many microseconds out of order.
    BoundedDelay {
        /// Microseconds.
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

/// A window table function's shape. All in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowSpec {
    /// Windows `[n * size + offset, (n + 1) * size + offset)`.
    Tumble {
        /// Length.
        size: i64,
        /// Shift of all windows.
        offset: i64,
    },
    /// Windows of `size` that start every `slide`. `size` is a multiple of `slide`.
    Hop {
        /// Length.
        size: i64,
        /// Distance between starts.
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
        /// The gap.
        gap: i64,
    },
}

/// How an operator knows the windows of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Windowing {
    /// Assigned here, from an event-time column.
    EventTime {
        /// The timestamp column's index in the input.
        column: usize,
        /// The windows.
        spec: WindowSpec,
    },
    /// Already columns of the input.
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
    /// Rows in, partials out. Has no state across barriers: it flushes before each barrier and before each watermark that
    /// closes a window.
    Local,
    /// Partials in, results out.
    Global,
}

/// Aggregates per window and key.
///
/// Output: the keys, then the aggregates, then the window columns that `window_columns` asks for. Output of the local
/// phase: the keys, then every aggregate's state fields, then `slice_end` (timestamp in microseconds, not null), or for
/// attached windows `window_start`, `window_end`.
/// Input of the global phase: that.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowAggregate {
    /// Its part in a two-phase aggregation.
    pub phase: AggregatePhase,
    /// The windows. In the global phase, `column` and `start`, `end` are indexes into the local phase's output.
    pub windowing: Windowing,
    /// Indexes of the key columns in the input.
    pub keys: Vec<usize>,
    /// Logical aggregate function calls (with their `FILTER` and `DISTINCT`) over `row_schema`.
    pub aggregates: Vec<ExprBytes>,
    /// The schema of the rows that are aggregated: the input's in the single and local phase, the local phase's input in the
    /// global one.
    pub row_schema: SchemaRef,
    /// Whether `window_start`, `window_end`, `window_time` follow the aggregates, in this order.
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

/// Joins rows of equal windows and keys; inner.
///
/// Output: the left columns, then the right ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowJoin {
    /// (start, end) column indexes of the left input.
    pub left_window: (usize, usize),
    /// (start, end) column indexes of the right input.
    pub right_window: (usize, usize),
    /// Key column indexes, pairwise of the same type. May be empty: then parallelism is one.
    pub left_keys: Vec<usize>,
    /// As many as `left_keys`.
    pub right_keys: Vec<usize>,
    /// Further condition over the output schema.
    pub filter: Option<ExprBytes>,
}

/// Keeps the first `limit` rows per window and partition.
///
/// Output: the input's columns, then the row number (UInt64, from 1) where `emit_row_number`. Ties in the order are broken
/// by the whole row, so that the answer does not depend on arrival.
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
    /// Whether the row number is a last column of the output.
    pub emit_row_number: bool,
}

/// One column of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SortColumn {
    /// Index in the input.
    pub column: usize,
    /// Largest first.
    pub descending: bool,
    /// Where NULLs go.
    pub nulls_first: bool,
}

/// Gives the rows of a bounded input in an order, which ties in it do not break: the whole row does.
///
/// Output: the input's columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sort {
    /// The order.
    pub order: Vec<SortColumn>,
    /// Which of the rows in this order.
    pub range: RowRange,
}

/// A run of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RowRange {
    /// How many rows are left out at the beginning.
    pub offset: u64,
    /// How many follow; `None`: all.
    pub limit: Option<u64>,
}

impl RowRange {
    /// How many rows must be seen so that those of the range are known; `None`: all.
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
    /// The input's columns by whose values the rows lie in directories of their own, outermost first. Not all of its columns;
    /// `filesystem` only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partition_by: Vec<usize>,
}

/// Keeps rows for the client to fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectOperator {
    /// Which bare `SELECT` of the script it serves, from 0.
    pub query: u32,
}

/// An edge of the job graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    /// Emits.
    pub from: OperatorId,
    /// Receives.
    pub to: OperatorId,
    /// Which input of the receiver.
    pub port: u8,
    /// Which subtask gets which row.
    pub distribution: Distribution,
}

/// Which subtask gets which row.
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
    /// Whole batches in turn.
    Rebalance,
    /// All to subtask 0.
    Gather,
}

impl OperatorKind {
    /// How many inputs it has.
    #[must_use]
    pub fn ports(&self) -> u8 {
        match self {
            Self::Source(_) => 0,
            Self::WindowJoin(_) => 2,
            _ => 1,
        }
    }

    /// Whether it has no outputs.
    #[must_use]
    pub fn is_sink(&self) -> bool {
        matches!(self, Self::Sink(_) | Self::Collect(_))
    }
}

/// What is wrong with a job graph that came from elsewhere.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum GraphError {
    /// It isn't the text of a job graph.
    #[error("the job graph cannot be read: {0}")]
    Malformed(String),
    /// It is of another format.
    #[error("the job graph has format {found}, this engine reads {FORMAT}")]
    Format {
        /// What it says.
        found: u32,
    },
    /// It breaks a rule of this module.
    #[error("the job graph is inconsistent: {0}")]
    Inconsistent(String),
}

impl JobGraph {
    /// The persisted form: JSON text with the format's number inside.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a job graph has only string keys and finite numbers")
    }

    /// Reads the persisted form and checks it.
    ///
    /// # Errors
    /// When the bytes are not a consistent graph of this format.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, GraphError> {
        let graph: Self = serde_json::from_slice(bytes).map_err(|error| GraphError::Malformed(error.to_string()))?;
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

    /// The schema that feeds a port: that of any of its senders (they agree).
    #[must_use]
    pub fn input_schema(&self, operator: OperatorId, port: u8) -> Option<SchemaRef> {
        let edge = self.inputs(operator).find(|edge| edge.port == port)?;
        Some(self.operator(edge.from).output.clone())
    }
}
