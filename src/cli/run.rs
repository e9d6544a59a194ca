//! `sealgate run`.

use super::{Exit, complain, load};
use crate::app::{self, StartError};
use crate::telemetry;
use std::io;
use std::path::Path;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub(super) fn run(file: &Path) -> Exit {
    let config = match load(file) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    telemetry::start_logging(config.log);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("runtime: {error}\n"));
            return Exit::Failure;
        }
    };
    runtime.block_on(async {
        let running = match app::start(config).await {
            Ok(running) => running,
            Err(error) => {
                tracing::error!(%error, "not started");
                return exit_of(&error);
            }
        };
        tell_supervisor(sd_notify::NotifyState::Ready);
        if let Err(error) = terminated().await {
            tracing::error!(%error, "signals");
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
            _ = terminated() => {
                tracing::warn!("second signal: stopped at once");
                Exit::Failure
            }
        }
    })
}

fn exit_of(error: &StartError) -> Exit {
    match error {
        StartError::Keyring(_) | StartError::Journal(_) | StartError::Unrecorded => Exit::Unavailable,
        _ => Exit::Failure,
    }
}

/// Says to systemd how it stands; there may be none.
fn tell_supervisor(state: sd_notify::NotifyState<'_>) {
    drop(sd_notify::notify(&[state]));
}

/// Waits for SIGTERM or SIGINT. SIGHUP is no reason to end.
pub(super) async fn terminated() -> io::Result<()> {
    let on = |kind| -> io::Result<Signal> { signal(kind) };
    let (mut term, mut int, mut hup) =
        (on(SignalKind::terminate())?, on(SignalKind::interrupt())?, on(SignalKind::hangup())?);
    loop {
        tokio::select! {
            _ = term.recv() => return Ok(()),
            _ = int.recv() => return Ok(()),
            _ = hup.recv() => tracing::warn!("SIGHUP: the config is read at the start only; restart to change it"),
        }
    }
}
