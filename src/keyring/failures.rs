//! What failed a moment ago is not asked for again: a KEK in trouble is not helped by being asked more.

use super::bounded::Bounded;
use super::former::Since;
use super::opening::OpenId;
use super::sealing::Slot;
use super::store::StoreError;
use super::{KeyringError, settings::ANSWER_MAX};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// After no answer.
const UNAVAILABLE: Duration = Duration::from_secs(1);
/// After a denial or a rejection, which an operator mends who waits for it.
const REFUSED: Duration = Duration::from_secs(10);
/// After a denial for want of a permission, which takes a while to come into force.
const ACCESS_DENIED: Duration = Duration::from_secs(30);

/// Something to be fetched.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Errand {
    /// A key that seals, or the successor of one.
    Make(Slot),
    /// That the key which seals may go on.
    Confirm(Slot),
    /// A key that opens.
    Open(OpenId),
    /// Which keys were there before the one that seals.
    List(Since),
}

/// Why an errand failed.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// For the caller.
    pub(super) error: KeyringError,
    /// Whether all that is known is that there was no answer: nobody said no.
    pub(super) outage: bool,
}

impl Failure {
    /// Something on our side; it says nothing of the key and is no reason to use it any longer.
    pub(super) fn ours(why: &str) -> Self {
        let error = KeyringError::Unavailable { kek: "-".into(), why: why.into(), request_id: None };
        Self { error, outage: false }
    }

    /// The answer was not waited for any longer.
    pub(super) fn late() -> Self {
        let why = format!("no answer within {} s", ANSWER_MAX.as_secs()).into();
        KeyringError::Unavailable { kek: "-".into(), why, request_id: None }.into()
    }

    /// Whether somebody who knows says that the key may not be used.
    pub(super) const fn refuses(&self) -> bool {
        !matches!(self.error, KeyringError::Unavailable { .. } | KeyringError::Store { .. })
    }

    fn remembered_for(&self) -> Duration {
        match &self.error {
            KeyringError::Denied { why, .. } if &**why == "AccessDeniedException" => ACCESS_DENIED,
            KeyringError::Denied { .. } | KeyringError::Rejected { .. } | KeyringError::Store { .. } => REFUSED,
            // These are told at no cost to a KEK, and a row may come at any time.
            KeyringError::Unavailable { .. }
            | KeyringError::UnknownKek
            | KeyringError::NoKey { .. }
            | KeyringError::Revoked { .. }
            | KeyringError::Shredded { .. }
            | KeyringError::UnknownKey { .. } => UNAVAILABLE,
        }
    }
}

impl From<KeyringError> for Failure {
    fn from(error: KeyringError) -> Self {
        let outage = matches!(error, KeyringError::Unavailable { .. });
        Self { error, outage }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        KeyringError::from(error).into()
    }
}

/// What several KEKs said of one key, none of them yes.
pub(super) struct Verdicts {
    /// The one that is told: it may still work, else it was denied, else rejected, else none was asked.
    worst: KeyringError,
    outage: bool,
}

impl Verdicts {
    pub(super) const fn new() -> Self {
        Self { worst: KeyringError::UnknownKek, outage: true }
    }

    pub(super) fn add(&mut self, error: KeyringError) {
        const fn weight(error: &KeyringError) -> u8 {
            match error {
                KeyringError::Unavailable { .. } => 3,
                KeyringError::Denied { .. } => 2,
                KeyringError::UnknownKek => 0,
                _ => 1,
            }
        }
        // A KEK that is not configured here has said nothing.
        if !matches!(error, KeyringError::Unavailable { .. } | KeyringError::UnknownKek) {
            self.outage = false;
        }
        if weight(&error) >= weight(&self.worst) {
            self.worst = error;
        }
    }

    pub(super) fn sum_up(self) -> Failure {
        let outage = self.outage && matches!(self.worst, KeyringError::Unavailable { .. });
        Failure { error: self.worst, outage }
    }
}

/// The failures of the last seconds.
pub(super) struct Failures(Bounded<Errand, Arc<(Failure, Instant)>>);

impl Failures {
    pub(super) fn new(max: usize) -> Self {
        Self(Bounded::new(max))
    }

    /// How the errand failed a moment ago.
    pub(super) fn of(&self, errand: Errand) -> Option<Failure> {
        let remembered = self.0.get(&errand)?;
        let (failure, until) = &*remembered;
        (Instant::now() < *until).then(|| failure.clone())
    }

    /// Remembers it, if `may` says so.
    pub(super) fn add(&self, errand: Errand, failure: &Failure, may: impl FnOnce() -> bool) {
        let until = Instant::now() + failure.remembered_for();
        self.0.insert_if(errand, Arc::new((failure.clone(), until)), |_| may());
    }

    pub(super) fn forget_old(&self, now: Instant) {
        self.0.retain(|remembered| now < remembered.1);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn clear(&self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unavailable() -> KeyringError {
        KeyringError::Unavailable { kek: "a".into(), why: "throttled".into(), request_id: None }
    }

    fn denied(why: &str) -> KeyringError {
        KeyringError::Denied { kek: "b".into(), why: why.into(), request_id: None }
    }

    fn rejected() -> KeyringError {
        KeyringError::Rejected { why: "no".into(), request_id: None }
    }

    #[test]
    fn what_is_told_of_several_keks_is_whether_it_may_still_work() {
        let sum = |errors: &[KeyringError]| {
            let mut verdicts = Verdicts::new();
            errors.iter().for_each(|error| verdicts.add(error.clone()));
            let Failure { error, outage } = verdicts.sum_up();
            (error, outage)
        };
        let unknown = || KeyringError::UnknownKek;
        assert_eq!(sum(&[]), (unknown(), false));
        assert_eq!(sum(&[unknown()]), (unknown(), false));
        assert_eq!(sum(&[unknown(), unavailable()]), (unavailable(), true));
        assert_eq!(sum(&[rejected(), unknown()]), (rejected(), false));
        for no in [rejected(), denied("DisabledException")] {
            // It may work later, but somebody has said no: that is no outage.
            assert_eq!(sum(&[unavailable(), no.clone()]), (unavailable(), false));
            assert_eq!(sum(&[no, unavailable()]), (unavailable(), false));
        }
        assert_eq!(sum(&[denied("x"), rejected()]), (denied("x"), false));
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_remembered_for_as_long_as_they_are_worth() {
        let failures = Failures::new(10);
        for (error, seconds) in [
            (unavailable(), 1),
            (denied("AccessDeniedException"), 30),
            (denied("DisabledException"), 10),
            (denied("KMSInvalidStateException"), 10),
            (rejected(), 10),
            (KeyringError::UnknownKek, 1),
        ] {
            let errand = Errand::Open([1; 32]);
            failures.add(errand, &error.clone().into(), || true);
            tokio::time::advance(Duration::from_secs(seconds) - Duration::from_millis(1)).await;
            assert_eq!(failures.of(errand).map(|failure| failure.error), Some(error.clone()));
            tokio::time::advance(Duration::from_millis(1)).await;
            assert!(failures.of(errand).is_none(), "{error}");
        }
        failures.forget_old(Instant::now());
        assert_eq!(failures.0.len(), 0);
    }
}
