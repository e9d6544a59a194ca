//! HTML (the WHATWG standard, section 13.2): marked words in it, where a text may stand in their place.
//!
//! A tokenizer that knows of each byte what a browser takes it for. No rules, no tree: HTML is never invalid here, it passes
//! whatever it is, as long as it is UTF-8. The encoding that a `meta` element tells is not looked at.
//!
//! A word is yielded only where the escape of the slot makes any text harmless and a browser reads that same text: in text,
//! attribute values, URLs past their host, and string literals of scripts. Elsewhere it stays sealed: in comments, styles,
//! names, tags and `noscript`, where a value would be run as code, at the start of a URL, after what would change the meaning
//! of its first character, and wherever browsers may differ or the tree would have to be known.

pub(super) mod escape;
mod ground;
mod name;
mod reader;
mod script;
mod tag;
mod url;

#[cfg(test)]
mod tests;

use super::marks;

/// Yields the marked words of an HTML document that may be replaced, as strays.
pub type Rewriter = marks::Rewriter<reader::Reader>;
