//! Who is behind a client application: the user that a bearer token proves (RFC 6750), a JWT (RFC 7519) of one issuer.
//!
//! Its signature is checked by a key of the issuer's key set, by an algorithm that the config names, never by what the token
//! asks for. Symmetric algorithms are none of them.

pub mod fetched;
pub mod key_set;
pub mod roles;

use super::Gate;
use super::headers;
use super::identity::Peer;
use super::rescue::{Code, Refusal};
use super::route::Route;
use super::rule::ScopeSource;
use crate::audit::event::User;
use crate::policy::Principal;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use fetched::Fetched;
use http::header::AUTHORIZATION;
use http::request::Parts;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Header, Validation};
use key_set::{KeySet, NoKey};
use roles::RoleClaim;
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The longest `sub` that is taken for a name, in characters.
const SUBJECT_CHARACTERS_MAX: usize = 256;

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
    /// Which claim says what roles a user has.
    pub roles: Option<RoleClaim>,
}

/// The issuer's keys.
#[derive(Clone)]
pub enum Keys {
    /// Those of a file.
    Fixed(Arc<KeySet>),
    /// Those that the issuer publishes.
    Fetched(Arc<Fetched>),
}

/// Checks tokens.
#[derive(Clone)]
pub struct Bearer {
    issuer: String,
    /// What is asked of a token, for each algorithm.
    validations: Vec<(Algorithm, Validation)>,
    keys: Keys,
    roles: Option<RoleClaim>,
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bearer").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// A user whose token was found to be good.
pub(super) struct Proven {
    pub(super) user: User,
    /// The roles that its claims give.
    pub(super) roles: Vec<Arc<str>>,
    claims: Map<String, Value>,
}

impl Proven {
    /// A claim that is a text.
    pub(super) fn claim(&self, name: &str) -> Option<&str> {
        self.claims.get(name)?.as_str()
    }
}

/// The user behind the caller, where the caller's roles are those of its users, or the scope is said of the user. Elsewhere a
/// token is not looked at.
///
/// # Errors
/// As [`Bearer::verify`]; whoever is unknown is told that and nothing else.
pub(super) async fn user(
    gate: &Gate,
    route: &Route,
    head: &Parts,
    (peer, principal): (&Peer, Option<&Principal>),
) -> Result<Option<Proven>, Refusal> {
    let is_of_scope = matches!(route.scope, ScopeSource::Claim(_));
    match principal {
        None if is_of_scope => return Err(Code::PrincipalUnknown.into()),
        Some(principal) if is_of_scope || principal.speaks_for_users() => {}
        Some(_) | None => return Ok(None),
    }
    // A config that asks for tokens says whose.
    let bearer = gate.bearer.as_ref().ok_or(Code::Internal)?;
    bearer.verify(head, &peer.certificate, &gate.key_waits).await.map(Some)
}

impl Bearer {
    /// Takes tokens that one of the keys signed.
    #[must_use]
    pub fn new(settings: Settings, keys: Keys) -> Self {
        let validations = settings.algorithms.iter().map(|algorithm| (*algorithm, validation(*algorithm, &settings)));
        let validations = validations.collect();
        let Settings { issuer, roles, .. } = settings;
        Self { issuer, validations, keys, roles }
    }

    /// The issuer's keys, if they are fetched.
    #[must_use]
    pub const fn fetched(&self) -> Option<&Arc<Fetched>> {
        match &self.keys {
            Keys::Fetched(fetched) => Some(fetched),
            Keys::Fixed(_) => None,
        }
    }

    /// The same with the keys that another one has fetched already, if both have them from the same place.
    #[must_use]
    pub fn after(self, old: Option<&Self>) -> Self {
        match (self.keys, old.and_then(Self::fetched)) {
            (Keys::Fetched(new), Some(old)) => Self { keys: Keys::Fetched(Fetched::after(new, old)), ..self },
            (keys, _) => Self { keys, ..self },
        }
    }

    /// The user of a request. `certificate` is the SHA-256 of the client's, in hex: a token that is bound to a certificate
    /// (RFC 8705) is taken with that one only. `waits` has a permit for each exchange that may wait for keys.
    ///
    /// # Errors
    /// [`Code::BearerMissing`] without a token, [`Code::BearerInvalid`] with one that is not good,
    /// [`Code::BearerKeysUnavailable`] if that cannot be told for want of the issuer's keys.
    async fn verify(&self, head: &Parts, certificate: &str, waits: &Semaphore) -> Result<Proven, Refusal> {
        let token = token(head)?;
        let header = jsonwebtoken::decode_header(token).map_err(|_| invalid("malformed"))?;
        let validation = self.validation(&header).map_err(invalid)?;
        let keys = self.keys_for(&header, waits).await?;
        let key = keys.key(&header).map_err(|none| match none {
            NoKey::Unknown => invalid("its key is unknown"),
            NoKey::Algorithm => invalid("of another algorithm"),
        })?;
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
        let roles = self.roles.as_ref().map(|claim| claim.roles(&data.claims)).unwrap_or_default();
        Ok(Proven { user, roles, claims: data.claims })
    }

    /// What is asked of a token of that header, before it is known who signed it.
    fn validation(&self, header: &Header) -> Result<&Validation, &'static str> {
        // RFC 9068 4 and RFC 7515 4.1.11: a token of another kind, such as one for logging out, is none for this; and what
        // must be understood is not.
        let kind = header.typ.as_deref().map(str::to_ascii_lowercase);
        if !matches!(kind.as_deref(), None | Some("jwt" | "at+jwt" | "application/at+jwt")) || header.crit.is_some() {
            return Err("of another kind");
        }
        let mut validations = self.validations.iter();
        let validation = validations.find(|(algorithm, _)| *algorithm == header.alg);
        validation.map(|(_, validation)| validation).ok_or("of another algorithm")
    }

    /// The keys by which a token of that header is to be judged. Where they may come in a moment, they are waited for.
    async fn keys_for(&self, header: &Header, waits: &Semaphore) -> Result<Arc<KeySet>, Refusal> {
        let fetched = match &self.keys {
            Keys::Fixed(keys) => return Ok(Arc::clone(keys)),
            Keys::Fetched(fetched) => fetched,
        };
        let unavailable = |why: &str| Refusal::from(Code::BearerKeysUnavailable).because(why);
        let at_hand = fetched.keys();
        // While there are no keys at all the issuer is asked again and again, whoever comes.
        let is_new = |keys: &Arc<KeySet>| header.kid.is_some() && keys.key(header).err() == Some(NoKey::Unknown);
        let may_ask = at_hand.as_ref().is_some_and(is_new);
        if (at_hand.is_some() && !may_ask) || !fetched.has_next(may_ask) {
            return at_hand.ok_or_else(|| unavailable("the issuer's keys are not there"));
        }
        let _place = waits.try_acquire().map_err(|_| unavailable("too many exchanges wait for keys"))?;
        fetched.next(may_ask).await;
        fetched.keys().ok_or_else(|| unavailable("the issuer's keys did not come"))
    }
}

fn invalid(why: &'static str) -> Refusal {
    Refusal::from(Code::BearerInvalid).because(why)
}

/// The only token of a request.
fn token(head: &Parts) -> Result<&str, Refusal> {
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
    Ok(token)
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
