//! A load balancer that says by the PROXY protocol where the client is.

use super::expect_refusals;
use crate::fixture::{Client, Gate, Setup, Upstream, debian};
use http::Method;
use rustls_pki_types::ServerName;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const FROM_HERE: &str = "127.0.0.1:0\n  proxy_protocol: {from: [192.0.2.0/24, 127.0.0.1]}\n";

fn behind_a_balancer(upstream: &Upstream) -> Gate {
    Setup::before(upstream.addr()).replace("127.0.0.1:0\n", FROM_HERE).start()
}

/// The header of version 2 for a client.
fn header(client: &str) -> Vec<u8> {
    let client: SocketAddr = client.parse().unwrap();
    let (family, addresses) = match client {
        SocketAddr::V4(client) => (0x11, [client.ip().octets(), [127, 0, 0, 1]].concat()),
        SocketAddr::V6(client) => (0x21, [client.ip().octets(), [0; 16]].concat()),
    };
    let ports = [client.port().to_be_bytes(), 8443_u16.to_be_bytes()].concat();
    let length = u16::try_from(addresses.len() + 4).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n\x21", &[family][..], &length, &addresses, &ports].concat()
}

/// What is answered to a request after those bytes and a handshake; nothing if there is none.
async fn after(gate: &Gate, client: &Client, start: &[u8]) -> Option<String> {
    let mut tcp = TcpStream::connect(gate.address).await.unwrap();
    tcp.write_all(start).await.unwrap();
    request(client, tcp).await
}

