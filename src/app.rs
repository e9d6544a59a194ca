//! The composition root: the only file that names every module. From a checked config to a gate that serves.

pub mod keys;
mod reload;
mod warm;

use crate::audit::event::AuditEvent;
use crate::audit::journal::{self, Journal, Recovered, Shortfall};
use crate::audit::recorder::{self, Recorder};
use crate::config::checked::{Audit, Drain};
use crate::config::fixed::Fixed;
use crate::config::{Config, Problem, Sources};
use crate::keyring::several::NotAKeyring;
use crate::keyring::store::{StoreError, postgres};
use crate::keyring::{KeyringError, aws_kms};
use crate::proxy::admin::{self, Health};
use crate::proxy::bearer::Bearer;
use crate::proxy::live::Live;
use crate::proxy::pace::Pace;
use crate::proxy::tls::Door;
use crate::proxy::{Gate, listener};
use crate::seal::CryptoProvider;
use crate::seal::crypto::{fips, sha256};
use crate::telemetry::{self, DroppedLines, names};
use data_encoding::HEXLOWER;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How often failed handshakes are put on record.
const HANDSHAKES_INTERVAL: Duration = Duration::from_secs(1);
/// How often the metrics recorder tidies up.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Why the gate does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A listening socket.
    #[error("{what} {address}: cannot listen: {source}")]
    Listen {
        /// Which.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The audit journal.
    #[error(transparent)]
    Journal(#[from] journal::OpenError),
    /// The first audit record could not be written.
    #[error("audit journal: the first record cannot be written")]
    Unrecorded,
    /// No data key can be had.
    #[error("{0}; without a data key nothing can be sealed")]
    Keyring(#[from] KeyringError),
    /// The client for the KEK's keeper.
    #[error(transparent)]
    Kms(#[from] aws_kms::NoClient),
    /// The KEKs do not go together.
    #[error(transparent)]
    Keks(#[from] NotAKeyring),
    /// The key store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The client for PostgreSQL.
    #[error(transparent)]
    Postgres(#[from] postgres::NoClient),
    /// The client for DynamoDB.
    #[cfg(feature = "dynamodb")]
    #[error(transparent)]
    DynamoDb(#[from] crate::keyring::store::dynamodb::NoClient),
    /// The metrics recorder.
    #[error("metrics: {0}")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
    /// A build for FIPS 140 that would do without its module.
    #[error("{0}: not within the FIPS 140 module, which this build is for")]
    NotFips(&'static str),
    /// A thread or its runtime.
    #[error("worker: {0}")]
    Worker(io::Error),
}

/// A gate that serves.
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where probes and metrics are.
    pub admin_address: SocketAddr,
    health: Arc<Health>,
    journal: Journal,
    drain: Drain,
    /// Cancelled when the drain has taken too long.
    cut: CancellationToken,
    tasks: JoinSet<()>,
    fixed: Fixed,
    reloads: Arc<Notify>,
}

/// Starts the gate on a config that was read from `sources`. Runs on a runtime that goes on until [`Running::drain`] returns: it serves probes, and calls to the
/// KEK run there.
///
/// # Errors
/// [`StartError`]; nothing is left running then.
pub async fn start(config: Config, sources: &Sources, dropped_lines: DroppedLines) -> Result<Running, StartError> {
    require_fips(&config)?;
    let metrics = telemetry::start_metrics()?;
    let Config {
        dev_mode,
        provider,
        listener,
        door,
        limits,
        forwarders,
        drain,
        admin,
        keyring,
        cache,
        audit,
        voucher,
        bearer,
        upstreams,
        policy,
        routes,
        warnings,
        fixed,
        ..
    } = config;
    tell(&warnings, dev_mode);
    let keys = warm::keys(provider, keyring, cache, &routes).await?;
    let (journal, recovered) = open_journal(&audit)?;
    let recorder = Recorder::new(journal.clone(), audit.record_timeout);

    let sockets = listener::bind(listener).map_err(|source| cannot_listen("server.listen", listener.listen, source))?;
    let address = sockets.first().and_then(|socket| socket.local_addr().ok()).unwrap_or(listener.listen);
    let admin_socket = TcpListener::bind(admin).await;
    let admin_socket = admin_socket.map_err(|source| cannot_listen("admin.listen", admin, source))?;
    let admin_address = admin_socket.local_addr().unwrap_or(admin);
    record_start(&recorder, &recovered, sources).await?;
    start_fetching(bearer.as_ref());
    let live = Arc::new(Live::new(Gate {
        generation: 1,
        exchanges: Arc::new(Semaphore::new(limits.exchanges_max)),
        key_waits: Arc::new(Semaphore::new(limits.exchanges_max.div_ceil(2))),
        door,
        pace: Arc::new(Pace::new(limits.rate)),
        limits,
        routes,
        policy,
        voucher,
        former_vouchers: Vec::new(),
        bearer,
        upstreams,
        keys: Arc::new(keys),
        recorder,
        handshakes: Arc::default(),
        limited: Arc::default(),
        forwarders,
        crowd: Arc::default(),
        drain: CancellationToken::new(),
    }));
    let cut = CancellationToken::new();
    let mut workers = Vec::with_capacity(sockets.len());
    for (number, socket) in sockets.into_iter().enumerate() {
        let worker = listener::start(number, socket, Arc::clone(&live), cut.clone());
        workers.push(worker.map_err(StartError::Worker)?);
    }
    let fips_module = tell_build(provider);
    let health = Arc::new(Health { live, workers: Mutex::new(workers), draining: AtomicBool::new(false), metrics });
    metrics::gauge!(names::READY).set(1);
    let tasks = tasks(admin_socket, &health, dropped_lines);
    let crypto_provider = provider.name();
    tracing::info!(%address, admin = %admin_address, workers = listener.workers, crypto_provider, fips_module, "serving");
    Ok(Running { address, admin_address, health, journal, drain, cut, tasks, fixed, reloads: Arc::default() })
}

/// Has an issuer's keys fetched on this runtime, for as long as a gate holds them. Nothing waits for them here: requests that
/// bring no token are served without.
fn start_fetching(bearer: Option<&Bearer>) {
    if let Some(fetched) = bearer.and_then(Bearer::fetched) {
        fetched.start();
    }
}

fn tell(warnings: &[Problem], dev_mode: bool) {
    for warning in warnings {
        tracing::warn!(%warning, "config");
    }
    if dev_mode {
        tracing::warn!("dev_mode is on: this gate must not serve real data");
    }
}

/// Says as a metric what runs; gives the FIPS 140 module, or nothing for none.
fn tell_build(provider: &dyn CryptoProvider) -> &'static str {
    let fips_module = provider.fips_module().unwrap_or_default();
    metrics::gauge!(
        names::BUILD_INFO,
        "version" => env!("CARGO_PKG_VERSION"), "crypto_provider" => provider.name(), "fips_module" => fips_module,
    )
    .set(1);
    fips_module
}

/// In a build for FIPS 140: the module is there, its self-tests passed, and TLS on both sides uses what it approves.
fn require_fips(config: &Config) -> Result<(), StartError> {
    let wanted = |there: bool, what| if there || !fips::REQUIRED { Ok(()) } else { Err(StartError::NotFips(what)) };
    wanted(config.provider.fips_module().is_some(), "crypto provider")?;
    wanted(config.door.server.fips(), "TLS of the listener")?;
    let mut upstreams = config.upstreams.iter().filter_map(|upstream| upstream.tls.as_ref());
    upstreams.try_for_each(|(tls, _)| wanted(tls.fips(), "TLS of an upstream"))?;
    let mut issuer = config.bearer.iter().filter_map(|bearer| bearer.fetched()?.settings().document.tls.as_ref());
    issuer.try_for_each(|(tls, _)| wanted(tls.fips(), "TLS of bearer.jwks_url"))
}

fn tasks(admin_socket: TcpListener, health: &Arc<Health>, dropped_lines: DroppedLines) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(admin::serve(admin_socket, Arc::clone(health)));
    tasks.spawn(flush_handshakes(Arc::clone(health)));
    tasks.spawn(keep_up(Arc::clone(health), dropped_lines));
    let keys = Arc::clone(&health.live.gate().keys);
    tasks.spawn(async move { keys.keep_up().await });
    tasks
}

fn cannot_listen(what: &'static str, address: SocketAddr, source: io::Error) -> StartError {
    StartError::Listen { what, address, source }
}

fn open_journal(audit: &Audit) -> Result<(Journal, Recovered), journal::OpenError> {
    Journal::open(journal_settings(&audit.directory, audit.segment_bytes_max))
}

/// A journal of events in `directory`.
pub(crate) fn journal_settings(directory: &Path, segment_bytes_max: Option<u64>) -> journal::Settings {
    let mut settings = journal::Settings::new(directory, sha256);
    if let Some(bytes) = segment_bytes_max {
        settings.segment_bytes_max = bytes;
    }
    settings.shortfall_event = Arc::new(|missed| {
        let event = AuditEvent::RecordsMissed { refused: missed.refused, given_up: missed.given_up };
        recorder::encode(&event).unwrap_or_else(|_| missed.plain_event())
    });
    settings
}

async fn record_start(recorder: &Recorder, recovered: &Recovered, sources: &Sources) -> Result<(), StartError> {
    let record = async |event| recorder.record(&event).await.map_err(|_| StartError::Unrecorded);
    if recovered.torn_bytes > 0 {
        tracing::warn!(torn_bytes = recovered.torn_bytes, "audit journal: a torn record was set aside");
        record(AuditEvent::JournalRecovered { torn_bytes: recovered.torn_bytes }).await?;
    }
    tracing::info!(head = %recovered.head, "audit journal opened");
    let [config, files] = [sources.config_digest(), sources.digest()].map(|digest| HEXLOWER.encode(&digest));
    record(AuditEvent::GateStarted { version: env!("CARGO_PKG_VERSION"), config, files }).await.map(drop)
}

async fn flush_handshakes(health: Arc<Health>) {
    let mut ticks = tokio::time::interval(HANDSHAKES_INTERVAL);
    loop {
        ticks.tick().await;
        let gate = health.live.gate();
        gate.handshakes.flush(&gate.recorder);
        gate.limited.flush(&gate.recorder);
    }
}

async fn keep_up(health: Arc<Health>, dropped_lines: DroppedLines) {
    let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
    let mut expiry_told = [false; 2];
    loop {
        ticks.tick().await;
        health.metrics.run_upkeep();
        if let Some(fetched) = health.live.gate().bearer.as_ref().and_then(Bearer::fetched) {
            fetched.meter();
        }
        metrics::counter!(names::LOG_LINES_DROPPED).absolute(dropped_lines.count());
        if let Some(why) = health.not_alive() {
            tracing::error!(why, "the gate cannot go on and waits to be restarted");
        }
        metrics::gauge!(names::READY).set(if health.not_ready().is_none() { 1 } else { 0 });
        health.live.gate().pace.tidy();
        watch_expiry(&health.live.gate().door, &mut expiry_told);
    }
}

/// Says when certificates and lists expire, and once that they have.
fn watch_expiry(door: &Door, told: &mut [bool; 2]) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let ends = [
        (
            Some(door.expires),
            names::CERTIFICATE_EXPIRES,
            "a certificate of the listener has expired: clients turn away",
        ),
        (
            door.material.lists.expires(),
            names::CRL_EXPIRES,
            "a revocation list has expired: no client of its CA gets in",
        ),
    ];
    for ((end, metric, message), told) in ends.into_iter().zip(told) {
        let Some(end) = end else { continue };
        // Seconds as a double: exact for a long time to come.
        metrics::gauge!(metric).set(end as f64);
        let has_expired = end < now;
        if has_expired && !*told {
            tracing::error!("{message}");
        }
        *told = has_expired;
    }
}

impl Running {
    /// From now on takes over what changes in the config that was read from `file`, and in the files that it names.
    pub fn follow(&mut self, file: PathBuf, sources: Sources) {
        let reloader = reload::Reloader::new(Arc::clone(&self.health.live), file, sources, self.fixed.clone());
        self.tasks.spawn(reloader.run(Arc::clone(&self.reloads)));
    }

    /// Has the config read again now.
    pub fn reload(&self) {
        self.reloads.notify_one();
    }

    /// Not ready; finish what is under way; put everything on record. Returns when all of it is done or was cut off.
    ///
    /// # Errors
    /// If audit records were lost.
    pub async fn drain(mut self) -> Result<(), Undrained> {
        tracing::info!("draining");
        self.health.draining.store(true, Ordering::Relaxed);
        metrics::gauge!(names::READY).set(0);
        tokio::time::sleep(self.drain.delay).await;
        self.health.live.gate().drain.cancel();
        let workers = self.health.take_workers();
        let joined = tokio::task::spawn_blocking(move || workers.into_iter().for_each(|worker| drop(worker.join())));
        let mut joined = std::pin::pin!(joined);
        if tokio::time::timeout(self.drain.timeout, joined.as_mut()).await.is_err() {
            self.cut.cancel();
            // The workers drop their connections now, and with each its trail, which puts it on record.
            let _ended = joined.await;
        }
        let gate = self.health.live.gate();
        gate.handshakes.flush(&gate.recorder);
        gate.limited.flush(&gate.recorder);
        let stopped = gate.recorder.record(&AuditEvent::GateStopped).await;
        self.tasks.shutdown().await;
        let journal = self.journal.clone();
        let closed = tokio::task::spawn_blocking(move || journal.close()).await;
        tracing::info!(head = %self.journal.head(), "audit journal closed");
        match (stopped, closed) {
            (Ok(_), Ok(closed)) if closed.unrecorded == Shortfall::default() => Ok(()),
            _ => Err(Undrained),
        }
    }
}

/// The gate stopped, but not everything is on record.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("audit records were lost while draining")]
pub struct Undrained;
