//! `sealgate keys revoke`.

use super::super::session::{self, Failure};
use super::super::{Exit, purge, say};
use super::Where;
use super::custody::{Custody, note, parse_key_id};
use crate::audit::event::KeyChange;
use crate::keyring::store::{KeyRow, KeyState};
use crate::seal::{KeyId, Purpose};
use clap::Args;
use jiff::Timestamp;
use std::net::SocketAddr;

/// How often a row is taken anew that somebody else has changed.
const TRIES_MAX: usize = 8;

#[derive(Args)]
pub(in crate::cli) struct Revoke {
    #[command(flatten)]
    place: Where,
    /// The key's id, as `sealgate keys list` and the audit journal have it.
    #[arg(value_parser = parse_key_id)]
    id: KeyId,
    /// Have a revoked key open again what it sealed. It seals nothing any more.
    #[arg(long)]
    undo: bool,
    /// Address of the admin listener of the gate on this machine, which is told to drop its keys. Default: the config's.
    #[arg(long)]
    admin: Option<SocketAddr>,
}

pub(super) async fn revoke(arguments: Revoke) -> Result<Exit, Failure> {
    let Revoke { place: Where { config, keyset }, id, undo, admin } = arguments;
    let config = session::config(&config.config)?;
    let custody = Custody::open(config, keyset.as_deref()).await?;
    let (name, state) = if undo { ("restore", KeyState::DecryptOnly) } else { ("revoke", KeyState::Revoked) };
    let Some(row) = custody.place.row(id).await? else {
        return Err(Failure::new(format!("{} has no key {id}", custody.place.name())));
    };
    may_become(&row, state)?;
    // No other key opens its values, and nothing in them says that it did not.
    if row.purpose == Purpose::Format {
        return Err(Failure::new(
            "a format key is for life: without it no value of its classes opens; disable its KEK, or take the classes' \
             routes away",
        ));
    }
    let mut change =
        KeyChange { scope: Some(row.scope.to_string()), purpose: Some(row.purpose.as_str()), ..custody.change(name) };
    note(&mut change, [id]);
    custody.intend(&change).await?;
    let was_active = row.state == KeyState::Active;
    let result = put(&custody, row, state).await;
    if result.is_err() {
        (change.count, change.ids) = (0, Vec::new());
    }
    custody.conclude(change, result).await?;
    let mut said = format!("key {id} is {} in {}\n", state.as_str(), custody.place.name());
    if was_active {
        said += "it was the active one: another lookup key is made by `sealgate keys create`; others the gate makes when it \
                 needs them\n";
    }
    said += &match purge::order(admin.unwrap_or(custody.admin)) {
        Ok(()) => "the gate on this machine has dropped its keys; ".to_owned(),
        Err(why) => format!("{why}; "),
    };
    said += &format!("every gate obeys within {} s\n", custody.revocation_bound.as_secs());
    Ok(say(&said))
}

fn may_become(row: &KeyRow, state: KeyState) -> Result<(), Failure> {
    match (row.state, state) {
        (KeyState::Revoked, KeyState::DecryptOnly) | (KeyState::Active | KeyState::DecryptOnly, KeyState::Revoked) => {
            Ok(())
        }
        (is, _) => Err(Failure::new(format!("key {} is {}", row.id(), is.as_str()))),
    }
}

async fn put(custody: &Custody, mut row: KeyRow, state: KeyState) -> Result<(), Failure> {
    let id = row.id();
    for _ in 0..TRIES_MAX {
        let new = KeyRow { state, changed_at: Timestamp::now().max(row.changed_at), ..row.clone() };
        if custody.place.replace(row, new).await? {
            return Ok(());
        }
        row = custody.place.row(id).await?.ok_or_else(|| Failure::new(format!("key {id} is gone")))?;
        may_become(&row, state)?;
    }
    Err(Failure::new(format!("the row of key {id} changes too fast")))
}
