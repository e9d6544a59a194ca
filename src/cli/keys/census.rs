//! `sealgate keys census`.

use super::super::{Exit, complain, say, table};
use crate::audit::verify::{self, What};
use crate::seal::crypto::sha256;
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

#[derive(Args)]
pub(in crate::cli) struct Census {
    /// The journal's directory.
    directory: PathBuf,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What counts of an event.
#[derive(Deserialize)]
struct Event {
    event: String,
    at: String,
    #[serde(default)]
    keys: Vec<KeyUse>,
    #[serde(default)]
    keys_omitted: u64,
}

#[derive(Deserialize)]
struct KeyUse {
    id: String,
    kek: String,
}

/// What was seen of a key.
#[derive(Default)]
struct Seen {
    first: String,
    last: String,
    /// Exchanges and commands that used it.
    exchanges: u64,
    keks: BTreeSet<String>,
}

#[derive(Default)]
struct Keys {
    seen: BTreeMap<String, Seen>,
    /// Events that used more keys than they name.
    events_short: u64,
    /// How many uses those do not name.
    uses_omitted: u64,
}

pub(super) fn census(arguments: &Census) -> Exit {
    let Census { directory, json } = arguments;
    let events = match verify::events(directory, sha256) {
        Ok(events) => events,
        Err(finding) => {
            complain(&format!("{finding}\n"));
            return Exit::Failure;
        }
    };
    let (mut keys, mut exit) = (Keys::default(), Exit::Ok);
    for event in events {
        match event {
            Ok((seq, event)) => match serde_json::from_slice(&event) {
                Ok(event) => keys.take(event),
                Err(_) => complain(&format!("record {seq} is no event that this build knows\n")),
            },
            // A gate is writing it.
            Err(finding) if matches!(finding.what, What::TornTail { .. }) => complain(&format!("{finding}\n")),
            Err(finding) => {
                complain(&format!("{finding}; what stands behind it is not counted\n"));
                exit = Exit::Failure;
            }
        }
    }
    let said = say(&if *json { keys.as_json() } else { keys.as_table() });
    if exit == Exit::Ok { said } else { exit }
}

impl Keys {
    fn take(&mut self, event: Event) {
        // Of the records of one exchange or command the one that says how it ended counts; all of them have the times.
        let ends = matches!(
            event.event.as_str(),
            "ExchangeAnswered"
                | "ExchangeRefused"
                | "ExchangeAbandoned"
                | "ValuesOpened"
                | "ValuesSealed"
                | "KeysChanged"
        );
        if event.keys_omitted > 0 && ends {
            self.events_short += 1;
            self.uses_omitted = self.uses_omitted.saturating_add(event.keys_omitted);
        }
        let mut counted = BTreeSet::new();
        for KeyUse { id, kek } in event.keys {
            let is_new = counted.insert(id.clone());
            let seen = self.seen.entry(id).or_default();
            if seen.first.is_empty() {
                seen.first.clone_from(&event.at);
            }
            seen.last.clone_from(&event.at);
            seen.exchanges += u64::from(ends && is_new);
            seen.keks.insert(kek);
        }
    }

    fn as_json(&self) -> String {
        let keys: Vec<Value> = self
            .seen
            .iter()
            .map(|(id, seen)| {
                let Seen { first, last, exchanges, keks } = seen;
                json!({"id": id, "first_at": first, "last_at": last, "exchanges": exchanges, "keks": keks})
            })
            .collect();
        let (events, uses) = (self.events_short, self.uses_omitted);
        format!("{}\n", json!({"keys": keys, "events_that_omit_keys": events, "uses_omitted": uses}))
    }

    fn as_table(&self) -> String {
        let mut lines = vec![["ID", "FIRST", "LAST", "EXCHANGES", "KEKS"].map(str::to_owned).to_vec()];
        lines.extend(self.seen.iter().map(|(id, seen)| {
            let keks: Vec<&str> = seen.keks.iter().map(String::as_str).collect();
            vec![id.clone(), seen.first.clone(), seen.last.clone(), seen.exchanges.to_string(), keks.join(", ")]
        }));
        let mut text = table(&lines);
        if self.events_short > 0 {
            text += &format!(
                "{} events used more keys than an event names: {} uses are not counted here\n",
                self.events_short, self.uses_omitted
            );
        }
        text
    }
}
