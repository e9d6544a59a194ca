//! Routes and their rules as written.

use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Which requests go where, under which rules.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Its name in audit events, metrics and logs.
    pub name: String,
    /// The host that it is for: a name or an IP address, without port and final dot; every host if absent.
    pub host: Option<String>,
    /// Path template: `/fhir/Patient/{id}`. `{name}` stands for one segment, `{name*}` at the end for one or more.
    pub path: String,
    /// Methods.
    #[schemars(length(min = 1))]
    pub methods: Vec<String>,
    /// Name of the upstream.
    pub upstream: String,
    /// Whose data it is, if not the scope at the top.
    pub scope: Option<String>,
    /// Where the request says whose data it is; instead of `scope`.
    pub scope_from: Option<ScopeFrom>,
    /// Name of the path parameter that the audit event shows as the record that the exchange is about.
    pub record: Option<String>,
    /// Query parameters that may pass. On a protected route every other one is refused, for it may hold PHI.
    #[serde(default)]
    pub query_allowed: Vec<String>,
    /// Said aloud on a route without rules: bodies pass unread.
    pub protect: Option<Protect>,
    /// What to do with a ruled value that the upstream has in the clear. Default refuse.
    pub unsealed: Option<Unsealed>,
    /// Where tokens in responses are opened. Default rules.
    pub open: Option<Open>,
    /// Rules that are written once: `fhir-r4`, or the name of a .yaml file with `classes`, `rules` and `resources_allowed`. The
    /// route's own rules come first.
    #[serde(default)]
    pub packs: Vec<String>,
    /// With rules by resource type: the types that pass although no rule names them. All others are refused.
    #[serde(default)]
    pub resources_allowed: Vec<String>,
    /// What separates the fields of CSV: `,` (the default), `;`, `|` or a tab.
    pub csv_delimiter: Option<String>,
    /// Which values are sealed, and as what.
    #[serde(default)]
    pub rules: Vec<Rule>,
}

/// Where a request says whose data it is. Exactly one of them; the caller's principal must have the scope.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScopeFrom {
    /// Name of a path parameter.
    pub parameter: Option<String>,
    /// Name of a header field.
    pub header: Option<String>,
    /// `true`: the one scope of the caller's principal.
    pub identity: Option<bool>,
    /// Name of a claim of the user's bearer token; needs `bearer` at the top.
    pub claim: Option<String>,
}

/// Where tokens in responses are opened.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Open {
    /// Where a rule of their class stands.
    Rules,
    /// Wherever a string is one, in the caller's view of its class.
    Anywhere,
}

/// The only thing to say is `none`.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protect {
    /// Bodies pass unread.
    None,
}

/// What to do with a ruled value that the upstream has in the clear.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unsealed {
    /// Answer 502.
    Refuse,
    /// Show it in the caller's view and count it: for records from before the gate.
    Show,
}

