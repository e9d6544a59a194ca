//! Problem details (RFC 9457): what the client reads of a refusal.

use super::body::Body;
use super::rescue::{Code, Refusal};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Method, Response};
use serde::Serialize;
use uuid::Uuid;

#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    /// The exchange, as the audit events name it.
    instance: String,
}

/// The response that tells a refusal. `done`: the upstream has carried the request out already.
pub(super) fn response(refusal: &Refusal, exchange: Uuid, method: &Method, done: bool) -> Response<Body> {
    let code = refusal.code;
    let problem = Problem {
        r#type: format!("urn:sealgate:error:{}", code.as_str()),
        title: code.title(),
        status: code.status().as_u16(),
        code: code.as_str(),
        detail: refusal.detail.as_deref(),
        instance: exchange.urn().to_string(),
    };
    // Strings and a number: there is nothing in it that could fail to be written.
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let body = if *method == Method::HEAD { Body::whole(Vec::new()) } else { Body::whole(body) };
    let mut response = Response::new(body);
    *response.status_mut() = code.status();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // RFC 6750 3: nothing more is told to a request that does not try.
    let challenge = match code {
        Code::BearerMissing => Some("Bearer"),
        Code::BearerInvalid => Some("Bearer error=\"invalid_token\""),
        Code::UserUnknown => Some("Bearer error=\"insufficient_scope\""),
        _ => None,
    };
    if let Some(challenge) = challenge {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    if let Some(seconds) = refusal.retry_after_s(done) {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
