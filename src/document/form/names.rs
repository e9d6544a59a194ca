//! Which names the rules select, and which look like one of those. Shared by all forms.

use std::collections::HashMap;

use super::fold::{self, Folded, Parts};
use super::path::FormPath;

/// All names of a set of rules.
pub(in crate::document) struct Names {
    single: HashMap<Vec<u8>, usize>,
    /// Those that stand for many names.
    patterns: Vec<(usize, FormPath)>,
    /// The names taken apart, by what stands before their brackets.
    bracketed: HashMap<String, Vec<Parts>>,
    /// Likewise with dots taken for brackets.
    dotted: HashMap<String, Vec<Parts>>,
    /// How many parts of other names matter: one more than any of these has.
    parts_max: usize,
}

/// What the rules say of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::document) enum Verdict {
    /// Selected, by this rule.
    Rule(usize),
    /// Not selected, and some server takes it for one that is.
    LookAlike,
    /// None of both.
    Free,
}

impl Names {
    pub(in crate::document) fn new(rules: &[(usize, FormPath)]) -> Names {
        let mut names = Names {
            single: HashMap::new(),
            patterns: Vec::new(),
            bracketed: HashMap::new(),
            dotted: HashMap::new(),
            parts_max: 0,
        };
        for (rule, path) in rules {
            match path.single() {
                Some(name) => {
                    let known = names.single.entry(name.as_bytes().to_vec()).or_insert(*rule);
                    *known = (*known).min(*rule);
                }
                None => names.patterns.push((*rule, path.clone())),
            }
            let folded = Folded::new(path.to_string().as_bytes());
            let (bracketed, dotted) = (folded.bracketed(usize::MAX), folded.dotted(usize::MAX));
            names.parts_max = names.parts_max.max(bracketed.len() + 1).max(dotted.len() + 1);
            insert(&mut names.bracketed, bracketed);
            insert(&mut names.dotted, dotted);
        }
        names
    }

    pub(in crate::document) fn is_empty(&self) -> bool {
        self.single.is_empty() && self.patterns.is_empty()
    }

    pub(in crate::document) fn verdict(&self, name: &[u8]) -> Verdict {
        let single = self.single.get(name).copied();
        let patterns = self.patterns.iter().filter(|(_, path)| path.selects(name)).map(|(rule, _)| *rule);
        match patterns.chain(single).min() {
            Some(rule) => Verdict::Rule(rule),
            None if !self.is_empty() && self.is_look_alike(name) => Verdict::LookAlike,
            None => Verdict::Free,
        }
    }

    fn is_look_alike(&self, name: &[u8]) -> bool {
        if let Some(name) = fold::plain_name(name) {
            return found(&self.bracketed, &[&name], true) || found(&self.dotted, &[&name], false);
        }
        let name = Folded::new(name);
        let unclosed = name.unclosed();
        found(&self.bracketed, &name.bracketed(self.parts_max), true)
            || found(&self.dotted, &name.dotted(self.parts_max), false)
            || unclosed.is_some_and(|text| found(&self.bracketed, &[text], false))
    }
}

fn insert(map: &mut HashMap<String, Vec<Parts>>, parts: Parts) {
    let known = map.entry(parts.first().cloned().unwrap_or_default()).or_default();
    if !known.contains(&parts) {
        known.push(parts);
    }
}

fn found(map: &HashMap<String, Vec<Parts>>, name: &[impl AsRef<str>], with_inner: bool) -> bool {
    let known = name.first().and_then(|base| map.get(base.as_ref()));
    known.is_some_and(|known| known.iter().any(|ruled| is_like(ruled, name, with_inner)))
}

/// Whether a name is one value with a ruled one whose base is the same, or (`with_inner`) inside of it.
fn is_like(ruled: &[String], name: &[impl AsRef<str>], with_inner: bool) -> bool {
    let both = ruled.iter().zip(name).skip(1);
    for (ruled, name) in both.map(|(ruled, name)| (ruled, name.as_ref())) {
        // Elements without an index get the next one; where all elements are ruled, one with a key is an element too.
        let same = ruled == name || ruled == "*" || ruled.is_empty() || (name.is_empty() && is_index(ruled));
        if !same {
            return false;
        }
    }
    // A single value often does for an array of one.
    let alone = ruled.get(name.len()..).unwrap_or_default().iter().all(|part| part == "*" || is_index(part));
    alone && (with_inner || name.len() <= ruled.len())
}

