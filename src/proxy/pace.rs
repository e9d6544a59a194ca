//! How many requests a client may make in a second.

use crate::policy::Identity;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::num::NonZeroU32;

/// The limit of each client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// Requests in a second, over time.
    pub per_second: NonZeroU32,
    /// And so many at once after a time of fewer.
    pub burst: NonZeroU32,
}

/// What each client has used of its limit. Whom no identity is known of is one client.
pub struct Pace {
    rate: Option<Rate>,
    used: Option<DefaultKeyedRateLimiter<Option<Identity>>>,
}

impl Pace {
    /// With nothing used.
    #[must_use]
    pub fn new(rate: Option<Rate>) -> Self {
        let quota = |rate: Rate| Quota::per_second(rate.per_second).allow_burst(rate.burst);
        Self { rate, used: rate.map(|rate| RateLimiter::keyed(quota(rate))) }
    }

    /// Which limit it is.
    #[must_use]
    pub const fn rate(&self) -> Option<Rate> {
        self.rate
    }

    /// Takes one request of a client; false if that is one too many.
    pub(super) fn take(&self, client: &Option<Identity>) -> bool {
        self.used.as_ref().is_none_or(|used| used.check_key(client).is_ok())
    }

    /// Forgets the clients that could make all of their burst again.
    pub fn tidy(&self) {
        if let Some(used) = &self.used {
            used.retain_recent();
        }
    }
}
