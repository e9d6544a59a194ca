//! Searches while records of two lookup keys are there: each of them is to be found.

use super::{bed, kept, text};
use crate::fixture::{Bed, Call, Upstream};
use serde_json::{Value, json};

/// The gate again in its folder, after commands on its keys.
fn after(bed: Bed, commands: &[&[&str]]) -> Bed {
    let Bed { gate, .. } = bed;
    let upstream = Upstream::start();
    let setup = gate.crash().again(upstream.addr());
    for command in commands {
        let (code, said) = setup.command(command);
        assert_eq!(code, Some(0), "{command:?}: {said}");
    }
    Bed { gate: setup.start(), upstream }
}

const ROTATE: &[&str] = &["keys", "rotate", "--scope", "test", "--purpose", "lookup", "--accept-new-tokens"];

/// The tokens of MRN, tax number and family name of a patient.
fn tokens(kept: &Value) -> [String; 3] {
    ["/identifier/0/value", "/identifier/1/value", "/name/0/family"].map(|at| text(kept, at).to_owned())
}

async fn target(bed: &Bed, query: &str) -> String {
    bed.upstream.always(200, &[], "");
    let found = bed.make("clinician", &Call::new(&format!("GET /fhir/Patient?{query}"))).await;
    assert_eq!(found.status, 200, "{query}: {}", found.text());
    bed.upstream.script(|_| None);
    bed.upstream.take_only().target.strip_prefix("/fhir/Patient?").unwrap().to_owned()
}

/// The id of the key that sealed it.
fn key(token: &str) -> String {
    sealgate::seal::Token::read(token.as_bytes()).unwrap().head().key_id.to_string()
}

#[tokio::test]
async fn a_search_asks_for_what_each_lookup_key_made_of_the_value() {
    let bed = bed();
    let [old_mrn, old_tax, old_name] = tokens(&kept(&bed).await);
    let bed = after(bed, &[ROTATE]);
    let [mrn, tax, name] = tokens(&kept(&bed).await);
    assert!(mrn != old_mrn && tax != old_tax && name != old_name);
    for (query, want) in [
        ("identifier=urn:mrn|12345", format!("identifier=urn:mrn|{mrn},urn:mrn|{old_mrn}")),
        ("identifier=|12345", format!("identifier=|{tax},|{old_tax},|{mrn},|{old_mrn}")),
        ("identifier=12345", format!("identifier={tax},{old_tax},{mrn},{old_mrn}")),
        ("identifier=urn:mrn|", "identifier=urn:mrn|".to_owned()),
        ("family=Chalmers&_count=1", format!("family:exact={name},{old_name}&_count=1")),
        ("patient.family=Chalmers", format!("patient.family:exact={name},{old_name}")),
        (
            "_has:Group:member:identifier=urn:tax|12345",
            format!("_has:Group:member:identifier=urn:tax|{tax},urn:tax|{old_tax}"),
        ),
        // What is repeated holds each time, and each time of either key.
        (
            "identifier=urn:mrn|12345&identifier=urn:tax|12345",
            format!("identifier=urn:mrn|{mrn},urn:mrn|{old_mrn}&identifier=urn:tax|{tax},urn:tax|{old_tax}"),
        ),
        // And what is excluded is excluded of both.
        ("identifier:not=urn:mrn|12345", format!("identifier:not=urn:mrn|{mrn}&identifier:not=urn:mrn|{old_mrn}")),
        (
            "identifier:not=urn:mrn|12345,urn:tax|12345",
            format!("identifier:not=urn:mrn|{mrn},urn:tax|{tax}&identifier:not=urn:mrn|{old_mrn},urn:tax|{old_tax}"),
        ),
        (
            "identifier:not=12345&_count=1",
            format!(
                "identifier:not={tax}&identifier:not={old_tax}&identifier:not={mrn}&identifier:not={old_mrn}&_count=1"
            ),
        ),
        ("family:missing=true", "family:missing=true".to_owned()),
    ] {
        assert_eq!(target(&bed, query).await.replace("%7C", "|"), want, "{query}");
        let posted = Call::new("POST /fhir/Patient/_search").of_type("application/x-www-form-urlencoded", query);
        bed.upstream.always(200, &[], "");
        bed.make("clinician", &posted).await;
        assert_eq!(bed.upstream.take_only().text().replace("%7C", "|"), want, "{query}");
        bed.upstream.script(|_| None);
    }
    // Every value of a list.
    let two = target(&bed, "family=Chalmers,Windsor").await;
    let values: Vec<&str> = two.strip_prefix("family:exact=").unwrap().split(',').collect();
    let keys: Vec<String> = values.iter().map(|value| key(value)).collect();
    assert_eq!((values.len(), values[0], values[1]), (4, name.as_str(), old_name.as_str()), "{two}");
    assert_eq!((&keys[0], &keys[1]), (&keys[2], &keys[3]), "{two}");
    let event = bed.gate.events_named("ExchangeAnswered").pop().unwrap();
    assert_eq!(event["keys"].as_array().unwrap().len(), 2, "{event}");
}

