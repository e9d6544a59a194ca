//! A changed config while the gate runs: read and checked as a whole, and put in force at once or not at all.

use super::{require_fips, start_fetching, warm};
use crate::audit::{AuditEvent, Unrecorded};
use crate::config::fixed::Fixed;
use crate::config::{self, Config, Problem, Sources};
use crate::keyring::KeyringError;
use crate::proxy::coverage;
use crate::proxy::live::Live;
use crate::proxy::pace::Pace;
use crate::proxy::vouch::Voucher;
use crate::proxy::{Gate, upstream};
use crate::telemetry::names;
use data_encoding::HEXLOWER;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How long the disk may take before that is told. Until it is done nothing else is looked at.
const DISK_PATIENCE: Duration = Duration::from_secs(10);

/// How many looks in a row may find another config before it is told that it does not come to rest.
const LOOKS_MAX: u32 = 5;

/// How long a data key is waited for before certificates, CAs, lists and who is let in are taken without it.
const KEYS_PATIENCE: Duration = Duration::from_millis(500);

/// How often what was refused is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

const UNRECORDED: &str = "audit: the change cannot be recorded";
const DOOR_ALONE: &str = "until then only server.tls is taken over";
const HANGS: &str = "the files of the config cannot be read: the disk does not answer";
const RESTLESS: &str = "the files of the config keep changing";
const UNREAD: &str = "the config cannot be read: reading it failed in an unforeseen way";

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
    /// The digest of what was read last and not acted upon: more of it may be on its way.
    unsettled: Option<[u8; 32]>,
    /// How many looks in a row found another config.
    looks: u32,
    /// The digest of what the certificates, CAs and lists in force come from.
    door_in_force: [u8; 32],
    /// Whether lists are in force that are newer than those that were read.
    keeps_lists: bool,
    /// What was told of the last reading, if that was refused, and when.
    refused: Option<(Vec<String>, Instant)>,
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
        Self {
            live,
            file,
            sources,
            in_force,
            fixed,
            unsettled: None,
            looks: 0,
            door_in_force: in_force,
            keeps_lists: false,
            refused: None,
        }
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
            // What was refused may have been so for a reason that passes: a clock, a disk, a KEK.
            let is_due = self.refused.as_ref().is_some_and(|(_, since)| since.elapsed() >= RETRY_INTERVAL);
            if is_ordered || is_due || self.unsettled.is_some() || self.has_changed().await {
                self.read(is_ordered, is_due).await;
            }
        }
    }

    async fn has_changed(&mut self) -> bool {
        let sources = self.sources.clone();
        self.on_disk(move || sources.have_changed()).await.unwrap_or(true)
    }

    /// Runs what waits for the disk elsewhere. One that hangs holds up no revocation unnoticed.
    async fn on_disk<T: Send + 'static>(&mut self, look: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let mut looking = tokio::task::spawn_blocking(look);
        loop {
            match timeout(DISK_PATIENCE, &mut looking).await {
                Ok(looked) => return looked.ok(),
                Err(_) => self.tell(Outcome::Refused(vec![HANGS.to_owned()]), false),
            }
        }
    }

    async fn read(&mut self, is_ordered: bool, is_due: bool) {
        let file = self.file.clone();
        let Some((sources, config)) = self.on_disk(move || config::read(&file)).await else {
            return self.tell(Outcome::Refused(vec![UNREAD.to_owned()]), is_ordered);
        };
        // Certificate and key are two files, and a file may be written in parts: what is read is taken once it stays.
        let (digest, before) = (sources.digest(), self.sources.digest());
        let is_same_config = sources.config_digest() == self.sources.config_digest();
        self.sources = sources;
        if !is_ordered && self.unsettled != Some(digest) && !(is_due && digest == before) {
            self.unsettled = Some(digest);
            self.looks = self.looks.saturating_add(1);
            if self.looks >= LOOKS_MAX {
                let outcome = match config {
                    // The config itself has come to rest, and says who is let in.
                    Ok(config) if is_same_config && require_fips(&config).is_ok() => {
                        self.take_door_alone(&config, vec![format!("{RESTLESS}; {DOOR_ALONE}")]).await
                    }
                    _ => Outcome::Refused(vec![RESTLESS.to_owned()]),
                };
                self.tell(outcome, false);
            }
            return;
        }
        (self.unsettled, self.looks) = (None, 0);
        let outcome = match config {
            Ok(_) if digest == self.in_force && digest == self.door_in_force && !self.keeps_lists => Outcome::Unchanged,
            Ok(config) => self.apply(config).await,
            Err(problems) => Outcome::Refused(problems.iter().map(Problem::to_string).collect()),
        };
        self.tell(outcome, is_ordered);
    }

    async fn apply(&mut self, config: Config) -> Outcome {
        if let Err(error) = require_fips(&config) {
            return Outcome::Refused(vec![error.to_string()]);
        }
        let fixed = self.fixed.differences(&config.fixed);
        if !fixed.is_empty() {
            let told = |name: &&str| {
                format!(
                    "{name}: takes effect at a start only; {DOOR_ALONE}; restart the gate, or put back what was there"
                )
            };
            return self.take_door_alone(&config, fixed.iter().map(told).collect()).await;
        }
        match config.door.after(&self.live.gate().door, config.provider) {
            Ok((_, kept)) if kept.is_empty() => {}
            _ => return self.take_door_alone(&config, Vec::new()).await,
        }
        if let Err(error) = self.bring_keys(&config).await {
            return self.take_door_alone(&config, vec![format!("routes: {error}; {DOOR_ALONE}")]).await;
        }
        let old = self.live.gate();
        let warnings = config.warnings.clone();
        let gate = following(&old, config);
        if self.record(&gate, None).await.is_err() {
            return Outcome::Refused(vec![UNRECORDED.to_owned()]);
        }
        for warning in &warnings {
            tracing::warn!(%warning, "config");
        }
        coverage::forget(&old.routes);
        gate.former_vouchers.iter().for_each(|voucher| voucher.retire());
        self.live.replace(gate);
        self.in_force = self.sources.digest();
        self.door_in_force = self.in_force;
        self.keeps_lists = false;
        Outcome::Applied
    }

    /// Brings the keys that the routes need. A KEK that hangs does not hold up the door.
    async fn bring_keys(&mut self, config: &Config) -> Result<(), KeyringError> {
        let old = self.live.gate();
        let mut bringing = pin!(warm::more_keys(&old.keys, &old.routes, &config.routes));
        if let Ok(brought) = timeout(KEYS_PATIENCE, bringing.as_mut()).await {
            return brought;
        }
        // What became of it the rest of the config will tell.
        let _outcome = self.take_door(config).await;
        metrics::gauge!(names::CONFIG_CURRENT).set(0);
        bringing.await
    }

    /// Of a config that has to wait, certificates, CAs, lists and who is let in are taken all the same: a revocation does not.
    async fn take_door_alone(&mut self, config: &Config, mut problems: Vec<String>) -> Outcome {
        match self.take_door(config).await {
            Ok(kept) => problems.extend(kept),
            Err(problem) => problems = vec![problem],
        }
        Outcome::Refused(problems)
    }

    /// Tells which lists are not taken, since they are older than those in force.
    async fn take_door(&mut self, config: &Config) -> Result<Vec<String>, String> {
        let (digest, old) = (self.sources.digest(), self.live.gate());
        let (door, kept) = config.door.after(&old.door, config.provider).map_err(|error| error.to_string())?;
        self.keeps_lists = !kept.is_empty();
        if digest != self.door_in_force {
            let gate = Gate { generation: old.generation + 1, door, ..Gate::clone(&old) };
            self.record(&gate, Some("server.tls")).await.map_err(|_| UNRECORDED.to_owned())?;
            self.live.replace(gate);
            self.door_in_force = digest;
        }
        let told = |issuer| {
            format!(
                "server.tls.client_crl_files: the list of {issuer} is older than the one in force, which stays; {DOOR_ALONE}"
            )
        };
        Ok(kept.into_iter().map(told).collect())
    }

    async fn record(&self, gate: &Gate, only: Option<&'static str>) -> Result<(), Unrecorded> {
        let event = AuditEvent::ConfigChanged {
            config: HEXLOWER.encode(&self.sources.config_digest()),
            files: HEXLOWER.encode(&self.sources.digest()),
            generation: gate.generation,
            only,
        };
        gate.recorder.record(&event).await.map(drop)
    }

    fn tell(&mut self, outcome: Outcome, is_ordered: bool) {
        let told = self.refused.take();
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
                let is_told = told.is_some_and(|(told, _)| told == problems);
                self.refused = Some((problems.clone(), Instant::now()));
                if is_told && !is_ordered {
                    return;
                }
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
    let is_other = |before: &&Arc<Voucher>| voucher.as_ref().is_none_or(|voucher| voucher.jwk() != before.jwk());
    let before = old.voucher.iter().chain(&old.former_vouchers).filter(is_other);
    Gate {
        former_vouchers: before.filter(|before| before.is_needed()).cloned().collect(),
        voucher,
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
