//! Reads a journal from its files alone and says whether the chain is whole, and if not, where it first is not.
//! Writes nothing, takes no lock, holds one record in memory.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::vec;

use super::chain::{Digest, Fault, Head, Record};
use super::journal::recover::torn;
use super::journal::segment::{Lines, Segment};

/// Verifies every record of a directory, and that the chain contains the expected heads: kept elsewhere, they show a
/// tail that was cut off, which the chain by itself cannot.
///
/// The segments are listed once, at the beginning. In a journal that is being written the last record may be half
/// there: [`What::TornTail`].
///
/// # Errors
/// The first finding. What stands behind it was not looked at.
pub fn verify(directory: &Path, digest: Digest, expect: &[Head]) -> Result<Report, Box<Finding>> {
    let mut expect = expect.to_vec();
    expect.sort_by_key(|head| head.seq);
    let mut expect = expect.into_iter().peekable();
    let mut walk = Walk::open(directory, digest)?;
    let torn = loop {
        while let Some(wanted) = expect.next_if(|wanted| wanted.seq <= walk.last.seq) {
            if wanted != walk.last {
                return Err(walk.finding(wanted.seq, What::HeadDiffers { wanted }));
            }
        }
        match walk.advance() {
            Ok(true) => {}
            Ok(false) => break None,
            Err(finding) if matches!(finding.what, What::TornTail { .. }) => break Some(finding),
            Err(finding) => return Err(finding),
        }
    };
    if let Some(wanted) = expect.next() {
        return Err(walk.finding(walk.last.seq + 1, What::TailMissing { wanted }));
    }
    torn.map_or(Ok(walk.report()), Err)
}

/// The events of a directory in order, with their numbers, verified on the way; ends at the first finding.
///
/// # Errors
/// When the directory cannot be listed.
pub fn events(directory: &Path, digest: Digest) -> Result<Events, Box<Finding>> {
    Ok(Events { walk: Walk::open(directory, digest)?, ended: false })
}

/// See [`events`].
pub struct Events {
    walk: Walk,
    ended: bool,
}

impl Iterator for Events {
    type Item = Result<(u64, Vec<u8>), Box<Finding>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.walk.advance();
        self.ended = !matches!(next, Ok(true));
        match next {
            Ok(true) => Some(Ok((self.walk.last.seq, self.walk.event.clone()))),
            Ok(false) => None,
            Err(finding) => Some(Err(finding)),
        }
    }
}

/// What a chain that is whole consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// How many records.
    pub records: u64,
    /// The number of the first; 0 when there is none.
    pub first: u64,
    /// The last.
    pub head: Head,
    /// How many files.
    pub segments: usize,
}

/// Where a chain is first not whole, and in what way.
#[derive(Debug)]
#[non_exhaustive]
pub struct Finding {
    /// The segment, or the directory when it is about all of them.
    pub path: PathBuf,
    /// The line in the segment, from 1; 0 when it is not about a line.
    pub line: u64,
    /// The number of the record that should stand there.
    pub seq: u64,
    /// What is wrong.
    pub what: What,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { path, line, seq, what } = self;
        write!(f, "audit journal {path:?}: ")?;
        if *line > 0 {
            write!(f, "line {line}: record {seq}: ")?;
        }
        write!(f, "{what}")
    }
}

impl std::error::Error for Finding {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.what {
            What::Unreadable(error) => Some(error),
            _ => None,
        }
    }
}

