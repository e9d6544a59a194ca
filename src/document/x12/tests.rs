//! Segments, elements and components; the envelope; delimiters; writing.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::document::tape::trial::{self, listed, refusal, tight, tokens};
use crate::document::{Escape, Rewrite};

struct Case {
    rules: Arc<Rules>,
    limits: Limits,
    watch: Option<Watch>,
}

impl Case {
    fn new(paths: &[&str]) -> Case {
        let paths: Vec<_> = paths.iter().map(|path| X12Path::parse(path).unwrap()).enumerate().collect();
        Case { rules: Arc::new(Rules::compile(&paths)), limits: Limits::default(), watch: None }
    }

    fn watched(self) -> Case {
        Case { watch: Some(Watch::new(tokens)), ..self }
    }

    fn limited(self, limits: Limits) -> Case {
        Case { limits, ..self }
    }

    fn start(&self) -> Box<dyn Rewrite> {
        Box::new(Rewriter::new(self.rules.clone(), self.limits.clone(), self.watch))
    }

    fn listed(&self, document: &str) -> Vec<String> {
        listed(&|| self.start(), document.as_bytes())
    }

    fn refusal(&self, document: impl AsRef<[u8]>) -> String {
        refusal(&|| self.start(), document.as_ref())
    }
}

const ISA: &str =
    "ISA*00*          *00*          *ZZ*SENDER         *ZZ*RECEIVER       *240101*1200*^*00501*000000001*0*T*:~";

/// An interchange around segments, which end in `~`.
fn around(segments: &str) -> String {
    format!("{ISA}GS*HC*A*B*20240101*1200*1*X*005010~ST*837*1~{segments}SE*1*1~GE*1*1~IEA*1*1~")
}

/// Likewise with other delimiters; those above stand for them.
fn marked(segments: &str, marks: [char; 4]) -> String {
    let swap = |c| match c {
        '*' => marks[0],
        ':' => marks[1],
        '^' => marks[2],
        '~' => marks[3],
        other => other,
    };
    around(segments).chars().map(swap).collect()
}

#[test]
fn paths_select_what_they_name() {
    for (paths, segments, expect) in [
        (&["N3-1"][..], "N3*1 MAIN ST*APT 2~", &["0:1 MAIN ST"][..]),
        (&["N3-2"], "N3*1 MAIN ST~N3*X*~N3~N3**Y~", &["0:", "0:Y"]),
        (&["N3"], "N3*1 MAIN ST**C~N4*X~", &["0:1 MAIN ST", "0:", "0:C"]),
        (&["NM1*IL-3"], "NM1*IL*1*DOE*JANE~NM1*PR*2*ACME~NM1*ILX*1*NO~", &["0:DOE"]),
        (&["NM1*IL"], "NM1*IL*1*DOE**~NM1*QC*1*ROE~NM1~NM1*IL~", &["0:1", "0:DOE", "0:", "0:"]),
        (&["NM1-1", "NM1*IL"], "NM1*IL*1~NM1*QC*1~", &["0:IL", "1:1", "0:QC"]),
        (&["REF*SY-2", "REF*EA-2"], "REF*SY*123~REF*EA*45~REF*EI*6~", &["0:123", "1:45"]),
        (&["DMG-2"], "DMG*D8*19700101*F~", &["0:19700101"]),
        (&["SVC-1.2"], "SVC*HC:99211:A*1~SVC*HC~SVC*HC:~SVC*A:1^B:2~", &["0:99211", "0:", "0:1", "0:2"]),
        (&["SVC-1"], "SVC*HC:99211*1~SVC*A:1^B:2^~", &["0:HC:99211", "0:A:1", "0:B:2", "0:"]),
        (&["SVC-1.1", "SVC-1", "SVC"], "SVC*HC:99211*2~", &["1:HC:99211", "2:2"]),
        (&["SVC*HC-2.1"], "SVC*HC*9:8~SVC*AD*7:6~", &["0:9"]),
        (&["N3", "N3-1"], "N3*A*B~", &["0:A", "0:B"]),
        (&["N3-1", "N3"], "N3*A*B~", &["0:A", "1:B"]),
        (&["CL1-3", "CL-3"], "CL1*A*B*C~", &["0:C"]),
        (&["N3-1"], "\r\nN3*A~\r\nN3*B~\n\nN3*é~\r", &["0:A", "0:B", "0:é"]),
        (&["N3-1"], "N4*A~", &[]),
        (&[], "N3*A~", &[]),
    ] {
        assert_eq!(Case::new(paths).listed(&around(segments)), expect, "{paths:?} in {segments:?}");
    }
    for marks in
        [['|', '>', '!', '\n'], ['\u{1d}', '\u{1f}', '\u{1e}', '\u{1c}'], ['*', '<', 'U', '\r'], ['+', ':', '^', '\'']]
    {
        let document = marked("SVC*HC:9*1~NM1*IL*1*DOE~", marks);
        let case = Case::new(&["SVC-1.2", "NM1*IL-3"]);
        assert_eq!(case.listed(&document), ["0:9", "1:DOE"], "{document:?}");
    }
    // A letter in `ISA11` is no separator.
    assert_eq!(Case::new(&["N3-1"]).listed(&marked("N3*SUE^~", ['*', ':', 'U', '~'])), ["0:SUEU"]);
}

