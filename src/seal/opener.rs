//! Tokens in, values out: a data key in the clear, and the field keys derived from it.

use super::context::{Class, Context};
use super::crypto::rustcrypto::Siv;
use super::crypto::{Aead, CryptoFailed, CryptoProvider, NONCE_BYTES, TAG_BYTES};
use super::envelope::{Envelope, SALT_BYTES, Suite};
use super::format::{Alphabet, FormatKey};
use super::head::Head;
use super::key::{Commitment, DataKey, KeyId};
use super::quick::QuickMap;
use super::value::{Plaintext, Value};
use super::{Purpose, Scope};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// How many field keys of one data key are kept. Those of the config's classes are far fewer; tokens may name others.
const FIELD_KEYS_MAX: usize = 512;

/// Why a token was not opened. One error for whatever does not authenticate, so that it tells an attacker nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The key that was unwrapped is not the one that the token commits to.
    #[error("token: data key does not match its commitment")]
    Commitment,
    /// Changed, or moved from another class, scope or record.
    #[error("token: does not authenticate")]
    Unauthentic,
    /// A stream ends before its last segment.
    #[error("stream: cut off")]
    Truncated,
}

/// What encrypts the values of one suite and class.
pub(super) enum FieldKey {
    Gcm(Box<dyn Aead>),
    Siv(Siv),
}

type Salt = Option<[u8; SALT_BYTES]>;
type FieldKeys = QuickMap<(Suite, Class, Salt), Arc<FieldKey>>;

/// A data key in the clear with the field keys derived from it so far.
pub struct UnwrappedKey {
    pub(super) provider: &'static dyn CryptoProvider,
    data_key: DataKey,
    commitment: Commitment,
    field_keys: RwLock<FieldKeys>,
    format_keys: RwLock<HashMap<(Class, Alphabet), Arc<FormatKey>>>,
}

