//! Runs the handler of each call as a task of its own, not as a part of the task that serves the connection.
//!
//! Otherwise the runtime would wake waiting handlers in the order of the transport's tasks, which no seam decides, and
//! a handler that panics would end its connection with every other call on it.
//!
//! A call is a request in progress of its connection until its answer has ended.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use super::{
    bodies::{Held, Pace, Paced},
    peer::Caller,
};
use crate::v1::{cluster_server, collect_server};
use thalweg_types::seam::{Spawner, TaskHandle};
use tokio::sync::oneshot;
use tonic::{
    Status,
    body::Body,
    codegen::{Service, http},
};
use tower::{Layer, ServiceExt};

type Request = http::Request<Body>;
type Response = http::Response<Body>;

/// Starts each call's handler as a task.
#[derive(Debug, Clone)]
pub struct HandlerTasks(Arc<dyn Spawner>);

impl HandlerTasks {
    pub(super) fn new(spawner: Arc<dyn Spawner>) -> Self {
        Self(spawner)
    }
}

impl<S> Layer<S> for HandlerTasks {
    type Service = InTasks<S>;

    fn layer(&self, service: S) -> InTasks<S> {
        InTasks { service, spawner: self.0.clone() }
    }
}

/// A service whose calls are handled in tasks of their own.
#[derive(Debug, Clone)]
pub struct InTasks<S> {
    service: S,
    spawner: Arc<dyn Spawner>,
}

impl<S> Service<Request> for InTasks<S>
where
    S: Service<Request, Response = Response> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Handling<S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let service = self.service.clone();
        let (respond, response) = oneshot::channel();
        let progress = request.extensions().get::<Caller>().cloned().unwrap_or_default().activity.begin();
        let pace = pace_of(request.uri().path());
        let request = request.map(|body| Body::new(Paced::new(body, pace)));
        let handle = async move {
            let answered = service.oneshot(request).await;
            let held = answered.map(|response| response.map(|body| Body::new(Held::new(body, progress))));
            // This fails if the caller went away, and then nobody needs the answer.
            let _ = respond.send(held);
        };
        Handling { task: self.spawner.spawn("call", Box::pin(handle)), response }
    }
}

/// Services whose requests have an end. Of reflection they are streams, on which strangers ask a few questions.
const ENDING: [&str; 5] = [
    cluster_server::SERVICE_NAME,
    collect_server::SERVICE_NAME,
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// How a request must arrive: as a whole where it has an end, else only its beginning.
fn pace_of(path: &str) -> Pace {
    let service = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    if ENDING.contains(&service) { Pace::Ends } else { Pace::Begins }
}

/// Waits for the response. Dropping it ends the handler: nobody needs the answer once the caller went away.
#[derive(Debug)]
pub struct Handling<E> {
    task: Box<dyn TaskHandle>,
    response: oneshot::Receiver<Result<Response, E>>,
}

impl<E> Future for Handling<E> {
    type Output = Result<Response, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let response = std::task::ready!(Pin::new(&mut self.response).poll(context));
        Poll::Ready(response.unwrap_or_else(|_| Ok(Status::internal("the handler of the call panicked").into_http())))
    }
}

impl<E> Drop for Handling<E> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::sync::Notify;
    use tower::service_fn;

    use super::*;
    use crate::testing::seams;

    fn request() -> Request {
        http::Request::new(Body::empty())
    }

    #[tokio::test]
    async fn a_handler_that_panics_is_an_error_of_its_call_alone() {
        let handler = service_fn(|request: Request| async move {
            assert!(request.uri() != "/panic", "this handler panics");
            Ok::<_, std::convert::Infallible>(Response::new(Body::empty()))
        });
        let mut service = HandlerTasks::new(seams().io).layer(handler);
        let mut panicking = request();
        *panicking.uri_mut() = http::Uri::from_static("/panic");

        let response = service.call(panicking).await.expect("it is answered");
        let status = Status::from_header_map(response.headers()).expect("it has a status");
        assert_eq!(status.code(), tonic::Code::Internal);
        let response = service.call(request()).await.expect("it is answered");
        assert!(Status::from_header_map(response.headers()).is_none());
    }

    #[tokio::test]
    async fn a_handler_ends_when_its_caller_goes_away() {
        struct Ended(Arc<Notify>, Arc<AtomicBool>);
        impl Drop for Ended {
            fn drop(&mut self) {
                self.1.store(true, Ordering::SeqCst);
                self.0.notify_one();
            }
        }
        let (began, ended, is_ended) = (Arc::new(Notify::new()), Arc::new(Notify::new()), Arc::default());
        let handler = {
            let (began, ended, is_ended) = (began.clone(), ended.clone(), Arc::clone(&is_ended));
            service_fn(move |_: Request| {
                let (began, guard) = (began.clone(), Ended(ended.clone(), Arc::clone(&is_ended)));
                async move {
                    began.notify_one();
                    std::future::pending::<()>().await;
                    drop(guard);
                    Ok::<_, std::convert::Infallible>(Response::new(Body::empty()))
                }
            })
        };
        let call = HandlerTasks::new(seams().io).layer(handler).call(request());
        began.notified().await;
        assert!(!is_ended.load(Ordering::SeqCst));
        drop(call);
        ended.notified().await;
        assert!(is_ended.load(Ordering::SeqCst));
    }
}
