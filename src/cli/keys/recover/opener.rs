//! The data keys that a recovery key opens: those that stand in tokens and streams, and those of the rows at hand.

use crate::keyring::recovery::Recovery;
use crate::keyring::store::{KeyRow, KeyState};
use crate::keyring::{Kek, KeyringError};
use crate::seal::{
    Commitment, CryptoProvider, EncryptedDataKey, EncryptionContext, KeyId, KeyRef, Purpose, Scope, UnwrappedKey,
};
use std::collections::HashMap;
use std::sync::Arc;

/// See the module.
pub(super) struct Opener {
    provider: &'static dyn CryptoProvider,
    pub(super) recovery: Recovery,
    rows: HashMap<KeyId, KeyRow>,
    known: HashMap<KeyId, Arc<UnwrappedKey>>,
}

impl Opener {
    pub(super) fn new(provider: &'static dyn CryptoProvider, recovery: Recovery, rows: Vec<KeyRow>) -> Self {
        let rows = rows.into_iter().map(|row| (row.id(), row)).collect();
        Self { provider, recovery, rows, known: HashMap::new() }
    }

    /// The data key that something names that was sealed in `context`.
    pub(super) async fn key(
        &mut self,
        reference: KeyRef,
        context: EncryptionContext,
    ) -> Result<Arc<UnwrappedKey>, KeyringError> {
        let (commitment, edks) = match reference {
            KeyRef::Inline { commitment, edks } => (commitment, edks),
            KeyRef::Stored { id } => self.stored(id, context)?,
        };
        let id = commitment.key_id();
        if let Some(known) = self.known.get(&id).filter(|known| known.commitment().matches(&commitment)) {
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
        self.known.insert(id, Arc::clone(&key));
        Ok(key)
    }

    fn stored(
        &self,
        id: KeyId,
        context: EncryptionContext,
    ) -> Result<(Commitment, Vec<EncryptedDataKey>), KeyringError> {
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
        Ok((row.commitment, row.edks.clone()))
    }

    /// The id of the format key of a scope. Values of a format name no key, and another one opens them as something else:
    /// it is the active one, or the only one that there is.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub(super) fn format_key_id(&self, scope: Scope) -> Result<KeyId, String> {
        let of_scope = |row: &&KeyRow| (row.scope, row.purpose) == (scope, Purpose::Format);
        let rows: Vec<&KeyRow> = self.rows.values().filter(of_scope).collect();
        match (rows.iter().find(|row| row.state == KeyState::Active), rows.as_slice()) {
            (Some(active), _) => Ok(active.id()),
            (None, [only]) => Ok(only.id()),
            (None, []) => Err(format!("no row of --keyset is a format key of scope {scope}")),
            (None, _) => Err(format!("several rows are format keys of scope {scope}, and none of them is active")),
        }
    }
}
