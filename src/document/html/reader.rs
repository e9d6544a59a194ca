//! The states of the tokenizer (13.2.5 of the standard), as many as tell where a byte stands.

mod raw;

use super::ground::{Content, Ground};
use super::name::Name;
use super::script::Script;
use super::tag::Tag;
use crate::document::Escape;
use crate::document::marks::Context;

/// An HTML document between two bytes.
#[derive(Default)]
pub struct Reader {
    state: State,
    tag: Tag,
    ground: Ground,
    raw: raw::Raw,
    script: Script,
    /// Whether a line feed that comes next is dropped by readers.
    is_loose: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Data,
    /// After `<`, outside of raw text.
    TagOpen,
    /// After `</`.
    EndTagOpen,
    TagName,
    SelfClosing,
    BeforeAttribute,
    AttributeName,
    AfterAttributeName,
    BeforeValue,
    /// In a value, with the quote that ends it.
    Value(Option<u8>),
    AfterValue,
    /// What ends at the next `>`, such as a DOCTYPE.
    Bogus,
    /// After `<!`.
    Declaration,
    /// After `<!-`.
    DeclarationDash,
    CommentStart,
    CommentStartDash,
    Comment,
    CommentEndDash,
    CommentEnd,
    CommentEndBang,
    /// After `<!` and so many bytes of `[CDATA[`.
    CdataStart(usize),
    /// In a section, after so many brackets that may start its end: 2 stands for more.
    Cdata(u8),
    /// In raw text.
    Raw(raw::State),
    /// No telling, to the end of the document.
    Lost,
}

const CDATA_START: &[u8] = b"[CDATA[";

impl Context for Reader {
    const TAKES_NUL: bool = true;

    fn read(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        loop {
            let skipped = self.skip(rest);
            rest = rest.get(skipped..).unwrap_or_default();
            self.is_loose &= skipped == 0;
            let Some((&byte, after)) = rest.split_first() else { return };
            self.is_loose = false;
            self.turn(byte);
            rest = after;
        }
    }

    fn escape(&self, before: [u8; 2]) -> Option<Escape> {
        let text = if self.is_loose { Escape::HtmlFirstText } else { Escape::HtmlText };
        let [_, last] = before;
        // What comes next would be read as a part of a character reference.
        let referring = last == b'&' || before == *b"&#";
        match self.state {
            State::Raw(raw::State::Text) if self.raw.is_script() => {
                // Among what looks like a comment the dashes of a word might end it, and those of a text would not.
                (!self.raw.is_escaped() && self.script.is_in_string()).then_some(Escape::JsString)
            }
            _ if referring => None,
            State::Data => (!self.ground.is_code()).then_some(text),
            State::Raw(raw::State::Text) => self.raw.has_references().then_some(text),
            State::BeforeValue => self.tag.escape(false, 0),
            State::Value(quote) => self.tag.escape(quote.is_some(), last),
            _ => None,
        }
    }
}

impl Reader {
    /// Where it stands, for comparison: the state, then the rest.
    #[cfg(test)]
    pub(super) fn show(&self) -> (String, String) {
        let script = if self.raw.is_script() { self.script.show() } else { String::new() };
        let (tag, ground) = (self.tag.name.start().escape_ascii(), self.ground.show());
        (format!("{:?}", self.state), format!("<{tag}> {ground} {script}"))
    }

    /// How many bytes at the start bring nothing.
    fn skip(&self, bytes: &[u8]) -> usize {
        let next = match self.state {
            State::Data => memchr::memchr(b'<', bytes),
            State::Comment => memchr::memchr(b'-', bytes),
            State::Bogus => memchr::memchr(b'>', bytes),
            State::Raw(raw::State::Text) if !self.raw.is_script() => memchr::memchr(b'<', bytes),
            State::Value(Some(quote)) if self.tag.is_value_unread() => memchr::memchr(quote, bytes),
            State::Lost => None,
            _ => return 0,
        };
        next.unwrap_or(bytes.len())
    }

    fn turn(&mut self, byte: u8) {
        match self.state {
            State::Data if byte == b'<' => self.state = State::TagOpen,
            State::Data | State::Lost => {}
            State::TagOpen | State::EndTagOpen | State::TagName | State::SelfClosing => self.tag(byte),
            State::BeforeAttribute | State::AttributeName | State::AfterAttributeName => self.attribute(byte),
            State::BeforeValue | State::Value(_) | State::AfterValue => self.value(byte),
            State::Bogus if byte == b'>' => self.state = State::Data,
            State::Bogus => {}
            State::Declaration | State::DeclarationDash => self.declaration(byte),
            State::CdataStart(_) | State::Cdata(_) => self.cdata(byte),
            State::Raw(state) => self.raw(state, byte),
            _ => self.comment(byte),
        }
    }

    /// Reads the byte again, in another state.
    fn again(&mut self, state: State, byte: u8) {
        self.state = state;
        self.turn(byte);
    }

