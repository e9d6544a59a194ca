//! Makes events durable and hands out the receipt that proves it.

use super::event::AuditEvent;
use super::journal::Journal;
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
        let appended = match encode(event) {
            Some(line) => tokio::time::timeout(self.timeout, self.journal.append(line)).await.ok(),
            None => None,
        };
        match appended {
            Some(Ok(_)) => {
                metrics::counter!(names::AUDIT_RECORDS).increment(1);
                Ok(Receipt(()))
            }
            Some(Err(error)) => {
                tracing::error!(%error, "audit event not recorded");
                metrics::counter!(names::AUDIT_FAILURES).increment(1);
                Err(Unrecorded)
            }
            None => {
                tracing::error!("audit event not recorded in time");
                metrics::counter!(names::AUDIT_FAILURES).increment(1);
                Err(Unrecorded)
            }
        }
    }

    /// Records an event that nothing waits for, such as that of an exchange whose client has gone.
    pub fn record_detached(&self, event: &AuditEvent) {
        match encode(event) {
            Some(line) => self.journal.append_detached(line),
            None => metrics::counter!(names::AUDIT_FAILURES).increment(1),
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
pub fn encode(event: &AuditEvent) -> Option<Vec<u8>> {
    // The system's wall clock: an event says when it was, which no monotonic clock does.
    serde_json::to_vec(&Stamped { at: jiff::Timestamp::now().to_string(), event }).ok()
}
