//! Any text is a field path or it is not; any body leaves the rewriter as it came but for what was replaced, however it is
//! cut into pieces.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sealgate::document::json::{Rewriter, Rules};
use sealgate::document::path::FieldPath;
use sealgate::document::{Fault, Limits, Place, Rewrite, Step};
use sealgate::seal::token::holds_token;
use sealgate_fuzz::TOKENS;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

static RULES: LazyLock<Arc<Rules>> = LazyLock::new(|| {
    let paths = ["$.a", "$.b[*].c", "$..d", "$.e[1]", "$['f g'].*", "$[0]", "$.b[*].h.i"];
    let paths = paths.map(|path| FieldPath::parse(path).expect("a path"));
    Arc::new(Rules::compile(&paths).expect("few steps"))
});

const LIMITS: Limits = Limits { depth_max: 16, value_bytes_max: 256, object_bytes_max: 1024, name_bytes_max: 64 };

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        match FieldPath::parse(text) {
            Ok(path) => {
                assert_eq!(path.to_string(), text);
                assert!(Rules::compile(&[path]).is_ok() || text.len() > 4096);
            }
            Err(error) => assert!((1..=text.chars().count() + 1).contains(&error.column())),
        }
    }
    let Some((first, body)) = data.split_first() else { return };
    let whole = rewrite(body, usize::MAX, None);
    if whole.end.is_ok() {
        assert!(whole.output == body, "kept, so unchanged");
    } else {
        assert!(body.starts_with(&whole.output), "what left before the fault is unchanged");
    }
    let pieces = rewrite(body, usize::from(*first) % 16 + 1, None);
    assert!((pieces.end.is_ok(), &pieces.slots) == (whole.end.is_ok(), &whole.slots), "however it is cut");
    if pieces.end.is_ok() {
        assert!(pieces.output == body);
    }
    let replaced = rewrite(body, usize::from(*first) % 16 + 1, Some(b"\"sgv1.x\""));
    if replaced.end.is_ok() {
        assert!(replaced.output == spliced(body, &replaced.slots), "nothing but the slots has changed");
    }
});

struct Outcome {
    output: Vec<u8>,
    slots: Vec<Range<usize>>,
    end: Result<(), Fault>,
}

fn rewrite(body: &[u8], piece: usize, replacement: Option<&[u8]>) -> Outcome {
    let mut rewriter = Rewriter::new(Arc::clone(&RULES), LIMITS, Some(TOKENS));
    let (mut output, mut slots) = (Vec::new(), Vec::new());
    let mut pieces = body.chunks(piece.min(body.len().max(1)));
    let end = loop {
        match rewriter.step() {
            Err(fault) => {
                assert!(rewriter.step() == Err(fault.clone()), "the same again");
                break Err(fault);
            }
            Ok(Step::Done) => break Ok(()),
            Ok(Step::NeedInput) => match pieces.next() {
                Some(piece) => rewriter.feed(piece),
                None => rewriter.finish(),
            },
            Ok(Step::Slot) => {
                let slot = rewriter.slot().expect("one that waits");
                let range = usize::try_from(slot.range().start).expect("short")
                    ..usize::try_from(slot.range().end).expect("short");
                assert!(slot.raw() == &body[range.clone()], "the bytes as written");
                assert!(slot.raw().len() <= LIMITS.value_bytes_max.max(LIMITS.name_bytes_max));
                assert!(slot.rule().is_some() || slot.text().is_some_and(holds_token), "selected or watched");
                assert!(slot.place() == Place::Value || slot.text().is_some(), "names are text");
                slots.push(range);
                match replacement {
                    Some(json) => rewriter.replace(json),
                    None => rewriter.keep(),
                }
            }
        }
        output.extend(rewriter.take_output());
    };
    output.extend(rewriter.take_output());
    Outcome { output, slots, end }
}

fn spliced(body: &[u8], slots: &[Range<usize>]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    for slot in slots {
        out.extend_from_slice(&body[at..slot.start]);
        out.extend_from_slice(b"\"sgv1.x\"");
        at = slot.end;
    }
    out.extend_from_slice(&body[at..]);
    out
}
