//! The JSON against the schema of its type: the validator finds, this module says it so that it can be mended.

use std::collections::{BTreeSet, HashSet};

use jsonschema::{
    Draft, ValidationError,
    error::{TypeKind, ValidationErrorKind as Kind},
    paths::Location,
};
use serde_json::Value;

use super::{
    expected::{self, Expected, did_you_mean, found, one_of},
    path,
    problem::{Place, Problem},
    resolve::Resolved,
};

mod choice;

/// Adds to `problems` all that `schema` has against the value. Gives the paths of the values that it does not accept
/// themselves: keys that are missing or unknown say nothing of the mapping's other keys.
pub(super) fn check(schema: &Value, resolved: &Resolved, problems: &mut Vec<Problem>) -> BTreeSet<String> {
    let validator = match jsonschema::options().with_draft(Draft::Draft202012).build(schema) {
        Ok(validator) => validator,
        Err(error) => {
            problems.push(Problem::new(Place::START, "", format!("the schema of the program is broken: {error}")));
            return BTreeSet::from([String::new()]);
        }
    };
    let errors: Vec<_> = validator.iter_errors(&resolved.value).collect();
    let mut checker = Checker { schema, resolved, problems, wrong: BTreeSet::new() };
    checker.report(&errors);
    checker.wrong
}

struct Checker<'a> {
    schema: &'a Value,
    resolved: &'a Resolved,
    problems: &'a mut Vec<Problem>,
    wrong: BTreeSet<String>,
}

impl<'a> Checker<'a> {
    /// Tells the errors of one schema, without those that follow from a wrong type.
    fn report(&mut self, errors: &[ValidationError<'_>]) {
        let mistyped: HashSet<_> =
            errors.iter().filter(|error| matches!(error.kind(), Kind::Type { .. })).map(|error| at(error)).collect();
        for error in errors {
            if matches!(error.kind(), Kind::Type { .. }) || !mistyped.contains(&at(error)) {
                self.tell(error);
            }
        }
    }

    fn tell(&mut self, error: &ValidationError<'_>) {
        let path = self.path(error.instance_path());
        if self.resolved.broken.contains(&path) {
            return;
        }
        let schema = self.enclosing(error);
        match error.kind() {
            Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
                let mut known = Vec::new();
                self.known_keys(schema, &mut known, 8);
                for key in unexpected {
                    self.unknown_key(&path, key, &known, error.instance());
                }
            }
            Kind::Required { property } => {
                let key = property.as_str().unwrap_or_default();
                self.missing_key(&path, key, &Expected::of(self.schema, self.property(schema, key)).to_string());
            }
            Kind::AnyOf { context } | Kind::OneOfNotValid { context } => self.choose(error, context, &path),
            Kind::OneOfMultipleValid { .. } => {
                let expected = Expected::of(self.schema, schema);
                self.push(&path, format!("expected just one of the alternatives: {expected}"));
            }
            Kind::PropertyNames { error: inner } => {
                let key = inner.instance().as_str().unwrap_or_default();
                let message = self.wrong_value(inner, self.enclosing(inner), false);
                let problem =
                    self.resolved.places.problem_at_key(&path::key(&path, key), format!("as a key: {message}"));
                self.problems.push(problem);
            }
            _ => {
                let secret = self.resolved.origins.is_filled(&path);
                let message = self.wrong_value(error, schema, secret);
                self.push(&path, message);
            }
        }
    }

    /// The message for one value that is not as expected.
    fn wrong_value(&self, error: &ValidationError<'_>, schema: &Value, secret: bool) -> String {
        let value = error.instance();
        let found = found(value, secret);
        let count = |what: &str, limit: u64, bound: &str| {
            let s = if limit == 1 { "" } else { "s" };
            let found = match value.as_ref() {
                Value::Array(items) => items.len().to_string(),
                Value::Object(entries) => entries.len().to_string(),
                Value::String(text) if !secret => text.chars().count().to_string(),
                _ => found.clone(),
            };
            format!("expected {bound} {limit} {what}{s}, found {found}")
        };
        match error.kind() {
            Kind::Type { kind } => match schema {
                Value::Object(_) => format!("expected {}, found {found}", Expected::of(self.schema, schema)),
                _ => format!("expected {}, found {found}", type_name(kind)),
            },
            Kind::Enum { options } => wrong_word(options.as_array().map_or(&[], Vec::as_slice), value, &found, secret),
            Kind::Constant { expected_value } => {
                wrong_word(std::slice::from_ref(&**expected_value), value, &found, secret)
            }
            Kind::Minimum { .. } | Kind::Maximum { .. } => format!("expected {}, found {found}", range(schema)),
            Kind::ExclusiveMinimum { limit } => format!("expected more than {limit}, found {found}"),
            Kind::ExclusiveMaximum { limit } => format!("expected less than {limit}, found {found}"),
            Kind::MultipleOf { multiple_of } => format!("expected a multiple of {multiple_of}, found {found}"),
            Kind::MinItems { limit } => count("item", *limit, "at least"),
            Kind::MaxItems { limit } => count("item", *limit, "at most"),
            Kind::MinLength { limit } => count("character", *limit, "at least"),
            Kind::MaxLength { limit } => count("character", *limit, "at most"),
            Kind::MinProperties { limit } => count("key", *limit, "at least"),
            Kind::MaxProperties { limit } => count("key", *limit, "at most"),
            Kind::Pattern { pattern } => format!("expected a string that matches {pattern}, found {found}"),
            Kind::Format { format } => format!("expected a string of the format {format}, found {found}"),
            Kind::UniqueItems => match twins(value) {
                Some((first, second)) => format!("expected items that differ; [{first}] and [{second}] are the same"),
                None => "expected items that differ".to_owned(),
            },
            Kind::FalseSchema => format!("expected nothing here, found {found}"),
            _ => error.masked().to_string(),
        }
    }

