//! Every file of the test data, through the gate and back: it comes back the same, and the upstream learns nothing of the
//! persons in it.

mod phi;
mod same;
mod table;

use super::forms::split;
use crate::fixture::keys::with_file_store;
use crate::fixture::leak::{find_leaks, without_certificate_hashes};
use crate::fixture::upstream::Received;
use crate::fixture::{Bed, Call};
use phi::{Phi, Values};
use same::{is_same_document_outside, is_same_outside, is_same_search_outside, without_tokens};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use table::{BESIDE, Is, NOBODY, PASSING, Passage, Row, SEARCHES, ids, rows};

/// Not looked for inside tokens, where what is this short stands by chance; everywhere else it is.
const SHORT: usize = 8;

/// What the gate's own id would be is random, and would hold a short value by chance.
const REQUEST_ID: (&str, &str) = ("x-request-id", "5ea15ea1-5ea1-4ea1-8ea1-5ea15ea15ea1");

fn bed() -> Bed {
    let uid = rustix::process::getuid().as_raw();
    let operator = format!("principals:\n  - {{uid: {uid}, roles: [clinician]}}\n");
    Bed::with(|setup| {
        with_file_store(setup)
            .replace("\nroutes:\n", include_str!("files/routes.yaml"))
            .replace("principals:\n", &operator)
            .replace("  ssn: {mask: {keep_last: 4}}\n  name: {mask: {keep_first: 1}}\n", "")
            .replace("  limits: {}\n", "  limits: {body_bytes_max: 8388608, response_bytes_max: 33554432}\n")
    })
}

/// Every file of the test data, by its path in it.
fn files() -> Vec<String> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let (mut files, mut folders) = (Vec::new(), vec![data.clone()]);
    while let Some(folder) = folders.pop() {
        let entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        for path in entries {
            let name = path.strip_prefix(&data).unwrap().to_str().unwrap().to_owned();
            match path.is_dir() {
                true if name != "LICENSES" => folders.push(path),
                false if name != "README.md" => files.push(name),
                _ => {}
            }
        }
    }
    files.sort();
    files
}

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(file)).unwrap()
}

#[test]
fn every_file_has_its_row_and_every_row_a_file() {
    let rows = rows();
    let files = files();
    for file in &files {
        let met: Vec<&str> = rows.iter().filter(|row| row.takes(file)).map(|row| row.files).collect();
        assert_eq!(met.len(), 1, "{file}: {met:?}");
    }
    for row in &rows {
        assert!(files.iter().any(|file| row.takes(file)), "no file is {}", row.files);
    }
    for file in PASSING.iter().map(|passing| &passing.file).chain(NOBODY).chain(BESIDE).chain(SEARCHES) {
        assert!(files.iter().any(|known| known == file), "no file is {file}");
    }
}

/// What the upstream got, but for what is random: the fields with addresses for their ports, and hashes of certificates.
fn recording(received: &[Received]) -> String {
    let requests = received.iter().map(|request| {
        let headers = request.headers.iter().filter(|(name, _)| *name != "host" && *name != "x-forwarded-host");
        let headers: String = headers.map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap())).collect();
        format!("{} {}\n{headers}\n{}\n", request.method, request.target, request.text())
    });
    without_certificate_hashes(&requests.collect::<String>())
}

/// One line for each value that stands in what the upstream got.
fn leaks(recording: &str, values: &Values) -> Vec<String> {
    let values: Vec<_> = values.iter().cloned().collect();
    let mut leaks = find_leaks(without_tokens(recording).as_bytes(), &values);
    let long: Vec<_> = values.into_iter().filter(|(_, value)| value.len() >= SHORT).collect();
    leaks.extend(find_leaks(recording.as_bytes(), &long));
    leaks
}

/// How a leak of it begins.
fn told((from, value): &(String, String)) -> String {
    format!("{from}: {value:?}")
}

/// What a leak is of, as it is [`told`].
fn of(leak: &str) -> &str {
    leak.split(" leaks at byte ").next().unwrap()
}