/// Whether brackets with this content count the elements of an array.
fn is_index(part: &str) -> bool {
    part.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(paths: &[&str], names: &[&str], expect: Verdict) {
        let paths: Vec<_> = paths.iter().map(|path| FormPath::parse(path).unwrap()).enumerate().collect();
        let ruled = Names::new(&paths);
        names.iter().for_each(|name| assert_eq!(ruled.verdict(name.as_bytes()), expect, "{name:?}"));
    }

    #[test]
    fn the_lowest_rule_wins() {
        verdicts(&["a[*]", "a[0]", "b", "b"], &["a[0]", "a[1]"], Verdict::Rule(0));
        verdicts(&["a[0]", "a[*]", "b", "b"], &["a[0]"], Verdict::Rule(0));
        verdicts(&["a[0]", "a[*]", "b", "b"], &["b"], Verdict::Rule(2));
    }

    #[test]
    fn names_that_a_server_takes_for_a_ruled_one_are_look_alikes() {
        let like = |path: &str, names: &[&str]| verdicts(&[path], names, Verdict::LookAlike);
        like("form_ss", &["FORM_SS", "form.ss", "form ss", "form[ss", "form+ss", " form_ss", "\t form_ss", "form_ss "]);
        like(
            "form_ss",
            &["form_ss\0x", "form_ss\0", "form%5fss", "form%255Fss", "%66orm_ss", "form_s%2573", "form_ss%00x"],
        );
        like(
            "form_ss",
            &["form_ss[]", "form_ss[0]", "form_ss[x]", "form_ss[", "form_ss[0", "form_ss[]x", "form_ss[x][y]"],
        );
        like("form_ss", &["[form_ss]", "[form_ss", "]form_ss", "form_ss]", "!form_ss", "\u{feff}form_ss", "form_ſs"]);
        like("birth_date", &["birth_date(1i)", "birth_date(3i)", "Birth Date"]);
        like(
            "a[b]",
            &["a[B]", "a.b", "a[ b]", "a['b']", "a[\"b\"]", "a[b", "a[b]c", "a[b][]", "a[b][c", "a%5Bb%5D", "a[b(1i)]"],
        );
        like("a[0]", &["a[]", "a", "a[0", "a[0][]", "a.0"]);
        like("a[]", &["a", "a[0]", "a[x]", "a[", "a[0", "a.x", "A[]", "a[][]"]);
        like("a[*]", &["a", "A[0]", "a[", "a[0", "a.x", "a[x]y", "a[x][y]", "a[[x]"]);
        like("a.b", &["a_b", "a[b]", "a b", "A.B", "a.b[]"]);
        like("a_b", &["a.b", "a[b"]);
        like("a+b", &["a b", "a_b"]);
        like("é", &["É", "%C3%A9", "%c3%89"]);
        like("[0].Name", &["[0].name", "0[Name]"]);
    }

    #[test]
    fn names_that_no_server_takes_for_a_ruled_one_are_free() {
        let free = |path: &str, names: &[&str]| verdicts(&[path], names, Verdict::Free);
        free(
            "form_ss",
            &["", "form", "form_s", "form_sss", "formss", "form_ss_x", "form__ss", "xform_ss", "a[form_ss]", "_"],
        );
        free("form_ss", &["form_ss(x)", "form%5ss", "%", "%%", "[", "]", "[]", "form[ss]"]);
        free("a[b]", &["a[c]", "a[]", "a[bc]", "b[a]", "a[b_]", "a", "a[c][b]"]);
        free("a[0]", &["a[1]", "a[x]", "a[00]", "a_0"]);
        free("a[*]", &["b[0]", "a_x", "ab[]", "a.x.y"]);
        free("a", &["a.b", "a_b", "b[a]"]);
    }

    #[test]
    fn without_rules_every_name_is_free() {
        verdicts(&[], &["", "a", "a[0", "%41"], Verdict::Free);
    }
}
