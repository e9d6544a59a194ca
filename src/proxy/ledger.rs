//! What was done with values, and by which data keys, as it adds up: also over a body that is never there whole.

use crate::audit::event::{Exchange, FieldAction, FieldCount, KEYS_MAX, KeyUse, ResourceCount};
use crate::document::Resources;
use crate::keyring::Held;
use crate::seal::{Class, KeyId};

/// Counts of values by class and what was done, and each use of a data key once.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) fields: Vec<FieldCount>,
    pub(super) keys: Vec<KeyUse>,
    pub(super) keys_omitted: u64,
    /// How many values each rule met, by its number, and what was done with them.
    pub(super) met: Vec<(usize, FieldAction, u64)>,
    /// The resources of a response.
    pub(super) resources: Resources,
}

impl Ledger {
    /// Counts one more value of a class.
    pub(super) fn field(&mut self, class: Class, action: FieldAction) {
        count(&mut self.fields, class, action, 1);
    }

    /// Counts one more value that a rule met.
    pub(super) fn met(&mut self, rule: Option<usize>, action: FieldAction) {
        let Some(rule) = rule else { return };
        match self.met.iter_mut().find(|(known, done, _)| *known == rule && *done == action) {
            Some((.., count)) => *count += 1,
            None => self.met.push((rule, action, 1)),
        }
    }

    /// The rules that met something.
    pub(super) fn rules_met(&self) -> impl Iterator<Item = usize> {
        self.met.iter().map(|(rule, ..)| *rule)
    }

    /// Notes that a data key was used, and each call that brought it.
    pub(super) fn key<K>(&mut self, id: KeyId, held: &Held<K>) {
        for call in held.calls.iter() {
            self.keys_omitted += note(&mut self.keys, KeyUse::new(id, call, held.stale));
        }
    }

    /// Adds it up with what an exchange's record has.
    pub(super) fn settle(self, record: &mut Exchange) {
        for FieldCount { class, action, count: more } in self.fields {
            count(&mut record.fields, class, action, more);
        }
        for (kind, more) in self.resources.iter() {
            match record.resources.iter_mut().find(|known| *known.kind == *kind) {
                Some(known) => known.count += more,
                None => record.resources.push(ResourceCount { kind: kind.into(), count: more }),
            }
        }
        record.keys_omitted += self.keys_omitted;
        for key in self.keys {
            record.keys_omitted += note(&mut record.keys, key);
        }
    }
}

/// Tells how many were not noted.
fn note(keys: &mut Vec<KeyUse>, new: KeyUse) -> u64 {
    if keys.contains(&new) {
        return 0;
    }
    if keys.len() < KEYS_MAX {
        keys.push(new);
        return 0;
    }
    1
}

fn count(fields: &mut Vec<FieldCount>, class: Class, action: FieldAction, more: u64) {
    match fields.iter_mut().find(|count| count.class == class && count.action == action) {
        Some(count) => count.count += more,
        None => fields.push(FieldCount { class, action, count: more }),
    }
}