    fn tag(&mut self, byte: u8) {
        match (self.state, byte) {
            (State::TagOpen, b'!') => self.state = State::Declaration,
            (State::TagOpen, b'/') => self.state = State::EndTagOpen,
            (State::TagOpen, b'?') => self.state = State::Bogus,
            (State::TagOpen | State::EndTagOpen, b'A'..=b'Z' | b'a'..=b'z') => {
                self.tag = Tag::new(self.state == State::EndTagOpen);
                self.again(State::TagName, byte);
            }
            (State::TagOpen, _) => self.again(State::Data, byte),
            (State::EndTagOpen, b'>') => self.state = State::Data,
            (State::EndTagOpen, _) => self.again(State::Bogus, byte),
            (State::SelfClosing, b'>') => self.close_tag(true),
            (State::SelfClosing, _) => self.again(State::BeforeAttribute, byte),
            (_, b'/') => self.state = State::SelfClosing,
            (_, b'>') => self.close_tag(false),
            (_, _) if is_space(byte) => self.state = State::BeforeAttribute,
            (_, _) => self.tag.name.push(byte),
        }
    }

    fn attribute(&mut self, byte: u8) {
        match (self.state, byte) {
            (State::AttributeName, b'/' | b'>' | b'=') => {
                self.tag.end_attribute_name();
                self.again(State::AfterAttributeName, byte);
            }
            (State::AttributeName, _) if is_space(byte) => {
                self.tag.end_attribute_name();
                self.state = State::AfterAttributeName;
            }
            (State::AttributeName, _) => self.tag.push_attribute(byte),
            (_, _) if is_space(byte) => {}
            (_, b'/') => self.state = State::SelfClosing,
            (_, b'>') => self.close_tag(false),
            (State::AfterAttributeName, b'=') => self.state = State::BeforeValue,
            (_, _) => {
                // Even `=` may be the first of a name.
                self.tag.begin_attribute();
                self.tag.push_attribute(byte);
                self.state = State::AttributeName;
            }
        }
    }

    fn value(&mut self, byte: u8) {
        match (self.state, byte) {
            (State::BeforeValue, b'"' | b'\'') => self.state = State::Value(Some(byte)),
            (State::BeforeValue, _) if is_space(byte) => {}
            (State::BeforeValue, b'>') => self.close_tag(false),
            (State::BeforeValue, _) => self.again(State::Value(None), byte),
            (State::Value(None), b'>') => self.close_tag(false),
            (State::Value(None), _) if is_space(byte) => self.state = State::BeforeAttribute,
            (State::Value(Some(quote)), _) if byte == quote => self.state = State::AfterValue,
            (State::Value(_), _) => self.tag.read(byte),
            (_, _) => self.again(State::BeforeAttribute, byte),
        }
    }

    fn close_tag(&mut self, self_closing: bool) {
        self.state = State::Data;
        let name = self.tag.name;
        if self.tag.is_end {
            self.ground.end(&name);
            return;
        }
        let content = self.ground.start(name, self_closing);
        self.is_loose = content == Content::LooseMarkup || content == Content::Rcdata && name.is(b"textarea");
        match content {
            Content::Markup | Content::LooseMarkup => {}
            Content::Unknown => self.state = State::Lost,
            Content::Rcdata | Content::Rawtext | Content::Script => {
                self.raw = raw::Raw::new(name, content);
                self.script = self.tag.script();
                self.state = State::Raw(raw::State::Text);
            }
        }
    }

    fn declaration(&mut self, byte: u8) {
        match (self.state, byte) {
            (State::Declaration, b'-') => self.state = State::DeclarationDash,
            (State::Declaration, b'[') => self.again(State::CdataStart(0), byte),
            (State::DeclarationDash, b'-') => self.state = State::CommentStart,
            // A DOCTYPE too ends at the first `>`, even in quotes.
            (_, _) => self.again(State::Bogus, byte),
        }
    }

    fn comment(&mut self, byte: u8) {
        self.state = match (self.state, byte) {
            (State::CommentStart, b'-') => State::CommentStartDash,
            (State::CommentStart | State::CommentStartDash, b'>') => State::Data,
            (State::CommentStartDash | State::CommentEndDash, b'-') => State::CommentEnd,
            (State::CommentEnd | State::CommentEndBang, b'>') => State::Data,
            (State::CommentEnd, b'!') => State::CommentEndBang,
            (State::CommentEnd, b'-') => State::CommentEnd,
            (_, b'-') => State::CommentEndDash,
            (_, _) => State::Comment,
        };
    }

    fn cdata(&mut self, byte: u8) {
        self.state = match (self.state, byte) {
            (State::CdataStart(count), _) if CDATA_START.get(count) == Some(&byte) => {
                match (count + 1 == CDATA_START.len(), self.ground.has_cdata()) {
                    (false, _) => State::CdataStart(count + 1),
                    (true, Some(true)) => State::Cdata(0),
                    (true, Some(false)) => State::Bogus,
                    (true, None) => State::Lost,
                }
            }
            (State::CdataStart(_), _) => return self.again(State::Bogus, byte),
            (State::Cdata(2), b'>') => State::Data,
            (State::Cdata(count), b']') => State::Cdata((count + 1).min(2)),
            (_, _) => State::Cdata(0),
        };
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | b'\x0c' | b'\r' | b' ')
}
