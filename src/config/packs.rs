//! Packs: rules and classes that are written once and taken by many routes. Some come with the gate.

use super::files::Files;
use super::raw;
use super::source::{self, item, key};
use std::collections::{BTreeMap, HashMap};

/// The packs that come with the gate: name and text.
pub const BUILT_IN: &[(&str, &str)] = &[("fhir-r4", include_str!("packs/fhir-r4.yaml"))];

/// The packs that some route takes, by their names.
#[derive(Default)]
pub(super) struct Packs(HashMap<String, Pack>);

/// What a pack brings to a route.
#[derive(Default)]
pub(super) struct Pack {
    pub(super) name: String,
    pub(super) rules: Vec<raw::Rule>,
    pub(super) resources_allowed: Vec<String>,
    pub(super) query_allowed: Vec<String>,
}

impl Packs {
    /// Reads those that the routes name. Their classes join those of the config, which has the last word on each.
    pub(super) fn load(
        files: &mut Files<'_>,
        routes: &[raw::Route],
        classes: &mut BTreeMap<String, raw::Class>,
    ) -> Packs {
        let mut packs = Packs::default();
        for (number, route) in routes.iter().enumerate() {
            for (index, name) in route.packs.iter().enumerate() {
                let at = item(&key(&item("routes", number), "packs"), index);
                if packs.0.contains_key(name) || files.is_mended(&at) {
                    continue;
                }
                let raw::Pack { classes: more, rules, resources_allowed, query_allowed } =
                    read(files, &at, name).unwrap_or_default();
                for (name, class) in more {
                    classes.entry(name).or_insert(class);
                }
                packs.0.insert(name.clone(), Pack { name: name.clone(), rules, resources_allowed, query_allowed });
            }
        }
        packs
    }

    pub(super) fn find(&self, name: &str) -> Option<&Pack> {
        self.0.get(name)
    }
}

fn read(files: &mut Files<'_>, at: &str, name: &str) -> Option<raw::Pack> {
    let built_in = BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned());
    let text = match built_in {
        Some(text) => text,
        None if !name.ends_with(".yaml") => {
            let known: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
            let message = format!("wanted {}, or the name of a .yaml file", known.join(", "));
            files.problem(at, message);
            return None;
        }
        None => match String::from_utf8(files.public(at, name)?) {
            Ok(text) => text,
            Err(_) => {
                files.problem(at, "wanted a file in UTF-8");
                return None;
            }
        },
    };
    match source::load::<raw::Pack>(&text, &|_| None) {
        Ok(loaded) => Some(loaded.value),
        Err(refused) => {
            for problem in refused.problems {
                let quoted = files.quoted(at, name);
                files.problem(at, format!("pack {quoted}: {problem}"));
            }
            None
        }
    }
}
