//! Dials the nodes to which an attempt's channels lead.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::Stream;
use thalweg_proto::{
    MESSAGE_BYTES_MAX,
    convert::exchange::ReceiverFrame,
    network::{Network, channel},
    v1::{self, exchange_client::ExchangeClient},
};
use thalweg_types::seam::Spawner;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{Status, Streaming};

use crate::{
    endpoints::{Endpoints, PeerLink},
    error::ExchangeError,
    peer::PeerOutbox,
    service::DEPLOYMENT_PATIENCE,
    traffic::Traffic,
};

/// How long a node may take to accept a stream. Longer than it waits for the attempt's deployment.
const OPEN_PATIENCE: Duration = DEPLOYMENT_PATIENCE.saturating_add(Duration::from_secs(3));

/// Opens the stream to one node. Returns once the other side has accepted it. A task reads the credits, and reports to
/// the attempt if the stream breaks before the attempt is closed.
///
/// # Errors
/// The node cannot be reached, or refuses the stream.
pub async fn connect(
    network: &Arc<dyn Network>,
    io: &Arc<dyn Spawner>,
    endpoints: &Arc<Endpoints>,
    address: &str,
    link: PeerLink,
) -> Result<(), ExchangeError> {
    let PeerLink(outbox) = link;
    let peer = outbox.node();
    let refused = |source: Box<dyn std::error::Error + Send + Sync>| ExchangeError::Open {
        job: endpoints.job(),
        attempt: endpoints.attempt(),
        node: peer,
        address: address.to_owned(),
        source,
    };
    let mut client = ExchangeClient::new(channel(network, address).map_err(|error| refused(error.into()))?)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let frames = Frames::new(outbox.clone(), endpoints);
    let opening = tokio::time::timeout(OPEN_PATIENCE, client.open(frames)).await;
    let credits = opening.map_err(|elapsed| refused(elapsed.into()))?.map_err(|status| refused(status.into()))?;
    let (endpoints, credits) = (endpoints.clone(), credits.into_inner());
    let name = format!("credits {}/{} from {peer}", endpoints.job(), endpoints.attempt());
    let task = async move {
        let reason = tokio::select! {
            biased;
            () = endpoints.closing().cancelled() => return,
            reason = read_credits(credits, &outbox) => reason,
        };
        let here = endpoints.node();
        endpoints.report(peer, format!("the stream from {here} to {peer} broke: {reason}"));
    };
    let _ = io.spawn(&name, Box::pin(task));
    Ok(())
}

/// Reads credits until the stream ends. Returns why it ended.
async fn read_credits(mut credits: Streaming<v1::ReceiverFrame>, outbox: &PeerOutbox) -> String {
    loop {
        let frame = match credits.message().await {
            Ok(Some(frame)) => match ReceiverFrame::try_from(frame) {
                Ok(frame) => frame,
                Err(error) => return error.to_string(),
            },
            Ok(None) => return "the receiver ended it".to_owned(),
            Err(status) => return describe(&status),
        };
        match frame {
            ReceiverFrame::Credit { channel, granted } if outbox.on_credit(channel, granted) => {}
            ReceiverFrame::Credit { channel, .. } => {
                return format!("credit for {channel}, which does not go there");
            }
            ReceiverFrame::Refused { reason } => return format!("the receiver refused it: {reason}"),
        }
    }
}

fn describe(status: &Status) -> String {
    format!("{}: {}", status.code(), status.message())
}

/// The frames of an outbox for the transport, until the attempt is closed.
struct Frames {
    outbox: Arc<PeerOutbox>,
    traffic: Option<Arc<Traffic>>,
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Frames {
    fn new(outbox: Arc<PeerOutbox>, endpoints: &Endpoints) -> Self {
        let closing = endpoints.closing().clone();
        Self { outbox, traffic: endpoints.traffic().cloned(), closing: Box::pin(closing.cancelled_owned()) }
    }
}

impl Stream for Frames {
    type Item = v1::SenderFrame;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.closing.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        self.outbox.poll_frame(context).map(|frame| {
            if let Some(traffic) = &self.traffic {
                traffic.count_sent(&frame);
            }
            Some(frame.into())
        })
    }
}
