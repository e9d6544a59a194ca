//! The config file as written. Unknown keys are refused; numbers carry their unit in the key's name.

use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The whole file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Whose data the routes serve unless they say otherwise: an opaque id of 1 to 16 of [A-Za-z0-9_-], never PHI. It
    /// stands in every token and in the KMS log.
    pub scope: String,
    /// Allows what must not happen in production: a KMS endpoint without TLS. Said loudly at every start.
    #[serde(default)]
    pub dev_mode: bool,
    /// The library that does the cryptography; the build's default if absent.
    pub crypto_provider: Option<CryptoProvider>,
    /// The TLS listener.
    pub server: Server,
    /// The plain-HTTP listener for probes and metrics.
    #[serde(default)]
    pub admin: Admin,
    /// Where data keys come from.
    pub keyring: Keyring,
    /// Where audit records go.
    pub audit: Audit,
    /// What is logged, on standard error.
    #[serde(default)]
    pub log: Log,
    /// The services behind the gate, by name.
    pub upstreams: BTreeMap<String, Upstream>,
    /// The kinds of PHI, by name (1 to 16 of [A-Za-z0-9_-]).
    #[serde(default)]
    pub classes: BTreeMap<String, Class>,
    /// What each role may see and write, by name.
    pub roles: BTreeMap<String, Role>,
    /// Which certificate has which roles.
    pub principals: Vec<Principal>,
    /// Which requests go where, under which rules.
    pub routes: Vec<Route>,
}

/// A crypto provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum CryptoProvider {
    /// aws-lc-rs.
    #[serde(rename = "aws-lc-rs")]
    AwsLcRs,
    /// ring.
    #[serde(rename = "ring")]
    Ring,
}

/// The TLS listener.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Address and port, such as `0.0.0.0:8443` or `[::]:8443`.
    pub listen: String,
    /// Worker threads, each with its own listener; one for each core if absent.
    #[schemars(range(min = 1, max = 1024))]
    pub workers: Option<usize>,
    /// Certificates.
    pub tls: Tls,
    /// Sizes, counts and times.
    #[serde(default)]
    pub limits: Limits,
    /// What happens between SIGTERM and the end.
    #[serde(default)]
    pub drain: Drain,
}

/// Certificates of the listener.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file of the server's certificate and its intermediates, the server's first.
    pub certificate_file: String,
    /// PEM file of its private key; not readable by group or others.
    pub key_file: String,
    /// PEM file of the CAs whose client certificates are taken.
    pub client_ca_file: String,
    /// Time for a handshake. Default 10000.
    #[schemars(range(min = 1))]
    pub handshake_timeout_ms: Option<u64>,
}

/// Sizes, counts and times; each has a default.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Open client connections. Default 10000.
    #[schemars(range(min = 1))]
    pub connections_max: Option<usize>,
    /// Exchanges under way at once; more get 503. Default 1024.
    #[schemars(range(min = 1))]
    pub exchanges_max: Option<usize>,
    /// HTTP/2 streams on one connection. Default 128.
    #[schemars(range(min = 1))]
    pub streams_max: Option<u32>,
    /// Header fields of a request. Default 100.
    #[schemars(range(min = 1))]
    pub headers_max: Option<usize>,
    /// Bytes of a request's head. Default 65536.
    #[schemars(range(min = 8192))]
    pub header_bytes_max: Option<usize>,
    /// Time for a request's head on HTTP/1.1, also the idle time between requests. Default 60000.
    #[schemars(range(min = 1))]
    pub header_timeout_ms: Option<u64>,
    /// Bytes of a request body on a protected route. Default 1048576.
    #[schemars(range(min = 1))]
    pub body_bytes_max: Option<usize>,
    /// Time for a request body. Default 30000.
    #[schemars(range(min = 1))]
    pub body_timeout_ms: Option<u64>,
    /// Bytes of an upstream's response body on a protected route. Default 8388608.
    #[schemars(range(min = 1))]
    pub response_bytes_max: Option<usize>,
    /// Bytes of one ruled value. Default 1048576.
    #[schemars(range(min = 1))]
    pub value_bytes_max: Option<usize>,
    /// How deep a JSON body may nest. Default 128.
    #[schemars(range(min = 1, max = 10000))]
    pub depth_max: Option<usize>,
}

