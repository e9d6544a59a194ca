//! What stands outside of bodies: queries, path segments, header fields, and URLs in what comes back.

mod chained;
mod rotated;

use crate::fixture::keys::with_file_store;
use crate::fixture::{Bed, Call};
use serde_json::{Value, json};

const ROUTES: &str = "
classes:
  mrn: {suite: deterministic}
  taxid: {suite: deterministic}
  surname: {suite: deterministic}
  born: {suite: format, alphabet: date, accept_small_domain: true}
  phone: {suite: format, alphabet: digits}
";

const RULES: &str = "
routes:
  - name: search
    path: /fhir/{type}
    methods: [GET, POST, PUT, DELETE]
    upstream: app
    query_allowed: [_count, _sort, _include, code, patient, _getpages]
    resources_allowed: [Bundle, Encounter, Observation, OperationOutcome]
    rules: &rules
      - {fhir: \"Patient.identifier.where(system='urn:tax').value\", class: taxid}
      - {fhir: Patient.identifier.value, class: mrn}
      - {fhir: Patient.name.family, class: surname}
      - {fhir: Patient.birthDate, class: born}
      - {query: identifier, search: token, system: 'urn:tax', class: taxid}
      - {query: identifier, search: token, class: mrn}
      - {query: family, search: string, class: surname}
      - {query: birthdate, search: date, class: born}
      - {query: note, search: string, class: note}
      - {fhir: Bundle.entry.request.url, as: search}
      - {fhir: Bundle.entry.request.ifNoneExist, as: search}
      - {fhir: Bundle.link.url, as: search}
      - {fhir: Resource.**.reference, as: search}
  - name: posted
    path: /fhir/{type}/_search
    methods: [POST]
    upstream: app
    query_allowed: [_count, _sort, _include, code]
    resources_allowed: [Bundle, Encounter, Observation, OperationOutcome]
    rules: *rules
  - name: visits
    path: /api/patients/{ssn}/visits
    methods: [GET, PUT]
    upstream: app
    rules:
      - {segment: ssn, class: phone}
      - {query: last, class: surname}
      - {header: x-patient-name, class: surname}
      - {path: $.name, class: surname}
  - name: called
    path: /api/calls
    methods: [GET, PUT]
    upstream: app
    rules:
      - {header: x-patient-name, class: surname}
      - {header: x-phone, class: phone}
      - {path: $.name, class: surname}
  - name: one
    path: /api/mrn/{mrn}
    methods: [GET, PUT]
    upstream: app
    rules:
      - {segment: mrn, class: mrn}
      - {path: $.name, class: surname}
";

fn bed() -> Bed {
    Bed::with(|setup| {
        let setup = setup.replace("\nclasses:\n", ROUTES).replace("\nroutes:\n", RULES);
        with_file_store(setup)
    })
}

/// The tokens that the upstream keeps for a patient.
async fn kept(bed: &Bed) -> Value {
    let patient = json!({
        "resourceType": "Patient", "birthDate": "1974-12-25", "name": [{"family": "Chalmers"}],
        "identifier": [{"system": "urn:mrn", "value": "12345"}, {"system": "urn:tax", "value": "12345"}],
    });
    let wrote = bed.make("clinician", &Call::new("PUT /fhir/Patient").json(patient.to_string())).await;
    assert_eq!((wrote.status.as_u16(), wrote.json()), (200, patient), "{}", wrote.text());
    bed.upstream.take_only().json()
}

fn text<'d>(document: &'d Value, at: &str) -> &'d str {
    document.pointer(at).and_then(Value::as_str).unwrap_or_else(|| panic!("no {at} in {document}"))
}

