//! Names of form fields as rules give them. No document is read here.

use std::fmt;

use crate::document::path::PathError;

/// The name of a form field, decoded, such as `form_ss` or `patient[0][name]`.
///
/// It is compared byte for byte. `[*]` stands for brackets with any content that has no bracket in it: `name[*]` selects
/// `name[]`, `name[0]` and `name[x]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FormPath {
    text: String,
}

/// What stands for any brackets.
const ANY: &str = "[*]";

impl FormPath {
    /// Reads a name.
    ///
    /// # Errors
    ///
    /// Names what is wrong and its column: an empty name, `[*]` without a name before it, a control character, or a `[`
    /// that is not closed.
    pub fn parse(text: &str) -> Result<FormPath, PathError> {
        if text.is_empty() {
            return Err(PathError::new("empty name", 1));
        }
        if text.starts_with(ANY) {
            return Err(PathError::new("missing name before `[*]`", 1));
        }
        let mut open = None;
        for (column, c) in (1..).zip(text.chars()) {
            match c {
                '[' if open.is_some() => return Err(PathError::new("`[` inside brackets", column)),
                '[' => open = Some(column),
                ']' => open = None,
                c if c.is_control() => return Err(PathError::new("control character", column)),
                _ => {}
            }
        }
        match open {
            Some(column) => Err(PathError::new("`[` that is not closed", column)),
            None => Ok(FormPath { text: text.to_owned() }),
        }
    }

    /// The name, if it is the only one that the path selects.
    pub(super) fn single(&self) -> Option<&str> {
        (!self.text.contains(ANY)).then_some(&self.text)
    }

    /// Whether the path selects `name`.
    pub(super) fn selects(&self, name: &[u8]) -> bool {
        let mut rest = name;
        for (i, literal) in self.text.split(ANY).enumerate() {
            if i > 0 {
                let Some(inside) = rest.strip_prefix(b"[") else { return false };
                let end = memchr::memchr2(b'[', b']', inside).unwrap_or(inside.len());
                match inside.get(end..).and_then(|tail| tail.strip_prefix(b"]")) {
                    Some(after) => rest = after,
                    None => return false,
                }
            }
            match rest.strip_prefix(literal.as_bytes()) {
                Some(after) => rest = after,
                None => return false,
            }
        }
        rest.is_empty()
    }
}

impl fmt::Display for FormPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_given_back() {
        for text in
            ["form_ss", "a[]", "a[*]", "a[*][b][*]", "[0].Name", "a.b", "a b", "é", "*", "a]", "x[ y ]", "a[*]c"]
        {
            assert_eq!(FormPath::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_no_field_can_be_meant_by_is_refused_by_name_and_column() {
        for (text, expect) in [
            ("", "empty name at column 1"),
            ("[*]", "missing name before `[*]` at column 1"),
            ("[*].a", "missing name before `[*]` at column 1"),
            ("a[", "`[` that is not closed at column 2"),
            ("é[0", "`[` that is not closed at column 2"),
            ("a[[0]]", "`[` inside brackets at column 3"),
            ("a\0", "control character at column 2"),
            ("a\n", "control character at column 2"),
        ] {
            assert_eq!(FormPath::parse(text).unwrap_err().to_string(), expect, "{text:?}");
        }
    }

    #[test]
    fn a_path_selects_its_names_and_no_others() {
        for (path, names, others) in [
            ("a", &["a"][..], &["", "A", "a ", "a[]", "ab", "b"][..]),
            ("a[]", &["a[]"], &["a", "a[0]", "a[", "a[][]"]),
            (
                "a[*]",
                &["a[]", "a[0]", "a[x y]", "a[*]", "a[.]"],
                &["a", "a[", "a[0", "a[]b", "a[0][1]", "a[[]", "a[[]]", "b[]"],
            ),
            ("a[*][b]", &["a[][b]", "a[1][b]"], &["a[b]", "a[1][c]", "a[1][b][]", "a[1]b]"]),
            ("a[*][*]", &["a[][]", "a[x][y]"], &["a[]", "a[][", "a[][][]"]),
        ] {
            let path = FormPath::parse(path).unwrap();
            names.iter().for_each(|name| assert!(path.selects(name.as_bytes()), "{path} {name}"));
            others.iter().for_each(|name| assert!(!path.selects(name.as_bytes()), "{path} {name}"));
        }
    }
}
