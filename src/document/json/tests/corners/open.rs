//! What the RFC leaves to implementations, as it is decided here.

use super::*;

#[test]
fn other_encodings_than_utf8_are_refused() {
    for (document, code, offset) in [
        // UTF-16 and UTF-32, either way round, with and without a mark.
        (&b"[\0\"\0\xe9\0\"\0]\0"[..], "wrong_encoding", 0),
        (b"\0[\0\"\0\xe9\0\"\0]", "wrong_encoding", 0),
        (b"\xff\xfe[\0]\0", "wrong_encoding", 0),
        (b"\xfe\xff\0[\0]", "wrong_encoding", 0),
        (b"\xff\xfe", "wrong_encoding", 0),
        (b"\xfe\xff", "wrong_encoding", 0),
        (b"\xff\xfe\0\0[\0\0\0]\0\0\0", "wrong_encoding", 0),
        (b"\"\0\0\0a\0\0\0\"\0\0\0", "wrong_encoding", 0),
        (b"1\0", "wrong_encoding", 0),
        (b" \0", "wrong_encoding", 0),
        (b"[\0]", "wrong_encoding", 0),
        // UTF-7, SCSU, GB 18030 and UTF-1, by their marks.
        (b"+/v8-{}", "unexpected_byte", 0),
        (b"+AHs-", "unexpected_byte", 0),
        (b"\x0e\xfe\xff{}", "unexpected_byte", 0),
        (b"\x84\x31\x95\x33{}", "not_utf8", 0),
        (b"\xf7\x64\x4c{}", "not_utf8", 0),
        // A mark that is cut, changed or in the wrong place.
        (b"\xef\xbb{}", "unexpected_byte", 0),
        (b"\xef\xbb\xbe{}", "unexpected_byte", 0),
        (b"{\xef\xbb\xbf}", "unexpected_byte", 1),
        (b"\xef\xbb\xbf\"", "unexpected_end", 4),
        (b"\xef\xbb\xbfx", "unexpected_byte", 3),
        // Latin-1, Windows-1252, Shift_JIS.
        (b"[\"caf\xe9\"]", "not_utf8", 5),
        (b"[\"\x93a\x94\"]", "not_utf8", 2),
        (b"[\"\x83\x5c\"]", "not_utf8", 2),
        // Characters that are longer than need be, of more than four bytes, of surrogates or beyond the last.
        (b"[\"\xc0\x80\"]", "not_utf8", 2),
        (b"[\"\xc1\x81\"]", "not_utf8", 2),
        (b"[\"\xe0\x9f\xbf\"]", "not_utf8", 2),
        (b"[\"\xf0\x8f\xbf\xbf\"]", "not_utf8", 2),
        (b"[\"\xf8\x88\x80\x80\x80\"]", "not_utf8", 2),
        (b"[\"\xfc\x83\xbf\xbf\xbf\xbf\"]", "not_utf8", 2),
        (b"[\"\xed\xa0\x81\xed\xb0\xb7\"]", "not_utf8", 2),
        (b"[\"\xf4\xbf\xbf\xbf\"]", "not_utf8", 2),
        // Cut ones, and what only goes on.
        (b"[\"\xe0\xff\"]", "not_utf8", 2),
        (b"[\"\xe6\x97\xa5\xd1\x88\xfa\"]", "not_utf8", 7),
        (b"[\"\xe6\x97\"]", "not_utf8", 2),
        (b"[\"\\\xe5\"]", "bad_escape", 2),
        (b"[\"\\u\xe5\"]  ", "bad_escape", 2),
        (b"{\"\xbf\":1}", "not_utf8", 2),
        // Where nothing but ASCII may stand the byte is as wrong as the encoding.
        (b"[a\xe5]", "unexpected_byte", 1),
        (b"[0\xe5]", "unexpected_byte", 2),
        (b"[1e1\xe5]", "unexpected_byte", 4),
        (b"{\"a\":1}\xff", "not_utf8", 7),
    ] {
        check(document, code, offset);
    }
}

#[test]
fn lone_surrogates_are_legal_in_escapes() {
    for (escapes, text) in [
        ("\\uDADA", &b"\xed\xab\x9a"[..]),
        ("\\uDFAA", b"\xed\xbe\xaa"),
        ("\\uD888\\u1234", b"\xed\xa2\x88\xe1\x88\xb4"),
        ("\\uDd1ea", b"\xed\xb4\x9ea"),
        ("\\uD800\\uD800\\n", b"\xed\xa0\x80\xed\xa0\x80\n"),
        ("\\uD800\\uD800\\uDC00", b"\xed\xa0\x80\xf0\x90\x80\x80"),
        ("\\uDd1e\\uD834", b"\xed\xb4\x9e\xed\xa0\xb4"),
        ("\\ud834 \\udd1e", b"\xed\xa0\xb4 \xed\xb4\x9e"),
        ("\\ud834\\\\udd1e", b"\xed\xa0\xb4\\udd1e"),
        ("\\uD834\u{e9}", b"\xed\xa0\xb4\xc3\xa9"),
    ] {
        let document = format!("{{\"a\":\"{escapes}\",\"{escapes}\":1}}");
        check(document.as_bytes(), "", 0);
        let (_, seen) = Case::new(&["$.a"]).check(document.as_bytes());
        assert_eq!(seen[0].text.as_deref(), Some(text), "{escapes}");
        let mut again = Vec::new();
        quote(text, &mut again);
        let (_, seen) = Case::new(&["$[*]"]).check(&[b"[", again.as_slice(), b"]"].concat());
        assert_eq!(seen[0].text.as_deref(), Some(text), "{escapes} written again");
    }
}

