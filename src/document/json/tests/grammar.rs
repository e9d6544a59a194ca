//! RFC 8259, case by case, in the spirit of JSONTestSuite. Every case is read with and without rules, and in pieces.

use super::*;

/// `""` for a document that passes, else the code of its fault and, for those that have one, the offset.
pub(super) fn outcome(result: &Result<Vec<u8>, Fault>) -> (&'static str, u64) {
    match result {
        Ok(_) => ("", 0),
        Err(fault) => match fault {
            Fault::UnexpectedByte { offset, .. }
            | Fault::UnexpectedEnd { offset }
            | Fault::ControlCharacter { offset }
            | Fault::BadEscape { offset }
            | Fault::NotUtf8 { offset }
            | Fault::TooDeep { offset, .. }
            | Fault::NameTooLong { offset, .. }
            | Fault::ValueTooLong { offset, .. } => (fault.code(), *offset),
            Fault::WrongEncoding | Fault::Unaccepted { .. } => (fault.code(), 0),
        },
    }
}

pub(super) fn check(document: &[u8], code: &str, offset: u64) {
    for case in [
        Case::new(&[]),
        Case::new(&["$..a"]),
        Case::new(&["$..nothing", "$.x[*]"]).watched(),
        Case::new(&["$..*"]).watched(),
    ] {
        let (result, _) = case.check(document);
        assert_eq!(outcome(&result), (code, offset), "{}", document.escape_ascii());
        if let Ok(output) = result {
            assert_eq!(output, document);
        }
    }
}

#[test]
fn valid_documents_pass_unchanged() {
    for document in [
        "0",
        "-0",
        "1",
        "-1",
        "1.10",
        "0.0000000000000000000000000000000000000001",
        "1e400",
        "-1E-400",
        "1e+2",
        "0e0",
        "0E+1",
        "0.1e-10",
        "123456789012345678901234567890.123456789012345678901234567890",
        "[1,-0.0,2e3]",
        "true",
        "false",
        "null",
        " null ",
        "\t\r\n null\n\r\t ",
        "\"\"",
        "\"a\"",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
        "\"\\u0000\\u001f\\uD83D\\uDE00\\uFFFF\\ufdd0\"",
        "\"\x7f\"",
        "\"\u{2028}\u{2029}\u{feff}\u{fffe}\u{10ffff}\"",
        "\"\\\\u0041\"",
        "\"\\\\\"",
        "\"a/*b*/c // d\"",
        "\"πολύ μακρύ κείμενο για να χωρέσει σε πολλές λέξεις, и ещё\"",
        "\"plain text that is longer than one word, and than four words, and than a block of bytes too\"",
        "\"plain text that is longer than one word, and than four words, then é, and \\u0061gain plain text of that kind\"",
        "[]",
        "[ ]",
        "[\n]",
        "[[]]",
        "[[],[[],{}],{}]",
        "[1 , 2\n,\t3]",
        "[null,true,false,\"\",0,{},[]]",
        "[\"a\",\"a\"]",
        "{}",
        "{ }",
        "{\"\":0}",
        "{\"a\":{}}",
        "{ \"a\" : 1 , \"b\" : [ { } ] }",
        "{\"a\":1,\"a\":2}",
        "{\"a\":{\"a\":{\"a\":[{\"a\":null}]}},\"\\u0061\":0}",
        "{\"\\ud83d\\ude00\":1,\"\\u0000\":2}",
        "{\"a\":-1.5e+3}",
        "{\"x\":[{\"id\": \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}], \"id\": \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}",
        "{\n    \"a\": [\n            1,\n                        {\n  \"b\"  :   [        ]\n}\n    ]\n}\n",
    ] {
        check(document.as_bytes(), "", 0);
    }
}

#[test]
fn what_the_rfc_leaves_open_is_settled() {
    for (document, code, offset) in [
        // Lone and swapped surrogates in escapes are grammatical.
        (&b"\"\\ud800\""[..], "", 0),
        (b"[\"\\udc00\\ud800\\ud800\\udc00\"]", "", 0),
        (b"{\"\\uDFAA\":1}", "", 0),
        (b"\"\\ud800\\n\"", "", 0),
        (b"\"\\ud800abc\"", "", 0),
        // A byte order mark of UTF-8 is kept, once and at the start.
        (b"\xef\xbb\xbf{}", "", 0),
        (b"\xef\xbb\xbf 1 ", "", 0),
        (b"\xef\xbb\xbf", "unexpected_end", 3),
        (b"\xef\xbb", "unexpected_byte", 0),
        (b"\xef", "unexpected_byte", 0),
        (b"\xef\xbb\xbf\xef\xbb\xbf{}", "unexpected_byte", 3),
        (b"{}\xef\xbb\xbf", "unexpected_byte", 2),
        (b" \xef\xbb\xbf{}", "unexpected_byte", 1),
        // Other encodings.
        (b"\xff\xfe{\0}\0", "wrong_encoding", 0),
        (b"\xfe\xff\0{\0}", "wrong_encoding", 0),
        (b"{\0}\0", "wrong_encoding", 0),
        (b"\0{\0}", "wrong_encoding", 0),
        (b"\xff\xfe\0\0{\0\0\0", "wrong_encoding", 0),
        (b"\0\0\xfe\xff\0\0\0{", "wrong_encoding", 0),
        (b"\0\0\0[\0\0\0]", "wrong_encoding", 0),
        (b"[\0\0\0]\0\0\0", "wrong_encoding", 0),
        (b"\0", "wrong_encoding", 0),
        (b"\xff", "not_utf8", 0),
        (b"\xfe", "not_utf8", 0),
        // EBCDIC braces.
        (b"\xc0\xd0", "not_utf8", 0),
    ] {
        check(document, code, offset);
    }
}