/// Between SIGTERM and the end.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// How long to go on accepting while /readyz says no, so that load balancers notice. Default 2000.
    pub delay_ms: Option<u64>,
    /// How long exchanges under way may then take. Default 25000.
    pub timeout_ms: Option<u64>,
}

/// The admin listener.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// Address and port. Default 127.0.0.1:9464. It serves /livez, /readyz and /metrics and nothing else.
    pub listen: Option<String>,
}

/// Exactly one of `local` and `aws_kms`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Keyring {
    /// A KEK in a file: for development. Whoever reads the file opens everything.
    pub local: Option<LocalKeyring>,
    /// A KEK in AWS KMS.
    pub aws_kms: Option<AwsKms>,
    /// How long and how much data keys are used.
    #[serde(default)]
    pub cache: Cache,
}

/// A KEK in a file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalKeyring {
    /// File with the base64 of 32 random bytes; not readable by group or others.
    pub key_file: String,
}

/// A KEK in AWS KMS. Credentials are found as every AWS SDK does (environment, profile, IRSA, Pod Identity, instance).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AwsKms {
    /// ARN of a symmetric key; not an alias.
    pub key_arn: String,
    /// Endpoint, such as that of a VPC endpoint; the region's public one if absent. http:// needs dev_mode.
    pub endpoint_url: Option<String>,
    /// PEM file of the CAs that vouch for the endpoint, instead of the system's.
    pub ca_file: Option<String>,
}

/// How long and how much data keys are used.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    /// How long one data key seals, counted from when it was made. Default 86400.
    #[schemars(range(min = 1, max = 86400))]
    pub seal_age_max_s: Option<u64>,
    /// How many values one data key seals. Default 16777216.
    #[schemars(range(min = 1, max = 4_294_967_296_u64))]
    pub seal_uses_max: Option<u64>,
    /// How many bytes one data key seals; at least server.limits.value_bytes_max. Default 1073741824.
    #[schemars(range(min = 1))]
    pub seal_bytes_max: Option<u64>,
    /// How long a data key seals, a tenth more or less, without KMS having unwrapped it once more. A key disabled in KMS
    /// seals nothing after it. Default 300.
    #[schemars(range(min = 1, max = 86400))]
    pub confirm_interval_s: Option<u64>,
    /// How long an unwrapped data key opens, from when it was unwrapped. A key disabled in KMS opens nothing after it.
    /// Default 300.
    #[schemars(range(min = 1, max = 86400))]
    pub open_age_max_s: Option<u64>,
    /// How many unwrapped data keys are kept. Default 10000.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub open_entries_max: Option<u64>,
    /// How much longer keys are used while KMS or the key store gives no answer; every use is on record and counted. A
    /// key that KMS denies is never used longer. Default 0.
    #[schemars(range(max = 3600))]
    pub stale_if_error_s: Option<u64>,
}

/// Where audit records go.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// Directory of the journal, used by this process alone; made if it is not there.
    pub directory: String,
    /// Bytes of one file of the journal. Default 268435456.
    #[schemars(range(min = 65536))]
    pub segment_bytes_max: Option<u64>,
    /// How long an exchange waits for its record before it is refused. Default 5000.
    #[schemars(range(min = 1))]
    pub record_timeout_ms: Option<u64>,
}

/// What is logged.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// Default json.
    pub format: Option<LogFormat>,
    /// Default info.
    pub level: Option<LogLevel>,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// The least severe level that is logged.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Errors alone.
    Error,
    /// And warnings.
    Warn,
    /// And what happens.
    Info,
    /// And how.
    Debug,
}

