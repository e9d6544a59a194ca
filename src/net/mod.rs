//! TLS as both sides of the gate use it, and the outbound client side of it.

pub mod fetch;

use crate::seal::CryptoProvider;
use rustls::crypto::CryptoProvider as TlsProvider;
use rustls::{CipherSuite, ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;

/// The suites of SP 800-52r2 3.3.1 that are ephemeral and AEAD; ChaCha20 is none of them.
const SUITES: [CipherSuite; 6] = [
    CipherSuite::TLS13_AES_256_GCM_SHA384,
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
];

/// rustls' side of the crypto provider, with no suite but those of SP 800-52r2.
#[must_use]
pub fn tls_provider(provider: &dyn CryptoProvider) -> TlsProvider {
    let mut tls = match provider.name() {
        #[cfg(feature = "ring")]
        "ring" => rustls::crypto::ring::default_provider(),
        #[cfg(feature = "aws-lc")]
        _ => rustls::crypto::aws_lc_rs::default_provider(),
        #[cfg(not(feature = "aws-lc"))]
        _ => rustls::crypto::ring::default_provider(),
    };
    tls.cipher_suites.retain(|suite| SUITES.contains(&suite.suite()));
    tls
}

/// The CAs that the system trusts: those of them that can be read, for one odd file must not take the others along.
#[must_use]
pub fn system_cas() -> Vec<CertificateDer<'static>> {
    let found = rustls_native_certs::load_native_certs().certs;
    found.into_iter().filter(|ca| RootCertStore::empty().add(ca.clone()).is_ok()).collect()
}

/// A client certificate with its key.
pub struct ClientIdentity {
    /// The certificate, then its intermediates.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Its private key.
    pub key: PrivateKeyDer<'static>,
}

/// A client configuration that trusts `cas`, speaks HTTP/1.1 and shows `identity` if there is one.
///
/// # Errors
/// If a CA cannot be read or the key does not belong to the certificate.
pub fn client_config(
    provider: &dyn CryptoProvider,
    cas: Vec<CertificateDer<'static>>,
    identity: Option<ClientIdentity>,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    for ca in cas {
        roots.add(ca)?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(tls_provider(provider)))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_root_certificates(roots);
    let mut config = match identity {
        Some(ClientIdentity { certificates, key }) => builder.with_client_auth_cert(certificates, key)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.require_ems = true;
    Ok(Arc::new(config))
}
