//! Attachments: from standard input into a new file, in constant memory.

use super::super::session::Failure;
use super::super::{Exit, say};
use super::Call;
use super::caller::{Caller, told};
use super::lines::bound;
use super::new_file::{NewFile, Out};
use crate::audit::AuditEvent;
use crate::audit::event::{FieldAction, KeyUse, Operation};
use crate::policy::{Action, View};
use crate::proxy::rescue::{Code, Refusal};
use crate::proxy::rule::Treatment;
use crate::seal::stream::{SEGMENT_BYTES, StreamHead, StreamOpener, StreamSealer};
use crate::seal::{Class, Context, Placement, Scope, SealError, Suite};
use std::io::{self, Read};
use std::path::Path;
use zeroize::Zeroizing;

/// Reads until `buffer` is full or the input ends.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> Result<usize, Failure> {
    let mut count = 0;
    while let Some(room) = buffer.get_mut(count..).filter(|room| !room.is_empty()) {
        match input.read(room) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::new(format!("standard input: {error}"))),
        }
    }
    Ok(count)
}

/// Why a stream was not written.
pub(in crate::cli) enum Stopped {
    Refused(Refusal),
    Failed(Failure),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl<E: Into<Refusal>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

/// For a command that puts no refusals on record.
impl From<Stopped> for Failure {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Refused(refusal) => told(&refusal),
            Stopped::Failed(failure) => failure,
        }
    }
}

/// Ends a stream's command: what was refused is put on record.
async fn conclude(caller: &Caller, operation: Operation, result: Result<(), Stopped>) -> Result<Exit, Failure> {
    match result {
        Ok(()) => Ok(say("")),
        Err(Stopped::Failed(failure)) => Err(failure),
        Err(Stopped::Refused(refusal)) => Err(caller.refuse(operation, refusal).await),
    }
}

pub(super) async fn open(call: &Call, output: &Path) -> Result<Exit, Failure> {
    let mut caller = Caller::new("open --stream", &call.config.config, call.reason.clone()).await?;
    let mut operation = caller.operation(None);
    let result = open_into(&mut caller, call, output, &mut operation).await;
    conclude(&caller, operation, result).await
}

/// A stream of which the head was read.
pub(in crate::cli) struct Begun<R> {
    pub(in crate::cli) head: StreamHead,
    input: R,
    piece: Vec<u8>,
    from: usize,
    count: usize,
}

impl<R: Read + Send + 'static> Begun<R> {
    pub(in crate::cli) fn read(mut input: R) -> Result<Self, Stopped> {
        let mut piece = vec![0; SEGMENT_BYTES];
        let count = fill(&mut input, &mut piece)?;
        let begun = piece.get(..count).unwrap_or_default();
        // A head is shorter than a piece: what wants more of it was cut off.
        let (head, from) = StreamHead::read(begun)?.ok_or(Code::TokenTruncated)?;
        Ok(Self { head, input, piece, from, count })
    }

    /// Opens what follows the head into a new file.
    pub(in crate::cli) async fn open(self, mut opener: StreamOpener, file: NewFile) -> Result<(), Stopped> {
        let Self { mut input, mut piece, mut from, mut count, .. } = self;
        let open = move |file: &mut Out| {
            let mut out = Zeroizing::new(Vec::with_capacity(3 * SEGMENT_BYTES));
            while count > 0 {
                opener.write(piece.get(from..count).unwrap_or_default(), &mut out)?;
                file.write(&out)?;
                out.clear();
                count = fill(&mut input, &mut piece)?;
                from = 0;
            }
            opener.finish(&mut out)?;
            Ok(file.write(&out)?)
        };
        file.fill(open).await
    }
}

async fn open_into(caller: &mut Caller, call: &Call, output: &Path, operation: &mut Operation) -> Result<(), Stopped> {
    let bind = bound(&call.binds)?;
    let begun = Begun::read(io::stdin())?;
    let head = &begun.head;
    let (class, scope) = (head.head().class, head.head().scope);
    operation.scope = Some(scope.to_string());
    let permit = caller.permit(Action::Read, scope, &[class])?;
    caller.class(class)?;
    if permit.view(class) != View::Plain {
        return Err(Refusal::from(Code::ClassDenied)
            .because("an attachment is opened for the view plain alone")
            .into());
    }
    let keys = caller.keys(head.head().placement == Placement::Stored).await?;
    let held = keys.opening_key_of(head.head(), head.key()).await?;
    held.calls.iter().for_each(|call| operation.key(KeyUse::new(held.key.id(), call, held.stale)));
    let opener = StreamOpener::begin(&held.key, head, &Context { class, scope, bind: &bind })?;
    operation.field(class, FieldAction::Plain);
    caller.record(AuditEvent::ValuesOpened(operation.clone())).await?;
    begun.open(opener, NewFile::create(output)?).await
}

pub(super) async fn seal(call: &Call, (class, scope): (Class, Option<Scope>), output: &Path) -> Result<Exit, Failure> {
    let mut caller = Caller::new("seal --stream", &call.config.config, call.reason.clone()).await?;
    let mut operation = caller.operation(scope);
    let result = seal_into(&mut caller, call, (class, scope), output, &mut operation).await;
    conclude(&caller, operation, result).await
}

async fn seal_into(
    caller: &mut Caller,
    call: &Call,
    (class, scope): (Class, Option<Scope>),
    output: &Path,
    operation: &mut Operation,
) -> Result<(), Stopped> {
    let bind = bound(&call.binds)?;
    let scope = caller.scope(scope)?;
    operation.scope = Some(scope.to_string());
    let permit = caller.permit(Action::Write, scope, &[class])?;
    let rule = caller.class(class)?;
    if !permit.writes(class) {
        return Err(Code::FieldNotWritable.into());
    }
    let Treatment::Random { placement, .. } = rule.treatment else {
        return Err(Refusal::from(Code::ValueTypeMismatch)
            .because("an attachment is of a class of suite random")
            .into());
    };
    let keys = caller.keys(placement == Placement::Stored).await?;
    let held = keys.sealing_key(scope, Suite::Stream, placement).await?;
    held.calls.iter().for_each(|call| operation.key(KeyUse::new(held.key.id(), call, held.stale)));
    operation.field(class, FieldAction::Sealed);
    let file = NewFile::create(output)?;
    caller.record(AuditEvent::ValuesSealed(operation.clone())).await?;
    let spent = |error: SealError| match error {
        SealError::Exhausted => {
            Refusal::from(Code::BodyTooLarge).because("longer than keyring.cache.seal_bytes_max lets one data key seal")
        }
        _ => Code::Internal.into(),
    };
    let mut out = Vec::with_capacity(3 * SEGMENT_BYTES);
    let mut sealer = StreamSealer::begin(&held.key, &Context { class, scope, bind: &bind }, &mut out).map_err(spent)?;
    let seal = move |file: &mut Out| {
        let mut input = io::stdin();
        let mut piece = Zeroizing::new(vec![0; SEGMENT_BYTES]);
        loop {
            let count = fill(&mut input, &mut piece)?;
            if count == 0 {
                break;
            }
            sealer.write(piece.get(..count).unwrap_or_default(), &mut out).map_err(spent)?;
            file.write(&out)?;
            out.clear();
        }
        sealer.finish(&mut out).map_err(spent)?;
        Ok(file.write(&out)?)
    };
    file.fill(seal).await
}
