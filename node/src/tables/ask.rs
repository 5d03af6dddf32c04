//! Gathers the rows of a request from the nodes that have them: all of them, or none.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::future::join_all;
use thalweg_proto::{compute::on_compute, network::Network};
use thalweg_runtime::{QueryableTables, TableAnswer, TableRefusal, TableRequest, merge_answers};
use thalweg_types::{NodeId, seam::Seams, text::with_causes};
use tokio::{sync::Semaphore, time};

use super::{
    places::Places,
    request::Asked,
    rpc::{AskError, Peers, TablePlace},
};

/// How long a node may take to answer.
const NODE_WITHIN: Duration = Duration::from_secs(3);
/// Requests at a time: each may hold the rows of all nodes' answers.
const ASKING_MAX: usize = 32;
/// How long a request waits for its turn.
const TURN_WITHIN: Duration = Duration::from_secs(3);

/// Why a request gets no rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No job has the table. These are the tables that there are.
    Unknown(Vec<String>),
    /// It cannot be asked so.
    Malformed(String),
    /// Not now: part of it has no node that answers.
    Unavailable(String),
    /// A node did not answer in time.
    Slow(String),
    /// Something failed that would fail again.
    Failed(String),
}

/// Asks nodes for the rows of tables.
#[derive(Debug)]
pub(crate) struct Asker {
    own: NodeId,
    tables: QueryableTables,
    places: Places,
    peers: Peers,
    seams: Seams,
    turns: Semaphore,
}

/// Slices of a table, and the node that has them.
struct Holder {
    node: NodeId,
    address: String,
    slices: BTreeSet<u32>,
}

impl Asker {
    pub(crate) fn new(
        own: NodeId,
        tables: QueryableTables,
        places: Places,
        network: Arc<dyn Network>,
        seams: Seams,
    ) -> Self {
        Self { own, tables, places, peers: Peers::new(network), seams, turns: Semaphore::new(ASKING_MAX) }
    }

    pub(super) fn seams(&self) -> &Seams {
        &self.seams
    }

    /// All rows that a request asks for, up to its limit.
    pub(super) async fn rows(&self, asked: Asked) -> Result<TableAnswer, Refusal> {
        let busy = || Refusal::Unavailable("too many requests for tables are being answered".to_owned());
        let turn = time::timeout(TURN_WITHIN, self.turns.acquire()).await;
        let _turn = turn.ok().and_then(Result::ok).ok_or_else(busy)?;
        let table = asked.table.clone();
        let (job, attempt, slices) = match self.places.find(&table).await {
            TablePlace::At { job, attempt, slices } => (job, attempt, slices),
            TablePlace::NotNow(reason) => return Err(Refusal::Unavailable(reason)),
            TablePlace::Nowhere(tables) => return Err(Refusal::Unknown(tables)),
        };
        let request = TableRequest { table, job, attempt, key: asked.key, limit: asked.limit };
        let gathered = self.gather(&request, &slices).await;
        if matches!(gathered, Err(Refusal::Unavailable(_) | Refusal::Slow(_))) {
            self.places.doubt(&request.table);
        }
        gathered
    }

    async fn gather(&self, request: &TableRequest, slices: &[(NodeId, String)]) -> Result<TableAnswer, Refusal> {
        let mut wanted: BTreeSet<u32> = (0..).zip(slices).map(|(slice, _)| slice).collect();
        if let Some(owner) = self.tables.owner(request) {
            wanted.retain(|slice| *slice == owner);
        }
        let mut holders: BTreeMap<NodeId, Holder> = BTreeMap::new();
        for (slice, (node, address)) in (0..).zip(slices).filter(|(slice, _)| wanted.contains(slice)) {
            let new = || Holder { node: *node, address: address.clone(), slices: BTreeSet::new() };
            holders.entry(*node).or_insert_with(new).slices.insert(slice);
        }
        let asking = holders.values().map(|holder| self.ask(holder, request));
        let answers: Vec<TableAnswer> = join_all(asking).await.into_iter().collect::<Result<_, _>>()?;
        let (table, limit) = (request.table.clone(), request.limit);
        let merged = on_compute(&self.seams, "merge a table", move || merge_answers(&table, answers, limit)).await;
        let failed = |reason: String| Refusal::Failed(reason);
        let merged = merged.ok_or_else(|| failed("merging the table's parts has failed".to_owned()))?;
        let merged = merged.map_err(|refusal| failed(with_causes(&refusal)))?;
        merged.ok_or_else(|| Refusal::Unavailable(format!("no node has a part of table {}", request.table)))
    }

    /// Asks one node. An answer without one of its slices is none: the subtask is not there yet, or not any more.
    async fn ask(&self, holder: &Holder, request: &TableRequest) -> Result<TableAnswer, Refusal> {
        let Holder { node, address, slices } = holder;
        let asked = async {
            if *node == self.own {
                self.ask_here(request.clone()).await
            } else {
                self.peers.read(address, request.clone()).await
            }
        };
        let table = &request.table;
        let not_there =
            || Refusal::Unavailable(format!("{node} has no part of table {table} now: its job is starting or ending"));
        let Ok(answer) = time::timeout(NODE_WITHIN, asked).await else {
            let within = NODE_WITHIN.as_secs();
            return Err(Refusal::Slow(format!("{node} at {address} did not answer for table {table} in {within} s")));
        };
        let answer = answer.map_err(|error| match error {
            AskError::NotHere => not_there(),
            AskError::Malformed(reason) => Refusal::Malformed(reason),
            AskError::Failed(reason) => {
                Refusal::Unavailable(format!("{node} at {address} could not be asked for table {table}: {reason}"))
            }
        })?;
        if slices.iter().all(|slice| answer.slices.contains(slice)) { Ok(answer) } else { Err(not_there()) }
    }

    async fn ask_here(&self, request: TableRequest) -> Result<TableAnswer, AskError> {
        let tables = self.tables.clone();
        let read = on_compute(&self.seams, "read a table", move || tables.read(&request)).await;
        let read = read.ok_or_else(|| AskError::Failed("reading the table has failed".to_owned()))?;
        read.map_err(|refusal| match refusal {
            TableRefusal::NotHere { .. } => AskError::NotHere,
            TableRefusal::Malformed { reason } => AskError::Malformed(reason),
            TableRefusal::Unreadable { .. } => AskError::Failed(with_causes(&refusal)),
        })
    }
}
