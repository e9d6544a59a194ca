//! The rules of a protected route: which values, of which class, sealed how, bound to what. And whose data a request is about.

use super::bearer::Proven;
use super::coverage::Coverage;
use super::headers;
use super::media::{Format, Formats};
use super::rescue::{Code, Refusal};
use super::route::Template;
use super::search::Searches;
use crate::document::pairing::Pairings;
use crate::document::{self, Escape, Slot, json};
use crate::policy::Principal;
use crate::seal::format::Alphabet;
use crate::seal::{Class, Kind, Manner, Placement, Scope, Suite};
use crate::view::MaskRule;
use http::header::HeaderName;
use http::request::Parts;
use icu_normalizer::ComposingNormalizerBorrowed;
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

/// The rules of a protected route.
pub struct Protected {
    /// What finds the rules' values, by formats.
    pub formats: Formats,
    /// The rules, by the numbers that they have there; `None` for one that lets pass.
    pub fields: Vec<Option<FieldRule>>,
    /// How the config says them, by the same numbers.
    pub written: Vec<Written>,
    /// Their classes, each once.
    pub classes: Vec<Class>,
    /// Which fields values are bound to; none if no rule binds to a field.
    pub pairings: Option<Arc<Pairings>>,
    /// What queries may hold.
    pub searches: Searches,
    /// The rules that select searches in documents, by their numbers.
    pub expressions: HashSet<usize>,
    /// The rules whose values are refused, likewise.
    pub refused: HashSet<usize>,
    /// The path parameters that are sealed, each with the number of its rule.
    pub segments: Vec<(String, usize)>,
    /// The header fields that are sealed, likewise.
    pub headers: Vec<(HeaderName, usize)>,
    /// Whether they still meet anything.
    pub coverage: Coverage,
    /// A digest of the rules and of what their classes do.
    pub stamp: [u8; 32],
    /// Whether a ruled value that the upstream has in the clear is shown.
    pub shows_unsealed: bool,
    /// Every class of the config, if tokens are opened wherever they stand in a response.
    pub opens_anywhere: Option<Arc<[ClassRule]>>,
}

impl Protected {
    /// The rule of that number; none for one that lets pass.
    #[must_use]
    pub fn field(&self, number: usize) -> Option<&FieldRule> {
        self.fields.get(number)?.as_ref()
    }

    /// Whether a slot holds a search.
    pub(super) fn is_expression(&self, slot: &Slot<'_>) -> bool {
        slot.rule().is_some_and(|number| self.expressions.contains(&number))
    }
}

/// How the config says which values a rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The key under which the place stands.
    pub key: &'static str,
    /// The place.
    pub place: String,
    /// The pack that the rule is from; `None` if it is the route's own.
    pub pack: Option<String>,
}

impl Written {
    /// Whether the rule can select anything in bodies of that format.
    #[must_use]
    pub fn is_for(&self, format: &Format) -> bool {
        match format {
            Format::Json | Format::Ndjson | Format::Patch | Format::Merge | Format::FhirPatch => {
                matches!(self.key, "path" | "fhir")
            }
            Format::Xml => matches!(self.key, "xml" | "fhir"),
            Format::Csv => self.key == "csv",
            Format::Hl7 => self.key == "hl7",
            Format::X12 => self.key == "x12",
            Format::Form | Format::Multipart(_) => matches!(self.key, "form" | "file"),
            Format::Html | Format::Text => false,
            Format::File(_) => self.key == "body",
        }
    }
}

/// One rule.
#[derive(Debug)]
pub struct FieldRule {
    /// Which values, as the config has it.
    pub place: Arc<str>,
    /// What they are.
    pub class: ClassRule,
    /// How they stand in a document once they are sealed.
    pub form: Form,
    /// Whether they are numbers or booleans in JSON, which other formats do not say.
    pub is_literal: bool,
    /// What their tokens are bound to, in the order of the names.
    pub binds: Vec<Bind>,
    /// Whether a token that cannot be opened is marked and the rest delivered.
    pub marks_unopenable: bool,
    /// How many characters the application keeps of a value; without an end if nothing was said of it.
    pub characters_max: Option<usize>,
}

