//! The rewriter as its callers see it.

mod blocks;
mod corners;
mod edges;
mod grammar;
mod inside;
pub(super) mod levels;
mod primitives;
mod properties;
mod slots;

use std::sync::Arc;

use super::*;
use crate::document::path::FieldPath;
use crate::document::{Kind, Place};

/// A slot as it was shown, for comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    rule: Option<usize>,
    place: Place,
    kind: Kind,
    raw: String,
    text: Option<Vec<u8>>,
    range: std::ops::Range<u64>,
    indices: Vec<u64>,
    containers: Vec<u64>,
    holds_watched: bool,
}

type Rewritten = (Result<Vec<u8>, Fault>, Vec<Seen>);

fn rules(paths: &[&str]) -> Arc<Rules> {
    let paths: Vec<FieldPath> = paths.iter().map(|path| FieldPath::parse(path).unwrap()).collect();
    Arc::new(Rules::compile(&paths).unwrap())
}

/// Strings that stand for sealed values.
const TOKENS: Watch = Watch::marked(tokens, |bytes| memchr::memmem::find(bytes, b"tok:"));

fn tokens(text: &[u8]) -> bool {
    text.starts_with(b"tok:")
}

struct Case {
    rules: Arc<Rules>,
    limits: Limits,
    watch: Option<Watch>,
    /// What takes the place of a slot; `None` keeps it.
    answer: fn(&Seen) -> Option<Vec<u8>>,
}

impl Case {
    fn new(paths: &[&str]) -> Case {
        Case { rules: rules(paths), limits: Limits::default(), watch: None, answer: |_| None }
    }

    fn watched(self) -> Case {
        Case { watch: Some(TOKENS), ..self }
    }

    fn limited(self, limits: Limits) -> Case {
        Case { limits, ..self }
    }

    fn answered(self, answer: fn(&Seen) -> Option<Vec<u8>>) -> Case {
        Case { answer, ..self }
    }

    /// Rewrites `document`, fed in pieces of the sizes given (over and over).
    fn run(&self, document: &[u8], sizes: &[usize]) -> Rewritten {
        let mut rewriter = Rewriter::new(self.rules.clone(), self.limits.clone(), self.watch);
        let (mut output, mut seen) = (Vec::new(), Vec::new());
        let mut rest = document;
        let mut sizes = sizes.iter().cycle();
        loop {
            match rewriter.step() {
                Err(fault) => {
                    assert_eq!(rewriter.step(), Err(fault.clone()), "a fault is final");
                    return (Err(fault), seen);
                }
                Ok(Step::Done) => {
                    output.extend(rewriter.take_output());
                    return (Ok(output), seen);
                }
                Ok(Step::NeedInput) if rest.is_empty() => rewriter.finish(),
                Ok(Step::NeedInput) => {
                    let (piece, after) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
                    rewriter.feed(piece);
                    rest = after;
                }
                Ok(Step::Slot) => {
                    assert_eq!(rewriter.step(), Ok(Step::Slot), "a slot waits");
                    let slot = show(&rewriter.slot().unwrap());
                    match (self.answer)(&slot) {
                        Some(json) => rewriter.replace(&json),
                        None => rewriter.keep(),
                    }
                    assert!(rewriter.slot().is_none());
                    seen.push(slot);
                }
            }
            output.extend(rewriter.take_output());
        }
    }

    /// Likewise whole, by single bytes and by some sizes between, and at every level, which must make no difference.
    fn check(&self, document: &[u8]) -> Rewritten {
        let whole = self.run(document, &[usize::MAX]);
        for level in levels::all() {
            let run = levels::at(level, || self.run(document, &[usize::MAX]));
            assert_eq!(run, whole, "{} at {level:?}", document.escape_ascii());
        }
        for sizes in [&[1][..], &[2], &[3, 1], &[7], &[1, 16, 2]] {
            assert_eq!(self.run(document, sizes), whole, "{} in pieces of {sizes:?}", document.escape_ascii());
        }
        whole
    }
}

fn show(slot: &Slot<'_>) -> Seen {
    let range = slot.range();
    assert_eq!(range.end - range.start, slot.raw().len() as u64);
    Seen {
        rule: slot.rule(),
        place: slot.place(),
        kind: slot.kind(),
        raw: std::str::from_utf8(slot.raw()).unwrap().to_owned(),
        text: slot.text().map(<[u8]>::to_vec),
        range,
        indices: slot.indices().collect(),
        containers: (0..).map_while(|depth| slot.container(depth)).collect(),
        holds_watched: slot.holds_watched(),
    }
}
