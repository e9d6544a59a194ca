//! A tag while it is read, and what its attributes mean for the values in them.

use super::name::Name;
use super::script::{self, Script};
use super::url::Url;
use crate::document::Escape;

/// A start or end tag, as far as it has been read.
#[derive(Default)]
pub(super) struct Tag {
    pub(super) is_end: bool,
    pub(super) name: Name,
    attribute: Name,
    role: Role,
    url: Url,
    /// Whether it has an attribute that tells what a `meta` is about: one that does is no instruction.
    named: bool,
    /// The values of `type` and `language` of a `script`.
    kind: Option<Name>,
    language: Option<Name>,
}

/// What the value of an attribute is.
#[derive(Clone, Copy, Default)]
enum Role {
    Text,
    Url {
        several: bool,
    },
    Kind,
    Language,
    /// Code, or dropped by readers.
    #[default]
    Sealed,
}

/// Attributes whose value is a URL, in HTML of any age and in SVG.
const URLS: [&[u8]; 18] = [
    b"action",
    b"background",
    b"cite",
    b"classid",
    b"codebase",
    b"data",
    b"dynsrc",
    b"formaction",
    b"href",
    b"longdesc",
    b"lowsrc",
    b"manifest",
    b"poster",
    b"profile",
    b"src",
    b"usemap",
    b"xlink:href",
    b"xml:base",
];

/// Attributes that hold several.
const URL_LISTS: [&[u8]; 5] = [b"archive", b"attributionsrc", b"imagesrcset", b"ping", b"srcset"];

/// Attributes that hold code or instructions; the last five animate others in SVG.
const CODE: [&[u8]; 8] = [b"style", b"srcdoc", b"http-equiv", b"attributename", b"by", b"from", b"to", b"values"];

/// How the names of attributes start that hold code: of the standard, and of widely used libraries.
const CODE_STARTS: [&[u8]; 5] = [b"on", b"hx-", b"ng-", b"v-", b"x-"];

impl Tag {
    pub(super) fn new(is_end: bool) -> Tag {
        Tag { is_end, ..Tag::default() }
    }

    pub(super) fn begin_attribute(&mut self) {
        self.attribute = Name::default();
    }

    pub(super) fn push_attribute(&mut self, byte: u8) {
        self.attribute.push(byte);
    }

    /// Once the name of the attribute is whole.
    pub(super) fn end_attribute_name(&mut self) {
        self.url = Url::Start;
        self.role = if self.is_end { Role::Sealed } else { self.role() };
        match self.role {
            Role::Kind => self.kind = Some(Name::default()),
            Role::Language => self.language = Some(Name::default()),
            _ => {}
        }
    }

    fn role(&mut self) -> Role {
        let name = &self.attribute;
        let [first, ..] = name.start() else { return Role::Sealed };
        if !first.is_ascii_alphabetic() || name.is_one_of(&CODE) {
            return Role::Sealed;
        }
        if CODE_STARTS.iter().any(|start| name.start().starts_with(start)) {
            return Role::Sealed;
        }
        if name.is_one_of(&URLS) || name.is_one_of(&URL_LISTS) {
            return Role::Url { several: name.is_one_of(&URL_LISTS) };
        }
        if self.name.is(b"meta") {
            self.named |= name.is_one_of(&[b"name", b"property", b"itemprop"]);
            return if name.is(b"content") && !self.named { Role::Sealed } else { Role::Text };
        }
        // Of several attributes of one name the first counts.
        match (self.name.is(b"script"), name.whole()) {
            (true, Some(b"type")) if self.kind.is_none() => Role::Kind,
            (true, Some(b"language")) if self.language.is_none() => Role::Language,
            (true, Some(b"type" | b"language")) => Role::Sealed,
            _ => Role::Text,
        }
    }

    /// Whether all that a value brings is its end.
    pub(super) fn is_value_unread(&self) -> bool {
        matches!(self.role, Role::Text | Role::Sealed)
    }

    /// Reads a byte of a value.
    pub(super) fn read(&mut self, byte: u8) {
        match self.role {
            Role::Url { several } => self.url.read(byte, several),
            Role::Kind => self.kind.get_or_insert_default().push(byte),
            Role::Language => self.language.get_or_insert_default().push(byte),
            Role::Text | Role::Sealed => {}
        }
    }

    /// How a text is written in a value, after `last`.
    pub(super) fn escape(&self, quoted: bool, last: u8) -> Option<Escape> {
        match self.role {
            Role::Text if quoted => Some(Escape::HtmlAttribute),
            Role::Text => Some(Escape::HtmlUnquoted),
            Role::Url { .. } if self.url.is_open() && last != b'%' => Some(Escape::HtmlUrl),
            Role::Url { .. } | Role::Kind | Role::Language | Role::Sealed => None,
        }
    }

    /// What a `script` holds.
    pub(super) fn script(&self) -> Script {
        script::of_type(self.kind.as_ref(), self.language.as_ref())
    }
}
