//! What stands between the callers and the journal's thread: entries in order, their limits, and the account of what
//! could not be recorded. No I/O.

use std::collections::VecDeque;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::{AppendError, Backlog, Closed, Durable, Shortfall};
use crate::audit::chain::{EventText, Head};

const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// While the disk fails, an attempt carries little: it is made to learn whether the disk is back.
const PROBE_BYTES_MAX: usize = 64 * 1024;
const RETRY_FIRST: Duration = Duration::from_millis(10);
const RETRY_LAST: Duration = Duration::from_secs(1);
/// How often a closing journal tries again before it gives up what it holds: a good second.
const CLOSING_ATTEMPTS_MAX: u32 = 8;

/// How the journal answers a caller that waits.
pub(crate) type Answer = oneshot::Sender<Result<Durable, AppendError>>;

/// An event on its way.
pub(crate) struct Entry {
    pub(crate) event: EventText,
    pub(crate) kind: Kind,
}

/// Who is behind an event.
pub(crate) enum Kind {
    /// A caller who is told how it went, and answers for the event if it failed.
    Awaited(Answer),
    /// Nobody: it is kept until it is through.
    Detached,
    /// The journal itself, about what it could not record.
    Shortfall(Shortfall),
}

/// How much may wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) awaited_max: usize,
    pub(crate) detached_max: usize,
    /// For the awaited and for the detached, each.
    pub(crate) bytes_max: usize,
}

/// The queue and the state of the journal, shared by the callers and the thread.
pub(crate) struct Queue {
    limits: Limits,
    state: Mutex<State>,
    /// The thread waits here for work.
    filled: Condvar,
    /// Who closes waits here for the thread to end.
    stopped: Condvar,
}

struct State {
    entries: VecDeque<Entry>,
    awaited: Load,
    detached: Load,
    shortfall: Shortfall,
    head: Head,
    /// Attempts that failed since the last one that did not.
    failures: u32,
    closing: bool,
    stopped: bool,
    /// Whether the thread waits for work. To wake it takes a system call, also when it does not.
    waits: bool,
}

#[derive(Default)]
struct Load {
    entries: usize,
    bytes: usize,
}

impl Load {
    fn add(&mut self, event: &EventText) {
        self.entries += 1;
        self.bytes += event.as_bytes().len();
    }

    fn remove(&mut self, event: &EventText) {
        self.entries = self.entries.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(event.as_bytes().len());
    }

    fn has_room(&self, event: &EventText, entries_max: usize, bytes_max: usize) -> bool {
        self.entries < entries_max && self.bytes.saturating_add(event.as_bytes().len()) <= bytes_max
    }
}

impl Queue {
    pub(crate) fn new(limits: Limits, head: Head) -> Queue {
        let state = State {
            entries: VecDeque::new(),
            awaited: Load::default(),
            detached: Load::default(),
            shortfall: Shortfall::default(),
            head,
            failures: 0,
            closing: false,
            stopped: false,
            waits: false,
        };
        Queue { limits, state: Mutex::new(state), filled: Condvar::new(), stopped: Condvar::new() }
    }

    /// Queues an event whose caller waits for the answer.
    pub(crate) fn push_awaited(&self, event: EventText, answer: Answer) -> Result<(), AppendError> {
        let mut state = self.lock();
        if state.closing {
            return Err(AppendError::Closed);
        }
        if !state.awaited.has_room(&event, self.limits.awaited_max, self.limits.bytes_max) {
            state.shortfall.refused += 1;
            self.wake(&mut state);
            return Err(AppendError::Full);
        }
        state.awaited.add(&event);
        state.entries.push_back(Entry { event, kind: Kind::Awaited(answer) });
        self.rouse(&mut state);
        Ok(())
    }

    /// Queues an event that nobody waits for. Without room it is counted, and the count recorded.
    pub(crate) fn push_detached(&self, event: EventText) {
        let mut state = self.lock();
        if state.closing {
            drop(state);
            tracing::error!("audit event came after the journal was closed and is lost");
        } else if state.detached.has_room(&event, self.limits.detached_max, self.limits.bytes_max) {
            state.detached.add(&event);
            state.entries.push_back(Entry { event, kind: Kind::Detached });
            self.wake(&mut state);
        } else {
            state.shortfall.given_up += 1;
            self.wake(&mut state);
        }
    }

    /// Counts a detached event that cannot be recorded at all.
    pub(crate) fn give_up(&self) {
        let mut state = self.lock();
        state.shortfall.given_up += 1;
        self.wake(&mut state);
    }

