//! Formats of bodies: which one a header says, and what reads it by the rules of a route.

use crate::document::{
    Limits, Rewrite, Watch, csv, file, form, hl7v2, html, json, multipart, ndjson, patch, text, x12, xml,
};
use http::Method;
use http::header::{CONTENT_TYPE, HeaderMap};
use std::fmt;
use std::sync::Arc;

/// What the header says that a body is (RFC 9110 8.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// What it is made of.
    pub format: Format,
    /// Whether it is FHIR in JSON, which has a form of its own for values that are absent.
    pub(super) fhir: bool,
}

/// What a body is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// `application/json` or a `+json` type.
    Json,
    /// A JSON Patch (RFC 6902). Of requests alone, as the next one.
    Patch,
    /// A JSON merge patch (RFC 7396).
    Merge,
    /// FHIR in JSON that PATCH sends: a FHIRPath Patch. What is none is a merge patch.
    FhirPatch,
    /// One JSON document a line.
    Ndjson,
    /// `application/xml`, `text/xml` or a `+xml` type (RFC 7303).
    Xml,
    /// A form, or a search that is posted.
    Form,
    /// A form with files (RFC 7578), with its boundary.
    Multipart(String),
    /// RFC 4180 and 7111.
    Csv,
    /// HL7 v2 in ER7.
    Hl7,
    /// RFC 1767.
    X12,
    /// Of responses alone.
    Html,
    /// Of responses alone.
    Text,
    /// Anything, which a rule of that number takes whole.
    File(usize),
}

/// How a document is changed of which only a part is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patching {
    Operations,
    Members,
    Elements,
}

/// Types and what they are. Those of lines of JSON and of HL7 v2 are not registered, but for FHIR's.
const TYPES: [(&str, Format); 19] = [
    ("application/json", Format::Json),
    ("application/json-patch+json", Format::Patch),
    ("application/merge-patch+json", Format::Merge),
    ("application/x-ndjson", Format::Ndjson),
    ("application/ndjson", Format::Ndjson),
    ("application/fhir+ndjson", Format::Ndjson),
    ("application/jsonl", Format::Ndjson),
    ("application/x-jsonlines", Format::Ndjson),
    ("application/jsonlines", Format::Ndjson),
    ("application/xml", Format::Xml),
    ("text/xml", Format::Xml),
    ("application/x-www-form-urlencoded", Format::Form),
    ("text/csv", Format::Csv),
    ("x-application/hl7-v2+er7", Format::Hl7),
    ("application/hl7-v2+er7", Format::Hl7),
    ("application/hl7-v2", Format::Hl7),
    ("application/edi-x12", Format::X12),
    ("text/html", Format::Html),
    ("text/plain", Format::Text),
];

impl Format {
    /// What it changes, if it changes something that is there.
    pub(super) const fn patches(&self) -> Option<Patching> {
        match self {
            Self::Patch => Some(Patching::Operations),
            Self::Merge => Some(Patching::Members),
            Self::FhirPatch => Some(Patching::Elements),
            _ => None,
        }
    }

    /// Whether it is made of JSON documents.
    #[must_use]
    pub const fn is_json(&self) -> bool {
        matches!(self, Self::Json | Self::Ndjson)
    }
}

impl Media {
    /// `None` if it is no type that is read, if there is more than one, or if the body is not in UTF-8.
    pub(super) fn of(headers: &HeaderMap) -> Option<Media> {
        let mut types = headers.get_all(CONTENT_TYPE).iter();
        let (Some(value), None) = (types.next(), types.next()) else { return None };
        Media::read(value.to_str().ok()?)
    }

