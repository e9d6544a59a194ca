//! A request on its way to the upstream: ruled values are sealed, tokens are let through only from those who may send
//! them, and nothing leaves that was not understood.

use super::super::body::Body;
use super::super::media::{Format, Media};
use super::super::rescue::{Code, Refusal};
use super::super::route::{Protection, Route};
use super::super::target;
use super::super::trail::Trail;
use super::super::{Gate, Limits};
use super::aim::resource;
use super::bind::Binds;
use super::coding::{Coding, NotDecoded};
use super::edits::Edits;
use super::extension;
use super::mark::is_absence;
use super::sealing::Sealing;
use super::{ReadFailure, read, unfinished};
use crate::document::{self, Rewrite, Role, Slot, Step};
use crate::policy::Permit;
use crate::seal::Workspace;
use bytes::Bytes;
use http::request::Parts;
use http_body::Body as _;
use hyper::body::Incoming;
use std::ops::Range;
use tokio::time::Instant;

/// Makes the request's body the one that the upstream gets.
///
/// # Errors
/// [`Refusal`]; the upstream must then hear nothing of it.
pub(in crate::proxy) async fn request(
    gate: &Gate,
    route: &Route,
    permit: &Permit,
    trail: &mut Trail,
    head: &mut Parts,
    body: Incoming,
) -> Result<Body, Refusal> {
    let protected = match &route.protection {
        Protection::None if body.is_end_stream() => return Ok(Body::whole(Bytes::new())),
        Protection::None => return Ok(Body::inbound(body, gate.limits.body_timeout, trail.body_fault())),
        Protection::Rules(protected) => protected,
    };
    let path = head.uri.path().to_owned();
    let binds = Binds::of_path(route, &path);
    let mut sealing = Sealing { gate, protected, permit, trail, binds, workspace: Workspace::new() };
    sealing.aim(route, head).await?;
    if body.is_end_stream() {
        return Ok(Body::whole(Bytes::new()));
    }
    let coding = Coding::of(&head.headers).ok_or(Code::ContentEncodingUnsupported)?;
    let media = Media::of(&head.headers);
    let bytes = read_body(body, &gate.limits).await?;
    // A body of no bytes needs no type; any other does.
    if bytes.is_empty() {
        return Ok(Body::whole(bytes));
    }
    let media = media.ok_or(Code::ContentTypeUnsupported)?;
    let bytes = coding.decode(bytes, gate.limits.body_bytes_max).await.map_err(|error| match error {
        NotDecoded::Broken => Code::BodyInvalid,
        NotDecoded::TooLarge => Code::BodyTooLarge,
    })?;
    // No part of a string may go unseen, however long it is: a token could stand there.
    let whole = document::Limits { value_bytes_max: gate.limits.body_bytes_max, ..gate.limits.document.clone() };
    if media.format == Format::Form && protected.searches.is_fhir() {
        let text = std::str::from_utf8(&bytes).map_err(|_| Code::BodyInvalid)?;
        let sealed = sealing.query(text, resource(&path)).await?.into_bytes();
        return Ok(Body::whole(coding.encode(sealed).await.ok_or(Code::Internal)?));
    }
    sealing.binds = Binds::read(protected, (route, &path), (&media.format, &whole), &bytes)?;
    let watch = |text: &[u8]| target::may_hold_token(text) || is_absence(text);
    let rewriter = protected.formats.rewriter(&media.format, whole, Some(watch)).ok_or(Code::ContentTypeUnsupported)?;
    let sealed = sealing.document(rewriter, &bytes).await?;
    Ok(Body::whole(coding.encode(sealed).await.ok_or(Code::Internal)?))
}

async fn read_body(body: Incoming, limits: &Limits) -> Result<Bytes, Refusal> {
    let until = Instant::now() + limits.body_timeout;
    read(body, limits.body_bytes_max, until).await.map_err(|failure| {
        match failure {
            ReadFailure::TooLarge => Code::BodyTooLarge,
            ReadFailure::Timeout => Code::BodyTimeout,
            ReadFailure::Broken => Code::BodyAborted,
        }
        .into()
    })
}

/// How many values are sealed before others on this worker get their turn.
const SLOTS_AT_ONCE: usize = 128;

/// What is larger could be stored and never be read again.
fn too_large_sealed() -> Refusal {
    Refusal::with_detail(Code::BodyTooLarge, "sealed, it exceeds response_bytes_max")
}

fn place(offset: u64) -> Result<usize, Code> {
    usize::try_from(offset).map_err(|_| Code::Internal)
}

/// What becomes of a body.
#[derive(Default)]
struct Changes {
    edits: Edits,
    /// The values that go into extensions, with the tokens.
    moved: Vec<(Member, Range<usize>, Vec<u8>)>,
    /// Where the objects beside such values start.
    beside: Vec<(Member, usize)>,
}

/// The rule that selects a member, and the object that it stands in.
type Member = (Option<usize>, Option<u64>);

fn member(slot: &Slot<'_>) -> Member {
    (slot.rule(), slot.around(0))
}

impl Changes {
    fn add(&mut self, slot: &Slot<'_>, written: Vec<u8>) -> Result<(), Code> {
        let range = place(slot.range().start)?..place(slot.range().end)?;
        match slot.role() {
            Role::Primitive => self.moved.push((member(slot), range, written)),
            Role::Value | Role::Companion | Role::Carried => self.edits.replace(range, written),
        }
        Ok(())
    }

    fn make(mut self, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        for (member, value, token) in self.moved {
            let beside = self.beside.iter().find(|(other, _)| *other == member).map(|(_, at)| *at);
            extension::put_away(body, &value, beside, &token, &mut self.edits)?;
        }
        self.edits.make(body).ok_or_else(|| Code::Internal.into())
    }
}

impl Sealing<'_> {
    async fn document(mut self, mut rewriter: Box<dyn Rewrite>, bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
        let sealed_bytes_max = self.gate.limits.response_bytes_max;
        rewriter.feed(bytes);
        rewriter.finish();
        let (mut changes, mut grown, mut slots) = (Changes::default(), 0_usize, 0_usize);
        loop {
            match rewriter.step()? {
                Step::Slot => {
                    let slot = rewriter.slot().ok_or_else(unfinished)?;
                    if slot.role() == Role::Companion {
                        changes.beside.push((member(&slot), place(slot.range().start)?));
                    } else if let Some(written) = self.judge(&slot).await? {
                        grown = grown.saturating_add(written.len());
                        changes.add(&slot, written)?;
                    }
                    rewriter.keep();
                    if grown > sealed_bytes_max {
                        return Err(too_large_sealed());
                    }
                    slots += 1;
                    if slots % SLOTS_AT_ONCE == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                Step::Done => {
                    let sealed = changes.make(bytes)?;
                    return if sealed.len() > sealed_bytes_max { Err(too_large_sealed()) } else { Ok(sealed) };
                }
                Step::NeedInput => return Err(unfinished()),
            }
        }
    }
}
