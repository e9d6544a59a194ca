//! Content codings (RFC 9110 8.4.1): undone before a body is read, done again before it goes on to the upstream. Responses go
//! on without one: what a caller chooses and what is sealed would be compressed together, and lengths would tell the one from the other
//! (BREACH, CVE-2013-3587).

use async_compression::Level;
use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
use async_compression::zstd::DParameter;
use bytes::BytesMut;
use http::header::{CONTENT_ENCODING, HeaderMap};
use std::io;
use tokio::io::{AsyncBufRead, AsyncReadExt, AsyncWriteExt};

/// One content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Gzip,
    /// The format of zlib (RFC 1950), which is what HTTP calls deflate.
    Deflate,
    Brotli,
    Zstd,
}

impl Coding {
    /// The coding that the header names; `None` if it is one that is not known here, or if there are several.
    pub(super) fn of(headers: &HeaderMap) -> Option<Coding> {
        let mut values = headers.get_all(CONTENT_ENCODING).iter();
        let Some(value) = values.next() else { return Some(Coding::Identity) };
        if values.next().is_some() {
            return None;
        }
        match value.to_str().ok()?.trim().to_ascii_lowercase().as_str() {
            "identity" => Some(Coding::Identity),
            "gzip" | "x-gzip" => Some(Coding::Gzip),
            "deflate" => Some(Coding::Deflate),
            "br" => Some(Coding::Brotli),
            "zstd" => Some(Coding::Zstd),
            _ => None,
        }
    }

    /// Does it, to a whole body; `None` only if memory is at an end.
    pub(super) async fn encode(self, body: Vec<u8>) -> Option<Vec<u8>> {
        let mut encoder = Encoder::new(self);
        let mut encoded = encoder.write(body).await?;
        encoded.append(&mut encoder.finish().await?);
        Some(encoded)
    }
}

/// As RFC 9659 has it for HTTP: no larger windows, which would take memory.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Undoes a coding.
pub(super) enum Decoder<R> {
    Gzip(GzipDecoder<R>),
    Deflate(ZlibDecoder<R>),
    Brotli(BrotliDecoder<R>),
    Zstd(ZstdDecoder<R>),
}

/// Does the same with whichever coder it is.
macro_rules! each {
    ($coder:expr, $name:ident => $result:expr) => {
        match $coder {
            Self::Gzip($name) => $result,
            Self::Deflate($name) => $result,
            Self::Brotli($name) => $result,
            Self::Zstd($name) => $result,
        }
    };
}

impl<R: AsyncBufRead + Unpin> Decoder<R> {
    /// Undoes it as it is read; gives back what has no coding.
    pub(super) fn new(coding: Coding, coded: R) -> Result<Self, R> {
        Ok(match coding {
            Coding::Identity => return Err(coded),
            Coding::Gzip => {
                let mut decoder = GzipDecoder::new(coded);
                decoder.multiple_members(true);
                Self::Gzip(decoder)
            }
            Coding::Deflate => Self::Deflate(ZlibDecoder::new(coded)),
            Coding::Brotli => Self::Brotli(BrotliDecoder::new(coded)),
            Coding::Zstd => {
                let mut decoder = ZstdDecoder::with_params(coded, &[DParameter::window_log_max(ZSTD_WINDOW_LOG_MAX)]);
                decoder.multiple_members(true);
                Self::Zstd(decoder)
            }
        })
    }

    /// Reads more, as much as there is room for; nothing at the end.
    pub(super) async fn read(&mut self, decoded: &mut BytesMut) -> io::Result<usize> {
        each!(self, decoder => decoder.read_buf(decoded).await)
    }

    pub(super) fn get_ref(&self) -> &R {
        each!(self, decoder => decoder.get_ref())
    }

    pub(super) fn get_mut(&mut self) -> &mut R {
        each!(self, decoder => decoder.get_mut())
    }
}

/// Does a coding.
pub(super) enum Encoder {
    Identity,
    Coded(Coded),
}

pub(super) enum Coded {
    Gzip(GzipEncoder<Vec<u8>>),
    Deflate(ZlibEncoder<Vec<u8>>),
    Brotli(Box<BrotliEncoder<Vec<u8>>>),
    Zstd(ZstdEncoder<Vec<u8>>),
}

impl Encoder {
    pub(super) fn new(coding: Coding) -> Self {
        // What is sealed does not shrink, and nobody waits gladly for the rest.
        let (level, out) = (Level::Fastest, Vec::new());
        Self::Coded(match coding {
            Coding::Identity => return Self::Identity,
            Coding::Gzip => Coded::Gzip(GzipEncoder::with_quality(out, level)),
            Coding::Deflate => Coded::Deflate(ZlibEncoder::with_quality(out, level)),
            Coding::Brotli => Coded::Brotli(Box::new(BrotliEncoder::with_quality(out, level))),
            Coding::Zstd => Coded::Zstd(ZstdEncoder::with_quality(out, level)),
        })
    }

    /// Takes more, and gives what it has become so far; `None` only if memory is at an end.
    pub(super) async fn write(&mut self, bytes: Vec<u8>) -> Option<Vec<u8>> {
        match self {
            Self::Identity => Some(bytes),
            Self::Coded(coded) => coded.write(&bytes).await,
        }
    }

    /// Gives the end of it.
    pub(super) async fn finish(&mut self) -> Option<Vec<u8>> {
        match self {
            Self::Identity => Some(Vec::new()),
            Self::Coded(coded) => coded.finish().await,
        }
    }
}

impl Coded {
    async fn write(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        each!(self, encoder => {
            encoder.write_all(bytes).await.ok()?;
            Some(std::mem::take(encoder.get_mut()))
        })
    }

    async fn finish(&mut self) -> Option<Vec<u8>> {
        each!(self, encoder => {
            encoder.shutdown().await.ok()?;
            Some(std::mem::take(encoder.get_mut()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn what_the_header_says() {
        for (text, want) in [
            ("gzip", Some(Coding::Gzip)),
            (" X-GZIP ", Some(Coding::Gzip)),
            ("deflate", Some(Coding::Deflate)),
            ("br", Some(Coding::Brotli)),
            ("zstd", Some(Coding::Zstd)),
            ("identity", Some(Coding::Identity)),
            ("compress", None),
            ("gzip, gzip", None),
            ("gzip,identity", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(text));
            assert_eq!(Coding::of(&headers), want, "{text}");
            headers.append(CONTENT_ENCODING, HeaderValue::from_static("identity"));
            assert_eq!(Coding::of(&headers), None, "two of them");
        }
        assert_eq!(Coding::of(&HeaderMap::new()), Some(Coding::Identity));
    }
}