#[test]
fn what_readers_take_in_different_ways_is_shown_as_written() {
    for (document, expect) in [
        // Every one of several members of a name, however it is written.
        ("{\"a\":1,\"a\":2,\"\\u0061\":\"3\"}", &["1", "2", "\"3\""][..]),
        ("{\"a\":{\"a\":1},\"a\":[]}", &["{\"a\":1}", "[]"]),
        ("{\"b\\u0000\":1,\"a\":2}", &["2"]),
        // Numbers to the last digit.
        ("{\"a\":1.5e+9999}", &["1.5e+9999"]),
        ("{\"a\":9007199254740993.00}", &["9007199254740993.00"]),
        ("{\"a\":-0}", &["-0"]),
        // NUL is a character.
        ("{\"a\":\"x\\u0000y\"}", &["\"x\\u0000y\""]),
    ] {
        let (output, seen) = Case::new(&["$.a"]).check(document.as_bytes());
        assert_eq!(output.as_deref(), Ok(document.as_bytes()));
        assert_eq!(seen.iter().map(|slot| slot.raw.as_str()).collect::<Vec<_>>(), expect, "{document}");
        for slot in &seen {
            assert_eq!(slot.text.is_some(), slot.kind == Kind::Text, "{document}");
        }
    }
    // In names some readers take it for the end.
    for document in ["{\"a\\u0000b\":42,\"a\":1}", "{\"a\\u0000\":1}"] {
        let (result, _) = Case::new(&["$.a"]).check(document.as_bytes());
        assert!(matches!(result, Err(Fault::Unaccepted { offset: 1, .. })), "{document}");
    }
    let (_, seen) = Case::new(&["$.a"]).check(br#"{"a":"x\u0000y"}"#);
    assert_eq!(seen[0].text.as_deref(), Some(&b"x\0y"[..]));
}

#[test]
fn length_has_no_bound_but_that_of_what_is_shown() {
    for document in [
        format!("[{}]", "9".repeat(10_000)),
        format!("[-0.{}1e-{}]", "0".repeat(5_000), "7".repeat(5_000)),
        format!("[\"{}\"]", "\\u0000".repeat(3_000)),
        format!("{{\"{}\":1}}", "n".repeat(30_000)),
        format!("[{}1]", "1,".repeat(10_000)),
        format!("{}[]{}", " ".repeat(10_000), "\n".repeat(10_000)),
    ] {
        check(document.as_bytes(), "", 0);
    }
    let limits = Limits { value_bytes_max: 100, ..Limits::default() };
    let digits = format!("{{\"a\":{}}}", "9".repeat(101));
    assert!(Case::new(&["$.b"]).limited(limits.clone()).check(digits.as_bytes()).0.is_ok());
    let (result, _) = Case::new(&["$.a"]).limited(limits).check(digits.as_bytes());
    assert_eq!(result, Err(Fault::ValueTooLong { offset: 5, max: 100 }));
}

#[test]
fn nesting_is_legal_up_to_the_limit() {
    let max = Limits::default().depth_max;
    let nested =
        |open: &str, middle: &str, close: &str, depth| [open.repeat(depth), middle.into(), close.repeat(depth)];
    for (open, middle, close) in [
        ("[", "", "]"),
        ("[", "1", "]"),
        ("[\n", "", " ]"),
        ("{\"n\":", "1", "}"),
        ("{\"\":", "{}", "}"),
        ("[0,", "[]", ",0]"),
    ] {
        let inner = usize::from(middle.len() == 2);
        let deepest = nested(open, middle, close, max - inner).concat();
        check(deepest.as_bytes(), "", 0);
        let too_deep = nested(open, middle, close, max + 1 - inner).concat();
        check(too_deep.as_bytes(), "too_deep", (open.len() * max) as u64);
        // It need not be seen whole, nor end.
        check(open.repeat(100_000).as_bytes(), "too_deep", (open.len() * max) as u64);
    }
    let mixed = format!("{}1{}", "[{\"n\":".repeat(max / 2), "}]".repeat(max / 2));
    check(mixed.as_bytes(), "", 0);
    // Depth is what is open at once.
    check(format!("[{}[]]", "[[]],".repeat(10_000)).as_bytes(), "", 0);
}
