//! Lookup keys that another one took over from. A value that one of them sealed has a token of its own, and whoever looks
//! for the value looks for that as well.

use super::cached::{Held, Inner, within};
use super::failures::{Errand, Failure};
use super::life::{Life, Standing};
use super::opening::Wanted;
use super::store::{KeyState, KeyStore};
use super::{KeyringError, rows};
use crate::seal::envelope::SALT_BYTES;
use crate::seal::{EncryptionContext, KeyId, KeyRef, Origin, Purpose, Scope, SealingKey, UnwrappedKey};
use std::sync::Arc;
use tokio::time::Instant;

/// Of which scope, and which key seals there now: once that is another one, the list that there is says too little.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Since {
    pub(super) scope: Scope,
    pub(super) active: KeyId,
}

/// The keys of a scope but for the one that seals.
pub(super) struct Former {
    ids: Vec<KeyId>,
    life: Life,
}

/// What listing them gives.
pub(super) type Listed = Result<Arc<Former>, Failure>;

/// What seals as a former key did.
pub(super) type FormerKey = Arc<Held<SealingKey>>;

impl Since {
    fn context(self) -> EncryptionContext {
        EncryptionContext { scope: self.scope, purpose: Purpose::Lookup }
    }

    fn wanted(self, id: KeyId) -> Wanted {
        Wanted { context: self.context(), key: KeyRef::Stored { id } }
    }
}

impl Inner {
    /// `None` if the list or one of its keys is not at hand.
    pub(super) fn former_at_hand(self: &Arc<Self>, since: Since) -> Option<Vec<FormerKey>> {
        let known = self.listed(since, &[Standing::Good, Standing::Due])?;
        let held = known.ids.iter().map(|id| self.opening_at_hand(self.id_of(&since.wanted(*id))));
        held.map(|held| held.map(|held| self.former_key(since, &held))).collect()
    }

    pub(super) async fn former(self: &Arc<Self>, since: Since) -> Result<Vec<FormerKey>, KeyringError> {
        let listed = self.list(since).await?;
        let mut keys = Vec::new();
        for id in &listed.ids {
            let wanted = since.wanted(*id);
            match self.opening(self.id_of(&wanted), || wanted.clone()).await {
                Ok(held) => keys.push(self.former_key(since, &held)),
                // It was taken out of use since they were listed.
                Err(KeyringError::Revoked { .. } | KeyringError::Shredded { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(keys)
    }

    fn former_key(&self, since: Since, held: &Held<Arc<UnwrappedKey>>) -> FormerKey {
        let Held { key, calls, stale } = held;
        // Deterministic tokens have no salt.
        let origin = Origin::Stored { salt: [0; SALT_BYTES] };
        let key = SealingKey::new(Arc::clone(key), since.context(), origin, self.settings.budget);
        Arc::new(Held { key, calls: Arc::clone(calls), stale: *stale })
    }

    fn listed(&self, since: Since, standings: &[Standing]) -> Option<Arc<Former>> {
        let known = self.former.get(&since)?;
        standings.contains(&known.life.standing(Instant::now(), self.stale_max)).then_some(known)
    }

    async fn list(self: &Arc<Self>, since: Since) -> Result<Arc<Former>, KeyringError> {
        if let Some(known) = self.listed(since, &[Standing::Good, Standing::Due]) {
            return Ok(known);
        }
        let stale = || self.listed(since, &[Standing::Good, Standing::Due, Standing::Stale]);
        let (errand, generation) = (Errand::List(since), self.generation());
        if let Some(failure) = self.failures.of(errand) {
            return stale().ok_or(failure.error);
        }
        let work = || Arc::clone(self).bring_list(generation, since);
        let brought = self.former_flights.join((generation, errand), work).await;
        match brought.unwrap_or_else(|| Err(Failure::ours("the call ended without an answer"))) {
            Ok(former) => Ok(former),
            Err(failure) => stale().ok_or(failure.error),
        }
    }

    async fn bring_list(self: Arc<Self>, generation: u64, since: Since) -> Listed {
        let asked = Instant::now();
        let listed = within(async {
            let mut ids = Vec::new();
            // A key of the store may have sealed before the keyset had one.
            for store in [&self.keyset, &self.store].into_iter().flatten() {
                ids.extend(opening_in(&**store, since).await?);
            }
            ids.sort();
            ids.dedup();
            Ok(Arc::new(Former { ids, life: Life::new(asked, self.confirm_span()?) }))
        });
        let listed = listed.await;
        match &listed {
            Ok(former) => {
                self.former.insert_if(since, Arc::clone(former), |_| self.generation() == generation);
            }
            Err(failure) => {
                self.failures.add(Errand::List(since), failure, || self.generation() == generation);
                if let Some(known) = self.former.get(&since) {
                    known.life.note_failure(failure.outage);
                }
            }
        }
        listed
    }
}

/// The keys of a store that may have sealed what still opens.
async fn opening_in(store: &dyn KeyStore, since: Since) -> Result<Vec<KeyId>, Failure> {
    let mut ids = Vec::new();
    for row in store.of(since.scope, Purpose::Lookup).await? {
        if matches!(row.state, KeyState::Active | KeyState::DecryptOnly) && row.id() != since.active {
            rows::may_open(&row, since.context())?;
            ids.push(row.id());
        }
    }
    Ok(ids)
}
