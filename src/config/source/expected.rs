//! The words of a problem: what a schema expects, what was found instead, and what was perhaps meant.

use std::fmt;

use serde_json::{Map, Value};

/// The longest string that is quoted, in characters.
const QUOTE_LIMIT: usize = 40;

/// What one schema or several alternatives accept, in words.
#[derive(Debug, Default)]
pub(super) struct Expected {
    /// Fixed values, of an enum.
    pub(super) words: Vec<String>,
    /// Keys of which a mapping has one, of an enum with data.
    pub(super) keys: Vec<String>,
    kinds: Vec<&'static str>,
    null: bool,
}

impl Expected {
    /// What `schema`, a part of `root`, accepts.
    pub(super) fn of(root: &Value, schema: &Value) -> Self {
        let mut expected = Self::default();
        expected.add(root, schema, false, 8);
        expected
    }

    /// What alternatives accept together; `is_enum` when they are the variants of an enum.
    pub(super) fn of_all<'s>(root: &Value, schemas: impl Iterator<Item = &'s Value>, is_enum: bool) -> Self {
        let mut expected = Self::default();
        schemas.for_each(|schema| expected.add(root, schema, is_enum, 8));
        expected
    }

    fn add(&mut self, root: &Value, schema: &Value, is_enum_variant: bool, depth: usize) {
        let schema = referred(root, schema);
        if let Some(options) = options(schema) {
            for option in options {
                match option {
                    Value::Null => self.null = true,
                    Value::String(word) => self.words.push(word.clone()),
                    other => self.words.push(other.to_string()),
                }
            }
        } else if let Some(schemas) = alternatives(schema) {
            let is_enum = schema.get("oneOf").is_some();
            for schema in schemas.iter().filter(|_| depth > 0) {
                self.add(root, schema, is_enum, depth - 1);
            }
        } else if let Some(key) = variant(schema).filter(|_| is_enum_variant) {
            self.keys.push(key.to_owned());
        } else {
            match schema.get("type") {
                Some(Value::String(kind)) => self.add_kind(kind),
                Some(Value::Array(kinds)) => {
                    kinds.iter().filter_map(Value::as_str).for_each(|kind| self.add_kind(kind))
                }
                _ => self.add_kind(""),
            }
        }
    }

    fn add_kind(&mut self, kind: &str) {
        let kind = match kind {
            "null" => {
                self.null = true;
                return;
            }
            "string" => "a string",
            "integer" => "an integer",
            "number" => "a number",
            "boolean" => "true or false",
            "array" => "a list",
            "object" => "a mapping",
            _ => "a value",
        };
        if !self.kinds.contains(&kind) {
            self.kinds.push(kind);
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = self.kinds.iter().map(|kind| (*kind).to_owned()).collect();
        if !self.words.is_empty() {
            parts.push(one_of(&self.words));
        }
        match self.keys.as_slice() {
            [] => {}
            [key] => parts.push(format!("a mapping with the key {key}")),
            keys => parts.push(format!("a mapping with one of the keys {}", keys.join(", "))),
        }
        if parts.is_empty() {
            parts.push(if self.null { "nothing (null)" } else { "a value" }.to_owned());
        }
        f.write_str(&parts.join(" or "))
    }
}

/// What was found, in words. `secret` keeps the value itself out of it.
pub(super) fn found(value: &Value, secret: bool) -> String {
    match value {
        Value::Null => "nothing (null)".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
        Value::Bool(_) if secret => "true or false from a variable".to_owned(),
        Value::Number(_) if secret => "a number from a variable".to_owned(),
        Value::String(_) if secret => "a string from a variable".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) if number.is_f64() => format!("the number {number}"),
        Value::Number(number) => format!("the integer {number}"),
        Value::String(text) => match text.chars().count() {
            length if length > QUOTE_LIMIT => format!("a string of {length} characters"),
            _ => format!("the string {text:?}"),
        },
    }
}

/// Whether `message` quotes a string at more than the length that is allowed.
pub(super) fn quotes_at_length(message: &str, text: &str) -> bool {
    text.chars().count() > QUOTE_LIMIT && quotes(message, text)
}

/// Whether `message` holds `text`, as it is or escaped.
pub(super) fn quotes(message: &str, text: &str) -> bool {
    let escaped = format!("{text:?}");
    let inner = escaped.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    message.contains(text) || inner.is_some_and(|inner| message.contains(inner))
}

/// `one of a, b, c`, or the only one.
pub(super) fn one_of(words: &[String]) -> String {
    match words {
        [word] => word.clone(),
        words => format!("one of {}", words.join(", ")),
    }
}

/// `; did you mean x?`, or nothing when no candidate is near.
pub(super) fn did_you_mean(found: &str, candidates: &[String]) -> String {
    let length = found.chars().count();
    let limit = (length / 3).clamp(1, 3).min(length.saturating_sub(1));
    let near = candidates.iter().map(|candidate| (distance(&folded(found), &folded(candidate)), candidate));
    match near.filter(|(distance, _)| *distance <= limit).min_by_key(|(distance, _)| *distance) {
        Some((_, candidate)) => format!("; did you mean {candidate}?"),
        None => String::new(),
    }
}

fn folded(word: &str) -> Vec<char> {
    word.chars().take(QUOTE_LIMIT).map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
}

/// The optimal string alignment distance: insertions, deletions, substitutions and swaps of neighbours.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX - 1);
            let mut best = (at(&above, j) + usize::from(x != y)).min(at(&above, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above.last().copied().unwrap_or(0)
}

/// The schema that `schema` refers to, or itself.
pub(super) fn referred<'s>(root: &'s Value, mut schema: &'s Value) -> &'s Value {
    for _ in 0..8 {
        let pointer = schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix('#'));
        match pointer.and_then(|pointer| root.pointer(pointer)) {
            Some(target) => schema = target,
            None => break,
        }
    }
    schema
}

/// The fixed values of a schema with `const` or `enum`.
pub(super) fn options(schema: &Value) -> Option<&[Value]> {
    let only = schema.get("const").map(std::slice::from_ref);
    only.or_else(|| schema.get("enum").and_then(Value::as_array).map(Vec::as_slice))
}

/// The alternatives of a schema with `oneOf` or `anyOf`.
pub(super) fn alternatives(schema: &Value) -> Option<&Vec<Value>> {
    schema.get("oneOf").or_else(|| schema.get("anyOf")).and_then(Value::as_array)
}

/// The key of a mapping that stands for a variant of an enum: the only one, and required.
pub(super) fn variant(schema: &Value) -> Option<&str> {
    let properties = properties(schema)?;
    let required = schema.get("required").and_then(Value::as_array)?;
    match (required.as_slice(), properties.len()) {
        ([Value::String(key)], 1) => properties.get(key).filter(|inner| options(inner).is_none()).map(|_| key.as_str()),
        _ => None,
    }
}

pub(super) fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    schema.get("properties").and_then(Value::as_object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_offered() {
        let words = ["timeout_ms", "listen", "upstream", "a"].map(str::to_owned);
        for (found, expect) in [
            ("timeout_mss", "; did you mean timeout_ms?"),
            ("timeoutMs", "; did you mean timeout_ms?"),
            ("Timeout-MS", "; did you mean timeout_ms?"),
            ("lsiten", "; did you mean listen?"),
            ("upstrem", "; did you mean upstream?"),
            ("port", ""),
            ("x", ""),
            ("", ""),
        ] {
            assert_eq!(did_you_mean(found, &words), expect, "{found}");
        }
    }
}
