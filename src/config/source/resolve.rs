//! The tree of nodes to JSON: variables put in, plain scalars typed, places and origins noted by path.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{
    TEXT_LIMIT,
    core::{self, Typing},
    expected, interpolate,
    node::{Content, Entry, Node, Scalar},
    path,
    problem::{Place, Places, Problem, Source, Spot},
};

/// A file as JSON, with what has to be known about its parts.
pub(super) struct Resolved {
    pub(super) value: Value,
    pub(super) places: Places,
    /// Paths of values that a problem was already made of; they are `null` here.
    pub(super) broken: BTreeSet<String>,
    /// Paths of mappings with keys that could not be understood.
    pub(super) partial: BTreeSet<String>,
    /// Paths of keys that stand twice; the first value is here.
    pub(super) twice: BTreeSet<String>,
    pub(super) origins: Origins,
}

/// What came from variables. Not `Debug`: it holds what they held.
#[derive(Default)]
pub(super) struct Origins {
    paths: BTreeSet<String>,
    values: BTreeSet<String>,
}

impl Origins {
    /// Whether a variable went into the value at `path` itself.
    pub(super) fn is_filled(&self, path: &str) -> bool {
        self.paths.contains(path)
    }

    /// Whether `text` tells what a variable held.
    pub(super) fn is_told_by(&self, text: &str) -> bool {
        self.values.iter().any(|value| expected::quotes(text, value))
    }
}

/// Resolves the tree, adding to `problems` what stands in the way.
pub(super) fn resolve(root: &Node, env: &dyn Fn(&str) -> Option<String>, problems: &mut Vec<Problem>) -> Resolved {
    let resolved = Resolved {
        value: Value::Null,
        places: Places::default(),
        broken: BTreeSet::new(),
        partial: BTreeSet::new(),
        twice: BTreeSet::new(),
        origins: Origins::default(),
    };
    let mut resolver = Resolver { resolved, room: TEXT_LIMIT, env, problems };
    let value = resolver.node(root, None, "");
    Resolved { value, ..resolver.resolved }
}

struct Resolver<'a> {
    resolved: Resolved,
    /// Bytes that variables may still make.
    room: usize,
    env: &'a dyn Fn(&str) -> Option<String>,
    problems: &'a mut Vec<Problem>,
}

impl Resolver<'_> {
    fn node(&mut self, node: &Node, key: Option<Place>, path: &str) -> Value {
        // What is not there has no place of its own.
        let absent = matches!(&node.content, Content::Scalar(s) if s.text.is_empty() && s.typing == Typing::Plain);
        let place = key.filter(|_| absent).unwrap_or(node.place);
        self.resolved.places.insert(path, Spot { key, value: place, source: None });
        match &node.content {
            Content::Scalar(scalar) => {
                if let Some(value) =
                    self.scalar(scalar, Spot { key, value: place, source: scalar.source.clone() }, path)
                {
                    return value;
                }
            }
            Content::List(items) => {
                let items = items.iter().enumerate();
                return items.map(|(index, item)| self.node(item, None, &path::item(path, index))).collect();
            }
            Content::Map { entries, whole } => {
                if !whole {
                    self.resolved.partial.insert(path.to_owned());
                }
                let entry = |Entry { key, place, node, twice }: &Entry| {
                    let at = path::key(path, key);
                    let value = self.node(node, Some(*place), &at);
                    if *twice {
                        self.resolved.twice.insert(at);
                    }
                    (key.clone(), value)
                };
                return Value::Object(entries.iter().map(entry).collect::<Map<_, _>>());
            }
            Content::Broken => {}
        }
        self.resolved.broken.insert(path.to_owned());
        Value::Null
    }

    fn scalar(&mut self, scalar: &Scalar, spot: Spot, path: &str) -> Option<Value> {
        let place = spot.value;
        let inside = |at: usize| scalar.source.as_ref().map_or(place, |source: &Source| source.place(place, at));
        let filled = match interpolate::fill(&scalar.text, self.room, self.env) {
            Ok(filled) => filled,
            Err(faults) => {
                let problem = |fault: interpolate::Fault| Problem::new(inside(fault.at), path, fault.message);
                self.problems.extend(faults.into_iter().map(problem));
                return None;
            }
        };
        let text = match filled {
            Some(filled) => {
                self.room = self.room.saturating_sub(filled.text.len());
                if !filled.values.is_empty() {
                    self.resolved.places.fill(path);
                    self.resolved.origins.paths.insert(path.to_owned());
                    self.resolved.origins.values.extend(filled.values.into_iter().filter(|value| !value.is_empty()));
                }
                filled.text
            }
            None => {
                self.resolved.places.insert(path, spot);
                scalar.text.clone()
            }
        };
        core::typed(&text, scalar.typing).map_err(|message| self.problems.push(Problem::new(place, path, message))).ok()
    }
}
