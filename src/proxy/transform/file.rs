//! A sealed file, as a response or as a part of one: shown whole or not at all. One that is a response is opened as it
//! comes.

use super::super::Gate;
use super::super::rescue::{Code, Refusal};
use super::super::rule::FieldRule;
use super::bind::{Binds, Bound, borrowed};
use super::response::About;
use super::shown::{Opening, expect_none};
use super::source::{Source, Start};
use super::unopenable;
use crate::audit::event::FieldAction;
use crate::policy::View;
use crate::seal::Context;
use crate::seal::stream::{MAGIC, StreamHead, StreamOpener};
use bytes::Bytes;
use std::sync::Arc;
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

/// What is done with a file.
pub(super) enum Judged {
    /// It is shown as it stands there.
    Kept(FieldAction),
    /// It is opened; what is sealed begins that many bytes after its start.
    Opened(Box<StreamHead>, usize),
}

impl Judged {
    pub(super) fn action(&self) -> FieldAction {
        match self {
            Self::Kept(action) => *action,
            Self::Opened(..) => FieldAction::of_view(View::Plain),
        }
    }
}

/// Judges a file by its start, `ended` if that is all of it; nothing if more of it has to be there.
///
/// # Errors
/// [`Refusal`]: a file is shown as it is or not at all.
pub(super) fn judge(
    about: About<'_>,
    rule: &FieldRule,
    (start, ended): (&[u8], bool),
) -> Result<Option<Judged>, Refusal> {
    let view = about.permit.view(rule.class.class);
    if start.len() < MAGIC.len() && !ended {
        return Ok(None);
    }
    if !start.starts_with(MAGIC) {
        return match (about.protected.shows_unsealed, view) {
            (false, _) => Err(Code::ResponseUnsealed.into()),
            (true, View::Plain) => Ok(Some(Judged::Kept(FieldAction::Unsealed))),
            (true, _) => Err(Code::ClassDenied.into()),
        };
    }
    let (head, from) = match StreamHead::read(start) {
        Ok(Some(read)) => read,
        Ok(None) if !ended => return Ok(None),
        Ok(None) => return Err(cause("stream: cut short in its head")),
        Err(error) => return Err(cause(error)),
    };
    let (class, scope) = (head.head().class, head.head().scope);
    if class != rule.class.class {
        return Err(cause(format!("stream: class {class}, wanted {}", rule.class.class)));
    }
    if scope != about.permit.scope() {
        return Err(cause(format!("stream: scope {scope}, wanted {}", about.permit.scope())));
    }
    match view {
        View::Plain => Ok(Some(Judged::Opened(Box::new(head), from))),
        View::Sealed => Ok(Some(Judged::Kept(FieldAction::of_view(view)))),
        // Nothing could stand in its place that would not be taken for a file.
        View::Mask | View::Redact | View::Remove | View::Deny => Err(Code::ClassDenied.into()),
    }
}

/// Gets the key of a file.
pub(super) async fn key(gate: &Gate, head: &StreamHead) -> Result<Opening, Refusal> {
    let key = gate.stream_key(head).await;
    key.map_err(|error| if error.is_about_the_key() { unopenable(error) } else { error.into() })
}

fn opener(key: &Opening, head: &StreamHead, bound: &Bound) -> Result<StreamOpener, Refusal> {
    let context = Context { class: head.head().class, scope: head.head().scope, bind: &borrowed(bound) };
    StreamOpener::begin(&key.key, head, &context).map_err(cause)
}

/// Begins to open a file that is all of a body.
///
/// # Errors
/// As [`judge`].
pub(super) async fn begin(
    gate: &Gate,
    (about, rule, binds): (About<'_>, &FieldRule, &Binds<'_>),
    (start, source): (&mut Start, &mut Source),
    until: Instant,
) -> Result<Begun, Refusal> {
    let judged = loop {
        match judge(about, rule, (&start.bytes, start.ended))? {
            Some(judged) => break judged,
            None => more(start, source, until).await?,
        }
    };
    let action = judged.action();
    let Judged::Opened(head, from) = judged else {
        let shown = std::mem::take(&mut start.bytes);
        return Ok(Begun { reader: Reader::Kept, shown, action, key: None });
    };
    let key = key(gate, &head).await?;
    let opener = opener(&key, &head, &binds.of_body(rule).map_err(cause)?)?;
    let mut reader = Reader::Opened(Some(Box::new(opener)));
    let shown = reader.read(start.bytes.get(from..).unwrap_or_default(), start.ended)?;
    Ok(Begun { reader, shown, action, key: Some(key) })
}

/// A file that is a part of a body which is there whole.
pub(super) struct Part {
    head: Box<StreamHead>,
    from: usize,
    bound: Bound,
    /// What is sealed, and the key that opens it.
    sealed: Option<(Bytes, Opening)>,
}

impl Part {
    pub(super) fn new(head: Box<StreamHead>, from: usize, bound: Bound) -> Self {
        Self { head, from, bound, sealed: None }
    }

    /// Gets its key, and makes sure that it opens and does not hold what is barred.
    pub(super) async fn take_key(
        &mut self,
        gate: &Gate,
        file: Bytes,
        barred: Option<&[u8]>,
    ) -> Result<Opening, Refusal> {
        let key = key(gate, &self.head).await?;
        self.sealed = Some((file, Arc::clone(&key)));
        let mut opened = Vec::new();
        self.write(&mut opened)?;
        expect_none(&opened, barred)?;
        Ok(key)
    }

    /// Writes what it holds.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let (file, key) = self.sealed.as_ref().ok_or(Code::Internal)?;
        let mut opener = opener(key, &self.head, &self.bound)?;
        opener.write(file.get(self.from..).unwrap_or_default(), out).map_err(cause)?;
        opener.finish(out).map_err(cause)
    }
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

async fn more(start: &mut Start, source: &mut Source, until: Instant) -> Result<(), Refusal> {
    match source.next(until).await.map_err(super::response::broken)? {
        Some(bytes) => start.bytes.extend_from_slice(&bytes),
        None => start.ended = true,
    }
    Ok(())
}

fn cause(cause: impl std::fmt::Display) -> Refusal {
    Refusal::from(Code::ResponseUnopenable).because(cause)
}
