//! Sends a call to one coordinator after another until one answers.
//!
//! ```text
//! try the last one that answered --unavailable, broken, timed out--> the next --..--> all tried: wait, and again
//!        |                                                                            until the deadline
//!        +-- any other answer: the result
//! ```
//!
//! A status that a coordinator sent is its answer, but for UNAVAILABLE, which says that it does not know a leader now. One
//! that was made up on this side (it has a source) says that the connection broke, and then nobody knows whether the
//! request was executed; so only requests that may be executed twice come here. One that makes a coordinator do what its sender wrote
//! goes on to one more coordinator at most after its connection broke: it may be what ends them. UNIMPLEMENTED comes from something else
//! than a coordinator, such as a node.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use thalweg_proto::{
    MESSAGE_BYTES_MAX,
    convert::trace::set_trace,
    network::{self, Network, broke_under_way},
    v1::cluster_client,
};
use thalweg_types::{seam::Entropy, text::with_causes};
use tokio::time;
use tonic::{Code, Request, Response, Status, service::interceptor::InterceptedService, transport::Channel};

use crate::error::{ClientError, Tried};

/// How much longer than asked a coordinator may hold a request before the next one is tried.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause between two rounds over all coordinators; half of it is random, which spreads the clients.
const ROUND_DELAY: Duration = Duration::from_millis(200);
/// A script goes to no further coordinator once so many connections broke while it was under way: it may be what ends
/// the coordinators that plan it.
const SCRIPT_BREAKS_MAX: u32 = 2;

/// A client of one coordinator, whose requests carry the span that they are made in.
pub(crate) type ClusterClient = cluster_client::ClusterClient<InterceptedService<Channel, Trace>>;

type Trace = fn(Request<()>) -> Result<Request<()>, Status>;

fn trace(mut request: Request<()>) -> Result<Request<()>, Status> {
    set_trace(request.metadata_mut(), thalweg_trace::current());
    Ok(request)
}

#[derive(Debug)]
pub(crate) struct Coordinators {
    known: Vec<(String, ClusterClient)>,
    /// Index of the coordinator that answered last, where the next call begins.
    current: AtomicUsize,
    entropy: Arc<dyn Entropy>,
    deadline: Duration,
}

impl Coordinators {
    /// Prepares channels; none is connected before its first use.
    pub(crate) fn new(
        addresses: &[String],
        network: &Arc<dyn Network>,
        entropy: Arc<dyn Entropy>,
        deadline: Duration,
    ) -> Result<Self, ClientError> {
        if addresses.is_empty() {
            return Err(ClientError::NoCoordinator);
        }
        let client = |address: &String| match network::channel(network, address) {
            Ok(channel) => {
                let client = cluster_client::ClusterClient::with_interceptor(channel, trace as Trace)
                    .max_decoding_message_size(MESSAGE_BYTES_MAX)
                    .max_encoding_message_size(MESSAGE_BYTES_MAX);
                Ok((address.clone(), client))
            }
            Err(source) => Err(ClientError::Address { address: address.clone(), source }),
        };
        let known = addresses.iter().map(client).collect::<Result<_, _>>()?;
        Ok(Self { known, current: AtomicUsize::new(0), entropy, deadline })
    }

    /// Random bits, for unique ids.
    pub(crate) fn random(&self) -> u64 {
        self.entropy.next()
    }

    /// Waits before all coordinators are tried again.
    pub(crate) async fn pause(&self) {
        let half = u64::try_from(ROUND_DELAY.as_millis()).expect("it is short") / 2;
        time::sleep(Duration::from_millis(half + self.random() % half)).await;
    }

