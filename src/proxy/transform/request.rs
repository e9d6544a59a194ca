//! A request on its way to the upstream: ruled values are sealed, tokens are let through only from those who may send
//! them, and nothing leaves that was not understood.

use super::super::body::Body;
use super::super::headers;
use super::super::media::Media;
use super::super::rescue::{Code, Refusal};
use super::super::route::{Protection, Route};
use super::super::rule::{ClassRule, FieldRule, Form, Protected, Treatment};
use super::super::target;
use super::super::trail::Trail;
use super::super::{Gate, Limits};
use super::bind::{Binds, borrowed};
use super::coding::{Coding, NotDecoded};
use super::dress::{self, Worn};
use super::edits::Edits;
use super::extension;
use super::mark::{is_absence, is_mark};
use super::{ReadFailure, overlaps, read, unfinished};
use crate::audit::event::FieldAction;
use crate::document::{self, Escape, Kind as JsonKind, Place, Rewrite, Role, Slot, Step};
use crate::policy::{Permit, View};
use crate::seal::token::{holds_token, starts_as_token};
use crate::seal::{Context, Kind, SealError, Token, Workspace};
use crate::view::looks_hidden;
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
    head: &Parts,
    body: Incoming,
) -> Result<Body, Refusal> {
    let protected = match &route.protection {
        Protection::None if body.is_end_stream() => return Ok(Body::whole(Bytes::new())),
        Protection::None => return Ok(Body::inbound(body, gate.limits.body_timeout, trail.body_fault())),
        Protection::Rules(protected) => protected,
    };
    headers::judge(&head.headers)?;
    judge_target(protected, head)?;
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
    let binds = Binds::read(protected, (route, head.uri.path()), (&media.format, &whole), &bytes)?;
    let watch = |text: &[u8]| target::may_hold_token(text) || is_absence(text);
    let rewriter = protected.formats.rewriter(&media.format, whole, Some(watch)).ok_or(Code::ContentTypeUnsupported)?;
    let sealing = Sealing { gate, protected, permit, trail, binds, workspace: Workspace::new() };
    let sealed = sealing.document(rewriter, &bytes).await?;
    Ok(Body::whole(coding.encode(sealed).await.ok_or(Code::Internal)?))
}

