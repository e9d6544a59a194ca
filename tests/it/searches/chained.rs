//! Searches that reach over to other resources, and results that bring them along.

use crate::fixture::keys::with_file_store;
use crate::fixture::leak::find_leaks;
use crate::fixture::{Bed, Call};
use serde_json::{Value, json};

const PACKED: &str = "
routes:
  - name: fhir
    path: /fhir/{type}
    methods: [GET]
    upstream: app
    packs: [fhir-r4]
  - name: one
    path: /fhir/{type}/{id}
    methods: [PUT]
    upstream: app
    packs: [fhir-r4]
";

fn packed() -> Bed {
    Bed::with(|setup| {
        with_file_store(setup)
            .replace("\nroutes:\n", PACKED)
            .replace("  ssn: {mask: {keep_last: 4}}\n  name: {mask: {keep_first: 1}}\n", "")
            .replace("\nroles:\n", "\nroles:\n  clerk: {default_view: redact, views: {name: plain, display: mask}}\n")
            .replace("\nprincipals:\n", "\nprincipals:\n  - {spiffe: spiffe://test.example/clerk, roles: [clerk]}\n")
    })
}

const SSN: &str = "http://hl7.org/fhir/sid/us-ssn";

fn patient() -> Value {
    json!({"resourceType": "Patient", "id": "p", "name": [{"family": "Zwetschgenmus", "given": ["Quirin"]}],
        "identifier": [{"system": SSN, "value": "941-88-7315"}], "telecom": [{"system": "phone", "value": "555-0100"}]})
}

/// What the upstream keeps of a resource.
async fn kept(bed: &Bed, resource: &Value) -> Value {
    let path = format!("/fhir/{}/x", resource["resourceType"].as_str().unwrap());
    let call = Call::new(&format!("PUT {path}")).of_type("application/fhir+json", resource.to_string());
    let wrote = bed.make("clinician", &call).await;
    assert_eq!((wrote.status.as_u16(), wrote.json()), (200, resource.clone()), "{}", wrote.text());
    bed.upstream.take_only().json()
}

fn text<'d>(document: &'d Value, at: &str) -> &'d str {
    document.pointer(at).and_then(Value::as_str).unwrap_or_else(|| panic!("no {at} in {document}"))
}

/// Chains to values, and what the upstream is asked by the tokens of a family name, an SSN and a phone number.
fn chains(family: &str, ssn: &str, phone: &str) -> Vec<(String, String)> {
    vec![
        (
            format!("Observation?subject:Patient.identifier={SSN}|941-88-7315"),
            format!("Observation?subject:Patient.identifier={SSN}|{ssn}"),
        ),
        (
            format!("Observation?subject.identifier={SSN}|941-88-7315"),
            format!("Observation?subject.identifier={SSN}|{ssn}"),
        ),
        (
            format!("Observation?subject:identifier={SSN}|941-88-7315"),
            format!("Observation?subject:identifier={SSN}|{ssn}"),
        ),
        (
            format!("Observation?patient.identifier:not={SSN}|941-88-7315"),
            format!("Observation?patient.identifier:not={SSN}|{ssn}"),
        ),
        ("Encounter?patient.name=Zwetschgenmus".to_owned(), format!("Encounter?patient.name:exact={family}")),
        (
            "Encounter?patient.name:exact=Zwetschgenmus&status=planned".to_owned(),
            format!("Encounter?patient.name:exact={family}&status=planned"),
        ),
        (
            "DiagnosticReport?result.patient.family=Zwetschgenmus".to_owned(),
            format!("DiagnosticReport?result.patient.family:exact={family}"),
        ),
        (
            "DiagnosticReport?result:Observation.subject:Patient.family=Zwetschgenmus".to_owned(),
            format!("DiagnosticReport?result:Observation.subject:Patient.family:exact={family}"),
        ),
        (
            "Patient?_has:RelatedPerson:patient:name=Zwetschgenmus".to_owned(),
            format!("Patient?_has:RelatedPerson:patient:name:exact={family}"),
        ),
        (
            "Patient?_has:RelatedPerson:patient:phone=555-0100".to_owned(),
            format!("Patient?_has:RelatedPerson:patient:phone={phone}"),
        ),
        (
            "Practitioner?_has:Encounter:practitioner:patient.family=Zwetschgenmus".to_owned(),
            format!("Practitioner?_has:Encounter:practitioner:patient.family:exact={family}"),
        ),
        (
            "Organization?_has:Encounter:service-provider:_has:Person:link:name=Zwetschgenmus".to_owned(),
            format!("Organization?_has:Encounter:service-provider:_has:Person:link:name:exact={family}"),
        ),
        // Of whom it is the name cannot be seen.
        (
            "Patient?general-practitioner.name=Zwetschgenmus".to_owned(),
            format!("Patient?general-practitioner.name:exact={family}"),
        ),
    ]
}

