//! Fields and their parts; the envelope; delimiters; escapes; writing.

mod properties;

use super::text::read;
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
        let paths: Vec<_> = paths.iter().map(|path| Hl7Path::parse(path).unwrap()).enumerate().collect();
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

const MSH: &str = "MSH|^~\\&|A|B\r";

#[test]
fn paths_select_what_they_name() {
    for (paths, segments, expect) in [
        (&["PID-5"][..], "PID|1||3||DOE^JANE&X~ROE\\T\\^~|6\r", &["0:DOE^JANE&X", "0:ROE\\T\\^", "0:"][..]),
        (&["PID-5"], "PID|1||3||\rPID|1||3|\rPID|||||", &["0:", "0:"]),
        (&["PID-5.1"], "PID|||||DOE^JANE~ROE~^X|6\rPID|||||Z", &["0:DOE", "0:ROE", "0:", "0:Z"]),
        (&["PID-5.2"], "PID|||||DOE^JANE~ROE~^|6\r", &["0:JANE", "0:"]),
        (&["PID-5.1"], "PID|||||A&B^C\r", &["0:A&B"]),
        (&["PID-5.1.2"], "PID|||||A&B&C^D&E~F\r", &["0:B"]),
        (&["PID-5.1.1"], "PID|||||A&B^C~F~\r", &["0:A", "0:F", "0:"]),
        (&["PID-3.4.2"], "PID|||1^2^3^N&1.2.3&ISO^MR\r", &["0:1.2.3"]),
        (&["PID-5.1.1", "PID-5.1", "PID-5"], "PID|||||A&B^C\r", &["2:A&B^C"]),
        (&["PID-5.1.1", "PID-5.1", "PID-5.2.2"], "PID|||||A&B^C&D\r", &["1:A&B", "2:D"]),
        (&["OBX-5"], "OBX|1|TX|||a~b\rOBX|2|TX|||c", &["0:a", "0:b", "0:c"]),
        (&["ZPI-1", "ZZ1-2"], "ZPI|a\rZZ1|b|c\rPI1|d\r", &["0:a", "1:c"]),
        (&["MSH-3", "MSH-4.1", "MSH-10"], "", &["0:A", "1:B"]),
        (&["PID-5"], "PID|||||\"\"\rPID|||||\"\"~x\rPID|||||\"\"^\r", &["0:x", "0:\"\"^"]),
        (&["PID-5.1"], "PID|||||\"\"^\"\"\r", &[]),
        (&["PID-5.1"], "PID|||||a\\F\\\\S\\\\T\\\\R\\\\E\\b\r", &["0:a\\F\\\\S\\\\T\\\\R\\\\E\\b=a|^&~\\b"]),
        (&["PID-5.1.1"], "PID|||||a\\T\\b\\X0D0a\\\\XC3A9\\\r", &["0:a\\T\\b\\X0D0a\\\\XC3A9\\=a&b\r\né"]),
        (&["PID-5.1"], "PID|||||a\\T\\b&c\r", &["0:a\\T\\b&c"]),
        (&["PID-5.1"], "PID|||||a\\T\\b\r", &["0:a\\T\\b"]),
        (&["PID-5.1"], "PID|||||\\H\\a\\N\\\\F\\\r", &["0:\\H\\a\\N\\\\F\\"]),
        (
            &["PID-5.1"],
            "PID|||||a\\.br\\b\\Zxx\\\\C1234\\\\P\\\\X4\\\\x41\\\r",
            &["0:a\\.br\\b\\Zxx\\\\C1234\\\\P\\\\X4\\\\x41\\"],
        ),
        (&["PID-5.1"], "PID|||||N\\A\r", &["0:N\\A"]),
        (&["PID-5.1"], "PID|||||N\\E\\A\tB\r", &["0:N\\E\\A\tB=N\\A\tB"]),
        (&["PID-5.1"], "PID|||||\\E\\H\\E\\\r", &["0:\\E\\H\\E\\"]),
        (&[], "PID|||||DOE\r", &[]),
        (&["PID-6"], "PID\rPV1|", &[]),
    ] {
        assert_eq!(Case::new(paths).listed(&format!("{MSH}{segments}")), expect, "{paths:?} in {segments:?}");
    }
}

