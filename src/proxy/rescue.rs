//! The one table from error to status. What the client reads is a code and a fixed sentence; what the log reads is
//! another text. Neither holds a value.

use crate::audit::Unrecorded;
use crate::document::Fault;
use crate::keyring::KeyringError;
use crate::policy::Denied;
use crate::proxy::route::NoRoute;
use crate::seal::format::FormatError;
use crate::seal::{OpenError, ReadError};
use http::StatusCode;
use std::fmt;
use std::sync::Arc;

macro_rules! codes {
    ($($variant:ident = $name:literal, $status:ident, $title:literal;)*) => {
        /// Every code that a problem response of the gate may have. Codes are stable.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = $title] $variant,)*
        }

        impl Code {
            /// All of them, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// As it stands in problem details, audit events and metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The status of the response.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status),* }
            }

            /// One sentence for the client.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),* }
            }
        }
    };
}

codes! {
    RequestMalformed = "request_malformed", BAD_REQUEST, "the request is not well-formed HTTP";
    HostMismatch = "host_mismatch", BAD_REQUEST, "the request names no host, or two";
    TargetTooLong = "target_too_long", URI_TOO_LONG, "the path and query are longer than the gate takes";
    TargetNotCanonical = "target_not_canonical", BAD_REQUEST, "the path is written in a spelling that is not accepted";
    RouteUnknown = "route_unknown", NOT_FOUND, "no route takes this request";
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "the route does not take this method";
    PrincipalUnknown = "principal_unknown", FORBIDDEN, "the certificate names nobody who is known here";
    CertificateNotAccepted = "certificate_not_accepted", FORBIDDEN, "the client certificate is not taken any more";
    BearerMissing = "bearer_missing", UNAUTHORIZED, "the request says by no bearer token who its user is";
    BearerInvalid = "bearer_invalid", UNAUTHORIZED, "the bearer token is not one that is taken here";
    BearerKeysUnavailable = "bearer_keys_unavailable", SERVICE_UNAVAILABLE, "the keys that bearer tokens are checked by are not there";
    UserUnknown = "user_unknown", FORBIDDEN, "the user has no role here";
    ScopeMissing = "scope_missing", BAD_REQUEST, "the request does not say in which scope it acts";
    ScopeDenied = "scope_denied", FORBIDDEN, "the caller may not act in this scope";
    ReadOnly = "read_only", FORBIDDEN, "the caller may not write";
    ClassDenied = "class_denied", FORBIDDEN, "the caller may not see a class of data that this route serves";
    QueryNotAllowed = "query_parameter_not_allowed", BAD_REQUEST, "the route does not let this query parameter pass";
    SearchNotPossible = "search_not_possible", BAD_REQUEST, "a search by this parameter cannot work on sealed values";
    SearchNotAllowed = "search_not_allowed", FORBIDDEN, "the caller may not look for values of this class";
    HeadersTooMany = "headers_too_many", REQUEST_HEADER_FIELDS_TOO_LARGE, "the request has too many header fields";
    HeaderNotAllowed = "header_not_allowed", BAD_REQUEST, "the route does not let this header field pass";
    ContentTypeUnsupported = "content_type_unsupported", UNSUPPORTED_MEDIA_TYPE, "the route takes no body of this type";
    ContentEncodingUnsupported = "content_encoding_unsupported", UNSUPPORTED_MEDIA_TYPE,
        "the content coding is none that is known here";
    BodyInvalid = "body_invalid", BAD_REQUEST, "the body is not valid, or not of the type that it is said to be";
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, "the body, or a part of it, is larger than the route takes";
    BodyTimeout = "body_timeout", REQUEST_TIMEOUT, "the body did not come in time";
    BodyAborted = "body_aborted", BAD_REQUEST, "the body broke off";
    FieldNotWritable = "field_not_writable", UNPROCESSABLE_ENTITY, "the caller may not write this field";
    FieldOverlap = "field_overlap", UNPROCESSABLE_ENTITY, "a field holds a protected field of another class";
    FieldHidden = "field_hidden", UNPROCESSABLE_ENTITY, "a field holds a masked, redacted or unopenable value";
    ValueTypeMismatch = "value_type_mismatch", UNPROCESSABLE_ENTITY, "a value is not of the type of its class";
    ValueFormatMismatch = "value_format_mismatch", UNPROCESSABLE_ENTITY, "a value is not of the format of its class";
    ValueDomainTooSmall = "value_domain_too_small", UNPROCESSABLE_ENTITY, "a value is too short for its format";
    PatchNeedsContext = "patch_needs_context", UNPROCESSABLE_ENTITY,
        "what a patch does to protected values depends on what is not in it";
    PatchNotPossible = "patch_not_possible", UNPROCESSABLE_ENTITY, "a patch cannot compare values that are sealed anew each time";
    ValueNotWritable = "value_not_writable", UNPROCESSABLE_ENTITY,
        "a value, sealed, cannot be written in this format at its place";
    ValueRefused = "value_refused", UNPROCESSABLE_ENTITY, "a rule refuses every value at this place";
    ValueTooLong = "value_too_long", UNPROCESSABLE_ENTITY, "a value is too long, sealed, for the column that keeps it";
    BindMissing = "bind_missing", UNPROCESSABLE_ENTITY, "a value that a field is bound to is not there";
    BindUnusable = "bind_unusable", UNPROCESSABLE_ENTITY,
        "a value that a field is bound to stands there twice, or is no text, number or boolean";
    TokenNotAccepted = "token_not_accepted", UNPROCESSABLE_ENTITY, "a token stands where the caller may not put one";
    TokenNotCanonical = "token_not_canonical", UNPROCESSABLE_ENTITY, "a token is not written as tokens are";
    TokenTruncated = "token_truncated", UNPROCESSABLE_ENTITY, "a token is cut short";
    TokenMalformed = "token_malformed", UNPROCESSABLE_ENTITY, "a token cannot be read";
    TokenVersionUnknown = "token_version_unknown", UNPROCESSABLE_ENTITY, "a token is of an unknown version";
    TokenSuiteUnknown = "token_suite_unknown", UNPROCESSABLE_ENTITY, "a token is of an unknown suite";
    TokenClassMismatch = "token_class_mismatch", UNPROCESSABLE_ENTITY, "a token is of another class than the field";
    TokenScopeMismatch = "token_scope_mismatch", UNPROCESSABLE_ENTITY, "a token is of another scope than the route";
    TokenKeyRejected = "token_key_rejected", UNPROCESSABLE_ENTITY, "a token's data key is not one of ours";
    TokenKeyUnknown = "token_key_unknown", UNPROCESSABLE_ENTITY, "a token's data key is not in the key store";
    TokenKeyRevoked = "token_key_revoked", UNPROCESSABLE_ENTITY, "a token's data key is revoked";
    TokenKeyShredded = "token_key_shredded", UNPROCESSABLE_ENTITY, "a token's data key is shredded";
    TokenUnauthentic = "token_unauthentic", UNPROCESSABLE_ENTITY, "a token does not authenticate";
    KeyUnavailable = "key_unavailable", SERVICE_UNAVAILABLE, "the key service does not answer";
    KeyDenied = "key_denied", SERVICE_UNAVAILABLE, "the key service denies the use of the key";
    KeyMissing = "key_missing", SERVICE_UNAVAILABLE, "no key was made for this yet";
    UpstreamUnreachable = "upstream_unreachable", BAD_GATEWAY, "the upstream cannot be reached";
    UpstreamFailed = "upstream_failed", BAD_GATEWAY, "the upstream broke off";
    UpstreamTimeout = "upstream_timeout", GATEWAY_TIMEOUT, "the upstream did not answer in time";
    ResponseNotUnderstood = "response_not_understood", BAD_GATEWAY, "the upstream's response cannot be understood";
    ResponseTooLarge = "response_too_large", BAD_GATEWAY, "the upstream's response is larger than the route takes";
    ResponseUnsealed = "response_unsealed", BAD_GATEWAY, "the upstream has a protected field in the clear";
    ResponseUnopenable = "response_unopenable", BAD_GATEWAY, "the upstream's response holds a token that does not open";
    AuditUnavailable = "audit_unavailable", SERVICE_UNAVAILABLE, "the audit record cannot be written";
    DoneButUnrecorded = "done_but_unrecorded", INTERNAL_SERVER_ERROR,
        "the request was carried out, but its audit record cannot be written";
    DoneButUnopened = "done_but_unopened", BAD_GATEWAY,
        "the request was carried out, but its response cannot be shown for want of a key";
    RateLimited = "rate_limited", TOO_MANY_REQUESTS, "the client makes more requests in a second than it may";
    Overloaded = "overloaded", SERVICE_UNAVAILABLE, "too many exchanges are under way";
    Internal = "internal", INTERNAL_SERVER_ERROR, "the gate failed";
}

