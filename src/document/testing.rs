//! What the tests of all formats share.

use super::{Fault, Rewrite, Slot, Step};

/// What an answer puts in the place of a slot; `None` keeps it.
pub(super) type Answer<'a> = &'a mut dyn FnMut(&Slot<'_>) -> Option<Vec<u8>>;

/// Rewrites `document`, fed in pieces of the given lengths, over and over; an empty list feeds it whole.
pub(super) fn rewrite(
    rewriter: &mut dyn Rewrite,
    document: &[u8],
    lengths: &[usize],
    answer: Answer<'_>,
) -> Result<Vec<u8>, Fault> {
    let mut output = Vec::new();
    let mut rest = document;
    for length in lengths.iter().cycle().map(|length| (*length).max(1)) {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at(length.min(rest.len()));
        rewriter.feed(piece);
        rest = after;
        assert!(!turn(rewriter, answer, &mut output)?, "done before the end was told");
    }
    rewriter.feed(rest);
    rewriter.finish();
    assert!(turn(rewriter, answer, &mut output)?, "not done although nothing follows");
    Ok(output)
}

fn turn(rewriter: &mut dyn Rewrite, answer: Answer<'_>, output: &mut Vec<u8>) -> Result<bool, Fault> {
    loop {
        let step = rewriter.step()?;
        output.extend(rewriter.take_output());
        match step {
            Step::NeedInput => return Ok(false),
            Step::Done => return Ok(true),
            Step::Slot => match answer(&rewriter.slot().expect("a slot waits")) {
                Some(written) => rewriter.replace(&written),
                None => rewriter.keep(),
            },
        }
    }
}