#[test]
fn interchanges_may_follow_each_other_with_other_delimiters() {
    let case = Case::new(&["N3-1"]);
    let first = around("N3*A^B~");
    let second = marked("N3*C*^~", ['|', '>', '!', '\n']);
    assert_eq!(case.listed(&format!("{first}\r\n {second}\n\n{first}\t")), ["0:A", "0:B", "0:C", "0:A", "0:B"]);
    assert_eq!(case.listed(&format!("{ISA}TA1*1*2~IEA*0*1~")), [""; 0]);
    assert_eq!(case.listed(&format!("\u{feff}{first}")), ["0:A", "0:B"]);
}

#[test]
fn paths_are_read_or_refused_by_name_and_column() {
    for text in ["N3", "N3-1", "NM1*IL", "NM1*IL-3", "SVC-1.2", "REF*SY-2.1", "TA1-1", "N3-9999", "LX", "REF*1G-2"] {
        assert_eq!(X12Path::parse(text).unwrap().to_string(), text);
    }
    for (text, expect) in [
        ("", "wanted a segment id at column 1"),
        ("N", "wanted a segment id at column 1"),
        ("n3-1", "wanted a segment id at column 1"),
        ("3N-1", "wanted a segment id at column 1"),
        ("NM10-1", "wanted a segment id at column 1"),
        ("ISA-6", "control segment at column 1"),
        ("GS", "control segment at column 1"),
        ("ST-1", "control segment at column 1"),
        ("SE", "control segment at column 1"),
        ("GE", "control segment at column 1"),
        ("IEA", "control segment at column 1"),
        ("BIN-2", "binary segment at column 1"),
        ("BDS-3", "binary segment at column 1"),
        ("N3-", "wanted a number at column 4"),
        ("N3-0", "number with a leading zero at column 4"),
        ("N3-01", "number with a leading zero at column 4"),
        ("N3-10000", "number above 9999 at column 4"),
        ("N3-99999999999999999999", "number above 9999 at column 4"),
        ("N3-1.", "wanted a number at column 6"),
        ("N3-1.2.3", "wanted nothing more at column 7"),
        ("N3.1", "wanted nothing more at column 3"),
        ("N3-1 ", "wanted nothing more at column 5"),
        ("NM1*", "wanted a qualifier of 1 to 30 letters or digits at column 5"),
        ("NM1*-3", "wanted a qualifier of 1 to 30 letters or digits at column 5"),
        ("NM1*1234567890123456789012345678901", "wanted a qualifier of 1 to 30 letters or digits at column 5"),
        ("NM1*IL-1", "element 1 is the qualifier itself at column 8"),
        ("NM1*IL*1", "wanted nothing more at column 7"),
    ] {
        assert_eq!(X12Path::parse(text).unwrap_err().to_string(), expect, "{text}");
    }
}

/// The fault of an interchange around segments; offsets count from the first of them.
fn inside(case: &Case, segments: &str) -> String {
    let at = around("|").find('|').unwrap();
    let told = case.refusal(around(segments));
    match told.rsplit_once(' ') {
        Some((what, offset)) => format!("{what} {}", offset.parse::<usize>().unwrap() - at),
        None => told,
    }
}

