//! YAML events to one tree of nodes with their places. Bounded in size, depth and nodes; no value is looked at here.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, Span, StrInput, Tag};

use super::{
    DEPTH_LIMIT, NODE_LIMIT, TEXT_LIMIT,
    core::{self, Typing},
    node::{Content, Entry, Node, Scalar, Weight},
    path,
    problem::{Place, Problem, Source},
};

/// What became of a text.
#[derive(Debug)]
pub(super) struct Document {
    /// The tree; `None` when the text could not be read to its end.
    pub(super) root: Option<Node>,
    pub(super) problems: Vec<Problem>,
}

/// Reads exactly one document.
pub(super) fn parse(text: &str) -> Document {
    let mut problems = Vec::new();
    if text.len() > TEXT_LIMIT {
        let message = format!("the file has {} bytes; at most {TEXT_LIMIT} are read", text.len());
        problems.push(Problem::new(Place::START, "", message));
        return Document { root: None, problems };
    }
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        text,
        starts: text.char_indices().map(|(at, _)| at).collect(),
        anchors: HashMap::new(),
        spent: Weight::default(),
        problems,
    };
    let root = reader.document();
    let mut problems = reader.problems;
    let root = root.map_err(|problem| problems.push(problem)).ok();
    Document { root, problems }
}

struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    text: &'t str,
    /// The byte at which each character starts.
    starts: Vec<usize>,
    anchors: HashMap<usize, Node>,
    spent: Weight,
    problems: Vec<Problem>,
}

impl<'t> Reader<'t> {
    fn document(&mut self) -> Result<Node, Problem> {
        let mut root = None;
        loop {
            match self.event()? {
                (Event::DocumentStart(_), span) if root.is_some() => {
                    return Err(Problem::new(place(span.start), "", "a second document starts here; expected one"));
                }
                (Event::DocumentStart(_), _) => {
                    let (event, span) = self.event()?;
                    root = Some(self.node(event, span, "", 1)?);
                }
                (Event::StreamEnd, _) => {
                    return root.ok_or_else(|| Problem::new(Place::START, "", "the file is empty; expected a mapping"));
                }
                _ => {}
            }
        }
    }

