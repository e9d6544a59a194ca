//! Keys that seal: made or found in the store, confirmed while they are in use, followed by another before they run out.

use super::cached::{Held, Inner, RETRIES_MAX, within};
use super::failures::{Errand, Failure};
use super::life::{Life, Standing};
use super::opening::Wanted;
use super::recovery;
use super::rows::{self, is_long_lived};
use super::settings::{CacheSettings, EARLY};
use super::store::KeyRow;
use super::{Keyring, KeyringError, KmsCall};
use crate::seal::envelope::SALT_BYTES;
use crate::seal::{
    EncryptedDataKey, EncryptionContext, KeyId, KeyRef, Origin, Placement, Purpose, Scope, SealingKey, UnwrappedKey,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// What a sealing key is for. There is one at a time for each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Slot {
    context: EncryptionContext,
    placement: Placement,
}

impl Slot {
    /// Long-lived keys never ride in a token, whatever `placement` says.
    pub(super) const fn new(scope: Scope, purpose: Purpose, placement: Placement) -> Self {
        let placement = if is_long_lived(purpose) { Placement::Stored } else { placement };
        Self { context: EncryptionContext { scope, purpose }, placement }
    }
}

/// A key that seals.
pub(super) struct Sealing {
    pub(super) held: Arc<Held<Arc<SealingKey>>>,
    /// The same key as one that opens.
    pub(super) opener: Arc<Held<Arc<UnwrappedKey>>>,
    /// The calls that made it, or brought it first.
    brought_by: Arc<[KmsCall]>,
    /// How old the key was when it was brought first.
    age_then: Duration,
    brought: Instant,
    /// Counted from its last confirmation.
    life: Life,
}

/// A key that was just made.
struct New {
    key: Arc<UnwrappedKey>,
    edks: Vec<EncryptedDataKey>,
    calls: Arc<[KmsCall]>,
}

impl Sealing {
    /// How much of its age or budget is gone, 0 to 1 and above.
    fn spent(&self, now: Instant, settings: &CacheSettings) -> f64 {
        if is_long_lived(self.held.key.made_for().purpose) {
            return 0.0;
        }
        let age = self.age_then + now.saturating_duration_since(self.brought);
        let of_age = age.div_duration_f64(settings.seal_age_max.max(Duration::from_nanos(1)));
        of_age.max(self.held.key.spent())
    }

    fn id(&self) -> KeyId {
        self.held.key.id()
    }
}

impl Inner {
    /// The key, and whether it is beyond its time.
    pub(super) fn sealing_at_hand(self: &Arc<Self>, slot: Slot) -> Option<(Arc<Sealing>, bool)> {
        let known = self.sealing.get(&slot)?;
        let now = Instant::now();
        let (spent, standing) = (known.spent(now, &self.settings), known.life.standing(now, self.stale_max));
        if spent >= 1.0 || standing == Standing::Over {
            return None;
        }
        known.life.note_use();
        self.tend(slot, spent, standing);
        Some((known, standing == Standing::Stale))
    }

    pub(super) async fn sealing(self: &Arc<Self>, slot: Slot) -> Result<(Arc<Sealing>, bool), KeyringError> {
        for _ in 0..RETRIES_MAX {
            if let Some(found) = self.sealing_at_hand(slot) {
                return Ok(found);
            }
            let known = self.sealing.get(&slot);
            let goes_on = known.is_some_and(|known| known.spent(Instant::now(), &self.settings) < 1.0);
            let errand = if goes_on { Errand::Confirm(slot) } else { Errand::Make(slot) };
            if let Some(failure) = self.failures.of(errand) {
                return Err(failure.error);
            }
            let generation = self.generation();
            let work = || Arc::clone(self).bring_sealing(generation, errand, slot, None);
            let brought = self.sealing_flights.join((generation, errand), work).await;
            if self.generation() != generation {
                // It was asked for before all keys were dropped.
                continue;
            }
            match brought.unwrap_or_else(|| Err(Failure::ours("the call ended without an answer"))) {
                // What another gateway is about to replace may have run out while it was brought.
                Ok(sealing) if sealing.spent(Instant::now(), &self.settings) >= 1.0 => {}
                Ok(sealing) => return Ok((sealing, false)),
                // That key is gone, and another one may be had.
                Err(failure) if goes_on && failure.refuses() => {}
                Err(failure) => return self.sealing_at_hand(slot).ok_or(failure.error),
            }
        }
        Err(Failure::ours("no key lasted long enough").error)
    }

