//! How a value is shown. Pure; it never opens anything.

use crate::seal::Kind;

/// What stands where a value is redacted.
pub const REDACTED: &str = "[REDACTED]";

/// The character that a mask puts in the place of another.
pub const MASK: char = '*';

/// How values of a class are masked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MaskRule {
    /// How many letters and digits stay at the start.
    pub keep_first: usize,
    /// How many letters and digits stay at the end.
    pub keep_last: usize,
}

/// A value masked: every character becomes `*`, save blanks and `- . / ( ) , : @ _ '`, which
/// separate, and those letters and digits that the rule keeps. A value of which the rule would show half or more is masked
/// whole. Of literals only numbers are masked; booleans, objects and arrays are redacted, for their length or shape tells
/// what they are.
#[must_use]
pub fn mask(rule: MaskRule, kind: Kind, text_wtf8: &[u8]) -> String {
    if kind == Kind::Literal && !matches!(text_wtf8.first(), Some(b'-' | b'0'..=b'9')) {
        return REDACTED.to_owned();
    }
    let text = String::from_utf8_lossy(text_wtf8);
    let separates = |c: char| kind == Kind::Text && (c == ' ' || "-./(),:@_'".contains(c));
    let count = text.chars().filter(|c| c.is_alphanumeric()).count();
    let kept = rule.keep_first.saturating_add(rule.keep_last);
    let (first, last) = if kept.saturating_mul(2) < count { (rule.keep_first, rule.keep_last) } else { (0, 0) };
    let mut seen = 0;
    text.chars()
        .map(|c| {
            if separates(c) {
                return c;
            }
            if !c.is_alphanumeric() {
                return MASK;
            }
            seen += 1;
            if seen <= first || seen > count - last { c } else { MASK }
        })
        .collect()
}

/// Whether a text may have come from [`mask`] or redaction: it must not be written over what it stands for.
#[must_use]
pub fn looks_hidden(text_wtf8: &[u8]) -> bool {
    text_wtf8.contains(&b'*') || text_wtf8 == REDACTED.as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_keep_separators_and_at_most_less_than_half() {
        let last4 = MaskRule { keep_first: 0, keep_last: 4 };
        let first1 = MaskRule { keep_first: 1, keep_last: 0 };
        for (rule, value, want) in [
            (last4, "999-12-3456", "***-**-3456"),
            (last4, "12345678", "********"),
            (last4, "3456", "****"),
            (last4, "", ""),
            (first1, "Chalmers", "C*******"),
            (first1, "Øy", "**"),
            (first1, "Ødegård", "Ø******"),
            (MaskRule::default(), "(03) 5555 6473", "(**) **** ****"),
            (MaskRule::default(), "+1 A+", "** **"),
            (MaskRule::default(), "\u{2640}!", "**"),
            (MaskRule { keep_first: usize::MAX, keep_last: 1 }, "abc", "***"),
        ] {
            assert_eq!(mask(rule, Kind::Text, value.as_bytes()), want, "{value}");
        }
    }

    #[test]
    fn literals_are_masked_as_text_or_redacted() {
        for (value, want) in [
            ("12345", "*****"),
            ("-1.5e3", "******"),
            ("true", "[REDACTED]"),
            ("{\"a\":1}", "[REDACTED]"),
            ("[1]", "[REDACTED]"),
        ] {
            assert_eq!(mask(MaskRule::default(), Kind::Literal, value.as_bytes()), want);
        }
    }

    #[test]
    fn what_was_hidden_is_known_again() {
        for (text, hidden) in [("***-**-3456", true), ("[REDACTED]", true), ("Chalmers", false), ("", false)] {
            assert_eq!(looks_hidden(text.as_bytes()), hidden, "{text}");
        }
    }
}
