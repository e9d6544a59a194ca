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

pub(super) use opening::Opening;
pub(super) use request::{Outgoing, Pump, request};
pub(super) use response::{About, plan};

use super::rescue::{Code, Refusal};
use super::rule::{FieldRule, Protected};
use super::target;
use crate::document::Slot;
use crate::keyring::KeyringError;
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::Instant;

/// Why a body was not read to its end.
#[derive(Clone, Copy)]
enum ReadFailure {
    Timeout,
    Broken,
}

/// The start of a body, or all of it.
struct Start {
    bytes: Vec<u8>,
    ended: bool,
}

/// Reads to the end of a body, or a little beyond so many bytes. The frame that goes beyond is taken too.
async fn read_start(body: &mut Incoming, bytes_max: usize, until: Instant) -> Result<Start, ReadFailure> {
    let hint = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut bytes = Vec::with_capacity(hint.min(bytes_max));
    while bytes.len() <= bytes_max {
        match next(body, until).await? {
            Some(more) => bytes.extend_from_slice(&more),
            None => return Ok(Start { bytes, ended: true }),
        }
    }
    Ok(Start { bytes, ended: false })
}

/// The next bytes of a body; nothing at its end. Trailers are dropped: no rule reads them.
async fn next(body: &mut Incoming, until: Instant) -> Result<Option<bytes::Bytes>, ReadFailure> {
    loop {
        let frame = tokio::time::timeout_at(until, body.frame()).await.map_err(|_| ReadFailure::Timeout)?;
        match frame {
            None => return Ok(None),
            Some(Err(_)) => return Err(ReadFailure::Broken),
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}

/// What must be seen of a request wherever it stands.
fn watch(text: &[u8]) -> bool {
    target::may_hold_token(text) || mark::is_absence(text)
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

/// A token whose key is refused, retired, revoked or gone is the response's fault, not the caller's.
fn unopenable(error: KeyringError) -> Refusal {
    Refusal { code: Code::ResponseUnopenable, ..error.into() }
}
