//! Tags: names, attributes, namespaces.

use std::ops::Range;

use super::{End, Flow, Lexer, Part, Piece, Start, State, Token, Turn};
use crate::document::Fault;
use crate::document::xml::foresight::Foresight;
use crate::document::xml::namespaces::is_declaration;
use crate::document::xml::{View, scan, text};

/// The most attributes in a tag, declarations of namespaces included.
const ATTRIBUTES_MAX: usize = 256;

/// The most white space between two parts of a tag, in bytes.
const GAP_MAX: u64 = 64 << 10;

/// The start tag at hand, as far as it was read.
#[derive(Default)]
pub(super) struct Pending {
    start: u64,
    /// Bytes of white space since the last part.
    gap: u64,
    quote: u8,
    /// The names of its attributes, one after the other, and where each stands.
    names: Vec<u8>,
    attributes: Vec<Range<usize>>,
    pieces: Vec<Piece>,
    /// Whether a part of it may be gone, since it holds a long value that nobody wants.
    passed: bool,
    /// What was found in the end tag.
    piece: Option<Piece>,
}

impl Pending {
    /// The tag that starts at a `<`.
    pub(super) fn at(start: u64) -> Pending {
        Pending { start, ..Pending::default() }
    }
}

impl Lexer {
    pub(super) fn start_name(&mut self, view: View<'_>) -> Turn {
        let Some(name) = self.name(view)? else { return Ok(Flow::Starved) };
        let piece = self.watched_name(view, &name);
        self.tag.pieces.extend(piece);
        self.open.push(self.names.len());
        self.names.extend_from_slice(view.slice(name));
        self.rooted = true;
        self.state = State::Tag;
        Ok(Flow::Go)
    }

    /// Before an attribute or the end of the tag.
    pub(super) fn in_tag(&mut self, view: View<'_>) -> Turn {
        self.gap(view)?;
        match view.from(self.at) {
            [b'>', ..] => self.start_tag(1),
            [b'/', b'>', ..] => self.start_tag(2),
            [] | [b'/'] => Ok(Flow::Starved),
            [b'/', ..] => {
                self.at += 1;
                Err(self.unexpected("`>`"))
            }
            _ if self.tag.gap == 0 => Err(self.unexpected("white space, `/>` or `>`")),
            _ => {
                self.token = self.at;
                self.state = State::AttributeName;
                Ok(Flow::Go)
            }
        }
    }

    pub(super) fn attribute_name(&mut self, view: View<'_>) -> Turn {
        let Some(name) = self.name(view)? else { return Ok(Flow::Starved) };
        let bytes = view.slice(name.clone());
        if self.tag.attributes.len() >= ATTRIBUTES_MAX {
            return Err(self.unaccepted(name.start, "more than 256 attributes"));
        }
        if self.tag.attributes.iter().any(|known| self.tag.names.get(known.clone()) == Some(bytes)) {
            return Err(self.unaccepted(name.start, "attribute that stands twice"));
        }
        let start = self.tag.names.len();
        self.tag.names.extend_from_slice(bytes);
        self.tag.attributes.push(start..self.tag.names.len());
        let piece = self.watched_name(view, &name);
        self.tag.pieces.extend(piece);
        self.tag.gap = 0;
        self.state = State::Equals;
        Ok(Flow::Go)
    }

    pub(super) fn equals(&mut self, view: View<'_>) -> Turn {
        self.gap(view)?;
        match view.from(self.at) {
            [] => return Ok(Flow::Starved),
            [b'=', ..] => self.at += 1,
            _ => return Err(self.unexpected("`=`")),
        }
        self.tag.gap = 0;
        self.state = State::Quote;
        Ok(Flow::Go)
    }