#[tokio::test]
async fn a_search_looks_for_what_was_stored() {
    let bed = bed();
    let kept = kept(&bed).await;
    let (mrn, tax) = (text(&kept, "/identifier/0/value"), text(&kept, "/identifier/1/value"));
    let (family, born) = (text(&kept, "/name/0/family"), text(&kept, "/birthDate"));
    assert!(mrn != tax && mrn.starts_with("sgv1.") && family.starts_with("sgv1.") && born != "1974-12-25");
    for (query, want) in [
        ("identifier=urn:mrn|12345", format!("identifier=urn:mrn|{mrn}").replace('|', "%7C")),
        ("identifier=urn:tax%7C12345&_count=10", format!("identifier=urn:tax%7C{tax}&_count=10")),
        ("identifier=%7C12345", format!("identifier=%7C{tax},%7C{mrn}")),
        ("identifier=12345", format!("identifier={tax},{mrn}")),
        ("identifier:not=urn:tax|12345", format!("identifier:not=urn:tax%7C{tax}")),
        ("family=Chalmers", format!("family:exact={family}")),
        ("family:exact=Chalmers&_count=1", format!("family:exact={family}&_count=1")),
        ("birthdate=1974-12-25", format!("birthdate={born}")),
        ("subject:Patient.identifier=12345", format!("subject:Patient.identifier={tax},{mrn}")),
        ("patient.family=Chalmers", format!("patient.family:exact={family}")),
        ("_has:Observation:patient:code=1234-5", "_has:Observation:patient:code=1234-5".to_owned()),
        ("_include=Encounter:subject&_sort=-_id", "_include=Encounter:subject&_sort=-_id".to_owned()),
    ] {
        let found = bed.make("clinician", &Call::new(&format!("GET /fhir/Patient?{query}"))).await;
        assert_eq!(found.status, 200, "{query}: {}", found.text());
        let target = bed.upstream.take_only().target;
        assert_eq!(target, format!("/fhir/Patient?{want}"), "{query}");
        let posted = Call::new("POST /fhir/Patient/_search").of_type("application/x-www-form-urlencoded", query);
        bed.upstream.always(200, &[], "");
        bed.make("clinician", &posted).await;
        assert_eq!(bed.upstream.take_only().text().replace('|', "%7C"), want, "{query}");
        bed.upstream.script(|_| None);
    }
}

#[tokio::test]
async fn what_no_search_can_find_is_refused_by_name() {
    let bed = bed();
    for (query, code, named) in [
        ("family:contains=halm", (400, "search_not_possible"), Some("parameter family")),
        ("birthdate=ge1974-01-01", (400, "search_not_possible"), Some("parameter birthdate")),
        ("_sort=family", (400, "search_not_possible"), Some("parameter _sort: family")),
        ("note=x", (400, "search_not_possible"), Some("query")),
        ("name=Pet", (400, "query_parameter_not_allowed"), None),
        ("_filter=family%20eq%20Chalmers", (400, "query_parameter_not_allowed"), None),
    ] {
        for call in [
            Call::new(&format!("GET /fhir/Patient?{query}")),
            Call::new("POST /fhir/Patient/_search").of_type("application/x-www-form-urlencoded", query),
        ] {
            let problem = bed.refuses_from(&bed.gate.as_client("clinician"), &call, code).await;
            assert_eq!(problem.get("detail").and_then(Value::as_str), named, "{query}");
        }
    }
    // Whoever may not see a value may not try guesses at it.
    for who in ["support", "billing", "dba"] {
        let call = Call::new("GET /fhir/Patient?family=Chalmers");
        let client = bed.gate.as_client(who);
        let status = call.from(&client).await;
        if who == "billing" {
            status.expect_problem(403, "class_denied");
        } else {
            status.expect_problem(403, "search_not_allowed");
        }
        bed.upstream.expect_nothing();
    }
}

#[tokio::test]
async fn whoever_sees_tokens_looks_for_them() {
    let bed = bed();
    let kept = kept(&bed).await;
    let family = text(&kept, "/name/0/family");
    let call = Call::new(&format!("GET /fhir/Patient?family:exact={family}"));
    assert_eq!(bed.make("dba", &call).await.status, 200);
    assert_eq!(bed.upstream.take_only().target, format!("/fhir/Patient?family:exact={family}"));
    bed.refuses("clinician", &call, (422, "token_not_accepted")).await;
    let mrn = text(&kept, "/identifier/0/value");
    bed.refuses("dba", &Call::new(&format!("GET /fhir/Patient?family={mrn}")), (422, "token_class_mismatch")).await;
    bed.refuses("dba", &Call::new(&format!("GET /fhir/Patient?code={mrn}")), (422, "token_not_accepted")).await;
}

