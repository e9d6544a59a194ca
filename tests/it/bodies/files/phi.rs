//! What names persons in a file of the test data, found without anything of the gate's.

use serde_json::Value;
use serde_json_path::JsonPath;
use std::collections::BTreeSet;

/// A value with where it is from.
pub(super) type Values = BTreeSet<(String, String)>;

/// Where in a file the values stand that name persons.
pub(super) enum Phi {
    /// FHIR in JSON, whole or one resource a line.
    Fhir,
    /// JSON, whole or one document a line, by JSONPath.
    Json(&'static [&'static str]),
    /// Columns of a table.
    Table(&'static [&'static str]),
    /// Fields and components of HL7 v2.
    Message(&'static [(&'static str, usize, usize)]),
    /// Elements of the segments of X12 that start so.
    Interchange(&'static [(&'static str, usize)]),
    /// Texts of elements (no attribute's name) and attributes in XML, inside the elements that are named first.
    Markup(&'static [&'static str], &'static [(&'static str, &'static str)]),
    /// Values of the attributes of that name in a SAML assertion.
    Assertion(&'static [&'static str]),
    /// Fields of a posted form.
    Fields(&'static [&'static str]),
    /// Fields of a form with files.
    Parts(&'static [&'static str]),
    /// There is nobody in it.
    Nobody,
}

impl Phi {
    /// The values that are long enough to be told from others: shorter ones stand everywhere by chance.
    pub(super) fn values(&self, text: &str) -> Values {
        let mut found = Values::new();
        match self {
            Phi::Fhir => json(text).iter().for_each(|document| fhir(document, ("", ""), &mut found)),
            Phi::Json(paths) => {
                for path in *paths {
                    let query = JsonPath::parse(path).unwrap();
                    for document in &json(text) {
                        let texts = query.query(document).all().into_iter().filter_map(Value::as_str);
                        found.extend(texts.map(|text| of(path, text)));
                    }
                }
            }
            Phi::Table(columns) => table(text, columns, &mut found),
            Phi::Message(places) => message(text, places, &mut found),
            Phi::Interchange(places) => interchange(text, places, &mut found),
            Phi::Markup(inside, places) => markup(text, inside, places, &mut found),
            Phi::Assertion(names) => {
                for (attributes, content) in elements(text, "Attribute") {
                    let name = value_of(attributes, "Name").unwrap();
                    let values = elements(content, "AttributeValue").into_iter().filter(|_| names.contains(&name));
                    found.extend(values.map(|(_, value)| of(name, &unescaped(value))));
                }
            }
            Phi::Fields(names) => {
                let pairs = text.trim_end().split('&').filter_map(|pair| pair.split_once('='));
                let pairs = pairs.map(|(name, value)| (decoded(name), decoded(value)));
                found.extend(pairs.filter(|(name, _)| names.contains(&name.as_str())));
            }
            Phi::Parts(names) => {
                for name in *names {
                    let head = format!("name=\"{name}\"\r\n\r\n");
                    let value = text.split(&head).nth(1).unwrap().split("\r\n").next().unwrap();
                    found.insert(of(name, value));
                }
            }
            Phi::Nobody => {}
        }
        found.retain(|(_, value)| value.len() >= 5);
        found
    }
}

fn of(place: &str, value: &str) -> (String, String) {
    (place.to_owned(), value.to_owned())
}

/// The documents of a file.
pub(super) fn json(text: &str) -> Vec<Value> {
    match serde_json::from_str(text) {
        Ok(document) => vec![document],
        Err(_) => text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
    }
}

const PERSONS: [&str; 3] = ["Patient", "Person", "RelatedPerson"];

/// Whose numbers and texts say nothing of a patient.
const OTHERS: [&str; 8] = [
    "Practitioner",
    "PractitionerRole",
    "Organization",
    "Location",
    "Medication",
    "OperationOutcome",
    "Provenance",
    "MessageHeader",
];

/// Walks a document; `within` is the type of the resource and the path in it.
fn fhir(document: &Value, within: (&str, &str), found: &mut Values) {
    match document {
        Value::Array(elements) => elements.iter().for_each(|element| fhir(element, within, found)),
        Value::Object(members) => {
            let (kind, path) = match members.get("resourceType").and_then(Value::as_str) {
                Some(kind) => (kind, ""),
                None => within,
            };
            for (name, value) in members {
                let path = format!("{path}.{name}");
                let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
                for text in values.iter().filter_map(Value::as_str) {
                    if path.ends_with(".text.div") {
                        let inner = text.split_once('>').unwrap().1.trim_end().trim_end_matches("</div>");
                        found.insert(of(&format!("{kind}{path}"), inner));
                    } else if names_person(kind, &path, document) {
                        found.insert(of(&format!("{kind}{path}"), text));
                    }
                }
                fhir(value, (kind, &path), found);
            }
        }
        _ => {}
    }
}

