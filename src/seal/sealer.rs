//! Values in, tokens out: a data key that may still seal, and how much.

use super::context::{Class, Context, EncryptionContext, Scope};
use super::crypto::{CryptoFailed, CryptoProvider, NONCE_BYTES, TAG_BYTES, fips};
use super::envelope::{EDK_BYTES_MAX, EDKS_MAX, SALT_BYTES, Suite};
use super::head::{Head, KeyRef};
use super::key::{EncryptedDataKey, KeyId};
use super::opener::{FieldKey, UnwrappedKey};
use super::quick::QuickMap;
use super::token::Token;
use super::value::Manner;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use zeroize::Zeroizing;

/// How many ready-made beginnings of tokens one key keeps: one for each suite and class that it seals.
const BEGINNINGS_MAX: usize = 512;

/// How many of them a workspace has at hand.
const AT_HAND: usize = 8;

/// Why a value was not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The key's budget of seals or bytes is spent; another key is needed.
    #[error("data key: its budget is spent")]
    Exhausted,
    /// The key is of another scope, or its purpose is not that of the suite.
    #[error("data key: made for another scope or purpose")]
    WrongKey,
    /// A build for FIPS 140 does not seal so.
    #[error(transparent)]
    NotApproved(#[from] fips::NotApproved),
    /// The key cannot be written into a token: there would be no reading it again.
    #[error("data key: wanted 1 to 4 encrypted forms of 1 to 6144 bytes each")]
    Unwritable,
    /// The provider failed.
    #[error(transparent)]
    Crypto(#[from] CryptoFailed),
}

/// Room to work in, and random nonces, drawn for many values in one call. For one document: it is dropped with it, so
/// that a process that is cloned between two documents has no nonce in store. What stood in it is zeroized.
///
/// Each call draws 16 nonces: it takes hardly longer than for one. It holds keys of the classes that it sealed until it is dropped.
pub struct Workspace {
    nonces: Nonces,
    plaintext: Zeroizing<Vec<u8>>,
    aad: Vec<u8>,
    /// Where the beginnings of all are kept, workers that seal with the same key would wait for each other.
    at_hand: [Option<Arc<Beginning>>; AT_HAND],
}

impl Workspace {
    /// Nothing drawn yet.
    #[must_use]
    pub fn new() -> Self {
        let (plaintext, aad, at_hand) = Default::default();
        Self { nonces: Nonces::NONE, plaintext, aad, at_hand }
    }
}

/// Those not yet used stand at the end.
struct Nonces {
    drawn: [u8; NONCE_BYTES * Self::BATCH],
    used: usize,
}

impl Nonces {
    const BATCH: usize = 16;
    const NONE: Self = Self { drawn: [0; NONCE_BYTES * Self::BATCH], used: NONCE_BYTES * Self::BATCH };

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

impl Default for Workspace {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Workspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Workspace")
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

/// Where the encrypted form of a key is found again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// In every token. The key must have been made for this process alone, which seals with it and nobody else does.
    Inline(Vec<EncryptedDataKey>),
    /// In a store, where other processes find it too.
    Stored {
        /// Random, drawn once by this process: by it no other one has the same field keys.
        salt: [u8; SALT_BYTES],
    },
}

/// A data key that may still seal.
#[derive(Debug)]
pub struct SealingKey {
    key: Arc<UnwrappedKey>,
    made_for: EncryptionContext,
    reference: KeyRef,
    salt: [u8; SALT_BYTES],
    budget: Budget,
    seals: AtomicU64,
    bytes: AtomicU64,
    /// By this one it is told from all others.
    identity: Arc<()>,
    beginnings: RwLock<QuickMap<(Suite, Class), Arc<Beginning>>>,
}

/// What all tokens of one key, suite and class begin with, and the key that makes the rest.
struct Beginning {
    of: (Arc<()>, Suite, Class),
    key: Arc<FieldKey>,
    /// What everything sealed begins with; the AAD but for the bound values.
    head: Vec<u8>,
    /// The text form of the head, as far as it is made of whole groups of three bytes.
    text: String,
    /// Where in the head the rest of it starts, at most two bytes.
    rest: usize,
}

impl fmt::Debug for Beginning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Beginning")
    }
}

