//! Content codings (RFC 9110 8.4.1): undone before a body is read, done again before it goes on to the upstream. Responses go
//! on without one: what a caller chooses and what is sealed would be compressed together, and lengths would tell the one from the other
//! (BREACH, CVE-2013-3587).

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, HeaderMap};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

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

/// How many bytes one byte may become; what exceeds it was made to.
const RATIO_MAX: usize = 200;

/// So many bytes every body may become.
const RATIO_FREE_BYTES: usize = 1 << 20;

/// Why a body was not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotDecoded {
    /// It is not of the coding, or more follows.
    Broken,
    /// It becomes larger than allowed.
    TooLarge,
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

    /// Undoes it, of a whole body.
    pub(super) async fn decode(self, body: Bytes, bytes_max: usize) -> Result<Bytes, NotDecoded> {
        if self == Coding::Identity {
            return Ok(body);
        }
        self.undo(&body, bytes_max).await.map(Bytes::from)
    }

    async fn undo(self, body: &[u8], bytes_max: usize) -> Result<Vec<u8>, NotDecoded> {
        let most = bytes_max.min(body.len().saturating_mul(RATIO_MAX).max(RATIO_FREE_BYTES));
        match self {
            Coding::Identity => Ok(body.to_vec()),
            Coding::Gzip => {
                let mut decoder = GzipDecoder::new(body);
                decoder.multiple_members(true);
                let decoded = read(&mut decoder, most).await?;
                whole(decoded, decoder.into_inner())
            }
            Coding::Deflate => {
                let mut decoder = ZlibDecoder::new(body);
                let decoded = read(&mut decoder, most).await?;
                whole(decoded, decoder.into_inner())
            }
            Coding::Brotli => {
                let mut decoder = BrotliDecoder::new(body);
                let decoded = read(&mut decoder, most).await?;
                whole(decoded, decoder.into_inner())
            }
            Coding::Zstd => {
                let mut decoder = ZstdDecoder::new(body);
                decoder.multiple_members(true);
                let decoded = read(&mut decoder, most).await?;
                whole(decoded, decoder.into_inner())
            }
        }
    }

    /// Does it, to a whole body; `None` only if memory is at an end.
    pub(super) async fn encode(self, body: Vec<u8>) -> Option<Vec<u8>> {
        macro_rules! encoded {
            ($encoder:ident) => {{
                let mut encoder = $encoder::new(Vec::new());
                encoder.write_all(&body).await.ok()?;
                encoder.shutdown().await.ok()?;
                Some(encoder.into_inner())
            }};
        }
        match self {
            Coding::Identity => Some(body),
            Coding::Gzip => encoded!(GzipEncoder),
            Coding::Deflate => encoded!(ZlibEncoder),
            Coding::Brotli => encoded!(BrotliEncoder),
            Coding::Zstd => encoded!(ZstdEncoder),
        }
    }
}

async fn read(decoder: &mut (impl AsyncRead + Unpin), most: usize) -> Result<Vec<u8>, NotDecoded> {
    let mut decoded = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    decoder.take(limit).read_to_end(&mut decoded).await.map_err(|_| NotDecoded::Broken)?;
    if decoded.len() > most { Err(NotDecoded::TooLarge) } else { Ok(decoded) }
}

/// Nothing may follow that was not read.
fn whole(decoded: Vec<u8>, rest: &[u8]) -> Result<Vec<u8>, NotDecoded> {
    if rest.is_empty() { Ok(decoded) } else { Err(NotDecoded::Broken) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const ALL: [Coding; 5] = [Coding::Identity, Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd];

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

    #[tokio::test]
    async fn what_was_encoded_is_decoded() {
        for coding in ALL {
            for body in [&b""[..], b"x", &b"0123456789".repeat(5000)] {
                let encoded = coding.encode(body.to_vec()).await.unwrap();
                assert_eq!(coding.decode(encoded.into(), body.len()).await.as_deref(), Ok(body), "{coding:?}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_broken_or_goes_on_is_refused() {
        for coding in ALL.into_iter().skip(1) {
            let encoded = coding.encode(b"0123456789".repeat(50)).await.unwrap();
            for broken in [&encoded[..encoded.len() - 1], b"{\"ssn\":1}", &[&encoded[..], b"{}"].concat()] {
                let decoded = coding.decode(Bytes::copy_from_slice(broken), 1 << 20).await;
                assert_eq!(decoded, Err(NotDecoded::Broken), "{coding:?} {}", broken.len());
            }
        }
    }

    #[tokio::test]
    async fn what_grows_too_much_is_refused() {
        for coding in ALL.into_iter().skip(1) {
            let encoded = coding.encode(vec![b' '; 2000]).await.unwrap();
            assert_eq!(coding.decode(encoded.into(), 1999).await, Err(NotDecoded::TooLarge), "{coding:?}");
            let bomb = coding.encode(vec![0; 40 << 20]).await.unwrap();
            assert_eq!(coding.decode(bomb.into(), usize::MAX).await, Err(NotDecoded::TooLarge), "{coding:?}");
        }
    }
}
