//! Header fields on their way through: what ends at the gate, what it adds, what no client may say.

use super::rescue::{Code, Refusal};
use super::rule::Protected;
use super::target;
use super::vouch::{FORWARDED_CLIENT_CERT, IDENTITY};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{Uri, Version};
use std::net::{IpAddr, Ipv6Addr};

/// Connection-specific fields (RFC 9110 7.6.1), with or without being listed in `Connection`.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Fields by which upstreams are told who the client is, or that the request is another than it looks. From a client they
/// are lies, as are those that start as [`is_identity`] says.
const OF_IDENTITY: [&str; 28] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "forwarded",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "x-original-url",
    "x-rewrite-url",
    "x-client-cert",
    "x-client-dn",
    "x-ssl-client-cert",
    "x-remote-user",
    "remote-user",
    "ssl-client-cert",
    "client-cert",
    "client-cert-chain",
    "x-client-verify",
    "x-tls-client-cert",
    "x-arr-clientcert",
    "x-auth-request-user",
    "x-auth-request-email",
    "x-webauth-user",
    "x-original-uri",
    "x-original-host",
    "x-host",
    "x-user",
];

const OF_IDENTITY_PREFIXES: [&str; 12] = [
    "cf-",
    "fastly-",
    "x-amzn-mtls-",
    "x-amzn-oidc-",
    "x-auth-",
    "x-authenticated-",
    "x-azure-",
    "x-envoy-",
    "x-goog-",
    "x-ms-client-principal",
    "x-original-",
    "x-remote-",
];

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");
const SURROGATE_CONTROL: HeaderName = HeaderName::from_static("surrogate-control");
const REFERRER: HeaderName = HeaderName::from_static("referrer");
pub(super) const IF_NONE_EXIST: HeaderName = HeaderName::from_static("if-none-exist");
/// Holds a whole resource, which no rule reads there (FHIR R4, Provenance).
const PROVENANCE: HeaderName = HeaderName::from_static("x-provenance");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
const DIGEST: HeaderName = HeaderName::from_static("digest");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// Refuses more fields than there may be, a length without a number, and a transfer coding that nobody here undoes: without
/// its field the body would go on as if it had none.
pub(super) fn judge_framing(headers: &HeaderMap, headers_max: usize) -> Result<(), Refusal> {
    if headers.len() > headers_max {
        return Err(Code::HeadersTooMany.into());
    }
    if !is_undone(headers) {
        return Err(Refusal::with_detail(Code::RequestMalformed, "transfer coding other than chunked"));
    }
    // Over HTTP/2 an empty one comes through.
    if headers.get_all(header::CONTENT_LENGTH).iter().any(HeaderValue::is_empty) {
        return Err(Refusal::with_detail(Code::RequestMalformed, "length that is no number"));
    }
    Ok(())
}

/// Refuses an answer with such a coding, and one that has a length beside its coding (RFC 9112 6.3): the client would get the
/// length, and another body.
pub(super) fn judge_answer(headers: &HeaderMap) -> Result<(), Refusal> {
    let both = headers.contains_key(header::TRANSFER_ENCODING) && headers.contains_key(header::CONTENT_LENGTH);
    if both || !is_undone(headers) {
        return Err(Refusal::from(Code::ResponseNotUnderstood).because("framing of the upstream's response"));
    }
    Ok(())
}

/// Whether a body has no transfer coding but the one that is undone on the way.
fn is_undone(headers: &HeaderMap) -> bool {
    let chunked = |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    headers.get_all(header::TRANSFER_ENCODING).iter().all(chunked)
}

