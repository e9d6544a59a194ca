//! `sealgate keys rotate`.

use super::super::session::{self, Failure};
use super::super::{Exit, say};
use super::Where;
use super::custody::{Custody, is_long_lived, note, parse_purpose, parse_scope};
use crate::audit::event::KeyChange;
use crate::keyring::store::KeyRow;
use crate::seal::{EncryptionContext, KeyId, Purpose, Scope};
use clap::Args;

#[derive(Args)]
pub(in crate::cli) struct Rotate {
    #[command(flatten)]
    place: Where,
    /// Whose key.
    #[arg(long, value_parser = parse_scope)]
    scope: Scope,
    /// What it is for: lookup, field or stream.
    #[arg(long, value_parser = parse_purpose)]
    purpose: Purpose,
    /// For lookup keys: accept that equal values, sealed before and after, have two tokens.
    #[arg(long)]
    accept_new_tokens: bool,
}

pub(super) async fn rotate(arguments: Rotate) -> Result<Exit, Failure> {
    let Rotate { place: Where { config, keyset }, scope, purpose, accept_new_tokens } = arguments;
    match purpose {
        Purpose::Format => {
            return Err(Failure::new(
                "a format key is for life: what was sealed by it does not say so, and would open to something else by another \
                 key; changing it is a migration of the data",
            ));
        }
        Purpose::Lookup if !accept_new_tokens => {
            return Err(Failure::new(
                "with another lookup key equal values have two tokens: searches of FHIR ask for both, but unique columns, joins, \
                 path segments and other parameters take them for two values. If that is accepted, say --accept-new-tokens",
            ));
        }
        _ => {}
    }
    let config = session::config(&config.config)?;
    let custody = Custody::open(config, keyset.as_deref()).await?;
    let Some(old) = custody.place.active(scope, purpose).await? else {
        return Err(Failure::new(format!(
            "no key of scope {scope} for {} is active in {}; make one with `sealgate keys create`",
            purpose.as_str(),
            custody.place.name()
        )));
    };
    refuse_hidden(&custody, scope, purpose).await?;
    let context = EncryptionContext { scope, purpose };
    let change =
        || KeyChange { scope: Some(scope.to_string()), purpose: Some(purpose.as_str()), ..custody.change("rotate") };
    let mut intended = change();
    note(&mut intended, [old.id()]);
    custody.intend(&intended).await?;
    let mut change = change();
    let result = put(&custody, context, old.id(), &mut change).await;
    let new = custody.conclude(change, result).await?;
    Ok(say(&format!(
        "key {} of scope {scope} for {} is active in {}; key {} opens on. Running gates go over to it within {} s, or at \
         once after `sealgate keys purge`\n",
        new.id(),
        purpose.as_str(),
        custody.place.name(),
        old.id(),
        custody.revocation_bound.as_secs()
    )))
}

/// A key of the store that one of the keyset goes before is in no use.
async fn refuse_hidden(custody: &Custody, scope: Scope, purpose: Purpose) -> Result<(), Failure> {
    let configured = custody.keyset.as_ref().filter(|_| !custody.is_keyset && is_long_lived(purpose));
    let Some(keyset) = configured else { return Ok(()) };
    match keyset.active(scope, purpose).await? {
        None => Ok(()),
        Some(active) => Err(Failure::new(format!(
            "key {} of keyset file {} is the one in use; name the file by --keyset",
            active.id(),
            keyset.name()
        ))),
    }
}

async fn put(
    custody: &Custody,
    context: EncryptionContext,
    old: KeyId,
    change: &mut KeyChange,
) -> Result<KeyRow, Failure> {
    let (row, uses) = custody.make(context).await?;
    change.keys = uses;
    let id = row.id();
    let active = custody.place.activate(row, Some(old)).await?;
    if active.id() != id {
        return Err(Failure::new(format!("key {} was made active meanwhile; it stands", active.id())));
    }
    note(change, [id]);
    Ok(active)
}
