//! Blocks, as every level reads them, against a reader that goes byte by byte.

use fearless_simd::{Simd, dispatch};
use proptest::collection::vec;
use proptest::prelude::*;

use super::levels;
use crate::document::json::blocks::{Before, Block, Blocks, LEN};

const BEFORE: [Before; 4] = [Before::Open, Before::Comma, Before::Colon, Before::Value];

/// What is seen of some input, by place.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    /// Where a token starts, and of which kind it is: a bracket, a comma, a colon, `"` or, for a word, `w`.
    tokens: Vec<(usize, u8)>,
    wanted: Vec<usize>,
    after_string: Vec<usize>,
    late: Vec<usize>,
    bad_in_object: Vec<usize>,
    bad_in_array: Vec<usize>,
    /// By block: which of the strings that have started are plain from there to its end.
    plain: Vec<Vec<bool>>,
}

impl Seen {
    /// What is seen before the first string or character that is none: behind it nothing is promised but that it is told.
    fn until(mut self, flaw: Option<usize>) -> Seen {
        let is_before = |at: &usize| flaw.is_none_or(|flaw| *at < flaw);
        self.bad_in_object.retain(is_before);
        self.bad_in_array.retain(is_before);
        self
    }
}

/// By blocks.
#[inline(always)]
fn seen<S: Simd>(simd: S, view: &[u8], from: usize, before: Before) -> Seen {
    let mut blocks = Blocks::new(simd, view, from, before, true);
    let mut seen = Seen::default();
    let mut base = from;
    while let Some(block) = blocks.read() {
        assert_eq!(block.base, base);
        base += LEN;
        note(&mut seen, &block, view);
        let strings = seen.tokens.iter().filter(|(_, kind)| *kind == b'"');
        seen.plain.push(strings.map(|(at, _)| blocks.is_plain(*at)).collect());
    }
    seen
}

fn note(seen: &mut Seen, block: &Block, view: &[u8]) {
    let places = |bits: u64| (0..LEN).filter(move |bit| bits >> bit & 1 != 0).map(|bit| block.base + bit);
    let kinds = [block.opens, block.closes, block.commas, block.colons, block.strings, block.words];
    assert_eq!(
        kinds.iter().map(|kind| kind.count_ones()).sum::<u32>(),
        kinds.iter().fold(0, |a, b| a | b).count_ones()
    );
    assert_eq!(block.marks(), block.opens | block.closes | block.commas | block.colons);
    let tokens = kinds.iter().fold(0, |all, kind| all | kind);
    seen.tokens.extend(places(tokens).map(|at| {
        let is_word = block.words >> (at - block.base) & 1 != 0;
        (at, if is_word { b'w' } else { view[at] })
    }));
    seen.wanted.extend(places(block.wanted));
    seen.after_string.extend(places(block.after_string));
    seen.late.extend(places(block.late));
    seen.bad_in_object.extend(places(block.bad_in_object));
    seen.bad_in_array.extend(places(block.bad_in_array));
}

/// The same byte by byte, and where the first string or character is that is none.
fn expected(view: &[u8], from: usize, before: Before) -> (Seen, Option<usize>) {
    let mut seen = Seen::default();
    let mut flaw = std::str::from_utf8(&view[from..]).err().map(|error| from + error.valid_up_to());
    let (mut is_inside, mut is_in_word, mut is_escaped) = (false, false, false);
    for (at, &byte) in view.iter().enumerate().skip(from) {
        let escapes = byte == b'\\' && !is_escaped;
        if escapes && !is_escape(&view[at + 1..]) || is_inside && byte < b' ' {
            flaw = Some(flaw.map_or(at, |flaw| flaw.min(at)));
        }
        let is_quote = byte == b'"' && !is_escaped;
        is_escaped = escapes;
        let is_mark = matches!(byte, b'{' | b'}' | b'[' | b']' | b',' | b':');
        let was_in_word = std::mem::take(&mut is_in_word);
        match byte {
            _ if is_quote => {
                if !is_inside {
                    seen.tokens.push((at, byte));
                }
                is_inside = !is_inside;
            }
            _ if is_inside => {}
            b' ' | b'\t' | b'\r' | b'\n' => {}
            _ if is_mark => seen.tokens.push((at, byte)),
            _ => {
                is_in_word = true;
                if !was_in_word {
                    seen.tokens.push((at, b'w'));
                }
            }
        }
    }
    judge(&mut seen, from, before);
    for end in (from..view.len()).step_by(LEN).map(|base| view.len().min(base + LEN)) {
        let strings = seen.tokens.iter().filter(|(at, kind)| *kind == b'"' && *at < end);
        let is_plain = |at: usize| view[at..end].iter().all(|byte| byte.is_ascii() && *byte != b'\\');
        seen.plain.push(strings.map(|(at, _)| is_plain(*at)).collect());
    }
    (seen, flaw)
}

fn is_escape(after: &[u8]) -> bool {
    match after {
        [b'u', digits @ ..] => digits.len() >= 4 && digits[..4].iter().all(u8::is_ascii_hexdigit),
        [byte, ..] => b"\"\\/bfnrt".contains(byte),
        [] => false,
    }
}

