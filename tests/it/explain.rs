//! What the rules of a route find in a sample and what they miss, as `rules explain` and `validate --sample` tell it.

use crate::fixture::Setup;
use crate::fixture::keys::with_file_store;
use std::fs;

const ROUTES: &str = "
routes:
  - name: record
    path: /record/{id}
    methods: [GET, PUT]
    upstream: app
    rules:
      - {path: '$..ssn', class: ssn}
      - {path: '$.name[*].family', class: name}
      - {path: '$.clinic.phone', pass: true}
      - {path: '$.clinic.seats', pass: true}
      - {path: '$.history', class: note}
      - {path: '$.photo', class: note}
  - name: table
    path: /table/{id}
    methods: [GET, PUT]
    upstream: app
    rules:
      - {csv: SSN, class: ssn}
      - {csv: FIRST, class: name}
      - {csv: LAST, class: name}
      - {csv: PASSPORT, class: ssn}
  - name: message
    path: /message/{id}
    methods: [GET, PUT]
    upstream: app
    rules:
      - {hl7: PID-5, class: name}
      - {hl7: PID-3.1, class: ssn}
      - {hl7: PID-99, class: note}
  - name: document
    path: /document/{id}
    methods: [GET, PUT]
    upstream: app
    rules:
      - {xml: '//patient/name', class: name}
      - {xml: '//patientRole/id/@extension', class: ssn}
      - {xml: '//section/text/markup()', class: note}
      - {xml: '//patient/nowhere', class: note}
  - name: fhir
    path: /fhir/{type}/{id}
    methods: [GET, PUT]
    upstream: app
    packs: [fhir-r4]
    rules:
      - {fhir: Patient.gender, pass: true}
      - {fhir: Patient.animal, class: note}
  - name: upload
    path: /upload/{id}
    methods: [POST]
    upstream: app
    rules:
      - {form: name, class: name}
      - {form: ssn, class: ssn}
      - {file: photo, class: note}
      - {body: 'image/*', class: note}
      - {body: application/pdf, class: note}
  - name: few
    path: /few/{type}/{id}
    methods: [GET, PUT]
    upstream: app
    resources_allowed: [Bundle]
    rules:
      - {fhir: Patient.name.family, class: name}
      - {fhir: Patient.identifier.value, class: ssn}
";

fn setup() -> Setup {
    let setup = Setup::before(([127, 0, 0, 1], 9).into()).replace("\nroutes:\n", ROUTES);
    with_file_store(setup)
}

/// What is said of a sample of the test data.
fn explained(more: &[&str], file: &str) -> (Option<i32>, String) {
    let file = format!("{}/tests/data/{file}", env!("CARGO_MANIFEST_DIR"));
    setup().command(&[&["rules", "explain", &file], more].concat())
}

/// The same of a sample that is written for it.
fn explained_text(more: &[&str], name: &str, text: &str) -> (Option<i32>, String) {
    let setup = setup();
    let file = setup.folder().join(name);
    fs::write(&file, text).unwrap();
    setup.command(&[&["rules", "explain", file.to_str().unwrap()], more].concat())
}

/// The cells of the lines of a section.
fn section<'a>(said: &'a str, title: &str) -> Vec<Vec<&'a str>> {
    let start = said.find(title).unwrap_or_else(|| panic!("no {title} in {said}"));
    let lines = said[start..].lines().skip(1).take_while(|line| !line.is_empty());
    lines.map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()).collect()
}

fn met(said: &str) -> Vec<Vec<&str>> {
    section(said, "Values and the rules that they meet")
}

fn missed(said: &str) -> Vec<Vec<&str>> {
    section(said, "Values that look like PHI and meet no rule")
}

fn unmet(said: &str) -> Vec<Vec<&str>> {
    section(said, "Rules that nothing in the sample meets")
}

const RECORD: &str = r#"{"id": 7, "ssn": 999123456, "name": [{"family": "Chalmers\u001b[31m"}],
 "history": {"ssn": "999-12-3456", "text": "fell ill"},
 "clinic": {"phone": "555-010-9999", "seats": 12, "fax": null},
 "born": "1974-12-25", "mobile": 5550109999, "notes": ["ask 555-010-1234, or p@clinic.example"],
 "spouse": {"social_security": 999654321}, "999-12-3457": "", "code": "123456789", "photo": ""}"#;

