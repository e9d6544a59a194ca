//! The connections behind the gate: kept, found closed, never doubled; with TLS where the config says so.

use crate::fixture::pki::Pki;
use crate::fixture::rough::{Rough, Then, ok};
use crate::fixture::tee::Tee;
use crate::fixture::tls_upstream::TlsUpstream;
use crate::fixture::{Gate, Setup, Upstream};
use futures_util::future::join_all;
use http::Method;
use rcgen::{ExtendedKeyUsagePurpose, SanType, date_time_ymd};
use std::net::SocketAddr;

const SSN: &str = "{\"ssn\":\"999-12-3456\"}";
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

#[tokio::test]
async fn connections_to_the_upstream_are_kept() {
    let upstream = Upstream::start();
    let tee = Tee::start(upstream.addr()).unwrap();
    let gate = Setup::before(tee.addr()).start();
    let client = gate.as_client("clinician");
    let mut connection = client.connect().await.unwrap();
    for number in 0..50 {
        let reply = match number % 3 {
            0 => connection.call(Method::POST, "/Patient", &JSON, SSN).await,
            1 => connection.call(Method::GET, "/Patient/1", &[], "").await,
            _ => connection.call(Method::POST, "/open/x", &[], "raw").await,
        };
        assert!(reply.unwrap().status.is_success());
    }
    assert_eq!(tee.connections(), 1, "one worker, one at a time");
    for _ in 0..30 {
        assert_eq!(client.get("/Patient/1").await.status, 200);
    }
    assert!(tee.connections() <= 2, "{} for two workers", tee.connections());
    assert_eq!(upstream.received().len(), 80);
}

#[tokio::test]
async fn a_kept_connection_that_the_upstream_has_closed_loses_nothing() {
    let upstream = Rough::start(|_, _, tcp| {
        ok(tcp);
        Then::Close
    });
    let gate = Setup::before(upstream.addr()).start();
    let client = gate.as_client("clinician");
    let mut connection = client.connect().await.unwrap();
    for number in 0..50 {
        let path = format!("/open/{number}");
        let method = if number % 2 == 0 { Method::GET } else { Method::POST };
        let reply = connection.call(method, &path, &[], "").await.unwrap();
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    }
    for number in 50..100 {
        let reply = connection.call(Method::POST, "/Patient", &JSON, SSN).await.unwrap();
        assert_eq!(reply.status, 200, "{number}: {}", reply.text());
    }
    assert_eq!(upstream.requests().len(), 100, "each once");
}

#[tokio::test]
async fn what_may_have_been_carried_out_is_never_sent_twice() {
    // It reads the second request of a connection and goes away.
    let upstream = Rough::start(|number, _, tcp| {
        if number == 1 {
            ok(tcp);
            return Then::KeepOpen;
        }
        Then::Close
    });
    let gate = Setup::before(upstream.addr()).start();
    for (method, path, body, want, count) in [
        (Method::GET, "/open/x", "", 200, 2),
        (Method::HEAD, "/open/x", "", 200, 2),
        (Method::POST, "/open/x", "", 502, 1),
        (Method::POST, "/open/x", "raw", 502, 1),
        (Method::POST, "/Patient", SSN, 502, 1),
        (Method::PUT, "/Patient/1", SSN, 502, 1),
        (Method::DELETE, "/Patient/1", "", 502, 1),
    ] {
        let mut connection = gate.as_client("clinician").connect().await.unwrap();
        // Ends what is kept on this worker: a GET on it is read, not answered, and asked again on a new one.
        let warm = connection.call(Method::GET, "/open/warm", &[], "").await.unwrap();
        assert_eq!(warm.status, 200);
        let before = upstream.requests().len();
        let headers: &[_] = if path == "/open/x" { &[] } else { &JSON };
        let reply = connection.call(method.clone(), path, headers, body).await.unwrap();
        assert_eq!(reply.status, want, "{method} {path}");
        assert_eq!(upstream.requests().len() - before, count, "{method} {path}");
        if want == 502 {
            reply.expect_problem(502, "upstream_failed");
            assert_eq!(reply.header("retry-after"), None);
            let event = gate.events_named("ExchangeRefused").pop().unwrap();
            assert_eq!((&event["sent_upstream"], &event["code"]), (&true.into(), &"upstream_failed".into()));
        }
    }
}