/// The host that the request is for: in lower case, without port and final dot.
///
/// # Errors
/// [`Code::HostMismatch`] unless `Host` and `:authority` (or the authority of an absolute target) name one and the same, and
/// one that nobody takes for another. Before HTTP/2 the field must be there, whatever the target is (RFC 9112 3.2).
pub(super) fn host(head: &Parts) -> Result<String, Refusal> {
    if head.uri.scheme().is_some_and(|scheme| ![Scheme::HTTPS, Scheme::HTTP].contains(scheme)) {
        return Err(Refusal::with_detail(Code::RequestMalformed, "scheme other than http and https"));
    }
    let mut fields = head.headers.get_all(header::HOST).iter();
    let field = fields.next().map(|value| value.to_str().map_err(|_| Code::HostMismatch)).transpose()?;
    if fields.next().is_some() {
        return Err(Code::HostMismatch.into());
    }
    let authority = head.uri.authority().map(|authority| authority.as_str());
    let host = match (authority, field) {
        (Some(authority), Some(field)) if authority.eq_ignore_ascii_case(field) => field,
        (Some(authority), None) if head.version == Version::HTTP_2 => authority,
        (None, Some(field)) => field,
        _ => return Err(Code::HostMismatch.into()),
    };
    let name = name_of(host).ok_or(Code::HostMismatch)?;
    Ok(name.strip_suffix('.').map(str::to_owned).unwrap_or(name))
}

/// The name or address in a host and, perhaps, a port. What else may stand in a host by RFC 3986 3.2.2 is in no name, and
/// some take it for the end of one.
fn name_of(host: &str) -> Option<String> {
    let authority: Authority = host.parse().ok()?;
    let name = authority.host();
    // Also refuses user information, which stands before.
    let port = host.strip_prefix(name)?;
    let is_number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok();
    let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_number);
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    let is_name = match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !name.is_empty() && name.bytes().all(is_plain),
    };
    (is_port && is_name).then(|| name.to_ascii_lowercase())
}

/// The client's request id, if it has a form in which nobody writes anything else: a UUID or 32 hex digits.
pub(super) fn request_id(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(REQUEST_ID)?.to_str().ok()?;
    let hex = |text: &str, length| text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit());
    let uuid =
        || text.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && text.split('-').all(|part| hex(part, part.len()));
    (hex(text, 32) || uuid()).then_some(text)
}

/// The value of a header field that stands there once.
pub(super) fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// Puts a value in the place of one of several of that name.
pub(super) fn replace(headers: &mut HeaderMap, name: &HeaderName, place: usize, value: HeaderValue) {
    let mut values: Vec<HeaderValue> = headers.get_all(name).iter().cloned().collect();
    if let Some(old) = values.get_mut(place) {
        *old = value;
    }
    headers.remove(name);
    for value in values {
        headers.append(name, value);
    }
}

/// What the gate says of the client.
pub(super) struct Via<'a> {
    pub(super) client: IpAddr,
    pub(super) request_id: &'a str,
    /// Of its certificate.
    pub(super) certificate: Option<&'a HeaderValue>,
    /// A signed token.
    pub(super) identity: Option<HeaderValue>,
}

/// Makes a request's fields those that the upstream gets. Length and coding are set anew when it is sent.
pub(super) fn to_upstream(head: &mut Parts, via: &Via<'_>, protected: bool) -> Result<(), Refusal> {
    let host = match (head.headers.get(header::HOST), head.uri.authority()) {
        (Some(host), _) => host.clone(),
        (None, Some(authority)) => HeaderValue::from_str(authority.as_str()).map_err(|_| Code::HostMismatch)?,
        (None, None) => return Err(Code::HostMismatch.into()),
    };
    let path = head.uri.path_and_query().cloned().ok_or(Code::TargetNotCanonical)?;
    head.uri = Uri::from(path);

    let headers = &mut head.headers;
    end_to_end(headers);
    join_cookies(headers);
    // Many servers take `_` for `-`: a name with it could pass there for one that is judged or set here.
    let is_ambiguous = |name: &HeaderName| name.as_str().contains('_');
    let names: Vec<HeaderName> =
        headers.keys().filter(|name| is_identity(name) || is_ambiguous(name)).cloned().collect();
    for name in names.iter().chain(&[header::CONTENT_LENGTH, header::EXPECT, header::HOST]) {
        headers.remove(name);
    }
    if protected {
        // The gate must see the whole body as it is, and the digests are of the one before it was rewritten.
        for name in [
            header::RANGE,
            header::IF_RANGE,
            header::IF_MODIFIED_SINCE,
            CONTENT_MD5,
            DIGEST,
            CONTENT_DIGEST,
            REPR_DIGEST,
            // The address of another page, with its query.
            header::REFERER,
            REFERRER,
        ] {
            headers.remove(name);
        }
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    let set = |text: &str| HeaderValue::from_str(text).map_err(|_| Refusal::from(Code::Internal));
    headers.insert(FORWARDED_FOR, set(&via.client.to_string())?);
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static("https"));
    headers.insert(FORWARDED_HOST, host.clone());
    headers.insert(header::HOST, host);
    headers.append(header::VIA, HeaderValue::from_static(protocol(head.version)));
    headers.insert(REQUEST_ID, set(via.request_id)?);
    if let Some(certificate) = via.certificate {
        headers.insert(FORWARDED_CLIENT_CERT, certificate.clone());
    }
    if let Some(identity) = &via.identity {
        headers.insert(IDENTITY, identity.clone());
    }
    trace_context(headers);
    head.version = Version::HTTP_11;
    Ok(())
}

