//! Bodies with a content coding.

use super::streams::{lines, streaming};
use crate::fixture::{Bed, Call};
use async_compression::tokio::write::{BrotliDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
use tokio::io::AsyncWriteExt;

pub(super) const CODINGS: [&str; 4] = ["gzip", "deflate", "br", "zstd"];
const DOCUMENT: &str = "{\"ssn\":\"999-12-3456\",\"n\":1.10}";

macro_rules! coded {
    ($coder:ident, $body:expr) => {{
        let mut coder = $coder::new(Vec::new());
        coder.write_all($body).await.unwrap();
        coder.shutdown().await.unwrap();
        coder.into_inner()
    }};
}

pub(super) async fn encoded(coding: &str, body: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => coded!(GzipEncoder, body),
        "deflate" => coded!(ZlibEncoder, body),
        "br" => coded!(BrotliEncoder, body),
        _ => coded!(ZstdEncoder, body),
    }
}

pub(super) async fn decoded(coding: &str, body: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => coded!(GzipDecoder, body),
        "deflate" => coded!(ZlibDecoder, body),
        "br" => coded!(BrotliDecoder, body),
        _ => coded!(ZstdDecoder, body),
    }
}

#[tokio::test]
async fn a_coded_body_is_sealed_inside_and_coded_again() {
    let bed = Bed::start();
    for coding in CODINGS {
        let body = encoded(coding, DOCUMENT.as_bytes()).await;
        let call = Call::new("PUT /Patient/1").header("content-encoding", coding).json(body);
        // The registry says back what it got, under the type alone: to its client that is no JSON.
        bed.make("clinician", &call).await.expect_problem(502, "response_not_understood");
        let received = bed.upstream.take_only();
        assert_eq!(received.headers["content-encoding"], coding);
        assert_eq!(received.headers["content-length"], received.body.len().to_string());
        let kept = String::from_utf8(decoded(coding, &received.body).await).unwrap();
        assert!(kept.starts_with("{\"ssn\":\"sgv1.") && kept.ends_with("\",\"n\":1.10}"), "{coding}: {kept}");

        bed.upstream.always(200, &[("content-type", "application/json"), ("content-encoding", coding)], received.body);
        let read = bed.make("clinician", &Call::new("GET /Patient/1").header("accept-encoding", coding)).await;
        assert_eq!((read.status.as_u16(), read.text()), (200, DOCUMENT.to_owned()), "{coding}");
        // Nothing that a caller may have a part in is compressed with what is sealed.
        assert_eq!(read.header("content-encoding"), None);
        assert_eq!(bed.upstream.take_only().headers["accept-encoding"], "identity");
        bed.upstream.script(|_| None);
    }
}

#[tokio::test]
async fn a_coding_that_is_unknown_broken_or_a_bomb_goes_nowhere() {
    let bed = Bed::start();
    for coding in ["compress", "gzip, gzip", "aes128gcm", "identity, gzip"] {
        let call = Call::new("PUT /Patient/1").header("content-encoding", coding).json(DOCUMENT);
        bed.refuses("clinician", &call, (415, "content_encoding_unsupported")).await;
    }
    for coding in CODINGS {
        let good = encoded(coding, DOCUMENT.as_bytes()).await;
        let longer = [&good[..], DOCUMENT.as_bytes()].concat();
        for body in [DOCUMENT.as_bytes(), &good[..good.len() - 1], &longer] {
            let call = Call::new("PUT /Patient/1").header("content-encoding", coding).json(body);
            bed.refuses("clinician", &call, (400, "body_invalid")).await;
        }
        let bomb = encoded(coding, &vec![b' '; 3 << 20]).await;
        let call = Call::new("PUT /Patient/1").header("content-encoding", coding).json(&bomb);
        bed.refuses("clinician", &call, (413, "body_too_large")).await;
        // What is good inside and is no JSON.
        let call = Call::new("PUT /Patient/1").header("content-encoding", coding).json(encoded(coding, b"{").await);
        bed.refuses("clinician", &call, (400, "body_invalid")).await;
        for (body, code) in [(bomb, "response_too_large"), (good[..good.len() - 1].to_vec(), "response_not_understood")]
        {
            bed.upstream.always(200, &[("content-type", "application/json"), ("content-encoding", coding)], body);
            bed.make("clinician", &Call::new("GET /Patient/1")).await.expect_problem(502, code);
            bed.upstream.take_only();
            bed.upstream.script(|_| None);
        }
    }
}

#[tokio::test]
async fn a_long_coded_body_streams_both_ways() {
    let bed = streaming();
    let text = lines(20_000);
    for coding in CODINGS {
        let body = encoded(coding, text.as_bytes()).await;
        let call = Call::new("PUT /Patient/1").header("content-encoding", coding);
        bed.upstream.always(200, &[], "");
        let wrote = bed.make("clinician", &call.of_type("application/x-ndjson", &body)).await;
        assert_eq!(wrote.status, 200, "{coding}: {}", wrote.text());
        let sent = bed.upstream.take_only();
        assert_eq!(
            (&sent.headers["transfer-encoding"], &sent.headers["content-encoding"]),
            (&"chunked".parse().unwrap(), &coding.parse().unwrap())
        );
        let sealed = String::from_utf8(decoded(coding, &sent.body).await).unwrap();
        assert_eq!(sealed.matches("\"ssn\":\"sgv1.").count(), 20_000, "{coding}");
        assert!(!sealed.contains("999-12-"), "{coding}");

        let headers = [("content-type", "application/x-ndjson"), ("content-encoding", coding)];
        bed.upstream.always(200, &headers, sent.body);
        let read = bed.make("clinician", &Call::new("GET /Patient/1")).await;
        assert!(read.status == 200 && read.text() == text, "{coding}: what is read is another text");
        assert_eq!(read.header("content-encoding"), None);
        bed.upstream.take_only();
        bed.upstream.script(|_| None);

        // What ends too early, or holds something bad further on.
        let bad = encoded(coding, format!("{text}{{").as_bytes()).await;
        for broken in [&body[..body.len() - 1], &bad] {
            let call = Call::new("PUT /Patient/1").header("content-encoding", coding);
            let call = call.of_type("application/x-ndjson", broken);
            bed.make("clinician", &call).await.expect_problem(400, "body_invalid");
            bed.upstream.expect_nothing();
        }
    }
}
