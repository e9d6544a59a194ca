//! A response on its way to the client: planned first, which says what would be shown; carried out with the receipt for
//! the record of that.

use super::super::headers;
use super::super::ledger::Ledger;
use super::super::media::Format;
use super::super::rescue::{Code, Refusal};
use super::super::route::Route;
use super::super::rule::Protected;
use super::super::upstream::Target;
use super::super::{Gate, Limits as Bounds};
use super::bind::{Binds, borrowed};
use super::coding::Coding;
use super::edit::Edit;
use super::edits::Edits;
use super::file;
use super::inner::{self, Whole};
use super::mark::Seen;
use super::reader::Document;
use super::removal::{Holds, remove};
use super::shown::{Opening, Shown, context};
use super::source::{ReadFailure, Source, Start};
use super::{unfinished, unopenable};
use crate::audit::Receipt;
use crate::audit::event::FieldAction;
use crate::document::{Fault, Limits, Resources, Watch};
use crate::policy::{Permit, View};
use crate::seal::token::{find_token, holds_token};
use crate::seal::{Class, Envelope, Scope};
use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::body::Incoming;
use std::collections::HashMap;
use tokio::time::Instant;

/// A body, or a part of one, that was understood, and what is to take the place of what.
#[derive(Default)]
pub(in crate::proxy) struct Plan {
    /// The part, and where it starts in the whole.
    pub(super) body: Bytes,
    pub(super) base: usize,
    pub(super) fhir: bool,
    /// What it holds, if values can be taken out of it.
    pub(super) holds: Option<Holds>,
    /// Header fields that hold something to be shown otherwise.
    pub(super) heads: Vec<(HeaderName, Bytes)>,
    pub(super) edits: Vec<Edit>,
    /// What is done with ruled values that stay as they are.
    pub(super) fields: Vec<(Class, FieldAction)>,
    /// What is done with the values that each rule met.
    pub(super) met: Vec<(usize, FieldAction)>,
    pub(super) resources: Resources,
    /// What separates its parts, if it is a form with files, with the dashes before it.
    boundary: Option<Vec<u8>>,
    keys: Vec<Opening>,
}

/// The rest of a body that is too long to be judged whole.
pub(in crate::proxy) struct Rest {
    pub(super) reader: Reader,
    pub(super) source: Source,
    /// How much of it was read, and whether that is all.
    pub(super) bytes: usize,
    pub(super) ended: bool,
}

/// What reads it.
pub(super) enum Reader {
    Document(Document),
    File(file::Reader),
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
) -> Result<(Plan, Option<Rest>), Refusal> {
    let mut plan = Plan::default();
    plan.find_in_headers(gate, about, headers)?;
    let Some(incoming) = body else {
        plan.unwrap_all(gate, about.permit.scope()).await?;
        return Ok((plan, None));
    };
    let coding = Coding::of(headers);
    let limits = &gate.limits;
    let media = about.protected.formats.media(headers);
    // What must be known of the whole body before any of it is shown is read whole: also whether an object would be empty.
    let holds = media.as_ref().and_then(|media| Holds::of(&media.format)).filter(|_| about.removes());
    if let Some(Format::Multipart(boundary)) = media.as_ref().map(|media| &media.format) {
        plan.boundary = Some(format!("--{boundary}").into_bytes());
    }
    let streams = about.protected.pairings.is_none() && holds != Some(Holds::One) && plan.boundary.is_none();
    let most = if streams { limits.buffer_bytes_max.min(limits.response_bytes_max) } else { limits.response_bytes_max };
    let until = Instant::now() + target.response_timeout;
    let mut source = Source::new(incoming, coding.unwrap_or(Coding::Identity), limits.response_bytes_max);
    let start = source.start(most, until).await.map_err(broken)?;
    let is_longer = !start.ended;
    if start.ended && start.bytes.is_empty() {
        plan.unwrap_all(gate, about.permit.scope()).await?;
        return Ok((plan, None));
    }
    if is_longer && most == limits.response_bytes_max {
        return Err(Code::ResponseTooLarge.into());
    }
    let (media, _) = media.zip(coding).ok_or(Code::ResponseNotUnderstood)?;
    if let Format::File(rule) = media.format {
        return plan.file(gate, (about, rule), (start, source), until).await;
    }
    let body = Bytes::from(start.bytes);
    let largest = largest(limits, &media.format, (!is_longer).then_some(body.len()));
    let binds = Binds::of_path(about.route, about.path);
    let binds = if is_longer {
        binds
    } else {
        Binds::read(about.protected, (about.route, about.path), (&media.format, &largest), &body)
            .map_err(|error| Refusal::with_detail(Code::ResponseNotUnderstood, error.to_string()))?
    };
    let watch = about.protected.opens_anywhere.is_some().then_some(Watch::marked(holds_token, find_token));
    let rewriter = about.protected.formats.reader(&media.format, largest, watch);
    let rewriter = rewriter.ok_or(Code::ResponseNotUnderstood)?;
    let mut reader = Document::begin(rewriter, media, !is_longer, holds);
    reader.rewriter.feed(&body);
    if !is_longer {
        reader.rewriter.finish();
    }
    let is_done = reader.read(about, &binds, &mut plan)?;
    if is_done == is_longer {
        return Err(unfinished());
    }
    if !is_longer {
        plan.body = body;
    }
    plan.ready(gate, about, &reader).await?;
    let bytes = reader.base;
    Ok((plan, is_longer.then(|| Rest { reader: Reader::Document(reader), source, bytes, ended: false })))
}

