//! Keys that open: brought when a token asks for one, kept for a while, brought again while they are in use.

use super::cached::{Held, Inner, RETRIES_MAX, within};
use super::failures::{Errand, Failure};
use super::life::{Life, Standing};
use super::rows;
use super::{KeyringError, KmsCall};
use crate::seal::{EncryptionContext, Envelope, KeyRef, Placement, UnwrappedKey};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// SHA-256 over all that says which key it is: an entry is found only by a token that carries all of it, so that a forged
/// token neither spoils nor finds the entry of a good one.
pub(super) type OpenId = [u8; 32];

/// Which key is wanted, and for what.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) context: EncryptionContext,
    pub(super) key: KeyRef,
}

/// A key that opens.
pub(super) struct Opened {
    pub(super) held: Arc<Held<Arc<UnwrappedKey>>>,
    pub(super) life: Life,
    wanted: Arc<Wanted>,
}

/// What fetching a key that opens gives.
pub(super) type Opening = Result<Arc<Opened>, Failure>;

type HeldKey = Arc<Held<Arc<UnwrappedKey>>>;

impl Inner {
    /// The id of the key that `envelope` names. Nothing is allocated for it.
    pub(super) fn id_of_envelope(&self, envelope: &Envelope) -> OpenId {
        let (head, id) = (envelope.head(), envelope.head().key_id);
        // The salt of a stored key stands beside its id; it is the same key with any.
        let bytes = match head.placement {
            Placement::Inline => envelope.key_bytes(),
            Placement::Stored => id.as_bytes(),
        };
        self.open_id(head.encryption_context(), head.placement, bytes)
    }

    /// The id of the key that `wanted` names; the same as that of an envelope that names it.
    pub(super) fn id_of(&self, wanted: &Wanted) -> OpenId {
        let placement = match wanted.key {
            KeyRef::Inline { .. } => Placement::Inline,
            KeyRef::Stored { .. } => Placement::Stored,
        };
        let mut bytes = Vec::with_capacity(256);
        wanted.key.write(&mut bytes);
        self.open_id(wanted.context, placement, &bytes)
    }

    fn open_id(&self, context: EncryptionContext, placement: Placement, key: &[u8]) -> OpenId {
        let (scope, purpose) = (context.scope.as_str().as_bytes(), context.purpose.as_str().as_bytes());
        // A scope has at most 16 bytes.
        let scope_length = [u8::try_from(scope.len()).unwrap_or(u8::MAX)];
        let purpose_length = [u8::try_from(purpose.len()).unwrap_or(u8::MAX)];
        let placement = placement.as_str().as_bytes().get(..1).unwrap_or_default();
        self.provider.sha256(&[placement, &scope_length, scope, &purpose_length, purpose, key])
    }

    pub(super) fn opening_at_hand(self: &Arc<Self>, id: OpenId) -> Option<HeldKey> {
        let known = self.opening.get(&id)?;
        known.life.note_use();
        match known.life.standing(Instant::now(), self.stale_max) {
            Standing::Good => Some(Arc::clone(&known.held)),
            Standing::Due => {
                self.refresh_opening(id, &known);
                Some(Arc::clone(&known.held))
            }
            Standing::Stale => {
                self.refresh_opening(id, &known);
                Some(known.held.beyond_its_time())
            }
            Standing::Over => None,
        }
    }

    /// `wanted` is asked for only where the key is not at hand.
    pub(super) async fn opening(
        self: &Arc<Self>,
        id: OpenId,
        wanted: impl Fn() -> Wanted,
    ) -> Result<HeldKey, KeyringError> {
        let errand = Errand::Open(id);
        for _ in 0..RETRIES_MAX {
            if let Some(held) = self.opening_at_hand(id) {
                return Ok(held);
            }
            if let Some(failure) = self.failures.of(errand) {
                return Err(failure.error);
            }
            let generation = self.generation();
            let work = || Arc::clone(self).bring_opening(generation, id, Arc::new(wanted()), None);
            let brought = self.opening_flights.join((generation, errand), work).await;
            if self.generation() != generation {
                // It was asked for before all keys were dropped.
                continue;
            }
            return match brought.unwrap_or_else(|| Err(Failure::ours("the call ended without an answer"))) {
                Ok(opened) => Ok(Arc::clone(&opened.held)),
                Err(failure) => self.opening_at_hand(id).ok_or(failure.error),
            };
        }
        Err(Failure::ours("the keys were dropped again and again").error)
    }

