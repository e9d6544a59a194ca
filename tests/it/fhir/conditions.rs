//! A real FHIR server finds, by what is sealed, the one resource that a condition means.

use crate::fixture::fhir_server::FhirServer;
use crate::fixture::keys::with_file_store;
use crate::fixture::leak::find_leaks;
use crate::fixture::service::request;
use crate::fixture::tee::Tee;
use crate::fixture::{Call, Gate, Reply, Setup};
use serde_json::{Value, json};

const ROUTES: &str = "
routes:
  - {name: batch, path: /, methods: [POST], upstream: app, packs: [fhir-r4]}
  - {name: types, path: '/{type}', methods: [GET, POST, PUT, DELETE], upstream: app, packs: [fhir-r4]}
  - {name: one, path: '/{type}/{id}', methods: [GET, PUT, DELETE], upstream: app, packs: [fhir-r4]}
";

struct Clinic {
    server: FhirServer,
    tee: Tee,
    gate: Gate,
}

impl Clinic {
    fn open() -> Self {
        let server = FhirServer::start().unwrap();
        let tee = Tee::start(server.addr()).unwrap();
        let setup = Setup::before(tee.addr());
        let end = setup.config_from("\nroutes:\n");
        let setup = with_file_store(setup)
            .replace(&end, ROUTES)
            .replace("  ssn: {mask: {keep_last: 4}}\n  name: {mask: {keep_first: 1}}\n", "")
            .replace("\nroles:\n", "\nroles:\n  intake: {default_view: redact, writes: [name, ssn, mrn, identifier]}\n")
            .replace("\nprincipals:\n", "\nprincipals:\n  - {spiffe: spiffe://test.example/intake, roles: [intake]}\n");
        Self { gate: setup.start(), server, tee }
    }

    /// The same once another lookup key has taken over.
    fn rotated(self) -> Self {
        let setup = self.gate.crash().again(self.tee.addr());
        let rotate = ["keys", "rotate", "--scope", "test", "--purpose", "lookup", "--accept-new-tokens"];
        let (code, said) = setup.command(&rotate);
        assert_eq!(code, Some(0), "{said}");
        Self { gate: setup.start(), server: self.server, tee: self.tee }
    }

    async fn call(&self, who: &str, call: Call) -> Reply {
        call.from(&self.gate.as_client(who)).await
    }

    /// How many patients the server has, asked behind the gate's back.
    fn patients(&self) -> usize {
        let (status, reply) = request(self.server.addr(), "GET", "/Patient?_count=100", &[], b"").unwrap();
        assert_eq!(status, 200);
        let bundle: Value = serde_json::from_slice(&reply).unwrap();
        bundle["entry"].as_array().map_or(0, Vec::len)
    }

    fn expect_no_leak(&self) {
        let values =
            [("ssn", "941-88-7315"), ("name", "Zwetschgenmus"), ("name", "Pumpernickel"), ("ssn", "941-88-7316")];
        let values = values.map(|(kind, value)| (kind.to_owned(), value.to_owned()));
        let received = self.tee.received();
        assert!(received.len() > 1000);
        assert_eq!(find_leaks(&received, &values), Vec::<String>::new());
    }
}

const SSN: &str = "http://hl7.org/fhir/sid/us-ssn";

fn condition() -> String {
    format!("identifier={SSN}|941-88-7315")
}

fn patient(ssn: &str, family: &str) -> Value {
    json!({"resourceType": "Patient", "name": [{"family": family}], "identifier": [{"system": SSN, "value": ssn}]})
}

fn fhir(line: &str, body: &Value) -> Call {
    Call::new(line).of_type("application/fhir+json", body.to_string())
}

fn id(reply: &Reply) -> String {
    reply.json()["id"].as_str().unwrap_or_else(|| panic!("{}", reply.text())).to_owned()
}

