//! Where words begin and end, which are refused, and how long they are held.

use super::*;

#[test]
fn a_word_is_the_mark_and_what_goes_on() {
    for (document, words, left) in [
        ("sgv1.", &["sgv1."][..], 0),
        ("sgv1.a.b", &["sgv1.a"], 0),
        ("sgv1.a=", &["sgv1.a"], 0),
        ("sgv1.-_Z9 sgv1.b", &["sgv1.-_Z9", "sgv1.b"], 0),
        ("sgvsgv1.a", &[], 0),
        ("sgv1.sgv1.a", &["sgv1.sgv1"], 0),
        ("ssgv1.a -sgv1.a _sgv1.a .sgv1.a 1sgv1.a", &[], 0),
        ("SGV1.a sgv2.a sgv1a sgv", &[], 0),
        ("ésgv1.aé", &["sgv1.a"], 0),
        ("/sgv1.a/sgv1.b", &["sgv1.a", "sgv1.b"], 0),
        ("<!--sgv1.a-->sgv1.c", &["sgv1.c"], 0),
        ("<!-- sgv1.b-->sgv1.c", &["sgv1.c"], 1),
        ("<!-- sgv1.a,sgv1.b -->sgv1.c", &["sgv1.c"], 2),
        ("sgv1.a<!-- sgv1.b", &["sgv1.a"], 1),
    ] {
        let found = check(document.as_bytes(), None);
        let seen: Vec<&str> = found.seen.iter().map(|(word, _, _)| word.as_str()).collect();
        assert_eq!((seen.as_slice(), found.left), (words, left), "{document}");
    }
}

#[test]
fn a_word_stays_where_another_would_change_the_encoding() {
    for (document, left) in [("sgv1.a\0<p>", 1), ("sgv1.a<\0", 0), (" sgv1.a\0", 0)] {
        let found = check(document.as_bytes(), None);
        assert_eq!((found.seen.len() as u64, found.left), (1 - left, left), "{}", document.escape_debug());
    }
}

#[test]
fn only_encodings_and_long_words_are_refused() {
    let limits = Limits { value_bytes_max: 8, ..Limits::default() };
    for (document, fault) in [
        (&b""[..], None),
        (b"<", None),
        (b"<!-", None),
        (b"<p a='", None),
        (b"ab\0\x01\x7f<\0>", None),
        ("\u{feff}<p>".as_bytes(), None),
        (b"sgv1.abc sgv1.", None),
        (b"sgv1.abcd", Some(Fault::ValueTooLong { offset: 0, max: 8 })),
        (b"<!-- sgv1.abcd", Some(Fault::ValueTooLong { offset: 5, max: 8 })),
        (b"xsgv1.abcd", None),
        (b"\xff\xfe<", Some(Fault::WrongEncoding)),
        (b"\xfe\xff\0<", Some(Fault::WrongEncoding)),
        (b"<\0p\0", Some(Fault::WrongEncoding)),
        (b"\0<\0p", Some(Fault::WrongEncoding)),
        (b"\xff", Some(Fault::NotUtf8 { offset: 0 })),
        (b"<p a=\xe9>", Some(Fault::NotUtf8 { offset: 5 })),
        (b"<!-- \xc0\x80", Some(Fault::NotUtf8 { offset: 5 })),
        (b"sgv1.a\xed\xa0\x80", Some(Fault::NotUtf8 { offset: 6 })),
        (b"abc\xe2\x82", Some(Fault::NotUtf8 { offset: 3 })),
        (b"\xe2\x82 sgv1.abcdefg", Some(Fault::NotUtf8 { offset: 0 })),
    ] {
        for lengths in [&[][..], &[1], &[2], &[5, 1]] {
            let found = run_limited(document, lengths, None, limits.clone());
            assert_eq!(found.output.err(), fault, "{}", document.escape_ascii());
        }
    }
}

#[test]
fn what_is_settled_leaves_at_once_and_little_is_held() {
    let mut rewriter = Rewriter::new(Limits::default(), MARK);
    for chunk in [&b"<p title='a long value sg"[..], b"v", b"1. and", b" more<!-- "] {
        rewriter.feed(chunk);
        while rewriter.step().unwrap() == Step::Slot {
            rewriter.keep();
        }
    }
    assert_eq!(rewriter.take_output(), b"<p title='a long value sgv1. and more<!-- ");
    rewriter.feed(b"sgv1");
    assert_eq!(rewriter.step(), Ok(Step::NeedInput));
    assert_eq!(rewriter.take_output(), b"");
    rewriter.feed(b" ");
    assert_eq!(rewriter.step(), Ok(Step::NeedInput));
    assert_eq!(rewriter.take_output(), b"sgv1 ");
}
