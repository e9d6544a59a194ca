//! Keys that are fetched: taken over when they change, kept while the issuer is away, never asked for without end.

use super::published::{Published, Says, found, keys_of, with_url};
use super::{Issuer, call, claims};
use crate::fixture::pki::Identity;
use crate::fixture::tls_upstream::TlsUpstream;
use crate::fixture::{Bed, Call, Gate, Setup};
use http::Method;
use rcgen::{ExtendedKeyUsagePurpose, SanType};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

const GET: &str = "GET /user/Patient/1";

/// Until something comes true by itself.
async fn wait(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !is_so().await {
        assert!(Instant::now() < end, "it does not come true: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn fetches(gate: &Gate, outcome: &str) -> f64 {
    gate.metric(&format!("sealgate_jwks_fetches_total{{outcome=\"{outcome}\"}}"))
}

impl Bed {
    /// The status of a read by the user of a token.
    async fn status(&self, token: &str) -> u16 {
        let status = self.make("app", &call(GET, token)).await.status.as_u16();
        self.upstream.take_all();
        status
    }

    async fn refuses_for_want_of_keys(&self, token: &str) {
        let client = self.gate.as_client("app");
        for client in [client.clone(), client.over_http2()] {
            let reply = call(GET, token).from(&client).await;
            reply.expect_problem(503, "bearer_keys_unavailable");
            assert_eq!(reply.header("retry-after"), Some("1"));
            self.upstream.expect_nothing();
        }
    }
}

#[tokio::test]
async fn a_new_key_is_taken_within_one_request_and_the_old_one_is_out() {
    let (old, new, newer) = (Issuer::new("k1"), Issuer::new("k2"), Issuer::new("k3"));
    let issuer = Published::of(&[&old]);
    let bed = Bed::with(|setup| with_url(setup, &issuer.url(), ""));
    assert_eq!(bed.status(&old.token(&claims())).await, 404, "the upstream's answer");
    assert_eq!(issuer.asked(), 1);
    let request = issuer.requests().remove(0);
    assert!(request.starts_with("GET /keys?of=test HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("host: {}\r\n", issuer.addr())), "{request}");

    issuer.say(keys_of(&[&new]));
    assert_eq!(bed.status(&old.token(&claims())).await, 404, "nobody is asked for a key that is known");
    assert_eq!(issuer.asked(), 1);
    assert_eq!(bed.status(&new.token(&claims())).await, 404);
    assert_eq!(issuer.asked(), 2);
    bed.refuses("app", &call(GET, &old.token(&claims())), (401, "bearer_invalid")).await;
    assert_eq!(bed.gate.events().pop().unwrap()["cause"], "its key is unknown");
    // Not twice in half a minute.
    issuer.say(keys_of(&[&newer]));
    bed.refuses("app", &call(GET, &newer.token(&claims())), (401, "bearer_invalid")).await;
    assert_eq!(issuer.asked(), 2);
    assert_eq!((fetches(&bed.gate, "ok"), bed.gate.metric("sealgate_jwks_fetches_total")), (2.0, 2.0));
    wait("the gauges", async || bed.gate.metric("sealgate_jwks_keys") == 1.0).await;
    assert!(bed.gate.admin("/metrics").1.contains("sealgate_jwks_age_seconds "));
}

#[tokio::test]
async fn however_many_tokens_name_unknown_keys_the_issuer_is_asked_once() {
    let known = Issuer::new("k1");
    let issuer = Published::of(&[&known]);
    let bed = Bed::with(|setup| with_url(setup, &issuer.url(), ""));
    assert_eq!(bed.status(&known.token(&claims())).await, 404);
    issuer.say(Says::Silence);
    let connection = bed.gate.as_client("app").over_http2().connect().await.unwrap();
    let flood = (0..60).map(|number| {
        let stranger = Issuer::new(Box::leak(format!("x{number}").into_boxed_str()));
        let (bearer, mut stream) = (format!("Bearer {}", stranger.token(&claims())), connection.share().unwrap());
        tokio::spawn(async move {
            let headers = [("authorization", bearer.as_str())];
            stream.call(Method::GET, "/user/Patient/1", &headers, "").await.unwrap().status
        })
    });
    let flood: Vec<_> = flood.collect();
    wait("the issuer is asked", async || issuer.asked() == 2).await;
    let start = Instant::now();
    assert_eq!(bed.status(&known.token(&claims())).await, 404, "who needs nothing new does not wait");
    assert_eq!(bed.make("plain", &Call::new("GET /open/x")).await.status, 404);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    bed.upstream.take_all();
    issuer.say(keys_of(&[&known]));
    for refused in flood {
        assert_eq!(refused.await.unwrap(), 401);
    }
    for kid in ["y1", "y2", "y3"] {
        bed.refuses("app", &call(GET, &Issuer::new(kid).token(&claims())), (401, "bearer_invalid")).await;
    }
    assert_eq!(issuer.asked(), 2);
    bed.upstream.expect_nothing();
}

#[tokio::test]
async fn while_the_issuer_is_away_keys_go_on_for_so_long_and_no_longer() {
    let known = Issuer::new("k1");
    let issuer = Published::of(&[&known]);
    let bed = Bed::with(|setup| with_url(setup, &issuer.url(), "refresh_s: 1\n  stale_max_s: 4"));
    let token = known.token(&claims());
    assert_eq!(bed.status(&token).await, 404);
    issuer.say(Says::Nothing);
    wait("a fetch fails", async || fetches(&bed.gate, "unreachable") > 0.0).await;
    assert_eq!(bed.status(&token).await, 404, "by the keys of before");
    wait("keys are too old", async || bed.status(&token).await == 503).await;
    bed.refuses_for_want_of_keys(&token).await;
    assert_eq!(bed.gate.events().pop().unwrap()["code"], "bearer_keys_unavailable");
    wait("the gauge", async || bed.gate.metric("sealgate_jwks_keys") == 0.0).await;
    issuer.say(keys_of(&[&known]));
    wait("keys are there again", async || bed.status(&token).await == 404).await;
    bed.gate.wait_for_log("keys of the issuer are there again");
}

#[tokio::test]
async fn a_gate_starts_without_its_issuer_and_serves_what_needs_no_token() {
    let known = Issuer::new("k1");
    let issuer = Published::start(Says::Nothing);
    let bed = Bed::with(|setup| with_url(setup, &issuer.url(), ""));
    bed.gate.wait_for_log("bearer: keys of the issuer cannot be had");
    let token = known.token(&claims());
    bed.refuses_for_want_of_keys(&token).await;
    bed.refuses("app", &Call::new(GET), (401, "bearer_missing")).await;
    bed.refuses("app", &call(GET, "x"), (401, "bearer_invalid")).await;
    assert_eq!(bed.make("plain", &Call::new("GET /Patient/1")).await.status, 404, "the upstream's answer");
    bed.upstream.take_all();
    issuer.say(keys_of(&[&known]));
    wait("keys are there", async || bed.status(&token).await == 404).await;
}

#[tokio::test]
async fn an_issuer_that_hangs_holds_up_nothing_but_what_needs_it() {
    let known = Issuer::new("k1");
    let issuer = Published::start(Says::Silence);
    let bed = Bed::with(|setup| with_url(setup, &issuer.url(), ""));
    let start = Instant::now();
    let client = bed.gate.as_client("app");
    let bearer = call(GET, &known.token(&claims()));
    let waiting = tokio::spawn(async move { bearer.from(&client).await });
    for client in [bed.gate.as_client("plain"), bed.gate.as_client("plain").over_http2()] {
        assert_eq!(client.get("/Patient/1").await.status, 404);
    }
    bed.upstream.take_all();
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    waiting.await.unwrap().expect_problem(503, "bearer_keys_unavailable");
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    wait("the fetch is given up", async || fetches(&bed.gate, "timeout") == 1.0).await;
}

#[tokio::test]
async fn what_is_no_key_set_takes_no_keys_away_and_brings_none() {
    let (known, other) = (Issuer::new("k1"), Issuer::new("k2"));
    let (issuer, elsewhere) = (Published::of(&[&known]), Published::of(&[&other]));
    let bed = Bed::with(|setup| with_url(setup, &issuer.url(), "refresh_s: 1"));
    let token = known.token(&claims());
    assert_eq!(bed.status(&token).await, 404);
    let head = |head: &str| Says::Words(format!("HTTP/1.1 {head}\r\nconnection: close\r\n\r\n"));
    let set = |keys: Value| found(&json!({"keys": keys}).to_string());
    let good = json!({"keys": [other.jwk()]}).to_string();
    let many: Vec<_> = (0..65).map(|_| other.jwk()).collect();
    for (says, outcome) in [
        (head(&format!("302 Found\r\nlocation: {}", elsewhere.url())), "status"),
        (head("404 Not Found"), "status"),
        (head("204 No Content"), "status"),
        (Says::Words(format!("HTTP/1.1 206 OK\r\ncontent-length: {}\r\n\r\n{good}", good.len())), "status"),
        (found(&format!("{good}{}", " ".repeat(256 << 10))), "malformed"),
        (Says::Words(format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}", "[".repeat(1 << 20))), "malformed"),
        (found(&format!("{good} x")), "malformed"),
        (found("{}"), "malformed"),
        (found("<html>"), "malformed"),
        (set(json!({})), "malformed"),
        (set(json!([other.jwk(), other.jwk()])), "malformed"),
        (set(json!(many)), "malformed"),
        (Says::Words(format!("HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n{good}")), "unreachable"),
        (Says::Words("SSH-2.0-x\r\n".to_owned()), "unreachable"),
    ] {
        let before = fetches(&bed.gate, outcome);
        issuer.say(says);
        wait(outcome, async || fetches(&bed.gate, outcome) > before).await;
        assert_eq!(bed.status(&token).await, 404, "{outcome}: by the keys of before");
    }
    assert_eq!(elsewhere.asked(), 0, "no redirect is followed");
    // An issuer that stands by none of its keys any more has said so.
    issuer.say(set(json!([])));
    wait("no keys", async || bed.status(&token).await == 503).await;
    issuer.say(keys_of(&[&other]));
    wait("other keys", async || bed.status(&other.token(&claims())).await == 404).await;
    assert_eq!(bed.status(&token).await, 401);
}

#[tokio::test]
async fn the_issuer_is_who_its_certificate_says() {
    let known = Issuer::new("k1");
    let named = |setup: &Setup, name: &str| -> Identity {
        setup.pki().issue(|params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            params.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
        })
    };
    let ca = "ca_file: ca.pem";
    for (name, ca, is_taken) in [("localhost", ca, true), ("idp.test.example", ca, false), ("localhost", "", false)] {
        let mut issuer = None;
        let bed = Bed::with(|setup| {
            let published = issuer.insert(TlsUpstream::start(&named(&setup, name), None));
            let url = format!("https://localhost:{}/keys", published.addr().port());
            with_url(setup, &url, ca).replace("dev_mode: true\n", "")
        });
        bed.gate.wait_for_log("bearer: keys of the issuer cannot be had");
        bed.refuses_for_want_of_keys(&known.token(&claims())).await;
        let seen = issuer.unwrap().seen();
        assert_eq!(!seen.is_empty(), is_taken, "{name}: {seen:?}");
        let outcome = if is_taken { "malformed" } else { "unreachable" };
        assert!(fetches(&bed.gate, outcome) > 0.0, "{name}");
        assert!(seen.iter().all(|(target, certificate)| target == "/keys" && certificate.is_none()), "{seen:?}");
    }
}

#[tokio::test]
async fn a_reload_keeps_the_keys_of_the_same_issuer_and_leaves_another_one_alone() {
    let (known, other) = (Issuer::new("k1"), Issuer::new("k2"));
    let (issuer, next) = (Published::of(&[&known]), Published::of(&[&other]));
    let bed = Bed::with(|setup| with_url(setup, &issuer.url(), "refresh_s: 1"));
    let (gate, token) = (&bed.gate, known.token(&claims()));
    assert_eq!(bed.status(&token).await, 404);
    issuer.say(Says::Nothing);
    for (from, to) in [
        ("support: {default_view: redact,", "support: {default_view: mask,"),
        ("clock_skew_s: 5", "clock_skew_s: 6"),
        ("refresh_s: 1", "refresh_s: 2"),
        ("refresh_s: 2", "refresh_s: 1"),
        ("algorithms: [ES256, RS256]\n", "algorithms: [ES256, RS256]\n  roles: {claim: groups, map: {a: billing}}\n"),
    ] {
        gate.rewrite(from, to);
        assert_eq!(gate.reload(), "applied");
        assert_eq!(bed.status(&token).await, 404, "{to}: its keys are still there");
    }
    // What was set is set: an audience that is another one holds at once.
    gate.rewrite("audience: sealgate", "audience: another");
    assert_eq!(gate.reload(), "applied");
    assert_eq!(bed.status(&token).await, 401);
    gate.rewrite("audience: another", "audience: sealgate");
    gate.rewrite(&issuer.url(), &next.url());
    assert_eq!(gate.reload(), "applied");
    assert_eq!(bed.status(&other.token(&claims())).await, 404);
    assert_eq!(bed.status(&token).await, 401, "keys of another issuer are none of this one");
    let (asked, before) = (issuer.asked(), next.asked());
    wait("the next one is asked", async || next.asked() >= before + 3).await;
    assert_eq!(issuer.asked(), asked, "nobody asks the old one any more");
}

#[test]
fn a_config_of_keys_that_could_not_be_trusted_is_refused() {
    let setup =
        || with_url(Setup::before(([127, 0, 0, 1], 9).into()), "https://idp.test.example/keys", "ca_file: ca.pem");
    assert_eq!(setup().validate().0, Some(0), "{}", setup().validate().1);
    let url = "jwks_url: https://idp.test.example/keys";
    for (from, to, said) in [
        (url, "jwks_url: https://idp.test.example/keys\n  jwks_file: jwks.json", "bearer: wanted exactly one of"),
        (url, "# none", "bearer: wanted exactly one of jwks_file and jwks_url"),
        (url, "jwks_url: ftp://idp.test.example/keys", "bearer.jwks_url: wanted https://host[:port]/path"),
        (url, "jwks_url: https://user@idp.test.example/keys", "wanted https://host[:port]/path"),
        (url, "jwks_url: idp.test.example", "wanted https://host[:port]/path"),
        (url, "jwks_url: http://idp.test.example/keys", "certificates have no meaning for an http:// URL"),
        ("  ca_file: ca.pem", "  refresh_s: 0", "refresh_s"),
        ("  ca_file: ca.pem", "  refresh_s: 60\n  stale_max_s: 60", "stale_max_s is not above refresh_s"),
        ("  ca_file: ca.pem", "  ca_file: none.pem", "none.pem"),
        ("  ca_file: ca.pem", "  ca_file: kek", "wanted PEM certificates"),
        ("algorithms: [ES256, RS256]", "algorithms: [HS256]", "HS256"),
    ] {
        let (code, told) = setup().replace(from, to).validate();
        assert_eq!(code, Some(78), "{to}: {told}");
        assert!(told.contains(said), "{to}: {told}");
    }
    let plain = setup().replace("  ca_file: ca.pem", "  ").replace(url, "jwks_url: http://127.0.0.1:9/keys");
    assert_eq!(plain.validate().0, Some(0), "{}", plain.validate().1);
    let (code, told) = plain.replace("dev_mode: true\n", "").validate();
    assert_eq!(code, Some(78), "{told}");
    assert!(told.contains("http:// needs `dev_mode: true`"), "{told}");
}
