//! The config as the program runs on it: parsed, looked up, complete. A value of these types needs no further check.

use super::files::Files;
use super::source::{Places, Problem, key};
use super::{policy, raw, routes};
use crate::keyring::{CacheSettings, aws_kms, local};
use crate::net::{self, ClientIdentity};
use crate::policy::Policy;
use crate::proxy::route::Routes;
use crate::proxy::{Limits, listener, tls, upstream};
use crate::seal::sealer::Budget;
use crate::seal::{CryptoProvider, Scope, crypto};
use crate::telemetry::{LogFormat, LogSettings};
use rustls::ServerConfig;
use rustls_pki_types::ServerName;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Everything that the program runs on.
pub struct Config {
    /// Whether what must not happen in production is allowed.
    pub dev_mode: bool,
    /// The crypto provider.
    pub provider: &'static dyn CryptoProvider,
    /// Where the gate listens.
    pub listener: listener::Settings,
    /// The listener's TLS.
    pub tls: Arc<ServerConfig>,
    /// Sizes, counts and times of the edge.
    pub limits: Limits,
    /// Between SIGTERM and the end.
    pub drain: Drain,
    /// Where probes and metrics are served.
    pub admin: SocketAddr,
    /// Where data keys come from.
    pub keyring: Keyring,
    /// How long and how much they are used.
    pub cache: CacheSettings,
    /// Where audit records go.
    pub audit: Audit,
    /// What is logged.
    pub log: LogSettings,
    /// The services behind the gate.
    pub upstreams: Vec<Arc<upstream::Target>>,
    /// Who may do what.
    pub policy: Policy,
    /// Which requests go where.
    pub routes: Routes,
}

/// Between SIGTERM and the end.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    /// How long to go on while not ready.
    pub delay: Duration,
    /// How long exchanges under way may then take.
    pub timeout: Duration,
}

/// The KEK.
pub enum Keyring {
    /// In a file.
    Local(local::Local),
    /// In AWS KMS.
    AwsKms(aws_kms::Settings),
}

/// Where audit records go.
#[derive(Clone, Debug)]
pub struct Audit {
    /// The journal's directory.
    pub directory: PathBuf,
    /// Bytes of one of its files.
    pub segment_bytes_max: Option<u64>,
    /// How long an exchange waits for its record.
    pub record_timeout: Duration,
}

pub(super) fn check(raw: raw::Config, places: &Places, directory: &Path) -> Result<Config, Vec<Problem>> {
    let mut files = Files { directory, places, problems: Vec::new() };
    let config = build(&mut files, raw);
    let mut problems = files.problems;
    problems.sort_by_key(|problem| (problem.line, problem.column));
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(problems),
    }
}

