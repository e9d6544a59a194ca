//! `sealgate open`.

use super::super::session::Failure;
use super::super::{Exit, complain};
use super::caller::{Caller, told};
use super::lines::{bound, lines, read_input, write_json};
use super::{Call, parse_class, parse_scope, show, stream};
use crate::audit::event::{FieldAction, KeyUse, Operation};
use crate::audit::{AuditEvent, Receipt};
use crate::document::json::quote;
use crate::keyring::{Held, KeyringError, Keys};
use crate::policy::{Action, Permit, View};
use crate::proxy::rescue::{Code, Refusal};
use crate::proxy::rule::{ClassRule, Treatment};
use crate::seal::format::Alphabet;
use crate::seal::{Class, Context, Envelope, Kind, Placement, Scope, Token, UnwrappedKey, Value};
use crate::view::{MaskRule, REDACTED, mask};
use clap::Args;
use futures_util::{StreamExt, stream as futures};
use std::collections::BTreeMap;
use std::sync::Arc;
use zeroize::Zeroizing;

/// How many data keys are asked for at once.
const UNWRAPS_AT_ONCE: usize = 32;

/// Open tokens, one a line, as JSON values, one a line; one that does not open stands as `null`.
#[derive(Args)]
pub(in crate::cli) struct Open {
    #[command(flatten)]
    call: Call,
    /// The class that the tokens must be of. Needed for a class of suite format, whose values tell nothing of themselves.
    #[arg(long, value_parser = parse_class)]
    class: Option<Class>,
    /// The scope, for a class of suite format. Default: the caller's, if there is one only.
    #[arg(long, value_parser = parse_scope)]
    scope: Option<Scope>,
    /// One token only: the value itself, not as JSON, and nothing behind it.
    #[arg(long, conflicts_with = "stream")]
    raw: bool,
}

/// A line as read.
enum Sealed {
    Token(Box<Envelope>, String),
    Format { class: Class, scope: Scope, alphabet: Alphabet, text: Vec<u8> },
}

/// What is shown for a line.
enum Shown {
    Token(String),
    Redacted,
    Value(Value, Option<MaskRule>),
    Text(Zeroizing<Vec<u8>>, Option<MaskRule>),
    /// It does not open.
    Nothing,
}

type Line = Result<Sealed, Refusal>;

pub(super) async fn open(arguments: Open) -> Result<Exit, Failure> {
    let Open { call, class, scope, raw } = arguments;
    if let Some(output) = &call.output {
        return stream::open(&call, output).await;
    }
    let input = read_input()?;
    let lines = lines(&input)?;
    if raw && lines.len() != 1 {
        return Err(Failure::usage("--raw takes one token"));
    }
    let bind = bound(&call.binds)?;
    let mut caller = Caller::new("open", &call.config.config, call.reason).await?;
    let planned = plan(&mut caller, &lines, (class, scope), &bind).await;
    let (shown, operations) = match planned {
        Ok(planned) => planned,
        Err(Stopped::Refused(scope, refusal)) => {
            return Err(caller.refuse(caller.operation(scope), refusal).await);
        }
        Err(Stopped::Failed(failure)) => return Err(failure),
    };
    let failed = shown.iter().filter(|shown| matches!(shown, Shown::Nothing)).count();
    let mut receipt = None;
    for (_, operation) in operations {
        receipt = Some(caller.record(AuditEvent::ValuesOpened(operation)).await?);
    }
    let Some(receipt) = receipt else {
        // No line could be read: there is nothing to be shown, and no scope.
        let refusal = Refusal::from(Code::TokenNotCanonical);
        return Err(caller.refuse(caller.operation(None), refusal.because("no line is a token")).await);
    };
    show(&write(&shown, raw, &receipt))?;
    Ok(if failed == 0 { Exit::Ok } else { Exit::Failure })
}

