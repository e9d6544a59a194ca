//! Bodies between client and upstream: what is sealed, opened, shown or refused. Takes a permit for everything, and an
//! audit receipt for everything that is shown.

mod aim;
mod bind;
mod coding;
mod dress;
mod edit;
mod edits;
mod extension;
mod inner;
mod judge;
mod links;
mod mark;
mod request;
mod response;
mod sealing;
mod shown;

pub(super) use request::request;
pub(super) use response::{About, plan};

use super::rescue::{Code, Refusal};
use super::rule::{FieldRule, Protected};
use crate::document::Slot;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::time::Instant;

/// Why a body was not read to its end.
enum ReadFailure {
    TooLarge,
    Timeout,
    Broken,
}

async fn read(body: Incoming, bytes_max: usize, until: Instant) -> Result<bytes::Bytes, ReadFailure> {
    let collected = tokio::time::timeout_at(until, Limited::new(body, bytes_max).collect()).await;
    match collected.map_err(|_| ReadFailure::Timeout)? {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ReadFailure::TooLarge),
        Err(_) => Err(ReadFailure::Broken),
    }
}

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
