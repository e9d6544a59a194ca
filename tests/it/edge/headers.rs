//! Header fields: what ends at the gate, what it says itself, what goes through.

use super::raw;
use crate::fixture::upstream::{Received, saying};
use crate::fixture::{Setup, Upstream};
use http::Method;

/// The fields as the upstream got them, in order of their names; in those of the gate the id is left out.
fn fields(received: &Received) -> Vec<String> {
    let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        let value = match name.as_str() {
            "x-request-id" => "…",
            "x-forwarded-client-cert" if value.as_bytes().starts_with(b"Hash=") => "Hash=…",
            _ => value.to_str().unwrap(),
        };
        format!("{name}: {value}")
    };
    let mut fields: Vec<String> = received.headers.iter().map(field).collect();
    fields.sort();
    fields
}

#[tokio::test]
async fn the_upstream_gets_what_is_end_to_end_and_what_the_gate_says() {
    let upstream = Upstream::start();
    let gate = Setup::before(upstream.addr()).start();
    let reply = raw(
        &gate.as_client("clinician"),
        "GET /open/x?y=1 HTTP/1.1\r\nHost: LocalHost:8443\r\nAccept: application/json\r\nAuthorization: Bearer abc\r\n\
         Cookie: a=1; b=2\r\nUser-Agent: test\r\nX-Own: 1\r\nX-Own: 2\r\nX_Own: 3\r\nIf-None-Match: \"e\"\r\n\
         Connection: x-listed,  X-Listed-2 ,close\r\nConnection: x-listed-3, x-forwarded-for, x-request-id, host, via\r\n\
         X-Listed: 1\r\nx-listed-2: 1\r\nX-LISTED-3: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n\
         Proxy-Authorization: Basic abc\r\nTE: trailers\r\nTrailer: x-late\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\
         Via: 1.0 other\r\nX-Forwarded-For: 6.6.6.6\r\nx_forwarded_for: 6.6.6.6\r\nX-FORWARDED-HOST: evil\r\n\
         X-Forwarded_Proto: gopher\r\nX-Forwarded-Client-Cert: By=evil\r\nX-Forwarded-Prefix: /evil\r\n\
         Forwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX_REAL_IP: 6.6.6.6\r\nTrue-Client-IP: 6.6.6.6\r\n\
         X-Client-Cert: evil\r\nX-SSL-Client-DN: CN=evil\r\nSSL_CLIENT_S_DN: CN=evil\r\nClient-Cert: evil\r\n\
         Remote-User: root\r\nX-Remote-User: root\r\nX-Sealgate-Principal: root\r\nx_sealgate_roles: root\r\n\
         X-Original-URL: /admin\r\nX-Rewrite-URL: /admin\r\n\r\n",
    )
    .await;
    assert!(reply.starts_with("HTTP/1.1 404"), "{reply}");
    let received = upstream.take_only();
    assert_eq!((received.method.as_str(), received.target.as_str()), ("GET", "/open/x?y=1"));
    assert_eq!(
        fields(&received),
        [
            "accept: application/json",
            "authorization: Bearer abc",
            "cookie: a=1; b=2",
            "host: LocalHost:8443",
            "http2-settings: AA",
            "if-none-match: \"e\"",
            "user-agent: test",
            "via: 1.1 sealgate",
            "x-forwarded-client-cert: Hash=…",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: LocalHost:8443",
            "x-forwarded-proto: https",
            "x-own: 1",
            "x-own: 2",
            "x-request-id: …",
        ]
    );
}

#[tokio::test]
async fn over_http2_the_upstream_gets_the_same() {
    let upstream = Upstream::start();
    let gate = Setup::before(upstream.addr()).start();
    let client = gate.as_client("clinician").over_http2();
    let sent = [
        ("accept", "application/json"),
        ("via", "2 other"),
        ("x-forwarded-for", "6.6.6.6"),
        ("x_sealgate_roles", "root"),
        ("te", "trailers"),
    ];
    assert_eq!(client.call(Method::GET, "/open/x", &sent, "").await.status, 404);
    let port = gate.address.port();
    assert_eq!(
        fields(&upstream.take_only()),
        [
            "accept: application/json".to_owned(),
            format!("host: localhost:{port}"),
            "via: 2 other".to_owned(),
            "via: 2 sealgate".to_owned(),
            "x-forwarded-client-cert: Hash=…".to_owned(),
            "x-forwarded-for: 127.0.0.1".to_owned(),
            format!("x-forwarded-host: localhost:{port}"),
            "x-forwarded-proto: https".to_owned(),
            "x-request-id: …".to_owned(),
        ]
    );
}

