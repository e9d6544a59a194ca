//! Which patch a body is, and JSON Patches in the entries of a transaction: base64 in a Binary (FHIR R4, Patch in transactions).
//! What in one meets a rule is sealed as in a patch that comes alone; any other content of a Binary is an attachment.

use super::super::media::{Format, Patching};
use super::super::rescue::{Code, Refusal};
use super::request::Changes;
use super::sealing::Sealing;
use super::unfinished;
use super::watch::WATCH;
use crate::document::Limits;
use crate::document::json::{Rules, parts};
use data_encoding::BASE64;
use std::ops::Range;
use std::sync::Arc;

/// The type of a patch. Written otherwise, it is sealed whole, and no server takes it for one.
const PATCH: &[u8] = b"\"application/json-patch+json\"";

/// A patch in an entry.
struct Found {
    /// Where its base64 stands, with the quotes.
    range: Range<usize>,
    /// What it changes.
    path: String,
    patch: Vec<u8>,
}

impl Sealing<'_> {
    fn is_by_type(&self) -> bool {
        self.protected.formats.json.as_ref().is_some_and(|rules| rules.by_resource_type())
    }

    /// Whether such a body may be a FHIRPath Patch for the upstream. In a merge patch rules by resource type refuse what is of another
    /// type than the one that is patched.
    pub(super) fn may_be_by_path(&self, format: &Format) -> bool {
        *format == Format::FhirPatch || *format == Format::Merge && !self.is_by_type()
    }

    /// What a body of that format is, now that it is known whether it is a FHIRPath Patch.
    pub(super) fn patched(&self, format: Format, is_by_path: bool) -> Result<Format, Refusal> {
        let needs_context = |what| Err(Refusal::with_detail(Code::PatchNeedsContext, what));
        if format.patches().is_some() && self.protected.pairings.is_some() {
            return needs_context("values are bound to fields");
        }
        if is_by_path && !self.is_by_type() {
            return needs_context("a FHIRPath Patch, whose paths no rule knows");
        }
        Ok(if format == Format::FhirPatch && !is_by_path { Format::Merge } else { format })
    }

    /// What takes the place of which part of a body that is there whole, and was posted to that path.
    pub(super) async fn patches_inside(
        &mut self,
        path: &str,
        body: &[u8],
        limits: &Limits,
    ) -> Result<Vec<(Range<u64>, Vec<u8>)>, Refusal> {
        let mut written = Vec::new();
        // What is posted to a type is kept as it is.
        let last = path.rsplit('/').find(|segment| !segment.is_empty()).unwrap_or_default();
        let is_carried_out = |rules: &Arc<Rules>| rules.by_resource_type() && !rules.knows_resource(last);
        if !self.protected.formats.json.as_ref().is_some_and(is_carried_out) {
            return Ok(written);
        }
        for found in find(body) {
            let about = |refusal: Refusal| {
                let place = format!("the patch at offset {}", found.range.start);
                let detail = refusal.detail.map_or_else(|| place.clone(), |detail| format!("{detail}: {place}"));
                Refusal { detail: Some(detail), ..refusal }
            };
            let sealed = self.patch_inside(&found, limits).await.map_err(about)?;
            let text = format!("\"{}\"", BASE64.encode(&sealed));
            written.push((found.range.start as u64..found.range.end as u64, text.into_bytes()));
        }
        Ok(written)
    }

    async fn patch_inside(&mut self, found: &Found, limits: &Limits) -> Result<Vec<u8>, Refusal> {
        if self.protected.pairings.is_some() {
            return Err(Code::PatchNeedsContext.into());
        }
        let rewriter = self.protected.formats.rewriter(&Format::Patch, &found.path, limits.clone(), Some(WATCH));
        let mut rewriter = rewriter.ok_or(Code::ContentTypeUnsupported)?;
        rewriter.feed(&found.patch);
        rewriter.finish();
        let mut changes = Changes::default();
        let outer = self.patches.replace(Patching::Operations);
        let done = self.turn(&mut *rewriter, &mut changes).await;
        self.patches = outer;
        if !done? {
            return Err(unfinished());
        }
        changes.make(&found.patch)
    }
}

