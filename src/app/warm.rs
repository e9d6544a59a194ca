//! The keys of a gate that starts: one for each scope before the first request, so that what is wrong with a KEK shows now.

use super::StartError;
use super::keys::{Assembled, assemble};
use crate::config::checked::Keyring as KeyringConfig;
use crate::keyring::several::Trial;
use crate::keyring::{CacheSettings, KeyringError, Keys, Parts, Several};
use crate::proxy::route::{Protection, Routes};
use crate::proxy::rule::{ScopeSource, Treatment};
use crate::seal::{CryptoProvider, EncryptionContext, Purpose, Scope};
use crate::telemetry::names;
use futures_util::{StreamExt, stream};
use std::sync::Arc;
use tokio::runtime::Handle;

/// How many keys are brought at once.
const AT_ONCE: usize = 32;

/// The keyring with its keys. A KEK that does not answer is no reason to stay away while another one opens.
pub(super) async fn keys(
    provider: &'static dyn CryptoProvider,
    keyring: KeyringConfig,
    cache: CacheSettings,
    routes: &Routes,
) -> Result<Keys, StartError> {
    let Assembled { keyring, keyset, store } = assemble(provider, keyring).await?;
    let (several, rows) = (Arc::clone(&keyring), store.clone());
    let parts = Parts { keyring, keyset, store, provider, settings: cache, runtime: Handle::current() };
    let keys = Keys::new(parts);
    let bound = keys.revocation_bound();
    tracing::info!(seconds = bound.as_secs_f64(), "a key that is disabled is out of use after this time at the latest");
    metrics::gauge!(names::REVOCATION_BOUND).set(bound);
    if let Some((context, error)) = bring_all(&keys, routes).await? {
        if !another_opens(&several, provider, context, &error).await {
            return Err(error.into());
        }
        // What was not brought may have waited for the store, and without it nothing in it opens.
        if let Some(rows) = rows {
            rows.list(None, 1).await?;
        }
        tracing::warn!(%error, "started without a KEK: what needs it is refused until it answers, the rest is served");
    }
    Ok(keys)
}

/// Brings the keys that some routes take and others did not.
pub(super) async fn more_keys(keys: &Keys, before: &Routes, now: &Routes) -> Result<(), KeyringError> {
    let known = treatments(before);
    for (scope, treatment) in treatments(now) {
        let is_known = |(other, known): &(Scope, Treatment)| *other == scope && known.key() == treatment.key();
        if !known.iter().any(is_known) {
            bring(keys, scope, treatment).await.1?;
        }
    }
    Ok(())
}

/// Brings the key of each treatment. The first that gave no answer is given back, and the rest left to the first request: they
/// would wait for it as well, and whoever started the gate does not wait for ever.
async fn bring_all(keys: &Keys, routes: &Routes) -> Result<Option<(EncryptionContext, KeyringError)>, StartError> {
    let treatments = treatments(routes);
    let bringing = treatments.iter().map(|(scope, treatment)| bring(keys, *scope, *treatment));
    let mut brought = std::pin::pin!(stream::iter(bringing).buffered(AT_ONCE));
    while let Some((context, result)) = brought.next().await {
        match result {
            Ok(()) => {}
            Err(error @ KeyringError::Unavailable { .. }) => return Ok(Some((context, error))),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// Brings the key of a treatment.
async fn bring(keys: &Keys, scope: Scope, treatment: Treatment) -> (EncryptionContext, Result<(), KeyringError>) {
    match treatment.key() {
        Some((suite, placement)) => {
            let context = EncryptionContext { scope, purpose: suite.purpose() };
            (context, keys.sealing_key(scope, suite, placement).await.map(drop))
        }
        None => {
            let context = EncryptionContext { scope, purpose: Purpose::Format };
            (context, keys.format_key(scope).await.map(drop))
        }
    }
}

/// Whether it is a KEK that gave no answer, another one was seen to open, and none of them says no.
async fn another_opens(
    keyring: &Several,
    provider: &'static dyn CryptoProvider,
    context: EncryptionContext,
    error: &KeyringError,
) -> bool {
    let names = keyring.names();
    let KeyringError::Unavailable { kek, .. } = error else { return false };
    if names.len() < 2 || !names.iter().any(|(_, name, _)| name == kek) {
        return false;
    }
    let tried = keyring.try_out(provider, context).await;
    let refused = |trial: &Trial| match trial {
        Trial::Fails(error) => !matches!(error, KeyringError::Unavailable { .. }),
        Trial::Opens | Trial::Offline => false,
    };
    tried.iter().any(|kek| kek.trial == Trial::Opens) && !tried.iter().any(|kek| refused(&kek.trial))
}

/// Which keys the routes take, as far as the config alone says in which scopes: one treatment for each.
fn treatments(routes: &Routes) -> Vec<(Scope, Treatment)> {
    let mut known: Vec<(Scope, Treatment)> = Vec::new();
    for route in routes.iter() {
        let (ScopeSource::Fixed(scope), Protection::Rules(protected)) = (&route.scope, &route.protection) else {
            continue;
        };
        for rule in protected.fields.iter().flatten() {
            let treatment = rule.class.treatment;
            if !known.iter().any(|(other, known)| other == scope && known.key() == treatment.key()) {
                known.push((*scope, treatment));
            }
        }
    }
    known
}
