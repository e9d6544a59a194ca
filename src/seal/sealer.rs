//! Values in, tokens out, and back.

use super::context::{Class, Context};
use super::crypto::{Aead, CryptoFailed, CryptoProvider, NONCE_BYTES};
use super::envelope::{Envelope, Suite};
use super::key::{Commitment, DataKey, EncryptedDataKey, KeyId};
use super::token::Token;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use zeroize::Zeroizing;

/// What a sealed value was, so that its type comes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Text, in WTF-8: it comes back as the same text, escaped for the medium that it then stands in.
    Text,
    /// A JSON number, boolean, object or array, byte for byte.
    Literal,
}

impl Kind {
    const fn id(self) -> u8 {
        match self {
            Self::Text => 0,
            Self::Literal => 1,
        }
    }
}

/// An opened value. Zeroized on drop; no `Clone`, `Debug`, `Display` or `Serialize`.
pub struct Value {
    kind: Kind,
    /// The kind byte and the value.
    bytes: Zeroizing<Vec<u8>>,
}

impl Value {
    /// What it was.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The value, to be written where the one who asked for it will read it, and nowhere else.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.bytes.get(1..).unwrap_or_default()
    }
}

/// Why a value was not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The key's budget of seals or bytes is spent; another key is needed.
    #[error("data key: its budget is spent")]
    Exhausted,
    /// The provider failed.
    #[error(transparent)]
    Crypto(#[from] CryptoFailed),
}

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
}

/// Random nonces, drawn for many values in one call and dropped with the document that they are for, so that a process
/// that is cloned between two documents has none in store.
pub struct Nonces {
    drawn: [u8; NONCE_BYTES * Self::BATCH],
    used: usize,
}

impl Nonces {
    const BATCH: usize = 32;

    /// None drawn yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { drawn: [0; NONCE_BYTES * Self::BATCH], used: NONCE_BYTES * Self::BATCH }
    }

    fn next(&mut self, provider: &dyn CryptoProvider) -> Result<[u8; NONCE_BYTES], CryptoFailed> {
        if self.used >= self.drawn.len() {
            provider.fill_random(&mut self.drawn)?;
            self.used = 0;
        }
        let nonce = self.drawn.get(self.used..).and_then(<[u8]>::first_chunk).ok_or(CryptoFailed)?;
        self.used += NONCE_BYTES;
        Ok(*nonce)
    }
}

impl Default for Nonces {
    fn default() -> Self {
        Self::new()
    }
}

/// A data key in the clear with the field keys derived from it so far.
pub struct UnwrappedKey {
    provider: &'static dyn CryptoProvider,
    data_key: DataKey,
    commitment: Commitment,
    field_keys: RwLock<HashMap<(Suite, Class), Arc<dyn Aead>>>,
}

type FieldKeys = HashMap<(Suite, Class), Arc<dyn Aead>>;

impl std::fmt::Debug for UnwrappedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
        Ok(Self { provider, data_key, commitment, field_keys: RwLock::new(FieldKeys::new()) })
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

    /// Whether this is the key that the token commits to.
    ///
    /// # Errors
    /// [`OpenError::Commitment`] if not.
    pub fn check(&self, envelope: &Envelope) -> Result<(), OpenError> {
        if self.commitment.matches(&envelope.commitment()) { Ok(()) } else { Err(OpenError::Commitment) }
    }

    /// Opens an envelope that was sealed in `context`.
    ///
    /// # Errors
    /// [`OpenError`]; nothing of the value is told then.
    pub fn open(&self, envelope: &Envelope, context: &Context<'_>) -> Result<Value, OpenError> {
        self.check(envelope)?;
        let key = self.field_key(envelope.suite, context.class).map_err(|_| OpenError::Unauthentic)?;
        let aad = context.aad(envelope.suite, &self.id());
        let mut bytes = Zeroizing::new(envelope.sealed.clone());
        let length = key.open(envelope.nonce, &aad, &mut bytes).map_err(|_| OpenError::Unauthentic)?;
        bytes.truncate(length);
        let kind = match bytes.first() {
            Some(0) => Kind::Text,
            Some(1) => Kind::Literal,
            _ => return Err(OpenError::Unauthentic),
        };
        Ok(Value { kind, bytes })
    }

    /// Whether an envelope would open in `context`; what is in it is forgotten at once.
    ///
    /// # Errors
    /// [`OpenError`], as [`open`](Self::open).
    pub fn authenticate(&self, envelope: &Envelope, context: &Context<'_>) -> Result<(), OpenError> {
        self.open(envelope, context).map(drop)
    }

    fn field_key(&self, suite: Suite, class: Class) -> Result<Arc<dyn Aead>, CryptoFailed> {
        let known = self.field_keys.read().unwrap_or_else(PoisonError::into_inner).get(&(suite, class)).cloned();
        if let Some(key) = known {
            return Ok(key);
        }
        let key = self.data_key.field_key(self.provider, suite, class)?;
        let key: Arc<dyn Aead> = Arc::from(self.provider.aes_256_gcm(&key)?);
        let mut keys = self.field_keys.write().unwrap_or_else(PoisonError::into_inner);
        Ok(keys.entry((suite, class)).or_insert(key).clone())
    }
}

