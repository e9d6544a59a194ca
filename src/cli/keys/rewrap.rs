//! `sealgate keys rewrap`.

use super::super::session::{self, Failure};
use super::super::{Exit, complain, say};
use super::Where;
use super::custody::{Custody, note, parse_scope, rows, uses};
use crate::audit::event::{KeyChange, KeyUse};
use crate::keyring::several::Role;
use crate::keyring::store::{KeyRow, KeyState};
use crate::keyring::{Keyring as _, KeyringError};
use crate::seal::{EncryptedDataKey, EncryptionContext, KekTag, KeyId, Scope};
use clap::Args;
use futures_util::{StreamExt, stream};
use jiff::Timestamp;

/// How many keys are wrapped at once.
const AT_ONCE: usize = 8;
/// How many keys one record tells of. Every one of a part failing ends the command: the rest would fail too.
const PART: usize = 64;
/// How often a row is taken anew that somebody else has changed.
const TRIES_MAX: usize = 8;

#[derive(Args)]
pub(in crate::cli) struct Rewrap {
    #[command(flatten)]
    place: Where,
    /// Only keys of this scope.
    #[arg(long, value_parser = parse_scope)]
    scope: Option<Scope>,
    /// Do not unwrap each form and see that it is the key before old forms go. Unwrapping takes kms:Decrypt, and has the
    /// data keys in this process for a moment; without it a form that does not open is found when it is too late.
    #[arg(long)]
    unverified: bool,
}

/// Under which KEKs, and how.
struct Wanted {
    tags: Vec<KekTag>,
    verify: bool,
}

impl Wanted {
    fn is_met(&self, row: &KeyRow) -> bool {
        let wrapped = |tag: &KekTag| row.edks.iter().any(|edk| edk.kek == *tag);
        row.state == KeyState::Shredded || (row.edks.len() == self.tags.len() && self.tags.iter().all(wrapped))
    }
}

pub(super) async fn rewrap(arguments: Rewrap) -> Result<Exit, Failure> {
    let Rewrap { place: Where { config, keyset }, scope, unverified } = arguments;
    let config = session::config(&config.config)?;
    let custody = Custody::open(config, keyset.as_deref()).await?;
    let now = custody.keyring.names().into_iter().filter(|(.., role)| matches!(role, Role::First | Role::Also));
    let wanted = Wanted { tags: now.map(|(tag, ..)| tag).collect(), verify: !unverified };
    let all = rows(&*custody.place, scope).await?;
    let (total, place) = (all.len(), custody.place.name());
    let todo: Vec<KeyRow> = all.into_iter().filter(|row| !wanted.is_met(row)).collect();
    let right = total - todo.len();
    if todo.is_empty() {
        return Ok(say(&format!("{place}: {right} keys are wrapped as they should be\n")));
    }
    let scope = scope.map(|scope| scope.to_string());
    let part = || KeyChange { scope: scope.clone(), ..custody.change("rewrap") };
    let mut intended = part();
    note(&mut intended, todo.iter().map(KeyRow::id));
    custody.intend(&intended).await?;
    let (mut done, mut failed) = (0, 0);
    for rows in todo.chunks(PART) {
        let work = rows.iter().map(|row| async { (row.id(), one(&custody, &wanted, row.clone()).await) });
        let results: Vec<(KeyId, Result<Vec<KeyUse>, Failure>)> = stream::iter(work).buffered(AT_ONCE).collect().await;
        let mut change = part();
        for (id, result) in results {
            match result {
                Ok(uses) => {
                    note(&mut change, [id]);
                    change.keys.extend(uses);
                    done += 1;
                }
                Err(Failure { text, .. }) => {
                    complain(&format!("key {id}: {text}\n"));
                    change.failed += 1;
                    change.cause = Some(text);
                    failed += 1;
                }
            }
        }
        let none = change.count == 0;
        custody.conclude(change, Ok(())).await?;
        complain(&format!("{} of {} keys\n", done + failed, todo.len()));
        if none {
            break;
        }
    }
    let untried = todo.len() - done - failed;
    say(&format!("{place}: {done} keys wrapped anew, {right} right already, {failed} failed, {untried} not tried\n"));
    Ok(if failed + untried > 0 { Exit::Failure } else { Exit::Ok })
}

async fn one(custody: &Custody, wanted: &Wanted, mut row: KeyRow) -> Result<Vec<KeyUse>, Failure> {
    let context = EncryptionContext { scope: row.scope, purpose: row.purpose };
    let mut all = Vec::new();
    for _ in 0..TRIES_MAX {
        let (edks, calls) = custody.keyring.rewrap(custody.provider, &row.edks, &row.commitment, context).await?;
        all.extend(uses(row.id(), &calls));
        if wanted.verify {
            verify(custody, &edks, &row).await?;
        }
        let id = row.id();
        let new = KeyRow { edks, changed_at: Timestamp::now().max(row.changed_at), ..row.clone() };
        if custody.place.replace(row, new).await? {
            return Ok(all);
        }
        // Rotated, revoked, shredded or wrapped by somebody else meanwhile.
        row = custody.place.row(id).await?.ok_or(KeyringError::UnknownKey { id })?;
        if wanted.is_met(&row) {
            return Ok(all);
        }
    }
    Err(Failure::new("its row changes faster than it can be wrapped"))
}

async fn verify(custody: &Custody, edks: &[EncryptedDataKey], row: &KeyRow) -> Result<(), Failure> {
    let context = EncryptionContext { scope: row.scope, purpose: row.purpose };
    for edk in edks {
        let key = match custody.keyring.decrypt_data_key(edk.clone(), context).await {
            Ok(decrypted) => decrypted.key,
            // A recovery key: nobody here has its private half.
            Err(KeyringError::UnknownKek) => continue,
            Err(error) => return Err(error.into()),
        };
        if !key.commitment(custody.provider).is_ok_and(|commitment| commitment.matches(&row.commitment)) {
            return Err(Failure::new("its new form is another key; the old ones stay"));
        }
    }
    Ok(())
}
