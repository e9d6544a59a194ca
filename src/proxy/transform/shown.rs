//! What stands in the place of a value of a response, and how it is written once the key is there.

use super::super::rescue::{Code, Refusal};
use super::bind::{Bound, borrowed};
use super::dress::Worn;
use super::file;
use crate::document::Escape;
use crate::keyring::Held;
use crate::seal::format::{Alphabet, FormatKey};
use crate::seal::{Class, Context, Envelope, Kind, Scope, UnwrappedKey};
use crate::view::{MaskRule, REDACTED, mask};
use std::sync::Arc;

pub(super) type Opening = Arc<Held<Arc<UnwrappedKey>>>;

pub(super) enum Shown {
    /// What stands there.
    Kept,
    /// A fixed text.
    Redacted,
    /// Nothing, where its place can be taken out; else the fixed text.
    Removed,
    /// A mark.
    Unopenable,
    /// What a token holds.
    Opened { envelope: Box<Envelope>, bound: Bound, mask: Option<MaskRule>, key: Option<Opening> },
    /// What a text of a format stands for.
    Formatted { class: Class, alphabet: Alphabet, text: Vec<u8>, mask: Option<MaskRule>, key: Option<Arc<FormatKey>> },
    /// A file, as it is.
    File(Box<file::Part>),
    /// What the upstream has in the clear, masked: the value's text as it stands in the body.
    Masked { rule: MaskRule, kind: Kind, text: Vec<u8> },
}

/// The context of an envelope.
pub(super) fn context<'a>(envelope: &Envelope, bind: &'a [(&'a str, &'a [u8])]) -> Context<'a> {
    Context { class: envelope.head().class, scope: envelope.head().scope, bind }
}

impl Shown {
    /// Takes the key that opens it, if it does, and if it does not hold what is barred. Says whether that shows an object or array
    /// as it is.
    pub(super) fn take_key(&mut self, held: &Opening, at: Scope, barred: Option<&[u8]>) -> Result<bool, Refusal> {
        let because = |error: &dyn std::fmt::Display| Refusal::from(Code::ResponseUnopenable).because(error);
        match self {
            Self::Opened { envelope, bound, mask, key } => {
                let bind = borrowed(bound);
                let value = held.key.open((**envelope).clone(), &context(envelope, &bind));
                let value = value.map_err(|error| because(&error))?;
                expect_none(value.expose(), barred)?;
                *key = Some(Arc::clone(held));
                let is_whole =
                    value.kind() == Kind::Literal && matches!(value.expose().trim_ascii_start(), [b'{' | b'[', ..]);
                Ok(is_whole && mask.is_none())
            }
            Self::Formatted { class, alphabet, text, key, .. } => {
                let format_key = held.key.format_key(*class, at, *alphabet).map_err(|_| Code::Internal)?;
                expect_none(&format_key.open(text).map_err(|error| because(&error))?, barred)?;
                *key = Some(format_key);
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    /// Whether the value is shown in part or not at all.
    pub(super) fn is_hidden(&self) -> bool {
        match self {
            Self::Redacted | Self::Removed | Self::Unopenable | Self::Masked { .. } => true,
            Self::Opened { mask, .. } | Self::Formatted { mask, .. } => mask.is_some(),
            Self::Kept | Self::File(_) => false,
        }
    }

    /// Writes it as it is to stand there.
    pub(super) fn write(self, (escape, worn): (Escape, &Worn), out: &mut Vec<u8>) -> Result<(), Refusal> {
        match self {
            Self::Kept | Self::Unopenable => Err(Code::Internal.into()),
            Self::File(part) => part.write(out),
            Self::Redacted | Self::Removed => written(escape, &worn.on(REDACTED.as_bytes()), out),
            Self::Masked { rule, kind, text } => written(escape, &worn.on(mask(rule, kind, &text).as_bytes()), out),
            Self::Opened { envelope, bound, mask: rule, key } => {
                let (key, bind) = (key.ok_or(Code::Internal)?, borrowed(&bound));
                let context = context(&envelope, &bind);
                let value = key.key.open(*envelope, &context).map_err(|_| Code::ResponseUnopenable)?;
                match (rule, value.kind()) {
                    (Some(rule), kind) => written(escape, &worn.on(mask(rule, kind, value.expose()).as_bytes()), out),
                    (None, Kind::Text) => written(escape, &worn.on_opened(value.expose()), out),
                    (None, Kind::Literal) => escape.literal(value.expose(), out).map_err(|_| not_writable()),
                }
            }
            Self::Formatted { text, mask: rule, key, .. } => {
                let value = key.ok_or(Code::Internal)?.open(&text).map_err(|_| Code::ResponseUnopenable)?;
                match rule {
                    Some(rule) => written(escape, mask(rule, Kind::Text, &value).as_bytes(), out),
                    None => written(escape, &value, out),
                }
            }
        }
    }
}

/// Refuses a value that would end the part of a form that it stands in.
pub(super) fn expect_none(value: &[u8], barred: Option<&[u8]>) -> Result<(), Refusal> {
    match barred.and_then(|barred| memchr::memmem::find(value, barred)) {
        None => Ok(()),
        Some(_) => Err(Refusal::from(Code::ResponseUnopenable).because("a value that holds the boundary of the form")),
    }
}

/// Writes a text as it is to stand there.
pub(super) fn written(escape: Escape, text: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
    escape.text(text, out).map_err(|_| not_writable())
}

fn not_writable() -> Refusal {
    Refusal::from(Code::ResponseUnopenable).because("a value that the format cannot hold at its place")
}
