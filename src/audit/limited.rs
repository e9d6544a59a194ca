//! Requests over a client's rate, counted exactly and recorded once in a while: a record for each would be what they ask for.

use super::event::AuditEvent;
use super::recorder::Recorder;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Clients that are told apart between two records; further ones are counted together.
const CLIENTS_MAX: usize = 1024;

/// Counts by client since the last [`Limited::flush`].
#[derive(Default)]
pub struct Limited(Mutex<HashMap<Option<String>, u64>>);

impl Limited {
    /// Counts one; `client`: its identity as events have it.
    pub fn refused(&self, client: Option<String>) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told_apart = counts.len() < CLIENTS_MAX || counts.contains_key(&client);
        *counts.entry(client.filter(|_| told_apart)).or_default() += 1;
    }

    /// Hands everything counted so far to the recorder, which keeps it until it is durable.
    pub fn flush(&self, recorder: &Recorder) {
        let counts = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for (principal, count) in counts {
            recorder.record_detached(&AuditEvent::RequestsLimited { principal, count });
        }
    }
}
