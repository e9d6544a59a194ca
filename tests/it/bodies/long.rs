//! Bodies of any length take the same memory.

use crate::fixture::upstream::answering;
use crate::fixture::{Gate, Setup};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

/// Lines in a piece. The body is the same piece over and over.
const LINES: usize = 256;

/// What goes before, between and after the pieces of a body.
#[derive(Clone, Copy)]
struct Shape {
    media_type: &'static str,
    around: [&'static str; 3],
}

const LINES_OF_JSON: Shape = Shape { media_type: "application/x-ndjson", around: ["", "\n", "\n"] };
const BUNDLE: Shape =
    Shape { media_type: "application/json", around: ["{\"resourceType\":\"Bundle\",\"entry\":[", ",", "]}"] };

impl Shape {
    fn piece(&self) -> Bytes {
        let lines = (0..LINES).map(|number| {
            let text = "x".repeat(800 + number);
            format!("{{\"ssn\":\"999-12-{number:04}\",\"n\":{number},\"text\":\"{text}\"}}")
        });
        lines.collect::<Vec<_>>().join(self.around[1]).into()
    }

    /// The pieces of a body, each followed by what stands between them.
    fn body(self, piece: Bytes, count: usize) -> impl Iterator<Item = Bytes> + Send {
        let [before, between, after] = self.around.map(|text| Bytes::from_static(text.as_bytes()));
        let pieces = (0..count).flat_map(move |number| {
            let then = if number + 1 == count { Bytes::new() } else { between.clone() };
            [piece.clone(), then]
        });
        std::iter::once(before).chain(pieces).chain([after]).filter(|piece| !piece.is_empty())
    }
}

/// What the upstream has of a body: its first piece, and how long it was.
#[derive(Default)]
struct Kept {
    first: Vec<u8>,
    bytes: usize,
    sealed: usize,
    clear: usize,
    count: usize,
}

/// An upstream that keeps only the first piece of a body, and gives it back as often as it is told to.
fn start(shape: Shape, kept: Arc<Mutex<Kept>>) -> SocketAddr {
    answering(move |request| answer(shape, Arc::clone(&kept), request))
}

async fn answer(
    shape: Shape,
    kept: Arc<Mutex<Kept>>,
    request: Request<Incoming>,
) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    if request.method() == Method::PUT {
        let mut body = request.into_body();
        // A token or a number may be cut by the end of a chunk: all but the end of what was looked through is looked at again.
        let mut end: Vec<u8> = Vec::new();
        while let Some(frame) = body.frame().await {
            let chunk = frame.unwrap().into_data().unwrap();
            let mut kept = kept.lock().unwrap();
            kept.bytes += chunk.len();
            if kept.first.len() < 4 << 20 {
                kept.first.extend_from_slice(&chunk);
            }
            let before = end.len();
            end.extend_from_slice(&chunk);
            let count = |needle: &[u8]| {
                let all = memchr::memmem::find_iter(&end, needle);
                all.filter(|at| at + needle.len() > before).count()
            };
            let (sealed, clear) = (count(b"\"sgv1."), count(b"999-12-"));
            kept.sealed += sealed;
            kept.clear += clear;
            end.drain(..end.len().saturating_sub(6));
        }
        return Response::new(Empty::new().boxed_unsync());
    }
    let kept = kept.lock().unwrap();
    let first = &kept.first[shape.around[0].len()..];
    // Objects in it end with two quotes and a brace nowhere else.
    let end = memchr::memmem::find_iter(first, b"\"}").nth(LINES - 1).unwrap() + 2;
    let pieces = shape.body(Bytes::copy_from_slice(&first[..end]), kept.count);
    let frames = stream::iter(pieces.map(|piece| Ok(Frame::data(piece))));
    let response = Response::builder().header("content-type", shape.media_type);
    response.body(StreamBody::new(frames).boxed_unsync()).unwrap()
}

/// Mebibytes of memory, by the name that the kernel has for it.
fn memory(gate: &Gate, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gate.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() / 1024
}

/// Sends a body of so many mebibytes and reads it again; gives a line that tells what the gate took.
async fn drive(shape: Shape, mebibytes: usize) -> String {
    let piece = shape.piece();
    let count = (mebibytes << 20) / piece.len();
    let kept = Arc::new(Mutex::new(Kept { count, ..Kept::default() }));
    let limits = "  limits: {body_bytes_max: 68719476736, response_bytes_max: 68719476736, body_timeout_ms: 600000}\n";
    let gate = Setup::before(start(shape, Arc::clone(&kept))).replace("  limits: {}\n", limits).start();
    let client = gate.as_client("clinician");
    assert_eq!(client.get("/healthz").await.status, 404, "it is up");
    let idle = memory(&gate, "VmRSS");

    let all: usize = shape.body(piece.clone(), count).map(|piece| piece.len()).sum();
    let headers = [("content-type", shape.media_type)];
    let pieces = stream::iter(shape.body(piece.clone(), count).map(Ok));
    let wrote = client.stream(Method::PUT, "/Patient/1", &headers, pieces).await.unwrap();
    assert_eq!(wrote.status(), 200);
    {
        let kept = kept.lock().unwrap();
        assert_eq!((kept.sealed, kept.clear), (count * LINES, 0), "every value is sealed");
        assert!(kept.bytes > all, "tokens are longer than values");
    }
    let read = client.stream(Method::GET, "/Patient/1", &[], stream::empty()).await.unwrap();
    assert_eq!(read.status(), 200);
    let (mut want, mut wanted, mut got) = (shape.body(piece, count), Bytes::new(), 0);
    let mut body = read.into_body().into_data_stream();
    while let Some(chunk) = body.next().await {
        let mut chunk = chunk.unwrap();
        got += chunk.len();
        while !chunk.is_empty() {
            if wanted.is_empty() {
                wanted = want.next().expect("no more than was sent");
            }
            let most = wanted.len().min(chunk.len());
            assert!(chunk.split_to(most) == wanted.split_to(most), "another text before byte {got}");
        }
    }
    assert_eq!(got, all);
    let peak = memory(&gate, "VmHWM");
    assert!(peak < idle + 64, "{mebibytes} MiB: {idle} MiB idle, {peak} MiB at most");
    format!("{} of {mebibytes} MiB: {idle} MiB idle, {peak} MiB at most", shape.media_type)
}

/// Of how many mebibytes bodies are, unless the length is asked for.
const MEBIBYTES: usize = 48;

#[expect(clippy::disallowed_methods, reason = "the only way to tell a test how long")]
fn asked() -> Option<usize> {
    std::env::var("SEALGATE_TEST_BODY_MIB").ok().map(|asked| asked.parse().unwrap())
}

#[tokio::test]
async fn however_long_a_body_is_it_takes_the_same_memory() {
    let mebibytes = asked().unwrap_or(MEBIBYTES);
    for shape in [LINES_OF_JSON, BUNDLE] {
        let said = drive(shape, mebibytes).await;
        eprintln!("{said}");
    }
}
