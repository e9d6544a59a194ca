//! The config as the program runs on it: parsed, looked up, complete. A value of these types needs no further check.

use super::files::{Files, KeysetFile};
use super::fixed::Fixed;
use super::packs::Packs;
use super::source::{Places, Problem, item, sorted};
use super::sources::Sources;
use super::{bearer, door, keyring, policy, raw, routes, rules, upstreams, warnings};
use crate::keyring::recovery::Recovery;
#[cfg(feature = "dynamodb")]
use crate::keyring::store::dynamodb;
use crate::keyring::store::keyset::Keyset;
use crate::keyring::store::postgres;
use crate::keyring::{CacheSettings, aws_kms, local};
use crate::policy::Policy;
use crate::proxy::bearer::Bearer;
use crate::proxy::forwarder::Forwarders;
use crate::proxy::pace::Rate;
use crate::proxy::route::Routes;
use crate::proxy::rule::{ClassRule, ScopeSource};
use crate::proxy::vouch::Voucher;
use crate::proxy::{Limits, listener, tls, upstream};
use crate::seal::{CryptoProvider, Scope, crypto};
use crate::telemetry::{LogFormat, LogSettings};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
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
    /// The listener's TLS, and which client certificates are taken.
    pub door: tls::Door,
    /// Sizes, counts and times of the edge.
    pub limits: Limits,
    /// Who says whose connection it passes on.
    pub forwarders: Forwarders,
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
    /// What signs for who the client is.
    pub voucher: Option<Arc<Voucher>>,
    /// What checks the bearer tokens of users.
    pub bearer: Option<Bearer>,
    /// The services behind the gate.
    pub upstreams: Vec<Arc<upstream::Target>>,
    /// Every kind of PHI.
    pub classes: Arc<[ClassRule]>,
    /// Who may do what.
    pub policy: Policy,
    /// Which requests go where.
    pub routes: Routes,
    /// What is accepted and should be known.
    pub warnings: Vec<Problem>,
    /// What takes effect at a start only.
    pub fixed: Fixed,
}

/// Between SIGTERM and the end.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    /// How long to go on while not ready.
    pub delay: Duration,
    /// How long exchanges under way may then take.
    pub timeout: Duration,
}

/// Where data keys come from, and where they are kept.
pub struct Keyring {
    /// The KEK that makes them.
    pub first: Kek,
    /// Those that wrap them too.
    pub also: Vec<Kek>,
    /// Those that only open.
    pub old: Vec<Kek>,
    /// Long-lived ones, where there is no store.
    pub keyset: Option<Keyset>,
    /// Where those are.
    pub keyset_path: Option<PathBuf>,
    /// Those that stand in no token.
    pub store: Option<Store>,
}

impl Keyring {
    /// How long the encrypted forms of a data key are, in bytes: one for each KEK that wraps it.
    #[must_use]
    pub fn edk_bytes(&self) -> Vec<usize> {
        [&self.first].into_iter().chain(&self.also).map(Kek::edk_bytes).collect()
    }
}

impl Kek {
    fn edk_bytes(&self) -> usize {
        match self {
            Self::Local(_) => crate::seal::local::EDK_BYTES,
            Self::AwsKms(_) => aws_kms::EDK_BYTES,
            Self::Recovery(recovery) => recovery.edk_bytes(),
        }
    }
}

/// A KEK.
pub enum Kek {
    /// In a file.
    Local(local::Local),
    /// In AWS KMS.
    AwsKms(aws_kms::Settings),
    /// Offline.
    Recovery(Recovery),
}

/// A key store that is still to be opened.
pub enum Store {
    /// A file on this machine.
    File(PathBuf),
    /// A table in PostgreSQL.
    Postgres(postgres::Settings),
    /// A table in DynamoDB.
    #[cfg(feature = "dynamodb")]
    DynamoDb(dynamodb::Settings),
}

/// Where audit records go.
#[derive(Clone, Debug)]
pub struct Audit {
    /// The journal's directory.
    pub directory: PathBuf,
    /// The directory of the journal of commands.
    pub operator_directory: PathBuf,
    /// Bytes of one of its files.
    pub segment_bytes_max: Option<u64>,
    /// How long an exchange waits for its record.
    pub record_timeout: Duration,
}

pub(super) fn check(
    raw: raw::Config,
    places: &Places,
    (directory, keyset, sources): (&Path, KeysetFile, &mut Sources),
) -> Result<Config, Vec<Problem>> {
    let mut files = Files { directory, places, keyset, sources, problems: Vec::new(), warnings: Vec::new() };
    let config = build(&mut files, raw);
    let problems = sorted(files.problems);
    match config {
        Some(config) if problems.is_empty() => Ok(Config { warnings: sorted(files.warnings), ..config }),
        _ => Err(problems),
    }
}

