//! A body as it comes, its coding undone.

use super::coding::{Coding, Decoder};
use bytes::{Bytes, BytesMut};
use http_body::Body;
use hyper::body::Incoming;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, ReadBuf};
use tokio::time::{Instant, timeout_at};

/// Why a body was not read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadFailure {
    Timeout,
    Broken,
    /// It is not of its coding, or more follows.
    NotDecoded,
    /// It becomes larger than its coding is allowed to make it.
    TooLarge,
}

/// The start of a body, or all of it.
pub(super) struct Start {
    pub(super) bytes: Vec<u8>,
    pub(super) ended: bool,
}

/// How many bytes one byte may become; what exceeds it was made to.
const RATIO_MAX: usize = 200;

/// So many bytes every body may become.
const RATIO_FREE_BYTES: usize = 1 << 20;

/// How much is decoded at once.
const PART_BYTES: usize = 32 << 10;

/// How much is given to a decoder before others on this worker get their turn: much of it may become nothing.
const GIVEN_AT_ONCE: usize = 16 << 10;

/// A body under way.
pub(super) struct Source<B = Incoming> {
    from: From<B>,
    /// How much it has become.
    bytes: usize,
    /// For how long nothing may come.
    silence: Duration,
}

enum From<B> {
    Plain(Frames<B>),
    Coded(Box<Decoder<Frames<B>>>),
}

impl<B: Body<Data = Bytes> + Unpin> Source<B> {
    /// Starts on one; `bytes_max`: how long it may be before its coding is undone.
    pub(super) fn new(body: B, coding: Coding, bytes_max: usize) -> Self {
        let bytes_max = if coding == Coding::Identity { usize::MAX } else { bytes_max };
        let frames = Frames { body, rest: Bytes::new(), taken: 0, given: 0, bytes_max, failure: None };
        let from = match Decoder::new(coding, frames) {
            Ok(decoder) => From::Coded(Box::new(decoder)),
            Err(frames) => From::Plain(frames),
        };
        Self { from, bytes: 0, silence: Duration::MAX }
    }

    /// Gives it up when nothing comes for so long.
    pub(super) fn silent_at_most(self, silence: Duration) -> Self {
        Self { silence, ..self }
    }

    /// Reads to the end of a body, or a little beyond so many bytes. The part that goes beyond is taken too.
    pub(super) async fn start(&mut self, bytes_max: usize, until: Instant) -> Result<Start, ReadFailure> {
        let hint = usize::try_from(self.frames().body.size_hint().lower()).unwrap_or(usize::MAX);
        let mut bytes = Vec::with_capacity(hint.min(bytes_max));
        while bytes.len() <= bytes_max {
            match self.next(until).await? {
                Some(more) => bytes.extend_from_slice(&more),
                None => return Ok(Start { bytes, ended: true }),
            }
        }
        Ok(Start { bytes, ended: false })
    }

    /// The next bytes of a body; nothing at its end. Trailers are dropped: no rule reads them.
    pub(super) async fn next(&mut self, until: Instant) -> Result<Option<Bytes>, ReadFailure> {
        let until = Instant::now().checked_add(self.silence).map_or(until, |silent| silent.min(until));
        let next = timeout_at(until, self.part()).await.map_err(|_| ReadFailure::Timeout)?;
        let frames = self.frames();
        let part = next.map_err(|_| frames.failure.unwrap_or(ReadFailure::NotDecoded))?;
        let most = frames.taken.saturating_mul(RATIO_MAX).max(RATIO_FREE_BYTES);
        self.bytes = self.bytes.saturating_add(part.len());
        match &self.from {
            From::Coded(_) if self.bytes > most => Err(ReadFailure::TooLarge),
            _ => Ok((!part.is_empty()).then_some(part)),
        }
    }

    /// Whether nothing has come at all.
    pub(super) fn is_nothing(&self) -> bool {
        self.frames().taken == 0
    }

    async fn part(&mut self) -> io::Result<Bytes> {
        match &mut self.from {
            From::Plain(frames) => {
                frames.fill_buf().await?;
                Ok(frames.take())
            }
            From::Coded(decoder) => {
                let is_brotli = matches!(**decoder, Decoder::Brotli(_));
                let frames = decoder.get_mut();
                if frames.taken == 0 {
                    match frames.fill_buf().await?.first() {
                        // Where no byte came there is none to decode.
                        None => return Ok(Bytes::new()),
                        // The mark of windows beyond those of RFC 7932 (9.1), which would take memory.
                        Some(first) if is_brotli && first & 0x7f == 0x11 => {
                            return Err(io::ErrorKind::InvalidData.into());
                        }
                        Some(_) => {}
                    }
                }
                let mut part = BytesMut::with_capacity(PART_BYTES);
                if decoder.read(&mut part).await? == 0 && !decoder.get_mut().fill_buf().await?.is_empty() {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                Ok(part.freeze())
            }
        }
    }

    fn frames(&self) -> &Frames<B> {
        match &self.from {
            From::Plain(frames) => frames,
            From::Coded(decoder) => decoder.get_ref(),
        }
    }
}

/// The bytes of a body.
pub(super) struct Frames<B> {
    body: B,
    rest: Bytes,
    /// How much of it was taken.
    taken: usize,
    /// How much a decoder took since others had their turn.
    given: usize,
    bytes_max: usize,
    failure: Option<ReadFailure>,
}

impl<B> Frames<B> {
    fn take(&mut self) -> Bytes {
        self.taken = self.taken.saturating_add(self.rest.len());
        std::mem::take(&mut self.rest)
    }