/// What can be wrong with a chain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum What {
    /// The record is not as it was written.
    #[error("changed: {0}")]
    Changed(Fault),
    /// The record does not chain on the one before: one of the two is not the one that was written there.
    #[error("replaced, this one or the one before: {}", Fault::Prev)]
    Replaced,
    /// Records are missing in front of this line.
    #[error("removed: next is record {next}")]
    Removed {
        /// The record that is there instead.
        next: u64,
    },
    /// The record stands further back.
    #[error("reordered: it stands further back, next is record {next}")]
    Reordered {
        /// The record that is there instead.
        next: u64,
    },
    /// A record with a number that was there already.
    #[error("repeated: next is record {next} once more")]
    Repeated {
        /// The number it repeats.
        next: u64,
    },
    /// The journal does not begin with record 1.
    #[error("beginning is missing: first is record {first}")]
    BeginningMissing {
        /// The first record there is.
        first: u64,
    },
    /// Between the end of a segment and the beginning of the next, records are missing.
    #[error("segment is missing: next is record {next}")]
    SegmentMissing {
        /// The record with which the next segment begins.
        next: u64,
    },
    /// The name of the segment is not that of its first record.
    #[error("segment is misnamed: its first record is {first}")]
    SegmentMisnamed {
        /// Its first record, or the one that it should begin with.
        first: u64,
    },
    /// The last segment ends with bytes that are no record: the journal is being written, or a crash interrupted it.
    /// All before it is whole, and every expected head is there.
    #[error("torn tail: {bytes} bytes behind the last record are no record")]
    TornTail {
        /// How many.
        bytes: u64,
        /// What stands before them.
        report: Report,
    },
    /// The chain ends before an expected head.
    #[error("tail is missing: wanted head {wanted}")]
    TailMissing {
        /// The expected head.
        wanted: Head,
    },
    /// The chain has another record in the place of an expected head.
    #[error("head differs: wanted {wanted}")]
    HeadDiffers {
        /// The expected head.
        wanted: Head,
    },
    /// The file system said no.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
}

impl What {
    /// A stable name, for exit codes and reports.
    pub fn code(&self) -> &'static str {
        match self {
            What::Changed(_) => "changed",
            What::Replaced => "replaced",
            What::Removed { .. } => "removed",
            What::Reordered { .. } => "reordered",
            What::Repeated { .. } => "repeated",
            What::BeginningMissing { .. } => "beginning_missing",
            What::SegmentMissing { .. } => "segment_missing",
            What::SegmentMisnamed { .. } => "segment_misnamed",
            What::TornTail { .. } => "torn_tail",
            What::TailMissing { .. } => "tail_missing",
            What::HeadDiffers { .. } => "head_differs",
            What::Unreadable(_) => "unreadable",
        }
    }
}

/// Goes through the records of a directory one by one.
struct Walk {
    directory: PathBuf,
    digest: Digest,
    segments: vec::IntoIter<Segment>,
    current: Option<(Segment, Lines)>,
    opened: usize,
    /// The last record that was good, its event, and where in its segment it ends.
    last: Head,
    event: Vec<u8>,
    length: u64,
}

impl Walk {
    fn open(directory: &Path, digest: Digest) -> Result<Walk, Box<Finding>> {
        let segments = Segment::list(directory).map_err(|error| unreadable(directory, error))?.into_iter();
        let directory = directory.to_owned();
        Ok(Walk {
            directory,
            digest,
            segments,
            current: None,
            opened: 0,
            last: Head::EMPTY,
            event: Vec::new(),
            length: 0,
        })
    }

    /// Goes to the next record; false behind the last one.
    fn advance(&mut self) -> Result<bool, Box<Finding>> {
        loop {
            let Some((segment, lines)) = &mut self.current else {
                let Some(segment) = self.segments.next() else {
                    return Ok(false);
                };
                let lines = segment.lines().map_err(|error| unreadable(&segment.path, error))?;
                self.current = Some((segment, lines));
                self.opened += 1;
                self.length = 0;
                continue;
            };
            if !lines.advance().map_err(|error| unreadable(&segment.path, error))? {
                self.leave_segment()?;
                continue;
            }
            let record = match lines.whole().ok_or(Fault::Unended).and_then(Record::parse) {
                Ok(record) => record,
                Err(fault) => return Err(self.not_a_record(fault)),
            };
            match record.follow(self.digest, &self.last) {
                Ok(head) if lines.number() > 1 || segment.first == head.seq => {
                    self.event.clear();
                    self.event.extend_from_slice(record.event);
                    (self.last, self.length) = (head, lines.offset());
                    return Ok(true);
                }
                Ok(head) => return Err(self.finding(head.seq, What::SegmentMisnamed { first: head.seq })),
                Err(fault) => return Err(self.does_not_follow(fault)),
            }
        }
    }