#[test]
fn what_could_be_read_otherwise_is_refused() {
    for (segments, expect) in [
        ("N3*A~", "passed"),
        ("~", "unexpected_byte 0"),
        ("N*A~", "unexpected_byte 1"),
        ("n3*A~", "unexpected_byte 0"),
        ("3N*A~", "unexpected_byte 0"),
        (" N3*A~", "unexpected_byte 0"),
        ("N3A4*A~", "unexpected_byte 3"),
        ("N3 *A~", "unexpected_byte 2"),
        ("N3:A~", "unexpected_byte 2"),
        ("N\r\n3*A~", "unexpected_byte 1"),
        ("N3*A\r\nB~", "control_character 4"),
        ("N3*A\tB~", "control_character 4"),
        ("N3*A\0~", "control_character 4"),
        ("N3*A\u{1c}~", "control_character 4"),
        ("N3*A\u{7f}~", "control_character 4"),
        ("BIN*3*~~~~", "a binary segment 3"),
        ("BDS*ASC*3*~~~~", "a binary segment 3"),
        ("ISA*00~", "a control segment out of its place 3"),
        ("GS*HC~", "a control segment out of its place 2"),
        ("ST*837~", "a control segment out of its place 2"),
        ("GE*1~", "a control segment out of its place 2"),
        ("IEA*1~", "a control segment out of its place 3"),
        ("TA1*1~", "a control segment out of its place 3"),
        ("SE*1~N3*A~", "a segment outside of a transaction set 7"),
        ("SE*1~SE*1~", "a control segment out of its place 7"),
        ("SE*1~GE*1~N3*A~", "a segment outside of a transaction set 12"),
        ("NM1*il*1~", "a qualifier almost like a ruled one 6"),
        ("NM1* IL*1~", "a qualifier almost like a ruled one 7"),
        ("NM1*IL *1~", "a qualifier almost like a ruled one 7"),
        ("NM1*IL:*1~", "a qualifier almost like a ruled one 7"),
        ("NM1*Il:2*1~", "a qualifier almost like a ruled one 8"),
        ("NM1*IL^QC*1~", "a qualifier almost like a ruled one 9"),
        ("NM1*                                        IL*1~", "a qualifier almost like a ruled one 46"),
        ("NM1*IL                                        *1~", "a qualifier almost like a ruled one 46"),
        ("NM1*iL~", "a qualifier almost like a ruled one 6"),
        ("REF*il*1~", "passed"),
    ] {
        assert_eq!(inside(&Case::new(&["NM1*IL-3", "N3"]), segments), expect, "{segments:?}");
        let watched = inside(&Case::new(&["NM1*IL-3"]).watched(), segments);
        assert_eq!(watched, expect, "{segments:?}");
    }
}