#[tokio::test]
async fn links_of_a_result_show_what_the_caller_may_see() {
    let bed = bed();
    let kept = kept(&bed).await;
    let mrn = text(&kept, "/identifier/0/value");
    let born = text(&kept, "/birthDate");
    let url = format!("https://app/fhir/Patient?identifier=urn:mrn%7C{mrn}&birthdate={born}&_count=1");
    let bundle = json!({
        "resourceType": "Bundle", "link": [{"relation": "self", "url": url}], "entry": [{"resource": kept}],
    });
    bed.upstream.always(
        200,
        &[
            ("content-type", "application/fhir+json"),
            ("link", &format!("<{url}>; rel=\"self\"")),
            ("content-location", &url),
        ],
        bundle.to_string(),
    );
    let shown = "https://app/fhir/Patient?identifier=urn:mrn%7C12345&birthdate=1974-12-25&_count=1";
    let call = Call::new("GET /fhir/Patient?identifier=12345");
    let clinician = bed.make("clinician", &call).await;
    assert_eq!(clinician.json()["link"][0]["url"], shown, "{}", clinician.text());
    assert_eq!(clinician.json()["entry"][0]["resource"]["identifier"][0]["value"], "12345");
    assert_eq!(clinician.header("content-location"), Some(shown));
    assert!(
        clinician
            .header("link")
            .is_some_and(|link| link.starts_with("<https://app/fhir/Patient?identifier=urn:mrn%7C12345&"))
    );
    let support = bed.make("support", &Call::new("GET /fhir/Patient?_count=1")).await;
    let url_shown = support.json()["link"][0]["url"].as_str().unwrap().to_owned();
    assert!(url_shown.contains("identifier=urn:mrn%7C%5BREDACTED%5D&birthdate=%5BREDACTED%5D"), "{url_shown}");
    let dba = bed.make("dba", &Call::new("GET /fhir/Patient?_count=1")).await;
    assert_eq!(dba.json()["link"][0]["url"], url);
}

#[tokio::test]
async fn conditions_of_a_transaction_are_sealed_like_searches() {
    let bed = bed();
    let kept = kept(&bed).await;
    let mrn = text(&kept, "/identifier/0/value");
    let bundle = json!({
        "resourceType": "Bundle", "type": "transaction",
        "entry": [
            {"fullUrl": "urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a",
             "resource": {"resourceType": "Patient", "identifier": [{"system": "urn:mrn", "value": "12345"}]},
             "request": {"method": "POST", "url": "Patient", "ifNoneExist": "identifier=urn:mrn|12345"}},
            {"resource": {"resourceType": "Encounter",
                          "subject": {"reference": "Patient?identifier=urn:mrn|12345"},
                          "episode": {"reference": "urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a"}},
             "request": {"method": "PUT", "url": "Encounter/1"}},
        ],
    });
    let wrote = bed.make("clinician", &Call::new("POST /fhir/Bundle").json(bundle.to_string())).await;
    assert_eq!((wrote.status.as_u16(), wrote.json()), (201, bundle), "{}", wrote.text());
    let sent = bed.upstream.take_only();
    assert!(!sent.text().contains("12345\""), "{}", sent.text());
    let entry = &sent.json()["entry"];
    assert_eq!(entry[0]["request"]["ifNoneExist"], format!("identifier=urn:mrn|{mrn}"));
    assert_eq!(entry[1]["resource"]["subject"]["reference"], format!("Patient?identifier=urn:mrn|{mrn}"));
    assert_eq!(entry[1]["resource"]["episode"]["reference"], "urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a");

    let create = Call::new("POST /fhir/Patient").header("if-none-exist", "identifier=urn:mrn|12345");
    bed.make("clinician", &create.json(json!({"resourceType": "Patient"}).to_string())).await;
    assert_eq!(bed.upstream.take_only().headers["if-none-exist"], format!("identifier=urn:mrn|{mrn}"));
    let unknown =
        Call::new("POST /fhir/Patient").header("if-none-exist", "ssn=1").json("{\"resourceType\":\"Patient\"}");
    bed.refuses("clinician", &unknown, (400, "query_parameter_not_allowed")).await;
    let delete = bed.make("clinician", &Call::new("DELETE /fhir/Patient?identifier=urn:mrn|12345")).await;
    assert_eq!(delete.status, 204);
    assert_eq!(
        bed.upstream.take_only().target.replace('|', "%7C"),
        format!("/fhir/Patient?identifier=urn:mrn%7C{mrn}")
    );
}