    pub(super) fn quote(&mut self, view: View<'_>) -> Turn {
        self.gap(view)?;
        match view.from(self.at) {
            [] => return Ok(Flow::Starved),
            [quote @ (b'"' | b'\''), ..] => self.tag.quote = *quote,
            _ => return Err(self.unexpected("a quoted value")),
        }
        self.at += 1;
        self.token = self.at;
        self.state = State::Value;
        let name = self.attribute(self.tag.attributes.len().saturating_sub(1));
        let mentioned = self.rules.mentions(scan::split_name(name).1).next().is_some();
        // After something that is kept it may not be of any length.
        self.passing = self.watch.is_none() && self.kept.is_none() && !mentioned && !is_declaration(name);
        Ok(Flow::Go)
    }

    pub(super) fn value(&mut self, whole: View<'_>, foresight: &Foresight) -> Turn {
        let limit = if self.passing { u64::MAX } else { self.token.saturating_add(self.value_bytes_max()) };
        let view = whole.until(limit.saturating_add(1));
        let quote = self.tag.quote;
        loop {
            let stop = |b| matches!(b, b'<' | b'&') || b == quote;
            let len = scan::chars(view.from(self.at), stop).map_err(|flaw| self.flaw(flaw))?;
            self.at += len as u64;
            match view.from(self.at) {
                [b'<', ..] => return Err(self.unexpected("no `<` in an attribute value")),
                rest @ [b'&', ..] => match scan::reference(rest) {
                    Ok(Some((_, len))) => self.at += len as u64,
                    Ok(None) => break,
                    Err(()) => return Err(Fault::BadEscape { offset: self.at }),
                },
                [byte, ..] if *byte == quote => return self.whole_value(view),
                _ => break,
            }
        }
        if whole.end() <= view.end() {
            return Ok(Flow::Starved);
        }
        self.long_value(whole, foresight)?;
        Ok(Flow::Go)
    }

    /// The value at hand is too long to be shown: it passes, if nobody wants it or anything before it in the tag.
    fn long_value(&mut self, view: View<'_>, foresight: &Foresight) -> Result<(), Fault> {
        let last = self.tag.attributes.len().saturating_sub(1);
        let shown = self.tag.pieces.iter().any(|piece| match piece.part {
            Part::Value { index, .. } => piece.watched || self.is_wanted(index, foresight),
            Part::Name | Part::Aside => true,
        });
        let head = text::decode_attribute(view.slice(self.token..self.at));
        if shown || is_declaration(self.attribute(last)) || self.is_wanted(last, foresight) || self.is_watched(&head) {
            return Err(self.value_too_long(self.token));
        }
        self.tag.pieces.clear();
        self.tag.passed = true;
        self.kept = None;
        self.passing = true;
        Ok(())
    }

    /// Whether a rule could select an attribute, or a predicate look at it, in whatever namespaces.
    fn is_wanted(&self, index: usize, foresight: &Foresight) -> bool {
        let (_, element) = scan::split_name(self.element());
        let (_, attribute) = scan::split_name(self.attribute(index));
        foresight.wants_attribute(element, attribute)
    }

    fn whole_value(&mut self, view: View<'_>) -> Turn {
        let range = self.token..self.at;
        if !self.passing {
            let index = self.tag.attributes.len().saturating_sub(1);
            let name = self.attribute(index);
            let mentioned = self.rules.mentions(scan::split_name(name).1).next().is_some();
            let value = text::decode_attribute(view.slice(range.clone()));
            if is_declaration(name) {
                let place = self.tag.attributes.get(index).cloned().unwrap_or_default();
                let name = self.tag.names.get(place).unwrap_or_default();
                let declared = self.namespaces.declare(name, &value, self.open.len());
                declared.map_err(|what| Fault::Unaccepted { offset: self.token, what })?;
            }
            let watched = self.is_watched(&value);
            if mentioned || watched {
                self.keep(range.start);
                let part = Part::Value { index, named: Default::default(), quote: self.tag.quote };
                self.tag.pieces.push(Piece { range, part, watched });
            }
        }
        self.at += 1;
        self.tag.gap = 0;
        self.state = State::Tag;
        Ok(Flow::Go)
    }

