//! What a node hands to its attempts.

use std::sync::Arc;

use thalweg_connectors::ConnectorContext;
use thalweg_exchange::{ExchangeRegistry, network::Network};
use thalweg_types::{NodeId, seam::Seams};

use crate::{checkpoint::LocalState, collect::CollectStore, queryable::QueryableTables};

/// What a node hands to its attempts. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RuntimeContext {
    /// This node's id.
    pub node: NodeId,
    /// Clock, entropy and task spawners.
    pub seams: Seams,
    /// Connections to other nodes.
    pub network: Arc<dyn Network>,
    /// The endpoints of each attempt, shared with the exchange service.
    pub exchange: ExchangeRegistry,
    /// Opens tables.
    pub connectors: ConnectorContext,
    /// The rows of bare `SELECT`s.
    pub collect: CollectStore,
    /// The newest rows that jobs keep here for those who ask.
    pub queryable: QueryableTables,
    /// State of checkpoints that this node still holds; empty when the process starts.
    pub local: LocalState,
    /// Memory for state, exchanges and decoding, in bytes.
    pub memory_budget_bytes: u64,
}