/// How much one data key may seal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// Values. Far below the 2^32 of SP 800-38D 8.3 for random nonces.
    pub seals_max: u64,
    /// Bytes of values.
    pub bytes_max: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { seals_max: 1 << 24, bytes_max: 1 << 30 }
    }
}

/// A data key that may still seal, with its encrypted form as tokens carry it.
#[derive(Debug)]
pub struct SealingKey {
    key: Arc<UnwrappedKey>,
    edks: Vec<EncryptedDataKey>,
    budget: Budget,
    seals: AtomicU64,
    bytes: AtomicU64,
}

impl SealingKey {
    /// A key with nothing of its budget spent. It must have been made for this process alone.
    #[must_use]
    pub fn new(key: impl Into<Arc<UnwrappedKey>>, edks: Vec<EncryptedDataKey>, budget: Budget) -> Self {
        Self { key: key.into(), edks, budget, seals: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }

    /// What names the key.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.key.id()
    }

    /// Its encrypted forms.
    #[must_use]
    pub fn edks(&self) -> &[EncryptedDataKey] {
        &self.edks
    }

    /// The key as one that opens.
    #[must_use]
    pub fn unwrapped(&self) -> &UnwrappedKey {
        &self.key
    }

    /// How much of the budget is spent, 0 to 1 and above, whichever of seals and bytes is further.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share of a budget, not a count")]
    pub fn spent(&self) -> f64 {
        let share = |used: &AtomicU64, max: u64| used.load(Ordering::Relaxed) as f64 / max.max(1) as f64;
        share(&self.seals, self.budget.seals_max).max(share(&self.bytes, self.budget.bytes_max))
    }

    /// Seals a value. The budget is spent first.
    ///
    /// # Errors
    /// [`SealError::Exhausted`] once the budget is spent; nothing is sealed then.
    pub fn seal(
        &self,
        nonces: &mut Nonces,
        context: &Context<'_>,
        kind: Kind,
        value: &[u8],
    ) -> Result<Token, SealError> {
        self.spend(value.len())?;
        let suite = Suite::Random;
        let key = self.key.field_key(suite, context.class)?;
        let nonce = nonces.next(self.key.provider)?;

        let mut bytes = Zeroizing::new(Vec::with_capacity(512 + value.len()));
        Envelope::write_head(suite, (context.class, context.scope), &self.key.commitment, &self.edks, &mut bytes);
        bytes.extend_from_slice(&nonce);
        let start = bytes.len();
        bytes.push(kind.id());
        bytes.extend_from_slice(value);
        let sealed = bytes.get_mut(start..).ok_or(CryptoFailed)?;
        let tag = key.seal(nonce, &context.aad(suite, &self.id()), sealed)?;
        bytes.extend_from_slice(&tag);
        Ok(Token::write(&bytes))
    }

    fn spend(&self, length: usize) -> Result<(), SealError> {
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        let bytes = self.bytes.fetch_add(length, Ordering::Relaxed).saturating_add(length);
        let seals = self.seals.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if seals > self.budget.seals_max || bytes > self.budget.bytes_max {
            return Err(SealError::Exhausted);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::crypto::providers;
    use crate::seal::{KekTag, ReadError, Scope};
    use proptest::prelude::*;

    fn key(provider: &'static dyn CryptoProvider, seed: u8) -> SealingKey {
        let edks = vec![EncryptedDataKey { kek: KekTag::from_bytes([seed; 8]), blob: vec![seed; 96] }];
        let key = UnwrappedKey::new(provider, DataKey::take(vec![seed; 32]).unwrap()).unwrap();
        SealingKey::new(key, edks, Budget::default())
    }

    fn context<'a>(class: &str, scope: &str, bind: &'a [(&'a str, &'a [u8])]) -> Context<'a> {
        Context { class: Class::parse(class).unwrap(), scope: Scope::parse(scope).unwrap(), bind }
    }

