//! TLS output, written once per flush: HTTP/2 writes many small frames, and each would be a record and a system call.
//! And a close after which the peer gets what was written last (RFC 9112 9.6).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Bytes that are gathered at most before they are written through.
const GATHERED_MAX: usize = 64 * 1024;

/// How long what still comes is read, to no purpose, after the last was written, and for how long nothing may come: closed with
/// input unread, a connection is reset, and a client that still sends may never see why it was refused.
const LINGER: Duration = Duration::from_secs(30);
const LINGER_SILENCE: Duration = Duration::from_secs(2);

/// Gathers what is written until it is flushed; reads straight through. Holds no memory while there is nothing to write.
pub(super) struct Gathered<S> {
    inner: S,
    pending: Vec<u8>,
    written: usize,
    /// How long the peer may take nothing of what is written, and when that time is over for what waits.
    patience: Duration,
    tired: Option<Pin<Box<Sleep>>>,
    /// Once nothing more can be written.
    lingers: Option<Linger>,
    drain: CancellationToken,
}

/// What ends the reading of what nobody wants: that it went on since then, silence, or the drain of the gate.
struct Linger {
    since: Instant,
    silence: Pin<Box<Sleep>>,
    drained: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Linger {
    fn new(drain: &CancellationToken) -> Self {
        let (silence, drained) = (Box::pin(sleep(LINGER_SILENCE)), Box::pin(drain.clone().cancelled_owned()));
        Self { since: Instant::now(), silence, drained }
    }

    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        self.since.elapsed() > LINGER
            || self.silence.as_mut().poll(cx).is_ready()
            || self.drained.as_mut().poll(cx).is_ready()
    }
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    pub(super) fn new(inner: S, patience: Duration, drain: &CancellationToken) -> Self {
        Self { inner, pending: Vec::new(), written: 0, patience, tired: None, lingers: None, drain: drain.clone() }
    }

    /// Writes what is gathered, and gives up on a peer that takes nothing of it.
    fn poll_write_pending(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.pending.get(self.written..).filter(|rest| !rest.is_empty()) {
            let taken = Pin::new(&mut self.inner).poll_write(cx, rest);
            match ready!(self.patiently(cx, taken))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                length => self.written += length,
            }
        }
        self.pending = Vec::new();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    fn patiently<T>(&mut self, cx: &mut Context<'_>, taken: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if taken.is_ready() {
            self.tired = None;
            return taken;
        }
        let patience = self.patience;
        let tired = self.tired.get_or_insert_with(|| Box::pin(sleep(patience)));
        tired.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.pending.len() + bytes.len() > GATHERED_MAX {
            ready!(self.poll_write_pending(cx))?;
        }
        let room = bytes.get(..bytes.len().min(GATHERED_MAX)).unwrap_or_default();
        self.pending.extend_from_slice(room);
        Poll::Ready(Ok(room.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_pending(cx))?;
        let taken = Pin::new(&mut self.inner).poll_flush(cx);
        self.patiently(cx, taken)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_pending(cx))?;
        if self.lingers.is_none() {
            let taken = Pin::new(&mut self.inner).poll_shutdown(cx);
            ready!(self.patiently(cx, taken))?;
        }
        let Self { inner, lingers, drain, .. } = &mut *self;
        let linger = lingers.get_or_insert_with(|| Linger::new(drain));
        let mut waste = [0; 4096];
        while !linger.is_over(cx) {
            let mut buffer = ReadBuf::new(&mut waste);
            match ready!(Pin::new(&mut *inner).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => linger.silence.as_mut().reset(Instant::now() + LINGER_SILENCE),
                // It has closed too, or cannot say so any more.
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