#[test]
fn delimiters_are_those_of_the_header() {
    let case = Case::new(&["PID-5.1", "PID-5.2.2"]);
    for (document, expect) in [
        ("MSH$%!?,$A\rPID$||||$$$$D|?S?E%x,y!Z\r", &["0:D|?S?E=D|%E", "1:y", "0:Z"][..]),
        ("MSH|^~\\&#|A\rPID|||||D\\P\\E#F^a&b#\r", &["0:D\\P\\E#F=D#E#F", "1:b#"]),
        ("MSH|^~\\&#|A\rPID|||||D#\rPID|||||D\\P\\\r", &["0:D#", "0:D\\P\\"]),
        (
            "FHS|^~\\&|\rBHS!^~\\&!a\rMSH*^~\\&*\rPID*****A\rMSH|^:\\&|\rPID|||||B:C~D\rBTS!1\rFTS|1\r",
            &["0:A", "0:B", "0:C~D"],
        ),
        ("\u{feff}MSH|^~\\&|\nPID|||||A\n", &["0:A"]),
        ("MSH|^~\\&|\r\nPID|||||A\r\n", &["0:A"]),
    ] {
        assert_eq!(case.listed(document), expect, "{document:?}");
    }
    for header in [
        "MSH",
        "MSH|",
        "MSH|^~\\&",
        "MSH|^~\\&#",
        "MSH||",
        "MSH|^|",
        "MSH|^~\\|",
        "MSH|^~\\&#!|",
        "MSH|^~\\&#!$%/()=|",
        "MSH|^^\\&|",
        "MSH|^~\\^|",
        "MSH|^~\\&&|",
        "MSH|^~\\A|",
        "MSH|^~1&|",
        "MSH|^~ &|",
        "MSH|^~\"&|",
        "MSHA^~\\&A",
        "MSH ^~\\& ",
        "MSH|^~\\é|",
        "MSH|^~\\&\r",
        "MSH|^~\\\n|",
        "MSH\r",
        "MSH\t^~\\&\t",
        "MSHé^~\\&é",
    ] {
        assert_ne!(case.refusal(header), "passed", "{header:?}");
        assert_ne!(case.refusal(format!("{header}A\rPID|||||A\r")), "passed", "{header:?}");
    }
}

#[test]
fn paths_are_read_or_refused_by_name_and_column() {
    for text in ["PID-3", "PID-5.1", "PID-3.4.2", "OBX-5", "ZZ1-1", "MSH-3", "BHS-3", "PID-1", "EVN-2.9999"] {
        assert_eq!(Hl7Path::parse(text).unwrap().to_string(), text);
    }
    for (text, expect) in [
        ("", "wanted a segment id at column 1"),
        ("PI-1", "wanted a segment id at column 1"),
        ("pid-1", "wanted a segment id at column 1"),
        ("1ID-1", "wanted a segment id at column 1"),
        ("PIDX-1", "wanted a segment id at column 1"),
        ("ADD-1", "continuation segment at column 1"),
        ("DSC-1", "continuation segment at column 1"),
        ("PID", "missing `-` and a field at column 4"),
        ("PID.5", "missing `-` and a field at column 4"),
        ("PID-", "wanted a number at column 5"),
        ("PID-0", "number with a leading zero at column 5"),
        ("PID-05", "number with a leading zero at column 5"),
        ("PID-10000", "number above 9999 at column 5"),
        ("PID-5.", "wanted a number at column 7"),
        ("PID-5..1", "wanted a number at column 7"),
        ("PID-5.1.2.3", "wanted nothing more at column 10"),
        ("PID-5[1]", "wanted nothing more at column 6"),
        ("MSH-1", "field that says how to read the message at column 5"),
        ("MSH-2", "field that says how to read the message at column 5"),
        ("BHS-1", "field that says how to read the message at column 5"),
        ("FHS-2.1", "field that says how to read the message at column 5"),
        ("MSH-18", "field that says how to read the message at column 5"),
    ] {
        assert_eq!(Hl7Path::parse(text).unwrap_err().to_string(), expect, "{text}");
    }
}

