//! Paths by resource type, as FHIR writes them (<https://hl7.org/fhir/R4/fhirpath.html>): the part that says where a value stands.
//! No evaluation here.

use super::path::{FieldPath, PathError, Segment, Selector};
use std::fmt;

/// Where a protected value stands in a resource, wherever that resource stands: alone, in an entry of a Bundle, contained, in a
/// parameter, in a line.
///
/// `Patient.name.family`: a type, then names of members as they are in JSON (`deceasedDateTime`, `_birthDate`); every element of
/// an array is meant. `Resource` stands for every type. `.where(system='x')` keeps the elements whose member has that text; the
/// member may be a path (`type.coding.code`, any coding), `and` joins several. `.extension('url')` is short for
/// `.extension.where(url='url')`. `.**.` is any depth: `QuestionnaireResponse.item.**.answer.valueString`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FhirPath {
    text: String,
    /// `None`: every type.
    resource: Option<String>,
    steps: Vec<Step>,
}

/// One member, of objects or of all objects of an array.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Step {
    /// Whether it may stand at any depth.
    pub(super) descendant: bool,
    pub(super) name: String,
    /// What holds for its value.
    pub(super) tests: Vec<FhirTest>,
}

/// That a text stands at a place inside a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct FhirTest {
    pub(super) names: Vec<String>,
    pub(super) text: String,
}

/// The type that stands for every type.
const ANY: &str = "Resource";

impl FhirPath {
    /// Reads a path.
    ///
    /// # Errors
    ///
    /// Names the first thing that is not of the language above, and its column.
    pub fn parse(text: &str) -> Result<FhirPath, PathError> {
        let mut cursor = Cursor { chars: text.chars().collect(), at: 0 };
        let resource = cursor.name()?;
        if !resource.starts_with(|c: char| c.is_ascii_uppercase()) {
            return Err(PathError::new("wanted a type of resource", 1));
        }
        let mut steps: Vec<Step> = Vec::new();
        let mut descendant = false;
        while cursor.peek().is_some() {
            if !cursor.eat('.') {
                return Err(cursor.fail("wanted `.`"));
            }
            if cursor.eat('*') {
                if descendant || !cursor.eat('*') {
                    return Err(cursor.fail("wanted `**` once"));
                }
                descendant = true;
                continue;
            }
            let column = cursor.at + 1;
            let name = cursor.name()?;
            match (cursor.eat('('), name.as_str()) {
                (false, _) => steps.push(Step { descendant: std::mem::take(&mut descendant), name, tests: Vec::new() }),
                (true, "where") => match steps.last_mut().filter(|_| !descendant) {
                    Some(step) => step.tests.append(&mut cursor.tests()?),
                    None => return Err(PathError::new("`where` with nothing before it", column)),
                },
                (true, "extension" | "modifierExtension") => {
                    let tests = vec![FhirTest { names: vec!["url".to_owned()], text: cursor.quoted()? }];
                    steps.push(Step { descendant: std::mem::take(&mut descendant), name, tests });
                    if !cursor.eat(')') {
                        return Err(cursor.fail("missing `)`"));
                    }
                }
                (true, _) => return Err(PathError::new("function other than `where` and `extension`", column)),
            }
        }
        if descendant || steps.is_empty() {
            return Err(cursor.fail("wanted a member"));
        }
        Ok(FhirPath { text: text.to_owned(), resource: (resource != ANY).then_some(resource), steps })
    }

    /// The type of resource; `None` stands for every type.
    pub fn resource(&self) -> Option<&str> {
        self.resource.as_deref()
    }

    /// The name of the members that it selects.
    pub fn last_name(&self) -> Option<&str> {
        self.steps.last().map(|step| step.name.as_str())
    }

    /// The path to the object beside the primitive that this one selects, in which its extensions stand, and the path to the text
    /// of the extension `url` in there.
    pub fn companions(&self, url: &str) -> (FhirPath, FhirPath) {
        let mut beside = self.clone();
        if let Some(last) = beside.steps.last_mut() {
            last.name.insert(0, '_');
        }
        let step = |name: &str, tests| Step { descendant: false, name: name.to_owned(), tests };
        let is_url = FhirTest { names: vec!["url".to_owned()], text: url.to_owned() };
        let mut carried = beside.clone();
        carried.steps.extend([step("extension", vec![is_url]), step("valueString", Vec::new())]);
        (beside, carried)
    }

    /// Whether the primitive that it leads to is a number or boolean in JSON, as far as FHIR R4 says so in names: `valueInteger`,
    /// `deceasedBoolean`, the `value` of quantities.
    pub fn is_literal(&self) -> bool {
        const ENDS: [&str; 5] = ["Boolean", "Decimal", "Integer", "PositiveInt", "UnsignedInt"];
        let mut names = self.steps.iter().rev().map(|step| step.name.as_str());
        match (names.next(), names.next()) {
            (Some("value"), parent) => !matches!(parent, None | Some("identifier" | "telecom")),
            (Some(name), _) => ENDS.iter().any(|end| name.ends_with(end)),
            (None, _) => false,
        }
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// A path of the other kind that selects all that this one does, and more.
    pub fn widened(&self) -> FieldPath {
        let names =
            self.steps.iter().map(|step| Segment { descendant: true, selector: Selector::Name(step.name.clone()) });
        FieldPath::of(self.text.clone(), names.collect())
    }
}

impl fmt::Display for FhirPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

struct Cursor {
    chars: Vec<char>,
    at: usize,
}

impl Cursor {
    fn name(&mut self) -> Result<String, PathError> {
        let start = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
            self.at += 1;
        }
        let name: String = self.chars.get(start..self.at).unwrap_or_default().iter().collect();
        if name.starts_with(|c: char| c.is_ascii_digit()) || name.is_empty() {
            return Err(PathError::new("wanted a name", start + 1));
        }
        Ok(name)
    }

