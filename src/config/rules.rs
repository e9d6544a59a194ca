//! The rules of a route as the proxy takes them.

use super::files::Files;
use super::packs::Pack;
use super::places::{self, Kept, Place, Query, Said};
use super::policy::Classes;
use super::raw;
use super::source::{item, key};
use super::warnings;
use crate::document::fhir::FhirPath;
use crate::document::pairing::{NotCompiled, Pairing, Pairings, may_cover};
use crate::proxy::coverage::Coverage;
use crate::proxy::route::Template;
use crate::proxy::rule::{Bind, BindSource, ClassRule, FieldRule, Form, Protected, Treatment, Written};
use crate::proxy::search::{SearchRule, Searches};
use crate::seal::crypto::sha256;
use crate::seal::token::{TokenSize, token_chars};
use crate::seal::{Kind, Placement};
use std::collections::HashSet;
use std::sync::Arc;

/// What a route says of its rules.
pub(super) struct Given<'a> {
    pub(super) template: Option<&'a Template>,
    pub(super) shows_unsealed: bool,
    pub(super) packs: &'a [&'a Pack],
    pub(super) resources_allowed: Vec<String>,
    pub(super) query_allowed: Vec<String>,
    /// The path parameters that audit events show.
    pub(super) told: Vec<&'a str>,
    pub(super) csv_delimiter: u8,
    /// Every class, if tokens are opened wherever they stand.
    pub(super) opens_anywhere: Option<Arc<[ClassRule]>>,
    pub(super) rules: Vec<raw::Rule>,
    pub(super) sizes: Sizes<'a>,
}

/// What the length of a token depends on besides its class and value.
#[derive(Clone, Copy)]
pub(super) struct Sizes<'a> {
    pub(super) edk_bytes: &'a [usize],
    pub(super) scope_bytes: usize,
}

/// A bind to a field, and where the config says so.
struct Bound {
    at: String,
    pairing: Pairing,
}

/// The rules of a route, each at the same index everywhere.
#[derive(Default)]
struct Read {
    places: Vec<Place>,
    kinds: Vec<Kept>,
    fields: Vec<Option<FieldRule>>,
    written: Vec<Written>,
    bound: Vec<Bound>,
}

pub(super) fn rules(files: &mut Files<'_>, classes: &Classes, path: &str, given: &Given<'_>) -> Option<Protected> {
    let rules_path = key(path, "rules");
    let mut read = read(files, classes, path, given);
    let pairings = pairings(files, &rules_path, &read);
    let of_packs = given.packs.iter().flat_map(|pack| &pack.resources_allowed);
    let resources: Vec<String> = given.resources_allowed.iter().chain(of_packs).cloned().collect();
    if let Some(place) = patches_by_path(&read.places, &resources) {
        // As a rule of a pack it is for some of the documents alone.
        read.written.push(Written { key: place.key(), place: place.text(), pack: Some(GATE.to_owned()) });
        read.places.push(place);
        read.kinds.push(Kept::Refused);
        read.fields.push(None);
    }
    let Read { places, kinds, fields, written, .. } = read;
    let said =
        Said { resources: &resources, csv_delimiter: given.csv_delimiter, pages: given.opens_anywhere.is_some() };
    let compiled = places::compile(&places, &kinds, &said);
    let formats = compiled.map_err(|error| files.problem(&rules_path, error)).ok()?;
    let mut classes: Vec<_> = fields.iter().flatten().map(|rule| rule.class.class).collect();
    classes.sort_unstable();
    classes.dedup();
    let allowed = given.query_allowed.iter().chain(given.packs.iter().flat_map(|pack| &pack.query_allowed));
    let of_kind = |kind| (0..).zip(&kinds).filter(|(_, kept)| **kept == kind).map(|(number, _)| number).collect();
    let stamp = sha256(&[format!("{written:?} {fields:?} {}", given.shows_unsealed).as_bytes()]);
    let coverage = Coverage::of(written.len());
    let mut protected = Protected {
        formats,
        fields,
        written,
        classes,
        pairings,
        searches: Searches { rules: Vec::new(), allowed: allowed.cloned().collect() },
        expressions: of_kind(Kept::Search),
        refused: of_kind(Kept::Refused),
        segments: Vec::new(),
        headers: Vec::new(),
        coverage,
        stamp,
        shows_unsealed: given.shows_unsealed,
        opens_anywhere: given.opens_anywhere.clone(),
    };
    for (number, place) in places.into_iter().enumerate() {
        match place {
            Place::Query(Query { name, kind, system, not_for }) => {
                let field = protected.fields.get(number).is_some_and(Option::is_some).then_some(number);
                protected.searches.rules.push(SearchRule { name, kind, system, not_for, field });
            }
            Place::Segment(name) => protected.segments.push((name, number)),
            Place::Header(name) => protected.headers.push((name, number)),
            _ => {}
        }
    }
    Some(protected)
}

