//! Where a rule says that its values stand, in whichever format.

use super::files::Files;
use super::raw;
use super::source::key;
use crate::document::Role;
use crate::document::csv::{self, CsvPath};
use crate::document::fhir::FhirPath;
use crate::document::form::{self, FormPath};
use crate::document::hl7v2::{self, Hl7Path};
use crate::document::json::{JsonPath, Rules, Selected};
use crate::document::multipart;
use crate::document::path::{FieldPath, PathError};
use crate::document::x12::{self, X12Path};
use crate::document::xml::{self, XmlPath};
use crate::proxy::goes_on;
use crate::proxy::media::{Formats, Media, MediaRange};
use crate::proxy::rule::{Form, SEALED_URL};
use crate::proxy::search::SearchKind;
use http::HeaderName;
use std::sync::Arc;

/// What a rule selects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// In JSON, from the top of the document.
    Path(FieldPath),
    /// In FHIR, from a resource.
    Fhir(FhirPath),
    /// In XML.
    Xml(XmlPath),
    /// A field of a form.
    Form(FormPath),
    /// A file of a form.
    File(FormPath),
    /// A whole body.
    Body(MediaRange),
    /// A column of CSV.
    Csv(CsvPath),
    /// A part of a segment of HL7 v2.
    Hl7(Hl7Path),
    /// A part of a segment of X12.
    X12(X12Path),
    /// A query parameter.
    Query(Query),
    /// A path parameter.
    Segment(String),
    /// A header field.
    Header(HeaderName),
}

/// The keys of a rule that say where; exactly one of them stands in a rule.
const KEYS: [&str; 12] =
    ["path", "fhir", "xml", "form", "file", "body", "csv", "hl7", "x12", "query", "segment", "header"];

/// A query parameter, of that kind, for that system, and not for these types of resources.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Query {
    pub(super) name: String,
    pub(super) kind: SearchKind,
    pub(super) system: Option<String>,
    pub(super) not_for: Vec<String>,
}

impl Place {
    /// The place that the rule at `at` names.
    pub(super) fn of(files: &mut Files<'_>, at: &str, raw: &raw::Rule) -> Option<Place> {
        let said = [
            &raw.path,
            &raw.fhir,
            &raw.xml,
            &raw.form,
            &raw.file,
            &raw.body,
            &raw.csv,
            &raw.hl7,
            &raw.x12,
            &raw.query,
            &raw.segment,
            &raw.header,
        ];
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
            "xml" => read(files, &at, text, XmlPath::parse).map(Place::Xml),
            "form" => read(files, &at, text, FormPath::parse).map(Place::Form),
            "file" => read(files, &at, text, FormPath::parse).map(Place::File),
            "body" => body(files, &at, text).map(Place::Body),
            "csv" => read(files, &at, text, CsvPath::parse).map(Place::Csv),
            "hl7" => read(files, &at, text, Hl7Path::parse).map(Place::Hl7),
            "x12" => read(files, &at, text, X12Path::parse).map(Place::X12),
            "query" => Some(query(text, raw)),
            "segment" => Some(Place::Segment(text.to_owned())),
            _ => header(files, &at, text).map(Place::Header),
        }
    }

    /// The key under which it stands.
    pub(super) const fn key(&self) -> &'static str {
        match self {
            Place::Path(_) => "path",
            Place::Fhir(_) => "fhir",
            Place::Xml(_) => "xml",
            Place::Form(_) => "form",
            Place::File(_) => "file",
            Place::Body(_) => "body",
            Place::Csv(_) => "csv",
            Place::Hl7(_) => "hl7",
            Place::X12(_) => "x12",
            Place::Query(_) => "query",
            Place::Segment(_) => "segment",
            Place::Header(_) => "header",
        }
    }

    /// Whether it stands in bodies.
    pub(super) const fn is_in_bodies(&self) -> bool {
        !matches!(self, Place::Query(_) | Place::Segment(_) | Place::Header(_))
    }

    /// The name of what it selects, if it selects by a name.
    pub(super) fn last_name(&self) -> Option<String> {
        match self {
            Place::Path(path) => path.last_name().map(str::to_owned),
            Place::Fhir(path) => path.last_name().map(str::to_owned),
            Place::Csv(path) => Some(path.to_string()),
            Place::Form(path) => Some(path.to_string()),
            Place::Query(Query { name, .. }) | Place::Segment(name) => Some(name.clone()),
            Place::Xml(_) | Place::File(_) | Place::Body(_) | Place::Hl7(_) | Place::X12(_) | Place::Header(_) => None,
        }
    }

    /// As a path from the top of a JSON document, that selects no less there.
    pub(super) fn widened(&self) -> Option<FieldPath> {
        match self {
            Place::Path(path) => Some(path.clone()),
            Place::Fhir(path) => Some(path.widened()),
            Place::Xml(_)
            | Place::Form(_)
            | Place::File(_)
            | Place::Body(_)
            | Place::Csv(_)
            | Place::Hl7(_)
            | Place::X12(_)
            | Place::Query(_)
            | Place::Segment(_)
            | Place::Header(_) => None,
        }
    }

    /// As the config has it.
    pub(super) fn text(&self) -> String {
        match self {
            Place::Path(path) => path.to_string(),
            Place::Fhir(path) => path.to_string(),
            Place::Xml(path) => path.to_string(),
            Place::Form(path) | Place::File(path) => path.to_string(),
            Place::Body(range) => range.to_string(),
            Place::Csv(path) => path.to_string(),
            Place::Hl7(path) => path.to_string(),
            Place::X12(path) => path.to_string(),
            Place::Query(Query { name, .. }) | Place::Segment(name) => name.clone(),
            Place::Header(name) => name.to_string(),
        }
    }
}