#[test]
fn the_envelope_has_to_be_whole() {
    let whole = around("N3*A~");
    let case = Case::new(&["N3-1"]);
    for (document, expect) in [
        (String::new(), "unexpected_end 0"),
        ("GS*A~".to_owned(), "unexpected_byte 0"),
        (format!(" {whole}"), "unexpected_byte 0"),
        ("ISB*".to_owned(), "unexpected_byte 2"),
        (ISA[..105].to_owned(), "unexpected_end 105"),
        (ISA.to_owned(), "unexpected_end 106"),
        (format!("{ISA}N3*A~"), "a segment outside of a transaction set 108"),
        (format!("{ISA}ST*1~"), "a control segment out of its place 108"),
        (format!("{ISA}IEA*1"), "unexpected_end 111"),
        (format!("{ISA}IEA*1~x"), "unexpected_byte 112"),
        (format!("{ISA}IEA*1~N3*A~"), "unexpected_byte 112"),
        (format!("{ISA}IEA*1~\u{feff}"), "unexpected_byte 112"),
        (format!("{ISA}IEA*1~{}", &ISA[..50]), "unexpected_end 162"),
        (ISA.replace("ISA*00", "ISA*0*"), "unexpected_byte 5"),
        (ISA.replace("SENDER ", "SEN*ER "), "unexpected_byte 38"),
        (ISA.replace("*ZZ*REC", "*ZZZREC"), "unexpected_byte 53"),
        (ISA.replace("SENDER  ", "SENDÉR "), "unexpected_byte 39"),
        (ISA.replace("SENDER", "SEN\tER"), "unexpected_byte 38"),
        (ISA.replace("SENDER", "SEN:ER"), "delimiters that are not distinct punctuation 105"),
        (ISA.replace("SENDER", "SEN~ER"), "delimiters that are not distinct punctuation 105"),
        (ISA.replace("*:~", "*~~"), "delimiters that are not distinct punctuation 105"),
        (ISA.replace("*:~", "**~"), "delimiters that are not distinct punctuation 105"),
        (ISA.replace("*:~", "*:*"), "delimiters that are not distinct punctuation 105"),
        (ISA.replace("*:~", "*^~"), "delimiters that are not distinct punctuation 105"),
        (ISA.replace("*:~", "*A~"), "delimiters that are not distinct punctuation 105"),
        (ISA.replace("*:~", "* ~"), "delimiters that are not distinct punctuation 105"),
        (ISA.replace("*:~", "*:9"), "delimiters that are not distinct punctuation 105"),
        (ISA.replace("*:~", "*: "), "delimiters that are not distinct punctuation 105"),
        (ISA.replace("*^*", "* *"), "delimiters that are not distinct punctuation 105"),
        (ISA.replace("*^*", "***"), "delimiters that are not distinct punctuation 105"),
        (ISA.replace('*', "A"), "delimiters that are not distinct punctuation 105"),
    ] {
        assert_eq!(case.refusal(&document), expect, "{document:?}");
    }
    // Wherever it is cut, it is not whole.
    for end in 0..whole.len() {
        assert!(case.refusal(&whole[..end]).starts_with("unexpected_end"), "{end}");
    }
    for (document, expect) in [
        (&b"I\0S\0"[..], "wrong_encoding"),
        (b"\xff\xfeI\0", "wrong_encoding"),
        (&[ISA.as_bytes(), b"GS*\xff~"].concat(), "not_utf8 109"),
        (&[ISA.as_bytes(), b"GS*\xc3*~"].concat(), "not_utf8 109"),
    ] {
        assert_eq!(case.refusal(document), expect);
    }
}

#[test]
fn strays_are_shown_by_component() {
    let case = Case::new(&["N3-1"]).watched();
    let document = around("N3*tok;1*x tok:~N4*tok~")
        .replace("*:~GS", "*>~GS")
        .replace(';', ":")
        .replace("N4*tok~", "N4*a>tok:2^tok:3~");
    assert_eq!(case.listed(&document), ["0:tok:1", "-:tok:2", "-:tok:3"]);
}

#[test]
fn limits_hold_to_the_byte_and_memory_does_not_grow() {
    let case = || Case::new(&["N3-1"]).limited(tight(6, 0));
    for (segments, expect) in [
        ("N3*123456~", "passed"),
        ("N3*1234567~", "value_too_long 3"),
        ("N3*123456^1234567~", "value_too_long 10"),
        ("N3*12345é~", "value_too_long 3"),
        ("N3*1*1234567~", "passed"),
    ] {
        assert_eq!(inside(&case(), segments), expect, "{segments:?}");
        assert_eq!(inside(&case().watched(), segments), expect, "{segments:?}");
    }
    let other = |segments: &str| around(segments).replace("*:~GS", "*>~GS");
    assert!(case().watched().refusal(other("N3*1*tok:567~")).starts_with("value_too_long"));
    assert_eq!(case().watched().refusal(other("N3*1*x tok:567~")), "passed");
    let case = Case::new(&["N3-1", "NM1*IL-3"]).watched().limited(tight(1000, 0));
    let whole = around("|");
    let (head, tail) = whole.split_once('|').unwrap();
    let stream = |piece: &str, count| {
        trial::streamed(&|| case.start(), head.as_bytes(), piece.as_bytes(), count, tail.as_bytes())
    };
    assert_eq!(stream("N3*A*B~\n", 50_000), 50_000);
    let (head, tail) = whole.split_once('|').map(|(head, tail)| (format!("{head}NM1*"), format!("~{tail}"))).unwrap();
    let slots = trial::streamed(&|| case.start(), head.as_bytes(), &[b'x'; 1000], 3000, tail.as_bytes());
    assert_eq!(slots, 0);
}

