//! As much of the grammar of JavaScript (ECMA-262, 12) as is needed to know string literals for sure.
//!
//! JSON is read the same way: its strings are among those of JavaScript. As soon as something may be read in two ways, the rest
//! of the script is not searched.

use super::name::Name;

/// A script between two bytes.
#[derive(Clone, Copy, Default)]
pub(super) struct Script {
    place: Place,
    /// The last bytes, the very last one lowest.
    recent: u64,
}

#[derive(Clone, Copy, Debug, Default)]
enum Place {
    #[default]
    Code,
    /// A slash in the code, which may start a comment or a regular expression.
    Slash,
    LineComment,
    BlockComment,
    /// A template literal, as long as it holds no code.
    Template,
    TemplateEscape,
    String {
        quote: u8,
        /// Whether it may be meant to be read as HTML.
        markup: bool,
    },
    StringEscape {
        quote: u8,
        markup: bool,
    },
    /// No telling; or no script at all.
    Unknown,
}

impl Script {
    /// One in which nothing is found.
    pub(super) fn unknown() -> Script {
        Script { place: Place::Unknown, recent: 0 }
    }

    /// Whether a text may stand here as a part of a string. One that is joined to markup may not: it would become markup.
    pub(super) fn is_in_string(&self) -> bool {
        matches!(self.place, Place::String { markup: false, .. })
    }

    /// Where it stands, for comparison.
    #[cfg(test)]
    pub(super) fn show(&self) -> String {
        match self.place {
            Place::String { quote, .. } => format!("String({quote})"),
            Place::StringEscape { quote, .. } => format!("StringEscape({quote})"),
            place => format!("{place:?}"),
        }
    }

    pub(super) fn read(&mut self, byte: u8) {
        self.recent = self.recent << 8 | u64::from(byte);
        self.place = match (self.place, byte) {
            (Place::Code, _) => self.code(byte),
            (Place::Slash, b'/') => Place::LineComment,
            (Place::Slash, b'*') => {
                self.recent = 0;
                Place::BlockComment
            }
            (Place::Slash, _) => Place::Unknown,
            (Place::LineComment, b'\n' | b'\r') => Place::Code,
            // U+2028 and U+2029 end lines too.
            (Place::LineComment, 0xa8 | 0xa9) if self.recent >> 8 & 0xffff == 0xe280 => Place::Code,
            (Place::BlockComment, b'/') if self.ends_with(b"*/") => Place::Code,
            (Place::Template, b'`') => Place::Code,
            (Place::Template, b'\\') => Place::TemplateEscape,
            (Place::Template, b'{') if self.ends_with(b"${") => Place::Unknown,
            (Place::TemplateEscape, _) => Place::Template,
            (Place::String { quote, markup }, _) => self.string(byte, quote, markup),
            // A line feed after a carriage return is not escaped along with it; such a string is given up.
            (Place::StringEscape { quote, markup }, _) => Place::String { quote, markup },
            (place, _) => place,
        };
    }

    fn code(&self, byte: u8) -> Place {
        match byte {
            b'"' | b'\'' => Place::String { quote: byte, markup: false },
            b'`' => Place::Template,
            b'/' => Place::Slash,
            // A comment, if it comes first.
            b'!' if self.ends_with(b"#!") => Place::Unknown,
            // Comments in scripts, but not in modules.
            b'-' if self.ends_with(b"<!--") => Place::Unknown,
            b'>' if self.ends_with(b"-->") => Place::Unknown,
            _ => Place::Code,
        }
    }

    fn string(&self, byte: u8, quote: u8, markup: bool) -> Place {
        match byte {
            b'\n' | b'\r' => Place::Unknown,
            b'\\' => Place::StringEscape { quote, markup },
            // An escape in braces is cut here or in the value.
            b'{' if self.ends_with(b"\\u{") => Place::Unknown,
            b'<' => Place::String { quote, markup: true },
            b'c' | b'C' if self.ends_with(b"\\x3c") || self.ends_with(b"\\u003c") => {
                Place::String { quote, markup: true }
            }
            _ if byte == quote => Place::Code,
            _ => Place::String { quote, markup },
        }
    }

    /// Whether the last bytes are these, at most 8, ASCII letters in lower case.
    fn ends_with(&self, word: &[u8]) -> bool {
        let recent = self.recent.to_be_bytes().map(|byte| byte.to_ascii_lowercase());
        recent.ends_with(word)
    }
}

/// The script that an element holds, by its attributes `type` and `language` (4.12.1.1 of the standard).
pub(super) fn of_type(kind: Option<&Name>, language: Option<&Name>) -> Script {
    let read = match (kind, language) {
        (Some(kind), _) => kind.is(b"") || is_readable(kind.start().trim_ascii(), kind),
        (None, Some(language)) => language.is(b"") || language.is(b"javascript"),
        (None, None) => true,
    };
    if read { Script::default() } else { Script::unknown() }
}

fn is_readable(essence: &[u8], whole: &Name) -> bool {
    whole.whole().is_some() && READABLE.contains(&essence)
}

/// What is run as JavaScript, and JSON.
const READABLE: [&[u8]; 20] = [
    b"module",
    b"application/ecmascript",
    b"application/javascript",
    b"application/x-ecmascript",
    b"application/x-javascript",
    b"text/ecmascript",
    b"text/javascript",
    b"text/javascript1.0",
    b"text/javascript1.1",
    b"text/javascript1.2",
    b"text/javascript1.3",
    b"text/javascript1.4",
    b"text/javascript1.5",
    b"text/jscript",
    b"text/livescript",
    b"text/x-ecmascript",
    b"text/x-javascript",
    b"application/json",
    b"application/ld+json",
    b"text/json",
];