/// RFC 9113 8.2.3: before they leave HTTP/2, cookies that came in several fields are joined.
#[tokio::test]
async fn cookies_split_by_http2_are_joined() {
    let upstream = Upstream::start();
    let gate = Setup::before(upstream.addr()).start();
    let client = gate.as_client("clinician").over_http2();
    let sent = [("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")];
    client.call(Method::GET, "/open/x", &sent, "").await;
    let received = upstream.take_only();
    let cookies: Vec<_> = received.headers.get_all("cookie").iter().collect();
    assert_eq!(cookies, ["a=1; b=2; c=3"]);
}

#[tokio::test]
async fn on_a_protected_route_the_gate_sees_the_whole_body_as_it_is() {
    let upstream = Upstream::start();
    upstream.keep("/Patient/1", "{}");
    let gate = Setup::before(upstream.addr()).start();
    let sent = [
        ("accept-encoding", "gzip, br"),
        ("range", "bytes=0-1"),
        ("if-range", "\"e\""),
        ("if-none-match", "\"e\""),
        ("if-modified-since", "Sat, 01 Jan 2022 00:00:00 GMT"),
        ("if-match", "\"e\""),
        ("content-md5", "x"),
        ("digest", "x"),
        ("content-digest", "x"),
        ("repr-digest", "x"),
    ];
    let client = gate.as_client("clinician");
    assert_eq!(client.call(Method::GET, "/Patient/1", &sent, "").await.status, 200);
    let received = upstream.take_only();
    let fields = fields(&received);
    let left: Vec<&str> = fields.iter().map(|field| field.split(':').next().unwrap()).collect();
    assert_eq!(
        left,
        [
            "accept-encoding",
            "host",
            "if-match",
            "via",
            "x-forwarded-client-cert",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-request-id"
        ]
    );
    assert_eq!(received.headers["accept-encoding"], "identity");
}

#[tokio::test]
async fn the_client_gets_what_is_end_to_end() {
    let body = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close, x-hop\r\n\
        x-hop: 1\r\nkeep-alive: timeout=5\r\nproxy-authenticate: Basic\r\nproxy-connection: close\r\n\
        upgrade: h2c\r\ntrailer: x-late\r\nserver: registry\r\nset-cookie: a=1\r\nset-cookie: b=2\r\netag: \"e\"\r\n\
        via: 1.1 inner\r\ncache-control: public, max-age=60\r\ncontent-md5: x\r\ndigest: x\r\ncontent-digest: x\r\n\
        repr-digest: x\r\naccept-ranges: bytes\r\nx-request-id: theirs\r\n\r\n{}";
    let gate = Setup::before(saying(body)).start();
    let client = gate.as_client("clinician");
    for client in [client.clone(), client.over_http2()] {
        let open = client.get("/open/x").await;
        let protected = client.get("/Patient/1").await;
        for reply in [&open, &protected] {
            assert_eq!(reply.status, 200, "{}", reply.text());
            for gone in
                ["connection", "x-hop", "keep-alive", "upgrade", "trailer", "proxy-connection", "proxy-authenticate"]
            {
                assert_eq!(reply.header(gone), None, "{gone}");
            }
            let all =
                |name| reply.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
            assert_eq!(all("set-cookie"), ["a=1", "b=2"]);
            assert_eq!(all("via"), ["1.1 inner", "1.1 sealgate"]);
            assert_eq!(all("server"), ["registry"]);
            assert_eq!(all("content-length"), ["2"]);
            assert_eq!(all("x-request-id").len(), 1);
            assert_ne!(reply.header("x-request-id"), Some("theirs"));
        }
        assert_eq!(open.header("etag"), Some("\"e\""));
        assert!(protected.header("etag").is_some_and(|tag| tag.starts_with("\"e~sg")), "the tag of a view");
        assert_eq!(open.header("cache-control"), Some("public, max-age=60"));
        assert_eq!(open.header("content-md5"), Some("x"));
        assert_eq!(protected.header("cache-control"), Some("no-store"));
        for gone in ["content-md5", "digest", "content-digest", "repr-digest", "accept-ranges"] {
            assert_eq!(protected.header(gone), None, "{gone}");
        }
    }
}

#[tokio::test]
async fn a_request_id_is_kept_if_it_is_an_id() {
    let upstream = Upstream::start();
    let gate = Setup::before(upstream.addr()).start();
    let client = gate.as_client("clinician");
    for (sent, kept) in [
        (Some("018f6b2e-7c1a-7a3b-8c4d-5e6f708192a3"), true),
        (Some("018F6B2E-7C1A-7A3B-8C4D-5E6F708192A3"), true),
        (Some("0af7651916cd43dd8448eb211c80319c"), true),
        (Some("Peter Chalmers 999-12-3456"), false),
        (Some("018f6b2e-7c1a-7a3b-8c4d-5e6f708192a3 "), true),
        (Some("018f6b2e-7c1a-7a3b-8c4d-5e6f708192ag"), false),
        (Some("12345678901234567890123456789012345678901234567890"), false),
        (Some(""), false),
        (None, false),
    ] {
        let headers: Vec<_> = sent.iter().map(|id| ("x-request-id", *id)).collect();
        let reply = client.call(Method::GET, "/open/x", &headers, "").await;
        let id = reply.header("x-request-id").unwrap().to_owned();
        assert_eq!(upstream.take_only().headers["x-request-id"], id.as_str());
        let event = gate.events_named("ExchangeAnswered").pop().unwrap();
        assert_eq!(event["request_id"], id.as_str());
        match kept {
            true => assert_eq!(Some(id.as_str()), sent.map(str::trim)),
            false => assert_eq!(event["exchange"], id.as_str(), "{sent:?}"),
        }
    }
    assert!(!gate.log().contains("Chalmers") && !String::from_utf8_lossy(&gate.journal_bytes()).contains("Chalmers"));
    // A refusal has it too.
    let id = "018f6b2e-7c1a-7a3b-8c4d-5e6f708192a3";
    let reply = client.call(Method::GET, "/nowhere", &[("x-request-id", id)], "").await;
    reply.expect_problem(404, "route_unknown");
    assert_eq!(reply.header("x-request-id"), Some(id));
}

