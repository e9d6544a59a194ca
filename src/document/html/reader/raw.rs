//! Text in which no tag starts but the one that ends it: RCDATA, RAWTEXT and script data.

use super::super::ground::Content;
use super::{Name, Reader, is_space};
use crate::document::html::tag::Tag;

/// The element whose text is read.
#[derive(Default)]
pub(super) struct Raw {
    content: Option<Content>,
    name: Name,
    /// The name of the tag that seems to start.
    word: Name,
    escaped: Escaped,
    /// In an escaped script: how many dashes came last; 2 stands for more.
    dashes: u8,
}

/// How deep a script is in what looks like an HTML comment.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Escaped {
    #[default]
    No,
    Once,
    /// After `<script` in there: an end tag ends only that.
    Twice,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Text,
    /// After `<`.
    Less,
    /// After `</`.
    EndOpen,
    EndName,
    /// After `<!` in a script.
    EscapeStart,
    /// After `<!-`.
    EscapeStartDash,
    /// In the name after `<` in an escaped script, or after `</` in a doubly escaped one.
    Turn,
}

impl Raw {
    pub(super) fn new(name: Name, content: Content) -> Raw {
        Raw { content: Some(content), name, ..Raw::default() }
    }

    pub(super) fn is_script(&self) -> bool {
        self.content == Some(Content::Script)
    }

    pub(super) fn has_references(&self) -> bool {
        self.content == Some(Content::Rcdata)
    }

    /// Whether it is a script, in what looks like an HTML comment.
    pub(super) fn is_escaped(&self) -> bool {
        self.escaped != Escaped::No
    }

    fn text(&mut self, byte: u8) -> State {
        match byte {
            b'<' => {
                self.dashes = 0;
                return State::Less;
            }
            b'-' => self.dashes = (self.dashes + 1).min(2),
            b'>' if self.dashes == 2 => {
                self.escaped = Escaped::No;
                self.dashes = 0;
            }
            _ => self.dashes = 0,
        }
        State::Text
    }

    /// What follows on `<`; `None` where it is text.
    fn less(&mut self, byte: u8) -> Option<State> {
        self.word = Name::default();
        match (self.escaped, byte) {
            (Escaped::Twice, b'/') => Some(State::Turn),
            (Escaped::Twice, _) => None,
            (_, b'/') => Some(State::EndOpen),
            (Escaped::No, b'!') if self.is_script() => Some(State::EscapeStart),
            (Escaped::Once, b'A'..=b'Z' | b'a'..=b'z') => {
                self.word.push(byte);
                Some(State::Turn)
            }
            (_, _) => None,
        }
    }

    fn dash(&mut self, second: bool) -> State {
        if !second {
            return State::EscapeStartDash;
        }
        self.escaped = Escaped::Once;
        self.dashes = 2;
        State::Text
    }

    /// The next byte after `<` or `</` and a name in an escaped script.
    fn turn(&mut self, byte: u8) -> Option<State> {
        if byte.is_ascii_alphabetic() {
            self.word.push(byte);
            return Some(State::Turn);
        }
        if (is_space(byte) || byte == b'/' || byte == b'>') && self.word.is(b"script") {
            self.escaped = if self.escaped == Escaped::Once { Escaped::Twice } else { Escaped::Once };
        }
        None
    }

    fn is_end(&self) -> bool {
        self.word.whole().is_some() && self.word.whole() == self.name.whole()
    }
}

impl Reader {
    pub(super) fn raw(&mut self, state: State, byte: u8) {
        if self.raw.is_script() {
            self.script.read(byte);
        }
        let next = match (state, byte) {
            (State::Text, _) => Some(self.raw.text(byte)),
            (State::Less, _) => self.raw.less(byte),
            (State::EndOpen | State::EndName, b'A'..=b'Z' | b'a'..=b'z') => {
                self.raw.word.push(byte);
                Some(State::EndName)
            }
            (State::EndName, b'/' | b'>' | b' ' | b'\t' | b'\n' | b'\x0c' | b'\r') if self.raw.is_end() => {
                self.tag = Tag::new(true);
                self.tag.name = self.raw.name;
                return self.again(super::State::TagName, byte);
            }
            (State::EscapeStart | State::EscapeStartDash, b'-') => Some(self.raw.dash(state == State::EscapeStartDash)),
            (State::Turn, _) => self.raw.turn(byte),
            (_, _) => None,
        };
        // Where it was no tag after all the byte is text like any other, which may start one.
        let next = next.unwrap_or_else(|| self.raw.text(byte));
        self.state = super::State::Raw(next);
    }
}
