//! The rules of a route as the proxy takes them.

use super::files::Files;
use super::policy::Classes;
use super::raw;
use super::source::{item, key};
use super::warnings;
use crate::document::json::Rules;
use crate::document::pairing::{NotCompiled, Pairing, Pairings, may_cover};
use crate::document::path::FieldPath;
use crate::proxy::media::Formats;
use crate::proxy::route::Template;
use crate::proxy::rule::{Bind, BindSource, FieldRule, Treatment};
use crate::seal::token::{TokenSize, token_chars};
use crate::seal::{Class, Kind, Placement};
use std::collections::HashSet;
use std::sync::Arc;

/// What a route says of its rules.
pub(super) struct Given<'a> {
    pub(super) template: Option<&'a Template>,
    pub(super) shows_unsealed: bool,
    pub(super) rules: Vec<raw::Rule>,
    pub(super) sizes: Sizes<'a>,
}

/// What the length of a token depends on besides its class and value.
#[derive(Clone, Copy)]
pub(super) struct Sizes<'a> {
    pub(super) edk_bytes: &'a [usize],
    pub(super) scope_bytes: usize,
}

/// The rules of one route, compiled.
pub(super) struct Compiled {
    pub(super) formats: Formats,
    pub(super) fields: Vec<FieldRule>,
    pub(super) classes: Vec<Class>,
    pub(super) pairings: Option<Arc<Pairings>>,
}

/// A bind to a field, and where the config says so.
struct Bound {
    at: String,
    pairing: Pairing,
}