/// A service behind the gate.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// `http://host:port` or `https://host:port`, without a path.
    pub url: String,
    /// https: PEM file of the CAs that vouch for it, instead of the system's.
    pub ca_file: Option<String>,
    /// https: PEM file of the gate's own client certificate.
    pub certificate_file: Option<String>,
    /// https: PEM file of its private key.
    pub key_file: Option<String>,
    /// Time to connect, with TLS. Default 2000.
    #[schemars(range(min = 1))]
    pub connect_timeout_ms: Option<u64>,
    /// Time until the response's head, and again for its body on a protected route. Default 30000.
    #[schemars(range(min = 1))]
    pub response_timeout_ms: Option<u64>,
    /// How long a connection is kept unused; below the upstream's own limit. Default 15000.
    #[schemars(range(min = 1))]
    pub idle_timeout_ms: Option<u64>,
    /// How many connections each worker keeps unused. Default 64.
    pub idle_connections_max: Option<usize>,
}

/// A kind of PHI, and how its values are sealed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// What a masked value still shows; nothing if absent.
    pub mask: Option<Mask>,
    /// Default random.
    pub suite: Option<Suite>,
    /// Suite random: where the encrypted data key is. Default inline; stored makes short tokens and needs keyring.store.
    pub placement: Option<Placement>,
    /// Suites random and deterministic: hides lengths by padding to a multiple of so many bytes. Default 0, not padded.
    #[schemars(range(max = 65536))]
    pub pad_bytes: Option<usize>,
    /// Suite deterministic: the JSON type of its values; any other is refused. Default text.
    #[serde(rename = "type")]
    pub kind: Option<ValueType>,
    /// Suite deterministic: values are sealed in lower case, and come back so.
    pub fold_case: Option<bool>,
    /// Suite deterministic: values are sealed in Unicode's normal form C, and come back so.
    pub normalize: Option<bool>,
    /// Suite format: what its values are made of.
    pub alphabet: Option<Alphabet>,
    /// Suite format: said aloud where there are fewer than a million values, as of dates.
    pub accept_small_domain: Option<bool>,
}

/// How values are sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Suite {
    /// Another token each time.
    Random,
    /// The same token for the same value, which shows that they are equal.
    Deterministic,
    /// A text of the same format. Not authenticated, not recognisable.
    Format,
}

/// Where encrypted data keys are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// In the token.
    Inline,
    /// In the key store.
    Stored,
}

/// The JSON type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ValueType {
    /// A string.
    Text,
    /// A number, as it is spelled.
    Number,
}

/// What the values of a format are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Alphabet {
    /// `0-9`, at least 6 of them.
    Digits,
    /// `0-9A-Z`, at least 4.
    Uppercase,
    /// `0-9A-Za-z`, at least 4.
    Alphanumeric,
    /// A day from 1900 to 2099, year first.
    Date,
    /// Month, day, year.
    DateMonthFirst,
    /// Day, month, year.
    DateDayFirst,
}

/// What a masked value still shows, unless that were half of it or more.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mask {
    /// Letters and digits at the start.
    #[serde(default)]
    pub keep_first: usize,
    /// Letters and digits at the end.
    #[serde(default)]
    pub keep_last: usize,
}

/// How a value is shown.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum View {
    /// As it was sealed.
    Plain,
    /// Partly hidden, as its class says.
    Mask,
    /// As the fixed text `[REDACTED]`.
    Redact,
    /// As the token.
    Sealed,
    /// Not at all: exchanges on routes with such a class are refused.
    Deny,
}

/// What a role may see and write.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// View of every class that `views` does not name. If absent, the role says nothing of them, which denies them.
    pub default_view: Option<View>,
    /// View by class.
    #[serde(default)]
    pub views: BTreeMap<String, View>,
    /// Classes that may be written although their view is not plain.
    #[serde(default)]
    pub writes: Vec<String>,
    /// Whether the role may not write at all.
    #[serde(default)]
    pub read_only: bool,
}

