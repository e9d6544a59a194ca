//! Text, CDATA sections, comments and processing instructions.

use super::{Aside, Flow, Lexer, Part, Piece, Run, State, Token, Turn, tag};
use crate::document::Fault;
use crate::document::xml::foresight::Foresight;
use crate::document::xml::scan::{self, Flaw};
use crate::document::xml::{View, text};

const CDATA_OPEN: &[u8] = b"<![CDATA[";

/// The text at hand, as far as it was read.
#[derive(Default)]
pub(super) struct Pending {
    /// Its first byte that is not white space, if it is kept.
    pub(super) start: Option<u64>,
    /// Past its last byte that is not white space.
    end: u64,
    padded: bool,
    /// Whether a comment or processing instruction stands before it.
    split: bool,
    /// Whether it was too long to be shown, and nobody wants it.
    passing: bool,
}

impl Lexer {
    /// Outside of the root: white space.
    pub(super) fn outside(&mut self, view: View<'_>) -> Turn {
        self.at += scan::spaces(view.from(self.at)) as u64;
        match view.from(self.at) {
            [] => Ok(Flow::Starved),
            [b'<', ..] => {
                self.token = self.at;
                self.state = State::Open;
                Ok(Flow::Go)
            }
            rest => match scan::chars(rest, |_| false) {
                Err(flaw @ (Flaw::Utf8(0) | Flaw::Control(0) | Flaw::Forbidden(0))) => Err(self.flaw(flaw)),
                Ok(0) => Ok(Flow::Starved),
                _ if self.rooted => Err(self.unexpected("the end of the document")),
                _ => Err(self.unexpected("`<`")),
            },
        }
    }

    pub(super) fn text(&mut self, whole: View<'_>, foresight: &Foresight) -> Turn {
        let wanted = foresight.wants_text();
        let shown = (wanted || self.watch.is_some()) && !self.run.passing;
        if shown && self.run.start.is_none() {
            let spaces = scan::spaces(whole.from(self.at));
            self.at += spaces as u64;
            self.run.padded |= spaces > 0;
            if whole.from(self.at).first().is_some_and(|&byte| byte != b'<') {
                self.run.start = Some(self.at);
                self.run.end = self.at;
            }
        }
        let view = self.window(whole);
        loop {
            let rest = view.from(self.at);
            let len = scan::chars(rest, |b| matches!(b, b'<' | b'&' | b']')).map_err(|flaw| self.flaw(flaw))?;
            let plain = rest.get(..len).unwrap_or_default();
            if let Some(last) = plain.iter().rposition(|&byte| !scan::is_space(byte)) {
                self.run.end = self.at + last as u64 + 1;
            }
            self.at += len as u64;
            self.at += match view.from(self.at) {
                [b'<', ..] => {
                    self.token = self.at;
                    self.state = State::Open;
                    return Ok(Flow::Go);
                }
                rest @ [b'&', ..] => match scan::reference(rest) {
                    Ok(Some((_, len))) => len as u64,
                    Ok(None) => return self.starved(whole, wanted),
                    Err(()) => return Err(Fault::BadEscape { offset: self.at }),
                },
                [b']', b']', b'>', ..] => return Err(self.unaccepted(self.at, "`]]>` in text")),
                [b']', b']', _, ..] | [b']', 0..=92 | 94.., ..] => 1,
                _ => return self.starved(whole, wanted),
            };
            self.run.end = self.at;
        }
    }

    pub(super) fn cdata(&mut self, whole: View<'_>, foresight: &Foresight) -> Turn {
        let wanted = foresight.wants_text();
        if self.run.start.is_none() && !self.run.passing && (wanted || self.watch.is_some()) {
            self.run.start = Some(self.token);
        }
        let view = self.window(whole);
        loop {
            let len = scan::chars(view.from(self.at), |b| b == b']').map_err(|flaw| self.flaw(flaw))?;
            self.at += len as u64;
            match view.from(self.at) {
                [b']', b']', b'>', ..] => {
                    self.at += 3;
                    self.run.end = self.at;
                    self.state = State::Text;
                    return Ok(Flow::Go);
                }
                [b']', b']', _, ..] | [b']', 0..=92 | 94.., ..] => self.at += 1,
                _ => return self.starved(whole, wanted),
            }
        }
    }

