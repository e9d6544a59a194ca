//! Which fields, components and subcomponents are protected.

use std::fmt;
use std::ops::Range;

use crate::document::numbering::Cursor;
use crate::document::path::PathError;

/// A field of all segments of one name, in all repetitions, or a part of it: `PID-5`, `PID-5.1`, `PID-3.4.2`.
///
/// Counted from 1 as in HL7: `MSH-1` is the field separator itself. A repetition without component separators is
/// component 1, and a component without subcomponent separators is subcomponent 1.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hl7Path {
    segment: String,
    field: u16,
    component: Option<u16>,
    subcomponent: Option<u16>,
}

impl Hl7Path {
    /// Reads a path.
    ///
    /// # Errors
    ///
    /// Names the first thing that is wrong and its column. What says how to read a message cannot be ruled (fields 1 and 2 of
    /// `MSH`, `BHS` and `FHS`, and `MSH-18`), nor can the segments that no document with rules may hold (`ADD`, `DSC`).
    pub fn parse(text: &str) -> Result<Hl7Path, PathError> {
        let mut cursor = Cursor::new(text);
        let segment = cursor.run(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
        if segment.len() != 3 || !segment.starts_with(|c: char| c.is_ascii_uppercase()) {
            return Err(PathError::new("wanted a segment id", 1));
        }
        if matches!(segment, "ADD" | "DSC") {
            return Err(PathError::new("continuation segment", 1));
        }
        if !cursor.eat('-') {
            return Err(cursor.fail("missing `-` and a field"));
        }
        let start = cursor.fail("field that says how to read the message");
        let field = cursor.number()?;
        if matches!((segment, field), ("MSH" | "BHS" | "FHS", 1 | 2) | ("MSH", 18)) {
            return Err(start);
        }
        let component = if cursor.eat('.') { Some(cursor.number()?) } else { None };
        let subcomponent = if component.is_some() && cursor.eat('.') { Some(cursor.number()?) } else { None };
        if !cursor.is_at_end() {
            return Err(cursor.fail("wanted nothing more"));
        }
        Ok(Hl7Path { segment: segment.to_owned(), field, component, subcomponent })
    }

    fn key(&self) -> (&[u8], u32) {
        (self.segment.as_bytes(), u32::from(self.field))
    }
}

impl fmt::Display for Hl7Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.segment, self.field)?;
        for part in [self.component, self.subcomponent].iter().flatten() {
            write!(f, ".{part}")?;
        }
        Ok(())
    }
}

/// The paths of a route, compiled. Shared by all rewriters of the route.
pub struct Rules {
    /// By segment and field.
    paths: Vec<(usize, Hl7Path)>,
}

impl Rules {
    /// Compiles paths, each with the number of its rule. Where several select one value, the lowest number wins; of a field
    /// and a part of it, the field, and likewise of a component.
    pub fn compile(paths: &[(usize, Hl7Path)]) -> Rules {
        let mut paths = paths.to_vec();
        paths.sort_by(|(_, a), (_, b)| a.key().cmp(&b.key()));
        Rules { paths }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// Which of the paths are for a field.
    pub(super) fn for_field(&self, segment: &[u8], field: u32) -> Range<usize> {
        let wanted = (segment, field);
        let start = self.paths.partition_point(|(_, path)| path.key() < wanted);
        start..self.paths.partition_point(|(_, path)| path.key() <= wanted)
    }

    /// The rule for a whole repetition, a whole component or a subcomponent.
    pub(super) fn find(&self, among: &Range<usize>, part: (Option<u32>, Option<u32>)) -> Option<usize> {
        let paths = self.paths.get(among.clone()).unwrap_or_default();
        let selects = |path: &Hl7Path| (path.component.map(u32::from), path.subcomponent.map(u32::from)) == part;
        paths.iter().filter(|(_, path)| selects(path)).map(|(rule, _)| *rule).min()
    }
}