/// `None` only together with a problem. Every part is checked, whatever is wrong with the others.
fn build(files: &mut Files<'_>, raw: raw::Config) -> Option<Config> {
    let raw::Config {
        scope,
        dev_mode,
        crypto_provider,
        server,
        admin,
        keyring,
        audit,
        log,
        upstreams,
        classes,
        roles,
        principals,
        routes,
    } = raw;
    let provider = self::provider(files, crypto_provider);
    let scope = Scope::parse(&scope).map_err(|error| files.problem("scope", error.to_string())).ok();
    let raw::Server { listen, workers, tls, limits, drain } = server;
    let listen = address(files, "server.listen", &listen);
    let handshake_timeout = ms(tls.handshake_timeout_ms, 10_000);
    let tls = self::tls(files, provider, &tls);
    let admin = address(files, "admin.listen", admin.listen.as_deref().unwrap_or("127.0.0.1:9464"));
    let raw::Keyring { local, aws_kms, cache } = keyring;
    let keyring = self::keyring(files, provider, dev_mode, local, aws_kms);
    let names: Vec<String> = upstreams.keys().cloned().collect();
    let upstreams = self::upstreams(files, provider, upstreams);
    let classes = policy::classes(files, classes);
    let policy = policy::policy(files, &classes, roles, principals);
    let known = routes::Known { scope, upstreams: &names, classes: &classes };
    let routes = routes::routes(files, &known, routes);
    let raw::Audit { directory, segment_bytes_max, record_timeout_ms } = audit;
    Some(Config {
        dev_mode,
        provider,
        listener: listener::Settings { listen: listen?, workers: workers.unwrap_or_else(cores) },
        tls: tls?,
        limits: self::limits(&limits, handshake_timeout),
        drain: Drain { delay: ms(drain.delay_ms, 2_000), timeout: ms(drain.timeout_ms, 25_000) },
        admin: admin?,
        keyring: keyring?,
        cache: self::cache(&cache),
        audit: Audit {
            directory: files.path(&directory),
            segment_bytes_max,
            record_timeout: ms(record_timeout_ms, 5_000),
        },
        log: self::log(&log),
        upstreams: upstreams?,
        policy,
        routes,
    })
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

fn ms(given: Option<u64>, default: u64) -> Duration {
    Duration::from_millis(given.unwrap_or(default))
}

fn provider(files: &mut Files<'_>, raw: Option<raw::CryptoProvider>) -> &'static dyn CryptoProvider {
    let name = match raw {
        None => return crypto::default_provider(),
        Some(raw::CryptoProvider::AwsLcRs) => "aws-lc-rs",
        Some(raw::CryptoProvider::Ring) => "ring",
    };
    let found = crypto::providers().iter().find(|provider| provider.name() == name);
    found.copied().unwrap_or_else(|| {
        files.problem("crypto_provider", format!("this build has no provider {name}"));
        crypto::default_provider()
    })
}

fn address(files: &mut Files<'_>, path: &str, text: &str) -> Option<SocketAddr> {
    let wanted = "wanted address and port, such as 0.0.0.0:8443 or [::]:8443";
    text.parse().map_err(|_| files.problem(path, wanted)).ok()
}

fn tls(files: &mut Files<'_>, provider: &dyn CryptoProvider, raw: &raw::Tls) -> Option<Arc<ServerConfig>> {
    let certificates = files.certificates("server.tls.certificate_file", &raw.certificate_file);
    let key = files.private_key("server.tls.key_file", &raw.key_file);
    let client_cas = files.certificates("server.tls.client_ca_file", &raw.client_ca_file);
    let material = tls::Material { certificates: certificates?, key: key?, client_cas: client_cas? };
    match tls::server_config(provider, material) {
        Ok(config) => Some(config),
        Err(error) => {
            files.problem("server.tls", error.to_string());
            None
        }
    }
}

fn limits(raw: &raw::Limits, handshake_timeout: Duration) -> Limits {
    let defaults = crate::document::json::Limits::default();
    Limits {
        connections_max: raw.connections_max.unwrap_or(10_000),
        exchanges_max: raw.exchanges_max.unwrap_or(1024),
        streams_max: raw.streams_max.unwrap_or(128),
        headers_max: raw.headers_max.unwrap_or(100),
        header_bytes_max: raw.header_bytes_max.unwrap_or(64 << 10),
        handshake_timeout,
        header_timeout: ms(raw.header_timeout_ms, 60_000),
        body_bytes_max: raw.body_bytes_max.unwrap_or(1 << 20),
        body_timeout: ms(raw.body_timeout_ms, 30_000),
        response_bytes_max: raw.response_bytes_max.unwrap_or(8 << 20),
        json: crate::document::json::Limits {
            depth_max: raw.depth_max.unwrap_or(defaults.depth_max),
            value_bytes_max: raw.value_bytes_max.unwrap_or(defaults.value_bytes_max),
            ..defaults
        },
    }
}

fn keyring(
    files: &mut Files<'_>,
    provider: &'static dyn CryptoProvider,
    dev_mode: bool,
    local: Option<raw::LocalKeyring>,
    aws_kms: Option<raw::AwsKms>,
) -> Option<Keyring> {
    match (local, aws_kms) {
        (Some(raw), None) => {
            let path = "keyring.local.key_file";
            let bytes = files.secret(path, &raw.key_file)?;
            let text = std::str::from_utf8(&bytes).unwrap_or_default();
            local::Local::read(provider, text)
                .map_err(|error| files.problem(path, error.to_string()))
                .ok()
                .map(Keyring::Local)
        }
        (None, Some(raw)) => self::aws_kms(files, dev_mode, &raw).map(Keyring::AwsKms),
        _ => {
            files.problem("keyring", "wanted exactly one of local and aws_kms");
            None
        }
    }
}

fn aws_kms(files: &mut Files<'_>, dev_mode: bool, raw: &raw::AwsKms) -> Option<aws_kms::Settings> {
    let arn = aws_kms::KeyArn::parse(&raw.key_arn);
    let arn = arn.map_err(|error| files.problem("keyring.aws_kms.key_arn", error.to_string())).ok();
    let endpoint = "keyring.aws_kms.endpoint_url";
    if let Some(url) = &raw.endpoint_url {
        let uri = url.parse::<http::Uri>().ok().filter(|uri| uri.host().is_some());
        match uri.as_ref().and_then(http::Uri::scheme_str) {
            Some("https") => {}
            Some("http") if dev_mode => {}
            Some("http") => {
                files.problem(endpoint, "an http:// endpoint shows data keys to the network; it needs `dev_mode: true`")
            }
            _ => files.problem(endpoint, "wanted https://host[:port]"),
        }
    }
    let ca_pem = match &raw.ca_file {
        Some(name) => {
            files.certificates("keyring.aws_kms.ca_file", name)?;
            files.public("keyring.aws_kms.ca_file", name)
        }
        None => None,
    };
    Some(aws_kms::Settings { key_arn: arn?, endpoint_url: raw.endpoint_url.clone(), ca_pem })
}

fn cache(raw: &raw::Cache) -> CacheSettings {
    let defaults = CacheSettings::default();
    let seconds = |given: Option<u64>, default| given.map_or(default, Duration::from_secs);
    CacheSettings {
        seal_age_max: seconds(raw.seal_age_max_s, defaults.seal_age_max),
        budget: Budget {
            seals_max: raw.seal_uses_max.unwrap_or(defaults.budget.seals_max),
            bytes_max: raw.seal_bytes_max.unwrap_or(defaults.budget.bytes_max),
        },
        open_age_max: seconds(raw.open_age_max_s, defaults.open_age_max),
        open_entries_max: raw.open_entries_max.unwrap_or(defaults.open_entries_max),
    }
}

fn log(raw: &raw::Log) -> LogSettings {
    LogSettings {
        format: match raw.format {
            Some(raw::LogFormat::Text) => LogFormat::Text,
            Some(raw::LogFormat::Json) | None => LogFormat::Json,
        },
        level: match raw.level {
            Some(raw::LogLevel::Error) => tracing::Level::ERROR,
            Some(raw::LogLevel::Warn) => tracing::Level::WARN,
            Some(raw::LogLevel::Info) | None => tracing::Level::INFO,
            Some(raw::LogLevel::Debug) => tracing::Level::DEBUG,
        },
    }
}

fn upstreams(
    files: &mut Files<'_>,
    provider: &dyn CryptoProvider,
    raw: BTreeMap<String, raw::Upstream>,
) -> Option<Vec<Arc<upstream::Target>>> {
    let all: Vec<_> = raw.into_iter().map(|(name, raw)| upstream(files, provider, &name, &raw)).collect();
    all.into_iter().map(|target| target.map(Arc::new)).collect()
}

fn upstream(
    files: &mut Files<'_>,
    provider: &dyn CryptoProvider,
    name: &str,
    raw: &raw::Upstream,
) -> Option<upstream::Target> {
    let path = key("upstreams", name);
    let uri = raw.url.parse::<http::Uri>().ok();
    let uri = uri.filter(|uri| matches!(uri.path(), "" | "/") && uri.query().is_none() && !raw.url.contains('@'));
    let parts = uri.as_ref().and_then(|uri| Some((uri.scheme_str()?, uri.host()?, uri.port_u16())));
    let (host, port, https) = match parts {
        Some(("http", host, port)) => (host, port.unwrap_or(80), false),
        Some(("https", host, port)) => (host, port.unwrap_or(443), true),
        _ => {
            files.problem(&key(&path, "url"), "wanted http://host:port or https://host:port, without a path");
            return None;
        }
    };
    let host = host.trim_matches(['[', ']']);
    let tls = if https { Some(upstream_tls(files, provider, &path, host, raw)?) } else { None };
    if !https && (raw.ca_file.is_some() || raw.certificate_file.is_some() || raw.key_file.is_some()) {
        files.problem(&path, "certificates have no meaning for an http:// upstream");
    }
    Some(upstream::Target {
        name: name.into(),
        host: host.to_owned(),
        port,
        tls,
        connect_timeout: ms(raw.connect_timeout_ms, 2_000),
        response_timeout: ms(raw.response_timeout_ms, 30_000),
        idle_timeout: ms(raw.idle_timeout_ms, 15_000),
        idle_connections_max: raw.idle_connections_max.unwrap_or(64),
    })
}

fn upstream_tls(
    files: &mut Files<'_>,
    provider: &dyn CryptoProvider,
    path: &str,
    host: &str,
    raw: &raw::Upstream,
) -> Option<(Arc<rustls::ClientConfig>, ServerName<'static>)> {
    let cas = match &raw.ca_file {
        Some(name) => files.certificates(&key(path, "ca_file"), name)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    let identity = match (&raw.certificate_file, &raw.key_file) {
        (Some(certificate), Some(private)) => {
            let certificates = files.certificates(&key(path, "certificate_file"), certificate);
            let key = files.private_key(&key(path, "key_file"), private);
            Some(ClientIdentity { certificates: certificates?, key: key? })
        }
        (None, None) => None,
        _ => {
            files.problem(path, "certificate_file and key_file go together");
            return None;
        }
    };
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| files.problem(&key(path, "url"), "the host is no name that a certificate can have"));
    let config = net::client_config(provider, cas, identity).map_err(|error| files.problem(path, error.to_string()));
    Some((config.ok()?, name.ok()?))
}
