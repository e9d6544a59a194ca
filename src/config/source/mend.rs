//! What is left of a file once what its problems are about is taken out: the most that still is of the file's type.
//! Tells no problems itself, and moves nothing: what stays has the path that it had.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{
    expected::{alternatives, options, properties, referred},
    path,
    problem::{Gaps, Problem},
    resolve::Resolved,
};

/// Where a file is not as its type has it.
pub(super) struct Faults {
    /// Paths of values that cannot stay.
    wrong: BTreeSet<String>,
    /// Paths of all problems: those of missing and unknown keys too.
    told: BTreeSet<String>,
}

impl Faults {
    pub(super) fn new(wrong: &BTreeSet<String>, resolved: &Resolved, problems: &[Problem]) -> Self {
        let told = problems.iter().map(|problem| problem.path.clone()).collect();
        Self { wrong: wrong | &resolved.broken, told }
    }

    /// Adds a value that cannot stay; false if that is known.
    pub(super) fn add(&mut self, path: &str) -> bool {
        self.told.insert(path.to_owned());
        self.wrong.insert(path.to_owned())
    }

    /// Whether one of them is at `path` or below.
    pub(super) fn touch(&self, path: &str) -> bool {
        let below = |other: &str| other.strip_prefix(path).is_some_and(|rest| rest.is_empty() || is_below(path, rest));
        let paths = self.told.range(path.to_owned()..).take_while(|other| other.starts_with(path));
        paths.map(String::as_str).any(below)
    }
}

fn is_below(path: &str, rest: &str) -> bool {
    path.is_empty() || rest.starts_with(['.', '['])
}

/// The value without its faults, and where it is no longer the file's.
pub(super) fn mend(schema: &Value, resolved: &Resolved, faults: &Faults) -> (Value, Gaps) {
    let gaps = Gaps { mended: BTreeSet::new(), partial: resolved.partial.clone() };
    let mut mender = Mender { root: schema, resolved, faults, gaps };
    let value = mender.value(schema, &resolved.value, "");
    (value, mender.gaps)
}

struct Mender<'a> {
    root: &'a Value,
    resolved: &'a Resolved,
    faults: &'a Faults,
    gaps: Gaps,
}

impl<'a> Mender<'a> {
    fn value(&mut self, schema: &'a Value, value: &Value, path: &str) -> Value {
        let schema = referred(self.root, schema);
        if self.faults.wrong.contains(path) {
            return self.neutral(schema, path);
        }
        if self.resolved.twice.contains(path) {
            self.gaps.mended.insert(path.to_owned());
        }
        if let Some(schemas) = alternatives(schema) {
            return self.alternative(schema, schemas, value, path);
        }
        match (value, schema.get("items")) {
            (Value::Object(entries), _) => Value::Object(self.mapping(schema, entries, path)),
            (Value::Array(items), Some(schema)) => {
                let items = items.iter().enumerate();
                items.map(|(index, item)| self.value(schema, item, &path::item(path, index))).collect()
            }
            _ => value.clone(),
        }
    }

    /// Only what is optional has one alternative besides null; of others the one that was meant is not known.
    fn alternative(&mut self, schema: &'a Value, schemas: &'a [Value], value: &Value, path: &str) -> Value {
        let mut some = schemas.iter().filter(|schema| !is_null(schema));
        match (some.next(), some.next()) {
            (Some(only), None) if !value.is_null() => self.value(only, value, path),
            _ if self.faults.touch(path) => self.neutral(schema, path),
            _ => value.clone(),
        }
    }

    fn mapping(&mut self, schema: &'a Value, entries: &Map<String, Value>, path: &str) -> Map<String, Value> {
        let known = properties(schema);
        let mut is_partial = self.resolved.partial.contains(path);
        let mut mended = Map::new();
        for (name, value) in entries {
            let at = path::key(path, name);
            match (known.and_then(|known| known.get(name)), schema.get("additionalProperties")) {
                (Some(_), _) if self.faults.wrong.contains(&at) && !is_required(schema, name) => {
                    self.gaps.mended.insert(at);
                }
                (Some(schema), _) | (None, Some(schema @ Value::Object(_))) => {
                    mended.insert(name.clone(), self.value(schema, value, &at));
                }
                (None, Some(Value::Bool(false))) => is_partial = true,
                (None, _) => drop(mended.insert(name.clone(), value.clone())),
            }
        }
        for (name, inner) in known.into_iter().flatten().filter(|(name, _)| !entries.contains_key(*name)) {
            let at = path::key(path, name);
            if is_required(schema, name) {
                mended.insert(name.clone(), self.neutral(inner, &at));
            } else if is_partial {
                // A key that was not understood may have been meant for it.
                self.gaps.mended.insert(at);
            }
        }
        mended
    }

    fn neutral(&mut self, schema: &Value, path: &str) -> Value {
        self.gaps.mended.insert(path.to_owned());
        neutral(self.root, schema, 8)
    }
}

fn is_required(schema: &Value, key: &str) -> bool {
    required(schema).any(|required| required == key)
}

fn required(schema: &Value) -> impl Iterator<Item = &str> {
    schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn is_null(schema: &Value) -> bool {
    schema.get("type").and_then(Value::as_str) == Some("null")
}

/// The least that `schema` accepts, but for lengths and patterns, which a type does not know.
fn neutral(root: &Value, schema: &Value, depth: usize) -> Value {
    let schema = referred(root, schema);
    if let Some(options) = options(schema) {
        return options.first().cloned().unwrap_or_default();
    }
    if let Some(schemas) = alternatives(schema).filter(|schemas| depth > 0 && !schemas.iter().any(is_null)) {
        return schemas.first().map_or(Value::Null, |schema| neutral(root, schema, depth - 1));
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("string") => Value::from(""),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or_else(|| Value::from(0)),
        Some("boolean") => Value::from(false),
        Some("array") => Value::Array(Vec::new()),
        Some("object") => {
            let known = properties(schema);
            let inner = |key| Some((key, known?.get(key)?));
            let inner = required(schema).filter_map(inner).filter(|_| depth > 0);
            Value::Object(inner.map(|(key, schema)| (key.to_owned(), neutral(root, schema, depth - 1))).collect())
        }
        _ => Value::Null,
    }
}
