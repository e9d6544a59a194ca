//! HL7 version 2 messages and batches in ER7 ("pipes and hats", HL7 v2 chapter 2), rewritten while they stream by.
//!
//! Delimiters are those of each `MSH`, `BHS` and `FHS`. Nothing is normalised or matched against message structures. What
//! another reader could split into other segments is refused: line ends of several kinds, control characters, and, where
//! there are rules, continuations (`ADD`, `DSC`).
//!
//! A field-level value is text as written. Below that, escapes are undone, unless the value holds what plain text cannot
//! say: then it, too, is text as written. See [`Level`].

mod machine;
mod rules;
#[cfg(test)]
mod tests;
mod text;

use std::sync::Arc;

use super::tape::Driver;
use super::{Limits, Watch};

pub use machine::Reader;
pub use rules::{Hl7Path, Rules};
pub(super) use text::write;

/// Rewrites one HL7 v2 document: a message, a batch or a file of batches.
pub type Rewriter = Driver<Reader>;

impl Rewriter {
    /// Starts on a document.
    pub fn new(rules: Arc<Rules>, limits: Limits, watch: Option<Watch>) -> Rewriter {
        Driver::with(Reader::new(rules), limits, watch)
    }
}

/// The delimiters of a message (`MSH-1` and `MSH-2`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delimiters {
    field: u8,
    component: u8,
    repetition: u8,
    escape: u8,
    subcomponent: u8,
    truncation: Option<u8>,
}

/// What part of a segment a value is.
///
/// The text of a component or subcomponent has its escapes undone: `\F\`, `\S\`, `\T\`, `\R\`, `\E\`, `\P\` and `\Xhh..\`; a
/// single escape character is one. It is the value as written, escapes and all, when that holds subcomponents, another
/// escape (`\H\`, `\.br\`, `\Zxx\`) or a truncation mark at its end, or when undone it would look as if it did. So every
/// value that is read and written again means the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A field, or one repetition of it.
    Field,
    /// A component, maybe with subcomponents.
    Component,
    /// A subcomponent.
    Subcomponent,
}

impl Delimiters {
    /// Those of `MSH-1`, and of `MSH-2` as written; `None` when they are too few, too many, not distinct or no delimiters.
    fn new(field: u8, encoding: &[u8]) -> Option<Delimiters> {
        let (&[component, repetition, escape, subcomponent], more) = encoding.split_first_chunk::<4>()?;
        let truncation = more.first().copied();
        let all = [Some(field), Some(component), Some(repetition), Some(escape), Some(subcomponent), truncation];
        let mut marks: Vec<u8> = all.into_iter().flatten().collect();
        // Two quotes are the null value.
        let sane = more.len() <= 1 && marks.iter().all(|mark| mark.is_ascii_punctuation() && *mark != b'"');
        marks.sort_unstable();
        let distinct = marks.windows(2).all(|pair| pair.first() != pair.last());
        (sane && distinct).then_some(Delimiters { field, component, repetition, escape, subcomponent, truncation })
    }
}
