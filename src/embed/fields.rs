//! The fields of JSON documents that paths select, sealed and opened in place, as a gate does it.

use super::{Error, Keyring, Keys};
use crate::document::json::{Rewriter, Rules, TooManySteps, quote};
use crate::document::path::FieldPath;
use crate::document::{Fault, Kind as JsonKind, Limits, Rewrite, Slot, Step, Watch};
use crate::seal::token::{find_token, holds_token, starts_as_token};
use crate::seal::{Class, Context, Kind, Manner, Scope, Suite, Value, Workspace};
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// Values of a document that are sealed: where they stand and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    path: FieldPath,
    class: Class,
    suite: Suite,
    pad_bytes: usize,
}

impl Field {
    /// Sealed with a random nonce: the same value gives another token each time.
    #[must_use]
    pub const fn random(path: FieldPath, class: Class) -> Self {
        Self { path, class, suite: Suite::Random, pad_bytes: 0 }
    }

    /// Sealed so that the same value gives the same token in every document: to be looked up by it. Bound values are no
    /// part of it, and its key is a [stored one](Keys::set_stored).
    #[must_use]
    pub const fn deterministic(path: FieldPath, class: Class) -> Self {
        Self { path, class, suite: Suite::Deterministic, pad_bytes: 0 }
    }

    /// Pads the value to a multiple of so many bytes, to hide its length.
    #[must_use]
    pub fn padded(self, pad_bytes: usize) -> Self {
        Self { pad_bytes, ..self }
    }
}

/// Seals and opens the fields of JSON documents. Compiled once, used for any number of documents.
///
/// Works on the text, as a gate does, with the same result: a value's place is taken by a token, a string; a token's by
/// the value, as the type that it was, byte for byte (of a string, not its escapes). Everything else stays as it is,
/// byte for byte. `null` and `""` stay. Where two paths select one value, the first counts. An object or array may be
/// sealed whole.
///
/// ```
/// use sealgate::document::path::FieldPath;
/// use sealgate::embed::{Field, Fields, Keys};
/// use sealgate::seal::{Class, Scope, crypto::default_provider, local::LocalKek};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = Keys::new(LocalKek::read(default_provider(), "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=")?);
/// let fields = Fields::compile([
///     Field::random(FieldPath::parse("$..ssn")?, Class::parse("ssn")?),
///     Field::random(FieldPath::parse("$.lab[*].value")?, Class::parse("lab")?),
/// ])?;
/// let (clinic, id) = (Scope::parse("clinic")?, [("id", b"42".as_slice())]);
///
/// let patient = br#"{"id": "42", "ssn": "999-12-3456", "lab": [{"value": 1.10}]}"#;
/// let sealed = fields.seal(&keys, clinic, &id, patient)?;
/// assert!(sealed.starts_with(br#"{"id": "42", "ssn": "sgv1."#));
/// assert_eq!(fields.open(&keys, clinic, &id, &sealed)?, patient, "types and spelling come back");
///
/// # #[cfg(feature = "serde")] {
/// // The same for a `serde_json::Value`, in place.
/// let mut document = serde_json::json!({"ssn": "999-12-3456", "lab": [{"value": 7}]});
/// fields.seal_value(&keys, clinic, &id, &mut document)?;
/// fields.open_value(&keys, clinic, &id, &mut document)?;
/// assert_eq!(document["lab"][0]["value"], 7);
/// # }
/// # Ok(())
/// # }
/// ```
pub struct Fields {
    fields: Vec<Field>,
    rules: Arc<Rules>,
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fields").field(&self.fields).finish()
    }
}

