//! A config that changes while the gate runs: taken as a whole or not at all, with no connection lost for it.

mod load;

use crate::edge::trust::{LISTED, list};
use crate::edge::{raw, rest};
use crate::fixture::client::Connection;
use crate::fixture::frames::{END_STREAM, Frames, GOAWAY, PREFACE, headers, request, settings, window};
use crate::fixture::keys::with_kms;
use crate::fixture::kms::{self, Fault, Kms};
use crate::fixture::pki::{Identity, Pki, spiffe, write_secret};
use crate::fixture::rough::Rough;
use crate::fixture::{Bed, Client, Gate, Setup, Upstream};
use data_encoding::HEXLOWER;
use http::Method;
use rcgen::{ExtendedKeyUsagePurpose, SanType, SerialNumber};
use rustls_pki_types::CertificateDer;
use sealgate::seal::crypto::sha256;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

const PATIENT: &str = "{\"ssn\":\"999-12-3456\"}";

/// The certificate that the gate shows to whoever comes now.
async fn shown(gate: &Gate, trusted: &Pki) -> CertificateDer<'static> {
    let client = Client::new(gate.address, trusted.ca(), Some(gate.pki().client("clinician")));
    let tls = client.tls().await.unwrap();
    tls.get_ref().1.peer_certificates().unwrap()[0].clone()
}

#[tokio::test]
async fn a_changed_policy_is_in_force_at_once_also_for_connections_that_are_open() {
    let bed = Bed::start();
    let gate = &bed.gate;
    let writer = gate.as_client("clinician");
    assert_eq!(writer.put("/Patient/1", PATIENT).await.status, 200);
    let ssn = async |connection: &mut Connection| {
        let reply = connection.call(Method::GET, "/Patient/1", &[], "").await.unwrap();
        reply.json()["ssn"].as_str().map(str::to_owned)
    };
    let mut open = [
        gate.as_client("support").connect().await.unwrap(),
        gate.as_client("support").over_http2().connect().await.unwrap(),
    ];
    for connection in &mut open {
        assert_eq!(ssn(connection).await.as_deref(), Some("[REDACTED]"));
    }
    let config = fs::read_to_string(gate.folder().join("gate.yaml")).unwrap();
    gate.rewrite("support: {default_view: redact,", "support: {default_view: mask,");
    assert_eq!(gate.reload(), "applied");
    for connection in &mut open {
        assert_eq!(ssn(connection).await.as_deref(), Some("***-**-3456"), "on the connection that was open");
    }
    let (start, change) =
        (gate.events_named("GateStarted").pop().unwrap(), gate.events_named("ConfigChanged").pop().unwrap());
    assert_eq!(change["generation"], 2);
    let changed = fs::read_to_string(gate.folder().join("gate.yaml")).unwrap();
    for (event, text) in [(&start, config), (&change, changed)] {
        assert_eq!(event["config"], HEXLOWER.encode(&sha256(&[text.as_bytes()])));
    }
    assert_ne!(start["files"], change["files"]);
    assert_eq!(gate.reload(), "unchanged");
    // And a principal that is taken out is nobody at once.
    gate.rewrite("  - {spiffe: spiffe://test.example/support, roles: [support]}\n", "");
    assert_eq!(gate.reload(), "applied");
    for connection in &mut open {
        let reply = connection.call(Method::GET, "/Patient/1", &[], "").await.unwrap();
        reply.expect_problem(403, "principal_unknown");
    }
    assert_eq!(gate.metric("sealgate_config_current"), 1.0);
}

