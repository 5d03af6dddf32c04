use std::sync::Arc;

use thalweg_proto::{
    convert::exchange::{ChannelFrame, Hello, Payload, ReceiverFrame, SenderFrame},
    network::{MemoryNetwork, Network, channel},
    v1::{self, exchange_client::ExchangeClient},
};
use thalweg_types::{ChannelId, ENGINE_VERSION, NodeId};
use tokio::sync::mpsc;

use super::rig::{ATTEMPT, JOB, address_of, batch, serve};
use crate::{Endpoints, ExchangeRegistry, Inbound, InboundChannel};

/// A violation is reported to the peer that committed it, and to the attempt.
#[tokio::test]
async fn a_violation_is_refused_and_told() {
    let network = Arc::new(MemoryNetwork::default());
    let id = ChannelId { exchange: 0, from: 0, to: 0 };
    let inbound = InboundChannel { id, schema: batch([0], 1).schema(), from: NodeId(1) };
    let (report, mut told) = mpsc::channel(1);
    let inbound = Inbound::new(vec![inbound], 1000);
    let registry = ExchangeRegistry::default();
    registry.register(Arc::new(Endpoints::new(NodeId(2), JOB, ATTEMPT, [&inbound], report)));
    serve(&network, NodeId(2), registry).await;
    let version = ENGINE_VERSION.to_owned();
    let hello = Hello { version, job: JOB, attempt: ATTEMPT, from: NodeId(1), to: NodeId(2) };
    let skipped = SenderFrame::Channel(ChannelFrame { channel: id, sequence: 5, payload: Payload::End });
    let frames: Vec<v1::SenderFrame> = vec![SenderFrame::Hello(hello).into(), skipped.into()];
    let network: Arc<dyn Network> = network;
    let mut client = ExchangeClient::new(channel(&network, &address_of(NodeId(2))).unwrap());
    let mut answers = client.open(futures::stream::iter(frames)).await.unwrap().into_inner();
    let mut refused = None;
    while let Ok(Some(answer)) = answers.message().await {
        if let ReceiverFrame::Refused { reason } = ReceiverFrame::try_from(answer).unwrap() {
            refused = Some(reason);
        }
    }
    assert!(refused.unwrap().contains("frame 5 of exchange-0:0->0 where 0 was due"));
    let failure = told.recv().await.unwrap();
    assert_eq!(failure.peer, NodeId(1));
    assert!(failure.message.contains("broke the protocol"), "{}", failure.message);
}