#[test]
fn every_value_of_json_is_told_with_its_place_and_its_rule() {
    let (code, said) = explained_text(&["--route", "record"], "record.json", RECORD);
    assert_eq!(code, Some(1), "{said}");
    let ssn = ["path: $..ssn", "class ssn"];
    assert_eq!(
        met(&said),
        [
            &["1:18", "$.ssn", ssn[0], ssn[1], "999123456"][..],
            &["1:49", "$.name[0].family", "path: $.name[*].family", "class name", "Chalmers\\u{1b}[31m"],
            &["2:13", "$.history", "path: $.history", "class note", "{\"ssn\": \"999-12-3456\", \"text\": \"fell ill…"],
            &["3:22", "$.clinic.phone", "path: $.clinic.phone", "pass", "555-010-9999"],
            &["3:47", "$.clinic.seats", "path: $.clinic.seats", "pass", "12"],
        ]
    );
    assert_eq!(
        missed(&said),
        [
            &["4:10", "$.born", "date of birth", "1974-12-25"][..],
            &["4:34", "$.mobile", "phone number", "5550109999"],
            &["4:56", "$.notes[0]", "phone number", "ask 555-010-1234, or p@clinic.example"],
            &["4:56", "$.notes[0]", "e-mail address", "ask 555-010-1234, or p@clinic.example"],
            &["5:32", "$.spouse.social_security", "social security number", "999654321"],
            &["5:44", "$['999-12-3457']", "social security number", "999-12-3457"],
        ]
    );
    assert_eq!(unmet(&said), [["path: $.photo", "class note"]], "an empty value proves nothing");
}

#[test]
fn a_sample_in_which_nothing_is_missed_is_good() {
    let record = r#"{"ssn": "999-12-3456", "clinic": {"phone": "555-010-9999"}, "born": 1974}"#;
    let (code, said) = explained_text(&["--route", "record"], "record.json", record);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("record.json: application/json by the rules of route record\n"), "{said}");
    assert!(said.contains("meet no rule: none\n"), "{said}");
    assert_eq!(met(&said).len(), 2);
    assert_eq!(unmet(&said).len(), 4);
}

#[test]
fn resources_are_explained_by_the_rules_of_the_pack() {
    let (code, said) = explained(&["--route", "fhir"], "fhir/hl7-r4/Patient-example.json");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(": application/fhir+json by "), "{said}");
    let met = met(&said);
    for line in [
        &["33:17", "$.name[0].family", "fhir: Patient.name.family", "class name", "Chalmers"][..],
        &["82:13", "$.gender", "fhir: Patient.gender", "pass", "male"],
        &["83:16", "$.birthDate", "fhir: Patient.birthDate", "class birth-date", "1974-12-25"],
    ] {
        assert!(met.iter().any(|there| there == line), "{line:?} is not in {said}");
    }
    let unmet = unmet(&said);
    assert_eq!(unmet[0], ["fhir: Patient.animal", "class note"]);
    assert!(unmet.len() == 2 && unmet[1][0].ends_with(" rules of the pack fhir-r4"), "{unmet:?}");
    let (code, said) = explained(&["--route", "fhir"], "ndjson/Patient.000.ndjson");
    assert!(code == Some(0) && said.contains(": application/fhir+ndjson by "), "{said}");
}

#[test]
fn a_name_of_a_patient_is_found_where_no_rule_looks() {
    let (code, said) = explained(&["--route", "few"], "fhir/hl7-r4/Patient-example.json");
    assert_eq!(code, Some(1), "{said}");
    let names: Vec<_> = missed(&said).into_iter().filter(|line| line[2] == "name of a patient").collect();
    let places: Vec<&str> = names.iter().map(|line| line[1]).collect();
    let given = ["$.name[0].given[0]", "$.name[0].given[1]", "$.name[1].given[0]", "$.name[2].given[0]"];
    assert_eq!(places, [&["$.text.div"], &given[..], &["$.name[2].given[1]"]].concat());
    let bundle = r#"{"resourceType":"Bundle","entry":[
        {"resource":{"resourceType":"Patient","name":[{"family":"Windsor"}]}},
        {"resource":{"resourceType":"Bundle","x":{"display":"P. WINDSOR"},"y":{"display":"Windsorough"}}}]}"#;
    let (code, said) = explained_text(&["--route", "few"], "bundle", bundle);
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(missed(&said), [["3:61", "$.entry[1].resource.x.display", "name of a patient", "P. WINDSOR"]]);
    let xml = "<Patient xmlns=\"http://hl7.org/fhir\">\n<name><family value=\"Windsor\"/></name>\n<birthDate value=\"1974-12-25\"/>\
        <link><other><display value=\"Mr. Windsor\"/></other></link></Patient>";
    let (code, said) = explained_text(&["--route", "few", "--type", "application/fhir+xml"], "patient", xml);
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(
        met(&said),
        [["2:22", "/Patient/name/family/@value", "fhir: Patient.name.family", "class name", "Windsor"]]
    );
    assert_eq!(
        missed(&said),
        [
            ["3:19", "/Patient/birthDate/@value", "date of birth", "1974-12-25"],
            ["3:61", "/Patient/link/other/display/@value", "name of a patient", "Mr. Windsor"],
        ]
    );
    assert_eq!(unmet(&said), [["fhir: Patient.identifier.value", "class ssn"]]);
}

