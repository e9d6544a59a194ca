//! What the key commands have in hand: KEKs, the store or keyset file that they work on, and the session in which
//! every change is put on record before it is made and again before its success is told.

use super::super::Exit;
use super::super::session::{self, Failure, Session};
use crate::app::StartError;
use crate::app::keys::{self, StoreIs};
use crate::audit::AuditEvent;
use crate::audit::event::{KEYS_MAX, KeyChange, KeyUse};
use crate::config::Config;
use crate::config::checked;
use crate::keyring::store::keyset_file::KeysetFile;
use crate::keyring::store::{KeyRow, KeyState, KeyStore, StoreError};
use crate::keyring::{Generated, Keyring as _, KmsCall, Several};
use crate::seal::{CryptoProvider, EncryptionContext, KeyId, Purpose, Scope};
use jiff::Timestamp;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How many rows are asked for at once.
const ROWS_AT_ONCE: usize = 500;

/// See the module.
pub(super) struct Custody {
    pub(super) session: Session,
    pub(super) provider: &'static dyn CryptoProvider,
    pub(super) keyring: Several,
    /// What is worked on.
    pub(super) place: Arc<dyn KeyStore>,
    /// Whether that is a keyset file.
    pub(super) is_keyset: bool,
    /// The keyset that the config names, as it is read by the gate.
    pub(super) keyset: Option<Arc<dyn KeyStore>>,
    /// The store of the config, where a keyset file is worked on.
    pub(super) other: Option<checked::Store>,
    /// See [`CacheSettings::revocation_bound`](crate::keyring::CacheSettings::revocation_bound).
    pub(super) revocation_bound: Duration,
    /// Where the config has the gate's admin listener.
    pub(super) admin: SocketAddr,
}

impl Custody {
    /// Opens journal, KEKs, and the keyset file if one is named, else the store of the config.
    pub(super) async fn open(config: Config, keyset: Option<&Path>) -> Result<Self, Failure> {
        let Config { provider, keyring, cache, audit, admin, .. } = config;
        let session = Session::open(&audit).await?;
        let checked::Keyring { first, also, old, keyset: configured, store, .. } = keyring;
        let keyring = keys::keyring(provider, first, (also, old)).await?;
        let configured = configured.map(|keyset| Arc::new(keyset) as Arc<dyn KeyStore>);
        let (place, other): (Arc<dyn KeyStore>, _) = match keyset {
            Some(path) => (Arc::new(KeysetFile::new(path)?), store),
            None => (self::store(provider, store, StoreIs::There).await?, None),
        };
        Ok(Self {
            session,
            provider,
            keyring,
            place,
            is_keyset: keyset.is_some(),
            keyset: configured,
            other,
            revocation_bound: cache.revocation_bound(),
            admin,
        })
    }

    /// A new data key under every KEK that new keys are wrapped under: its row, and the calls that it took.
    pub(super) async fn make(&self, context: EncryptionContext) -> Result<(KeyRow, Vec<KeyUse>), Failure> {
        let Generated { key, edks, calls } = self.keyring.generate_data_key(context).await?;
        let commitment = key.commitment(self.provider).map_err(|_| Failure::new("the crypto provider failed"))?;
        let EncryptionContext { scope, purpose } = context;
        let now = Timestamp::now();
        let row =
            KeyRow { commitment, scope, purpose, state: KeyState::Active, edks, created_at: now, changed_at: now };
        let uses = uses(row.id(), &calls);
        Ok((row, uses))
    }

    /// The record of a change, with nothing done yet.
    pub(super) fn change(&self, what: &'static str) -> KeyChange {
        change(&self.session, what, self.place.name())
    }

    /// Records what is about to be done.
    pub(super) async fn intend(&self, change: &KeyChange) -> Result<(), Failure> {
        self.session.record(&AuditEvent::KeyChangeIntended(change.clone())).await.map(drop)
    }

