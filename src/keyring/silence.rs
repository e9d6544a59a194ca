//! Which KEKs gave no answer a moment ago. Those are asked last: one that hangs would cost its whole timeout for each key.

use super::KeyringError;
use super::several::Role;
use crate::telemetry::names;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// For how long a KEK that gave no answer is asked after all others.
pub(super) const SILENT_FOR: Duration = Duration::from_secs(10);

/// What is remembered of one KEK.
pub(super) struct Silence {
    kek: Arc<str>,
    role: Role,
    /// Until when; `None` once it answered.
    until: Mutex<Option<Instant>>,
}

impl Silence {
    pub(super) fn new(kek: &Arc<str>, role: Role) -> Self {
        let silence = Self { kek: Arc::clone(kek), role, until: Mutex::new(None) };
        silence.show(false);
        silence
    }

    /// Whether it gave no answer a moment ago.
    pub(super) fn lasts(&self) -> bool {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    /// Notes how a call ends.
    pub(super) async fn note<T>(&self, call: impl Future<Output = Result<T, KeyringError>>) -> Result<T, KeyringError> {
        let result = call.await;
        let silent = match &result {
            Err(KeyringError::Unavailable { .. }) => true,
            // That was for another KEK, or needs a private key that is not here: nobody was asked.
            Err(KeyringError::UnknownKek) => return result,
            _ => false,
        };
        let until = silent.then(|| Instant::now() + SILENT_FOR);
        let before = std::mem::replace(&mut *self.until.lock().unwrap_or_else(PoisonError::into_inner), until);
        if before.is_some() != silent {
            self.show(silent);
            let (kek, role) = (&*self.kek, self.role.as_str());
            match silent {
                true if self.role == Role::Old => tracing::warn!(kek, role, "KEK gives no answer"),
                true => tracing::warn!(kek, role, "KEK gives no answer: no new data key is made until it does"),
                false => tracing::info!(kek, role, "KEK answers again"),
            }
        }
        result
    }

    fn show(&self, silent: bool) {
        let (kek, role) = (self.kek.to_string(), self.role.as_str());
        metrics::gauge!(names::KEK_SILENT, "kek" => kek, "role" => role).set(if silent { 1 } else { 0 });
    }
}
