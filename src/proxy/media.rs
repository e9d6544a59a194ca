//! Formats of bodies: which one a header says, and what reads it by the rules of a route.

use crate::document::{Limits, Rewrite, Watch, csv, hl7v2, html, json, ndjson, text, x12, xml};
use http::header::{CONTENT_TYPE, HeaderMap};
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
    /// `application/json` or a `+json` type. A JSON Patch (RFC 6902) names its places in values, which no rule reads, and a merge
    /// patch (RFC 7396) is refused with it.
    Json,
    /// One JSON document a line.
    Ndjson,
    /// `application/xml`, `text/xml` or a `+xml` type (RFC 7303).
    Xml,
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
}

/// Types and what they are. Those of lines of JSON and of HL7 v2 are not registered, but for FHIR's.
const TYPES: [(&str, Format); 16] = [
    ("application/json", Format::Json),
    ("application/x-ndjson", Format::Ndjson),
    ("application/ndjson", Format::Ndjson),
    ("application/fhir+ndjson", Format::Ndjson),
    ("application/jsonl", Format::Ndjson),
    ("application/x-jsonlines", Format::Ndjson),
    ("application/jsonlines", Format::Ndjson),
    ("application/xml", Format::Xml),
    ("text/xml", Format::Xml),
    ("text/csv", Format::Csv),
    ("x-application/hl7-v2+er7", Format::Hl7),
    ("application/hl7-v2+er7", Format::Hl7),
    ("application/hl7-v2", Format::Hl7),
    ("application/edi-x12", Format::X12),
    ("text/html", Format::Html),
    ("text/plain", Format::Text),
];

impl Format {
    /// Whether that is JSON documents.
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
        let known = TYPES.into_iter().find(|(known, _)| *known == media_type).map(|(_, format)| format);
        let format = known.or_else(|| suffixed(&media_type))?;
        let fhir = format.is_json() && media_type.starts_with("application/fhir+");
        Some(Media { format, fhir })
    }
}

/// What a type is made of, by its suffix (RFC 6839 3.1, RFC 7303 4.2).
fn suffixed(media_type: &str) -> Option<Format> {
    let subtype = media_type.strip_prefix("application/")?;
    // RFC 6838 4.2: nothing that could pass for a list of types.
    let is_name =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'!' | b'#' | b'$' | b'&' | b'-' | b'^' | b'_' | b'.' | b'+');
    if !subtype.bytes().all(is_name) || subtype.contains("patch") {
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
    /// CSV.
    pub csv: Option<Arc<csv::Rules>>,
    /// HL7 v2.
    pub hl7: Option<Arc<hl7v2::Rules>>,
    /// X12.
    pub x12: Option<Arc<x12::Rules>>,
    /// Pages and texts, in which tokens are looked for and which have no rules; of responses alone.
    pub pages: bool,
}

/// How a token starts.
const MARK: &[u8] = b"sgv1.";

impl Formats {
    /// What reads a body of that format by the rules; `None` if there are none.
    pub(super) fn rewriter(&self, format: &Format, limits: Limits, watch: Option<Watch>) -> Option<Box<dyn Rewrite>> {
        match format {
            Format::Json | Format::Ndjson => Some(rewriter(self.json.as_ref()?, format, limits, watch)),
            Format::Xml => Some(Box::new(xml::Rewriter::new(Arc::clone(self.xml.as_ref()?), limits, watch))),
            Format::Csv => Some(Box::new(csv::Rewriter::new(Arc::clone(self.csv.as_ref()?), limits, watch))),
            Format::Hl7 => Some(Box::new(hl7v2::Rewriter::new(Arc::clone(self.hl7.as_ref()?), limits, watch))),
            Format::X12 => Some(Box::new(x12::Rewriter::new(Arc::clone(self.x12.as_ref()?), limits, watch))),
            Format::Html | Format::Text => None,
        }
    }

    /// The same for a body of a response.
    pub(super) fn reader(&self, format: &Format, limits: Limits, watch: Option<Watch>) -> Option<Box<dyn Rewrite>> {
        match format {
            Format::Html if self.pages => Some(Box::new(html::Rewriter::new(limits, MARK))),
            Format::Text if self.pages => Some(Box::new(text::Rewriter::new(limits, MARK))),
            format => self.rewriter(format, limits, watch),
        }
    }

    /// Whether a body of that format is taken, be it in responses alone.
    #[must_use]
    pub const fn takes(&self, format: &Format) -> bool {
        match format {
            Format::Json | Format::Ndjson => self.json.is_some(),
            Format::Xml => self.xml.is_some(),
            Format::Csv => self.csv.is_some(),
            Format::Hl7 => self.hl7.is_some(),
            Format::X12 => self.x12.is_some(),
            Format::Html | Format::Text => self.pages,
        }
    }

    /// What shows every value of a body of that format, and its rule if it meets one, be it one that lets pass.
    #[must_use]
    pub fn explainer(&self, format: &Format, limits: Limits) -> Option<Box<dyn Rewrite>> {
        let watch: Option<Watch> = Some(|_| true);
        match format {
            Format::Json => {
                let rules = Arc::clone(self.json.as_ref()?);
                Some(Box::new(json::Rewriter::new(rules, limits, watch).showing_passed()))
            }
            Format::Ndjson => {
                let rules = Arc::clone(self.json.as_ref()?);
                Some(Box::new(ndjson::Rewriter::new(rules, limits, watch).showing_passed()))
            }
            format => self.rewriter(format, limits, watch),
        }
    }
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
            ("text/html; charset=iso-8859-1", None),
            ("text/csv; charset=windows-1252", None),
            ("application/json; charset=utf-16", None),
            ("application/x-ndjson; charset=utf-16", None),
            ("application/json-patch+json", None),
            ("application/merge-patch+json", None),
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
}
