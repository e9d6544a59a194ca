//! UTF-8 (RFC 3629), checked while it comes in pieces. It keeps no text.

/// How far a sequence of bytes has come.
#[derive(Clone, Default)]
pub(super) struct Utf8 {
    /// How many bytes the character at hand lacks.
    missing: u8,
    /// What the next of them may be.
    low: u8,
    high: u8,
}

impl Utf8 {
    /// Whether the text may go on with `byte`.
    pub(super) fn push(&mut self, byte: u8) -> bool {
        if self.missing > 0 {
            let fits = (self.low..=self.high).contains(&byte);
            *self = Utf8 { missing: self.missing - 1, low: 0x80, high: 0xbf };
            return fits;
        }
        let (missing, low, high) = match byte {
            0x00..=0x7f => return true,
            0xc2..=0xdf => (1, 0x80, 0xbf),
            0xe0 => (2, 0xa0, 0xbf),
            0xed => (2, 0x80, 0x9f),
            0xe1..=0xef => (2, 0x80, 0xbf),
            0xf0 => (3, 0x90, 0xbf),
            0xf1..=0xf3 => (3, 0x80, 0xbf),
            0xf4 => (3, 0x80, 0x8f),
            _ => return false,
        };
        *self = Utf8 { missing, low, high };
        true
    }

    /// Takes all of `bytes`; the index of the first that does not fit.
    pub(super) fn flaw(&mut self, bytes: &[u8]) -> Option<usize> {
        if self.is_whole() && bytes.is_ascii() {
            return None;
        }
        bytes.iter().position(|&byte| !self.push(byte))
    }

    /// Whether no character is cut off.
    pub(super) fn is_whole(&self) -> bool {
        self.missing == 0
    }
}

/// The beginning of a text that is valid but for its end: without the character that is cut off there.
pub(super) fn whole_characters(text: &[u8]) -> &[u8] {
    match std::str::from_utf8(text) {
        Ok(_) => text,
        Err(error) => text.get(..error.valid_up_to()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(bytes: &[u8]) {
        let mut utf8 = Utf8::default();
        let valid = utf8.flaw(bytes).is_none() && utf8.is_whole();
        assert_eq!(valid, std::str::from_utf8(bytes).is_ok(), "{}", bytes.escape_ascii());
    }

    #[test]
    fn every_pair_of_first_bytes_is_judged_as_by_the_standard_library() {
        for first in 0..=255_u8 {
            check(&[first]);
            for second in 0..=255_u8 {
                for tail in [&[][..], &[0x80], &[0x80, 0xbf], &[0x80, 0x41]] {
                    check(&[&[first, second], tail].concat());
                }
            }
        }
    }

    proptest! {
        #[test]
        fn text_is_text_however_it_is_cut(text: String, size in 1_usize..5) {
            let mut utf8 = Utf8::default();
            for piece in text.as_bytes().chunks(size) {
                prop_assert_eq!(utf8.flaw(piece), None);
            }
            prop_assert!(utf8.is_whole());
        }
    }
}
