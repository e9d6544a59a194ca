//! Which client certificates are taken: what the web PKI takes, not revoked, with a key that may sign, of a client that the
//! config lets in.

use crate::seal::crypto::sha256;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// How long a judgement holds at most: an intermediate that has expired is noticed then. The end of a certificate itself and of
/// the lists count to the second.
const JUDGED_SECONDS: u64 = 30;

/// How many chains are remembered.
const CHAINS_MAX: usize = 4096;

/// Who may come in of all those who have a good certificate.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    /// Nobody else; everybody if empty.
    pub allow: Vec<Pattern>,
    /// Not these, whatever `allow` says.
    pub deny: Vec<Pattern>,
    /// SHA-256 of the public keys (SubjectPublicKeyInfo) that clients may have; any if empty.
    pub pins: Vec<[u8; 32]>,
}

/// A name that a certificate may have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Pattern {
    /// A SPIFFE id, or with `/*` at the end all below it.
    Spiffe(String),
    /// A DNS name in lower case, or with `*.` in front all that have one more label.
    Dns(String),
    /// A common name of the subject.
    CommonName(String),
    /// An organizational unit of the subject.
    Unit(String),
}

impl Pattern {
    /// `unread`: what is said of a name that is no text.
    fn fits(&self, certificate: &X509Certificate<'_>, unread: bool) -> bool {
        let names = certificate.subject_alternative_name().ok().flatten();
        let mut names = names.map(|names| &*names.value.general_names).unwrap_or_default().iter();
        let subject = certificate.subject();
        match self {
            Self::Spiffe(wanted) => names.any(|name| match (name, wanted.strip_suffix('*')) {
                (GeneralName::URI(id), Some(prefix)) => id.starts_with(prefix),
                (GeneralName::URI(id), None) => id == wanted,
                _ => false,
            }),
            Self::Dns(wanted) => names.any(|name| {
                let GeneralName::DNSName(name) = name else { return false };
                let name = name.to_ascii_lowercase();
                match wanted.strip_prefix("*.") {
                    Some(parent) => name.split_once('.').is_some_and(|(_, rest)| rest == parent),
                    None => name == *wanted,
                }
            }),
            Self::CommonName(wanted) => {
                subject.iter_common_name().any(|name| name.as_str().map_or(unread, |name| name == wanted))
            }
            Self::Unit(wanted) => {
                subject.iter_organizational_unit().any(|name| name.as_str().map_or(unread, |name| name == wanted))
            }
        }
    }
}

impl Admission {
    fn lets_in(&self, certificate: &X509Certificate<'_>) -> bool {
        // A name in a kind of string that is not read here could be any: it is let in by none and kept out by all.
        let fits = |patterns: &[Pattern], unread| patterns.iter().any(|pattern| pattern.fits(certificate, unread));
        let pin = || sha256(&[certificate.public_key().raw]);
        (self.allow.is_empty() || fits(&self.allow, false))
            && !fits(&self.deny, true)
            && (self.pins.is_empty() || self.pins.contains(&pin()))
    }
}

/// Judges client certificates; remembers those that it took for a while.
#[derive(Debug)]
pub(super) struct Clients {
    web_pki: Arc<dyn ClientCertVerifier>,
    admission: Admission,
    /// When the first revocation list expires.
    lists_expire: Option<u64>,
    /// By the digest of a chain, until when it is taken.
    taken: Mutex<HashMap<[u8; 32], u64>>,
}

impl Clients {
    pub(super) fn new(web_pki: Arc<dyn ClientCertVerifier>, admission: Admission, lists_expire: Option<u64>) -> Self {
        Self { web_pki, admission, lists_expire, taken: Mutex::default() }
    }

    /// Until when a chain is taken, in seconds since 1970.
    ///
    /// # Errors
    /// Why it is not.
    pub(super) fn judge(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<u64, rustls::Error> {
        let digests: Vec<[u8; 32]> =
            [end_entity].into_iter().chain(intermediates).map(|certificate| sha256(&[certificate])).collect();
        let chain = sha256(&digests.iter().map(<[u8; 32]>::as_slice).collect::<Vec<_>>());
        let known = self.taken.lock().unwrap_or_else(PoisonError::into_inner).get(&chain).copied();
        if let Some(until) = known.filter(|until| now.as_secs() < *until) {
            return Ok(until);
        }
        let until = self.judge_anew(end_entity, intermediates, now)?;
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.len() >= CHAINS_MAX {
            taken.clear();
        }
        taken.insert(chain, until);
        Ok(until)
    }

    fn judge_anew(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<u64, rustls::Error> {
        self.web_pki.verify_client_cert(end_entity, intermediates, now)?;
        let unread = |_| rustls::Error::from(CertificateError::BadEncoding);
        let (_, certificate) = X509Certificate::from_der(end_entity).map_err(unread)?;
        // The handshake is a signature (RFC 5280 4.2.1.3), and webpki does not look at key usage.
        let may_sign = match certificate.key_usage() {
            Ok(usage) => usage.as_ref().is_none_or(|usage| usage.value.digital_signature()),
            Err(_) => false,
        };
        if !may_sign {
            return Err(CertificateError::InvalidPurpose.into());
        }
        if !self.admission.lets_in(&certificate) {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        let end = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or_default();
        // Its last second is still its own (RFC 5280 4.1.2.5).
        let until = end.saturating_add(1).min(now.as_secs().saturating_add(JUDGED_SECONDS));
        Ok(self.lists_expire.map_or(until, |end| until.min(end.saturating_add(1))))
    }
}

impl ClientCertVerifier for Clients {
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.judge(end_entity, intermediates, now).map(|_| ClientCertVerified::assertion())
    }

    fn client_auth_mandatory(&self) -> bool {
        self.web_pki.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.web_pki.root_hint_subjects()
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.web_pki.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.web_pki.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.web_pki.supported_verify_schemes()
    }
}
