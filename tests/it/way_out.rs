//! The way out: a script that shares nothing with us opens what we seal, given the KEK and, for stored keys, the exported
//! rows. It is tests/vectors/open_token.py.

use crate::fixture::moto::Moto;
use crate::fixture::provision::python_with_moto;
use data_encoding::BASE64;
use jiff::Timestamp;
use sealgate::keyring::local::Local;
use sealgate::keyring::recovery::Recovery;
use sealgate::keyring::store::{KeyRow, KeyState, keyset};
use sealgate::keyring::{Kek, Keyring};
use sealgate::seal::crypto::default_provider;
use sealgate::seal::stream::{SEGMENT_BYTES, StreamSealer};
use sealgate::seal::{
    Budget, Class, Context, DataKey, EncryptedDataKey, EncryptionContext, KekTag, Kind, Manner, Origin, Purpose, Scope,
    SealingKey, UnwrappedKey, Workspace,
};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

const SCOPE: &str = "clinic";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

fn script(name: &str) -> Command {
    let mut command = Command::new(python_with_moto().unwrap());
    command.arg(folder().join(name));
    for (name, value) in
        [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"), ("PYTHONDONTWRITEBYTECODE", "1")]
    {
        command.env(name, value);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(command: &mut Command, input: &str) -> Output {
    let mut child = command.spawn().unwrap();
    // Taken, so that it is closed once all is written. A script that refused its options reads nothing of it.
    let _written = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// What a run printed, line by line.
fn opened(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What a run that failed said, of which it printed nothing more than `lines` before.
fn refused(output: &Output, lines: usize) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(output.stdout.iter().filter(|byte| **byte == b'\n').count(), lines);
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(said.starts_with("open_token: ") && said.lines().count() == 1, "one clear line: {said}");
    said
}

fn context(class: &'static str) -> Context<'static> {
    Context { class: Class::parse(class).unwrap(), scope: Scope::parse(SCOPE).unwrap(), bind: &[] }
}

fn made_for(purpose: Purpose) -> EncryptionContext {
    EncryptionContext { scope: Scope::parse(SCOPE).unwrap(), purpose }
}

/// A moto with one key, and what was sealed under it.
struct Clinic {
    moto: Moto,
    arn: String,
}

impl Clinic {
    fn open() -> Self {
        let moto = Moto::start().unwrap();
        let arn = moto.create_key();
        Self { moto, arn }
    }

    fn data_key(&self, purpose: Purpose) -> (DataKey, EncryptedDataKey) {
        let pairs: serde_json::Map<String, Value> =
            made_for(purpose).pairs().iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let wanted = json!({ "KeyId": self.arn, "KeySpec": "AES_256", "EncryptionContext": pairs });
        let (status, made) = self.moto.call("GenerateDataKey", &wanted);
        assert_eq!(status, 200, "{made}");
        let bytes = |member: &str| BASE64.decode(made[member].as_str().unwrap().as_bytes()).unwrap();
        let edk = EncryptedDataKey { kek: KekTag::of(default_provider(), &self.arn), blob: bytes("CiphertextBlob") };
        (DataKey::take(bytes("Plaintext")).unwrap(), edk)
    }

    fn inline(&self, purpose: Purpose) -> Arc<SealingKey> {
        let (key, edk) = self.data_key(purpose);
        sealing(key, purpose, Origin::Inline(vec![edk]))
    }

    /// A stored key, and its row.
    fn stored(&self, purpose: Purpose) -> (Arc<SealingKey>, KeyRow) {
        let (key, edk) = self.data_key(purpose);
        let key = sealing(key, purpose, Origin::Stored { salt: [9, 8, 7, 6, 5, 4, 3, 2] });
        let row = KeyRow {
            commitment: key.unwrapped().commitment(),
            scope: made_for(purpose).scope,
            purpose,
            state: KeyState::Active,
            edks: vec![edk],
            created_at: Timestamp::UNIX_EPOCH,
            changed_at: Timestamp::UNIX_EPOCH,
        };
        (key, row)
    }

    fn script(&self) -> Command {
        let mut command = script("open_token.py");
        command.args(["--key-arn", &self.arn, "--kms-endpoint", &self.moto.endpoint()]);
        command
    }
}

fn sealing(key: DataKey, purpose: Purpose, origin: Origin) -> Arc<SealingKey> {
    let key = UnwrappedKey::new(default_provider(), key).unwrap();
    Arc::new(SealingKey::new(key, made_for(purpose), origin, Budget::default()))
}

fn seal(key: &SealingKey, at: &Context<'_>, manner: Manner, value: &[u8]) -> String {
    let mut token = key.seal(&mut Workspace::new(), at, manner, value).unwrap().as_str().to_owned();
    token.push('\n');
    token
}

fn seal_stream(key: &Arc<SealingKey>, plaintext: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut sealer = StreamSealer::begin(key, &context("scan"), &mut out).unwrap();
    sealer.write(plaintext, &mut out).unwrap();
    sealer.finish(&mut out).unwrap();
    out
}

/// Rows as they are exported.
fn keyset(at: &Path, rows: &[&KeyRow]) -> PathBuf {
    let path = at.join("keys.json");
    let rows: Vec<KeyRow> = rows.iter().map(|row| (*row).clone()).collect();
    fs::write(&path, keyset::write(&rows)).unwrap();
    path
}

#[test]
fn the_script_agrees_with_every_published_vector_of_a_token_or_stream() {
    let vectors = ["random", "deterministic", "stream", "reading"].map(|name| {
        let file: Value =
            serde_json::from_slice(&fs::read(folder().join(name).with_extension("json")).unwrap()).unwrap();
        file["vectors"].as_array().unwrap().len()
    });
    let output = run(&mut script("agree.py"), "");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.trim(), format!("{} vectors, 0 disagree:", vectors.iter().sum::<usize>()));
}

#[test]
fn the_generator_writes_the_vectors_that_are_published() {
    let elsewhere = tempfile::tempdir().unwrap();
    fs::copy(folder().join("make.py"), elsewhere.path().join("make.py")).unwrap();
    let mut command = Command::new(python_with_moto().unwrap());
    let output = command.arg(elsewhere.path().join("make.py")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for name in ["random", "deterministic", "stream", "reading", "format"] {
        let name = format!("{name}.json");
        let made = fs::read(elsewhere.path().join(&name)).unwrap();
        assert!(made == fs::read(folder().join(&name)).unwrap(), "{name}");
    }
}

#[test]
fn tokens_open_with_the_kms_and_the_exported_rows_alone() {
    let clinic = Clinic::open();
    let (field, lookup) = (clinic.stored(Purpose::Field), clinic.stored(Purpose::Lookup));
    let inline = clinic.inline(Purpose::Field);
    let at = context("ssn");
    let bound = Context { bind: &[("Visit", b"7"), ("id", b"42")], ..at };
    let random = Manner::random(Kind::Text);
    let tokens = [
        seal(&inline, &at, random, b"999-12-3456"),
        seal(&inline, &context("name"), random, "Jörg \u{1fa7a}".as_bytes()),
        seal(&inline, &at, Manner::random(Kind::Literal).padded(64), b"{\"a\" : [1.10]}"),
        // WTF-8 of U+D83D alone.
        seal(&field.0, &at, random, b"a\xed\xa0\xbd"),
        seal(&lookup.0, &at, Manner::deterministic(Kind::Text), b"MRN 7"),
        seal(&lookup.0, &at, Manner::deterministic(Kind::Literal), b"7"),
    ]
    .concat();
    let tempdir = tempfile::tempdir().unwrap();
    let keyset = keyset(tempdir.path(), &[&field.1, &lookup.1]);
    let output = run(clinic.script().arg("--keyset").arg(&keyset), &tokens);
    let values = [
        ("ssn", "text", "999-12-3456"),
        ("name", "text", "Jörg \u{1fa7a}"),
        ("ssn", "literal", "{\"a\" : [1.10]}"),
        ("ssn", "text", "MRN 7"),
        ("ssn", "literal", "7"),
    ];
    // No string of ours can hold a lone surrogate: that line is compared as it was written.
    let lines = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let surrogate = r#"{"class": "ssn", "scope": "clinic", "kind": "text", "value": "a\ud83d"}"#;
    assert_eq!(lines.lines().nth(3), Some(surrogate));
    let got: Vec<Value> =
        lines.lines().filter(|line| *line != surrogate).map(|line| serde_json::from_str(line).unwrap()).collect();
    let wanted =
        values.map(|(class, kind, value)| json!({"class": class, "scope": SCOPE, "kind": kind, "value": value}));
    assert_eq!(got, wanted);

    let token = seal(&inline, &bound, random, b"bound");
    let output = run(clinic.script().args(["--bind", "id=42", "--bind", "Visit=7"]), &token);
    assert_eq!(opened(&output)[0]["value"], "bound");
    let said = refused(&run(clinic.script().args(["--bind", "id=42"]), &token), 0);
    assert!(said.contains("line 1: unauthentic"), "{said}");
}

#[test]
fn a_stream_opens_and_one_that_was_cut_off_says_so() {
    let clinic = Clinic::open();
    let tempdir = tempfile::tempdir().unwrap();
    let (stored, row) = clinic.stored(Purpose::Stream);
    let keyset = keyset(tempdir.path(), &[&row]);
    let path = tempdir.path().join("sealed");
    let script = || {
        let mut command = clinic.script();
        command.arg("--keyset").arg(&keyset).arg("--stream").arg(&path);
        command
    };
    let plaintext: Vec<u8> = (0..2 * SEGMENT_BYTES + 5).map(|at| u8::try_from(at % 251).unwrap()).collect();
    for key in [clinic.inline(Purpose::Stream), stored] {
        for length in [0, SEGMENT_BYTES, plaintext.len()] {
            fs::write(&path, seal_stream(&key, &plaintext[..length])).unwrap();
            let output = run(&mut script(), "");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert!(output.stdout == plaintext[..length], "{length} bytes");
        }
        let sealed = seal_stream(&key, &plaintext);
        fs::write(&path, &sealed[..sealed.len() - 5 - 16]).unwrap();
        let output = run(&mut script(), "");
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("stream_truncated"), "{said}");
        assert!(plaintext.starts_with(&output.stdout), "what came before is right");
    }
}

#[tokio::test]
async fn a_kek_in_a_file_opens_without_any_kms() {
    let tempdir = tempfile::tempdir().unwrap();
    let path = tempdir.path().join("kek");
    let text = BASE64.encode(&[3; 32]);
    fs::write(&path, format!("{text}\n")).unwrap();
    let local = Local::read(default_provider(), &text).unwrap();
    let made = Keyring::generate_data_key(&local, made_for(Purpose::Field)).await.unwrap();
    let key = sealing(made.key, Purpose::Field, Origin::Inline(made.edks));
    let token = seal(&key, &context("ssn"), Manner::random(Kind::Text), b"999-12-3456");
    let output = run(script("open_token.py").arg("--local-kek").arg(&path), &token);
    assert_eq!(opened(&output)[0]["value"], "999-12-3456");
    fs::write(&path, BASE64.encode(&[4; 32])).unwrap();
    let said = refused(&run(script("open_token.py").arg("--local-kek").arg(&path), &token), 0);
    assert!(said.contains("no key: wrapped by KEK"), "{said}");
}

/// Makes an RSA key, writes it to the file of its argument, and prints the public half.
const MAKE_RSA: &str = "
import sys
from cryptography.hazmat.primitives import serialization as s
from cryptography.hazmat.primitives.asymmetric import rsa
key = rsa.generate_private_key(65537, 3072)
open(sys.argv[1], 'wb').write(key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()))
print(key.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo).decode())
";

#[tokio::test]
async fn a_recovery_key_opens_when_the_kms_is_gone() {
    let mut clinic = Clinic::open();
    let tempdir = tempfile::tempdir().unwrap();
    let pem = tempdir.path().join("recovery.pem");
    let output = Command::new(python_with_moto().unwrap()).args(["-c", MAKE_RSA]).arg(&pem).output().unwrap();
    let recovery = Recovery::read_public(default_provider(), &output.stdout).unwrap();
    let (key, by_kms) = clinic.data_key(Purpose::Field);
    let by_recovery = recovery.encrypt_data_key(&key, made_for(Purpose::Field)).await.unwrap().edk;
    let key = sealing(key, Purpose::Field, Origin::Inline(vec![by_kms, by_recovery]));
    let token = seal(&key, &context("ssn"), Manner::random(Kind::Text), b"999-12-3456");
    assert_eq!(opened(&run(&mut clinic.script(), &token)).len(), 1, "the KMS opens it");
    clinic.moto.stop();
    let output = run(script("open_token.py").arg("--recovery-key").arg(&pem), &token);
    assert_eq!(opened(&output)[0]["value"], "999-12-3456");
    // With both at hand, the one that is gone is passed over.
    let output = run(clinic.script().env("AWS_MAX_ATTEMPTS", "1").arg("--recovery-key").arg(&pem), &token);
    assert_eq!(opened(&output)[0]["value"], "999-12-3456");
}

#[test]
fn what_cannot_be_opened_is_named_and_ends_the_script() {
    let clinic = Clinic::open();
    let tempdir = tempfile::tempdir().unwrap();
    let (stored, mut row) = clinic.stored(Purpose::Field);
    let inline = clinic.inline(Purpose::Field);
    let (at, random) = (context("ssn"), Manner::random(Kind::Text));
    let good = seal(&inline, &at, random, b"x");
    let in_store = seal(&stored, &at, random, b"x");

    let said = refused(&run(&mut clinic.script(), &format!("{good}{}\n{good}", &good[..good.len() - 2])), 1);
    assert!(said.starts_with("open_token: line 2: "), "{said}");
    let said = refused(&run(&mut clinic.script(), "999-12-3456\n"), 0);
    assert!(said.contains("line 1: spelling"), "{said}");
    let said = refused(&run(&mut clinic.script(), &in_store), 0);
    assert!(said.contains(&stored.id().to_string()) && said.contains("--keyset"), "{said}");
    let said = refused(&run(&mut script("open_token.py"), &good), 0);
    assert!(said.contains("is not given"), "{said}");

    // Another data key of the same KEK in the place of the right one: the KMS unwraps it, the commitment does not match.
    let (_, other) = clinic.data_key(Purpose::Field);
    let swapped = Origin::Inline(vec![other]);
    let (key, _) = clinic.data_key(Purpose::Field);
    let swapped = seal(&sealing(key, Purpose::Field, swapped), &at, random, b"x");
    let said = refused(&run(&mut clinic.script(), &swapped), 0);
    assert!(said.contains("commitment"), "{said}");
    let (_, wrong) = clinic.stored(Purpose::Field);
    row.edks.clone_from(&wrong.edks);
    let path = keyset(tempdir.path(), &[&row]);
    let said = refused(&run(clinic.script().arg("--keyset").arg(&path), &in_store), 0);
    assert!(said.contains("commitment"), "{said}");

    // Wrapped for another purpose: the KMS refuses, for its context is another one.
    let (key, edk) = clinic.data_key(Purpose::Stream);
    let moved = seal(&sealing(key, Purpose::Field, Origin::Inline(vec![edk])), &at, random, b"x");
    let said = refused(&run(&mut clinic.script(), &moved), 0);
    assert!(said.contains("InvalidCiphertext"), "{said}");

    for (state, edks) in [(KeyState::Revoked, wrong.edks), (KeyState::Shredded, Vec::new())] {
        (row.state, row.edks) = (state, edks);
        let path = keyset(tempdir.path(), &[&row]);
        let said = refused(&run(clinic.script().arg("--keyset").arg(&path), &in_store), 0);
        assert!(said.contains(state.as_str()), "{said}");
    }
}
