//! Paths to values in XML: the part of XPath 1.0 that can be decided while a document streams by. No evaluation here.

pub(super) mod fhir;

use std::fmt;

use super::scan;
use crate::document::Role;
use crate::document::path::PathError;

/// Where a protected value stands in an XML document.
///
/// Steps are separated by `/` (child) or `//` (descendant); the first has one of them in front. A step is a local
/// name, which matches in any namespace, `*`, or `{namespace-uri}name`; `{}name` is a name in no namespace. It may
/// have predicates: `[@a='v']`, `[a/b='v']`, `[a/b/@c='v']`, with either kind of quote. Several must all hold. White
/// space is not allowed.
///
/// The last step may be `@name` or `@{uri}name` (an attribute, by local name in any namespace or in that one),
/// `text()`, which is the same as leaving it out, or `markup()`, all that stands between the start and the end tag as
/// one value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct XmlPath {
    text: String,
    pub(super) steps: Vec<Step>,
    pub(super) target: Target,
    /// What it selects is to the rule.
    pub(super) role: Role,
}

/// What of the last element a path selects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Target {
    Text,
    Markup,
    /// An attribute of the element, or of any element below too.
    Attribute {
        name: Name,
        below: bool,
    },
}

/// One element on the way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Step {
    pub(super) descendant: bool,
    /// `None` is `*`.
    pub(super) name: Option<Name>,
    pub(super) predicates: Vec<Predicate>,
}

/// A name; without a namespace it is of any.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name {
    pub(super) uri: Option<String>,
    pub(super) local: String,
}

/// Compares the text of a descendant, or an attribute of it or of the element itself, with a literal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Predicate {
    pub(super) path: Vec<Name>,
    pub(super) attribute: Option<Name>,
    pub(super) literal: String,
}

impl XmlPath {
    /// Reads a path.
    ///
    /// # Errors
    ///
    /// Names the first thing that is not of the subset (prefixes, positions, functions, other axes, white space) and
    /// its column.
    pub fn parse(text: &str) -> Result<XmlPath, PathError> {
        let mut cursor = Cursor { chars: text.chars().collect(), at: 0 };
        let (mut steps, mut target) = (Vec::new(), Target::Text);
        if cursor.peek() != Some('/') {
            return Err(cursor.fail("missing `/`"));
        }
        while cursor.peek().is_some() {
            let slash = cursor.at + 1;
            if !cursor.eat("/") {
                return Err(cursor.fail("wanted `/` or `[`"));
            }
            let descendant = cursor.eat("/");
            let start = cursor.at;
            if let Some(last) = cursor.last_step(descendant)? {
                if steps.is_empty() && !descendant {
                    return Err(PathError::new("last step without an element before it", start + 1));
                }
                if descendant && !matches!(last, Target::Attribute { .. }) {
                    return Err(PathError::new("`//` before `text()` or `markup()`", slash));
                }
                if cursor.peek().is_some() {
                    return Err(cursor.fail("something after the last step"));
                }
                target = last;
                break;
            }
            steps.push(cursor.step(descendant)?);
        }
        Ok(XmlPath { text: text.to_owned(), steps, target, role: Role::Value })
    }
}

impl fmt::Display for XmlPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The characters of a path.
struct Cursor {
    chars: Vec<char>,
    at: usize,
}

impl Cursor {
    /// A step that is not an element, which ends the path.
    fn last_step(&mut self, below: bool) -> Result<Option<Target>, PathError> {
        if self.eat("@") {
            return Ok(Some(Target::Attribute { name: self.name()?, below }));
        }
        Ok(match () {
            () if self.eat("text()") => Some(Target::Text),
            () if self.eat("markup()") => Some(Target::Markup),
            () => None,
        })
    }

    fn step(&mut self, descendant: bool) -> Result<Step, PathError> {
        let name = if self.eat("*") { None } else { Some(self.name()?) };
        let mut predicates = Vec::new();
        while self.eat("[") {
            predicates.push(self.predicate()?);
        }
        Ok(Step { descendant, name, predicates })
    }

    /// After the `[`.
    fn predicate(&mut self) -> Result<Predicate, PathError> {
        if self.peek().is_some_and(|c| c.is_ascii_digit()) {
            return Err(self.fail("position"));
        }
        let (mut path, mut attribute) = (Vec::new(), None);
        loop {
            if self.eat("@") {
                attribute = Some(self.name()?);
                break;
            }
            path.push(self.name()?);
            if !self.eat("/") {
                break;
            }
        }
        if !self.eat("=") {
            return Err(self.fail("wanted `=`"));
        }
        let literal = self.literal()?;
        if !self.eat("]") {
            return Err(self.fail("wanted `]`"));
        }
        Ok(Predicate { path, attribute, literal })
    }

    fn literal(&mut self) -> Result<String, PathError> {
        let Some(quote @ ('\'' | '"')) = self.peek() else {
            return Err(self.fail("wanted a quoted literal"));
        };
        self.at += 1;
        let start = self.at;
        let mut literal = String::new();
        while let Some(c) = self.peek().filter(|&c| c != quote) {
            if !scan::is_char(c) {
                return Err(self.fail("character that XML does not allow"));
            }
            literal.push(c);
            self.at += 1;
        }
        if self.peek().is_none() {
            return Err(self.fail("missing closing quote"));
        }
        if scan::trim(literal.as_bytes()).len() != literal.len() {
            return Err(PathError::new("white space at an end of a literal", start + 1));
        }
        self.at += 1;
        Ok(literal)
    }