    /// Has in the background done what is due; what failed a moment ago is not tried again.
    fn tend(self: &Arc<Self>, slot: Slot, spent: f64, standing: Standing) {
        let succeed = (spent >= EARLY).then_some(Errand::Make(slot));
        let confirm = matches!(standing, Standing::Due | Standing::Stale).then_some(Errand::Confirm(slot));
        for errand in [succeed, confirm].into_iter().flatten() {
            if self.failures.of(errand).is_none()
                && let Ok(place) = Arc::clone(&self.sealing_places).try_acquire_owned()
            {
                let generation = self.generation();
                let work = || Arc::clone(self).bring_sealing(generation, errand, slot, Some(place));
                drop(self.sealing_flights.start((generation, errand), work));
            }
        }
    }

    /// Drops what has run out, and has confirmed what was used since it was confirmed last.
    pub(super) fn sweep_sealing(self: &Arc<Self>) {
        let now = Instant::now();
        self.sealing.retain(|sealing| {
            // One that stands in a store may be shredded there, and is in no memory then when its time is over and that of bodies
            // that are being sealed.
            let stored = matches!(sealing.held.key.reference(), KeyRef::Stored { .. });
            let gone = stored && sealing.life.is_gone(now, self.stale_max);
            sealing.spent(now, &self.settings) < 1.0 && !gone
        });
        for (slot, sealing) in self.sealing.select(|sealing| sealing.life.was_used()) {
            let standing = sealing.life.standing(now, self.stale_max);
            if standing == Standing::Due {
                self.tend(slot, sealing.spent(now, &self.settings), standing);
            }
        }
    }

    pub(super) async fn bring_sealing(
        self: Arc<Self>,
        generation: u64,
        errand: Errand,
        slot: Slot,
        _place: Option<OwnedSemaphorePermit>,
    ) -> Result<Arc<Sealing>, Failure> {
        if let Some(failure) = self.failures.of(errand) {
            return Err(failure);
        }
        let known = self.sealing.get(&slot);
        let asked = Instant::now();
        // It may have been brought between the caller's look and this one.
        let done = |known: &&Arc<Sealing>| {
            let early = matches!(errand, Errand::Confirm(_)) || known.spent(asked, &self.settings) < EARLY;
            early && known.life.standing(asked, self.stale_max) == Standing::Good
        };
        if let Some(known) = known.as_ref().filter(done) {
            return Ok(Arc::clone(known));
        }
        let confirms = known.as_ref().filter(|_| matches!(errand, Errand::Confirm(_)));
        let brought = within(async {
            match (slot.placement, confirms) {
                (Placement::Inline, Some(known)) => self.confirm_inline(slot, known, asked).await,
                (Placement::Inline, None) => self.make_inline(slot, asked).await,
                (Placement::Stored, Some(known)) => self.confirm_stored(slot, known, asked).await,
                (Placement::Stored, None) => self.find_or_make_stored(slot, known.as_deref(), asked).await,
            }
        });
        let brought = brought.await.map(Arc::new);
        if confirms.is_some() {
            self.count_confirmation("sealing", brought.as_ref().err());
        }
        match &brought {
            Ok(sealing) => self.keep_sealing(generation, slot, confirms, sealing, asked),
            Err(failure) => {
                self.failures.add(errand, failure, || self.generation() == generation);
                if let Some(known) = confirms {
                    self.not_confirmed(slot, known, failure);
                }
            }
        }
        brought
    }

