//! What attempts are handed by the node.

use std::sync::Arc;

use thalweg_connectors::ConnectorContext;
use thalweg_exchange::{ExchangeRegistry, network::Network};
use thalweg_types::{NodeId, seam::Seams};

use crate::{checkpoint::LocalState, collect::CollectStore};

/// What attempts are handed by the node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RuntimeContext {
    /// This node.
    pub node: NodeId,
    /// Time, entropy and tasks.
    pub seams: Seams,
    /// Dials other nodes.
    pub network: Arc<dyn Network>,
    /// Where other nodes' streams find their attempt: shared with the exchange service.
    pub exchange: ExchangeRegistry,
    /// Opens tables.
    pub connectors: ConnectorContext,
    /// Keeps the rows of bare `SELECT`s.
    pub collect: CollectStore,
    /// What this node holds of checkpoints: empty at its start.
    pub local: LocalState,
    /// Memory for state, exchanges and decoding.
    pub memory_budget_bytes: u64,
}
