//! A response on its way to the client: planned first, which says what would be shown; carried out with the receipt for
//! the record of that.

use super::super::Gate;
use super::super::rescue::{Code, Refusal};
use super::super::route::{FieldRule, Protected};
use super::super::trail::Trail;
use super::super::upstream::Target;
use super::{ReadFailure, is_identity, is_json, overlaps, read, unfinished};
use crate::audit::Receipt;
use crate::audit::event::FieldAction;
use crate::document::json::{self, Fault, Kind as JsonKind, Rewriter, Slot, Step, quote};
use crate::keyring::{Held, KeyringError};
use crate::policy::{Permit, View};
use crate::seal::token::{holds_token, starts_as_token};
use crate::seal::{Class, Context, Envelope, KeyId, Kind, Token, UnwrappedKey};
use crate::view::{MaskRule, REDACTED, mask};
use bytes::Bytes;
use http::header::HeaderMap;
use hyper::body::Incoming;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use tokio::time::Instant;

/// A body that was understood, and what is to take the place of what.
#[derive(Default)]
pub(in crate::proxy) struct Plan {
    body: Bytes,
    edits: Vec<Edit>,
    /// What is done with every ruled value, also with those that stay.
    fields: Vec<(Class, FieldAction)>,
    keys: Vec<Arc<Held<Arc<UnwrappedKey>>>>,
}

struct Edit {
    range: Range<usize>,
    shown: Shown,
}

enum Shown {
    /// A fixed text.
    Redacted,
    /// What a token holds.
    Opened { envelope: Box<Envelope>, mask: Option<MaskRule>, key: Option<Arc<Held<Arc<UnwrappedKey>>>> },
    /// What the upstream has in the clear, masked: the value's text as it stands in the body.
    Masked { rule: MaskRule, kind: Kind, text: Vec<u8> },
}

/// Reads the upstream's body and plans what the caller gets of it; asks for every key that it takes, and makes sure that
/// every token that is to be opened does.
///
/// # Errors
/// [`Refusal`]; the body is withheld then.
pub(in crate::proxy) async fn plan(
    gate: &Gate,
    protected: &Protected,
    permit: &Permit,
    target: &Target,
    (headers, body): (&HeaderMap, Incoming),
) -> Result<Plan, Refusal> {
    let until = Instant::now() + target.response_timeout;
    let body = read(body, gate.limits.response_bytes_max, until).await.map_err(|failure| match failure {
        ReadFailure::TooLarge => Code::ResponseTooLarge,
        ReadFailure::Timeout => Code::UpstreamTimeout,
        ReadFailure::Broken => Code::UpstreamFailed,
    })?;
    if body.is_empty() {
        return Ok(Plan::default());
    }
    if !is_json(headers) || !is_identity(headers) {
        return Err(Code::ResponseNotUnderstood.into());
    }
    let mut plan = Plan { body, ..Plan::default() };
    plan.find(gate, protected, permit)?;
    plan.unwrap_all(gate).await?;
    Ok(plan)
}

impl Plan {
    /// Tells the trail what will be shown, and by which keys.
    pub(in crate::proxy) fn tell(&self, trail: &mut Trail) {
        for (class, action) in &self.fields {
            trail.field(*class, *action);
        }
        for held in &self.keys {
            trail.key(held.key.id(), &held.call);
        }
    }

    /// Writes the body that the client gets. The receipt is proof that the record of it is durable.
    ///
    /// # Errors
    /// None that [`plan`] has not met before.
    pub(in crate::proxy) fn carry_out(self, _receipt: &Receipt) -> Result<Bytes, Refusal> {
        if self.edits.is_empty() {
            return Ok(self.body);
        }
        let mut out = Vec::with_capacity(self.body.len());
        let mut at = 0;
        for edit in self.edits {
            out.extend_from_slice(self.body.get(at..edit.range.start).ok_or_else(unfinished)?);
            edit.shown.write(&mut out)?;
            at = edit.range.end;
        }
        out.extend_from_slice(self.body.get(at..).ok_or_else(unfinished)?);
        Ok(out.into())
    }

    fn find(&mut self, gate: &Gate, protected: &Protected, permit: &Permit) -> Result<(), Refusal> {
        // A token is longer than the value that it holds: the body's own limit is the one that counts.
        let limits = json::Limits { value_bytes_max: gate.limits.response_bytes_max, ..gate.limits.json.clone() };
        let mut rewriter = Rewriter::new(protected.automaton.clone(), limits, None);
        rewriter.feed(&self.body);
        rewriter.finish();
        loop {
            match rewriter.step().map_err(|fault| not_understood(&fault))? {
                Step::Slot => {
                    let slot = rewriter.slot().ok_or_else(unfinished)?;
                    let rule = slot.rule().and_then(|index| protected.fields.get(index)).ok_or(Code::Internal)?;
                    let judged = judge(protected, rule, permit, &slot)
                        .map_err(|refusal| Refusal { detail: Some(format!("field {}", rule.path)), ..refusal })?;
                    if let Some((action, shown)) = judged {
                        self.fields.push((rule.class, action));
                        let place = |at: u64| usize::try_from(at).map_err(|_| Code::Internal);
                        let range = place(slot.range().start)?..place(slot.range().end)?;
                        self.edits.extend(shown.map(|shown| Edit { range, shown }));
                    }
                    rewriter.keep();
                }
                Step::Done => return Ok(()),
                Step::NeedInput => return Err(unfinished()),
            }
        }
    }

