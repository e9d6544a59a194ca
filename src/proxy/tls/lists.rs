//! Certificate revocation lists (RFC 5280 5): the newest of each issuer.

use rustls::crypto::CryptoProvider as TlsProvider;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use std::collections::HashSet;
use x509_parser::num_bigint::BigUint;
use x509_parser::oid_registry::OID_X509_EXT_ISSUER_DISTRIBUTION_POINT as DISTRIBUTION_POINT;
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

/// How far the clock of an issuer may be ahead.
const SKEW_SECONDS: i64 = 300;

/// The lists in force.
#[derive(Clone, Debug, Default)]
pub struct Lists(Vec<List>);

#[derive(Clone, Debug)]
struct List {
    der: CertificateRevocationListDer<'static>,
    /// Whose it is, and for which part of what was issued.
    of: (Vec<u8>, Vec<u8>),
    issuer: String,
    /// When it was made, and when the next one will have been.
    from: i64,
    to: i64,
    /// Its number, which counts where two were made in one second.
    number: Option<BigUint>,
}

/// Why a list cannot serve.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// It is none, or does not say when the next one is due.
    #[error("wanted revocation lists (RFC 5280 5), with nextUpdate")]
    Unreadable,
    /// It is too old.
    #[error("the list of {issuer} has expired: the next one was due on {due}")]
    Expired {
        /// Whose.
        issuer: String,
        /// When.
        due: String,
    },
    /// It is of tomorrow.
    #[error("the list of {issuer} is not valid before {from}")]
    Early {
        /// Whose.
        issuer: String,
        /// When.
        from: String,
    },
    /// Neither of two lists is the newer.
    #[error("two lists of {issuer} were made at one time, by one number or none, and differ; leave one out")]
    Tied {
        /// Whose.
        issuer: String,
    },
    /// Two CAs of one name are trusted here, and it cannot be told whose it is.
    #[error(
        "two CAs are named {issuer}, so that their lists cannot be told apart; give one of them another name, or leave it out"
    )]
    Ambiguous {
        /// Whose.
        issuer: String,
    },
    /// It names a CA that is trusted here, and not that CA signed it.
    #[error("the list of {issuer} is not signed by that CA")]
    Forged {
        /// Whose.
        issuer: String,
    },
}

impl Lists {
    /// Reads lists; of several of one issuer the newest counts.
    ///
    /// # Errors
    /// [`ListError`] for the first that cannot serve; what is older than another is not asked more than when it was made.
    pub fn read(
        lists: Vec<CertificateRevocationListDer<'static>>,
        cas: &[CertificateDer<'_>],
        provider: &TlsProvider,
    ) -> Result<Self, ListError> {
        let mut newest: Vec<List> = Vec::new();
        for der in lists {
            let list = List::read(der)?;
            match newest.iter_mut().find(|known| known.of == list.of) {
                Some(known) if known.age() < list.age() => *known = list,
                Some(known) if known.age() == list.age() && known.der != list.der => {
                    return Err(ListError::Tied { issuer: list.issuer });
                }
                Some(_) => {}
                None => newest.push(list),
            }
        }
        newest.iter().try_for_each(|list| list.judge(cas, provider))?;
        Ok(Self(newest))
    }

    /// The lists themselves.
    pub(super) fn ders(&self) -> impl Iterator<Item = CertificateRevocationListDer<'static>> {
        self.0.iter().map(|list| list.der.clone())
    }

    /// When the first of them expires, in seconds since 1970; `None` if there is none.
    #[must_use]
    pub fn expires(&self) -> Option<u64> {
        self.0.iter().map(|list| u64::try_from(list.to).unwrap_or_default()).min()
    }

