//! Bodies as they leave the gate, to the upstream and to the client.

use super::Limits;
use super::rescue::Code;
use super::trail::Completion;
use super::upstream::Lease;
use bytes::Bytes;
use futures_util::Stream;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};

/// Why a body broke off.
pub(super) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A body that leaves the gate. Trailers are dropped on the way: no rule reads them.
pub(super) enum Body {
    /// A whole body, or none.
    Whole(Bytes),
    /// A body that passes as it comes.
    Streamed(Box<Streamed>),
    /// A request body that is rewritten as it comes.
    Piped(Piped),
    /// A response body that is rewritten as it comes.
    Opened(Box<Opened>),
}

/// What comes through a pipe.
pub(super) enum Piece {
    Data(Bytes),
    End,
}

/// The end of a pipe. One that breaks off before its end makes a body that does.
pub(super) struct Piped {
    pieces: mpsc::Receiver<Piece>,
    ended: bool,
}

/// A response body that is rewritten as it comes.
pub(super) struct Opened {
    pieces: Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>>>>,
}

/// A body that passes as it comes, under a deadline.
pub(super) struct Streamed {
    incoming: Incoming,
    deadline: Option<Deadline>,
    /// The upstream connection that it comes from, given back at its end.
    lease: Option<Lease>,
    /// Records how it ended.
    completion: Option<Completion>,
    /// Where a body that comes from the client says how it failed.
    fault: Option<Fault>,
}

/// Until when a body must have come, and for how long nothing of it may come.
struct Deadline {
    until: Instant,
    idle: Duration,
    sleep: Pin<Box<Sleep>>,
}

/// How the client's body failed, for whoever only sees that the upstream did not get it.
pub(super) type Fault = Rc<Cell<Option<Code>>>;

impl Body {
    pub(super) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(bytes.into())
    }

    /// A request body on its way to the upstream.
    pub(super) fn inbound(incoming: Incoming, limits: &Limits, fault: Fault) -> Self {
        let (now, fault) = (Instant::now(), Some(fault));
        let (until, idle) = (now + limits.body_timeout, limits.body_idle_timeout);
        let sleep = Box::pin(tokio::time::sleep_until(until.min(now + idle)));
        let deadline = Some(Deadline { until, idle, sleep });
        Self::Streamed(Box::new(Streamed { incoming, deadline, lease: None, completion: None, fault }))
    }

    /// A response body on its way to the client. Its length and pace are the upstream's and the client's own.
    pub(super) fn outbound(incoming: Incoming, lease: Lease, completion: Completion) -> Self {
        let (lease, completion) = (Some(lease), Some(completion));
        Self::Streamed(Box::new(Streamed { incoming, deadline: None, lease, completion, fault: None }))
    }
}

impl Body {
    /// A pipe, and a body that is what is put into it.
    pub(super) fn piped() -> (mpsc::Sender<Piece>, Self) {
        let (sender, pieces) = mpsc::channel(1);
        (sender, Self::Piped(Piped { pieces, ended: false }))
    }

    pub(super) fn opened(pieces: impl Stream<Item = Result<Bytes, BodyError>> + 'static) -> Self {
        Self::Opened(Box::new(Opened { pieces: Box::pin(pieces) }))
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
            Self::Piped(piped) => piped.poll_frame(cx),
            Self::Opened(opened) => {
                opened.pieces.as_mut().poll_next(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Streamed(streamed) => streamed.incoming.is_end_stream(),
            Self::Piped(piped) => piped.ended,
            Self::Opened(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            Self::Streamed(streamed) => streamed.incoming.size_hint(),
            Self::Piped(_) | Self::Opened(_) => SizeHint::new(),
        }
    }
}

impl Piped {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        Poll::Ready(match ready!(self.pieces.poll_recv(cx)) {
            Some(Piece::Data(bytes)) => Some(Ok(Frame::data(bytes))),
            Some(Piece::End) => {
                self.ended = true;
                None
            }
            None => Some(Err("the body broke off".into())),
        })
    }
}

impl Streamed {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(deadline) = &mut self.deadline
            && deadline.sleep.as_mut().poll(cx).is_ready()
        {
            self.fail(Code::BodyTimeout);
            return Poll::Ready(Some(Err("the body took too long".into())));
        }
        match ready!(Pin::new(&mut self.incoming).poll_frame(cx)) {
            Some(Ok(frame)) if frame.is_data() => {
                if let Some(deadline) = &mut self.deadline {
                    deadline.sleep.as_mut().reset(deadline.until.min(Instant::now() + deadline.idle));
                }
                if self.incoming.is_end_stream() {
                    self.complete();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                self.fail(Code::BodyAborted);
                Poll::Ready(Some(Err(error.into())))
            }
            // Trailers end the body too.
            Some(Ok(_)) | None => {
                self.complete();
                Poll::Ready(None)
            }
        }
    }

    fn fail(&self, code: Code) {
        if let Some(fault) = &self.fault {
            fault.set(Some(code));
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
