//! The edge: who gets in, what passes, and what becomes of connections on both sides.

mod crowd;
mod forwarder;
mod framing;
mod headers;
mod identity;
mod limits;
mod overload;
mod scanners;
mod takers;
pub(crate) mod tls;
pub(crate) mod trust;
mod upstreams;
mod vouched;

use crate::fixture::{Client, Gate};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

/// No gate leaves a connection open for longer once there is nothing more to do on it.
const PATIENCE: Duration = Duration::from_secs(30);

/// The refused handshakes by reason, added up over all audit events so far.
pub(crate) fn refusals(gate: &Gate) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for event in gate.events_named("HandshakesRefused") {
        assert_eq!(event["source"], "127.0.0.1", "{event}");
        *sums.entry(event["reason"].as_str().unwrap().to_owned()).or_default() += event["count"].as_u64().unwrap();
    }
    sums
}

/// Waits until exactly these handshakes are on record, and no others.
pub(crate) async fn expect_refusals(gate: &Gate, wanted: &[(&str, u64)]) {
    let wanted: BTreeMap<String, u64> = wanted.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect();
    for _ in 0..100 {
        if refusals(gate).values().sum::<u64>() >= wanted.values().sum() {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(refusals(gate), wanted);
}

/// Sends the bytes on a connection of their own and reads what comes until the gate closes it.
pub(crate) async fn raw(client: &Client, bytes: impl AsRef<[u8]>) -> String {
    let mut tls = client.tls().await.unwrap();
    // The gate may have seen enough before the end.
    let _written = tls.write_all(bytes.as_ref()).await;
    let _flushed = tls.flush().await;
    String::from_utf8_lossy(&rest(&mut tls).await).into_owned()
}

/// Reads until the other side closes, in whatever way.
pub(crate) async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut all = Vec::new();
    let mut part = [0; 4096];
    let reading = async {
        while let Ok(length @ 1..) = stream.read(&mut part).await {
            all.extend_from_slice(&part[..length]);
        }
    };
    timeout(PATIENCE, reading).await.expect("the gate closes the connection");
    all
}

/// The statuses of the responses in a text, in order.
pub(crate) fn statuses(text: &str) -> Vec<u16> {
    let starts = text.split("HTTP/1.").skip(1);
    starts.filter_map(|start| start.get(2..5)?.parse().ok()).collect()
}