/// None but those that the list lets pass. Gives the numbers of its entries that are needed.
fn expect_no_leak(file: &str, text: &str, recording: &str, values: &Values) -> BTreeSet<usize> {
    let mut leaks = leaks(recording, values);
    let mut needed = BTreeSet::new();
    let cut = without_tokens(recording);
    for (number, passing) in PASSING.iter().enumerate().filter(|(_, passing)| passing.file == file) {
        let texts = match passing.value {
            Is::Text(text) => BTreeSet::from([text.to_owned()]),
            Is::Id => ids(&phi::json(text)),
        };
        let let_pass = values.iter().filter(|(_, value)| texts.contains(value));
        let let_pass: BTreeMap<String, &str> = let_pass.map(|value| (told(value), value.1.as_str())).collect();
        for (told, value) in &let_pass {
            // Where the rules seal it, it is.
            assert!(cut.matches(value).count() < text.matches(value).count(), "{file}: {told} is sealed nowhere");
        }
        let before = leaks.len();
        leaks.retain(|leak| !let_pass.contains_key(of(leak)));
        if leaks.len() < before {
            needed.insert(number);
        }
    }
    assert!(leaks.is_empty(), "{file}: {leaks:#?}");
    needed
}

/// What a clinician reads is what was sent.
fn expect_same(file: &str, sent: &str, read: &str) {
    // A search for a text says that it means the whole text: that is all that does not come back as it was.
    let read = read.replace("?name:exact=", "?name=");
    if BESIDE.contains(&file) {
        assert!(read != sent, "{file} does come back byte for byte");
        assert!(phi::json(&read) == phi::json(sent), "{file} is another document");
    } else {
        let at = read.bytes().zip(sent.bytes()).take_while(|(read, sent)| read == sent).count();
        assert!(read == sent, "{file} is another text from byte {at} on");
    }
}

/// What the upstream got is what was sent, but for the sealed values.
fn expect_same_outside(file: &str, sent: &str, kept: &str) {
    let same = match file {
        _ if BESIDE.contains(&file) => {
            let (kept, sent) = (phi::json(kept), phi::json(sent));
            let mut pairs = kept.iter().zip(&sent);
            kept.len() == sent.len() && pairs.all(|(kept, sent)| is_same_document_outside(kept, sent))
        }
        _ if SEARCHES.contains(&file) => is_same_search_outside(kept, sent),
        _ => is_same_outside(kept, sent),
    };
    assert!(same, "{file}: the upstream got other than what was sent");
    let is_needed = !is_same_outside(kept, sent);
    assert_eq!(is_needed, BESIDE.contains(&file) || SEARCHES.contains(&file), "{file} is the same byte for byte");
}

fn call(line: &str) -> Call {
    Call::new(line).header(REQUEST_ID.0, REQUEST_ID.1)
}

async fn there_and_back(bed: &Bed, file: &str, row: &Row, text: &str) -> BTreeSet<usize> {
    let values = row.phi.values(text);
    expect_found(file, text, &values);
    let wrote = call(&format!("PUT {}", row.path)).of_type(row.media_type, text);
    let wrote = bed.make("clinician", &wrote).await;
    assert_eq!(wrote.status, 200, "{file}: {}", wrote.text());
    let read = bed.make("clinician", &call(&format!("GET {}", row.path))).await;
    assert_eq!(read.status, 200, "{file}: {}", read.text());
    let received = bed.upstream.take_all();
    assert_eq!(received.len(), 2, "{file}");
    assert_eq!(received[0].headers["content-type"], row.media_type, "{file}");
    expect_same(file, text, &wrote.text());
    expect_same(file, text, &read.text());
    expect_same_outside(file, text, &received[0].text());
    expect_no_leak(file, text, &recording(&received), &values)
}

/// The scan is worth something: it finds each of the values where they stand in the clear.
fn expect_found(file: &str, text: &str, values: &Values) {
    assert_eq!(values.is_empty(), NOBODY.contains(&file), "{file} names nobody, or somebody");
    let all: Vec<_> = values.iter().cloned().collect();
    let found = find_leaks(text.as_bytes(), &all);
    let found: BTreeSet<&str> = found.iter().map(|leak| of(leak)).collect();
    for value in values {
        assert!(found.contains(told(value).as_str()), "{file}: {} is not found", told(value));
    }
}