pub(super) fn path(files: &mut Files<'_>, at: &str, text: &str) -> Option<FieldPath> {
    read(files, at, text, FieldPath::parse)
}

fn query(name: &str, raw: &raw::Rule) -> Place {
    let kind = match raw.search {
        None => SearchKind::Plain,
        Some(raw::Search::Token) => SearchKind::Token,
        Some(raw::Search::String) => SearchKind::Text,
        Some(raw::Search::Date) => SearchKind::Date,
    };
    Place::Query(Query { name: name.to_owned(), kind, system: raw.system.clone(), not_for: raw.not_for.clone() })
}

fn body(files: &mut Files<'_>, at: &str, text: &str) -> Option<MediaRange> {
    let range = MediaRange::parse(text);
    if range.is_none() {
        files.problem(at, "wanted a media type without parameters, such as application/pdf, image/* or */*");
    }
    range
}

fn header(files: &mut Files<'_>, at: &str, text: &str) -> Option<HeaderName> {
    let name = HeaderName::from_bytes(text.to_ascii_lowercase().as_bytes()).ok().filter(goes_on);
    // What HTTP itself reads is no value.
    let name = name.filter(|name| !OF_HTTP.contains(&name.as_str()));
    if name.is_none() {
        files.problem(at, "wanted the name of a header field of the application's own, that the gate lets through");
    }
    name
}

/// Header fields that rules may not name.
const OF_HTTP: [&str; 12] = [
    "accept",
    "authorization",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "if-match",
    "if-none-exist",
    "range",
    "via",
];

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

/// What is done with the values of a rule.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    Passed,
    Refused,
    Search,
    Sealed(Form),
}