    fn fail(&mut self, failure: ReadFailure) -> io::Error {
        self.failure = Some(failure);
        io::ErrorKind::Other.into()
    }
}

impl<B: Body<Data = Bytes> + Unpin> AsyncBufRead for Frames<B> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let frames = self.get_mut();
        if frames.given >= GIVEN_AT_ONCE {
            frames.given = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        while frames.rest.is_empty() {
            match ready!(Pin::new(&mut frames.body).poll_frame(cx)) {
                None => break,
                Some(Err(_)) => return Poll::Ready(Err(frames.fail(ReadFailure::Broken))),
                Some(Ok(frame)) => frames.rest = frame.into_data().unwrap_or_default(),
            }
            if frames.taken.saturating_add(frames.rest.len()) > frames.bytes_max {
                return Poll::Ready(Err(frames.fail(ReadFailure::TooLarge)));
            }
        }
        let most = frames.rest.len().min(GIVEN_AT_ONCE);
        Poll::Ready(Ok(frames.rest.get(..most).unwrap_or_default()))
    }

    fn consume(mut self: Pin<&mut Self>, length: usize) {
        self.taken = self.taken.saturating_add(length);
        self.given = self.given.saturating_add(length);
        self.rest = self.rest.slice(length.min(self.rest.len())..);
    }
}

impl<B: Body<Data = Bytes> + Unpin> AsyncRead for Frames<B> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let bytes = ready!(self.as_mut().poll_fill_buf(cx))?;
        let length = bytes.len().min(buffer.remaining());
        buffer.put_slice(bytes.get(..length).unwrap_or_default());
        self.consume(length);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use std::convert::Infallible;
    use std::time::Duration;

    const ALL: [Coding; 5] = [Coding::Identity, Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd];

    fn in_an_hour() -> Instant {
        Instant::now() + Duration::from_secs(3600)
    }

    /// All of a body that comes in parts of that length; at most so many bytes of it, coded and decoded.
    async fn read(coding: Coding, body: &[u8], length: usize, most: usize) -> Result<Vec<u8>, ReadFailure> {
        let parts = body.chunks(length).map(Bytes::copy_from_slice).collect::<Vec<_>>();
        let frames = parts.into_iter().map(|part| Ok::<_, Infallible>(Frame::data(part)));
        let mut source = Source::new(StreamBody::new(futures_util::stream::iter(frames)), coding, most);
        let (mut all, mut parts) = (Vec::new(), 0);
        while let Some(part) = source.next(in_an_hour()).await? {
            all.extend_from_slice(&part);
            parts += 1;
        }
        assert!(coding == Coding::Identity || parts >= all.len().div_ceil(PART_BYTES), "{parts}");
        assert_eq!(source.is_nothing(), body.is_empty());
        Ok(all)
    }

    #[tokio::test]
    async fn what_was_encoded_is_decoded() {
        for coding in ALL {
            for body in [&b""[..], b"x", &b"0123456789".repeat(50_000)] {
                let encoded = coding.encode(body.to_vec()).await.unwrap();
                for length in [1, 7, 4096, 1 << 20] {
                    let decoded = read(coding, &encoded, length, usize::MAX).await;
                    assert_eq!(decoded.as_deref(), Ok(body), "{coding:?} {length}");
                }
            }
            assert_eq!(read(coding, b"", 1, 0).await, Ok(Vec::new()), "{coding:?}: no bytes need no coding");
        }
    }

    #[tokio::test]
    async fn what_is_broken_or_goes_on_is_refused() {
        for coding in ALL.into_iter().skip(1) {
            let encoded = coding.encode(b"0123456789".repeat(50)).await.unwrap();
            for broken in [&encoded[..encoded.len() - 1], b"{\"ssn\":1}", &[&encoded[..], b"{}"].concat()] {
                for length in [1, 4096] {
                    let decoded = read(coding, broken, length, usize::MAX).await;
                    assert_eq!(decoded, Err(ReadFailure::NotDecoded), "{coding:?} {}", broken.len());
                }
            }
        }
    }

    #[tokio::test]
    async fn what_grows_too_much_is_refused() {
        for coding in ALL.into_iter().skip(1) {
            let bomb = coding.encode(vec![0; 40 << 20]).await.unwrap();
            assert_eq!(read(coding, &bomb, 4096, usize::MAX).await, Err(ReadFailure::TooLarge), "{coding:?}");
            // Nor may it be long and become nothing.
            let nothing = coding.encode(Vec::new()).await.unwrap();
            let long = nothing.repeat(1000);
            // As when its window is too large.
            if coding == Coding::Brotli {
                let large = read(coding, &[0x11, 30, 0, 0], 4096, usize::MAX).await;
                assert_eq!(large, Err(ReadFailure::NotDecoded));
            }
            assert_eq!(read(coding, &long, 4096, 900).await, Err(ReadFailure::TooLarge), "{coding:?}");
        }
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_or_does_not_come_is_no_matter_of_its_coding() {
        for coding in ALL {
            let encoded = coding.encode(b"0123456789".repeat(50)).await.unwrap();
            let part = Bytes::copy_from_slice(&encoded[..encoded.len() / 2]);
            let broken = futures_util::stream::iter([Ok(Frame::data(part.clone())), Err("broken")]);
            let mut source = Source::new(StreamBody::new(broken), coding, usize::MAX);
            let failure = loop {
                match source.next(in_an_hour()).await {
                    Ok(Some(_)) => {}
                    failure => break failure,
                }
            };
            assert_eq!(failure, Err(ReadFailure::Broken), "{coding:?}");
            let silent = futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>();
            let mut source = Source::new(StreamBody::new(silent), coding, usize::MAX);
            assert_eq!(source.next(Instant::now()).await, Err(ReadFailure::Timeout), "{coding:?}");
        }
    }
}
