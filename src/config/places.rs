//! Where a rule says that its values stand, in whichever format.

use super::files::Files;
use super::raw;
use super::source::key;
use crate::document::Role;
use crate::document::csv::{self, CsvPath};
use crate::document::fhir::FhirPath;
use crate::document::hl7v2::{self, Hl7Path};
use crate::document::json::{JsonPath, Rules, Selected};
use crate::document::path::{FieldPath, PathError};
use crate::document::x12::{self, X12Path};
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
    /// A column of CSV.
    Csv(CsvPath),
    /// A part of a segment of HL7 v2.
    Hl7(Hl7Path),
    /// A part of a segment of X12.
    X12(X12Path),
}

/// The keys of a rule that say where; exactly one of them stands in a rule.
const KEYS: [&str; 5] = ["path", "fhir", "csv", "hl7", "x12"];

impl Place {
    /// The place that the rule at `at` names.
    pub(super) fn of(files: &mut Files<'_>, at: &str, raw: &raw::Rule) -> Option<Place> {
        let said = [&raw.path, &raw.fhir, &raw.csv, &raw.hl7, &raw.x12];
        let mut said = KEYS.into_iter().zip(said).filter_map(|(name, text)| Some((name, text.as_deref()?)));
        let (Some((name, text)), None) = (said.next(), said.next()) else {
            let causes = KEYS.map(|name| key(at, name));
            let causes = causes.each_ref().map(String::as_str);
            files.problem_of(at, &causes, format!("wanted exactly one of {}", KEYS.join(", ")));
            return None;
        };
        let at = key(at, name);
        match name {
            "path" => path(files, &at, text).map(Place::Path),
            "fhir" => read(files, &at, text, FhirPath::parse).map(Place::Fhir),
            "csv" => read(files, &at, text, CsvPath::parse).map(Place::Csv),
            "hl7" => read(files, &at, text, Hl7Path::parse).map(Place::Hl7),
            _ => read(files, &at, text, X12Path::parse).map(Place::X12),
        }
    }

    /// The key under which it stands.
    pub(super) const fn key(&self) -> &'static str {
        match self {
            Place::Path(_) => "path",
            Place::Fhir(_) => "fhir",
            Place::Csv(_) => "csv",
            Place::Hl7(_) => "hl7",
            Place::X12(_) => "x12",
        }
    }

    /// The name of what it selects, if it selects by a name.
    pub(super) fn last_name(&self) -> Option<String> {
        match self {
            Place::Path(path) => path.last_name().map(str::to_owned),
            Place::Fhir(path) => path.last_name().map(str::to_owned),
            Place::Csv(path) => Some(path.to_string()),
            Place::Hl7(_) | Place::X12(_) => None,
        }
    }

    /// As a path from the top of a JSON document, that selects no less there.
    pub(super) fn widened(&self) -> Option<FieldPath> {
        match self {
            Place::Path(path) => Some(path.clone()),
            Place::Fhir(path) => Some(path.widened()),
            Place::Csv(_) | Place::Hl7(_) | Place::X12(_) => None,
        }
    }

    /// As the config has it.
    pub(super) fn text(&self) -> String {
        match self {
            Place::Path(path) => path.to_string(),
            Place::Fhir(path) => path.to_string(),
            Place::Csv(path) => path.to_string(),
            Place::Hl7(path) => path.to_string(),
            Place::X12(path) => path.to_string(),
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

/// What a route says of its bodies besides its rules.
pub(super) struct Said<'a> {
    /// The resource types that pass.
    pub(super) resources: &'a [String],
    /// What separates fields of CSV.
    pub(super) csv_delimiter: u8,
    /// Whether tokens are opened wherever they stand.
    pub(super) pages: bool,
}

/// What finds the values of all places, each with the number of its rule, or none where the values pass. `carried`: of the rule,
/// that its values are sealed in extensions.
///
/// # Errors
/// What is wrong with all of them together.
pub(super) fn compile(
    places: &[(Place, Option<usize>)],
    carried: &dyn Fn(usize) -> bool,
    said: &Said<'_>,
) -> Result<Formats, String> {
    let (mut csv, mut hl7, mut x12) = (Vec::new(), Vec::new(), Vec::new());
    for (place, rule) in places {
        let Some(rule) = *rule else { continue };
        match place {
            Place::Path(_) | Place::Fhir(_) => {}
            Place::Csv(path) => csv.push((rule, path.clone())),
            Place::Hl7(path) => hl7.push((rule, path.clone())),
            Place::X12(path) => x12.push((rule, path.clone())),
        }
    }
    let mut formats = Formats { json: json(places, carried, said.resources)?, pages: said.pages, ..Formats::default() };
    if !csv.is_empty() {
        let rules = csv::Rules::compile(&csv, said.csv_delimiter).map_err(|error| error.to_string())?;
        formats.csv = Some(Arc::new(rules));
    }
    if !hl7.is_empty() {
        formats.hl7 = Some(Arc::new(hl7v2::Rules::compile(&hl7)));
    }
    if !x12.is_empty() {
        formats.x12 = Some(Arc::new(x12::Rules::compile(&x12)));
    }
    Ok(formats)
}

fn json(
    places: &[(Place, Option<usize>)],
    carried: &dyn Fn(usize) -> bool,
    resources: &[String],
) -> Result<Option<Arc<Rules>>, String> {
    let companions: Vec<_> = places
        .iter()
        .map(|(place, rule)| match place {
            Place::Fhir(path) if rule.is_some_and(carried) => Some(path.companions(SEALED_URL)),
            _ => None,
        })
        .collect();
    let mut selected = Vec::with_capacity(places.len());
    for ((place, rule), companions) in places.iter().zip(&companions) {
        let rule = *rule;
        let mut select = |path, role| selected.push(Selected { path, rule, role });
        match (place, companions) {
            (Place::Path(path), _) => select(JsonPath::Field(path), Role::Value),
            (Place::Fhir(path), None) => select(JsonPath::Fhir(path), Role::Value),
            (Place::Fhir(path), Some((beside, inside))) => {
                select(JsonPath::Fhir(path), Role::Primitive);
                select(JsonPath::Fhir(beside), Role::Companion);
                select(JsonPath::Fhir(inside), Role::Carried);
            }
            (Place::Csv(_) | Place::Hl7(_) | Place::X12(_), _) => {}
        }
    }
    if selected.is_empty() {
        return Ok(None);
    }
    Ok(Some(Arc::new(Rules::compile_all(&selected, resources).map_err(|error| error.to_string())?)))
}
