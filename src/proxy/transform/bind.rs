//! What the tokens of one document are bound to: path parameters, and fields of the document itself.

use super::super::media::{self, Format};
use super::super::rescue::{Code, Refusal};
use super::super::route::Route;
use super::super::rule::{BindSource, FieldRule, Protected};
use super::super::target;
use crate::document::bind::{BindLimits, BindValues, NotBound, NotCollected};
use crate::document::pairing::Pairings;
use crate::document::{Limits, Slot};

use std::sync::Arc;

/// How many fields of one document values may be bound to.
const ENTRIES_MAX: usize = 100_000;

/// The bound values of one document.
pub(super) struct Binds<'a> {
    route: &'a Route,
    path: &'a str,
    fields: Option<BindValues>,
}

/// Names and values that one token is bound to, in the order of the names. Part of no event and of no log.
pub(super) type Bound = Vec<(String, Vec<u8>)>;

impl<'a> Binds<'a> {
    /// Those of no document.
    pub(super) const fn of_path(route: &'a Route, path: &'a str) -> Self {
        Self { route, path, fields: None }
    }

    /// Reads them; `path` is that of the request.
    pub(super) fn read(
        protected: &Protected,
        (route, path): (&'a Route, &'a str),
        (format, limits): (&Format, &Limits),
        document: &[u8],
    ) -> Result<Self, NotCollected> {
        let bounds = BindLimits { entries_max: ENTRIES_MAX, bytes_max: document.len() };
        let collect = |pairings: &Arc<Pairings>| {
            let mut rewriter = media::rewriter(pairings.rules(), format, limits.clone(), None);
            BindValues::collect(Arc::clone(pairings), &mut *rewriter, &bounds, document)
        };
        // Only what stands in JSON is bound to fields.
        let pairings = protected.pairings.as_ref().filter(|_| format.is_json());
        let fields = pairings.map(collect).transpose()?;
        Ok(Self { route, path, fields })
    }

    /// What the token in a slot of the rule is bound to.
    pub(super) fn of(&self, rule: &FieldRule, slot: &Slot<'_>) -> Result<Bound, NotBound> {
        self.bound(rule, Some(slot))
    }

    /// What a whole body is bound to: only path parameters.
    pub(super) fn of_body(&self, rule: &FieldRule) -> Result<Bound, NotBound> {
        self.bound(rule, None)
    }

    fn bound(&self, rule: &FieldRule, slot: Option<&Slot<'_>>) -> Result<Bound, NotBound> {
        let value = |source: &BindSource| match source {
            BindSource::Parameter(name) => {
                let value = self.route.template.parameter(name, self.path).ok_or(NotBound::Missing)?;
                Ok(target::decode(value))
            }
            BindSource::Field(number) => {
                let (fields, slot) = self.fields.as_ref().zip(slot).ok_or(NotBound::Missing)?;
                // Without the kind before it: the id 42 of a document is the id 42 of its path.
                fields.value(*number, slot).map(|value| value.get(1..).unwrap_or_default().to_vec())
            }
        };
        rule.binds.iter().map(|bind| Ok((bind.name.clone(), value(&bind.source)?))).collect()
    }
}

/// As the context of a token takes them.
pub(super) fn borrowed(bound: &Bound) -> Vec<(&str, &[u8])> {
    bound.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect()
}

impl From<NotBound> for Refusal {
    fn from(error: NotBound) -> Self {
        match error {
            NotBound::Missing => Code::BindMissing.into(),
            _ => Code::BindUnusable.into(),
        }
    }
}

impl From<NotCollected> for Refusal {
    fn from(error: NotCollected) -> Self {
        match error {
            NotCollected::Fault(fault) => fault.into(),
            error => Self::with_detail(Code::BodyTooLarge, error.to_string()),
        }
    }
}
