//! The rules of a route as the proxy takes them.

use super::files::Files;
use super::packs::Pack;
use super::places::{self, Place, Said};
use super::policy::Classes;
use super::raw;
use super::source::{item, key};
use super::warnings;
use crate::document::pairing::{NotCompiled, Pairing, Pairings, may_cover};
use crate::proxy::media::Formats;
use crate::proxy::route::Template;
use crate::proxy::rule::{Bind, BindSource, FieldRule, Form, Treatment, Written};
use crate::seal::token::{TokenSize, token_chars};
use crate::seal::{Class, Kind, Placement};
use std::collections::HashSet;
use std::sync::Arc;

/// What a route says of its rules.
pub(super) struct Given<'a> {
    pub(super) template: Option<&'a Template>,
    pub(super) shows_unsealed: bool,
    pub(super) packs: &'a [&'a Pack],
    pub(super) resources_allowed: Vec<String>,
    pub(super) csv_delimiter: u8,
    pub(super) pages: bool,
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
    pub(super) fields: Vec<Option<FieldRule>>,
    pub(super) written: Vec<Written>,
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
    let (mut fields, mut places, mut bound, mut seen) = (Vec::new(), Vec::new(), Vec::new(), HashSet::new());
    let mut written = Vec::new();
    let own = given.rules.iter().enumerate().map(|(index, raw)| (item(&rules_path, index), raw, None));
    let packs = given.packs.iter().flat_map(|pack| pack.rules.iter().map(|raw| (raw, &pack.name))).enumerate();
    let packed = packs.map(|(index, (raw, name))| (item(&key(path, "packs.rules"), index), raw, Some(name)));
    for (at, raw, pack) in own.chain(packed) {
        let Some(place) = Place::of(files, &at, raw) else { continue };
        let field = if is_passed(files, &at, raw) {
            None
        } else {
            let Some(field) = rule(files, classes, &at, raw, &place) else { continue };
            let binds = binds(files, given.template, &at, raw, (&field, &place), &mut bound);
            if let Some(column) = &raw.column {
                self::column(files, &key(&at, "column"), column, &field, given.sizes);
            }
            if matches!(field.class.treatment, Treatment::Format(_)) && given.shows_unsealed {
                let message =
                    "a value of a format cannot be told from one in the clear: not on a route with `unsealed: show`";
                files.problem_of(&key(&at, "class"), &[&key(path, "unsealed")], message);
            }
            Some(FieldRule { binds, ..field })
        };
        let at = key(&at, place.key());
        // A rule of the route may say otherwise than its packs.
        if !files.is_mended(&at) && at.starts_with(&rules_path) && !seen.insert(place.clone()) {
            let quoted = files.quoted(&at, &place.text());
            files.problem(&at, format!("field path {quoted} stands twice"));
        }
        written.push(Written { key: place.key(), place: place.text(), pack: pack.cloned() });
        places.push(place);
        fields.push(field);
    }
    for Bound { at, pairing } in &bound {
        let covers = |(place, field): (&Place, &Option<FieldRule>)| {
            field.is_some() && place.widened().is_some_and(|path| may_cover(&path, pairing.bind()))
        };
        if places.iter().zip(&fields).any(covers) {
            files.problem_of(at, &[&rules_path], "a rule seals this field: nothing can be bound to what is sealed");
        }
    }
    let of_packs = given.packs.iter().flat_map(|pack| &pack.resources_allowed);
    let resources: Vec<String> = given.resources_allowed.iter().chain(of_packs).cloned().collect();
    let said = Said { resources: &resources, csv_delimiter: given.csv_delimiter, pages: given.pages };
    let compiled = places::compile(&places, &fields, &said);
    let formats = compiled.map_err(|error| files.problem(&rules_path, error)).ok()?;
    let pairings: Vec<Pairing> = bound.iter().map(|bound| bound.pairing.clone()).collect();
    let pairings = match Pairings::compile(&pairings) {
        Ok(pairings) => (!pairings.is_empty()).then(|| Arc::new(pairings)),
        Err(error) => {
            let second = if let NotCompiled::Touching { second, .. } = error { bound.get(second) } else { None };
            files.problem(second.map_or(&rules_path, |bound| &bound.at), error.to_string());
            None
        }
    };
    let mut classes: Vec<_> = fields.iter().flatten().map(|rule| rule.class.class).collect();
    classes.sort_unstable();
    classes.dedup();
    Some(Compiled { formats, fields, written, classes, pairings })
}

/// Whether the rule says that its values pass; else it must name a class.
fn is_passed(files: &mut Files<'_>, path: &str, raw: &raw::Rule) -> bool {
    let passes = raw.pass.is_some();
    if raw.pass == Some(false) {
        files.problem(&key(path, "pass"), "wanted `true`, or a class in its place");
    }
    if passes == raw.class.is_some() {
        let causes = [key(path, "class"), key(path, "pass")];
        let causes = causes.each_ref().map(String::as_str);
        files.problem_of(path, &causes, "wanted exactly one of class and `pass: true`");
    }
    let said = [
        ("as", raw.form.is_some()),
        ("bind", !raw.bind.is_empty()),
        ("on_unopenable", raw.on_unopenable.is_some()),
        ("column", raw.column.is_some()),
    ];
    for (name, is_said) in said {
        if passes && is_said {
            files.problem_of(&key(path, name), &[&key(path, "pass")], "has no meaning with `pass`");
        }
    }
    passes
}

fn rule(files: &mut Files<'_>, classes: &Classes, path: &str, raw: &raw::Rule, place: &Place) -> Option<FieldRule> {
    let name = raw.class.as_deref()?;
    let at = key(path, "class");
    let quoted = files.quoted(&at, name);
    let class = classes.find(files, &at, name, &quoted)?;
    warnings::selected(
        files,
        &key(path, place.key()),
        place.last_name().as_deref(),
        &class,
        classes.has_known_size(name),
    );
    let form = match raw.form {
        None => Form::Bare,
        Some(raw::Form::Base64) => Form::Base64,
        Some(raw::Form::Xhtml) => Form::Xhtml,
        Some(raw::Form::Extension) => Form::Extension,
    };
    if form != Form::Bare && class.treatment.key().is_none() {
        let message = "a value of a format keeps its own form";
        files.problem_of(&key(path, "as"), &["classes"], message);
    }
    if form == Form::Extension && !matches!(place, Place::Fhir(_)) {
        files.problem(&key(path, "as"), "only with `fhir`: the extension is one of a FHIR primitive");
    }
    let marks_unopenable = matches!(raw.on_unopenable, Some(raw::OnUnopenable::Mark));
    let characters_max = raw.column.as_ref().map(|column| column.characters);
    Some(FieldRule { place: place.text(), class, form, binds: Vec::new(), marks_unopenable, characters_max })
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
    (rule, place): (&FieldRule, &Place),
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
            (None, Some(text)) => bound_field(files, &key(&at, "field"), text, place, bound),
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
    place: &Place,
    bound: &mut Vec<Bound>,
) -> Option<BindSource> {
    let path = places::path(files, at, text)?;
    let Place::Path(field) = place else {
        files.problem(at, "only a value that `path` selects can be bound to a field");
        return None;
    };
    let pairing = Pairing::of(field, &path).map_err(|error| files.problem(at, error.to_string())).ok()?;
    bound.push(Bound { at: at.to_owned(), pairing });
    Some(BindSource::Field(bound.len() - 1))
}
