//! An element that is there whole, of a document that was found to be well-formed.

use std::ops::Range;

/// Where the parts of an element stand.
#[derive(Debug, PartialEq, Eq)]
pub struct Element {
    /// Its name, with the prefix.
    pub name: Range<usize>,
    /// Its attributes.
    pub attributes: Vec<Attribute>,
    /// What ends its start tag: `>`, or `/>`, which ends it too.
    pub close: Range<usize>,
    /// The elements directly in it.
    pub children: Vec<Range<usize>>,
    /// Where it ends.
    pub end: usize,
}

/// Where the parts of an attribute stand.
#[derive(Debug, PartialEq, Eq)]
pub struct Attribute {
    /// The attribute, with the white space before it.
    pub whole: Range<usize>,
    /// Its name, with the prefix.
    pub name: Range<usize>,
    /// Its value as written, without the quotes.
    pub value: Range<usize>,
}

/// The element that starts at `at`; nothing if there is none, or its end is not there.
#[must_use]
pub fn element(document: &[u8], at: usize) -> Option<Element> {
    let (mut element, is_empty) = tag(document, at)?;
    if is_empty {
        return Some(element);
    }
    let mut at = element.close.end;
    let mut open: Vec<usize> = Vec::new();
    loop {
        let rest = document.get(at..)?;
        let start = at + memchr::memchr(b'<', rest)?;
        let rest = document.get(start..)?;
        if let Some((_, end)) = ASIDES.iter().find(|(begin, _)| rest.starts_with(begin)) {
            at = start + memchr::memmem::find(rest, end)? + end.len();
        } else if rest.starts_with(b"</") {
            at = start + memchr::memchr(b'>', rest)? + 1;
            match open.pop() {
                None => {
                    element.end = at;
                    return Some(element);
                }
                Some(first) if open.is_empty() => element.children.push(first..at),
                Some(_) => {}
            }
        } else {
            let (inner, is_empty) = tag(document, start)?;
            at = inner.close.end;
            match (is_empty, open.is_empty()) {
                (false, _) => open.push(start),
                (true, true) => element.children.push(start..at),
                (true, false) => {}
            }
        }
    }
}

/// The start tag at `at`, of an element that may go on: without children, and with its own end.
#[must_use]
pub fn start_tag(document: &[u8], at: usize) -> Option<Element> {
    tag(document, at).map(|(element, _)| element)
}

/// What is no element, and how it ends.
const ASIDES: [(&[u8], &[u8]); 3] = [(b"<!--", b"-->"), (b"<![CDATA[", b"]]>"), (b"<?", b"?>")];

/// A start tag, and whether the element ends with it.
fn tag(document: &[u8], start: usize) -> Option<(Element, bool)> {
    let is_end = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'/' | b'>' | b'=');
    let named = |at: usize| Some(at..at + document.get(at..)?.iter().position(is_end)?);
    let after_blanks =
        |at: usize| Some(at + document.get(at..)?.iter().take_while(|b| b.is_ascii_whitespace()).count());
    if document.get(start) != Some(&b'<') {
        return None;
    }
    let name = named(start + 1)?;
    let (mut at, mut attributes) = (name.end, Vec::new());
    loop {
        let begin = after_blanks(at)?;
        let close = match document.get(begin..)? {
            [b'>', ..] => begin..begin + 1,
            [b'/', b'>', ..] => begin..begin + 2,
            _ => {
                let name = named(begin)?;
                let equals = after_blanks(name.end)?;
                let quote = after_blanks(equals + 1)?;
                let end = memchr::memchr(*document.get(quote)?, document.get(quote + 1..)?)?;
                let value = quote + 1..quote + 1 + end;
                attributes.push(Attribute { whole: at..value.end + 1, name, value: value.clone() });
                at = value.end + 1;
                continue;
            }
        };
        let (is_empty, end) = (close.len() == 2, close.end);
        return Some((Element { name, attributes, close, children: Vec::new(), end }, is_empty));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_an_element_are_where_they_stand() {
        for (document, close, children) in [
            ("<a/>", "/>", &[][..]),
            ("<p:a b = '>/' c=\"'\" />", "/>", &[]),
            ("<a></a>", ">", &[]),
            (
                "<a>x<b/>y<c><b/><d></d></c\n> <!-- <e/> --><![CDATA[</a>]]><?p </a>?></a >",
                ">",
                &["<b/>", "<c><b/><d></d></c\n>"],
            ),
            ("<a x='1'\n>\n<a><a/></a></a>", ">", &["<a><a/></a>"]),
        ] {
            for (before, after) in [("", ""), ("<z>", "</z>")] {
                let whole = format!("{before}{document}{after}");
                let found = element(whole.as_bytes(), before.len()).unwrap();
                assert_eq!(&whole[found.close], close, "{document}");
                assert_eq!(found.end, before.len() + document.len(), "{document}");
                let inside: Vec<&str> = found.children.into_iter().map(|child| &whole[child]).collect();
                assert_eq!(inside, children, "{document}");
            }
        }
        let document = b"<p:a b = '>/' c=\"'\" />";
        let found = element(document, 0).unwrap();
        let attributes = found.attributes.iter();
        let attributes: Vec<_> =
            attributes.map(|a| [&a.whole, &a.name, &a.value].map(|range| &document[range.clone()])).collect();
        assert_eq!(attributes, [[&b" b = '>/'"[..], b"b", b">/"], [b" c=\"'\"", b"c", b"'"]]);
        assert_eq!(&document[found.name], b"p:a");
        for document in ["", "a", "<a", "<a>", "<a b", "<a b='", "<a><b></b>", "<a><!-- </a>"] {
            assert_eq!(element(document.as_bytes(), 0), None, "{document}");
        }
    }
}
