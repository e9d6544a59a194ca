//! What the journal holds when the process is killed, when the disk is full, and when somebody looks at the right moment.

use crate::fixture::client::Connection;
use crate::fixture::upstream::Received;
use crate::fixture::{Client, Gate, Setup, Upstream};
use http::{HeaderMap, Method};
use http_body_util::BodyExt;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

const PATIENT: &str = r#"{"resourceType":"Patient","ssn":"999-12-3456","name":[{"family":"Chalmers"}]}"#;
const JSON: (&str, &str) = ("content-type", "application/json");
const CLIENTS: usize = 6;
const ROUNDS: u64 = 10;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// `sealgate audit verify`, the program itself.
fn verify(journal: &Path) -> Output {
    let program = env!("CARGO_BIN_EXE_sealgate");
    Command::new(program).args(["audit", "verify"]).arg(journal).output().unwrap()
}

fn expect_whole(journal: &Path) {
    let output = verify(journal);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("the chain is whole"), "{said}");
}

fn request_id(headers: &HeaderMap) -> String {
    headers["x-request-id"].to_str().unwrap().to_owned()
}

/// The kinds of event that there are of each request.
fn recorded(gate: &Gate) -> BTreeMap<String, BTreeSet<String>> {
    let mut recorded = BTreeMap::<String, BTreeSet<String>>::new();
    for event in gate.events() {
        if let (Some(id), Some(kind)) = (event["request_id"].as_str(), event["event"].as_str()) {
            recorded.entry(id.to_owned()).or_default().insert(kind.to_owned());
        }
    }
    recorded
}

/// Whether the files of a journal hold an event of that kind and request, at this very moment.
fn stands(journal: &Path, kind: &str, request_id: &str) -> bool {
    let files = std::fs::read_dir(journal).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let (kind, id) = (format!("\"event\":\"{kind}\""), format!("\"request_id\":\"{request_id}\""));
    files.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).any(|line| {
        // A line that is being written has no end yet.
        line.ends_with('}') && line.contains(&kind) && line.contains(&id)
    })
}

