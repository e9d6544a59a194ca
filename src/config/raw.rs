//! The config file as written. Unknown keys are refused; numbers carry their unit in the key's name.

mod bearer;
mod keyring;
mod policy;
mod routes;

pub use bearer::*;
pub use keyring::*;
pub use policy::*;
pub use routes::*;

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
    /// Whose bearer tokens say who the user behind a client is.
    pub bearer: Option<Bearer>,
    /// How upstreams can be sure that it was the gate that told them who the client is.
    pub identity_token: Option<IdentityToken>,
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
    /// Load balancers that say whose connection they pass on.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Sizes, counts and times.
    #[serde(default)]
    pub limits: Limits,
    /// What happens between SIGTERM and the end.
    #[serde(default)]
    pub drain: Drain,
}

/// Load balancers that speak the PROXY protocol, version 2.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProxyProtocol {
    /// Their addresses or networks, such as 10.0.0.0/8. From them every connection must begin with its header; from all
    /// others none may.
    #[schemars(length(min = 1))]
    pub from: Vec<String>,
}

/// Certificates of the listener.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file of the server's certificate and its intermediates, the server's first.
    pub certificate_file: String,
    /// PEM file of its private key; not readable by group or others.
    pub key_file: String,
    /// Further certificates, each with its key; a client is shown the first that is for the host that it names in SNI, else
    /// the one above.
    #[serde(default)]
    pub also: Vec<ServerCertificate>,
    /// PEM file of the CAs whose client certificates are taken.
    pub client_ca_file: String,
    /// Files of certificate revocation lists of these CAs, PEM or DER; of several of one CA the newest counts.
    #[serde(default)]
    pub client_crl_files: Vec<String>,
    /// Whether a client must have a certificate. Default required.
    #[serde(default)]
    pub client_certificate: ClientCertificate,
    /// Nobody else gets in, however good the certificate. Default everybody.
    #[serde(default)]
    pub client_allow: Vec<ClientPattern>,
    /// These do not get in.
    #[serde(default)]
    pub client_deny: Vec<ClientPattern>,
    /// SHA-256 of the public keys (SubjectPublicKeyInfo) that clients may have, in base64. Default any.
    #[serde(default)]
    pub client_pins: Vec<String>,
    /// Time for a handshake. Default 10000.
    #[schemars(range(min = 1))]
    pub handshake_timeout_ms: Option<u64>,
}

/// A certificate with its key.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerCertificate {
    /// PEM file of the certificate and its intermediates.
    pub certificate_file: String,
    /// PEM file of its private key; not readable by group or others.
    pub key_file: String,
}

/// Whether a client must have a certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificate {
    /// It must.
    #[default]
    Required,
    /// It may do without. One that it has must be good.
    Optional,
}

/// Certificates, by exactly one kind of name.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientPattern {
    /// A SPIFFE id, or with `/*` at its end all below it.
    pub spiffe: Option<String>,
    /// A DNS name, or with `*.` in front all that have one label more.
    pub dns: Option<String>,
    /// A common name of the subject.
    pub cn: Option<String>,
    /// An organizational unit of the subject.
    pub ou: Option<String>,
}

/// Sizes, counts and times; each has a default.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Open client connections. Default 10000.
    #[schemars(range(min = 1))]
    pub connections_max: Option<usize>,
    /// Of these, those of one address, or of one /64 of IPv6. Default as many.
    #[schemars(range(min = 1))]
    pub connections_per_address_max: Option<usize>,
    /// Handshakes under way at once; as many more wait for a place, half of them of one address. Default 512.
    #[schemars(range(min = 1))]
    pub handshakes_max: Option<usize>,
    /// Of these, those of one address, or of one /64 of IPv6. Default a quarter.
    #[schemars(range(min = 1))]
    pub handshakes_per_address_max: Option<usize>,
    /// Requests of one client in a second, over time; more get 429. Default any number.
    #[schemars(range(min = 1))]
    pub requests_per_second_max: Option<u32>,
    /// How many of these at once after a time of fewer. Default as many as in a second.
    #[schemars(range(min = 1))]
    pub requests_burst_max: Option<u32>,
    /// Bytes of a request's path and query; more get 414. Default 8192.
    #[schemars(range(min = 1))]
    pub target_bytes_max: Option<usize>,
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
    /// Time for a request's head on HTTP/1.1; also how long a connection may be idle. Default 60000.
    #[schemars(range(min = 1))]
    pub header_timeout_ms: Option<u64>,
    /// Time in which a client takes nothing of a response, after which its connection or HTTP/2 stream is cut. Default 60000.
    #[schemars(range(min = 1))]
    pub response_idle_timeout_ms: Option<u64>,
    /// Bytes of a request body on a protected route. Default 1048576.
    #[schemars(range(min = 1))]
    pub body_bytes_max: Option<usize>,
    /// Bytes of a request or response that is judged whole before any of it goes on, on protected routes; what is longer
    /// streams. Default 1048576.
    #[schemars(range(min = 1))]
    pub buffer_bytes_max: Option<usize>,
    /// Bytes of an object that a rule must see whole, such as one with a filter. Default 1048576.
    #[schemars(range(min = 1))]
    pub object_bytes_max: Option<usize>,
    /// Time without a byte of a request body. Default 10000.
    #[schemars(range(min = 1))]
    pub body_idle_timeout_ms: Option<u64>,
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
    /// Address and port. Default 127.0.0.1:9464. It serves /livez, /readyz, /metrics and, from this machine,
    /// POST /keys/purge.
    pub listen: Option<String>,
}

/// Where audit records go.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// Directory of the journal, used by this process alone; made if it is not there.
    pub directory: String,
    /// Directory of the journal of commands that open values or change keys on this machine. Default: that of the gate's
    /// journal with `-operator` behind it.
    pub operator_directory: Option<String>,
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

/// A signed token with every request to an upstream, in the header field `X-Sealgate-Identity`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IdentityToken {
    /// PEM file of a private key on P-256 (PKCS #8); not readable by group or others.
    pub key_file: String,
    /// What the claim `iss` says.
    pub issuer: String,
    /// How long a token is good. Default 60.
    #[schemars(range(min = 1, max = 3600))]
    pub lifetime_s: Option<u64>,
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