pub(super) fn rules(files: &mut Files<'_>, classes: &Classes, path: &str, given: &Given<'_>) -> Option<Compiled> {
    let rules_path = key(path, "rules");
    let (mut fields, mut bound, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    for (index, raw) in given.rules.iter().enumerate() {
        let at = item(&rules_path, index);
        let Some(field) = rule(files, classes, &mut seen, &at, raw) else { continue };
        let binds = binds(files, given.template, &at, raw, &field, &mut bound);
        if let Some(column) = &raw.column {
            self::column(files, &key(&at, "column"), column, &field, given.sizes);
        }
        let is_format = matches!(field.class.treatment, Treatment::Format(_));
        if is_format && given.shows_unsealed {
            let message =
                "a value of a format cannot be told from one in the clear: not on a route with `unsealed: show`";
            files.problem_of(&key(&at, "class"), &[&key(path, "unsealed")], message);
        }
        fields.push(FieldRule { binds, ..field });
    }
    for Bound { at, pairing } in &bound {
        if fields.iter().any(|rule| may_cover(&rule.path, pairing.bind())) {
            files.problem_of(at, &[&rules_path], "a rule seals this field: nothing can be bound to what is sealed");
        }
    }
    let paths: Vec<FieldPath> = fields.iter().map(|rule| rule.path.clone()).collect();
    let automaton = Rules::compile(&paths).map_err(|error| files.problem(&rules_path, error.to_string())).ok()?;
    let pairings: Vec<Pairing> = bound.iter().map(|bound| bound.pairing.clone()).collect();
    let pairings = match Pairings::compile(&pairings) {
        Ok(pairings) => (!pairings.is_empty()).then(|| Arc::new(pairings)),
        Err(error) => {
            let second = if let NotCompiled::Touching { second, .. } = error { bound.get(second) } else { None };
            files.problem(second.map_or(&rules_path, |bound| &bound.at), error.to_string());
            None
        }
    };
    let mut classes: Vec<_> = fields.iter().map(|rule| rule.class.class).collect();
    classes.sort_unstable();
    classes.dedup();
    Some(Compiled { formats: Formats { json: Arc::new(automaton) }, fields, classes, pairings })
}

fn rule(
    files: &mut Files<'_>,
    classes: &Classes,
    seen: &mut HashSet<FieldPath>,
    path: &str,
    raw: &raw::Rule,
) -> Option<FieldRule> {
    let at = key(path, "class");
    let quoted = files.quoted(&at, &raw.class);
    let class = classes.find(files, &at, &raw.class, &quoted);
    let is_known = classes.has_known_size(&raw.class);
    let at = key(path, "path");
    let quoted = files.quoted(&at, &raw.path);
    let field = field(files, &at, &raw.path)?;
    if !files.is_mended(&at) && !seen.insert(field.clone()) {
        files.problem(&at, format!("field path {quoted} stands twice"));
    }
    if let Some(class) = &class {
        warnings::selected(files, &at, &field, class, is_known);
    }
    let marks_unopenable = matches!(raw.on_unopenable, Some(raw::OnUnopenable::Mark));
    let characters_max = raw.column.as_ref().map(|column| column.characters);
    Some(FieldRule { path: field, class: class?, binds: Vec::new(), marks_unopenable, characters_max })
}

fn field(files: &mut Files<'_>, at: &str, text: &str) -> Option<FieldPath> {
    let quoted = files.quoted(at, text);
    let field = FieldPath::parse(text).map_err(|error| {
        let offset = text.chars().take(error.column().saturating_sub(1)).map(char::len_utf8).sum();
        files.problem_in(at, offset, format!("field path {quoted}: {error}"));
    });
    field.ok()
}

/// Whether the sealed value fits.
fn column(files: &mut Files<'_>, path: &str, raw: &raw::Column, rule: &FieldRule, sizes: Sizes<'_>) {
    let (treatment, value_bytes) = (rule.class.treatment, raw.value_bytes);
    let wanted = match treatment.manner(Kind::Text) {
        None => value_bytes,
        Some(manner) => token_chars(&TokenSize {
            suite: manner.suite,
            edk_bytes: match treatment.key() {
                Some((_, Placement::Inline)) => sizes.edk_bytes,
                _ => &[],
            },
            class_bytes: rule.class.class.as_str().len(),
            scope_bytes: sizes.scope_bytes,
            value_bytes,
            pad_bytes: manner.pad_bytes,
        }),
    };
    if wanted > raw.characters {
        let message = format!("too narrow: a value of {value_bytes} bytes takes {wanted} characters sealed");
        files.problem_of(&key(path, "characters"), &["keyring", "classes"], message);
    }
}

/// In the order of their names, which is that of the context.
fn binds(
    files: &mut Files<'_>,
    template: Option<&Template>,
    path: &str,
    raw: &raw::Rule,
    rule: &FieldRule,
    bound: &mut Vec<Bound>,
) -> Vec<Bind> {
    let path = key(path, "bind");
    if !raw.bind.is_empty() && !matches!(rule.class.treatment, Treatment::Random { .. }) {
        let message = "only values of the random suite can be bound: the others are the same in every record";
        files.problem_of(&path, &["classes"], message);
        return Vec::new();
    }
    let mut binds = Vec::new();
    for (name, raw) in &raw.bind {
        let at = key(&path, name);
        if name.is_empty() || name.len() > 64 {
            files.problem(&at, "wanted a name of 1 to 64 bytes");
        }
        let source = match (&raw.parameter, &raw.field) {
            (Some(parameter), None) => {
                let at = key(&at, "parameter");
                if template.is_some_and(|template| !template.has(parameter)) {
                    let message = format!("the path has no parameter {}", files.quoted(&at, parameter));
                    files.problem(&at, message);
                }
                Some(BindSource::Parameter(parameter.clone()))
            }
            (None, Some(text)) => bound_field(files, &key(&at, "field"), text, rule, bound),
            _ => {
                let causes = [key(&at, "parameter"), key(&at, "field")];
                let causes = causes.each_ref().map(String::as_str);
                files.problem_of(&at, &causes, "wanted exactly one of parameter and field");
                None
            }
        };
        binds.extend(source.map(|source| Bind { name: name.clone(), source }));
    }
    binds
}

fn bound_field(
    files: &mut Files<'_>,
    at: &str,
    text: &str,
    rule: &FieldRule,
    bound: &mut Vec<Bound>,
) -> Option<BindSource> {
    let path = field(files, at, text)?;
    let pairing = Pairing::of(&rule.path, &path).map_err(|error| files.problem(at, error.to_string())).ok()?;
    bound.push(Bound { at: at.to_owned(), pairing });
    Some(BindSource::Field(bound.len() - 1))
}
