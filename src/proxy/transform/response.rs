//! A response on its way to the client: planned first, which says what would be shown; carried out with the receipt for
//! the record of that.

use super::super::Gate;
use super::super::media::Media;
use super::super::rescue::{Code, Refusal};
use super::super::route::Route;
use super::super::rule::Protected;
use super::super::trail::Trail;
use super::super::upstream::Target;
use super::bind::{Binds, Bound, borrowed};
use super::inner::{self, Whole};
use super::judge::{judge, stray};
use super::mark::{Seen, UNOPENABLE, absent};
use super::{ReadFailure, is_identity, read, unfinished};
use crate::audit::Receipt;
use crate::audit::event::FieldAction;
use crate::document::{Escape, Fault, Limits, Step};
use crate::keyring::{Held, KeyringError};
use crate::policy::Permit;
use crate::seal::format::{Alphabet, FormatKey};
use crate::seal::token::holds_token;
use crate::seal::{Class, Context, Envelope, Kind, Scope, UnwrappedKey};
use crate::view::{MaskRule, REDACTED, mask};
use bytes::Bytes;
use http::header::HeaderMap;
use hyper::body::Incoming;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use tokio::time::Instant;

type Opening = Arc<Held<Arc<UnwrappedKey>>>;

/// A body that was understood, and what is to take the place of what.
#[derive(Default)]
pub(in crate::proxy) struct Plan {
    body: Bytes,
    media: Option<Media>,
    edits: Vec<Edit>,
    /// What is done with every ruled value, also with those that stay.
    fields: Vec<(Class, FieldAction)>,
    keys: Vec<Opening>,
}

struct Edit {
    range: Range<usize>,
    /// How what takes its place is written.
    escape: Escape,
    /// Its index in `fields`.
    field: usize,
    shown: Shown,
    otherwise: Otherwise,
}

/// What becomes of a value that cannot be opened.
pub(super) enum Otherwise {
    /// Nothing is shown at all; the text names the rule.
    Refuse(String),
    /// It is marked.
    Mark,
    /// It stays sealed, for no rule stands there.
    Keep,
}

pub(super) enum Shown {
    /// What stands there.
    Kept,
    /// A fixed text.
    Redacted,
    /// A mark.
    Unopenable,
    /// What a token holds.
    Opened { envelope: Box<Envelope>, bound: Bound, mask: Option<MaskRule>, key: Option<Opening> },
    /// What a text of a format stands for.
    Formatted { class: Class, alphabet: Alphabet, text: Vec<u8>, mask: Option<MaskRule>, key: Option<Arc<FormatKey>> },
    /// What the upstream has in the clear, masked: the value's text as it stands in the body.
    Masked { rule: MaskRule, kind: Kind, text: Vec<u8> },
}

/// What an exchange may open, and by what.
#[derive(Clone, Copy)]
pub(in crate::proxy) struct About<'a> {
    pub(in crate::proxy) route: &'a Route,
    pub(in crate::proxy) protected: &'a Protected,
    pub(in crate::proxy) permit: &'a Permit,
    /// The path of the request.
    pub(in crate::proxy) path: &'a str,
}

/// Reads the upstream's body and plans what the caller gets of it; asks for every key that it takes, and makes sure that
/// every token that is to be opened does.
///
/// # Errors
/// [`Refusal`]; the body is withheld then.
pub(in crate::proxy) async fn plan(
    gate: &Gate,
    about: About<'_>,
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
    let media = Media::of(headers).filter(|_| is_identity(headers)).ok_or(Code::ResponseNotUnderstood)?;
    let mut plan = Plan { body, ..Plan::default() };
    plan.find(gate, about, &media)?;
    let whole = plan.unwrap_all(gate, about.permit.scope()).await?;
    plan.withhold_inner(about, &media, &whole)?;
    plan.media = Some(media);
    Ok(plan)
}

impl Plan {
    /// Tells the trail what will be shown, and by which keys.
    pub(in crate::proxy) fn tell(&self, trail: &mut Trail) {
        for (class, action) in &self.fields {
            trail.field(*class, *action);
        }
        for held in &self.keys {
            trail.key(held.key.id(), held);
        }
    }

    /// Writes the body that the client gets. The receipt is proof that the record of it is durable.
    ///
    /// # Errors
    /// None that [`plan`] has not met before.
    pub(in crate::proxy) fn carry_out(self, _receipt: &Receipt) -> Result<Bytes, Refusal> {
        let is_fhir = self.media.is_some_and(|media| media.fhir);
        let (body, mut at) = (self.body, 0);
        let mut seen = Seen::new();
        let mut out = Vec::with_capacity(body.len());
        for edit in self.edits {
            let (mut range, mut replacement) = (edit.range, Vec::new());
            match edit.shown {
                Shown::Kept => continue,
                Shown::Unopenable => match is_fhir.then(|| absent(&body, &range, &mut seen)).flatten() {
                    Some(instead) => (range, replacement) = instead,
                    None => written(edit.escape, UNOPENABLE, &mut replacement)?,
                },
                shown => shown.write(edit.escape, &mut replacement)?,
            }
            out.extend_from_slice(body.get(at..range.start).ok_or_else(unfinished)?);
            out.extend_from_slice(&replacement);
            at = range.end;
        }
        if at == 0 {
            return Ok(body);
        }
        out.extend_from_slice(body.get(at..).ok_or_else(unfinished)?);
        Ok(out.into())
    }