#[tokio::test]
async fn a_trace_goes_on_only_if_it_is_one() {
    let upstream = Upstream::start();
    let gate = Setup::before(upstream.addr()).start();
    let client = gate.as_client("clinician");
    let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (parents, kept) in [
        (&[good][..], true),
        (&[], false),
        (&[good, good], false),
        (&["00-00000000000000000000000000000000-b7ad6b7169203331-01"], false),
        (&["00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"], false),
        (&["00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"], false),
        (&["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x"], false),
        (&["ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"], false),
        (&["Peter Chalmers"], false),
    ] {
        let mut headers = vec![("tracestate", "vendor=1")];
        headers.extend(parents.iter().map(|parent| ("traceparent", *parent)));
        client.call(Method::GET, "/open/x", &headers, "").await;
        let received = upstream.take_only();
        let got = |name| received.headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(got("traceparent"), kept.then_some(good), "{parents:?}");
        assert_eq!(got("tracestate"), kept.then_some("vendor=1"), "{parents:?}");
    }
}

#[tokio::test]
async fn a_request_names_one_host() {
    let upstream = Upstream::start();
    let gate = Setup::before(upstream.addr()).start();
    let client = gate.as_client("clinician");
    for (request, host) in [
        ("GET /open/x HTTP/1.1\r\nHost: a.example\r\n", Some("a.example")),
        ("GET /open/x HTTP/1.1\r\nHost: A.example.:8443\r\n", Some("A.example.:8443")),
        ("GET https://a.example/open/x HTTP/1.1\r\nHost: a.example\r\n", Some("a.example")),
        ("GET /open/x HTTP/1.1\r\n", None),
        ("GET /open/x HTTP/1.0\r\n", None),
        ("GET /open/x HTTP/1.1\r\nHost:\r\n", None),
        ("GET /open/x HTTP/1.1\r\nHost: a.example\r\nHost: a.example\r\n", None),
        ("GET /open/x HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n", None),
        ("GET /open/x HTTP/1.1\r\nHost: a.example, b.example\r\n", None),
        ("GET /open/x HTTP/1.1\r\nHost: user@a.example\r\n", None),
        ("GET /open/x HTTP/1.1\r\nHost: user:pw@a.example\r\n", None),
        ("GET /open/x HTTP/1.1\r\nHost: a.example/open\r\n", None),
        ("GET /open/x HTTP/1.1\r\nHost: a example\r\n", None),
        ("GET https://a.example/open/x HTTP/1.1\r\nHost: b.example\r\n", None),
        ("GET https://user@a.example/open/x HTTP/1.1\r\nHost: user@a.example\r\n", None),
    ] {
        let reply = raw(&client, format!("{request}Connection: close\r\n\r\n")).await;
        match host {
            Some(host) => {
                assert!(reply.starts_with("HTTP/1.1 404"), "{request}: {reply}");
                let received = upstream.take_only();
                assert_eq!((received.target.as_str(), &received.headers["host"]), ("/open/x", &host.parse().unwrap()));
                assert_eq!(received.headers["x-forwarded-host"], host);
            }
            None => {
                assert!(reply.starts_with("HTTP/1."), "{request}: {reply}");
                assert!(reply.contains(" 400 ") && reply.contains("\"code\":\"host_mismatch\""), "{request}: {reply}");
                upstream.expect_nothing();
                assert_eq!(gate.events().pop().unwrap()["code"], "host_mismatch");
            }
        }
    }
    // Over HTTP/2, `:authority` and `Host` are two.
    let client = client.over_http2();
    let same = format!("localhost:{}", gate.address.port());
    assert_eq!(client.call(Method::GET, "/open/x", &[("host", &same)], "").await.status, 404);
    upstream.take_only();
    let reply = client.call(Method::GET, "/open/x", &[("host", "b.example")], "").await;
    reply.expect_problem(400, "host_mismatch");
    upstream.expect_nothing();
}
