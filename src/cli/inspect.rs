//! `sealgate inspect`: what a token or a stream tells without a key.

use super::keys::list::Keks;
use super::session::{self, Failure};
use super::{Exit, complain, say};
use crate::app::keys;
use crate::config::{Config, checked};
use crate::proxy::rescue::Refusal;
use crate::seal::crypto::{NONCE_BYTES, TAG_BYTES};
use crate::seal::envelope::VERSION;
use crate::seal::stream::{SEGMENT_BYTES, StreamHead};
use crate::seal::{Head, KeyRef, ReadError, Suite, Token};
use clap::Args;
use data_encoding::HEXLOWER;
use serde_json::{Map, Value, json};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The longest token that is read from standard input, in bytes.
const TOKEN_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[derive(Args)]
pub(super) struct Inspect {
    /// The token; `-` for standard input.
    #[arg(required_unless_present = "stream", conflicts_with = "stream")]
    token: Option<String>,
    /// A file of the stream suite.
    #[arg(long, value_name = "FILE")]
    stream: Option<PathBuf>,
    /// A config, by which KEKs are named.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn inspect(arguments: Inspect) -> Exit {
    session::run(tell(arguments))
}

async fn tell(arguments: Inspect) -> Result<Exit, Failure> {
    let Inspect { token, stream, config, json } = arguments;
    let keks = match config {
        None => Keks::unknown(),
        Some(file) => {
            let Config { provider, keyring, .. } = session::config(&file)?;
            let checked::Keyring { first, also, old, .. } = keyring;
            Keks::of(&keys::keyring(provider, first, (also, old)).await?)
        }
    };
    let found = match (stream, token) {
        (Some(path), _) => {
            read_stream(&path, &keks).map_err(|error| Failure::new(format!("{}: {error}", path.display())))?
        }
        (None, token) => read_token(token.as_deref().unwrap_or("-"), &keks)
            .map_err(|error| Failure::new(format!("standard input: {error}")))?,
    };
    let facts = match found {
        Ok(facts) => facts,
        Err(error) => {
            complain(&format!("{}: {error}\n", Refusal::from(error).code.as_str()));
            return Ok(Exit::Failure);
        }
    };
    if json {
        let members: Map<String, Value> =
            facts.into_iter().map(|(name, value)| (name.replace(' ', "_"), value)).collect();
        return Ok(say(&format!("{}\n", Value::Object(members))));
    }
    let mut text = String::new();
    for (name, value) in facts {
        match value {
            Value::Array(items) => {
                for item in items {
                    text += &format!("{name:13} {}\n", item.as_str().unwrap_or_default());
                }
            }
            Value::String(value) => text += &format!("{name:13} {value}\n"),
            value => text += &format!("{name:13} {value}\n"),
        }
    }
    Ok(say(&text))
}

type Facts = Vec<(&'static str, Value)>;

fn read_token(token: &str, keks: &Keks) -> io::Result<Result<Facts, ReadError>> {
    let mut input = Vec::new();
    if token == "-" {
        io::stdin().take(TOKEN_BYTES_MAX).read_to_end(&mut input)?;
    } else {
        input.extend_from_slice(token.as_bytes());
    }
    let text = input.trim_ascii();
    Ok(Token::read(text).map(|envelope| {
        let mut facts = facts(envelope.head(), &envelope.key(), keks);
        let around = match envelope.head().suite {
            Suite::Deterministic => TAG_BYTES,
            Suite::Random | Suite::Stream => NONCE_BYTES + TAG_BYTES,
        };
        // One byte says what kind the value is. Where its class is padded it is shorter than this.
        let most = envelope.sealed_bytes().saturating_sub(around + 1);
        facts.push(("characters", json!(text.len())));
        facts.push(("sealed bytes", json!(envelope.sealed_bytes())));
        facts.push(("value at most", json!(most)));
        facts
    }))
}

fn read_stream(path: &Path, keks: &Keks) -> io::Result<Result<Facts, ReadError>> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let mut begun = Vec::with_capacity(SEGMENT_BYTES);
    file.take(u64::try_from(SEGMENT_BYTES).unwrap_or(u64::MAX)).read_to_end(&mut begun)?;
    Ok(StreamHead::read(&begun).and_then(|read| {
        let (head, length) = read.ok_or(ReadError::Truncated)?;
        let mut facts = facts(head.head(), head.key(), keks);
        facts.push(("bytes", json!(bytes)));
        facts.push(("head bytes", json!(length)));
        Ok(facts)
    }))
}

fn facts(head: &Head, key: &KeyRef, keks: &Keks) -> Facts {
    let mut facts = vec![
        ("version", json!(VERSION)),
        ("suite", json!(head.suite.as_str())),
        ("purpose", json!(head.suite.purpose().as_str())),
        ("placement", json!(head.placement.as_str())),
        ("class", json!(head.class.as_str())),
        ("scope", json!(head.scope.as_str())),
        ("key id", json!(head.key_id.to_string())),
    ];
    if let Some(salt) = head.salt {
        facts.push(("salt", json!(HEXLOWER.encode(&salt))));
    }
    if let KeyRef::Inline { commitment, edks } = key {
        facts.push(("commitment", json!(HEXLOWER.encode(commitment.as_bytes()))));
        let kek = |edk: &crate::seal::EncryptedDataKey| format!("{}, {} bytes", keks.name(edk.kek), edk.blob.len());
        facts.push(("kek", json!(edks.iter().map(kek).collect::<Vec<_>>())));
    }
    facts
}