/// Writes and reads by turns on one connection until it breaks; the ids of all that were answered.
async fn work(client: Client, answered: Arc<Mutex<Vec<String>>>) {
    let Ok(mut connection) = client.connect().await else { return };
    for turn in 0.. {
        let id = Uuid::now_v7().to_string();
        let headers = [JSON, ("x-request-id", id.as_str())];
        let sent = if turn % 2 == 0 {
            connection.send(Method::POST, "/Patient", &headers, PATIENT).await
        } else {
            connection.send(Method::GET, "/Patient/1", &headers, "").await
        };
        // The head is the answer: what it stands for is on record before its first byte.
        let Ok(response) = sent else { return };
        assert!(response.status().is_success(), "{}", response.status());
        answered.lock().unwrap().push(id);
        if response.into_body().collect().await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn nothing_that_was_answered_is_missing_after_ten_crashes() {
    let upstream = Upstream::start();
    // Short segments, so that some crashes come while a new one is begun.
    let short = "audit: {directory: audit, segment_bytes_max: 65536}";
    let mut setup = Setup::before(upstream.addr()).replace("audit: {directory: audit}", short);
    let (answered, mut per_round) = (Arc::<Mutex<Vec<String>>>::default(), Vec::new());
    for round in 0..ROUNDS {
        let gate = setup.start();
        let before = answered.lock().unwrap().len();
        if round == 0 {
            gate.as_client("clinician").put("/Patient/1", PATIENT).await;
        }
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            clients.spawn(work(gate.as_client("clinician"), Arc::clone(&answered)));
        }
        sleep(Duration::from_millis(250 + 37 * round)).await;
        let fallen = gate.crash();
        clients.join_all().await;
        per_round.push(answered.lock().unwrap().len() - before);
        setup = fallen.again(upstream.addr());
    }
    let gate = setup.start();
    expect_whole(&gate.journal());
    assert!(per_round.iter().all(|count| *count > CLIENTS), "each time there was load: {per_round:?}");
    let (recorded, nothing) = (recorded(&gate), BTreeSet::new());
    let of = |id: &str| recorded.get(id).unwrap_or(&nothing);
    for id in answered.lock().unwrap().iter() {
        let kinds = of(id);
        assert!(kinds.contains("ExchangeAnswered"), "{id} was answered, and there is {kinds:?}");
    }
    let mut writes = 0;
    for received in upstream.received() {
        let (id, write) = (request_id(&received.headers), received.method != Method::GET);
        assert!(!write || of(&id).contains("ExchangeIntended"), "{id} was carried out, and there is {:?}", of(&id));
        writes += usize::from(write);
    }
    assert!(writes > 100, "{writes}");
    assert_eq!(gate.events_named("GateStarted").len() as u64, ROUNDS + 1);
}

#[tokio::test]
async fn a_torn_record_is_set_aside_and_said_to_be() {
    let upstream = Upstream::start();
    let gate = Setup::before(upstream.addr()).start();
    gate.as_client("clinician").post("/Patient", PATIENT).await;
    let events = gate.events().len();
    let fallen = gate.crash();
    let segment = std::fs::read_dir(fallen.journal()).unwrap().map(|file| file.unwrap().path());
    let segment = segment.filter(|path| path.metadata().unwrap().len() > 0).max().unwrap();
    let whole = std::fs::read_to_string(&segment).unwrap();
    let last = whole.lines().last().unwrap();
    let torn = last.get(..last.len() / 2).unwrap();
    std::fs::write(&segment, format!("{whole}{torn}")).unwrap();
    assert_eq!(verify(&fallen.journal()).status.code(), Some(1), "a verifier does not pass over it");

    let gate = fallen.again(upstream.addr()).start();
    let recovered = gate.events_named("JournalRecovered");
    assert_eq!(recovered.len(), 1);
    assert_eq!(recovered[0]["torn_bytes"], torn.len());
    assert_eq!(gate.events().len(), events + 2);
    expect_whole(&gate.journal());
    assert!(gate.journal_bytes().windows(torn.len()).filter(|part| *part == torn.as_bytes()).count() >= 2, "kept");
}

#[tokio::test]
async fn a_journal_has_one_writer() {
    let upstream = Upstream::start();
    let first = Setup::before(upstream.addr()).start();
    let journal = first.journal();
    let directory = format!("audit: {{directory: '{}'}}", journal.display());
    let mut second = Setup::before(upstream.addr()).replace("audit: {directory: audit}", &directory).spawn();
    assert_eq!(second.wait().code(), Some(69), "{}", second.log());
    assert!(second.log().contains("lock is held by another process"), "{}", second.log());
    assert_eq!(first.as_client("clinician").post("/Patient", PATIENT).await.status, 201);
    expect_whole(&journal);
    assert_eq!(first.events_named("GateStarted").len(), 1);
}

#[tokio::test]
async fn the_intent_is_on_disk_when_the_upstream_hears_of_it() {
    let upstream = Upstream::start();
    let gate = Setup::before(upstream.addr()).start();
    let (journal, seen) = (gate.journal(), Arc::<Mutex<Vec<bool>>>::default());
    let looks = Arc::clone(&seen);
    upstream.script(move |received| {
        let stands = stands(&journal, "ExchangeIntended", &request_id(&received.headers));
        looks.lock().unwrap().push(stands);
        None
    });
    let clinician = gate.as_client("clinician");
    let mut connections = [clinician.connect().await.unwrap(), clinician.over_http2().connect().await.unwrap()];
    for connection in &mut connections {
        for (method, path) in [
            (Method::POST, "/Patient"),
            (Method::PUT, "/Patient/1"),
            (Method::DELETE, "/Patient/1"),
            (Method::POST, "/open/thing"),
        ] {
            let body = if method == Method::DELETE { "" } else { PATIENT };
            let reply = connection.call(method, path, &[JSON], body).await.unwrap();
            assert!(reply.status.is_success(), "{}", reply.text());
        }
    }
    assert_eq!(*seen.lock().unwrap(), [true; 8]);
}

#[tokio::test]
async fn the_event_is_on_disk_when_the_client_hears_of_it() {
    let upstream = Upstream::start();
    let gate = Setup::before(upstream.addr()).start();
    upstream.keep("/open/page", "hello");
    let clinician = gate.as_client("clinician");
    let mut connections = [clinician.connect().await.unwrap(), clinician.over_http2().connect().await.unwrap()];
    let calls = [
        (Method::POST, "/Patient", PATIENT, "ExchangeAnswered"),
        (Method::GET, "/Patient/1", "", "ExchangeAnswered"),
        (Method::HEAD, "/Patient/1", "", "ExchangeAnswered"),
        (Method::GET, "/open/page", "", "ExchangeAnswered"),
        (Method::GET, "/nowhere", "", "ExchangeRefused"),
        (Method::POST, "/Patient", "{", "ExchangeRefused"),
    ];
    for connection in &mut connections {
        for (method, path, body, kind) in &calls {
            let head = head_of(connection, method, path, body).await;
            assert!(stands(&gate.journal(), kind, &head), "{method} {path}");
        }
    }
}

/// Calls, and gives the request id as soon as the head of the response is there; then reads the rest.
async fn head_of(connection: &mut Connection, method: &Method, path: &str, body: &'static str) -> String {
    let response = connection.send(method.clone(), path, &[JSON], body).await.unwrap();
    let id = request_id(response.headers());
    response.into_body().collect().await.unwrap();
    id
}

/// A gate whose files can be kept from growing, as they cannot on a full disk. A signal goes with it that would end the
/// process; it is ignored.
fn confined(upstream: &Upstream, soft_limit_kib: &str) -> Gate {
    let line = format!("trap '' XFSZ; ulimit -S -f {soft_limit_kib}");
    Setup::before(upstream.addr()).shell(&line).start()
}

/// No file of the process gets longer than that, until told otherwise.
fn limit_files(pid: u32, bytes: &str) {
    let limit = format!("--fsize={bytes}:");
    let done = Command::new("prlimit").args(["--pid", &pid.to_string(), &limit]).output().unwrap();
    assert!(done.status.success(), "{done:?}");
}

/// How long the journal's one file is now.
fn length(journal: &Path) -> u64 {
    let files = std::fs::read_dir(journal).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).max().unwrap()
}