impl SealingKey {
    /// A key made for `made_for`, with nothing of its budget spent.
    #[must_use]
    pub fn new(key: impl Into<Arc<UnwrappedKey>>, made_for: EncryptionContext, origin: Origin, budget: Budget) -> Self {
        let key = key.into();
        let (reference, salt) = match origin {
            Origin::Inline(edks) => (KeyRef::Inline { commitment: key.commitment(), edks }, [0; SALT_BYTES]),
            Origin::Stored { salt } => (KeyRef::Stored { id: key.id() }, salt),
        };
        let (seals, bytes, beginnings) = Default::default();
        Self { key, made_for, reference, salt, budget, seals, bytes, identity: Arc::new(()), beginnings }
    }

    /// What names the key.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.key.id()
    }

    /// How tokens refer to it.
    #[must_use]
    pub const fn reference(&self) -> &KeyRef {
        &self.reference
    }

    /// What it was made for.
    #[must_use]
    pub const fn made_for(&self) -> EncryptionContext {
        self.made_for
    }

    /// The key as one that opens.
    #[must_use]
    pub const fn unwrapped(&self) -> &Arc<UnwrappedKey> {
        &self.key
    }

    /// How much of the budget is spent, 0 to 1 and above, whichever of seals and bytes is further.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share of a budget, not a count")]
    pub fn spent(&self) -> f64 {
        let share = |used: &AtomicU64, max: u64| used.load(Ordering::Relaxed) as f64 / max.max(1) as f64;
        share(&self.seals, self.budget.seals_max).max(share(&self.bytes, self.budget.bytes_max))
    }

    /// Seals a value. The budget is spent first. Nothing is allocated but the token, once `workspace` has grown.
    ///
    /// # Errors
    /// [`SealError::Exhausted`] once the budget is spent, [`SealError::WrongKey`] if the key was not made for this,
    /// [`SealError::Unwritable`] if tokens cannot hold its encrypted forms; nothing is sealed then.
    pub fn seal(
        &self,
        workspace: &mut Workspace,
        context: &Context<'_>,
        manner: Manner,
        value: &[u8],
    ) -> Result<Token, SealError> {
        let suite = manner.suite;
        self.judge(context.scope, suite)?;
        self.spend(value.len())?;
        let beginning = self.at_hand(workspace, suite, context.class)?;
        let Workspace { nonces, plaintext, aad, at_hand } = workspace;
        let beginning = at_hand.get(beginning).and_then(Option::as_deref).ok_or(CryptoFailed)?;
        let aad: &[u8] = if context.bind.is_empty() {
            &beginning.head
        } else {
            aad.clear();
            aad.extend_from_slice(&beginning.head);
            context.bind_into(aad);
            aad
        };
        let rest = beginning.head.get(beginning.rest..).unwrap_or_default();
        plaintext.clear();
        // Once and for all: where it grew, it would leave a copy of the value behind.
        plaintext.reserve(manner.bytes_max(value) + NONCE_BYTES + TAG_BYTES + rest.len());
        plaintext.extend_from_slice(rest);
        match &*beginning.key {
            FieldKey::Gcm(key) => {
                let start = plaintext.len();
                // A FIPS 140 module may not take a nonce from outside: it draws one itself, for which there is room here.
                let nonce = if fips::REQUIRED { None } else { Some(nonces.next(self.key.provider)?) };
                plaintext.extend_from_slice(&nonce.unwrap_or_default());
                manner.write(value, plaintext);
                let rest = plaintext.get_mut(start..).and_then(<[u8]>::split_first_chunk_mut);
                let (room, sealed) = rest.ok_or(CryptoFailed)?;
                let tag = match nonce {
                    Some(nonce) => key.seal(nonce, aad, sealed)?,
                    None => {
                        let (drawn, tag) = key.seal_drawing(aad, sealed)?;
                        *room = drawn;
                        tag
                    }
                };
                plaintext.extend_from_slice(&tag);
                Ok(Token::write(&beginning.text, plaintext))
            }
            FieldKey::Siv(key) => {
                let start = plaintext.len();
                plaintext.extend_from_slice(&[0; TAG_BYTES]);
                manner.write(value, plaintext);
                let room = plaintext.get_mut(start..).and_then(<[u8]>::split_first_chunk_mut);
                let (iv, sealed) = room.ok_or(CryptoFailed)?;
                *iv = key.seal(aad, sealed)?;
                Ok(Token::write(&beginning.text, plaintext))
            }
        }
    }

    pub(super) fn judge(&self, scope: Scope, suite: Suite) -> Result<(), SealError> {
        let inline = matches!(self.reference, KeyRef::Inline { .. });
        let wanted = EncryptionContext { scope, purpose: suite.purpose() };
        match suite {
            Suite::Random => fips::Method::RandomNonce.permit()?,
            Suite::Deterministic => fips::Method::Siv.permit()?,
            Suite::Stream => fips::Method::CountedNonce.permit()?,
        }
        if let KeyRef::Inline { edks, .. } = &self.reference {
            let fits = |edk: &EncryptedDataKey| (1..=EDK_BYTES_MAX).contains(&edk.blob.len());
            if !(1..=EDKS_MAX).contains(&edks.len()) || !edks.iter().all(fits) {
                return Err(SealError::Unwritable);
            }
        }
        // Long-lived keys never ride in a token.
        if self.made_for != wanted || (inline && suite == Suite::Deterministic) {
            return Err(SealError::WrongKey);
        }
        Ok(())
    }

    pub(super) fn spend(&self, length: usize) -> Result<(), SealError> {
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        let bytes = self.bytes.fetch_add(length, Ordering::Relaxed).saturating_add(length);
        let seals = self.seals.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        // The same value gives the same token: neither nonces nor, for any amount of PHI, the bound of SIV run out.
        let unbounded = self.made_for.purpose == Suite::Deterministic.purpose();
        if !unbounded && (seals > self.budget.seals_max || bytes > self.budget.bytes_max) {
            return Err(SealError::Exhausted);
        }
        Ok(())
    }

    /// The salt that goes into field keys and envelopes of a suite.
    pub(super) fn salt(&self, suite: Suite) -> Option<[u8; SALT_BYTES]> {
        let salted = matches!(self.reference, KeyRef::Stored { .. }) && suite != Suite::Deterministic;
        salted.then_some(self.salt)
    }

    /// Which of the beginnings at hand it is, taken from those of all if it was not there.
    fn at_hand(&self, workspace: &mut Workspace, suite: Suite, class: Class) -> Result<usize, CryptoFailed> {
        let at_hand = &mut workspace.at_hand;
        let is_it = |known: &Option<Arc<Beginning>>| {
            known.as_ref().is_some_and(|known| {
                let (identity, known_suite, known_class) = &known.of;
                Arc::ptr_eq(identity, &self.identity) && *known_suite == suite && *known_class == class
            })
        };
        if let Some(index) = at_hand.iter().position(is_it) {
            return Ok(index);
        }
        // In the place of the oldest.
        at_hand.rotate_right(1);
        if let Some(first) = at_hand.first_mut() {
            *first = Some(self.beginning(suite, class)?);
        }
        Ok(0)
    }

    fn beginning(&self, suite: Suite, class: Class) -> Result<Arc<Beginning>, CryptoFailed> {
        let known = self.beginnings.read().unwrap_or_else(PoisonError::into_inner).get(&(suite, class)).cloned();
        if let Some(beginning) = known {
            return Ok(beginning);
        }
        let (scope, salt) = (self.made_for.scope, self.salt(suite));
        let mut head = Vec::with_capacity(512);
        Head::write(suite, (class, scope), &self.reference, salt, &mut head);
        let rest = head.len() - head.len() % 3;
        let beginning = Arc::new(Beginning {
            of: (Arc::clone(&self.identity), suite, class),
            key: self.key.sealing_field_key(suite, class, salt)?,
            text: Token::begin(head.get(..rest).unwrap_or_default()),
            head,
            rest,
        });
        let mut beginnings = self.beginnings.write().unwrap_or_else(PoisonError::into_inner);
        if beginnings.len() < BEGINNINGS_MAX {
            beginnings.insert((suite, class), Arc::clone(&beginning));
        }
        Ok(beginning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::crypto::providers;
    use crate::seal::token::{TokenSize, token_chars};
    use crate::seal::{DataKey, Envelope, KekTag, Kind, OpenError, Purpose, Value};
    use proptest::prelude::*;

    /// Inline and stored keys of the random suite, and a deterministic one.
    fn keys(provider: &'static dyn CryptoProvider, seed: u8, scope: &str) -> [SealingKey; 3] {
        let edks = vec![EncryptedDataKey { kek: KekTag::from_bytes([seed; 8]), blob: vec![seed; 96] }];
        let stored = Origin::Stored { salt: [seed; 8] };
        [(Purpose::Field, Origin::Inline(edks)), (Purpose::Field, stored.clone()), (Purpose::Lookup, stored)].map(
            |(purpose, origin)| {
                let key = UnwrappedKey::new(provider, DataKey::take(vec![seed; 32]).unwrap()).unwrap();
                let made_for = EncryptionContext { scope: Scope::parse(scope).unwrap(), purpose };
                SealingKey::new(key, made_for, origin, Budget::default())
            },
        )
    }

    fn manner(key: &SealingKey, kind: Kind) -> Manner {
        match key.made_for().purpose {
            Purpose::Lookup => Manner::deterministic(kind),
            _ => Manner::random(kind),
        }
    }

    fn context<'a>(class: &str, scope: &str, bind: &'a [(&'a str, &'a [u8])]) -> Context<'a> {
        Context { class: Class::parse(class).unwrap(), scope: Scope::parse(scope).unwrap(), bind }
    }

    fn seal(key: &SealingKey, at: &Context<'_>, kind: Kind, value: &[u8]) -> Token {
        key.seal(&mut Workspace::new(), at, manner(key, kind), value).unwrap()
    }

    fn open(key: &SealingKey, token: &Token, at: &Context<'_>) -> Result<Value, OpenError> {
        key.unwrapped().open(Token::read(token.as_str().as_bytes()).unwrap(), at)
    }

    fn on_each(check: fn(&'static dyn CryptoProvider)) {
        providers().iter().for_each(|p| check(*p));
    }

    #[test]
    fn a_value_comes_back_as_it_was_and_only_in_its_own_context() {
        on_each(|p| {
            for key in keys(p, 1, "clinic") {
                let bind: [(&str, &[u8]); 1] = [("id", b"42")];
                let at = context("ssn", "clinic", &bind);
                let token = seal(&key, &at, Kind::Text, b"999-12-3456");
                let value = open(&key, &token, &at).unwrap();
                assert_eq!((value.kind(), value.expose()), (Kind::Text, b"999-12-3456".as_slice()));
                for moved in [
                    context("name", "clinic", &bind),
                    context("ssn", "other", &bind),
                    context("ssn", "clinic", &[]),
                    context("ssn", "clinic", &[("id", b"43")]),
                    context("ssn", "clinic", &[("no", b"42")]),
                ] {
                    assert_eq!(open(&key, &token, &moved).err(), Some(OpenError::Unauthentic), "{moved:?}");
                }
            }
        });
    }

    #[test]
    fn one_workspace_serves_many_keys_and_classes() {
        on_each(|p| {
            let mut room = Workspace::new();
            let mut all: Vec<SealingKey> = keys(p, 1, "clinic").into_iter().chain(keys(p, 2, "clinic")).collect();
            // A key that is taken into use again has another salt, and nothing else.
            let again = Origin::Stored { salt: [9; 8] };
            let again = SealingKey::new(Arc::clone(all[1].unwrapped()), all[1].made_for(), again, Budget::default());
            all.insert(2, again);
            // Some are at hand from the time before, and some are not any more.
            for count in 1..=AT_HAND + 1 {
                for class in (0..count).map(|number| format!("class{number}")) {
                    let at = context(&class, "clinic", &[]);
                    for key in all.iter().chain(&all) {
                        let token = key.seal(&mut room, &at, manner(key, Kind::Text), b"999-12-3456").unwrap();
                        let other = seal(key, &at, Kind::Text, b"999-12-3456");
                        let [token_read, other] =
                            [&token, &other].map(|token| Token::read(token.as_str().as_bytes()).unwrap());
                        assert_eq!(token_read.head(), other.head());
                        assert_eq!(open(key, &token, &at).unwrap().expose(), b"999-12-3456");
                    }
                }
            }
        });
    }

    #[test]
    fn a_key_seals_only_what_it_was_made_for() {
        on_each(|p| {
            let [inline, stored, lookup] = keys(p, 1, "clinic");
            let mut room = Workspace::new();
            let (here, there) = (context("ssn", "clinic", &[]), context("ssn", "other", &[]));
            let (random, deterministic) = (Manner::random(Kind::Text), Manner::deterministic(Kind::Text));
            for (key, at, manner) in [
                (&inline, &there, random),
                (&stored, &there, random),
                (&lookup, &there, deterministic),
                (&inline, &here, deterministic),
                (&stored, &here, deterministic),
                (&lookup, &here, random),
            ] {
                assert_eq!(key.seal(&mut room, at, manner, b"x").err(), Some(SealError::WrongKey), "{manner:?}");
            }
        });
    }

    #[test]
    fn two_processes_that_share_a_stored_key_seal_under_different_field_keys() {
        on_each(|p| {
            let [_, one, _] = keys(p, 1, "clinic");
            let unwrapped = UnwrappedKey::new(p, DataKey::take(vec![1; 32]).unwrap()).unwrap();
            let other = SealingKey::new(unwrapped, one.made_for(), Origin::Stored { salt: [2; 8] }, Budget::default());
            let at = context("ssn", "clinic", &[]);
            let token = seal(&one, &at, Kind::Text, b"x");
            assert_eq!(open(&other, &token, &at).unwrap().expose(), b"x", "each opens what the other sealed");
            // The same token with the salt of the other process: what it then derives opens nothing.
            let mut bytes = Token::read(token.as_str().as_bytes()).unwrap().bytes;
            let salt = 3 + 3 + 6 + 16;
            assert_eq!(bytes[salt..salt + 8], [1; 8]);
            bytes[salt..salt + 8].fill(2);
            let moved = Envelope::read(bytes).unwrap();
            assert_eq!(one.unwrapped().open(moved, &at).err(), Some(OpenError::Unauthentic));
        });
    }

    #[test]
    fn another_data_key_is_refused_before_it_is_used() {
        on_each(|p| {
            let at = context("ssn", "clinic", &[]);
            for (key, other) in keys(p, 1, "clinic").iter().zip(keys(p, 2, "clinic")) {
                let token = seal(key, &at, Kind::Text, b"x");
                assert_eq!(open(&other, &token, &at).err(), Some(OpenError::Commitment));
            }
        });
    }

    #[test]
    fn what_one_provider_seals_the_other_opens() {
        let at = context("ssn", "clinic", &[]);
        for sealer in providers() {
            for (number, key) in keys(*sealer, 1, "clinic").iter().enumerate() {
                let token = seal(key, &at, Kind::Literal, b"1.10");
                for opener in providers() {
                    let value = open(&keys(*opener, 1, "clinic")[number], &token, &at).unwrap();
                    assert_eq!((value.kind(), value.expose()), (Kind::Literal, b"1.10".as_slice()));
                }
            }
        }
    }

    #[test]
    fn the_budget_is_spent_before_sealing() {
        on_each(|p| {
            let one = UnwrappedKey::new(p, DataKey::take(vec![1; 32]).unwrap()).unwrap();
            let (budget, at) = (Budget { seals_max: 2, bytes_max: 100 }, context("ssn", "clinic", &[]));
            let made_for = EncryptionContext { scope: at.scope, purpose: Purpose::Field };
            let edks = vec![EncryptedDataKey { kek: KekTag::from_bytes([1; 8]), blob: vec![1] }];
            let key = SealingKey::new(one, made_for, Origin::Inline(edks), budget);
            let seal = |value: &[u8]| key.seal(&mut Workspace::new(), &at, Manner::random(Kind::Text), value);
            assert!(seal(&[0; 90]).is_ok());
            assert_eq!(seal(&[0; 11]).err(), Some(SealError::Exhausted), "bytes");
            assert_eq!(seal(b"").err(), Some(SealError::Exhausted), "seals");
            assert!(key.spent() > 1.0);
        });
    }

    #[test]
    fn a_key_that_no_token_can_hold_seals_nothing() {
        on_each(|p| {
            let at = context("ssn", "clinic", &[]);
            let made_for = EncryptionContext { scope: at.scope, purpose: Purpose::Field };
            let edk = |length| EncryptedDataKey { kek: KekTag::from_bytes([1; 8]), blob: vec![1; length] };
            for (edks, good) in [
                (vec![], false),
                (vec![edk(0)], false),
                (vec![edk(6144); 4], true),
                (vec![edk(1); 5], false),
                (vec![edk(1), edk(6145)], false),
            ] {
                let one = UnwrappedKey::new(p, DataKey::take(vec![1; 32]).unwrap()).unwrap();
                let key = SealingKey::new(one, made_for, Origin::Inline(edks), Budget::default());
                let sealed = key.seal(&mut Workspace::new(), &at, Manner::random(Kind::Text), b"x");
                match sealed {
                    Ok(token) => assert!(good && open(&key, &token, &at).is_ok()),
                    Err(error) => assert_eq!((good, error), (false, SealError::Unwritable)),
                }
            }
        });
    }

    #[test]
    fn nonces_are_never_repeated_within_a_batch_or_across_two() {
        on_each(|p| {
            let mut room = Workspace::new();
            let drawn: std::collections::HashSet<_> = (0..100).map(|_| room.nonces.next(p).unwrap()).collect();
            assert_eq!(drawn.len(), 100);
        });
    }

    fn labels() -> impl Strategy<Value = (String, String)> {
        ("[A-Za-z0-9_-]{1,16}", "[A-Za-z0-9_-]{1,16}")
    }

    fn values() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>(), 0..300)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_bytes_come_back_in_any_class_and_scope(
            value in values(), (class, scope) in labels(), pad in 0_usize..100, bound in values(), text in any::<bool>()
        ) {
            let kind = if text { Kind::Text } else { Kind::Literal };
            for p in providers() {
                for key in keys(*p, 3, &scope) {
                    let bind: [(&str, &[u8]); 1] = [("id", &bound)];
                    let at = context(&class, &scope, &bind);
                    let manner = manner(&key, kind).padded(pad);
                    let token = key.seal(&mut Workspace::new(), &at, manner, &value).unwrap();
                    let opened = open(&key, &token, &at).unwrap();
                    prop_assert_eq!(opened.expose(), &value[..]);
                    prop_assert_eq!(opened.kind(), kind);
                    let size = TokenSize {
                        suite: manner.suite,
                        edk_bytes: if matches!(key.reference(), KeyRef::Inline { .. }) { &[96] } else { &[] },
                        class_bytes: class.len(),
                        scope_bytes: scope.len(),
                        value_bytes: value.len(),
                        pad_bytes: pad,
                    };
                    prop_assert_eq!(token.as_str().len(), token_chars(&size));
                }
            }
        }

        #[test]
        fn any_bit_of_class_scope_or_bind_that_is_changed_keeps_a_token_shut(
            value in values(), (class, scope) in labels(), name in "[a-z]{1,8}", bound in values(),
            at_bit in any::<proptest::sample::Index>(),
        ) {
            let p = providers()[0];
            let flipped = |bytes: &[u8], bit: usize| {
                let mut bytes = bytes.to_vec();
                bytes[bit / 8] ^= 1 << (bit % 8);
                bytes
            };
            for key in keys(p, 3, &scope) {
                let bind: [(&str, &[u8]); 1] = [(&name, &bound)];
                let at = context(&class, &scope, &bind);
                let token = seal(&key, &at, Kind::Text, &value);
                // A label that is none after the change can stand in no context.
                let other_class = Class::from_bytes(&flipped(class.as_bytes(), at_bit.index(class.len() * 8)));
                let other_scope = Scope::from_bytes(&flipped(scope.as_bytes(), at_bit.index(scope.len() * 8)));
                let other_name = flipped(name.as_bytes(), at_bit.index(name.len() * 8));
                let other_name = String::from_utf8_lossy(&other_name).into_owned();
                let other_bound = match bound.len() {
                    0 => vec![0],
                    length => flipped(&bound, at_bit.index(length * 8)),
                };
                let renamed: [(&str, &[u8]); 1] = [(&other_name, &bound)];
                let rebound: [(&str, &[u8]); 1] = [(&name, &other_bound)];
                let twice: [(&str, &[u8]); 2] = [(&name, &bound), (&name, &bound)];
                let mut contexts = vec![
                    Context { bind: &renamed, ..at }, Context { bind: &rebound, ..at }, Context { bind: &twice, ..at },
                    Context { bind: &[], ..at },
                ];
                contexts.extend(other_class.map(|class| Context { class, ..at }));
                contexts.extend(other_scope.map(|scope| Context { scope, ..at }));
                for moved in &contexts {
                    prop_assert_eq!(open(&key, &token, moved).err(), Some(OpenError::Unauthentic), "{:?}", moved);
                }
                prop_assert!(open(&key, &token, &at).is_ok());
            }
        }

        #[test]
        fn any_bit_that_is_changed_keeps_a_token_shut(
            value in values(), (class, scope) in labels(), at_bit in any::<proptest::sample::Index>()
        ) {
            let p = providers()[0];
            for key in keys(p, 3, &scope) {
                let at = context(&class, &scope, &[]);
                let token = seal(&key, &at, Kind::Text, &value);
                let mut bytes = Token::read(token.as_str().as_bytes()).unwrap().bytes;
                let bit = at_bit.index(bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
                if let Ok(envelope) = Envelope::read(bytes) {
                    // Opened where the changed token itself says that it belongs, as a gate would look it up.
                    let (class, scope) = (envelope.head().class, envelope.head().scope);
                    let opened = key.unwrapped().open(envelope, &Context { class, scope, bind: &[] });
                    prop_assert!(opened.is_err(), "bit {}", bit);
                }
            }
        }

        #[test]
        fn any_changed_character_keeps_a_token_shut(at_character in any::<proptest::sample::Index>(), to in "[A-Za-z0-9_.-]") {
            let p = providers()[0];
            for key in keys(p, 3, "clinic") {
                let at = context("ssn", "clinic", &[]);
                let token = seal(&key, &at, Kind::Text, b"value");
                let mut text = token.as_str().as_bytes().to_vec();
                let at_character = at_character.index(text.len());
                prop_assume!(text[at_character] != to.as_bytes()[0]);
                text[at_character] = to.as_bytes()[0];
                if let Ok(envelope) = Token::read(&text) {
                    prop_assert!(key.unwrapped().open(envelope, &at).is_err());
                }
            }
        }

        #[test]
        fn deterministic_tokens_are_equal_if_and_only_if_value_class_scope_kind_and_key_are(
            (one, other) in (values(), values()), (class, scope) in labels(), (other_class, other_scope) in labels()
        ) {
            let p = providers()[0];
            let token = |seed: u8, class: &str, scope: &str, kind, value: &[u8]| {
                let [_, _, key] = keys(p, seed, scope);
                seal(&key, &context(class, scope, &[]), kind, value).as_str().to_owned()
            };
            let first = token(1, &class, &scope, Kind::Text, &one);
            prop_assert_eq!(&first, &token(1, &class, &scope, Kind::Text, &one));
            // What two random values hardly ever are: nearly the same.
            let longer = [&one[..], &[0]].concat();
            prop_assert_ne!(&first, &token(1, &class, &scope, Kind::Text, &longer));
            if let Some((_, shorter)) = one.split_last() {
                prop_assert_ne!(&first, &token(1, &class, &scope, Kind::Text, shorter));
            }
            prop_assert_eq!(first == token(1, &scope, &class, Kind::Text, &one), class == scope);
            prop_assert_eq!(first == token(1, &class, &scope, Kind::Text, &other), one == other);
            prop_assert_eq!(first == token(1, &other_class, &scope, Kind::Text, &one), class == other_class);
            prop_assert_eq!(first == token(1, &class, &other_scope, Kind::Text, &one), scope == other_scope);
            prop_assert_ne!(&first, &token(2, &class, &scope, Kind::Text, &one));
            prop_assert_ne!(&first, &token(1, &class, &scope, Kind::Literal, &one));
        }
    }
}
