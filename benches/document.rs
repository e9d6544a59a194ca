//! How fast documents are rewritten, by size and number of values selected, next to copying them and to parsing them
//! into a tree and back, by serde_json and by the fastest crate that does.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sealgate::document::json::{Rewriter, Rules, quote};
use sealgate::document::path::FieldPath;
use sealgate::document::{Limits, Rewrite, Step, Watch, csv, form, hl7v2, x12, xml};
use sealgate::seal::Budget;
use sealgate::seal::crypto::default_provider;
use sealgate::seal::token::{find_token, holds_token};
use sealgate::seal::{
    Class, Context, DataKey, EncryptedDataKey, EncryptionContext, KekTag, Kind, Manner, Origin, Purpose, Scope,
    SealingKey, UnwrappedKey, Workspace,
};
use sonic_rs::{JsonValueMutTrait, JsonValueTrait};

/// A bundle of about `bytes` bytes in which `$.entry[*].resource.secret` selects `matches` values.
fn bundle(bytes: usize, matches: usize) -> String {
    let mut body = String::from("{\n  \"resourceType\": \"Bundle\",\n  \"type\": \"searchset\",\n  \"entry\": [");
    let mut entries = 0;
    while body.len() < bytes || entries < matches {
        let secret = if entries < matches {
            format!("\n        \"secret\": \"{:03}-45-{entries:04}\",", entries % 900)
        } else {
            String::new()
        };
        let comma = if entries == 0 { "" } else { "," };
        body.push_str(&format!(
            "{comma}\n    {{\n      \"fullUrl\": \"urn:uuid:0b7c-{entries:06}\",\n      \"resource\": {{{secret}"
        ));
        if body.len() < bytes {
            body.push_str(PATIENT);
        }
        body.push_str("\n        \"id\": \"p\"\n      }\n    }");
        entries += 1;
    }
    body.push_str("\n  ]\n}\n");
    body
}

/// Some members of a patient, with the mixture of short names, codes, numbers and narrative that records have.
const PATIENT: &str = r#"
        "resourceType": "Patient",
        "text": { "status": "generated", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\">\n <p>Généré<\/p>\n</div>" },
        "extension": [ { "url": "http://hl7.org/fhir/StructureDefinition/geolocation", "valueDecimal": 42.357190 } ],
        "name": [ { "use": "official", "family": "Müller", "given": [ "Jörg", "Ann" ], "prefix": [ "Mr." ] } ],
        "telecom": [ { "system": "phone", "value": "555-203-1234", "use": "home", "rank": 1 } ],
        "gender": "male",
        "birthDate": "1956-05-27",
        "deceasedBoolean": false,
        "address": [ { "line": [ "1047 Bernier Heights" ], "city": "Plymouth", "state": "MA", "postalCode": "02360" } ],
        "maritalStatus": {
          "coding": [ { "system": "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus", "code": "M", "display": "M" } ]
        },
        "multipleBirthInteger": 2,"#;

/// The fields that a route for records commonly protects.
fn rules() -> Arc<Rules> {
    let paths = [
        "$.entry[*].resource.secret",
        "$.secret",
        "$.ssn",
        "$.patient.name[*].family",
        "$.patient.name[*].given[*]",
        "$.patient.address[*].line[*]",
        "$.patient.telecom[*].value",
        "$.patient.birthDate",
        "$.entry[*].resource.photo",
        "$.entry[*].resource.contact[*].name",
        "$.entry[*].resource.identifier[0].value",
        "$.parameter[*].valueString",
    ];
    let paths: Vec<FieldPath> = paths.iter().filter_map(|path| FieldPath::parse(path).ok()).collect();
    Arc::new(Rules::compile(&paths).expect("twelve paths"))
}

