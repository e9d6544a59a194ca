//! From the command line to the end: what the program says and how it exits, readiness, drain.

use crate::fixture::rough::Rough;
use crate::fixture::{Gate, Setup, Upstream};
use http::Method;
use serde_json::{Value, json};
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(30);
/// As in the fixture; it must never be said.
const KEK: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

/// The program, with nothing of the test's own environment that could reach a cloud.
fn sealgate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sealgate"));
    command.args(arguments).env_remove("SEALGATE_CONFIG");
    command
}

/// What it says, on both streams, and how it exits.
fn ended(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let said = [stdout, stderr].concat();
    (status.code(), String::from_utf8(said).unwrap())
}

fn verify(journal: &Path, more: &[&str]) -> (Option<i32>, String) {
    ended(sealgate(&["audit", "verify"]).arg(journal).args(more))
}

// Readiness and drain.

#[test]
fn probes_metrics_and_one_order_are_all_that_the_admin_port_has() {
    let gate = Setup::before(Upstream::start().addr()).start();
    assert_eq!(gate.admin("/livez"), (200, "ok\n".to_owned()));
    assert_eq!(gate.admin("/readyz"), (200, "ok\n".to_owned()));
    let (status, metrics) = gate.admin("/metrics");
    assert_eq!(status, 200);
    assert!(metrics.contains("\nsealgate_build_info{"), "{metrics}");
    for path in ["/", "/admin", "/livez/", "/readyz2", "/metrics/x", "/config", "/debug/pprof", "/Patient/1", "/LIVEZ"]
    {
        let (status, said) = gate.admin(path);
        assert_eq!(
            (status, said.as_str()),
            (404, "only /livez, /readyz, /metrics, /jwks.json and POST /keys/purge\n"),
            "{path}"
        );
    }
    let ask = |method, path, headers: &[(&str, &str)], body: &[u8]| {
        crate::fixture::service::request(gate.admin, method, path, headers, body).unwrap().0
    };
    assert_eq!(ask("POST", "/livez", &[], b""), 405);
    assert_eq!(ask("POST", "/keys/purge/", &[], b""), 405);
    assert_eq!(ask("GET", "/keys/purge", &[], b""), 405);
    assert_eq!(ask("POST", "/keys/purge", &[("origin", "http://127.0.0.1:9464")], b""), 403);
    assert_eq!(ask("POST", "/keys/purge", &[("origin", "null")], b""), 403);
    assert_eq!(ask("POST", "/keys/purge", &[], b"x"), 400);
    assert!(gate.events_named("KeysPurged").is_empty());
    assert_eq!(ask("POST", "/keys/purge", &[], b""), 204);
    let purged = gate.events_named("KeysPurged");
    assert_eq!(purged.len(), 1);
    assert!(purged[0]["from"].as_str().unwrap().starts_with("127.0.0.1:"));
}

