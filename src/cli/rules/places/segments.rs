//! Places in HL7 v2 and X12: segments of fields that have parts.

use super::Place;

/// What fields of HL7 v2 and elements of X12 are, where that is of interest here: there are no names in the documents.
const NAMES: [(&str, &str); 14] = [
    ("PID-7", "birth"),
    ("PID-13", "phone"),
    ("PID-14", "phone"),
    ("PID-19", "ssn"),
    ("NK1-5", "phone"),
    ("NK1-6", "phone"),
    ("NK1-16", "birth"),
    ("NK1-37", "ssn"),
    ("GT1-6", "phone"),
    ("GT1-8", "birth"),
    ("GT1-12", "ssn"),
    ("IN1-18", "birth"),
    ("DMG-2", "birth"),
    ("REF*SY-2", "ssn"),
];

/// What a segment is divided by.
struct Marks {
    field: u8,
    repetition: Option<u8>,
    component: u8,
    subcomponent: Option<u8>,
}

/// Of a message or several. Each header says what the segments after it are divided by.
pub(super) fn hl7(bytes: &[u8]) -> Vec<Place> {
    let mut marks = Marks { field: b'|', repetition: Some(b'~'), component: b'^', subcomponent: Some(b'&') };
    let mut places = Vec::new();
    for (start, segment) in pieces(bytes, 0, |byte| matches!(byte, b'\r' | b'\n')) {
        let is_header = [&b"MSH"[..], b"BHS", b"FHS"].iter().any(|id| segment.starts_with(id));
        if is_header && let Some(&[field, component, repetition, _, subcomponent]) = segment.get(3..8) {
            marks = Marks { field, repetition: Some(repetition), component, subcomponent: Some(subcomponent) };
        }
        // Of a header the separator itself is field 1.
        marks.segment(start, segment, usize::from(is_header), &mut places);
    }
    places
}

/// Of an interchange or several, likewise.
pub(super) fn x12(bytes: &[u8]) -> Vec<Place> {
    let mut places = Vec::new();
    let mut at = 0;
    while let Some(isa) = bytes.get(at..).and_then(|rest| memchr::memmem::find(rest, b"ISA")).map(|found| at + found) {
        let mark = |offset: usize| bytes.get(isa + offset).copied();
        let (Some(field), Some(eleventh), Some(component), Some(end)) = (mark(3), mark(82), mark(104), mark(105))
        else {
            break;
        };
        let repetition = (!eleventh.is_ascii_alphanumeric()).then_some(eleventh);
        let marks = Marks { field, repetition, component, subcomponent: None };
        at = bytes.len();
        for (start, segment) in pieces(bytes.get(isa..).unwrap_or_default(), isa, |byte| byte == end) {
            let blank = segment.len() - segment.trim_ascii_start().len();
            let (start, segment) = (start + blank, segment.trim_ascii_start());
            if start > isa && segment.starts_with(b"ISA") {
                at = start;
                break;
            }
            marks.segment(start, segment, 0, &mut places);
        }
    }
    places
}

/// What stands between separators, with where it starts.
fn pieces(bytes: &[u8], start: usize, separates: impl Fn(u8) -> bool) -> Vec<(usize, &[u8])> {
    let pieces = bytes.split(|byte| separates(*byte)).scan(start, |next, piece| {
        let at = *next;
        *next += piece.len() + 1;
        Some((at, piece))
    });
    pieces.collect()
}

impl Marks {
    fn segment(&self, start: usize, segment: &[u8], shift: usize, places: &mut Vec<Place>) {
        let fields = pieces(segment, start, |byte| byte == self.field);
        let text = |index: usize| {
            fields.get(index).map(|(_, text)| String::from_utf8_lossy(text).into_owned()).unwrap_or_default()
        };
        let (id, qualifier) = (text(0), text(1));
        for (index, (start, field)) in fields.iter().enumerate().skip(1) {
            let path = format!("{id}-{}", index + shift);
            let qualified = format!("{id}*{qualifier}-{index}");
            let known = NAMES.iter().find(|(known, _)| *known == path || *known == qualified);
            let names = known.map(|(_, name)| vec![(*name).to_owned()]).unwrap_or_default();
            let repetitions = pieces(field, *start, |byte| Some(byte) == self.repetition);
            let several = repetitions.len() > 1;
            for (number, (start, repetition)) in (1..).zip(repetitions) {
                let path = if several { format!("{path}[{number}]") } else { path.clone() };
                self.parts(start, repetition, &Place { path, names: names.clone(), ..Place::default() }, places);
            }
        }
    }

    /// A part that is the only one has no number.
    fn parts(&self, start: usize, text: &[u8], place: &Place, places: &mut Vec<Place>) {
        let numbered = |path: &str, count: usize, number: usize| match count {
            1 => path.to_owned(),
            _ => format!("{path}.{number}"),
        };
        let components = pieces(text, start, |byte| byte == self.component);
        for (number, (start, component)) in (1..).zip(&components) {
            let path = numbered(&place.path, components.len(), number);
            let inner = pieces(component, *start, |byte| Some(byte) == self.subcomponent);
            for (number, (start, _)) in (1..).zip(&inner) {
                places.push(Place { start: *start, path: numbered(&path, inner.len(), number), ..place.clone() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::rules::places::Places;

    #[test]
    fn every_part_of_a_segment_has_a_path() {
        let message = "MSH|^~\\&|APP\rPID|1||A1^2~B1^x&SUB||Eve^Ann\rMSH!$*\\@!APP2\rPID!1!!C1$2";
        let isa = "ISA*00*          *00*          *ZZ*S              *ZZ*R              *250101*1200*^*00501*000000001*0*P*:~";
        let interchange = format!("{isa}\nGS*HC~REF*SY*999~SV1*HC:99213*7^8~IEA*1*1~\n");
        let (hl7, x12) = (Places(hl7(message.as_bytes())), Places(x12(interchange.as_bytes())));
        for (text, places, part, want) in [
            (message, &hl7, "APP", "MSH-3"),
            (message, &hl7, "A1", "PID-3[1].1"),
            (message, &hl7, "SUB", "PID-3[2].2.2"),
            (message, &hl7, "Eve", "PID-5.1"),
            (message, &hl7, "APP2", "MSH-3"),
            (message, &hl7, "C1", "PID-3.1"),
            (&interchange, &x12, "HC~", "GS-1"),
            (&interchange, &x12, "999", "REF-2"),
            (&interchange, &x12, "99213", "SV1-1.2"),
            (&interchange, &x12, "8~", "SV1-2[2]"),
        ] {
            assert_eq!(places.at(text.find(part).unwrap()).unwrap().path, want, "{part}");
        }
        assert_eq!(x12.at(interchange.find("999").unwrap()).unwrap().names, ["ssn"]);
    }
}