/// Whose rule it is that the gate itself has.
const GATE: &str = "sealgate";

/// The operations of a FHIRPath Patch, in an entry of a transaction too, where Parameters are taken at all: they say by paths where
/// their values go.
fn patches_by_path(places: &[Place], resources: &[String]) -> Option<Place> {
    let names = |place: &Place| matches!(place, Place::Fhir(path) if path.resource() == Some("Parameters"));
    let place = FhirPath::parse("Parameters.parameter.where(name='operation').part").ok().map(Place::Fhir)?;
    let is_by_type = places.iter().any(|place| matches!(place, Place::Fhir(_)));
    let is_taken = resources.iter().any(|known| known == "Parameters") || places.iter().any(names);
    (is_by_type && is_taken && !places.contains(&place)).then_some(place)
}

fn read(files: &mut Files<'_>, classes: &Classes, path: &str, given: &Given<'_>) -> Read {
    let (mut read, mut seen) = (Read::default(), HashSet::new());
    let rules_path = key(path, "rules");
    let own = given.rules.iter().enumerate().map(|(index, raw)| (item(&rules_path, index), raw, None));
    let packs = given.packs.iter().flat_map(|pack| pack.rules.iter().map(|raw| (raw, &pack.name))).enumerate();
    let packed = packs.map(|(index, (raw, name))| (item(&key(path, "packs.rules"), index), raw, Some(name)));
    for (at, raw, pack) in own.chain(packed) {
        let Some(place) = Place::of(files, &at, raw) else {
            // What is wrong with the class is told all the same.
            class(files, classes, &at, raw);
            continue;
        };
        let kept = kept(files, &at, raw, &place);
        let field = match kept {
            Kept::Passed | Kept::Refused | Kept::Search => None,
            Kept::Sealed(form) => match rule(files, classes, &at, raw, (&place, form)) {
                Some(field) => Some(field),
                None => continue,
            },
        };
        let field = field.map(|field| {
            suit(files, path, &at, (&place, &field), given);
            if let Some(column) = &raw.column {
                self::column(files, &key(&at, "column"), column, &field, given.sizes);
            }
            let binds = binds(files, given.template, &at, raw, (&field, &place), &mut read.bound);
            FieldRule { binds, ..field }
        });
        let at = key(&at, place.key());
        // A rule of the route may say otherwise than its packs, and values of a parameter may be of several classes.
        let is_own = at.starts_with(&rules_path) && !matches!(place, Place::Query(_));
        if !files.is_mended(&at) && is_own && !seen.insert(place.clone()) {
            let quoted = files.quoted(&at, &place.text());
            files.problem(&at, format!("field path {quoted} stands twice"));
        }
        read.written.push(Written { key: place.key(), place: place.text(), pack: pack.cloned() });
        read.places.push(place);
        read.kinds.push(kept);
        read.fields.push(field);
    }
    read
}

fn pairings(files: &mut Files<'_>, rules_path: &str, read: &Read) -> Option<Arc<Pairings>> {
    for Bound { at, pairing } in &read.bound {
        let covers = |(place, field): (&Place, &Option<FieldRule>)| {
            field.is_some() && place.widened().is_some_and(|path| may_cover(&path, pairing.bind()))
        };
        if read.places.iter().zip(&read.fields).any(covers) {
            files.problem_of(at, &[rules_path], "a rule seals this field: nothing can be bound to what is sealed");
        }
    }
    let pairings: Vec<Pairing> = read.bound.iter().map(|bound| bound.pairing.clone()).collect();
    match Pairings::compile(&pairings) {
        Ok(pairings) => (!pairings.is_empty()).then(|| Arc::new(pairings)),
        Err(error) => {
            let second = if let NotCompiled::Touching { second, .. } = error { read.bound.get(second) } else { None };
            files.problem(second.map_or(rules_path, |bound| &bound.at), error.to_string());
            None
        }
    }
}