/// Why a document was not sealed or opened. It holds nothing of the document but places in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FieldsError<E: StdError + 'static> {
    /// It is no JSON in UTF-8, or beyond the limits.
    #[error("document: {0}")]
    Fault(#[from] Fault),
    /// A field was not sealed or opened.
    #[error("field {path}: {error}")]
    Field {
        /// The path that selects it.
        path: FieldPath,
        /// Why.
        #[source]
        error: Error<E>,
    },
    /// A token, or a text with one in it, stands where a value is to be sealed, or where no path selects. Sealed twice
    /// it would not come back; sealed unseen, it would open for whoever put it there.
    #[error("document: a token at byte {at}")]
    Token {
        /// Where it begins.
        at: u64,
    },
    /// A value in the clear, or a text with a token in it, stands where a token is to be opened.
    #[error("document: no token at byte {at}")]
    NoToken {
        /// Where it begins.
        at: u64,
    },
    /// An object or array that is to be sealed holds a field of another class.
    #[error("document: a field of another class in that at byte {at}")]
    Overlap {
        /// Where the outer one begins.
        at: u64,
    },
    /// A `serde_json::Value` cannot hold it: a lone surrogate, or a number beyond what it takes.
    #[error("document: no `serde_json::Value`")]
    NoValue,
}

impl Fields {
    /// Compiles the paths.
    ///
    /// # Errors
    /// [`TooManySteps`] if they have more than 4096 different steps between them.
    pub fn compile(fields: impl IntoIterator<Item = Field>) -> Result<Self, TooManySteps> {
        let fields: Vec<Field> = fields.into_iter().collect();
        let paths: Vec<FieldPath> = fields.iter().map(|field| field.path.clone()).collect();
        Ok(Self { rules: Arc::new(Rules::compile(&paths)?), fields })
    }

    /// Seals the fields of a document, bound to `bind`: pairs in the order of their names, such as the record's id.
    ///
    /// # Errors
    /// [`FieldsError`]; there is no document then, nor a part of one.
    pub fn seal<K: Keyring>(
        &self,
        keys: &Keys<K>,
        scope: Scope,
        bind: &[(&str, &[u8])],
        document: &[u8],
    ) -> Result<Vec<u8>, FieldsError<K::Error>> {
        let mut workspace = Workspace::new();
        self.rewrite(document, Some(Watch::marked(holds_token, find_token)), |slot, out| {
            let at = slot.range().start;
            let field = match slot.rule().and_then(|rule| self.fields.get(rule)) {
                Some(field) if !slot.holds_watched() => field,
                _ => return Err(FieldsError::Token { at }),
            };
            let (kind, value) = match (slot.kind(), slot.text()) {
                (JsonKind::Null, _) | (JsonKind::Text, Some([])) => return Ok(false),
                (JsonKind::Text, Some(text)) if holds_token(text) => return Err(FieldsError::Token { at }),
                (_, Some(text)) => (Kind::Text, text),
                (_, None) => (Kind::Literal, slot.raw()),
            };
            if self.overlaps(field, slot) {
                return Err(FieldsError::Overlap { at });
            }
            let context = field.context(scope, bind);
            let manner = Manner { suite: field.suite, kind, pad_bytes: field.pad_bytes };
            let sealed = keys.seal_in(&mut workspace, &context, manner, value);
            let token = sealed.map_err(|error| FieldsError::Field { path: field.path.clone(), error })?;
            quote(token.as_str().as_bytes(), out);
            Ok(true)
        })
    }

    /// Opens the fields of a document that was sealed so.
    ///
    /// # Errors
    /// [`FieldsError`]; there is no document then, nor a part of one. One whose fields are in the clear, but for `null`
    /// and `""`, is refused.
    pub fn open<K: Keyring>(
        &self,
        keys: &Keys<K>,
        scope: Scope,
        bind: &[(&str, &[u8])],
        document: &[u8],
    ) -> Result<Vec<u8>, FieldsError<K::Error>> {
        self.rewrite(document, None, |slot, out| {
            let no_token = FieldsError::NoToken { at: slot.range().start };
            let Some(field) = slot.rule().and_then(|rule| self.fields.get(rule)) else {
                return Err(no_token);
            };
            let token = match (slot.kind(), slot.text()) {
                (JsonKind::Null, _) | (JsonKind::Text, Some([])) => return Ok(false),
                (_, Some(text)) if starts_as_token(text) => text,
                _ => return Err(no_token),
            };
            let opened = keys.open(token, &field.context(scope, bind));
            write(&opened.map_err(|error| FieldsError::Field { path: field.path.clone(), error })?, out);
            Ok(true)
        })
    }