/// Waits, without a request, until the gate is ready again.
async fn until_ready(gate: &Gate) {
    let start = Instant::now();
    while gate.admin("/readyz").0 != 200 {
        assert!(start.elapsed() < PATIENCE, "it does not free itself");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Nobody is shown anything, nobody does anything, and it says so.
async fn expect_refusal_of_everything(gate: &Gate, upstream: &Upstream) {
    let clinician = gate.as_client("clinician");
    let before = upstream.received().len();
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let path = if method == Method::POST { "/Patient" } else { "/Patient/1" };
        let body = if method == Method::DELETE { "" } else { PATIENT };
        let reply = clinician.call(method, path, &[JSON], body).await;
        reply.expect_problem(503, "audit_unavailable");
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
    assert_eq!(upstream.received().len(), before, "no write goes up");
    for (who, path) in [("clinician", "/Patient/1"), ("support", "/Patient/1"), ("clinician", "/open/page")] {
        let reply = gate.as_client(who).get(path).await;
        reply.expect_problem(503, "audit_unavailable");
        assert_eq!(reply.header("retry-after"), Some("1"));
        let text = reply.text();
        assert!(!["999-12-3456", "Chalmers", "sgv1.", "hello"].iter().any(|value| text.contains(value)), "{text}");
    }
    let unknown = clinician.get("/nowhere").await;
    unknown.expect_problem(503, "audit_unavailable");
    assert_eq!(gate.admin("/readyz"), (503, "audit journal not writable\n".to_owned()));
    assert_eq!(gate.admin("/livez").0, 200);
}

/// The sum of what the journal says that it missed.
fn missed(gate: &Gate) -> (u64, u64) {
    let events = gate.events_named("RecordsMissed");
    let sum = |name: &str| events.iter().map(|event| event[name].as_u64().unwrap()).sum();
    (sum("refused"), sum("given_up"))
}

#[tokio::test]
async fn a_full_disk_stops_everything_and_room_starts_it_again() {
    let upstream = Upstream::start();
    upstream.keep("/open/page", "hello");
    let gate = confined(&upstream, "12");
    let clinician = gate.as_client("clinician");
    assert_eq!(clinician.put("/Patient/1", PATIENT).await.status, 200);
    let mut served = 0;
    let refused = loop {
        let reply = clinician.post("/Patient", PATIENT).await;
        if reply.status != 201 {
            break reply;
        }
        served += 1;
        assert!(served < 100, "12 KiB hold no more than a few exchanges");
    };
    assert!(served >= 3, "{served}: {}", refused.text());
    // The last one may have been carried out; from now on nothing is.
    let done = refused.status == 500;
    refused.expect_problem(refused.status.as_u16(), if done { "done_but_unrecorded" } else { "audit_unavailable" });
    // A short record may still find room: none does from here on.
    limit_files(gate.pid(), &length(&gate.journal()).to_string());
    expect_refusal_of_everything(&gate, &upstream).await;

    limit_files(gate.pid(), "unlimited");
    until_ready(&gate).await;
    assert_eq!(clinician.post("/Patient", PATIENT).await.status, 201);
    assert_eq!(clinician.get("/Patient/1").await.text(), PATIENT);
    expect_whole(&gate.journal());
    let (refused, given_up) = missed(&gate);
    assert!(refused >= 14, "{refused}: of those after the first, and of that");
    assert_eq!(given_up, 0);
}

/// Whether nothing at all fits, or a part of a record does.
#[tokio::test]
async fn what_a_full_disk_did_not_take_is_counted_to_the_last_record() {
    for room in [0, 1, 100, 450] {
        let upstream = Upstream::start();
        upstream.keep("/open/page", "hello");
        let gate = confined(&upstream, "unlimited");
        assert_eq!(gate.as_client("clinician").put("/Patient/1", PATIENT).await.status, 200);
        let (events, bytes) = (gate.events().len(), gate.journal_bytes());
        limit_files(gate.pid(), &(length(&gate.journal()) + room).to_string());
        expect_refusal_of_everything(&gate, &upstream).await;
        assert!(gate.journal_bytes().starts_with(&bytes), "what was written stays");
        limit_files(gate.pid(), "unlimited");
        until_ready(&gate).await;
        // Three writes and three reads were refused, and the record of each refusal; and that of the unknown route.
        assert_eq!(missed(&gate), (13, 0), "{room}");
        let new = gate.events().split_off(events);
        assert!(new.iter().all(|event| event["event"] == "RecordsMissed"), "{room}: {new:#?}");
        expect_whole(&gate.journal());
        assert!(gate.log().contains("audit journal is written again"));
    }
}

/// Lets the disk fail when the upstream has a request.
fn fail_in_the_middle(upstream: &Upstream, gate: &Gate) {
    let (pid, journal) = (gate.pid(), gate.journal());
    upstream.script(move |_: &Received| {
        limit_files(pid, &length(&journal).to_string());
        None
    });
}

#[tokio::test]
async fn a_write_that_was_carried_out_but_not_recorded_says_so() {
    let upstream = Upstream::start();
    let gate = confined(&upstream, "unlimited");
    let clinician = gate.as_client("clinician");
    let mut connection = clinician.connect().await.unwrap();
    fail_in_the_middle(&upstream, &gate);
    let id = Uuid::now_v7().to_string();
    let headers = [JSON, ("x-request-id", id.as_str())];
    let reply = connection.call(Method::POST, "/Patient", &headers, PATIENT).await.unwrap();
    let problem = reply.expect_problem(500, "done_but_unrecorded");
    assert_eq!(reply.header("retry-after"), None, "it must not be tried again");
    assert!(!reply.text().contains("3456"), "{problem}");
    assert_eq!(reply.header("x-request-id"), Some(id.as_str()));
    assert!(upstream.kept("/Patient/1").contains("sgv1."), "it was carried out");
    assert_eq!(gate.admin("/readyz").0, 503);
    assert_eq!(recorded(&gate)[&id], BTreeSet::from(["ExchangeIntended".to_owned()]));

    upstream.script(|_| None);
    limit_files(gate.pid(), "unlimited");
    until_ready(&gate).await;
    assert_eq!(missed(&gate), (2, 0), "its answer and its refusal");
    assert_eq!(clinician.get("/Patient/1").await.text(), PATIENT);
    expect_whole(&gate.journal());
}

#[tokio::test]
async fn a_read_that_cannot_be_recorded_shows_nothing_and_may_be_tried_again() {
    let upstream = Upstream::start();
    let gate = confined(&upstream, "unlimited");
    let clinician = gate.as_client("clinician");
    assert_eq!(clinician.post("/Patient", PATIENT).await.status, 201);
    fail_in_the_middle(&upstream, &gate);
    let reply = clinician.get("/Patient/1").await;
    reply.expect_problem(503, "audit_unavailable");
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert!(!reply.text().contains("3456") && !reply.text().contains("sgv1."), "{}", reply.text());
    upstream.script(|_| None);
    limit_files(gate.pid(), "unlimited");
    until_ready(&gate).await;
    assert_eq!(clinician.get("/Patient/1").await.text(), PATIENT);
    expect_whole(&gate.journal());
}

/// Such as what is said of failed handshakes, once a second.
#[tokio::test]
async fn what_nobody_waits_for_is_kept_until_there_is_room() {
    let upstream = Upstream::start();
    let gate = confined(&upstream, "unlimited");
    limit_files(gate.pid(), &length(&gate.journal()).to_string());
    for _ in 0..3 {
        let refused = gate.with(None).try_call(Method::GET, "/Patient/1", &[], "").await;
        assert!(refused.is_err());
    }
    gate.wait_for_log("audit journal cannot be written");
    assert_eq!(gate.admin("/readyz").0, 503);
    limit_files(gate.pid(), "unlimited");
    until_ready(&gate).await;
    let sum =
        || -> u64 { gate.events_named("HandshakesRefused").iter().map(|event| event["count"].as_u64().unwrap()).sum() };
    let start = Instant::now();
    while sum() < 3 {
        assert!(start.elapsed() < PATIENCE, "{:?}", gate.events());
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((sum(), missed(&gate)), (3, (0, 0)));
    expect_whole(&gate.journal());
}

#[tokio::test]
async fn a_gate_that_ends_on_a_full_disk_says_that_records_are_lost() {
    let upstream = Upstream::start();
    let mut gate = confined(&upstream, "unlimited");
    let events = gate.events();
    limit_files(gate.pid(), &length(&gate.journal()).to_string());
    gate.as_client("clinician").get("/Patient/1").await.expect_problem(503, "audit_unavailable");
    gate.signal("TERM");
    assert_eq!(gate.wait().code(), Some(1), "{}", gate.log());
    assert!(gate.log().contains("audit records were lost while draining"), "{}", gate.log());
    assert_eq!(gate.events(), events);
    expect_whole(&gate.journal());
}

/// A crash while the disk is full loses what was never acknowledged, and nothing else.
#[tokio::test]
async fn a_crash_on_a_full_disk_leaves_a_whole_chain() {
    let upstream = Upstream::start();
    let gate = confined(&upstream, "unlimited");
    let clinician = gate.as_client("clinician");
    assert_eq!(clinician.post("/Patient", PATIENT).await.status, 201);
    let events = gate.events();
    limit_files(gate.pid(), &(length(&gate.journal()) + 300).to_string());
    clinician.get("/Patient/1").await.expect_problem(503, "audit_unavailable");
    let gate = gate.crash().again(upstream.addr()).start();
    assert!(gate.events().starts_with(&events));
    assert_eq!(gate.as_client("clinician").get("/Patient/1").await.text(), PATIENT);
    expect_whole(&gate.journal());
}
