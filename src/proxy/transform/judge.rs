//! What is done with each value of a response, as far as that can be told without a key.

use super::super::rescue::{Code, Refusal};
use super::super::rule::{ClassRule, FieldRule, Protected, Treatment};
use super::bind::{Binds, Bound};
use super::dress::Worn;
use super::edit::Otherwise;
use super::overlaps;
use super::response::About;
use super::shown::Shown;
use crate::audit::event::FieldAction;
use crate::document::{Kind as JsonKind, Place, Slot};
use crate::policy::View;
use crate::seal::token::{holds_token, starts_as_token};
use crate::seal::{Class, Kind, Token};
use crate::view::MaskRule;
use std::sync::Arc;

/// What is done with a value of which class, and what the caller gets instead of it; an inner `None`: it stays.
pub(super) type Judged = Option<(Class, FieldAction, Option<Shown>)>;

/// A ruled value.
pub(super) fn judge(
    about: About<'_>,
    rule: &FieldRule,
    binds: &Binds<'_>,
    slot: &Slot<'_>,
) -> Result<(Judged, Otherwise), Refusal> {
    let otherwise = match rule.marks_unopenable {
        true => Otherwise::Mark,
        false => Otherwise::Refuse("field", Arc::clone(&rule.place)),
    };
    let (class, view) = (&rule.class, about.permit.view(rule.class.class));
    let text = slot.text().map(|text| Worn::off(rule.form_at(slot), text).1);
    match (slot.kind(), text.as_deref()) {
        (JsonKind::Null, _) | (JsonKind::Text, Some([])) => Ok((None, otherwise)),
        (JsonKind::Text, Some(text)) if holds_token(text) => match token(about, class, view, text) {
            Ok((action, Some(Shown::Opened { envelope, mask, key, .. }))) => match binds.of(rule, slot) {
                Ok(bound) => {
                    let shown = Shown::Opened { envelope, bound, mask, key };
                    Ok((Some((class.class, action, Some(shown))), otherwise))
                }
                Err(error) => unbound(class, otherwise, Refusal::from(Code::ResponseUnopenable).because(error)),
            },
            Ok((action, shown)) => Ok((Some((class.class, action, shown)), otherwise)),
            Err(refusal) => unbound(class, otherwise, refusal),
        },
        (kind, text) => match class.treatment {
            Treatment::Format(alphabet) => match (kind, text) {
                // Who sees sealed values only must not see what cannot be one.
                (JsonKind::Text, Some(text)) if view == View::Sealed && !alphabet.admits(text) => {
                    let cause = "a value that is not of its format";
                    unbound(class, otherwise, Refusal::from(Code::ResponseUnopenable).because(cause))
                }
                (JsonKind::Text, Some(text)) => {
                    let formatted =
                        |mask| Shown::Formatted { class: class.class, alphabet, text: text.to_vec(), mask, key: None };
                    Ok((Some(shown(class, view, formatted)), otherwise))
                }
                _ => {
                    let cause = "a value of a format that is no text";
                    unbound(class, otherwise, Refusal::from(Code::ResponseUnopenable).because(cause))
                }
            },
            _ => unsealed(about.protected, rule, view, (slot, text))
                .map(|judged| (Some(judged), otherwise))
                .map_err(|refusal| refusal.at("field", &rule.place)),
        },
    }
}

/// What cannot be opened whatever its key says.
fn unbound(class: &ClassRule, otherwise: Otherwise, refusal: Refusal) -> Result<(Judged, Otherwise), Refusal> {
    match otherwise {
        Otherwise::Refuse(what, place) => Err(refusal.at(what, &place)),
        otherwise => {
            tracing::warn!(cause = refusal.cause, "a token does not open");
            Ok((Some((class.class, FieldAction::Unopenable, Some(Shown::Unopenable))), otherwise))
        }
    }
}

/// What a view makes of something sealed.
pub(super) fn shown(
    class: &ClassRule,
    view: View,
    opened: impl FnOnce(Option<MaskRule>) -> Shown,
) -> (Class, FieldAction, Option<Shown>) {
    let shown = match view {
        View::Plain => Some(opened(None)),
        View::Mask => Some(opened(Some(class.mask))),
        View::Redact | View::Deny => Some(Shown::Redacted),
        View::Remove => Some(Shown::Removed),
        View::Sealed => None,
    };
    (class.class, FieldAction::of_view(view), shown)
}

/// A text with the start of a token in it, as a value of that class.
pub(super) fn token(
    about: About<'_>,
    class: &ClassRule,
    view: View,
    text: &[u8],
) -> Result<(FieldAction, Option<Shown>), Refusal> {
    let because = |cause: String| Refusal::from(Code::ResponseUnopenable).because(cause);
    // Not one token, but tokens in it, which nobody may take for a value in the clear.
    if !starts_as_token(text) {
        return Err(because("token: in a longer text".to_owned()));
    }
    let envelope = Token::read(text).map_err(|error| because(error.to_string()))?;
    let head = envelope.head();
    if head.class != class.class {
        return Err(because(format!("token: class {}, wanted {}", head.class, class.class)));
    }
    if head.scope != about.permit.scope() {
        return Err(because(format!("token: scope {}, wanted {}", head.scope, about.permit.scope())));
    }
    let opened = |mask| Shown::Opened { envelope: Box::new(envelope), bound: Bound::new(), mask, key: None };
    let (_, action, shown) = shown(class, view, opened);
    Ok((action, shown))
}

/// A text that no rule selects, on a route that opens tokens wherever they stand. What does not open there stays sealed.
pub(super) fn stray(about: About<'_>, slot: &Slot<'_>) -> Judged {
    let text = slot.text().filter(|_| slot.place() == Place::Value)?;
    let named = Token::read(text).ok()?.head().class;
    let class = about.protected.opens_anywhere.as_ref()?.iter().find(|known| known.class == named)?;
    let (action, shown) = token(about, class, about.permit.view(named), text).ok()?;
    Some((named, action, shown))
}

/// A ruled value that is no token.
fn unsealed(
    protected: &Protected,
    rule: &FieldRule,
    view: View,
    (slot, text): (&Slot<'_>, Option<&[u8]>),
) -> Result<(Class, FieldAction, Option<Shown>), Refusal> {
    if !protected.shows_unsealed || overlaps(protected, rule, slot) {
        return Err(Code::ResponseUnsealed.into());
    }
    let (kind, text) = text.map_or_else(|| (Kind::Literal, slot.raw()), |text| (Kind::Text, text));
    let (action, shown) = match view {
        View::Plain => (FieldAction::Unsealed, None),
        View::Mask => {
            let masked = Shown::Masked { rule: rule.class.mask, kind, text: text.to_vec() };
            (FieldAction::Masked, Some(masked))
        }
        View::Remove => (FieldAction::Redacted, Some(Shown::Removed)),
        // Who sees tokens only must not see what is not one.
        View::Redact | View::Deny | View::Sealed => (FieldAction::Redacted, Some(Shown::Redacted)),
    };
    Ok((rule.class.class, action, shown))
}
