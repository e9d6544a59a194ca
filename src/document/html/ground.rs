//! What of the tree bears on how its text is read (13.2.6): whether the place is surely in HTML, surely in SVG or MathML, or
//! only to be told by building the tree.

use super::name::Name;

/// The place between two tags.
#[derive(Default)]
pub(super) struct Ground {
    /// The elements of SVG or MathML that are open, outermost first; empty in HTML.
    foreign: Vec<Name>,
    in_select: bool,
    /// How many `template` elements are open.
    templates: u64,
    /// Whether it can no longer be told.
    mixed: bool,
}

/// How what follows a start tag is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Markup,
    /// The same, and readers drop a line feed that comes first.
    LooseMarkup,
    /// Text with character references, as far as the end tag.
    Rcdata,
    /// Text without.
    Rawtext,
    Script,
    /// There is no telling, or it is text to the end of the document.
    Unknown,
}

/// Deeper than that, the place cannot be told any more.
const FOREIGN_MAX: usize = 128;

impl Ground {
    /// Whether text here is a style or script.
    pub(super) fn is_code(&self) -> bool {
        self.foreign.iter().any(|name| name.is_one_of(&[b"script", b"style"]))
    }

    /// Whether `<![CDATA[` starts a section here; `None` where that cannot be told.
    pub(super) fn has_cdata(&self) -> Option<bool> {
        if self.mixed { None } else { Some(!self.foreign.is_empty()) }
    }

    /// Takes a start tag.
    pub(super) fn start(&mut self, name: Name, self_closing: bool) -> Content {
        if let Some(parent) = self.foreign.last().filter(|_| !self.mixed) {
            if parent.is_one_of(&HTML_INSIDE) || name.is(b"font") {
                self.mix();
            } else if name.is_one_of(&HTML_ONLY) {
                self.foreign.clear();
            } else {
                self.open(name, self_closing);
                return Content::Markup;
            }
        }
        let content = content(&name);
        let is_text = !matches!(content, Content::Markup | Content::LooseMarkup);
        if self.mixed {
            return if is_text || self.is_code() { Content::Unknown } else { Content::Markup };
        }
        if self.in_select && is_text && !name.is_one_of(&[b"script", b"textarea"]) {
            return Content::Unknown;
        }
        match name.whole() {
            Some(b"svg" | b"math" | b"template") if self.in_select => self.mix(),
            // Of what follows in there tags are dropped.
            Some(b"col") if self.templates > 0 => self.mix(),
            Some(b"svg" | b"math") => self.open(name, self_closing),
            Some(b"select") => self.in_select = true,
            Some(b"template") => self.templates += 1,
            Some(b"frameset") => self.mix(),
            _ => {}
        }
        content
    }

    /// Takes an end tag.
    pub(super) fn end(&mut self, name: &Name) {
        if self.mixed {
            return;
        }
        if self.foreign.is_empty() {
            self.in_select &= !name.is(b"select");
            self.templates = self.templates.saturating_sub(u64::from(name.is(b"template")));
            return;
        }
        let same = |open: &Name| open.whole().is_some() && open.whole() == name.whole();
        match self.foreign.iter().rposition(same) {
            Some(at) => self.foreign.truncate(at),
            // It may close an element of HTML, and these with it.
            None => self.mix(),
        }
    }

    /// Where it stands, for comparison.
    #[cfg(test)]
    pub(super) fn show(&self) -> String {
        let names: Vec<_> = self.foreign.iter().map(|name| name.start().escape_ascii().to_string()).collect();
        format!("{names:?} {} {} {}", self.in_select, self.templates, self.mixed)
    }

    fn open(&mut self, name: Name, self_closing: bool) {
        if self_closing {
            return;
        }
        if name.whole().is_none() || self.foreign.len() >= FOREIGN_MAX {
            self.mix();
        }
        self.foreign.push(name);
    }

    /// From here on there is no telling. What was open stays, as it may be code.
    fn mix(&mut self) {
        self.mixed = true;
    }
}

fn content(name: &Name) -> Content {
    match name.whole() {
        Some(b"title" | b"textarea") => Content::Rcdata,
        Some(b"style" | b"xmp" | b"iframe" | b"noembed" | b"noframes" | b"noscript") => Content::Rawtext,
        Some(b"script") => Content::Script,
        Some(b"plaintext") => Content::Unknown,
        Some(b"pre" | b"listing") => Content::LooseMarkup,
        _ => Content::Markup,
    }
}

/// Elements of SVG and MathML in which HTML may stand.
const HTML_INSIDE: [&[u8]; 9] =
    [b"foreignobject", b"desc", b"title", b"mi", b"mo", b"mn", b"ms", b"mtext", b"annotation-xml"];

/// Start tags that end SVG and MathML (13.2.6.5).
const HTML_ONLY: [&[u8]; 44] = [
    b"b",
    b"big",
    b"blockquote",
    b"body",
    b"br",
    b"center",
    b"code",
    b"dd",
    b"div",
    b"dl",
    b"dt",
    b"em",
    b"embed",
    b"h1",
    b"h2",
    b"h3",
    b"h4",
    b"h5",
    b"h6",
    b"head",
    b"hr",
    b"i",
    b"img",
    b"li",
    b"listing",
    b"menu",
    b"meta",
    b"nobr",
    b"ol",
    b"p",
    b"pre",
    b"ruby",
    b"s",
    b"small",
    b"span",
    b"strong",
    b"strike",
    b"sub",
    b"sup",
    b"table",
    b"tt",
    b"u",
    b"ul",
    b"var",
];
