//! The published vectors, `tests/vectors/*.json`, through every crypto provider of the build. They were made by another
//! implementation (`tests/vectors/make.py`); from version 1.0 on none of them changes.

#![cfg(test)]

use data_encoding::{BASE64, HEXLOWER};
use sealgate::seal::crypto::providers;
use sealgate::seal::format::{Alphabet, FormatError};
use sealgate::seal::stream::{SEGMENT_BYTES, StreamHead, StreamOpener};
use sealgate::seal::{
    Class, Commitment, Context, CryptoProvider, DataKey, EncryptionContext, KeyRef, Kind, Manner, OpenError, Origin,
    Purpose, ReadError, Scope, SealingKey, Suite, Token, UnwrappedKey, Workspace,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// What came of an opening: kind and value, or the stable name of the error.
type Outcome = Result<(Option<Kind>, Vec<u8>), &'static str>;

fn file(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name).with_extension("json");
    let mut whole: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert_eq!(whole["format"], "sealgate-vectors-1");
    match whole["vectors"].take() {
        Value::Array(vectors) => vectors,
        other => panic!("no vectors: {other}"),
    }
}

fn text<'a>(vector: &'a Value, member: &str) -> &'a str {
    vector[member].as_str().unwrap_or_else(|| panic!("no {member} in {}", vector["name"]))
}

fn base64(text: &str) -> Vec<u8> {
    BASE64.decode(text.as_bytes()).unwrap()
}

fn read_error(error: ReadError) -> &'static str {
    match error {
        ReadError::Spelling => "spelling",
        ReadError::Truncated => "truncated",
        ReadError::UnknownVersion(_) => "unknown_version",
        ReadError::UnknownSuite(_) => "unknown_suite",
        ReadError::UnknownPlacement(_) => "unknown_placement",
        ReadError::Malformed => "malformed",
        other => panic!("{other} has no name in the vectors"),
    }
}

fn open_error(error: OpenError) -> &'static str {
    match error {
        OpenError::Commitment => "commitment",
        OpenError::Unauthentic => "unauthentic",
        OpenError::Truncated => "stream_truncated",
        other => panic!("{other} has no name in the vectors"),
    }
}

/// A vector, ready to be opened.
struct Vector<'a> {
    json: &'a Value,
    key: UnwrappedKey,
    bind: BTreeMap<&'a str, Vec<u8>>,
}

impl<'a> Vector<'a> {
    fn new(provider: &'static dyn CryptoProvider, json: &'a Value) -> Self {
        let key = DataKey::take(HEXLOWER.decode(text(json, "data_key").as_bytes()).unwrap()).unwrap();
        // A `BTreeMap` has the names in the order in which they are bound: that of their bytes.
        let bind = json.get("bind").and_then(Value::as_object).into_iter().flatten();
        let bind = bind.map(|(name, value)| (name.as_str(), base64(value.as_str().unwrap()))).collect();
        Self { json, key: UnwrappedKey::new(provider, key).unwrap(), bind }
    }

    fn with_context<T>(&self, use_it: impl FnOnce(&Context<'_>) -> T) -> T {
        let bind: Vec<(&str, &[u8])> = self.bind.iter().map(|(name, value)| (*name, value.as_slice())).collect();
        let class = Class::parse(text(self.json, "class")).unwrap();
        use_it(&Context { class, scope: Scope::parse(text(self.json, "scope")).unwrap(), bind: &bind })
    }

    /// As whoever brings a key from a store: the row's whole commitment is that of the key.
    fn check_row(&self) -> Result<(), &'static str> {
        let Some(row) = self.json["row_commitment"].as_str() else { return Ok(()) };
        let row = Commitment::from_bytes(HEXLOWER.decode(row.as_bytes()).unwrap().try_into().unwrap());
        if self.key.commitment().matches(&row) { Ok(()) } else { Err("commitment") }
    }

