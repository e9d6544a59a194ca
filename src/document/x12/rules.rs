//! Which elements are protected.

use std::fmt;
use std::ops::Range;

use crate::document::numbering::Cursor;
use crate::document::path::PathError;

/// Elements of the segments of one id: `DMG-2`, `SVC-1.2`, `N3`, `NM1*IL-3`, `NM1*IL`.
///
/// After `*` stands what element 1 must be, exactly; after `-` the element, from 1; after `.` the component, from 1. Without
/// an element it selects all of them (behind element 1, if that has to be something). Each repetition is a value of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct X12Path {
    segment: String,
    qualifier: Option<String>,
    /// The element, and the component in it.
    part: Option<(u16, Option<u16>)>,
}

/// The longest qualifier, in bytes.
pub(super) const QUALIFIER_BYTES_MAX: usize = 30;

impl X12Path {
    /// Reads a path.
    ///
    /// # Errors
    ///
    /// Names the first thing that is wrong and its column. The control segments (`ISA`, `GS`, `ST`, `SE`, `GE`, `IEA`)
    /// cannot be ruled, nor can those that no document may hold (`BIN`, `BDS`).
    pub fn parse(text: &str) -> Result<X12Path, PathError> {
        let mut cursor = Cursor::new(text);
        let segment = cursor.run(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
        let mut found = X12Path { segment: segment.to_owned(), qualifier: None, part: None };
        let known = |ids: &[&str]| ids.contains(&segment);
        let wrong = match segment.len() {
            _ if known(&["ISA", "GS", "ST", "SE", "GE", "IEA"]) => Some("control segment"),
            _ if known(&["BIN", "BDS"]) => Some("binary segment"),
            2..=3 if segment.starts_with(|c: char| c.is_ascii_uppercase()) => None,
            _ => Some("wanted a segment id"),
        };
        if let Some(what) = wrong {
            return Err(PathError::new(what, 1));
        }
        if cursor.eat('*') {
            let start = cursor.fail("wanted a qualifier of 1 to 30 letters or digits");
            let qualifier = cursor.run(|c| c.is_ascii_alphanumeric());
            if qualifier.is_empty() || qualifier.len() > QUALIFIER_BYTES_MAX {
                return Err(start);
            }
            found.qualifier = Some(qualifier.to_owned());
        }
        if cursor.eat('-') {
            let start = cursor.fail("element 1 is the qualifier itself");
            let element = cursor.number()?;
            if element == 1 && found.qualifier.is_some() {
                return Err(start);
            }
            let component = if cursor.eat('.') { Some(cursor.number()?) } else { None };
            found.part = Some((element, component));
        }
        if cursor.is_at_end() { Ok(found) } else { Err(cursor.fail("wanted nothing more")) }
    }
}

impl fmt::Display for X12Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.segment)?;
        if let Some(qualifier) = &self.qualifier {
            write!(f, "*{qualifier}")?;
        }
        match self.part {
            Some((element, Some(component))) => write!(f, "-{element}.{component}"),
            Some((element, None)) => write!(f, "-{element}"),
            None => Ok(()),
        }
    }
}

/// The paths of a route, compiled. Shared by all rewriters of the route.
pub struct Rules {
    /// By segment id.
    paths: Vec<(usize, X12Path)>,
}

impl Rules {
    /// Compiles paths, each with the number of its rule. Where several select one value, the lowest number wins; of an
    /// element and a component in it, the element.
    pub fn compile(paths: &[(usize, X12Path)]) -> Rules {
        let mut paths = paths.to_vec();
        paths.sort_by(|(_, a), (_, b)| a.segment.cmp(&b.segment));
        Rules { paths }
    }

    /// Which of the paths are for segments of this id.
    pub(super) fn for_segment(&self, id: &[u8]) -> Range<usize> {
        let start = self.paths.partition_point(|(_, path)| path.segment.as_bytes() < id);
        start..self.paths.partition_point(|(_, path)| path.segment.as_bytes() <= id)
    }

    /// The rule for an element, or for one component of it. `first` is the beginning of element 1 once that is known.
    pub(super) fn find(
        &self,
        among: &Range<usize>,
        first: &[u8],
        element: u32,
        component: Option<u32>,
    ) -> Option<usize> {
        let paths = self.paths.get(among.clone()).unwrap_or_default();
        let selects = |path: &X12Path| {
            let after =
                if let Some(qualifier) = &path.qualifier { element > 1 && qualifier.as_bytes() == first } else { true };
            after
                && match (path.part, component) {
                    (Some((e, c)), _) => u32::from(e) == element && c.map(u32::from) == component,
                    (None, None) => true,
                    (None, Some(_)) => false,
                }
        };
        paths.iter().filter(|(_, path)| selects(path)).map(|(rule, _)| *rule).min()
    }

    /// Whether a reader that is less exact could take element 1 for a qualifier that it is not.
    pub(super) fn is_look_alike(&self, among: &Range<usize>, first: &[u8], marks: &[u8]) -> bool {
        let cut = first.split(|byte| marks.contains(byte)).next().unwrap_or_default().trim_ascii();
        let paths = self.paths.get(among.clone()).unwrap_or_default();
        let mut alike = paths
            .iter()
            .filter_map(|(_, path)| path.qualifier.as_deref())
            .filter(|qualifier| qualifier.as_bytes().eq_ignore_ascii_case(cut))
            .peekable();
        alike.peek().is_some() && !alike.any(|qualifier| qualifier.as_bytes() == first)
    }
}