#[test]
fn what_could_be_read_otherwise_is_refused() {
    let case = Case::new(&["PID-5", "PID-6.1"]);
    let shift = MSH.len();
    for (segments, expect) in [
        ("PID|1\r", "passed"),
        ("\rPID|1\r", "unexpected_byte 0"),
        ("PID|1\r\r", "unexpected_byte 6"),
        (" PID|1\r", "unexpected_byte 0"),
        ("pid|1\r", "unexpected_byte 0"),
        ("PiD|1\r", "unexpected_byte 1"),
        ("1ID|1\r", "unexpected_byte 0"),
        ("PI|1\r", "unexpected_byte 2"),
        ("PIDX|1\r", "unexpected_byte 3"),
        ("PID |1\r", "unexpected_byte 3"),
        ("PID^1\r", "unexpected_byte 3"),
        ("P", "unexpected_end 1"),
        ("PI", "unexpected_end 2"),
        ("ADD|1\r", "a segment that continues another 2"),
        ("DSC|1\r", "a segment that continues another 2"),
        ("MSH|^~\\&|\r", "a segment out of its place 2"),
        ("BHS|^~\\&|\r", "a segment out of its place 2"),
        ("FHS|^~\\&|\r", "a segment out of its place 2"),
        ("BTS|1\r", "a segment out of its place 2"),
        ("FTS|1\r", "a segment out of its place 2"),
        ("PID|1\nPV1|1\r", "a segment that ends otherwise than those before 5"),
        ("PID|1\r\nPV1|1\r\n", "a segment that ends otherwise than those before 6"),
        ("PID|1\u{b}\r", "control_character 5"),
        ("PID|1\0\r", "control_character 5"),
        ("OBX|1\u{2028}PID|||||A\r", "a Unicode line end 7"),
        ("OBX|1\u{85}PID|||||A\r", "a Unicode line end 6"),
        ("PID|1\r\u{1c}\r", "control_character 6"),
        ("PID|||||a\tb\r", "control_character 9"),
        ("PID||||||a\tb\\H\\\r", "control_character 10"),
        ("PID||||||a\\XFF\\\r", "not_utf8 10"),
        ("PID||||||a\\XC3\\\\XA9\\\r", "not_utf8 10"),
        ("PID|a\\XFF\\\tb|\r", "passed"),
    ] {
        let told = case.refusal(format!("{MSH}{segments}"));
        let told = match told.rsplit_once(' ') {
            Some((what, offset)) => format!("{what} {}", offset.parse::<usize>().unwrap() - shift),
            None => told,
        };
        assert_eq!(told, expect, "{segments:?}");
    }
}

#[test]
fn segments_out_of_place_are_refused() {
    let case = Case::new(&["PID-5", "PID-6.1"]);
    for (document, expect) in [
        ("", "unexpected_end 0"),
        ("\u{feff}", "unexpected_end 3"),
        ("PID|1\r", "a segment out of its place 2"),
        ("\u{b}MSH|^~\\&|\r\u{1c}\r", "control_character 0"),
        ("\rMSH|^~\\&|\r", "unexpected_byte 0"),
        ("\u{feff}\u{feff}MSH|^~\\&|\r", "unexpected_byte 3"),
        ("MSH|^~\\&|\nPID|1\r", "a segment that ends otherwise than those before 16"),
        ("MSH|^~\\&|\r\nPID|1\rPV1\r\n", "a segment that ends otherwise than those before 17"),
        ("MSH|^~\\&|\r\nPID|1\n", "a segment that ends otherwise than those before 16"),
        ("BHS|^~\\&|\rMSH|^~\\&|\r", "unexpected_end 20"),
        ("FHS|^~\\&|\rBHS|^~\\&|\rBTS\r", "unexpected_end 24"),
        ("FHS|^~\\&|\rBHS|^~\\&|\rFTS\r", "a segment out of its place 22"),
        ("FHS|^~\\&|\rFHS|^~\\&|\r", "a segment out of its place 12"),
        ("BHS|^~\\&|\rBHS|^~\\&|\r", "a segment out of its place 12"),
        ("BHS|^~\\&|\rPID|1\r", "a segment out of its place 12"),
        ("BHS|^~\\&|\rBTS\rMSH|^~\\&|\r", "a segment out of its place 16"),
        ("BHS|^~\\&|\rMSH|^~\\&|\rBTS\rPID|1\r", "a segment out of its place 26"),
        ("BHS|^~\\&|\rMSH!^~\\&!\rBTS!\r", "unexpected_byte 23"),
        ("FHS|^~\\&|\rBHS|^~\\&|\rMSH|^~\\&|\rBTS\rPID|1\r", "a segment out of its place 36"),
        ("<?xml version=\"1.0\"?>", "unexpected_byte 0"),
    ] {
        assert_eq!(case.refusal(document), expect, "{document:?}");
    }
    for (document, expect) in
        [(&b"MSH|^~\\&|\xe9\r"[..], "not_utf8 9"), (b"M\0S\0", "wrong_encoding"), (b"\xfe\xff\0M", "wrong_encoding")]
    {
        assert_eq!(case.refusal(document), expect);
    }
    let none = Case::new(&[]);
    assert_eq!(none.refusal(format!("{MSH}OBX|1\rADD|2\rDSC|3\r")), "passed");
}

