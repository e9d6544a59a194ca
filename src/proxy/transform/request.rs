//! A request on its way to the upstream: ruled values are sealed, tokens are let through only from those who may send
//! them, and nothing leaves that was not understood.

use super::super::Gate;
use super::super::body::{Body, Piece};
use super::super::coverage::count;
use super::super::ledger::Ledger;
use super::super::media::{Format, Media, Patching};
use super::super::rescue::{Code, Refusal};
use super::super::route::{Protection, Route};
use super::super::trail::Trail;
use super::aim::resource;
use super::bind::Binds;
use super::coding::{Coding, Encoder};
use super::edits::Edits;
use super::extension;
use super::sealing::Sealing;
use super::source::{ReadFailure, Source};
use super::unfinished;
use super::watch::WATCH;
use crate::document::{self, Escape, Rewrite, Role, Slot, Step, patch};
use crate::policy::Permit;
use bytes::Bytes;
use http::Method;
use http::header::HeaderMap;
use http::request::Parts;
use http_body::Body as _;
use hyper::body::Incoming;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The body that the upstream gets, and what fills it, if it is not there whole.
pub(in crate::proxy) struct Outgoing<'a> {
    pub(in crate::proxy) body: Body,
    pub(in crate::proxy) pump: Option<Pump<'a>>,
}

impl From<Body> for Outgoing<'_> {
    fn from(body: Body) -> Self {
        Self { body, pump: None }
    }
}

/// Makes the request the one that the upstream gets; `path` is that of the client.
///
/// # Errors
/// [`Refusal`]; the upstream must then hear nothing of it.
pub(in crate::proxy) async fn request<'a>(
    gate: &'a Gate,
    (route, path): (&'a Route, &'a str),
    permit: &'a Permit,
    trail: &mut Trail,
    (head, body): (&mut Parts, Incoming),
) -> Result<Outgoing<'a>, Refusal> {
    let protected = match &route.protection {
        Protection::None if body.is_end_stream() => return Ok(Body::whole(Bytes::new()).into()),
        Protection::None => return Ok(Body::inbound(body, &gate.limits, trail.body_fault()).into()),
        Protection::Rules(protected) => protected,
    };
    let binds = Binds::of_path(route, path);
    let mut sealing = Sealing::begin(gate, (protected, permit), binds);
    let aimed = sealing.aim(route, head).await;
    let sealed = match aimed {
        Ok(()) => sealing.body((route, path), (&head.method, &head.headers), body).await,
        Err(refusal) => Err(refusal),
    };
    let ledger = std::mem::take(&mut sealing.ledger);
    count(route, protected, &ledger);
    let rules_met: Vec<usize> = ledger.rules_met().collect();
    trail.add(ledger);
    Ok(match sealed? {
        Sealed::Whole(bytes) => {
            if let Some(format) = &sealing.format {
                protected.coverage.body(route, protected, format, &rules_met);
            }
            Body::whole(bytes).into()
        }
        Sealed::Longer(stream) => {
            let (pipe, body) = Body::piped();
            Outgoing { body, pump: Some(Pump { sealing, route, stream, pipe, rules_met, is_filled: false }) }
        }
    })
}

enum Sealed {
    Whole(Bytes),
    Longer(Box<Stream>),
}

/// A body that is longer than what is judged whole.
struct Stream {
    rewriter: Box<dyn Rewrite>,
    source: Source,
    until: Instant,
    changes: Changes,
    encoder: Encoder,
    /// How much of it was read.
    bytes: usize,
}