    /// Whether one value that is sealed whole holds one of another class: opened with the outer one, it would be seen
    /// by those who may not see it.
    fn overlaps(&self, field: &Field, slot: &Slot<'_>) -> bool {
        let mut inner = slot.inner_rules().iter().filter_map(|rule| self.fields.get(*rule));
        inner.any(|inner| inner.class != field.class)
    }

    /// Has `judge` write what takes a slot's place, or say that it stays.
    fn rewrite<E: StdError>(
        &self,
        document: &[u8],
        watch: Option<Watch>,
        mut judge: impl FnMut(&Slot<'_>, &mut Vec<u8>) -> Result<bool, FieldsError<E>>,
    ) -> Result<Vec<u8>, FieldsError<E>> {
        // The document is in memory, whole: no value of it can be too long, and none may go unseen.
        let limits = Limits { value_bytes_max: document.len(), ..Limits::default() };
        let mut rewriter = Rewriter::new(Arc::clone(&self.rules), limits, watch);
        rewriter.feed(document);
        rewriter.finish();
        let mut replacement = Vec::new();
        loop {
            match rewriter.step()? {
                Step::Slot => {
                    replacement.clear();
                    match rewriter.slot().map(|slot| judge(&slot, &mut replacement)).transpose()? {
                        Some(true) => rewriter.replace(&replacement),
                        Some(false) | None => rewriter.keep(),
                    }
                }
                Step::Done => return Ok(rewriter.take_output()),
                Step::NeedInput => {
                    let offset = u64::try_from(document.len()).unwrap_or(u64::MAX);
                    return Err(Fault::UnexpectedEnd { offset }.into());
                }
            }
        }
    }
}

impl Field {
    fn context<'a>(&self, scope: Scope, bind: &'a [(&'a str, &'a [u8])]) -> Context<'a> {
        let bind = if self.suite == Suite::Deterministic { &[] } else { bind };
        Context { class: self.class, scope, bind }
    }
}

/// Writes a value as JSON.
pub(super) fn write(value: &Value, out: &mut Vec<u8>) {
    match value.kind() {
        Kind::Text => quote(value.expose(), out),
        Kind::Literal => out.extend_from_slice(value.expose()),
    }
}

/// Documents as trees. A [`serde_json::Value`] has lost the spelling of its numbers when it comes here, so a token
/// holds a number as serde_json writes it. What a gate sealed as `1.10` becomes `1.1`, an integer beyond 64 bits the
/// nearest `f64`, and what is beyond that is an error (unless serde_json's feature `arbitrary_precision` is on). Of
/// several members of one name the tree has the last one.
#[cfg(feature = "serde")]
impl Fields {
    /// [`seal`](Self::seal) of a tree, in place.
    ///
    /// # Errors
    /// [`FieldsError`]; `document` is as it was then.
    pub fn seal_value<K: Keyring>(
        &self,
        keys: &Keys<K>,
        scope: Scope,
        bind: &[(&str, &[u8])],
        document: &mut serde_json::Value,
    ) -> Result<(), FieldsError<K::Error>> {
        // An error of serde_json may tell content: it is dropped.
        let text = serde_json::to_vec(document).map_err(|_| FieldsError::NoValue)?;
        let sealed = self.seal(keys, scope, bind, &text)?;
        *document = serde_json::from_slice(&sealed).map_err(|_| FieldsError::NoValue)?;
        Ok(())
    }

    /// [`open`](Self::open) of a tree, in place.
    ///
    /// # Errors
    /// [`FieldsError`]; `document` is as it was then.
    pub fn open_value<K: Keyring>(
        &self,
        keys: &Keys<K>,
        scope: Scope,
        bind: &[(&str, &[u8])],
        document: &mut serde_json::Value,
    ) -> Result<(), FieldsError<K::Error>> {
        let text = serde_json::to_vec(document).map_err(|_| FieldsError::NoValue)?;
        let opened = self.open(keys, scope, bind, &text)?;
        *document = serde_json::from_slice(&opened).map_err(|_| FieldsError::NoValue)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
