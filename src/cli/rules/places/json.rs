//! Places in JSON.

use super::Place;
use crate::cli::rules::lines::escaped;
use crate::document::json::{Member, parts};
use std::borrow::Cow;

/// Members whose texts tell what stands beside them.
const TELLING: [&str; 2] = ["system", "url"];

/// Of one document.
pub(super) fn document(bytes: &[u8]) -> Vec<Place> {
    let mut walk = Walk { bytes, places: Vec::new() };
    walk.value(Place { start: skip(bytes, 0), path: "$".to_owned(), ..Place::default() });
    walk.places
}

/// Of one document a line.
pub(super) fn lines(bytes: &[u8]) -> Vec<Place> {
    let mut walk = Walk { bytes, places: Vec::new() };
    let mut start = 0;
    for (document, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if !line.trim_ascii().is_empty() {
            walk.value(Place { start: skip(bytes, start), path: "$".to_owned(), document, ..Place::default() });
        }
        start += line.len() + 1;
    }
    walk.places
}

/// The first byte of a value, from `at` on.
fn skip(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    let rest = rest.strip_prefix(b"\xef\xbb\xbf").unwrap_or(rest);
    bytes.len() - rest.trim_ascii_start().len()
}

struct Walk<'a> {
    bytes: &'a [u8],
    places: Vec<Place>,
}

impl Walk<'_> {
    fn value(&mut self, place: Place) {
        let is_number = self.bytes.get(place.start).is_some_and(|byte| matches!(byte, b'-' | b'0'..=b'9'));
        if let Some((members, _)) = parts(self.bytes, place.start) {
            self.members(&place, &members);
        }
        self.places.push(Place { is_number, ..place });
    }

    fn members(&mut self, place: &Place, members: &[Member]) {
        let name = |member: &Member| self.text(&member.name);
        let of = |wanted: &str| members.iter().find(|member| name(member) == wanted).map(|member| &member.value);
        let beside: Vec<String> = TELLING
            .iter()
            .filter_map(|name| Some(self.text(of(name)?).into_owned()))
            .filter(|text| !text.is_empty())
            .collect();
        let resource = of("resourceType").map(|value| self.text(value).into_owned());
        let names = resource.map_or_else(|| place.names.clone(), |resource| vec![resource]);
        for (index, member) in members.iter().enumerate() {
            let mut inner = Place {
                start: member.value.start,
                path: format!("{}[{index}]", place.path),
                names: names.clone(),
                beside: if member.name.is_empty() { place.beside.clone() } else { beside.clone() },
                ..*place
            };
            if !member.name.is_empty() {
                let name = self.text(&member.name).into_owned();
                inner.path = step(&place.path, &name);
                inner.names.push(name);
                self.places.push(Place { start: member.name.start, ..inner.clone() });
            }
            self.value(inner);
        }
    }

    /// The content of a string; of anything else nothing.
    fn text(&self, range: &std::ops::Range<usize>) -> Cow<'_, str> {
        let raw = self.bytes.get(range.clone()).unwrap_or_default();
        match raw.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) {
            Some(inside) if !inside.contains(&b'\\') => String::from_utf8_lossy(inside),
            Some(_) => serde_json::from_slice(raw).map(Cow::Owned).unwrap_or_default(),
            None => Cow::Borrowed(""),
        }
    }
}

/// The path of a member, as RFC 9535 writes it.
fn step(path: &str, name: &str) -> String {
    let plain = !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if plain {
        return format!("{path}.{name}");
    }
    format!("{path}['{}']", escaped(name).replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_a_path() {
        let text =
            "\u{feff} {\"a\": [1, {\"b c\": \"x\"}], \"it's\": {\"resourceType\": \"Patient\", \"d\\u0065\": null}}";
        let places = document(text.as_bytes());
        let of = |part: &str| {
            let start = text.find(part).unwrap();
            let place = places.iter().find(|place| place.start == start).unwrap();
            (place.path.as_str(), place.names.join("/"), place.is_number)
        };
        assert_eq!(of("{\"a\""), ("$", String::new(), false));
        assert_eq!(of("1,"), ("$.a[0]", "a".to_owned(), true));
        assert_eq!(of("\"b c\""), ("$.a[1]['b c']", "a/b c".to_owned(), false));
        assert_eq!(of("\"x\""), ("$.a[1]['b c']", "a/b c".to_owned(), false));
        assert_eq!(of("null"), ("$['it\\'s'].de", "Patient/de".to_owned(), false));
    }

    #[test]
    fn every_line_is_a_document() {
        let text = "{\"a\":1}\r\n\n {\"system\":\"phone\",\"value\":2}";
        let found: Vec<_> = lines(text.as_bytes()).into_iter().filter(|place| place.is_number).collect();
        let found: Vec<_> = found
            .iter()
            .map(|place| (place.start, place.document, place.path.as_str(), place.beside.join(",")))
            .collect();
        assert_eq!(found, [(5, 0, "$.a", String::new()), (37, 2, "$.value", "phone".to_owned())]);
    }
}
