//! Segments: how the files of a journal are named, found and read line by line. Reads only.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::audit::chain::LINE_BYTES_MAX;

const READ_BYTES: usize = 256 * 1024;

/// The name of the segment that begins with record `first`. Names sort as their numbers do.
pub(crate) fn file_name(first: u64) -> String {
    format!("audit-{first:020}.jsonl")
}

/// One file of a journal.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    /// The number of its first record, as its name has it.
    pub(crate) first: u64,
    pub(crate) path: PathBuf,
}

impl Segment {
    /// The segments of a directory in order. Files with other names are no concern of the journal.
    pub(crate) fn list(directory: &Path) -> io::Result<Vec<Segment>> {
        let mut segments = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            if let Some(first) = entry.file_name().to_str().and_then(first_of) {
                segments.push(Segment { first, path: entry.path() });
            }
        }
        segments.sort_by_key(|segment| segment.first);
        Ok(segments)
    }

    pub(crate) fn lines(&self) -> io::Result<Lines> {
        let reader = BufReader::with_capacity(READ_BYTES, File::open(&self.path)?);
        Ok(Lines { reader, line: Vec::new(), ended: false, number: 0, offset: 0 })
    }
}

fn first_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("audit-")?.strip_suffix(".jsonl")?;
    let all = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| digits.parse().ok()).flatten()
}

/// Reads a segment line by line, holding one line at a time. What is longer than any record comes in pieces without
/// an end.
pub(crate) struct Lines {
    reader: BufReader<File>,
    line: Vec<u8>,
    ended: bool,
    number: u64,
    offset: u64,
}

impl Lines {
    /// Goes to the next line; false at the end of the file.
    pub(crate) fn advance(&mut self) -> io::Result<bool> {
        self.line.clear();
        let read = (&mut self.reader).take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut self.line)?;
        self.offset += read as u64;
        self.number += u64::from(read > 0);
        self.ended = self.line.pop_if(|last| *last == b'\n').is_some();
        Ok(read > 0)
    }

    /// The line, without its newline; `None` when it has none.
    pub(crate) fn whole(&self) -> Option<&[u8]> {
        self.ended.then_some(self.line.as_slice())
    }

    /// The number of the line, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Where in the file the line ends, newline included.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }
}
