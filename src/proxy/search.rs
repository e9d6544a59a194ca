//! Searches: parameters of queries whose values are sealed before the upstream sees them. Pure; nothing is sealed here.
//!
//! A parameter that no rule names and no list allows is refused. So is a search that cannot work on sealed values: by a part of a
//! text, by a range, by an order.

use super::rescue::{Code, Refusal};
use super::target;
use std::collections::HashSet;
use std::fmt::Write as _;

/// The search rules of a route.
#[derive(Debug, Default)]
pub struct Searches {
    /// In the order of the config.
    pub rules: Vec<SearchRule>,
    /// Parameters that may pass.
    pub allowed: HashSet<String>,
}

/// One parameter.
#[derive(Clone, Debug)]
pub struct SearchRule {
    /// Its name.
    pub name: String,
    /// What its values are.
    pub kind: SearchKind,
    /// Of a FHIR token: the system that it is for; every one if `None`.
    pub system: Option<String>,
    /// The types of resources for which it is a parameter like any other.
    pub not_for: Vec<String>,
    /// The number of the rule that says the class; none if the value passes.
    pub field: Option<usize>,
}

/// What the values of a parameter are. All but the first are those of FHIR (<https://hl7.org/fhir/R4/search.html#ptypes>).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SearchKind {
    /// A value, as it is.
    Plain,
    /// `system|code`, or one of both.
    Token,
    /// A text, which is looked for as it is: `:exact` is said for the caller, where it is not.
    Text,
    /// A date without a prefix.
    Date,
}

/// One pair of a query.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pair<'q> {
    /// It passes as it is written.
    Kept(&'q str),
    /// Its values are sealed: its name as it is to be written, and what it looks for.
    Sealed { name: String, asks: Asks, items: Vec<Item> },
}

/// What several values of a pair ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asks {
    /// There is one, and no way to ask for another beside it.
    One,
    /// Any of them.
    Any,
    /// None of them.
    None,
}

/// One of the values that a pair looks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// What stands before the value and is not sealed.
    pub(super) prefix: String,
    pub(super) text: String,
    /// The rules by which it may have been sealed; none if there is nothing to seal.
    pub(super) fields: Vec<usize>,
}

/// Parameters that say by which other ones the results are ordered.
const SORT: &str = "_sort";

impl Searches {
    /// Whether parameters are written as FHIR writes them: with modifiers and chains.
    pub(super) fn is_fhir(&self) -> bool {
        self.rules.iter().any(|rule| rule.kind != SearchKind::Plain)
    }

    /// The rule of the parameter that a name, as it is written, ends with.
    pub(super) fn field(&self, name: &str) -> Option<usize> {
        let name = decoded(name).ok()?;
        let parameter = if self.is_fhir() { Parameter::of(&name) } else { Parameter::plain(&name) };
        let parameter = if parameter.modifier == Some(IDENTIFIER) { IDENTIFIER } else { parameter.name };
        self.rules.iter().find(|rule| rule.name == parameter).and_then(|rule| rule.field)
    }