    fn event(&mut self) -> Result<(Event<'t>, Span), Problem> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => {
                let at = *error.marker();
                let before = at.index().checked_sub(1).and_then(|i| self.starts.get(i));
                let unquoted = before.and_then(|at| self.text.get(*at..)).is_some_and(|rest| rest.starts_with("${"));
                let hint = if unquoted { "; inside [ ] and { } a string with ${ has to be quoted" } else { "" };
                Err(Problem::new(place(at), "", format!("not YAML: {}{hint}", error.info())))
            }
            None => Err(Problem::new(Place::START, "", "not YAML: the document does not end")),
        }
    }

    fn node(&mut self, event: Event<'t>, span: Span, path: &str, depth: usize) -> Result<Node, Problem> {
        let before = self.spent;
        let start = place(span.start);
        self.spend(start, path, Weight { nodes: 1, bytes: 0 })?;
        if depth > DEPTH_LIMIT {
            return Err(too_deep(start, path));
        }
        let (content, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.spend(start, path, Weight { nodes: 0, bytes: text.len() })?;
                let source = (span.start.line() == span.end.line()).then(|| self.source(span)).flatten();
                let content = match core::typing(style, tag.as_deref()) {
                    Ok(typing) => Content::Scalar(Scalar { text: text.into_owned(), typing, source }),
                    Err(message) => self.broken(start, path, message),
                };
                (content, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                let items = self.list(path, depth)?;
                (self.collection(start, path, tag.as_deref(), "seq", Content::List(items)), anchor)
            }
            Event::MappingStart(anchor, tag) => {
                let content = self.mapping(path, depth)?;
                (self.collection(start, path, tag.as_deref(), "map", content), anchor)
            }
            Event::Alias(anchor) => return self.alias(anchor, start, path, depth),
            _ => return Err(Problem::new(start, path, "not YAML: expected a value")),
        };
        let weight = Weight { nodes: self.spent.nodes - before.nodes, bytes: self.spent.bytes - before.bytes };
        let node = Node { place: start, content, weight };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, path: &str, depth: usize) -> Result<Vec<Node>, Problem> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.event()?;
            if event == Event::SequenceEnd {
                return Ok(items);
            }
            let node = self.node(event, span, &path::item(path, items.len()), depth + 1)?;
            items.push(node);
        }
    }

    fn mapping(&mut self, path: &str, depth: usize) -> Result<Content, Problem> {
        let (mut entries, mut whole) = (Vec::<Entry>::new(), true);
        let mut seen = HashMap::<String, Place>::new();
        loop {
            let (event, span) = self.event()?;
            if event == Event::MappingEnd {
                return Ok(Content::Map { entries, whole });
            }
            let place = place(span.start);
            let key = self.key(event, span, path, depth)?;
            let (event, span) = self.event()?;
            let Some(key) = key else {
                whole = false;
                self.node(event, span, path, depth + 1)?;
                continue;
            };
            let at = path::key(path, &key);
            let node = self.node(event, span, &at, depth + 1)?;
            if let Some(Place { line, column }) = seen.get(&key) {
                let message = format!("duplicate key; it stands at line {line}, column {column} already");
                self.problems.push(Problem::new(place, at, message));
                entries.iter_mut().filter(|entry| entry.key == key).for_each(|entry| entry.twice = true);
            } else {
                seen.insert(key.clone(), place);
                entries.push(Entry { key, place, node, twice: false });
            }
        }
    }

    /// The key of an entry; `None` after making a problem of it.
    fn key(&mut self, event: Event<'t>, span: Span, path: &str, depth: usize) -> Result<Option<String>, Problem> {
        let start = place(span.start);
        if matches!(&event, Event::Alias(_)) {
            self.problems.push(Problem::new(start, path, "an alias cannot be a key"));
            return Ok(None);
        }
        let node = self.node(event, span, path, depth + 1)?;
        let message = match node.content {
            Content::Broken => return Ok(None),
            Content::Scalar(Scalar { text, typing: Typing::Plain, .. }) if text == "<<" => {
                "merge keys (<<) are not supported; write the keys out".to_owned()
            }
            Content::Scalar(Scalar { text, typing: Typing::Text, .. }) => return Ok(Some(text)),
            Content::Scalar(Scalar { text, typing: Typing::Plain, .. }) => match core::plain(&text) {
                Ok(serde_json::Value::String(key)) => return Ok(Some(key)),
                _ => format!("expected a string as the key; write {text:?} in quotes"),
            },
            _ => "expected a string as the key".to_owned(),
        };
        self.problems.push(Problem::new(start, path, message));
        Ok(None)
    }

    fn alias(&mut self, anchor: usize, start: Place, path: &str, depth: usize) -> Result<Node, Problem> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            return Err(Problem::new(start, path, "the alias stands inside of what it refers to"));
        };
        self.spend(start, path, node.weight)?;
        if depth + node.height() > DEPTH_LIMIT {
            return Err(too_deep(start, path));
        }
        Ok(Node { place: start, ..node })
    }

    fn spend(&mut self, start: Place, path: &str, weight: Weight) -> Result<(), Problem> {
        self.spent.nodes += weight.nodes;
        self.spent.bytes += weight.bytes;
        if self.spent.nodes > NODE_LIMIT || self.spent.bytes > TEXT_LIMIT {
            let message =
                format!("more than {NODE_LIMIT} values or {TEXT_LIMIT} bytes, aliases counted as their values");
            return Err(Problem::new(start, path, message));
        }
        Ok(())
    }

    fn collection(&mut self, start: Place, path: &str, tag: Option<&Tag>, suffix: &str, content: Content) -> Content {
        match tag {
            Some(tag) if !core::is_core(tag, suffix) => self.broken(start, path, core::refused(tag)),
            _ => content,
        }
    }

    fn broken(&mut self, start: Place, path: &str, message: String) -> Content {
        self.problems.push(Problem::new(start, path, message));
        Content::Broken
    }

    fn source(&self, span: Span) -> Option<Source> {
        let byte = |at: Marker| self.starts.get(at.index()).copied().unwrap_or(self.text.len());
        self.text.get(byte(span.start)..byte(span.end)).map(|text| Source(text.to_owned()))
    }
}

fn too_deep(start: Place, path: &str) -> Problem {
    Problem::new(start, path, format!("nested deeper than {DEPTH_LIMIT} levels"))
}

fn place(marker: Marker) -> Place {
    Place { line: marker.line(), column: marker.col() + 1 }
}
