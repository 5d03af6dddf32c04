//! Several nodes in one process: a network in memory, tasks on the test's runtime, and the batches that they exchange.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray};
use thalweg_proto::{
    network::{MemoryNetwork, Network},
    testing::TestSpawner,
};
use thalweg_types::{
    Attempt, ChainId, ChannelId, Exchange, JobId, KeyGroupTable, NodeId, OperatorId,
    graph::{Distribution, Edge},
    seam::Spawner,
};
use tokio::sync::mpsc;

use crate::{
    Element, Endpoints, ExchangeRegistry, ExchangeService, Inbound, InboundChannel, Outbound, OutboundBuilder,
    OutboundConfig, PeerFailure, connect,
};

pub(super) const JOB: JobId = JobId(7);
pub(super) const ATTEMPT: Attempt = Attempt(2);

/// Rows with a key, and a text of some width.
pub(super) fn batch(keys: impl IntoIterator<Item = i64>, width: usize) -> RecordBatch {
    let keys: Vec<i64> = keys.into_iter().collect();
    let text: StringViewArray = keys.iter().map(|key| Some(format!("{key} {}", "x".repeat(width)))).collect();
    let columns: [(&str, ArrayRef); 2] = [("key", Arc::new(Int64Array::from(keys))), ("text", Arc::new(text))];
    RecordBatch::try_from_iter(columns).unwrap()
}

pub(super) fn keys_of(batch: &RecordBatch) -> Vec<i64> {
    batch.column(0).as_primitive::<arrow::datatypes::Int64Type>().values().to_vec()
}

/// One exchange with a sender on node 1 and receivers on the given nodes.
pub(super) struct Plan {
    pub(super) distribution: Distribution,
    pub(super) receivers: Vec<NodeId>,
    pub(super) window: u64,
    pub(super) lz4: bool,
}

pub(super) struct Rig {
    pub(super) outbound: Outbound,
    pub(super) inbounds: Vec<Inbound>,
    /// The failures reported to the endpoints of each node.
    pub(super) failures: BTreeMap<NodeId, mpsc::Receiver<PeerFailure>>,
    pub(super) endpoints: BTreeMap<NodeId, Arc<Endpoints>>,
    pub(super) network: Arc<MemoryNetwork>,
}

impl Plan {
    fn channels(&self) -> Vec<(ChannelId, NodeId)> {
        let channel = |(node, to): (&NodeId, u32)| (ChannelId { exchange: 0, from: 0, to }, *node);
        self.receivers.iter().zip(0..).map(channel).collect()
    }

    pub(super) async fn build(self) -> Rig {
        let sender = NodeId(1);
        let channels = self.channels();
        let schema = batch([0], 1).schema();
        let inbound = |(id, _): &(ChannelId, NodeId)| {
            Inbound::new(vec![InboundChannel { id: *id, schema: schema.clone(), from: sender }], self.window)
        };
        let inbounds: Vec<Inbound> = channels.iter().map(inbound).collect();
        let network = Arc::new(MemoryNetwork::default());
        let (mut endpoints, mut failures) = (BTreeMap::new(), BTreeMap::new());
        for node in channels.iter().map(|(_, node)| *node).chain([sender]) {
            let local = inbounds.iter().zip(&channels).filter(|(_, (_, at))| *at == node).map(|(inbound, _)| inbound);
            let (report, reported) = mpsc::channel(16);
            endpoints.entry(node).or_insert_with(|| Arc::new(Endpoints::new(node, JOB, ATTEMPT, local, report)));
            failures.entry(node).or_insert(reported);
        }
        for (node, endpoints) in &endpoints {
            let registry = ExchangeRegistry::default();
            registry.register(endpoints.clone());
            serve(&network, *node, registry).await;
        }
        let here = &endpoints[&sender];
        let parallelism = u32::try_from(channels.len()).unwrap();
        let key_groups = KeyGroupTable::even(128, parallelism);
        let config = OutboundConfig { batch_rows: 8192, lz4: self.lz4, key_groups };
        let mut builder = OutboundBuilder::new(here, config);
        let edge = Edge { from: OperatorId(0), to: OperatorId(1), port: 0, distribution: self.distribution };
        builder.add(&Exchange { index: 0, from: ChainId(0), to: ChainId(1), edge }, &channels);
        let (mut outbounds, links) = builder.build();
        let spawner: Arc<dyn Spawner> = Arc::new(TestSpawner);
        let dialled: Arc<dyn Network> = network.clone();
        for link in links {
            let address = address_of(link.node());
            connect(&dialled, &spawner, here, &address, link).await.unwrap();
        }
        let mut outbound = outbounds.remove(0);
        outbound.flush().unwrap();
        Rig { outbound, inbounds, failures, endpoints, network }
    }
}

pub(super) fn address_of(node: NodeId) -> String {
    format!("{node}:1")
}

/// Runs an exchange service for a node.
pub(super) async fn serve(network: &MemoryNetwork, node: NodeId, registry: ExchangeRegistry) {
    let listener = network.listen(&address_of(node)).await.unwrap();
    let service = ExchangeService::new(registry).into_server();
    let server = tonic::transport::Server::builder().add_service(service).serve_with_incoming(listener.incoming);
    TestSpawner.spawn("server", Box::pin(async move { server.await.unwrap() }));
}

impl Rig {
    /// Pushes batches as credit allows, then ends. Meanwhile the receivers take everything and return its credit.
    pub(super) async fn transfer(&mut self, batches: &[RecordBatch]) -> Vec<Vec<Element>> {
        let outbound = &mut self.outbound;
        let send = async {
            for batch in batches {
                std::future::poll_fn(|context| outbound.poll_flush(context)).await.unwrap();
                outbound.push(batch).unwrap();
            }
            outbound.broadcast(crate::Control::End).unwrap();
            std::future::poll_fn(|context| {
                let _ = outbound.poll_flush(context).map(Result::unwrap);
                if outbound.is_drained() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
            })
            .await;
        };
        let receive = self.inbounds.iter_mut().map(|inbound| async {
            let mut seen = Vec::new();
            loop {
                let (channel, element) = inbound.next().await.unwrap();
                if let Element::Batch { cost, .. } = &element {
                    inbound.release(channel, *cost);
                }
                let is_end = element == Element::End;
                seen.push(element);
                if is_end {
                    return seen;
                }
                // Lets the receivers run.
                tokio::task::yield_now().await;
            }
        });
        futures::future::join(send, futures::future::join_all(receive)).await.1
    }
}

/// The keys of all batches among elements.
pub(super) fn keys_in(elements: &[Element]) -> Vec<i64> {
    let keys = |element: &Element| match element {
        Element::Batch { batch, .. } => keys_of(batch),
        _ => Vec::new(),
    };
    elements.iter().flat_map(keys).collect()
}
