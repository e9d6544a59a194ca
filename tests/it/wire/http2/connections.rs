//! Frames that are wrong by themselves or where they stand (RFC 9113 4 to 6), and header blocks that do not decode (RFC 7541).

use super::Fate::{Cut, GoAway, Ignored, One, Reset};
use super::{Case, FLOW_CONTROL, FRAME_SIZE, Fate, PROTOCOL, judge, play};
use crate::fixture::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, PADDED, PING, PREFACE, PRIORITY,
    PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, WITH_PRIORITY, block, frame, headers, request, settings, text,
};
use crate::wire::Stage;
use futures_util::future::join_all;

const GET: Fate = One("GET /open/attempt", "");

/// A good request on a stream.
fn get(stream: u32) -> Vec<u8> {
    headers(stream, END_STREAM, &request("GET", "/open/attempt"))
}

/// A good request that no route takes.
fn nowhere(stream: u32) -> Vec<u8> {
    headers(stream, END_STREAM, &request("GET", "/nowhere"))
}

/// The block of a good request, with something before and behind it.
fn coded(before: &[u8], behind: &[u8]) -> Vec<u8> {
    let block = [before, &block(&request("GET", "/open/attempt")), behind].concat();
    frame(HEADERS, END_STREAM | END_HEADERS, 1, block)
}

fn of_the_connection() -> Vec<Case> {
    vec![
        ("settings of five bytes", frame(SETTINGS, 0, 0, [0; 5]), GoAway(PROTOCOL)),
        ("settings on a stream", frame(SETTINGS, 0, 1, [0; 6]), GoAway(PROTOCOL)),
        ("an acknowledgement with settings", frame(SETTINGS, END_STREAM, 0, [0; 6]), GoAway(PROTOCOL)),
        ("a push setting of two", settings(&[(2, 2)]), GoAway(PROTOCOL)),
        ("a window setting too large", settings(&[(4, 1 << 31)]), GoAway(PROTOCOL)),
        ("a frame size too small", settings(&[(5, 100)]), GoAway(PROTOCOL)),
        ("a frame size too large", settings(&[(5, 1 << 24)]), GoAway(PROTOCOL)),
        ("an unknown setting", [settings(&[(99, 1)]), get(1)].concat(), GET),
        ("a ping of seven bytes", frame(PING, 0, 0, [0; 7]), GoAway(PROTOCOL)),
        ("a ping on a stream", frame(PING, 0, 1, [0; 8]), GoAway(PROTOCOL)),
        ("a goodbye on a stream", frame(GOAWAY, 0, 1, [0; 8]), GoAway(PROTOCOL)),
        ("an unknown frame", [frame(99, 0xff, 1, "odd"), get(1)].concat(), GET),
        ("a frame over the size", frame(DATA, 0, 1, vec![0; (16 << 10) + 1]), GoAway(FRAME_SIZE)),
        ("a window that grows by nothing", frame(WINDOW_UPDATE, 0, 0, [0; 4]), GoAway(PROTOCOL)),
        ("a window update of three bytes", frame(WINDOW_UPDATE, 0, 0, [0; 3]), GoAway(PROTOCOL)),
        ("a window that overflows", frame(WINDOW_UPDATE, 0, 0, [0x7f, 255, 255, 255]), GoAway(FLOW_CONTROL)),
        ("a window of an idle stream", frame(WINDOW_UPDATE, 0, 1, [0, 0, 0, 1]), GoAway(PROTOCOL)),
        (
            "a push",
            frame(PUSH_PROMISE, END_HEADERS, 1, [&[0, 0, 0, 2][..], &block(&request("GET", "/x"))].concat()),
            GoAway(PROTOCOL),
        ),
        ("a reset of an idle stream", frame(RST_STREAM, 0, 1, [0; 4]), GoAway(PROTOCOL)),
        ("a reset of no stream", frame(RST_STREAM, 0, 0, [0; 4]), GoAway(PROTOCOL)),
        ("a reset of three bytes", [nowhere(1), frame(RST_STREAM, 0, 1, [0; 3])].concat(), GoAway(PROTOCOL)),
        ("a priority of no stream", frame(PRIORITY, 0, 0, [0; 5]), GoAway(PROTOCOL)),
        ("a priority of four bytes", frame(PRIORITY, 0, 1, [0; 4]), GoAway(PROTOCOL)),
        ("a priority below itself", frame(PRIORITY, 0, 1, [0, 0, 0, 1, 0]), Reset(PROTOCOL)),
        ("a priority of an idle stream", [frame(PRIORITY, 0, 1, [0, 0, 0, 3, 0]), get(1)].concat(), GET),
    ]
}