    /// At the end of a segment. One without any record must at least bear the right name.
    fn leave_segment(&mut self) -> Result<(), Box<Finding>> {
        let wanted = self.last.seq + 1;
        let misplaced = self.current.as_ref().filter(|(segment, _)| self.length == 0 && segment.first != wanted);
        if let Some((segment, _)) = misplaced {
            let next = segment.first;
            return Err(match next > wanted {
                true => self.finding(wanted, self.gap(next, true)),
                false => self.finding(wanted, What::SegmentMisnamed { first: wanted }),
            });
        }
        self.current = None;
        Ok(())
    }

    /// A line that is no record: at the very end, and nowhere else, it is a tear.
    fn not_a_record(&mut self, fault: Fault) -> Box<Finding> {
        let mut finding = self.finding(self.last.seq + 1, What::Changed(fault));
        let report = self.report();
        if let Some((segment, lines)) = self.current.as_mut().filter(|_| self.segments.as_slice().is_empty()) {
            match torn(lines) {
                Ok(Some(end)) => finding.what = What::TornTail { bytes: end - self.length, report },
                Ok(None) => {}
                Err(error) => return unreadable(&segment.path, error),
            }
        }
        finding
    }

    fn does_not_follow(&mut self, fault: Fault) -> Box<Finding> {
        let wanted = self.last.seq + 1;
        let mut finding = self.finding(wanted, What::Changed(fault));
        finding.what = match fault {
            Fault::Prev => What::Replaced,
            Fault::Seq { got, .. } if got < wanted => What::Repeated { next: got },
            Fault::Seq { got, .. } => match self.stands_behind(wanted) {
                Ok(true) => What::Reordered { next: got },
                Ok(false) => self.gap(got, finding.line == 1 && self.opened > 1),
                Err(error) => What::Unreadable(error),
            },
            fault => What::Changed(fault),
        };
        finding
    }

    fn gap(&self, next: u64, between_segments: bool) -> What {
        match (self.last == Head::EMPTY, between_segments) {
            (true, _) => What::BeginningMissing { first: next },
            (false, true) => What::SegmentMissing { next },
            (false, false) => What::Removed { next },
        }
    }

