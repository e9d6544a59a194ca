//! Bodies between client and upstream: what is sealed, opened, shown or refused. Takes a permit for everything, and an
//! audit receipt for everything that is shown.

mod aim;
mod bind;
mod coding;
mod dress;
mod edit;
mod edits;
mod extension;
mod file;
mod inner;
mod judge;
mod links;
mod mark;
mod opening;
mod patches;
mod reader;
mod removal;
mod request;
mod response;
mod sealing;
mod shown;
mod source;
mod watch;

pub(super) use opening::Opening;
pub(super) use request::{Outgoing, Pump, request};
pub(super) use response::{About, plan};

use super::rescue::{Code, Refusal};
use super::rule::{FieldRule, Protected};
use crate::document::Slot;
use crate::keyring::KeyringError;

/// Whether a value that one rule selects whole holds one of another class: shown in the view of the outer one, the inner one
/// would be seen by those who may not.
fn overlaps(protected: &Protected, rule: &FieldRule, slot: &Slot<'_>) -> bool {
    let classes = slot.inner_rules().iter().filter_map(|index| protected.field(*index));
    classes.into_iter().any(|inner| inner.class.class != rule.class.class)
}

/// What the rewriter promises never happens on a whole document.
fn unfinished() -> Refusal {
    Refusal::with_detail(Code::BodyInvalid, "the document does not end")
}

/// A token whose key is refused, retired, revoked or gone is the response's fault, not the caller's.
fn unopenable(error: KeyringError) -> Refusal {
    Refusal { code: Code::ResponseUnopenable, ..error.into() }
}