    fn open_token(&self) -> Outcome {
        let envelope = Token::read(text(self.json, "token").as_bytes()).map_err(read_error)?;
        self.check_row()?;
        self.with_context(|context| {
            let authentic = self.key.authenticate(&envelope, context);
            let opened = self.key.open(envelope, context);
            assert_eq!(authentic.err(), opened.as_ref().err().copied(), "both say the same");
            opened.map(|value| (Some(value.kind()), value.expose().to_vec())).map_err(open_error)
        })
    }

    fn open_stream(&self, sealed: &[u8], piece: usize) -> Outcome {
        let Some((head, length)) = StreamHead::read(sealed).map_err(read_error)? else {
            return Err("stream_truncated");
        };
        self.check_row()?;
        self.with_context(|context| {
            let mut opener = StreamOpener::begin(&self.key, &head, context).map_err(open_error)?;
            let mut out = Vec::new();
            for bytes in sealed[length..].chunks(piece) {
                opener.write(bytes, &mut out).map_err(open_error)?;
            }
            opener.finish(&mut out).map_err(open_error)?;
            Ok((None, out))
        })
    }

    fn expected(&self) -> Outcome {
        if let Some(error) = self.json["error"].as_str() {
            return Err(Box::leak(error.to_owned().into_boxed_str()));
        }
        let kind = self.json["kind"].as_str().map(|kind| match kind {
            "text" => Kind::Text,
            "literal" => Kind::Literal,
            other => panic!("kind {other}"),
        });
        match &self.json["value"] {
            Value::String(value) => Ok((kind, base64(value))),
            // So many bytes that count from 0 to 250 and begin anew.
            other => {
                let length = usize::try_from(other["pattern"].as_u64().unwrap()).unwrap();
                Ok((kind, (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect()))
            }
        }
    }
}

/// The bytes of a stream: base64, or cut out of other streams.
fn stream_bytes(vector: &Value, all: &[Value]) -> Vec<u8> {
    let Value::Array(parts) = &vector["stream"] else { return base64(text(vector, "stream")) };
    let part = |part: &Value| match part["of"].as_str() {
        None => base64(text(part, "bytes")),
        Some(name) => {
            let whole = stream_bytes(all.iter().find(|other| other["name"] == name).unwrap(), all);
            let at =
                |member: &str, default: usize| part[member].as_u64().map_or(default, |at| usize::try_from(at).unwrap());
            whole[at("from", 0)..at("to", whole.len())].to_vec()
        }
    };
    parts.iter().flat_map(part).collect()
}

#[test]
fn names_are_unique_and_most_vectors_are_negative() {
    let mut names = BTreeSet::new();
    let (mut all, mut negative) = (0, 0);
    for name in ["random", "deterministic", "stream", "reading", "format"] {
        for vector in file(name) {
            let name = text(&vector, "name").to_owned();
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'x'),
                "{name}"
            );
            assert!(text(&vector, "note").ends_with('.'), "{name}");
            assert!(names.insert(name.clone()), "{name} stands twice");
            let expects = if vector.get("alphabet").is_some() { "sealed" } else { "value" };
            assert!(vector.get("error").is_some() != vector.get(expects).is_some(), "{name} expects one thing");
            all += 1;
            negative += usize::from(vector.get("error").is_some());
        }
    }
    assert!(all >= 80, "{all}");
    assert!(negative * 2 > all, "{negative} of {all}");
}

#[test]
fn every_token_opens_as_published_with_every_provider() {
    assert_eq!(providers().len(), if cfg!(feature = "aws-lc") { 2 } else { 1 }, "ring is always among them");
    for name in ["random", "deterministic", "reading"] {
        for json in file(name) {
            for provider in providers() {
                let vector = Vector::new(*provider, &json);
                assert_eq!(vector.open_token(), vector.expected(), "{} {}", json["name"], provider.name());
            }
        }
    }
}