/// The limits of a body, by its length if that is known. What was within the limits of a request is longer now: a token by less than
/// twice, keys and padding apart, an object by as many tokens as there are values in it.
fn largest(limits: &Bounds, format: &Format, length: Option<usize>) -> Limits {
    const AROUND: usize = 256 << 10;
    let document = limits.document.clone();
    let value_bytes_max = document.value_bytes_max.saturating_mul(2).saturating_add(AROUND);
    // In XML elements are held by the limit of values.
    let streamed = if *format == Format::Xml { limits.response_bytes_max } else { value_bytes_max };
    let value_bytes_max = length.unwrap_or_else(|| streamed.max(limits.buffer_bytes_max));
    Limits { value_bytes_max, object_bytes_max: limits.response_bytes_max, ..document }
}

pub(super) fn broken(failure: ReadFailure) -> Refusal {
    match failure {
        ReadFailure::Timeout => Code::UpstreamTimeout,
        ReadFailure::Broken => Code::UpstreamFailed,
        ReadFailure::NotDecoded => Code::ResponseNotUnderstood,
        ReadFailure::TooLarge => Code::ResponseTooLarge,
    }
    .into()
}

impl About<'_> {
    /// Whether values are taken out of what the caller sees.
    fn removes(&self) -> bool {
        let anywhere = self.protected.opens_anywhere.iter().flat_map(|all| all.iter().map(|rule| rule.class));
        self.protected.classes.iter().copied().chain(anywhere).any(|class| self.permit.view(class) == View::Remove)
    }
}

