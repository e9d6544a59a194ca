//! Whether the rules of a route still meet anything. An application that renames a field makes its rule do nothing, and what
//! it was for goes on in the clear.

use super::ledger::Ledger;
use super::media::Format;
use super::meters::Kept;
use super::route::{Protection, Route, Routes};
use super::rule::{Protected, Written};
use crate::audit::event::FieldAction;
use crate::telemetry::names;
use std::sync::{Mutex, PoisonError};

/// How many bodies may come without a value for a rule before it is said to be silent.
const BODIES: u64 = 1000;

/// How many times as many may come as ever came between two of its values.
const GAPS: u64 = 10;

/// The rules of a route, by their numbers, and what they met in requests.
#[derive(Debug)]
pub struct Coverage {
    met: Mutex<Vec<Met>>,
    /// Counters of each rule's values, by what was done with them.
    values: Vec<Kept<FieldAction>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Met {
    /// Bodies since the last one in which it met something.
    since: u64,
    /// The most bodies that ever came between two of these.
    gap_max: u64,
    silent: bool,
}

/// A change for a rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Turn {
    Silent,
    Heard,
}

impl Met {
    fn body(&mut self, met: bool) -> Option<Turn> {
        if met {
            self.gap_max = self.gap_max.max(self.since);
            self.since = 0;
            return std::mem::take(&mut self.silent).then_some(Turn::Heard);
        }
        self.since += 1;
        let is_silent = self.since >= BODIES && self.since / GAPS >= self.gap_max;
        (is_silent && !std::mem::replace(&mut self.silent, true)).then_some(Turn::Silent)
    }
}

impl Coverage {
    /// Of so many rules.
    #[must_use]
    pub fn of(rules: usize) -> Coverage {
        let values = std::iter::repeat_with(Kept::none).take(rules).collect();
        Coverage { met: Mutex::new(vec![Met::default(); rules]), values }
    }

    /// Takes in what a body of a request held. The rules of packs are for many documents, of which most routes see few.
    pub(super) fn body(&self, route: &Route, protected: &Protected, format: &Format, rules_met: &[usize]) {
        let mut all = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        for (number, (met, written)) in all.iter_mut().zip(&protected.written).enumerate() {
            if written.pack.is_some() || protected.field(number).is_none() || !written.is_for(format) {
                continue;
            }
            match met.body(rules_met.contains(&number)) {
                None => {}
                Some(Turn::Silent) => {
                    tracing::warn!(
                        route = %route.name,
                        rule = written.place,
                        bodies = met.since,
                        "a rule meets nothing"
                    );
                    silent(route, written, 1.0);
                }
                Some(Turn::Heard) => silent(route, written, 0.0),
            }
        }
    }
}

/// Takes back what was said of rules that go with these routes.
pub fn forget(routes: &Routes) {
    for route in routes.iter() {
        let Protection::Rules(protected) = &route.protection else { continue };
        let all = protected.coverage.met.lock().unwrap_or_else(PoisonError::into_inner);
        let silenced = all.iter().zip(&protected.written).filter(|(met, _)| met.silent);
        silenced.for_each(|(_, written)| silent(route, written, 0.0));
    }
}

fn silent(route: &Route, written: &Written, value: f64) {
    let labels = (route.name.to_string(), written.place.clone());
    metrics::gauge!(names::RULE_SILENT, "route" => labels.0, "rule" => labels.1).set(value);
}

/// Counts what the rules met.
pub(super) fn count(route: &Route, protected: &Protected, ledger: &Ledger) {
    for (rule, action, count) in &ledger.met {
        let (Some(written), Some(values)) = (protected.written.get(*rule), protected.coverage.values.get(*rule)) else {
            continue;
        };
        let register = || {
            let labels = (route.name.to_string(), written.place.clone());
            metrics::counter!(names::RULE_VALUES, "route" => labels.0, "rule" => labels.1, "action" => action.as_str())
        };
        values.count(*action, *count, register);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(met: &mut Met, bodies: impl IntoIterator<Item = bool>) -> Vec<(usize, Turn)> {
        let turns = bodies.into_iter().enumerate().filter_map(|(at, there)| Some((at, met.body(there)?)));
        turns.collect()
    }

    #[test]
    fn a_rule_is_silent_after_a_thousand_bodies() {
        let mut met = Met::default();
        assert_eq!(turns(&mut met, vec![true; 5000]), []);
        assert_eq!(turns(&mut met, vec![false; 5000]), [(999, Turn::Silent)], "once");
        assert_eq!(turns(&mut met, [true]), [(0, Turn::Heard)]);
        assert_eq!(turns(&mut Met::default(), vec![false; 1000]), [(999, Turn::Silent)], "it never met anything");
    }

    #[test]
    fn a_rule_for_what_is_rare_is_given_time() {
        let mut met = Met::default();
        let rare = (0..4000).map(|at| at % 500 == 499);
        assert_eq!(turns(&mut met, rare), []);
        assert_eq!(turns(&mut met, vec![false; 6000]), [(4989, Turn::Silent)]);
    }
}
