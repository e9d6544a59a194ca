//! What the tests of these formats share.

use proptest::prelude::*;

use crate::document::{Escape, Fault, Limits, Place, Rewrite, Step, testing};

/// A slot as it was shown, for comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::document) struct Seen {
    pub(in crate::document) rule: Option<usize>,
    pub(in crate::document) place: Place,
    pub(in crate::document) raw: String,
    pub(in crate::document) text: Vec<u8>,
    pub(in crate::document) start: u64,
    pub(in crate::document) escape: Escape,
}

impl Seen {
    /// As `rule:raw=text`, with `-` for a stray and `name` for a name.
    fn told(&self) -> String {
        let rule = match (self.place, self.rule) {
            (Place::Name, _) => "name".to_owned(),
            (Place::Value, Some(rule)) => rule.to_string(),
            (Place::Value, None) => "-".to_owned(),
        };
        match String::from_utf8(self.text.clone()).unwrap() {
            text if text == self.raw => format!("{rule}:{text}"),
            text => format!("{rule}:{}={text}", self.raw),
        }
    }
}

/// The output or fault, and the slots on the way.
pub(in crate::document) type Outcome = (Result<Vec<u8>, Fault>, Vec<Seen>);

pub(in crate::document) type Answer<'a> = &'a dyn Fn(&Seen) -> Option<Vec<u8>>;

/// Starts a rewriter.
pub(in crate::document) type Start<'a> = &'a dyn Fn() -> Box<dyn Rewrite>;

/// Texts that stand for sealed values.
pub(in crate::document) fn tokens(text: &[u8]) -> bool {
    text.starts_with(b"tok:")
}

pub(in crate::document) fn tight(value_bytes_max: usize, name_bytes_max: usize) -> Limits {
    Limits { value_bytes_max, name_bytes_max, ..Limits::default() }
}

/// Rewrites a document, fed in pieces of the sizes given, over and over.
pub(in crate::document) fn run(start: Start<'_>, document: &[u8], sizes: &[usize], answer: Answer<'_>) -> Outcome {
    let mut rewriter = start();
    let mut seen = Vec::new();
    let result = testing::rewrite(&mut *rewriter, document, sizes, &mut |slot| {
        let shown = Seen {
            rule: slot.rule(),
            place: slot.place(),
            raw: std::str::from_utf8(slot.raw()).unwrap().to_owned(),
            text: slot.text().unwrap().to_vec(),
            start: slot.range().start,
            escape: slot.escape(),
        };
        let from = usize::try_from(shown.start).unwrap();
        assert!(document[from..].starts_with(shown.raw.as_bytes()), "the range is that of the raw bytes");
        let written = answer(&shown);
        seen.push(shown);
        written
    });
    assert_eq!(rewriter.step().err(), result.as_ref().err().cloned(), "what a document came to is final");
    (result, seen)
}

/// Likewise whole, by single bytes and by some sizes between, which must make no difference.
pub(in crate::document) fn check(start: Start<'_>, document: &[u8], answer: Answer<'_>) -> Outcome {
    let whole = run(start, document, &[usize::MAX], answer);
    for sizes in [&[1][..], &[2], &[3, 1], &[7], &[1, 16, 2]] {
        let cut = run(start, document, sizes, answer);
        assert_eq!(cut, whole, "{} in pieces of {sizes:?}", document.escape_ascii());
    }
    whole
}

/// The slots of a document that must pass, and pass unchanged when they are kept.
pub(in crate::document) fn listed(start: Start<'_>, document: &[u8]) -> Vec<String> {
    let (output, seen) = check(start, document, &|_| None);
    assert_eq!(output.as_deref(), Ok(document), "{}", document.escape_ascii());
    seen.iter().map(Seen::told).collect()
}

/// Why a document is refused, as code and offset; `passed` when it is not.
pub(in crate::document) fn refusal(start: Start<'_>, document: &[u8]) -> String {
    match check(start, document, &|_| None).0 {
        Ok(output) => {
            assert_eq!(output, document);
            "passed".to_owned()
        }
        Err(fault) => match fault {
            Fault::UnexpectedByte { offset, .. }
            | Fault::UnexpectedEnd { offset }
            | Fault::ControlCharacter { offset }
            | Fault::BadEscape { offset }
            | Fault::NotUtf8 { offset }
            | Fault::TooDeep { offset, .. }
            | Fault::NameTooLong { offset, .. }
            | Fault::ValueTooLong { offset, .. } => format!("{} {offset}", fault.code()),
            Fault::Unaccepted { offset, what } => format!("{what} {offset}"),
            Fault::WrongEncoding => fault.code().to_owned(),
        },
    }
}