/// A refusal on its way to the client.
#[derive(Debug)]
pub struct Refusal {
    /// What happened.
    pub code: Code,
    /// What more may be told: parts of the config and places in the body, never anything that came with the request.
    pub detail: Option<String>,
    /// What the log and the audit event read besides: public parts of a token, and what the key service said.
    pub cause: Option<String>,
    /// The request id of the KMS call that failed.
    pub kms_request_id: Option<Arc<str>>,
}

impl Refusal {
    /// The same refusal with what the log is to know of it.
    #[must_use]
    pub fn because(self, cause: impl fmt::Display) -> Self {
        Self { cause: Some(cause.to_string()), ..self }
    }

    /// A refusal with something more to tell.
    pub fn with_detail(code: Code, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..Self::from(code) }
    }

    /// The same refusal, of what a rule says to stand at that place.
    pub(super) fn at(self, what: &str, place: &str) -> Self {
        Self { detail: Some(format!("{what} {place}")), ..self }
    }

    /// When the client may try again; not where the upstream may have acted already.
    #[must_use]
    pub const fn retry_after_s(&self, done: bool) -> Option<u32> {
        match self.code {
            Code::KeyUnavailable
            | Code::BearerKeysUnavailable
            | Code::AuditUnavailable
            | Code::Overloaded
            | Code::RateLimited
                if !done =>
            {
                Some(1)
            }
            _ => None,
        }
    }

    /// The same refusal once the upstream has carried out a write: nothing may then invite the client to try again.
    #[must_use]
    pub fn after_write(self) -> Self {
        let code = match self.code {
            Code::AuditUnavailable => Code::DoneButUnrecorded,
            Code::KeyUnavailable | Code::KeyDenied | Code::KeyMissing => Code::DoneButUnopened,
            code => code,
        };
        Self { code, ..self }
    }
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self { code, detail: None, cause: None, kms_request_id: None }
    }
}

