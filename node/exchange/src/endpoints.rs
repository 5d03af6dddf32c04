//! The exchanges of one attempt on one node: the ports that other nodes may send to, and the outboxes towards other
//! nodes.
//!
//! ```text
//! Endpoints::builder: inbounds -> registered in the ExchangeRegistry -> outbounds -> connect() -> the attempt is ready
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock},
};

use futures::task::AtomicWaker;
use parking_lot::Mutex;
use thalweg_proto::convert::exchange::Hello;
use thalweg_types::{Attempt, ChannelId, ENGINE_VERSION, Exchange, JobId, KeyGroupTable, NodeId};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    error::PeerFailure,
    grant::{CreditCell, CreditOutbox, GrantTarget},
    inbound::{Inbound, InboundPort},
    ipc::Encoder,
    outbound::{Link, OutChannel, Outbound, Router},
    peer::PeerOutbox,
    traffic::Traffic,
};

/// Where a channel from another node ends.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    pub(crate) port: Arc<InboundPort>,
    pub(crate) index: usize,
    pub(crate) from: NodeId,
}

/// The endpoints of one attempt on one node.
#[derive(Debug)]
pub struct Endpoints {
    node: NodeId,
    job: JobId,
    attempt: Attempt,
    destinations: BTreeMap<ChannelId, Destination>,
    /// Nodes that have opened their stream. Each opens one, once.
    opened: Mutex<BTreeSet<NodeId>>,
    failures: mpsc::Sender<PeerFailure>,
    closing: CancellationToken,
    /// The node's, from the registration on.
    traffic: OnceLock<Arc<Traffic>>,
}

impl Endpoints {
    /// The endpoints of these inbounds. Broken streams and violations are reported to `failures`.
    pub fn new<'a>(
        node: NodeId,
        job: JobId,
        attempt: Attempt,
        inbounds: impl IntoIterator<Item = &'a Inbound>,
        failures: mpsc::Sender<PeerFailure>,
    ) -> Self {
        let mut destinations = BTreeMap::new();
        for inbound in inbounds {
            for (channel, index) in inbound.channels().iter().zip(0..) {
                let destination = Destination { port: inbound.port().clone(), index, from: channel.from };
                destinations.insert(channel.id, destination);
            }
        }
        let (opened, closing, traffic) = (Mutex::default(), CancellationToken::new(), OnceLock::new());
        Self { node, job, attempt, destinations, opened, failures, closing, traffic }
    }

    /// The attempt's job.
    #[must_use]
    pub fn job(&self) -> JobId {
        self.job
    }

    /// The attempt's number.
    #[must_use]
    pub fn attempt(&self) -> Attempt {
        self.attempt
    }

    /// Ends the attempt's streams, in both directions.
    pub fn close(&self) {
        self.closing.cancel();
    }

    pub(crate) fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    /// Counts what goes over the attempt's streams there, too.
    pub(crate) fn count_in(&self, traffic: &Arc<Traffic>) {
        self.traffic.get_or_init(|| traffic.clone());
    }

    pub(crate) fn traffic(&self) -> Option<&Arc<Traffic>> {
        self.traffic.get()
    }

    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    pub(crate) fn hello_to(&self, to: NodeId) -> Hello {
        let version = ENGINE_VERSION.to_owned();
        Hello { version, job: self.job, attempt: self.attempt, from: self.node, to }
    }

    pub(crate) fn destination(&self, channel: ChannelId) -> Option<&Destination> {
        self.destinations.get(&channel)
    }

    /// Reports that a stream broke. Only the first failure matters, so a full queue loses nothing.
    pub(crate) fn report(&self, peer: NodeId, message: String) {
        let _ = self.failures.try_send(PeerFailure { peer, message });
    }

    /// Checks that a stream belongs here: its sender has this version, means this node, and has a channel to it.
    pub(crate) fn check(&self, hello: &Hello) -> Result<(), String> {
        if hello.version != ENGINE_VERSION {
            return Err(format!("engine {} sends to engine {ENGINE_VERSION}", hello.version));
        }
        if hello.to != self.node {
            return Err(format!("the stream is meant for {}, this is {}", hello.to, self.node));
        }
        let is_theirs = |destination: &Destination| destination.from == hello.from;
        if !self.destinations.values().any(is_theirs) || hello.from == self.node {
            return Err(format!("no channel leads from {} to {} here", hello.from, self.node));
        }
        Ok(())
    }

    /// Accepts the stream of a node. From now on its channels' credits go to the returned outbox.
    pub(crate) fn accept(&self, hello: &Hello) -> Result<(Arc<CreditOutbox>, BTreeSet<ChannelId>), String> {
        self.check(hello)?;
        if !self.opened.lock().insert(hello.from) {
            return Err(format!("{} has opened its stream before", hello.from));
        }
        let outbox = Arc::new(CreditOutbox::default());
        let mut channels = BTreeSet::new();
        for (id, destination) in self.destinations.iter().filter(|(_, destination)| destination.from == hello.from) {
            destination.port.connect(destination.index, GrantTarget::Remote(outbox.clone()));
            channels.insert(*id);
        }
        Ok((outbox, channels))
    }
}