    /// Looks for a record in all that is left.
    fn stands_behind(&mut self, seq: u64) -> io::Result<bool> {
        let left = std::mem::take(&mut self.segments).map(|segment| segment.lines());
        for lines in self.current.take().map(|(_, lines)| Ok(lines)).into_iter().chain(left) {
            let mut lines = lines?;
            while lines.advance()? {
                if lines.whole().and_then(|line| Record::parse(line).ok()).is_some_and(|record| record.seq == seq) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn report(&self) -> Report {
        let records = self.last.seq;
        Report { records, first: records.min(1), head: self.last, segments: self.opened }
    }

    fn finding(&self, seq: u64, what: What) -> Box<Finding> {
        let (path, line) = match &self.current {
            Some((segment, lines)) => (segment.path.clone(), lines.number()),
            None => (self.directory.clone(), 0),
        };
        Box::new(Finding { path, line, seq, what })
    }
}

fn unreadable(path: &Path, error: io::Error) -> Box<Finding> {
    Box::new(Finding { path: path.to_owned(), line: 0, seq: 0, what: What::Unreadable(error) })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;
    use crate::audit::chain::{EventText, encode};
    use crate::audit::journal::testing::{event, filled, recorded, sha256};

    /// Records 1 to 9, as lines with their newlines, and a directory to put them in.
    fn nine() -> (TempDir, PathBuf, Vec<String>) {
        let directory = tempfile::tempdir().unwrap();
        filled(directory.path(), 9, u64::MAX).close();
        let path = directory.path().join("audit-00000000000000000001.jsonl");
        let lines = fs::read_to_string(&path).unwrap().split_inclusive('\n').map(str::to_owned).collect();
        (directory, path, lines)
    }

    fn head_of(line: &str) -> Head {
        let record = Record::parse(line.trim_end().as_bytes()).unwrap();
        Head { seq: record.seq, hash: record.hash }
    }

    fn found(directory: &Path, expect: &[Head]) -> (&'static str, u64, u64) {
        let finding = verify(directory, sha256, expect).expect_err("nothing found");
        (finding.what.code(), finding.line, finding.seq)
    }

    #[test]
    fn a_whole_chain_is_reported() {
        let (directory, _, lines) = nine();
        let heads: Vec<_> = lines.iter().map(|line| head_of(line)).collect();
        let report = verify(directory.path(), sha256, &heads).unwrap();
        assert_eq!(report, Report { records: 9, first: 1, head: heads[8], segments: 1 });
        assert_eq!(recorded(directory.path()), (0..9).map(event).collect::<Vec<_>>());

        let empty = tempfile::tempdir().unwrap();
        let report = verify(empty.path(), sha256, &[Head::EMPTY]).unwrap();
        assert_eq!(report, Report { records: 0, first: 0, head: Head::EMPTY, segments: 0 });
        assert_eq!(found(&empty.path().join("away"), &[]), ("unreadable", 0, 0));
    }

    #[test]
    fn lines_that_were_moved_about_are_found() {
        let (directory, path, lines) = nine();
        for (order, code, line, seq) in [
            (&[1, 2, 3, 4, 6, 7, 8, 9][..], "removed", 5, 5),
            (&[1, 2, 3, 4, 8, 9], "removed", 5, 5),
            (&[2, 3, 4], "beginning_missing", 1, 1),
            (&[9], "beginning_missing", 1, 1),
            (&[2, 1, 3], "reordered", 1, 1),
            (&[1, 2, 4, 3, 5], "reordered", 3, 3),
            (&[1, 2, 3, 9, 4], "reordered", 4, 4),
            (&[9, 8, 7, 6, 5, 4, 3, 2, 1], "reordered", 1, 1),
            (&[1, 2, 2, 3], "repeated", 3, 3),
            (&[1, 2, 3, 1], "repeated", 4, 4),
        ] {
            fs::write(&path, order.iter().map(|n| lines[n - 1].as_str()).collect::<String>()).unwrap();
            assert_eq!(found(directory.path(), &[]), (code, line, seq), "{order:?}");
        }
    }

    #[test]
    fn forged_records_are_found_where_the_chain_breaks() {
        let (directory, path, lines) = nine();
        let mut forged = Vec::new();
        encode(sha256, &head_of(&lines[3]), &EventText::parse(event(77)).unwrap(), &mut forged);
        let forged = String::from_utf8(forged).unwrap();
        let write = |parts: &[&[String]]| fs::write(&path, parts.concat().concat()).unwrap();
        // In the place of record 5, well made: the next one does not chain on it.
        write(&[&lines[..4], std::slice::from_ref(&forged), &lines[5..]]);
        assert_eq!(found(directory.path(), &[]), ("replaced", 6, 6));
        // In front of record 5.
        write(&[&lines[..4], std::slice::from_ref(&forged), &lines[4..]]);
        assert_eq!(found(directory.path(), &[]), ("repeated", 6, 6));
        // At the end, the rest dropped: only a head kept elsewhere shows it.
        write(&[&lines[..4], std::slice::from_ref(&forged)]);
        assert!(verify(directory.path(), sha256, &[head_of(&lines[3])]).is_ok());
        assert_eq!(found(directory.path(), &[head_of(&lines[4])]), ("head_differs", 5, 5));
        // Foreign text between records.
        write(&[&lines[..4], &["{}\n".to_owned()], &lines[4..]]);
        assert_eq!(found(directory.path(), &[]), ("changed", 5, 5));
    }

    #[test]
    fn a_dropped_tail_is_found_with_a_head_only() {
        let (directory, path, lines) = nine();
        let head = head_of(&lines[8]);
        for kept in 0..9 {
            fs::write(&path, lines[..kept].concat()).unwrap();
            assert_eq!(verify(directory.path(), sha256, &[]).unwrap().records, kept as u64);
            let finding = verify(directory.path(), sha256, &[head]).unwrap_err();
            assert_eq!((finding.what.code(), finding.seq), ("tail_missing", kept as u64 + 1));
            assert_eq!(
                finding.to_string(),
                format!("audit journal {:?}: tail is missing: wanted head {head}", directory.path())
            );
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(found(directory.path(), &[head]).0, "tail_missing");
    }

    #[test]
    fn a_torn_tail_is_no_other_finding() {
        let (directory, path, lines) = nine();
        let all = lines.concat();
        let whole = lines[..8].concat().len();
        for length in whole + 1..all.len() {
            fs::write(&path, &all[..length]).unwrap();
            let finding = verify(directory.path(), sha256, &[head_of(&lines[7])]).unwrap_err();
            let What::TornTail { bytes, report } = finding.what else { panic!("{finding}") };
            assert_eq!((bytes, report.records, report.head), ((length - whole) as u64, 8, head_of(&lines[7])));
            assert_eq!(found(directory.path(), &[head_of(&lines[8])]).0, "tail_missing", "which is worse");
            let events: Vec<_> = events(directory.path(), sha256).unwrap().collect();
            assert_eq!(events.len(), 9);
            assert!(events[..8].iter().all(Result::is_ok) && events[8].is_err());
        }
        let text = verify(directory.path(), sha256, &[]).unwrap_err().to_string();
        assert!(text.contains("line 9: record 9: torn tail: "), "{text}");
    }

    #[test]
    fn segments_that_were_moved_about_are_found() {
        let directory = tempfile::tempdir().unwrap();
        let head = filled(directory.path(), 30, 1000).close().head;
        let segments = Segment::list(directory.path()).unwrap();
        let [first, second, third, ..] = segments.as_slice() else { panic!("too few segments") };
        let at = |segment: &Segment| (directory.path().join("kept"), segment.path.clone());

        let (kept, path) = at(second);
        fs::rename(&path, &kept).unwrap();
        let finding = verify(directory.path(), sha256, &[head]).unwrap_err();
        assert_eq!(
            (finding.what.code(), finding.path.clone(), finding.seq),
            ("segment_missing", third.path.clone(), second.first)
        );
        fs::write(&path, "").unwrap();
        assert_eq!(found(directory.path(), &[]), ("segment_missing", 1, second.first));
        fs::copy(&first.path, &path).unwrap();
        assert_eq!(found(directory.path(), &[]).0, "repeated");
        let text = fs::read(&kept).unwrap();
        fs::write(&path, &text[..text.len() - 9]).unwrap();
        assert_eq!(found(directory.path(), &[]).0, "changed", "a tear is in the last segment alone");
        fs::remove_file(&path).unwrap();
        fs::rename(&kept, path.with_file_name(format!("audit-{:020}.jsonl", second.first + 1))).unwrap();
        assert_eq!(found(directory.path(), &[]), ("segment_misnamed", 1, second.first));

        fs::remove_file(&first.path).unwrap();
        assert_eq!(found(directory.path(), &[]), ("beginning_missing", 1, 1));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_changed_byte_anywhere_is_found(at in any::<prop::sample::Index>(), mask in 1..=255_u8) {
            let (directory, path, lines) = nine();
            let mut text = lines.concat().into_bytes();
            let at = at.index(text.len());
            text[at] ^= mask;
            fs::write(&path, &text).unwrap();
            let (_, line, seq) = found(directory.path(), &[]);
            let wanted = lines.concat().as_bytes()[..at].iter().filter(|&&byte| byte == b'\n').count() as u64 + 1;
            prop_assert_eq!((line, seq), (wanted, wanted));
        }
    }
}
