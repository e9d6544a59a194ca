//! What is yielded where, and that what is written there stays there.

mod contexts;
mod properties;
mod words;
mod written;

use crate::document::testing::rewrite;
use crate::document::{Escape, Fault, Kind, Limits, Place, Rewrite, Step};

use super::Rewriter;
use super::reader::Reader;
use crate::document::marks::Context;

const MARK: &[u8] = b"sgv1.";
const TOKEN: &str = "sgv1.AQ-_b";

/// Puts a token for every `T` of the template that no letter follows; tells how many.
fn filled(template: &str) -> (String, usize) {
    let mut document = String::new();
    let mut count = 0;
    for (at, c) in template.char_indices() {
        if c == 'T' && !template[at + 1..].starts_with(|next: char| next.is_ascii_alphabetic()) {
            document.push_str(TOKEN);
            count += 1;
        } else {
            document.push(c);
        }
    }
    (document, count)
}

/// A slot: what it holds, where it starts and how a text is written there.
type Seen = (String, u64, Escape);

#[derive(Clone, Debug, PartialEq)]
struct Run {
    output: Result<String, Fault>,
    seen: Vec<Seen>,
    left: u64,
}

/// Rewrites `document` fed in pieces; every slot gets `value`, or stays.
fn run(document: &[u8], lengths: &[usize], value: Option<&str>) -> Run {
    run_limited(document, lengths, value, Limits::default())
}

fn run_limited(document: &[u8], lengths: &[usize], value: Option<&str>, limits: Limits) -> Run {
    let mut rewriter = Rewriter::new(limits, MARK);
    let mut seen = Vec::new();
    let output = rewrite(&mut rewriter, document, lengths, &mut |slot| {
        assert_eq!((slot.rule(), slot.place(), slot.kind()), (None, Place::Value, Kind::Text));
        assert_eq!(slot.text(), Some(slot.raw()));
        seen.push((String::from_utf8(slot.raw().to_vec()).unwrap(), slot.range().start, slot.escape()));
        let mut written = Vec::new();
        value.filter(|value| slot.escape().text(value.as_bytes(), &mut written).is_ok()).map(|_| written)
    });
    if output.is_err() {
        assert_eq!(rewriter.step(), output.clone().map(|_| Step::Done), "a fault is final");
    }
    Run { output: output.map(|bytes| String::from_utf8(bytes).unwrap()), seen, left: rewriter.left() }
}

/// Rewrites whole and in pieces, which must make no difference.
fn check(document: &[u8], value: Option<&str>) -> Run {
    let whole = run(document, &[], value);
    for lengths in [&[1][..], &[2], &[3, 1], &[7]] {
        assert_eq!(run(document, lengths, value), whole, "{} in pieces of {lengths:?}", document.escape_ascii());
    }
    if let (None, Ok(output)) = (value, &whole.output) {
        assert_eq!(output.as_bytes(), document);
    }
    whole
}