    fn keep_sealing(
        &self,
        generation: u64,
        slot: Slot,
        confirmed: Option<&Arc<Sealing>>,
        sealing: &Arc<Sealing>,
        asked: Instant,
    ) {
        // Meanwhile a successor may have come, or somebody may have said no.
        let may = |there: Option<&Arc<Sealing>>| {
            let same = confirmed.is_none_or(|known| there.is_some_and(|there| there.id() == known.id()));
            self.generation() == generation && same
        };
        self.sealing.insert_if(slot, Arc::clone(sealing), may);
        let wanted = Wanted { context: slot.context, key: sealing.held.key.reference().clone() };
        self.keep_opening(generation, &sealing.opener, asked, wanted);
    }

    fn not_confirmed(&self, slot: Slot, known: &Arc<Sealing>, failure: &Failure) {
        known.life.note_failure(failure.outage);
        if failure.refuses() {
            tracing::warn!(key = %known.id(), error = %failure.error, "data key dropped");
            self.sealing.remove_if(&slot, |there| there.id() == known.id());
            let wanted = Wanted { context: slot.context, key: known.held.key.reference().clone() };
            self.opening.remove_if(&self.id_of(&wanted), |_| true);
            self.show_counts();
        }
    }

    async fn make_inline(&self, slot: Slot, asked: Instant) -> Result<Sealing, Failure> {
        let New { key, edks, calls } = self.new_key(slot.context).await?;
        let (scope, purpose) = (slot.context.scope, slot.context.purpose.as_str());
        tracing::info!(key = %key.id(), %scope, purpose, "data key made");
        let key = SealingKey::new(key, slot.context, Origin::Inline(edks), self.settings.budget);
        self.sealing_of(Arc::new(key), calls, None, (Duration::ZERO, asked), asked)
    }

    async fn new_key(&self, context: EncryptionContext) -> Result<New, Failure> {
        let generated = self.keyring.generate_data_key(context).await?;
        rows::are_wrapped(&generated)?;
        let key = self.take_into_use(generated.key)?;
        Ok(New { key, edks: generated.edks, calls: generated.calls.into() })
    }

    async fn confirm_inline(&self, slot: Slot, known: &Sealing, asked: Instant) -> Result<Sealing, Failure> {
        let KeyRef::Inline { commitment, edks } = known.held.key.reference() else {
            return Err(Failure::ours("a stored key in the place of an inline one"));
        };
        // What it gives is the key that is there already: its commitment says so.
        let (_same, call) = self.unwrap(edks, slot.context, commitment).await?;
        let brought_by = Arc::clone(&known.brought_by);
        let made = (known.age_then, known.brought);
        self.sealing_of(Arc::clone(&known.held.key), brought_by, Some(call), made, asked)
    }

    async fn confirm_stored(&self, slot: Slot, known: &Sealing, asked: Instant) -> Result<Sealing, Failure> {
        match self.active_row(slot.context).await? {
            Some(row) => self.adopt(&row, slot, Some(known), asked).await,
            // Revoked or shredded: it must not seal any more.
            None => Err(KeyringError::UnknownKey { id: known.id() }.into()),
        }
    }