    /// For the thread: waits for work and takes it. What could not be recorded so far goes along as one event.
    /// `None` once the queue is closed and empty, or closed and the disk does not come back.
    pub(crate) fn take(&self, shortfall_event: impl FnOnce(Shortfall) -> EventText) -> Option<Vec<Entry>> {
        let mut state = self.lock();
        let mut paused = false;
        loop {
            let idle = state.entries.is_empty() && state.shortfall == Shortfall::default();
            if state.closing && (idle || state.failures >= CLOSING_ATTEMPTS_MAX) {
                return None;
            }
            // A caller who waits is reason to try at once; what is kept from the last attempt is not.
            let pressing = state.failures == 0 || paused || state.awaited.entries > 0;
            if !idle && pressing {
                break;
            }
            state.waits = true;
            if idle {
                state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            } else {
                let doublings = state.failures.saturating_sub(1).min(10);
                let pause = RETRY_FIRST.saturating_mul(1 << doublings).min(RETRY_LAST);
                let (guard, timeout) = self.filled.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner);
                (state, paused) = (guard, timeout.timed_out());
            }
            state.waits = false;
        }
        let mut batch = state.take_batch();
        let shortfall = std::mem::take(&mut state.shortfall);
        drop(state);
        if shortfall != Shortfall::default() {
            batch.push(Entry { event: shortfall_event(shortfall), kind: Kind::Shortfall(shortfall) });
        }
        Some(batch)
    }

    /// For the thread: these are durable, up to `head`.
    pub(crate) fn succeeded(&self, entries: impl Iterator<Item = Entry>, head: Head) {
        let first = {
            let mut state = self.lock();
            let first = state.head.seq + 1;
            state.head = head;
            if std::mem::take(&mut state.failures) > 0 {
                tracing::warn!("audit journal is written again");
            }
            first
        };
        for (seq, entry) in (first..).zip(entries) {
            if let Kind::Awaited(answer) = entry.kind {
                // The caller may have gone; its record stands.
                drop(answer.send(Ok(Durable { seq })));
            }
        }
    }

    /// For the thread: these are not recorded. Whoever waits is told, here and in the queue behind, for nothing
    /// overtakes; the detached go back to the front.
    pub(crate) fn failed(&self, entries: Vec<Entry>, error: &io::Error) {
        let mut state = self.lock();
        state.failures = state.failures.saturating_add(1);
        if state.failures == 1 {
            tracing::error!(%error, "audit journal cannot be written");
        }
        state.awaited = Load::default();
        let behind = std::mem::take(&mut state.entries);
        state.detached = Load::default();
        let mut refused = Vec::new();
        for entry in entries.into_iter().chain(behind) {
            match entry.kind {
                Kind::Awaited(answer) => refused.push(answer),
                Kind::Shortfall(shortfall) => state.shortfall.add(shortfall),
                Kind::Detached => {
                    state.detached.add(&entry.event);
                    state.entries.push_back(entry);
                }
            }
        }
        state.shortfall.refused += refused.len() as u64;
        drop(state);
        for answer in refused {
            drop(answer.send(Err(AppendError::Failed(error.kind()))));
        }
    }

    pub(crate) fn head(&self) -> Head {
        self.lock().head
    }

    pub(crate) fn is_writable(&self) -> bool {
        let state = self.lock();
        state.failures == 0 && !state.closing
    }

    pub(crate) fn backlog(&self) -> Backlog {
        let state = self.lock();
        Backlog { awaited: state.awaited.entries, detached: state.detached.entries, shortfall: state.shortfall }
    }

    /// Takes nothing more in. However long the disk has failed, it is tried again a few times for what is queued.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        if !state.closing {
            state.closing = true;
            state.failures = state.failures.min(1);
        }
        self.rouse(&mut state);
    }

    /// Waits until the thread has ended.
    pub(crate) fn wait_stopped(&self) -> Closed {
        let mut state = self.lock();
        while !state.stopped {
            state = self.stopped.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Closed { head: state.head, unrecorded: state.shortfall }
    }

    pub(crate) fn has_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// For the thread, as its last act, however it ends.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.closing = true;
        let left = std::mem::take(&mut state.entries);
        state.awaited = Load::default();
        state.detached = Load::default();
        let detached = left.iter().filter(|entry| !matches!(entry.kind, Kind::Awaited(_))).count();
        state.shortfall.given_up += detached as u64;
        state.stopped = true;
        let Shortfall { refused, given_up } = state.shortfall;
        drop(state);
        if (refused, given_up) != (0, 0) {
            tracing::error!(refused, given_up, "audit journal closed without a record of what it could not record");
        }
        // The answers in `left` go unsent, which their callers read as closed.
        drop(left);
        self.stopped.notify_all();
    }

    /// For what nobody waits for. Between attempts the thread sleeps its pause out: woken by every such event it would
    /// begin it anew each time.
    fn wake(&self, state: &mut State) {
        if state.failures == 0 {
            self.rouse(state);
        }
    }

    fn rouse(&self, state: &mut State) {
        if std::mem::take(&mut state.waits) {
            self.filled.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take_batch(&mut self) -> Vec<Entry> {
        let bytes_max = if self.failures == 0 { BATCH_BYTES_MAX } else { PROBE_BYTES_MAX };
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while bytes < bytes_max
            && let Some(entry) = self.entries.pop_front()
        {
            bytes += entry.event.as_bytes().len();
            match entry.kind {
                Kind::Awaited(_) => self.awaited.remove(&entry.event),
                Kind::Detached => self.detached.remove(&entry.event),
                Kind::Shortfall(_) => {}
            }
            batch.push(entry);
        }
        batch
    }
}
