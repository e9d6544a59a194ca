//! Connections that are to end, and clients that do not let them.

use crate::fixture::frames::{END_STREAM, Frames, PING, RST_STREAM, frame, headers, opening, request};
use crate::fixture::rough::Rough;
use crate::fixture::witness::Witness;
use crate::fixture::{Gate, Setup};

fn alone(setup: Setup) -> Setup {
    setup.replace("workers: 2", "workers: 1")
}

async fn begin(gate: &Gate) -> Frames {
    let mut frames = Frames::connect(&gate.as_client("clinician")).await;
    frames.send(opening()).await;
    frames
}

/// Asks, waits until that is under way, and takes it back; tells whether the connection still stands.
async fn take_back(frames: &mut Frames, number: u32, pings: usize) -> bool {
    let stream = number * 2 + 1;
    let ask = headers(stream, END_STREAM, &request("GET", "/open/attempt"));
    frames.send([ask, frame(PING, 0, 0, [7; 8])].concat()).await;
    frames.read_until(|frames| frames.kinds.get(&PING).is_some_and(|count| *count > pings)).await;
    !frames.closed && frames.send(frame(RST_STREAM, 0, stream, 8_u32.to_be_bytes())).await
}

#[tokio::test]
async fn requests_taken_back_are_bounded_also_after_the_gate_has_said_goodbye() {
    let witness = Witness::start();
    let setup = alone(Setup::before(witness.addr())).replace("limits: {}", "limits: {header_timeout_ms: 1500}");
    let gate = setup.start();
    let mut frames = begin(&gate).await;
    // The end of a connection without requests, whose ping is not answered.
    frames.read_until(|frames| frames.goaway.is_some()).await;
    let pings = frames.kinds.get(&PING).copied().unwrap_or_default();
    let mut taken_back = 0;
    for number in 0..2000 {
        if !take_back(&mut frames, number, pings + number as usize).await {
            break;
        }
        taken_back += 1;
    }
    assert!(taken_back < 1000, "{taken_back} were taken back");
    assert!(witness.take().len() < 500);
}

#[tokio::test]
async fn a_client_that_takes_back_what_is_slow_keeps_what_else_is_under_way() {
    let upstream = Rough::held();
    let gate = alone(Setup::before(upstream.addr())).start();
    let mut frames = begin(&gate).await;
    frames.send(headers(1, END_STREAM, &request("POST", "/open/write"))).await;
    for number in 1..=150 {
        assert!(take_back(&mut frames, number, number as usize - 1).await, "the connection stands, {number}");
    }
    upstream.release();
    assert_eq!(frames.wait_for(1).await.status, Some(200));
}

#[tokio::test]
async fn a_client_whose_certificate_is_not_taken_any_more_is_put_out() {
    let witness = Witness::start();
    let gate = alone(Setup::before(witness.addr())).start();
    let mut frames = begin(&gate).await;
    frames.send(headers(1, END_STREAM, &request("GET", "/open/attempt"))).await;
    assert_eq!(frames.wait_for(1).await.status, Some(200));
    witness.take();
    let denied = "client_ca_file: ca.pem, client_deny: [{spiffe: 'spiffe://test.example/clinician'}]}";
    gate.rewrite("client_ca_file: ca.pem}", denied);
    assert_eq!(gate.reload(), "applied");
    let mut refused = 0;
    for number in 1..1000_u32 {
        let stream = number * 2 + 1;
        if !frames.send(headers(stream, END_STREAM, &request("GET", "/open/attempt"))).await {
            break;
        }
        let got = frames.wait_for(stream).await;
        if frames.closed {
            break;
        }
        assert_ne!(got.status, Some(200));
        refused += 1;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!((1..900).contains(&refused), "{refused} were refused before the connection ended");
    assert!(witness.take().is_empty());
}
