//! What every command that touches keys or values runs in: a runtime, the user as whom it runs, and the journal of
//! commands, open before anything is done and held until the end, so that two such commands never overlap.

use super::{Exit, complain, load};
use crate::app::{StartError, journal_settings};
use crate::audit::event::{AuditEvent, Operation};
use crate::audit::journal::{Journal, OpenError};
use crate::audit::{Receipt, Recorder, Unrecorded};
use crate::config::checked::Audit;
use crate::config::{Config, Problem};
use crate::keyring::KeyringError;
use crate::keyring::several::NotAKeyring;
use crate::keyring::store::StoreError;
use crate::policy::Identity;
use crate::process;
use std::path::Path;
use std::time::Duration;
use uuid::Uuid;

/// How long a lock is waited for that another command may hold, and how long from one try to the next.
const PATIENCE: Duration = Duration::from_secs(5);
const TRY_INTERVAL: Duration = Duration::from_millis(100);

/// Why a command did not do what it was asked. The text names no value.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    pub(super) text: String,
}

impl Failure {
    /// It failed, or refuses.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { exit: Exit::Failure, text: text.into() }
    }

    /// The command line asks for what there is not.
    pub(super) fn usage(text: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, text: text.into() }
    }

    fn unavailable(text: impl Into<String>) -> Self {
        Self { exit: Exit::Unavailable, text: text.into() }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { .. } | StoreError::Locked { .. } => Self::unavailable(error.to_string()),
            error => Self::new(error.to_string()),
        }
    }
}

impl From<KeyringError> for Failure {
    fn from(error: KeyringError) -> Self {
        match error {
            KeyringError::Unavailable { .. } | KeyringError::Denied { .. } => Self::unavailable(error.to_string()),
            error => Self::new(error.to_string()),
        }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Store(error) => error.into(),
            StartError::Keyring(error) => error.into(),
            error => Self::new(error.to_string()),
        }
    }
}

impl From<NotAKeyring> for Failure {
    fn from(error: NotAKeyring) -> Self {
        Self::new(error.to_string())
    }
}

impl From<Unrecorded> for Failure {
    fn from(error: Unrecorded) -> Self {
        Self::unavailable(error.to_string())
    }
}

/// Runs a command to its end, with its memory kept to itself before the first key is loaded.
pub(super) fn run(work: impl Future<Output = Result<Exit, Failure>>) -> Exit {
    let _unlogged = process::harden();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("runtime: {error}\n"));
            return Exit::Failure;
        }
    };
    let done = runtime.block_on(work);
    // A thread may still wait for input that nobody reads any more.
    runtime.shutdown_background();
    done.unwrap_or_else(|Failure { exit, text }| {
        if !text.is_empty() {
            complain(&format!("{text}\n"));
        }
        exit
    })
}

/// Loads a config; what is wrong with it has been said when this fails.
pub(super) fn config(file: &Path) -> Result<Config, Failure> {
    load(file).map_err(said)
}

/// The same where the keyset file may still have to be made.
pub(super) fn config_before_keys(file: &Path) -> Result<Config, Failure> {
    crate::config::load_before_keys(file).map_err(|problems: Vec<Problem>| said(super::tell(file, &problems)))
}

const fn said(exit: Exit) -> Failure {
    Failure { exit, text: String::new() }
}

/// Tries again while another command has the lock.
pub(super) async fn patiently<T, E>(
    mut act: impl AsyncFnMut() -> Result<T, E>,
    locked: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        match act().await {
            Err(error) if locked(&error) && tokio::time::Instant::now() < until => {
                tokio::time::sleep(TRY_INTERVAL).await;
            }
            result => return result,
        }
    }
}

/// A command under way.
pub(super) struct Session {
    /// Shared by all its records.
    pub(super) operation: Uuid,
    /// The real user id of who called it.
    pub(super) uid: u32,
    recorder: Recorder,
}

impl Session {
    /// Opens the journal of commands, and waits a while for another one that has it.
    pub(super) async fn open(audit: &Audit) -> Result<Self, Failure> {
        let settings = || journal_settings(&audit.operator_directory, audit.segment_bytes_max);
        let locked = |error: &OpenError| matches!(error, OpenError::Locked { .. });
        let opened = patiently(async || Journal::open(settings()), locked).await;
        let (journal, recovered) = opened.map_err(|error| Failure::unavailable(error.to_string()))?;
        let uid = rustix::process::getuid().as_raw();
        let session = Self { operation: Uuid::now_v7(), uid, recorder: Recorder::new(journal, audit.record_timeout) };
        if recovered.torn_bytes > 0 {
            session.record(&AuditEvent::JournalRecovered { torn_bytes: recovered.torn_bytes }).await?;
        }
        Ok(session)
    }

    /// Who called it.
    pub(super) const fn identity(&self) -> Identity {
        Identity::Uid(self.uid)
    }

    /// The record of a command that opens or seals, with nothing done yet.
    pub(super) fn operation(&self, command: &'static str, reason: String) -> Operation {
        Operation {
            operation: self.operation,
            command,
            uid: self.uid,
            principal: None,
            roles: Vec::new(),
            reason,
            scope: None,
            fields: Vec::new(),
            keys: Vec::new(),
            keys_omitted: 0,
            code: None,
            cause: None,
            kms_request_id: None,
        }
    }

    /// Waits until the event is durable.
    pub(super) async fn record(&self, event: &AuditEvent) -> Result<Receipt, Failure> {
        Ok(self.recorder.record(event).await?)
    }
}
