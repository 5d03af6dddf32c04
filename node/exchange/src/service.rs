//! The receiving side of the streams: a gRPC service that any number of attempts share.
//!
//! One future per stream does both directions. It moves frames from the wire into the ports' queues, which never blocks
//! because credit bounds what can arrive, and it sends the credits that come back. Every frame is checked. The first
//! that breaks a rule is answered with `Refused`, reported to the attempt, and ends the stream. A stream that ends
//! before its attempt is reported too. Only barriers may follow a channel's end.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
use futures::Stream;
use thalweg_proto::{
    MESSAGE_BYTES_MAX,
    convert::exchange::{ChannelFrame, Hello, Payload, ReceiverFrame, SenderFrame},
    v1::{self, exchange_server},
};
use thalweg_types::{ChannelId, NodeId};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    endpoints::{Destination, Endpoints},
    grant::CreditOutbox,
    inbound::QueuedBatch,
    ipc::{EncodedBatch, body_bytes_max},
    queue::Item,
    registry::ExchangeRegistry,
};

/// How long a stream waits until its attempt is set up on this node, which includes reading its state. This is longer
/// than the leader allows for a deployment. If the attempt is cancelled, the sender closes the stream earlier.
pub(crate) const DEPLOYMENT_PATIENCE: Duration = Duration::from_secs(600);
/// How long a new stream may take to say which attempt it is for.
const HELLO_PATIENCE: Duration = Duration::from_secs(5);

/// The exchange service of a node.
#[derive(Debug, Clone)]
pub struct ExchangeService {
    registry: ExchangeRegistry,
}

impl ExchangeService {
    /// A service that receives for the attempts of this registry.
    #[must_use]
    pub fn new(registry: ExchangeRegistry) -> Self {
        Self { registry }
    }

    /// The gRPC service to mount into a server.
    #[must_use]
    pub fn into_server(self) -> exchange_server::ExchangeServer<Self> {
        exchange_server::ExchangeServer::new(self)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    async fn hello(frames: &mut Streaming<v1::SenderFrame>) -> Result<Hello, Status> {
        let first = tokio::time::timeout(HELLO_PATIENCE, frames.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("the stream did not say what it is"))??;
        match first.map(SenderFrame::try_from).transpose()? {
            Some(SenderFrame::Hello(hello)) => Ok(hello),
            Some(SenderFrame::Channel(_)) | None => Err(Status::invalid_argument("a stream begins with a Hello")),
        }
    }
}

#[tonic::async_trait]
impl exchange_server::Exchange for ExchangeService {
    type OpenStream = ReceivingStream;

    async fn open(&self, request: Request<Streaming<v1::SenderFrame>>) -> Result<Response<Self::OpenStream>, Status> {
        let mut frames = request.into_inner();
        let hello = Self::hello(&mut frames).await?;
        self.registry.on_proof(&hello);
        let endpoints = self.registry.find(hello.job, hello.attempt, DEPLOYMENT_PATIENCE).await;
        let endpoints = endpoints.map_err(|not_here| Status::not_found(not_here.to_string()))?;
        let (outbox, channels) = endpoints.accept(&hello).map_err(Status::failed_precondition)?;
        let closing = Box::pin(endpoints.closing().clone().cancelled_owned());
        let receiver = Receiver::new(hello.from, endpoints, &channels);
        Ok(Response::new(ReceivingStream { frames, receiver, outbox, closing, is_over: false }))
    }
}

/// Both directions of one stream, as the response that gRPC polls.
pub struct ReceivingStream {
    frames: Streaming<v1::SenderFrame>,
    receiver: Receiver,
    outbox: Arc<CreditOutbox>,
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
    is_over: bool,
}

impl std::fmt::Debug for ReceivingStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReceivingStream({:?})", self.receiver)
    }
}

impl ReceivingStream {
    /// Takes frames while there are any. `Ready` ends the stream, with a reason if a rule was broken.
    fn poll_frames(&mut self, context: &mut Context<'_>) -> Poll<Option<String>> {
        loop {
            let Poll::Ready(next) = Pin::new(&mut self.frames).poll_next(context) else { return Poll::Pending };
            let frame = match next {
                None => return Poll::Ready(None),
                Some(Err(status)) => {
                    self.receiver.broke = Some(status.to_string());
                    return Poll::Ready(None);
                }
                Some(Ok(frame)) => SenderFrame::try_from(frame).map_err(|error| error.to_string()),
            };
            if let Err(reason) = frame.and_then(|frame| self.receiver.on_frame(frame)) {
                return Poll::Ready(Some(reason));
            }
        }
    }
}

impl Stream for ReceivingStream {
    type Item = Result<v1::ReceiverFrame, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over || self.closing.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(end) = self.poll_frames(context) {
            self.is_over = true;
            let Some(reason) = end else { return Poll::Ready(None) };
            self.receiver.broke = Some(format!("it broke the protocol: {reason}"));
            return Poll::Ready(Some(Ok(ReceiverFrame::Refused { reason }.into())));
        }
        let credit = self.outbox.poll_next(context);
        credit.map(|(channel, granted)| Some(Ok(ReceiverFrame::Credit { channel, granted }.into())))
    }
}