    /// The same for the text of a header.
    #[must_use]
    pub fn read(value: &str) -> Option<Media> {
        let (media_type, parameters) = value.split_once(';').unwrap_or((value, ""));
        let in_utf8 = |parameter: &str| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = value.trim().trim_matches('"');
            !name.trim().eq_ignore_ascii_case("charset")
                || ["utf-8", "us-ascii"].iter().any(|known| value.eq_ignore_ascii_case(known))
        };
        if !parameters.split(';').all(in_utf8) {
            return None;
        }
        let media_type = media_type.trim().to_ascii_lowercase();
        if media_type == "multipart/form-data" {
            return Some(Media { format: Format::Multipart(boundary(parameters)?), fhir: false });
        }
        let known = TYPES.into_iter().find(|(known, _)| *known == media_type).map(|(_, format)| format);
        let format = known.or_else(|| suffixed(&media_type))?;
        let fhir = format.is_json() && media_type.starts_with("application/fhir+");
        Some(Media { format, fhir })
    }
}

/// The boundary of a form; none if there are two.
fn boundary(parameters: &str) -> Option<String> {
    let named = |parameter: &str| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().to_owned())
    };
    let mut boundaries = parameters.split(';').filter_map(named);
    let boundary = boundaries.next().filter(|_| boundaries.next().is_none())?;
    let bare = boundary.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    // Escapes in quotes are read in more than one way.
    bare.map_or(Some(boundary.clone()), |bare| (!bare.contains(['"', '\\'])).then(|| bare.to_owned()))
}

impl Media {
    /// What it is in a request of that method: a patch is what PATCH sends, and what it sends in JSON is a part of a document,
    /// whatever it says.
    pub(super) fn sent_by(self, method: &Method) -> Option<Media> {
        let format = match (*method == Method::PATCH, self.format) {
            (true, Format::Json) if self.fhir => Format::FhirPatch,
            (true, Format::Json | Format::Merge) => Format::Merge,
            (true, Format::Patch) => Format::Patch,
            (true, _) | (false, Format::Patch | Format::Merge | Format::FhirPatch) => return None,
            (false, format) => format,
        };
        Some(Media { format, ..self })
    }
}

/// Types of bodies: one, `image/*` or `*/*` (RFC 9110 12.5.1, without parameters).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MediaRange(String);

impl MediaRange {
    /// Nothing if it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<MediaRange> {
        let text = text.to_ascii_lowercase();
        let is_range = match text.split_once('/')? {
            ("*", "*") => true,
            (kind, "*") => is_name(kind),
            _ => essence(&text).is_some_and(|named| named == text),
        };
        is_range.then_some(MediaRange(text))
    }

    /// `named`: a type, or nothing, which only `*/*` admits.
    fn admits(&self, named: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some("*/") => true,
            Some(start) => named.starts_with(start),
            None => self.0 == named,
        }
    }

    /// The one type that it is, if it is not several.
    #[must_use]
    pub fn only(&self) -> Option<&str> {
        (!self.0.contains('*')).then_some(&self.0)
    }
}

impl fmt::Display for MediaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The type that a header names, in lower case and without parameters.
fn essence(value: &str) -> Option<String> {
    let named = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let (kind, subtype) = named.split_once('/')?;
    (is_name(kind) && is_name(subtype)).then_some(named)
}

/// RFC 6838 4.2: nothing that could pass for a list of types.
fn is_name(text: &str) -> bool {
    let is_char =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'!' | b'#' | b'$' | b'&' | b'-' | b'^' | b'_' | b'.' | b'+');
    !text.is_empty() && text.bytes().all(is_char)
}

/// What a type is made of, by its suffix (RFC 6839 3.1, RFC 7303 4.2).
fn suffixed(media_type: &str) -> Option<Format> {
    let subtype = media_type.strip_prefix("application/")?;
    if !is_name(subtype) || subtype.contains("patch") {
        return None;
    }
    match subtype.rsplit_once('+')?.1 {
        "json" => Some(Format::Json),
        // A page by another name is none that the rules are for.
        "xml" if subtype != "xhtml+xml" => Some(Format::Xml),
        _ => None,
    }
}

