//! Floods: the connection that they come on is cut, or takes no more than its share, and another one is served meanwhile.

use super::Stage;
use crate::fixture::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE,
    block, frame, headers, opening, request, settings, text,
};
use crate::fixture::message::Message;
use crate::fixture::witness::Then;

/// How many times an attempt does what it does.
const TIMES: u32 = 10_000;
/// How many of those requests the upstream may get.
const REACHING_MAX: usize = 500;
/// How many frames are written at once.
const AT_ONCE: usize = 100;

/// Writes the frames until they are no longer taken; says how it stands then.
async fn flood(stage: &Stage, first: Vec<u8>, each: impl Iterator<Item = Vec<u8>>) -> Frames {
    let mut frames = Frames::connect(&stage.gate.as_client("clinician")).await;
    frames.send([opening(), first].concat()).await;
    let mut each = each.peekable();
    while each.peek().is_some() {
        let some: Vec<u8> = each.by_ref().take(AT_ONCE).flatten().collect();
        if !frames.send(some).await {
            break;
        }
    }
    frames
}

/// The streams that a client may open, in their order.
fn streams() -> impl Iterator<Item = u32> {
    (0..TIMES).map(|number| number * 2 + 1)
}

fn attempt(stream: u32) -> Vec<u8> {
    headers(stream, END_STREAM, &request("GET", "/open/attempt"))
}

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, 8_u32.to_be_bytes())
}