#[tokio::test]
async fn an_upstream_that_always_breaks_off_is_asked_a_bounded_number_of_times() {
    let upstream = Rough::start(|_, _, _| Then::Close);
    let gate = Setup::before(upstream.addr()).start();
    let client = gate.as_client("clinician");
    client.get("/open/x").await.expect_problem(502, "upstream_failed");
    assert_eq!(upstream.requests().len(), 1, "a new connection is no stale one");
    client.post("/open/x", "{}").await.expect_problem(502, "upstream_failed");
    assert_eq!(upstream.requests().len(), 2);
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_unreachable() {
    let nowhere = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let gate = Setup::before(nowhere).start();
    let client = gate.as_client("clinician");
    client.get("/open/x").await.expect_problem(502, "upstream_unreachable");
    client.post("/Patient", SSN).await.expect_problem(502, "upstream_unreachable");
    for event in gate.events_named("ExchangeRefused") {
        assert_eq!(event["sent_upstream"], false, "{event}");
    }
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_is_given_up() {
    let upstream = Rough::held();
    let gate = Setup::before(upstream.addr())
        .replace("app: {url: \"${UPSTREAM}\"}", "app: {url: \"${UPSTREAM}\", response_timeout_ms: 300}")
        .start();
    let client = gate.as_client("clinician");
    let replies = join_all([client.get("/open/x"), client.get("/Patient/1")]).await;
    for reply in replies {
        reply.expect_problem(504, "upstream_timeout");
    }
    client.post("/Patient", SSN).await.expect_problem(504, "upstream_timeout");
    assert_eq!(upstream.requests().len(), 3, "none was sent twice");
}

/// A gate before an https upstream, with more keys in its config; the upstream's CA is `upstream-ca.pem`.
fn before_tls(upstream: SocketAddr, trusted: &Pki, more: &str) -> Gate {
    of_tls(upstream, trusted, more).start()
}

fn of_tls(upstream: SocketAddr, trusted: &Pki, more: &str) -> Setup {
    let url = format!("app: {{url: \"https://localhost:{}\", {more}}}", upstream.port());
    let setup = Setup::before(upstream).replace("app: {url: \"${UPSTREAM}\"}", &url);
    std::fs::write(setup.folder().join("upstream-ca.pem"), trusted.ca_pem()).unwrap();
    trusted.client("gate").write(setup.folder(), "gate");
    setup
}

const CA: &str = "ca_file: upstream-ca.pem";
const SHOWN: &str = "ca_file: upstream-ca.pem, certificate_file: gate.pem, key_file: gate.key";

#[tokio::test]
async fn an_https_upstream_is_known_by_its_name_and_ca() {
    let pki = Pki::new("upstream CA");
    let named = |name: &str, until: i32| {
        pki.issue(|params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            params.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
            params.not_before = date_time_ymd(2019, 1, 1);
            params.not_after = date_time_ymd(until, 1, 1);
        })
    };
    let cases = [
        ("good", named("localhost", 2200), true),
        ("of another name", named("other.example", 2200), false),
        ("expired", named("localhost", 2020), false),
        ("of an unknown CA", Pki::new("upstream CA").server(), false),
        (
            "self-signed",
            crate::fixture::pki::self_signed(|params| {
                params.subject_alt_names = vec![SanType::DnsName("localhost".try_into().unwrap())];
            }),
            false,
        ),
        ("of a client", pki.client("localhost"), false),
    ];
    for (what, identity, good) in cases {
        let upstream = TlsUpstream::start(&identity, None);
        let gate = before_tls(upstream.addr(), &pki, CA);
        let client = gate.as_client("clinician");
        let replies = [client.get("/Patient/1").await, client.post("/Patient", SSN).await];
        if good {
            assert!(replies.iter().all(|reply| reply.status == 200), "{what}: {replies:?}");
            let (target, certificate) = upstream.seen().remove(0);
            assert_eq!((target.as_str(), certificate), ("/Patient/1", None));
        } else {
            for reply in replies {
                reply.expect_problem(502, "upstream_unreachable");
            }
            assert_eq!(upstream.seen(), [], "{what}");
        }
    }
}

#[tokio::test]
async fn an_https_upstream_is_never_spoken_to_in_the_clear() {
    let plain = Upstream::start();
    let tee = Tee::start(plain.addr()).unwrap();
    let pki = Pki::new("upstream CA");
    let gate = before_tls(tee.addr(), &pki, CA);
    let client = gate.as_client("clinician");
    client.get("/Patient/1").await.expect_problem(502, "upstream_unreachable");
    client.post("/Patient", SSN).await.expect_problem(502, "upstream_unreachable");
    plain.expect_nothing();
    let sent = tee.received();
    assert!(sent.starts_with(&[22, 3]), "TLS alone: {sent:?}");
    for needle in ["HTTP/1.1", "/Patient", "999-12", "sgv1"] {
        assert_eq!(tee.count(needle), 0, "{needle}");
    }
}

#[tokio::test]
async fn the_gate_shows_its_certificate_to_an_upstream_that_asks() {
    let pki = Pki::new("upstream CA");
    let upstream = TlsUpstream::start(&pki.server(), Some(&pki));
    let gate = before_tls(upstream.addr(), &pki, SHOWN);
    assert_eq!(gate.as_client("clinician").get("/Patient/1").await.status, 200);
    let (_, certificate) = upstream.seen().remove(0);
    assert!(certificate.is_some());

    let silent = before_tls(upstream.addr(), &pki, CA);
    let reply = silent.as_client("clinician").post("/Patient", SSN).await;
    assert_eq!(reply.status, 502, "{}", reply.text());
    assert_eq!(upstream.seen().len(), 1, "nothing came of it");
}

#[test]
fn a_certificate_for_the_upstream_that_has_expired_is_told_before_the_start() {
    let pki = Pki::new("upstream CA");
    let upstream = TlsUpstream::start(&pki.server(), Some(&pki));
    let setup = of_tls(upstream.addr(), &pki, SHOWN);
    let (code, said) = setup.validate();
    assert!(code == Some(0) && !said.contains("gate away"), "{said}");
    pki.expired_client("gate").write(setup.folder(), "gate");
    let (code, said) = setup.validate();
    let told = said.lines().find(|line| line.contains("certificate_file: certificate: valid from Jan  1"));
    assert!(
        code == Some(0) && told.is_some_and(|line| line.ends_with("the upstream will turn the gate away")),
        "{said}"
    );
}
