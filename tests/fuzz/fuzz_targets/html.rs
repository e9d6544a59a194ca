//! Any body is HTML, and any but a few are text: what takes the place of a word leaves the others where they are.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sealgate::document::{Escape, Limits, html, text};
use sealgate_fuzz::{Seen, Start, TIGHT, rewritten, split, stays};

const MARK: &[u8] = b"sgv1.";

/// Texts that would end what they stand in, were they not written with care. None is a single byte: with a NUL after it,
/// the start of a document would look like UTF-16.
const NASTY: [&str; 8] = [
    "\"'><script>`",
    "</script></textarea></title></style>-->]]>",
    "\n.",
    "\\\\",
    "&lt;&#60;amp;#x3c;",
    "<!--<script>",
    "${a}\r\n\t\u{2028}\u{feff}\u{85}",
    " onload=x javascript:alert(1) ",
];

fuzz_target!(|data: &[u8]| {
    judge(data, &|limits| Box::new(html::Rewriter::new(limits, MARK)));
    judge(data, &|limits| Box::new(text::Rewriter::new(limits, MARK)));
});

fn judge(data: &[u8], start: Start<'_>) {
    let Some((cuts, document)) = split(data) else { return };
    stays(cuts, document, TIGHT, start);
    let Some(seen) = stays(cuts, document, Limits::default(), start) else { return };
    for nasty in NASTY {
        for first in [0, 1] {
            let replaced: Vec<_> = seen.iter().skip(first).step_by(2).map(|slot| slot.start).collect();
            let answer = |slot: &Seen| replaced.contains(&slot.start).then(|| slot.written(nasty.as_bytes())).flatten();
            let Some(again) = rewritten(cuts, document, &seen, &answer, start) else { return };
            // What may become markup keeps the rest of its string sealed.
            let is_told = |slot: &&Seen| !(nasty.contains('<') && slot.escape == Escape::JsString);
            let told = |slot: &Seen| (slot.raw.clone(), slot.escape);
            let others = seen.iter().filter(|slot| answer(slot).is_none()).filter(is_told).map(told);
            let found = again.iter().filter(is_told).map(told);
            assert_eq!(found.collect::<Vec<_>>(), others.collect::<Vec<_>>(), "{nasty:?}");
        }
    }
    // A word is found again where it is written as it is.
    let answer = |slot: &Seen| match slot.escape {
        Escape::JsString | Escape::HtmlUnquoted => None,
        _ => slot.written(b"sgv1.AAAA"),
    };
    let again = rewritten(cuts, document, &seen, &answer, start).expect("nothing is refused");
    let expect = seen.iter().map(|slot| answer(slot).unwrap_or_else(|| slot.raw.clone()));
    assert_eq!(again.into_iter().map(|slot| slot.raw).collect::<Vec<_>>(), expect.collect::<Vec<_>>());
}
