//! Request bodies that must make progress, and answer bodies that keep their request in progress until they end.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Interval, interval};
use tonic::Status;

use super::admission::Request;

/// In each window, a body that must make progress brings so many bytes, or its end.
const WINDOW: Duration = Duration::from_secs(10);
const WINDOW_BYTES: usize = 256 << 10;

/// What a body must do in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// Begin; the rest may come at any time.
    Begins,
    /// Arrive as a whole, steadily.
    Ends,
}

/// A request's body that fails if it does not arrive in time.
#[derive(Debug)]
pub(super) struct Paced<B> {
    body: B,
    pace: Option<Pace>,
    windows: Interval,
    is_first: bool,
    /// Bytes that came in this window.
    came: usize,
}

impl<B> Paced<B> {
    pub(super) fn new(body: B, pace: Pace) -> Self {
        Self { body, pace: Some(pace), windows: interval(WINDOW), is_first: true, came: 0 }
    }

    /// Whether a window has passed in which too few bytes came.
    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        while self.windows.poll_tick(context).is_ready() {
            // An interval's first tick comes at once.
            let is_over = !std::mem::take(&mut self.is_first);
            if is_over && std::mem::take(&mut self.came) < WINDOW_BYTES {
                return true;
            }
        }
        false
    }
}

impl<B: Body<Data = Bytes, Error = Status> + Unpin> Body for Paced<B> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if self.pace.is_none() {
            return frame;
        }
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            self.came = self.came.saturating_add(frame.data_ref().map_or(0, |data| data.remaining()));
            if self.pace == Some(Pace::Begins) && self.came > 0 {
                self.pace = None;
            }
        }
        if frame.is_pending() && self.is_late(context) {
            return Poll::Ready(Some(Err(Status::deadline_exceeded("the request did not come in time"))));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body. Its request is in progress until the body ends or is dropped.
#[derive(Debug)]
pub struct Held<B> {
    body: B,
    progress: Option<Request>,
}

impl<B> Held<B> {
    /// Holds a request for as long as this body lasts.
    pub fn new(body: B, progress: Request) -> Self {
        Self { body, progress: Some(progress) }
    }
}

impl<B: Body + Unpin> Body for Held<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() {
            self.progress = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
