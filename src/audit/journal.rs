//! The journal: an append-only, hash-chained record on local disk that stands between an exchange and its release.
//! An append resolves when its record is durable, and not before. Knows no event schema and keeps no key.
//!
//! One thread owns the files. It takes whatever is queued as one batch, writes it at once, syncs it once and then
//! answers everybody in it: the more callers wait, the fewer syncs a record costs, and nobody waits for company.
//!
//! What is promised:
//!
//! - An acknowledged record survives a crash at any instant, as far as the disk keeps what it said it synced.
//! - A record whose caller was told that it failed is cut off before anything is written behind it. (If the process
//!   ends between the two, the record may be found at the next open, in its place in the chain.)
//! - Records stand in the order in which they were queued. Nothing overtakes, so a failure fails all who wait.
//! - What could not be recorded, because the disk failed or room ran out, is counted, and the count is a record of its
//!   own as soon as there is a disk again. That record is also how the journal finds out that there is one.
//!
//! What is not: against a person who can write the files there is no protection here, see [`chain`](super::chain).

mod queue;
pub(super) mod recover;
pub(super) mod segment;
mod storage;
mod writer;

#[cfg(test)]
mod fault_tests;
#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::oneshot;

use self::queue::{Limits, Queue};
use self::recover::Opened;
use self::storage::Storage;
use self::writer::Writer;
use super::chain::{Digest, EventText, Fault, Head};

/// Makes the event that says what could not be recorded.
pub type ShortfallEvent = Arc<dyn Fn(Shortfall) -> EventText + Send + Sync>;

/// Where the journal is, and its limits.
#[derive(Clone)]
pub struct Settings {
    /// The directory, this journal's own. Made with mode 0700 if it is not there.
    pub directory: PathBuf,
    /// The length at which the next segment is begun. A longer record has a segment to itself.
    pub segment_bytes_max: u64,
    /// How many callers may wait.
    pub queue_records_max: usize,
    /// How many detached events are kept while the disk fails.
    pub detached_records_max: usize,
    /// How many bytes of events may wait, and how many be kept detached.
    pub queue_bytes_max: usize,
    /// SHA-256, from the crypto provider.
    pub digest: Digest,
    /// The event that says what could not be recorded. Called on the journal's thread.
    pub shortfall_event: ShortfallEvent,
}