/// `None` only together with a problem, be it of what `places` know as mended. Every part is checked, whatever is wrong with the others.
fn build(files: &mut Files<'_>, raw: raw::Config) -> Option<Config> {
    let mut fixed = Fixed::of(&raw);
    let raw::Config {
        scope,
        dev_mode,
        crypto_provider,
        server,
        admin,
        keyring,
        audit,
        log,
        bearer,
        identity_token,
        upstreams,
        mut classes,
        roles,
        principals,
        routes,
    } = raw;
    let provider = self::provider(files, crypto_provider);
    let scope = Scope::parse(&scope).map_err(|error| files.problem("scope", error.to_string())).ok();
    let admin = address(files, "admin.listen", admin.listen.as_deref().unwrap_or("127.0.0.1:9464"));
    let (edge, limits) = edge(files, provider, server);
    let cache = keyring::cache(files, &keyring.cache, &limits);
    let kept = policy::Kept { store: keyring.store.is_some(), keyset: keyring.keyset_file.is_some() };
    let read_before = files.sources.count();
    let keyring = keyring::keyring(files, keyring::Under { provider, dev_mode }, keyring);
    fixed.add_files(files.sources.digest_from(read_before));
    let names: Vec<String> = upstreams.keys().cloned().collect();
    let upstreams = upstreams::upstreams(files, provider, upstreams);
    let packs = Packs::load(files, &routes, &mut classes);
    let classes = policy::classes(files, classes, kept);
    let voucher = identity_token.map(|raw| voucher(files, provider, &raw));
    let has_bearer = bearer.is_some();
    let bearer = bearer.map(|raw| bearer::bearer(files, (provider, dev_mode), raw, &roles));
    let given = bearer.as_ref().and_then(|bearer| bearer.given.as_ref());
    let policy = policy::policy(files, &classes, roles, principals, (scope, given));
    let edk_bytes = keyring.as_ref().map(Keyring::edk_bytes).unwrap_or_default();
    let scope_bytes = policy.scopes().chain(scope).map(|scope| scope.as_str().len()).max().unwrap_or(1);
    let sizes = rules::Sizes { edk_bytes: &edk_bytes, scope_bytes };
    let known = routes::Known { scope, upstreams: &names, classes: &classes, packs: &packs, has_bearer, sizes };
    let routes = routes::routes(files, &known, routes);
    let asks = routes.iter().any(|route| matches!(route.scope, ScopeSource::Claim(_))) || policy.asks_for_users();
    if has_bearer && !asks {
        warnings::unused_bearer(files);
    }
    let audit = self::audit(files, &audit);
    let Edge { listener, door, forwarders, drain } = edge?;
    Some(Config {
        dev_mode,
        provider,
        listener,
        door,
        limits,
        forwarders,
        drain,
        admin: admin?,
        keyring: keyring?,
        cache,
        audit,
        log: self::log(&log),
        voucher: voucher.map_or(Some(None), |made| made.map(Some))?,
        bearer: bearer.map_or(Some(None), |bearer| bearer.checked.map(Some))?,
        upstreams: upstreams?,
        classes: classes.all(),
        policy,
        routes,
        warnings: Vec::new(),
        fixed,
    })
}

/// What the listener needs besides its limits, which are known in any case.
struct Edge {
    listener: listener::Settings,
    door: tls::Door,
    forwarders: Forwarders,
    drain: Drain,
}