    /// The start tag ends with the next `len` bytes.
    fn start_tag(&mut self, len: u64) -> Turn {
        let mut pieces = std::mem::take(&mut self.tag.pieces);
        let unknown = Fault::Unaccepted { offset: self.tag.start, what: "prefix that is not declared" };
        let (prefix, local) = scan::split_name(self.element());
        let uri = self.namespaces.uri(prefix).ok_or_else(|| unknown.clone())?;
        let (element, named) = ((local, uri), self.rules.named(local, uri));
        let mut expanded = Vec::with_capacity(self.tag.attributes.len());
        for index in 0..self.tag.attributes.len() {
            let name = self.attribute(index);
            let (prefix, local) = scan::split_name(name);
            let uri = match prefix {
                _ if is_declaration(name) => None,
                b"" => Some(&[][..]),
                _ => Some(self.namespaces.uri(prefix).ok_or_else(|| unknown.clone())?),
            };
            expanded.push(uri.map(|uri| (uri, local)));
        }
        let prefixed = expanded.iter().flatten().filter(|(uri, _)| !uri.is_empty());
        if prefixed.clone().enumerate().any(|(at, name)| prefixed.clone().take(at).any(|known| known == name)) {
            return Err(self.unaccepted(self.tag.start, "attribute that stands twice, by different prefixes"));
        }
        let standing = self.rules.standing(element.0, element.1, expanded.iter().flatten().copied());
        for piece in &mut pieces {
            if let Part::Value { index, named, .. } = &mut piece.part {
                let name = expanded.get(*index).copied().flatten();
                *named = name.map(|(uri, local)| self.rules.named(local, uri)).unwrap_or_default();
            }
        }
        self.at += len;
        self.kept = None;
        let empty = len == 2;
        self.state = if empty { State::EmptyEnd } else { State::Text };
        let (range, whole) = (self.tag.start..self.at, !self.tag.passed);
        Ok(Flow::Token(Token::Start(Start { range, whole, named, standing, empty, pieces })))
    }

    pub(super) fn end_name(&mut self, view: View<'_>) -> Turn {
        let Some(name) = self.name(view)? else { return Ok(Flow::Starved) };
        if view.slice(name.clone()) != self.element() {
            return Err(self.unaccepted(name.start, "end tag of another element"));
        }
        self.tag.start = name.start - 2;
        self.tag.piece = self.watched_name(view, &name);
        self.tag.gap = 0;
        self.state = State::EndTag;
        Ok(Flow::Go)
    }

    pub(super) fn end_tag(&mut self, view: View<'_>) -> Turn {
        self.gap(view)?;
        match view.from(self.at) {
            [] => return Ok(Flow::Starved),
            [b'>', ..] => self.at += 1,
            _ => return Err(self.unexpected("`>`")),
        }
        Ok(self.end_of_element(self.tag.start))
    }

    pub(super) fn end_of_element(&mut self, start: u64) -> Flow {
        if let Some(name) = self.open.pop() {
            self.names.truncate(name);
        }
        self.namespaces.leave(self.open.len() + 1);
        self.kept = None;
        self.state = State::Text;
        Flow::Token(Token::End(End { start, piece: self.tag.piece.take() }))
    }

    /// Passes over white space in a tag.
    fn gap(&mut self, view: View<'_>) -> Result<(), Fault> {
        let spaces = scan::spaces(view.from(self.at)) as u64;
        self.at += spaces;
        self.tag.gap += spaces;
        if self.tag.gap > GAP_MAX {
            return Err(self.unaccepted(self.tag.start, "more than 64 KiB of white space in a tag"));
        }
        Ok(())
    }

    /// The name of the innermost open element.
    fn element(&self) -> &[u8] {
        self.open.last().and_then(|&start| self.names.get(start..)).unwrap_or_default()
    }

    /// The name of an attribute of the tag at hand.
    fn attribute(&self, index: usize) -> &[u8] {
        self.tag.attributes.get(index).and_then(|range| self.tag.names.get(range.clone())).unwrap_or_default()
    }
}