impl Settings {
    /// A journal in `directory` with the limits as they are by default.
    pub fn new(directory: impl Into<PathBuf>, digest: Digest) -> Settings {
        Settings {
            directory: directory.into(),
            segment_bytes_max: 256 * 1024 * 1024,
            queue_records_max: 8192,
            detached_records_max: 65_536,
            queue_bytes_max: 64 * 1024 * 1024,
            digest,
            shortfall_event: Arc::new(Shortfall::plain_event),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// The handle of a journal; clones share it. When the last one goes, what is queued is still written.
#[derive(Clone)]
pub struct Journal(Arc<Handle>);

struct Handle(Arc<Queue>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Journal {
    /// Opens the journal in its directory: takes the lock, reads the last segment, sets a torn tail aside, and starts
    /// the thread `audit-journal`. Blocks for as long as that takes, about a second for a full segment.
    ///
    /// # Errors
    /// [`OpenError::Locked`] while another process has it. [`OpenError::Damaged`] and [`OpenError::Gap`] for what a
    /// crash does not explain: going on would put good records on top of bad ones, so somebody has to look.
    pub fn open(settings: Settings) -> Result<(Journal, Recovered), OpenError> {
        Journal::open_through(settings, |disk| Box::new(disk))
    }

    fn open_through(
        settings: Settings,
        through: impl FnOnce(storage::Disk) -> Box<dyn Storage>,
    ) -> Result<(Journal, Recovered), OpenError> {
        let Settings { directory, segment_bytes_max, digest, shortfall_event, .. } = settings;
        let limits = Limits {
            awaited_max: settings.queue_records_max,
            detached_max: settings.detached_records_max,
            bytes_max: settings.queue_bytes_max,
        };
        let Opened { lock, disk, length, recovered } = recover::open(&directory, digest)?;
        let head = recovered.head;
        let storage = through(disk);
        let writer =
            Writer { storage, digest, segment_bytes_max, head, length, soiled: false, lines: Vec::new(), _lock: lock };
        let queue = Arc::new(Queue::new(limits, head));
        let journal = Journal(Arc::new(Handle(Arc::clone(&queue))));
        std::thread::Builder::new()
            .name("audit-journal".to_owned())
            .spawn(move || writer::run(queue, writer, &shortfall_event))
            .map_err(|source| OpenError::Io { path: directory, source })?;
        Ok((journal, recovered))
    }

    /// Records an event, byte for byte; resolves when the record is durable. A future that is dropped once it was polled
    /// leaves its event queued: it is recorded all the same.
    ///
    /// # Errors
    /// What stood behind the event may not be released. [`AppendError::Full`] at once, without a queue to wait in;
    /// [`AppendError::Failed`] when the disk did not take it; the next append tries the disk anew.
    pub async fn append(&self, event: EventText) -> Result<Durable, AppendError> {
        let (answer, answered) = oneshot::channel();
        self.queue().push_awaited(event, answer)?;
        answered.await.unwrap_or(Err(AppendError::Closed))
    }

    /// Records an event that nobody can wait for, in its order among the others. Does not block, and has room of its
    /// own: neither a full queue nor a disk that fails for a while loses it. When that room runs out too, it is counted as
    /// given up.
    pub fn append_detached(&self, event: EventText) {
        self.queue().push_detached(event);
    }

    /// Counts an event as given up that nobody can wait for and that fits no record.
    pub fn give_up(&self) {
        self.queue().give_up();
    }

    /// The last durable record.
    pub fn head(&self) -> Head {
        self.queue().head()
    }

    /// Whether the last attempt to write succeeded. Comes back by itself when the disk does, within a second or so,
    /// without an append to try it.
    pub fn is_writable(&self) -> bool {
        self.queue().is_writable()
    }

    /// Whether the thread has stopped, however it ended.
    pub fn has_ended(&self) -> bool {
        self.queue().has_stopped()
    }

    /// What waits, for metrics.
    pub fn backlog(&self) -> Backlog {
        self.queue().backlog()
    }

    /// Takes nothing more in, writes what is queued, stops the thread and gives the directory free. Blocks until then:
    /// a sync, or a good second of trying again when the disk fails. May be called more than once.
    pub fn close(&self) -> Closed {
        self.queue().close();
        self.queue().wait_stopped()
    }

    fn queue(&self) -> &Queue {
        &self.0.0
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("head", &self.head()).finish_non_exhaustive()
    }
}

/// Proof that a record is durable. Only the journal makes one.
#[derive(Debug, PartialEq, Eq)]
pub struct Durable {
    seq: u64,
}

impl Durable {
    /// The number of the record.
    pub fn seq(&self) -> u64 {
        self.seq
    }
}

/// What was found at opening.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// The record that the next one chains on.
    pub head: Head,
    /// How many segments there are.
    pub segments: usize,
    /// How many bytes of an unfinished write a crash had left behind the last record; nothing in them was ever
    /// acknowledged. The caller records that they were there.
    pub torn_bytes: u64,
    /// Where they were set aside.
    pub torn: Option<PathBuf>,
}

/// What waits to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backlog {
    /// Events whose callers wait.
    pub awaited: usize,
    /// Events that nobody waits for.
    pub detached: usize,
    /// What could not be recorded, and is not yet said in a record.
    pub shortfall: Shortfall,
}

/// How many events could not be recorded. Exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shortfall {
    /// Events whose callers were told so.
    pub refused: u64,
    /// Detached events without room left to keep them, or not fit for a record.
    pub given_up: u64,
}

impl Shortfall {
    fn add(&mut self, other: Shortfall) {
        self.refused += other.refused;
        self.given_up += other.given_up;
    }

    /// The event that says it, and nothing more.
    #[must_use]
    pub fn plain_event(self) -> EventText {
        let Shortfall { refused, given_up } = self;
        let text = format!(r#"{{"type":"RecordsMissed","refused":{refused},"given_up":{given_up}}}"#);
        EventText::parse(text.into_bytes()).expect("two numbers in an object are an event")
    }
}

/// How a journal was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed {
    /// The last durable record.
    pub head: Head,
    /// What could not be recorded and is said nowhere in the journal. Zero, unless the disk failed to the end.
    pub unrecorded: Shortfall,
}

/// Why an event was not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// Too many wait already.
    #[error("audit journal: queue is full")]
    Full,
    /// The disk did not take it.
    #[error("audit journal: write failed: {0}")]
    Failed(io::ErrorKind),
    /// The journal is closed.
    #[error("audit journal: closed")]
    Closed,
}

/// Why a journal was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file system said no.
    #[error("audit journal {path:?}: {source}")]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// There is one writer at a time.
    #[error("audit journal {directory:?}: lock is held by another process")]
    Locked {
        /// The journal.
        directory: PathBuf,
    },
    /// A record is not as it was written, and no crash explains it.
    #[error("audit journal {segment:?}: record {seq}: {fault}")]
    Damaged {
        /// The file.
        segment: PathBuf,
        /// The number of the first bad record: the one that should stand there.
        seq: u64,
        /// What is wrong with it.
        fault: Fault,
    },
    /// The last segment does not begin where the chain before it ends.
    #[error("audit journal {segment:?}: wanted record {wanted} next, got a segment from record {got}")]
    Gap {
        /// The last segment.
        segment: PathBuf,
        /// The record that comes next.
        wanted: u64,
        /// The first record of the segment, as its name has it.
        got: u64,
    },
}