fn edge(files: &mut Files<'_>, provider: &dyn CryptoProvider, raw: raw::Server) -> (Option<Edge>, Limits) {
    let raw::Server { listen, workers, tls, proxy_protocol, limits, drain } = raw;
    let listen = address(files, "server.listen", &listen);
    let door = door::door(files, provider, &tls);
    let limits = self::limits(files, &limits, ms(tls.handshake_timeout_ms, 10_000));
    let forwarders = forwarders(files, proxy_protocol);
    let drain = Drain { delay: ms(drain.delay_ms, 2_000), timeout: ms(drain.timeout_ms, 25_000) };
    let edge = listen.zip(door).zip(forwarders).map(|((listen, door), forwarders)| {
        let listener = listener::Settings { listen, workers: workers.unwrap_or_else(cores) };
        Edge { listener, door, forwarders, drain }
    });
    (edge, limits)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

pub(super) fn ms(given: Option<u64>, default: u64) -> Duration {
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

fn voucher(files: &mut Files<'_>, provider: &dyn CryptoProvider, raw: &raw::IdentityToken) -> Option<Arc<Voucher>> {
    let at = "identity_token.key_file";
    if raw.issuer.is_empty() {
        files.problem("identity_token.issuer", "wanted a text, found nothing");
    }
    let key = files.private_key(at, &raw.key_file)?;
    let lifetime = Duration::from_secs(raw.lifetime_s.unwrap_or(60));
    let made = Voucher::new(provider, &key, &raw.issuer, lifetime);
    made.map(Arc::new).map_err(|error| files.problem(at, error.to_string())).ok()
}

fn forwarders(files: &mut Files<'_>, raw: Option<raw::ProxyProtocol>) -> Option<Forwarders> {
    let mut networks = Some(Vec::new());
    for (index, text) in raw.map(|raw| raw.from).unwrap_or_default().iter().enumerate() {
        match text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from)) {
            Some(network) => networks.iter_mut().for_each(|networks| networks.push(network)),
            None => {
                let wanted = "wanted an address or a network, such as 10.0.0.7 or 10.0.0.0/8";
                files.problem(&item("server.proxy_protocol.from", index), wanted);
                networks = None;
            }
        }
    }
    networks.map(Forwarders)
}

fn rate(files: &mut Files<'_>, raw: &raw::Limits) -> Option<Rate> {
    let burst = raw.requests_burst_max.and_then(NonZeroU32::new);
    let Some(per_second) = raw.requests_per_second_max.and_then(NonZeroU32::new) else {
        if burst.is_some() {
            let (at, needed) = ("server.limits.requests_burst_max", "server.limits.requests_per_second_max");
            files.problem_of(at, &[needed], "has no meaning without requests_per_second_max");
        }
        return None;
    };
    Some(Rate { per_second, burst: burst.unwrap_or(per_second) })
}

fn limits(files: &mut Files<'_>, raw: &raw::Limits, handshake_timeout: Duration) -> Limits {
    let defaults = crate::document::Limits::default();
    let connections_max = raw.connections_max.unwrap_or(10_000);
    let handshakes_max = raw.handshakes_max.unwrap_or(512);
    Limits {
        connections_max,
        connections_per_address_max: raw.connections_per_address_max.unwrap_or(connections_max),
        handshakes_max,
        handshakes_per_address_max: raw.handshakes_per_address_max.unwrap_or(handshakes_max.div_ceil(4)),
        rate: rate(files, raw),
        target_bytes_max: raw.target_bytes_max.unwrap_or(8 << 10),
        body_idle_timeout: ms(raw.body_idle_timeout_ms, 10_000),
        response_idle_timeout: ms(raw.response_idle_timeout_ms, 60_000),
        exchanges_max: raw.exchanges_max.unwrap_or(1024),
        streams_max: raw.streams_max.unwrap_or(128),
        headers_max: raw.headers_max.unwrap_or(100),
        header_bytes_max: raw.header_bytes_max.unwrap_or(64 << 10),
        handshake_timeout,
        header_timeout: ms(raw.header_timeout_ms, 60_000),
        body_bytes_max: raw.body_bytes_max.unwrap_or(1 << 20),
        body_timeout: ms(raw.body_timeout_ms, 30_000),
        response_bytes_max: raw.response_bytes_max.unwrap_or(8 << 20),
        buffer_bytes_max: raw.buffer_bytes_max.unwrap_or(1 << 20),
        document: crate::document::Limits {
            object_bytes_max: raw.object_bytes_max.unwrap_or(defaults.object_bytes_max),
            depth_max: raw.depth_max.unwrap_or(defaults.depth_max),
            value_bytes_max: raw.value_bytes_max.unwrap_or(defaults.value_bytes_max),
            ..defaults
        },
    }
}

fn audit(files: &mut Files<'_>, raw: &raw::Audit) -> Audit {
    let raw::Audit { directory, operator_directory, segment_bytes_max, record_timeout_ms } = raw;
    if directory.is_empty() {
        files.problem("audit.directory", "wanted the name of a directory, found nothing");
    }
    let beside = || format!("{}-operator", directory.trim_end_matches('/'));
    let operator_directory = files.path(&operator_directory.clone().unwrap_or_else(beside));
    if operator_directory == files.path(directory) {
        let (gate, operator) = ("audit.directory", "audit.operator_directory");
        files.problem_of(operator, &[gate, operator], "the gate's own journal, which it locks; name another directory");
    }
    Audit {
        directory: files.path(directory),
        operator_directory,
        segment_bytes_max: *segment_bytes_max,
        record_timeout: ms(*record_timeout_ms, 5_000),
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