#[tokio::test]
async fn a_bad_config_changes_nothing_and_says_so() {
    let gate = Setup::before(Upstream::start().addr()).start();
    let client = gate.as_client("clinician");
    let folder = gate.folder();
    let good = fs::read_to_string(folder.join("gate.yaml")).unwrap();
    let other = Pki::new("another").server();
    for (what, spoil, told) in [
        ("yaml", &(|| gate.rewrite("scope: test", "scope: [")) as &dyn Fn(), "not YAML"),
        ("a class that is not there", &|| gate.rewrite("class: name}", "class: nobody}"), "nobody"),
        ("a key of another certificate", &|| other.write(folder, "server"), "server.tls"),
        ("no CA", &|| write_secret(&folder.join("ca.pem"), "nothing"), "client_ca_file"),
        ("another port", &|| gate.rewrite("listen: 127.0.0.1:0", "listen: 127.0.0.1:1"), "server.listen: takes effect"),
        ("another KEK", &|| write_secret(&folder.join("kek"), &"A".repeat(43)), "keyring"),
    ] {
        let kept =
            ["server.pem", "server.key", "ca.pem", "kek"].map(|name| (name, fs::read(folder.join(name)).unwrap()));
        spoil();
        if what == "a key of another certificate" {
            fs::write(folder.join("server.pem"), &kept[0].1).unwrap();
        }
        assert_eq!(gate.reload(), "refused", "{what}");
        assert_eq!(gate.metric("sealgate_config_current"), 0.0, "{what}");
        assert_eq!(client.get("/open/x").await.status, 404, "{what}: served as before");
        let refused =
            gate.wait_for_event(|event| event["event"] == "ConfigRefused" && event.to_string().contains(told));
        assert!(refused["problems"].as_array().unwrap().len() <= 10);
        // The log is written in its own time.
        let is_logged = || gate.log().lines().any(|line| line.contains("config refused") && line.contains(told));
        for _ in 0..100 {
            if is_logged() {
                break;
            }
            sleep(Duration::from_millis(50));
        }
        assert!(is_logged(), "{what}");
        for (name, bytes) in kept {
            fs::write(folder.join(name), bytes).unwrap();
        }
        write_secret(&folder.join("gate.yaml"), &good);
        // Of what needs a restart the listener's TLS was taken over: that is put back too.
        let outcome = if told.contains("takes effect") { "applied" } else { "unchanged" };
        assert_eq!(gate.reload(), outcome, "{what}");
        assert_eq!(gate.metric("sealgate_config_current"), 1.0, "{what}");
    }
    // Of those that need a restart the certificates were taken over, and the others then again.
    assert!(gate.events_named("ConfigChanged").iter().all(|event| event["files"].is_string()));
}

#[tokio::test]
async fn files_that_change_are_noticed_without_a_signal_also_behind_symbolic_links() {
    // As Kubernetes lays a secret out: names that lead through `..data`, which is swapped as a whole.
    let setup = Setup::before(Upstream::start().addr()).replace("server.pem", "tls/server.pem");
    let setup = setup.replace("server.key", "tls/server.key");
    let folder = setup.folder().join("tls");
    fs::create_dir(&folder).unwrap();
    let lay = |version: &str, identity: &Identity| {
        fs::create_dir(folder.join(version)).unwrap();
        identity.write(&folder.join(version), "server");
        symlink(version, folder.join("..data_tmp")).unwrap();
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    };
    let first = setup.pki().server();
    lay("..1", &first);
    for name in ["server.pem", "server.key"] {
        symlink(format!("..data/{name}"), folder.join(name)).unwrap();
    }
    let gate = setup.start();
    let client = gate.as_client("clinician");
    let mut open = client.connect().await.unwrap();
    assert_eq!(shown(&gate, gate.pki()).await, first.certificate);
    let second = gate.pki().server();
    lay("..2", &second);
    gate.wait_for_log("config applied");
    assert_eq!(shown(&gate, gate.pki()).await, second.certificate);
    assert_eq!(open.call(Method::GET, "/open/x", &[], "").await.unwrap().status, 404, "what was open stays");

    // In two steps: what is half there is not told as a fault before it had the time to become whole.
    let third = gate.pki().server();
    third.write(gate.folder(), "third");
    let put = |name: &str| {
        let target = folder.join(format!("server.{name}"));
        fs::remove_file(&target).unwrap();
        fs::rename(gate.folder().join(format!("third.{name}")), target).unwrap();
    };
    put("pem");
    sleep(Duration::from_millis(300));
    put("key");
    while gate.metric("sealgate_config_reloads_total{outcome=\"applied\"}") < 2.0 {
        sleep(Duration::from_millis(20));
    }
    assert_eq!(shown(&gate, gate.pki()).await, third.certificate);
    assert_eq!(gate.events_named("ConfigRefused").len(), 0, "{}", gate.log());
}

