//! What is no TLS, or a handshake that nobody should begin like this: the gate closes, at the latest when the time for a
//! handshake is over, says nothing in the clear but an alert, and goes on serving others.

use super::Stage;
use crate::edge::tls::{ECDHE_GCM, client_hello};
use crate::edge::{refusals, rest};
use futures_util::future::join_all;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Duration, sleep};

/// What it is, what is sent, and whether the gate waits for more of it.
type Case = (&'static str, Vec<u8>, bool);

/// A record of handshake bytes.
fn record(bytes: &[u8]) -> Vec<u8> {
    [&[22, 3, 1][..], &u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// A good hello, with these bytes in these places.
fn changed(places: &[(usize, u8)]) -> Vec<u8> {
    let mut hello = client_hello([3, 3], ECDHE_GCM, &[], &[23], true);
    for (at, byte) in places {
        hello[*at] = *byte;
    }
    hello
}

fn cases() -> Vec<Case> {
    let good = changed(&[]);
    // Behind the record's head, the message's, version, random, session id, and the suites and compressions.
    let extensions = 5 + 4 + 2 + 32 + 1 + 2 + ECDHE_GCM.len() * 2 + 2;
    let ssl2 = [&[0x80, 28, 1, 3, 3, 0, 3, 0, 0, 0, 16, 0, 0, 5][..], &[7; 16]].concat();
    let twice = record(&[&good[5..], &good[5..]].concat());
    let bytewise: Vec<u8> = good[5..60].iter().flat_map(|byte| record(&[*byte])).collect();
    vec![
        ("HTTP/1.1", b"GET /open/attempt HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), false),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), false),
        ("SSL 2.0", ssl2, false),
        ("zeros", vec![0; 64], false),
        ("ones", vec![0xff; 64], false),
        ("text", b"hello, is this a gate?\n".to_vec(), false),
        ("a protocol of a proxy", b"PROXY TCP4 6.6.6.6 127.0.0.1 1 2\r\n".to_vec(), false),
        ("an empty record", record(&[]), false),
        ("many empty records", record(&[]).repeat(1_000), false),
        ("an oversize record", [&[22, 3, 1, 0xff, 0xff][..], &[1; 200]].concat(), false),
        ("a record a byte too long", [&[22, 3, 1, 0x48, 0x01][..], &[1; 200]].concat(), false),
        ("a record of data", [&[23, 3, 3, 0, 5][..], b"hello"].concat(), false),
        ("a record of no kind", [&[99, 3, 3, 0, 5][..], b"hello"].concat(), false),
        ("a record of no version", changed(&[(1, 9), (2, 9)]), false),
        ("an alert", vec![21, 3, 3, 0, 2, 2, 40], false),
        ("a goodbye", vec![21, 3, 3, 0, 2, 1, 0], false),
        ("half an alert", vec![21, 3, 3, 0, 1, 2], false),
        ("ciphers changed before the hello", [vec![20, 3, 3, 0, 1, 1], good.clone()].concat(), false),
        ("ciphers changed in another way", [vec![20, 3, 3, 0, 1, 2], good.clone()].concat(), false),
        ("a hello of a server", changed(&[(5, 2)]), false),
        ("an end first", changed(&[(5, 20)]), false),
        ("a message of no kind", changed(&[(5, 77)]), false),
        ("a long session id", changed(&[(43, 200)]), false),
        ("no suites", client_hello([3, 3], &[], &[], &[23], true), false),
        ("half a suite", changed(&[(45, 7)]), false),
        ("extensions without an end", changed(&[(extensions, 0xff), (extensions + 1, 0xff)]), false),
        ("an extension without an end", changed(&[(extensions + 4, 0xff), (extensions + 5, 0xff)]), false),
        ("extensions that end early", changed(&[(extensions, 0), (extensions + 1, 3)]), false),
        ("an extension twice", changed(&[(extensions + 3, 11)]), false),
        ("no null compression", changed(&[(extensions - 1, 1)]), false),
        ("a message without an end", changed(&[(6, 0xff)]), true),
        ("a hello and garbage", [good.clone(), vec![0xff; 64]].concat(), false),
        ("two hellos", twice, false),
        ("nothing", Vec::new(), true),
        ("half a record's head", good[..3].to_vec(), true),
        ("half a hello", good[..60].to_vec(), true),
        ("a hello by bytes, and no more", bytewise, true),
        ("a hello and silence", good, true),
    ]
}

#[tokio::test]
async fn what_is_no_handshake_is_closed_and_counted() {
    let short = |setup: crate::fixture::Setup| {
        setup.replace("client_ca_file: ca.pem", "client_ca_file: ca.pem, handshake_timeout_ms: 3000")
    };
    let mut stage = Stage::with(short).await;
    let (count, mut wrong, mut waiting) = (cases().len(), Vec::new(), Vec::new());
    for (what, bytes, waits) in cases() {
        let mut tcp = TcpStream::connect(stage.gate.address).await.unwrap();
        // The gate may have seen enough before the end.
        let _written = tcp.write_all(&bytes).await;
        if waits {
            waiting.push((what, tcp));
            continue;
        }
        let answer = rest(&mut tcp).await;
        // An alert, or what answers a good hello.
        if !answer.is_empty() && !matches!(answer[0], 21 | 22) {
            wrong.push(format!("{what}: {}", answer.escape_ascii()));
        }
        stage.nothing_came_of(what).await;
    }
    let late: u64 = waiting.len().try_into().unwrap();
    join_all(waiting.iter_mut().map(|(_, tcp)| rest(tcp))).await;
    stage.nothing_came_of("silence").await;
    assert!(wrong.is_empty(), "{wrong:#?}");
    for _ in 0..100 {
        if refusals(&stage.gate).values().sum::<u64>() >= u64::try_from(count).unwrap() {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    let refused = refusals(&stage.gate);
    assert_eq!(refused.values().sum::<u64>(), u64::try_from(count).unwrap(), "{refused:?}");
    assert_eq!(refused.get("timeout"), Some(&late), "{refused:?}");
}