/// What all outbounds of an attempt share.
#[derive(Debug, Clone)]
pub struct OutboundConfig {
    /// The most rows of a merged batch.
    pub batch_rows: usize,
    /// Whether batches to other nodes are compressed with LZ4.
    pub lz4: bool,
    /// Which slice owns which key group.
    pub key_groups: KeyGroupTable,
}

/// Builds the outbounds of an attempt on one node, and collects its channels to other nodes.
#[derive(Debug)]
pub struct OutboundBuilder<'a> {
    endpoints: &'a Endpoints,
    config: OutboundConfig,
    cells: BTreeMap<NodeId, BTreeMap<ChannelId, Arc<CreditCell>>>,
    drafts: Vec<Draft>,
}

#[derive(Debug)]
struct Draft {
    exchange: u32,
    router: Router,
    channels: Vec<(ChannelId, NodeId, Arc<CreditCell>)>,
    waker: Arc<AtomicWaker>,
}

impl<'a> OutboundBuilder<'a> {
    /// A builder of outbounds towards these endpoints and other nodes.
    #[must_use]
    pub fn new(endpoints: &'a Endpoints, config: OutboundConfig) -> Self {
        Self { endpoints, config, cells: BTreeMap::new(), drafts: Vec::new() }
    }

    /// Adds the output of one subtask over one exchange: its channels by receiver, each with the receiver's node.
    pub fn add(&mut self, exchange: &Exchange, channels: &[(ChannelId, NodeId)]) {
        let waker = Arc::new(AtomicWaker::new());
        let cell = |(id, node): &(ChannelId, NodeId)| (*id, *node, Arc::new(CreditCell::new(waker.clone())));
        let channels: Vec<_> = channels.iter().map(cell).collect();
        for (id, node, cell) in &channels {
            if *node != self.endpoints.node {
                self.cells.entry(*node).or_default().insert(*id, cell.clone());
            }
        }
        let router = Router::new(&exchange.edge.distribution, &self.config.key_groups, channels.len());
        self.drafts.push(Draft { exchange: exchange.index, router, channels, waker });
    }

    /// The outbounds in the order in which they were added, and the links that must be connected before these can send.
    ///
    /// # Panics
    /// A channel to this node has no inbound here. The caller derives both from one plan.
    #[must_use]
    pub fn build(self) -> (Vec<Outbound>, Vec<PeerLink>) {
        let Self { endpoints, config, cells, drafts } = self;
        let outbox = |(node, cells)| (node, Arc::new(PeerOutbox::new(node, endpoints.hello_to(node), cells)));
        let outboxes: BTreeMap<NodeId, Arc<PeerOutbox>> = cells.into_iter().map(outbox).collect();
        let outbounds = drafts.into_iter().map(|draft| {
            let channels = draft.channels.into_iter().map(|(id, node, cell)| {
                let link = match outboxes.get(&node) {
                    None => local_link(endpoints, id, &cell),
                    Some(outbox) => {
                        let index = outbox.index_of(id).expect("the outbox was made of these channels");
                        Link::Remote { outbox: outbox.clone(), index, encoder: Box::new(Encoder::new(config.lz4)) }
                    }
                };
                OutChannel::new(id, node, link, cell, config.batch_rows)
            });
            Outbound::new(draft.exchange, draft.router, channels.collect(), draft.waker)
        });
        let outbounds = outbounds.collect();
        (outbounds, outboxes.into_values().map(PeerLink).collect())
    }
}

fn local_link(endpoints: &Endpoints, id: ChannelId, cell: &Arc<CreditCell>) -> Link {
    let destination = endpoints.destination(id).expect("both ends of a local channel are in the plan");
    destination.port.connect(destination.index, GrantTarget::Local(cell.clone()));
    Link::Local { port: destination.port.clone(), index: destination.index }
}

/// A node to which channels lead, to be connected.
#[derive(Debug)]
pub struct PeerLink(pub(crate) Arc<PeerOutbox>);

impl PeerLink {
    /// The node's id.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.0.node()
    }
}
