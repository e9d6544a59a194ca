//! The gate's own certificates, and which one a client is shown.

use super::TlsError;
use crate::net;
use crate::seal::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use std::sync::Arc;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// A certificate of the gate with its key.
#[derive(Clone, Debug)]
pub struct ServerCertificate {
    key: Arc<CertifiedKey>,
    /// The DNS names that it is for, in lower case.
    names: Vec<String>,
    /// Its last second, in seconds since 1970.
    pub expires: u64,
}

impl ServerCertificate {
    /// From the certificate, then its intermediates, and its private key.
    ///
    /// # Errors
    /// [`TlsError::Server`] if they do not belong together, [`TlsError::NotInForce`] if it has expired or is not valid yet.
    pub fn new(
        provider: &dyn CryptoProvider,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, TlsError> {
        let unread = || TlsError::Server(rustls::CertificateError::BadEncoding.into());
        let leaf = chain.first().ok_or_else(unread)?.clone();
        let key = CertifiedKey::from_der(chain, key, &net::tls_provider(provider)).map_err(TlsError::Server)?;
        let expires = in_force(&leaf)?;
        let (_, certificate) = X509Certificate::from_der(&leaf).map_err(|_| unread())?;
        let names = certificate.subject_alternative_name().map_err(|_| unread())?;
        let names = names.map(|names| &*names.value.general_names).unwrap_or_default().iter();
        let dns = |name: &GeneralName<'_>| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        };
        let names = names.filter_map(dns).collect();
        Ok(Self { key: Arc::new(key), names, expires })
    }

    /// Whether it is for a host; `*` stands for one label (RFC 9525 6.3).
    fn is_for(&self, host: &str) -> bool {
        let parent = host.split_once('.').map(|(_, parent)| parent);
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            Some(rest) => parent == Some(rest),
            None => name == host,
        })
    }
}

/// The last second of a certificate that is valid now, in seconds since 1970.
///
/// # Errors
/// [`TlsError::NotInForce`] of one that has expired or is not valid yet, [`TlsError::Server`] of what is none.
pub fn in_force(certificate: &CertificateDer<'_>) -> Result<u64, TlsError> {
    let (_, certificate) = X509Certificate::from_der(certificate)
        .map_err(|_| TlsError::Server(rustls::CertificateError::BadEncoding.into()))?;
    let validity = certificate.validity();
    let (start, end) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    let now = i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX);
    if !(start..=end).contains(&now) {
        return Err(TlsError::NotInForce { from: validity.not_before.to_string(), to: validity.not_after.to_string() });
    }
    Ok(u64::try_from(end).unwrap_or_default())
}

/// Shows the first certificate that is for the host that the client names and that it can check; the first of all where none is for
/// that host, or it names none.
#[derive(Debug)]
pub(super) struct Certificates(pub(super) Vec<ServerCertificate>);

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let host = hello.server_name().map(str::to_ascii_lowercase);
        let can_check = |one: &&ServerCertificate| one.key.key.choose_scheme(hello.signature_schemes()).is_some();
        let of_host = self.0.iter().filter(|one| host.as_deref().is_some_and(|host| one.is_for(host)));
        let found = of_host.clone().find(can_check).or_else(|| self.0.iter().find(can_check));
        found.or_else(|| self.0.first()).map(|one| Arc::clone(&one.key))
    }

    fn only_raw_public_keys(&self) -> bool {
        false
    }
}
