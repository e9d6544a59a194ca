//! `sealgate keys recover`: tokens opened by the private half of a recovery key, with no config and no KMS.

use super::super::session::{self, Failure, Session};
use super::super::values::lines::{bound, lines, parse_bind, read_input, write_json};
use super::super::{Exit, say_bytes};
use super::import;
use crate::audit::AuditEvent;
use crate::audit::event::{FieldAction, KeyUse, Operation};
use crate::config::{self, Config};
use crate::document::json::quote;
use crate::keyring::recovery::Recovery;
use crate::keyring::store::{KeyRow, KeyState, keyset};
use crate::keyring::{Kek, KeyringError};
use crate::proxy::rescue::Refusal;
use crate::seal::{
    Context, CryptoProvider, EncryptedDataKey, Envelope, KeyId, KeyRef, Kind, Token, UnwrappedKey, crypto,
};
use clap::Args;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use zeroize::Zeroizing;

#[derive(Args)]
pub(in crate::cli) struct Recover {
    /// PEM file of the private key (`PRIVATE KEY`, not encrypted), readable by its owner alone.
    #[arg(long, value_name = "PEM")]
    private_key: PathBuf,
    /// Rows of stored keys: a keyset file, or what `sealgate keys export` wrote.
    #[arg(long, value_name = "FILE")]
    keyset: Option<PathBuf>,
    /// A value that the tokens are bound to, as NAME=VALUE; may be given several times.
    #[arg(long = "bind", value_name = "NAME=VALUE", value_parser = parse_bind)]
    binds: Vec<(String, String)>,
    /// A config: what is opened is then on record in its journal of commands.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What tokens are opened by.
struct Opener {
    provider: &'static dyn CryptoProvider,
    recovery: Recovery,
    rows: HashMap<KeyId, KeyRow>,
    known: HashMap<KeyId, Arc<UnwrappedKey>>,
}

pub(super) async fn recover(arguments: Recover) -> Result<Exit, Failure> {
    let Recover { private_key, keyset, binds, config } = arguments;
    let bind = bound(&binds)?;
    let (provider, session) = match config {
        None => (crypto::default_provider(), None),
        Some(file) => {
            let Config { provider, audit, .. } = session::config(&file)?;
            (provider, Some(Session::open(&audit).await?))
        }
    };
    let named = |path: &PathBuf, error: &dyn std::fmt::Display| Failure::new(format!("{}: {error}", path.display()));
    let pem = config::secret_file(&private_key).map_err(Failure::new)?;
    let recovery = Recovery::read_private(provider, &pem).map_err(|error| named(&private_key, &error))?;
    let rows = match &keyset {
        None => Vec::new(),
        Some(path) => {
            let text = import::read(path).map_err(|error| named(path, &error))?;
            keyset::read(&text).map_err(|error| named(path, &error))?
        }
    };
    let rows = rows.into_iter().map(|row| (row.id(), row)).collect();
    let mut opener = Opener { provider, recovery, rows, known: HashMap::new() };
    let input = read_input()?;
    let mut out = Zeroizing::new(Vec::with_capacity(input.len() * 2));
    let mut events = BTreeMap::new();
    let mut exit = Exit::Ok;
    for line in lines(&input)? {
        let read = Token::read(line).map_err(Refusal::from);
        let opened = match read {
            Ok(envelope) => opener.open(envelope, &bind, &mut events, session.as_ref(), &mut out).await,
            Err(refusal) => Err((None, refusal)),
        };
        if let Err((id, refusal)) = opened {
            let id = id.map(|id| format!("\"token_key\":\"{id}\",")).unwrap_or_default();
            out.extend_from_slice(format!("{{{id}\"error\":\"{}\"}}\n", refusal.code.as_str()).as_bytes());
            exit = Exit::Failure;
        }
    }
    if let Some(session) = &session {
        for (_, event) in events {
            session.record(&AuditEvent::ValuesOpened(event)).await?;
        }
    }
    let said = say_bytes(&out);
    Ok(if exit == Exit::Ok { said } else { exit })
}

impl Opener {
    /// Opens one token and appends its line.
    async fn open(
        &mut self,
        envelope: Envelope,
        bind: &[(&str, &[u8])],
        events: &mut BTreeMap<String, Operation>,
        session: Option<&Session>,
        out: &mut Zeroizing<Vec<u8>>,
    ) -> Result<(), (Option<KeyId>, Refusal)> {
        let head = envelope.head().clone();
        let (id, class, scope) = (head.key_id, head.class, head.scope);
        let key = self.key(&envelope).await.map_err(|error| (Some(id), error.into()))?;
        let context = Context { class, scope, bind };
        let value = key.open(envelope, &context).map_err(|error| (Some(id), error.into()))?;
        let kind = match value.kind() {
            Kind::Text => "text",
            Kind::Literal => "literal",
        };
        let mut line = Zeroizing::new(Vec::with_capacity(value.expose().len() * 6 + 160));
        line.extend_from_slice(format!("{{\"token_key\":\"{id}\",\"class\":").as_bytes());
        quote(class.as_str().as_bytes(), &mut line);
        line.extend_from_slice(b",\"scope\":");
        quote(scope.as_str().as_bytes(), &mut line);
        line.extend_from_slice(format!(",\"kind\":\"{kind}\",\"value\":").as_bytes());
        write_json(&value, &mut line);
        line.extend_from_slice(b"}\n");
        out.extend_from_slice(&line);
        if let Some(session) = session {
            let event = events.entry(scope.to_string()).or_insert_with(|| Operation {
                scope: Some(scope.to_string()),
                ..session.operation("keys recover", "recovery".to_owned())
            });
            event.field(class, FieldAction::Plain);
            event.key(KeyUse { id, kek: Arc::clone(Kek::name(&self.recovery)), kms_request_id: None, stale: false });
        }
        Ok(())
    }