    /// What may be read of a text that is kept: one byte more than allowed tells that it ends or is too long.
    fn window<'a>(&self, view: View<'a>) -> View<'a> {
        match self.run.start {
            Some(start) => view.until(start.saturating_add(self.value_bytes_max()).saturating_add(1)),
            None => view,
        }
    }

    /// The text that may be read is used up.
    fn starved(&mut self, whole: View<'_>, wanted: bool) -> Turn {
        let Some(start) = self.run.start else { return Ok(Flow::Starved) };
        if whole.end() <= self.window(whole).end() {
            return Ok(Flow::Starved);
        }
        // Too long to be shown: it passes, if nobody wants it.
        if wanted || self.is_watched(&text::decode(whole.slice(start..self.at))) {
            return Err(self.value_too_long(start));
        }
        self.run.start = None;
        self.run.passing = true;
        Ok(Flow::Go)
    }

    /// At a `<`.
    pub(super) fn opening(&mut self, view: View<'_>) -> Turn {
        let bytes = view.from(self.token);
        let (state, len) = match bytes {
            [_, b'/', ..] if self.open.is_empty() => {
                self.at += 1;
                return Err(self.unexpected(if self.rooted { "the end of the document" } else { "the root element" }));
            }
            [_, b'/', ..] => (State::EndName, 2),
            [_, b'?', ..] => (State::Target, 2),
            [_, b'!', ..] => match self.declared_markup(bytes)? {
                Some(found) => found,
                None => return Ok(Flow::Starved),
            },
            [_, _, ..] if self.rooted && self.open.is_empty() => return Err(self.unexpected("the end of the document")),
            [_, _, ..] => (State::StartName, 1),
            _ => return Ok(Flow::Starved),
        };
        if state == State::StartName {
            if self.open.len() >= self.limits.depth_max {
                return Err(Fault::TooDeep { offset: self.token, max: self.limits.depth_max });
            }
            self.tag = tag::Pending::at(self.token);
            // What takes the place of a primitive takes that of its whole tag.
            self.kept = self.rules.moves.then_some(self.token);
        }
        self.state = state;
        let run = match state {
            State::Cdata => None,
            State::Comment | State::Target => self.end_run(true, false),
            _ => self.end_run(false, state == State::EndName),
        };
        self.at = self.token + len;
        if state == State::EndName {
            // An empty value may be shown before it.
            self.kept = Some(self.token);
        }
        if state != State::Cdata {
            self.token = self.at;
        }
        self.passing = self.watch.is_none();
        Ok(run.map_or(Flow::Go, |run| Flow::Token(Token::Run(run))))
    }

    /// After `<!`: the state and how long what leads to it is; `None` when that is cut.
    fn declared_markup(&mut self, bytes: &[u8]) -> Result<Option<(State, u64)>, Fault> {
        if bytes.starts_with(b"<!--") {
            return Ok(Some((State::Comment, 4)));
        }
        if !self.open.is_empty() && bytes.starts_with(CDATA_OPEN) {
            return Ok(Some((State::Cdata, 9)));
        }
        if bytes.get(2) == Some(&b'D') {
            return Err(self.unaccepted(self.token, "document type declaration"));
        }
        if b"<!--".starts_with(bytes) || (!self.open.is_empty() && CDATA_OPEN.starts_with(bytes)) {
            return Ok(None);
        }
        self.at += 2;
        Err(self.unexpected("a comment or, in an element, a CDATA section"))
    }

    /// The text at hand ends here, at a tag or before a comment or processing instruction.
    fn end_run(&mut self, aside: bool, closes: bool) -> Option<Run> {
        let ended = std::mem::take(&mut self.run);
        self.run.split = aside;
        let padded = ended.padded || ended.end < self.at;
        let split = ended.split || aside;
        ended.start.map(|start| Run { range: start..ended.end, padded, split, closes })
    }

    pub(super) fn comment(&mut self, whole: View<'_>) -> Turn {
        let view = self.aside_window(whole);
        loop {
            let len = scan::chars(view.from(self.at), |b| b == b'-').map_err(|flaw| self.flaw(flaw))?;
            self.at += len as u64;
            match view.from(self.at) {
                [b'-', b'-', b'>', ..] => return Ok(self.end_of_aside(view, 3)),
                [b'-', b'-', _, ..] => {
                    self.at += 2;
                    return Err(self.unexpected("`>` after `--`"));
                }
                [b'-', 0..=44 | 46.., ..] => self.at += 1,
                _ => return self.starved_aside(whole),
            }
        }
    }

    pub(super) fn target(&mut self, view: View<'_>) -> Turn {
        let Some(name) = self.name(view)? else { return Ok(Flow::Starved) };
        let bytes = view.slice(name.clone());
        if memchr::memchr(b':', bytes).is_some() {
            return Err(self.unaccepted(name.start, "processing instruction with a colon in its name"));
        }
        if bytes.eq_ignore_ascii_case(b"xml") {
            return Err(self.unaccepted(name.start, "XML declaration that is not at the start"));
        }
        if !matches!(view.from(self.at), [b'?', ..] | [b' ' | b'\t' | b'\r' | b'\n', ..]) {
            return Err(self.unexpected("white space or `?>`"));
        }
        self.target = self.watched_name(view, &name).map(|piece| piece.range);
        self.token = self.at;
        self.state = State::Instruction;
        Ok(Flow::Go)
    }

    pub(super) fn instruction(&mut self, whole: View<'_>) -> Turn {
        let view = self.aside_window(whole);
        loop {
            let len = scan::chars(view.from(self.at), |b| b == b'?').map_err(|flaw| self.flaw(flaw))?;
            self.at += len as u64;
            match view.from(self.at) {
                [b'?', b'>', ..] => return Ok(self.end_of_aside(view, 2)),
                [b'?', _, ..] if self.at == self.token => {
                    self.at += 1;
                    return Err(self.unexpected("`>`"));
                }
                [b'?', _, ..] => self.at += 1,
                _ => return self.starved_aside(whole),
            }
        }
    }

    /// What may be read of a comment or processing instruction that is kept, its end included.
    fn aside_window<'a>(&self, view: View<'a>) -> View<'a> {
        if self.passing {
            return view;
        }
        view.until(self.token.saturating_add(self.value_bytes_max()).saturating_add(3))
    }

    fn starved_aside(&mut self, whole: View<'_>) -> Turn {
        if self.passing || whole.end() <= self.aside_window(whole).end() {
            return Ok(Flow::Starved);
        }
        let seen = whole.slice(self.token..self.at.min(self.token.saturating_add(self.value_bytes_max())));
        if self.target.is_some() || self.is_watched(scan::trim(seen)) {
            return Err(self.value_too_long(self.token));
        }
        self.passing = true;
        Ok(Flow::Go)
    }

    /// A comment or processing instruction ends with the next `len` bytes.
    fn end_of_aside(&mut self, view: View<'_>, len: u64) -> Flow {
        let (start, end) = (self.token, self.at);
        let mut pieces = Vec::new();
        let range = self.target.take();
        pieces.extend(range.map(|range| Piece { range, part: Part::Name, watched: true }));
        if !self.passing {
            let text = view.slice(start..end);
            let first = start + scan::spaces(text) as u64;
            let text = scan::trim(text);
            if self.is_watched(text) {
                let range = first..first + text.len() as u64;
                pieces.push(Piece { range, part: Part::Aside, watched: true });
            }
        }
        let start = self.kept.take().unwrap_or(start);
        self.at += len;
        self.state = State::Text;
        Flow::Token(Token::Aside(Aside { start, pieces }))
    }
}