/// Who has which roles. Exactly one of `spiffe`, `dns` and `subject`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Principal {
    /// The certificate's SPIFFE id.
    pub spiffe: Option<String>,
    /// The certificate's DNS name.
    pub dns: Option<String>,
    /// The subject of a certificate that has neither, as `openssl x509 -noout -subject -nameopt RFC2253` shows it: the
    /// most specific part first, such as CN=billing,O=Clinic,C=US.
    pub subject: Option<String>,
    /// Names of roles; of those that speak of a class, the first decides.
    #[schemars(length(min = 1))]
    pub roles: Vec<String>,
    /// Scopes that it may act in. Default: the scope at the top, and no other.
    #[schemars(length(min = 1))]
    pub scopes: Option<Vec<String>>,
}

/// Which requests go where, under which rules.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Its name in audit events, metrics and logs.
    pub name: String,
    /// The host that it is for: a name or an IP address, without port and final dot; every host if absent.
    pub host: Option<String>,
    /// Path template: `/fhir/Patient/{id}`. `{name}` stands for one segment, `{name*}` at the end for one or more.
    pub path: String,
    /// Methods.
    #[schemars(length(min = 1))]
    pub methods: Vec<String>,
    /// Name of the upstream.
    pub upstream: String,
    /// Whose data it is, if not the scope at the top.
    pub scope: Option<String>,
    /// Where the request says whose data it is; instead of `scope`.
    pub scope_from: Option<ScopeFrom>,
    /// Name of the path parameter that the audit event shows as the record that the exchange is about.
    pub record: Option<String>,
    /// Query parameters that may pass. On a protected route every other one is refused, for it may hold PHI.
    #[serde(default)]
    pub query_allowed: Vec<String>,
    /// Said aloud on a route without rules: bodies pass unread.
    pub protect: Option<Protect>,
    /// What to do with a ruled value that the upstream has in the clear. Default refuse.
    pub unsealed: Option<Unsealed>,
    /// Where tokens in responses are opened. Default rules.
    pub open: Option<Open>,
    /// Which values are sealed, and as what.
    #[serde(default)]
    pub rules: Vec<Rule>,
}

/// Where a request says whose data it is. Exactly one of them; the caller's principal must have the scope.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScopeFrom {
    /// Name of a path parameter.
    pub parameter: Option<String>,
    /// Name of a header field.
    pub header: Option<String>,
    /// `true`: the one scope of the caller's principal.
    pub identity: Option<bool>,
}

/// Where tokens in responses are opened.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Open {
    /// Where a rule of their class stands.
    Rules,
    /// Wherever a string is one, in the caller's view of its class.
    Anywhere,
}

/// The only thing to say is `none`.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protect {
    /// Bodies pass unread.
    None,
}

/// What to do with a ruled value that the upstream has in the clear.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unsealed {
    /// Answer 502.
    Refuse,
    /// Show it in the caller's view and count it: for records from before the gate.
    Show,
}

/// Which value is sealed, and as what.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Where it stands: a subset of RFC 9535 with members, `*`, indices and `..`, such as `$.name[*].family`.
    pub path: String,
    /// Its class.
    pub class: String,
    /// What else the token is bound to, by a name of your choice: it opens only where all of it is the same again. Not for
    /// deterministic and format classes.
    #[serde(default)]
    pub bind: BTreeMap<String, Bind>,
    /// What to do with a token that cannot be opened. Default refuse.
    pub on_unopenable: Option<OnUnopenable>,
    /// The column that the application keeps the value in, to be checked when the config is read.
    pub column: Option<Column>,
}

/// A value that a token is bound to. Exactly one of the two.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bind {
    /// Name of a path parameter.
    pub parameter: Option<String>,
    /// Path of a field of the same document, such as `$.id`, or `$.entry[*].resource.id` for the entry that the value stands
    /// in. No rule may seal it.
    pub field: Option<String>,
}

/// What to do with a token that cannot be opened.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnUnopenable {
    /// Answer 502.
    Refuse,
    /// Deliver the rest of the document, with a mark in the token's place.
    Mark,
}

/// A column of the application.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// How many characters it holds.
    #[schemars(range(min = 1))]
    pub characters: usize,
    /// How long the values are at most, in bytes of UTF-8.
    #[schemars(range(min = 1))]
    pub value_bytes: usize,
}
