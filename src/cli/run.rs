//! `sealgate run`.

use super::{Exit, complain, tell};
use crate::app::{self, StartError};
use crate::config::checked::Store;
use crate::config::{self, Config, Sources};
use crate::keyring::store::StoreError;
use crate::process;
use crate::telemetry::{self, Logging};
use std::io;
use std::path::{Path, PathBuf};
use tokio::signal::unix::{Signal, SignalKind, signal};

pub(super) fn run(file: &Path) -> Exit {
    // Before the config: the keys that it names are loaded with it.
    let hardening = process::harden();
    let (sources, config) = config::read(file);
    let config = match config {
        Ok(config) => config,
        Err(problems) => return tell(file, &problems),
    };
    let logs = config.log;
    // Before the first thread is started: it holds for those that come after.
    let confinement = process::confine(&writable(&config));
    let logging = telemetry::start_logging(logs);
    hardening.log();
    confinement.log();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("runtime: {error}\n"));
            return Exit::Failure;
        }
    };
    let exit = runtime.block_on(serve(config, (file, sources), &logging));
    // All is on record by now. What still waits for a disk that hangs is not waited for.
    runtime.shutdown_background();
    exit
}

/// Where the gate writes: its journal, and what holds its key store if that is a file, which is rewritten beside itself. What
/// is a link leads there too.
fn writable(config: &Config) -> Vec<PathBuf> {
    let Some(Store::File(file)) = &config.keyring.store else { return vec![config.audit.directory.clone()] };
    let files = [Some(file.clone()), file.canonicalize().ok()];
    let beside = files.iter().flatten().filter_map(|file| file.parent().map(Path::to_owned));
    beside.chain([config.audit.directory.clone()]).collect()
}

async fn serve(config: Config, (file, sources): (&Path, Sources), logging: &Logging) -> Exit {
    // Before anything is started: from here on no signal ends the gate unasked.
    let mut signals = match Signals::catch() {
        Ok(signals) => signals,
        Err(error) => {
            tracing::error!(%error, "signals");
            return Exit::Failure;
        }
    };
    let started = tokio::select! {
        started = app::start(config, &sources, logging.dropped_lines()) => started,
        () = signals.terminated() => return Exit::Ok,
    };
    let mut running = match started {
        Ok(running) => running,
        Err(error) => {
            tracing::error!(%error, "not started");
            return exit_of(&error);
        }
    };
    running.follow(file.to_owned(), sources);
    tell_supervisor(sd_notify::NotifyState::Ready);
    while signals.next().await == Order::Reload {
        running.reload();
    }
    tell_supervisor(sd_notify::NotifyState::Stopping);
    tokio::select! {
        drained = running.drain() => match drained {
            Ok(()) => Exit::Ok,
            Err(error) => {
                tracing::error!(%error, "drained");
                Exit::Failure
            }
        },
        () = signals.terminated() => {
            tracing::warn!("second signal: stopped at once");
            Exit::Failure
        }
    }
}

fn exit_of(error: &StartError) -> Exit {
    match error {
        StartError::Keyring(_)
        | StartError::Store(StoreError::Unavailable { .. } | StoreError::Locked { .. })
        | StartError::Journal(_)
        | StartError::Unrecorded => Exit::Unavailable,
        _ => Exit::Failure,
    }
}

/// Says to systemd how it stands; there may be none.
fn tell_supervisor(state: sd_notify::NotifyState<'_>) {
    drop(sd_notify::notify(&[state]));
}

/// The signals that the program knows, caught from when this is made.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub(super) fn catch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for a signal.
    async fn next(&mut self) -> Order {
        tokio::select! {
            _ = self.terminate.recv() => Order::End,
            _ = self.interrupt.recv() => Order::End,
            _ = self.hangup.recv() => Order::Reload,
        }
    }

    /// Waits for SIGTERM or SIGINT. SIGHUP is no reason to end.
    pub(super) async fn terminated(&mut self) {
        while self.next().await == Order::Reload {}
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// SIGTERM or SIGINT.
    End,
    /// SIGHUP.
    Reload,
}