/// A form with files. Answers have no such type: its values come back in a page, and its file by a command.
async fn upload(bed: &Bed, file: &str, row: &Row, text: &str) -> BTreeSet<usize> {
    let values = row.phi.values(text);
    expect_found(file, text, &values);
    bed.upstream.always(200, &[("content-type", "text/plain")], "saved");
    let wrote = bed.make("clinician", &call(&format!("PUT {}", row.path)).of_type(row.media_type, text)).await;
    assert_eq!(wrote.status, 200, "{file}: {}", wrote.text());
    let received = bed.upstream.take_only();
    let boundary = format!("--{}", row.media_type.split_once('=').unwrap().1);
    let (mut tokens, mut fields) = (Vec::new(), Vec::new());
    let (sent, kept) = (text.split(&boundary), split(&received.body, boundary.as_bytes()));
    assert_eq!(kept.len(), sent.clone().count(), "{file}");
    for (sent, kept) in sent.zip(kept) {
        let (head, content) = sent.split_once("\r\n\r\n").unwrap_or((sent, ""));
        let sealed = kept[head.len()..].strip_prefix(b"\r\n\r\n").unwrap_or_default();
        assert_eq!(&kept[..head.len()], head.as_bytes(), "{file}");
        if sealed.starts_with(b"sgv1.") {
            tokens.push(String::from_utf8(sealed.to_vec()).unwrap());
            fields.push(content);
        } else if sealed.starts_with(b"sgv1\0") {
            let sealed = sealed.strip_suffix(b"\r\n").unwrap();
            assert_eq!(bed.gate.open_stream(sealed), content.strip_suffix("\r\n").unwrap().as_bytes(), "{file}");
        } else {
            assert_eq!(sealed, content.as_bytes(), "{file}");
        }
    }
    bed.upstream.always(200, &[("content-type", "text/plain")], tokens.concat());
    assert_eq!(bed.make("clinician", &call(&format!("GET {}", row.path))).await.text(), fields.concat(), "{file}");
    bed.upstream.script(|_| None);
    bed.upstream.take_only();
    expect_no_leak(file, text, &recording(&[received]), &values)
}

/// Gives the numbers of the entries of the list that it needs.
async fn pass(bed: &Bed, file: &str, row: &Row) -> BTreeSet<usize> {
    let text = read(file);
    let line = |method: &str| call(&format!("{method} {}", row.path)).of_type(row.media_type, &text);
    let mut needed = BTreeSet::new();
    match row.passage {
        Passage::Whole => {
            needed.extend(there_and_back(bed, file, row, &text).await);
            if matches!(row.phi, Phi::Message(_)) {
                // The end of a segment by the standard.
                needed.extend(there_and_back(bed, file, row, &text.replace('\n', "\r")).await);
            }
        }
        Passage::Elements => {
            bed.refuses("clinician", &line("PUT"), (400, "body_invalid")).await;
            for document in phi::json(&text)[0].as_array().unwrap() {
                needed.extend(there_and_back(bed, file, row, &document.to_string()).await);
            }
        }
        Passage::Upload => needed.extend(upload(bed, file, row, &text).await),
        Passage::Change(method) => {
            bed.upstream.always(204, &[], "");
            let changed = bed.make("clinician", &line(method)).await;
            bed.upstream.script(|_| None);
            assert_eq!(changed.status, 204, "{file}: {}", changed.text());
            assert_eq!(bed.upstream.take_only().text(), text, "{file}");
        }
        Passage::Refused(status, code) => bed.refuses("clinician", &line("PATCH"), (status, code)).await,
    }
    needed
}

#[tokio::test]
async fn every_file_comes_back_the_same_and_the_upstream_learns_nothing() {
    let (bed, rows) = (bed(), rows());
    let mut needed = BTreeSet::new();
    for file in files() {
        let row = rows.iter().find(|row| row.takes(&file)).unwrap();
        needed.extend(pass(&bed, &file, row).await);
    }
    for (number, passing) in PASSING.iter().enumerate() {
        assert!(needed.contains(&number), "{}: not needed: {}", passing.file, passing.reason);
    }
}

/// Without rules the upstream learns all of it.
#[tokio::test]
async fn a_file_on_a_route_without_rules_is_noticed() {
    let bed = bed();
    for row in rows().iter().filter(|row| !matches!(row.phi, Phi::Nobody)) {
        let file = files().into_iter().find(|file| row.takes(file)).unwrap();
        let text = read(&file);
        let sent = bed.make("clinician", &call("POST /open/1").of_type(row.media_type, &text)).await;
        assert_eq!(sent.status, 201, "{file}: {}", sent.text());
        let recording = recording(&[bed.upstream.take_only()]);
        expect_found(&file, &recording, &row.phi.values(&text));
    }
}
