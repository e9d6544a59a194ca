//! What every client of AWS takes: TLS by our crypto provider, credentials as every AWS SDK finds them, bounds in time.
//! Endpoints come from settings alone: nothing in the environment diverts a call.

use crate::seal::CryptoProvider;
use aws_config::Region;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::provider_config::ProviderConfig;
use aws_sdk_kms::config::timeout::TimeoutConfig;
use aws_sdk_kms::error::SdkError;
use aws_smithy_http_client::{HttpClientError, tls};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use std::time::Duration;

/// Credentials, looked up at the first call and again when they expire.
pub(super) async fn credentials(
    provider: &'static dyn CryptoProvider,
    region: &Region,
) -> Result<DefaultCredentialsChain, HttpClientError> {
    // The services that give credentials are never behind an endpoint's own CA.
    let lookup = ProviderConfig::without_region()
        .with_http_client(http_client(provider, None)?)
        .with_region(Some(region.clone()));
    Ok(DefaultCredentialsChain::builder().configure(lookup).region(region.clone()).build().await)
}

/// One attempt has 2 s, all of them 5 s.
pub(super) fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(1))
        .operation_attempt_timeout(Duration::from_secs(2))
        .operation_timeout(Duration::from_secs(5))
        .build()
}

/// Why there is no answer from the service; none if there is one.
pub(super) fn unanswered<E, R>(error: &SdkError<E, R>) -> Option<&'static str> {
    match error {
        SdkError::ServiceError(_) => None,
        SdkError::TimeoutError(_) => Some("timeout"),
        SdkError::DispatchFailure(_) => Some("no connection or no credentials"),
        SdkError::ResponseError(_) => Some("unreadable response"),
        _ => Some("request could not be made"),
    }
}

/// A client that trusts the CAs in `ca_pem`, or the system's.
pub(super) fn http_client(
    provider: &'static dyn CryptoProvider,
    ca_pem: Option<&[u8]>,
) -> Result<SharedHttpClient, HttpClientError> {
    let trust = match ca_pem {
        Some(pem) => tls::TrustStore::empty().with_pem_certificate(pem),
        None => tls::TrustStore::default(),
    };
    let context = tls::TlsContext::builder().with_trust_store(trust).build();
    let builder = aws_smithy_http_client::Builder::new().tls_provider(tls::Provider::Rustls(crypto_mode(provider)));
    context.map(|context| builder.tls_context(context).build_https())
}

fn crypto_mode(provider: &'static dyn CryptoProvider) -> tls::rustls_provider::CryptoMode {
    match provider.name() {
        #[cfg(feature = "ring")]
        "ring" => tls::rustls_provider::CryptoMode::Ring,
        #[cfg(feature = "fips")]
        _ => tls::rustls_provider::CryptoMode::AwsLcFips,
        #[cfg(all(feature = "aws-lc", not(feature = "fips")))]
        _ => tls::rustls_provider::CryptoMode::AwsLc,
        #[cfg(not(feature = "aws-lc"))]
        _ => tls::rustls_provider::CryptoMode::Ring,
    }
}
