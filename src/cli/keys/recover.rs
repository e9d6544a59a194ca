//! `sealgate keys recover`: tokens, values of a format and attachments opened by the private half of a recovery key, with no
//! config and no KMS.

mod opener;

use super::super::session::{self, Failure, Session};
use super::super::values::lines::{append as append_wiping, bound, lines, parse_bind, read_input, write_json};
use super::super::values::new_file::NewFile;
use super::super::values::stream::{Begun, Stopped};
use super::super::values::{parse_class, parse_scope};
use super::super::{Exit, say_bytes};
use super::import;
use crate::audit::AuditEvent;
use crate::audit::event::{FieldAction, KeyUse, Operation};
use crate::config::{self, Config};
use crate::document::json::quote;
use crate::keyring::Kek;
use crate::keyring::recovery::Recovery;
use crate::keyring::store::keyset;
use crate::proxy::rescue::Refusal;
use crate::seal::format::{Alphabet, FormatKey};
use crate::seal::stream::StreamOpener;
use crate::seal::{Class, Context, EncryptionContext, KeyId, KeyRef, Kind, Purpose, Scope, Token, crypto};
use clap::Args;
use opener::Opener;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

#[derive(Args)]
pub(in crate::cli) struct Recover {
    /// PEM file of the private key (`PRIVATE KEY`, not encrypted), readable by its owner alone.
    #[arg(long, value_name = "PEM")]
    private_key: PathBuf,
    /// Rows of stored keys: a keyset file, or what `sealgate keys export` wrote.
    #[arg(long, value_name = "FILE")]
    keyset: Option<PathBuf>,
    /// A value that the tokens are bound to, as NAME=VALUE; may be given several times.
    #[arg(long = "bind", value_name = "NAME=VALUE", value_parser = parse_bind)]
    binds: Vec<(String, String)>,
    /// Values of this class of suite format instead of tokens; with --scope and --alphabet, for they name neither.
    #[arg(long, value_parser = parse_class, requires_all = ["scope", "alphabet"], conflicts_with_all = ["binds", "stream"])]
    class: Option<Class>,
    /// The scope of values of a format.
    #[arg(long, value_parser = parse_scope, requires = "class")]
    scope: Option<Scope>,
    /// What values of a format are made of, as the config of their class says: digits, uppercase, alphanumeric, date,
    /// date_month_first or date_day_first. By a wrong one they open as something else.
    #[arg(long, value_parser = parse_alphabet, requires = "class")]
    alphabet: Option<Alphabet>,
    /// An attachment of the stream suite instead of tokens.
    #[arg(long, value_name = "FILE", requires = "output")]
    stream: Option<PathBuf>,
    /// Where the attachment goes: a new file, which is there only once all of it is. Its mode is 0600.
    #[arg(long, value_name = "FILE", requires = "stream")]
    output: Option<PathBuf>,
    /// A config: what is opened is then on record in its journal of commands.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

fn parse_alphabet(text: &str) -> Result<Alphabet, String> {
    let names = || Alphabet::ALL.iter().map(|alphabet| alphabet.as_str()).collect::<Vec<_>>().join(", ");
    Alphabet::parse(text).ok_or_else(|| format!("wanted one of {}", names()))
}

pub(super) async fn recover(arguments: Recover) -> Result<Exit, Failure> {
    let Recover { private_key, keyset, binds, class, scope, alphabet, stream, output, config } = arguments;
    let bind = bound(&binds)?;
    let (provider, session) = match config {
        None => (crypto::default_provider(), None),
        Some(file) => {
            let Config { provider, audit, .. } = session::config(&file)?;
            (provider, Some(Session::open(&audit).await?))
        }
    };
    let named = |path: &PathBuf, error: &dyn std::fmt::Display| Failure::new(format!("{}: {error}", path.display()));
    let pem = config::secret_file(&private_key).map_err(Failure::new)?;
    let recovery = Recovery::read_private(provider, &pem).map_err(|error| named(&private_key, &error))?;
    let rows = match &keyset {
        None => Vec::new(),
        Some(path) => {
            let text = import::read(path).map_err(|error| named(path, &error))?;
            keyset::read(&text).map_err(|error| named(path, &error))?
        }
    };
    let recovering =
        Recovering { opener: Opener::new(provider, recovery, rows), bind: &bind, session, events: BTreeMap::new() };
    match (stream, output, class.zip(scope).zip(alphabet)) {
        (Some(stream), Some(output), _) => recovering.stream(&stream, &output).await,
        (_, _, Some(((class, scope), alphabet))) => recovering.formatted(class, scope, alphabet).await,
        _ => recovering.tokens().await,
    }
}

/// The command under way.
struct Recovering<'a> {
    opener: Opener,
    bind: &'a [(&'a str, &'a [u8])],
    session: Option<Session>,
    /// What will be shown, by scope.
    events: BTreeMap<String, Operation>,
}

/// The end of one line: what it holds, or the key that it names, if that could be read, and why it does not open.
type Opened = Result<(), (Option<KeyId>, Refusal)>;

