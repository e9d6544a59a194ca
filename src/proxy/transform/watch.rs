//! What must be seen of a request wherever it stands: tokens, under escapes too, and what says that a value did not open.

use super::mark::{self, UNOPENABLE};
use crate::document::{FindMark, Watch};
use crate::proxy::target;
use crate::seal::token::find_token;
use memchr::memmem::Finder;
use std::sync::LazyLock;

pub(super) const WATCH: Watch = Watch::marked(is_watched, find);

/// Whether a text holds a token, or says that a value is absent.
pub(super) fn is_watched(text: &[u8]) -> bool {
    target::may_hold_token(text) || mark::is_absence(text)
}

static MARKED: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(UNOPENABLE));
static SAID: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(mark::PREFIX));

/// Where in some bytes the first thing starts without which no text is watched.
fn find(bytes: &[u8]) -> Option<usize> {
    let finds: [FindMark; 4] = [target::find_escape, find_token, |bytes| MARKED.find(bytes), |bytes| SAID.find(bytes)];
    // What one has found bounds the next, but for what starts before and goes on behind.
    let bounded = |found: Option<usize>, find: &FindMark| {
        let end = found.map_or(bytes.len(), |at| at + Watch::MARK_BYTES_MAX);
        let at = find(bytes.get(..end).unwrap_or(bytes)).or(found)?;
        Some(found.map_or(at, |found| found.min(at)))
    };
    finds.iter().fold(None, bounded)
}

const _: () = assert!(UNOPENABLE.len() <= Watch::MARK_BYTES_MAX && mark::PREFIX.len() <= Watch::MARK_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::super::extension::HIDDEN;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_watched_is_found_where_it_starts() {
        for (text, at) in [
            (&b"sgv1.AAEC"[..], Some(0)),
            (b"see sgv9.", Some(4)),
            (b"sgv sgvx sgv1", None),
            (b"a%73gv1.", Some(1)),
            (b"a & sgv1.", Some(2)),
            (b"sgv1. & b", Some(0)),
            (b"x\\u0073", Some(1)),
            (UNOPENABLE, Some(0)),
            (b"100% [UNOPENABLE]", Some(3)),
            (b"[UNOPENABLE] 100%", Some(0)),
            (b"[UNOPENABLE%", Some(11)),
            (mark::URL, Some(0)),
            (HIDDEN, Some(0)),
            (b"urn:uuid:0b7c", None),
            (b"", None),
        ] {
            assert_eq!(find(text), at, "{}", text.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn no_text_is_watched_in_which_nothing_is_found(
            pieces in proptest::collection::vec(
                prop_oneof![
                    Just("sgv"), Just("sgv1."), Just("s"), Just("gv1."), Just("%73"), Just("&#115;"), Just("\\x73"),
                    Just("[UNOPENABLE]"), Just("urn:sealgate:hidden"), Just("urn:sealgate:unopenable"), Just("urn:"), Just("x"),
                ],
                0..6,
            ),
        ) {
            let text = pieces.concat();
            prop_assert!(!is_watched(text.as_bytes()) || find(text.as_bytes()).is_some(), "{text}");
        }

        #[test]
        fn what_is_found_is_the_first_of_all(
            pieces in proptest::collection::vec(
                prop_oneof![Just("sgv1."), Just("sgv"), Just("%"), Just("&"), Just("[UNOPENABLE]"), Just("urn:sealgate:"), Just("x")],
                0..8,
            ),
        ) {
            let text = pieces.concat();
            let is_start = |at: &usize| {
                let rest = &text[*at..];
                ["%", "&", "sgv1.", "[UNOPENABLE]", "urn:sealgate:"].iter().any(|mark| rest.starts_with(mark))
            };
            prop_assert_eq!(find(text.as_bytes()), (0..text.len()).find(is_start));
        }
    }
}