#[test]
fn tables_are_explained_by_their_columns() {
    let (code, said) = explained(&[], "csv/patients.csv");
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(met(&said)[0], ["2:50", "SSN", "csv: SSN", "class ssn", "999-17-5017"]);
    let missed = missed(&said);
    assert_eq!(missed[0], ["2:38", "BIRTHDATE", "date of birth", "2014-10-06"]);
    assert!(missed.iter().all(|line| line[1] == "BIRTHDATE"), "{said}");
    assert!(said.ends_with("Rules that nothing in the sample meets: none\n"), "{said}");
    let (code, said) = explained_text(&[], "short.csv", "SSN,FIRST\n999-12-3456,Peter\n");
    assert_eq!(code, Some(1));
    assert!(said.ends_with("route table refuses it: a ruled column is not in the header at offset 9\n"), "{said}");
}

#[test]
fn messages_are_explained_by_their_fields() {
    let (code, said) = explained(&[], "hl7v2/ADT-A01-01.hl7");
    assert_eq!(code, Some(1), "{said}");
    let (met, missed) = (met(&said), missed(&said));
    assert_eq!(met[0], ["4:67", "PID-3[1].1", "hl7: PID-3.1", "class ssn", "PATID1234"]);
    assert_eq!(met[2][1..4], ["PID-5[1]", "hl7: PID-5", "class name"]);
    for line in [
        ["4:289", "PID-7", "date of birth", "198808181126+0215"],
        ["4:462", "PID-13[1].1", "phone number", "78788788"],
        ["20:208", "IN1-7.1", "phone number", "(555)555-5555"],
        ["21:77", "IN2-2", "social security number", "425-57-9745"],
    ] {
        assert!(missed.iter().any(|there| there == &line), "{line:?} is not in {said}");
    }
    assert!(!said.contains("PID-13[1].13"), "a date is no phone number: {said}");
    assert_eq!(unmet(&said), [["hl7: PID-99", "class note"]]);
}

#[test]
fn documents_are_explained_by_their_elements() {
    let (code, said) = explained(&["--route", "document"], "ccda/ccd.xml");
    assert_eq!(code, Some(1), "{said}");
    let (met, missed) = (met(&said), missed(&said));
    let role = "/ClinicalDocument/recordTarget/patientRole";
    let id = format!("{role}/id/@extension");
    assert_eq!(met[0], ["39:22", &id, "xml: //patientRole/id/@extension", "class ssn", "444222222"]);
    let family = format!("{role}/patient/name/family");
    assert!(met.iter().any(|line| line[1..4] == [&family, "xml: //patient/name", "class name"]), "{said}");
    let birth = format!("{role}/patient/birthTime/@value");
    assert!(missed.iter().any(|line| line[1..3] == [&birth, "date of birth"]), "{said}");
    assert_eq!(unmet(&said), [["xml: //patient/nowhere", "class note"]]);
}

#[test]
fn parts_of_a_form_and_whole_bodies_are_told() {
    let part = |name: &str, text: &str| {
        format!("--a-longer-b0undary\r\nContent-Disposition: form-data; {name}\r\n\r\n{text}\r\n")
    };
    let form = part("name=\"name\"", "Ann") + &part("name=\"tel\"", "555-010-9999");
    let form = form + &part("name=\"photo\"; filename=\"a.png\"", "PNG") + "--a-longer-b0undary--\r\n";
    let typed = ["--type", "multipart/form-data; boundary=a-longer-b0undary"];
    let (code, said) = explained_text(&typed, "a.form", &form);
    assert_eq!(code, Some(1), "{said}");
    let met = met(&said);
    assert_eq!(met.len(), 2, "{said}");
    assert_eq!(met[0], ["4:1", "name", "form: name", "class name", "Ann"]);
    assert_eq!(met[1][1..], ["photo", "file: photo", "class note", "(file)"]);
    assert_eq!(missed(&said), [["8:1", "tel", "phone number", "555-010-9999"]]);
    assert_eq!(unmet(&said), [["form: ssn", "class ssn"]]);
    let other = part("name=\"scan\"; filename=\"a.png\"", "PNG") + "--a-longer-b0undary--\r\n";
    let (code, said) = explained_text(&typed, "a.form", &other);
    assert!(code == Some(1) && said.contains("route upload refuses it: file that no rule selects"), "{said}");

    let (code, said) = explained_text(&[], "a.png", "PNG");
    assert_eq!((code, self::met(&said)), (Some(0), vec![vec!["1:1", "body", "body: image/*", "class note", "(file)"]]));
    assert_eq!(unmet(&said), [[""; 0]; 0], "{said}");
    assert_eq!(validated(Some("upload"), &[("a.png", "PNG")]).0, Some(0));
}