#[tokio::test]
async fn a_client_ca_that_is_taken_out_ends_what_was_let_in_by_it() {
    let upstream = Upstream::start();
    let gate = Setup::before(upstream.addr()).start();
    let newcomer = Pki::new("the next CA");
    let mut old = [
        gate.as_client("clinician").connect().await.unwrap(),
        gate.as_client("clinician").over_http2().connect().await.unwrap(),
    ];
    let mut idle = gate.as_client("clinician").tls().await.unwrap();
    for connection in &mut old {
        assert_eq!(connection.call(Method::GET, "/open/x", &[], "").await.unwrap().status, 404);
    }
    // First both, then the new one alone.
    let both = format!("{}{}", gate.pki().ca_pem(), newcomer.ca_pem());
    write_secret(&gate.folder().join("ca.pem"), &both);
    assert_eq!(gate.reload(), "applied");
    for connection in &mut old {
        assert_eq!(connection.call(Method::GET, "/open/x", &[], "").await.unwrap().status, 404);
    }
    write_secret(&gate.folder().join("ca.pem"), &newcomer.ca_pem());
    assert_eq!(gate.reload(), "applied");
    upstream.take_all();
    for connection in &mut old {
        let reply = connection.call(Method::GET, "/open/x", &[], "").await.unwrap();
        reply.expect_problem(403, "certificate_not_accepted");
        assert!(connection.call(Method::GET, "/open/x", &[], "").await.is_err(), "the connection has ended");
    }
    idle.write_all(b"GET /open/x HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let answer = String::from_utf8_lossy(&rest(&mut idle).await).into_owned();
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("certificate_not_accepted"), "{answer}");
    upstream.expect_nothing();
    let event = gate.events_named("ExchangeRefused").pop().unwrap();
    assert_eq!(
        (&event["code"], &event["cause"]),
        (&"certificate_not_accepted".into(), &"certificate_of_unknown_ca".into())
    );
    assert_eq!(event["principal"], "spiffe://test.example/clinician", "who it was is told all the same");

    assert!(gate.as_client("clinician").try_call(Method::GET, "/open/x", &[], "").await.is_err(), "no handshake");
    let client = gate.with(Some(newcomer.client("clinician")));
    assert_eq!(client.get("/open/x").await.status, 404, "the other CA's clients are served");
    assert!(
        raw(&client, "GET /open/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.starts_with("HTTP/1.1 404")
    );
}

#[tokio::test]
async fn limits_and_routes_change_and_what_is_under_way_is_finished_by_those_of_its_start() {
    let upstream = Rough::held();
    let gate = Setup::before(upstream.addr()).start();
    let client = gate.as_client("clinician");
    let under_way = tokio::spawn(async move { client.get("/open/x").await.status });
    upstream.wait_for(1).await;
    gate.rewrite("path: /open/{rest*}", "path: /moved/{rest*}");
    gate.rewrite("limits: {}", "limits: {exchanges_max: 7, headers_max: 20}");
    assert_eq!(gate.reload(), "applied");
    gate.as_client("clinician").get("/open/x").await.expect_problem(404, "route_unknown");
    upstream.release();
    assert_eq!(under_way.await.unwrap(), 200, "by the route of its start");
    let many: Vec<(String, String)> = (0..30).map(|n| (format!("x-{n}"), n.to_string())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (&**name, &**value)).collect();
    let reply = gate.as_client("clinician").over_http2().call(Method::GET, "/moved/x", &many, "").await;
    reply.expect_problem(431, "headers_too_many");
}

#[tokio::test]
async fn a_file_that_is_half_written_is_not_taken() {
    let bed = Bed::with(|setup| {
        let config = setup.config_from("scope: test");
        // The route with the rules comes last, so that what is cut off at its end is a config too.
        let (start, open) = config.split_once("  - name: open").unwrap();
        let config = start.replace("routes:\n", &format!("routes:\n  - name: open{open}"));
        let rules = "    rules:\n      - {path: \"$.note\", class: note}\n      - {path: \"$..ssn\", class: ssn}\n";
        setup.configured(&config.replace("    rules: *rules\n", rules))
    });
    let (gate, client) = (&bed.gate, bed.gate.as_client("clinician"));
    let file = gate.folder().join("gate.yaml");
    let whole = fs::read_to_string(&file).unwrap().replace("limits: {}", "limits: {streams_max: 99}");
    let cut = whole.rfind("      - {path: \"$..ssn\"").unwrap();
    write_secret(&file, &whole[..cut]);
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(client.put("/Patient/1", PATIENT).await.status, 200);
        assert!(!bed.upstream.received().last().unwrap().text().contains("999-12"), "the rule is in force");
    }
    write_secret(&file, &whole);
    gate.wait_for_log("config applied");
    assert_eq!(gate.events_named("ConfigChanged").len(), 1, "the whole one alone");
    assert_eq!(client.put("/Patient/1", PATIENT).await.status, 200);
    assert!(!bed.upstream.received().last().unwrap().text().contains("999-12"));
}

#[tokio::test]
async fn what_was_refused_for_a_reason_that_passes_is_taken_later() {
    let gate = Setup::before(Upstream::start().addr()).start();
    let soon = SystemTime::now() + Duration::from_secs(5);
    let new = gate.pki().issue(|params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names = vec![SanType::DnsName("localhost".try_into().unwrap())];
        params.not_before = soon.into();
    });
    new.write(gate.folder(), "server");
    gate.wait_for_event(|event| event["event"] == "ConfigRefused");
    assert_eq!(gate.metric("sealgate_config_current"), 0.0);
    gate.wait_for_log("config applied");
    assert_eq!(gate.metric("sealgate_config_current"), 1.0);
    assert_eq!(shown(&gate, gate.pki()).await, new.certificate);
    assert_eq!(gate.events_named("ConfigRefused").len(), 1, "told once");
}

