//! Plain text: marked words anywhere in it.
//!
//! No rules and no grammar: a text is UTF-8 without NUL, else it is refused. A byte order mark at its start is kept.

use super::{Escape, NotWritable, marks};

/// Yields every marked word of a plain text, as a stray.
pub type Rewriter = marks::Rewriter<Text>;

/// Text that looks the same everywhere.
#[derive(Default)]
pub struct Text;

impl marks::Context for Text {
    const TAKES_NUL: bool = false;

    fn read(&mut self, _bytes: &[u8]) {}

    fn escape(&self, _before: [u8; 2]) -> Option<Escape> {
        Some(Escape::Plain)
    }
}

/// Writes a text as it is.
///
/// # Errors
///
/// [`NotWritable`], where it holds NUL or is not UTF-8.
pub(super) fn plain(text_wtf8: &[u8], out: &mut Vec<u8>) -> Result<(), NotWritable> {
    out.extend_from_slice(readable(text_wtf8)?.as_bytes());
    Ok(())
}

/// The text, if it can be read where there are no escapes for NUL and lone surrogates.
pub(super) fn readable(text_wtf8: &[u8]) -> Result<&str, NotWritable> {
    let text = std::str::from_utf8(text_wtf8).map_err(|_| NotWritable)?;
    if memchr::memchr(0, text_wtf8).is_some() { Err(NotWritable) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::document::testing::rewrite;
    use crate::document::{Fault, Limits};

    type Run = (Result<Vec<u8>, Fault>, Vec<(String, u64)>);

    /// Rewrites with every word put in brackets, or kept.
    fn run(document: &[u8], lengths: &[usize], kept: bool) -> Run {
        let mut rewriter = Rewriter::new(Limits { value_bytes_max: 12, ..Limits::default() }, b"sgv1.");
        let mut seen = Vec::new();
        let output = rewrite(&mut rewriter, document, lengths, &mut |slot| {
            assert_eq!((slot.rule(), slot.escape()), (None, Escape::Plain));
            seen.push((String::from_utf8(slot.raw().to_vec()).unwrap(), slot.range().start));
            (!kept).then(|| [b"[", slot.raw(), b"]"].concat())
        });
        // Where a NUL follows on the first word, the encoding may be another: it is left, and the document refused.
        assert!(rewriter.left() == 0 || document.contains(&0) && output.is_err(), "{output:?}");
        (output, seen)
    }

    #[test]
    fn marked_words_are_found_wherever_they_stand() {
        for (document, expect) in [
            ("", ""),
            ("none", "none"),
            ("sgv1.a", "[sgv1.a]"),
            ("sgv1.", "[sgv1.]"),
            ("\u{feff}sgv1.a", "\u{feff}[sgv1.a]"),
            ("a sgv1.AQ-_9, 'sgv1.b'.", "a [sgv1.AQ-_9], '[sgv1.b]'."),
            ("ésgv1.aé<sgv1.b>", "é[sgv1.a]é<[sgv1.b]>"),
            ("sgsgv1.a", "sgsgv1.a"),
            ("sgvsgv1.a sgv1 sgv1.c", "sgvsgv1.a sgv1 [sgv1.c]"),
            ("sgv1.a.sgv1.b", "[sgv1.a].sgv1.b"),
            ("SGV1.a sgv2.a .sgv1.a -sgv1.a _sgv1.a 0sgv1.a", "SGV1.a sgv2.a .sgv1.a -sgv1.a _sgv1.a 0sgv1.a"),
            ("xsgv1.longer-than-the-limit", "xsgv1.longer-than-the-limit"),
        ] {
            for lengths in [&[][..], &[1], &[2], &[3], &[4, 1]] {
                let (output, _) = run(document.as_bytes(), lengths, false);
                assert_eq!(output, Ok(expect.as_bytes().to_vec()), "{document} in pieces of {lengths:?}");
            }
        }
    }

    #[test]
    fn what_is_no_text_is_refused() {
        for (document, fault) in [
            (&b"abc\0"[..], Fault::ControlCharacter { offset: 3 }),
            (b"abc\0\xff", Fault::ControlCharacter { offset: 3 }),
            (b"abc\xff\0", Fault::NotUtf8 { offset: 3 }),
            (b"abc\xc3", Fault::NotUtf8 { offset: 3 }),
            (b"\xed\xa0\x80", Fault::NotUtf8 { offset: 0 }),
            (b"\xff\xfea\0", Fault::WrongEncoding),
            (b"\xfe\xff\0a", Fault::WrongEncoding),
            (b"a\0b\0", Fault::WrongEncoding),
            (b"\0a\0b", Fault::WrongEncoding),
            (b"\0", Fault::WrongEncoding),
            (b"sgv1.\0", Fault::ControlCharacter { offset: 5 }),
            (b"a sgv1.12345678", Fault::ValueTooLong { offset: 2, max: 12 }),
            (b"a sgv1.12345678\xff", Fault::ValueTooLong { offset: 2, max: 12 }),
        ] {
            for lengths in [&[][..], &[1], &[2], &[3], &[4, 1]] {
                assert_eq!(run(document, lengths, true).0, Err(fault.clone()), "{}", document.escape_ascii());
            }
        }
    }

    proptest! {
        #[test]
        fn cuts_make_no_difference(
            pieces in proptest::collection::vec(
                prop_oneof![
                    prop::sample::select(vec!["sgv1.", "sgv1", "sgv", "s", ".", "-", " ", "a", "AQ-_", "é"])
                        .prop_map(|piece| piece.as_bytes().to_vec()),
                    proptest::collection::vec(any::<u8>(), 0..2),
                ],
                0..24,
            ),
            lengths in proptest::collection::vec(1_usize..9, 1..6),
            kept: bool,
        ) {
            let document = pieces.concat();
            let whole = run(&document, &[], kept);
            prop_assert_eq!(&run(&document, &lengths, kept), &whole);
            prop_assert_eq!(&run(&document, &[1], kept), &whole);
            if let (true, Ok(output)) = (kept, whole.0) {
                prop_assert_eq!(output, document);
            }
        }
    }
}