/// Why nothing is shown.
enum Stopped {
    Refused(Option<Scope>, Refusal),
    Failed(Failure),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Opens what may be shown; what will be shown is in the operations, one for each scope.
async fn plan(
    caller: &mut Caller,
    lines: &[&[u8]],
    named: (Option<Class>, Option<Scope>),
    bind: &[(&str, &[u8])],
) -> Result<(Vec<Shown>, BTreeMap<Scope, Operation>), Stopped> {
    let sealed = read(caller, lines, named).map_err(|refusal| Stopped::Refused(None, refusal))?;
    let permits = permits(caller, &sealed)?;
    let stored = |sealed: &Sealed| match sealed {
        Sealed::Token(envelope, _) => envelope.head().placement == Placement::Stored,
        Sealed::Format { .. } => true,
    };
    let keys = caller.keys(sealed.iter().flatten().any(stored)).await?;
    let mut operations: BTreeMap<Scope, Operation> =
        permits.keys().map(|scope| (*scope, caller.operation(Some(*scope)))).collect();
    let held = bring(&keys, &permits, &sealed).await;
    let mut shown = Vec::with_capacity(sealed.len());
    for (number, (sealed, held)) in (1..).zip(sealed.into_iter().zip(held)) {
        let one = match sealed {
            Err(refusal) => Err(refusal),
            Ok(sealed) => one(caller, sealed, held, &permits, bind, &mut operations),
        };
        shown.push(match one {
            Ok(shown) => shown,
            Err(refusal) if is_about_all(refusal.code) => return Err(Stopped::Refused(None, refusal)),
            Err(refusal) => {
                complain(&format!("line {number}: {}\n", told(&refusal).text));
                Shown::Nothing
            }
        });
    }
    Ok((shown, operations))
}

/// Whether trying the next line would end the same.
const fn is_about_all(code: Code) -> bool {
    matches!(code, Code::KeyUnavailable | Code::KeyDenied | Code::KeyMissing | Code::Internal)
}

fn read(
    caller: &Caller,
    lines: &[&[u8]],
    (class, scope): (Option<Class>, Option<Scope>),
) -> Result<Vec<Line>, Refusal> {
    let rule = class.map(|class| caller.class(class)).transpose()?;
    if let Some(ClassRule { class, treatment: Treatment::Format(alphabet), .. }) = rule {
        let scope = caller.scope(scope)?;
        let format = |line: &&[u8]| Ok(Sealed::Format { class, scope, alphabet, text: line.to_vec() });
        return Ok(lines.iter().map(format).collect());
    }
    let token = |line: &&[u8]| match Token::read(line) {
        Err(error) => Err(error.into()),
        Ok(envelope) if class.is_some_and(|class| class != envelope.head().class) => {
            Err(Code::TokenClassMismatch.into())
        }
        Ok(envelope) if scope.is_some_and(|scope| scope != envelope.head().scope) => {
            Err(Code::TokenScopeMismatch.into())
        }
        Ok(envelope) => Ok(Sealed::Token(Box::new(envelope), String::from_utf8_lossy(line).into_owned())),
    };
    Ok(lines.iter().map(token).collect())
}

impl Sealed {
    fn about(&self) -> (Scope, Class) {
        match self {
            Self::Token(envelope, _) => (envelope.head().scope, envelope.head().class),
            Self::Format { class, scope, .. } => (*scope, *class),
        }
    }
}

/// The permit of each scope, for the classes that are to be opened there.
fn permits(caller: &Caller, sealed: &[Line]) -> Result<BTreeMap<Scope, Permit>, Stopped> {
    let mut wanted: BTreeMap<Scope, Vec<Class>> = BTreeMap::new();
    for (scope, class) in sealed.iter().flatten().map(Sealed::about) {
        let classes = wanted.entry(scope).or_default();
        if !classes.contains(&class) {
            classes.push(class);
        }
    }
    let permit = |(scope, classes): (Scope, Vec<Class>)| {
        let refused = |refusal| Stopped::Refused(Some(scope), refusal);
        let known = classes.iter().try_for_each(|class| caller.class(*class).map(drop));
        let permit = caller.permit(Action::Read, scope, &classes).map_err(refused)?;
        known.map_err(refused)?;
        Ok((scope, permit))
    };
    wanted.into_iter().map(permit).collect()
}

type Opening = Result<Arc<Held<Arc<UnwrappedKey>>>, KeyringError>;

/// The key of each line that takes one, several asked for at a time.
async fn bring(keys: &Keys, permits: &BTreeMap<Scope, Permit>, sealed: &[Line]) -> Vec<Option<Opening>> {
    let ask = |line: &Line| {
        let sealed = line.as_ref().ok().filter(|sealed| {
            let (scope, class) = sealed.about();
            permits.get(&scope).is_some_and(|permit| matches!(permit.view(class), View::Plain | View::Mask))
        });
        let envelope = sealed.and_then(|sealed| match sealed {
            Sealed::Token(envelope, _) => Some(envelope.clone()),
            Sealed::Format { .. } => None,
        });
        let format = sealed.and_then(|sealed| match sealed {
            Sealed::Format { scope, .. } => Some(*scope),
            Sealed::Token(..) => None,
        });
        async move {
            match (envelope, format) {
                (Some(envelope), _) => Some(keys.opening_key(&envelope).await),
                (None, Some(scope)) => Some(keys.format_key(scope).await),
                (None, None) => None,
            }
        }
    };
    let asked: Vec<_> = sealed.iter().map(ask).collect();
    futures::iter(asked).buffered(UNWRAPS_AT_ONCE).collect().await
}

fn one(
    caller: &Caller,
    sealed: Sealed,
    held: Option<Opening>,
    permits: &BTreeMap<Scope, Permit>,
    bind: &[(&str, &[u8])],
    operations: &mut BTreeMap<Scope, Operation>,
) -> Result<Shown, Refusal> {
    let (scope, class) = sealed.about();
    let (Some(permit), Some(operation)) = (permits.get(&scope), operations.get_mut(&scope)) else {
        return Err(Code::Internal.into());
    };
    let rule = caller.class(class)?;
    let view = permit.view(class);
    let hides = (view == View::Mask).then_some(rule.mask);
    let shown = match (view, &sealed) {
        (View::Plain | View::Mask, _) => match held {
            None => Err(Code::Internal.into()),
            Some(Err(error)) => Err(unopenable(error)),
            Some(Ok(held)) => {
                for call in held.calls.iter() {
                    operation.key(KeyUse::new(held.key.id(), call, held.stale));
                }
                unseal(&held.key, sealed, bind, hides)
            }
        },
        (View::Redact | View::Remove, _) => Ok(Shown::Redacted),
        (View::Sealed, Sealed::Token(_, text)) => Ok(Shown::Token(text.clone())),
        (View::Sealed, Sealed::Format { text, .. }) => Ok(Shown::Token(String::from_utf8_lossy(text).into_owned())),
        (View::Deny, _) => Err(Code::ClassDenied.into()),
    };
    operation.field(class, if shown.is_ok() { FieldAction::of_view(view) } else { FieldAction::Unopenable });
    shown
}

/// A KEK that is disabled or gone is said of the keys that it wrapped, and not of the others.
fn unopenable(error: KeyringError) -> Refusal {
    let about_the_key = error.is_about_the_key();
    let refusal = Refusal::from(error);
    if about_the_key && refusal.code == Code::KeyDenied {
        return Refusal { code: Code::TokenKeyRejected, ..refusal };
    }
    refusal
}

fn unseal(
    key: &UnwrappedKey,
    sealed: Sealed,
    bind: &[(&str, &[u8])],
    hides: Option<MaskRule>,
) -> Result<Shown, Refusal> {
    match sealed {
        Sealed::Token(envelope, _) => {
            let context = Context { class: envelope.head().class, scope: envelope.head().scope, bind };
            Ok(Shown::Value(key.open(*envelope, &context)?, hides))
        }
        Sealed::Format { class, scope, alphabet, text } => {
            let key = key.format_key(class, scope, alphabet).map_err(|_| Code::Internal)?;
            Ok(Shown::Text(key.open(&text)?, hides))
        }
    }
}

/// What goes out. The receipt is proof that it is on record.
fn write(shown: &[Shown], raw: bool, _receipt: &Receipt) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(shown.iter().map(Shown::bytes_max).sum()));
    for one in shown {
        match one {
            Shown::Value(value, None) if raw => out.extend_from_slice(value.expose()),
            Shown::Text(text, None) if raw => out.extend_from_slice(text),
            one => {
                one.write_json(&mut out);
                out.push(b'\n');
            }
        }
    }
    out
}

impl Shown {
    /// How much it takes at most: JSON writes a character in six bytes at most.
    fn bytes_max(&self) -> usize {
        16 + 6 * match self {
            Self::Token(text) => text.len(),
            Self::Value(value, _) => value.expose().len(),
            Self::Text(text, _) => text.len(),
            Self::Redacted | Self::Nothing => 0,
        }
    }

    fn write_json(&self, out: &mut Vec<u8>) {
        match self {
            Self::Token(text) => quote(text.as_bytes(), out),
            Self::Redacted => quote(REDACTED.as_bytes(), out),
            Self::Value(value, Some(rule)) => quote(mask(*rule, value.kind(), value.expose()).as_bytes(), out),
            Self::Value(value, None) => write_json(value, out),
            Self::Text(text, Some(rule)) => quote(mask(*rule, Kind::Text, text).as_bytes(), out),
            Self::Text(text, None) => quote(text, out),
            Self::Nothing => out.extend_from_slice(b"null"),
        }
    }
}