    /// Takes from `before` what is newer there, and of the same CA; gives the issuers of it.
    pub(super) fn keep_newer(
        &mut self,
        before: &Self,
        cas: &[CertificateDer<'_>],
        provider: &TlsProvider,
    ) -> Vec<String> {
        let (cas, mut kept) = (parsed_of(cas), Vec::new());
        for list in &mut self.0 {
            let is_newer = |known: &&List| known.of == list.of && known.age() > list.age();
            if let Some(known) = before.0.iter().find(is_newer).filter(|known| known.is_of(&cas, provider)) {
                kept.push(list.issuer.clone());
                *list = known.clone();
            }
        }
        kept
    }

    /// The CAs of which there is no list: none of their certificates is taken then.
    #[must_use]
    pub fn unlisted(&self, cas: &[CertificateDer<'_>]) -> Vec<String> {
        let subjects = cas.iter().filter_map(|ca| X509Certificate::from_der(ca).ok()).map(|(_, ca)| ca);
        let mut unlisted = Vec::new();
        for ca in subjects {
            if !self.0.iter().any(|list| list.of.0 == ca.subject().as_raw()) {
                unlisted.push(ca.subject().to_string());
            }
        }
        unlisted
    }
}

impl List {
    fn read(der: CertificateRevocationListDer<'static>) -> Result<Self, ListError> {
        let (rest, parsed) = CertificateRevocationList::from_der(&der).map_err(|_| ListError::Unreadable)?;
        let to = parsed.next_update().ok_or(ListError::Unreadable)?.timestamp();
        if !rest.is_empty() {
            return Err(ListError::Unreadable);
        }
        let part = parsed.extensions().iter().find(|extension| extension.oid == DISTRIBUTION_POINT);
        let part = part.map(|extension| extension.value.to_vec()).unwrap_or_default();
        let of = (parsed.issuer().as_raw().to_vec(), part);
        let (issuer, from) = (parsed.issuer().to_string(), parsed.last_update().timestamp());
        let number = parsed.crl_number().cloned();
        Ok(Self { of, issuer, from, to, number, der })
    }

    /// Of two of one issuer the one with the greater age is the newer.
    fn age(&self) -> (i64, Option<&BigUint>) {
        (self.from, self.number.as_ref())
    }

    fn judge(&self, cas: &[CertificateDer<'_>], provider: &TlsProvider) -> Result<(), ListError> {
        let now = i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX);
        let issuer = self.issuer.clone();
        let (_, parsed) = CertificateRevocationList::from_der(&self.der).map_err(|_| ListError::Unreadable)?;
        let due = parsed.next_update().ok_or(ListError::Unreadable)?;
        if self.to < now {
            return Err(ListError::Expired { issuer, due: due.to_string() });
        }
        if self.from > now.saturating_add(SKEW_SECONDS) {
            return Err(ListError::Early { issuer, from: parsed.last_update().to_string() });
        }
        let cas = parsed_of(cas);
        let namesakes = cas.iter().filter(|ca| ca.subject().as_raw() == self.of.0);
        // One of an intermediate is judged with its chain, at each handshake, as all of them are.
        let keys: HashSet<&[u8]> = namesakes.map(|ca| ca.public_key().raw).collect();
        if keys.len() > 1 {
            return Err(ListError::Ambiguous { issuer });
        }
        if self.is_of(&cas, provider) { Ok(()) } else { Err(ListError::Forged { issuer }) }
    }

    /// Whether a CA that is trusted here signed it, if it is in the name of one.
    fn is_of(&self, cas: &[X509Certificate<'_>], provider: &TlsProvider) -> bool {
        let Ok((_, parsed)) = CertificateRevocationList::from_der(&self.der) else { return false };
        let mut namesakes = cas.iter().filter(|ca| ca.subject().as_raw() == self.of.0).peekable();
        namesakes.peek().is_none() || namesakes.any(|ca| is_signed_by(&parsed, ca, provider))
    }
}

fn parsed_of<'a>(cas: &'a [CertificateDer<'_>]) -> Vec<X509Certificate<'a>> {
    cas.iter().filter_map(|ca| X509Certificate::from_der(ca).ok()).map(|(_, ca)| ca).collect()
}

fn is_signed_by(list: &CertificateRevocationList<'_>, ca: &X509Certificate<'_>, provider: &TlsProvider) -> bool {
    let (key, message) = (&ca.public_key().subject_public_key.data, list.tbs_cert_list.as_ref());
    let algorithms = provider.signature_verification_algorithms.all.iter();
    let mut tried = algorithms.map(|algorithm| algorithm.verify_signature(key, message, &list.signature_value.data));
    tried.any(|verified| verified.is_ok())
}
