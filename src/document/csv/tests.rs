//! Columns, the grammar, what could be read otherwise, and writing.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::document::tape::trial::{self, listed, refusal, tight, tokens};
use crate::document::{Rewrite, Step};

struct Case {
    rules: Arc<Rules>,
    limits: Limits,
    watch: Option<Watch>,
}

impl Case {
    fn new(names: &[&str]) -> Case {
        Case::split(names, b',')
    }

    fn split(names: &[&str], delimiter: u8) -> Case {
        let paths: Vec<_> = names.iter().map(|name| CsvPath::parse(name).unwrap()).enumerate().collect();
        let rules = Arc::new(Rules::compile(&paths, delimiter).unwrap());
        Case { rules, limits: Limits::default(), watch: None }
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

#[test]
fn ruled_columns_are_selected_in_every_row() {
    for (names, document, expect) in [
        (&["ssn"][..], "id,ssn\n1,2\n3,4\n", &["0:2", "0:4"][..]),
        (&["ssn"], "id,ssn\r\n1,2\r\n3,4", &["0:2", "0:4"]),
        (&["ssn", "id"], "id,x,ssn\n1,2,3\n", &["1:1", "0:3"]),
        (&["a", "a"], "a,b\n1,2\n", &["0:1"]),
        (&["ssn"], "ssn,x,ssn\n1,2,3\n", &["0:1", "0:3"]),
        (&["ssn"], "\u{feff}ssn,x\n1,2\n", &["0:1"]),
        (&["ssn"], "\u{feff}\"ssn\",x\n1,2\n", &["0:1"]),
        (&["ssn"], "x,ssn\n1,\n,\n,\"\"\n", &["0:", "0:", "0:\"\"="]),
        (&["ssn"], "x,ssn\n1,\"a,\"\"b\"\"\r\nc\"\n", &["0:\"a,\"\"b\"\"\r\nc\"=a,\"b\"\r\nc"]),
        (&["ssn"], "x,ssn\n1,\"\"\"\"\n", &["0:\"\"\"\"=\""]),
        (&["a,\"b\nc"], "\"a,\"\"b\nc\",x\n1,2\n", &["0:1"]),
        (&["naïve"], "naïve\n1\n\n2\n", &["0:1", "0:2"]),
        (&["a", "A"], "A,a\n1,2\n", &["1:1", "0:2"]),
        (&["a"], "a\n1", &["0:1"]),
        (&["a"], "a\r\n\"\"\r\n", &["0:\"\"="]),
        (&["a"], "a\n\n\n", &[]),
        (&["a"], "a,b\n", &[]),
        (&["a"], "a,b", &[]),
        (&["a"], "a,b\n1,2\n\n", &["0:1"]),
        (&["a"], "a,b\r\n1,2\r\n\r\n", &["0:1"]),
        (&["b"], "a,b\n1,\t'x' y\\ \n", &["0:\t'x' y\\ "]),
        (&["b"], "a,b\n1,\"C:\\\\\"\n", &["0:\"C:\\\\\"=C:\\\\"]),
        (&["b"], "a,b\n1,\n", &["0:"]),
        (&["b"], "a,b\nŨ\u{2027}\u{45},\"\u{2028}\"\n", &["0:\"\u{2028}\"=\u{2028}"]),
        (&[], "a,b\n1,2\n", &[]),
    ] {
        assert_eq!(Case::new(names).listed(document), expect, "{names:?} in {document:?}");
    }
    for delimiter in [b';', b'\t', b'|'] {
        let document = "a,a;b\n1;\"2;3\"\n".replace(';', std::str::from_utf8(&[delimiter]).unwrap());
        assert_eq!(Case::split(&["b"], delimiter).listed(&document).len(), 1);
        assert_eq!(Case::split(&["a,a"], delimiter).listed(&document), ["0:1"]);
    }
    for delimiter in [b' ', b'"', b'\n', b'a', 0, 0xff, b':'] {
        assert!(Rules::compile(&[], delimiter).is_err());
    }
}

#[test]
fn the_lowest_rule_wins_whatever_the_order() {
    let path = CsvPath::parse("a").unwrap();
    let rules = Rules::compile(&[(7, path.clone()), (3, path.clone()), (5, path)], b',').unwrap();
    let case = Case { rules: Arc::new(rules), ..Case::new(&[]) };
    assert_eq!(case.listed("a\n1\n"), ["3:1"]);
}

#[test]
fn paths_are_names_as_they_are() {
    for text in ["a", " a ", "a,b", "\"", "a\nb", "$.a", "é"] {
        assert_eq!(CsvPath::parse(text).unwrap().to_string(), text);
    }
    assert_eq!(CsvPath::parse("").unwrap_err().to_string(), "empty column name at column 1");
    assert_eq!(CsvPath::parse("é\0").unwrap_err().to_string(), "control character at column 2");
}

#[test]
fn a_header_without_the_ruled_names_is_refused() {
    for (document, expect) in [
        ("", "unexpected_end 0"),
        ("\u{feff}", "unexpected_end 3"),
        ("\n", "a blank line in the place of the header 0"),
        ("\r\nssn,x\n", "a blank line in the place of the header 1"),
        ("x,y\n1,2\n", "a ruled column is not in the header 3"),
        ("x", "a ruled column is not in the header 1"),
        ("x;ssn\n1;2\n", "a ruled column is not in the header 5"),
        ("sep=,\nx,ssn\n", "a ruled column is not in the header 5"),
        ("x,SSN\n", "a column named almost like a ruled one 2"),
        ("ssn,Ssn\n", "a column named almost like a ruled one 4"),
        ("ssn, ssn\n", "a column named almost like a ruled one 4"),
        ("ssn,\"ssn \"\n", "a column named almost like a ruled one 4"),
        ("ssn,ssn\u{a0}\n", "a column named almost like a ruled one 4"),
        ("ssn,\"\"\"ssn\"\"\"\n", "a column named almost like a ruled one 4"),
        ("ssn,'ssn'\n", "a column named almost like a ruled one 4"),
        ("ssn,\u{feff}ssn\n", "a column named almost like a ruled one 4"),
        ("\u{feff}\u{feff}ssn,x\n", "a column named almost like a ruled one 3"),
        ("ssn,\"ssn\r\n\"\n", "a column named almost like a ruled one 4"),
    ] {
        assert_eq!(Case::new(&["ssn"]).refusal(document), expect, "{document:?}");
    }
}

#[test]
fn what_could_be_read_otherwise_is_refused() {
    for (document, expect) in [
        ("ssn,x\n1\n", "a row with fewer fields than the header 7"),
        ("ssn,x\n1", "a row with fewer fields than the header 7"),
        ("ssn,x\n1,2,3\n", "a row with more fields than the header 9"),
        ("ssn,x\n1,2,\n", "a row with more fields than the header 9"),
        ("ssn,x\n \n1,2\n", "a row with fewer fields than the header 7"),
        ("ssn,x\n\n1,2\n", "a row after a blank line 7"),
        ("ssn,x\n1,2\n\n\n", "a row after a blank line 11"),
        ("ssn,x\n1,2\n\r\n\r\n", "a row after a blank line 12"),
        ("ssn,x\r1,2\r", "unexpected_byte 6"),
        ("ssn,x\n1\r,2\n", "a row with fewer fields than the header 7"),
        ("ssn,x\n1,2\r", "unexpected_end 10"),
        ("ssn,x\n1,2\n\r", "unexpected_end 11"),
        ("ssn,x\n1,2\r\r\n", "unexpected_byte 10"),
        ("ssn,x\n1,2\n\r3,4\n", "unexpected_byte 11"),
        ("ssn,x\n1,a\"b\n", "unexpected_byte 9"),
        ("ssn,x\n1, \"2\"\n", "unexpected_byte 9"),
        ("ssn,x\n1,'\"2\"'\n", "unexpected_byte 9"),
        ("ssn,x\n1,=\"2\"\n", "unexpected_byte 9"),
        ("ssn,x\n1,\"2\" \n", "unexpected_byte 11"),
        ("ssn,x\n\"1\"2,3\n", "unexpected_byte 9"),
        ("ssn,x\n1,\"2\n3,4\n", "unexpected_end 15"),
        ("ssn,x\n1,\"", "unexpected_end 9"),
        ("ssn,x\n1,\"\"\"", "unexpected_end 11"),
        ("ssn,x\n1,\"a\\\"\n", "a quote after a backslash 11"),
        ("ssn,x\n\"a\\\",\",2\"\n", "a quote after a backslash 9"),
        ("ssn,x\n1,\"a\\\\\\\"\"\n", "a quote after a backslash 13"),
        ("ssn,x\n1,\"\\\"\"\"\n", "a quote after a backslash 10"),
        ("ssn,x\n1,a\0\n", "control_character 9"),
        ("ssn,x\n1,\"a\u{b}b\"\n", "control_character 10"),
        ("ssn,x\n1,2\u{1a}", "control_character 9"),
        ("ssn,x\n1,a\u{2028}2,3\n", "a Unicode line end outside of quotes 11"),
        ("ssn,x\n1,\u{85}2,3\n", "a Unicode line end outside of quotes 9"),
        ("ssn,x\u{2029}1,2\n", "a Unicode line end outside of quotes 7"),
        ("ssn,\"x", "unexpected_end 6"),
    ] {
        assert_eq!(Case::new(&["ssn"]).refusal(document), expect, "{document:?}");
        assert_ne!(Case::new(&["ssn"]).watched().refusal(document), "passed", "{document:?}");
    }
    for (document, expect) in [
        (&b"a,\xff\n"[..], "not_utf8 2"),
        (b"a,\xc3\n", "not_utf8 2"),
        (b"a,\xc3", "not_utf8 2"),
        (b"a,\xe2\x82\n", "not_utf8 2"),
        (b"a,\xed\xa0\x80\n", "not_utf8 2"),
        (b"a,\xc0\x80\n", "not_utf8 2"),
        (b"a,\xf4\x90\x80\x80\n", "not_utf8 2"),
        (b"\xef\xbb", "not_utf8 0"),
        (b"a\0,\0", "wrong_encoding"),
        (b"\xff\xfea\0", "wrong_encoding"),
        (b"\xfe\xff\0a", "wrong_encoding"),
        (b"\0\0\xfe\xff", "wrong_encoding"),
    ] {
        assert_eq!(Case::new(&[]).refusal(document), expect, "{}", document.escape_ascii());
    }
    let wide = format!("a{}", ",".repeat(COLUMNS_MAX));
    let (result, _) = trial::run(&|| Case::new(&[]).start(), wide.as_bytes(), &[4096], &|_| None);
    assert_eq!(result.unwrap_err().to_string(), "more than 65536 columns at offset 65536");
}

#[test]
fn strays_and_names_are_shown() {
    let case = Case::new(&["ssn", "tok:r"]).watched();
    assert_eq!(
        case.listed("tok:a,\"tok:\"\"\",ssn,tok:r\ntok:1,x,2,3\n\"tok:\"\"\",y tok:,tok:3,\n"),
        [
            "name:tok:a",
            "name:\"tok:\"\"\"=tok:\"",
            "name:tok:r",
            "-:tok:1",
            "0:2",
            "1:3",
            "-:\"tok:\"\"\"=tok:\"",
            "0:tok:3",
            "1:"
        ]
    );
    // The rules go by the name that was there.
    let (output, seen) = trial::check(&|| case.start(), b"tok:r,ssn\n1,2\n", &|slot| Some(slot.text.repeat(2)));
    assert_eq!(output.unwrap(), b"tok:rtok:r,ssn\n11,22\n");
    assert_eq!(seen.len(), 3);
}

#[test]
fn limits_hold_to_the_byte() {
    let case = || Case::new(&["v"]).limited(tight(6, 4));
    for (document, expect) in [
        ("v,1234\n", "passed"),
        ("v,12345\n", "name_too_long 2"),
        ("v,\"123\"\n", "name_too_long 2"),
        ("v,\"12", "unexpected_end 5"),
        ("v,w\n123456,x\n", "passed"),
        ("v,w\n1234567,x\n", "value_too_long 4"),
        ("v,w\n\"1234\",x\n", "passed"),
        ("v,w\n\"12345\",x\n", "value_too_long 4"),
        ("v,w\n123é6,x\n", "passed"),
        ("v,w\n12345é,x\n", "value_too_long 4"),
        ("v,w\n1,12345678\n", "passed"),
    ] {
        assert_eq!(case().refusal(document), expect, "{document:?}");
        assert_eq!(case().watched().refusal(document), expect, "{document:?}");
    }
    for (document, expect) in [
        ("v,w\n1,tok:56\n", "passed"),
        ("v,w\n1,tok:567\n", "value_too_long 6"),
        ("v,w\n1,\"tok:567\"\n", "value_too_long 6"),
        ("v,w\n1,x tok:567890\n", "passed"),
        ("v,w\n1,xxxxxé\n", "passed"),
    ] {
        assert_eq!(case().watched().refusal(document), expect, "{document:?}");
    }
}

#[test]
fn output_before_a_slot_leaves_while_it_waits() {
    let case = Case::new(&["ssn"]);
    let mut rewriter = Rewriter::new(case.rules.clone(), Limits::default(), None);
    rewriter.keep();
    rewriter.replace(b"nothing waits");
    rewriter.feed(b"id,ssn\n1,\"se");
    assert_eq!(rewriter.step(), Ok(Step::NeedInput));
    assert_eq!(rewriter.take_output(), b"id,ssn\n1,");
    rewriter.feed(b"cret\"\n2,");
    assert_eq!(rewriter.step(), Ok(Step::Slot));
    rewriter.feed(b"x\n");
    assert_eq!(rewriter.step(), Ok(Step::Slot), "it waits");
    assert_eq!(rewriter.slot().unwrap().raw(), b"\"secret\"");
    assert!(!format!("{:?}", rewriter.slot().unwrap()).contains("secret"));
    assert_eq!(rewriter.take_output(), b"");
    rewriter.replace(b"tok");
    assert!(rewriter.slot().is_none());
    assert_eq!(rewriter.step(), Ok(Step::Slot));
    assert_eq!(rewriter.take_output(), b"tok\n2,");
    rewriter.keep();
    rewriter.finish();
    assert_eq!(rewriter.step(), Ok(Step::Done));
    assert_eq!(rewriter.step(), Ok(Step::Done));
    assert_eq!(rewriter.take_output(), b"x\n");
}

#[test]
fn memory_does_not_grow_with_the_body() {
    let case = Case::new(&["a"]).watched().limited(tight(1000, 100));
    let slots = trial::streamed(&|| case.start(), b"a,b\n", b"1,\"2\"\n", 200_000, b"");
    assert_eq!(slots, 200_000);
    assert_eq!(trial::streamed(&|| case.start(), b"a,b\n1,", &[b'x'; 1000], 4000, b"\n"), 1);
    assert_eq!(trial::streamed(&|| case.start(), b"a,b\n1,\"", b"\"\"", 400_000, b"\"\n"), 1);
}

#[test]
fn texts_are_written_as_they_can_be_read() {
    let written = |text: &[u8], quoted, alone| {
        let mut out = Vec::new();
        write(text, b';', quoted, alone, &mut out).ok().map(|()| String::from_utf8(out).unwrap())
    };
    for (text, quoted, expect) in [
        (&b"a"[..], false, Some("a")),
        (b"a", true, Some("\"a\"")),
        (b"", false, Some("")),
        (b"", true, Some("\"\"")),
        (b"a,b", false, Some("a,b")),
        (b"a;b", false, Some("\"a;b\"")),
        (b"\"", false, Some("\"\"\"\"")),
        (b"a\rb", false, Some("\"a\rb\"")),
        (b"a\n", false, Some("\"a\n\"")),
        (b" a", false, Some("\" a\"")),
        (b"a\t", false, Some("\"a\t\"")),
        ("\u{feff}a".as_bytes(), false, Some("\"\u{feff}a\"")),
        ("a\u{85}b".as_bytes(), false, Some("\"a\u{85}b\"")),
        (b"=1+1", false, Some("=1+1")),
        (b"a\\", true, Some("a\\")),
        (b"a\\\\", true, Some("\"a\\\\\"")),
        (b"a;\\", false, None),
        (b" a\\", true, Some(" a\\")),
        (b"a\\\"", false, None),
        (b"a\0", false, None),
        (b"a\x0b", true, None),
        (b"a\xff", false, None),
        (b"\xed\xa0\x80", false, None),
    ] {
        assert_eq!(written(text, quoted, false).as_deref(), expect, "{}", text.escape_ascii());
    }
    assert_eq!(written(b"", false, true).as_deref(), Some("\"\""));
    let mut out = Vec::new();
    Escape::Csv { delimiter: b',', quoted: false, alone: false }.literal(b"1.10", &mut out).unwrap();
    assert_eq!(out, b"1.10");
}

fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z0-9 .\\\\']{0,9}",
        2 => "([a-z,;\r\n\t ]|\"\"){0,9}".prop_map(|inside| format!("\"{inside}\"")),
        1 => Just("tok:1".to_owned()),
        1 => Just("\"tok:\"\"é\"".to_owned()),
    ]
}