fn names_person(kind: &str, path: &str, around: &Value) -> bool {
    let ends = |ends: &[&str]| ends.iter().any(|end| path.ends_with(end));
    let of_person = PERSONS.contains(&kind)
        && (ends(&[".family", ".given", ".line", ".city", ".district", ".birthDate", ".deceasedDateTime"])
            || ends(&[".name.text", ".address.text", ".identifier.value", ".telecom.value"])
            || ends(&[".extension.valueString"]) && around["url"].as_str().unwrap().contains("Maiden"));
    let of_patient = !OTHERS.contains(&kind)
        && (matches!(path, ".identifier.value" | ".subscriberId")
            || matches!(path, ".serialNumber" | ".udiCarrier.carrierHRF")
            || ends(&[".subject.display", ".patient.display", ".beneficiary.display", ".subscriber.display"]));
    let of_caller = kind == "AuditEvent" && matches!(path, ".agent.name" | ".agent.altId" | ".agent.network.address");
    of_person || of_patient || of_caller || ends(&[".data"])
}

fn table(text: &str, columns: &[&str], found: &mut Values) {
    let header: Vec<&str> = text.lines().next().unwrap().split(',').collect();
    for line in text.lines().skip(1) {
        // No field before the last of these is quoted.
        let fields = header.iter().zip(line.split(','));
        found.extend(fields.filter(|(name, _)| columns.contains(name)).map(|(name, value)| of(name, value)));
    }
}

fn message(text: &str, places: &[(&str, usize, usize)], found: &mut Values) {
    for line in text.split(['\r', '\n']) {
        let fields: Vec<&str> = line.split('|').collect();
        for (segment, field, component) in places {
            if fields[0] != *segment {
                continue;
            }
            let repetitions = fields.get(*field).into_iter().flat_map(|field| field.split('~'));
            let parts = repetitions.filter_map(|repetition| repetition.split('^').nth(*component - 1));
            let parts = parts.flat_map(|part| part.split('&'));
            found.extend(parts.map(|part| of(&format!("{segment}-{field}.{component}"), part)));
        }
    }
}

fn interchange(text: &str, places: &[(&str, usize)], found: &mut Values) {
    for segment in text.split('~').map(str::trim) {
        for (start, element) in places {
            if segment.starts_with(&format!("{start}*")) {
                let value = segment.split('*').nth(*element);
                found.extend(value.map(|value| of(&format!("{start}-{element}"), value)));
            }
        }
    }
}

fn markup(text: &str, inside: &[&str], places: &[(&str, &str)], found: &mut Values) {
    for (attributes, content) in inside.iter().flat_map(|name| elements(text, name)) {
        // Who treats the patient is named in the same element.
        let others = elements(content, "providerOrganization");
        let content = others.iter().fold(content.to_owned(), |content, (_, other)| content.replace(other, ""));
        let whole = format!("<self {attributes}>{content}</self>");
        for (element, attribute) in places {
            for (attributes, content) in elements(&whole, element) {
                let value = if attribute.is_empty() { Some(content) } else { value_of(attributes, attribute) };
                found.extend(value.map(|value| of(&format!("{element}/{attribute}"), &unescaped(value.trim()))));
            }
        }
    }
}

/// The attributes and the content of each element of that local name.
fn elements<'t>(text: &'t str, local: &str) -> Vec<(&'t str, &'t str)> {
    let starts = text.match_indices('<').map(|(at, _)| &text[at + 1..]);
    let found = starts.filter_map(|rest| {
        let name = rest.split(|c: char| c.is_whitespace() || c == '/' || c == '>').next()?;
        let (attributes, after) = rest[name.len()..].split_once('>')?;
        let content = if attributes.ends_with('/') { "" } else { after.split(&format!("</{name}>")).next()? };
        (name.rsplit(':').next() == Some(local)).then_some((attributes, content))
    });
    found.collect()
}

fn value_of<'t>(attributes: &'t str, name: &str) -> Option<&'t str> {
    let start = format!("{name}=");
    let mut found = attributes.match_indices(&start).map(|(at, _)| attributes.split_at(at));
    let (_, rest) = found.find(|(before, _)| before.ends_with(char::is_whitespace))?;
    let value = &rest[start.len()..];
    value[1..].split(value.chars().next()?).next()
}

fn unescaped(text: &str) -> String {
    let known = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    known.iter().fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

/// Of a form's encoding.
fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap().replace('+', " ").into_bytes();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend(part[2..].replace('+', " ").bytes());
    }
    String::from_utf8(bytes).unwrap()
}