    fn find(&mut self, gate: &Gate, about: About<'_>, media: &Media) -> Result<(), Refusal> {
        let protected = about.protected;
        // A token is longer than the value that it holds: the body's own limit is the one that counts.
        let limits = Limits { value_bytes_max: gate.limits.response_bytes_max, ..gate.limits.document.clone() };
        let binds = Binds::read(protected, (about.route, about.path), (&media.format, &limits), &self.body)
            .map_err(|error| Refusal::with_detail(Code::ResponseNotUnderstood, error.to_string()))?;
        let watch = protected.opens_anywhere.is_some().then_some(holds_token as fn(&[u8]) -> bool);
        let mut rewriter = protected.formats.rewriter(&media.format, limits, watch);
        rewriter.feed(&self.body);
        rewriter.finish();
        loop {
            match rewriter.step().map_err(|fault| not_understood(&fault))? {
                Step::Slot => {
                    let slot = rewriter.slot().ok_or_else(unfinished)?;
                    let place = |at: u64| usize::try_from(at).map_err(|_| Code::Internal);
                    let range = place(slot.range().start)?..place(slot.range().end)?;
                    let rule = slot.rule().and_then(|index| protected.fields.get(index));
                    let (judged, otherwise) = match rule {
                        None => (stray(about, &slot), Otherwise::Keep),
                        Some(rule) => judge(about, rule, &binds, &slot)?,
                    };
                    if let Some((class, action, shown)) = judged {
                        self.fields.push((class, action));
                        let field = self.fields.len() - 1;
                        self.edits.extend(shown.map(|shown| Edit {
                            range,
                            escape: slot.escape(),
                            field,
                            shown,
                            otherwise,
                        }));
                    }
                    rewriter.keep();
                }
                Step::Done => return Ok(()),
                Step::NeedInput => return Err(unfinished()),
            }
        }
    }

    /// Gets the key of everything that is to be opened, each key once, several at a time, and opens it, to see whether it
    /// does before the record says that it is shown. Gives the edits that show an object or array as it is.
    async fn unwrap_all(&mut self, gate: &Gate, scope: Scope) -> Result<Vec<usize>, Refusal> {
        let mut wanted: HashMap<(&str, &[u8]), usize> = HashMap::new();
        let mut envelopes = Vec::new();
        let mut places = Vec::with_capacity(self.edits.len());
        for edit in &self.edits {
            places.push(if let Shown::Opened { envelope, .. } = &edit.shown {
                let place = *wanted.entry(named(envelope)).or_insert(envelopes.len());
                if place == envelopes.len() {
                    envelopes.push(&**envelope);
                }
                Some(place)
            } else {
                None
            });
        }
        let opened = gate.opening_keys(&envelopes).await?;
        let formats = self.edits.iter().any(|edit| matches!(edit.shown, Shown::Formatted { .. }));
        let format_key = if formats { Some(gate.format_key(scope).await) } else { None };
        let mut whole = Vec::new();
        for (number, (edit, place)) in self.edits.iter_mut().zip(places).enumerate() {
            let result = match (&edit.shown, place) {
                (Shown::Opened { .. }, Some(place)) => opened.get(place).cloned(),
                (Shown::Formatted { .. }, _) => format_key.clone(),
                _ => None,
            };
            let Some(result) = result else { continue };
            let tried = match result {
                // Whoever keeps keys is at fault then, not this one: trying again may help, and no mark must hide it.
                Err(error) if !error.is_about_the_key() => return Err(error.into()),
                Err(error) => Err(unopenable(error)),
                Ok(key) => edit.shown.take_key(&key, scope),
            };
            match tried {
                Ok(true) => whole.push(number),
                Ok(false) => {}
                Err(refusal) => edit.give_up(refusal, &mut self.fields)?,
            }
        }
        self.keys = opened.into_iter().chain(format_key).filter_map(Result::ok).collect();
        Ok(whole)
    }

