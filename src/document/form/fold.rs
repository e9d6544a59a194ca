//! Names as loosely as servers read them, so that one that is meant to slip past a rule shows. Rules never select by this.
//!
//! What is folded together: letter case; what is encoded once more; blanks at the ends; what follows a NUL (C); `.`,
//! blanks, `+` and `_`, and brackets that are not closed (PHP's `php_register_variable_ex`); what follows the brackets
//! (PHP), brackets at the beginning (Rack, qs); quotes in brackets and a `!` at the beginning (Spring); `(1i)` at the end
//! (Rails); `a.b` and `a[b]` (ASP.NET, qs).

use crate::document::form::decode::hex;

/// A name taken apart: what stands before the brackets, then the content of each.
pub(super) type Parts = Vec<String>;

/// A name with what servers do not tell apart made equal.
pub(super) struct Folded {
    text: String,
}

impl Folded {
    pub(super) fn new(name: &[u8]) -> Folded {
        let decoded = decode_again(name);
        let text = String::from_utf8_lossy(&decoded);
        let text = text.split('\0').next().unwrap_or_default();
        let text = text.trim_matches(is_margin).trim_start_matches(['[', ']', '!']);
        Folded { text: text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect() }
    }

    /// By brackets, at most `max` of the parts.
    pub(super) fn bracketed(&self, max: usize) -> Parts {
        let end = self.text.find(['[', ']']).unwrap_or(self.text.len());
        let (base, mut rest) = self.text.split_at(end);
        let mut parts = vec![plain(base)];
        rest = rest.trim_start_matches(']');
        while parts.len() < max
            && let Some(inside) = rest.strip_prefix('[')
        {
            let (inside, after) = inside.split_once(']').unwrap_or((inside, ""));
            parts.push(plain(inside));
            rest = after;
        }
        parts
    }

    /// By brackets and dots, at most `max` of the parts.
    pub(super) fn dotted(&self, max: usize) -> Parts {
        self.text.split(['.', '[']).take(max).map(|part| plain(part.split(']').next().unwrap_or_default())).collect()
    }

    /// As one piece, where a bracket is not closed.
    pub(super) fn unclosed(&self) -> Option<String> {
        let open = self.text.rfind('[')?;
        let inside = self.text.get(open..).unwrap_or_default();
        (!inside.contains(']')).then(|| plain(&self.text.replace('[', "_")))
    }
}

/// A name folded, where there is nothing in it to fold but letter case: a short cut.
pub(super) fn plain_name(name: &[u8]) -> Option<String> {
    let plain = name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    let name = plain.then(|| name.to_ascii_lowercase())?;
    String::from_utf8(name).ok()
}

/// One part of a name, with the characters replaced that PHP replaces.
fn plain(part: &str) -> String {
    let part = part.trim_matches(is_margin).trim_matches(['\'', '"']);
    let part = match part.rsplit_once('(') {
        Some((before, count)) if is_multiparameter(count) => before,
        _ => part,
    };
    part.replace(['.', '+'], "_").replace(char::is_whitespace, "_")
}

/// What follows the `(` of `(1i)`.
fn is_multiparameter(count: &str) -> bool {
    count.starts_with(|c: char| c.is_ascii_digit()) && count.ends_with(')')
}

fn is_margin(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '+' | '\u{feff}')
}

/// Undoes percent escapes until none is left.
fn decode_again(name: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(name.len());
    for &byte in name {
        out.push(byte);
        while let [before @ .., b'%', high, low] = out.as_slice()
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            let kept = before.len();
            out.truncate(kept);
            out.push(high << 4 | low);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_taken_apart_as_loosely_as_servers_do() {
        for (name, bracketed, dotted) in [
            ("a", &["a"][..], &["a"][..]),
            ("A.b[C]", &["a_b", "c"], &["a", "b", "c"]),
            ("a[][0]x[y]", &["a", "", "0"], &["a", "", "0", "y"]),
            ("[[a]b]", &["a"], &["a"]),
            (" a [ 'b' ]\0c", &["a", "b"], &["a", "b"]),
            ("a%255B%2562%5D", &["a", "b"], &["a", "b"]),
            ("a[b[c]", &["a", "b[c"], &["a", "b", "c"]),
            ("", &[""], &[""]),
            ("[", &[""], &[""]),
            ("\0a", &[""], &[""]),
        ] {
            let folded = Folded::new(name.as_bytes());
            assert_eq!(folded.bracketed(9), bracketed, "{name:?}");
            assert_eq!(folded.dotted(9), dotted, "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn the_short_cut_folds_alike(name in "[a-zA-Z0-9_-]{0,12}") {
            let folded = Folded::new(name.as_bytes());
            let plain = plain_name(name.as_bytes()).unwrap();
            prop_assert_eq!(folded.bracketed(9), [plain.clone()]);
            prop_assert_eq!(folded.dotted(9), [plain]);
            prop_assert_eq!(folded.unclosed(), None);
        }
    }
}