#[test]
fn what_no_route_reads_or_several_do_is_said() {
    for (more, name, text, code, want) in [
        (&[][..], "a.json", "{}", 64, "say which with --route: patients, record, patient, fhir, few\n"),
        (&["--route", "none"], "a.json", "{}", 64, "no route none that has rules\n"),
        (&["--route", "open"], "a.json", "{}", 64, "no route open that has rules\n"),
        (&["--route", "record"], "a.bin", "{}", 64, "say it with --type\n"),
        (&["--type", "audio/mpeg"], "a.json", "{}", 1, "a.json: no route has rules for audio/mpeg\n"),
        (&["--route", "table"], "a.json", "{}", 1, "a.json: route table has no rules for application/json\n"),
        (&[], "a.html", "<p>", 1, "a.html: no route has rules for text/html\n"),
        (&["--route", "record"], "a.json", "{", 1, "a.json: route record refuses it: unexpected end at offset 1\n"),
    ] {
        let (exit, said) = explained_text(more, name, text);
        assert!(exit == Some(code) && said.ends_with(want), "{more:?} {name}: {exit:?} {said}");
    }
}

#[test]
fn a_page_has_no_rules_and_is_looked_through_by_its_lines() {
    let setup = Setup::before(([127, 0, 0, 1], 9).into());
    let setup = setup.replace("path: /Patient/{id}\n", "path: /Patient/{id}\n    open: anywhere\n");
    let file = setup.folder().join("page.html");
    fs::write(&file, "<p>\n<b>999-12-3456</b>\n").unwrap();
    let (code, said) = setup.command(&["rules", "explain", file.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(missed(&said), [["2:1", "social security number", "<b>999-12-3456</b>"]]);
}

/// Runs `validate` with samples that are written for it.
fn validated(route: Option<&str>, samples: &[(&str, &str)]) -> (Option<i32>, String) {
    let setup = setup();
    let folder = setup.folder().to_str().unwrap().to_owned();
    let mut arguments = vec!["validate".to_owned()];
    for (name, text) in samples {
        fs::write(setup.folder().join(name), text).unwrap();
        arguments.extend(["--sample".to_owned(), format!("{folder}/{name}")]);
    }
    arguments.extend(route.iter().flat_map(|route| ["--route".to_owned(), (*route).to_owned()]));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (code, said) = setup.command(&arguments);
    (code, said.replace(&format!("{folder}/"), ""))
}

#[test]
fn a_config_is_good_when_samples_together_meet_every_rule() {
    let photo = r#"{"photo": "x"}"#;
    let unmet = "route record: nothing in the samples meets the rule path: $.photo, class note\n";
    let (code, said) = validated(Some("record"), &[("a.json", RECORD)]);
    assert_eq!((code, said.as_str()), (Some(1), unmet));
    let (code, said) = validated(Some("record"), &[("a.json", RECORD), ("b.json", photo)]);
    assert!(code == Some(0) && said.starts_with("gate.yaml: good, "), "{said}");
    // Rules for other formats than those of the samples, and rules of the gate's own packs, may meet nothing.
    let (code, said) = validated(Some("fhir"), &[("a.json", r#"{"resourceType":"Patient","gender":"male"}"#)]);
    let unmet = "route fhir: nothing in the samples meets the rule fhir: Patient.animal, class note\n";
    assert_eq!((code, said.as_str()), (Some(1), unmet));
}

#[test]
fn without_a_route_every_one_that_takes_the_format_is_held_to_the_samples() {
    let message = "MSH|^~\\&|A\rPID|||1||Chalmers|||M\r";
    let table = "SSN,FIRST,LAST,PASSPORT\n1,Peter,Chalmers,\n2,,,X1\n";
    let (code, said) = validated(None, &[("a.csv", table)]);
    assert!(code == Some(0), "{said}");
    let (code, said) = validated(None, &[("a.csv", table), ("b.hl7", message)]);
    let unmet = "route message: nothing in the samples meets the rule hl7: PID-99, class note\n";
    assert_eq!((code, said.as_str()), (Some(1), unmet));
    let (code, said) = validated(None, &[("a.csv", "SSN\n1\n")]);
    assert!(code == Some(1) && said.starts_with("a.csv: route table refuses it: a ruled column"), "{said}");
    let (code, said) = validated(None, &[("a.txt", "x")]);
    assert_eq!((code, said.as_str()), (Some(1), "a.txt: no route has rules for text/plain\n"));
    assert_eq!(validated(Some("table"), &[]).0, Some(64), "a route alone says nothing");
}
