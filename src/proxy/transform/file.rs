//! A response that is a sealed file: opened as it comes, shown whole or not at all.

use super::super::Gate;
use super::super::rescue::{Code, Refusal};
use super::super::rule::FieldRule;
use super::bind::{Binds, borrowed};
use super::response::About;
use super::shown::Opening;
use super::{Start, next, unopenable};
use crate::audit::event::FieldAction;
use crate::policy::View;
use crate::seal::Context;
use crate::seal::stream::{MAGIC, StreamHead, StreamOpener};
use hyper::body::Incoming;
use tokio::time::Instant;

/// What reads the rest of a file.
pub(super) enum Reader {
    /// What comes is shown.
    Kept,
    Opened(Option<Box<StreamOpener>>),
}

/// A file, as far as it was read.
pub(super) struct Begun {
    pub(super) reader: Reader,
    /// What is shown of it so far.
    pub(super) shown: Vec<u8>,
    pub(super) action: FieldAction,
    pub(super) key: Option<Opening>,
}

/// Begins to open a file, of which at least one byte was read: its head, and what follows of it.
///
/// # Errors
/// [`Refusal`]: a file is shown as it is or not at all.
pub(super) async fn begin(
    gate: &Gate,
    (about, rule, binds): (About<'_>, &FieldRule, &Binds<'_>),
    (start, incoming): (&mut Start, &mut Incoming),
    until: Instant,
) -> Result<Begun, Refusal> {
    let place = || format!("body {}", rule.place);
    let refused = |refusal: Refusal| Refusal { detail: Some(place()), ..refusal };
    let view = about.permit.view(rule.class.class);
    while start.bytes.len() < MAGIC.len() && !start.ended {
        more(start, incoming, until).await?;
    }
    if !start.bytes.starts_with(MAGIC) {
        return match (about.protected.shows_unsealed, view) {
            (false, _) => Err(refused(Code::ResponseUnsealed.into())),
            (true, View::Plain) => {
                let shown = std::mem::take(&mut start.bytes);
                Ok(Begun { reader: Reader::Kept, shown, action: FieldAction::Unsealed, key: None })
            }
            (true, _) => Err(refused(Code::ClassDenied.into())),
        };
    }
    let (head, from) = loop {
        match StreamHead::read(&start.bytes) {
            Ok(Some(read)) => break read,
            Ok(None) if !start.ended => more(start, incoming, until).await?,
            Ok(None) => return Err(refused(cause("stream: cut short in its head"))),
            Err(error) => return Err(refused(cause(error))),
        }
    };
    let (class, scope) = (head.head().class, head.head().scope);
    if class != rule.class.class {
        return Err(refused(cause(format!("stream: class {class}, wanted {}", rule.class.class))));
    }
    if scope != about.permit.scope() {
        return Err(refused(cause(format!("stream: scope {scope}, wanted {}", about.permit.scope()))));
    }
    let action = FieldAction::of_view(view);
    match view {
        View::Plain => {}
        View::Sealed => {
            let shown = std::mem::take(&mut start.bytes);
            return Ok(Begun { reader: Reader::Kept, shown, action, key: None });
        }
        // Nothing could stand in its place that would not be taken for a file.
        View::Mask | View::Redact | View::Remove | View::Deny => return Err(refused(Code::ClassDenied.into())),
    }
    let key = gate.stream_key(&head).await;
    let key = key.map_err(|error| {
        let is_of_key = error.is_about_the_key();
        refused(if is_of_key { unopenable(error) } else { error.into() })
    })?;
    let bound = binds.of_body(rule).map_err(|error| refused(cause(error)))?;
    let bind = borrowed(&bound);
    let opener = StreamOpener::begin(&key.key, &head, &Context { class, scope, bind: &bind });
    let opener = opener.map_err(|error| refused(cause(error)))?;
    let mut reader = Reader::Opened(Some(Box::new(opener)));
    let shown = reader.read(start.bytes.get(from..).unwrap_or_default(), start.ended).map_err(refused)?;
    Ok(Begun { reader, shown, action, key: Some(key) })
}

impl Reader {
    /// What more is shown, once more of the file has come. What was cut off at the end of the file is noticed there.
    pub(super) fn read(&mut self, more: &[u8], ended: bool) -> Result<Vec<u8>, Refusal> {
        match self {
            Self::Kept => Ok(more.to_vec()),
            Self::Opened(opener) => {
                let mut shown = Vec::with_capacity(more.len());
                opener.as_mut().ok_or(Code::Internal)?.write(more, &mut shown).map_err(cause)?;
                if ended {
                    opener.take().ok_or(Code::Internal)?.finish(&mut shown).map_err(cause)?;
                }
                Ok(shown)
            }
        }
    }
}

async fn more(start: &mut Start, incoming: &mut Incoming, until: Instant) -> Result<(), Refusal> {
    match next(incoming, until).await.map_err(super::response::broken)? {
        Some(bytes) => start.bytes.extend_from_slice(&bytes),
        None => start.ended = true,
    }
    Ok(())
}

fn cause(cause: impl std::fmt::Display) -> Refusal {
    Refusal::from(Code::ResponseUnopenable).because(cause)
}