#[tokio::test]
async fn a_condition_is_met_by_what_was_sealed_before_the_rotation() {
    let bed = bed();
    let [old, ..] = tokens(&kept(&bed).await);
    let bed = after(bed, &[ROTATE]);
    let [new, ..] = tokens(&kept(&bed).await);
    let both = format!("identifier=urn:mrn|{new},urn:mrn|{old}");
    let create = Call::new("POST /fhir/Patient").header("if-none-exist", "identifier=urn:mrn|12345");
    bed.make("clinician", &create.json(r#"{"resourceType":"Patient"}"#)).await;
    assert_eq!(bed.upstream.take_only().headers["if-none-exist"], both);
    let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": [
        {"resource": {"resourceType": "Encounter", "subject": {"reference": "Patient?identifier=urn:mrn|12345"}},
         "request": {"method": "POST", "url": "Encounter", "ifNoneExist": "identifier=urn:mrn|12345"}}]});
    let wrote = bed.make("clinician", &Call::new("POST /fhir/Bundle").json(bundle.to_string())).await;
    // Back it is one value, as it was asked for.
    assert_eq!((wrote.status.as_u16(), wrote.json()), (201, bundle), "{}", wrote.text());
    let sent = bed.upstream.take_only().json();
    assert_eq!(sent["entry"][0]["request"]["ifNoneExist"], both);
    assert_eq!(sent["entry"][0]["resource"]["subject"]["reference"], format!("Patient?{both}"));
    for (line, body) in [("DELETE", ""), ("PUT", r#"{"resourceType":"Patient"}"#)] {
        let call = Call::new(&format!("{line} /fhir/Patient?identifier=urn:mrn|12345")).json(body);
        bed.make("clinician", &call).await;
        assert_eq!(bed.upstream.take_only().target.replace("%7C", "|"), format!("/fhir/Patient?{both}"), "{line}");
    }
}

#[tokio::test]
async fn only_keys_that_still_open_are_looked_for() {
    let bed = bed();
    let [.., first] = tokens(&kept(&bed).await);
    let bed = after(bed, &[ROTATE]);
    let [.., second] = tokens(&kept(&bed).await);
    let bed = after(bed, &[ROTATE, &["keys", "revoke", &key(&first)]]);
    let [.., third] = tokens(&kept(&bed).await);
    assert_eq!(target(&bed, "family=Chalmers").await, format!("family:exact={third},{second}"));
    let bed = after(bed, &[&["keys", "revoke", &key(&first), "--undo"]]);
    let mut found: Vec<String> =
        target(&bed, "family=Chalmers").await["family:exact=".len()..].split(',').map(str::to_owned).collect();
    assert_eq!(found.remove(0), third, "what seals now comes first");
    found.sort();
    let mut former = [first, second];
    former.sort();
    assert_eq!(found, former);
}

/// There is one value in a path, a parameter that is none of FHIR and a field: that of the key that seals now.
#[tokio::test]
async fn what_can_name_one_value_names_that_of_the_newest_key() {
    let bed = after(bed(), &[ROTATE]);
    let [mrn, _, name] = tokens(&kept(&bed).await);
    bed.make("clinician", &Call::new("GET /api/mrn/12345")).await;
    assert_eq!(bed.upstream.take_only().target, format!("/api/mrn/{mrn}"));
    let call = Call::new("GET /api/patients/123-45-6789/visits?last=Chalmers").header("x-patient-name", "Chalmers");
    bed.make("clinician", &call).await;
    let sent = bed.upstream.take_only();
    assert!(sent.target.ends_with(&format!("/visits?last={name}")), "{}", sent.target);
    assert_eq!(sent.headers["x-patient-name"], name);
}