impl FieldRule {
    /// How a value stands at that slot once it is sealed: what an XML document shows as markup wears no tags there.
    pub(super) fn form_at(&self, slot: &Slot<'_>) -> Form {
        if slot.escape() == Escape::XmlMarkup { Form::Bare } else { self.form }
    }

    /// Lets a sealed value pass that the application can keep whole. Cut short it would never open again.
    pub(super) fn keeps(&self, sealed: &[u8]) -> Result<(), Code> {
        match self.characters_max {
            // Tokens and values of a format are ASCII: their bytes are their characters.
            Some(max) if sealed.len() > max => Err(Code::ValueTooLong),
            _ => Ok(()),
        }
    }
}

/// How a sealed value stands in a document.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// As a text in the value's place.
    Bare,
    /// As base64 of that text.
    Base64,
    /// Inside of a `<div>`.
    Xhtml,
    /// In an extension of a FHIR primitive, which itself goes.
    Extension,
}

/// The extension that a sealed primitive stands in.
pub const SEALED_URL: &str = "urn:sealgate:sealed";

/// A class as the rules that name it see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClassRule {
    /// Its name.
    pub class: Class,
    /// How its values are masked.
    pub mask: MaskRule,
    /// How its values are sealed.
    pub treatment: Treatment,
}

/// How the values of a class are sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Treatment {
    /// By tokens of the random suite.
    Random {
        /// Where the encrypted data key is.
        placement: Placement,
        /// The multiple to pad to.
        pad_bytes: usize,
    },
    /// By tokens of the deterministic suite.
    Deterministic {
        /// The type of the values; no other is sealed.
        kind: Kind,
        /// The multiple to pad to.
        pad_bytes: usize,
        /// Whether texts are sealed in lower case.
        folds_case: bool,
        /// Whether texts are sealed in normal form C.
        normalizes: bool,
    },
    /// By texts of the same format.
    Format(Alphabet),
}

impl Treatment {
    /// Suite and placement of its tokens; none where values keep their format.
    #[must_use]
    pub const fn key(&self) -> Option<(Suite, Placement)> {
        match self {
            Self::Random { placement, .. } => Some((Suite::Random, *placement)),
            Self::Deterministic { .. } => Some((Suite::Deterministic, Placement::Stored)),
            Self::Format(_) => None,
        }
    }

