//! Paths of keys as a reader writes them: `routes[2].rules[0].path`, `headers["x.y"]`. The root is the empty path.

/// The path of `key` in the mapping at `path`.
pub fn key(path: &str, key: &str) -> String {
    let plain = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    match (plain, path.is_empty()) {
        (true, true) => key.to_owned(),
        (true, false) => format!("{path}.{key}"),
        (false, _) => format!("{path}[{key:?}]"),
    }
}

/// The path of the item at `index`, from 0, in the list at `path`.
pub fn item(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

/// The path of what holds `path`; the root is held by nothing.
pub(super) fn parent(path: &str) -> Option<&str> {
    if path.is_empty() {
        return None;
    }
    let (mut last, mut quoted, mut escaped) = (0, false, false);
    for (at, c) in path.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '.' | '[' if !quoted => last = at,
            _ => {}
        }
    }
    path.get(..last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_left_segment_by_segment() {
        for (path, expect) in [
            ("", None),
            ("a", Some("")),
            ("a.b", Some("a")),
            ("a[0]", Some("a")),
            ("a[0].b", Some("a[0]")),
            (r#"["a b"]"#, Some("")),
            (r#"a["x.y[\"]"].b"#, Some(r#"a["x.y[\"]"]"#)),
            (r#"a["x.y[\"]"]"#, Some("a")),
        ] {
            assert_eq!(parent(path), expect, "{path}");
        }
        assert_eq!(key("a", "x.y[\"]"), r#"a["x.y[\"]"]"#);
    }
}
