//! Names of patients, which may stand again where no rule looks: in narratives and displays.

use super::found::Value;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// Shorter ones are parts of too many words.
const CHARACTERS_MIN: usize = 3;

/// The names of the patients in each document of a sample, in lower case.
pub(super) struct Names(HashMap<usize, HashSet<String>>);

impl Names {
    /// Of FHIR in either form.
    pub(super) fn of(values: &[Value]) -> Names {
        let mut names: HashMap<usize, HashSet<String>> = HashMap::new();
        for Value { place, text, .. } in values.iter().filter(|value| is_name(value)) {
            let name = text.trim().to_lowercase();
            if name.chars().count() >= CHARACTERS_MIN {
                names.entry(place.document).or_default().insert(name);
            }
        }
        Names(names)
    }

    /// Where a name of a patient stands in a value of the same document, as words of their own.
    pub(super) fn find(&self, value: &Value) -> Option<Range<usize>> {
        let names = self.0.get(&value.place.document)?;
        let lower = value.text.to_lowercase();
        let found = names.iter().filter_map(|name| word(&lower, name)).min_by_key(|range| range.start)?;
        // Few letters have another length in lower case.
        Some(if lower.len() == value.text.len() { found } else { 0..0 })
    }
}

fn is_name(value: &Value) -> bool {
    let names = &value.place.names;
    let is_part = |part: &String| matches!(part.as_str(), "family" | "given" | "text");
    let inside =
        |three: &[String]| matches!(three, [kind, name, part] if kind == "Patient" && name == "name" && is_part(part));
    !value.is_name && names.windows(3).any(inside)
}

fn word(text: &str, name: &str) -> Option<Range<usize>> {
    let found = text.match_indices(name).find(|(at, _)| {
        let before = text.get(..*at).and_then(|before| before.chars().next_back());
        let after = text.get(at + name.len()..).and_then(|after| after.chars().next());
        [before, after].into_iter().flatten().all(|c| !c.is_alphanumeric())
    });
    found.map(|(at, name)| at..at + name.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_as_a_word() {
        for (text, want) in [
            ("<b>chalmers</b>, peter", Some(3..11)),
            ("chalmers", Some(0..8)),
            ("chalmerston", None),
            ("chalmerston chalmers", Some(12..20)),
            ("\u{e9}chalmers", None),
        ] {
            assert_eq!(word(text, "chalmers"), want, "{text}");
        }
    }
}