    async fn key(&mut self, envelope: &Envelope) -> Result<Arc<UnwrappedKey>, KeyringError> {
        let head = envelope.head();
        let context = head.encryption_context();
        let (commitment, edks) = match envelope.key() {
            KeyRef::Inline { commitment, edks } => (commitment, edks),
            KeyRef::Stored { id } => {
                let row = self.rows.get(&id).ok_or(KeyringError::UnknownKey { id })?;
                match row.state {
                    KeyState::Active | KeyState::DecryptOnly => {}
                    KeyState::Revoked => return Err(KeyringError::Revoked { id }),
                    KeyState::Shredded => return Err(KeyringError::Shredded { id }),
                }
                if (row.scope, row.purpose) != (context.scope, context.purpose) {
                    let why = "its row is of another scope or purpose".into();
                    return Err(KeyringError::Rejected { why, request_id: None });
                }
                (row.commitment, row.edks.clone())
            }
        };
        if let Some(known) = self.known.get(&head.key_id).filter(|known| known.commitment().matches(&commitment)) {
            return Ok(Arc::clone(known));
        }
        let edk: Option<EncryptedDataKey> = edks.into_iter().find(|edk| edk.kek == Kek::tag(&self.recovery));
        let edk = edk.ok_or(KeyringError::UnknownKek)?;
        let decrypted = Kek::decrypt_data_key(&self.recovery, edk, context).await?.key;
        let rejected = |why: &str| KeyringError::Rejected { why: why.into(), request_id: None };
        let key = UnwrappedKey::new(self.provider, decrypted).map_err(|_| rejected("the crypto provider failed"))?;
        if !key.commitment().matches(&commitment) {
            return Err(rejected("it does not match the commitment"));
        }
        let key = Arc::new(key);
        self.known.insert(head.key_id, Arc::clone(&key));
        Ok(key)
    }
}
