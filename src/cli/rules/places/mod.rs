//! Where the values of a document stand, by names: paths as rules write them.

mod json;
mod segments;
mod xml;

use crate::proxy::media::Format;

/// What a place of a document is called.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct Place {
    /// Where it starts, in bytes.
    pub(super) start: usize,
    /// As a rule would say it.
    pub(super) path: String,
    /// The names that lead to it, from the resource of FHIR that it stands in, else from the top.
    pub(super) names: Vec<String>,
    /// Texts that stand beside it and tell what it is, such as the system of an identifier.
    pub(super) beside: Vec<String>,
    /// Which document of the sample it stands in.
    pub(super) document: usize,
    /// Whether it is a number of JSON.
    pub(super) is_number: bool,
}

/// The places of a sample, in their order.
pub(super) struct Places(Vec<Place>);

impl Places {
    /// Of a body that the gate takes for one of that format.
    pub(super) fn of(bytes: &[u8], format: &Format) -> Places {
        let mut places = match format {
            Format::Json => json::document(bytes),
            Format::Ndjson => json::lines(bytes),
            Format::Xml => xml::places(bytes),
            Format::Hl7 => segments::hl7(bytes),
            Format::X12 => segments::x12(bytes),
            Format::Form => form(bytes),
            Format::Multipart(boundary) => parts(bytes, boundary),
            Format::File(_) => vec![Place { path: "body".to_owned(), ..Place::default() }],
            // Columns are told by the header, which the rules read; the others are not explained.
            Format::Csv | Format::Html | Format::Text | Format::Patch | Format::Merge | Format::FhirPatch => Vec::new(),
        };
        places.sort_by_key(|place| place.start);
        Places(places)
    }

    /// The one that starts there, or the last before.
    pub(super) fn at(&self, start: usize) -> Option<&Place> {
        let after = self.0.partition_point(|place| place.start <= start);
        self.0.get(after.checked_sub(1)?)
    }

    /// The numbers of JSON.
    pub(super) fn numbers(&self) -> impl Iterator<Item = &Place> {
        self.0.iter().filter(|place| place.is_number)
    }
}

/// The fields of a form, by their names as they stand.
fn form(bytes: &[u8]) -> Vec<Place> {
    let pairs = bytes.split(|byte| *byte == b'&').scan(0, |next, pair| {
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        let start = *next + name.len() + 1;
        *next += pair.len() + 1;
        let name = String::from_utf8_lossy(name).into_owned();
        Some(Place { start, path: name.clone(), names: vec![name], ..Place::default() })
    });
    pairs.collect()
}

/// The parts of a form with files, by their names as they stand.
fn parts(bytes: &[u8], boundary: &str) -> Vec<Place> {
    let delimiter = format!("--{boundary}\r\n");
    let starts = memchr::memmem::find_iter(bytes, &delimiter).map(|start| start + delimiter.len());
    let part = |start: usize| {
        let rest = bytes.get(start..).unwrap_or_default();
        let head = rest.get(..memchr::memmem::find(rest, b"\r\n\r\n")?)?;
        let parameter = [&b" name=\""[..], b";name=\""].iter().find_map(|mark| {
            memchr::memmem::find(head, mark).map(|found| head.get(found + mark.len()..).unwrap_or_default())
        });
        let name = parameter.and_then(|rest| rest.split(|byte| *byte == b'"').next()).unwrap_or_default();
        let name = String::from_utf8_lossy(name).into_owned();
        Some(Place { start, path: name.clone(), names: vec![name], ..Place::default() })
    };
    starts.filter_map(part).collect()
}
