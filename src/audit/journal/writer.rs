//! The journal's thread: chains a batch, writes it, syncs it, and only then lets it be answered for.

use std::io;
use std::sync::Arc;

use super::ShortfallEvent;
use super::queue::{Entry, Queue};
use super::recover::Lock;
use super::storage::Storage;
use crate::audit::chain::{Digest, Head, encode};

/// The end of the chain on the disk, and the only one who writes behind it.
pub(crate) struct Writer {
    pub(crate) storage: Box<dyn Storage>,
    pub(crate) digest: Digest,
    pub(crate) segment_bytes_max: u64,
    pub(crate) head: Head,
    /// Where the last durable record ends in the current segment.
    pub(crate) length: u64,
    /// Whether there may be anything behind `length`, left by an attempt that failed.
    pub(crate) soiled: bool,
    pub(crate) lines: Vec<u8>,
    /// Held, not read.
    pub(crate) _lock: Lock,
}

/// Runs until the queue is closed. Whatever happens, those who wait are told.
pub(crate) fn run(queue: Arc<Queue>, mut writer: Writer, shortfall_event: &ShortfallEvent) {
    // Dropped last, after the writer and its lock, also when a callback panics.
    let queue = Stopping(queue);
    while let Some(batch) = queue.0.take(&**shortfall_event) {
        settle(&queue.0, &mut writer, batch);
    }
    drop(writer);
}

struct Stopping(Arc<Queue>);

impl Drop for Stopping {
    fn drop(&mut self) {
        self.0.stop();
    }
}

fn settle(queue: &Queue, writer: &mut Writer, mut batch: Vec<Entry>) {
    while !batch.is_empty() {
        match writer.commit(&batch) {
            Ok(count) => queue.succeeded(batch.drain(..count), writer.head),
            Err(error) => return queue.failed(batch, &error),
        }
    }
}

impl Writer {
    /// Makes records of the first entries durable, as many as the segment takes; how many, at least one. After an
    /// error none of them is recorded, and the chain ends where it did.
    fn commit(&mut self, entries: &[Entry]) -> io::Result<usize> {
        let result = self.try_commit(entries);
        if result.is_err() && self.soiled {
            // If this fails too, it is the first thing the next attempt does.
            self.soiled = self.storage.cut(self.length).is_err();
        }
        result
    }

    fn try_commit(&mut self, entries: &[Entry]) -> io::Result<usize> {
        if self.soiled {
            self.storage.cut(self.length)?;
            self.soiled = false;
        }
        let (mut count, mut head) = self.chain(entries);
        if count == 0 {
            self.storage.create(self.head.seq + 1)?;
            self.length = 0;
            (count, head) = self.chain(entries);
        }
        self.storage.check(self.length)?;
        self.soiled = true;
        let mut offset = self.length;
        let mut rest = self.lines.as_slice();
        while !rest.is_empty() {
            let written = match self.storage.write_at(offset, rest) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                written => written?,
            };
            rest = match rest.split_at_checked(written) {
                Some((_, rest)) if written > 0 => rest,
                _ => return Err(io::ErrorKind::WriteZero.into()),
            };
            offset += written as u64;
        }
        self.storage.sync()?;
        self.soiled = false;
        (self.head, self.length) = (head, offset);
        Ok(count)
    }

    /// Fills `lines` with the records that fit the segment; a segment takes one, however long.
    fn chain(&mut self, entries: &[Entry]) -> (usize, Head) {
        self.lines.clear();
        let (mut count, mut head) = (0, self.head);
        for entry in entries {
            let before = self.lines.len();
            let next = encode(self.digest, &head, &entry.event, &mut self.lines);
            let first_of_all = self.length == 0 && count == 0;
            if !first_of_all && self.length + self.lines.len() as u64 > self.segment_bytes_max {
                self.lines.truncate(before);
                break;
            }
            (count, head) = (count + 1, next);
        }
        (count, head)
    }
}