    /// Treats as unopenable what holds a value that the caller may not see so. Not redacted: who sees the outer class plain
    /// may write it, and nothing would keep the redaction from being written back.
    fn withhold_inner(&mut self, about: About<'_>, media: &Media, whole: &[usize]) -> Result<(), Refusal> {
        let mut wholes = Vec::with_capacity(whole.len());
        for number in whole {
            if let Some(Edit { range, shown: Shown::Opened { envelope, bound, key: Some(held), .. }, .. }) =
                self.edits.get(*number)
            {
                let bind = borrowed(bound);
                let value = held.key.open((**envelope).clone(), &context(envelope, &bind));
                let value = value.map_err(|_| Code::ResponseUnopenable)?;
                wholes.push(Whole { edit: *number, class: envelope.head().class, range: range.clone(), value });
            }
        }
        for (number, class) in inner::hidden(about, media, &self.body, &wholes)? {
            let refusal = Refusal::from(Code::ResponseUnopenable).because(format!("a value of class {class} in it"));
            if let Some(edit) = self.edits.get_mut(number) {
                edit.give_up(refusal, &mut self.fields)?;
            }
        }
        Ok(())
    }
}

impl Edit {
    /// What becomes of it if it does not open, or must not.
    fn give_up(&mut self, refusal: Refusal, fields: &mut [(Class, FieldAction)]) -> Result<(), Refusal> {
        let (action, shown) = match &self.otherwise {
            Otherwise::Refuse(field) => return Err(Refusal { detail: Some(field.clone()), ..refusal }),
            Otherwise::Keep => (FieldAction::Left, Shown::Kept),
            Otherwise::Mark => (FieldAction::Unopenable, Shown::Unopenable),
        };
        tracing::warn!(cause = refusal.cause, "a token does not open");
        self.shown = shown;
        if let Some((_, done)) = fields.get_mut(self.field) {
            *done = action;
        }
        Ok(())
    }
}

/// What tells the data keys of envelopes of one scope apart.
fn named(envelope: &Envelope) -> (&'static str, &[u8]) {
    (envelope.head().suite.purpose().as_str(), envelope.key_bytes())
}

fn context<'a>(envelope: &Envelope, bind: &'a [(&'a str, &'a [u8])]) -> Context<'a> {
    Context { class: envelope.head().class, scope: envelope.head().scope, bind }
}

impl Shown {
    /// Takes the key that opens it, if it does. Says whether that shows an object or array as it is.
    fn take_key(&mut self, held: &Opening, at: Scope) -> Result<bool, Refusal> {
        let because = |error: &dyn std::fmt::Display| Refusal::from(Code::ResponseUnopenable).because(error);
        match self {
            Self::Opened { envelope, bound, mask, key } => {
                let bind = borrowed(bound);
                let value = held.key.open((**envelope).clone(), &context(envelope, &bind));
                let value = value.map_err(|error| because(&error))?;
                *key = Some(Arc::clone(held));
                let is_whole =
                    value.kind() == Kind::Literal && matches!(value.expose().trim_ascii_start(), [b'{' | b'[', ..]);
                Ok(is_whole && mask.is_none())
            }
            Self::Formatted { class, alphabet, text, key, .. } => {
                let format_key = held.key.format_key(*class, at, *alphabet).map_err(|_| Code::Internal)?;
                format_key.open(text).map_err(|error| because(&error))?;
                *key = Some(format_key);
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    fn write(self, escape: Escape, out: &mut Vec<u8>) -> Result<(), Refusal> {
        match self {
            Self::Kept | Self::Unopenable => Err(Code::Internal.into()),
            Self::Redacted => written(escape, REDACTED.as_bytes(), out),
            Self::Masked { rule, kind, text } => written(escape, mask(rule, kind, &text).as_bytes(), out),
            Self::Opened { envelope, bound, mask: rule, key } => {
                let (key, bind) = (key.ok_or(Code::Internal)?, borrowed(&bound));
                let context = context(&envelope, &bind);
                let value = key.key.open(*envelope, &context).map_err(|_| Code::ResponseUnopenable)?;
                match (rule, value.kind()) {
                    (Some(rule), kind) => written(escape, mask(rule, kind, value.expose()).as_bytes(), out),
                    (None, Kind::Text) => written(escape, value.expose(), out),
                    (None, Kind::Literal) => escape.literal(value.expose(), out).map_err(|_| not_writable()),
                }
            }
            Self::Formatted { text, mask: rule, key, .. } => {
                let value = key.ok_or(Code::Internal)?.open(&text).map_err(|_| Code::ResponseUnopenable)?;
                match rule {
                    Some(rule) => written(escape, mask(rule, Kind::Text, &value).as_bytes(), out),
                    None => written(escape, &value, out),
                }
            }
        }
    }
}

fn written(escape: Escape, text: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
    escape.text(text, out).map_err(|_| not_writable())
}

fn not_writable() -> Refusal {
    Refusal::from(Code::ResponseUnopenable).because("a value that the format cannot hold at its place")
}

pub(super) fn not_understood(fault: &Fault) -> Refusal {
    Refusal::with_detail(Code::ResponseNotUnderstood, fault.to_string())
}

/// A token whose key is refused, retired, revoked or gone is the response's fault, not the caller's.
fn unopenable(error: KeyringError) -> Refusal {
    Refusal { code: Code::ResponseUnopenable, ..error.into() }
}