#[tokio::test]
async fn a_header_field_comes_back_in_the_view_of_the_caller() {
    let bed = bed();
    let call = Call::new("PUT /api/calls").header("x-phone", "555-123-4567");
    assert_eq!(bed.make("clinician", &call.header("x-patient-name", "Smith").json("{}")).await.status, 200);
    let sent = bed.upstream.take_only();
    let sealed = |name: &str| sent.headers[name].to_str().unwrap().to_owned();
    let (phone, name) = (sealed("x-phone"), sealed("x-patient-name"));
    assert!(phone.len() == 12 && phone != "555-123-4567" && name.starts_with("sgv1."), "{phone} {name}");
    let read = Call::new("GET /api/calls");
    for (role, phone_shown, name_shown) in [
        ("clinician", "555-123-4567", "Smith"),
        ("support", "[REDACTED]", "[REDACTED]"),
        ("dba", phone.as_str(), name.as_str()),
    ] {
        bed.upstream.always(200, &[("x-phone", &phone), ("x-patient-name", &name), ("x-other", "Smith")], "");
        let reply = bed.make(role, &read).await;
        assert_eq!(reply.status, 200, "{role}: {}", reply.text());
        let shown = |name: &str| reply.header(name).unwrap_or_default().to_owned();
        assert_eq!(
            (shown("x-phone"), shown("x-patient-name")),
            (phone_shown.to_owned(), name_shown.to_owned()),
            "{role}"
        );
        assert_eq!(shown("x-other"), "Smith");
    }
    for (field, value, code) in [
        ("x-patient-name", "Smith", "response_unsealed"),
        ("x-phone", "12", "response_unopenable"),
        ("x-patient-name", &phone, "response_unsealed"),
        ("x-patient-name", &format!("{name}x"), "response_unopenable"),
    ] {
        bed.upstream.always(200, &[(field, value)], "");
        bed.make("clinician", &read).await.expect_problem(502, code);
    }
    bed.upstream.take_all();
}

#[tokio::test]
async fn a_path_segment_a_parameter_and_a_header_field_are_sealed() {
    let bed = bed();
    let call = Call::new("PUT /api/patients/123-45-6789/visits?last=Smith").header("x-patient-name", "Smith");
    let wrote = bed.make("clinician", &call.json("{\"name\":\"Smith\"}")).await;
    assert_eq!(wrote.status, 200, "{}", wrote.text());
    let sent = bed.upstream.take_only();
    let sealed = sent.target.strip_prefix("/api/patients/").unwrap().split('/').next().unwrap().to_owned();
    assert!(sealed.len() == 11 && sealed != "123-45-6789" && sealed.as_bytes()[3] == b'-', "{}", sent.target);
    let name = sent.json()["name"].as_str().unwrap().to_owned();
    assert_eq!(sent.target, format!("/api/patients/{sealed}/visits?last={name}"));
    assert_eq!(sent.headers["x-patient-name"], name);
    // Where it is comes back as what was asked for.
    let location = format!("https://app.example/api/patients/{sealed}/visits?last={name}");
    bed.upstream.always(303, &[("location", &location), ("x-patient-name", &name)], "");
    let call = Call::new("GET /api/patients/123-45-6789/visits");
    let moved = bed.make("clinician", &call).await;
    assert_eq!(moved.header("location"), Some("https://app.example/api/patients/123-45-6789/visits?last=Smith"));
    assert_eq!(moved.header("x-patient-name"), Some("Smith"));
    bed.upstream.take_all();
    for call in [
        "GET /api/patients/123%2F45-6789/visits",
        "GET /api/patients/../patients/123-45-6789/visits",
        "GET /api/patients/123-45-678%2539/visits",
        "GET /api/patients//123-45-6789/visits",
    ] {
        let refused = bed.make("clinician", &Call::new(call)).await;
        assert!(refused.status.is_client_error(), "{call}");
        bed.upstream.expect_nothing();
    }
    bed.refuses("clinician", &Call::new("GET /api/patients/12/visits"), (422, "value_domain_too_small")).await;
    bed.refuses("support", &Call::new("GET /api/patients/123-45-6789/visits"), (403, "search_not_allowed")).await;
    let found = bed.make("clinician", &Call::new("GET /api/mrn/12345")).await;
    assert_eq!(found.status, 303);
    assert!(bed.upstream.take_only().target.starts_with("/api/mrn/sgv1."));
}