#[tokio::test]
async fn a_parameter_of_another_resource_is_sealed_by_the_rule_of_its_own_name() {
    let bed = packed();
    let kept = kept(&bed, &patient()).await;
    let (family, ssn) = (text(&kept, "/name/0/family"), text(&kept, "/identifier/0/value"));
    let phone = text(&kept, "/telecom/0/value");
    bed.upstream.always(200, &[], "");
    for (query, want) in chains(family, ssn, phone) {
        let found = bed.make("clinician", &Call::new(&format!("GET /fhir/{query}"))).await;
        assert_eq!(found.status, 200, "{query}: {}", found.text());
        let target = bed.upstream.take_only().target;
        let target = target.replace("%7C", "|").replace("%3A", ":").replace("%2F", "/");
        assert_eq!(target, format!("/fhir/{want}"), "{query}");
        // Nor may one who does not see the value guess at it.
        let denied = bed.make("support", &Call::new(&format!("GET /fhir/{query}"))).await;
        denied.expect_problem(403, "search_not_allowed");
        bed.upstream.expect_nothing();
    }
    for query in [
        "Patient?_has:Observation:patient:code=1234-5",
        "Patient?_has:Observation:patient:_has:AuditEvent:entity:type=rest",
        "Patient?_has:Group:member:_has:Coverage:payor:status=active",
        "Observation?code=http://loinc.org|1234-5,http://loinc.org|9-1",
        "Patient?general-practitioner:Practitioner.name=Smith",
        "Encounter?service-provider:Organization.name=Clinic",
        "Encounter?_include=Encounter:subject&_include:iterate=Patient:link&_revinclude=Provenance:target",
        "Encounter?_include=Encounter:subject:Patient&_count=5",
        "Patient?_has:RelatedPerson:patient:name:missing=true",
    ] {
        for who in ["clinician", "support"] {
            assert_eq!(bed.make(who, &Call::new(&format!("GET /fhir/{query}"))).await.status, 200, "{query}");
            let target = bed.upstream.take_only().target.replace("%7C", "|");
            assert_eq!(target, format!("/fhir/{query}"));
        }
    }
}

#[tokio::test]
async fn a_chain_leads_around_no_rule() {
    let bed = packed();
    for (query, code) in [
        ("Encounter?patient.name:contains=Zwetsch", "search_not_possible"),
        ("Encounter?subject:Patient.birthdate=ge1970-01-01", "search_not_possible"),
        ("Encounter?subject:Patient.address-city=Ulm", "search_not_possible"),
        ("Patient?_has:RelatedPerson:patient:name:text=Zwetsch", "search_not_possible"),
        ("Patient?_has:Person:link:birthdate=1974-12-25", "search_not_possible"),
        ("Encounter?_sort=patient.name", "search_not_possible"),
        ("Observation?code=Patient?name=Zwetschgenmus", "search_not_possible"),
        ("Observation?subject=Patient?name=Zwetschgenmus", "search_not_possible"),
        ("Encounter?subject:Patient.mothersMaidenName=x", "query_parameter_not_allowed"),
        ("Patient?_has:Observation:patient:value-string=x", "query_parameter_not_allowed"),
        ("Patient?_has:Observation:patient:_filter=x", "query_parameter_not_allowed"),
        ("Patient?_has:Observation:patient:_text=x", "query_parameter_not_allowed"),
        ("Patient?_has:Observation:patient=x", "query_parameter_not_allowed"),
        ("Patient?_has:Observation=x", "query_parameter_not_allowed"),
        ("Patient?_has=x", "query_parameter_not_allowed"),
        ("Patient?_HAS:Observation:patient:code=x", "query_parameter_not_allowed"),
        ("Patient?_has:Observation:941-88-7315:code=x", "query_parameter_not_allowed"),
        ("Patient?_has:941-88-7315:patient:code=x", "query_parameter_not_allowed"),
        ("Observation?941-88-7315.code=x", "query_parameter_not_allowed"),
        ("Observation?name.code=x", "query_parameter_not_allowed"),
        ("Observation?identifier:Patient.code=x", "query_parameter_not_allowed"),
        ("Observation?subject:Patient.Name=x", "query_parameter_not_allowed"),
    ] {
        let (client, call) = (bed.gate.as_client("clinician"), Call::new(&format!("GET /fhir/{query}")));
        let problem = bed.refuses_from(&client, &call, (400, code)).await.to_string();
        assert!(!problem.contains("Zwetsch") && !problem.contains("941-88-7315"), "{query}: {problem}");
    }
}