/// The rules of a route by the formats that they are for. A body of a format without rules is refused.
#[derive(Default)]
pub struct Formats {
    /// JSON and what is made of it.
    pub json: Option<Arc<json::Rules>>,
    /// XML.
    pub xml: Option<Arc<xml::Rules>>,
    /// Forms.
    pub form: Option<Arc<form::Rules>>,
    /// Forms with files.
    pub multipart: Option<Arc<multipart::Rules>>,
    /// CSV.
    pub csv: Option<Arc<csv::Rules>>,
    /// HL7 v2.
    pub hl7: Option<Arc<hl7v2::Rules>>,
    /// X12.
    pub x12: Option<Arc<x12::Rules>>,
    /// Types whose bodies are taken whole where no other rules are for them, each with the number of its rule.
    pub files: Vec<(MediaRange, usize)>,
    /// Pages and texts, in which tokens are looked for and which have no rules; of responses alone.
    pub pages: bool,
}

/// How a token starts.
const MARK: &[u8] = b"sgv1.";

impl Formats {
    /// What a body with these header fields is to the rules. Nothing if there are none for it.
    pub(super) fn media(&self, headers: &HeaderMap) -> Option<Media> {
        let mut types = headers.get_all(CONTENT_TYPE).iter();
        match (types.next(), types.next()) {
            (None, _) => self.of_type(None),
            (Some(value), None) => self.of_type(Some(value.to_str().ok()?)),
            (Some(_), Some(_)) => None,
        }
    }

    /// The same for a type, as a header says it.
    #[must_use]
    pub fn of_type(&self, value: Option<&str>) -> Option<Media> {
        let read = value.and_then(Media::read);
        if read.as_ref().is_some_and(|media| self.takes(&media.format)) {
            return read;
        }
        let named = value.map_or_else(|| Some(String::new()), essence)?;
        let fits = |(range, _): &&(MediaRange, usize)| range.admits(&named);
        let rule = self.files.iter().filter(fits).max_by_key(|(range, _)| range.0.len())?.1;
        Some(Media { format: Format::File(rule), fhir: false })
    }

    /// What reads a body of that format by the rules; `None` if there are none. `path`: what a patch is for.
    pub(super) fn rewriter(
        &self,
        format: &Format,
        path: &str,
        limits: Limits,
        watch: Option<Watch>,
    ) -> Option<Box<dyn Rewrite>> {
        match format {
            Format::Patch => {
                let rules = self.json.as_ref()?;
                let resource = resource(rules, path);
                Some(Box::new(patch::Rewriter::new(Arc::clone(rules), resource, limits, watch)))
            }
            Format::Merge => {
                let rules = self.json.as_ref()?;
                let resource = resource(rules, path);
                Some(Box::new(patch::merge(Arc::clone(rules), resource, limits, watch)))
            }
            Format::FhirPatch => {
                let rules = self.json.as_ref()?;
                let resource = resource(rules, path);
                Some(Box::new(patch::ElementsRewriter::new(Arc::clone(rules), resource, limits, watch)))
            }
            Format::Json | Format::Ndjson => Some(rewriter(self.json.as_ref()?, format, limits, watch)),
            Format::Xml => Some(Box::new(xml::Rewriter::new(Arc::clone(self.xml.as_ref()?), limits, watch))),
            Format::Form => Some(Box::new(form::Rewriter::new(Arc::clone(self.form.as_ref()?), limits, watch))),
            Format::Multipart(boundary) => {
                let rules = Arc::clone(self.multipart.as_ref()?);
                // A file that no rule names may hold anything.
                let rewriter = multipart::Rewriter::new(rules, boundary, true, limits, watch);
                rewriter.ok().map(|rewriter| Box::new(rewriter) as Box<dyn Rewrite>)
            }
            Format::Csv => Some(Box::new(csv::Rewriter::new(Arc::clone(self.csv.as_ref()?), limits, watch))),
            Format::Hl7 => Some(Box::new(hl7v2::Rewriter::new(Arc::clone(self.hl7.as_ref()?), limits, watch))),
            Format::X12 => Some(Box::new(x12::Rewriter::new(Arc::clone(self.x12.as_ref()?), limits, watch))),
            Format::File(rule) => Some(Box::new(file::Rewriter::new(*rule))),
            Format::Html | Format::Text => None,
        }
    }

