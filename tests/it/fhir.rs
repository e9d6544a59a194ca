//! A real FHIR server behind the gate, and every sample patient through both.

mod conditions;

use crate::fixture::fhir_server::FhirServer;
use crate::fixture::leak::{find_leaks, without_certificate_hashes};
use crate::fixture::service::request;
use crate::fixture::tee::Tee;
use crate::fixture::{Client, Gate, Reply, Setup};
use http::Method;
use sealgate::seal::Token;
use serde_json::{Value, json};
use serde_json_path::JsonPath;

const CONFIG: &str = include_str!("fixture/fhir.yaml");
const SINGLES: [(&str, &str); 5] = [
    ("patient-example.json", include_str!("../data/fhir/patient-example.json")),
    ("Patient-f001.json", include_str!("../data/fhir/Patient-f001.json")),
    ("Patient-glossy.json", include_str!("../data/fhir/Patient-glossy.json")),
    ("Patient-xcda.json", include_str!("../data/fhir/Patient-xcda.json")),
    ("us-core-patient-example.json", include_str!("../data/fhir/us-core-patient-example.json")),
];
const SYNTHEA: &str = include_str!("../data/fhir/synthea-patients.ndjson");

/// Sealed values that the server gets to see all the same, where no rule reads: Synthea (lines 7 to 19 of its file) made
/// one UUID the id of the resource, its own identifier and the medical record number. An id cannot be sealed, for it is
/// the server's key and stands in URLs; whoever uploads such records has to give them other ids first. Each of these
/// stands as the `id` of its own submission, and there alone.
const SEEN_AS_ID: [&str; 13] = [
    "129c6ac7-8d06-89de-ad63-0204a93e76c3",
    "3af3708d-41f1-cd80-f3dd-ec5ac76072bf",
    "63ee2253-bdd5-da55-2ad2-b4984d0ad700",
    "6a4160eb-a793-2f86-2302-378626f46cce",
    "79a66c97-6131-3213-f3c9-4606946ab056",
    "7bc002fa-dc52-17d6-1563-fd8901826f7d",
    "8e1a0a7c-e308-444b-075a-3c2b1f60f881",
    "a4a401d1-a46a-eb4a-8a38-760d5d79d6ec",
    "a5cb8ce9-cec6-6b23-0990-cbaf753578a4",
    "bb6a9034-2f23-2508-d29d-35efee156dc9",
    "ca15b832-01e4-41dd-6a52-97bd3e5510cb",
    "cbc86e51-9eca-3855-76ec-c058f72c5761",
    "fb7c882a-f897-e7c5-67e0-825e7fd55d15",
];

/// Not looked for inside tokens and server-made ids, where what is this short stands by chance; everywhere else it is.
const SHORT: usize = 8;

/// What the gate's own id would be is random, and would hold a short value by chance.
const REQUEST_ID: (&str, &str) = ("x-request-id", "5ea15ea1-5ea1-4ea1-8ea1-5ea15ea15ea1");

struct Clinic {
    server: FhirServer,
    tee: Tee,
    gate: Gate,
}

impl Clinic {
    fn open() -> Self {
        Self::with(CONFIG)
    }

    fn with(config: &str) -> Self {
        let server = FhirServer::start().unwrap();
        let tee = Tee::start(server.addr()).unwrap();
        let gate = Setup::before(tee.addr()).configured(config).start();
        Self { server, tee, gate }
    }

    async fn call(&self, who: &Client, method: Method, path: &str, body: &str) -> Reply {
        let headers = [("content-type", "application/fhir+json"), REQUEST_ID];
        who.call(method, path, &headers, body.to_owned()).await
    }

    /// Asks the server itself, behind the gate's back.
    fn ask_server(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let headers = [("Content-Type", "application/fhir+json")];
        let (status, reply) = request(self.server.addr(), method, path, &headers, body.as_bytes()).unwrap();
        (status, serde_json::from_slice(&reply).unwrap())
    }
}