/// Feeds the body in pieces as a socket would and takes the output of each; returns the slots and the bytes seen.
fn rewrite(rules: &Arc<Rules>, watch: Option<Watch>, body: &[u8]) -> (usize, usize) {
    let mut rewriter = Rewriter::new(Arc::clone(rules), Limits::default(), watch);
    let (mut slots, mut written) = (0, 0);
    let mut pieces = body.chunks(16 << 10);
    loop {
        match rewriter.step().expect("a valid document") {
            Step::Slot => {
                slots += 1;
                rewriter.replace(b"\"sealed:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\"");
            }
            Step::NeedInput => {
                written += rewriter.take_output().len();
                match pieces.next() {
                    Some(piece) => rewriter.feed(piece),
                    None => rewriter.finish(),
                }
            }
            Step::Done => return (slots, written + rewriter.take_output().len()),
        }
    }
}

/// Strings that hold tokens are watched.
const TOKENS: Watch = Watch::marked(holds_token, find_token);

fn document(criterion: &mut Criterion) {
    let rules = rules();
    for (label, bytes) in [("1KB", 1 << 10), ("8KB", 8 << 10), ("64KB", 64 << 10), ("1MB", 1 << 20)] {
        let mut group = criterion.benchmark_group(label);
        for matches in [0, 1, 10, 100] {
            let body = bundle(bytes, matches);
            assert_eq!(rewrite(&rules, None, body.as_bytes()).0, matches, "the bundle holds what it says");
            group.throughput(Throughput::Bytes(body.len() as u64));
            group.bench_with_input(BenchmarkId::new("rewrite", matches), body.as_bytes(), |bench, body| {
                bench.iter(|| rewrite(&rules, None, black_box(body)));
            });
        }
        let body = bundle(bytes, 10);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_with_input(BenchmarkId::new("rewrite watched", 10), body.as_bytes(), |bench, body| {
            bench.iter(|| rewrite(&rules, Some(TOKENS), black_box(body)));
        });
        group.bench_function("memcpy", |bench| bench.iter(|| black_box(body.as_bytes()).to_vec()));
        group.bench_function("serde_json tree and back", |bench| {
            bench.iter(|| {
                let tree: serde_json::Value =
                    serde_json::from_slice(black_box(body.as_bytes())).expect("a valid document");
                serde_json::to_vec(&tree).expect("a tree")
            });
        });
        group.bench_function("sonic-rs tree and back", |bench| {
            bench.iter(|| {
                let tree: sonic_rs::Value = sonic_rs::from_slice(black_box(body.as_bytes())).expect("a valid document");
                sonic_rs::to_vec(&tree).expect("a tree")
            });
        });
        group.finish();
    }
}

/// A key as the gate has one, and what it seals for.
fn sealer(origin: Origin) -> (SealingKey, Context<'static>) {
    let provider = default_provider();
    let key = UnwrappedKey::new(provider, DataKey::generate(provider).expect("randomness")).expect("a key");
    let scope = Scope::parse("bench").expect("a scope");
    let made_for = EncryptionContext { scope, purpose: Purpose::Field };
    let budget = Budget { seals_max: u64::MAX, bytes_max: u64::MAX };
    let key = SealingKey::new(key, made_for, origin, budget);
    (key, Context { class: Class::parse("phi").expect("a class"), scope, bind: &[] })
}

/// Data keys that ride in the tokens.
fn inline() -> Origin {
    let kek = KekTag::of(default_provider(), "bench");
    Origin::Inline(vec![EncryptedDataKey { kek, blob: vec![7; 184] }])
}