fn document() -> impl Strategy<Value = String> {
    let names = vec(prop_oneof![Just("ssn".to_owned()), Just("\"ssn\"".to_owned()), field()], 1..4);
    (names, vec(field(), 12), 0_usize..4, prop::bool::ANY, prop::bool::ANY).prop_map(
        |(mut names, fields, rows, crlf, last)| {
            names.push("ssn".to_owned());
            let end = if crlf { "\r\n" } else { "\n" };
            let mut lines = vec![names.join(",")];
            lines.extend(fields.chunks_exact(names.len()).take(rows).map(|row| row.join(",")));
            lines.join(end) + if last { end } else { "" }
        },
    )
}

proptest! {
    #[test]
    fn cuts_make_no_difference_and_kept_slots_change_nothing(
        document in document(), sizes in vec(1_usize..12, 1..6), watched: bool,
        changes in trial::changes(b",\"\r\n\\ '\t\0s\xef\xbb\xbf;"), value_bytes_max in 0_usize..12,
    ) {
        let mut case = Case::new(&["ssn"]).limited(tight(value_bytes_max, 12));
        case.watch = watched.then_some(Watch::new(tokens));
        trial::uphold(&|| case.start(), document.as_bytes(), &sizes);
        trial::uphold(&|| case.start(), &trial::changed(document.as_bytes(), &changes), &sizes);
    }

    #[test]
    fn any_bytes_are_taken_or_refused(bytes in vec(any::<u8>(), 0..40), size in 1_usize..5) {
        trial::uphold(&|| Case::new(&[]).watched().start(), &bytes, &[size]);
    }

    #[test]
    fn what_is_written_is_read_again(
        document in document(), text in prop_oneof!["[a,\"\r\n\\\\ é'\t]{0,8}", any::<String>()],
    ) {
        if let Some((_, again)) = trial::rewritten(&|| Case::new(&["ssn"]).start(), document.as_bytes(), text.as_bytes()) {
            prop_assert_eq!(again.text, text.as_bytes());
            prop_assert_eq!(again.rule, Some(0));
        }
    }

    #[test]
    fn what_is_read_can_be_written_in_its_place(document in document()) {
        let case = Case::new(&["ssn"]);
        let (_, seen) = trial::run(&|| case.start(), document.as_bytes(), &[usize::MAX], &|_| None);
        for slot in seen {
            let mut written = Vec::new();
            slot.escape.text(&slot.text, &mut written).unwrap();
            let blank = slot.text.trim_ascii() != slot.text && !slot.raw.starts_with('"');
            prop_assert!(blank || written == slot.raw.as_bytes(), "{}", slot.raw);
        }
    }
}
