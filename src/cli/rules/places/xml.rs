//! Places in XML. The document was found to be well-formed.

use super::Place;
use memchr::memmem;

/// Attributes whose texts tell what stands in the same tag.
const TELLING: [&[u8]; 2] = [b"root", b"system"];

/// Where each element's content and each attribute's value starts, and where what is around an element goes on.
pub(super) fn places(bytes: &[u8]) -> Vec<Place> {
    let mut walk = Walk { bytes, names: Vec::new(), places: Vec::new() };
    let mut at = 0;
    while let Some(tag) = bytes.get(at..).and_then(|rest| memchr::memchr(b'<', rest)).map(|found| at + found) {
        at = walk.markup(tag);
    }
    walk.places
}

struct Walk<'a> {
    bytes: &'a [u8],
    /// Of the open elements, without prefixes.
    names: Vec<String>,
    places: Vec<Place>,
}

impl Walk<'_> {
    /// At a `<`; gives what follows the markup.
    fn markup(&mut self, tag: usize) -> usize {
        let rest = self.bytes.get(tag..).unwrap_or_default();
        for (start, end) in [("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?", "?>")] {
            if rest.starts_with(start.as_bytes()) {
                return self.after(tag + start.len(), end.as_bytes());
            }
        }
        if rest.starts_with(b"</") {
            self.names.pop();
            let end = self.after(tag, b">");
            self.place(end);
            return end;
        }
        self.start_tag(tag + 1)
    }

    fn start_tag(&mut self, start: usize) -> usize {
        let mut at = self.name(start);
        self.names.push(self.local(start, at));
        self.place(start);
        let first = self.places.len();
        let mut beside = Vec::new();
        loop {
            let rest = self.bytes.get(at..).unwrap_or_default();
            at = self.bytes.len() - rest.trim_ascii_start().len();
            match self.bytes.get(at) {
                None => return at,
                Some(b'>') => break,
                Some(b'/') => {
                    self.names.pop();
                    break;
                }
                Some(_) => at = self.attribute(at, &mut beside),
            }
        }
        for place in self.places.get_mut(first..).unwrap_or_default() {
            place.beside.clone_from(&beside);
        }
        let end = self.after(at, b">");
        self.place(end);
        end
    }

    fn attribute(&mut self, start: usize, beside: &mut Vec<String>) -> usize {
        let end = self.name(start);
        let rest = self.bytes.get(end..).unwrap_or_default();
        let Some(quote) = rest.iter().position(|byte| matches!(byte, b'"' | b'\'')).map(|found| end + found) else {
            return self.bytes.len();
        };
        let mark = self.bytes.get(quote..=quote).unwrap_or_default();
        let after = self.after(quote + 1, mark);
        if TELLING.iter().any(|name| self.bytes.get(start..end) == Some(*name)) {
            let value = self.bytes.get(quote + 1..after.saturating_sub(1)).unwrap_or_default();
            beside.push(String::from_utf8_lossy(value).into_owned());
        }
        self.names.push(format!("@{}", self.local(start, end)));
        self.place(quote + 1);
        self.names.pop();
        after
    }

    fn place(&mut self, start: usize) {
        let path = format!("/{}", self.names.join("/"));
        self.places.push(Place { start, path, names: self.names.clone(), ..Place::default() });
    }

    /// Where a name ends.
    fn name(&self, start: usize) -> usize {
        let rest = self.bytes.get(start..).unwrap_or_default();
        let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'=' | b'/' | b'>');
        start + rest.iter().position(ends).unwrap_or(rest.len())
    }

    fn local(&self, start: usize, end: usize) -> String {
        let name = String::from_utf8_lossy(self.bytes.get(start..end).unwrap_or_default());
        name.rsplit(':').next().unwrap_or_default().to_owned()
    }

    /// What follows the next `text`.
    fn after(&self, from: usize, text: &[u8]) -> usize {
        let rest = self.bytes.get(from..).unwrap_or_default();
        memmem::find(rest, text).map_or(self.bytes.len(), |found| from + found + text.len())
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::rules::places::Places;

    #[test]
    fn every_text_and_attribute_has_a_path() {
        let text = "<?xml version='1.0'?><!-- <x> --><f:a xmlns:f='u'>t1<b root = \"r>1\" extension='v1'/>t2<c><![CDATA[<d>]]>t3</c\n></f:a>";
        let places = Places(super::places(text.as_bytes()));
        let of = |part: &str| {
            let place = places.at(text.find(part).unwrap()).unwrap();
            (place.path.as_str(), place.beside.join(","))
        };
        assert_eq!(of("t1"), ("/a", String::new()));
        assert_eq!(of("v1"), ("/a/b/@extension", "r>1".to_owned()));
        assert_eq!(of("t2"), ("/a", String::new()));
        assert_eq!(of("t3"), ("/a/c", String::new()));
        assert_eq!(places.0.last().map(|place| place.path.as_str()), Some("/"));
    }
}