    /// Records what became of it, and gives it back: success is told to nobody before that.
    pub(super) async fn conclude<T>(&self, mut change: KeyChange, result: Result<T, Failure>) -> Result<T, Failure> {
        if let Err(failure) = &result {
            change.failed += 1;
            change.cause = Some(failure.text.clone());
        }
        let recorded = self.session.record(&AuditEvent::KeysChanged(change)).await;
        match (result, recorded) {
            (Ok(done), Ok(_)) => Ok(done),
            (Ok(_), Err(error)) => {
                Err(Failure { exit: Exit::Unavailable, text: format!("done, but not on record: {}", error.text) })
            }
            (Err(failure), _) => Err(failure),
        }
    }
}

/// The record of what a command does to the keys of a store, with nothing done yet.
pub(super) fn change(session: &Session, change: &'static str, store: &str) -> KeyChange {
    KeyChange {
        operation: session.operation,
        change,
        uid: session.uid,
        store: store.to_owned(),
        scope: None,
        purpose: None,
        count: 0,
        ids: Vec::new(),
        keys: Vec::new(),
        failed: 0,
        cause: None,
    }
}

/// The store of the config.
pub(in crate::cli) async fn store(
    provider: &'static dyn CryptoProvider,
    settings: Option<checked::Store>,
    wanted: StoreIs,
) -> Result<Arc<dyn KeyStore>, Failure> {
    let Some(settings) = settings else {
        return Err(Failure::new("the config has no keyring.store; name a keyset file by --keyset"));
    };
    let checked::Store::File(path) = settings else { return Ok(keys::store(provider, settings, wanted).await?) };
    let locked = |error: &StartError| matches!(error, StartError::Store(StoreError::Locked { .. }));
    let open = async || keys::store(provider, checked::Store::File(path.clone()), wanted).await;
    session::patiently(open, locked).await.map_err(|error| {
        let locked = locked(&error);
        let mut failure = Failure::from(error);
        if locked {
            failure.text.push_str("; a gate that runs on a file store has to be stopped first");
        }
        failure
    })
}

/// Notes keys in the record of a change.
pub(super) fn note(change: &mut KeyChange, ids: impl IntoIterator<Item = KeyId>) {
    for id in ids {
        change.count += 1;
        if change.ids.len() < KEYS_MAX {
            change.ids.push(id);
        }
    }
}

/// The calls as the record names them.
pub(super) fn uses(id: KeyId, calls: &[KmsCall]) -> Vec<KeyUse> {
    calls.iter().map(|call| KeyUse::new(id, call, false)).collect()
}

/// Every row of a store, or those of a scope.
pub(super) async fn rows(store: &dyn KeyStore, scope: Option<Scope>) -> Result<Vec<KeyRow>, StoreError> {
    let mut rows = Vec::new();
    let mut after = None;
    loop {
        let page = store.list(after, ROWS_AT_ONCE).await?;
        let Some(last) = page.last() else { return Ok(rows) };
        after = Some(last.id());
        rows.extend(page.into_iter().filter(|row| scope.is_none_or(|scope| row.scope == scope)));
    }
}

/// Whether equal values have equal tokens by keys for that purpose, so that another key changes what is stored.
pub(super) const fn is_long_lived(purpose: Purpose) -> bool {
    matches!(purpose, Purpose::Lookup | Purpose::Format)
}

/// Reads a scope of the command line.
pub(super) fn parse_scope(text: &str) -> Result<Scope, String> {
    Scope::parse(text).map_err(|error| error.to_string())
}

/// Reads a purpose of the command line.
pub(super) fn parse_purpose(text: &str) -> Result<Purpose, String> {
    Purpose::parse(text).ok_or_else(|| "wanted lookup, format, field or stream".to_owned())
}

/// Reads a key id of the command line.
pub(super) fn parse_key_id(text: &str) -> Result<KeyId, String> {
    let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
    let bytes: Option<[u8; 16]> = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.map(KeyId::from_bytes).ok_or_else(|| "wanted the 32 hex digits of a key id".to_owned())
}
