//! `sealgate keys list`.

use super::super::session::{self, Failure};
use super::super::{ConfigFile, Exit, say, table};
use super::custody::{self, parse_scope, rows};
use crate::app::keys::{self, StoreIs};
use crate::config::Config;
use crate::config::checked;
use crate::keyring::Several;
use crate::keyring::store::KeyRow;
use crate::seal::{KekTag, Scope};
use clap::Args;
use serde_json::{Value, json};

#[derive(Args)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    config: ConfigFile,
    /// Only keys of this scope.
    #[arg(long, value_parser = parse_scope)]
    scope: Option<Scope>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn list(arguments: List) -> Result<Exit, Failure> {
    let List { config, scope, json } = arguments;
    let Config { provider, keyring, .. } = session::config(&config.config)?;
    let checked::Keyring { first, also, old, keyset, store, .. } = keyring;
    if keyset.is_none() && store.is_none() {
        return Err(Failure::new(
            "the config has neither keyring.store nor keyring.keyset_file: every token has its own key",
        ));
    }
    let keks = Keks::of(&keys::keyring(provider, first, (also, old)).await?);
    let mut found: Vec<(String, KeyRow)> = Vec::new();
    if let Some(keyset) = keyset {
        let all = rows(&keyset, scope).await?;
        found.extend(all.into_iter().map(|row| ("keyset".to_owned(), row)));
    }
    if store.is_some() {
        let store = custody::store(provider, store, StoreIs::There).await?;
        let all = rows(&*store, scope).await?;
        found.extend(all.into_iter().map(|row| ("store".to_owned(), row)));
    }
    found.sort_by(|(_, one), (_, other)| {
        (one.scope, one.purpose, one.created_at).cmp(&(other.scope, other.purpose, other.created_at))
    });
    if json {
        let keys: Vec<Value> = found.iter().map(|(place, row)| as_json(place, row, &keks)).collect();
        return Ok(say(&format!("{}\n", Value::from(keys))));
    }
    let mut lines =
        vec![["ID", "SCOPE", "PURPOSE", "STATE", "IN", "CREATED", "CHANGED", "KEKS"].map(str::to_owned).to_vec()];
    lines.extend(found.iter().map(|(place, row)| {
        vec![
            row.id().to_string(),
            row.scope.to_string(),
            row.purpose.as_str().to_owned(),
            row.state.as_str().to_owned(),
            place.clone(),
            format!("{:.0}", row.created_at),
            format!("{:.0}", row.changed_at),
            keks.names(row).join(", "),
        ]
    }));
    Ok(say(&table(&lines)))
}

fn as_json(place: &str, row: &KeyRow, keks: &Keks) -> Value {
    json!({
        "id": row.id().to_string(),
        "scope": row.scope.as_str(),
        "purpose": row.purpose.as_str(),
        "state": row.state.as_str(),
        "in": place,
        "created_at": row.created_at.to_string(),
        "changed_at": row.changed_at.to_string(),
        "keks": keks.names(row),
    })
}

/// The names of the KEKs that the config knows.
pub(in crate::cli) struct Keks(Vec<(KekTag, String)>);

impl Keks {
    pub(in crate::cli) fn of(keyring: &Several) -> Self {
        let named = keyring.names().into_iter().map(|(tag, name, role)| (tag, format!("{name} ({})", role.as_str())));
        Self(named.collect())
    }

    /// Of no config: every KEK goes by its tag.
    pub(in crate::cli) const fn unknown() -> Self {
        Self(Vec::new())
    }

    pub(in crate::cli) fn name(&self, tag: KekTag) -> String {
        let known = self.0.iter().find(|(known, _)| *known == tag);
        known.map_or_else(|| format!("unknown, tag {tag}"), |(_, name)| name.clone())
    }

    fn names(&self, row: &KeyRow) -> Vec<String> {
        row.edks.iter().map(|edk| self.name(edk.kek)).collect()
    }
}