#[test]
fn invalid_utf8_is_refused_wherever_it_stands() {
    for (document, offset) in [
        (&b"\"\xff\""[..], 1),
        (b"\"\x80\"", 1),
        (b"\"a\xc3\"", 2),
        (b"\"\xc0\xaf\"", 1),
        (b"\"\xc1\xbf\"", 1),
        (b"\"\xe0\x80\xaf\"", 1),
        (b"\"\xe2\x82\"", 1),
        (b"\"\xe2\x82\\n\"", 1),
        (b"\"\xed\xa0\x80\"", 1),
        (b"\"\xed\xbf\xbf\"", 1),
        (b"\"\xf0\x80\x80\x80\"", 1),
        (b"\"\xf0\x9f\x98\"", 1),
        (b"\"\xf4\x90\x80\x80\"", 1),
        (b"\"\xf5\x80\x80\x80\"", 1),
        (b"\"\xc3\xa9\xe9\"", 3),
        (b"[\"ok\",\"0123456789012345678901234567890123456789\xe9\"]", 47),
        (b"[\"\xc3\xa9 0123456789012345678901234567890123456789\xff\"]", 45),
        (b"{\"\xe9\":1}", 2),
        (b"{\"a\":\"\xe5\"}", 6),
        (b"[\xff]", 1),
        (b"[1]\x80", 3),
        (b"1\xff", 1),
        (b"\xe9".as_slice(), 0),
    ] {
        if document == b"\xe9" {
            // Could be the start of a character, but no character may stand here.
            check(document, "unexpected_byte", 0);
        } else {
            check(document, "not_utf8", offset);
        }
    }
}

fn check_unexpected(cases: &[(&str, u64)]) {
    for (document, offset) in cases {
        check(document.as_bytes(), "unexpected_byte", *offset);
    }
}

#[test]
fn what_is_no_value_is_refused() {
    check_unexpected(&[
        ("a", 0),
        ("'a'", 0),
        ("[a]", 1),
        ("NaN", 0),
        ("nan", 1),
        ("Infinity", 0),
        ("[-Infinity]", 2),
        ("undefined", 0),
        ("True", 0),
        ("tRue", 1),
        ("trve", 2),
        ("truee", 4),
        ("true1", 4),
        ("nulL", 3),
        ("[nul]", 4),
        ("[fals]", 5),
        ("[,]", 1),
        ("[;]", 1),
        ("<html>", 0),
        ("\u{a0}1", 0),
        ("\u{c}1", 0),
        ("[\u{b}1]", 1),
        ("[\u{2060}]", 1),
        ("\\u0031", 0),
        ("#1", 0),
        ("/**/1", 0),
        ("1//", 1),
    ]);
}

#[test]
fn what_is_no_number_is_refused() {
    check_unexpected(&[
        ("+1", 0),
        (".5", 0),
        ("-.5", 1),
        ("[-]", 2),
        ("[--1]", 2),
        ("[- 1]", 2),
        ("01", 1),
        ("-01", 2),
        ("[00]", 2),
        ("1.e1", 2),
        ("[1.]", 3),
        ("1.2.3", 3),
        ("[1e]", 3),
        ("[1e+]", 4),
        ("1e1.5", 3),
        ("1e+-2", 3),
        ("0x1F", 1),
        ("1_000", 1),
        ("1 000", 2),
        ("1a", 1),
        ("1.5f", 3),
        ("[1,5,]", 5),
        ("\u{ff11}", 0),
        ("[1\u{ff11}]", 2),
    ]);
}

#[test]
fn arrays_are_checked() {
    check_unexpected(&[
        ("[1,]", 3),
        ("[,1]", 1),
        ("[1,,2]", 3),
        ("[1 2]", 3),
        ("[1}", 2),
        ("[1:2]", 2),
        ("[\"a\":1]", 4),
        ("[]]", 2),
        ("[1]]", 3),
        ("]", 0),
        ("[}", 1),
    ]);
}

