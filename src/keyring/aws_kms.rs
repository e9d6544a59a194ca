//! A KEK in AWS KMS. The endpoint comes from the settings alone: nothing in the environment diverts it.

use super::{Decrypted, Kek, KeyringError, KmsCall, Wrapped, aws};
use crate::seal::envelope::EDK_BYTES_MAX;
use crate::seal::{CryptoProvider, DataKey, EncryptedDataKey, EncryptionContext, KekTag};
use aws_config::{BehaviorVersion, Region};
use aws_sdk_kms::config::retry::RetryConfig;
use aws_sdk_kms::config::{Credentials, ProvideCredentials};
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::operation::RequestId;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::DataKeySpec;
use aws_smithy_http_client::HttpClientError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use zeroize::Zeroizing;

/// How long a data key of 32 bytes is as KMS wraps it. What KMS answers is taken as it is; this is for reckoning with.
pub const EDK_BYTES: usize = 184;

/// Which key, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The ARN of the symmetric key that wraps. The region is read from it.
    pub key_arn: KeyArn,
    /// Where KMS answers; the region's public endpoint if `None`.
    pub endpoint_url: Option<String>,
    /// PEM of the CAs that vouch for the endpoint, instead of the system's.
    pub ca_pem: Option<Vec<u8>>,
}

/// The ARN of a KMS key: not of an alias, which can be pointed at another key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyArn {
    text: Arc<str>,
    region: String,
}

/// Why a text is no key ARN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("wanted a KMS key ARN such as arn:aws:kms:eu-west-1:111122223333:key/…, not an alias or a bare id")]
pub struct NotAKeyArn;

impl KeyArn {
    /// Reads `arn:PARTITION:kms:REGION:ACCOUNT:key/ID`.
    ///
    /// # Errors
    /// [`NotAKeyArn`] for every other text.
    pub fn parse(text: &str) -> Result<Self, NotAKeyArn> {
        let parts: Vec<&str> = text.split(':').collect();
        let ["arn", partition, "kms", region, account, key] = parts.as_slice() else {
            return Err(NotAKeyArn);
        };
        let id = key.strip_prefix("key/").ok_or(NotAKeyArn)?;
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') && !text.is_empty();
        if !(partition.starts_with("aws") && plain(partition) && plain(region) && plain(account) && plain(id)) {
            return Err(NotAKeyArn);
        }
        Ok(Self { text: text.into(), region: (*region).to_owned() })
    }

