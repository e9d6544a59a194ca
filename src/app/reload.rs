//! A changed config while the gate runs: read and checked as a whole, and put in force at once or not at all.

use super::{require_fips, start_fetching, warm};
use crate::audit::AuditEvent;
use crate::config::fixed::Fixed;
use crate::config::{self, Config, Problem, Sources};
use crate::proxy::coverage;
use crate::proxy::live::Live;
use crate::proxy::pace::Pace;
use crate::proxy::vouch::Voucher;
use crate::proxy::{Gate, upstream};
use crate::telemetry::names;
use data_encoding::HEXLOWER;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{MissedTickBehavior, interval};

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How many problems of a config an audit event tells, and how many characters of each.
const PROBLEMS_MAX: usize = 10;
const PROBLEM_CHARACTERS_MAX: usize = 400;

/// Takes over what changes.
pub(super) struct Reloader {
    live: Arc<Live>,
    file: PathBuf,
    /// What was read last, whatever became of it.
    sources: Sources,
    /// The digest of what is in force.
    in_force: [u8; 32],
    fixed: Fixed,
    /// Whether what was read last is bad, and nobody was told yet: the other half of it may be on its way.
    doubtful: bool,
}

/// What became of a reading.
enum Outcome {
    Applied,
    Unchanged,
    Refused(Vec<String>),
}

impl Reloader {
    pub(super) fn new(live: Arc<Live>, file: PathBuf, sources: Sources, fixed: Fixed) -> Self {
        metrics::gauge!(names::CONFIG_CURRENT).set(1);
        let in_force = sources.digest();
        Self { live, file, sources, in_force, fixed, doubtful: false }
    }

    /// Reads again whenever a file has changed, and when it is told to. Goes on until it is dropped.
    pub(super) async fn run(mut self, orders: Arc<Notify>) {
        let mut ticks = interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_ordered = tokio::select! {
                _ = ticks.tick() => false,
                () = orders.notified() => true,
            };
            if is_ordered || self.doubtful || self.has_changed().await {
                self.read(is_ordered).await;
            }
        }
    }

    async fn has_changed(&self) -> bool {
        let sources = self.sources.clone();
        // On a disk that may be slow.
        tokio::task::spawn_blocking(move || sources.have_changed()).await.unwrap_or(false)
    }

    async fn read(&mut self, is_ordered: bool) {
        let file = self.file.clone();
        let Ok((sources, config)) = tokio::task::spawn_blocking(move || config::read(&file)).await else {
            return tracing::error!("config: cannot be read again");
        };
        let outcome = match config {
            Ok(_) if sources.digest() == self.in_force => Outcome::Unchanged,
            Ok(config) => self.apply(config, &sources).await,
            Err(problems) => Outcome::Refused(problems.iter().map(Problem::to_string).collect()),
        };
        // Certificate and key are two files, and whoever writes them one after the other is not to be blamed in between.
        let first_doubt = matches!(outcome, Outcome::Refused(_)) && !is_ordered && !self.doubtful;
        self.doubtful = first_doubt;
        self.sources = sources;
        if !first_doubt {
            self.tell(outcome);
        }
    }

    async fn apply(&mut self, config: Config, sources: &Sources) -> Outcome {
        let fixed = self.fixed.differences(&config.fixed);
        if !fixed.is_empty() {
            let told =
                |name| format!("{name}: takes effect at a start only; restart the gate, or put back what was there");
            return Outcome::Refused(fixed.into_iter().map(told).collect());
        }
        if let Err(error) = require_fips(&config) {
            return Outcome::Refused(vec![error.to_string()]);
        }
        let old = self.live.gate();
        if let Err(error) = warm::more_keys(&old.keys, &old.routes, &config.routes).await {
            return Outcome::Refused(vec![format!("routes: {error}")]);
        }
        let older = config.door.lists.older_than(&old.door.lists);
        if !older.is_empty() {
            let told =
                |issuer| format!("server.tls.client_crl_files: the list of {issuer} is older than the one in force");
            return Outcome::Refused(older.into_iter().map(told).collect());
        }
        let warnings = config.warnings.clone();
        let gate = following(&old, config);
        let event = AuditEvent::ConfigChanged {
            config: HEXLOWER.encode(&sources.config_digest()),
            generation: gate.generation,
        };
        if gate.recorder.record(&event).await.is_err() {
            return Outcome::Refused(vec!["audit: the change cannot be recorded".to_owned()]);
        }
        for warning in &warnings {
            tracing::warn!(%warning, "config");
        }
        coverage::forget(&old.routes);
        self.live.replace(gate);
        self.in_force = sources.digest();
        Outcome::Applied
    }

    fn tell(&self, outcome: Outcome) {
        let gate = self.live.gate();
        let (name, is_current) = match outcome {
            Outcome::Applied => {
                tracing::info!(generation = gate.generation, "config applied");
                ("applied", 1)
            }
            Outcome::Unchanged => {
                tracing::info!(generation = gate.generation, "config unchanged");
                ("unchanged", 1)
            }
            Outcome::Refused(problems) => {
                for problem in &problems {
                    tracing::error!(%problem, "config refused");
                }
                let cut = |problem: &String| problem.chars().take(PROBLEM_CHARACTERS_MAX).collect();
                let problems = problems.iter().take(PROBLEMS_MAX).map(cut).collect();
                let config = HEXLOWER.encode(&self.sources.config_digest());
                gate.recorder.record_detached(&AuditEvent::ConfigRefused { config, problems });
                ("refused", 0)
            }
        };
        metrics::gauge!(names::CONFIG_CURRENT).set(is_current);
        metrics::counter!(names::CONFIG_RELOADS, "outcome" => name).increment(1);
    }
}

/// The gate after `old`: what the config says, with the keys, the journal and the counts of before.
fn following(old: &Gate, config: Config) -> Gate {
    let Config { door, limits, forwarders, upstreams, policy, routes, voucher, bearer, .. } = config;
    let bearer = bearer.map(|bearer| bearer.after(old.bearer.as_ref()));
    start_fetching(bearer.as_ref());
    let kept = |target: Arc<upstream::Target>| {
        let same = old.upstreams.iter().find(|known| known.fingerprint == target.fingerprint);
        same.map_or(target, Arc::clone)
    };
    let (exchanges, key_waits) = if limits.exchanges_max == old.limits.exchanges_max {
        (Arc::clone(&old.exchanges), Arc::clone(&old.key_waits))
    } else {
        (Arc::new(Semaphore::new(limits.exchanges_max)), Arc::new(Semaphore::new(limits.exchanges_max.div_ceil(2))))
    };
    let pace = if limits.rate == old.pace.rate() { Arc::clone(&old.pace) } else { Arc::new(Pace::new(limits.rate)) };
    let is_new = |before: &&Arc<Voucher>| voucher.as_ref().is_none_or(|voucher| voucher.jwk() != before.jwk());
    let before = old.vouchers.iter().find(is_new).filter(|_| voucher.is_some());
    Gate {
        vouchers: voucher.iter().chain(before).cloned().collect(),
        generation: old.generation + 1,
        door,
        exchanges,
        key_waits,
        limits,
        routes,
        policy,
        bearer,
        upstreams: upstreams.into_iter().map(kept).collect(),
        keys: Arc::clone(&old.keys),
        recorder: old.recorder.clone(),
        handshakes: Arc::clone(&old.handshakes),
        limited: Arc::clone(&old.limited),
        pace,
        forwarders,
        crowd: Arc::clone(&old.crowd),
        drain: old.drain.clone(),
    }
}
