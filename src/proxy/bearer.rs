//! Who is behind a client application: the user that a bearer token proves (RFC 6750), a JWT (RFC 7519) of one issuer.
//!
//! Its signature is checked by a key of the issuer's key set, by an algorithm that the config names, never by what the token
//! asks for. Symmetric algorithms are none of them. Key sets are handed in: nothing is fetched here.

use super::headers;
use super::rescue::{Code, Refusal};
use crate::audit::event::User;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use http::header::AUTHORIZATION;
use http::request::Parts;
use jsonwebtoken::crypto::CryptoProvider;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::fmt;

/// The longest `sub` that is taken for a name, in characters.
const SUBJECT_CHARACTERS_MAX: usize = 256;
/// The largest key set, in keys.
const KEYS_MAX: usize = 64;

/// Whose tokens are taken, and for whom they must be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What `iss` must say.
    pub issuer: String,
    /// What `aud` must say, or one of what it says.
    pub audience: String,
    /// By which algorithms a token may be signed.
    pub algorithms: Vec<Algorithm>,
    /// How far the issuer's clock may be from ours, in seconds.
    pub clock_skew_s: u64,
}

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

/// Checks tokens.
pub struct Bearer {
    issuer: String,
    keys: Vec<Key>,
}

struct Key {
    id: Option<String>,
    key: DecodingKey,
    /// What is asked of a token that it signed, for each algorithm.
    validations: Vec<(Algorithm, Validation)>,
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bearer").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// A user whose token was found to be good.
pub(super) struct Proven {
    pub(super) user: User,
    claims: Map<String, Value>,
}

impl Proven {
    /// A claim that is a text.
    pub(super) fn claim(&self, name: &str) -> Option<&str> {
        self.claims.get(name)?.as_str()
    }
}

impl Bearer {
    /// Takes tokens that a key of this set (RFC 7517) signed. Keys for other uses and algorithms are passed over.
    ///
    /// # Errors
    /// [`NotAKeySet`].
    pub fn new(settings: &Settings, keys: &[u8]) -> Result<Self, NotAKeySet> {
        if CryptoProvider::try_get_default().is_none() {
            return Err(NotAKeySet::NoProvider);
        }
        let set: JwkSet = serde_json::from_slice(keys).map_err(|_| NotAKeySet::Form)?;
        if set.keys.len() > KEYS_MAX {
            return Err(NotAKeySet::TooMany);
        }
        let keys: Vec<Key> = set.keys.iter().filter_map(|jwk| Key::new(jwk, settings)).collect();
        let ids: HashSet<_> = keys.iter().map(|key| &key.id).collect();
        match keys.len() {
            0 => Err(NotAKeySet::NoKey),
            1 => Ok(Self { issuer: settings.issuer.clone(), keys }),
            all if all != ids.len() || ids.contains(&None) => Err(NotAKeySet::Kid),
            _ => Ok(Self { issuer: settings.issuer.clone(), keys }),
        }
    }

