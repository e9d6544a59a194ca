//! `sealgate keys shred`: the keys of a scope are destroyed, and with them everything that they sealed, in every copy.

mod certificate;

use super::super::session::{self, Failure};
use super::super::{ConfigFile, Exit, complain, purge, say};
use super::custody::{Custody, note, parse_scope, rows};
use crate::audit::event::KeyChange;
use crate::keyring::store::{KeyRow, KeyState};
use crate::policy::Policy;
use crate::proxy::route::{Protection, Routes};
use crate::proxy::rule::{ScopeSource, Treatment};
use crate::seal::{Placement, Scope};
use certificate::{Certificate, Destroyed, Draft};
use clap::Args;
use jiff::Timestamp;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::PathBuf;

/// How often all rows are looked at again, since a gate may have made another key meanwhile.
const ROUNDS_MAX: usize = 16;

#[derive(Args)]
pub(in crate::cli) struct Shred {
    #[command(flatten)]
    config: ConfigFile,
    /// Whose keys.
    #[arg(long, value_parser = parse_scope)]
    scope: Scope,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Where the certificate of what was destroyed is written. Default: shred-SCOPE-TIME.json, here.
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Address of the admin listener of the gate on this machine, which is told to drop its keys. Default: the config's.
    #[arg(long)]
    admin: Option<SocketAddr>,
}

pub(super) async fn shred(arguments: Shred) -> Result<Exit, Failure> {
    let Shred { config, scope, yes, certificate, admin } = arguments;
    let config = session::config(&config.config)?;
    refuse_inline(&config.routes, &config.policy, scope)?;
    let custody = Custody::open(config, None).await?;
    refuse_keyset(&custody, scope).await?;
    let there = rows(&*custody.place, Some(scope)).await?;
    if there.is_empty() {
        return Err(Failure::new(format!("{} has no key of scope {scope}", custody.place.name())));
    }
    let alive = there.iter().filter(|row| row.state != KeyState::Shredded).count();
    confirm(&custody, scope, alive, yes)?;
    let draft = Draft::create(certificate, scope)?;
    let mut change = KeyChange { scope: Some(scope.to_string()), ..custody.change("shred") };
    note(&mut change, there.iter().filter(|row| row.state != KeyState::Shredded).map(KeyRow::id));
    custody.intend(&change).await?;
    let mut destroyed: Vec<Destroyed> =
        there.iter().filter(|row| row.state == KeyState::Shredded).map(Destroyed::before).collect();
    let before = destroyed.len();
    let result = destroy(&custody, scope, &mut destroyed).await;
    let purged = purge::order(admin.unwrap_or(custody.admin));
    let path = draft.path().display().to_string();
    let certified = draft.write(&Certificate {
        scope,
        custody: &custody,
        destroyed: &destroyed,
        complete: result.is_ok(),
        purged: purged.as_ref().err().map(String::as_str),
        at: Timestamp::now(),
    });
    (change.count, change.ids) = (0, Vec::new());
    note(&mut change, destroyed.iter().skip(before).map(|one| one.id));
    let count = change.count;
    let gone = custody.conclude(change, result.and(certified)).await;
    let mut said =
        format!("{count} keys of scope {scope} are destroyed in {}; certificate: {path}\n", custody.place.name());
    said += &match purged {
        Ok(()) => "the gate on this machine has dropped its keys; ".to_owned(),
        Err(why) => format!("{why}; "),
    };
    said += &format!(
        "no gate holds one for longer than {} s from now\nexports and backups of the key store still hold them, encrypted: \
         destroy those too\n",
        custody.revocation_bound.as_secs()
    );
    match gone {
        Ok(()) => Ok(say(&said)),
        Err(failure) => {
            complain(&said);
            Err(failure)
        }
    }
}

/// Tokens that carry their own key are not touched by what happens in a store.
fn refuse_inline(routes: &Routes, policy: &Policy, scope: Scope) -> Result<(), Failure> {
    for route in routes.iter() {
        let can_be = match &route.scope {
            ScopeSource::Fixed(fixed) => *fixed == scope,
            ScopeSource::Parameter(_) | ScopeSource::Header(_) | ScopeSource::Identity | ScopeSource::Claim(_) => {
                policy.scopes().any(|known| known == scope)
            }
        };
        let Protection::Rules(protected) = &route.protection else { continue };
        let inline =
            |treatment: &Treatment| matches!(treatment, Treatment::Random { placement: Placement::Inline, .. });
        let rule = protected.fields.iter().flatten().find(|rule| inline(&rule.class.treatment));
        if let Some(rule) = rule.filter(|_| can_be) {
            return Err(Failure::new(format!(
                "scope {scope} cannot be shredded: route {} seals class {} inline, and those tokens carry their own data key, \
                 which only the KEK's end would destroy. Nothing was changed",
                route.name, rule.class.class
            )));
        }
    }
    Ok(())
}

/// A keyset file is in version control, in every copy of it.
async fn refuse_keyset(custody: &Custody, scope: Scope) -> Result<(), Failure> {
    let Some(keyset) = &custody.keyset else { return Ok(()) };
    let rows = rows(&**keyset, Some(scope)).await?;
    match rows.iter().find(|row| row.state != KeyState::Shredded) {
        None => Ok(()),
        Some(row) => Err(Failure::new(format!(
            "scope {scope} cannot be shredded: key {} stands in keyset file {}, of which there are copies. Nothing was changed",
            row.id(),
            keyset.name()
        ))),
    }
}

fn confirm(custody: &Custody, scope: Scope, alive: usize, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::new(
            "what is destroyed cannot be had again: say --yes, or run it on a terminal, where it asks",
        ));
    }
    complain(&format!(
        "This destroys {alive} keys of scope {scope} in {}, and with them everything that they sealed, in every copy and \
         backup of the data. It cannot be undone.\nType the scope to go on: ",
        custody.place.name()
    ));
    let mut typed = String::new();
    let read = io::stdin().read_line(&mut typed);
    if read.is_ok() && typed.trim() == scope.as_str() {
        return Ok(());
    }
    Err(Failure::new("not confirmed; nothing was changed"))
}

/// Replaces every row of the scope by its tombstone, until there is none left.
async fn destroy(custody: &Custody, scope: Scope, destroyed: &mut Vec<Destroyed>) -> Result<(), Failure> {
    for _ in 0..ROUNDS_MAX {
        let mut left = rows(&*custody.place, Some(scope)).await?;
        left.retain(|row| row.state != KeyState::Shredded);
        if left.is_empty() {
            return Ok(());
        }
        for row in left {
            let changed_at = Timestamp::now().max(row.changed_at);
            let tombstone = KeyRow { state: KeyState::Shredded, edks: Vec::new(), changed_at, ..row.clone() };
            let one = Destroyed::now(&row, &tombstone);
            // One that was changed meanwhile is looked at again in the next round.
            if custody.place.replace(row, tombstone).await? {
                destroyed.push(one);
            }
        }
    }
    Err(Failure::new(format!(
        "keys of scope {scope} are made as fast as they are destroyed; stop the gates that make them"
    )))
}
