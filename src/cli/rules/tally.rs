//! Which rules of a route were met, by samples together.

use super::super::session::Failure;
use super::found::{self, Unread, Value};
use super::sample::Sample;
use super::{Rule, ruled};
use crate::config::Config;
use crate::config::packs::BUILT_IN;
use crate::document::Limits;
use crate::proxy::media::Format;
use crate::proxy::route::Route;
use crate::proxy::rule::Protected;
use std::collections::HashSet;
use std::path::PathBuf;

/// What samples met.
#[derive(Default)]
pub(super) struct Tally {
    rules: HashSet<usize>,
    formats: Vec<Format>,
}

impl Tally {
    pub(super) fn add(&mut self, format: Option<Format>, values: &[Value]) {
        // What takes bodies of its type whole has always met them, and says nothing of others.
        self.formats.extend(format.filter(|format| !matches!(format, Format::File(_))));
        self.rules.extend(values.iter().flat_map(|value| value.rule.iter().chain(&value.inner)));
    }

    /// The rules that could have been met by bodies of these formats, and were not.
    pub(super) fn unmet<'a>(&self, protected: &'a Protected) -> Vec<Rule<'a>> {
        let rules = (0..protected.written.len()).filter(|number| !self.rules.contains(number));
        let rules = rules.filter_map(|number| Rule::of(protected, number));
        rules.filter(|rule| self.formats.iter().any(|format| rule.written.is_for(format))).collect()
    }
}

/// Whether a rule is of a pack that comes with the gate: those are for more than any sample has.
pub(super) fn is_built_in(rule: &Rule<'_>) -> bool {
    rule.written.pack.as_ref().is_some_and(|pack| BUILT_IN.iter().any(|(name, _)| name == pack))
}

/// What is wrong with rules, as samples show it: of the routes that take bodies of their types, or of the route of that name.
pub(in crate::cli) fn judge(config: &Config, files: &[PathBuf], route: Option<&str>) -> Result<Vec<String>, Failure> {
    let samples: Vec<Sample> = files.iter().map(|file| Sample::read(file, None)).collect::<Result<_, _>>()?;
    let mut problems = Vec::new();
    let mut is_taken = vec![false; samples.len()];
    for (route, protected) in ruled(config, route)? {
        let mut tally = Tally::default();
        for (sample, is_taken) in samples.iter().zip(&mut is_taken) {
            match values(sample, (route, protected), &config.limits.document) {
                Ok(Some(values)) => tally.add(sample.format(&protected.formats), &values),
                Ok(None) => continue,
                Err(problem) => problems.push(problem),
            }
            *is_taken = true;
        }
        let unmet = tally.unmet(protected).into_iter().filter(|rule| !is_built_in(rule));
        problems.extend(unmet.map(|rule| {
            format!("route {}: nothing in the samples meets the rule {}, {}", route.name, rule.place(), rule.does())
        }));
    }
    for (sample, _) in samples.iter().zip(is_taken).filter(|(_, is_taken)| !is_taken) {
        problems.push(format!("{}: no route has rules for {}", sample.file.display(), sample.media_type));
    }
    Ok(problems)
}

/// `None`: the route takes no such bodies.
fn values(
    sample: &Sample,
    (route, protected): (&Route, &Protected),
    limits: &Limits,
) -> Result<Option<Vec<Value>>, String> {
    match found::values(sample, &protected.formats, limits) {
        Ok(values) => Ok(Some(values)),
        Err(Unread::NoRules) => Ok(None),
        Err(Unread::Refused(fault)) => {
            Err(format!("{}: route {} refuses it: {fault}", sample.file.display(), route.name))
        }
    }
}