/// Which value is sealed, and as what.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Where it stands in JSON: a subset of RFC 9535 with members, `*`, indices, `..` and filters on texts, such as
    /// `$.identifier[?@.system=='x'].value`.
    pub path: Option<String>,
    /// Where it stands in FHIR, by resource type, wherever such a resource stands: `Patient.name.family`,
    /// `Patient.identifier.where(system='x').value`, `Patient.extension('url').valueString`, `Resource.text.div`,
    /// `QuestionnaireResponse.item.**.answer.valueString`.
    pub fhir: Option<String>,
    /// Where it stands in XML, a subset of XPath: `//patientRole/id/@extension`, `//patient/name/given`,
    /// `//{urn:hl7-org:v3}id[@root='2.16.840.1.113883.4.1']/@extension`, `//text/markup()`.
    pub xml: Option<String>,
    /// Where it stands in a form (`application/x-www-form-urlencoded`, `multipart/form-data`): the name of the field, such as
    /// `form_ss`, `a[]`, or `name[*]` for any bracket.
    pub form: Option<String>,
    /// Name of the field of a file of `multipart/form-data`, which is sealed as a stream.
    pub file: Option<String>,
    /// A type of bodies that are sealed whole, as a stream, and opened in responses: `application/pdf`, `image/*`, or `*/*` for
    /// every one that no other rules are for.
    pub body: Option<String>,
    /// Where it stands in CSV (`text/csv`, with a header row): the name of its column.
    pub csv: Option<String>,
    /// Where it stands in HL7 v2 (`application/hl7-v2+er7`): `PID-3`, `PID-5.1`, `PID-3.4.2`.
    pub hl7: Option<String>,
    /// Where it stands in X12 (`application/edi-x12`): `N3-1`, `NM1*IL-3` (of segments whose first element is IL), `SVC-1.2`, or
    /// all elements of a segment: `N3`.
    pub x12: Option<String>,
    /// Name of a query parameter; of a class of suite deterministic or format, so that the upstream finds the value.
    pub query: Option<String>,
    /// With `query`: what kind of FHIR search parameter it is. Default: a plain one.
    pub search: Option<Search>,
    /// With `search: token`: the system that the rule is for. Default: every one that has no rule of its own.
    pub system: Option<String>,
    /// With `query`: types of resources for which the parameter is one like any other.
    #[serde(default)]
    pub not_for: Vec<String>,
    /// Name of a path parameter; of such a class too.
    pub segment: Option<String>,
    /// Name of a header field of requests.
    pub header: Option<String>,
    /// Its class.
    pub class: Option<String>,
    /// `true` in place of a class: the value is left as it is, whatever later rules say.
    pub pass: Option<bool>,
    /// How the sealed value stands in the document. Default: as a text in the value's place.
    #[serde(rename = "as")]
    pub worn: Option<Form>,
    /// What else the token is bound to, by a name of your choice: it opens only where all of it is the same again. Not for
    /// deterministic and format classes.
    #[serde(default)]
    pub bind: BTreeMap<String, Bind>,
    /// What to do with a token that cannot be opened. Default refuse.
    pub on_unopenable: Option<OnUnopenable>,
    /// The column that the application keeps the value in: checked when the config is read, and no longer value is sealed.
    pub column: Option<Column>,
}

/// How a sealed value stands in a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// The value must be base64, and what takes its place is base64 again: for `base64Binary` of FHIR.
    Base64,
    /// The value must be a `<div>` of XHTML, and what is inside of it is sealed: for narratives of FHIR.
    Xhtml,
    /// The value goes, and stands sealed in an extension of it: for dates, numbers and booleans of FHIR.
    Extension,
    /// The value is a search, or a URL with one, in which the values are sealed that the rules with `query` name. Without a class.
    Search,
}

/// Kinds of FHIR search parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Search {
    /// `system|code`.
    Token,
    /// A text, looked for as a whole.
    String,
    /// A day.
    Date,
}

/// Rules that are written once, in a file of their own.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pack {
    /// Classes, by name. A class of the config that has the same name takes its place.
    #[serde(default)]
    pub classes: BTreeMap<String, super::Class>,
    /// Which values are sealed, and as what.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// The resource types that pass although no rule names them.
    #[serde(default)]
    pub resources_allowed: Vec<String>,
    /// Query parameters that may pass.
    #[serde(default)]
    pub query_allowed: Vec<String>,
}

/// A value that a token is bound to. Exactly one of the two.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bind {
    /// Name of a path parameter.
    pub parameter: Option<String>,
    /// Path of a field of the same document, such as `$.id`, or `$.entry[*].resource.id` for the entry that the value stands
    /// in. No rule may seal it.
    pub field: Option<String>,
}

/// What to do with a token that cannot be opened.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnUnopenable {
    /// Answer 502.
    Refuse,
    /// Deliver the rest of the document, with a mark in the token's place.
    Mark,
}

/// A column of the application.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// How many characters it holds. What is longer, sealed, is refused.
    #[schemars(range(min = 1))]
    pub characters: usize,
    /// How long the values are at most, in bytes of UTF-8.
    #[schemars(range(min = 1))]
    pub value_bytes: usize,
}