    /// Calls until a coordinator answers or the deadline passes. `wait` is how long the request itself asks to be held.
    pub(crate) async fn call<Q, R, S, F>(&self, wait: Duration, request: Q, send: S) -> Result<R, ClientError>
    where
        Q: Clone,
        S: Fn(ClusterClient, Q) -> F,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        self.call_within(u32::MAX, wait, request, send).await
    }

    /// As `call`, for a script that a coordinator has to parse and plan. Fails once `SCRIPT_BREAKS_MAX` connections
    /// broke.
    pub(crate) async fn call_with_script<Q, R, S, F>(
        &self,
        wait: Duration,
        request: Q,
        send: S,
    ) -> Result<R, ClientError>
    where
        Q: Clone,
        S: Fn(ClusterClient, Q) -> F,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        self.call_within(SCRIPT_BREAKS_MAX, wait, request, send).await
    }

    async fn call_within<Q, R, S, F>(
        &self,
        breaks_max: u32,
        wait: Duration,
        request: Q,
        send: S,
    ) -> Result<R, ClientError>
    where
        Q: Clone,
        S: Fn(ClusterClient, Q) -> F,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let mut breaks_left = breaks_max;
        let mut tried: Vec<Option<Tried>> = vec![None; self.known.len()];
        let answered = async {
            loop {
                if let Some(answer) = self.call_each(wait, &request, &send, (&mut tried, &mut breaks_left)).await {
                    return answer;
                }
                self.pause().await;
            }
        };
        match time::timeout(self.deadline + wait, answered).await {
            Ok(answer) => answer,
            Err(_) => Err(self.unreachable(tried)),
        }
    }

    /// Tries as many coordinators as there are; `None` where none answered.
    async fn call_each<Q, R, S, F>(
        &self,
        wait: Duration,
        request: &Q,
        send: &S,
        (tried, breaks_left): (&mut [Option<Tried>], &mut u32),
    ) -> Option<Result<R, ClientError>>
    where
        Q: Clone,
        S: Fn(ClusterClient, Q) -> F,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        for _ in 0..self.known.len() {
            let at = self.current.load(Ordering::Relaxed) % self.known.len();
            let (coordinator, client) = &self.known[at];
            let (reason, broke, is_heard) = match time::timeout(wait + PATIENCE, send(client.clone(), request.clone()))
                .await
            {
                Ok(Ok(response)) => return Some(Ok(response.into_inner())),
                Ok(Err(status)) if is_answer(&status) => return Some(Err(ClientError::answered(coordinator, &status))),
                Ok(Err(status)) => {
                    (reason_of(&status), broke_under_way(&status), std::error::Error::source(&status).is_none())
                }
                Err(_) => ("it did not answer".to_owned(), false, false),
            };
            tracing::debug!(coordinator, reason, "a coordinator did not answer");
            *breaks_left = breaks_left.saturating_sub(u32::from(broke));
            if *breaks_left == 0 {
                return Some(Err(ClientError::Broken { coordinator: coordinator.clone(), reason }));
            }
            tried[at] = Some(Tried { coordinator: coordinator.clone(), reason, broke: broke && !is_heard });
            // Where another call has moved on meanwhile, that is the better guess.
            let next = (at + 1) % self.known.len();
            self.current.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed).ok();
        }
        None
    }

    fn unreachable(&self, tried: Vec<Option<Tried>>) -> ClientError {
        let silent = |coordinator: &String| Tried {
            coordinator: coordinator.clone(),
            reason: "it did not answer in time".to_owned(),
            broke: false,
        };
        let tried = self.known.iter().zip(tried).map(|((address, _), tried)| tried.unwrap_or_else(|| silent(address)));
        ClientError::Unreachable { tried: tried.collect() }
    }
}

/// What a status says, or what it was made of where nobody sent it.
fn reason_of(status: &Status) -> String {
    std::error::Error::source(status).map_or_else(|| status.message().to_owned(), with_causes)
}

/// Whether a coordinator has sent it and means it.
pub(crate) fn is_answer(status: &Status) -> bool {
    status.code() != Code::Unavailable && std::error::Error::source(status).is_none()
}
