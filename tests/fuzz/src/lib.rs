//! What the targets of the document formats share: one document is rewritten in several ways, and what holds of every
//! rewriter is asserted.
//!
//! The first byte of an input says how it is cut into pieces, the rest is the document.

use sealgate::document::{Escape, Fault, Kind, Limits, Piece, Place, Rewrite, Role, Step, Watch};
use sealgate::seal::token::{find_token, holds_token};

/// Starts a rewriter.
pub type Start<'a> = &'a dyn Fn(Limits) -> Box<dyn Rewrite>;

/// Low enough for short documents to reach them.
pub const TIGHT: Limits = Limits { depth_max: 8, value_bytes_max: 24, object_bytes_max: 96, name_bytes_max: 12 };

/// What takes the place of values. To a gate it is a token.
pub const MARK: &[u8] = b"sgv1.AAAA";

/// Strings that hold tokens are shown.
pub const TOKENS: Watch = Watch::marked(holds_token, find_token);

/// Longer inputs have nothing that shorter ones have not, and a file in them could come in more than one piece.
const INPUT_BYTES_MAX: usize = 16 << 10;

/// How a document is cut: the lengths of pieces, over and over.
#[derive(Clone, Copy)]
pub struct Cuts([usize; 2]);

const WHOLE: Cuts = Cuts([usize::MAX; 2]);

/// What becomes of values that are objects or arrays when they are marked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Composites {
    /// They are replaced like others.
    Marked,
    /// They stay: rules look into them to tell whether they are selected.
    Kept,
}

/// Asserts all that holds of a format where rules select values.
pub fn judge(data: &[u8], composites: Composites, start: Start<'_>) {
    let Some((cuts, document)) = split(data) else { return };
    stays(cuts, document, TIGHT, start);
    let seen = stays(cuts, document, Limits::default(), start);
    if let Some(seen) = seen {
        gives_its_texts_back(cuts, document, &seen, start);
        holds_marks(cuts, document, &seen, composites, start);
    }
}

/// Takes an input apart.
pub fn split(data: &[u8]) -> Option<(Cuts, &[u8])> {
    let (&first, document) = data.split_first()?;
    let lengths = [usize::from(first & 15) + 1, usize::from(first >> 4).pow(2) + 1];
    (data.len() <= INPUT_BYTES_MAX).then_some((Cuts(lengths), document))
}

/// A document whose slots are kept leaves as it came, and cuts make no difference. Tells its slots, if it passes.
pub fn stays(cuts: Cuts, document: &[u8], limits: Limits, start: Start<'_>) -> Option<Vec<Seen>> {
    let keep: Answer<'_> = &|_| None;
    let whole = rewrite(WHOLE, document, &mut *start(limits.clone()), keep);
    if whole.end.is_ok() {
        assert_same(&whole.output, document, "kept, so unchanged");
    } else {
        assert!(document.starts_with(&whole.output), "what left before the fault is unchanged");
    }
    for slot in &whole.seen {
        assert!(slot.rule.is_some() || !slot.shown().is_empty(), "selected or watched");
        assert!(slot.place == Place::Value || slot.kind == Kind::Text, "names are text");
        let max = limits.value_bytes_max.max(limits.name_bytes_max);
        // Quotes of a name in a header of a part do not count.
        assert!(slot.raw.len() <= max + 2 || slot.piece.is_some(), "within the limits");
    }
    for cuts in [cuts, Cuts([1; 2])] {
        let pieces = rewrite(cuts, document, &mut *start(limits.clone()), keep);
        assert_eq!(pieces.end, whole.end, "however it is cut");
        assert_eq!(pieces.seen, whole.seen, "however it is cut");
        if pieces.end.is_ok() {
            assert_same(&pieces.output, document, "kept, so unchanged");
        } else {
            assert!(document.starts_with(&pieces.output), "what left before the fault is unchanged");
        }
    }
    whole.end.is_ok().then_some(whole.seen)
}

/// Each text is written where it stood, and read again as it was.
pub fn gives_its_texts_back(cuts: Cuts, document: &[u8], seen: &[Seen], start: Start<'_>) {
    let answer: Answer<'_> = &|slot| slot.is_writable().then(|| slot.written(slot.shown())).flatten();
    let Some(again) = rewritten(cuts, document, seen, answer, start) else { return };
    let told = |seen: &[Seen]| -> Vec<_> {
        seen.iter().map(|slot| (slot.rule, slot.place, slot.kind, slot.shown().to_vec())).collect()
    };
    assert_eq!(told(&again), told(seen), "the same texts at the same places");
}

/// Each value that a rule selects is replaced by a mark, and the marks are what the rules select then.
pub fn holds_marks(cuts: Cuts, document: &[u8], seen: &[Seen], composites: Composites, start: Start<'_>) {
    let is_marked = |slot: &Seen| {
        let composite = matches!(slot.kind, Kind::Object | Kind::Array);
        slot.rule.is_some() && (composites == Composites::Marked || !composite)
    };
    let answer: Answer<'_> = &|slot| is_marked(slot).then(|| slot.written(MARK)).flatten();
    let Some(again) = rewritten(cuts, document, seen, answer, start) else { return };
    let ruled = |seen: &[Seen]| -> Vec<_> {
        let ruled = seen.iter().filter(|slot| slot.rule.is_some());
        ruled.map(|slot| (slot.rule, slot.is_test, slot.shown().to_vec())).collect()
    };
    let mut expect = seen.to_vec();
    for slot in expect.iter_mut().filter(|slot| answer(slot).is_some()) {
        slot.text = Some(MARK.to_vec());
    }
    assert_eq!(ruled(&again), ruled(&expect), "the marks, and what could not be marked");
}

