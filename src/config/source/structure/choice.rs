//! A value that is none of several alternatives: which one was meant, and what is wrong with it as that.

use jsonschema::{ValidationError, error::ValidationErrorKind as Kind};
use serde_json::Value;

use super::{
    super::{
        expected::{self, Expected, did_you_mean, found, one_of, options, properties},
        path,
    },
    Checker,
};

/// One alternative: its schema and what it has against the value.
struct Branch<'a> {
    schema: &'a Value,
    errors: &'a [ValidationError<'static>],
}

impl<'a> Checker<'a> {
    /// Tells of the nearest alternative; `contexts` are the errors of each.
    pub(super) fn choose(
        &mut self,
        error: &ValidationError<'_>,
        contexts: &[Vec<ValidationError<'static>>],
        path: &str,
    ) {
        let root: &'a Value = self.schema;
        let schemas = root.pointer(error.schema_path().as_str()).and_then(Value::as_array);
        let branches = schemas.into_iter().flatten().zip(contexts);
        let branches = branches.map(|(schema, errors)| Branch { schema: expected::referred(root, schema), errors });
        // Only an option has this one, and the value is not null.
        let branches: Vec<_> =
            branches.filter(|branch| branch.schema.get("type") != Some(&Value::from("null"))).collect();
        if let [only] = branches.as_slice() {
            return self.report(only.errors);
        }
        let is_enum = matches!(error.kind(), Kind::OneOfNotValid { .. });
        let all = Expected::of_all(root, branches.iter().map(|branch| branch.schema), is_enum);
        let value = error.instance().as_ref();
        if value.is_object() {
            let mappings: Vec<_> = branches.iter().filter(|branch| properties(branch.schema).is_some()).collect();
            if self.by_tag(value, &mappings, path) || (is_enum && self.by_key(value, &mappings, path)) {
                return;
            }
        }
        // Of fixed words none is nearer than another: they are told together.
        let fits =
            |branch: &&Branch<'_>| !branch.refuses_type(error) && Expected::of(root, branch.schema).words.is_empty();
        let fitting: Vec<_> = branches.iter().filter(fits).collect();
        match nearest(&fitting) {
            Some(branch) => self.report(branch.errors),
            None => {
                let secret = self.resolved.origins.is_filled(path);
                let word = error.instance().as_str().filter(|_| !secret).unwrap_or_default();
                let found = found(error.instance(), secret);
                let message = format!("expected {all}, found {found}{}", did_you_mean(word, &all.words));
                self.push(path, message);
            }
        }
    }

    /// Alternatives that a key with a fixed value tells apart; whether these are such.
    fn by_tag(&mut self, mapping: &Value, branches: &[&Branch<'_>], path: &str) -> bool {
        let Some(tag) = branches.first().and_then(|first| {
            let mut keys = properties(first.schema)?.keys();
            keys.find(|key| branches.iter().all(|branch| !branch.tags(key).is_empty()))
        }) else {
            return false;
        };
        let words: Vec<_> = branches.iter().flat_map(|branch| branch.tags(tag)).collect();
        let at = path::key(path, tag);
        match mapping.get(tag) {
            _ if self.resolved.broken.contains(&at) => {}
            None => self.missing_key(path, tag, &one_of(&words)),
            Some(value) => {
                match branches.iter().find(|b| value.as_str().is_some_and(|v| b.tags(tag).iter().any(|t| t == v))) {
                    Some(branch) => self.report(branch.errors),
                    None => {
                        let secret = self.resolved.origins.is_filled(&at);
                        let hint = did_you_mean(value.as_str().filter(|_| !secret).unwrap_or_default(), &words);
                        self.push(&at, format!("expected {}, found {}{hint}", one_of(&words), found(value, secret)));
                    }
                }
            }
        }
        true
    }

    /// Alternatives that their only key tells apart; whether these are such.
    fn by_key(&mut self, mapping: &Value, branches: &[&Branch<'_>], path: &str) -> bool {
        let variants: Option<Vec<_>> =
            branches.iter().map(|branch| Some((expected::variant(branch.schema)?, *branch))).collect();
        let Some(variants) = variants.filter(|variants| !variants.is_empty()) else {
            return false;
        };
        let keys: Vec<_> = variants.iter().map(|(key, _)| (*key).to_owned()).collect();
        let mut given = variants.iter().filter(|(key, _)| mapping.get(*key).is_some());
        match (given.next(), given.next()) {
            (Some((_, branch)), None) => self.report(branch.errors),
            (Some(_), Some(_)) => self.push(path, format!("expected just {}, found several", one_of(&keys))),
            (None, _) => match mapping.as_object().filter(|entries| !entries.is_empty()) {
                Some(entries) => entries.keys().for_each(|key| self.unknown_key(path, key, &keys, mapping)),
                None => self.missing_key(path, &keys.join(" or "), "a mapping with just one key"),
            },
        }
        true
    }
}

impl Branch<'_> {
    /// The fixed strings that `key` may have in this alternative.
    fn tags(&self, key: &str) -> Vec<String> {
        let fixed = properties(self.schema).and_then(|properties| options(properties.get(key)?));
        fixed.unwrap_or_default().iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// Whether the value as a whole is of a type that this alternative does not have.
    fn refuses_type(&self, error: &ValidationError<'_>) -> bool {
        let whole = |inner: &&ValidationError<'_>| inner.instance_path() == error.instance_path();
        self.errors.iter().filter(whole).any(|inner| matches!(inner.kind(), Kind::Type { .. }))
    }

    /// How far the value is from this alternative.
    fn faults(&self) -> usize {
        let weight = |error: &ValidationError<'_>| match error.kind() {
            Kind::Required { .. } => 2,
            Kind::AdditionalProperties { unexpected } => 2 * unexpected.len(),
            _ => 1,
        };
        self.errors.iter().map(weight).sum()
    }
}

fn nearest<'b, 'a>(branches: &[&'b Branch<'a>]) -> Option<&'b Branch<'a>> {
    branches.iter().copied().min_by_key(|branch| branch.faults())
}
