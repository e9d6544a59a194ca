//! The socket of a client, and TLS output, written once per flush: HTTP/2 writes many small frames, and each would be a record and a system call.
//! And a close after which the peer gets what was written last (RFC 9112 9.6).

use crate::telemetry::names;
use bytes::{Buf, BytesMut};
use socket2::SockRef;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};
use tokio_rustls::server::TlsStream;
use tokio_util::io::poll_read_buf;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Bytes that are gathered at most before they are written through.
const GATHERED_MAX: usize = 64 * 1024;

/// How long what still comes is read, to no purpose, after the last was written, and for how long nothing may come: closed with
/// input unread, a connection is reset, and a client that still sends may never see why it was refused.
const LINGER: Duration = Duration::from_secs(30);
const LINGER_SILENCE: Duration = Duration::from_secs(2);

/// Bytes that the kernel has not sent yet, above which it takes no more: what it does take shows that the client takes some.
const UNSENT_MAX: u32 = 64 * 1024;

/// Bytes that are asked of the kernel at once: a record as long as they come (RFC 8446 5.2). TLS asks for 4096.
const AHEAD: usize = 5 + 16 * 1024 + 256;

/// A socket that counts what is taken of what is written to it, and reads ahead. Holds no memory while there is nothing to read.
pub(super) struct Counted {
    tcp: TcpStream,
    taken: u64,
    ahead: BytesMut,
}

impl Counted {
    pub(super) fn new(tcp: TcpStream) -> Self {
        // Without it progress shows less often.
        let _may_fail = SockRef::from(&tcp).set_tcp_notsent_lowat(UNSENT_MAX);
        Self { tcp, taken: 0, ahead: BytesMut::new() }
    }

    fn count(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(length)) = written {
            self.taken = self.taken.wrapping_add(length as u64);
        }
        written
    }
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { tcp, ahead, .. } = &mut *self;
        if ahead.is_empty() {
            ready!(tcp.poll_read_ready(cx))?;
            ahead.reserve(AHEAD);
            let read = poll_read_buf(Pin::new(tcp), cx, ahead);
            if ahead.is_empty() {
                *ahead = BytesMut::new();
            }
            ready!(read)?;
        }
        let length = buffer.remaining().min(ahead.len());
        buffer.put_slice(ahead.get(..length).unwrap_or_default());
        ahead.advance(length);
        if ahead.is_empty() {
            *ahead = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write(cx, bytes);
        self.count(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write_vectored(cx, parts);
        self.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// How long a client may take nothing of what is written, and who it is.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    pub(super) long: Duration,
    pub(super) peer: SocketAddr,
}

impl Patience {
    /// It is over.
    pub(super) fn lost(self, what: &'static str) {
        metrics::counter!(names::RESPONSES_UNTAKEN).increment(1);
        tracing::info!(peer = %self.peer, "{what}: the client takes nothing of its response");
    }
}

/// Gathers what is written until it is flushed; reads straight through. Holds no memory while there is nothing to write.
pub(super) struct Gathered {
    inner: TlsStream<Counted>,
    pending: Vec<u8>,
    written: usize,
    patience: Patience,
    /// Once something waits: what had been taken when that was last looked at, and when the patience is over.
    tired: Option<(u64, Pin<Box<Sleep>>)>,
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

impl Gathered {
    pub(super) fn new(inner: TlsStream<Counted>, patience: Patience, drain: &CancellationToken) -> Self {
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

    fn patiently<T>(&mut self, cx: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.tired = None;
            return done;
        }
        let (patience, taken) = (self.patience, self.inner.get_ref().0.taken);
        let (before, tired) = self.tired.get_or_insert_with(|| (taken, Box::pin(sleep(patience.long))));
        if *before != taken {
            *before = taken;
            tired.as_mut().reset(Instant::now() + patience.long);
        }
        ready!(tired.as_mut().poll(cx));
        patience.lost("connection cut");
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Gathered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Gathered {
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

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::poll;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn what_is_read_ahead_comes_in_order_and_leaves_no_memory_behind() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (peer, accepted) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let (mut peer, mut socket) = (peer.unwrap(), Counted::new(accepted.unwrap().0));
        let mut room = vec![0; 2 * AHEAD];
        assert!(poll!(Box::pin(socket.read(&mut room))).is_pending(), "nothing was sent");
        assert_eq!(socket.ahead.capacity(), 0);

        let sent: Vec<u8> = (0..5 * AHEAD).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let (to_send, mut received) = (sent.clone(), Vec::new());
        let sending = tokio::spawn(async move { peer.write_all(&to_send).await.unwrap() });
        for length in [1, 5, 4096, AHEAD, 2 * AHEAD].into_iter().cycle() {
            let got = socket.read(&mut room[..length]).await.unwrap();
            received.extend_from_slice(&room[..got]);
            if got == 0 {
                break;
            }
        }
        sending.await.unwrap();
        assert!(received == sent);
        assert_eq!(socket.ahead.capacity(), 0);
    }
}