#[tokio::test]
async fn a_change_that_needs_a_restart_holds_up_no_revocation() {
    let upstream = Upstream::start();
    let setup = Setup::before(upstream.addr()).replace(LISTED.0, LISTED.1);
    write_secret(&setup.folder().join("list.pem"), &list(setup.pki(), (60, 3600), &[]));
    let gate = setup.start();
    let revoked = gate.pki().issue(|params| {
        params.serial_number = Some(SerialNumber::from(7_u64));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = vec![spiffe("spiffe://test.example/clinician")];
    });
    let client = gate.with(Some(revoked));
    assert_eq!(client.get("/open/x").await.status, 404);
    write_secret(&gate.folder().join("kek"), "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=");
    write_secret(&gate.folder().join("list.pem"), &list(gate.pki(), (30, 3600), &[7]));
    gate.rewrite("path: /open/{rest*}", "path: /moved/{rest*}");
    assert_eq!(gate.reload(), "refused");
    assert_eq!(gate.metric("sealgate_config_current"), 0.0, "it says that not all is in force");
    assert!(client.try_call(Method::GET, "/open/x", &[], "").await.is_err(), "revoked");
    assert_eq!(gate.as_client("clinician").get("/open/x").await.status, 404, "routes are those of before");
    assert_eq!(gate.reload(), "refused");
    assert_eq!(gate.events_named("ConfigChanged").len(), 1, "once");
}

#[tokio::test]
async fn a_kms_that_is_away_holds_up_no_revocation() {
    for fault in [Fault::Denies, Fault::Hangs] {
        let kms = Kms::start();
        let gate = with_kms(Upstream::start().addr(), kms.addr(), kms::KEY).start();
        let client = gate.as_client("billing");
        assert_eq!(client.get("/open/x").await.status, 404);
        kms.fail(fault);
        gate.rewrite("scope: test", "scope: of-another");
        gate.rewrite("client_ca_file: ca.pem}", "client_ca_file: ca.pem, client_deny: [{cn: billing}]}");
        gate.signal("HUP");
        expect_out(&client).await;
        gate.wait_for_event(|event| event["event"] == "ConfigRefused");
        let changes = gate.events_named("ConfigChanged");
        assert!(
            changes.iter().all(|event| event["only"] == "server.tls"),
            "there is no key of the new scope: {changes:?}"
        );
        kms.fail(None);
        gate.wait_for_log("config applied");
        assert_eq!(gate.as_client("clinician").put("/Patient/1", PATIENT).await.status, 200);
        gate.wait_for_event(|event| event["event"] == "ExchangeAnswered" && event["scope"] == "of-another");
    }
}

#[tokio::test]
async fn files_that_keep_changing_hold_up_no_denial_and_are_told() {
    let gate = Setup::before(Upstream::start().addr()).start();
    gate.rewrite("client_ca_file: ca.pem}", "client_ca_file: ca.pem, client_deny: [{cn: billing}]}");
    let (file, pem) = (gate.folder().join("ca.pem"), gate.pki().ca_pem());
    let stop = Arc::new(AtomicBool::new(false));
    let writer = thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            for turn in 0..400 {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let new = file.with_extension("new");
                write_secret(&new, &format!("{pem}# {turn}\n"));
                fs::rename(&new, &file).unwrap();
                sleep(Duration::from_millis(100));
            }
        }
    });
    expect_out(&gate.as_client("billing")).await;
    let refused = gate.wait_for_event(|event| event["event"] == "ConfigRefused");
    assert!(refused["problems"][0].as_str().unwrap().starts_with("the files of the config keep changing"), "{refused}");
    stop.store(true, Ordering::SeqCst);
    writer.join().unwrap();
    gate.wait_for_log("config applied");
    assert_eq!(gate.metric("sealgate_config_current"), 1.0, "once they have come to rest");
}