    /// Takes a query (without `?`) apart; `resource` is the type that is searched, if it is known.
    ///
    /// # Errors
    /// [`Code::QueryNotAllowed`] for a parameter that is neither allowed nor ruled, [`Code::SearchNotPossible`] for what cannot work.
    pub(super) fn read<'q>(&self, query: &'q str, resource: Option<&str>) -> Result<Vec<Pair<'q>>, Refusal> {
        // Some servers take it for a separator.
        if query.contains([';', '#']) {
            return Err(Code::QueryNotAllowed.into());
        }
        query.split('&').map(|pair| self.pair(pair, resource)).collect()
    }

    fn pair<'q>(&self, pair: &'q str, resource: Option<&str>) -> Result<Pair<'q>, Refusal> {
        if pair.is_empty() {
            return Ok(Pair::Kept(pair));
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let text = decoded(name)?;
        let mut parameter = if self.is_fhir() { Parameter::of(&text) } else { Parameter::plain(&text) };
        let is_link =
            |link: &str| is_link(link) && !self.rules.iter().any(|rule| link.split(':').next() == Some(&rule.name));
        if !parameter.links.iter().all(|link| is_link(link)) {
            return Err(Code::QueryNotAllowed.into());
        }
        let mut resource = if parameter.links.is_empty() { resource } else { parameter.resource };
        // A reference by what identifies its target, which may be of any type.
        if parameter.modifier == Some(IDENTIFIER) {
            parameter = Parameter { name: IDENTIFIER, modifier: None, ..parameter };
            resource = None;
        }
        let named: Vec<&SearchRule> = self.rules.iter().filter(|rule| rule.name == parameter.name).collect();
        let is_for =
            |rule: &&&SearchRule| !resource.is_some_and(|resource| rule.not_for.iter().any(|not| not == resource));
        let rules: Vec<&SearchRule> = named.iter().filter(is_for).copied().collect();
        if rules.is_empty() {
            // A name that needs an escape is in no list.
            let is_plain = text == name && self.is_fhir();
            let is_listed = self.allowed.contains(name) || is_plain && self.allowed.contains(parameter.name);
            if !is_listed && named.is_empty() {
                return Err(Code::QueryNotAllowed.into());
            }
            if self.is_fhir() {
                self.passes(name, &parameter, &decoded(value)?)?;
            }
            return Ok(Pair::Kept(pair));
        }
        let refused = || Refusal::with_detail(Code::SearchNotPossible, format!("parameter {}", parameter.name));
        if value.is_empty() {
            return Ok(Pair::Kept(pair));
        }
        let value = decoded(value)?;
        let kind = rules.first().map_or(SearchKind::Plain, |rule| rule.kind);
        let (name, items) = match (kind, parameter.modifier) {
            // Whether there is a value is not hidden.
            (_, Some("missing")) if matches!(&*value, "true" | "false") => return Ok(Pair::Kept(pair)),
            (SearchKind::Plain, None) => (text.clone(), vec![item("", value, &rules)]),
            (SearchKind::Token, None | Some("not")) => {
                let items = tokens(&value, &rules, rules.len() < named.len());
                (
                    text.clone(),
                    items.ok_or_else(|| {
                        Refusal::with_detail(
                            Code::SearchNotPossible,
                            format!("parameter {}: without a system", parameter.name),
                        )
                    })?,
                )
            }
            (SearchKind::Text, Some("exact")) => (text.clone(), texts(&value, &rules)),
            (SearchKind::Text, None) => (format!("{text}:exact"), texts(&value, &rules)),
            (SearchKind::Date, None) => (text.clone(), dates(&value, &rules).ok_or_else(refused)?),
            _ => return Err(refused()),
        };
        let asks = match (kind, parameter.modifier) {
            (SearchKind::Plain, _) => Asks::One,
            (_, Some("not")) => Asks::None,
            _ => Asks::Any,
        };
        Ok(Pair::Sealed { name: encoded(&name), asks, items })
    }

    /// Whether what no rule is for may pass as it is written.
    fn passes(&self, name: &str, parameter: &Parameter<'_>, value: &str) -> Result<(), Refusal> {
        let is_type = |modifier: &str| modifier.starts_with(|c: char| c.is_ascii_uppercase()) && is_word(modifier);
        let is_known = |modifier: &str| MODIFIERS.contains(&modifier) || is_type(modifier);
        // A search within a value, and a text that is compared with others, may hold any value.
        let is_other = value.contains('?') || !parameter.modifier.is_none_or(is_known) && !self.allowed.contains(name);
        if is_other {
            return Err(Refusal::with_detail(Code::SearchNotPossible, format!("parameter {}", parameter.name)));
        }
        if parameter.name == SORT { self.sorts(value) } else { Ok(()) }
    }

    /// Refuses an order by what is sealed.
    fn sorts(&self, value: &str) -> Result<(), Refusal> {
        for key in value.split(',').map(|key| key.trim_start_matches('-')) {
            let key = Parameter::of(key).name;
            if self.rules.iter().any(|rule| rule.name == key) {
                return Err(Refusal::with_detail(Code::SearchNotPossible, format!("parameter {SORT}: {key}")));
            }
        }
        Ok(())
    }
}

/// How a parameter that no rule is for may be modified (FHIR R4, 3.1.1.4.5), beside by the type of a reference.
const MODIFIERS: [&str; 7] = ["missing", "not", "exact", "above", "below", "in", "not-in"];

/// The parameter, and the modifier of a reference, that takes an identifier.
const IDENTIFIER: &str = "identifier";

/// Whether it is a step to another resource, with its type or without: `subject:Patient`.
fn is_link(link: &str) -> bool {
    link.split(':').all(is_word) && link.matches(':').count() < 2
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphabetic() || matches!(b, b'-' | b'_'))
}

