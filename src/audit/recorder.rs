//! Makes events durable and hands out the receipt that proves it.

use super::chain::{EventText, Fault};
use super::event::AuditEvent;
use super::journal::{AppendError, Journal};
use crate::telemetry::names;
use serde::Serialize;
use std::time::Duration;

/// Proof that the event that stands for something is durable. Only [`Recorder::record`] makes one; opening a value for a
/// client takes one.
#[derive(Debug)]
pub struct Receipt(());

/// The event is not durable, so what it stands for must not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("audit event could not be made durable")]
pub struct Unrecorded;

/// Why an event was not recorded.
#[derive(Debug, thiserror::Error)]
enum NotAppended {
    #[error("audit event: {0}")]
    Unfit(#[from] Fault),
    #[error(transparent)]
    Failed(#[from] AppendError),
    #[error("audit journal: not in time")]
    Late,
}

/// Puts events into the journal.
#[derive(Clone)]
pub struct Recorder {
    journal: Journal,
    timeout: Duration,
}

#[derive(Serialize)]
struct Stamped<'a> {
    at: String,
    #[serde(flatten)]
    event: &'a AuditEvent,
}

impl Recorder {
    /// A recorder that waits for the journal for at most `timeout`.
    #[must_use]
    pub const fn new(journal: Journal, timeout: Duration) -> Self {
        Self { journal, timeout }
    }

    /// Waits until the event is durable.
    ///
    /// # Errors
    /// [`Unrecorded`] if that fails or takes longer than the timeout. The event may then still come to be recorded.
    pub async fn record(&self, event: &AuditEvent) -> Result<Receipt, Unrecorded> {
        match self.append(event).await {
            Ok(()) => {
                metrics::counter!(names::AUDIT_RECORDS).increment(1);
                Ok(Receipt(()))
            }
            Err(error) => {
                tracing::error!(%error, "audit event not recorded");
                metrics::counter!(names::AUDIT_FAILURES).increment(1);
                Err(Unrecorded)
            }
        }
    }

    async fn append(&self, event: &AuditEvent) -> Result<(), NotAppended> {
        let text = encode(event)?;
        match tokio::time::timeout(self.timeout, self.journal.append(text)).await {
            Ok(appended) => Ok(appended.map(drop)?),
            Err(_) => Err(NotAppended::Late),
        }
    }

    /// Records an event that nothing waits for, such as that of an exchange whose client has gone.
    pub fn record_detached(&self, event: &AuditEvent) {
        match encode(event) {
            Ok(text) => self.journal.append_detached(text),
            Err(fault) => {
                tracing::error!(%fault, "audit event fits no record and is given up");
                metrics::counter!(names::AUDIT_FAILURES).increment(1);
                self.journal.give_up();
            }
        }
    }

    /// Whether the journal has stopped for good.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.journal.has_ended()
    }

    /// Whether the journal took the last record.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.journal.is_writable()
    }
}

/// The event as it stands in the journal, with the time in it.
///
/// # Errors
/// [`Fault::EventTooLong`], or [`Fault::Event`] for what cannot be written.
pub fn encode(event: &AuditEvent) -> Result<EventText, Fault> {
    // The system's wall clock: an event says when it was, which no monotonic clock does.
    EventText::of(&Stamped { at: jiff::Timestamp::now().to_string(), event })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::chain::EVENT_BYTES_MAX;
    use crate::audit::journal::testing::{recorded, settings};

    #[tokio::test]
    async fn an_event_that_fits_no_record_is_refused_and_a_detached_one_counted() {
        let directory = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(settings(directory.path())).unwrap();
        let recorder = Recorder::new(journal.clone(), Duration::from_secs(60));
        let long = AuditEvent::ConfigRefused { config: "x".repeat(EVENT_BYTES_MAX), problems: Vec::new() };
        assert_eq!(recorder.record(&long).await.unwrap_err(), Unrecorded);
        assert!(recorded(directory.path()).is_empty());
        recorder.record_detached(&long);
        recorder.record(&AuditEvent::GateStopped).await.unwrap();
        journal.close();
        let mut recorded = recorded(directory.path());
        recorded.retain(|event| event.ends_with(br#"{"type":"RecordsMissed","refused":0,"given_up":1}"#));
        assert_eq!(recorded.len(), 1);
    }
}
