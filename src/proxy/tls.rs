//! The TLS of the listener: 1.2 and 1.3, the AEAD suites of SP 800-52r2; and which client certificates are taken, at the
//! handshake and for as long as the connection lasts.

mod certificates;
mod clients;
mod lists;
mod tickets;

pub use certificates::{ServerCertificate, in_force};
pub use clients::{Admission, Pattern};
pub use lists::{ListError, Lists};

use crate::audit::handshakes::Reason;
use crate::net;
use crate::seal::CryptoProvider;
use certificates::Certificates;
use clients::Clients;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{CertificateError, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, UnixTime};
use std::sync::Arc;

/// What the listener shows and asks for.
#[derive(Clone)]
pub struct Material {
    /// The gate's own certificates; which one is shown, the client's SNI decides.
    pub certificates: Vec<ServerCertificate>,
    /// CAs whose client certificates are taken.
    pub client_cas: Vec<CertificateDer<'static>>,
    /// What these have revoked. Where there is one list, each certificate must be on the record of one.
    pub lists: Lists,
    /// Who gets in.
    pub admission: Admission,
    /// Whether a client may come without a certificate; one that it shows must be good all the same.
    pub optional: bool,
}

/// Why the material cannot serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A certificate and its key.
    #[error("server certificate or key: {0}")]
    Server(rustls::Error),
    /// A certificate that nobody would take.
    #[error("certificate: valid from {from} to {to}, and not now")]
    NotInForce {
        /// Its first second.
        from: String,
        /// Its last.
        to: String,
    },
    /// The client CAs, or a list of theirs.
    #[error("client CAs: {0}")]
    ClientCas(String),
}

/// The listener's TLS, and who judges the certificates of clients.
#[derive(Clone)]
pub struct Door {
    /// What handshakes are made by.
    pub server: Arc<ServerConfig>,
    /// What it is made of.
    pub material: Arc<Material>,
    /// When the first of the gate's own certificates expires, in seconds since 1970.
    pub expires: u64,
    clients: Arc<Clients>,
}

impl Door {
    /// This one, if no list is older than it is in `before`; else one with the newer ones, and whose these are.
    ///
    /// # Errors
    /// As [`door`].
    pub fn after(&self, before: &Self, provider: &dyn CryptoProvider) -> Result<(Self, Vec<String>), TlsError> {
        let mut material = Material::clone(&self.material);
        let tls = net::tls_provider(provider);
        let kept = material.lists.keep_newer(&before.material.lists, &material.client_cas, &tls);
        Ok((if kept.is_empty() { self.clone() } else { door(provider, material)? }, kept))
    }

    /// Until when the certificate of a client, with the intermediates that came with it, is taken, in seconds since 1970; or that it
    /// may do without one.
    ///
    /// # Errors
    /// Why it is not.
    pub(super) fn judge(&self, chain: &[CertificateDer<'_>]) -> Result<u64, Reason> {
        let Some((leaf, intermediates)) = chain.split_first() else {
            return if self.clients.client_auth_mandatory() { Err(Reason::NoCertificate) } else { Ok(u64::MAX) };
        };
        let judged = self.clients.judge(leaf, intermediates, UnixTime::now());
        judged.map_err(|error| of_certificate(&error))
    }
}

/// Builds the listener's configuration. The provider is named, never a default of the process.
///
/// The keys of session tickets belong to this configuration alone: what another one, with other trust or lists, let in is not
/// resumed. A resumed session keeps the certificate that it began with, which is judged anew with every connection.
///
/// # Errors
/// [`TlsError`] if a CA or a list cannot be read.
pub fn door(provider: &dyn CryptoProvider, material: Material) -> Result<Door, TlsError> {
    let Material { certificates, client_cas, lists, admission, optional } = material.clone();
    let tls = Arc::new(net::tls_provider(provider));
    let of_cas = |error: &dyn std::fmt::Display| TlsError::ClientCas(error.to_string());
    let mut roots = RootCertStore::empty();
    for ca in client_cas {
        roots.add(ca).map_err(|error| of_cas(&error))?;
    }
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&tls))
        .with_crls(lists.ders())
        .enforce_revocation_expiration();
    let clients = if optional { clients.allow_unauthenticated() } else { clients };
    let web_pki = clients.build().map_err(|error| of_cas(&error))?;
    let clients = Arc::new(Clients::new(web_pki, admission, lists.expires()));
    let expires = certificates.iter().map(|one| one.expires).min().unwrap_or_default();
    let verifier: Arc<dyn ClientCertVerifier> = Arc::clone(&clients) as _;
    let mut config = ServerConfig::builder_with_provider(tls)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(TlsError::Server)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(Certificates(certificates)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.require_ems = true;
    // All suites are as good; scanners miss an order of the server's own.
    config.ignore_client_order = true;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = tickets::tickets(provider).map_err(TlsError::Server)?;
    Ok(Door { server: Arc::new(config), material: Arc::new(material), expires, clients })
}

/// What a failed handshake is counted as.
pub(super) fn reason(error: &std::io::Error) -> Reason {
    let error = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match error {
        Some(rustls::Error::NoCertificatesPresented) => Reason::NoCertificate,
        Some(error @ rustls::Error::InvalidCertificate(_)) => of_certificate(error),
        Some(rustls::Error::PeerIncompatible(_) | rustls::Error::NoApplicationProtocol) => Reason::NoAgreement,
        _ => Reason::Protocol,
    }
}

/// What a client certificate that is not taken is counted as.
fn of_certificate(error: &rustls::Error) -> Reason {
    let rustls::Error::InvalidCertificate(why) = error else { return Reason::BadCertificate };
    match why {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => Reason::Expired,
        CertificateError::UnknownIssuer => Reason::UnknownCa,
        CertificateError::Revoked => Reason::Revoked,
        CertificateError::UnknownRevocationStatus
        | CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => Reason::RevocationUnknown,
        CertificateError::ApplicationVerificationFailure => Reason::NotAllowed,
        _ => Reason::BadCertificate,
    }
}