fn of_streams() -> Vec<Case> {
    let open = headers(1, 0, &request("POST", "/open/attempt"));
    let fields = block(&request("GET", "/open/attempt"));
    let depends = [&[0, 0, 0, 1, 0][..], &fields].concat();
    let padded = [&[4][..], &fields, &[0; 4]].concat();
    vec![
        ("headers of no stream", frame(HEADERS, END_STREAM | END_HEADERS, 0, &fields), GoAway(PROTOCOL)),
        ("an even stream", get(2), GoAway(PROTOCOL)),
        ("a lower stream", [nowhere(5), nowhere(3)].concat(), GoAway(PROTOCOL)),
        ("the same stream again", [nowhere(1), nowhere(1)].concat(), GoAway(PROTOCOL)),
        ("data of no stream", frame(DATA, 0, 0, "x"), GoAway(PROTOCOL)),
        ("data of an idle stream", frame(DATA, END_STREAM, 1, "x"), GoAway(PROTOCOL)),
        ("data of a stream that has ended", [nowhere(1), frame(DATA, END_STREAM, 1, "x")].concat(), GoAway(PROTOCOL)),
        (
            "data padded by more than there is",
            [open.clone(), frame(DATA, PADDED | END_STREAM, 1, [9, 0, 0])].concat(),
            GoAway(PROTOCOL),
        ),
        (
            "headers padded by more than there is",
            frame(HEADERS, PADDED | END_STREAM | END_HEADERS, 1, [200, 0, 0]),
            GoAway(PROTOCOL),
        ),
        ("headers that are padded", frame(HEADERS, PADDED | END_STREAM | END_HEADERS, 1, padded), GET),
        (
            "headers below themselves",
            frame(HEADERS, WITH_PRIORITY | END_STREAM | END_HEADERS, 1, depends),
            Reset(PROTOCOL),
        ),
        ("a continuation of nothing", frame(CONTINUATION, END_HEADERS, 1, &fields), GoAway(PROTOCOL)),
        (
            "a continuation of another stream",
            [frame(HEADERS, END_STREAM, 1, &fields), frame(CONTINUATION, END_HEADERS, 3, "")].concat(),
            GoAway(PROTOCOL),
        ),
        (
            "a frame before the continuation",
            [frame(HEADERS, END_STREAM, 1, &fields), frame(PING, 0, 0, [0; 8])].concat(),
            GoAway(PROTOCOL),
        ),
        (
            "headers before the continuation",
            [frame(HEADERS, END_STREAM, 1, &fields), get(3)].concat(),
            GoAway(PROTOCOL),
        ),
        (
            "headers in three frames",
            [
                frame(HEADERS, END_STREAM, 1, &fields[..10]),
                frame(CONTINUATION, 0, 1, &fields[10..20]),
                frame(CONTINUATION, END_HEADERS, 1, &fields[20..]),
            ]
            .concat(),
            GET,
        ),
        (
            "trailers that do not end the stream",
            [open.clone(), headers(1, 0, &[("x-own", "1")])].concat(),
            Reset(PROTOCOL),
        ),
        (
            "a window that grows by nothing",
            [open.clone(), frame(WINDOW_UPDATE, 0, 1, [0; 4])].concat(),
            GoAway(PROTOCOL),
        ),
        (
            "a window that overflows",
            [open, frame(WINDOW_UPDATE, 0, 1, [0x7f, 255, 255, 255])].concat(),
            Reset(FLOW_CONTROL),
        ),
    ]
}

