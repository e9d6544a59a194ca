//! `sealgate run`.

use super::{Exit, complain, load};
use crate::app::{self, StartError};
use crate::config::Config;
use crate::keyring::store::StoreError;
use crate::process;
use crate::telemetry::{self, Logging};
use std::io;
use std::path::Path;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub(super) fn run(file: &Path) -> Exit {
    // Before the config: the keys that it names are loaded with it.
    let hardening = process::harden();
    let config = match load(file) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let logging = telemetry::start_logging(config.log);
    hardening.log();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("runtime: {error}\n"));
            return Exit::Failure;
        }
    };
    runtime.block_on(serve(config, &logging))
}

async fn serve(config: Config, logging: &Logging) -> Exit {
    // Before anything is started: from here on no signal ends the gate unasked.
    let mut signals = match Signals::catch() {
        Ok(signals) => signals,
        Err(error) => {
            tracing::error!(%error, "signals");
            return Exit::Failure;
        }
    };
    let started = tokio::select! {
        started = app::start(config, logging.dropped_lines()) => started,
        () = signals.terminated() => return Exit::Ok,
    };
    let running = match started {
        Ok(running) => running,
        Err(error) => {
            tracing::error!(%error, "not started");
            return exit_of(&error);
        }
    };
    tell_supervisor(sd_notify::NotifyState::Ready);
    signals.terminated().await;
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

    /// Waits for SIGTERM or SIGINT. SIGHUP is no reason to end.
    pub(super) async fn terminated(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => {
                    tracing::warn!("SIGHUP: the config is read at the start only; restart to change it");
                }
            }
        }
    }
}
