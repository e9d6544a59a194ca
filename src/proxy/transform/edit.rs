//! One value of a response that is shown otherwise than it stands there.

use super::super::rescue::{Code, Refusal};
use super::dress::Worn;
use super::edits::Edits;
use super::extension::{self, Carried};
use super::mark::{self, Seen, UNOPENABLE, absent};
use super::shown::{Shown, written};
use crate::audit::event::FieldAction;
use crate::document::Escape;
use crate::document::json::parts;
use crate::seal::Class;
use std::ops::Range;
use std::sync::Arc;

/// A value that is shown otherwise.
pub(super) struct Edit {
    /// Which of `heads` it is of; else of the body.
    pub(super) head: Option<usize>,
    pub(super) range: Range<usize>,
    /// How what takes its place is written.
    pub(super) escape: Escape,
    pub(super) worn: Worn,
    /// Where it is carried, if it stands in an extension.
    pub(super) carried: Option<Carried>,
    /// What the record says of it.
    pub(super) told: (Class, FieldAction),
    pub(super) shown: Shown,
    /// Where the value before it ends, if this one goes where it is the same.
    pub(super) again: Option<usize>,
    pub(super) otherwise: Otherwise,
}

/// What becomes of a value that cannot be opened.
pub(super) enum Otherwise {
    /// Nothing is shown at all. What it is, and where the rule says that it stands.
    Refuse(&'static str, Arc<str>),
    /// It is marked.
    Mark,
    /// It stays sealed, for no rule stands there.
    Keep,
}

impl Edit {
    /// The same in a part of the body that starts at `base`.
    pub(super) fn moved(self, base: usize) -> Self {
        let place = |at: usize| at.saturating_sub(base);
        Edit {
            range: place(self.range.start)..place(self.range.end),
            carried: self.carried.map(|Carried { entry, list, beside }| Carried {
                entry: place(entry),
                list: place(list),
                beside: place(beside),
            }),
            again: self.again.map(place),
            ..self
        }
    }

    /// What has to be taken out of a JSON document, if that is so: the value, or the extension that carries it. The `<div>` of a
    /// narrative stays, which must have one.
    pub(super) fn removes(&self, body: &[u8]) -> Result<Option<Range<usize>>, Refusal> {
        if !matches!(self.shown, Shown::Removed) || self.head.is_some() || matches!(self.worn, Worn::Tags { .. }) {
            return Ok(None);
        }
        let Some(carried) = self.carried else { return Ok(Some(self.range.clone())) };
        let (_, end) = parts(body, carried.entry).ok_or(Code::Internal)?;
        Ok(Some(carried.entry..end))
    }

    /// `seen`: of FHIR, which has a form of its own for values that are absent.
    pub(super) fn make(mut self, body: &[u8], seen: Option<&mut Seen>, edits: &mut Edits) -> Result<(), Refusal> {
        let (escape, worn) = (self.escape, &self.worn);
        let mut replacement = Vec::new();
        match (self.shown, self.carried) {
            (Shown::Kept, _) => {}
            (Shown::Unopenable, Some(carried)) => extension::hide(body, carried, mark::URL, edits)?,
            (Shown::Unopenable, None) => match seen.and_then(|seen| absent(body, &self.range, seen)) {
                Some((range, instead)) => edits.replace(range, instead),
                None => {
                    written(escape, &worn.on(UNOPENABLE), &mut replacement)?;
                    edits.replace(self.range, replacement);
                }
            },
            (shown, Some(carried)) if shown.is_hidden() => extension::hide(body, carried, extension::HIDDEN, edits)?,
            (shown, carried) => {
                let wrote = shown.write((escape, worn), &mut replacement);
                if wrote.is_err() && matches!(self.otherwise, Otherwise::Keep) {
                    return Ok(());
                }
                wrote?;
                if let Some(end) = self.again.take()
                    && edits.ends_with(end, &replacement)
                {
                    edits.delete(end..self.range.end);
                    return Ok(());
                }
                match carried {
                    Some(carried) => extension::put_back(body, carried, &replacement, edits)?,
                    None => edits.replace(self.range, replacement),
                }
            }
        }
        Ok(())
    }

    /// What becomes of it if it does not open, or must not.
    pub(super) fn give_up(&mut self, refusal: Refusal) -> Result<(), Refusal> {
        let (action, shown) = match &self.otherwise {
            Otherwise::Refuse(what, place) => return Err(refusal.at(what, place)),
            Otherwise::Keep => (FieldAction::Left, Shown::Kept),
            Otherwise::Mark => (FieldAction::Unopenable, Shown::Unopenable),
        };
        tracing::warn!(cause = refusal.cause, "a token does not open");
        self.shown = shown;
        self.told.1 = action;
        Ok(())
    }
}