impl From<NoRoute> for Refusal {
    fn from(error: NoRoute) -> Self {
        match error {
            NoRoute::Unknown => Code::RouteUnknown.into(),
            NoRoute::Method => Code::MethodNotAllowed.into(),
            NoRoute::Target(why) => Self::with_detail(Code::TargetNotCanonical, why.to_string()),
        }
    }
}

impl From<Denied> for Refusal {
    fn from(error: Denied) -> Self {
        match error {
            Denied::UnknownPrincipal => Code::PrincipalUnknown.into(),
            Denied::NoRole => Code::UserUnknown.into(),
            Denied::Scope(scope) => Self::from(Code::ScopeDenied).because(format!("scope {scope}")),
            Denied::ReadOnly => Code::ReadOnly.into(),
            Denied::Class(class) => Self::with_detail(Code::ClassDenied, format!("class {class}")),
        }
    }
}

impl From<Unrecorded> for Refusal {
    fn from(_: Unrecorded) -> Self {
        Code::AuditUnavailable.into()
    }
}

impl From<FormatError> for Refusal {
    fn from(error: FormatError) -> Self {
        match error {
            FormatError::DomainTooSmall => Code::ValueDomainTooSmall.into(),
            FormatError::Crypto(_) => Code::Internal.into(),
            _ => Code::ValueFormatMismatch.into(),
        }
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        let code = match error {
            ReadError::Spelling => Code::TokenNotCanonical,
            ReadError::Truncated => Code::TokenTruncated,
            ReadError::UnknownVersion(_) => Code::TokenVersionUnknown,
            ReadError::UnknownSuite(_) | ReadError::UnknownPlacement(_) => Code::TokenSuiteUnknown,
            ReadError::Malformed => Code::TokenMalformed,
        };
        code.into()
    }
}

impl From<OpenError> for Refusal {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Commitment => Code::TokenKeyRejected.into(),
            OpenError::Unauthentic | OpenError::Truncated => Code::TokenUnauthentic.into(),
        }
    }
}

impl From<KeyringError> for Refusal {
    fn from(error: KeyringError) -> Self {
        let code = match &error {
            KeyringError::Unavailable { .. } | KeyringError::Store { .. } => Code::KeyUnavailable,
            KeyringError::Denied { .. } => Code::KeyDenied,
            KeyringError::Rejected { .. } | KeyringError::UnknownKek => Code::TokenKeyRejected,
            KeyringError::NoKey { .. } => Code::KeyMissing,
            KeyringError::Revoked { .. } => Code::TokenKeyRevoked,
            KeyringError::Shredded { .. } => Code::TokenKeyShredded,
            KeyringError::UnknownKey { .. } => Code::TokenKeyUnknown,
        };
        Self { kms_request_id: error.request_id(), ..Self::from(code).because(error) }
    }
}

/// How the faults of patches begin that are good patches of documents without rules.
const OF_PATCHES: [&str; 4] = ["patch needs context", "move or copy", "a pointer into", "a patch of"];

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        let code = match fault {
            Fault::TooDeep { .. } | Fault::NameTooLong { .. } | Fault::ValueTooLong { .. } => Code::BodyTooLarge,
            Fault::Unaccepted { what, .. } if OF_PATCHES.iter().any(|start| what.starts_with(start)) => {
                Code::PatchNeedsContext
            }
            _ => Code::BodyInvalid,
        };
        Self::with_detail(code, fault.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_plain() {
        let mut names: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert!(names.iter().all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
    }

    #[test]
    fn nothing_invites_a_retry_after_a_write_was_carried_out() {
        for code in Code::ALL {
            let after = Refusal::from(*code).after_write();
            assert_eq!(after.retry_after_s(true), None, "{code:?}");
            let invites = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS];
            let before_only = [Code::Overloaded, Code::RateLimited, Code::BearerKeysUnavailable];
            assert!(before_only.contains(code) || !invites.contains(&after.code.status()), "{code:?}");
        }
    }
}
