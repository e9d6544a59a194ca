//! How long and how much data keys are used.

use crate::seal::Budget;
use std::time::Duration;

/// The longest [`CacheSettings::stale_if_error`] that there can be.
pub const STALE_MAX: Duration = Duration::from_secs(3600);

/// How far confirmations lie from the interval, so that a fleet does not ask all at once: a tenth either way.
pub(super) const JITTER: f64 = 0.1;

/// How long anything may take that brings a key, with all its calls to stores and KEKs. Then it counts as no answer.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(30);

/// From this part of a key's life on what follows it is fetched, while the key goes on.
pub(super) const EARLY: f64 = 0.8;

/// How long and how much a data key is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CacheSettings {
    /// How long one data key seals, counted from when it was made. Keys for lookup and for formats have no such end.
    pub seal_age_max: Duration,
    /// How much one data key seals. Keys for lookup and for formats have no such end.
    pub budget: Budget,
    /// How long a data key seals without its KEK having confirmed it, a tenth more or less.
    pub confirm_interval: Duration,
    /// How long a data key opens, counted from when the KEK was asked to unwrap it, not from its last use.
    pub open_age_max: Duration,
    /// How many unwrapped data keys are kept, and as many that seal.
    pub open_entries_max: u64,
    /// How much longer a key is used that cannot be confirmed or unwrapped again because KEK or store give no answer; at
    /// most [`STALE_MAX`]. A KEK that denies ends the use at once.
    pub stale_if_error: Duration,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            seal_age_max: Duration::from_secs(24 * 3600),
            budget: Budget::default(),
            confirm_interval: Duration::from_secs(300),
            open_age_max: Duration::from_secs(300),
            open_entries_max: 10_000,
            stale_if_error: Duration::ZERO,
        }
    }
}

impl CacheSettings {
    /// After this time no key is handed out any more that its KEK or its row has taken out of use.
    ///
    /// A key that seals was confirmed at most [`confirm_interval`](Self::confirm_interval) and a tenth ago, one that
    /// opens was unwrapped at most [`open_age_max`](Self::open_age_max) ago. Both are counted from before the KEK was
    /// asked, so that it cannot have been taken out of use before that. What was asked before and is answered after goes to
    /// those who wait for it: at most 30 s later, for then the answer is not waited for. With KEK or store away,
    /// [`stale_if_error`](Self::stale_if_error) comes on top.
    ///
    /// Not in it: how long the key service takes to obey its own operator, and what an exchange that has its keys still
    /// does with them.
    #[must_use]
    pub fn revocation_bound(&self) -> Duration {
        let confirmed = self.confirm_interval.mul_f64(1.0 + JITTER);
        confirmed.max(self.open_age_max).max(ANSWER_MAX) + self.stale_if_error.min(STALE_MAX)
    }
}