/// What finds the values of all places, each with the number of its rule, which is its index; a rule of `None` lets pass.
///
/// # Errors
/// What is wrong with all of them together.
pub(super) fn compile(places: &[Place], rules: &[Kept], said: &Said<'_>) -> Result<Formats, String> {
    let (mut csv, mut hl7, mut x12) = (Vec::new(), Vec::new(), Vec::new());
    let (mut form, mut file, mut files) = (Vec::new(), Vec::new(), Vec::new());
    for (number, place) in places.iter().enumerate() {
        match place {
            Place::Path(_)
            | Place::Fhir(_)
            | Place::Xml(_)
            | Place::Query(_)
            | Place::Segment(_)
            | Place::Header(_) => {}
            Place::Form(path) => form.push((number, path.clone())),
            Place::File(path) => file.push((number, path.clone())),
            Place::Body(range) => files.push((range.clone(), number)),
            Place::Csv(path) => csv.push((number, path.clone())),
            Place::Hl7(path) => hl7.push((number, path.clone())),
            Place::X12(path) => x12.push((number, path.clone())),
        }
    }
    let mut formats = Formats {
        json: json(places, rules, said.resources)?,
        xml: xml(places, rules, said.resources)?,
        pages: said.pages,
        ..Formats::default()
    };
    if !form.is_empty() {
        formats.form = Some(Arc::new(form::Rules::compile(&form)));
    }
    if !form.is_empty() || !file.is_empty() {
        formats.multipart = Some(Arc::new(multipart::Rules::compile(&form, &file)));
    }
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
    for (range, _) in &files {
        let read = range.only().and_then(Media::read);
        if read.is_some_and(|media| formats.takes(&media.format)) {
            return Err(format!("bodies of type {range} have rules of their own: none takes them whole"));
        }
    }
    formats.files = files;
    Ok(formats)
}

fn json(places: &[Place], rules: &[Kept], resources: &[String]) -> Result<Option<Arc<Rules>>, String> {
    let is_carried = |rule: &Kept| matches!(rule, Kept::Sealed(Form::Extension));
    let companions: Vec<_> = places
        .iter()
        .zip(rules)
        .map(|(place, rule)| match place {
            Place::Fhir(path) if is_carried(rule) => Some(path.companions(SEALED_URL)),
            _ => None,
        })
        .collect();
    let mut selected = Vec::with_capacity(places.len());
    for (rule, ((place, companions), kept)) in places.iter().zip(&companions).zip(rules).enumerate() {
        let passes = *kept == Kept::Passed;
        let mut select = |path, role| selected.push(Selected { path, rule, role, passes });
        match (place, companions) {
            (Place::Path(path), _) => select(JsonPath::Field(path), Role::Value),
            (Place::Fhir(path), None) => select(JsonPath::Fhir(path), Role::Value),
            (Place::Fhir(path), Some((beside, inside))) => {
                select(JsonPath::Fhir(path), Role::Primitive);
                select(JsonPath::Fhir(beside), Role::Companion);
                select(JsonPath::Fhir(inside), Role::Carried);
            }
            _ => {}
        }
    }
    if selected.is_empty() {
        return Ok(None);
    }
    Ok(Some(Arc::new(Rules::compile_all(&selected, resources).map_err(|error| error.to_string())?)))
}

/// FHIR has two forms.
fn xml(places: &[Place], rules: &[Kept], resources: &[String]) -> Result<Option<Arc<xml::Rules>>, String> {
    let mut selected = Vec::new();
    let mut types: Vec<String> = Vec::new();
    for (number, (place, kept)) in places.iter().zip(rules).enumerate() {
        match place {
            Place::Xml(path) => selected.push((number, path.clone())),
            Place::Fhir(path) => {
                let paths = match kept {
                    Kept::Sealed(Form::Extension) => XmlPath::of_fhir_primitive(path, SEALED_URL),
                    _ => XmlPath::of_fhir(path),
                };
                let paths = paths.map_err(|error| format!("{path}: {error}"))?;
                selected.extend(paths.into_iter().map(|path| (number, path)));
                types.extend(path.resource().map(str::to_owned));
            }
            _ => {}
        }
    }
    if selected.is_empty() {
        return Ok(None);
    }
    let others = places.iter().any(|place| matches!(place, Place::Xml(_)));
    let is_fhir = places.iter().any(|place| matches!(place, Place::Fhir(_)));
    let rules = xml::Rules::compile(&selected).map_err(|error| error.to_string())?;
    let rules =
        if is_fhir { rules.with_resources(types.into_iter().chain(resources.iter().cloned()), others) } else { rules };
    Ok(Some(Arc::new(rules)))
}