#[test]
fn only_utf_8_is_taken_for_a_character_set() {
    for (set, expect) in [
        ("", "passed"),
        ("UNICODE UTF-8", "passed"),
        ("UTF-8", "passed"),
        ("ASCII", "passed"),
        ("ASCII~UNICODE UTF-8", "passed"),
        ("~UNICODE UTF-8", "passed"),
        ("8859/1", "wrong_encoding"),
        ("UTF-16", "wrong_encoding"),
        ("UNICODE UTF-8X", "wrong_encoding"),
        ("UNICODE UTF-8^", "wrong_encoding"),
        ("UTF-8&", "wrong_encoding"),
        ("utf-8", "wrong_encoding"),
        (" ", "wrong_encoding"),
        ("\"\"", "wrong_encoding"),
        ("ASCII~ISO IR87", "wrong_encoding"),
        ("UNICODE UTF-8~8859/15|x", "wrong_encoding"),
        ("|8859/1", "passed"),
    ] {
        for end in ["", "\r", "|", "\rPID|||||A|||||||||||||8859/1\r"] {
            let document = format!("MSH|^~\\&|3|4|5|6|7|8|9|10|11|12|13|14|15|16|17|{set}{end}");
            assert_eq!(Case::new(&["PID-5"]).watched().refusal(&document), expect, "{document:?}");
        }
    }
}

#[test]
fn strays_are_shown_by_subcomponent() {
    let case = Case::new(&["PID-5", "PID-6.1"]).watched();
    assert_eq!(
        case.listed(&format!(
            "{MSH}PID|tok:1|a^tok:2|a&tok:3~\\X746F6B\\:4|x tok:|tok:5^tok:6|tok:7&8^tok:9\rZZZ|tok:\\XFF\\|\"\""
        )),
        [
            "-:tok:1",
            "-:tok:2",
            "-:tok:3",
            "-:\\X746F6B\\:4=tok:4",
            "0:tok:5^tok:6",
            "1:tok:7&8",
            "-:tok:9",
            "-:tok:\\XFF\\"
        ]
    );
}

#[test]
fn limits_hold_to_the_byte_and_memory_does_not_grow() {
    let case = || Case::new(&["PID-1", "PID-2.1"]).limited(tight(6, 0));
    for (segments, expect) in [
        ("PID|123456\r", "passed"),
        ("PID|1234567\r", "value_too_long"),
        ("PID|12345é\r", "value_too_long"),
        ("PID|12^45&7\r", "value_too_long"),
        ("PID|1~1234567", "value_too_long"),
        ("PID||123456^1234567\r", "passed"),
        ("PID||12345\\E\\^1\r", "value_too_long"),
        ("PID|||1234567\r", "passed"),
    ] {
        for case in [case(), case().watched()] {
            let told = case.refusal(format!("{MSH}{segments}"));
            assert_eq!(told.split(' ').next(), Some(expect), "{segments:?}");
        }
    }
    for (segments, expect) in [
        ("PID|||tok:56|x tok:567|a\\X746F\\k:\r", "passed"),
        ("PID|||tok:567\r", "value_too_long"),
        ("PID|||tok:\\E\\\r", "value_too_long"),
    ] {
        let told = case().watched().refusal(format!("{MSH}{segments}"));
        assert_eq!(told.split(' ').next(), Some(expect), "{segments:?}");
    }
    let case = Case::new(&["PID-5.1"]).watched().limited(tight(1000, 0));
    let stream = |head: &str, piece: &str, count| {
        trial::streamed(&|| case.start(), format!("{MSH}{head}").as_bytes(), piece.as_bytes(), count, b"")
    };
    assert_eq!(stream("", "PID|1||||A^B|\r", 50_000), 50_000);
    assert_eq!(stream("OBX|", "xxxxxxxxxx\\", 200_000), 0);
    assert_eq!(stream("PID|||||", "A^B&~", 100_000), 100_001);
}