/// Every patch of a Bundle. What says anything twice is none.
fn find(body: &[u8]) -> Vec<Found> {
    let Some(top) = memchr::memmem::find(body, PATCH).and_then(|_| memchr::memchr(b'{', body)) else {
        return Vec::new();
    };
    let says = |name, value: &[u8]| member(body, top, name).and_then(|range| body.get(range)) == Some(value);
    let is_carried_out = says(b"\"type\"", b"\"transaction\"") || says(b"\"type\"", b"\"batch\"");
    if !is_carried_out || !says(b"\"resourceType\"", b"\"Bundle\"") {
        return Vec::new();
    }
    let entries = member(body, top, b"\"entry\"").and_then(|entries| parts(body, entries.start));
    entries.into_iter().flat_map(|(entries, _)| entries).filter_map(|entry| found(body, entry.value.start)).collect()
}

fn found(body: &[u8], entry: usize) -> Option<Found> {
    let at = |object: usize, name| member(body, object, name);
    let text = |range: Range<usize>| body.get(range);
    let (resource, request) = (at(entry, b"\"resource\"")?.start, at(entry, b"\"request\"")?.start);
    let is_patch = text(at(request, b"\"method\"")?) == Some(b"\"PATCH\"")
        && text(at(resource, b"\"resourceType\"")?) == Some(b"\"Binary\"")
        && text(at(resource, b"\"contentType\"")?) == Some(PATCH);
    let url: String = serde_json::from_slice(text(at(request, b"\"url\"")?)?).ok().filter(|_| is_patch)?;
    let range = at(resource, b"\"data\"")?;
    let base64: String = serde_json::from_slice(text(range.clone())?).ok()?;
    let path = target(&url)?.to_owned();
    Some(Found { range, path, patch: BASE64.decode(base64.as_bytes()).ok()? })
}

/// The type that an entry's URL names, which is `Type/id` or `Type?query` and nothing that could be read otherwise.
fn target(url: &str) -> Option<&str> {
    let end = url.find(['/', '?'])?;
    let (kind, rest) = url.split_at_checked(end)?;
    let is_id = |id: &str| !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let is_good = rest.starts_with('?') || rest.strip_prefix('/').is_some_and(is_id);
    (is_good && kind.bytes().all(|b| b.is_ascii_alphabetic())).then_some(kind)
}

/// The value of the only member of that name, with its quotes; nothing if another name could be read as that one.
fn member(body: &[u8], object: usize, name: &[u8]) -> Option<Range<usize>> {
    if body.get(object) != Some(&b'{') {
        return None;
    }
    let (members, _) = parts(body, object)?;
    let text = |range: &Range<usize>| body.get(range.clone()).unwrap_or_default();
    // Names that are escaped, or no ASCII, may be any name to some reader.
    if members.iter().any(|member| !text(&member.name).is_ascii() || text(&member.name).contains(&b'\\')) {
        return None;
    }
    let mut named = members.into_iter().filter(|member| text(&member.name).eq_ignore_ascii_case(name));
    let only = named.next().filter(|_| named.next().is_none())?;
    (text(&only.name) == name).then_some(only.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_every_reader_takes_for_a_patch_is_one() {
        let entry = r#"{"resource":{"resourceType":"Binary","contentType":"application/json-patch+json","data":"W10="},"request":{"method":"PATCH","url":"Patient/1"}}"#;
        let found = |entry: &str| {
            let bundle = format!(" {{\"resourceType\":\"Bundle\",\"type\":\"transaction\",\"entry\":[{{}}, {entry}]}}");
            let found = find(bundle.as_bytes());
            found.into_iter().map(|found| (bundle[found.range].to_owned(), found.path, found.patch)).collect::<Vec<_>>()
        };
        assert_eq!(found(entry), [("\"W10=\"".to_owned(), "Patient".to_owned(), b"[]".to_vec())]);
        for (from, to) in [
            ("PATCH", "PUT"),
            ("Binary", "Patient"),
            ("json-patch", "json\\u002dpatch"),
            ("json-patch+json", "fhir+json"),
            ("W10=", "W10"),
            ("\"W10=\"", "1"),
            ("\"url\":", "\"uri\":"),
            ("\"method\":", "\"method\":\"PUT\",\"method\":"),
            ("\"data\":", "\"data\":\"e30=\",\"data\":"),
            ("\"contentType\":", "\"contentType\":\"text/plain\",\"contentType\":"),
            ("\"url\":", "\"ur\\u006c\":\"Person/1\",\"url\":"),
            ("\"url\":", "\"URL\":\"Person/1\",\"url\":"),
            ("Patient/1", "%50atient/1"),
            ("Patient/1", "Patient;x/1"),
            ("Patient/1", "Patient/../Person/1"),
            ("Patient/1", "http://x/Patient/1"),
            ("Patient/1", "Patient/1/$x"),
        ] {
            assert_eq!(found(&entry.replacen(from, to, 1)), [], "{from} {to}");
        }
    }
}
