//! Changes of a body that was read whole: what takes the place of which part.

use std::collections::HashMap;
use std::ops::Range;

/// Changes, in any order. No two of them may overlap.
#[derive(Default)]
pub(super) struct Edits {
    all: Vec<(Range<usize>, Vec<u8>)>,
    /// The last of those that end there.
    by_end: HashMap<usize, usize>,
    /// Where the deletion starts that ends there.
    deletions: HashMap<usize, usize>,
}

impl Edits {
    pub(super) fn replace(&mut self, range: Range<usize>, with: Vec<u8>) {
        if with.is_empty() && !range.is_empty() {
            self.deletions.insert(range.end, range.start);
        }
        self.by_end.insert(range.end, self.all.len());
        self.all.push((range, with));
    }

    pub(super) fn insert(&mut self, at: usize, what: Vec<u8>) {
        self.replace(at..at, what);
    }

    pub(super) fn delete(&mut self, range: Range<usize>) {
        self.replace(range, Vec::new());
    }

    /// Whether that is what the value becomes that ends at `end`, itself or by way of one before it.
    pub(super) fn ends_with(&self, end: usize, text: &[u8]) -> bool {
        let mut end = end;
        loop {
            let Some((range, with)) = self.by_end.get(&end).and_then(|last| self.all.get(*last)) else { return false };
            if !with.is_empty() || range.is_empty() {
                return with == text;
            }
            end = range.start;
        }
    }

    /// Where the deletion starts that ends at `end`, white space apart.
    pub(super) fn deletion_before(&self, body: &[u8], end: usize) -> Option<usize> {
        let text = body.get(..end)?.trim_ascii_end().len();
        self.deletions.get(&end).or_else(|| self.deletions.get(&text)).copied()
    }

    /// Makes them; `None` if they overlap or reach beyond the body.
    pub(super) fn make(mut self, body: &[u8]) -> Option<Vec<u8>> {
        self.all.sort_by_key(|(range, _)| (range.start, range.end));
        let grown: usize = self.all.iter().map(|(_, with)| with.len()).sum();
        let mut out = Vec::with_capacity(body.len() + grown);
        let mut at = 0;
        for (range, with) in &self.all {
            out.extend_from_slice(body.get(at..range.start)?);
            out.extend_from_slice(with);
            at = range.end;
        }
        out.extend_from_slice(body.get(at..)?);
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_made_in_the_order_of_the_body() {
        let mut edits = Edits::default();
        edits.replace(4..5, b"E".to_vec());
        edits.insert(1, b"-".to_vec());
        edits.delete(1..3);
        assert_eq!(edits.make(b"abcdef").as_deref(), Some(&b"a-dEf"[..]));
        for ranges in [[0..2, 1..3], [0..1, 5..7]] {
            let mut edits = Edits::default();
            ranges.into_iter().for_each(|range| edits.replace(range, b"x".to_vec()));
            assert_eq!(edits.make(b"abcdef"), None);
        }
    }
}