fn of_blocks() -> Vec<Case> {
    let literal = |name: &[u8], value: &[u8]| coded(b"", &[&[0], name, value].concat());
    vec![
        ("index 0", coded(&[0x80], b""), GoAway(PROTOCOL)),
        ("an index beyond the table", coded(&[0xff, 0x80, 0x01], b""), GoAway(PROTOCOL)),
        ("a name beyond the table", coded(b"", &[0x0f, 0xf0, 0x01, 1, b'x']), GoAway(PROTOCOL)),
        ("an index without an end", coded(b"", &[0xff]), GoAway(PROTOCOL)),
        ("an index that overflows", coded(b"", &[0xff, 255, 255, 255, 255, 255, 255, 1]), GoAway(PROTOCOL)),
        ("a string without an end", coded(b"", &[0, 1, b'x', 50, b'y']), GoAway(PROTOCOL)),
        ("a table over the size", coded(&[0x3f, 0xff, 0xff, 0x7f], b""), GoAway(PROTOCOL)),
        ("a table size behind a field", coded(b"", &[0x20]), GoAway(PROTOCOL)),
        ("bits behind the code that are no padding", literal(&text("x-own"), &[0x81, 0b0001_1000]), GoAway(PROTOCOL)),
        ("padding longer than a byte", literal(&text("x-own"), &[0x82, 0b0001_1111, 0xff]), GoAway(PROTOCOL)),
        ("an end in the code", literal(&text("x-own"), &[0x84, 0xff, 0xff, 0xff, 0xff]), GoAway(PROTOCOL)),
        ("a smaller table", coded(&[0x20], b""), GET),
    ]
}

#[tokio::test]
async fn frames_of_the_connection_are_strict() {
    play(of_the_connection()).await;
}

#[tokio::test]
async fn frames_of_streams_are_strict() {
    play(of_streams()).await;
}

#[tokio::test]
async fn header_blocks_are_strict() {
    play(of_blocks()).await;
}

#[tokio::test]
async fn what_begins_in_another_way_gets_nothing() {
    let mut stage = Stage::with(|setup| setup).await;
    let ping = frame(PING, 0, 0, [0; 8]);
    let http1 = b"GET /open/attempt HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut wrong = Vec::new();
    for (what, bytes, fate) in [
        ("HTTP/1.1", http1.to_vec(), Cut),
        ("a preface of another version", b"PRI * HTTP/3.0\r\n\r\nSM\r\n\r\n".to_vec(), Cut),
        ("a preface with LF alone", b"PRI * HTTP/2.0\n\nSM\n\n....".to_vec(), Cut),
        // The settings that must come first have no say in how the rest is read.
        ("no settings but a request", [PREFACE, &get(1)].concat(), GET),
        ("no settings but a ping", [PREFACE, &ping].concat(), Ignored),
        ("two prefaces", [PREFACE, PREFACE].concat(), GoAway(FRAME_SIZE)),
        ("an acknowledgement first", [PREFACE, &frame(SETTINGS, END_STREAM, 0, "")].concat(), Ignored),
    ] {
        wrong.extend(judge(&mut stage, what, &bytes, fate).await.err());
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn half_a_beginning_and_silence_are_cut() {
    let mut stage =
        Stage::with(|setup| setup.replace("limits: {}", "limits: {header_timeout_ms: 1000, body_timeout_ms: 1000}"))
            .await;
    let beginnings = [
        ("nothing", b"".to_vec()),
        ("half a preface", PREFACE[..10].to_vec()),
        ("a preface", PREFACE.to_vec()),
        ("half a frame", [PREFACE, &settings(&[])[..5]].concat()),
        ("settings alone", [PREFACE, &settings(&[])].concat()),
        (
            "half a header block",
            [PREFACE, &settings(&[]), &frame(HEADERS, END_STREAM, 1, block(&request("GET", "/open/attempt")))].concat(),
        ),
    ];
    let client = stage.gate.as_client("clinician");
    let waits = beginnings.map(|(what, bytes)| {
        let client = client.clone();
        async move {
            let mut frames = Frames::connect(&client).await;
            frames.send(bytes).await;
            frames.wait_for_close().await;
            assert!(!frames.in_vain, "{what} is not cut");
        }
    });
    join_all(waits).await;
    stage.nothing_came_of("half a beginning").await;
}