    /// After `where(`, to the `)`.
    fn tests(&mut self) -> Result<Vec<FhirTest>, PathError> {
        let mut tests = Vec::new();
        loop {
            self.blanks();
            let mut names = vec![self.name()?];
            while self.eat('.') {
                names.push(self.name()?);
            }
            self.blanks();
            if !self.eat('=') {
                return Err(self.fail("wanted `=`"));
            }
            self.blanks();
            tests.push(FhirTest { names, text: self.quoted()? });
            self.blanks();
            if self.eat(')') {
                return Ok(tests);
            }
            if !(self.eat('a') && self.eat('n') && self.eat('d') && self.eat(' ')) {
                return Err(self.fail("wanted `)` or `and`"));
            }
        }
    }

    /// A text as FHIRPath quotes it, which knows `\'` and `\\` among others; no other escape is known here.
    fn quoted(&mut self) -> Result<String, PathError> {
        if !self.eat('\'') {
            return Err(self.fail("wanted `'`"));
        }
        let mut text = String::new();
        loop {
            match self.peek() {
                None => return Err(self.fail("missing closing quote")),
                Some('\'') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some('\\') => match self.chars.get(self.at + 1) {
                    Some(c @ ('\'' | '\\')) => {
                        text.push(*c);
                        self.at += 2;
                    }
                    _ => return Err(self.fail("bad escape")),
                },
                Some(c) if c < ' ' => return Err(self.fail("control character")),
                Some(c) => {
                    text.push(c);
                    self.at += 1;
                }
            }
        }
    }

    fn blanks(&mut self) {
        while self.eat(' ') {}
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn eat(&mut self, wanted: char) -> bool {
        let there = self.peek() == Some(wanted);
        self.at += usize::from(there);
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
    fn paths_are_read() {
        for (text, resource, steps) in [
            ("Patient.birthDate", Some("Patient"), 1),
            ("Patient._birthDate.extension('http://x').valueDateTime", Some("Patient"), 3),
            ("Resource.text.div", None, 2),
            ("Patient.identifier.where(system='http://hl7.org/fhir/sid/us-ssn').value", Some("Patient"), 2),
            (
                "Patient.identifier.where( type.coding.code = 'MR' and use='old').where(system='a\\'b').value",
                Some("Patient"),
                2,
            ),
            ("QuestionnaireResponse.item.**.answer.valueString", Some("QuestionnaireResponse"), 3),
            ("Patient.**.value", Some("Patient"), 1),
        ] {
            let path = FhirPath::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((path.resource(), path.steps().len()), (resource, steps), "{text}");
            assert_eq!(path.to_string(), text);
        }
        let tests = FhirPath::parse("A.b.where(c.d='e').where(f='\\\\')").unwrap().steps()[0].tests.clone();
        let test = |names: &[&str], text: &str| FhirTest {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            text: text.to_owned(),
        };
        assert_eq!(tests, [test(&["c", "d"], "e"), test(&["f"], "\\")]);
    }

    #[test]
    fn everything_else_is_refused_by_name_and_column() {
        for (text, expect) in [
            ("", "wanted a name at column 1"),
            ("Patient", "wanted a member at column 8"),
            ("patient.name", "wanted a type of resource at column 1"),
            ("Patient.", "wanted a name at column 9"),
            ("Patient..name", "wanted a name at column 9"),
            ("Patient.name[0]", "wanted `.` at column 13"),
            ("Patient.name.*", "wanted `**` once at column 15"),
            ("Patient.**", "wanted a member at column 11"),
            ("Patient.**.**.name", "wanted `**` once at column 13"),
            ("Patient.where(a='b')", "`where` with nothing before it at column 9"),
            ("Patient.**.where(a='b').c", "`where` with nothing before it at column 12"),
            ("Patient.name.first()", "function other than `where` and `extension` at column 14"),
            ("Patient.name.where(use)", "wanted `=` at column 23"),
            ("Patient.name.where(use=\"a\")", "wanted `'` at column 24"),
            ("Patient.name.where(use='a' or use='b')", "wanted `)` or `and` at column 28"),
            ("Patient.name.where(use='a", "missing closing quote at column 26"),
            ("Patient.name.where(use='\\n')", "bad escape at column 25"),
            ("Patient.extension(url)", "wanted `'` at column 19"),
            ("Patient.extension('u'", "missing `)` at column 22"),
            ("Patient.9", "wanted a name at column 9"),
            ("$.name", "wanted a name at column 1"),
        ] {
            assert_eq!(FhirPath::parse(text).unwrap_err().to_string(), expect, "{text}");
        }
    }

    #[test]
    fn widened_it_selects_no_less() {
        let path = FhirPath::parse("Patient.identifier.where(system='x').value").unwrap().widened();
        assert_eq!(path.segments(), FieldPath::parse("$..identifier..value").unwrap().segments());
    }
}