    /// Gets the key of every token that is to be opened, each key once, several at a time.
    async fn unwrap_all(&mut self, gate: &Gate) -> Result<(), Refusal> {
        let mut wanted: HashMap<KeyId, &Envelope> = HashMap::new();
        for edit in &self.edits {
            if let Shown::Opened { envelope, .. } = &edit.shown {
                wanted.entry(envelope.head().key_id).or_insert(envelope);
            }
        }
        let (ids, envelopes): (Vec<KeyId>, Vec<&Envelope>) = wanted.into_iter().unzip();
        self.keys = gate.opening_keys(&envelopes).await.map_err(unopenable)?;
        let held: HashMap<KeyId, _> = ids.into_iter().zip(&self.keys).collect();
        for edit in &mut self.edits {
            if let Shown::Opened { envelope, key, .. } = &mut edit.shown {
                let held = held.get(&envelope.head().key_id).ok_or(Code::Internal)?;
                // Before the record says that it is shown.
                let unopenable = |error| Refusal::from(Code::ResponseUnopenable).because(error);
                held.key.authenticate(envelope, &context(envelope)).map_err(unopenable)?;
                *key = Some(Arc::clone(held));
            }
        }
        Ok(())
    }
}

/// The context that [`judge`] has found the envelope to be in its place with.
const fn context(envelope: &Envelope) -> Context<'static> {
    Context { class: envelope.head().class, scope: envelope.head().scope, bind: &[] }
}

impl Shown {
    fn write(self, out: &mut Vec<u8>) -> Result<(), Refusal> {
        match self {
            Self::Redacted => out.extend_from_slice(REDACTED),
            Self::Masked { rule, kind, text } => mask(rule, kind, &text, out),
            Self::Opened { envelope, mask: rule, key } => {
                let key = key.ok_or(Code::Internal)?;
                let at = context(&envelope);
                let value = key.key.open(*envelope, &at).map_err(|_| Code::ResponseUnopenable)?;
                match (rule, value.kind()) {
                    (Some(rule), kind) => mask(rule, kind, value.expose(), out),
                    (None, Kind::Text) => quote(value.expose(), out),
                    (None, Kind::Literal) => out.extend_from_slice(value.expose()),
                }
            }
        }
        Ok(())
    }
}

fn not_understood(fault: &Fault) -> Refusal {
    Refusal::with_detail(Code::ResponseNotUnderstood, fault.to_string())
}

/// What is done with a ruled value, and what the caller gets instead of it; an inner `None`: it stays.
fn judge(
    protected: &Protected,
    rule: &FieldRule,
    permit: &Permit,
    slot: &Slot<'_>,
) -> Result<Option<(FieldAction, Option<Shown>)>, Refusal> {
    let view = permit.view(rule.class);
    match (slot.kind(), slot.text()) {
        (JsonKind::Null, _) | (JsonKind::Text, Some([])) => Ok(None),
        (JsonKind::Text, Some(text)) if starts_as_token(text) => {
            let envelope = Token::read(text).map_err(|error| Refusal::from(Code::ResponseUnopenable).because(error))?;
            if envelope.head().class != rule.class {
                let cause = format!("token: class {}, wanted {}", envelope.head().class, rule.class);
                return Err(Refusal::from(Code::ResponseUnopenable).because(cause));
            }
            if envelope.head().scope != permit.scope() {
                let cause = format!("token: scope {}, wanted {}", envelope.head().scope, permit.scope());
                return Err(Refusal::from(Code::ResponseUnopenable).because(cause));
            }
            let opened = |mask| Shown::Opened { envelope: Box::new(envelope), mask, key: None };
            let shown = match view {
                View::Plain => Some(opened(None)),
                View::Mask => Some(opened(Some(rule.mask))),
                View::Redact | View::Deny => Some(Shown::Redacted),
                View::Sealed => None,
            };
            Ok(Some((FieldAction::of_view(view), shown)))
        }
        // Not one token, but tokens in it, which nobody may take for a value in the clear.
        (JsonKind::Text, Some(text)) if holds_token(text) => {
            Err(Refusal::from(Code::ResponseUnopenable).because("token: in a longer text"))
        }
        _ if !protected.shows_unsealed || overlaps(protected, rule, slot) => Err(Code::ResponseUnsealed.into()),
        (_, text) => {
            let (kind, text) = text.map_or_else(|| (Kind::Literal, slot.raw()), |text| (Kind::Text, text));
            Ok(Some(match view {
                View::Plain => (FieldAction::Unsealed, None),
                View::Mask => {
                    let masked = Shown::Masked { rule: rule.mask, kind, text: text.to_vec() };
                    (FieldAction::Masked, Some(masked))
                }
                // Who sees tokens only must not see what is not one.
                View::Redact | View::Deny | View::Sealed => (FieldAction::Redacted, Some(Shown::Redacted)),
            }))
        }
    }
}

/// A token whose key is refused is the response's fault, not the caller's.
fn unopenable(error: KeyringError) -> Refusal {
    match error {
        KeyringError::Rejected { .. } | KeyringError::UnknownKek => {
            Refusal { code: Code::ResponseUnopenable, ..error.into() }
        }
        error => error.into(),
    }
}
