//! Counts and times every call to a KEK.
//!
//! To a keyring of several, `generate_data_key` is the whole of it: it is done when the key is wrapped under all, and
//! each `encrypt_data_key` in it is counted beside it.

use super::{Decrypted, Generated, Keyring, KeyringError};
use crate::seal::{EncryptedDataKey, EncryptionContext, KekTag};
use crate::telemetry::names;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use tokio::time::Instant;

pub(super) struct Metered(pub(super) Arc<dyn Keyring>);

impl Keyring for Metered {
    fn generate_data_key(&self, context: EncryptionContext) -> BoxFuture<'_, Result<Generated, KeyringError>> {
        Box::pin(meter("generate_data_key", self.0.generate_data_key(context)))
    }

    fn decrypt_data_key(
        &self,
        edk: EncryptedDataKey,
        context: EncryptionContext,
    ) -> BoxFuture<'_, Result<Decrypted, KeyringError>> {
        Box::pin(meter("decrypt_data_key", self.0.decrypt_data_key(edk, context)))
    }

    fn is_silent(&self, kek: KekTag) -> bool {
        self.0.is_silent(kek)
    }
}

pub(super) async fn meter<T>(
    operation: &'static str,
    call: impl Future<Output = Result<T, KeyringError>>,
) -> Result<T, KeyringError> {
    let start = Instant::now();
    let result = call.await;
    let outcome = match &result {
        Ok(_) => "ok",
        Err(error) => error.outcome(),
    };
    metrics::counter!(names::KMS_CALLS, "operation" => operation, "outcome" => outcome).increment(1);
    metrics::histogram!(names::KMS_SECONDS, "operation" => operation).record(start.elapsed().as_secs_f64());
    if let Err(error) = &result {
        tracing::warn!(operation, %error, "keyring call failed");
    }
    result
}
