//! How a value is written at one place of a body.

use super::json;

/// How a value is written where a slot stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Escape {
    /// A JSON value.
    Json,
}

/// The format has no way to write a value at that place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value cannot be written in this format at this place")]
pub struct NotWritable;

impl Escape {
    /// Writes a text (WTF-8) as it stands in the body.
    ///
    /// # Errors
    ///
    /// [`NotWritable`], where the format has no escape for one of its characters.
    pub fn text(self, text_wtf8: &[u8], out: &mut Vec<u8>) -> Result<(), NotWritable> {
        match self {
            Self::Json => json::quote(text_wtf8, out),
        }
        Ok(())
    }

    /// Writes a JSON literal: as it is in JSON, as text elsewhere.
    ///
    /// # Errors
    ///
    /// As [`Escape::text`].
    pub fn literal(self, literal: &[u8], out: &mut Vec<u8>) -> Result<(), NotWritable> {
        match self {
            Self::Json => out.extend_from_slice(literal),
        }
        Ok(())
    }
}
