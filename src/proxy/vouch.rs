//! What upstreams are told of who the client is, in fields that no client can set: `X-Forwarded-Client-Cert` as Envoy writes it, and
//! a short-lived signed token (RFC 7519) that also holds against whoever reaches the upstream past the gate.

use super::bearer::Proven;
use crate::net;
use crate::policy::Acting;
use crate::seal::crypto::sha256;
use crate::seal::{CryptoProvider, Scope};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use http::header::{HeaderName, HeaderValue};
use jsonwebtoken::crypto::CryptoProvider as TokenProvider;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustls_pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

pub(super) const FORWARDED_CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
pub(super) const IDENTITY: HeaderName = HeaderName::from_static("x-sealgate-identity");

/// How far the clocks of upstreams may be apart.
const CLOCKS: Duration = Duration::from_secs(300);

/// Bytes of a SubjectPublicKeyInfo on P-256, whose last are the point, uncompressed.
const SPKI_BYTES: usize = 91;
const POINT_BYTES: usize = 65;

/// Signs tokens that say who the client is.
pub struct Voucher {
    key: EncodingKey,
    header: Header,
    issuer: String,
    lifetime: Duration,
    /// The public key, as a JWK (RFC 7517).
    jwk: Value,
    /// Since when another signs.
    retired: OnceLock<Instant>,
}

/// Why a key cannot sign them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotASigner {
    /// It is of another kind.
    #[error("wanted a private key on P-256 in PKCS #8: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256")]
    Kind,
    /// This build has no library for it.
    #[error("this build cannot sign tokens; it needs the feature aws-lc")]
    NoProvider,
}

/// Who a token is about, and to whom it goes.
pub(super) struct About<'a> {
    pub(super) acting: &'a Acting<'a>,
    /// SHA-256 of its certificate, in hex.
    pub(super) certificate: &'a str,
    pub(super) user: Option<&'a Proven>,
    pub(super) scope: Scope,
    pub(super) upstream: &'a str,
    pub(super) exchange: uuid::Uuid,
}

impl Voucher {
    /// With a private key on P-256.
    ///
    /// # Errors
    /// [`NotASigner`].
    pub fn new(
        provider: &dyn CryptoProvider,
        key: &PrivateKeyDer<'static>,
        issuer: &str,
        lifetime: Duration,
    ) -> Result<Self, NotASigner> {
        if TokenProvider::try_get_default().is_none() {
            return Err(NotASigner::NoProvider);
        }
        let PrivateKeyDer::Pkcs8(der) = key else { return Err(NotASigner::Kind) };
        let signing = net::tls_provider(provider).key_provider.load_private_key(key.clone_key());
        let public = signing.ok().and_then(|key| key.public_key().map(|public| public.to_vec()));
        let public = public.filter(|public| public.len() == SPKI_BYTES).ok_or(NotASigner::Kind)?;
        let point =
            public.last_chunk::<POINT_BYTES>().filter(|point| point.first() == Some(&4)).ok_or(NotASigner::Kind)?;
        let (x, y) = point.get(1..).unwrap_or_default().split_at(32);
        let [x, y] = [x, y].map(|half| BASE64URL_NOPAD.encode(half));
        // RFC 7638: these members, in this order, without spaces.
        let thumbprint = format!("{{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"{x}\",\"y\":\"{y}\"}}");
        let kid = BASE64URL_NOPAD.encode(&sha256(&[thumbprint.as_bytes()]));
        let jwk = json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": kid, "x": x, "y": y});
        let header = Header { kid: Some(kid), ..Header::new(Algorithm::ES256) };
        let key = EncodingKey::from_ec_der(der.secret_pkcs8_der());
        Ok(Self { key, header, issuer: issuer.to_owned(), lifetime, jwk, retired: OnceLock::new() })
    }

    /// The key by which its tokens are checked.
    #[must_use]
    pub const fn jwk(&self) -> &Value {
        &self.jwk
    }

    /// Another signs in its place from now on, or none.
    pub fn retire(&self) {
        self.retired.get_or_init(Instant::now);
    }

    /// Whether tokens of it may still be good, by clocks that are not the same.
    #[must_use]
    pub fn is_needed(&self) -> bool {
        self.retired.get().is_none_or(|since| since.elapsed() < self.lifetime + CLOCKS)
    }

    /// A token; `None` if it cannot be signed.
    pub(super) fn token(&self, about: &About<'_>) -> Option<HeaderValue> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
        let print = HEXLOWER.decode(about.certificate.as_bytes()).ok().map(|print| BASE64URL_NOPAD.encode(&print));
        let claims = json!({
            "iss": self.issuer,
            "sub": about.acting.principal().identity.to_string(),
            "aud": about.upstream,
            "iat": now,
            "exp": now + self.lifetime.as_secs(),
            "jti": about.exchange,
            "roles": about.acting.roles().iter().map(|role| &**role).collect::<Vec<&str>>(),
            "scope_id": about.scope.as_str(),
            "client_certificate": print,
            "user": about.user.map(|user| json!({"iss": user.user.issuer, "sub": user.user.subject})),
        });
        let token = jsonwebtoken::encode(&self.header, &claims, &self.key).ok()?;
        HeaderValue::from_str(&token).ok()
    }
}

/// The key set (RFC 7517 5) of those that sign now, and of those that signed before.
#[must_use]
pub fn key_set<'a>(vouchers: impl Iterator<Item = &'a Arc<Voucher>>) -> String {
    json!({"keys": vouchers.map(|voucher| voucher.jwk()).collect::<Vec<_>>()}).to_string()
}

/// The field that tells of a certificate: its digest, and those of its names that can be written in it in one way only.
pub(super) fn forwarded(certificate: &str, names: &[(&str, String)]) -> Option<HeaderValue> {
    let mut text = format!("Hash={certificate}");
    for (name, value) in names {
        let is_plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b',' | b';' | b'=');
        match *name {
            "Subject" if value.bytes().all(|b| (b' '..=b'~').contains(&b) && !matches!(b, b'"' | b'\\')) => {
                text.push_str(&format!(";Subject=\"{value}\""));
            }
            "URI" | "DNS" if value.bytes().all(is_plain) => text.push_str(&format!(";{name}={value}")),
            _ => {}
        }
    }
    HeaderValue::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_could_be_read_as_two_is_left_out() {
        let names = [
            ("Subject", "CN=app,O=Clinic".to_owned()),
            ("Subject", "CN=a\";URI=spiffe://x/y".to_owned()),
            ("Subject", "CN=a\\".to_owned()),
            ("URI", "spiffe://clinic.example/app".to_owned()),
            ("URI", "spiffe://a;DNS=b".to_owned()),
            ("DNS", "app.clinic.example".to_owned()),
            ("DNS", "a,Hash=00".to_owned()),
        ];
        let field = forwarded("00ff", &names).unwrap();
        let wanted = "Hash=00ff;Subject=\"CN=app,O=Clinic\";URI=spiffe://clinic.example/app;DNS=app.clinic.example";
        assert_eq!(field, wanted);
    }
}
