//! How long what a KEK or a store said of a key holds.

use super::settings::EARLY;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Begins before the question, so that it is never counted too short: whatever took the key out of use came after.
pub(super) struct Life {
    asked: Instant,
    span: Duration,
    used: AtomicBool,
    /// Whether what would have followed it could not be asked: nobody said no, nobody said anything.
    unanswered: AtomicBool,
}

/// What a life is good for at a point in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// It goes on.
    Good,
    /// It goes on, and what follows it should be asked for.
    Due,
    /// It is over, but goes on for want of an answer.
    Stale,
    /// It is over.
    Over,
}

impl Life {
    pub(super) fn new(asked: Instant, span: Duration) -> Self {
        Self { asked, span, used: AtomicBool::new(false), unanswered: AtomicBool::new(false) }
    }

    /// `stale`: how much longer it may last without an answer.
    pub(super) fn standing(&self, now: Instant, stale: Duration) -> Standing {
        let age = now.saturating_duration_since(self.asked);
        if age < self.span.mul_f64(EARLY) {
            Standing::Good
        } else if age < self.span {
            Standing::Due
        } else if age < self.span.saturating_add(stale) && self.unanswered.load(Ordering::Relaxed) {
            Standing::Stale
        } else {
            Standing::Over
        }
    }

    /// Whether nothing can make it go on any more.
    pub(super) fn is_gone(&self, now: Instant, stale: Duration) -> bool {
        now.saturating_duration_since(self.asked) >= self.span.saturating_add(stale)
    }

    pub(super) fn note_use(&self) {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn was_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    /// What would have followed it was asked for and did not come. `outage`: because there was no answer.
    pub(super) fn note_failure(&self, outage: bool) {
        self.unanswered.store(outage, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_life_is_good_then_due_then_over() {
        let life = Life::new(Instant::now(), Duration::from_secs(100));
        let at = |seconds: f64, stale| {
            life.standing(life.asked + Duration::from_secs_f64(seconds), Duration::from_secs(stale))
        };
        for (seconds, stale, want) in [
            (0.0, 0, Standing::Good),
            (79.9, 0, Standing::Good),
            (80.0, 0, Standing::Due),
            (99.9, 0, Standing::Due),
            (100.0, 0, Standing::Over),
            (100.0, 50, Standing::Over),
        ] {
            assert_eq!(at(seconds, stale), want, "{seconds}");
        }
        life.note_failure(true);
        assert_eq!(at(100.0, 0), Standing::Over);
        assert_eq!(at(149.9, 50), Standing::Stale);
        assert_eq!(at(150.0, 50), Standing::Over);
        life.note_failure(false);
        assert_eq!(at(100.0, 50), Standing::Over, "somebody has said no");
    }
}