/// Seals what the rules select; tells how many values that were.
fn seal(
    rules: &Arc<Rules>,
    (key, context): &(SealingKey, Context<'_>),
    watch: Option<Watch>,
    body: &[u8],
) -> (usize, Vec<u8>) {
    let mut rewriter = Rewriter::new(Arc::clone(rules), Limits::default(), watch);
    let (mut room, mut json, mut sealed) = (Workspace::new(), Vec::with_capacity(512), 0);
    rewriter.feed(body);
    rewriter.finish();
    while rewriter.step().expect("a valid document") == Step::Slot {
        let slot = rewriter.slot().expect("a slot");
        let (kind, value) = slot.text().map_or((Kind::Literal, slot.raw()), |text| (Kind::Text, text));
        let token = key.seal(&mut room, context, Manner::random(kind), value).expect("sealed");
        json.clear();
        quote(token.as_str().as_bytes(), &mut json);
        rewriter.replace(&json);
        sealed += 1;
    }
    (sealed, rewriter.take_output())
}

/// The same in a tree of a crate, of the values that [`bundle`] has for its rule.
macro_rules! seal_in_tree {
    ($json:ident, $sealer:expr, $body:expr) => {{
        let ((key, context), mut room, mut sealed) = ($sealer, Workspace::new(), 0);
        let mut tree: $json::Value = $json::from_slice($body).expect("a valid document");
        for entry in tree.get_mut("entry").and_then(|entries| entries.as_array_mut()).expect("entries").iter_mut() {
            let Some(value) = entry.get_mut("resource").and_then(|resource| resource.get_mut("secret")) else {
                continue;
            };
            let text = value.as_str().expect("a text").as_bytes();
            let token = key.seal(&mut room, context, Manner::random(Kind::Text), text).expect("sealed");
            *value = token.as_str().into();
            sealed += 1;
        }
        (sealed, $json::to_vec(&tree).expect("a tree"))
    }};
}

/// Ten values of 8 KB sealed, in the rewriter and in trees, with the same key; and with one that tokens only name.
fn sealed(criterion: &mut Criterion) {
    let (rules, body) = (rules(), bundle(8 << 10, 10));
    let (stored, sealer) = (sealer(Origin::Stored { salt: [7; 8] }), sealer(inline()));
    let body = body.as_bytes();
    let mut group = criterion.benchmark_group("8KB, ten values sealed");
    group.throughput(Throughput::Bytes(body.len() as u64));
    type Way<'a> = &'a dyn Fn(&[u8]) -> (usize, Vec<u8>);
    let ways: [(&str, Way<'_>); 5] = [
        ("rewrite watched", &|body| seal(&rules, &sealer, Some(TOKENS), body)),
        ("rewrite, key stored", &|body| seal(&rules, &stored, None, body)),
        ("serde_json tree and back, key stored", &|body| seal_in_tree!(serde_json, &stored, body)),
        ("serde_json tree and back", &|body| seal_in_tree!(serde_json, &sealer, body)),
        ("sonic-rs tree and back", &|body| seal_in_tree!(sonic_rs, &sealer, body)),
    ];
    for (name, way) in ways {
        assert_eq!(way(body).0, 10, "{name} seals what there is");
        group.bench_function(name, |bench| bench.iter(|| way(black_box(body))));
    }
    group.finish();
}

/// Strings that look as if they had to be looked at, one after the other, where the reader begins anew at each element.
fn marks(criterion: &mut Criterion) {
    let rules = FieldPath::parse("$[1].a").map(|path| Rules::compile(&[path]));
    let rules = Arc::new(rules.expect("a path").expect("one path"));
    let mut group = criterion.benchmark_group("1MB, watched");
    for (name, element) in [
        ("plain", r#"{"value":"some text of some length"}"#),
        ("half a token", r#"{"value":"sgv sgv sgv sgv sgv sgv"}"#),
        ("a token each", r#"{"value":"sgv1.AAECAwQFBgcICQoLDA0O"}"#),
    ] {
        let body = format!("[{}]", vec![element; (1 << 20) / element.len()].join(","));
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |bench| {
            bench.iter(|| {
                let mut rewriter = Rewriter::new(Arc::clone(&rules), Limits::default(), Some(TOKENS));
                rewriter.feed(black_box(body.as_bytes()));
                rewriter.finish();
                while rewriter.step().expect("a valid document") == Step::Slot {
                    rewriter.keep();
                }
                rewriter.take_output()
            });
        });
    }
    group.finish();
}

/// A real Patient of 3.3 KB, its sixteen identifying values sealed: what a write costs inside the gate.
fn patient(criterion: &mut Criterion) {
    const PATIENT: &[u8] = include_bytes!("../src/cli/demo/patient.json");
    let paths = [
        "$.text.div",
        "$.name[*].family",
        "$.name[*].given[*]",
        "$.name[*].prefix[*]",
        "$.extension[*].valueString",
        "$.extension[*].valueAddress",
        "$.telecom[*].value",
        "$.identifier[*].value",
        "$.address[*].line[*]",
        "$.address[*].city",
        "$.address[*].postalCode",
        "$.address[*].extension",
    ];
    let paths: Vec<FieldPath> = paths.iter().filter_map(|path| FieldPath::parse(path).ok()).collect();
    let rules = Arc::new(Rules::compile(&paths).expect("twelve paths"));
    let sealer = sealer(inline());
    assert_eq!(seal(&rules, &sealer, Some(TOKENS), PATIENT).0, 16, "the patient holds what it says");
    criterion.bench_function("seal a patient", |bench| {
        bench.iter(|| seal(&rules, &sealer, Some(TOKENS), black_box(PATIENT)))
    });
}

/// Real samples in the other formats, with the values of people replaced; their text is read byte by byte.
fn formats(criterion: &mut Criterion) {
    const CSV: &str = include_str!("../tests/data/csv/patients.csv");
    const HL7: &str = include_str!("../tests/data/hl7v2/ADT-A01-01.hl7");
    const X12: &str = include_str!("../tests/data/x12/institutional-claim.837i");
    const XML: &str = include_str!("../tests/data/ccda/diagnostic-imaging-report.xml");
    const FORM: &str = include_str!("../tests/data/forms/openemr-new-patient-1.urlencoded");
    let limits = Limits::default;
    let csv = ["SSN", "FIRST", "LAST", "ADDRESS"].map(|path| csv::CsvPath::parse(path).expect("a column"));
    let csv = Arc::new(csv::Rules::compile(&numbered(csv), b',').expect("a delimiter"));
    let hl7 = ["PID-3", "PID-5", "PID-11", "NK1-2"].map(|path| hl7v2::Hl7Path::parse(path).expect("a field"));
    let hl7 = Arc::new(hl7v2::Rules::compile(&numbered(hl7)));
    let x12 = ["NM1*IL-3", "NM1*IL-4", "N3-1", "DMG-2"].map(|path| x12::X12Path::parse(path).expect("an element"));
    let x12 = Arc::new(x12::Rules::compile(&numbered(x12)));
    let xml = ["//{urn:hl7-org:v3}patient//{urn:hl7-org:v3}given", "//{urn:hl7-org:v3}streetAddressLine"];
    let xml = xml.map(|path| xml::XmlPath::parse(path).expect("a path"));
    let xml = Arc::new(xml::Rules::compile(&numbered(xml)).expect("few paths"));
    let form = ["form_fname", "form_lname", "form_ss"].map(|path| form::FormPath::parse(path).expect("a field"));
    let form = Arc::new(form::Rules::compile(&numbered(form)));
    type Make<'a> = &'a dyn Fn() -> Box<dyn Rewrite>;
    let cases: [(&str, &str, Make<'_>); 5] = [
        ("CSV", CSV, &|| Box::new(csv::Rewriter::new(Arc::clone(&csv), limits(), None))),
        ("HL7 v2", HL7, &|| Box::new(hl7v2::Rewriter::new(Arc::clone(&hl7), limits(), None))),
        ("X12", X12, &|| Box::new(x12::Rewriter::new(Arc::clone(&x12), limits(), None))),
        ("XML", XML, &|| Box::new(xml::Rewriter::new(Arc::clone(&xml), limits(), None))),
        ("form", FORM, &|| Box::new(form::Rewriter::new(Arc::clone(&form), limits(), None))),
    ];
    let mut group = criterion.benchmark_group("formats");
    for (name, body, make) in cases {
        let run = |body: &[u8]| {
            let (mut rewriter, mut slots) = (make(), 0);
            rewriter.feed(body);
            rewriter.finish();
            while rewriter.step().expect("a good sample") == Step::Slot {
                slots += 1;
                rewriter.replace(b"sgv1.AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8");
            }
            (slots, rewriter.take_output().len())
        };
        assert!(run(body.as_bytes()).0 > 0, "{name} holds what its rules select");
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |bench| bench.iter(|| run(black_box(body.as_bytes()))));
    }
    group.finish();
}

fn numbered<T, const N: usize>(paths: [T; N]) -> Vec<(usize, T)> {
    paths.into_iter().enumerate().collect()
}

criterion_group!(benches, document, sealed, marks, patient, formats);
criterion_main!(benches);