impl<'a> Sealing<'a> {
    async fn body(
        &mut self,
        (route, path): (&'a Route, &'a str),
        (method, headers): (&Method, &HeaderMap),
        incoming: Incoming,
    ) -> Result<Sealed, Refusal> {
        if incoming.is_end_stream() {
            return Ok(Sealed::Whole(Bytes::new()));
        }
        let limits = &self.gate.limits;
        let coding = Coding::of(headers).ok_or(Code::ContentEncodingUnsupported)?;
        // What must be known of the whole body before anything is sealed is read whole.
        let is_search = self.protected.searches.is_fhir() && self.protected.formats.form.is_none();
        let is_search = is_search && Media::of(headers).is_some_and(|media| media.format == Format::Form);
        let media = if is_search { Media::of(headers) } else { self.protected.formats.media(headers) };
        let media = media.and_then(|media| media.sent_by(method));
        self.announced(&incoming, media.as_ref(), is_search)?;
        let may_be_by_path = media.as_ref().is_some_and(|media| self.may_be_by_path(&media.format));
        let streams = self.protected.pairings.is_none() && !is_search && !may_be_by_path;
        let most = if streams { limits.buffer_bytes_max.min(limits.body_bytes_max) } else { limits.body_bytes_max };
        let until = Instant::now() + limits.body_timeout;
        let source = Source::new(incoming, coding, limits.body_bytes_max);
        let mut source = source.silent_at_most(limits.body_idle_timeout);
        let start = source.start(most, until).await.map_err(refused)?;
        // A body of no bytes needs no type; any other does.
        if start.ended && source.is_nothing() {
            return Ok(Sealed::Whole(Bytes::new()));
        }
        if !start.ended && most == limits.body_bytes_max {
            return Err(Code::BodyTooLarge.into());
        }
        let mut media = media.ok_or(Code::ContentTypeUnsupported)?;
        let bytes = start.bytes;
        // No part of a string may go unseen, however long it is: a token could stand there.
        let value_bytes_max = most.max(bytes.len()).max(limits.document.value_bytes_max);
        let whole = document::Limits { value_bytes_max, ..limits.document.clone() };
        if is_search {
            let text = std::str::from_utf8(&bytes).map_err(|_| Code::BodyInvalid)?;
            let sealed = self.query(text, resource(path)).await?.into_bytes();
            return Ok(Sealed::Whole(coding.encode(sealed).await.ok_or(Code::Internal)?.into()));
        }
        media.format = self.patched(media.format, may_be_by_path && patch::is_parameters(&bytes))?;
        if start.ended {
            self.binds = Binds::read(self.protected, (route, path), (&media.format, &whole), &bytes)?;
        }
        self.patches = media.format.patches();
        let rewriter = self.protected.formats.rewriter(&media.format, path, whole.clone(), Some(WATCH));
        let mut rewriter = rewriter.ok_or(Code::ContentTypeUnsupported)?;
        self.format = Some(media.format.clone());
        rewriter.feed(&bytes);
        if !start.ended {
            let (changes, bytes, encoder) = (Changes::of(&media), bytes.len(), Encoder::new(coding));
            return Ok(Sealed::Longer(Box::new(Stream { rewriter, source, until, changes, bytes, encoder })));
        }
        rewriter.finish();
        let mut changes = Changes::of(&media);
        if media.format == Format::Json && *method == Method::POST {
            changes.edits = self.patches_inside(path, &bytes, &whole).await?;
            self.done = changes.edits.iter().map(|(range, _)| range.start).collect();
        }
        if !self.turn(&mut *rewriter, &mut changes).await? {
            return Err(unfinished());
        }
        let sealed = if changes.in_place { rewriter.take_output() } else { changes.make(&bytes)? };
        if sealed.len() > limits.response_bytes_max {
            return Err(too_large_sealed());
        }
        Ok(Sealed::Whole(coding.encode(sealed).await.ok_or(Code::Internal)?.into()))
    }

    /// Judges a body of a stated length by what is said of it: who waits to be asked for it is not asked in vain.
    fn announced(&self, incoming: &Incoming, media: Option<&Media>, is_search: bool) -> Result<(), Refusal> {
        let length = usize::try_from(incoming.size_hint().lower()).unwrap_or(usize::MAX);
        let is_read =
            |format: &Format| self.protected.formats.takes(format) && !matches!(format, Format::Html | Format::Text);
        if length > 0 && !is_search && !media.is_some_and(|media| is_read(&media.format)) {
            return Err(Code::ContentTypeUnsupported.into());
        }
        if length > self.gate.limits.body_bytes_max { Err(Code::BodyTooLarge.into()) } else { Ok(()) }
    }