/// The parameter that a name of FHIR ends with: `identifier` of `subject:Patient.identifier:not` and of
/// `_has:Observation:patient:identifier`.
struct Parameter<'n> {
    name: &'n str,
    modifier: Option<&'n str>,
    /// The steps to the resource of which it is one, if that is another than the one that is searched.
    links: Vec<&'n str>,
    /// The type of that, if the last step says so.
    resource: Option<&'n str>,
}

impl<'n> Parameter<'n> {
    const fn plain(name: &'n str) -> Self {
        Parameter { name, modifier: None, links: Vec::new(), resource: None }
    }

    fn of(name: &'n str) -> Self {
        let (mut rest, mut resource, mut links) = (name, None, Vec::new());
        // `_has:Type:reference:` and then a parameter again.
        while let Some(of_type) = rest.strip_prefix("_has:") {
            let Some((kind, (reference, parameter))) =
                of_type.split_once(':').and_then(|(kind, reference)| Some((kind, reference.split_once(':')?)))
            else {
                break;
            };
            links.extend([kind, reference]);
            (rest, resource) = (parameter, Some(kind));
        }
        let mut last = rest;
        if let Some((chain, parameter)) = rest.rsplit_once('.') {
            links.extend(chain.split('.'));
            (last, resource) = (parameter, links.last().and_then(|link| link.split_once(':')).map(|(_, kind)| kind));
        }
        let (name, modifier) = last.split_once(':').map_or((last, None), |(name, modifier)| (name, Some(modifier)));
        Parameter { name, modifier, links, resource }
    }
}

fn item(prefix: &str, text: String, rules: &[&SearchRule]) -> Item {
    Item { prefix: prefix.to_owned(), text, fields: rules.iter().filter_map(|rule| rule.field).collect() }
}

/// The values of a list, of which `,` separates two unless it is escaped (FHIR R4, 3.1.1.4.1).
fn values(text: &str) -> Vec<&str> {
    let mut values = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, c) in text.char_indices() {
        if c == ',' && !escaped {
            values.push(text.get(start..at).unwrap_or_default());
            start = at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    values.push(text.get(start..).unwrap_or_default());
    values
}

/// Undoes the escapes of FHIR.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, chars.clone().next()) {
            ('\\', Some(escaped @ ('\\' | ',' | '|' | '$'))) => {
                out.push(escaped);
                chars.next();
            }
            _ => out.push(c),
        }
    }
    out
}

fn texts(value: &str, rules: &[&SearchRule]) -> Vec<Item> {
    values(value).into_iter().map(|value| item("", unescaped(value), rules)).collect()
}

/// Without a system the value may be of any class that a rule for the parameter names. `passes`: what is of no system that has a
/// rule of its own is of none, for the type of resource; without a system it could be of either, and there is nothing then.
fn tokens(value: &str, rules: &[&SearchRule], passes: bool) -> Option<Vec<Item>> {
    let token = |value: &str| {
        let is_sealed = rules.iter().any(|rule| rule.field.is_some());
        let Some(at) = bar(value) else {
            return match passes {
                true if is_sealed => None,
                true => Some(item(value, String::new(), &[])),
                false => Some(item("", unescaped(value), rules)),
            };
        };
        let (system, code) = (value.get(..at).unwrap_or_default(), value.get(at + 1..).unwrap_or_default());
        let prefix = value.get(..=at).unwrap_or_default();
        if code.is_empty() {
            return Some(item(prefix, String::new(), &[]));
        }
        let system = unescaped(system);
        if passes && is_sealed && system.is_empty() {
            return None;
        }
        let own: Vec<_> = rules.iter().copied().filter(|rule| rule.system.as_deref() == Some(&*system)).collect();
        // A system that has rules of its own is sealed by the first; another one by those that are for every system.
        let wanted = match own.first() {
            Some(first) => vec![*first],
            None if passes => return Some(item(value, String::new(), &[])),
            None if system.is_empty() => rules.to_vec(),
            None => rules.iter().copied().filter(|rule| rule.system.is_none()).collect(),
        };
        if !wanted.is_empty() && wanted.iter().all(|rule| rule.field.is_none()) {
            return Some(item(value, String::new(), &[]));
        }
        Some(item(prefix, unescaped(code), &wanted))
    };
    values(value).into_iter().map(token).collect()
}

/// The first `|` that is not escaped.
fn bar(value: &str) -> Option<usize> {
    let mut escaped = false;
    value.char_indices().find_map(|(at, c)| {
        let found = c == '|' && !escaped;
        escaped = c == '\\' && !escaped;
        found.then_some(at)
    })
}

