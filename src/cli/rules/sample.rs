//! A sample: a body in a file, and what it is.

use super::super::session::Failure;
use crate::document::json;
use crate::proxy::media::{Format, Formats};
use std::path::{Path, PathBuf};

/// A body that the operator keeps in a file.
pub(super) struct Sample {
    pub(super) file: PathBuf,
    pub(super) bytes: Vec<u8>,
    /// Its type, as a header would say it.
    pub(super) media_type: String,
}

/// The types that the ends of names stand for.
const TYPES: [(&[&str], &str); 13] = [
    (&["json"], "application/json"),
    (&["ndjson", "jsonl"], "application/x-ndjson"),
    (&["xml", "cda", "ccd"], "application/xml"),
    (&["csv"], "text/csv"),
    (&["urlencoded", "form"], "application/x-www-form-urlencoded"),
    (&["hl7", "er7"], "x-application/hl7-v2+er7"),
    (&["x12", "edi", "270", "271", "276", "277", "278", "820", "834", "835", "837"], "application/edi-x12"),
    (&["html", "htm"], "text/html"),
    (&["txt"], "text/plain"),
    (&["pdf"], "application/pdf"),
    (&["dcm"], "application/dicom"),
    (&["png"], "image/png"),
    (&["jpg", "jpeg"], "image/jpeg"),
];

impl Sample {
    /// Reads the file. Its type is the one that is given, else what its name says, and FHIR if it says so itself.
    ///
    /// # Errors
    /// If it cannot be read, or its name does not tell its type.
    pub(super) fn read(file: &Path, given: Option<&str>) -> Result<Sample, Failure> {
        let bytes = std::fs::read(file).map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
        let media_type = given.map_or_else(|| guess(file, &bytes), |given| Some(given.to_owned()));
        let Some(media_type) = media_type else {
            let wanted = "its name does not tell its type: say it with --type";
            return Err(Failure::usage(format!("{}: {wanted}", file.display())));
        };
        Ok(Sample { file: file.to_owned(), bytes, media_type })
    }

    /// What it is to the rules of a route; nothing if they are not for such bodies.
    pub(super) fn format(&self, formats: &Formats) -> Option<Format> {
        formats.of_type(Some(&self.media_type)).map(|media| media.format)
    }
}

fn guess(file: &Path, bytes: &[u8]) -> Option<String> {
    let end = file.extension().and_then(|end| end.to_str()).unwrap_or_default().to_ascii_lowercase();
    let named = TYPES.iter().find(|(ends, _)| ends.contains(&end.as_str())).map(|(_, media_type)| *media_type);
    let media_type = match named {
        Some("application/json") | None if is_resource(bytes) => "application/fhir+json",
        Some("application/x-ndjson") if is_resource(bytes) => "application/fhir+ndjson",
        named => named?,
    };
    Some(media_type.to_owned())
}

/// Whether the first document of JSON says that it is a resource of FHIR.
fn is_resource(bytes: &[u8]) -> bool {
    let start = bytes.iter().position(|byte| *byte == b'{').unwrap_or_default();
    let Some((members, _)) = json::parts(bytes, start) else { return false };
    members.iter().any(|member| bytes.get(member.name.clone()) == Some(b"\"resourceType\""))
}