/// What the rule says of its values; one that does not let them pass must name a class.
fn kept(files: &mut Files<'_>, path: &str, raw: &raw::Rule, place: &Place) -> Kept {
    let is_search = raw.worn == Some(raw::Form::Search);
    let said = [raw.class.is_some(), raw.pass.is_some(), is_search];
    if said.iter().filter(|said| **said).count() != 1 {
        let causes = [key(path, "class"), key(path, "pass"), key(path, "as")];
        let causes = causes.each_ref().map(String::as_str);
        files.problem_of(path, &causes, "wanted exactly one of class, pass and `as: search`");
    }
    let only = if is_search { "`as: search`" } else { "`pass`" };
    let said = [
        ("as", raw.worn.is_some() && !is_search),
        ("bind", !raw.bind.is_empty()),
        ("on_unopenable", raw.on_unopenable.is_some()),
        ("column", raw.column.is_some()),
    ];
    for (name, is_said) in said {
        if raw.class.is_none() && is_said {
            files.problem_of(&key(path, name), &[&key(path, "class")], format!("has no meaning with {only}"));
        }
    }
    for (name, is_said) in
        [("as", raw.worn.is_some()), ("on_unopenable", raw.on_unopenable.is_some()), ("column", raw.column.is_some())]
    {
        if is_said && matches!(place, Place::File(_) | Place::Body(_)) {
            files.problem(&key(path, name), "has no meaning for a file");
        }
    }
    let passes_search = raw.pass == Some(true) && raw.system.is_some();
    let is_in_tree = matches!(place, Place::Path(_) | Place::Fhir(_) | Place::Xml(_));
    let passes_part = raw.pass.is_some() && matches!(place, Place::Form(_) | Place::File(_));
    if raw.class.is_none() && !is_in_tree && !passes_search && !passes_part {
        files.problem_of(path, &[&key(path, "class")], format!("{only} only with path, fhir, xml, form or file"));
    }
    if !place.is_in_bodies() && (!raw.bind.is_empty() || raw.worn.is_some()) {
        files.problem(path, "`bind` and `as` are for values in bodies");
    }
    let is_query = matches!(place, Place::Query(_));
    for (name, is_said) in
        [("search", raw.search.is_some()), ("system", raw.system.is_some()), ("not_for", !raw.not_for.is_empty())]
    {
        if is_said && !is_query {
            files.problem(&key(path, name), "only with `query`");
        }
    }
    if raw.system.is_some() && raw.search != Some(raw::Search::Token) {
        files.problem(&key(path, "system"), "only with `search: token`");
    }
    match raw.worn {
        _ if raw.pass == Some(false) => Kept::Refused,
        _ if raw.pass.is_some() => Kept::Passed,
        Some(raw::Form::Search) => Kept::Search,
        Some(raw::Form::Base64) => Kept::Sealed(Form::Base64),
        Some(raw::Form::Xhtml) => Kept::Sealed(Form::Xhtml),
        Some(raw::Form::Extension) => Kept::Sealed(Form::Extension),
        None => Kept::Sealed(Form::Bare),
    }
}

fn class(files: &mut Files<'_>, classes: &Classes, path: &str, raw: &raw::Rule) -> Option<ClassRule> {
    let (name, at) = (raw.class.as_deref()?, key(path, "class"));
    let quoted = files.quoted(&at, name);
    classes.find(files, &at, name, &quoted)
}

fn rule(
    files: &mut Files<'_>,
    classes: &Classes,
    path: &str,
    raw: &raw::Rule,
    (place, form): (&Place, Form),
) -> Option<FieldRule> {
    let name = raw.class.as_deref()?;
    let class = class(files, classes, path, raw)?;
    warnings::selected(
        files,
        &key(path, place.key()),
        place.last_name().as_deref(),
        &class,
        classes.has_known_size(name),
    );
    if form != Form::Bare && class.treatment.key().is_none() {
        let message = "a value of a format keeps its own form";
        files.problem_of(&key(path, "as"), &["classes"], message);
    }
    if form == Form::Extension && !matches!(place, Place::Fhir(_)) {
        files.problem(&key(path, "as"), "only with `fhir`: the extension is one of a FHIR primitive");
    }
    let marks_unopenable = matches!(raw.on_unopenable, Some(raw::OnUnopenable::Mark));
    let characters_max = raw.column.as_ref().map(|column| column.characters);
    let is_literal = matches!(place, Place::Fhir(path) if form == Form::Extension && path.is_literal());
    let (place, binds) = (place.text().into(), Vec::new());
    Some(FieldRule { place, class, form, is_literal, binds, marks_unopenable, characters_max })
}

/// Whether the class is one for the place, and the place one that the route has.
fn suit(files: &mut Files<'_>, route: &str, path: &str, (place, rule): (&Place, &FieldRule), given: &Given<'_>) {
    if matches!(rule.class.treatment, Treatment::Format(_)) && given.shows_unsealed {
        let message = "a value of a format cannot be told from one in the clear: not on a route with `unsealed: show`";
        files.problem_of(&key(path, "class"), &[&key(route, "unsealed")], message);
    }
    if matches!(place, Place::File(_) | Place::Body(_)) && !matches!(rule.class.treatment, Treatment::Random { .. }) {
        files.problem_of(&key(path, "class"), &["classes"], "a file is sealed as a stream: wanted suite random");
    }
    let Place::Segment(name) = place else { return };
    let at = key(path, "segment");
    if given.template.is_some_and(|template| !template.has(name)) {
        let message = format!("the path has no parameter {}", files.quoted(&at, name));
        files.problem(&at, message);
    }
    if given.told.contains(&name.as_str()) {
        files.problem(&at, "a parameter that `record` or `scope_from` names stands in audit events in the clear");
    }
    if matches!(rule.class.treatment, Treatment::Random { .. }) {
        let message = "a value that is sealed anew each time is found by nobody: wanted suite deterministic or format";
        files.problem_of(&key(path, "class"), &["classes"], message);
    }
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