    fn each(check: fn(&'static dyn CryptoProvider)) {
        providers().iter().for_each(|p| check(*p));
    }

    #[test]
    fn a_value_comes_back_as_it_was_and_only_in_its_own_context() {
        each(|p| {
            let key = key(p, 1);
            let bind: [(&str, &[u8]); 1] = [("id", b"42")];
            let at = context("ssn", "clinic", &bind);
            let token = key.seal(&mut Nonces::new(), &at, Kind::Text, b"999-12-3456").unwrap();
            let envelope = Token::read(token.as_str().as_bytes()).unwrap();
            let value = key.unwrapped().open(&envelope, &at).unwrap();
            assert_eq!((value.kind(), value.expose()), (Kind::Text, b"999-12-3456".as_slice()));

            for moved in [
                context("name", "clinic", &bind),
                context("ssn", "other", &bind),
                context("ssn", "clinic", &[]),
                context("ssn", "clinic", &[("id", b"43")]),
                context("ssn", "clinic", &[("no", b"42")]),
            ] {
                assert_eq!(key.unwrapped().open(&envelope, &moved).err(), Some(OpenError::Unauthentic), "{moved:?}");
            }
        });
    }

    #[test]
    fn another_data_key_is_refused_before_it_is_used() {
        each(|p| {
            let at = context("ssn", "clinic", &[]);
            let token = key(p, 1).seal(&mut Nonces::new(), &at, Kind::Text, b"x").unwrap();
            let envelope = Token::read(token.as_str().as_bytes()).unwrap();
            assert_eq!(key(p, 2).unwrapped().open(&envelope, &at).err(), Some(OpenError::Commitment));
        });
    }

    #[test]
    fn what_one_provider_seals_the_other_opens() {
        let at = context("ssn", "clinic", &[]);
        for sealer in providers() {
            let token = key(*sealer, 1).seal(&mut Nonces::new(), &at, Kind::Literal, b"1.10").unwrap();
            let envelope = Token::read(token.as_str().as_bytes()).unwrap();
            for opener in providers() {
                let value = key(*opener, 1).unwrapped().open(&envelope, &at).unwrap();
                assert_eq!((value.kind(), value.expose()), (Kind::Literal, b"1.10".as_slice()));
            }
        }
    }

    #[test]
    fn the_budget_is_spent_before_sealing() {
        each(|p| {
            let one = UnwrappedKey::new(p, DataKey::take(vec![1; 32]).unwrap()).unwrap();
            let budget = Budget { seals_max: 2, bytes_max: 100 };
            let (key, at) = (SealingKey::new(one, Vec::new(), budget), context("ssn", "clinic", &[]));
            let mut nonces = Nonces::new();
            assert!(key.seal(&mut nonces, &at, Kind::Text, &[0; 90]).is_ok());
            assert_eq!(key.seal(&mut nonces, &at, Kind::Text, &[0; 11]).err(), Some(SealError::Exhausted), "bytes");
            assert_eq!(key.seal(&mut nonces, &at, Kind::Text, b"").err(), Some(SealError::Exhausted), "seals");
            assert!(key.spent() > 1.0);
        });
    }

    #[test]
    fn nonces_are_never_repeated_within_a_batch_or_across_two() {
        each(|p| {
            let mut nonces = Nonces::new();
            let drawn: std::collections::HashSet<_> = (0..100).map(|_| nonces.next(p).unwrap()).collect();
            assert_eq!(drawn.len(), 100);
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_bytes_come_back(
            value in proptest::collection::vec(any::<u8>(), 0..300), class in "[A-Za-z0-9_-]{1,16}", scope in "[A-Za-z0-9_-]{1,16}"
        ) {
            for p in providers() {
                let (key, at) = (key(*p, 3), context(&class, &scope, &[]));
                let token = key.seal(&mut Nonces::new(), &at, Kind::Text, &value).unwrap();
                let envelope = Token::read(token.as_str().as_bytes()).unwrap();
                let opened = key.unwrapped().open(&envelope, &at).unwrap();
                prop_assert_eq!(opened.expose(), &value[..]);
            }
        }

        #[test]
        fn any_changed_character_fails(at_character in 0usize..250, to in "[A-Za-z0-9_.-]") {
            let p = providers()[0];
            let (key, at) = (key(p, 3), context("ssn", "clinic", &[]));
            let token = key.seal(&mut Nonces::new(), &at, Kind::Text, b"value").unwrap();
            let mut text = token.as_str().as_bytes().to_vec();
            let at_character = at_character % text.len();
            prop_assume!(text[at_character] != to.as_bytes()[0]);
            text[at_character] = to.as_bytes()[0];
            // Outside the encrypted data key, which is no input of ours to check: its keeper does.
            let opened = Token::read(&text).and_then(|envelope| {
                if envelope.edks != key.edks() { return Err(ReadError::Malformed); }
                key.unwrapped().open(&envelope, &context(envelope.class.as_str(), envelope.scope.as_str(), &[]))
                    .map_err(|_| ReadError::Malformed)
            });
            prop_assert!(opened.is_err());
        }
    }
}