    /// The user of a request. `certificate` is the SHA-256 of the client's, in hex: a token that is bound to a certificate
    /// (RFC 8705) is taken with that one only.
    ///
    /// # Errors
    /// [`Code::BearerMissing`] without a token, [`Code::BearerInvalid`] with one that is not good.
    pub(super) fn verify(&self, head: &Parts, certificate: &str) -> Result<Proven, Refusal> {
        let invalid = |why: &'static str| Refusal::from(Code::BearerInvalid).because(why);
        if !head.headers.contains_key(AUTHORIZATION) {
            return Err(Code::BearerMissing.into());
        }
        // A field that ends here would not tell the upstream whom it tells the gate.
        if headers::ends_here(&head.headers, &AUTHORIZATION) {
            return Err(invalid("it does not go on to the upstream"));
        }
        let field = headers::only(&head.headers, &AUTHORIZATION).ok_or_else(|| invalid("not one field"))?;
        let (scheme, token) = field.split_once(' ').unwrap_or((field, ""));
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Code::BearerMissing.into());
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| invalid("malformed"))?;
        let (key, validation) = self.key(&header).map_err(invalid)?;
        let data = jsonwebtoken::decode::<Map<String, Value>>(token, key, validation)
            .map_err(|error| invalid(why(error.kind())))?;
        if !is_bound_to(&data.claims, certificate) {
            return Err(invalid("bound to another certificate, or to what is no certificate"));
        }
        // The library takes a list of issuers, too.
        if data.claims.get("iss").and_then(Value::as_str) != Some(&self.issuer) {
            return Err(invalid("of another issuer"));
        }
        let subject = data.claims.get("sub").and_then(Value::as_str).unwrap_or_default();
        let is_name = subject.chars().count() <= SUBJECT_CHARACTERS_MAX && !subject.chars().any(char::is_control);
        if subject.is_empty() || !is_name {
            return Err(invalid("it names nobody"));
        }
        let user = User { issuer: self.issuer.clone(), subject: subject.to_owned() };
        Ok(Proven { user, claims: data.claims })
    }

    fn key(&self, header: &Header) -> Result<(&DecodingKey, &Validation), &'static str> {
        // RFC 9068 4 and RFC 7515 4.1.11: a token of another kind, such as one for logging out, is none for this; and what
        // must be understood is not.
        let kind = header.typ.as_deref().map(str::to_ascii_lowercase);
        if !matches!(kind.as_deref(), None | Some("jwt" | "at+jwt" | "application/at+jwt")) || header.crit.is_some() {
            return Err("of another kind");
        }
        // A key without a name is the only one.
        let named = |key: &&Key| header.kid.is_none() || key.id.is_none() || header.kid == key.id;
        let mut keys = self.keys.iter().filter(named);
        let key = match (keys.next(), keys.next()) {
            (Some(key), None) => key,
            _ => return Err("its key is unknown"),
        };
        let mut validations = key.validations.iter();
        let validation = validations.find(|(algorithm, _)| *algorithm == header.alg);
        validation.map(|(_, validation)| (&key.key, validation)).ok_or("of another algorithm")
    }
}

impl Key {
    fn new(jwk: &Jwk, settings: &Settings) -> Option<Self> {
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
        let validations: Vec<_> = settings
            .algorithms
            .iter()
            .filter(fits)
            .map(|algorithm| (*algorithm, validation(*algorithm, settings)))
            .collect();
        (!validations.is_empty()).then(|| Self { id: jwk.common.key_id.clone(), key, validations })
    }
}

fn validation(algorithm: Algorithm, settings: &Settings) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.leeway = settings.clock_skew_s;
    validation.validate_nbf = true;
    validation.set_audience(&[&settings.audience]);
    validation.set_issuer(&[&settings.issuer]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation
}

/// RFC 8705 3.1. What a token is bound to by other means cannot be checked here.
fn is_bound_to(claims: &Map<String, Value>, certificate: &str) -> bool {
    let Some(confirmation) = claims.get("cnf") else { return true };
    let Some(confirmation) = confirmation.as_object() else { return false };
    let print = HEXLOWER.decode(certificate.as_bytes()).map(|print| BASE64URL_NOPAD.encode(&print));
    let same = |value: &Value| print.as_ref().is_ok_and(|print| value.as_str() == Some(print));
    !confirmation.is_empty() && confirmation.iter().all(|(name, value)| name == "x5t#S256" && same(value))
}

/// In words of ours: those of the library may quote the token.
fn why(error: &ErrorKind) -> &'static str {
    match error {
        ErrorKind::ExpiredSignature => "expired",
        ErrorKind::ImmatureSignature => "not valid yet",
        ErrorKind::InvalidIssuer => "of another issuer",
        ErrorKind::InvalidAudience => "for another audience",
        ErrorKind::InvalidSignature => "its signature is wrong",
        ErrorKind::MissingRequiredClaim(_) => "a claim is missing",
        _ => "malformed",
    }
}