    /// The same for a body of a response.
    pub(super) fn reader(&self, format: &Format, limits: Limits, watch: Option<Watch>) -> Option<Box<dyn Rewrite>> {
        match format {
            Format::Patch | Format::Merge | Format::FhirPatch | Format::File(_) => None,
            Format::Html if self.pages => Some(Box::new(html::Rewriter::new(limits, MARK))),
            Format::Text if self.pages => Some(Box::new(text::Rewriter::new(limits, MARK))),
            format => self.rewriter(format, "", limits, watch),
        }
    }

    /// Whether a body of that format is taken, be it in responses alone.
    #[must_use]
    pub const fn takes(&self, format: &Format) -> bool {
        match format {
            Format::Json | Format::Ndjson | Format::Patch | Format::Merge | Format::FhirPatch => self.json.is_some(),
            Format::Xml => self.xml.is_some(),
            Format::Form => self.form.is_some(),
            Format::Multipart(_) => self.multipart.is_some(),
            Format::Csv => self.csv.is_some(),
            Format::Hl7 => self.hl7.is_some(),
            Format::X12 => self.x12.is_some(),
            Format::Html | Format::Text => self.pages,
            Format::File(_) => !self.files.is_empty(),
        }
    }

    /// What shows every value of a body of that format, and its rule if it meets one, be it one that lets pass. None for
    /// patches, which are parts of documents.
    #[must_use]
    pub fn explainer(&self, format: &Format, limits: Limits) -> Option<Box<dyn Rewrite>> {
        let watch = Some(Watch::new(|_| true));
        match format {
            Format::Json => {
                let rules = Arc::clone(self.json.as_ref()?);
                Some(Box::new(json::Rewriter::new(rules, limits, watch).showing_passed()))
            }
            Format::Ndjson => {
                let rules = Arc::clone(self.json.as_ref()?);
                Some(Box::new(ndjson::Rewriter::new(rules, limits, watch).showing_passed()))
            }
            Format::Patch | Format::Merge | Format::FhirPatch => None,
            format => self.rewriter(format, "", limits, watch),
        }
    }
}

/// The type of resource that a path names: `/fhir/Patient/1`, whatever the id looks like, or `/fhir/Patient`. Nothing if it could be
/// another one: `/fhir/Thing/Patient`.
fn resource<'p>(rules: &json::Rules, path: &'p str) -> Option<&'p str> {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty()).rev();
    let (last, before) = (segments.next()?, segments.next());
    if let Some(kind) = before.filter(|kind| rules.knows_resource(kind)) {
        return segments.all(|other| !rules.knows_resource(other)).then_some(kind);
    }
    // What stands before a type alone must be none itself, in no spelling.
    let is_base = before.is_none_or(|name| {
        let is_plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b));
        let mut letters = name.chars();
        let kind: String = letters.next().into_iter().map(|first| first.to_ascii_uppercase()).chain(letters).collect();
        is_plain && !rules.knows_resource(&kind)
    });
    let is_only = is_base && segments.all(|other| !rules.knows_resource(other));
    (is_only && rules.knows_resource(last)).then_some(last)
}

