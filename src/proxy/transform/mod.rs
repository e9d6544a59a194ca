//! Bodies between client and upstream: what is sealed, opened, shown or refused. Takes a permit for everything, and an
//! audit receipt for everything that is shown.

mod bind;
mod inner;
mod judge;
mod mark;
mod request;
mod response;

pub(super) use request::request;
pub(super) use response::{About, plan};

use super::rescue::{Code, Refusal};
use super::rule::{FieldRule, Protected};
use crate::document::json::Slot;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::time::Instant;

/// Why a body was not read to its end.
enum ReadFailure {
    TooLarge,
    Timeout,
    Broken,
}

async fn read(body: Incoming, bytes_max: usize, until: Instant) -> Result<bytes::Bytes, ReadFailure> {
    let collected = tokio::time::timeout_at(until, Limited::new(body, bytes_max).collect()).await;
    match collected.map_err(|_| ReadFailure::Timeout)? {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ReadFailure::TooLarge),
        Err(_) => Err(ReadFailure::Broken),
    }
}

/// Whether the body is JSON that says where its members stand: `application/json` or a `+json` type, in UTF-8. A JSON
/// Patch (RFC 6902) names its places in values, which no rule reads, and a merge patch (RFC 7396) is refused with it.
fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (types.next(), types.next()) else {
        return false;
    };
    let Ok(value) = value.to_str() else { return false };
    let (media_type, parameters) = value.split_once(';').map_or((value, ""), |(kind, rest)| (kind, rest));
    let media_type = media_type.trim().to_ascii_lowercase();
    let subtype = media_type.strip_prefix("application/").unwrap_or_default();
    // RFC 6838 4.2: nothing that could pass for a list of types.
    let is_name =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'!' | b'#' | b'$' | b'&' | b'-' | b'^' | b'_' | b'.' | b'+');
    let json = subtype.bytes().all(is_name)
        && (subtype == "json" || (subtype.ends_with("+json") && !subtype.contains("patch")));
    json && parameters.split(';').all(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        !name.trim().eq_ignore_ascii_case("charset") || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
    })
}

/// Whether the body is FHIR, which has a form of its own for values that are absent.
fn is_fhir(headers: &HeaderMap) -> bool {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.trim_start().to_ascii_lowercase().starts_with("application/fhir+json")
}

/// Whether the body is as it is: no content coding (RFC 9110 8.4).
fn is_identity(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().all(|value| value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Whether a value that one rule selects whole holds one of another class: shown in the view of the outer one, the inner one
/// would be seen by those who may not.
fn overlaps(protected: &Protected, rule: &FieldRule, slot: &Slot<'_>) -> bool {
    let classes = slot.inner_rules().iter().filter_map(|index| protected.fields.get(*index));
    classes.into_iter().any(|inner| inner.class.class != rule.class.class)
}

/// What the rewriter promises never happens on a whole document.
fn unfinished() -> Refusal {
    Refusal::with_detail(Code::BodyInvalid, "the document does not end")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn what_is_taken_for_json() {
        for (text, good) in [
            ("application/json", true),
            ("Application/JSON; charset=UTF-8", true),
            ("application/fhir+json;fhirVersion=4.0", true),
            ("application/json; charset=\"utf-8\"", true),
            ("application/json; charset=utf-16", false),
            ("application/json-patch+json", false),
            ("application/merge-patch+json", false),
            ("application/json-seq", false),
            ("application/xml,application/a+json", false),
            ("application/a b+json", false),
            ("text/json", false),
            ("text/plain", false),
            ("application/x-ndjson", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(text));
            assert_eq!(is_json(&headers), good, "{text}");
            headers.append(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            assert!(!is_json(&headers), "two of them");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