/// Makes a response's fields those that the client gets.
pub(super) fn to_client(headers: &mut HeaderMap, request_id: &str, protected: bool) {
    end_to_end(headers);
    if protected {
        for name in [
            header::CONTENT_LENGTH,
            // Undone here, see `transform::coding`.
            header::CONTENT_ENCODING,
            CONTENT_MD5,
            DIGEST,
            CONTENT_DIGEST,
            REPR_DIGEST,
            header::ACCEPT_RANGES,
            header::EXPIRES,
            CDN_CACHE_CONTROL,
            SURROGATE_CONTROL,
        ] {
            headers.remove(name);
        }
        // What one caller may see another may not: nobody keeps it for the next one.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    headers.append(header::VIA, HeaderValue::from_static(protocol(Version::HTTP_11)));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, id);
    }
}

/// Refuses a token in any header field that no rule names, a FHIR search (`If-None-Exist`) where none is expected, and a
/// resource.
pub(super) fn judge(headers: &HeaderMap, protected: &Protected) -> Result<(), Refusal> {
    if headers.contains_key(IF_NONE_EXIST) && (!protected.searches.is_fhir() || only(headers, &IF_NONE_EXIST).is_none())
    {
        return Err(Refusal::with_detail(Code::HeaderNotAllowed, "header if-none-exist"));
    }
    if protected.searches.is_fhir() && headers.contains_key(PROVENANCE) {
        return Err(Refusal::with_detail(Code::HeaderNotAllowed, "header x-provenance"));
    }
    let is_ruled =
        |name: &HeaderName| *name == IF_NONE_EXIST || protected.headers.iter().any(|(known, _)| known == name);
    let mut rest = headers.iter().filter(|(name, _)| !is_ruled(name));
    if rest.any(|(_, value)| target::may_hold_token(value.as_bytes())) {
        return Err(Refusal::with_detail(Code::TokenNotAccepted, "header"));
    }
    Ok(())
}

/// Whether a field of that name is for the gate alone, as `Connection` says (RFC 9110 7.6.1).
pub(super) fn ends_here(headers: &HeaderMap, name: &HeaderName) -> bool {
    listed(headers).contains(name)
}

/// Whether the gate lets a field of that name through to the upstream, if it is not listed in `Connection`.
#[must_use]
pub fn goes_on(name: &HeaderName) -> bool {
    !HOP_BY_HOP.contains(name) && !is_identity(name) && !name.as_str().contains('_')
}

fn listed(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok()).collect()
}

fn end_to_end(headers: &mut HeaderMap) {
    for name in listed(headers).iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// RFC 9113 8.2.3: over HTTP/2 a client may split them.
fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, joined);
    }
}

fn is_identity(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("x-sealgate-")
        || name.starts_with("x-forwarded-")
        || name.starts_with("x-ssl-")
        || name.starts_with("ssl-client-")
        || OF_IDENTITY_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || OF_IDENTITY.contains(&name)
}

/// W3C Trace Context, level 1: a valid `traceparent` goes on as it is; one that is not, or stands twice, goes with its
/// `tracestate`.
fn trace_context(headers: &mut HeaderMap) {
    let mut parents = headers.get_all(TRACEPARENT).iter();
    let valid = parents.next().is_some_and(|value| is_traceparent(value.as_bytes())) && parents.next().is_none();
    if !valid {
        headers.remove(TRACEPARENT);
        headers.remove(TRACESTATE);
    }
}