/// What reads a body of a format that is made of JSON by some rules.
pub(super) fn rewriter(
    rules: &Arc<json::Rules>,
    format: &Format,
    limits: Limits,
    watch: Option<Watch>,
) -> Box<dyn Rewrite> {
    let rules = Arc::clone(rules);
    match format {
        Format::Ndjson => Box::new(ndjson::Rewriter::new(rules, limits, watch)),
        _ => Box::new(json::Rewriter::new(rules, limits, watch)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn what_the_header_says() {
        let json = Some((Format::Json, false));
        for (text, want) in [
            ("application/json", json.clone()),
            ("Application/JSON; charset=UTF-8", json.clone()),
            ("application/fhir+json;fhirVersion=4.0", Some((Format::Json, true))),
            ("application/json; charset=\"utf-8\"", json),
            ("application/x-ndjson", Some((Format::Ndjson, false))),
            ("application/fhir+ndjson", Some((Format::Ndjson, true))),
            ("application/xml", Some((Format::Xml, false))),
            ("text/xml; charset=utf-8", Some((Format::Xml, false))),
            ("application/fhir+xml", Some((Format::Xml, false))),
            ("application/soap+xml; action=\"urn:x\"", Some((Format::Xml, false))),
            ("application/xhtml+xml", None),
            ("application/xml-patch+xml", None),
            ("text/csv; header=present; charset=us-ascii", Some((Format::Csv, false))),
            ("X-Application/HL7-V2+ER7", Some((Format::Hl7, false))),
            ("application/EDI-X12", Some((Format::X12, false))),
            ("text/html; charset=utf-8", Some((Format::Html, false))),
            ("text/plain", Some((Format::Text, false))),
            ("application/x-www-form-urlencoded", Some((Format::Form, false))),
            ("multipart/form-data; boundary=a-b", Some((Format::Multipart("a-b".to_owned()), false))),
            ("multipart/form-data; Boundary=\"a b\"", Some((Format::Multipart("a b".to_owned()), false))),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=a; boundary=b", None),
            ("multipart/form-data; boundary=\"a\\b\"", None),
            ("multipart/mixed; boundary=a", None),
            ("text/html; charset=iso-8859-1", None),
            ("text/csv; charset=windows-1252", None),
            ("application/json; charset=utf-16", None),
            ("application/x-ndjson; charset=utf-16", None),
            ("application/json-patch+json", Some((Format::Patch, false))),
            ("application/merge-patch+json", Some((Format::Merge, false))),
            ("application/json-seq", None),
            ("application/xml,application/a+json", None),
            ("application/a b+json", None),
            ("text/json", None),
            ("text/plain,text/csv", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(text));
            assert_eq!(Media::of(&headers).map(|media| (media.format, media.fhir)), want, "{text}");
            headers.append(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            assert_eq!(Media::of(&headers), None, "two of them");
        }
        assert_eq!(Media::of(&HeaderMap::new()), None);
    }

    #[test]
    fn bodies_without_rules_of_their_own_are_taken_whole_by_the_narrowest_range() {
        let files = [("*/*", 0), ("image/*", 1), ("image/png", 2), ("text/plain", 3)];
        let files = files.map(|(range, rule)| (MediaRange::parse(range).unwrap(), rule)).to_vec();
        let csv = csv::Rules::compile(&[(4, csv::CsvPath::parse("ssn").unwrap())], b',').unwrap();
        let formats = Formats { files, csv: Some(Arc::new(csv)), ..Formats::default() };
        for (text, want) in [
            (Some("image/png"), Some(Format::File(2))),
            (Some("Image/PNG; charset=utf-16"), Some(Format::File(2))),
            (Some("image/pngx"), Some(Format::File(1))),
            (Some("images/png"), Some(Format::File(0))),
            (Some("text/plain"), Some(Format::File(3))),
            (Some("text/csv"), Some(Format::Csv)),
            // Not a table that the rules could read.
            (Some("text/csv; charset=utf-16"), Some(Format::File(0))),
            (Some("application/json"), Some(Format::File(0))),
            (None, Some(Format::File(0))),
            (Some("image/png, text/csv"), None),
            (Some("image"), None),
            (Some("image/*"), None),
            (Some(""), None),
        ] {
            let headers = text.map(|text| (CONTENT_TYPE, HeaderValue::from_static(text)));
            let headers = HeaderMap::from_iter(headers);
            assert_eq!(formats.media(&headers).map(|media| media.format), want, "{text:?}");
        }
        for text in ["", "*", "image", "image/", "/png", "*/png", "image/p*", "image/png;q=1", "a b/c", "a/b/c"] {
            assert_eq!(MediaRange::parse(text), None, "{text}");
        }
    }
}
