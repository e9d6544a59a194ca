//! `sealgate seal`.

use super::super::Exit;
use super::super::session::Failure;
use super::caller::Caller;
use super::lines::{bound, lines, read_input};
use super::{Call, parse_class, parse_scope, show, stream};
use crate::audit::AuditEvent;
use crate::audit::event::{FieldAction, KeyUse, Operation};
use crate::keyring::Keys;
use crate::policy::{Action, View};
use crate::proxy::rescue::{Code, Refusal};
use crate::proxy::rule::{ClassRule, Treatment};
use crate::seal::token::holds_token;
use crate::seal::{Class, Context, Kind, Placement, Scope, SealError, Workspace};
use crate::view::looks_hidden;
use clap::{Args, ValueEnum};
use serde::de::IgnoredAny;

/// How many data keys one value may see run out.
const KEYS_AT_MOST: usize = 16;

/// Seal values, one a line; an empty line stays one.
#[derive(Args)]
pub(in crate::cli) struct Seal {
    #[command(flatten)]
    call: Call,
    /// What the values are.
    #[arg(long, value_parser = parse_class)]
    class: Class,
    /// Whose they are. Default: the caller's scope, if there is one only.
    #[arg(long, value_parser = parse_scope)]
    scope: Option<Scope>,
    /// Text, or JSON literals: numbers, booleans, objects, arrays. Default: text, or the type of a deterministic class.
    #[arg(long)]
    kind: Option<KindName>,
    /// All of standard input is one value, ends of lines and all.
    #[arg(long, conflicts_with = "stream")]
    whole: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum KindName {
    Text,
    Literal,
}

/// What all values of a call have in common.
struct Sealing<'a> {
    keys: &'a Keys,
    rule: ClassRule,
    context: Context<'a>,
    kind: Kind,
    value_bytes_max: usize,
    /// Whether the caller does not see values of the class plain, so that they might write back a mask.
    sees_hidden: bool,
}

pub(super) async fn seal(arguments: Seal) -> Result<Exit, Failure> {
    let Seal { call, class, scope, kind, whole } = arguments;
    if let Some(output) = &call.output {
        return stream::seal(&call, (class, scope), output).await;
    }
    let input = read_input()?;
    let values = if whole { vec![input.as_slice()] } else { lines(&input)? };
    let bind = bound(&call.binds)?;
    let mut caller = Caller::new("seal", &call.config.config, call.reason).await?;
    let mut operation = caller.operation(scope);
    let permitted = permitted(&caller, (class, scope), !bind.is_empty());
    let (rule, scope, sees_hidden) = match permitted {
        Ok(permitted) => permitted,
        Err(refusal) => return Err(caller.refuse(operation, refusal).await),
    };
    operation.scope = Some(scope.to_string());
    let kind = match (kind, rule.treatment) {
        (Some(KindName::Text), _) => Kind::Text,
        (Some(KindName::Literal), _) => Kind::Literal,
        (None, Treatment::Deterministic { kind, .. }) => kind,
        (None, _) => Kind::Text,
    };
    let stored = !matches!(rule.treatment, Treatment::Random { placement: Placement::Inline, .. });
    let keys = caller.keys(stored).await?;
    let value_bytes_max = caller.limits.document.value_bytes_max;
    let context = Context { class, scope, bind: &bind };
    let sealing = Sealing { keys: &keys, rule, context, kind, value_bytes_max, sees_hidden };
    let mut workspace = Workspace::new();
    let mut out = String::new();
    for (number, value) in (1..).zip(values) {
        match sealing.one(&mut workspace, value, &mut operation).await {
            Ok(token) => {
                out += &token;
                out.push('\n');
            }
            Err(refusal) => {
                operation.fields.clear();
                let failure = caller.refuse(operation, refusal).await;
                return Err(Failure { text: format!("line {number}: {}", failure.text), ..failure });
            }
        }
    }
    caller.record(AuditEvent::ValuesSealed(operation)).await?;
    show(out.as_bytes()).map(|()| Exit::Ok)
}

