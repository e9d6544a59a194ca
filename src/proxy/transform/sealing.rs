//! Values on their way to the upstream: which are sealed, which tokens are let through, which are refused.

use super::super::Gate;
use super::super::ledger::Ledger;
use super::super::media::{Format, Patching};
use super::super::rescue::{Code, Refusal};
use super::super::rule::{ClassRule, FieldRule, Form, Protected, Treatment};
use super::bind::{Binds, Bound, borrowed};
use super::dress::{self, Worn};
use super::mark::{is_absence, is_mark};
use super::overlaps;
use super::watch::is_watched;
use crate::audit::event::FieldAction;
use crate::document::{Escape, Kind as JsonKind, Piece, Place, Role, Slot, json};
use crate::policy::{Permit, View};
use crate::seal::stream::{MAGIC, StreamSealer};
use crate::seal::token::{holds_token, starts_as_token};
use crate::seal::{Context, Kind, SealError, Suite, Token, Workspace};
use crate::view::looks_hidden;
use std::collections::HashSet;

/// How many data keys one value may see run out.
const KEYS_AT_MOST: usize = 16;

/// One document under way.
pub(super) struct Sealing<'a> {
    pub(super) gate: &'a Gate,
    pub(super) protected: &'a Protected,
    pub(super) permit: &'a Permit,
    pub(super) ledger: Ledger,
    pub(super) binds: Binds<'a>,
    pub(super) workspace: Workspace,
    /// Whether it is a patch of a document that is sealed.
    pub(super) patches: Option<Patching>,
    /// What the body is made of, once that is known.
    pub(super) format: Option<Format>,
    /// Where values start that were seen to already.
    pub(super) done: HashSet<u64>,
    /// The file under way.
    pub(super) stream: Option<StreamSealer>,
}

impl<'a> Sealing<'a> {
    pub(super) fn begin(gate: &'a Gate, (protected, permit): (&'a Protected, &'a Permit), binds: Binds<'a>) -> Self {
        Sealing {
            gate,
            protected,
            permit,
            ledger: Ledger::default(),
            binds,
            workspace: Workspace::new(),
            patches: None,
            format: None,
            done: HashSet::new(),
            stream: None,
        }
    }
}