/// Every sample, with where it is from.
fn patients() -> Vec<(String, &'static str)> {
    let synthea = SYNTHEA.lines().zip(1..).map(|(text, line)| (format!("synthea line {line}"), text));
    SINGLES.iter().map(|(name, text)| ((*name).to_owned(), *text)).chain(synthea).collect()
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The paths of the config's rules, read by a JSONPath library that the gate has nothing to do with.
fn rules() -> Vec<JsonPath> {
    let paths = CONFIG.split("path: \"$").skip(1).map(|rest| rest.split('"').next().unwrap());
    let rules: Vec<_> = paths.map(|path| JsonPath::parse(&format!("${path}")).unwrap()).collect();
    assert_eq!(rules.len(), 31);
    rules
}

/// The ruled values of a document with their places.
fn ruled(rules: &[JsonPath], document: &Value) -> Vec<(String, String)> {
    let nodes = rules.iter().flat_map(|rule| rule.query_located(document).into_iter());
    nodes.map(|node| (node.location().to_json_pointer(), node.node().as_str().unwrap().to_owned())).collect()
}

/// The document with every ruled value replaced.
fn blank(rules: &[JsonPath], mut document: Value) -> Value {
    for (place, _) in ruled(rules, &document) {
        *document.pointer_mut(&place).unwrap() = json!("?");
    }
    document
}

/// A resource without what the server sets: its id, and version and date in `meta`. Numbers are compared as numbers: the
/// server writes `0.0` as `0`.
fn own(resource: Value) -> Value {
    let mut resource = unversioned(resource);
    let fields = resource.as_object_mut().unwrap();
    fields.remove("id");
    fields.retain(|name, value| name != "meta" || *value != json!({}));
    as_floats(&mut resource);
    resource
}

/// A resource as an editor puts it back: what the server makes anew is random, and would hold a short value by chance.
fn unversioned(mut resource: Value) -> Value {
    if let Some(meta) = resource.get_mut("meta").and_then(Value::as_object_mut) {
        meta.remove("versionId");
        meta.remove("lastUpdated");
    }
    resource
}

fn as_floats(value: &mut Value) {
    match value {
        Value::Number(number) => *value = json!(number.as_f64()),
        Value::Array(items) => items.iter_mut().for_each(as_floats),
        Value::Object(fields) => fields.values_mut().for_each(as_floats),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// What the server received, without what is random by nature: tokens, each of which must be one, hashes of certificates,
/// and known ids.
fn without_noise(received: &[u8], noise: &[String]) -> Vec<u8> {
    let mut text = without_certificate_hashes(std::str::from_utf8(received).unwrap());
    for noise in noise {
        text = text.replace(noise, "|");
    }
    let mut parts = text.split("sgv1.");
    let mut kept = parts.next().unwrap().to_owned();
    for part in parts {
        let end = part.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_')).unwrap();
        let (token, rest) = part.split_at(end);
        Token::read(format!("sgv1.{token}").as_bytes()).unwrap();
        kept.push('|');
        kept.push_str(rest);
    }
    kept.into_bytes()
}

/// One line for each sealed value that stands in what the server received, and is not in [`SEEN_AS_ID`].
fn leaks(clinic: &Clinic, submitted: &[Value], noise: &[String]) -> Vec<String> {
    let rules = rules();
    let values = submitted.iter().flat_map(|document| ruled(&rules, document));
    let hidden: Vec<_> = values.filter(|(_, value)| !SEEN_AS_ID.contains(&value.as_str())).collect();
    let received = clinic.tee.received();
    let mut leaks = find_leaks(&without_noise(&received, noise), &hidden);
    let long: Vec<_> = hidden.into_iter().filter(|(_, value)| value.len() >= SHORT).collect();
    leaks.extend(find_leaks(&received, &long));
    leaks
}

/// The server received none of the values, in no spelling.
fn expect_nothing_leaked(clinic: &Clinic, submitted: &[Value], server_ids: &[String]) {
    let port = format!("localhost:{}", clinic.gate.address.port());
    let noise: Vec<String> = server_ids.iter().cloned().chain([port]).collect();
    assert_eq!(leaks(clinic, submitted, &noise), Vec::<String>::new());
    // Nor do they stand in what the gate writes itself.
    let gate = &clinic.gate;
    let written = [gate.log().into_bytes(), gate.journal_bytes(), gate.admin("/metrics").1.into_bytes()].concat();
    let values = submitted.iter().flat_map(|document| ruled(&rules(), document));
    let long: Vec<_> = values.filter(|(_, value)| value.len() >= SHORT).collect();
    assert!(long.len() > 150, "{}", long.len());
    assert_eq!(find_leaks(&written, &long), Vec::<String>::new());

    // Every entry of the list is needed, and says no more than it must.
    let rules = rules();
    let values: Vec<_> = submitted.iter().flat_map(|document| ruled(&rules, document)).collect();
    assert!(values.len() > 250, "{}", values.len());
    let text = String::from_utf8(without_noise(&clinic.tee.received(), &noise)).unwrap();
    for value in SEEN_AS_ID {
        assert!(values.iter().any(|(_, sealed)| sealed == value), "{value} is sealed nowhere");
        let as_id = text.matches(&format!("\"id\":\"{value}\"")).count();
        assert_eq!((as_id, text.matches(value).count()), (1, 1), "{value}");
    }
}

/// Who sees less sees the same document with other strings in the same places, none of which is or holds what was sealed.
fn expect_view(view: &Value, whole: &Value, rules: &[JsonPath], name: &str) {
    assert_eq!(blank(rules, view.clone()), blank(rules, whole.clone()), "{name}");
    let shown = ruled(rules, view);
    let shown_text = shown.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>().join("\n");
    assert_eq!(find_leaks(shown_text.as_bytes(), &ruled(rules, whole)), Vec::<String>::new(), "{name}");
    assert!(!view.to_string().contains("sgv1."), "{name}");
}

#[tokio::test]
async fn every_patient_goes_through_and_the_server_learns_nothing() {
    let (clinic, rules) = (Clinic::open(), rules());
    let as_client = |name| clinic.gate.as_client(name);
    let [clinician, billing, support] = ["clinician", "billing", "support"].map(as_client);
    let (mut submitted, mut ids) = (Vec::new(), Vec::new());
    for (name, text) in patients() {
        let sent = parse(text);
        let created = clinic.call(&clinician, Method::POST, "/Patient", text).await;
        assert_eq!(created.status, 201, "{name}: {}", created.text());
        let id = created.json()["id"].as_str().unwrap().to_owned();
        assert_eq!(own(created.json()), own(sent.clone()), "{name}");

        let path = format!("/Patient/{id}");
        let read = clinic.call(&clinician, Method::GET, &path, "").await;
        assert_eq!(read.status, 200, "{name}: {}", read.text());
        assert_eq!(own(read.json()), own(sent.clone()), "{name}");
        let (_, stored) = clinic.ask_server("GET", &path, "");
        let sealed = ruled(&rules, &stored);
        assert_eq!(sealed.len(), ruled(&rules, &sent).len(), "{name}");
        assert!(sealed.iter().all(|(_, value)| Token::read(value.as_bytes()).is_ok()), "{name}: {sealed:?}");

        for (who, client) in [("billing", &billing), ("support", &support)] {
            let view = clinic.call(client, Method::GET, &path, "").await.json();
            expect_view(&view, &read.json(), &rules, &format!("{name} for {who}"));
            let (status, outcome) = clinic.ask_server("POST", "/Patient", &view.to_string());
            assert_eq!(status, 201, "{name} for {who} is no valid resource: {outcome}");
        }
        let view = clinic.call(&support, Method::GET, &path, "").await.json();
        assert!(ruled(&rules, &view).iter().all(|(_, value)| value == "[REDACTED]"), "{name}");
        submitted.push(sent);
        ids.push(id);
    }
    assert_eq!(submitted.len(), 24);
    expect_nothing_leaked(&clinic, &submitted, &ids);
}

/// The scan is worth something: it finds what the gate does not seal.
#[tokio::test]
async fn a_rule_left_out_is_noticed() {
    let left_out = "      - {path: \"$.name[*].family\", class: name}\n";
    assert!(CONFIG.contains(left_out));
    let clinic = Clinic::with(&CONFIG.replace(left_out, ""));
    let text = SINGLES[0].1;
    let created = clinic.call(&clinic.gate.as_client("clinician"), Method::POST, "/Patient", text).await;
    assert_eq!(created.status, 201, "{}", created.text());
    let found = leaks(&clinic, &[parse(text)], &[]);
    let named = |value: &str| found.iter().any(|leak| leak.contains(&format!("{value:?} leaks")));
    assert!(named("Chalmers") && named("Windsor"), "{found:?}");
    assert!(!found.iter().any(|leak| leak.contains("/given/") || leak.contains("/telecom/")), "{found:?}");
}

#[tokio::test]
async fn an_update_is_sealed_like_a_create() {
    let (clinic, rules) = (Clinic::open(), rules());
    let (clinician, dba) = (clinic.gate.as_client("clinician"), clinic.gate.as_client("dba"));
    let (mut submitted, mut ids) = (Vec::new(), Vec::new());
    for (name, text) in patients() {
        let created = clinic.call(&clinician, Method::POST, "/Patient", text).await;
        assert_eq!(created.status, 201, "{name}: {}", created.text());
        let id = created.json()["id"].as_str().unwrap().to_owned();
        let path = format!("/Patient/{id}");
        // What was read is changed and put back, as an editor would.
        let read = clinic.call(&clinician, Method::GET, &path, "").await.json();
        let version = read["meta"]["versionId"].clone();
        let mut edited = unversioned(read);
        edited["name"][0]["family"] = json!("Öztürk-O'Neill \"Zo\u{eb}\" \u{1f980}");
        edited["telecom"] = json!([{"system": "email", "value": "zoe/oztuerk@mail.example"}]);
        let updated = clinic.call(&clinician, Method::PUT, &path, &edited.to_string()).await;
        assert_eq!(updated.status, 200, "{name}: {}", updated.text());
        let read = clinic.call(&clinician, Method::GET, &path, "").await.json();
        assert_eq!((read["id"].as_str(), own(read.clone())), (Some(id.as_str()), own(edited.clone())), "{name}");
        assert_ne!(read["meta"]["versionId"], version, "{name}");

        // Who sees tokens puts them back as they are, and they still open.
        let tokens = clinic.call(&dba, Method::GET, &path, "").await;
        assert!(tokens.text().contains("sgv1."), "{name}");
        let put_back = clinic.call(&dba, Method::PUT, &path, &unversioned(tokens.json()).to_string()).await;
        assert_eq!(put_back.status, 200, "{name}: {}", put_back.text());
        let read = clinic.call(&clinician, Method::GET, &path, "").await.json();
        assert_eq!(own(read), own(edited.clone()), "{name}");
        // A masked view put back would overwrite what it hides.
        let before = clinic.tee.count("PUT /Patient/");
        let billing = clinic.gate.as_client("billing");
        let masked = clinic.call(&billing, Method::GET, &path, "").await;
        let refused = clinic.call(&billing, Method::PUT, &path, &masked.text()).await;
        assert_eq!(refused.status, 422, "{name}");
        assert_eq!(clinic.tee.count("PUT /Patient/"), before, "{name}");
        assert_eq!(blank(&rules, masked.json())["id"], id, "{name}");
        submitted.extend([parse(text), edited]);
        ids.push(id);
    }
    expect_nothing_leaked(&clinic, &submitted, &ids);
}

#[tokio::test]
async fn what_the_server_says_of_an_invalid_resource_comes_through() {
    let clinic = Clinic::open();
    let clinician = clinic.gate.as_client("clinician");
    for (body, says) in [
        (
            r#"{"resourceType":"Patient","shoeSize":44,"name":[{"family":"Chalmers"}]}"#,
            "Invalid additional property \"shoeSize\"",
        ),
        (r#"{"resourceType":"Patient","birthDate":"yesterday"}"#, "Invalid date format"),
        (r#"{"resourceType":"Patient","name":{"family":"Chalmers"}}"#, "Expected array of values for property"),
    ] {
        let reply = clinic.call(&clinician, Method::POST, "/Patient", body).await;
        assert_eq!(reply.status, 400, "{}", reply.text());
        let outcome = reply.json();
        assert_eq!(outcome["resourceType"], "OperationOutcome", "{outcome}");
        assert_eq!(outcome["issue"][0]["details"]["text"], says);
    }
    let absent = clinic.call(&clinician, Method::GET, "/Patient/absent", "").await;
    assert_eq!((absent.status.as_u16(), absent.json()["resourceType"].as_str()), (404, Some("OperationOutcome")));
    let broken = clinic.call(&clinician, Method::POST, "/Patient", r#"{"resourceType":"#).await;
    broken.expect_problem(400, "body_invalid");
    assert_eq!(clinic.tee.count("POST /Patient"), 3, "what is no JSON is not passed on");
}
