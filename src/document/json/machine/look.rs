//! Looking into an object before it is read: what in it decides what the rules select.

use super::Machine;
use crate::document::Fault;
use crate::document::json::CONTAINERS;
use crate::document::json::probe::Probe;
use crate::document::json::tracker::Unresolved;

impl Machine {
    /// Has the rules look into the object at hand, as far as they need; tells whether it is a resource, or nothing if there is not
    /// enough input. The verdict on it is final then.
    pub(super) fn look_into(&mut self, view: &[u8]) -> Result<Option<bool>, Fault> {
        let Some(probing) = self.tracker.probing() else { return Ok(Some(false)) };
        let new = || Box::new(Probe::new(probing, &self.limits, self.base, self.at, self.verdict));
        let mut probe = self.probe.take().unwrap_or_else(new);
        let max = self.limits.object_bytes_max;
        let view = view.get(..self.at.saturating_add(max).saturating_add(1)).unwrap_or(view);
        let Some(mut probed) = probe.run(probing, view, self.end)? else {
            if view.len() - self.at > max {
                return Err(Fault::ValueTooLong { offset: self.offset(self.at), max });
            }
            self.probe = Some(probe);
            return Ok(None);
        };
        let is_resource = probed.kind.is_some();
        let offset = self.offset(self.at);
        if let Some(merge) = &self.merge
            && self.frames.iter().all(|frame| frame.object)
        {
            let level = self.frames.len();
            let wanted = self.tracker.tests(level).filter_map(|test| probing.names.get(test));
            merge
                .check(view, self.at, level == 0, self.verdict.is_place(), &mut probed.kind, wanted)
                .map_err(|what| Fault::Unaccepted { offset, what })?;
        }
        // Elsewhere elements have the same names that hold no resources.
        let around = self.frames.iter().rev().find(|frame| frame.kind.is_some());
        let is_needed = self.verdict.is_contained() || around.map_or(self.is_part, |frame| frame.holds);
        if self.verdict.is_place() && is_needed && probed.kind.is_none() {
            return Err(Fault::Unaccepted { offset, what: "an object that is no resource where one stands" });
        }
        self.holds = probed.kind.as_deref().is_some_and(|kind| CONTAINERS.iter().any(|known| known.as_bytes() == kind));
        let name = probed.kind.as_deref().filter(|_| self.verdict.is_place() && !self.verdict.is_contained());
        if let Some(name) = name.and_then(|name| std::str::from_utf8(name).ok()) {
            self.resources.add(name, 1);
        }
        let resolved = self.tracker.resolve(self.frames.len(), &probed, self.verdict);
        self.verdict = resolved.map_err(|error| match error {
            Unresolved::NoResource => Fault::Unaccepted { offset, what: "a document that is no resource" },
            Unresolved::UnknownType => Fault::Unaccepted { offset, what: "a resource of a type that no rule names" },
        })?;
        Ok(Some(is_resource))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{JsonPath, Rewriter, Rules, Selected};
    use crate::document::fhir::FhirPath;
    use crate::document::testing::rewrite;
    use crate::document::{Limits, Rewrite, Role, ndjson};
    use std::sync::Arc;

    fn counted(rewriter: &mut dyn Rewrite, document: &str, lengths: &[usize]) -> Vec<(String, u64)> {
        rewrite(rewriter, document.as_bytes(), lengths, &mut |_| None).unwrap();
        rewriter.take_resources().iter().map(|(kind, count)| (kind.to_owned(), count)).collect()
    }

    #[test]
    fn resources_are_counted_where_they_stand_by_themselves() {
        let path = FhirPath::parse("Patient.name.family").unwrap();
        let selected = Selected { path: JsonPath::Fhir(&path), rule: 0, role: Role::Value, passes: false };
        let types = ["Bundle", "Observation"].map(str::to_owned);
        let rules = Arc::new(Rules::compile_all(&[selected], &types).unwrap());
        let bundle = r#"{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Patient"}},
            {"resource":{"contained":[{"resourceType":"Patient"}],"resourceType":"Observation"}},
            {"resource":{"name":[{"family":"x"}],"resourceType":"Patient"}}]}"#;
        let want = [("Bundle", 1), ("Patient", 2), ("Observation", 1)].map(|(kind, count)| (kind.to_owned(), count));
        for lengths in [&[][..], &[1], &[7]] {
            let mut rewriter = Rewriter::new(Arc::clone(&rules), Limits::default(), None);
            assert_eq!(counted(&mut rewriter, bundle, lengths), want);
            let mut lines = ndjson::Rewriter::new(Arc::clone(&rules), Limits::default(), None);
            let patients = "{\"resourceType\":\"Patient\"}\n".repeat(3);
            assert_eq!(counted(&mut lines, &patients, lengths), [("Patient".to_owned(), 3)]);
        }
    }
}
