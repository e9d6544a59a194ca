//! The tree that a document is: what was written, where, and not yet what it means.

use super::{
    core::Typing,
    problem::{Place, Source},
};

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) content: Content,
    pub(super) weight: Weight,
}

#[derive(Debug, Clone)]
pub(super) enum Content {
    Scalar(Scalar),
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        /// Whether every key could be understood.
        whole: bool,
    },
    /// Something a problem was already made of.
    Broken,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) node: Node,
    /// Whether the key stands again further down; this is its first value.
    pub(super) twice: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Scalar {
    pub(super) text: String,
    pub(super) typing: Typing,
    pub(super) source: Option<Source>,
}

/// What a node costs when an alias repeats it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Weight {
    pub(super) nodes: usize,
    pub(super) bytes: usize,
}

impl Node {
    /// How many levels there are below this one.
    pub(super) fn height(&self) -> usize {
        match &self.content {
            Content::List(items) => 1 + items.iter().map(Self::height).max().unwrap_or(0),
            Content::Map { entries, .. } => 1 + entries.iter().map(|entry| entry.node.height()).max().unwrap_or(0),
            Content::Scalar(_) | Content::Broken => 0,
        }
    }
}