#[tokio::test]
async fn a_condition_that_is_sent_again_means_the_same_resource() {
    let mut clinic = Clinic::open();
    let create =
        || fhir("POST /Patient", &patient("941-88-7315", "Zwetschgenmus")).header("if-none-exist", &condition());
    let created = clinic.call("clinician", create()).await;
    assert_eq!(created.status, 201, "{}", created.text());
    let first = id(&created);
    let other = clinic.call("clinician", fhir("POST /Patient", &patient("941-88-7316", "Zwetschgenmus"))).await;
    assert_eq!(other.status, 201, "{}", other.text());
    let put = || fhir(&format!("PUT /Patient?{}", condition()), &patient("941-88-7315", "Pumpernickel"));
    // Before and after another lookup key has taken over.
    for round in 0..3 {
        let again = clinic.call("clinician", create()).await;
        assert_eq!((again.status.as_u16(), id(&again)), (200, first.clone()), "{round}: {}", again.text());
        let found = clinic.call("clinician", Call::new(&format!("GET /Patient?{}", condition()))).await.json();
        assert_eq!(
            (found["entry"].as_array().map(Vec::len), &found["entry"][0]["resource"]["id"]),
            (Some(1), &json!(first)),
            "{found}"
        );
        assert_eq!(found["entry"][0]["resource"]["identifier"][0]["value"], "941-88-7315");
        if round == 1 {
            let updated = clinic.call("clinician", put()).await;
            assert_eq!((updated.status.as_u16(), id(&updated)), (200, first.clone()), "{}", updated.text());
            let read = clinic.call("clinician", Call::new(&format!("GET /Patient/{first}"))).await.json();
            assert_eq!(read["name"][0]["family"], "Pumpernickel");
        }
        assert_eq!(clinic.patients(), 2, "{round}");
        if round == 0 {
            clinic = clinic.rotated();
        }
    }
    // Who may not see the value may not ask for it, be it to change or to delete.
    for line in ["GET", "PUT", "DELETE"] {
        let call = fhir(&format!("{line} /Patient?{}", condition()), &patient("941-88-7316", "Pumpernickel"));
        clinic.call("intake", call).await.expect_problem(403, "search_not_allowed");
    }
    for (line, code) in [
        ("DELETE /Patient?name:contains=Pumper", "search_not_possible"),
        ("DELETE /Patient?birthdate=ge1970", "search_not_possible"),
        ("DELETE /Patient?_filter=x", "query_parameter_not_allowed"),
    ] {
        clinic.call("clinician", Call::new(line)).await.expect_problem(400, code);
    }
    assert_eq!(clinic.patients(), 2);
    let deleted = clinic.call("clinician", Call::new(&format!("DELETE /Patient?{}", condition()))).await;
    assert!(deleted.status.is_success(), "{}", deleted.text());
    assert_eq!(clinic.patients(), 1);
    let again = clinic.call("clinician", create()).await;
    assert_eq!(again.status, 201, "{}", again.text());
    assert_ne!(id(&again), first);
    clinic.expect_no_leak();
}

#[tokio::test]
async fn an_entry_of_a_batch_that_fails_tells_nothing_of_the_others() {
    let clinic = Clinic::open();
    let mut invalid = patient("941-88-7316", "Pumpernickel");
    invalid["gender"] = json!(["male"]);
    let entry = |resource: Value| {
        let condition = format!("identifier={SSN}|{}", resource["identifier"][0]["value"].as_str().unwrap());
        json!({"resource": resource, "request": {"method": "POST", "url": "Patient", "ifNoneExist": condition}})
    };
    let bundle = |conditions: bool| {
        let mut entries = [entry(patient("941-88-7315", "Zwetschgenmus")), entry(invalid.clone())];
        if !conditions {
            entries.iter_mut().for_each(|entry| drop(entry["request"].as_object_mut().unwrap().remove("ifNoneExist")));
        }
        json!({"resourceType": "Bundle", "type": "batch", "entry": entries})
    };
    for (who, conditions, statuses) in
        [("clinician", true, ["201", "400"]), ("clinician", true, ["200", "400"]), ("intake", false, ["201", "400"])]
    {
        let done = clinic.call(who, fhir("POST /", &bundle(conditions))).await;
        assert_eq!(done.status, 200, "{}", done.text());
        let done = done.json();
        let got = [0, 1].map(|at| done["entry"][at]["response"]["status"].as_str().unwrap().to_owned());
        assert_eq!(got, statuses, "{who}: {done}");
        let outcome = &done["entry"][1]["response"]["outcome"];
        assert_eq!(outcome["resourceType"], "OperationOutcome", "{done}");
        let told = outcome.to_string();
        assert!(!told.contains("Pumpernickel") && !told.contains("941-88") && !told.contains("sgv1."), "{told}");
        let whole = done.to_string();
        assert!(!whole.contains("sgv1."), "{whole}");
        assert!(who == "clinician" || !whole.contains("Zwetschgenmus"), "{whole}");
    }
    assert_eq!(clinic.patients(), 2);
    // A condition on what one may not see is refused with all that comes with it.
    let refused = clinic.call("intake", fhir("POST /", &bundle(true))).await;
    refused.expect_problem(403, "search_not_allowed");
    assert_eq!(clinic.patients(), 2);
    clinic.expect_no_leak();
}