impl fmt::Debug for UnwrappedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnwrappedKey").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl UnwrappedKey {
    /// Takes a data key into use; its commitment is computed here, before anything else is.
    ///
    /// # Errors
    /// [`CryptoFailed`] if the provider fails.
    pub fn new(provider: &'static dyn CryptoProvider, data_key: DataKey) -> Result<Self, CryptoFailed> {
        let commitment = data_key.commitment(provider)?;
        let (field_keys, format_keys) = Default::default();
        Ok(Self { provider, data_key, commitment, field_keys, format_keys })
    }

    /// What names the key.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.commitment.key_id()
    }

    /// What commits to the key.
    #[must_use]
    pub const fn commitment(&self) -> Commitment {
        self.commitment
    }

    /// The key in the clear, for wrapping it under another KEK.
    #[must_use]
    pub const fn data_key(&self) -> &DataKey {
        &self.data_key
    }

    /// Whether this is the key that the token commits to. One of a stored key names the first half of the commitment; the
    /// other half is compared with the key's row by whoever brought the key from there.
    ///
    /// # Errors
    /// [`OpenError::Commitment`] if not.
    pub fn check(&self, head: &Head) -> Result<(), OpenError> {
        let right = match &head.commitment {
            Some(commitment) => self.commitment.matches(commitment),
            None => self.commitment.begins_as(&head.key_id),
        };
        if right { Ok(()) } else { Err(OpenError::Commitment) }
    }

    /// Opens an envelope that was sealed in `context`, in the envelope's own memory.
    ///
    /// # Errors
    /// [`OpenError`]; nothing of the value is told then.
    pub fn open(&self, envelope: Envelope, context: &Context<'_>) -> Result<Value, OpenError> {
        let Envelope { head, bytes } = envelope;
        self.check(&head)?;
        head.check(context)?;
        let unauthentic = |_| OpenError::Unauthentic;
        let suite = head.suite;
        let (key, is_new) = self.field_key(suite, context.class, head.salt).map_err(unauthentic)?;
        let start = head.length() + if matches!(*key, FieldKey::Gcm(_)) { NONCE_BYTES } else { TAG_BYTES };
        let mut plaintext = Plaintext::new(bytes, start);
        let (before, sealed) = plaintext.split().ok_or(OpenError::Unauthentic)?;
        let aad = context.aad(before.get(..head.length()).ok_or(OpenError::Unauthentic)?);
        let length = match &*key {
            FieldKey::Gcm(key) => {
                let nonce = before.last_chunk().ok_or(OpenError::Unauthentic)?;
                key.open(*nonce, &aad, sealed).map_err(unauthentic)?
            }
            FieldKey::Siv(key) => {
                let iv = before.last_chunk().ok_or(OpenError::Unauthentic)?;
                key.open(&aad, iv, sealed).map_err(unauthentic)?;
                sealed.len()
            }
        };
        let value = Value::read(plaintext, length);
        let value = value.ok_or(OpenError::Unauthentic)?;
        if is_new {
            // Only now: what a forged token names is not kept.
            self.keep((suite, context.class, head.salt), key);
        }
        Ok(value)
    }

    /// Whether an envelope would open in `context`; what is in it is forgotten at once.
    ///
    /// # Errors
    /// [`OpenError`], as [`open`](Self::open).
    pub fn authenticate(&self, envelope: &Envelope, context: &Context<'_>) -> Result<(), OpenError> {
        self.open(envelope.clone(), context).map(drop)
    }

    /// The key of a class whose values keep their format.
    ///
    /// # Errors
    /// [`CryptoFailed`] if the provider fails.
    pub fn format_key(&self, class: Class, scope: Scope, alphabet: Alphabet) -> Result<Arc<FormatKey>, CryptoFailed> {
        let known = self.format_keys.read().unwrap_or_else(PoisonError::into_inner).get(&(class, alphabet)).cloned();
        if let Some(key) = known.filter(|key| key.scope() == scope) {
            return Ok(key);
        }
        let bytes =
            self.data_key.field_key(self.provider, &[], (Purpose::Format, alphabet.as_str().as_bytes(), class))?;
        let key = Arc::new(FormatKey::new(&bytes, class, scope, alphabet)?);
        let mut keys = self.format_keys.write().unwrap_or_else(PoisonError::into_inner);
        if keys.len() < FIELD_KEYS_MAX {
            keys.insert((class, alphabet), Arc::clone(&key));
        }
        Ok(key)
    }

    /// The key of one stream: derived for it alone.
    pub(super) fn stream_key(&self, class: Class, salt: &[u8]) -> Result<Box<dyn Aead>, CryptoFailed> {
        let suite = [Suite::Stream.id()];
        let key = self.data_key.field_key(self.provider, salt, (Purpose::Stream, &suite, class))?;
        self.provider.aes_256_gcm(&key)
    }

    /// The key that seals: kept from now on.
    pub(super) fn sealing_field_key(
        &self,
        suite: Suite,
        class: Class,
        salt: Salt,
    ) -> Result<Arc<FieldKey>, CryptoFailed> {
        let (key, is_new) = self.field_key(suite, class, salt)?;
        if is_new {
            self.keep((suite, class, salt), Arc::clone(&key));
        }
        Ok(key)
    }

    /// The key, and whether it was derived just now.
    fn field_key(&self, suite: Suite, class: Class, salt: Salt) -> Result<(Arc<FieldKey>, bool), CryptoFailed> {
        let known = self.field_keys.read().unwrap_or_else(PoisonError::into_inner).get(&(suite, class, salt)).cloned();
        if let Some(key) = known {
            return Ok((key, false));
        }
        let (provider, data_key) = (self.provider, &self.data_key);
        let (salt, suite_id) = (salt.as_ref().map_or(&[][..], |salt| salt), [suite.id()]);
        let what = (suite.purpose(), &suite_id[..], class);
        let key = match suite {
            Suite::Random | Suite::Stream => {
                FieldKey::Gcm(provider.aes_256_gcm(&*data_key.field_key(provider, salt, what)?)?)
            }
            Suite::Deterministic => FieldKey::Siv(Siv::new(&*data_key.field_key(provider, salt, what)?)),
        };
        Ok((Arc::new(key), true))
    }

    fn keep(&self, name: (Suite, Class, Salt), key: Arc<FieldKey>) {
        let mut keys = self.field_keys.write().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= FIELD_KEYS_MAX {
            // Salts of processes that are long gone; those in use are derived again.
            keys.clear();
        }
        keys.insert(name, key);
    }
}