    async fn find_or_make_stored(
        &self,
        slot: Slot,
        known: Option<&Sealing>,
        asked: Instant,
    ) -> Result<Sealing, Failure> {
        let EncryptionContext { scope, purpose } = slot.context;
        let active = self.active_row(slot.context).await?;
        let instead_of = match active {
            Some(row) if is_long_lived(purpose) || !self.runs_out(&row, known, asked) => {
                return self.adopt(&row, slot, known, asked).await;
            }
            row => row.map(|row| row.id()),
        };
        // A long-lived key is made by hand: one that came in passing, in the place of one that was revoked or lost, would
        // open values that keep their format to other values.
        let store = self.store.as_ref().filter(|_| !is_long_lived(purpose));
        let store = store.ok_or(KeyringError::NoKey { scope, purpose })?;
        let New { key, edks, calls } = self.new_key(slot.context).await?;
        let row = rows::new_row(key.commitment(), slot.context, edks);
        // Before the key is used: it is durable when this returns. Another gateway may have been faster.
        let active = store.activate(row, instead_of).await?;
        if !active.commitment.matches(&key.commitment()) {
            rows::may_seal(&active, slot.context)?;
            return self.adopt(&active, slot, known, asked).await;
        }
        tracing::info!(key = %key.id(), %scope, purpose = purpose.as_str(), store = store.name(), "data key made");
        let key = self.stored_key(key, slot)?;
        self.sealing_of(key, calls, None, (Duration::ZERO, asked), asked)
    }

    /// Whether the active key needs a successor. Of the one that is there already this is judged as it is at its use, by
    /// tokio's clock; one that is not known yet may do its last part first, and has its successor in the background.
    fn runs_out(&self, row: &KeyRow, known: Option<&Sealing>, now: Instant) -> bool {
        match known.filter(|known| known.id() == row.id()) {
            Some(known) => known.spent(now, &self.settings) >= EARLY,
            None => rows::age(row) >= self.settings.seal_age_max,
        }
    }

    /// Takes the key of a row into use; `known` goes on if it is that very key.
    async fn adopt(
        &self,
        row: &KeyRow,
        slot: Slot,
        known: Option<&Sealing>,
        asked: Instant,
    ) -> Result<Sealing, Failure> {
        let (key, call) = self.unwrap(&row.edks, slot.context, &row.commitment).await?;
        // Whoever has the public half of a recovery key can wrap a key of their own under it, and write the row of one.
        if call.kek.starts_with(recovery::NAME) {
            let why = "only a recovery key opens it, which shows not who made it; run `sealgate keys rewrap`".into();
            return Err(KeyringError::Rejected { why, request_id: None }.into());
        }
        if let Some(known) = known.filter(|known| known.held.key.unwrapped().commitment().matches(&row.commitment)) {
            let made = (known.age_then, known.brought);
            return self.sealing_of(Arc::clone(&known.held.key), [call].into(), None, made, asked);
        }
        let key = self.stored_key(key, slot)?;
        self.sealing_of(key, [call].into(), None, (rows::age(row), asked), asked)
    }

    /// With a salt of its own, never used before: a key that is taken into use again, after all were dropped, begins with
    /// its whole budget, and so must its field keys.
    fn stored_key(&self, key: Arc<UnwrappedKey>, slot: Slot) -> Result<Arc<SealingKey>, Failure> {
        let mut salt = [0; SALT_BYTES];
        self.provider.fill_random(&mut salt).map_err(|_| Failure::ours("the crypto provider failed"))?;
        Ok(Arc::new(SealingKey::new(key, slot.context, Origin::Stored { salt }, self.settings.budget)))
    }

    fn sealing_of(
        &self,
        key: Arc<SealingKey>,
        brought_by: Arc<[KmsCall]>,
        confirmed_by: Option<KmsCall>,
        (age_then, brought): (Duration, Instant),
        asked: Instant,
    ) -> Result<Sealing, Failure> {
        let calls: Arc<[KmsCall]> = match confirmed_by {
            Some(call) => brought_by.iter().cloned().chain([call]).collect(),
            None => Arc::clone(&brought_by),
        };
        let opener = Arc::new(Held::fresh(Arc::clone(key.unwrapped()), Arc::clone(&calls)));
        let life = Life::new(asked, self.confirm_span()?);
        Ok(Sealing { held: Arc::new(Held::fresh(key, calls)), opener, brought_by, age_then, brought, life })
    }
}