/// The slots of what comes out where `answer` replaces those that were seen; `None` if nothing may come out.
pub fn rewritten(
    cuts: Cuts,
    document: &[u8],
    seen: &[Seen],
    answer: Answer<'_>,
    start: Start<'_>,
) -> Option<Vec<Seen>> {
    let written = rewrite(cuts, document, &mut *start(Limits::default()), answer);
    if let Err(Fault::Unaccepted { what: "replacement that holds the boundary", .. }) = written.end {
        return None;
    }
    assert_eq!(written.end, Ok(()), "what is put in makes no fault");
    assert_eq!(written.seen, seen, "what is put in is not searched");
    assert_same(&written.output, &spliced(document, seen, answer), "nothing but the slots has changed");
    let again = rewrite(cuts, &written.output, &mut *start(Limits::default()), &|_| None);
    assert_eq!(again.end, Ok(()), "what was written reads: {}", written.output.escape_ascii());
    Some(again.seen)
}

fn spliced(document: &[u8], seen: &[Seen], answer: Answer<'_>) -> Vec<u8> {
    let (mut out, mut at) = (Vec::new(), 0);
    for slot in seen {
        out.extend_from_slice(&document[at..slot.start]);
        out.extend(answer(slot).unwrap_or_else(|| slot.raw.clone()));
        at = slot.start + slot.raw.len();
    }
    out.extend_from_slice(&document[at..]);
    out
}

fn assert_same(found: &[u8], expect: &[u8], why: &str) {
    assert!(found == expect, "{why}: {} for {}", found.escape_ascii(), expect.escape_ascii());
}

/// What takes the place of a slot; `None` keeps it.
pub type Answer<'a> = &'a dyn Fn(&Seen) -> Option<Vec<u8>>;

/// A slot as it was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub rule: Option<usize>,
    pub place: Place,
    pub kind: Kind,
    pub escape: Escape,
    pub text: Option<Vec<u8>>,
    pub raw: Vec<u8>,
    pub start: usize,
    pub is_test: bool,
    piece: Option<Piece>,
    role: Role,
    holds_watched: bool,
    inner_rules: Vec<usize>,
    indices: Vec<u64>,
}

impl Seen {
    /// Its text, or itself where it has none.
    fn shown(&self) -> &[u8] {
        self.text.as_deref().unwrap_or(&self.raw)
    }

    /// Whether what is shown can be put in its place: all but the values of JSON that are no text.
    fn is_writable(&self) -> bool {
        self.text.is_some() || self.piece.is_some()
    }

    pub fn written(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        self.escape.text(text, &mut out).is_ok().then_some(out)
    }
}

struct Outcome {
    output: Vec<u8>,
    seen: Vec<Seen>,
    end: Result<(), Fault>,
}

fn rewrite(cuts: Cuts, document: &[u8], rewriter: &mut dyn Rewrite, answer: Answer<'_>) -> Outcome {
    let (mut output, mut seen) = (Vec::new(), Vec::new());
    let mut lengths = cuts.0.iter().cycle();
    let mut rest = document;
    let end = loop {
        match rewriter.step() {
            Err(fault) => {
                assert_eq!(rewriter.step(), Err(fault.clone()), "a fault is final");
                break Err(fault);
            }
            Ok(Step::Done) => break Ok(()),
            Ok(Step::NeedInput) if rest.is_empty() => rewriter.finish(),
            Ok(Step::NeedInput) => {
                let length = lengths.next().map_or(usize::MAX, |length| *length);
                let (piece, after) = rest.split_at(length.min(rest.len()));
                rewriter.feed(piece);
                rest = after;
            }
            Ok(Step::Slot) => {
                assert_eq!(rewriter.step(), Ok(Step::Slot), "a slot waits");
                let slot = show(rewriter);
                assert!(document[slot.start..].starts_with(&slot.raw), "the bytes as written");
                match answer(&slot) {
                    Some(written) => rewriter.replace(&written),
                    None => rewriter.keep(),
                }
                assert!(rewriter.slot().is_none() || rewriter.step() == Ok(Step::Slot), "it is answered");
                seen.push(slot);
            }
        }
        output.extend(rewriter.take_output());
    };
    output.extend(rewriter.take_output());
    Outcome { output, seen, end }
}

fn show(rewriter: &dyn Rewrite) -> Seen {
    let slot = rewriter.slot().expect("one that waits");
    assert_eq!(slot.range().end - slot.range().start, slot.raw().len() as u64);
    Seen {
        rule: slot.rule(),
        place: slot.place(),
        kind: slot.kind(),
        escape: slot.escape(),
        text: slot.text().map(<[u8]>::to_vec),
        raw: slot.raw().to_vec(),
        start: usize::try_from(slot.range().start).expect("short"),
        is_test: slot.is_test(),
        piece: slot.piece(),
        role: slot.role(),
        holds_watched: slot.holds_watched(),
        inner_rules: slot.inner_rules().to_vec(),
        indices: slot.indices().collect(),
    }
}