impl Sealing<'_> {
    /// What takes the slot's place; `None`: it stays.
    pub(super) async fn judge(&mut self, slot: &Slot<'_>) -> Result<Option<Vec<u8>>, Refusal> {
        if let Some(piece) = slot.piece() {
            return self.piece(slot, piece).await;
        }
        if let Some(number) = slot.rule().filter(|number| self.protected.refused.contains(number)) {
            let place = self.protected.written.get(number).map_or("", |written| &written.place);
            return Err(Refusal::with_detail(Code::ValueRefused, format!("field {place}")));
        }
        if self.done.contains(&slot.range().start) {
            // Only the rule for attachments makes way for those of what is patched.
            let written = slot.rule().and_then(|number| self.protected.written.get(number));
            let is_attachment = written.is_none_or(|rule| rule.key == "fhir" && rule.place == "Binary.data");
            return if is_attachment { Ok(None) } else { Err(Code::PatchNotPossible.into()) };
        }
        let rule = slot.rule().and_then(|index| self.protected.field(index));
        let Some(rule) = rule else { return self.judge_unsealed(slot).await };
        let about = |refusal: Refusal| refusal.at("field", &rule.place);
        if slot.holds_watched() {
            return Err(about(Code::TokenNotAccepted.into()));
        }
        if overlaps(self.protected, rule, slot) {
            return Err(about(Code::FieldOverlap.into()));
        }
        if slot.raw().len() > self.gate.limits.document.value_bytes_max {
            return Err(about(Code::BodyTooLarge.into()));
        }
        self.judge_patch(rule, slot).map_err(about)?;
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
                accepted.map_err(about)?;
                self.ledger.met(slot.rule(), FieldAction::Left);
                Ok(None)
            }
            _ if rule.form == Form::Extension && slot.role() == Role::Value => {
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
                let sealed = self.seal(rule, slot, (&worn, text)).await.map_err(about)?;
                self.ledger.met(slot.rule(), FieldAction::Sealed);
                Ok(Some(sealed))
            }
        }
    }

    /// Of a value that no rule seals.
    async fn judge_unsealed(&mut self, slot: &Slot<'_>) -> Result<Option<Vec<u8>>, Refusal> {
        if let Some(text) = slot.text().filter(|_| self.protected.is_expression(slot)) {
            return self.expression_in(slot, text).await;
        }
        // A rule lets it pass: it is not watched, as what no rule selects is.
        if slot.rule().is_some() && !slot.text().is_some_and(is_watched) {
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
        self.accept_token(text, None, &[]).await.map(|()| None)
    }

    /// `text`: of the slot's value, without what it wears.
    async fn seal(
        &mut self,
        rule: &FieldRule,
        slot: &Slot<'_>,
        (worn, text): (&Worn, Option<&[u8]>),
    ) -> Result<Vec<u8>, Refusal> {
        let bound = match rule.class.treatment {
            Treatment::Random { .. } => self.binds.of(rule, slot)?,
            Treatment::Deterministic { .. } | Treatment::Format(_) => Bound::new(),
        };
        let (kind, value) = match (rule.class.treatment, text) {
            (Treatment::Deterministic { .. }, text) => rule.class.treatment.canonical_in(slot, text)?,
            // What JSON has as a number or boolean is one in every format.
            (_, Some(text)) if rule.is_literal && slot.escape() != Escape::Json && json::is_literal(text) => {
                (Kind::Literal, text.into())
            }
            (_, Some(text)) => (Kind::Text, text.into()),
            (_, None) => (Kind::Literal, slot.raw().into()),
        };
        let sealed = self.sealed(rule, &borrowed(&bound), kind, &value).await?;
        let sealed = worn.on(&sealed);
        rule.keeps(&sealed)?;
        let mut written = Vec::new();
        slot.escape().text(&sealed, &mut written).map_err(|_| Code::ValueNotWritable)?;
        Ok(written)
    }

    /// Lets a value of a patch be sealed, if that does there what it would do in the document.
    fn judge_patch(&self, rule: &FieldRule, slot: &Slot<'_>) -> Result<(), Refusal> {
        let Some(patching) = self.patches else { return Ok(()) };
        // A primitive and what is beside it are two members, of which a patch has one; a part of an object is not all of it.
        let is_part = patching == Patching::Members && slot.kind() == JsonKind::Object && !slot.is_listed(0);
        if slot.role() == Role::Primitive && patching != Patching::Elements || is_part {
            return Err(Code::PatchNeedsContext.into());
        }
        if !slot.is_test() {
            return Ok(());
        }
        if matches!(rule.class.treatment, Treatment::Random { .. }) {
            return Err(Code::PatchNotPossible.into());
        }
        // Whether a guess is right is told to nobody who may not see the value.
        let is_token = slot.text().is_some_and(holds_token);
        if is_token || self.permit.view(rule.class.class) == View::Plain {
            Ok(())
        } else {
            Err(Code::SearchNotAllowed.into())
        }
    }

    /// A piece of a file.
    async fn piece(&mut self, slot: &Slot<'_>, piece: Piece) -> Result<Option<Vec<u8>>, Refusal> {
        let Some(rule) = slot.rule().and_then(|index| self.protected.field(index)) else { return Ok(None) };
        let about = |refusal: Refusal| refusal.at("file", &rule.place);
        let class = rule.class.class;
        let mut sealed = Vec::new();
        if piece.first {
            if !self.permit.writes(class) {
                return Err(about(Code::FieldNotWritable.into()));
            }
            // What is sealed already would be so twice.
            if slot.raw().starts_with(MAGIC) {
                return Err(about(Code::TokenNotAccepted.into()));
            }
            let (_, placement) = rule.class.treatment.key().ok_or(Code::Internal)?;
            let held = self.gate.sealing_key(self.permit.scope(), Suite::Stream, placement).await?;
            let bound = self.binds.of(rule, slot).map_err(|error| about(error.into()))?;
            let context = Context { class, scope: self.permit.scope(), bind: &borrowed(&bound) };
            self.stream = Some(StreamSealer::begin(&held.key, &context, &mut sealed).map_err(spent)?);
            self.ledger.key(held.key.id(), &held);
            self.ledger.field(class, FieldAction::Sealed);
            self.ledger.met(slot.rule(), FieldAction::Sealed);
        }
        let mut stream = self.stream.take().ok_or(Code::Internal)?;
        stream.write(slot.raw(), &mut sealed).map_err(spent)?;
        if piece.last {
            stream.finish(&mut sealed).map_err(spent)?;
        } else {
            self.stream = Some(stream);
        }
        Ok(Some(sealed))
    }

    /// A search that a document holds; what it says comes back as what is looked for upstream.
    async fn expression_in(&mut self, slot: &Slot<'_>, text: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
        let text = std::str::from_utf8(text).map_err(|_| Code::QueryNotAllowed)?;
        let sealed = self.expression(text).await.map_err(|refusal| {
            let place = format!("the search at offset {}", slot.range().start);
            let detail = refusal.detail.map_or_else(|| place.clone(), |detail| format!("{detail}: {place}"));
            Refusal { detail: Some(detail), ..refusal }
        })?;
        let mut written = Vec::new();
        slot.escape().text(sealed.as_bytes(), &mut written).map_err(|_| Code::ValueNotWritable)?;
        Ok((sealed != text).then_some(written))
    }

    /// What becomes of a value: a token, or a text of its format.
    pub(super) async fn sealed(
        &mut self,
        rule: &FieldRule,
        bind: &[(&str, &[u8])],
        kind: Kind,
        value: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        let class = &rule.class;
        let Treatment::Format(alphabet) = class.treatment else {
            return Ok(String::from(self.token(class, bind, kind, value).await?).into_bytes());
        };
        if kind != Kind::Text {
            return Err(Code::ValueFormatMismatch.into());
        }
        let held = self.gate.format_key(self.permit.scope()).await?;
        let key = held.key.format_key(class.class, self.permit.scope(), alphabet).map_err(|_| Code::Internal)?;
        let sealed = key.seal(value)?;
        self.ledger.key(held.key.id(), &held);
        self.ledger.field(class.class, FieldAction::Sealed);
        Ok(sealed.as_bytes().to_vec())
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
                    self.ledger.field(class.class, FieldAction::Sealed);
                    self.ledger.key(held.key.id(), &held);
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
    pub(super) async fn accept_token(
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
        self.ledger.field(head.class, FieldAction::Left);
        self.ledger.key(held.key.id(), &held);
        Ok(())
    }
}

/// A stream has one key, which no other can follow.
fn spent(error: SealError) -> Refusal {
    match error {
        SealError::Exhausted => Refusal::from(Code::KeyUnavailable).because("the budget of the key is spent"),
        _ => Code::Internal.into(),
    }
}