const PLAIN: Delimiters =
    Delimiters { field: b'|', component: b'^', repetition: b'~', escape: b'\\', subcomponent: b'&', truncation: None };
const TRUNCATING: Delimiters = Delimiters { truncation: Some(b'#'), ..PLAIN };

fn written(text: &[u8], delimiters: Delimiters, level: Level) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    Escape::Hl7 { delimiters, level }.text(text, &mut out).ok().map(|()| out)
}

fn text_of(raw: &[u8], delimiters: Delimiters, level: Level) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    read(raw, &delimiters, level, &mut out).ok().map(|()| out)
}

#[test]
fn texts_are_escaped_where_the_level_has_escapes() {
    for (text, field, component, subcomponent) in [
        ("DOE", Some("DOE"), Some("DOE"), Some("DOE")),
        ("", Some(""), Some(""), Some("")),
        ("a^b", Some("a^b"), Some("a\\S\\b"), Some("a\\S\\b")),
        ("a&b", Some("a&b"), Some("a&b"), Some("a\\T\\b")),
        ("a&b^c", Some("a&b^c"), Some("a\\T\\b\\S\\c"), Some("a\\T\\b\\S\\c")),
        ("a\\b", Some("a\\b"), Some("a\\E\\b"), Some("a\\E\\b")),
        ("a\\H\\b", Some("a\\H\\b"), Some("a\\H\\b"), Some("a\\H\\b")),
        ("a|b", None, Some("a\\F\\b"), Some("a\\F\\b")),
        ("a~b", None, Some("a\\R\\b"), Some("a\\R\\b")),
        ("a\r\nb", None, Some("a\\X0D\\\\X0A\\b"), Some("a\\X0D\\\\X0A\\b")),
        ("a\tb\u{1f}", None, Some("a\\X09\\b\\X1F\\"), Some("a\\X09\\b\\X1F\\")),
        ("a&b\rc", None, Some("a\\T\\b\\X0D\\c"), Some("a\\T\\b\\X0D\\c")),
        ("\\H\\\r", None, Some("\\E\\H\\E\\\\X0D\\"), Some("\\E\\H\\E\\\\X0D\\")),
        ("a\u{2028}b", None, Some("a\\XE280A8\\b"), Some("a\\XE280A8\\b")),
        ("#", Some("#"), Some("#"), Some("#")),
        ("\"\"", None, None, None),
    ] {
        for (level, expect) in
            [(Level::Field, field), (Level::Component, component), (Level::Subcomponent, subcomponent)]
        {
            let out = written(text.as_bytes(), PLAIN, level).map(|out| String::from_utf8(out).unwrap());
            assert_eq!(out.as_deref(), expect, "{text:?} {level:?}");
        }
    }
    for level in [Level::Field, Level::Component, Level::Subcomponent] {
        assert_eq!(written(b"\xff", PLAIN, level), None);
        assert_eq!(written(b"\xed\xa0\x80", PLAIN, level), None);
    }
    assert_eq!(written(b"a#b", TRUNCATING, Level::Component).unwrap(), b"a\\P\\b");
    assert_eq!(written(b"a#", TRUNCATING, Level::Component).unwrap(), b"a#");
    let mut out = Vec::new();
    Escape::Hl7 { delimiters: PLAIN, level: Level::Component }.literal(b"-1.5", &mut out).unwrap();
    assert_eq!(out, b"-1.5");
}

#[test]
fn escapes_within_escapes_cost_little() {
    let mut raw = b"\\H\\".to_vec();
    while raw.len() < 1 << 20 {
        raw = [b"x", &raw[..]]
            .concat()
            .iter()
            .flat_map(|&b| if b == b'\\' { b"\\E\\".to_vec() } else { vec![b] })
            .collect();
    }
    assert_eq!(text_of(&raw, PLAIN, Level::Component).unwrap(), raw);
    assert_eq!(written(&raw, PLAIN, Level::Component).unwrap(), raw);
    let raw = b"\\".repeat(1 << 20);
    assert_eq!(text_of(&raw, PLAIN, Level::Component).unwrap(), raw);
}
