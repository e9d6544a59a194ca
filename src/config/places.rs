//! Where a rule says that its values stand, in whichever format.

use super::files::Files;
use super::raw;
use super::source::key;
use crate::document::Role;
use crate::document::fhir::FhirPath;
use crate::document::json::{JsonPath, Rules, Selected, TooManySteps};
use crate::document::path::{FieldPath, PathError};
use crate::proxy::media::Formats;
use crate::proxy::rule::SEALED_URL;
use std::sync::Arc;

/// What a rule selects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// In JSON, from the top of the document.
    Path(FieldPath),
    /// In FHIR, from a resource.
    Fhir(FhirPath),
}

/// The keys of a rule that say where; exactly one of them stands in a rule.
const KEYS: [&str; 2] = ["path", "fhir"];

impl Place {
    /// The place that the rule at `at` names.
    pub(super) fn of(files: &mut Files<'_>, at: &str, raw: &raw::Rule) -> Option<Place> {
        let said = [("path", &raw.path), ("fhir", &raw.fhir)];
        let mut said = said.into_iter().filter_map(|(name, text)| Some((name, text.as_deref()?)));
        let (Some((name, text)), None) = (said.next(), said.next()) else {
            let causes = KEYS.map(|name| key(at, name));
            let causes = causes.each_ref().map(String::as_str);
            files.problem_of(at, &causes, format!("wanted exactly one of {}", KEYS.join(", ")));
            return None;
        };
        match name {
            "path" => path(files, &key(at, name), text).map(Place::Path),
            _ => read(files, &key(at, name), text, FhirPath::parse).map(Place::Fhir),
        }
    }

    /// The key under which it stands.
    pub(super) const fn key(&self) -> &'static str {
        match self {
            Place::Path(_) => "path",
            Place::Fhir(_) => "fhir",
        }
    }

    /// The name of the members that it selects, if it selects by a name.
    pub(super) fn last_name(&self) -> Option<&str> {
        match self {
            Place::Path(path) => path.last_name(),
            Place::Fhir(path) => path.last_name(),
        }
    }

    /// As a path from the top of a JSON document, that selects no less.
    pub(super) fn widened(&self) -> FieldPath {
        match self {
            Place::Path(path) => path.clone(),
            Place::Fhir(path) => path.widened(),
        }
    }

    /// As the config has it.
    pub(super) fn text(&self) -> String {
        match self {
            Place::Path(path) => path.to_string(),
            Place::Fhir(path) => path.to_string(),
        }
    }
}

pub(super) fn path(files: &mut Files<'_>, at: &str, text: &str) -> Option<FieldPath> {
    read(files, at, text, FieldPath::parse)
}

fn read<T>(files: &mut Files<'_>, at: &str, text: &str, parse: fn(&str) -> Result<T, PathError>) -> Option<T> {
    let quoted = files.quoted(at, text);
    let place = parse(text).map_err(|error| {
        let offset = text.chars().take(error.column().saturating_sub(1)).map(char::len_utf8).sum();
        files.problem_in(at, offset, format!("field path {quoted}: {error}"));
    });
    place.ok()
}

/// What finds the values of all places, each with the number of its rule, or none where the values pass. `carried`: of the rule,
/// that its values are sealed in extensions.
pub(super) fn compile(
    places: &[(Place, Option<usize>)],
    carried: &dyn Fn(usize) -> bool,
    resources: &[String],
) -> Result<Formats, TooManySteps> {
    let companions: Vec<_> = places
        .iter()
        .map(|(place, rule)| match place {
            Place::Fhir(path) if rule.is_some_and(carried) => Some(path.companions(SEALED_URL)),
            _ => None,
        })
        .collect();
    let mut json = Vec::with_capacity(places.len());
    for ((place, rule), companions) in places.iter().zip(&companions) {
        let rule = *rule;
        let mut select = |path, role| json.push(Selected { path, rule, role });
        match (place, companions) {
            (Place::Path(path), _) => select(JsonPath::Field(path), Role::Value),
            (Place::Fhir(path), None) => select(JsonPath::Fhir(path), Role::Value),
            (Place::Fhir(path), Some((beside, inside))) => {
                select(JsonPath::Fhir(path), Role::Primitive);
                select(JsonPath::Fhir(beside), Role::Companion);
                select(JsonPath::Fhir(inside), Role::Carried);
            }
        }
    }
    Ok(Formats { json: Arc::new(Rules::compile_all(&json, resources)?) })
}