/// The class, the scope, and whether the caller does not see such values plain.
fn permitted(
    caller: &Caller,
    (class, scope): (Class, Option<Scope>),
    is_bound: bool,
) -> Result<(ClassRule, Scope, bool), Refusal> {
    let scope = caller.scope(scope)?;
    let permit = caller.permit(Action::Write, scope, &[class])?;
    let rule = caller.class(class)?;
    // Who sees sealed values of a format cannot be told from who would seal them twice.
    let seen_sealed = permit.view(class) == View::Sealed && matches!(rule.treatment, Treatment::Format(_));
    if !permit.writes(class) || seen_sealed {
        return Err(Code::FieldNotWritable.into());
    }
    if is_bound && !matches!(rule.treatment, Treatment::Random { .. }) {
        return Err(Refusal::from(Code::BindUnusable).because("only values of suite random are bound"));
    }
    Ok((rule, scope, permit.view(class) != View::Plain))
}

impl Sealing<'_> {
    /// The token of a value, or the text of its format.
    async fn one(&self, workspace: &mut Workspace, value: &[u8], operation: &mut Operation) -> Result<String, Refusal> {
        if value.is_empty() {
            return Ok(String::new());
        }
        self.judge(value)?;
        let sealed = match self.rule.treatment {
            Treatment::Format(alphabet) if self.kind == Kind::Text => {
                let held = self.keys.format_key(self.context.scope).await?;
                let key = held.key.format_key(self.context.class, self.context.scope, alphabet);
                let sealed = key.map_err(|_| Code::Internal)?.seal(value)?;
                held.calls.iter().for_each(|call| operation.key(KeyUse::new(held.key.id(), call, held.stale)));
                sealed
            }
            Treatment::Format(_) => return Err(Code::ValueFormatMismatch.into()),
            Treatment::Deterministic { .. } => {
                let value = self.rule.treatment.canonical(self.kind, value)?;
                self.token(workspace, &value, operation).await?
            }
            Treatment::Random { .. } => self.token(workspace, value, operation).await?,
        };
        operation.field(self.context.class, FieldAction::Sealed);
        Ok(sealed)
    }

    fn judge(&self, value: &[u8]) -> Result<(), Refusal> {
        if value.len() > self.value_bytes_max {
            return Err(Code::BodyTooLarge.into());
        }
        if holds_token(value) {
            return Err(Code::TokenNotAccepted.into());
        }
        if self.sees_hidden && looks_hidden(value) {
            return Err(Code::FieldHidden.into());
        }
        match self.kind {
            Kind::Text if std::str::from_utf8(value).is_err() => {
                Err(Refusal::from(Code::ValueTypeMismatch).because("a text is UTF-8"))
            }
            Kind::Text => Ok(()),
            Kind::Literal => {
                let is_literal = !matches!(value.first(), Some(b'"' | b'n' | b' ' | b'\t' | b'\r' | b'\n'))
                    && !value.last().is_some_and(u8::is_ascii_whitespace)
                    && serde_json::from_slice::<IgnoredAny>(value).is_ok();
                let wanted = "wanted a JSON number, boolean, object or array and nothing around it";
                if is_literal { Ok(()) } else { Err(Refusal::from(Code::ValueTypeMismatch).because(wanted)) }
            }
        }
    }

    async fn token(
        &self,
        workspace: &mut Workspace,
        value: &[u8],
        operation: &mut Operation,
    ) -> Result<String, Refusal> {
        let treatment = self.rule.treatment;
        let (suite, placement) = treatment.key().ok_or(Code::Internal)?;
        let manner = treatment.manner(self.kind).ok_or(Code::Internal)?;
        for _ in 0..KEYS_AT_MOST {
            let held = self.keys.sealing_key(self.context.scope, suite, placement).await?;
            match held.key.seal(workspace, &self.context, manner, value) {
                Ok(token) => {
                    held.calls.iter().for_each(|call| operation.key(KeyUse::new(held.key.id(), call, held.stale)));
                    return Ok(token.as_str().to_owned());
                }
                Err(SealError::Exhausted) => {}
                Err(_) => return Err(Code::Internal.into()),
            }
        }
        Err(Refusal::from(Code::KeyUnavailable).because("the budget of every key was spent at once"))
    }
}