/// Refuses what may hold PHI or a token in path and query: no rule reads them.
fn judge_target(protected: &Protected, head: &Parts) -> Result<(), Refusal> {
    if target::may_hold_token(head.uri.path().as_bytes()) {
        return Err(Refusal::with_detail(Code::TokenNotAccepted, "path"));
    }
    let Some(query) = head.uri.query() else { return Ok(()) };
    // Some servers take it for a separator.
    if query.contains(';') {
        return Err(Code::QueryNotAllowed.into());
    }
    if target::may_hold_token(query.as_bytes()) {
        return Err(Refusal::with_detail(Code::TokenNotAccepted, "query"));
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        // Compared as written: a name that needs an escape is in no list.
        if !protected.query_allowed.contains(name) {
            return Err(Code::QueryNotAllowed.into());
        }
    }
    Ok(())
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

/// How many data keys one value may see run out.
const KEYS_AT_MOST: usize = 16;

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

/// One document under way.
struct Sealing<'a> {
    gate: &'a Gate,
    protected: &'a Protected,
    permit: &'a Permit,
    trail: &'a mut Trail,
    binds: Binds<'a>,
    workspace: Workspace,
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

    /// What takes the slot's place; `None`: it stays.
    async fn judge(&mut self, slot: &Slot<'_>) -> Result<Option<Vec<u8>>, Refusal> {
        let rule = slot.rule().and_then(|index| self.protected.fields.get(index)?.as_ref());
        let Some(rule) = rule else {
            // A rule lets it pass: it is not watched, as what no rule selects is.
            if slot.rule().is_some()
                && !slot.text().is_some_and(|text| target::may_hold_token(text) || is_absence(text))
            {
                return Ok(None);
            }
            // No rule reads it, but it holds the start of a token, or says that one did not open.
            let text = slot.text().unwrap_or_default();
            if is_absence(text) {
                return Err(Refusal::with_detail(Code::FieldHidden, "a value that could not be opened is absent"));
            }
            if slot.place() == Place::Name {
                return Err(Code::TokenNotAccepted.into());
            }
            return self.accept_token(text, None, &[]).await.map(|()| None);
        };
        let about = |refusal: Refusal| Refusal { detail: Some(format!("field {}", rule.place)), ..refusal };
        if slot.holds_watched() {
            return Err(about(Code::TokenNotAccepted.into()));
        }
        if overlaps(self.protected, rule, slot) {
            return Err(about(Code::FieldOverlap.into()));
        }
        if slot.raw().len() > self.gate.limits.document.value_bytes_max {
            return Err(about(Code::BodyTooLarge.into()));
        }
        let class = rule.class.class;
        let (writes, view) = (self.permit.writes(class), self.permit.view(class));
        let (worn, text) = match slot.text().map(|text| Worn::off(rule.form_at(slot), text)) {
            Some((worn, text)) => (worn, Some(text)),
            None => (Worn::Bare, None),
        };
        match (slot.kind(), text.as_deref()) {
            // Whether there is a value is not hidden; but who may not write one may not erase one either. Those who see
            // tokens put back what they read.
            (JsonKind::Null, _) | (JsonKind::Text, Some([])) if writes || view == View::Sealed => Ok(None),
            (JsonKind::Text, Some(text)) if holds_token(text) => {
                let bound = self.binds.of(rule, slot).map_err(|error| about(error.into()))?;
                let accepted = self.accept_token(text, Some(rule), &borrowed(&bound)).await;
                accepted.map(|()| None).map_err(about)
            }
            _ if rule.form == Form::Extension && slot.escape() != Escape::Json => {
                Err(about(Code::ValueNotWritable.into()))
            }
            // A value in the clear has no business where sealed ones stand.
            _ if slot.role() == Role::Carried => Err(about(Code::TokenNotAccepted.into())),
            (_, text) => {
                // Who is shown a sealed value of a format cannot tell it from one in the clear: sealed twice it is lost.
                let is_shown_format = view == View::Sealed && rule.class.treatment.key().is_none();
                if !writes || is_shown_format {
                    return Err(about(Code::FieldNotWritable.into()));
                }
                let is_hidden = |text: &[u8]| is_mark(text) || (view != View::Plain && looks_hidden(text));
                if text.is_some_and(is_hidden) {
                    return Err(about(Code::FieldHidden.into()));
                }
                dress::check(rule.form_at(slot), slot.text().unwrap_or_default()).map_err(|code| about(code.into()))?;
                self.seal(rule, slot, (&worn, text)).await.map(Some).map_err(about)
            }
        }
    }

    /// `text`: of the slot's value, without what it wears.
    async fn seal(
        &mut self,
        rule: &FieldRule,
        slot: &Slot<'_>,
        (worn, text): (&Worn, Option<&[u8]>),
    ) -> Result<Vec<u8>, Refusal> {
        let (kind, value) = text.map_or((Kind::Literal, slot.raw()), |text| (Kind::Text, text));
        let class = &rule.class;
        let mut written = Vec::new();
        let mut write = |sealed: &[u8]| {
            let sealed = worn.on(sealed);
            rule.keeps(&sealed)?;
            slot.escape().text(&sealed, &mut written).map_err(|_| Code::ValueNotWritable)
        };
        match class.treatment {
            Treatment::Random { .. } => {
                let bound = self.binds.of(rule, slot)?;
                write(self.token(class, &borrowed(&bound), kind, value).await?.as_str().as_bytes())?;
            }
            Treatment::Deterministic { .. } => {
                let (kind, value) = class.treatment.canonical_in(slot, text)?;
                write(self.token(class, &[], kind, &value).await?.as_str().as_bytes())?;
            }
            Treatment::Format(alphabet) => {
                if kind != Kind::Text {
                    return Err(Code::ValueFormatMismatch.into());
                }
                let held = self.gate.format_key(self.permit.scope()).await?;
                let key =
                    held.key.format_key(class.class, self.permit.scope(), alphabet).map_err(|_| Code::Internal)?;
                write(key.seal(value)?.as_bytes())?;
                self.trail.key(held.key.id(), &held);
                self.trail.field(class.class, FieldAction::Sealed);
            }
        }
        Ok(written)
    }

    async fn token(
        &mut self,
        class: &ClassRule,
        bind: &[(&str, &[u8])],
        kind: Kind,
        value: &[u8],
    ) -> Result<Token, Refusal> {
        let context = Context { class: class.class, scope: self.permit.scope(), bind };
        let (suite, placement) = class.treatment.key().ok_or(Code::Internal)?;
        let manner = class.treatment.manner(kind).ok_or(Code::Internal)?;
        // A key whose budget runs out in the middle of a document is followed by another; others draw on that too.
        for _ in 0..KEYS_AT_MOST {
            let held = self.gate.sealing_key(context.scope, suite, placement).await?;
            match held.key.seal(&mut self.workspace, &context, manner, value) {
                Ok(token) => {
                    self.trail.field(class.class, FieldAction::Sealed);
                    self.trail.key(held.key.id(), &held);
                    return Ok(token);
                }
                Err(SealError::Exhausted) => continue,
                Err(_) => return Err(Code::Internal.into()),
            }
        }
        Err(Refusal::from(Code::KeyUnavailable).because("the budget of every key was spent at once"))
    }

    /// Lets a token through as it is: only from one who sees tokens of its class, only if it authenticates for where it
    /// stands. Anything else could make the gate open what was stolen.
    async fn accept_token(
        &mut self,
        text: &[u8],
        rule: Option<&FieldRule>,
        bind: &[(&str, &[u8])],
    ) -> Result<(), Refusal> {
        if !starts_as_token(text) {
            return Err(Code::TokenNotAccepted.into());
        }
        let envelope = Token::read(text)?;
        if self.permit.view(envelope.head().class) != View::Sealed {
            return Err(Code::TokenNotAccepted.into());
        }
        if rule.is_some_and(|rule| rule.class.class != envelope.head().class) {
            return Err(Code::TokenClassMismatch.into());
        }
        // No token stands for a value that keeps its format: whoever sees sealed values cannot write one.
        if rule.is_some_and(|rule| rule.class.treatment.key().is_none()) {
            return Err(Code::TokenNotAccepted.into());
        }
        if let Some(rule) = rule {
            rule.keeps(text)?;
        }
        if envelope.head().scope != self.permit.scope() {
            return Err(Code::TokenScopeMismatch.into());
        }
        let held = self.gate.opening_keys(&[&envelope]).await?.pop().ok_or(Code::Internal)??;
        let head = envelope.head();
        held.key.authenticate(&envelope, &Context { class: head.class, scope: head.scope, bind })?;
        self.trail.field(head.class, FieldAction::Left);
        self.trail.key(held.key.id(), &held);
        Ok(())
    }
}