impl Recovering<'_> {
    async fn tokens(mut self) -> Result<Exit, Failure> {
        let input = read_input()?;
        let mut out = Zeroizing::new(Vec::with_capacity(input.len() * 2));
        let mut exit = Exit::Ok;
        for line in lines(&input)? {
            let opened = self.token(line, &mut out).await;
            exit = tell(opened, &mut out, exit);
        }
        self.show(&out, exit).await
    }

    /// Opens one token and appends its line.
    async fn token(&mut self, line: &[u8], out: &mut Zeroizing<Vec<u8>>) -> Opened {
        let envelope = Token::read(line).map_err(|error| (None, error.into()))?;
        let head = envelope.head().clone();
        let (id, class, scope) = (head.key_id, head.class, head.scope);
        let key = self.opener.key(envelope.key(), head.encryption_context()).await;
        let key = key.map_err(|error| (Some(id), error.into()))?;
        let value = key.open(envelope, &Context { class, scope, bind: self.bind });
        let value = value.map_err(|error| (Some(id), error.into()))?;
        append(out, (id, class, scope, value.kind()), value.expose().len(), |out| write_json(&value, out));
        self.note(id, class, scope);
        Ok(())
    }

    async fn formatted(mut self, class: Class, scope: Scope, alphabet: Alphabet) -> Result<Exit, Failure> {
        let id = self.opener.format_key_id(scope).map_err(Failure::new)?;
        let context = EncryptionContext { scope, purpose: Purpose::Format };
        let key = self.opener.key(KeyRef::Stored { id }, context).await?;
        let failed = |_| Failure::new("the crypto provider failed");
        let key: Arc<FormatKey> = key.format_key(class, scope, alphabet).map_err(failed)?;
        let input = read_input()?;
        let mut out = Zeroizing::new(Vec::with_capacity(input.len() * 2));
        let mut exit = Exit::Ok;
        for line in lines(&input)? {
            let opened = match key.open(line) {
                Err(error) => Err((Some(id), error.into())),
                Ok(value) => {
                    append(&mut out, (id, class, scope, Kind::Text), value.len(), |out| quote(&value, out));
                    self.note(id, class, scope);
                    Ok(())
                }
            };
            exit = tell(opened, &mut out, exit);
        }
        self.show(&out, exit).await
    }

    async fn stream(mut self, path: &Path, output: &Path) -> Result<Exit, Failure> {
        let file = File::open(path).map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
        let begun = Begun::read(file)?;
        let head = begun.head.head();
        let (id, class, scope) = (head.key_id, head.class, head.scope);
        let key = self.opener.key(begun.head.key().clone(), head.encryption_context()).await;
        let key = key.map_err(|error| Failure::from(Stopped::from(error)))?;
        let context = Context { class, scope, bind: self.bind };
        let opener = StreamOpener::begin(&key, &begun.head, &context).map_err(Stopped::from)?;
        self.note(id, class, scope);
        self.record().await?;
        begun.open(opener, NewFile::create(output)?).await?;
        let mut out = about(id, class, scope);
        out.extend_from_slice(b"}\n");
        Ok(say_bytes(&out))
    }

    fn note(&mut self, id: KeyId, class: Class, scope: Scope) {
        let Some(session) = &self.session else { return };
        let event = self.events.entry(scope.to_string()).or_insert_with(|| Operation {
            scope: Some(scope.to_string()),
            ..session.operation("keys recover", "recovery".to_owned())
        });
        event.field(class, FieldAction::Plain);
        let kek = Arc::clone(Kek::name(&self.opener.recovery));
        event.key(KeyUse { id, kek, kms_request_id: None, stale: false });
    }

    async fn record(&mut self) -> Result<(), Failure> {
        let Some(session) = &self.session else { return Ok(()) };
        for (_, event) in std::mem::take(&mut self.events) {
            session.record(&AuditEvent::ValuesOpened(event)).await?;
        }
        Ok(())
    }

    /// What is shown is on record before.
    async fn show(mut self, out: &[u8], exit: Exit) -> Result<Exit, Failure> {
        self.record().await?;
        let said = say_bytes(out);
        Ok(if exit == Exit::Ok { said } else { exit })
    }
}

/// A line that does not open has one that says so.
fn tell(opened: Opened, out: &mut Zeroizing<Vec<u8>>, exit: Exit) -> Exit {
    let Err((id, refusal)) = opened else { return exit };
    let id = id.map(|id| format!("\"token_key\":\"{id}\",")).unwrap_or_default();
    append_wiping(out, format!("{{{id}\"error\":\"{}\"}}\n", refusal.code.as_str()).as_bytes());
    Exit::Failure
}

/// Appends the line of a value of so many bytes. No copy of it is left behind as it grows.
fn append(
    out: &mut Zeroizing<Vec<u8>>,
    (id, class, scope, kind): (KeyId, Class, Scope, Kind),
    bytes: usize,
    value: impl FnOnce(&mut Vec<u8>),
) {
    let kind = match kind {
        Kind::Text => "text",
        Kind::Literal => "literal",
    };
    let mut line = Zeroizing::new(Vec::with_capacity(bytes * 6 + 160));
    line.extend_from_slice(&about(id, class, scope));
    line.extend_from_slice(format!(",\"kind\":\"{kind}\",\"value\":").as_bytes());
    value(&mut line);
    line.extend_from_slice(b"}\n");
    append_wiping(out, &line);
}

/// The beginning of a line, which holds no value.
fn about(id: KeyId, class: Class, scope: Scope) -> Vec<u8> {
    let mut line = format!("{{\"token_key\":\"{id}\",\"class\":").into_bytes();
    quote(class.as_str().as_bytes(), &mut line);
    line.extend_from_slice(b",\"scope\":");
    quote(scope.as_str().as_bytes(), &mut line);
    line
}