/// The state of one channel of a stream.
#[derive(Debug, Default)]
struct Progress {
    sequence: u64,
    partial: Option<Partial>,
    ended: bool,
}

/// A batch of which parts are still to come.
#[derive(Debug)]
struct Partial {
    cost: u64,
    header: bytes::Bytes,
    body: BytesMut,
}

/// Checks frames and passes them to the ports. When dropped before the attempt is closed, reports that to the attempt.
#[derive(Debug)]
pub(crate) struct Receiver {
    from: NodeId,
    endpoints: Arc<Endpoints>,
    channels: BTreeMap<ChannelId, Progress>,
    broke: Option<String>,
}

impl Receiver {
    pub(crate) fn new(from: NodeId, endpoints: Arc<Endpoints>, channels: &BTreeSet<ChannelId>) -> Self {
        let channels = channels.iter().map(|id| (*id, Progress::default())).collect();
        Self { from, endpoints, channels, broke: None }
    }

    /// Takes one frame. Returns which rule it breaks otherwise.
    pub(crate) fn on_frame(&mut self, frame: SenderFrame) -> Result<(), String> {
        if let Some(traffic) = self.endpoints.traffic() {
            traffic.count_received(&frame);
        }
        let SenderFrame::Channel(ChannelFrame { channel, sequence, payload }) = frame else {
            return Err("a second Hello".to_owned());
        };
        let Some(progress) = self.channels.get_mut(&channel) else {
            return Err(format!("{channel} is not one of {}", self.from));
        };
        if progress.ended && !matches!(payload, Payload::Barrier(_)) {
            return Err(format!("{channel} goes on after its end"));
        }
        if sequence != progress.sequence {
            return Err(format!("frame {sequence} of {channel} where {} was due", progress.sequence));
        }
        progress.sequence += 1;
        let Some(Destination { port, index, .. }) = self.endpoints.destination(channel) else { return Ok(()) };
        let charge = |cost| port.charge(*index, cost).map_err(|violation| violation.to_string());
        let item = progress.on_payload(payload, charge).map_err(|reason| format!("{channel}: {reason}"))?;
        if let Some(item) = item {
            port.append(*index, item);
        }
        Ok(())
    }
}

impl Progress {
    /// Takes a payload, and returns the item that it completes. A batch is charged with its first part, before any of
    /// it is kept.
    fn on_payload(
        &mut self,
        payload: Payload,
        charge: impl FnOnce(u64) -> Result<(), String>,
    ) -> Result<Option<Item<QueuedBatch>>, String> {
        let is_part = matches!(&payload, Payload::Batch { header, .. } if header.is_empty());
        if self.partial.is_some() != is_part {
            return Err(if is_part { "a part of no batch" } else { "a batch was left unfinished" }.to_owned());
        }
        match payload {
            Payload::Batch { cost, header, body, more } => {
                if !is_part {
                    check_first(cost, &header, &body)?;
                    charge(cost)?;
                }
                self.on_part(cost, header, body, more)
            }
            Payload::Watermark(watermark) => Ok(Some(Item::Watermark(watermark))),
            Payload::Idle => Ok(Some(Item::Idle)),
            Payload::Barrier(barrier) => Ok(Some(Item::Barrier(barrier))),
            Payload::Marker(marker) => Ok(Some(Item::Marker(marker))),
            Payload::End => {
                self.ended = true;
                Ok(Some(Item::End))
            }
        }
    }

    fn on_part(
        &mut self,
        cost: u64,
        header: bytes::Bytes,
        body: bytes::Bytes,
        more: bool,
    ) -> Result<Option<Item<QueuedBatch>>, String> {
        let (cost, header, body) = match self.partial.take() {
            None if !more => (cost, header, body),
            None => {
                self.partial = Some(Partial { cost, header, body: BytesMut::from(body) });
                return Ok(None);
            }
            Some(mut partial) => {
                check_length(partial.body.len().saturating_add(body.len()), partial.cost)?;
                partial.body.extend_from_slice(&body);
                if more {
                    self.partial = Some(partial);
                    return Ok(None);
                }
                (partial.cost, partial.header, partial.body.freeze())
            }
        };
        Ok(Some(Item::Data { payload: QueuedBatch::Remote(EncodedBatch { header, body }), cost }))
    }
}

fn check_first(cost: u64, header: &[u8], body: &[u8]) -> Result<(), String> {
    if cost == 0 {
        return Err("a batch was charged nothing".to_owned());
    }
    check_length(header.len(), cost)?;
    check_length(body.len(), cost)
}

fn check_length(bytes: usize, cost: u64) -> Result<(), String> {
    if bytes as u64 > body_bytes_max(cost) {
        return Err(format!("{bytes} bytes in a batch charged {cost}"));
    }
    Ok(())
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if self.broke.is_none() && self.endpoints.closing().is_cancelled() {
            return;
        }
        let (node, from) = (self.endpoints.node(), self.from);
        let reason = self.broke.take().unwrap_or_else(|| "it ended before the attempt did".to_owned());
        self.endpoints.report(from, format!("the stream from {from} to {node} broke: {reason}"));
    }
}

#[cfg(test)]
mod tests;