    /// As written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The TLS client for KMS cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("AWS KMS: TLS client: {0}")]
pub struct NoClient(#[from] HttpClientError);

/// AWS KMS, by `GenerateDataKey`, `Encrypt`, `Decrypt` and `ReEncrypt`, with the SDK's own retries (3 attempts, full jitter, a retry budget).
pub struct AwsKms {
    client: aws_sdk_kms::Client,
    tag: KekTag,
    arn: Arc<str>,
    region: String,
}

impl AwsKms {
    /// A client for the key. Credentials are looked up as every AWS SDK does, at the first call and again when they
    /// expire; nothing is called yet.
    ///
    /// # Errors
    /// If the TLS client cannot be made.
    pub async fn new(provider: &'static dyn CryptoProvider, settings: &Settings) -> Result<Self, NoClient> {
        let region = Region::new(settings.key_arn.region.clone());
        let credentials = aws::credentials(provider, &region).await?;
        Self::with(provider, settings, credentials)
    }

    /// A client for the key with credentials that are given and stay, where there are none to look up.
    ///
    /// # Errors
    /// If the TLS client cannot be made.
    pub fn with_credentials(
        provider: &'static dyn CryptoProvider,
        settings: &Settings,
        access_key_id: &str,
        secret_access_key: &str,
    ) -> Result<Self, NoClient> {
        Self::with(provider, settings, Credentials::new(access_key_id, secret_access_key, None, None, "given"))
    }

    fn with(
        provider: &'static dyn CryptoProvider,
        settings: &Settings,
        credentials: impl ProvideCredentials + 'static,
    ) -> Result<Self, NoClient> {
        let mut config = aws_sdk_kms::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(settings.key_arn.region.clone()))
            .credentials_provider(credentials)
            .http_client(aws::http_client(provider, settings.ca_pem.as_deref())?)
            .retry_config(RetryConfig::standard().with_max_attempts(3))
            .timeout_config(aws::timeouts());
        if let Some(url) = &settings.endpoint_url {
            config = config.endpoint_url(url);
        }
        let arn = Arc::clone(&settings.key_arn.text);
        let (client, tag) = (aws_sdk_kms::Client::from_conf(config.build()), KekTag::of(provider, &arn));
        Ok(Self { client, tag, arn, region: settings.key_arn.region.clone() })
    }

    fn call(&self, request_id: Option<&str>) -> KmsCall {
        KmsCall { kek: Arc::clone(&self.arn), request_id: request_id.map(Into::into) }
    }

    async fn generate(&self, context: EncryptionContext) -> Result<(DataKey, Wrapped), KeyringError> {
        let mut request = self.client.generate_data_key().key_id(&*self.arn).key_spec(DataKeySpec::Aes256);
        for (name, value) in context.pairs() {
            request = request.encryption_context(name, value);
        }
        let output = request.send().await.map_err(|error| self.failed(&error))?;
        let call = self.call(output.request_id());
        let key = self.take(output.plaintext, output.key_id.as_deref(), &call)?;
        Ok((key, self.wrapped(output.ciphertext_blob, output.key_id.as_deref(), call)?))
    }

    async fn encrypt(&self, key: &DataKey, context: EncryptionContext) -> Result<Wrapped, KeyringError> {
        // The SDK does not wipe its copy: like the request that leaves the process, it is out of our hands.
        let mut request = self.client.encrypt().key_id(&*self.arn).plaintext(Blob::new(key.expose()));
        for (name, value) in context.pairs() {
            request = request.encryption_context(name, value);
        }
        let output = request.send().await.map_err(|error| self.failed(&error))?;
        let call = self.call(output.request_id());
        self.wrapped(output.ciphertext_blob, output.key_id.as_deref(), call)
    }

    async fn decrypt(&self, edk: EncryptedDataKey, context: EncryptionContext) -> Result<Decrypted, KeyringError> {
        if edk.kek != self.tag {
            return Err(KeyringError::UnknownKek);
        }
        // Pinned to our key: a token that carries a data key wrapped by a stranger's is refused by KMS.
        let mut request = self.client.decrypt().key_id(&*self.arn).ciphertext_blob(Blob::new(edk.blob));
        for (name, value) in context.pairs() {
            request = request.encryption_context(name, value);
        }
        let output = request.send().await.map_err(|error| self.failed(&error))?;
        let call = self.call(output.request_id());
        Ok(Decrypted { key: self.take(output.plaintext, output.key_id.as_deref(), &call)?, call })
    }

    async fn re_encrypt(
        &self,
        edk: EncryptedDataKey,
        source: &str,
        context: EncryptionContext,
    ) -> Result<Wrapped, KeyringError> {
        // Both ends are pinned, and the context stays what it was.
        let mut request = self.client.re_encrypt().ciphertext_blob(Blob::new(edk.blob));
        request = request.source_key_id(source).destination_key_id(&*self.arn);
        for (name, value) in context.pairs() {
            request = request.source_encryption_context(name, value).destination_encryption_context(name, value);
        }
        let output = request.send().await.map_err(|error| self.failed(&error))?;
        let call = self.call(output.request_id());
        if output.source_key_id.as_deref() != Some(source) {
            return Err(self.wrong("an answer for another source key", &call));
        }
        self.wrapped(output.ciphertext_blob, output.key_id.as_deref(), call)
    }

    /// Checks the key that KMS answered before anything is done with it.
    fn take(&self, plaintext: Option<Blob>, key_id: Option<&str>, call: &KmsCall) -> Result<DataKey, KeyringError> {
        let plaintext = Zeroizing::new(plaintext.map(Blob::into_inner).unwrap_or_default());
        self.check(key_id, call)?;
        DataKey::take(plaintext.to_vec()).map_err(|_| self.wrong("a data key that is not 32 bytes", call))
    }

    /// Checks the encrypted data key that KMS answered.
    fn wrapped(&self, blob: Option<Blob>, key_id: Option<&str>, call: KmsCall) -> Result<Wrapped, KeyringError> {
        self.check(key_id, &call)?;
        let blob = blob.map(Blob::into_inner).unwrap_or_default();
        if blob.is_empty() || blob.len() > EDK_BYTES_MAX {
            return Err(self.wrong("an encrypted data key of an unusable length", &call));
        }
        Ok(Wrapped { edk: EncryptedDataKey { kek: self.tag, blob }, call })
    }

    fn check(&self, key_id: Option<&str>, call: &KmsCall) -> Result<(), KeyringError> {
        if key_id == Some(&*self.arn) { Ok(()) } else { Err(self.wrong("an answer for another key", call)) }
    }

    fn wrong(&self, why: &str, call: &KmsCall) -> KeyringError {
        let (kek, request_id) = (Arc::clone(&self.arn), call.request_id.clone());
        KeyringError::Unavailable { kek, why: why.into(), request_id }
    }

    fn failed<E: ProvideErrorMetadata>(&self, error: &SdkError<E, HttpResponse>) -> KeyringError {
        let (kek, request_id) = (Arc::clone(&self.arn), error.request_id().map(Into::into));
        if let Some(why) = aws::unanswered(error) {
            return KeyringError::Unavailable { kek, why: why.into(), request_id };
        }
        let code = error.code().unwrap_or("no code");
        match code {
            "InvalidCiphertextException" | "IncorrectKeyException" => {
                KeyringError::Rejected { why: code.into(), request_id }
            }
            "AccessDeniedException"
            | "DisabledException"
            | "KMSInvalidStateException"
            | "NotFoundException"
            | "InvalidKeyUsageException" => KeyringError::Denied { kek, why: code.into(), request_id },
            // Also what is wrong with our credentials or clock: it says nothing of the key, so that cached ones serve on.
            _ => KeyringError::Unavailable { kek, why: code.into(), request_id },
        }
    }
}

impl Kek for AwsKms {
    fn name(&self) -> &Arc<str> {
        &self.arn
    }