    /// Seals as far as the input reaches; tells whether that is the end.
    pub(super) async fn turn(&mut self, rewriter: &mut dyn Rewrite, changes: &mut Changes) -> Result<bool, Refusal> {
        let (mut grown, mut slots) = (0_usize, 0_usize);
        loop {
            match rewriter.step()? {
                Step::Slot => {
                    let slot = rewriter.slot().ok_or_else(unfinished)?;
                    if slot.role() == Role::Companion {
                        // What is merged into it takes the place of the list that the sealed value is in.
                        if self.patches == Some(Patching::Members) {
                            return Err(Code::PatchNeedsContext.into());
                        }
                        changes.beside.insert(member(&slot), slot.range().start);
                    } else if slot.role() == Role::Carried && !changes.carriers.insert((slot.rule(), slot.around(2))) {
                        // One of them would be lost.
                        return Err(Code::TokenNotAccepted.into());
                    } else if let Some(written) = self.judge(&slot).await? {
                        grown = grown.saturating_add(written.len());
                        if changes.in_place {
                            rewriter.replace(&written);
                        } else {
                            changes.add(&slot, written);
                        }
                    }
                    rewriter.keep();
                    if grown > self.gate.limits.response_bytes_max {
                        return Err(too_large_sealed());
                    }
                    slots += 1;
                    if slots % SLOTS_AT_ONCE == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                Step::Done => return Ok(true),
                Step::NeedInput => return Ok(false),
            }
        }
    }
}

/// Fills the body that the upstream gets.
pub(in crate::proxy) struct Pump<'a> {
    sealing: Sealing<'a>,
    route: &'a Route,
    stream: Box<Stream>,
    pipe: mpsc::Sender<Piece>,
    /// The rules that met something before.
    rules_met: Vec<usize>,
    /// Whether the upstream's body is whole.
    is_filled: bool,
}

impl Pump<'_> {
    /// Reads, seals and sends, to the end of the body or until the upstream takes no more of it.
    ///
    /// # Errors
    /// [`Refusal`]; the upstream has a body then that breaks off.
    pub(in crate::proxy) async fn run(&mut self) -> Result<(), Refusal> {
        loop {
            let Stream { rewriter, changes, encoder, .. } = &mut *self.stream;
            let is_done = self.sealing.turn(&mut **rewriter, changes).await?;
            let output = rewriter.take_output();
            let sealed = if changes.in_place { output } else { changes.make(&output)? };
            let mut coded = encoder.write(sealed).await.ok_or(Code::Internal)?;
            if is_done {
                coded.append(&mut encoder.finish().await.ok_or(Code::Internal)?);
            }
            if !coded.is_empty() && !self.give(Piece::Data(coded.into())).await {
                return Ok(());
            }
            if is_done {
                self.met();
                self.is_filled = self.give(Piece::End).await;
                return Ok(());
            }
            self.read().await?;
        }
    }

    /// Whether the upstream took it, in the time that a body has.
    async fn give(&self, piece: Piece) -> bool {
        matches!(tokio::time::timeout_at(self.stream.until, self.pipe.send(piece)).await, Ok(Ok(())))
    }

    async fn read(&mut self) -> Result<(), Refusal> {
        let stream = &mut self.stream;
        match stream.source.next(stream.until).await.map_err(refused)? {
            None => stream.rewriter.finish(),
            Some(bytes) => {
                stream.bytes = stream.bytes.saturating_add(bytes.len());
                if stream.bytes > self.sealing.gate.limits.body_bytes_max {
                    return Err(Code::BodyTooLarge.into());
                }
                stream.rewriter.feed(&bytes);
            }
        }
        Ok(())
    }

    fn met(&mut self) {
        let Sealing { protected, ledger, format, .. } = &self.sealing;
        self.rules_met.extend(ledger.rules_met());
        if let Some(format) = format {
            protected.coverage.body(self.route, protected, format, &self.rules_met);
        }
    }

    /// What was done with values, and the pipe of a body that is not whole: it breaks off when that is dropped.
    pub(in crate::proxy) fn stop(self) -> (Ledger, Option<mpsc::Sender<Piece>>) {
        count(self.route, self.sealing.protected, &self.sealing.ledger);
        (self.sealing.ledger, (!self.is_filled).then_some(self.pipe))
    }
}