/// Which tokens follow on which, and which may not.
fn judge(seen: &mut Seen, from: usize, before: Before) {
    let mut last = match before {
        Before::Open => b'{',
        Before::Comma => b',',
        Before::Colon => b':',
        Before::Value => b'w',
    };
    let mut is_name = false;
    for &(at, token) in &seen.tokens {
        let is_close = matches!(token, b'}' | b']');
        let is_value = matches!(token, b'"' | b'w' | b'{' | b'[');
        let starts = matches!(last, b'{' | b'[' | b',');
        let is_wanted = starts || last == b':';
        if is_wanted {
            seen.wanted.push(at);
        }
        // Nobody looks at strings before the place at which blocks begin to be read.
        if last == b'"' {
            seen.after_string.push(at);
        }
        let block = (at - from) / LEN;
        let is_in_block_before = |(at, _): &(usize, u8)| (at - from) / LEN + 1 == block;
        if token == b':' && block > 0 && !seen.tokens.iter().any(is_in_block_before) {
            seen.late.push(at);
        }
        let is_bad = !is_close && is_value != is_wanted;
        if is_bad || token == b':' {
            seen.bad_in_array.push(at);
        }
        if is_bad || starts && token != b'"' && !is_close || (token == b':') != is_name {
            seen.bad_in_object.push(at);
        }
        is_name = starts && token == b'"';
        last = token;
    }
}

/// At every level.
fn check(view: &[u8], from: usize, before: Before) {
    let (want, flaw) = expected(view, from, before);
    let want = want.until(flaw);
    for level in levels::all() {
        let seen = dispatch!(level, simd => seen(simd, view, from, before));
        // A character that is cut by the end of a block is told of at the start of the next, if there is one.
        let is_told = |bad: &[usize], flaw: usize| bad.contains(&flaw) || bad.contains(&(flaw + 1));
        if let Some(flaw) = flaw.filter(|flaw| flaw + 1 < view.len()) {
            let is_told = is_told(&seen.bad_in_object, flaw) && is_told(&seen.bad_in_array, flaw);
            assert!(is_told, "{level:?} from {from} at {flaw} of {}", view.escape_ascii());
        }
        assert_eq!(seen.until(flaw), want, "{level:?} from {from} of {}", view.escape_ascii());
    }
}

#[test]
fn every_byte_is_told_from_the_others_at_every_place() {
    for byte in 0..=u8::MAX {
        for (open, fill) in [(b' ', b' '), (b'"', b'x')] {
            let row = |row: usize| (0..LEN).map(move |at| if at % 8 == row { byte } else { fill });
            let mut view: Vec<u8> = (0..8).flat_map(row).collect();
            view.insert(0, open);
            check(&view, 0, Before::Open);
            check(&view, 1, Before::Open);
        }
    }
}

#[test]
fn strings_words_and_gaps_run_across_blocks() {
    let runs: [&[u8]; 12] = [
        b" ",
        b"\t",
        b"1",
        b"\"",
        b"\\",
        b"\\\\\"",
        b"\\u00e9",
        "\u{e9}".as_bytes(),
        "\u{20ac}".as_bytes(),
        "\u{1f600}".as_bytes(),
        b"\xc3",
        b"{\"a\":[1, \"b\"]},",
    ];
    for run in runs {
        for len in [1, 2, 61, 62, 63, 64, 65, 66, 127, 128, 129, 192, 193] {
            for (open, close) in
                [("{\"a\" ", ":1}"), ("[\"", "\",2]"), ("[\"a", "\\\"\",2]"), ("[1", ",\"b\"]"), ("", "\":")]
            {
                let repeated = run.iter().cycle().take(len);
                let view: Vec<u8> = open.bytes().chain(repeated.copied()).chain(close.bytes()).collect();
                for from in 0..3.min(view.len()) {
                    BEFORE.iter().for_each(|before| check(&view, from, *before));
                }
            }
        }
    }
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    let texts = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\"a\":",
        "\"b\"",
        "true",
        "-1.5",
        "\\",
        "\\\\",
        "\\\"",
        "\\u00e9",
        "\\ud83d",
        "\\u00",
        "\\x",
        "\u{e9}",
        "\u{3b1}\u{3b2}",
        "\u{20ac}",
        "\u{1f600}",
        "\n",
        "\t",
        "\r",
        "\u{0}",
        "\u{1f}",
        "\u{7f}",
    ];
    let cut: [&[u8]; 10] = [
        b"\x80",
        b"\xbf",
        b"\xc0\xaf",
        b"\xc3",
        b"\xe2\x82",
        b"\xed\xa0\x80",
        b"\xf0\x9f\x98",
        b"\xf4\x90\x80\x80",
        b"\xf5",
        b"\xff",
    ];
    prop_oneof![
        12 => prop::sample::select(texts.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::sample::select(cut.to_vec()).prop_map(<[u8]>::to_vec),
        2 => (prop::sample::select(b" xa1\\".to_vec()), 1_usize..80).prop_map(|(byte, len)| vec![byte; len]),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ]
}

proptest! {
    #[test]
    fn any_bytes_are_read_at_every_level_as_they_are_byte_by_byte(
        pieces in vec(piece(), 1..60), from: prop::sample::Index, before in 0..BEFORE.len(),
    ) {
        let view = pieces.concat();
        check(&view, from.index(view.len()), BEFORE[before]);
        check(&view, 0, BEFORE[before]);
    }
}