    /// The value of a slot, of which `text` is the text, as a deterministic class seals it.
    pub(super) fn canonical_in<'s>(
        &self,
        slot: &Slot<'s>,
        text: Option<&'s [u8]>,
    ) -> Result<(Kind, Cow<'s, [u8]>), Code> {
        let (is, value) = match (slot.kind(), text, self) {
            (document::Kind::Number, ..) => (Kind::Literal, slot.raw()),
            // Where everything is a text the class says what it stands for, so that a number has one token in a body and a query.
            (document::Kind::Text, Some(text), Self::Deterministic { kind: Kind::Literal, .. })
                if slot.escape() != Escape::Json && json::is_number(text) =>
            {
                (Kind::Literal, text)
            }
            (document::Kind::Text, Some(text), _) => (Kind::Text, text),
            _ => return Err(Code::ValueTypeMismatch),
        };
        Ok((is, self.canonical(is, value)?))
    }

    /// The same for a text that stands in no document.
    pub(super) fn canonical_outside<'s>(&self, text: &'s str) -> Result<(Kind, Cow<'s, [u8]>), Code> {
        let is_number = matches!(self, Self::Deterministic { kind: Kind::Literal, .. });
        let kind = if is_number && json::is_number(text.as_bytes()) { Kind::Literal } else { Kind::Text };
        match self {
            Self::Deterministic { .. } => Ok((kind, self.canonical(kind, text.as_bytes())?)),
            Self::Random { .. } | Self::Format(_) => Ok((Kind::Text, text.as_bytes().into())),
        }
    }

    /// The same for a text, or a JSON literal that is one.
    ///
    /// # Errors
    /// [`Code::ValueTypeMismatch`] if it is not of the type of the class.
    pub fn canonical<'s>(&self, is: Kind, value: &'s [u8]) -> Result<Cow<'s, [u8]>, Code> {
        let Self::Deterministic { kind, folds_case, normalizes, .. } = *self else {
            return Err(Code::Internal);
        };
        match (kind, is, value) {
            (Kind::Literal, Kind::Literal, [b'-' | b'0'..=b'9', ..]) => Ok(value.into()),
            (Kind::Text, Kind::Text, text) if !folds_case && !normalizes => Ok(text.into()),
            (Kind::Text, Kind::Text, text) => {
                // A lone surrogate has no case and no normal form.
                let text = std::str::from_utf8(text).map_err(|_| Code::ValueTypeMismatch)?;
                let text = if folds_case { Cow::Owned(text.to_lowercase()) } else { Cow::Borrowed(text) };
                let normal = ComposingNormalizerBorrowed::new_nfc();
                let text = if normalizes { normal.normalize(&text).into_owned() } else { text.into_owned() };
                Ok(text.into_bytes().into())
            }
            _ => Err(Code::ValueTypeMismatch),
        }
    }

    /// How a value of that kind becomes a token; none where values keep their format.
    #[must_use]
    pub const fn manner(&self, kind: Kind) -> Option<Manner> {
        match self {
            Self::Random { pad_bytes, .. } => Some(Manner::random(kind).padded(*pad_bytes)),
            Self::Deterministic { pad_bytes, .. } => Some(Manner::deterministic(kind).padded(*pad_bytes)),
            Self::Format(_) => None,
        }
    }
}

/// A value that a token is bound to.
#[derive(Clone, Debug)]
pub struct Bind {
    /// Its name in the token's context.
    pub name: String,
    /// Where it is.
    pub source: BindSource,
}

/// Where a bound value is.
#[derive(Clone, Debug)]
pub enum BindSource {
    /// A path parameter.
    Parameter(String),
    /// A field of the document, by its number in [`Protected::pairings`].
    Field(usize),
}

/// Where a request says whose data it is about.
#[derive(Clone, Debug)]
pub enum ScopeSource {
    /// The config says it.
    Fixed(Scope),
    /// In a path parameter.
    Parameter(String),
    /// In a header field.
    Header(HeaderName),
    /// The caller's principal has one scope.
    Identity,
    /// In a claim of the user's bearer token.
    Claim(String),
}

impl ScopeSource {
    /// The scope of a request. Whether the caller may act in it, the policy says.
    ///
    /// # Errors
    /// [`Code::ScopeMissing`] if there is none, or no usable one.
    pub(super) fn scope(
        &self,
        template: &Template,
        head: &Parts,
        (principal, user): (Option<&Principal>, Option<&Proven>),
    ) -> Result<Scope, Refusal> {
        let missing = || Refusal::from(Code::ScopeMissing);
        if let Self::Fixed(scope) = self {
            return Ok(*scope);
        }
        // Whoever is unknown is told that and nothing else.
        let principal = principal.ok_or(Code::PrincipalUnknown)?;
        let text = match self {
            Self::Fixed(scope) => return Ok(*scope),
            Self::Identity => match &*principal.scopes {
                [scope] => return Ok(*scope),
                _ => return Err(missing()),
            },
            Self::Parameter(name) => template.parameter(name, head.uri.path()).ok_or_else(missing)?,
            // A field that ends here would not tell the upstream what it told the gate.
            Self::Header(name) if headers::ends_here(&head.headers, name) => return Err(missing()),
            Self::Header(name) => headers::only(&head.headers, name).ok_or_else(missing)?,
            Self::Claim(name) => user.and_then(|user| user.claim(name)).ok_or_else(missing)?,
        };
        Scope::parse(text).map_err(|_| missing())
    }
}
