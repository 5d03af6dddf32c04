//! Why a subtask or a deployment fails, and which kind of failure that is for the attempt.

use thalweg_connectors::ConnectorError;
use thalweg_exchange::ExchangeError;
use thalweg_flow::BarrierViolation;
use thalweg_operators::OperatorError;
use thalweg_storage::StorageError;
use thalweg_types::{
    ChannelId, NodeId,
    checkpoint::UnmatchedState,
    graph::GraphError,
    job::{Failure, FailureKind},
    text::with_causes,
};
use thiserror::Error;

/// Why a subtask cannot be built or cannot continue.
#[derive(Debug, Error)]
pub(crate) enum SubtaskError {
    /// An operator failed on its data, or cannot be built.
    #[error("operator {operator} failed")]
    Operator {
        operator: String,
        #[source]
        source: OperatorError,
    },
    /// A row could not be evaluated, and the job has no path for such rows.
    #[error("operator {operator} failed: {fault}; the row: {row}; SET 'error.path' = DIRECTORY sets such rows aside")]
    Row {
        operator: String,
        fault: String,
        /// The row as JSON.
        row: String,
    },
    /// A source or sink failed.
    #[error("table {table} failed")]
    Connector {
        table: String,
        #[source]
        source: ConnectorError,
    },
    /// Records could not be written to a side output.
    #[error("could not write a side output")]
    SideOutput {
        #[source]
        source: ConnectorError,
    },
    /// The checkpoint to restore from cannot be read, or there is no place for new ones.
    #[error("checkpoints cannot be used")]
    Checkpoint(#[from] StorageError),
    /// The checkpoint to restore from holds state that no operator can go on from.
    #[error("the checkpoint cannot be restored")]
    Unmatched(#[from] UnmatchedState),
    /// State could not be restored.
    #[error("the state of operator {operator} could not be restored")]
    Restore {
        operator: String,
        #[source]
        source: OperatorError,
    },
    /// The checkpoint to restore from holds rows that have other columns than the dataflow.
    #[error(
        "the checkpoint cannot be restored: its rows {what} have other columns than the job's dataflow: {difference}; go on with \
         {release}, which wrote it"
    )]
    OtherColumns {
        /// On their way from where to where, or held for which table.
        what: String,
        /// What differs first.
        difference: String,
        /// What took the checkpoint.
        release: String,
    },
    /// An exchange failed.
    #[error("an exchange failed")]
    Exchange(#[from] ExchangeError),
    /// A sender broke the order of barriers.
    #[error("barriers on {channel} are out of order")]
    Barrier {
        channel: ChannelId,
        peer: NodeId,
        #[source]
        source: BarrierViolation,
    },
    /// Splits could not be assigned, or their assignment could not be understood.
    #[error("splits cannot be assigned: {reason}")]
    Assignment { reason: String },
    /// State outgrew its share of the node's memory.
    #[error(
        "state holds {held_bytes} bytes, more than its share of {limit_bytes}; operator {operator} holds \
         {operator_bytes} of them"
    )]
    StateTooLarge { operator: String, operator_bytes: usize, held_bytes: usize, limit_bytes: u64 },
    /// The actor panicked.
    #[error("the subtask panicked: {message}")]
    Panic { message: String },
    /// The plan cannot run.
    #[error("the deployment cannot run: {reason}")]
    Plan { reason: String },
    /// The job graph is invalid.
    #[error("the deployment cannot run")]
    Graph(#[from] GraphError),
}

impl SubtaskError {
    /// The other node, if the error concerns a stream to it.
    pub(crate) fn peer(&self) -> Option<NodeId> {
        match self {
            Self::Exchange(error) => error.peer(),
            Self::Barrier { peer, .. } => Some(*peer),
            Self::Operator { .. }
            | Self::Row { .. }
            | Self::Connector { .. }
            | Self::SideOutput { .. }
            | Self::Checkpoint(_)
            | Self::Restore { .. }
            | Self::Unmatched(_)
            | Self::OtherColumns { .. }
            | Self::Assignment { .. }
            | Self::StateTooLarge { .. }
            | Self::Panic { .. }
            | Self::Plan { .. }
            | Self::Graph(_) => None,
        }
    }

    /// Whether the same rows may succeed in smaller batches: nothing has changed.
    pub(crate) fn asks_for_fewer_rows(&self) -> bool {
        match self {
            Self::Operator { source, .. } => source.asks_for_fewer_rows(),
            Self::Row { .. }
            | Self::Connector { .. }
            | Self::SideOutput { .. }
            | Self::Checkpoint(_)
            | Self::Restore { .. }
            | Self::Unmatched(_)
            | Self::OtherColumns { .. }
            | Self::Exchange(_)
            | Self::Barrier { .. }
            | Self::Assignment { .. }
            | Self::StateTooLarge { .. }
            | Self::Panic { .. }
            | Self::Plan { .. }
            | Self::Graph(_) => false,
        }
    }

    fn kind(&self) -> FailureKind {
        match self {
            Self::Operator { source: OperatorError::Arrow { .. }, .. }
            | Self::Assignment { .. }
            | Self::Panic { .. } => FailureKind::Operator,
            Self::Checkpoint(source) => source.failure_kind(),
            Self::Operator { .. }
            | Self::Row { .. }
            | Self::Restore { .. }
            | Self::Unmatched(_)
            | Self::OtherColumns { .. }
            | Self::StateTooLarge { .. }
            | Self::Plan { .. }
            | Self::Graph(_) => FailureKind::Data,
            Self::Connector { source, .. } | Self::SideOutput { source } => source.failure_kind(),
            Self::Exchange(ExchangeError::Arrow { .. }) => FailureKind::Operator,
            Self::Exchange(_) | Self::Barrier { .. } => FailureKind::Link,
        }
    }

    /// The failure to report, with the chain of causes.
    pub(crate) fn failure(&self) -> Failure {
        Failure { kind: self.kind(), message: with_causes(self) }
    }
}

/// The message of a panic.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
