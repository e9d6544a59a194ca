//! The input that a rewriter still needs, and its output. It knows no format.
//!
//! All positions are offsets in bytes from the start of the body, so nothing moves when input that is settled goes.

use std::ops::Range;

/// Input and output of one rewriter.
pub(super) struct Stream {
    /// Input that is not settled, and some that is.
    input: Vec<u8>,
    /// Where `input` starts.
    base: u64,
    /// How much of `input` has been dealt with in `output`.
    settled: usize,
    output: Vec<u8>,
    finished: bool,
}

impl Stream {
    pub(super) fn new() -> Stream {
        Stream { input: Vec::new(), base: 0, settled: 0, output: Vec::new(), finished: false }
    }

    pub(super) fn feed(&mut self, chunk: &[u8]) {
        // What is settled goes only when it is the larger part, so that each byte is moved at most once on average.
        if self.settled * 2 >= self.input.len() {
            self.input.drain(..self.settled);
            self.base += self.settled as u64;
            self.settled = 0;
        }
        self.input.extend_from_slice(chunk);
    }

    pub(super) fn finish(&mut self) {
        self.finished = true;
    }

    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Where the input that has come ends.
    pub(super) fn end(&self) -> u64 {
        self.base + self.input.len() as u64
    }

    /// The input that has come, from `start` on, which is not settled.
    pub(super) fn rest(&self, start: u64) -> &[u8] {
        self.input.get(self.index(start)..).unwrap_or_default()
    }

    /// A part of the input that is not settled.
    pub(super) fn slice(&self, range: Range<u64>) -> &[u8] {
        self.input.get(self.index(range.start)..self.index(range.end)).unwrap_or_default()
    }

    /// Puts out the input before `end` as it is. Does nothing where that is done.
    pub(super) fn settle(&mut self, end: u64) {
        let end = self.index(end);
        if let Some(untouched) = self.input.get(self.settled..end).filter(|bytes| !bytes.is_empty()) {
            self.output.extend_from_slice(untouched);
            self.settled = end;
        }
    }

    /// Puts out `written` instead of the input in `range`, and what is before it as it is.
    pub(super) fn replace(&mut self, range: Range<u64>, written: &[u8]) {
        self.settle(range.start);
        self.output.extend_from_slice(written);
        self.settled = self.index(range.end);
    }

    pub(super) fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    fn index(&self, at: u64) -> usize {
        usize::try_from(at.saturating_sub(self.base)).unwrap_or(usize::MAX).min(self.input.len())
    }
}