#[test]
fn every_stream_opens_as_published_with_every_provider_however_it_is_cut() {
    let all = file("stream");
    for json in &all {
        let sealed = stream_bytes(json, &all);
        for provider in providers() {
            let vector = Vector::new(*provider, json);
            for piece in [1 << 20, SEGMENT_BYTES, 1000] {
                let opened = vector.open_stream(&sealed, piece);
                assert!(opened == vector.expected(), "{} {} by {piece}", json["name"], provider.name());
            }
        }
    }
}

#[test]
fn every_format_is_kept_as_published_with_every_provider() {
    for json in file("format") {
        for provider in providers() {
            let vector = Vector::new(*provider, &json);
            let alphabet = Alphabet::parse(text(&json, "alphabet")).unwrap();
            let key = vector.with_context(|at| vector.key.format_key(at.class, at.scope, alphabet)).unwrap();
            let value = text(&json, "value");
            let sealed = key.seal(value.as_bytes()).map_err(|error| match error {
                FormatError::Mismatch => "mismatch",
                FormatError::DomainTooSmall => "domain_too_small",
                other => panic!("{other}"),
            });
            match json["error"].as_str() {
                Some(error) => assert_eq!(sealed.as_deref(), Err(&error), "{} {}", json["name"], provider.name()),
                None => {
                    assert_eq!(sealed.as_deref(), Ok(text(&json, "sealed")), "{} {}", json["name"], provider.name());
                    let opened = key.open(text(&json, "sealed").as_bytes()).unwrap();
                    assert_eq!(opened.as_slice(), value.as_bytes(), "{}", json["name"]);
                }
            }
        }
    }
}

/// What a sealer of this build writes is what another implementation writes: a deterministic token to the letter, and a
/// random one but for its nonce, by its length and head.
#[test]
fn sealing_again_gives_the_published_tokens() {
    let mut compared = 0;
    for json in file("deterministic").iter().chain(&file("random")) {
        for provider in providers() {
            let vector = Vector::new(*provider, json);
            let Ok((Some(kind), value)) = vector.expected() else { continue };
            let published = Token::read(text(json, "token").as_bytes()).unwrap();
            let head = published.head().clone();
            // The sealer pads by its own rule, and writes no token of a crafted ciphertext.
            if text(json, "name").contains("pad") || text(json, "name").starts_with("two_keys") {
                continue;
            }
            let origin = match published.key() {
                KeyRef::Inline { edks, .. } => Origin::Inline(edks),
                _ => Origin::Stored { salt: salt(&published) },
            };
            let purpose = if head.suite == Suite::Deterministic { Purpose::Lookup } else { Purpose::Field };
            let made_for = EncryptionContext { scope: head.scope, purpose };
            let key = SealingKey::new(vector.key, made_for, origin, sealgate::seal::Budget::default());
            let manner = match head.suite {
                Suite::Deterministic => Manner::deterministic(kind),
                _ => Manner::random(kind),
            };
            let vector = Vector::new(*provider, json);
            let sealed = vector.with_context(|at| key.seal(&mut Workspace::new(), at, manner, &value)).unwrap();
            if head.suite == Suite::Deterministic {
                assert_eq!(sealed.as_str(), text(json, "token"), "{}", json["name"]);
            } else {
                let envelope = Token::read(sealed.as_str().as_bytes()).unwrap();
                assert_eq!(envelope.head(), published.head(), "{}", json["name"]);
                assert_eq!(envelope.key_bytes(), published.key_bytes(), "{}", json["name"]);
                assert_eq!(envelope.sealed_bytes(), published.sealed_bytes(), "{}", json["name"]);
            }
            compared += 1;
        }
    }
    assert!(compared > 40, "{compared}");
}

/// The process salt of a stored token: what follows the key id.
fn salt(envelope: &sealgate::seal::Envelope) -> [u8; 8] {
    envelope.key_bytes().get(16..).and_then(|rest| rest.try_into().ok()).unwrap_or_default()
}