#[test]
fn objects_are_checked() {
    check_unexpected(&[
        ("{,}", 1),
        ("{\"a\"}", 4),
        ("{\"a\":}", 5),
        ("{\"a\":1,}", 7),
        ("{\"a\":1,,\"b\":2}", 7),
        ("{\"a\":1 \"b\":2}", 7),
        ("{\"a\" 1}", 5),
        ("{\"a\"::1}", 5),
        ("{\"a\",1}", 4),
        ("{a:1}", 1),
        ("{'a':1}", 1),
        ("{1:1}", 1),
        ("{null:1}", 1),
        ("{[]:1}", 1),
        ("{\"a\":1]", 6),
        ("{]", 1),
        ("{}}", 2),
        ("}", 0),
        ("{\"a\":1}/**/", 7),
        ("{\"a\":/**/1}", 5),
    ]);
}

#[test]
fn nothing_may_follow_the_document() {
    check_unexpected(&[
        ("{}{}", 2),
        ("[] []", 3),
        ("1,", 1),
        ("\"a\" \"b\"", 4),
        ("null\u{0}", 4),
        ("{} x", 3),
        ("\"a\"b", 3),
    ]);
}

#[test]
fn strings_are_checked_to_the_letter() {
    for (document, code, offset) in [
        ("\"\n\"", "control_character", 1),
        ("\"a\tb\"", "control_character", 2),
        ("\"a\u{0}\"", "control_character", 2),
        ("\"\u{1f}\"", "control_character", 1),
        ("\"0123456789012345678901234567890123456789\u{1}\"", "control_character", 41),
        ("\"é\r\"", "control_character", 3),
        ("{\"a\nb\":1}", "control_character", 3),
        ("[\"\\\n\"]", "bad_escape", 2),
        ("\"\\x41\"", "bad_escape", 1),
        ("\"\\'\"", "bad_escape", 1),
        ("\"\\a\"", "bad_escape", 1),
        ("\"\\0\"", "bad_escape", 1),
        ("\"\\U0041\"", "bad_escape", 1),
        ("\"\\é\"", "bad_escape", 1),
        ("\"\\u00A\"   ", "bad_escape", 1),
        ("\"\\u00G0\"", "bad_escape", 1),
        ("\"\\u+041\"", "bad_escape", 1),
        ("\"\\u 041\"", "bad_escape", 1),
        ("\"\\ud800\\u\"    ", "bad_escape", 7),
        ("\"\\ud800\\x\"", "bad_escape", 7),
        ("{\"\\q\":1}", "bad_escape", 2),
        ("[\"é\\u００００\"]", "bad_escape", 4),
    ] {
        check(document.as_bytes(), code, offset);
    }
}

#[test]
fn what_stops_short_is_refused() {
    for document in [
        "",
        " ",
        "\n\t",
        "-",
        "1.",
        "1e",
        "1e+",
        "t",
        "tru",
        "fals",
        "n",
        "\"",
        "\"a",
        "\"\\",
        "\"\\u",
        "\"\\u00",
        "\"a\\\"",
        "\"é",
        "[",
        "[1",
        "[1,",
        "[[",
        "[[]",
        "[\"",
        "[\"a\"",
        "{",
        "{\"",
        "{\"a",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":{}",
        "{\"a\":[{\"a\":\"x\"}",
        "[[[[[[[[[[",
        "{\"a\":{\"a\":{\"a\":",
    ] {
        check(document.as_bytes(), "unexpected_end", document.len() as u64);
    }
    check(b"\"\xe2\x82", "unexpected_end", 3);
    check(b"\"\xf0", "unexpected_end", 2);
}

#[test]
fn faults_say_where_and_what_but_never_content() {
    for (document, text) in [
        ("{\"ssn\":secret}", "unexpected byte at offset 7: wanted a value"),
        ("[1,]", "unexpected byte at offset 3: wanted a value"),
        ("[x", "unexpected byte at offset 1: wanted a value or `]`"),
        ("{x", "unexpected byte at offset 1: wanted a member name or `}`"),
        ("{\"a\":1,x", "unexpected byte at offset 7: wanted a member name"),
        ("{\"a\" x", "unexpected byte at offset 5: wanted `:`"),
        ("[1 x", "unexpected byte at offset 3: wanted `,` or the end of the object or array"),
        ("1 x", "unexpected byte at offset 2: wanted the end of the document"),
        ("1.x", "unexpected byte at offset 2: wanted a digit"),
        ("trux", "unexpected byte at offset 3: wanted `true`, `false` or `null`"),
        ("\"\t", "control character at offset 1"),
        ("\"\\x", "bad escape at offset 1"),
        ("", "unexpected end at offset 0"),
    ] {
        let (result, _) = Case::new(&["$..a"]).check(document.as_bytes());
        assert_eq!(result.unwrap_err().to_string(), text, "{document}");
    }
}
