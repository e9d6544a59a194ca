//! What was stored once opens for ever: documents of every kind as an earlier gate sealed them, and the vectors of the format.

use crate::fixture::Call;
use crate::fixture::gate::Setup;
use crate::fixture::keys::with_keyring;
use crate::fixture::upstream::Upstream;
use sealgate::seal::crypto::sha256;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

const CONFIG: &str = "
routes:
  - name: carriers
    path: /c/{id}
    methods: [GET, PUT]
    upstream: app
    open: anywhere
    rules:
      - {path: $.bound, class: note, bind: {record: {parameter: id}}}
      - {path: $.exact, class: exact}
      - {path: $.digits, class: digits}
      - {path: $.number, class: note}
      - {path: '$..ssn', class: ssn}
      - {xml: //patient/name, class: name}
      - {xml: //id/@extension, class: ssn}
      - {form: ssn, class: ssn}
      - {csv: ssn, class: ssn}
      - {hl7: PID-5, class: name}
      - {x12: 'NM1*IL-3', class: name}
      - {body: application/pdf, class: note}
  - name: resources
    path: /fhir/{id}
    methods: [GET, PUT]
    upstream: app
    rules:
      - {fhir: Patient.name.family, class: name}
      - {fhir: Patient.birthDate, class: note, as: extension}
      - {fhir: Patient.multipleBirthInteger, class: note, as: extension}
      - {fhir: Patient.text.div, class: note, as: xhtml}
      - {fhir: Patient.photo.data, class: note, as: base64}
";

/// The documents, each with its type and where it is kept.
const DOCUMENTS: [(&str, &str, &str); 10] = [
    ("json", "application/json", "/c/1"),
    ("fhir-json", "application/fhir+json", "/fhir/1"),
    ("ndjson", "application/x-ndjson", "/c/1"),
    ("fhir-xml", "application/fhir+xml", "/fhir/1"),
    ("xml", "application/xml", "/c/1"),
    ("form", "application/x-www-form-urlencoded", "/c/1"),
    ("csv", "text/csv", "/c/1"),
    ("hl7", "application/hl7-v2+er7", "/c/1"),
    ("x12", "application/edi-x12", "/c/1"),
    ("pdf", "application/pdf", "/c/1"),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

fn setup(upstream: &Upstream) -> Setup {
    let classes = "classes:\n  exact: {suite: deterministic}\n  digits: {suite: format, alphabet: digits}\n";
    let setup = with_keyring(Setup::before(upstream.addr()), "keyset_file: keyset");
    setup.replace("classes:\n", classes).replace("\nroutes:\n", CONFIG)
}

fn document(name: &str, of: &str) -> Vec<u8> {
    let file = folder().join("carriers").join(format!("{name}.{of}"));
    fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

#[tokio::test]
async fn what_was_stored_opens_as_what_it_was() {
    let upstream = Upstream::start();
    let setup = setup(&upstream);
    fs::copy(folder().join("carriers/keyset"), setup.folder().join("keyset")).unwrap();
    let gate = setup.start();
    let client = gate.as_client("clinician");
    for (name, media_type, path) in DOCUMENTS {
        let (stored, plain) = (document(name, "stored"), document(name, "plain"));
        upstream.keep_as(media_type, path, stored);
        let read = Call::new(&format!("GET {path}")).from(&client).await;
        assert!(read.status == 200 && read.body == plain, "{name}: {}", read.text());
    }
}

/// Every published file with its SHA-256. A line may be added; none may be changed: values are stored as these say.
const PUBLISHED: [(&str, &str); 26] = [
    ("carriers/csv.plain", "9140d2a9f787329b421616450328b9bf4824dbfd426a09c3715e99df9c7370c5"),
    ("carriers/csv.stored", "8f29d145b8da639a9ef922bc3547c2b2f85119870f085355e2b2af010d952b18"),
    ("carriers/fhir-json.plain", "ec9fef843344aac6998052fcfef8d90915e645a65d99ac007b0de4c0cddb3b4e"),
    ("carriers/fhir-json.stored", "ffe4561837140bca66e1a9ebda2eb01427e866f53f902a3e695a908c02c077f2"),
    ("carriers/fhir-xml.plain", "f03d0140ec749784e0d199f01f5bff41e61cbbe3daa461ac2932a04de958fc23"),
    ("carriers/fhir-xml.stored", "fc4d736b4f38d8211e00b0ea844d8021f3d0170143eb2841f04cde15c939cfd7"),
    ("carriers/form.plain", "259e126543e324bd60d679ddd3e7d95247135a0077d89f5b03b11c9f26bc1c44"),
    ("carriers/form.stored", "a5b8d1f22df8b41161750737528a5b67fd835aac3386a8747af7ff23bd024c40"),
    ("carriers/hl7.plain", "b3f27911380c19af2828f685d3fca7656c40425e0a7e055d8096ec271ddbd753"),
    ("carriers/hl7.stored", "cd304d4ac5e06812fa436651ee3d1470910f331aae2c326db38a1b7d64bbef35"),
    ("carriers/json.plain", "0399c5827719bdd216ce4383805fc4666d3c5a7be5ebf2ea77ba8b08f42a3f9d"),
    ("carriers/json.stored", "c61077476ddc9df2dc2a6a9822aef924f8386c3690203213526c53ee447a49be"),
    ("carriers/keyset", "c24529a481181408c75b47383d727ea70573dc3e7305905ea41af22557b13711"),
    ("carriers/ndjson.plain", "6a763daf1fec5d74ba0c81aa91ce2526977eee3702f913ba2e1717da14004b22"),
    ("carriers/ndjson.stored", "8be71fc1b77232fbf78e2672ac2405cfd738f3fe3c448e9c51c8aa1261266a84"),
    ("carriers/pdf.plain", "29c252e971d2abbc91faea160f1ddaca6dd6020e1b0339e745beebab8b5c1f9b"),
    ("carriers/pdf.stored", "b68695cbca5e4669a177c67ad23ec09b07f231d6bd1c6b172fbe080311269bde"),
    ("carriers/x12.plain", "b95d769353bcdce1caf3c80e46d58d3da877366b2357babb10bafc4c7d84bd6f"),
    ("carriers/x12.stored", "6fd9c01a50de2bf85f791fb7241ffdb19c22475b1df0211a3041a9b289464f70"),
    ("carriers/xml.plain", "69fc318d5d7c2c00a868cb4bb599ea38753d0d8c8887a6375aabec2c6911cec1"),
    ("carriers/xml.stored", "a7ba5ba2dd786e16ef336f028e12d48a65f94eba9e89618a9a0394d867cf67b2"),
    ("deterministic.json", "ddb3fe1e7db786df2845eae1cdcad7c6739f7e56eeae524f2fc0eda3892c81b6"),
    ("format.json", "e6392969ebebe0c523a489b01cac621eab130263337801bb566292911affc348"),
    ("random.json", "3a67ecc30dae101c6ea9e37ce313a43909218eec8f3b90f32aa08e7d26a177e8"),
    ("reading.json", "7b739c667f2a6b077cad7174868efe922082c5bd41beb3a307f3285f4fd2ec16"),
    ("stream.json", "e1853c6fd307857e7833a30bb1298a4e498c5309949ce7ee2c656ea941ba581b"),
];

#[test]
fn nothing_that_was_published_changes() {
    let hex = |bytes: [u8; 32]| {
        bytes.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        })
    };
    for (name, digest) in PUBLISHED {
        let bytes = fs::read(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(hex(sha256(&[&bytes])), digest, "{name}");
    }
    for folder in [folder(), folder().join("carriers")] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let is_published = PUBLISHED.iter().any(|(name, _)| path.ends_with(name));
            assert!(path.is_dir() || path.extension() == Some("py".as_ref()) || is_published, "{}", path.display());
        }
    }
}
