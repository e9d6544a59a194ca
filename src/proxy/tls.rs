//! The TLS of the listener: 1.2 and 1.3, the AEAD suites of SP 800-52r2, a client certificate demanded; and which client
//! certificates are taken, at the handshake and for as long as the connection lasts.

use crate::audit::handshakes::Reason;
use crate::net;
use crate::seal::CryptoProvider;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use std::sync::Arc;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Certificates and key of the listener.
pub struct Material {
    /// The server's certificate, then its intermediates.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Its private key.
    pub key: PrivateKeyDer<'static>,
    /// CAs whose client certificates are taken.
    pub client_cas: Vec<CertificateDer<'static>>,
}

/// Why the material cannot serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The certificate and its key.
    #[error("server certificate or key: {0}")]
    Server(rustls::Error),
    /// The client CAs.
    #[error("client CAs: {0}")]
    ClientCas(String),
}

/// The listener's TLS, and who judges the certificates of clients.
#[derive(Clone)]
pub struct Door {
    /// What handshakes are made by.
    pub server: Arc<ServerConfig>,
    clients: Arc<dyn ClientCertVerifier>,
}

impl Door {
    /// Whether the certificate of a client, with the intermediates that came with it, is one that is taken now.
    ///
    /// # Errors
    /// Why it is not.
    pub(super) fn judge(&self, chain: &[CertificateDer<'_>]) -> Result<(), Reason> {
        let (leaf, intermediates) = chain.split_first().ok_or(Reason::NoCertificate)?;
        let judged = self.clients.verify_client_cert(leaf, intermediates, UnixTime::now());
        judged.map(drop).map_err(|error| of_certificate(&error))
    }
}

/// Builds the listener's configuration. The provider is named, never a default of the process.
///
/// No session is resumed: a resumed one would outlive the expiry of its client's certificate.
///
/// # Errors
/// [`TlsError`] if the key does not belong to the certificate, or a CA cannot be read.
pub fn door(provider: &dyn CryptoProvider, material: Material) -> Result<Door, TlsError> {
    let Material { certificates, key, client_cas } = material;
    let tls = Arc::new(net::tls_provider(provider));
    let mut roots = RootCertStore::empty();
    for ca in client_cas {
        roots.add(ca).map_err(|error| TlsError::ClientCas(error.to_string()))?;
    }
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&tls))
        .build()
        .map_err(|error| TlsError::ClientCas(error.to_string()))?;
    let clients: Arc<dyn ClientCertVerifier> = Arc::new(ForSignatures(clients));
    let mut config = ServerConfig::builder_with_provider(tls)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(TlsError::Server)?
        .with_client_cert_verifier(Arc::clone(&clients))
        .with_single_cert(certificates, key)
        .map_err(TlsError::Server)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.require_ems = true;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Door { server: Arc::new(config), clients })
}

/// Takes what the web PKI takes, if its key may be used for signatures: the handshake is one (RFC 5280 4.2.1.3), and
/// webpki does not look at key usage.
#[derive(Debug)]
struct ForSignatures(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for ForSignatures {
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.0.verify_client_cert(end_entity, intermediates, now)?;
        let (_, certificate) =
            X509Certificate::from_der(end_entity).map_err(|_| rustls::Error::from(CertificateError::BadEncoding))?;
        match certificate.key_usage() {
            Ok(usage) if usage.as_ref().is_none_or(|usage| usage.value.digital_signature()) => Ok(verified),
            _ => Err(CertificateError::InvalidPurpose.into()),
        }
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
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
        _ => Reason::BadCertificate,
    }
}
