//! A response on its way to the client: planned first, which says what would be shown; carried out with the receipt for
//! the record of that.

use super::super::Gate;
use super::super::media::Media;
use super::super::rescue::{Code, Refusal};
use super::super::route::Route;
use super::super::rule::Protected;
use super::super::trail::Trail;
use super::super::upstream::Target;
use super::bind::{Binds, borrowed};
use super::coding::{Coding, NotDecoded};
use super::dress::Worn;
use super::edit::{Edit, Otherwise};
use super::edits::Edits;
use super::extension::Carried;
use super::inner::{self, Whole};
use super::judge::{judge, stray};
use super::links::{Link, links, location};
use super::mark::Seen;
use super::shown::{Opening, Shown, context};
use super::{ReadFailure, read, unfinished};
use crate::audit::Receipt;
use crate::audit::event::FieldAction;
use crate::document::{Escape, Fault, Limits, Role, Slot, Step};
use crate::keyring::KeyringError;
use crate::policy::Permit;
use crate::seal::token::holds_token;
use crate::seal::{Class, Envelope, Scope};
use bytes::Bytes;
use http::header::{CONTENT_LOCATION, HeaderMap, HeaderName, HeaderValue, LINK, LOCATION};
use hyper::body::Incoming;
use std::collections::HashMap;
use std::ops::Range;
use tokio::time::Instant;