/// Requests that are taken back at once, or made so that the gate takes them back.
#[tokio::test]
async fn requests_that_are_reset_hardly_reach_the_upstream() {
    let mut stage = Stage::with(|setup| setup).await;
    let open = |stream| headers(stream, 0, &request("POST", "/open/attempt"));
    let update = |stream, by: u32| frame(WINDOW_UPDATE, 0, stream, by.to_be_bytes());
    let depends = |stream: u32| frame(PRIORITY, 0, stream, [&stream.to_be_bytes()[..], &[0]].concat());
    type Each<'a> = &'a dyn Fn(u32) -> Vec<u8>;
    let kinds: [(&str, Each<'_>); 6] = [
        ("rapid reset", &|stream| [attempt(stream), reset(stream)].concat()),
        ("rapid reset of a body", &|stream| [open(stream), frame(DATA, 0, stream, "x"), reset(stream)].concat()),
        ("a window that overflows", &|stream| [open(stream), update(stream, 0x7fff_ffff)].concat()),
        ("data after the end", &|stream| [attempt(stream), frame(DATA, END_STREAM, stream, "x")].concat()),
        ("a priority below itself", &|stream| [attempt(stream), depends(stream)].concat()),
        ("a malformed request", &|stream| headers(stream, END_STREAM, &request("GET", "no/slash"))),
    ];
    for (what, each) in kinds {
        let mut frames = flood(&stage, Vec::new(), streams().map(each)).await;
        let seen = stage.aftermath(what).await;
        frames.finish().await;
        frames.wait_for_close().await;
        assert!(seen.len() < REACHING_MAX, "{what}: {} requests", seen.len());
        let late = stage.aftermath(what).await.len();
        assert!(seen.len() + late < REACHING_MAX, "{what}: {late} more requests");
        assert!(frames.goaway.is_some() || !frames.in_vain, "{what}: the connection ends");
    }
}

/// The same, each after the gate has begun with it.
#[tokio::test]
async fn requests_that_are_reset_under_way_hardly_reach_the_upstream() {
    let mut stage = Stage::with(|setup| setup).await;
    let mut frames = Frames::connect(&stage.gate.as_client("clinician")).await;
    frames.send(opening()).await;
    for (number, stream) in streams().enumerate() {
        // Once the ping is answered, the request has been taken.
        frames.send([attempt(stream), frame(PING, 0, 0, [7; 8])].concat()).await;
        frames.read_until(|frames| frames.kinds.get(&PING).is_some_and(|count| *count > number)).await;
        if frames.closed || !frames.send(reset(stream)).await {
            break;
        }
    }
    let seen = stage.aftermath("reset under way").await;
    assert!(seen.len() < REACHING_MAX, "{} requests", seen.len());
    assert!(stage.witness.connections() < REACHING_MAX, "{} connections", stage.witness.connections());
}

#[tokio::test]
async fn requests_that_are_reset_now_and_then_do_no_harm() {
    let mut stage = Stage::with(|setup| setup).await;
    let mut frames = Frames::connect(&stage.gate.as_client("clinician")).await;
    frames.send(opening()).await;
    for stream in streams().step_by(2).take(200) {
        frames.send([attempt(stream), frame(PING, 0, 0, [7; 8])].concat()).await;
        let pings = frames.kinds.get(&PING).copied().unwrap_or_default();
        frames.read_until(|frames| frames.kinds.get(&PING).is_some_and(|count| *count > pings)).await;
        frames.send([reset(stream), attempt(stream + 2)].concat()).await;
        assert_eq!(frames.wait_for(stream + 2).await.status, Some(200), "{stream}: {:?}", frames.goaway);
    }
    stage.aftermath("reset now and then").await;
}

/// Frames that cost their sender nothing.
#[tokio::test]
async fn frames_without_an_end_are_cut_or_bounded() {
    let mut stage = Stage::with(|setup| setup).await;
    let fields = block(&request("GET", "/open/attempt"));
    let own = block(&[("x-own", &"a".repeat(1_000))]);
    let open = headers(1, 0, &request("POST", "/open/attempt"));
    let begun = frame(HEADERS, END_STREAM, 1, fields);
    let kinds: [(&str, Vec<u8>, Vec<u8>); 9] = [
        ("continuations", begun.clone(), frame(CONTINUATION, 0, 1, own)),
        ("empty continuations", begun, frame(CONTINUATION, 0, 1, "")),
        ("settings", Vec::new(), settings(&[(4, 65_535)])),
        ("empty settings", Vec::new(), frame(SETTINGS, 0, 0, "")),
        ("pings", Vec::new(), frame(PING, 0, 0, [7; 8])),
        ("priorities", Vec::new(), frame(PRIORITY, 0, 3, [0, 0, 0, 1, 7])),
        ("empty data", open.clone(), frame(DATA, 0, 1, "")),
        ("bytes of data", open, frame(DATA, 0, 1, "x")),
        ("unknown frames", Vec::new(), frame(99, 0, 0, [7; 64])),
    ];
    for (what, first, each) in kinds {
        let mut frames = flood(&stage, first, (0..TIMES).map(|_| each.clone())).await;
        let seen = stage.aftermath(what).await;
        assert!(seen.is_empty(), "{what}: {seen:#?}");
        frames.finish().await;
        frames.wait_for_close().await;
        let written: usize = frames.kinds.values().sum();
        assert!(written <= usize::try_from(TIMES).unwrap() + 100, "{what}: {written} frames in answer");
        let late = stage.aftermath(what).await;
        assert!(late.is_empty(), "{what}: {late:#?}");
    }
}

/// A large entry of the table, named again and again: little to send, much to keep.
#[tokio::test]
async fn a_bomb_of_headers_is_refused() {
    let mut stage = Stage::with(|setup| setup).await;
    let entry = [&[0x40][..], &text("x-own"), &text(&"a".repeat(4_000))].concat();
    let request = block(&request("GET", "/open/attempt"));
    for (what, times, status) in [("64 KB", 16, Some(431)), ("more than can be", 16_000, None)] {
        let block = [&request[..], &entry, &vec![0x80 | 62; times]].concat();
        let bomb = frame(HEADERS, END_STREAM | END_HEADERS, 1, block);
        let mut frames = flood(&stage, bomb, std::iter::empty()).await;
        let outcome = frames.wait_for(1).await;
        assert!(!frames.in_vain, "{what}");
        assert_eq!(outcome.status, status, "{what}: {:?}", frames.goaway);
        stage.nothing_came_of(what).await;
    }
}

/// More streams than there may be are not taken; those that may be are served.
#[tokio::test]
async fn streams_beyond_the_limit_are_refused() {
    let mut stage = Stage::with(|setup| setup.replace("limits: {}", "limits: {streams_max: 10}")).await;
    let open = |stream| headers(stream, 0, &request("POST", "/open/attempt"));
    let mut frames = flood(&stage, Vec::new(), streams().take(30).map(open)).await;
    frames.read_until(|frames| frames.streams.len() >= 20).await;
    assert!(!frames.in_vain);
    let refused: Vec<u32> =
        frames.streams.iter().filter(|(_, outcome)| outcome.reset == Some(7)).map(|(id, _)| *id).collect();
    assert_eq!(refused, streams().take(30).skip(10).collect::<Vec<u32>>());
    let ends: Vec<u8> = streams().take(10).flat_map(|stream| frame(DATA, END_STREAM, stream, "x")).collect();
    frames.send(ends).await;
    frames
        .read_until(|frames| frames.streams.values().filter(|outcome| outcome.status == Some(200)).count() == 10)
        .await;
    assert!(!frames.in_vain);
    let seen = stage.aftermath("streams").await;
    assert_eq!(seen.len(), 10);
    assert!(seen.iter().all(|seen| seen.request.text() == "x"), "{seen:#?}");
}

/// A client that takes nothing of a long answer: what waits for it is bounded by windows, and others are served.
#[tokio::test]
async fn a_client_that_reads_nothing_holds_up_nobody() {
    let mut stage = Stage::with(|setup| setup).await;
    let length = 1 << 20;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    stage.witness.say([head.into_bytes(), vec![b'x'; length]].concat(), Then::KeepOpen);
    // No window at all, for 20 answers.
    let mut frames = flood(&stage, settings(&[(4, 0)]), streams().take(20).map(attempt)).await;
    frames
        .read_until(|frames| frames.streams.values().filter(|outcome| outcome.status == Some(200)).count() == 20)
        .await;
    assert!(!frames.in_vain && frames.streams.values().all(|outcome| outcome.body.is_empty()));
    let seen = stage.aftermath("no window").await;
    assert_eq!(seen.len(), 20);
    // Once it wants it, it gets it.
    let ample = 1_u32 << 30;
    frames
        .send(
            [frame(WINDOW_UPDATE, 0, 0, ample.to_be_bytes()), frame(WINDOW_UPDATE, 0, 1, ample.to_be_bytes())].concat(),
        )
        .await;
    assert_eq!(frames.wait_for(1).await.body.len(), length);
    drop(frames);
    let late = stage.aftermath("no window, gone").await;
    assert!(late.is_empty(), "{:?}", late.iter().map(|seen| &seen.request).collect::<Vec<&Message>>());
}