#[test]
fn texts_are_written_as_they_are_or_not_at_all() {
    let delimiters = Delimiters { element: b'*', component: b':', repetition: Some(b'^'), segment: b'~' };
    for (text, element, component) in [
        (&b""[..], true, true),
        (b"DOE", true, true),
        ("é €".as_bytes(), true, true),
        (b"HC:99211", true, false),
        (b"a*b", false, false),
        (b"a~b", false, false),
        (b"a^b", false, false),
        (b"a\nb", false, false),
        (b"a\0", false, false),
        (b"\x7f", false, false),
        (b"\xff", false, false),
        (b"\xed\xa0\x80", false, false),
    ] {
        for (level, fits) in [(Level::Element, element), (Level::Component, component)] {
            let mut out = Vec::new();
            let written = Escape::X12 { delimiters, level }.text(text, &mut out);
            assert_eq!(written.is_ok(), fits, "{} {level:?}", text.escape_ascii());
            assert_eq!(out, if fits { text } else { b"" });
        }
    }
    let delimiters = Delimiters { repetition: None, ..delimiters };
    assert!(Escape::X12 { delimiters, level: Level::Component }.literal(b"a^b", &mut Vec::new()).is_ok());
}

fn segments() -> impl Strategy<Value = String> {
    let id = prop::sample::select(vec!["N3", "NM1*IL", "NM1*QC", "REF*SY", "SVC*HC:1", "CL1"]);
    let segment = (id, "([*:^]|[A-Z0-9 é]|tok>){0,12}", prop::sample::select(vec!["~", "~\n", "~\r\n"]));
    vec(segment, 0..5).prop_map(|segments| segments.iter().map(|(id, rest, end)| format!("{id}*{rest}{end}")).collect())
}

const PATHS: [&str; 5] = ["N3", "NM1*IL-3", "REF*SY-2", "SVC-1.2", "CL1-1.1"];

proptest! {
    #[test]
    fn cuts_make_no_difference_and_kept_slots_change_nothing(
        segments in segments(), sizes in vec(1_usize..12, 1..6), watched: bool,
        changes in trial::changes(b"*:^~\r\nISAE N0\xef"), value_bytes_max in 0_usize..12,
    ) {
        let mut case = Case::new(&PATHS).limited(tight(value_bytes_max, 0));
        case.watch = watched.then_some(Watch::new(tokens));
        let document = around(&segments);
        trial::uphold(&|| case.start(), document.as_bytes(), &sizes);
        trial::uphold(&|| case.start(), &trial::changed(document.as_bytes(), &changes), &sizes);
    }

    #[test]
    fn any_bytes_are_taken_or_refused(bytes in vec(any::<u8>(), 0..40), size in 1_usize..5) {
        let case = Case::new(&PATHS).watched();
        trial::uphold(&|| case.start(), &bytes, &[size]);
        trial::uphold(&|| case.start(), &[ISA.as_bytes(), &bytes].concat(), &[size]);
    }

    #[test]
    fn what_is_written_is_read_again(segments in segments(), text in prop_oneof!["[A:é^*~ ]{0,6}", any::<String>()]) {
        let case = Case::new(&PATHS);
        if let Some((_, again)) = trial::rewritten(&|| case.start(), around(&segments).as_bytes(), text.as_bytes()) {
            prop_assert_eq!(again.text, text.as_bytes());
        }
    }

    #[test]
    fn what_is_read_can_be_written_in_its_place(segments in segments()) {
        let case = Case::new(&PATHS);
        let (result, seen) = trial::run(&|| case.start(), around(&segments).as_bytes(), &[usize::MAX], &|_| None);
        prop_assert!(result.is_ok());
        for slot in seen {
            let mut written = Vec::new();
            slot.escape.text(&slot.text, &mut written).unwrap();
            prop_assert_eq!(written, slot.raw.into_bytes());
        }
    }
}