    fn name(&mut self) -> Result<Name, PathError> {
        let uri = if self.eat("{") { Some(self.uri()?) } else { None };
        let start = self.at;
        let mut local = String::new();
        while let Some(c) = self
            .peek()
            .filter(|&c| c != ':' && if local.is_empty() { scan::is_name_start(c) } else { scan::is_name(c) })
        {
            local.push(c);
            self.at += 1;
        }
        match self.peek() {
            Some(':') if !local.is_empty() => Err(self.fail("prefix: wanted `{namespace-uri}name`")),
            Some('(') if !local.is_empty() => Err(PathError::new("function", start + 1)),
            _ if local.is_empty() => Err(self.fail("wanted a name")),
            _ => Ok(Name { uri, local }),
        }
    }

    /// After the `{`.
    fn uri(&mut self) -> Result<String, PathError> {
        let mut uri = String::new();
        while let Some(c) = self.peek().filter(|&c| c != '}') {
            if c == '{' || c.is_whitespace() || c.is_control() {
                return Err(self.fail("character that a namespace may not have"));
            }
            uri.push(c);
            self.at += 1;
        }
        if !self.eat("}") {
            return Err(self.fail("missing `}`"));
        }
        Ok(uri)
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn eat(&mut self, wanted: &str) -> bool {
        let rest = self.chars.get(self.at..).unwrap_or_default();
        let there = wanted.chars().enumerate().all(|(i, c)| rest.get(i) == Some(&c));
        self.at += if there { wanted.chars().count() } else { 0 };
        there
    }

    fn fail(&self, what: &'static str) -> PathError {
        PathError::new(what, self.at + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_subset_are_read() {
        for (text, steps) in [
            ("/a", 1),
            ("//a", 1),
            ("/a/b//c", 3),
            ("/*/b", 2),
            ("//{urn:hl7-org:v3}id/@extension", 1),
            ("//{http://hl7.org/fhir}a/@{}value", 1),
            ("//@value", 0),
            ("/a//@value", 1),
            ("/a/text()", 1),
            ("/a/text", 2),
            ("//div/markup()", 1),
            ("/a[@x='1']/b", 2),
            ("/a[@x='1'][b=\"it's\"][b/{u}c/@d='']/@v", 1),
            ("/a-b.c/\u{e9}", 2),
        ] {
            let path = XmlPath::parse(text).unwrap();
            assert_eq!(path.steps.len(), steps, "{text}");
            assert_eq!(path.to_string(), text);
        }
        assert_eq!(XmlPath::parse("/a/text()").unwrap().target, Target::Text);
    }

    #[test]
    fn everything_else_is_refused_by_name_and_column() {
        for (text, expect) in [
            ("", "missing `/` at column 1"),
            ("a", "missing `/` at column 1"),
            ("$.a", "missing `/` at column 1"),
            ("/", "wanted a name at column 2"),
            ("//", "wanted a name at column 3"),
            ("///a", "wanted a name at column 3"),
            ("/a/", "wanted a name at column 4"),
            ("/a b", "wanted `/` or `[` at column 3"),
            ("/a ", "wanted `/` or `[` at column 3"),
            ("/1", "wanted a name at column 2"),
            ("/.", "wanted a name at column 2"),
            ("/a/..", "wanted a name at column 4"),
            ("/f:a", "prefix: wanted `{namespace-uri}name` at column 3"),
            ("/self::a", "prefix: wanted `{namespace-uri}name` at column 6"),
            ("/@a", "last step without an element before it at column 2"),
            ("/text()", "last step without an element before it at column 2"),
            ("/a//text()", "`//` before `text()` or `markup()` at column 3"),
            ("//markup()", "`//` before `text()` or `markup()` at column 1"),
            ("/a/@b/c", "something after the last step at column 6"),
            ("/a/@b[c='d']", "something after the last step at column 6"),
            ("/a/text()/b", "something after the last step at column 10"),
            ("/a/@*", "wanted a name at column 5"),
            ("/a/node()", "function at column 4"),
            ("/a[1]", "position at column 4"),
            ("/a[last()]", "function at column 4"),
            ("/a[]", "wanted a name at column 4"),
            ("/a[b]", "wanted `=` at column 5"),
            ("/a[b!='c']", "wanted `=` at column 5"),
            ("/a[b ='c']", "wanted `=` at column 5"),
            ("/a[b= 'c']", "wanted a quoted literal at column 6"),
            ("/a[b=1]", "wanted a quoted literal at column 6"),
            ("/a[b='c", "missing closing quote at column 8"),
            ("/a[b='c'", "wanted `]` at column 9"),
            ("/a[b='c' and d='e']", "wanted `]` at column 9"),
            ("/a[b=' c']", "white space at an end of a literal at column 7"),
            ("/a[b='\u{1}']", "character that XML does not allow at column 7"),
            ("/a[b//c='d']", "wanted a name at column 6"),
            ("/a[/b='d']", "wanted a name at column 4"),
            ("/a[*='d']", "wanted a name at column 4"),
            ("/{u}", "wanted a name at column 5"),
            ("/{u}*", "wanted a name at column 5"),
            ("/{u", "missing `}` at column 4"),
            ("/{u v}a", "character that a namespace may not have at column 4"),
        ] {
            assert_eq!(XmlPath::parse(text).unwrap_err().to_string(), expect, "{text}");
        }
    }
}