#[tokio::test]
async fn a_draining_gate_says_that_it_is_not_ready_and_serves_on_for_a_while() {
    let upstream = Upstream::start();
    let mut gate = Setup::before(upstream.addr()).replace("delay_ms: 0", "delay_ms: 2500").start();
    let client = gate.as_client("clinician");
    // The gauge is set at the first of its intervals.
    while gate.metric("sealgate_ready") != 1.0 {
        sleep(Duration::from_millis(5)).await;
    }
    gate.signal("TERM");
    gate.wait_for_log("draining");
    while gate.admin("/readyz").0 == 200 {
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(gate.admin("/readyz"), (503, "draining\n".to_owned()));
    assert_eq!(gate.admin("/livez").0, 200);
    assert_eq!(gate.metric("sealgate_ready"), 0.0);
    let admin = gate.admin.to_string();
    let (code, said) = ended(&mut sealgate(&["healthcheck", "--admin", &admin]));
    assert_eq!((code, said.as_str()), (Some(1), "not ready: draining\n"));
    // New connections and new exchanges are still served.
    assert_eq!(client.get("/open/x").await.status, 404);
    assert_eq!(client.over_http2().post("/Patient", "{\"ssn\":\"999-12-3456\"}").await.status, 201);
    assert_eq!(end(&mut gate).await, Some(0));
    assert_eq!(gate.events().pop().unwrap()["event"], "GateStopped");
}

/// Waits for the end of a gate without holding up the test's own connections, which have to end first.
async fn end(gate: &mut Gate) -> Option<i32> {
    let journal_closed = async {
        while !gate.log().contains("\"message\":\"audit journal closed\"") {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, journal_closed).await.unwrap_or_else(|_| panic!("{}", gate.log()));
    gate.wait().code()
}

/// Waits until nobody accepts connections there any more.
async fn closed(address: SocketAddr) {
    let refused = async {
        while TcpStream::connect(address).is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, refused).await.expect("the listener closes");
}

#[tokio::test]
async fn what_is_under_way_at_sigterm_is_finished() {
    for signal in ["TERM", "INT"] {
        let upstream = Rough::held();
        let mut gate = Setup::before(upstream.addr()).start();
        let client = gate.as_client("clinician");
        let ssn = "{\"ssn\":\"999-12-3456\"}";
        let (first, second) = (client.clone(), client.clone().over_http2());
        let calls = [
            tokio::spawn(async move { first.get("/open/slow").await }),
            tokio::spawn(async move { second.post("/Patient", ssn).await }),
        ];
        // A connection that stays has nothing to wait for.
        let mut idle = client.connect().await.unwrap();
        assert_eq!(idle.call(Method::GET, "/nowhere", &[], "").await.unwrap().status, 404);
        upstream.wait_for(2).await;
        gate.signal(signal);
        closed(gate.address).await;
        assert!(idle.call(Method::GET, "/open/x", &[], "").await.is_err(), "an idle connection is closed");
        assert_eq!(gate.admin("/readyz").0, 503, "probes are answered to the end");
        upstream.release();
        for call in calls {
            assert_eq!(call.await.unwrap().status, 200);
        }
        assert_eq!(end(&mut gate).await, Some(0));

        let events: Vec<Value> = gate.events();
        assert_eq!(events.first().unwrap()["event"], "GateStarted");
        assert_eq!(events.last().unwrap()["event"], "GateStopped");
        assert_eq!(gate.events_named("ExchangeAnswered").len(), 2);
        assert_eq!(gate.events_named("ExchangeAbandoned").len(), 0);
        let (code, said) = verify(&gate.journal(), &[]);
        let whole = format!("{} records in 1 files, from 1 to {}:", events.len(), events.len());
        assert!(code == Some(0) && said.starts_with(&whole) && said.ends_with(": the chain is whole\n"), "{said}");
        let closed: Value = serde_json::from_str(&gate.wait_for_log("audit journal closed")).unwrap();
        let head = closed["head"].as_str().unwrap();
        assert!(said.contains(head), "the log names the head {head}");
        assert_eq!(verify(&gate.journal(), &["--head", head]).0, Some(0));
    }
}

/// A gate of which every timeout is longer than a test waits for its end.
fn patient_gate() -> Gate {
    let long = 600_000;
    Setup::before(Upstream::start().addr())
        .replace("client_ca_file: ca.pem", &format!("client_ca_file: ca.pem, handshake_timeout_ms: {long}"))
        .replace("limits: {}", &format!("limits: {{header_timeout_ms: {long}, body_timeout_ms: {long}}}"))
        .replace("drain: {delay_ms: 0}", &format!("drain: {{delay_ms: 0, timeout_ms: {long}}}"))
        .start()
}

#[tokio::test]
async fn connections_without_a_request_do_not_hold_up_the_end() {
    for (http2, used) in [(false, true), (false, false), (true, true), (true, false)] {
        let mut gate = patient_gate();
        let client = gate.as_client("clinician");
        let client = if http2 { client.over_http2() } else { client };
        let mut idle = client.connect().await.unwrap();
        if used {
            idle.call(Method::GET, "/nowhere", &[], "").await.unwrap();
        }
        gate.signal("TERM");
        assert_eq!(end(&mut gate).await, Some(0), "HTTP/2: {http2}, used: {used}");
    }
}

#[tokio::test]
async fn connections_without_a_handshake_do_not_hold_up_the_end() {
    let mut gate = patient_gate();
    let _silent = TcpStream::connect(gate.address).unwrap();
    // It is accepted before those that come after it.
    for _ in 0..8 {
        gate.as_client("clinician").get("/nowhere").await;
    }
    gate.signal("TERM");
    assert_eq!(end(&mut gate).await, Some(0));
}

#[tokio::test]
async fn what_hangs_is_cut_off_and_on_record() {
    let upstream = Rough::held();
    let mut gate = Setup::before(upstream.addr()).replace("delay_ms: 0", "delay_ms: 0, timeout_ms: 500").start();
    let client = gate.as_client("clinician");
    let calls: Vec<_> = [client.clone(), client.over_http2()]
        .into_iter()
        .map(|client| tokio::spawn(async move { client.try_call(Method::GET, "/Patient/1", &[], "").await.is_err() }))
        .collect();
    upstream.wait_for(2).await;
    gate.signal("TERM");
    for call in calls {
        assert!(call.await.unwrap(), "cut off");
    }
    assert_eq!(end(&mut gate).await, Some(0));
    let abandoned = gate.events_named("ExchangeAbandoned");
    assert_eq!(abandoned.len(), 2);
    for event in abandoned {
        assert_eq!(
            (&event["route"], &event["record"], &event["method"]),
            (&json!("patient"), &json!("1"), &json!("GET"))
        );
        assert_eq!(event["sent_upstream"], true);
        assert_eq!(event["principal"], "spiffe://test.example/clinician");
    }
    assert_eq!(gate.events().pop().unwrap()["event"], "GateStopped");
    assert_eq!(verify(&gate.journal(), &[]).0, Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let upstream = Rough::held();
    let mut gate = Setup::before(upstream.addr()).replace("delay_ms: 0", "delay_ms: 50000").start();
    let client = gate.as_client("clinician");
    let call = tokio::spawn(async move { client.try_call(Method::GET, "/open/x", &[], "").await.is_err() });
    upstream.wait_for(1).await;
    gate.signal("TERM");
    gate.wait_for_log("draining");
    gate.signal("TERM");
    assert_eq!(gate.wait().code(), Some(1), "not well");
    assert!(gate.log().contains("second signal"));
    assert!(call.await.unwrap());
    let (code, said) = verify(&gate.journal(), &[]);
    assert_eq!(code, Some(0), "what there is is whole: {said}");
}

#[tokio::test]
async fn sighup_is_no_reason_to_end() {
    let mut gate = Setup::before(Upstream::start().addr()).start();
    let client = gate.as_client("clinician");
    assert_eq!(client.get("/open/x").await.status, 404);
    gate.signal("HUP");
    gate.wait_for_log("config unchanged");
    assert_eq!(client.get("/open/x").await.status, 404);
    gate.signal("TERM");
    assert_eq!(end(&mut gate).await, Some(0));
}

#[test]
fn a_signal_during_the_start_is_not_fatal() {
    for _ in 0..10 {
        let gate = Setup::before(Upstream::start().addr()).spawn();
        gate.wait_for_log("audit journal opened");
        gate.signal("HUP");
        gate.wait_for_log("serving");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_a_record() {
    let upstream = Rough::held();
    let gate = Setup::before(upstream.addr()).start();
    let ssn = "{\"ssn\":\"999-12-3456\"}";
    let mut wanted = 0;
    for http2 in [false, true] {
        for (method, path, body) in [(Method::GET, "/Patient/7", ""), (Method::PUT, "/Patient/7", ssn)] {
            let client = gate.as_client("clinician");
            let client = if http2 { client.over_http2() } else { client };
            let shown = method.to_string();
            let call =
                tokio::spawn(
                    async move { client.call(method, path, &[("content-type", "application/json")], body).await },
                );
            wanted += 1;
            upstream.wait_for(wanted).await;
            call.abort();
            assert!(call.await.unwrap_err().is_cancelled());
            let abandoned = || gate.events_named("ExchangeAbandoned");
            let recorded = async {
                while abandoned().len() < wanted {
                    sleep(Duration::from_millis(20)).await;
                }
            };
            timeout(PATIENCE, recorded).await.unwrap_or_else(|_| panic!("{shown}, HTTP/2: {http2}"));
            let event = abandoned().pop().unwrap();
            assert_eq!((&event["method"], &event["record"]), (&json!(shown), &json!("7")));
            assert_eq!(event["sent_upstream"], true);
            assert_eq!(event.get("status"), None);
        }
    }
    assert_eq!(gate.metric("sealgate_exchanges_total{route=\"patient\",outcome=\"abandoned\"}"), 4.0);
    assert_eq!(gate.events_named("ExchangeIntended").len(), 2);
    assert_eq!(gate.events_named("ExchangeAnswered").len(), 0);
}

// The command line.

#[test]
fn the_command_line_is_understood_or_refused_with_64() {
    let (code, said) = ended(&mut sealgate(&["version"]));
    assert_eq!(
        (code, said.starts_with(&format!("sealgate {} (", env!("CARGO_PKG_VERSION")))),
        (Some(0), true),
        "{said}"
    );
    for arguments in [&["help"][..], &["--help"], &["run", "--help"], &["--version"]] {
        let (code, said) = ended(&mut sealgate(arguments));
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("sealgate"), "{said}");
    }
    let good = format!("1:{}", "0".repeat(64));
    let head = ["audit", "verify", "x", "--head"];
    for arguments in [
        &[][..],
        &["serve"],
        &["run"],
        &["run", "-c"],
        &["run", "-c", "a", "b"],
        &["run", "--config", "a", "--listen", "0.0.0.0:1"],
        &["validate"],
        &["config"],
        &["config", "show"],
        &["audit"],
        &["audit", "verify"],
        &["healthcheck", "--admin", "nowhere"],
        &["healthcheck", "--admin", "localhost"],
        &[head[0], head[1], head[2], head[3]],
        &[head[0], head[1], head[2], head[3], "1"],
        &[head[0], head[1], head[2], head[3], "1:abc"],
        &[head[0], head[1], head[2], head[3], &good.replace('0', "A")],
        &[head[0], head[1], head[2], head[3], &good.replace("1:", "0:1")],
        &["version", "--verbose"],
    ] {
        let (code, said) = ended(&mut sealgate(arguments));
        assert_eq!(code, Some(64), "{arguments:?}: {said}");
        assert!(!said.is_empty(), "{arguments:?}");
    }
}

#[test]
fn the_schema_is_one_and_holds_what_the_loader_holds() {
    let (code, said) = ended(&mut sealgate(&["config", "schema"]));
    assert_eq!(code, Some(0));
    let schema: Value = serde_json::from_str(&said).unwrap();
    jsonschema::meta::validate(&schema).unwrap();
    let good = json!({
        "scope": "test",
        "server": {"listen": "127.0.0.1:0",
            "tls": {"certificate_file": "a", "key_file": "b", "client_ca_file": "c"}},
        "keyring": {"local": {"key_file": "d"}},
        "audit": {"directory": "e"},
        "upstreams": {"app": {"url": "http://127.0.0.1:1"}},
        "roles": {"all": {"default_view": "plain"}},
        "principals": [{"spiffe": "spiffe://test.example/a", "roles": ["all"]}],
        "routes": [{"name": "open", "path": "/{rest*}", "methods": ["GET"], "upstream": "app", "protect": "none"}],
    });
    let validator = jsonschema::validator_for(&schema).unwrap();
    assert!(validator.is_valid(&good), "{:?}", validator.iter_errors(&good).map(|e| e.to_string()).collect::<Vec<_>>());
    for (at, value) in [
        ("/scope", json!(1)),
        ("/server/workers", json!(0)),
        ("/server/tls/ciphers", json!("all")),
        ("/keyring/vault", json!({})),
        ("/roles/all/default_view", json!("all")),
        ("/routes/0/protect", json!("some")),
        ("/surplus", json!(null)),
    ] {
        let mut bad = good.clone();
        let (parent, name) = at.rsplit_once('/').unwrap();
        bad.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(name.to_owned(), value);
        assert!(!validator.is_valid(&bad), "{at}");
    }
}

#[test]
fn healthcheck_tells_a_gate_that_is_ready_from_none() {
    let gate = Setup::before(Upstream::start().addr()).start();
    let address = gate.admin.to_string();
    assert_eq!(ended(&mut sealgate(&["healthcheck", "--admin", &address])), (Some(0), String::new()));
    drop(gate);
    let (code, said) = ended(&mut sealgate(&["healthcheck", "--admin", &address]));
    assert_eq!((code, said.starts_with(&format!("{address}: "))), (Some(1), true), "{said}");
    // The gate's own port speaks TLS: not an answer either.
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = silent.local_addr().unwrap().to_string();
    assert_eq!(ended(&mut sealgate(&["healthcheck", "--admin", &address])).0, Some(1), "an answer that never comes");
}

// The config.

/// A config in a folder with everything that it names.
struct Case {
    /// Keeps the folder.
    _gate: Option<Gate>,
    setup: Option<Setup>,
    file: PathBuf,
}

impl Case {
    /// `gate.yaml` with the changes; each `from` must stand in it.
    fn new(changes: &[(&str, &str)]) -> Self {
        let setup = Setup::before(SocketAddr::from(([127, 0, 0, 1], 9)));
        let mut text = include_str!("fixture/gate.yaml").to_owned();
        for (from, to) in changes {
            assert!(text.contains(from), "{from:?}");
            text = text.replacen(from, to, 1);
        }
        let file = setup.folder().join("case.yaml");
        fs::write(&file, text).unwrap();
        Self { _gate: None, setup: Some(setup), file }
    }

    /// Where the text stands in the file, as problems have it.
    fn place(&self, text: &str) -> String {
        let file = fs::read_to_string(&self.file).unwrap();
        let at = file.find(text).unwrap_or_else(|| panic!("{text:?}"));
        let line = file[..at].matches('\n').count() + 1;
        let column = at - file[..at].rfind('\n').map_or(0, |end| end + 1) + 1;
        format!("line {line}, column {column}: ")
    }

    fn folder(&self) -> &Path {
        self.setup.as_ref().unwrap().folder()
    }

    fn command(&self, what: &str) -> Command {
        let mut command = sealgate(&[what, "-c"]);
        command.arg(&self.file).env("UPSTREAM", "http://127.0.0.1:9");
        command
    }

    /// Validates and runs it; both must end in the same way. What was said by each, with the file's name left out.
    fn refused(&self, with: i32) -> String {
        let name = format!("{}: ", self.file.display());
        let (code, said) = ended(&mut self.command("validate"));
        assert_eq!(code, Some(with), "{said}");
        let (run, told) = ended(&mut self.command("run"));
        assert_eq!(run, Some(with), "{told}");
        let said = said.replace(&name, "");
        assert!(said.starts_with(&told.replace(&name, "")), "validate and run say the same: {said} {told}");
        assert!(!said.contains(KEK) && !said.contains("PRIVATE KEY"), "{said}");
        for file in ["server.key", "kek"] {
            for line in fs::read_to_string(self.folder().join(file)).unwrap_or_default().lines() {
                assert!(!said.contains(line) || line.is_empty(), "{said}");
            }
        }
        said
    }
}

#[test]
fn a_good_config_is_good_under_both_names() {
    let case = Case::new(&[]);
    for name in ["validate", "check"] {
        let (code, said) = ended(&mut case.command(name));
        assert_eq!((code, said), (Some(0), format!("{}: good, 3 routes to 1 upstreams\n", case.file.display())));
    }
    // The environment names the file as well as the option.
    let (code, _) =
        ended(sealgate(&["validate"]).env("SEALGATE_CONFIG", &case.file).env("UPSTREAM", "http://127.0.0.1:9"));
    assert_eq!(code, Some(0));
    assert!(!case.folder().join("audit").exists(), "it was only looked at");
}

#[test]
fn every_mistake_of_a_file_is_told_with_its_place() {
    let case = Case::new(&[
        ("listen: 127.0.0.1:0", "listen: everywhere"),
        ("key_file: server.key", "key_file: nothing.key"),
        ("spiffe://test.example/desk", "https://test.example/desk"),
        ("roles: [dba]", "roles: [dab]"),
        ("{ssn: mask, name: plain, note: mask}", "{ssn: mask, nome: plain}"),
        ("path: \"$.note\", class: note", "path: \"$.note..\", class: notes"),
        ("path: /Patient/{id}", "path: /Patient/{id"),
        ("    upstream: app\n    protect: none", "    upstream: ap"),
        ("record: id", "record: no"),
        ("app: {url: \"${UPSTREAM}\"}", "app: {url: \"${UPSTREAM}/path\"}"),
        ("keyring:\n", "keyring:\n  aws_kms: {key_arn: \"alias/x\"}\n"),
    ]);
    let place = |text| case.place(text);
    let said = case.refused(78);
    let wanted = [
        (place("everywhere"), "server.listen: wanted address and port"),
        (place("nothing.key"), "server.tls.key_file: file "),
        (place("https://test.example/desk"), "wanted a SPIFFE id"),
        (place("dab]"), "unknown role \"dab\""),
        (place("plain}}"), "unknown class \"nome\""),
        (place("notes}"), "unknown class \"notes\""),
        (place("/Patient/{id\n"), "path: segment \"{id\""),
        (place("ap\n"), "unknown upstream \"ap\""),
        (place("\"${UPSTREAM}/path\""), "wanted http://host:port"),
    ];
    for (place, what) in wanted {
        assert!(
            said.lines().any(|line| line.starts_with(&place) && line.contains(what)),
            "{place}{what} is not in\n{said}"
        );
    }
    // One place inside a field path.
    assert!(said.lines().any(|line| line.contains("field path \"$.note..\"")), "{said}");
    assert!(said.contains("keyring: wanted exactly one of local and aws_kms"), "{said}");
    let problems = said.lines().filter(|line| line.starts_with("line ")).count();
    assert!(problems >= 11, "{said}");
    assert!(said.ends_with(&format!("{problems} problems\n")), "{said}");
    let order: Vec<usize> =
        said.lines().filter_map(|line| line.strip_prefix("line ")?.split(',').next()?.parse().ok()).collect();
    assert!(order.is_sorted(), "in the order of the file: {said}");
}

#[test]
fn mistakes_of_form_are_all_told() {
    let case = Case::new(&[
        ("scope: test", "scop: test"),
        ("workers: 2", "workers: many"),
        ("limits: {}", "limits: {connections_max: 0, header_bytes_max: 10}"),
        ("log: {level: debug}", "log: {level: loud}"),
        ("class: ssn}\n      - {path: \"$.name[*].family\"", "klass: ssn}\n      - {path: \"$.name[*].family\""),
        ("protect: none", "protect: some"),
        ("read_only: true", "read_only: yes"),
    ]);
    let said = case.refused(78);
    for (text, what) in [
        ("scop:", "scop: unknown key"),
        ("scop:", "missing key scope"),
        ("many", "server.workers: expected an integer"),
        ("0, header_bytes", "server.limits.connections_max: expected at least 1"),
        ("10}", "server.limits.header_bytes_max: expected at least 8192"),
        ("loud", "log.level: expected one of"),
        ("yes", "roles.support.read_only: expected true or false"),
        ("klass", "routes[0].rules[0].klass: unknown key"),
        ("klass", "routes[1].rules[0].klass: unknown key"),
        ("some\n", "routes[2].protect: expected"),
    ] {
        let place = case.place(text);
        assert!(said.lines().any(|told| told.starts_with(&place) && told.contains(what)), "{place}{what}:\n{said}");
    }
}

#[test]
fn mistakes_of_form_do_not_hide_those_of_sense() {
    let case = Case::new(&[
        ("workers: 2", "workers: many"),
        ("key_file: server.key", "key_file: nothing.key"),
        ("ssn: {mask: {keep_last: 4}}", "ssn: {mask: {keep_end: 4}}"),
        ("roles: [dba]", "roles: [dab]"),
        ("protect: none", "protect: none\n    host: localhost:8443"),
    ]);
    let said = case.refused(78);
    for (text, what) in [
        ("many", "server.workers: expected an integer"),
        ("nothing.key", "server.tls.key_file: file "),
        ("keep_end", "classes.ssn.mask.keep_end: unknown key"),
        ("dab]", "unknown role \"dab\""),
        ("localhost:8443", "routes[2].host: wanted a host name or an IP address"),
    ] {
        let place = case.place(text);
        assert!(said.lines().any(|told| told.starts_with(&place) && told.contains(what)), "{place}{what}:\n{said}");
    }
    assert!(said.ends_with("5 problems\n"), "and nothing that follows from them: {said}");
}

#[test]
fn a_file_that_is_not_there_or_no_yaml_is_a_wrong_config() {
    let case = Case::new(&[]);
    fs::write(&case.file, "scope: [\n").unwrap();
    assert!(case.refused(78).starts_with("line "));
    fs::write(&case.file, "").unwrap();
    case.refused(78);
    fs::write(&case.file, [0xff, 0xfe]).unwrap();
    case.refused(78);
    fs::remove_file(&case.file).unwrap();
    assert!(case.refused(78).contains("No such file"));
}

#[test]
fn a_secret_that_others_can_read_is_refused() {
    for (file, mode) in [
        ("server.key", 0o644),
        ("server.key", 0o640),
        ("server.key", 0o620),
        ("server.key", 0o601),
        ("kek", 0o604),
        ("kek", 0o640),
        ("kek", 0o666),
    ] {
        let case = Case::new(&[]);
        let path = case.folder().join(file);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        // A group may read what is root's: so secrets are handed to processes that are not root.
        if mode == 0o640 && fs::metadata(&path).unwrap().uid() == 0 {
            assert_eq!(ended(&mut case.command("validate")).0, Some(0));
            continue;
        }
        let said = case.refused(78);
        let wanted = format!("readable by group or others (mode {mode:o}); run: chmod 600 {file}");
        assert!(said.contains(&wanted), "{said}");
        assert!(said.contains("1 problem\n"), "{said}");
    }
}

#[test]
fn a_secret_of_the_wrong_form_is_refused_without_a_word_of_it() {
    let secret = "c2VjcmV0IHNlY3JldCBzZWNyZXQ";
    for (file, content) in [
        ("kek", secret.to_owned()),
        ("kek", format!("{KEK}{KEK}")),
        ("kek", String::new()),
        ("server.key", format!("-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----\n")),
        ("server.key", secret.to_owned()),
        ("server.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned()),
        ("ca.pem", String::new()),
    ] {
        let case = Case::new(&[]);
        fs::write(case.folder().join(file), &content).unwrap();
        let said = case.refused(78);
        assert!(!said.contains(secret), "{said}");
        assert!(said.contains("1 problem\n"), "{file} {content:?}: {said}");
    }
    // The key of another certificate.
    let case = Case::new(&[]);
    let pki = case.setup.as_ref().unwrap().pki();
    pki.client("another").write(case.folder(), "another");
    fs::rename(case.folder().join("another.key"), case.folder().join("server.key")).unwrap();
    assert!(case.refused(78).contains("server.tls"));
}

#[test]
fn what_a_variable_holds_is_never_told() {
    let case = Case::new(&[
        ("workers: 2", "workers: ${SECRET}"),
        ("log: {level: debug}", "log: {level: \"${SECRET}\"}"),
        ("spiffe://test.example/desk", "\"${SECRET}\""),
        ("roles: [dba]", "roles: [\"${SECRET}\"]"),
        ("class: note}", "class: \"${SECRET}\"}"),
        ("listen: 127.0.0.1:0", "listen: \"${SECRET}\""),
    ]);
    let (code, said) = ended(case.command("validate").env("SECRET", "hunter2"));
    assert_eq!(code, Some(78));
    assert!(!said.contains("hunter2"), "{said}");
    let (code, said) = ended(&mut case.command("validate"));
    assert_eq!(code, Some(78));
    assert!(said.contains("SECRET"), "names the variable that is not set: {said}");
}

/// The same for the checks that come once the form is good.
#[test]
fn what_a_variable_holds_is_never_told_by_later_checks() {
    let case = Case::new(&[
        ("spiffe://test.example/desk", "\"${SECRET}\""),
        ("roles: [dba]", "roles: [\"${SECRET}\"]"),
        ("record: id", "record: ${SECRET}"),
        ("path: \"$.note\", class: note", "path: \"${SECRET}\", class: \"${SECRET}\""),
        ("upstream: app\n    protect: none", "upstream: \"${SECRET}\"\n    protect: none"),
    ]);
    let (code, said) = ended(case.command("validate").env("SECRET", "hunter2"));
    assert_eq!(code, Some(78));
    assert!(!said.contains("hunter2"), "{said}");
}

const KMS: &str =
    "aws_kms: {key_arn: \"arn:aws:kms:us-east-1:123456789012:key/1\", endpoint_url: \"http://127.0.0.1:1\"}";

#[test]
fn a_kms_endpoint_without_tls_needs_dev_mode() {
    let case = Case::new(&[("local: {key_file: kek}", KMS)]);
    let said = case.refused(78);
    assert!(
        said.contains("keyring.aws_kms.endpoint_url: an http:// endpoint shows data keys to the network"),
        "{said}"
    );
    assert!(said.contains("1 problem\n"), "{said}");
}

#[test]
fn without_its_kms_the_gate_does_not_start() {
    let case = Case::new(&[("local: {key_file: kek}", KMS), ("scope: test", "scope: test\ndev_mode: true")]);
    let with = |command: &mut Command| {
        ended(
            command
                .env("AWS_ACCESS_KEY_ID", "AKIDTEST")
                .env("AWS_SECRET_ACCESS_KEY", "hunter2-hunter2")
                .env("AWS_EC2_METADATA_DISABLED", "true"),
        )
    };
    assert_eq!(with(&mut case.command("validate")).0, Some(0), "validate connects to nothing");
    let (code, said) = with(&mut case.command("run"));
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains("without a data key nothing can be sealed"), "{said}");
    assert!(said.contains("dev_mode is on"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    assert!(!case.folder().join("audit").exists(), "nothing was begun");
}

#[test]
fn without_its_journal_the_gate_does_not_start() {
    let case = Case::new(&[]);
    fs::write(case.folder().join("audit"), "a file").unwrap();
    let (code, said) = ended(&mut case.command("run"));
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains("audit") && said.contains("not started"), "{said}");

    // A journal belongs to one gate.
    let upstream = Upstream::start();
    let gate = Setup::before(upstream.addr()).start();
    let mut second = sealgate(&["run", "-c"]);
    second.arg(gate.folder().join("gate.yaml")).env("UPSTREAM", format!("http://{}", upstream.addr()));
    let (code, said) = ended(&mut second);
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains("audit"), "{said}");
    assert_eq!(gate.admin("/readyz").0, 200, "the first one goes on");
    assert_eq!(verify(&gate.journal(), &[]).0, Some(0));

    // One that is not whole is not gone on with.
    let fallen = gate.crash();
    change(&fallen.journal(), |lines| lines[0] = lines[0].replace("GateStarted", "GateStoppet"));
    let mut again = fallen.again(upstream.addr()).spawn();
    assert_eq!(again.wait().code(), Some(69), "{}", again.log());
}

#[test]
fn a_port_that_is_taken_is_said() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (from, what) in
        [("listen: 127.0.0.1:0\n  workers", "server.listen"), ("admin: {listen: \"127.0.0.1:0\"}", "admin.listen")]
    {
        let case = Case::new(&[(from, &from.replace("127.0.0.1:0", &address))]);
        let (code, said) = ended(&mut case.command("run"));
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(&format!("{what} {address}: cannot listen: ")), "{said}");
    }
}

// The journal.

/// Rewrites the journal's only file, line by line.
fn change(journal: &Path, how: impl FnOnce(&mut Vec<String>)) {
    let file = journal.join("audit-00000000000000000001.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    how(&mut lines);
    fs::write(&file, lines.join("\n") + "\n").unwrap();
}

#[tokio::test]
async fn verify_names_the_record_that_is_not_as_it_was() {
    let upstream = Upstream::start();
    let mut gate = Setup::before(upstream.addr()).start();
    for _ in 0..5 {
        gate.as_client("clinician").post("/Patient", "{\"ssn\":\"999-12-3456\"}").await;
    }
    gate.signal("TERM");
    assert_eq!(end(&mut gate).await, Some(0));
    let count = gate.events().len();
    assert_eq!(count, 12, "a start, five times intended and answered, a stop");
    let closed: Value = serde_json::from_str(&gate.wait_for_log("audit journal closed")).unwrap();
    let head = closed["head"].as_str().unwrap();
    let whole = fs::read(gate.journal().join("audit-00000000000000000001.jsonl")).unwrap();
    assert_eq!(verify(&gate.journal(), &["--head", head]).0, Some(0));

    type Change = fn(&mut Vec<String>);
    let cases: [(&str, Change, &str); 10] = [
        ("a byte", |lines| lines[4] = lines[4].replacen("201", "200", 1), "line 5: record 5: changed"),
        (
            "a space",
            |lines| lines[4] = lines[4].replacen("\"event\":{", "\"event\": {", 1),
            "line 5: record 5: changed",
        ),
        (
            "its hash",
            |lines| lines[4] = lines[4].replacen("\"hash\":\"", "\"hash\":\"0", 1),
            "line 5: record 5: changed",
        ),
        ("a line removed", |lines| drop(lines.remove(4)), "line 5: record 5: removed: next is record 6"),
        ("two removed", |lines| drop(lines.drain(4..6)), "line 5: record 5: removed: next is record 7"),
        ("two swapped", |lines| lines.swap(4, 5), "line 5: record 5: reordered"),
        ("a line repeated", |lines| lines.insert(5, lines[4].clone()), "line 6: record 6: repeated: next is record 5"),
        ("the first removed", |lines| drop(lines.remove(0)), "beginning"),
        ("a line of nothing", |lines| lines.insert(3, String::new()), "line 4: record 4: changed"),
        (
            "a forged one at the end",
            |lines| lines.push(lines[11].replace("\"seq\":12", "\"seq\":13")),
            "line 13: record 13",
        ),
    ];
    let file = gate.journal().join("audit-00000000000000000001.jsonl");
    for (what, how, wanted) in cases {
        change(&gate.journal(), how);
        let (code, said) = verify(&gate.journal(), &[]);
        assert_eq!(code, Some(1), "{what}: {said}");
        assert!(said.contains(wanted), "{what}: wanted {wanted:?}: {said}");
        assert!(!said.contains("clinician") && !said.contains("exchange"), "nothing of the record itself: {said}");
        fs::write(&file, &whole).unwrap();
    }

    // The end can be cut off without a trace in the chain, but not without one against a head kept elsewhere.
    change(&gate.journal(), |lines| drop(lines.pop()));
    assert_eq!(verify(&gate.journal(), &[]).0, Some(0));
    let (code, said) = verify(&gate.journal(), &["--head", head]);
    assert_eq!(code, Some(1));
    assert!(said.contains("tail is missing: wanted head 12:"), "{said}");
    fs::write(&file, &whole).unwrap();
    let other = head.replace(['a', 'b'], "c");
    let (code, said) = verify(&gate.journal(), &["--head", &other]);
    assert!(code == Some(1) && said.contains("record 12: head differs"), "{said}");

    // Nothing at all is no good journal when a head says that there was one.
    fs::remove_file(&file).unwrap();
    let (code, said) = verify(&gate.journal(), &["--head", head]);
    assert!(code == Some(1) && said.contains("tail is missing"), "{said}");
    let (code, said) = verify(&gate.folder().join("nowhere"), &[]);
    assert!(code == Some(1) && said.contains("cannot be read"), "{said}");
}
