//! Formats of bodies: which one a header says, and what reads it by the rules of a route.

use crate::document::{Limits, Rewrite, Watch, json, ndjson};
use http::header::{CONTENT_TYPE, HeaderMap};
use std::sync::Arc;

/// What the header says that a body is (RFC 9110 8.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Media {
    pub(super) format: Format,
    /// Whether it is FHIR, which has a form of its own for values that are absent.
    pub(super) fhir: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// `application/json` or a `+json` type. A JSON Patch (RFC 6902) names its places in values, which no rule reads, and a merge
    /// patch (RFC 7396) is refused with it.
    Json,
    /// One JSON document a line.
    Ndjson,
}

/// Types of newline-delimited JSON; none is registered but FHIR's.
const NDJSON: [&str; 6] = ["x-ndjson", "ndjson", "fhir+ndjson", "jsonl", "x-jsonlines", "jsonlines"];

impl Media {
    /// `None` if it is no type that is read, if there is more than one, or if the body is not in UTF-8.
    pub(super) fn of(headers: &HeaderMap) -> Option<Media> {
        let mut types = headers.get_all(CONTENT_TYPE).iter();
        let (Some(value), None) = (types.next(), types.next()) else { return None };
        let value = value.to_str().ok()?;
        let (media_type, parameters) = value.split_once(';').unwrap_or((value, ""));
        let in_utf8 = |parameter: &str| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            !name.trim().eq_ignore_ascii_case("charset") || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        };
        if !parameters.split(';').all(in_utf8) {
            return None;
        }
        let media_type = media_type.trim().to_ascii_lowercase();
        let subtype = media_type.strip_prefix("application/")?;
        // RFC 6838 4.2: nothing that could pass for a list of types.
        let is_name = |b: u8| {
            b.is_ascii_alphanumeric() || matches!(b, b'!' | b'#' | b'$' | b'&' | b'-' | b'^' | b'_' | b'.' | b'+')
        };
        if !subtype.bytes().all(is_name) {
            return None;
        }
        let format = if NDJSON.contains(&subtype) {
            Format::Ndjson
        } else if subtype == "json" || (subtype.ends_with("+json") && !subtype.contains("patch")) {
            Format::Json
        } else {
            return None;
        };
        Some(Media { format, fhir: subtype.starts_with("fhir+") })
    }
}

/// The rules of a route by the formats that they are for. A body of a format without rules is refused.
pub struct Formats {
    /// JSON and what is made of it.
    pub json: Arc<json::Rules>,
}

impl Formats {
    /// What reads a body of that format by the rules.
    pub(super) fn rewriter(&self, format: &Format, limits: Limits, watch: Option<Watch>) -> Box<dyn Rewrite> {
        rewriter(&self.json, format, limits, watch)
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
        Format::Json => Box::new(json::Rewriter::new(rules, limits, watch)),
        Format::Ndjson => Box::new(ndjson::Rewriter::new(rules, limits, watch)),
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
            ("application/json; charset=utf-16", None),
            ("application/x-ndjson; charset=utf-16", None),
            ("application/json-patch+json", None),
            ("application/merge-patch+json", None),
            ("application/json-seq", None),
            ("application/xml,application/a+json", None),
            ("application/a b+json", None),
            ("text/json", None),
            ("text/plain", None),
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
