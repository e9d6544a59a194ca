//! Every metric there is. Labels are closed sets: names from the config and codes from the source, never paths or people.

/// What a metric measures with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Only goes up.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// As scraped.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// One sentence.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($(#[$doc:meta])* $constant:ident = $name:literal, $kind:ident, [$($label:literal),*], $help:literal;)*) => {
        $(#[doc = $help] pub const $constant: &str = $name;)*

        /// All of them, in the order of the documentation.
        pub const ALL: &[Metric] = &[
            $(Metric { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help }),*
        ];
    };
}

metrics! {
    EXCHANGES = "sealgate_exchanges_total", Counter, ["route", "outcome"],
        "Exchanges by route and outcome: answered, refused, failed or abandoned.";
    EXCHANGE_SECONDS = "sealgate_exchange_duration_seconds", Histogram, ["route"],
        "Time from the request's head to the response's head.";
    REFUSALS = "sealgate_refusals_total", Counter, ["code"],
        "Problem responses that the gate itself gave, by error code.";
    FIELDS = "sealgate_fields_total", Counter, ["route", "class", "action"],
        "Ruled values by what was done with them: sealed, plain, masked, redacted, left, unsealed (found in the clear) or unopenable.";
    RULE_VALUES = "sealgate_rule_values_total", Counter, ["route", "rule", "action"],
        "Values in bodies by the rule that they met and what was done with them, as in sealgate_fields_total.";
    RULE_SILENT = "sealgate_rule_silent", Gauge, ["route", "rule"],
        "1 while a rule of the route's own has met nothing in the last 1000 bodies of requests, or 10 times as many as ever came between two; else 0.";
    CONNECTIONS = "sealgate_connections", Gauge, [],
        "Client connections that are open.";
    RESPONSES_UNTAKEN = "sealgate_responses_untaken_total", Counter, [],
        "Client connections and HTTP/2 streams that were cut because their client took nothing of a response.";
    HANDSHAKES_REFUSED = "sealgate_handshakes_refused_total", Counter, ["reason"],
        "TLS handshakes that failed, by reason.";
    CERTIFICATE_EXPIRES = "sealgate_certificate_expires_timestamp_seconds", Gauge, [],
        "When the first of the listener's certificates expires, in seconds since 1970.";
    CRL_EXPIRES = "sealgate_crl_expires_timestamp_seconds", Gauge, [],
        "When the first of the revocation lists in force expires, in seconds since 1970; from then on clients of its CA are refused. Absent without lists.";
    JWKS_FETCHES = "sealgate_jwks_fetches_total", Counter, ["outcome"],
        "Times that the key set of the bearer tokens' issuer was asked for, by outcome: ok, unreachable, timeout, status (not 200) or malformed.";
    JWKS_KEYS = "sealgate_jwks_keys", Gauge, [],
        "Keys of the issuer by which bearer tokens are checked. While it is 0 they get 503. Not there if keys are not fetched.";
    JWKS_AGE = "sealgate_jwks_age_seconds", Gauge, [],
        "Time since they were last fetched.";
    KMS_CALLS = "sealgate_kms_calls_total", Counter, ["operation", "outcome"],
        "Calls to the keyring's KEK by operation and outcome: ok, unavailable, denied or rejected.";
    KMS_SECONDS = "sealgate_kms_call_duration_seconds", Histogram, ["operation"],
        "Time that a call to the keyring's KEK took, with its retries.";
    KEK_SILENT = "sealgate_kek_silent", Gauge, ["kek", "role"],
        "1 while a KEK gave no answer when it was last asked, else 0. Without one of role first or also no new data key is made.";
    KEYS_CACHED = "sealgate_keys_cached", Gauge, ["kind"],
        "Data keys in memory by kind: sealing or opening.";
    KEY_CONFIRMATIONS = "sealgate_key_confirmations_total", Counter, ["kind", "outcome"],
        "Data keys in memory that were asked for again, by kind and outcome: ok, unavailable (it may go on for a while) or dropped.";
    STALE_KEY_USES = "sealgate_stale_key_uses_total", Counter, [],
        "Times that a data key was handed out beyond its time because KEK or key store gave no answer.";
    REVOCATION_BOUND = "sealgate_key_revocation_bound_seconds", Gauge, [],
        "After this time at the latest a data key is out of use that was disabled, denied or revoked.";
    AUDIT_RECORDS = "sealgate_audit_records_total", Counter, [],
        "Audit records made durable.";
    AUDIT_FAILURES = "sealgate_audit_failures_total", Counter, [],
        "Audit records that could not be made durable.";
    LOG_LINES_DROPPED = "sealgate_log_lines_dropped_total", Counter, [],
        "Log lines that were dropped because nobody read them fast enough.";
    CONFIG_RELOADS = "sealgate_config_reloads_total", Counter, ["outcome"],
        "Times that the config was read again, by outcome: applied, unchanged or refused.";
    CONFIG_CURRENT = "sealgate_config_current", Gauge, [],
        "1 while the config that is written is the one in force; 0 once one was refused, until that is mended.";
    READY = "sealgate_ready", Gauge, [],
        "1 while the gate is ready for traffic, else 0.";
    BUILD_INFO = "sealgate_build_info", Gauge, ["version", "crypto_provider", "fips_module"],
        "Always 1; the labels tell what runs.";
}