fn is_traceparent(text: &[u8]) -> bool {
    let parts: Vec<&[u8]> = text.split(|b| *b == b'-').collect();
    let hex = |part: &[u8]| part.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let zero = |part: &[u8]| part.iter().all(|b| *b == b'0');
    match parts.as_slice() {
        [version, trace, parent, flags, rest @ ..] => {
            // A later version may have more behind what this one knows.
            (*version == b"00" && rest.is_empty() || !matches!(*version, b"00" | b"ff"))
                && (version.len(), trace.len(), parent.len(), flags.len()) == (2, 32, 16, 2)
                && [version, trace, parent, flags].iter().all(|part| hex(part))
                && !zero(trace)
                && !zero(parent)
        }
        _ => false,
    }
}

const fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "2 sealgate",
        Version::HTTP_10 => "1.0 sealgate",
        _ => "1.1 sealgate",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn head(uri: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn one_host() {
        for (uri, fields, want) in [
            ("/", &[("host", "A.Example:8443")][..], Some("a.example")),
            ("/", &[("host", "a.example.")], Some("a.example")),
            ("/", &[("host", "[::1]:8443")], Some("[::1]")),
            ("https://a.example/", &[("host", "a.example")], Some("a.example")),
            ("https://a.example/", &[("host", "b.example")], None),
            ("/", &[("host", "a.example"), ("host", "a.example")], None),
            ("/", &[("host", "user@a.example")], None),
            ("/", &[("host", "a example")], None),
            ("/", &[("host", "a.example,b.example")], None),
            ("/", &[("host", "a.example:x")], None),
            ("/", &[("host", "a.example:+80")], None),
            ("/", &[("host", "a.example:65536")], None),
            ("/", &[("host", "[::x]")], None),
            ("/", &[("host", "")], None),
            ("/", &[], None),
            ("https://a.example/", &[], None),
            ("ftp://a.example/", &[("host", "a.example")], None),
        ] {
            assert_eq!(host(&head(uri, fields)).ok().as_deref(), want, "{uri} {fields:?}");
        }
        let mut over_http2 = head("https://a.example/", &[]);
        over_http2.version = Version::HTTP_2;
        assert_eq!(host(&over_http2).unwrap(), "a.example");
    }

    #[test]
    fn what_only_the_gate_may_say_is_taken_out_in_every_spelling() {
        let mut head = head(
            "https://a.example/x?y=z",
            &[
                ("x-forwarded-for", "6.6.6.6"),
                ("X_Forwarded_For", "6.6.6.6"),
                ("x-forwarded-client-cert", "By=evil"),
                ("x_sealgate_principal", "root"),
                ("forwarded", "for=6.6.6.6"),
                ("connection", "close, x-secret"),
                ("x-secret", "1"),
                ("transfer-encoding", "chunked"),
                ("te", "trailers"),
                ("upgrade", "h2c"),
                ("traceparent", "00-00000000000000000000000000000000-b7ad6b7169203331-01"),
                ("tracestate", "a=b"),
                ("range", "bytes=0-1"),
                ("via", "1.1 other"),
                ("accept", "application/json"),
            ],
        );
        let via = Via { client: IpAddr::from([127, 0, 0, 1]), request_id: "id", certificate: None, identity: None };
        to_upstream(&mut head, &via, true).unwrap();
        let mut left: Vec<String> =
            head.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        left.sort();
        assert_eq!(
            left,
            [
                "accept-encoding: identity",
                "accept: application/json",
                "host: a.example",
                "via: 1.1 other",
                "via: 1.1 sealgate",
                "x-forwarded-for: 127.0.0.1",
                "x-forwarded-host: a.example",
                "x-forwarded-proto: https",
                "x-request-id: id",
            ]
        );
        assert_eq!(head.uri, "/x?y=z");
    }

    #[test]
    fn a_valid_trace_goes_on() {
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(is_traceparent(trace.as_bytes()));
        for bad in [
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "",
        ] {
            assert!(!is_traceparent(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn only_ids_are_taken_for_ids() {
        for (text, good) in [
            ("018f6b2e-7c1a-7a3b-8c4d-5e6f708192a3", true),
            ("0af7651916cd43dd8448eb211c80319c", true),
            ("999-12-3456", false),
            ("Chalmers", false),
            ("", false),
        ] {
            let head = head("/", &[("x-request-id", text)]);
            assert_eq!(request_id(&head.headers).is_some(), good, "{text}");
        }
    }
}