/// Puts a text in the place of the first slot of a document that passes, and reads that place again: the texts before and
/// after; `None` when it has no slot or the text cannot be written there.
pub(in crate::document) fn rewritten(start: Start<'_>, document: &[u8], text: &[u8]) -> Option<(Vec<u8>, Seen)> {
    let (result, seen) = run(start, document, &[usize::MAX], &|_| None);
    result.ok()?;
    let first = seen.first()?;
    let mut written = Vec::new();
    first.escape.text(text, &mut written).ok()?;
    let at = first.start;
    let (output, _) = run(start, document, &[7], &|slot| (slot.start == at).then(|| written.clone()));
    let output = output.unwrap();
    let (result, again) = run(start, &output, &[usize::MAX], &|_| None);
    assert_eq!(result.as_deref(), Ok(&output[..]), "what was written is a document: {}", output.escape_ascii());
    let again = again.into_iter().find(|slot| slot.start == at).expect("what was written is found again");
    assert_eq!(again.raw.as_bytes(), written);
    Some((output, again))
}

/// One change to the bytes of a document.
#[derive(Clone, Debug)]
pub(in crate::document) enum Change {
    Put(u8),
    Insert(u8),
    Delete,
    Flip(u8),
    Truncate,
    Double(u8),
}

/// Changes, mostly by bytes that mean something.
pub(in crate::document) fn changes(
    telling: &'static [u8],
) -> impl Strategy<Value = Vec<(prop::sample::Index, Change)>> {
    let byte = move || prop_oneof![3 => prop::sample::select(telling), 1 => any::<u8>()];
    let change = prop_oneof![
        4 => byte().prop_map(Change::Put),
        4 => byte().prop_map(Change::Insert),
        2 => Just(Change::Delete),
        1 => (0_u8..8).prop_map(Change::Flip),
        1 => Just(Change::Truncate),
        2 => (1_u8..20).prop_map(Change::Double),
    ];
    proptest::collection::vec((any::<prop::sample::Index>(), change), 0..4)
}

pub(in crate::document) fn changed(document: &[u8], changes: &[(prop::sample::Index, Change)]) -> Vec<u8> {
    let mut bytes = document.to_vec();
    for (at, change) in changes {
        if bytes.is_empty() {
            break;
        }
        let at = at.index(bytes.len());
        match change {
            Change::Put(byte) => bytes[at] = *byte,
            Change::Insert(byte) => bytes.insert(at, *byte),
            Change::Delete => drop(bytes.remove(at)),
            Change::Flip(bit) => bytes[at] ^= 1 << bit,
            Change::Truncate => bytes.truncate(at),
            Change::Double(len) => {
                let end = (at + usize::from(*len)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
        }
    }
    bytes
}

/// What holds for every document: cuts make no difference, and what is kept is unchanged.
pub(in crate::document) fn uphold(start: Start<'_>, document: &[u8], sizes: &[usize]) {
    let whole = run(start, document, &[usize::MAX], &|_| None);
    assert_eq!(run(start, document, sizes, &|_| None), whole, "{}", document.escape_ascii());
    if let Ok(output) = whole.0 {
        assert_eq!(output, document);
    }
}

/// Rewrites `piece` over and over between `head` and `tail` and tells how much was buffered at most, and how many slots
/// there were.
pub(in crate::document) fn streamed(start: Start<'_>, head: &[u8], piece: &[u8], count: usize, tail: &[u8]) -> usize {
    let mut rewriter = start();
    let (mut slots, mut fed, mut out, mut behind) = (0, 0, 0, 0);
    let pieces = std::iter::once(head).chain(std::iter::repeat_n(piece, count)).chain(std::iter::once(tail));
    for piece in pieces {
        rewriter.feed(piece);
        fed += piece.len();
        while rewriter.step().unwrap() == Step::Slot {
            slots += 1;
            rewriter.keep();
        }
        out += rewriter.take_output().len();
        behind = behind.max(fed - out);
    }
    rewriter.finish();
    while rewriter.step().unwrap() == Step::Slot {
        slots += 1;
        rewriter.keep();
    }
    out += rewriter.take_output().len();
    assert_eq!(out, fed);
    assert!(behind < 2 << 10, "{behind} bytes were held back");
    slots
}
