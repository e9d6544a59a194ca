//! Roles and the views that they grant.

use crate::seal::Class;
use std::collections::{HashMap, HashSet};

/// How a value of a class is shown to someone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum View {
    /// As it was sealed.
    Plain,
    /// Partly hidden, as its class says.
    Mask,
    /// Replaced by a fixed text; no key is asked for.
    Redact,
    /// Taken out of a JSON document, with what is empty without it; elsewhere as `Redact`.
    Remove,
    /// The token itself.
    Sealed,
    /// Not at all: an exchange on a route with such a class is refused.
    Deny,
}

/// What one role grants.
#[derive(Clone, Debug, Default)]
pub struct Role {
    /// The view of each class that the role speaks of.
    pub views: HashMap<Class, View>,
    /// The view of every other class; `None`: the role says nothing of them.
    pub default_view: Option<View>,
    /// Classes that may be written although the view of them is not `plain`.
    pub writes: HashSet<Class>,
    /// Whether the role may not write at all.
    pub read_only: bool,
}

impl Role {
    /// Whether it has values taken out.
    #[must_use]
    pub fn removes(&self) -> bool {
        self.default_view.iter().chain(self.views.values()).any(|view| *view == View::Remove)
    }

    pub(super) fn view(&self, class: Class) -> Option<View> {
        self.views.get(&class).copied().or(self.default_view)
    }

    pub(super) fn writes(&self, class: Class) -> bool {
        !self.read_only && (self.view(class) == Some(View::Plain) || self.writes.contains(&class))
    }
}