/// A body that was understood, and what is to take the place of what.
#[derive(Default)]
pub(in crate::proxy) struct Plan {
    body: Bytes,
    media: Option<Media>,
    /// Header fields that hold something to be shown otherwise.
    heads: Vec<(HeaderName, Bytes)>,
    edits: Vec<Edit>,
    /// What is done with every ruled value, also with those that stay.
    fields: Vec<(Class, FieldAction)>,
    keys: Vec<Opening>,
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
    (headers, body): (&HeaderMap, Option<Incoming>),
) -> Result<Plan, Refusal> {
    let until = Instant::now() + target.response_timeout;
    let body = match body {
        None => Bytes::new(),
        Some(body) => read(body, gate.limits.response_bytes_max, until).await.map_err(|failure| match failure {
            ReadFailure::TooLarge => Code::ResponseTooLarge,
            ReadFailure::Timeout => Code::UpstreamTimeout,
            ReadFailure::Broken => Code::UpstreamFailed,
        })?,
    };
    let mut plan = Plan::default();
    plan.find_in_headers(gate, about, headers);
    if !body.is_empty() {
        let media = Media::of(headers).ok_or(Code::ResponseNotUnderstood)?;
        let coding = Coding::of(headers).ok_or(Code::ResponseNotUnderstood)?;
        plan.body = coding.decode(body, gate.limits.response_bytes_max).await.map_err(|error| match error {
            NotDecoded::Broken => Code::ResponseNotUnderstood,
            NotDecoded::TooLarge => Code::ResponseTooLarge,
        })?;
        plan.find(gate, about, &media)?;
        plan.media = Some(media);
    }
    let whole = plan.unwrap_all(gate, about.permit.scope()).await?;
    if let Some(media) = plan.media.clone() {
        plan.withhold_inner(about, &media, &whole)?;
    }
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

    /// Writes the body that the client gets, and changes the header fields. The receipt is proof that the record of it is durable.
    ///
    /// # Errors
    /// None that [`plan`] has not met before.
    pub(in crate::proxy) fn carry_out(self, headers: &mut HeaderMap, _receipt: &Receipt) -> Result<Bytes, Refusal> {
        let is_fhir = self.media.is_some_and(|media| media.fhir);
        let mut of_body = Edits::default();
        let mut of_heads: Vec<Edits> = self.heads.iter().map(|_| Edits::default()).collect();
        let (body, mut seen) = (self.body, Seen::new());
        let is_kept = self.edits.is_empty();
        for edit in self.edits {
            let edits = match edit.head {
                Some(head) => of_heads.get_mut(head).ok_or(Code::Internal)?,
                None => &mut of_body,
            };
            edit.make(&body, is_fhir.then_some(&mut seen), edits)?;
        }
        for ((name, value), edits) in self.heads.into_iter().zip(of_heads) {
            let changed = edits.make(&value).and_then(|value| HeaderValue::from_bytes(&value).ok());
            let changed = changed.ok_or_else(|| Refusal::from(Code::ResponseUnopenable).because("a header field"))?;
            if let Some(place) = headers.get_all(&name).iter().position(|known| known.as_bytes() == value) {
                replace(headers, &name, place, changed);
            }
        }
        if is_kept {
            return Ok(body);
        }
        of_body.make(&body).map(Bytes::from).ok_or_else(|| Code::Internal.into())
    }

    fn find_in_headers(&mut self, gate: &Gate, about: About<'_>, headers: &HeaderMap) {
        let ruled = about.protected.headers.iter().map(|(name, _)| name);
        for name in [LOCATION, CONTENT_LOCATION, LINK].iter().chain(ruled) {
            let is_url = [LOCATION, CONTENT_LOCATION, LINK].contains(name);
            for value in headers.get_all(name) {
                let found = if *name == LINK {
                    links(about, value.as_bytes())
                } else {
                    location(gate, about, value.as_bytes())
                };
                if !found.is_empty() {
                    self.heads.push((name.clone(), Bytes::copy_from_slice(value.as_bytes())));
                    let escape = if is_url { Escape::HtmlUrl } else { Escape::Plain };
                    self.add(Some(self.heads.len() - 1), 0, escape, found);
                }
            }
        }
    }

    /// Takes what was found in a URL that starts at `start`.
    fn add(&mut self, head: Option<usize>, start: usize, escape: Escape, found: Vec<Link>) {
        for Link { range, class, action, shown, again } in found {
            self.fields.push((class, action));
            self.edits.push(Edit {
                head,
                range: start + range.start..start + range.end,
                escape,
                worn: Worn::Bare,
                carried: None,
                field: self.fields.len() - 1,
                shown,
                again: again.map(|end| start + end),
                otherwise: Otherwise::Keep,
            });
        }
    }

    fn find(&mut self, gate: &Gate, about: About<'_>, media: &Media) -> Result<(), Refusal> {
        let protected = about.protected;
        // A token is longer than the value that it holds: the body's own limit is the one that counts.
        let limits = Limits { value_bytes_max: gate.limits.response_bytes_max, ..gate.limits.document.clone() };
        let binds = Binds::read(protected, (about.route, about.path), (&media.format, &limits), &self.body)
            .map_err(|error| Refusal::with_detail(Code::ResponseNotUnderstood, error.to_string()))?;
        let watch = protected.opens_anywhere.is_some().then_some(holds_token as fn(&[u8]) -> bool);
        let rewriter = protected.formats.reader(&media.format, limits, watch);
        let mut rewriter = rewriter.ok_or(Code::ResponseNotUnderstood)?;
        rewriter.feed(&self.body);
        rewriter.finish();
        loop {
            match rewriter.step().map_err(|fault| not_understood(&fault))? {
                Step::Slot => {
                    let slot = rewriter.slot().ok_or_else(unfinished)?;
                    let range = place_of(&slot)?;
                    if slot.role() == Role::Companion {
                        rewriter.keep();
                        continue;
                    }
                    if protected.is_expression(&slot) {
                        self.add(None, place_of(&slot)?.start, Escape::HtmlUrl, links(about, slot.raw()));
                        rewriter.keep();
                        continue;
                    }
                    let rule = slot.rule().and_then(|index| protected.field(index));
                    let (judged, otherwise) = match rule {
                        None => (stray(about, &slot), Otherwise::Keep),
                        Some(rule) => judge(about, rule, &binds, &slot)?,
                    };
                    if let Some((class, action, shown)) = judged {
                        self.fields.push((class, action));
                        let field = self.fields.len() - 1;
                        let carried = carried(&slot, &self.body)?;
                        let worn = rule
                            .zip(slot.text())
                            .map_or(Worn::Bare, |(rule, text)| Worn::off(rule.form_at(&slot), text).0);
                        self.edits.extend(shown.map(|shown| Edit {
                            head: None,
                            range,
                            escape: slot.escape(),
                            worn,
                            carried,
                            field,
                            shown,
                            again: None,
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
            if let Some(Edit {
                head: None, range, shown: Shown::Opened { envelope, bound, key: Some(held), .. }, ..
            }) = self.edits.get(*number)
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

fn place_of(slot: &Slot<'_>) -> Result<Range<usize>, Refusal> {
    let place = |at: u64| usize::try_from(at).map_err(|_| Code::Internal);
    Ok(place(slot.range().start)?..place(slot.range().end)?)
}

/// Puts a value in the place of one of several of that name.
fn replace(headers: &mut HeaderMap, name: &HeaderName, place: usize, value: HeaderValue) {
    let mut values: Vec<HeaderValue> = headers.get_all(name).iter().cloned().collect();
    if let Some(old) = values.get_mut(place) {
        *old = value;
    }
    headers.remove(name);
    for value in values {
        headers.append(name, value);
    }
}

/// What tells the data keys of envelopes of one scope apart.
fn named(envelope: &Envelope) -> (&'static str, &[u8]) {
    (envelope.head().suite.purpose().as_str(), envelope.key_bytes())
}

/// Where a sealed value in an extension is carried.
fn carried(slot: &Slot<'_>, body: &[u8]) -> Result<Option<Carried>, Refusal> {
    if slot.role() != Role::Carried {
        return Ok(None);
    }
    let start = |up| slot.around(up).and_then(|at| usize::try_from(at).ok());
    let carried = start(0).zip(start(1)).zip(start(2)).map(|((entry, list), beside)| Carried { entry, list, beside });
    let carried = carried.filter(|carried| body.get(carried.list) == Some(&b'['));
    carried.map(Some).ok_or_else(|| Refusal::from(Code::ResponseUnopenable).because("a sealed extension in no list"))
}

pub(super) fn not_understood(fault: &Fault) -> Refusal {
    Refusal::with_detail(Code::ResponseNotUnderstood, fault.to_string())
}

/// A token whose key is refused, retired, revoked or gone is the response's fault, not the caller's.
fn unopenable(error: KeyringError) -> Refusal {
    Refusal { code: Code::ResponseUnopenable, ..error.into() }
}