    /// Brings it again in the background, unless as much as may be is being brought or it failed a moment ago.
    fn refresh_opening(self: &Arc<Self>, id: OpenId, known: &Opened) {
        if let Ok(place) = Arc::clone(&self.opening_places).try_acquire_owned() {
            self.refresh_opening_at(place, id, known);
        }
    }

    fn refresh_opening_at(self: &Arc<Self>, place: OwnedSemaphorePermit, id: OpenId, known: &Opened) {
        let (errand, generation) = (Errand::Open(id), self.generation());
        if self.failures.of(errand).is_none() {
            let work = || Arc::clone(self).bring_opening(generation, id, Arc::clone(&known.wanted), Some(place));
            drop(self.opening_flights.start((generation, errand), work));
        }
    }

    /// Drops what is over, and brings again what was used and soon will be.
    pub(super) async fn sweep_opening(self: &Arc<Self>) {
        let (now, stale) = (Instant::now(), self.stale_max);
        self.opening.retain(|opened| !opened.life.is_gone(now, stale));
        let is_due = |opened: &Arc<Opened>| {
            opened.life.was_used() && opened.life.standing(Instant::now(), stale) == Standing::Due
        };
        for (id, opened) in self.opening.select(is_due) {
            let Ok(place) = Arc::clone(&self.opening_places).acquire_owned().await else { return };
            // It may have taken a while until there was a place.
            if is_due(&opened) {
                self.refresh_opening_at(place, id, &opened);
            }
        }
    }

    /// Keeps a key that this process has just been given for sealing: what it seals it opens without asking.
    pub(super) fn keep_opening(&self, generation: u64, held: &HeldKey, asked: Instant, wanted: Wanted) {
        let id = self.id_of(&wanted);
        let life = Life::new(asked, self.settings.open_age_max);
        self.put_opening(generation, id, Arc::new(Opened { held: Arc::clone(held), life, wanted: Arc::new(wanted) }));
    }

    fn put_opening(&self, generation: u64, id: OpenId, opened: Arc<Opened>) {
        self.opening.insert_if(id, opened, |_| self.generation() == generation);
        self.show_counts();
    }

    pub(super) async fn bring_opening(
        self: Arc<Self>,
        generation: u64,
        id: OpenId,
        wanted: Arc<Wanted>,
        _place: Option<OwnedSemaphorePermit>,
    ) -> Opening {
        let errand = Errand::Open(id);
        if let Some(failure) = self.failures.of(errand) {
            return Err(failure);
        }
        let known = self.opening.get(&id);
        let asked = Instant::now();
        // It may have been brought between the caller's look and this one.
        if let Some(known) = known.as_ref().filter(|known| known.life.standing(asked, self.stale_max) == Standing::Good)
        {
            return Ok(Arc::clone(known));
        }
        let brought = within(self.unwrap_wanted(&wanted)).await;
        if known.is_some() {
            self.count_confirmation("opening", brought.as_ref().err());
        }
        match brought {
            Ok((key, call)) => {
                // What was derived from it so far stays with it.
                let same = known.map(|known| Arc::clone(&known.held.key));
                let same = same.filter(|known| known.commitment().matches(&key.commitment()));
                let held = Arc::new(Held::fresh(same.unwrap_or(key), [call].into()));
                let life = Life::new(asked, self.settings.open_age_max);
                let opened = Arc::new(Opened { held, life, wanted });
                self.put_opening(generation, id, Arc::clone(&opened));
                Ok(opened)
            }
            Err(failure) => {
                self.failures.add(errand, &failure, || self.generation() == generation);
                if let Some(known) = known {
                    known.life.note_failure(failure.outage);
                    if failure.refuses() {
                        tracing::warn!(key = %known.held.key.id(), error = %failure.error, "data key dropped");
                        self.opening.remove_if(&id, |there| Arc::ptr_eq(there, &known));
                    }
                }
                Err(failure)
            }
        }
    }

    async fn unwrap_wanted(&self, wanted: &Wanted) -> Result<(Arc<UnwrappedKey>, KmsCall), Failure> {
        match &wanted.key {
            KeyRef::Inline { commitment, edks } => self.unwrap(edks, wanted.context, commitment).await,
            KeyRef::Stored { id } => {
                let row = self.row(*id).await?;
                rows::may_open(&row, wanted.context)?;
                self.unwrap(&row.edks, wanted.context, &row.commitment).await
            }
        }
    }
}
