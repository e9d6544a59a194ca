//! Names and other short words, kept in constant memory.

/// The first bytes of a word, ASCII letters in lower case. A longer one equals none.
#[derive(Clone, Copy, Default)]
pub(super) struct Name {
    bytes: [u8; NAME_BYTES_MAX],
    len: usize,
}

/// No name that matters is longer.
const NAME_BYTES_MAX: usize = 32;

impl Name {
    pub(super) fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte.to_ascii_lowercase();
        }
        self.len = self.len.saturating_add(1);
    }

    /// The whole word.
    pub(super) fn whole(&self) -> Option<&[u8]> {
        self.bytes.get(..self.len)
    }

    /// As much of it as is kept.
    pub(super) fn start(&self) -> &[u8] {
        self.whole().unwrap_or(&self.bytes)
    }

    pub(super) fn is(&self, word: &[u8]) -> bool {
        self.whole() == Some(word)
    }

    pub(super) fn is_one_of(&self, words: &[&[u8]]) -> bool {
        self.whole().is_some_and(|whole| words.contains(&whole))
    }
}
