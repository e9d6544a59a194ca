//! `sealgate keys verify`.

use super::super::session::{self, Failure, Session};
use super::super::{ConfigFile, Exit, complain, say, table};
use super::custody::{self, change, note, parse_scope, rows, uses};
use super::list::Keks;
use super::proof::{Form, Prover};
use crate::app::keys::{self, StoreIs};
use crate::audit::AuditEvent;
use crate::audit::event::{KeyChange, KeyUse};
use crate::config::{Config, checked};
use crate::keyring::several::{Role, Trial, Tried};
use crate::keyring::store::{KeyRow, KeyState, KeyStore};
use crate::proxy::rule::ScopeSource;
use crate::seal::{EncryptionContext, KekTag, Purpose, Scope};
use clap::Args;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use std::sync::Arc;

/// How many keys are looked at at once.
const AT_ONCE: usize = 8;
/// How many keys one record tells of. Every one of a part failing ends the command: the rest would fail too.
const PART: usize = 64;
/// How often a key is looked at anew whose row changes meanwhile.
const TRIES_MAX: usize = 4;

#[derive(Args)]
pub(in crate::cli) struct Verify {
    #[command(flatten)]
    config: ConfigFile,
    /// Only keys of this scope.
    #[arg(long, value_parser = parse_scope)]
    scope: Option<Scope>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What was found of one key.
struct Found {
    place: &'static str,
    row: KeyRow,
    forms: Vec<(KekTag, Form)>,
}

impl Found {
    /// Whether it opens by one form at least and by all that can be looked at, and none is missing.
    fn is_good(&self) -> bool {
        let bad = |form: &Form| matches!(form, Form::Fails(_) | Form::Missing);
        let opens = self.forms.iter().any(|(_, form)| *form == Form::Opens);
        self.row.state == KeyState::Shredded || (opens && !self.forms.iter().any(|(_, form)| bad(form)))
    }
}

/// All that was found.
struct Findings {
    keks: Keks,
    /// For each KEK, in the order of the config, what it does with a new key.
    new: Vec<(KekTag, Form)>,
    old: Vec<KekTag>,
    keys: Vec<Found>,
    untried: usize,
}

pub(super) async fn verify(arguments: Verify) -> Result<Exit, Failure> {
    let Verify { config, scope, json } = arguments;
    let Config { provider, keyring, audit, routes, .. } = session::config(&config.config)?;
    let session = Session::open(&audit).await?;
    let checked::Keyring { first, also, old, keyset, store, .. } = keyring;
    let keyring = keys::keyring(provider, first, (also, old)).await?;
    let mut places: Vec<(&'static str, Arc<dyn KeyStore>)> = Vec::new();
    if let Some(keyset) = keyset {
        places.push(("keyset", Arc::new(keyset)));
    }
    if store.is_some() {
        places.push(("store", custody::store(provider, store, StoreIs::There).await?));
    }
    let mut all = Vec::new();
    for (place, store) in &places {
        all.push((*place, store, rows(&**store, scope).await?));
    }
    let fixed =
        routes.iter().find_map(|route| if let ScopeSource::Fixed(scope) = route.scope { Some(scope) } else { None });
    let stored = || all.iter().find_map(|(.., rows)| rows.first().map(|row| row.scope));
    let Some(try_scope) = scope.or(fixed).or_else(stored) else {
        return Err(Failure::usage("no route says its scope; name the one to try out new keys in by --scope"));
    };
    let prover = Prover { keyring: &keyring, provider };
    let mut findings = Findings {
        keks: Keks::of(&keyring),
        new: try_out(&session, &prover, try_scope).await?,
        old: keyring.names().into_iter().filter(|(.., role)| *role == Role::Old).map(|(tag, ..)| tag).collect(),
        keys: Vec::new(),
        untried: 0,
    };
    for (place, store, rows) in all {
        in_place(&session, &prover, (place, store.as_ref()), rows, scope, &mut findings).await?;
    }
    Ok(findings.tell(json))
}

/// Has each wanted KEK wrap and unwrap a throw-away key: what inline tokens are sealed under stands in no store.
async fn try_out(session: &Session, prover: &Prover<'_>, scope: Scope) -> Result<Vec<(KekTag, Form)>, Failure> {
    let part = || KeyChange { scope: Some(scope.to_string()), ..change(session, "verify", "a throw-away key") };
    session.record(&AuditEvent::KeyChangeIntended(part())).await?;
    let context = EncryptionContext { scope, purpose: Purpose::Field };
    let tried = prover.keyring.try_out(prover.provider, context).await;
    let mut done = part();
    let mut forms = Vec::new();
    for ((tag, ..), Tried { trial, key, calls, .. }) in prover.keyring.names().into_iter().zip(tried) {
        done.keys.extend(key.map(|id| uses(id, &calls)).unwrap_or_default());
        let form = match trial {
            Trial::Opens => Form::Opens,
            Trial::Offline => Form::Offline,
            Trial::Fails(error) => {
                done.failed += 1;
                done.cause = Some(error.to_string());
                Form::Fails(error)
            }
        };
        forms.push((tag, form));
    }
    session.record(&AuditEvent::KeysChanged(done)).await?;
    Ok(forms)
}

/// Looks at the keys of one place. Each part is on record before it is told.
async fn in_place(
    session: &Session,
    prover: &Prover<'_>,
    (place, store): (&'static str, &dyn KeyStore),
    rows: Vec<KeyRow>,
    scope: Option<Scope>,
    findings: &mut Findings,
) -> Result<(), Failure> {
    if rows.is_empty() {
        return Ok(());
    }
    let part = || KeyChange { scope: scope.map(|scope| scope.to_string()), ..change(session, "verify", store.name()) };
    let mut intended = part();
    note(&mut intended, rows.iter().map(KeyRow::id));
    session.record(&AuditEvent::KeyChangeIntended(intended)).await?;
    let mut left = rows.len();
    for rows in rows.chunks(PART) {
        let work = rows.iter().map(|row| one(prover, store, row.clone()));
        let results: Vec<_> = stream::iter(work).buffered(AT_ONCE).collect().await;
        let mut done = part();
        let first = findings.keys.len();
        for result in results {
            let (row, forms, uses) = result?;
            note(&mut done, [row.id()]);
            done.keys.extend(uses);
            let found = Found { place, row, forms };
            if !found.is_good() {
                done.failed += 1;
                let cause = found.forms.iter().find(|(_, form)| *form != Form::Opens).map(|(_, form)| form.why());
                done.cause = cause.or(done.cause);
            }
            findings.keys.push(found);
        }
        left -= rows.len();
        let forms = || findings.keys.iter().skip(first).flat_map(|found| &found.forms);
        let none = forms().next().is_some() && !forms().any(|(_, form)| *form == Form::Opens);
        session.record(&AuditEvent::KeysChanged(done)).await?;
        if none {
            break;
        }
    }
    findings.untried += left;
    Ok(())
}

/// Looks at one key, and once more if its row was changed meanwhile.
async fn one(
    prover: &Prover<'_>,
    store: &dyn KeyStore,
    mut row: KeyRow,
) -> Result<(KeyRow, Vec<(KekTag, Form)>, Vec<KeyUse>), Failure> {
    let mut all = Vec::new();
    let mut tries = 1;
    loop {
        let (forms, uses) = prover.forms(&row).await;
        all.extend(uses);
        let open = forms.iter().all(|(_, form)| *form == Form::Opens);
        match if open { None } else { store.row(row.id()).await? } {
            Some(now) if now.edks != row.edks && tries < TRIES_MAX => row = now,
            _ => return Ok((row, forms, all)),
        }
        tries += 1;
    }
}

impl Findings {
    fn tell(&self, as_json: bool) -> Exit {
        for (tag, form) in self.new.iter().filter(|(_, form)| matches!(form, Form::Fails(_))) {
            complain(&format!("a new key: under {}: {}\n", self.keks.name(*tag), form.why()));
        }
        for found in self.keys.iter().filter(|found| !found.is_good()) {
            let (id, place) = (found.row.id(), found.place);
            for (tag, form) in found.forms.iter().filter(|(_, form)| *form != Form::Opens) {
                complain(&format!("key {id} of the {place}: under {}: {}\n", self.keks.name(*tag), form.why()));
            }
        }
        if self.untried > 0 {
            complain(&format!("{} keys were not tried: none of {PART} opened\n", self.untried));
        }
        let said = if as_json { say(&format!("{}\n", self.as_json())) } else { say(&self.as_text()) };
        if self.is_good() { said } else { Exit::Failure }
    }

    fn is_good(&self) -> bool {
        let fails = self.new.iter().any(|(_, form)| matches!(form, Form::Fails(_)));
        let opens = self.new.iter().any(|(_, form)| *form == Form::Opens);
        opens && !fails && self.untried == 0 && self.keys.iter().all(Found::is_good)
    }

    /// A line for each KEK, and one for all.
    fn as_text(&self) -> String {
        let mut lines =
            vec![["KEK", "NEW KEY", "OPENS", "FAILED", "MISSING", "NOT CHECKED"].map(str::to_owned).to_vec()];
        let mut tags: Vec<KekTag> = self.new.iter().map(|(tag, _)| *tag).chain(self.old.iter().copied()).collect();
        for (tag, _) in self.keys.iter().flat_map(|found| &found.forms) {
            if !tags.contains(tag) {
                tags.push(*tag);
            }
        }
        for tag in tags {
            let of_kek = || self.keys.iter().flat_map(|found| &found.forms).filter(|(kek, _)| *kek == tag);
            let count =
                |wanted: &[&str]| of_kek().filter(|(_, form)| wanted.contains(&form.as_str())).count().to_string();
            let new = self.new.iter().find(|(kek, _)| *kek == tag).map_or("-", |(_, form)| match form {
                Form::Offline => "not checked: offline",
                form => form.as_str(),
            });
            lines.push(vec![
                self.keks.name(tag),
                new.to_owned(),
                count(&["opens"]),
                count(&["failed"]),
                count(&["missing"]),
                count(&["offline", "unknown"]),
            ]);
        }
        let good = self.keys.iter().filter(|found| found.is_good()).count();
        let total = self.keys.len() + self.untried;
        table(&lines) + &format!("{good} of {total} keys open by every form that can be checked here\n")
    }

    fn as_json(&self) -> Value {
        let form = |(tag, form): &(KekTag, Form)| {
            let why = matches!(form, Form::Fails(_)).then(|| form.why());
            json!({"kek": self.keks.name(*tag), "outcome": form.as_str(), "cause": why})
        };
        let keys = self.keys.iter().map(|found| {
            json!({
                "id": found.row.id().to_string(),
                "scope": found.row.scope.as_str(),
                "purpose": found.row.purpose.as_str(),
                "state": found.row.state.as_str(),
                "in": found.place,
                "good": found.is_good(),
                "forms": found.forms.iter().map(form).collect::<Vec<_>>(),
            })
        });
        json!({
            "good": self.is_good(),
            "new_key": self.new.iter().map(form).collect::<Vec<_>>(),
            "keys": keys.collect::<Vec<_>>(),
            "untried": self.untried,
        })
    }
}