fn refused(failure: ReadFailure) -> Refusal {
    match failure {
        ReadFailure::Timeout => Code::BodyTimeout,
        ReadFailure::Broken => Code::BodyAborted,
        ReadFailure::NotDecoded => Code::BodyInvalid,
        ReadFailure::TooLarge => Code::BodyTooLarge,
    }
    .into()
}

/// How many values are sealed before others on this worker get their turn.
const SLOTS_AT_ONCE: usize = 128;

/// What is larger could be stored and never be read again.
fn too_large_sealed() -> Refusal {
    Refusal::with_detail(Code::BodyTooLarge, "sealed, it exceeds response_bytes_max")
}

/// What becomes of a body, as far as it was read. Places are those in the whole of it.
#[derive(Default)]
pub(super) struct Changes {
    /// Whether the rewriter makes them itself: it has something to check of what takes a value's place.
    in_place: bool,
    /// How much of the body was given away.
    base: u64,
    edits: Vec<(Range<u64>, Vec<u8>)>,
    /// The values that go into extensions, with the tokens.
    moved: Vec<(Member, Range<u64>, Vec<u8>)>,
    /// The same in XML, by the start of the primitive.
    moved_in_xml: Vec<(u64, Range<u64>, Vec<u8>)>,
    /// Where the objects beside such values start.
    beside: HashMap<Member, u64>,
    /// The objects that carry a sealed value.
    carriers: HashSet<Member>,
}

/// The rule that selects a member, and the object that it stands in.
type Member = (Option<usize>, Option<u64>);

fn member(slot: &Slot<'_>) -> Member {
    (slot.rule(), slot.around(0))
}

impl Changes {
    fn of(media: &Media) -> Self {
        Self { in_place: matches!(media.format, Format::Multipart(_) | Format::File(_)), ..Self::default() }
    }

    fn add(&mut self, slot: &Slot<'_>, written: Vec<u8>) {
        match slot.role() {
            Role::Primitive if slot.escape() == Escape::Json => {
                self.moved.push((member(slot), slot.range(), written));
            }
            Role::Primitive => self.moved_in_xml.push((slot.around(0).unwrap_or_default(), slot.range(), written)),
            Role::Value | Role::Companion | Role::Carried => self.edits.push((slot.range(), written)),
        }
    }

    /// Makes those of the next part of the body.
    pub(super) fn make(&mut self, part: &[u8]) -> Result<Vec<u8>, Refusal> {
        let base = self.base;
        let end = base + part.len() as u64;
        let place = |at: u64| at.checked_sub(base).and_then(|at| usize::try_from(at).ok()).ok_or(Code::Internal);
        let mut edits = Edits::default();
        for (range, with) in self.edits.extract_if(.., |(range, _)| range.end <= end) {
            edits.replace(place(range.start)?..place(range.end)?, with);
        }
        for (member, value, token) in self.moved.extract_if(.., |(_, range, _)| range.end <= end) {
            let beside = self.beside.get(&member).map(|at| place(*at)).transpose()?;
            extension::put_away(part, &(place(value.start)?..place(value.end)?), beside, &token, &mut edits)?;
        }
        for (primitive, value, token) in self.moved_in_xml.extract_if(.., |(_, range, _)| range.end <= end) {
            let at = (place(primitive)?, &(place(value.start)?..place(value.end)?));
            extension::put_away_in_xml(part, at, &token, &mut edits)?;
        }
        self.beside.retain(|_, at| *at >= end);
        self.carriers.retain(|(_, at)| at.is_some_and(|at| at >= end));
        self.base = end;
        edits.make(part).ok_or_else(|| Code::Internal.into())
    }
}
