//! The public keys of an issuer (a JWK set, RFC 7517), as far as tokens may be checked by them.

use jsonwebtoken::crypto::CryptoProvider;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header};
use std::collections::HashSet;

/// The largest key set, in keys.
const KEYS_MAX: usize = 64;

/// Why a text is no key set that tokens can be checked by.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAKeySet {
    /// RFC 7517 5.
    #[error("wanted a JSON object with `keys` (RFC 7517)")]
    Form,
    /// Nothing in it is a public signature key of one of the algorithms.
    #[error("no key in it is a public key of one of the algorithms")]
    NoKey,
    /// It has more than 64 keys.
    #[error("wanted at most {KEYS_MAX} keys")]
    TooMany,
    /// Two keys have one `kid`, or one has none beside others: a token could not say which one signed it.
    #[error("wanted a `kid` of its own for each key")]
    Kid,
    /// jsonwebtoken has no library that does the cryptography.
    #[error("this build verifies no tokens; it was made without the feature aws-lc")]
    NoProvider,
}

/// At least one key, each of which a token can name.
pub struct KeySet(Vec<Key>);

struct Key {
    id: Option<String>,
    key: DecodingKey,
    /// What may be signed by it: of the algorithms of the config those that fit the key.
    algorithms: Vec<Algorithm>,
}

/// Why no key of a set is for a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NoKey {
    /// The set has none of that name; a later one may.
    Unknown,
    /// It has one, which is for other algorithms.
    Algorithm,
}

impl KeySet {
    /// The keys of a JWK set that are for one of the algorithms. Keys for other uses are passed over, and so are symmetric ones.
    ///
    /// # Errors
    /// [`NotAKeySet`].
    pub fn read(json: &[u8], algorithms: &[Algorithm]) -> Result<Self, NotAKeySet> {
        Self::is_possible()?;
        let set: JwkSet = serde_json::from_slice(json).map_err(|_| NotAKeySet::Form)?;
        if set.keys.len() > KEYS_MAX {
            return Err(NotAKeySet::TooMany);
        }
        let keys: Vec<Key> = set.keys.iter().filter_map(|jwk| Key::new(jwk, algorithms)).collect();
        let ids: HashSet<_> = keys.iter().map(|key| &key.id).collect();
        match keys.len() {
            0 => Err(NotAKeySet::NoKey),
            1 => Ok(Self(keys)),
            all if all != ids.len() || ids.contains(&None) => Err(NotAKeySet::Kid),
            _ => Ok(Self(keys)),
        }
    }

    /// Whether there is a library that does the cryptography.
    ///
    /// # Errors
    /// [`NotAKeySet::NoProvider`].
    pub fn is_possible() -> Result<(), NotAKeySet> {
        CryptoProvider::try_get_default().map(drop).ok_or(NotAKeySet::NoProvider)
    }

    /// How many keys it has.
    #[must_use]
    pub(super) const fn count(&self) -> usize {
        self.0.len()
    }

    /// The key that a token of that header is signed by.
    pub(super) fn key(&self, header: &Header) -> Result<&DecodingKey, NoKey> {
        // A key without a name is the only one.
        let named = |key: &&Key| header.kid.is_none() || key.id.is_none() || header.kid == key.id;
        let mut keys = self.0.iter().filter(named);
        match (keys.next(), keys.next()) {
            (Some(key), None) if key.algorithms.contains(&header.alg) => Ok(&key.key),
            (Some(_), None) => Err(NoKey::Algorithm),
            _ => Err(NoKey::Unknown),
        }
    }
}

impl Key {
    fn new(jwk: &Jwk, algorithms: &[Algorithm]) -> Option<Self> {
        let operations = jwk.common.key_operations.as_ref();
        let signs = matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature))
            && operations.is_none_or(|operations| operations.contains(&KeyOperations::Verify));
        if !signs || matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_) | AlgorithmParameters::Other(_)) {
            return None;
        }
        let key = DecodingKey::from_jwk(jwk).ok()?;
        let said = jwk.common.key_algorithm.as_ref().map(ToString::to_string);
        let fits = |algorithm: &&Algorithm| {
            algorithm.family() == key.family() && said.as_ref().is_none_or(|said| *said == format!("{algorithm:?}"))
        };
        let algorithms: Vec<Algorithm> = algorithms.iter().filter(fits).copied().collect();
        (!algorithms.is_empty()).then(|| Self { id: jwk.common.key_id.clone(), key, algorithms })
    }
}
