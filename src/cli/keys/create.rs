//! `sealgate keys create`.

use super::super::session::{self, Failure};
use super::super::{Exit, say};
use super::Where;
use super::custody::{self, Custody, is_long_lived, note, parse_purpose, parse_scope};
use crate::app::keys::StoreIs;
use crate::audit::event::KeyChange;
use crate::keyring::store::KeyRow;
use crate::seal::{EncryptionContext, Purpose, Scope};
use clap::Args;
use std::sync::Arc;

#[derive(Args)]
pub(in crate::cli) struct Create {
    #[command(flatten)]
    place: Where,
    /// Whose data it is to seal.
    #[arg(long, value_parser = parse_scope)]
    scope: Scope,
    /// What it is for: lookup (suite deterministic), format, field (suite random) or stream.
    #[arg(long, value_parser = parse_purpose)]
    purpose: Purpose,
}

pub(super) async fn create(arguments: Create) -> Result<Exit, Failure> {
    let Create { place: Where { config, keyset }, scope, purpose } = arguments;
    if keyset.is_some() && !is_long_lived(purpose) {
        return Err(Failure::usage(
            "a keyset file is for lookup and format keys; those for fields and streams the gate makes in its store",
        ));
    }
    let config = session::config_before_keys(&config.config)?;
    let mut custody = Custody::open(config, keyset.as_deref()).await?;
    let context = EncryptionContext { scope, purpose };
    refuse_second(&mut custody, context).await?;
    let change = KeyChange {
        scope: Some(scope.to_string()),
        purpose: Some(purpose.as_str()),
        count: 1,
        ..custody.change("create")
    };
    custody.intend(&change).await?;
    let mut change = KeyChange { count: 0, ..change };
    let result = put(&custody, context, &mut change).await;
    let row = custody.conclude(change, result).await?;
    let under: Vec<_> = custody
        .keyring
        .names()
        .into_iter()
        .filter(|(tag, ..)| row.edks.iter().any(|edk| edk.kek == *tag))
        .map(|(_, name, _)| name.to_string())
        .collect();
    Ok(say(&format!(
        "key {} of scope {scope} for {} is active in {}, wrapped under {}\n",
        row.id(),
        purpose.as_str(),
        custody.place.name(),
        under.join(", ")
    )))
}

/// A key of the keyset goes before one of the store: a second one would take over unasked, or be in no use.
async fn refuse_second(custody: &mut Custody, context: EncryptionContext) -> Result<(), Failure> {
    let EncryptionContext { scope, purpose } = context;
    let mut places = vec![Arc::clone(&custody.place)];
    if is_long_lived(purpose) {
        places.extend(custody.keyset.clone());
        if let Some(settings) = custody.other.take() {
            places.push(custody::store(custody.provider, Some(settings), StoreIs::There).await?);
        }
    }
    for place in places {
        if let Some(active) = place.active(scope, purpose).await? {
            return Err(Failure::new(format!(
                "key {} of scope {scope} for {} is active in {} already",
                active.id(),
                purpose.as_str(),
                place.name()
            )));
        }
    }
    Ok(())
}

async fn put(custody: &Custody, context: EncryptionContext, change: &mut KeyChange) -> Result<KeyRow, Failure> {
    let (row, uses) = custody.make(context).await?;
    change.keys = uses;
    let id = row.id();
    let active = custody.place.activate(row, None).await?;
    if active.id() != id {
        return Err(Failure::new(format!("key {} was made active meanwhile; it stands", active.id())));
    }
    note(change, [id]);
    Ok(active)
}