/// What is answered to a request over a connection; nothing if there is no handshake.
async fn request(client: &Client, tcp: TcpStream) -> Option<String> {
    let config = Arc::new(client.tls_config().unwrap());
    let name = ServerName::try_from("localhost").unwrap();
    let mut tls = TlsConnector::from(config).connect(name, tcp).await.ok()?;
    tls.write_all(b"GET /open/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.ok()?;
    let mut answer = Vec::new();
    let _closed = tls.read_to_end(&mut answer).await;
    String::from_utf8(answer).ok().filter(|answer| !answer.is_empty())
}

#[tokio::test]
async fn the_address_that_it_says_is_the_clients() {
    let upstream = Upstream::start();
    let gate = behind_a_balancer(&upstream);
    let client = gate.as_client("clinician");
    for (address, ip) in [("203.0.113.7:4711", "203.0.113.7"), ("[2001:db8::7]:4711", "2001:db8::7")] {
        assert!(after(&gate, &client, &header(address)).await.unwrap().starts_with("HTTP/1.1 404"));
        assert_eq!(upstream.take_only().headers["x-forwarded-for"], ip);
        assert_eq!(gate.events_named("ExchangeAnswered").pop().unwrap()["from"], address);
    }
    // Its own, to see whether the gate lives.
    let mut own = header("203.0.113.7:4711");
    own[12] = 0x20;
    assert!(after(&gate, &client, &own).await.is_some());
    assert_eq!(upstream.take_only().headers["x-forwarded-for"], "127.0.0.1");
}

#[tokio::test]
async fn from_a_balancer_it_must_be_there_and_from_others_it_must_not() {
    let upstream = Upstream::start();
    let gate = behind_a_balancer(&upstream);
    let client = gate.as_client("clinician");
    let text = b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 8443\r\n";
    let mut long = header("203.0.113.7:4711");
    long[14] = 0xff;
    let mut datagram = header("203.0.113.7:4711");
    datagram[13] = 0x12;
    for (what, start) in [
        ("none", &b""[..]),
        ("version 1", text),
        ("one that is too long", &[&long[..], &[0; 4096]].concat()),
        ("one of UDP", &datagram),
        ("two", &[header("203.0.113.7:4711"), header("203.0.113.8:4711")].concat()),
    ] {
        assert_eq!(after(&gate, &client, start).await, None, "{what}");
    }
    assert!(client.try_call(Method::GET, "/open/x", &[], "").await.is_err());
    upstream.expect_nothing();
    // What comes after the first header is TLS, and the second header is none.
    for _ in 0..100 {
        if gate.metric("sealgate_handshakes_refused_total") >= 6.0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(gate.metric("sealgate_handshakes_refused_total{reason=\"no_proxy_header\"}"), 5.0);
    let sources: Vec<_> = gate.events_named("HandshakesRefused").iter().map(|event| event["source"].clone()).collect();
    assert!(sources.contains(&"203.0.113.7".into()) || sources.len() < 2, "{sources:?}");

    let elsewhere = Setup::before(upstream.addr());
    let elsewhere =
        elsewhere.replace("127.0.0.1:0\n", "127.0.0.1:0\n  proxy_protocol: {from: [192.0.2.0/24]}\n").start();
    let client = elsewhere.as_client("clinician");
    assert_eq!(after(&elsewhere, &client, &header("203.0.113.7:4711")).await, None);
    expect_refusals(&elsewhere, &[("protocol", 1)]).await;
    assert!(after(&elsewhere, &client, b"").await.is_some(), "without it, it is served");
}

/// A load balancer that runs. Killed when dropped.
struct Balancer {
    child: Child,
    address: SocketAddr,
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // It may have ended already.
        let _killed = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// A haproxy that passes connections on to the gate.
fn haproxy(gate: &Gate, send_proxy: &str) -> Balancer {
    let packages = ["haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1"];
    let haproxy = debian::program("haproxy", &packages, "usr/sbin/haproxy").unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = gate.folder().join("haproxy.cfg");
    let text = format!(
        "defaults\n mode tcp\n timeout connect 5s\n timeout client 20s\n timeout server 20s\nlisten gate\n bind {port}\n \
         server gate {} {send_proxy}\n",
        gate.address
    );
    std::fs::write(&config, text).unwrap();
    let child = haproxy.command().arg("-f").arg(config).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let balancer = Balancer { child, address: port };
    for _ in 0..200 {
        if std::net::TcpStream::connect(port).is_ok() {
            return balancer;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("haproxy does not listen");
}

#[tokio::test]
async fn haproxy_is_understood() {
    let upstream = Upstream::start();
    let gate = behind_a_balancer(&upstream);
    let balancer = haproxy(&gate, "send-proxy-v2 check check-send-proxy inter 200ms");
    let client = Client::new(balancer.address, gate.pki().ca(), Some(gate.pki().client("clinician")));
    // From an address of its own, which the loopback has many of.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.9:0".parse().unwrap()).unwrap();
    let tcp = socket.connect(balancer.address).await.unwrap();
    let from = tcp.local_addr().unwrap();
    let answer = request(&client, tcp).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert_eq!(upstream.take_only().headers["x-forwarded-for"], "127.0.0.9");
    assert_eq!(gate.events_named("ExchangeAnswered").pop().unwrap()["from"], from.to_string());
    assert_eq!(client.over_http2().get("/open/x").await.status, 404);
    // Version 1, and none, are refused.
    for other in ["send-proxy", ""] {
        let balancer = haproxy(&gate, other);
        let client = Client::new(balancer.address, gate.pki().ca(), Some(gate.pki().client("clinician")));
        assert!(client.try_call(Method::GET, "/open/x", &[], "").await.is_err(), "{other:?}");
    }
    assert!(gate.metric("sealgate_handshakes_refused_total{reason=\"no_proxy_header\"}") >= 2.0);
}

#[test]
fn networks_that_are_none_are_mistakes_of_the_config() {
    let setup = Setup::before(Upstream::start().addr());
    let line = "127.0.0.1:0\n  proxy_protocol: {from: [10.0.0.0/33, balancer, 10.0.0.1]}\n";
    let (code, said) = setup.replace("127.0.0.1:0\n", line).validate();
    assert_eq!(code, Some(78));
    for number in [0, 1] {
        assert!(
            said.contains(&format!("server.proxy_protocol.from[{number}]: wanted an address or a network")),
            "{said}"
        );
    }
    assert!(!said.contains("from[2]"), "{said}");
}