/// Prefixes of dates (FHIR R4, 3.1.1.4.4) other than `eq` ask for ranges.
fn dates(value: &str, rules: &[&SearchRule]) -> Option<Vec<Item>> {
    let date = |value: &str| {
        let (prefix, date) = value.strip_prefix("eq").map_or(("", value), |date| ("eq", date));
        date.starts_with(|c: char| c.is_ascii_digit()).then(|| item(prefix, date.to_owned(), rules))
    };
    values(value).into_iter().map(date).collect()
}

/// Undoes percent-encoding and `+`, as servers do.
fn decoded(text: &str) -> Result<String, Refusal> {
    let mut rest = text;
    while let Some((_, escape)) = rest.split_once('%') {
        let is_good = escape.get(..2).is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        if !is_good {
            return Err(Code::QueryNotAllowed.into());
        }
        rest = escape;
    }
    String::from_utf8(target::decode(&text.replace('+', " "))).map_err(|_| Code::QueryNotAllowed.into())
}

/// Percent-encodes a text for a query (RFC 3986 3.4), but for what FHIR gives a meaning there.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let is_plain = byte.is_ascii_alphanumeric() || b"-._~:|,/".contains(&byte);
        if is_plain {
            out.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _written = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn searches() -> Searches {
        let rule = |name: &str, kind, system: Option<&str>, field| SearchRule {
            name: name.to_owned(),
            kind,
            system: system.map(str::to_owned),
            not_for: if system.is_none() { vec!["Practitioner".to_owned()] } else { Vec::new() },
            field,
        };
        Searches {
            rules: vec![
                rule("identifier", SearchKind::Token, Some("urn:npi"), None),
                rule("identifier", SearchKind::Token, Some("urn:ssn"), Some(0)),
                rule("identifier", SearchKind::Token, None, Some(1)),
                rule("family", SearchKind::Text, None, Some(2)),
                rule("birthdate", SearchKind::Date, None, Some(3)),
            ],
            allowed: ["_count", "_sort", "code", "_include"].map(str::to_owned).into(),
        }
    }

    /// As `name=prefix<text>fields,…`; what is kept stands as it is.
    fn shown(query: &str) -> Result<String, (Code, Option<String>)> {
        let pairs = searches().read(query, Some("Patient")).map_err(|refusal| (refusal.code, refusal.detail))?;
        let pair = |pair: &Pair<'_>| match pair {
            Pair::Kept(pair) => (*pair).to_owned(),
            Pair::Sealed { name, items, .. } => {
                let item = |item: &Item| format!("{}<{}>{:?}", item.prefix, item.text, item.fields);
                format!("{name}={}", items.iter().map(item).collect::<Vec<_>>().join(","))
            }
        };
        Ok(pairs.iter().map(pair).collect::<Vec<_>>().join("&"))
    }

    #[test]
    fn values_are_found_in_every_spelling_of_a_parameter() {
        for (query, want) in [
            ("", ""),
            ("_count=10&&code=a%7Cb", "_count=10&&code=a%7Cb"),
            ("identifier=urn:ssn|1", "identifier=urn:ssn|<1>[0]"),
            ("identifier=urn%3Assn%7C1", "identifier=urn:ssn|<1>[0]"),
            ("identifier=urn:x|1", "identifier=urn:x|<1>[1]"),
            ("identifier=|1", "identifier=|<1>[0, 1]"),
            ("identifier=1", "identifier=<1>[0, 1]"),
            ("identifier=urn:x|", "identifier=urn:x|<>[]"),
            ("identifier=1,urn:ssn|2", "identifier=<1>[0, 1],urn:ssn|<2>[0]"),
            ("identifier:not=1", "identifier:not=<1>[0, 1]"),
            ("identifier=urn:npi|1,2", "identifier=urn:npi|1<>[],<2>[0, 1]"),
            ("performer:Practitioner.identifier=a|b", "performer:Practitioner.identifier=a|b<>[]"),
            ("subject:identifier=urn:ssn|1", "subject:identifier=urn:ssn|<1>[0]"),
            ("a:Practitioner.b:identifier=1", "a:Practitioner.b:identifier=<1>[0, 1]"),
            ("code:not=a&code:missing=true&code:Patient=1", "code:not=a&code:missing=true&code:Patient=1"),
            ("_has:Practitioner:x:identifier=urn:ssn|1", "_has:Practitioner:x:identifier=urn:ssn|<1>[0]"),
            ("performer:Practitioner.family=x", "performer:Practitioner.family=x"),
            ("a:Practitioner.b.identifier=1", "a:Practitioner.b.identifier=<1>[0, 1]"),
            (r"identifier=a\,b\|c", r"identifier=<a,b|c>[0, 1]"),
            ("identifier=", "identifier="),
            ("identifier", "identifier"),
            ("family=Chalmers", "family:exact=<Chalmers>[2]"),
            ("family:exact=O%27B+c", "family:exact=<O'B c>[2]"),
            ("family%3Aexact=A,B", "family:exact=<A>[2],<B>[2]"),
            ("birthdate=1974-12-25", "birthdate=<1974-12-25>[3]"),
            ("birthdate=eq1974", "birthdate=eq<1974>[3]"),
            ("birthdate:missing=true", "birthdate:missing=true"),
            ("subject:Patient.identifier=1", "subject:Patient.identifier=<1>[0, 1]"),
            ("patient.family=Peter", "patient.family:exact=<Peter>[2]"),
            ("_has:Observation:patient:code=1234-5", "_has:Observation:patient:code=1234-5"),
            ("_has:Group:member:_has:X:y:identifier=1", "_has:Group:member:_has:X:y:identifier=<1>[0, 1]"),
            ("_sort=-_lastUpdated,date", "_sort=-_lastUpdated,date"),
            ("_include=Encounter:subject", "_include=Encounter:subject"),
        ] {
            assert_eq!(shown(query).as_deref(), Ok(want), "{query}");
        }
    }

    #[test]
    fn what_is_unknown_or_cannot_work_is_refused() {
        let cannot = |parameter: &str| (Code::SearchNotPossible, Some(format!("parameter {parameter}")));
        let unknown = (Code::QueryNotAllowed, None);
        for (query, want) in [
            ("ssn=1", unknown.clone()),
            ("Family=x", unknown.clone()),
            ("%5fcount=1", unknown.clone()),
            ("a;family=x", unknown.clone()),
            ("_count=1;family=x", unknown.clone()),
            ("family=%zz", unknown.clone()),
            ("family=%ff", unknown.clone()),
            ("family=a#b", unknown.clone()),
            ("subject.name=x", unknown.clone()),
            ("identifier:x.code=1", unknown.clone()),
            ("identifier.code=1", unknown.clone()),
            ("subject:1.code=1", unknown.clone()),
            ("123.code=1", unknown.clone()),
            ("a:B:C.code=1", unknown.clone()),
            ("_has:123:x:code=1", unknown.clone()),
            ("_has:Observation:1-2:code=1", unknown),
            ("code:text=halm", cannot("code")),
            ("code:of-type=a", cannot("code")),
            ("code=Patient?family=x", cannot("code")),
            ("code=Patient%3Ffamily=x", cannot("code")),
            ("_count=1%3f", cannot("_count")),
            ("performer:Practitioner.identifier=1", cannot("identifier: without a system")),
            ("performer:Practitioner.identifier=a|b,|1", cannot("identifier: without a system")),
            ("family:contains=halm", cannot("family")),
            ("family:text=halm", cannot("family")),
            ("identifier:of-type=a|b|c", cannot("identifier")),
            ("identifier:text=1", cannot("identifier")),
            ("birthdate=ge1974-01-01", cannot("birthdate")),
            ("birthdate=1974,lt1975", cannot("birthdate")),
            ("birthdate:missing=1974", cannot("birthdate")),
            ("_sort=family", cannot("_sort: family")),
            ("_sort=_id,-birthdate", cannot("_sort: birthdate")),
        ] {
            assert_eq!(shown(query), Err(want), "{query}");
        }
    }

    #[test]
    fn plain_parameters_have_no_modifiers() {
        let rules = vec![SearchRule {
            name: "last".into(),
            kind: SearchKind::Plain,
            system: None,
            not_for: Vec::new(),
            field: Some(7),
        }];
        let searches = Searches { rules, allowed: HashSet::new() };
        let item = Item { prefix: String::new(), text: "a,b|c".into(), fields: vec![7] };
        assert_eq!(
            searches.read("last=a,b|c", None).unwrap(),
            [Pair::Sealed { name: "last".into(), asks: Asks::One, items: vec![item] }]
        );
        for query in ["last:exact=a", "x.last=a", "LAST=a"] {
            assert_eq!(searches.read(query, None).unwrap_err().code, Code::QueryNotAllowed, "{query}");
        }
    }
}