/// The resources of one result, of four types and of what is said of the search.
fn resources() -> [Value; 5] {
    let subject = json!({"reference": "Patient/p", "display": "Quirin Zwetschgenmus"});
    [
        json!({"resourceType": "Encounter", "id": "e", "status": "planned", "subject": subject,
            "participant": [{"individual": {"reference": "Practitioner/d", "display": "Dr. Pumpernickel"}}]}),
        patient(),
        json!({"resourceType": "Provenance", "id": "v", "target": [{"reference": "Encounter/e", "display": "Zwetschgenmus, visit"}],
            "agent": [{"who": {"display": "Larifari"}}]}),
        json!({"resourceType": "Organization", "id": "o", "name": "Zwetschgenmus Clinic"}),
        json!({"resourceType": "OperationOutcome", "issue": [{"severity": "warning", "code": "informational"}]}),
    ]
}

#[tokio::test]
async fn what_a_search_brings_along_is_shown_by_the_rules_of_its_own_type() {
    let bed = packed();
    let mut sealed = Vec::new();
    for resource in resources() {
        sealed.push(kept(&bed, &resource).await);
    }
    let bundle = |resources: &[Value]| {
        let modes = ["match", "include", "include", "include", "outcome"];
        let entries = resources
            .iter()
            .zip(modes)
            .map(|(resource, mode)| json!({"fullUrl": "urn:uuid:1", "resource": resource, "search": {"mode": mode}}));
        let url = "https://app/fhir/Encounter?_include=Encounter:subject";
        json!({"resourceType": "Bundle", "type": "searchset", "total": 1,
            "link": [{"relation": "self", "url": url}], "entry": entries.collect::<Vec<_>>()})
    };
    bed.upstream.always(200, &[("content-type", "application/fhir+json")], bundle(&sealed).to_string());
    let call = Call::new("GET /fhir/Encounter?_include=Encounter:subject&_revinclude=Provenance:target");
    assert_eq!(bed.make("clinician", &call).await.json(), bundle(&resources()));
    assert_eq!(bed.make("dba", &call).await.json(), bundle(&sealed));
    let masked = |text: &str| text.chars().map(|c| if c.is_alphanumeric() { '*' } else { c }).collect::<String>();
    for (who, name, display) in [
        ("clerk", None, &masked as &dyn Fn(&str) -> String),
        ("support", Some("[REDACTED]"), &|_: &str| "[REDACTED]".to_owned()),
    ] {
        let mut want = resources();
        let hidden = json!("[REDACTED]");
        for (at, pointer) in [
            (0, "/subject/display"),
            (0, "/participant/0/individual/display"),
            (2, "/target/0/display"),
            (2, "/agent/0/who/display"),
        ] {
            let place = want[at].pointer_mut(pointer).unwrap();
            *place = json!(display(place.as_str().unwrap()));
        }
        for pointer in ["/name/0/family", "/name/0/given/0"] {
            let place = want[1].pointer_mut(pointer).unwrap();
            *place = name.map_or_else(|| place.clone(), |name| json!(name));
        }
        for pointer in ["/identifier/0/value", "/telecom/0/value"] {
            *want[1].pointer_mut(pointer).unwrap() = hidden.clone();
        }
        let shown = bed.make(who, &call).await;
        assert_eq!(shown.json(), bundle(&want), "{who}");
        let of_display =
            [("display".to_owned(), "Pumpernickel".to_owned()), ("display".to_owned(), "Quirin Zwet".to_owned())];
        assert_eq!(find_leaks(&shown.body, &of_display), Vec::<String>::new(), "{who}");
    }
    // A resource of a type that nobody has rules for keeps all of them back.
    let mut strange = bundle(&sealed);
    strange["entry"][2]["resource"] = json!({"resourceType": "Basic", "id": "b"});
    bed.upstream.always(200, &[("content-type", "application/fhir+json")], strange.to_string());
    bed.make("clinician", &call).await.expect_problem(502, "response_not_understood");
    // And so does one with a value in the clear.
    let mut clear = bundle(&sealed);
    clear["entry"][0]["resource"]["subject"]["display"] = json!("Quirin");
    bed.upstream.always(200, &[("content-type", "application/fhir+json")], clear.to_string());
    for who in ["clinician", "support"] {
        bed.make(who, &call).await.expect_problem(502, "response_unsealed");
    }
}