    /// `mapping` holds the key; what else it holds was not meant by it.
    fn unknown_key(&mut self, path: &str, key: &str, known: &[String], mapping: &Value) {
        let expected = match known {
            [] => "no keys are expected here".to_owned(),
            known => format!("expected {}", one_of(known)),
        };
        let free: Vec<_> = known.iter().filter(|known| mapping.get(known).is_none()).cloned().collect();
        let message = format!("unknown key; {expected}{}", did_you_mean(key, &free));
        self.problems.push(self.resolved.places.problem_at_key(&path::key(path, key), message));
    }

    fn missing_key(&mut self, path: &str, key: &str, expected: &str) {
        if !self.resolved.partial.contains(path) {
            let message = format!("missing key {key}; expected {expected}");
            self.problems.push(self.resolved.places.problem(path, message));
        }
    }

    /// A problem with the value itself.
    fn push(&mut self, path: &str, message: String) {
        self.wrong.insert(path.to_owned());
        self.problems.push(self.resolved.places.problem(path, message));
    }

    /// The keys that `schema` names, those of its parts included.
    fn known_keys(&self, schema: &Value, known: &mut Vec<String>, depth: usize) {
        let schema = expected::referred(self.schema, schema);
        let own = expected::properties(schema).into_iter().flat_map(|properties| properties.keys());
        known.extend(own.cloned());
        if depth > 0 {
            let parts = ["allOf", "anyOf", "oneOf"].iter().filter_map(|keyword| schema.get(keyword)?.as_array());
            for part in parts.flatten() {
                self.known_keys(part, known, depth - 1);
            }
        }
        known.sort();
        known.dedup();
    }

    fn property<'s>(&self, schema: &'s Value, key: &str) -> &'s Value {
        expected::properties(schema).and_then(|properties| properties.get(key)).unwrap_or(&Value::Null)
    }

    /// The schema whose keyword found the error; `null` when it is not in the document.
    fn enclosing(&self, error: &ValidationError<'_>) -> &'a Value {
        let pointer = error.schema_path().as_str();
        let schema = pointer.rsplit_once('/').and_then(|(schema, _)| self.schema.pointer(schema));
        schema.unwrap_or(&Value::Null)
    }

    /// A location as a path; the value tells indices from keys that look like one.
    fn path(&self, location: &Location) -> String {
        let (mut at, mut value) = (String::new(), Some(&self.resolved.value));
        for segment in location.as_str().split('/').skip(1) {
            let segment = segment.replace("~1", "/").replace("~0", "~");
            let index = segment.parse::<usize>().ok().filter(|_| value.is_some_and(Value::is_array));
            (at, value) = match index {
                Some(index) => (path::item(&at, index), value.and_then(|value| value.get(index))),
                None => (path::key(&at, &segment), value.and_then(|value| value.get(&segment))),
            };
        }
        at
    }
}

/// What an error is about: the value and the schema.
fn at(error: &ValidationError<'_>) -> (String, String) {
    let schema = error.schema_path().as_str();
    let schema = schema.rsplit_once('/').map_or("", |(schema, _)| schema);
    (error.instance_path().as_str().to_owned(), schema.to_owned())
}

fn wrong_word(options: &[Value], value: &Value, found: &str, secret: bool) -> String {
    let words: Vec<_> =
        options.iter().map(|option| option.as_str().map_or_else(|| option.to_string(), str::to_owned)).collect();
    let hint = value.as_str().filter(|_| !secret).map(|word| did_you_mean(word, &words)).unwrap_or_default();
    format!("expected {}, found {found}{hint}", one_of(&words))
}

fn range(schema: &Value) -> String {
    match (schema.get("minimum"), schema.get("maximum")) {
        (Some(low), Some(high)) => format!("{low} to {high}"),
        (Some(low), None) => format!("at least {low}"),
        (None, Some(high)) => format!("at most {high}"),
        (None, None) => "a number in another range".to_owned(),
    }
}

fn type_name(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(kind) => format!("the type {kind}"),
        TypeKind::Multiple(kinds) => {
            format!("one of the types {}", kinds.iter().map(|kind| kind.to_string()).collect::<Vec<_>>().join(", "))
        }
    }
}

/// The indices of the first two equal items.
fn twins(value: &Value) -> Option<(usize, usize)> {
    let items = value.as_array()?;
    let twin = |(at, item): (usize, &Value)| Some((items.iter().take(at).position(|other| other == item)?, at));
    items.iter().enumerate().find_map(twin)
}
