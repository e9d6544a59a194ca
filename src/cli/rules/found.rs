//! The values of a sample, and the rules that they meet.

use super::lines::{Lines, Position};
use super::places::{Place, Places};
use super::sample::Sample;
use crate::document::hl7v2::Level;
use crate::document::{self, Escape, Fault, Kind, Limits, Role, Slot, Step};
use crate::proxy::media::{Format, Formats};

/// One value that is not empty.
pub(super) struct Value {
    pub(super) place: Place,
    pub(super) position: Position,
    /// The rule that it meets.
    pub(super) rule: Option<usize>,
    /// The rules that something inside of it would meet.
    pub(super) inner: Vec<usize>,
    pub(super) text: String,
    /// Whether it is itself the name of a value.
    pub(super) is_name: bool,
}

/// Why no value was found.
pub(super) enum Unread {
    /// The route has no rules for bodies of that format.
    NoRules,
    /// The gate would not take it.
    Refused(Fault),
}

/// Every value of a sample, as the gate sees it by the rules, in the order in which they stand.
pub(super) fn values(sample: &Sample, formats: &Formats, limits: &Limits) -> Result<Vec<Value>, Unread> {
    let bytes = &sample.bytes;
    let mut values = match &sample.format(formats).ok_or(Unread::NoRules)? {
        Format::Html | Format::Text if formats.pages => of_page(bytes),
        format => {
            // As for a request, no text may go unseen.
            let whole = Limits { value_bytes_max: bytes.len().max(1), ..limits.clone() };
            let rewriter = formats.explainer(format, whole).ok_or(Unread::NoRules)?;
            let mut walk = Walk::new(bytes, format, rewriter);
            walk.run().map_err(Unread::Refused)?;
            walk.end()
        }
    };
    values.sort_by_key(|value| value.place.start);
    let mut lines = Lines::of(bytes);
    for value in &mut values {
        value.position = lines.position(value.place.start);
    }
    Ok(values)
}

impl Value {
    fn new(place: Place, text: &[u8]) -> Value {
        let text = String::from_utf8_lossy(text).into_owned();
        let position = Lines::of(&[]).position(0);
        Value { place, position, rule: None, inner: Vec::new(), text, is_name: false }
    }
}

/// No rule reads a page: its lines stand for values.
fn of_page(bytes: &[u8]) -> Vec<Value> {
    let lines = bytes.split(|byte| *byte == b'\n').scan(0, |next, line| {
        let start = *next;
        *next += line.len() + 1;
        Some(Value::new(Place { start, ..Place::default() }, line))
    });
    lines.collect()
}

struct Walk<'a> {
    bytes: &'a [u8],
    rewriter: Box<dyn document::Rewrite>,
    is_csv: bool,
    places: Places,
    /// The columns of a table, and how many fields came after them.
    columns: Vec<String>,
    fields: usize,
    values: Vec<Value>,
    /// Where values ended that a rule takes whole.
    taken: Vec<std::ops::Range<usize>>,
}

impl<'a> Walk<'a> {
    fn new(bytes: &'a [u8], format: &Format, rewriter: Box<dyn document::Rewrite>) -> Self {
        Walk {
            bytes,
            rewriter,
            is_csv: *format == Format::Csv,
            places: Places::of(bytes, format),
            columns: Vec::new(),
            fields: 0,
            values: Vec::new(),
            taken: Vec::new(),
        }
    }

    fn run(&mut self) -> Result<(), Fault> {
        self.rewriter.feed(self.bytes);
        self.rewriter.finish();
        while self.rewriter.step()? == Step::Slot {
            if let Some(slot) = self.rewriter.slot() {
                let start = usize::try_from(slot.range().start).unwrap_or(usize::MAX);
                let place = match self.is_csv {
                    true => column(&slot, start, &mut self.columns, &mut self.fields),
                    false => placed(&slot, start, &self.places),
                };
                let (rule, text) = (slot.rule(), told(&slot));
                if rule.is_some() {
                    self.taken.push(start..start + slot.raw().len());
                }
                // Neither is sealed.
                let empty = slot.kind() == Kind::Null || text.trim_ascii().is_empty();
                if !empty && slot.role() != Role::Companion {
                    let (inner, is_name) = (slot.inner_rules().to_vec(), slot.place() == document::Place::Name);
                    self.values.push(Value { rule, inner, is_name, ..Value::new(place, text) });
                }
            }
            self.rewriter.keep();
            // It is the sample over again.
            self.rewriter.take_output();
        }
        Ok(())
    }

    /// Numbers that meet no rule are not shown by what reads JSON.
    fn end(mut self) -> Vec<Value> {
        self.taken.sort_by_key(|range| range.start);
        for place in self.places.numbers() {
            let before = self.taken.partition_point(|range| range.start <= place.start);
            let around = before.checked_sub(1).and_then(|last| self.taken.get(last));
            if around.is_some_and(|range| range.contains(&place.start)) {
                continue;
            }
            let rest = self.bytes.get(place.start..).unwrap_or_default();
            let end = rest.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'));
            let raw = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
            self.values.push(Value::new(place.clone(), raw));
        }
        self.values
    }
}

/// What is told of a value; of a file that it is there.
fn told<'s>(slot: &'s Slot<'_>) -> &'s [u8] {
    match slot.piece() {
        Some(piece) if piece.first => b"(file)",
        Some(_) => b"",
        None => slot.text().unwrap_or(slot.raw()),
    }
}

fn placed(slot: &Slot<'_>, start: usize, places: &Places) -> Place {
    let mut place = Place { start, ..places.at(start).cloned().unwrap_or_default() };
    // A whole field starts where its first part does.
    let parts = match slot.escape() {
        Escape::Hl7 { level: Level::Field, .. } => 1,
        Escape::Hl7 { level: Level::Component, .. } => 2,
        Escape::X12 { level: document::x12::Level::Element, .. } => 1,
        _ => return place,
    };
    if slot.rule().is_some() {
        place.path = place.path.split('.').take(parts).collect::<Vec<_>>().join(".");
    }
    place
}

/// Fields of a table come in the order of its columns.
fn column(slot: &Slot<'_>, start: usize, columns: &mut Vec<String>, fields: &mut usize) -> Place {
    if slot.place() == document::Place::Name {
        columns.push(String::from_utf8_lossy(slot.text().unwrap_or_default()).into_owned());
        return Place { start, path: "header".to_owned(), ..Place::default() };
    }
    let name = columns.get(*fields % columns.len().max(1)).cloned().unwrap_or_default();
    *fields += 1;
    Place { start, path: super::lines::escaped(&name), names: vec![name], ..Place::default() }
}
