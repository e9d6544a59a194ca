//! The metrics of a route's exchanges. Each is registered when it is first wanted and kept: to register one takes longer than to seal
//! a value.

use super::ledger::Ledger;
use crate::audit::event::{FieldAction, FieldCount};
use crate::seal::Class;
use crate::telemetry::names;
use metrics::{Counter, Histogram};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// What is counted of a route's exchanges.
#[derive(Debug)]
pub struct Meters {
    route: Arc<str>,
    seconds: OnceLock<Histogram>,
    /// By outcomes.
    exchanges: Kept<&'static str>,
    fields: Kept<(Class, FieldAction)>,
}

/// Some counters of one name.
#[derive(Debug)]
pub(super) struct Kept<K>(Mutex<Vec<(K, Counter)>>);

impl<K: Copy + PartialEq> Kept<K> {
    pub(super) const fn none() -> Kept<K> {
        Kept(Mutex::new(Vec::new()))
    }

    pub(super) fn count(&self, key: K, more: u64, register: impl FnOnce() -> Counter) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, counter)) = kept.iter().find(|(known, _)| *known == key) {
            return counter.increment(more);
        }
        let counter = register();
        counter.increment(more);
        kept.push((key, counter));
    }
}

impl Meters {
    /// Of the route of that name.
    #[must_use]
    pub const fn of(route: Arc<str>) -> Meters {
        Meters { route, seconds: OnceLock::new(), exchanges: Kept::none(), fields: Kept::none() }
    }

    pub(super) fn exchange(&self, outcome: &'static str, took: Duration) {
        let label = || self.route.to_string();
        let register = || metrics::counter!(names::EXCHANGES, "route" => label(), "outcome" => outcome);
        self.exchanges.count(outcome, 1, register);
        let seconds = || metrics::histogram!(names::EXCHANGE_SECONDS, "route" => label());
        self.seconds.get_or_init(seconds).record(took.as_secs_f64());
    }

    pub(super) fn fields(&self, ledger: &Ledger) {
        for FieldCount { class, action, count } in &ledger.fields {
            let register = || {
                let (route, class) = (self.route.to_string(), class.to_string());
                metrics::counter!(names::FIELDS, "route" => route, "class" => class, "action" => action.as_str())
            };
            self.fields.count((*class, *action), *count, register);
        }
    }
}