impl Plan {
    /// Begins to open a body that a rule takes whole.
    async fn file(
        mut self,
        gate: &Gate,
        (about, number): (About<'_>, usize),
        (mut start, mut source): (Start, Source),
        until: Instant,
    ) -> Result<(Self, Option<Rest>), Refusal> {
        let rule = about.protected.field(number).ok_or(Code::Internal)?;
        let binds = Binds::of_path(about.route, about.path);
        let begun = file::begin(gate, (about, rule, &binds), (&mut start, &mut source), until).await;
        let begun = begun.map_err(|refusal| refusal.at("body", &rule.place))?;
        self.unwrap_all(gate, about.permit.scope()).await?;
        self.fields.push((rule.class.class, begun.action));
        self.met.push((number, begun.action));
        self.keys.extend(begun.key);
        let bytes = begun.shown.len();
        self.body = begun.shown.into();
        let reader = Reader::File(begun.reader);
        Ok((self, (!start.ended).then_some(Rest { reader, source, bytes, ended: false })))
    }

    /// Asks for every key that it takes, and makes sure that what is to be opened does.
    pub(super) async fn ready(&mut self, gate: &Gate, about: About<'_>, reader: &Document) -> Result<(), Refusal> {
        let whole = self.unwrap_all(gate, about.permit.scope()).await?;
        self.withhold_inner(about, reader, &whole)
    }

    /// What will be shown, and by which keys.
    pub(in crate::proxy) fn ledger(&self) -> Ledger {
        let mut ledger = Ledger { resources: self.resources.clone(), ..Ledger::default() };
        let edits = self.edits.iter().map(|edit| &edit.told);
        for (class, action) in self.fields.iter().chain(edits) {
            ledger.field(*class, *action);
        }
        self.met.iter().for_each(|(rule, action)| ledger.met(Some(*rule), *action));
        for held in &self.keys {
            ledger.key(held.key.id(), held);
        }
        ledger
    }

    /// Writes the body that the client gets, and changes the header fields. The receipt is proof that the record of it is durable.
    ///
    /// # Errors
    /// None that [`plan`] has not met before.
    pub(in crate::proxy) fn carry_out(mut self, headers: &mut HeaderMap, _receipt: &Receipt) -> Result<Bytes, Refusal> {
        let is_fhir = self.fhir;
        let mut of_body = Edits::default();
        let mut of_heads: Vec<Edits> = self.heads.iter().map(|_| Edits::default()).collect();
        let (body, mut seen) = (self.body, Seen::new());
        let is_kept = self.edits.is_empty();
        if let Some(holds) = self.holds {
            let mut removed = Vec::new();
            for (number, edit) in self.edits.iter().enumerate() {
                removed.extend(edit.removes(&body)?.map(|range| (number, range)));
            }
            removed.sort_by_key(|(_, range)| range.start);
            let ranges: Vec<_> = removed.iter().map(|(_, range)| range.clone()).collect();
            remove(&body, holds, &ranges, &mut of_body)?;
            for (number, _) in removed {
                if let Some(edit) = self.edits.get_mut(number) {
                    edit.shown = Shown::Kept;
                }
            }
        }
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
                headers::replace(headers, &name, place, changed);
            }
        }
        if is_kept {
            return Ok(body);
        }
        of_body.make(&body).map(Bytes::from).ok_or_else(|| Code::Internal.into())
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
                Ok(key) => edit.shown.take_key(&key, scope, self.boundary.as_deref()),
            };
            match tried {
                Ok(true) => whole.push(number),
                Ok(false) => {}
                Err(refusal) => edit.give_up(refusal)?,
            }
        }
        self.keys = opened.into_iter().chain(format_key).filter_map(Result::ok).collect();
        self.unwrap_parts(gate).await?;
        Ok(whole)
    }

    /// The same of the files that are parts of the body.
    async fn unwrap_parts(&mut self, gate: &Gate) -> Result<(), Refusal> {
        for edit in &mut self.edits {
            let Shown::File(part) = &mut edit.shown else { continue };
            match part.take_key(gate, self.body.slice(edit.range.clone()), self.boundary.as_deref()).await {
                Ok(key) => self.keys.push(key),
                Err(refusal) if refusal.code != Code::ResponseUnopenable => return Err(refusal),
                Err(refusal) => edit.give_up(refusal)?,
            }
        }
        Ok(())
    }

    /// Treats as unopenable what holds a value that the caller may not see so. Not redacted: who sees the outer class plain
    /// may write it, and nothing would keep the redaction from being written back.
    fn withhold_inner(&mut self, about: About<'_>, reader: &Document, whole: &[usize]) -> Result<(), Refusal> {
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
        for (number, class) in inner::hidden(about, reader.whole.then_some(&reader.media), &self.body, &wholes)? {
            let refusal = Refusal::from(Code::ResponseUnopenable).because(format!("a value of class {class} in it"));
            if let Some(edit) = self.edits.get_mut(number) {
                edit.give_up(refusal)?;
            }
        }
        Ok(())
    }
}

/// What tells the data keys of envelopes of one scope apart.
fn named(envelope: &Envelope) -> (&'static str, &[u8]) {
    (envelope.head().suite.purpose().as_str(), envelope.key_bytes())
}

pub(super) fn not_understood(fault: &Fault) -> Refusal {
    Refusal::with_detail(Code::ResponseNotUnderstood, fault.to_string())
}
