//! Bodies as they leave the gate, to the upstream and to the client.

use super::trail::Completion;
use super::upstream::Lease;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Sleep;

/// Why a body broke off.
pub(super) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A body that leaves the gate. Trailers are dropped on the way: no rule reads them.
pub(super) enum Body {
    /// A whole body, or none.
    Whole(Bytes),
    /// A body that passes as it comes.
    Streamed(Box<Streamed>),
}

/// A body that passes as it comes, under a deadline.
pub(super) struct Streamed {
    incoming: Incoming,
    deadline: Option<Pin<Box<Sleep>>>,
    /// The upstream connection that it comes from, given back at its end.
    lease: Option<Lease>,
    /// Records how it ended.
    completion: Option<Completion>,
}

impl Body {
    pub(super) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(bytes.into())
    }

    /// A request body on its way to the upstream.
    pub(super) fn inbound(incoming: Incoming, within: Duration) -> Self {
        let deadline = Some(Box::pin(tokio::time::sleep(within)));
        Self::Streamed(Box::new(Streamed { incoming, deadline, lease: None, completion: None }))
    }

    /// A response body on its way to the client. Its length and pace are the upstream's and the client's own.
    pub(super) fn outbound(incoming: Incoming, lease: Lease, completion: Completion) -> Self {
        let (lease, completion) = (Some(lease), Some(completion));
        Self::Streamed(Box::new(Streamed { incoming, deadline: None, lease, completion }))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Streamed(streamed) => streamed.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Streamed(streamed) => streamed.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            Self::Streamed(streamed) => streamed.incoming.size_hint(),
        }
    }
}

impl Streamed {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Some(Err("the body took too long".into())));
        }
        match ready!(Pin::new(&mut self.incoming).poll_frame(cx)) {
            Some(Ok(frame)) if frame.is_data() => {
                if self.incoming.is_end_stream() {
                    self.complete();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(error.into()))),
            // Trailers end the body too.
            Some(Ok(_)) | None => {
                self.complete();
                Poll::Ready(None)
            }
        }
    }

    fn complete(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
        if let Some(completion) = self.completion.take() {
            completion.whole();
        }
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        // A response without a body is never polled.
        if self.incoming.is_end_stream() {
            self.complete();
        }
    }
}