/// It is turned away, soon.
async fn expect_out(client: &Client) {
    for _ in 0..200 {
        if client.try_call(Method::GET, "/open/x", &[], "").await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it gets in");
}

#[tokio::test]
async fn files_that_cannot_be_read_are_told_while_they_cannot() {
    let mut gate = Setup::before(Upstream::start().addr()).start();
    // What a file system does whose server is away: whoever opens the file waits.
    let [file, good, hangs] = ["ca.pem", "good", "hangs"].map(|name| gate.folder().join(name));
    fs::copy(&file, &good).unwrap();
    let hang = || {
        assert!(Command::new("mkfifo").arg(&hangs).status().unwrap().success());
        fs::hard_link(&hangs, file.with_extension("new")).unwrap();
        fs::rename(file.with_extension("new"), &file).unwrap();
    };
    hang();
    let line = gate.wait_for_log("config refused");
    assert!(line.contains("the disk does not answer"), "{line}");
    assert_eq!(gate.metric("sealgate_config_current"), 0.0);
    assert_eq!(gate.as_client("clinician").get("/open/x").await.status, 404, "served as before");
    fs::rename(&good, &file).unwrap();
    drop(fs::OpenOptions::new().write(true).open(&hangs).unwrap());
    for _ in 0..300 {
        if gate.metric("sealgate_config_current") == 1.0 {
            break;
        }
        sleep(Duration::from_millis(100));
    }
    assert_eq!(gate.metric("sealgate_config_current"), 1.0, "{}", gate.log());
    // Nor does it hold up the end.
    fs::remove_file(&hangs).unwrap();
    hang();
    sleep(Duration::from_secs(3));
    gate.signal("TERM");
    assert_eq!(gate.wait().code(), Some(0), "{}", gate.log());
}

#[tokio::test]
async fn who_was_let_in_by_a_config_that_is_put_back_is_not_any_more() {
    let setup = Setup::before(Upstream::start().addr());
    let gate =
        setup.replace("client_ca_file: ca.pem}", "client_ca_file: ca.pem, client_deny: [{cn: billing}]}").start();
    let gets_in = async || gate.as_client("billing").try_call(Method::GET, "/open/x", &[], "").await.is_ok();
    assert!(!gets_in().await);
    let good = fs::read_to_string(gate.folder().join("gate.yaml")).unwrap();
    gate.rewrite(", client_deny: [{cn: billing}]}", "}");
    gate.rewrite("workers: 2", "workers: 3");
    assert_eq!(gate.reload(), "refused");
    assert!(gets_in().await, "server.tls was taken over");
    write_secret(&gate.folder().join("gate.yaml"), &good);
    assert_eq!(gate.reload(), "applied");
    assert!(!gets_in().await, "and put back");
    assert_eq!(gate.metric("sealgate_config_current"), 1.0);
}

#[tokio::test]
async fn a_response_under_way_does_not_outlive_the_revocation_for_long() {
    let upstream = Upstream::start();
    upstream.always(200, &[("content-type", "text/plain")], vec![b'x'; 256 << 20]);
    let limits = "limits: {header_timeout_ms: 1000}";
    let gate = Setup::before(upstream.addr()).replace("limits: {}", limits).start();
    let client = gate.as_client("billing");
    let mut under_way = client.tls().await.unwrap();
    under_way.write_all(b"GET /open/x HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let idle = client.clone().over_http2().tls().await.unwrap();
    // Told to end, since it was idle, it goes on with what crossed that.
    let mut told = Frames::connect(&client).await;
    told.send([PREFACE, &settings(&[(1, 0)]), &window(0, 1 << 30)].concat()).await;
    told.read_until(|frames| frames.kinds.contains_key(&GOAWAY)).await;
    told.send([headers(1, END_STREAM, &request("GET", "/open/x")), window(1, 1 << 20)].concat()).await;
    told.read_until(|frames| frames.streams.get(&1).is_some_and(|one| one.body.len() >= 1 << 20)).await;
    gate.rewrite("client_ca_file: ca.pem}", "client_ca_file: ca.pem, client_deny: [{cn: billing}]}");
    assert_eq!(gate.reload(), "applied");
    let (mut part, mut got) = (vec![0; 64 << 10], 0);
    let reading = async {
        while let Ok(length @ 1..) = under_way.read(&mut part).await {
            got += length;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let taking = async {
        while !told.closed {
            told.send(window(1, 64 << 10)).await;
            let more = told.read_until(|_| false);
            let _later = tokio::time::timeout(Duration::from_millis(100), more).await;
        }
    };
    let all = async { tokio::join!(reading, taking, ended(idle)) };
    assert!(tokio::time::timeout(Duration::from_secs(60), all).await.is_ok(), "all connections end");
    assert!(got < 256 << 20);
    gate.wait_for_event(|event| event["event"] == "BodyCompleted" && event["code"] == "body_broke_off");
}

async fn ended(mut idle: impl AsyncRead + Unpin) {
    drop(rest(&mut idle).await);
}