    fn tag(&self) -> KekTag {
        self.tag
    }

    fn generate_data_key(&self, context: EncryptionContext) -> BoxFuture<'_, Result<(DataKey, Wrapped), KeyringError>> {
        Box::pin(self.generate(context))
    }

    fn encrypt_data_key<'a>(
        &'a self,
        key: &'a DataKey,
        context: EncryptionContext,
    ) -> BoxFuture<'a, Result<Wrapped, KeyringError>> {
        Box::pin(self.encrypt(key, context))
    }

    fn decrypt_data_key(
        &self,
        edk: EncryptedDataKey,
        context: EncryptionContext,
    ) -> BoxFuture<'_, Result<Decrypted, KeyringError>> {
        Box::pin(self.decrypt(edk, context))
    }

    /// By `ReEncrypt`, where the source is a KMS key of the same region: no KMS knows the keys of another.
    fn re_encrypt<'a>(
        &'a self,
        edk: EncryptedDataKey,
        source: &'a str,
        context: EncryptionContext,
    ) -> Option<BoxFuture<'a, Result<Wrapped, KeyringError>>> {
        let region = KeyArn::parse(source).ok()?.region;
        (region == self.region).then(|| -> BoxFuture<'a, _> { Box::pin(self.re_encrypt(edk, source, context)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_arn_of_a_key_is_taken() {
        for (text, good) in [
            ("arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab", true),
            ("arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab", true),
            ("arn:aws:kms:eu-west-1:111122223333:alias/phi", false),
            ("alias/phi", false),
            ("1234abcd-12ab-34cd-56ef-1234567890ab", false),
            ("arn:aws:s3:eu-west-1:111122223333:key/x", false),
            ("arn:aws:kms::111122223333:key/x", false),
            ("arn:aws:kms:eu-west-1:111122223333:key/", false),
        ] {
            assert_eq!(KeyArn::parse(text).is_ok(), good, "{text}");
        }
    }
}
