//! A body that is a file: any bytes, of which a rule takes all. It is yielded in pieces and never looked into.

use super::{Escape, Fault, Piece, Rewrite, Slot, Step};

/// The longest piece, in bytes. All pieces but the last are that long.
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// Rewrites one file.
pub struct Rewriter {
    rule: usize,
    input: Vec<u8>,
    /// How much of it was answered, and how much of the file.
    at: usize,
    offset: u64,
    finished: bool,
    /// The length of the piece that waits, and which one it is.
    waiting: Option<(usize, Piece)>,
    done: bool,
    output: Vec<u8>,
}

impl Rewriter {
    /// Starts on a body that the rule of that number takes.
    #[must_use]
    pub fn new(rule: usize) -> Rewriter {
        let (input, output) = (Vec::new(), Vec::new());
        Rewriter { rule, input, at: 0, offset: 0, finished: false, waiting: None, done: false, output }
    }

    /// What is not yet answered.
    fn rest(&self) -> &[u8] {
        self.input.get(self.at..).unwrap_or_default()
    }

    fn answer(&mut self, written: Option<&[u8]>) {
        let Some((length, piece)) = self.waiting.take() else { return };
        let kept = self.input.get(self.at..self.at + length).unwrap_or_default();
        self.output.extend_from_slice(written.unwrap_or(kept));
        self.at += length;
        self.offset += length as u64;
        self.done = piece.last;
    }
}

impl Rewrite for Rewriter {
    fn feed(&mut self, chunk: &[u8]) {
        self.input.drain(..std::mem::take(&mut self.at));
        self.input.extend_from_slice(chunk);
    }

    fn finish(&mut self) {
        self.finished = true;
    }

    fn step(&mut self) -> Result<Step, Fault> {
        if self.waiting.is_some() {
            return Ok(Step::Slot);
        }
        if self.done {
            return Ok(Step::Done);
        }
        // A whole piece waits until it is known whether more follows.
        let rest = self.rest().len();
        let is_last = self.finished && rest <= PIECE_BYTES_MAX;
        if !is_last && rest <= PIECE_BYTES_MAX {
            return Ok(Step::NeedInput);
        }
        let length = rest.min(PIECE_BYTES_MAX);
        self.waiting = Some((length, Piece { first: self.offset == 0, last: is_last }));
        Ok(Step::Slot)
    }

    fn slot(&self) -> Option<Slot<'_>> {
        let (length, piece) = self.waiting?;
        Some(Slot::of_piece(self.rule, (self.rest().get(..length)?, self.offset), piece, Escape::File))
    }

    fn keep(&mut self) {
        self.answer(None);
    }

    fn replace(&mut self, written: &[u8]) {
        self.answer(Some(written));
    }

    fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::testing::rewrite;
    use proptest::prelude::*;

    /// The pieces of a file, and what it becomes if a mark goes before each.
    fn rewritten(file: &[u8], lengths: &[usize]) -> (Vec<u8>, Vec<(u64, Piece, usize)>) {
        let mut pieces = Vec::new();
        let output = rewrite(&mut Rewriter::new(7), file, lengths, &mut |slot| {
            assert_eq!((slot.rule(), slot.text()), (Some(7), None));
            pieces.push((slot.range().start, slot.piece().unwrap(), slot.raw().len()));
            Some([b"#", slot.raw()].concat())
        });
        (output.unwrap(), pieces)
    }

    #[test]
    fn files_come_in_pieces_of_one_size() {
        const MAX: usize = PIECE_BYTES_MAX;
        for (length, want) in [
            (0, &[0][..]),
            (1, &[1]),
            (MAX, &[MAX]),
            (MAX + 1, &[MAX, 1]),
            (2 * MAX, &[MAX, MAX]),
            (2 * MAX + 9, &[MAX, MAX, 9]),
        ] {
            for lengths in [&[][..], &[1000, 1], &[MAX], &[MAX + 1]] {
                let (output, pieces) = rewritten(&vec![b'x'; length], lengths);
                assert_eq!(pieces.iter().map(|(.., length)| *length).collect::<Vec<_>>(), want);
                assert_eq!(output.len(), length + want.len());
                for (number, (start, piece, _)) in pieces.iter().enumerate() {
                    assert_eq!(*start, (number * MAX) as u64);
                    assert_eq!((piece.first, piece.last), (number == 0, number + 1 == want.len()));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn cuts_make_no_difference_and_kept_it_leaves_as_it_came(
            file in proptest::collection::vec(any::<u8>(), 0..300),
            lengths in proptest::collection::vec(1_usize..9, 1..5),
        ) {
            prop_assert_eq!(rewritten(&file, &lengths), rewritten(&file, &[]));
            let kept = rewrite(&mut Rewriter::new(0), &file, &lengths, &mut |_| None);
            prop_assert_eq!(kept.as_deref(), Ok(file.as_slice()));
        }
    }
}
