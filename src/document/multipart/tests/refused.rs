//! What could be read in two ways, and what is out of bounds.

use super::*;

fn unaccepted(case: &Case, document: &[u8], expect: &str) {
    match case.fault(document) {
        Fault::Unaccepted { what, .. } => assert_eq!(what, expect, "{}", document.escape_ascii()),
        other => panic!("{other:?} for {}", document.escape_ascii()),
    }
}

/// Lines after `Content-Disposition: form-data; `, and why they are refused.
const DISPOSITIONS: &[(&str, &str)] = &[
    ("x=y", "part without a name"),
    ("name=\"\"", "part without a name"),
    ("name=", "parameter without a name or value"),
    ("name", "parameter without a name or value"),
    ("name =f", "parameter without a name or value"),
    ("name= f", "parameter without a name or value"),
    ("name=x;", "parameter without a name or value"),
    ("name=x;; y=z", "parameter without a name or value"),
    ("name=x y", "wanted `;` between parameters"),
    ("name=\"x\"y", "wanted `;` between parameters"),
    ("name=\"x", "missing closing quote"),
    ("name=x; name=f", "parameter twice"),
    ("name=x; Name=f", "parameter twice"),
    ("name=x; filename=a; filename=b", "parameter twice"),
    ("name=\"a\\f\"", "name with an escape"),
    ("name=\"\\f\"", "name with an escape"),
    ("name=\"x\\\"; y=\"", "escaped quote"),
    ("name=x; filename=\"a\\\"", "escaped quote"),
    ("name=x; filename=\"a\\\\\"; b=\"", "escaped quote"),
    ("name=\"x%22\"", "name with an escape"),
    ("name=\"x%0d\"", "name with an escape"),
    ("name=\"x%0A\"", "name with an escape"),
    ("name=\"=?utf-8?q?f?=\"", "name with an escape"),
    ("name*=utf-8''f", "parameter that could be taken for a name"),
    ("name=x; name*=utf-8''f", "parameter that could be taken for a name"),
    ("name*0=x; name*1=f", "parameter that could be taken for a name"),
    ("name=x; filename*0=f", "parameter that could be taken for a name"),
    ("name=x; filename*=iso-8859-1''a", "bad `filename*`"),
    ("name=x; filename*=utf-8''%ff", "bad `filename*`"),
    ("name=x; filename*=utf-8''%4", "bad `filename*`"),
    ("name=x; filename*=a", "bad `filename*`"),
    ("name=x; filename*=\"utf-8''a'b\"", "bad `filename*`"),
    ("name=x; filename*=utf-8''tok%3a", "`filename*` that has to be shown"),
    ("x-name=f; name=x", "parameter that could be taken for a name"),
    ("name=x; file-name=y", "parameter that could be taken for a name"),
    ("name='x; filename=y'", "apostrophe outside quotes"),
    ("name=x; filename='y", "apostrophe outside quotes"),
    ("name=x; 'a=y", "apostrophe outside quotes"),
    ("filename=\"x; name=f\"; name=y", "parameter with a parameter inside"),
    ("name=\"x; NAME=f\"", "parameter with a parameter inside"),
];

/// Likewise, with other headers.
const HEADERS: &[(&str, &str)] = &[
    ("name=x\r\nContent-Disposition: form-data; name=f", "part header twice"),
    ("name=x\r\ncontent-disposition: form-data; name=x", "part header twice"),
    ("name=x\r\nContent-Type: text/plain\r\nContent-Type: text/plain", "part header twice"),
    ("name=x\r\nContent-Transfer-Encoding: base64", "encoded part"),
    ("name=x\r\nContent-Transfer-Encoding: Quoted-Printable", "encoded part"),
    ("name=x\r\nContent-Transfer-Encoding:", "encoded part"),
    ("name=x\r\nContent-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: 7bit", "part header twice"),
    ("name=x\r\nContent-Type: Multipart/Mixed; boundary=y", "nested multipart"),
    ("name=p; filename=y\r\nContent-Type: multipart/mixed; boundary=y", "nested multipart"),
    ("name=x\r\nContent-Type: text", "part with a bad Content-Type"),
    ("name=x\r\nContent-Type: text/plain/x", "part with a bad Content-Type"),
    ("name=x\r\nContent-Type: text/plain, multipart/mixed", "part with a bad Content-Type"),
    ("name=f\r\nContent-Type: text/plain; charset=utf-16", "protected field in another encoding than UTF-8"),
    ("name=f\r\nContent-Type: text/plain; charset=\"iso-8859-1\"", "protected field in another encoding than UTF-8"),
    ("name=f\r\nContent-Type: text/plain; charset*=utf-8''utf-7", "protected field in another encoding than UTF-8"),
    ("name=x\r\nContent-Length: +1", "part with a bad Content-Length"),
    ("name=x\r\nContent-Length: ", "part with a bad Content-Length"),
    ("name=x\r\nContent-Length: 99999999999999999999", "part with a bad Content-Length"),
    ("name=x\r\nContent-Length: 1\r\nContent-Length: 1", "part header twice"),
    ("name=x\r\nContent-Length: 1", "part with another length than it says"),
    ("name=x\r\nContent-Length: 4", "part with another length than it says"),
    ("name=f\r\nContent-Length: 3", "protected part with a Content-Length"),
    ("name=x;\r\n name=f", "parameter without a name or value"),
    ("name=x\r\n y=z", "folded part header"),
    ("name=x\r\n\tContent-Type: a/b", "folded part header"),
    ("name=x\r\nnothing", "part header without a colon"),
    ("name=x\r\n: a", "part header with a name that is none"),
    ("name=x\r\nA B: a", "part header with a name that is none"),
    ("name=x\r\nContent-Type : a/b", "part header with a name that is none"),
    ("name=x\r\nÉ: a", "part header with a name that is none"),
];

#[test]
fn headers_that_are_not_plain_are_refused() {
    for (head, expect) in DISPOSITIONS.iter().chain(HEADERS) {
        unaccepted(&Case::usual(), &body(&[("name=a", b"1"), (head, b"abc")]), expect);
    }
}

#[test]
fn control_characters_and_other_encodings_in_headers_are_refused() {
    for head in
        ["name=x\nA: b", "name=x\rA: b", "name=\"x\0\"", "name=\"f\u{7f}\"", "name=x\r\nA: \u{1}", "name=x\n\nf"]
    {
        let fault = Case::usual().fault(&body(&[(head, b"")]));
        assert!(matches!(fault, Fault::ControlCharacter { .. }), "{head:?}: {fault:?}");
    }
    let latin = b"name=\"\xe9\"";
    let frame = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; ");
    let document = [frame.as_bytes(), latin, b"\r\n\r\n"].concat();
    assert_eq!(Case::usual().fault(&document), Fault::NotUtf8 { offset: frame.len() as u64 + 6 });
}

#[test]
fn other_dispositions_are_refused() {
    for (line, expect) in [
        ("Content-Disposition: attachment; name=x", "disposition other than form-data"),
        ("Content-Disposition: form-data x; name=x", "disposition other than form-data"),
        ("Content-Disposition: ; name=x", "disposition other than form-data"),
        ("Content-Disposition: form-data", "part without a name"),
        ("Content-Type: text/plain", "part without Content-Disposition"),
        ("X: y", "part without Content-Disposition"),
        ("", "part header without a colon"),
        ("\r\nX: y", "part header without a colon"),
    ] {
        unaccepted(&Case::usual(), format!("--{BOUNDARY}\r\n{line}\r\n\r\n1\r\n--{BOUNDARY}--").as_bytes(), expect);
    }
}

#[test]
fn boundaries_that_a_server_could_miss_or_see_are_refused() {
    let part = "Content-Disposition: form-data; name=x\r\n\r\n";
    let b = format!("--{BOUNDARY}");
    let not_alone = "boundary that is not alone on its line";
    for (document, expect) in [
        (format!("{b} \r\n{part}\r\n{b}--"), not_alone),
        (format!("{b}\t\r\n{part}\r\n{b}--"), not_alone),
        (format!("{b}\n{part}\r\n{b}--"), not_alone),
        (format!("{b}x\r\n{part}\r\n{b}--"), not_alone),
        (format!("{b}-\r\n{part}\r\n{b}--"), not_alone),
        (format!("{b}\r\n{part}1\r\n{b} \r\n{part}\r\n{b}--"), not_alone),
        (format!("{b}\r\n{part}1\r\n{b}x\r\n{b}--"), not_alone),
        (format!("{b}\r\n{part}1\n{b}\r\n{part}\r\n{b}--"), "boundary inside a part"),
        (format!("{b}\r\n{part}1\r{b}\r\n{part}\r\n{b}--"), "boundary inside a part"),
        (format!("{b}\r\n{part}1{b}\r\n{part}\r\n{b}--"), "boundary inside a part"),
        (format!("{b}\r\n{part}1\r\n-{b}\r\n{part}\r\n{b}--"), "boundary inside a part"),
        (format!("{b}\r\n{part}{b}\r\n{part}\r\n{b}--"), "boundary inside a part"),
        (format!("{b}\r\n{part}\n{b}--"), "boundary inside a part"),
        (format!("{b}\r\nX: {b}\r\n{part}\r\n{b}--"), "boundary within headers"),
        (format!("{b}\r\n{b}\r\n{part}\r\n{b}--"), "boundary within headers"),
        (format!("{b}--\r\n\r\n"), "text after the last boundary"),
        (format!("{b}--\n"), "text after the last boundary"),
        (format!("{b}--\r"), "text after the last boundary"),
        (format!("{b}-- "), "text after the last boundary"),
        (format!("{b}--\r\n{b}\r\n{part}\r\n{b}--"), "text after the last boundary"),
    ] {
        unaccepted(&Case::usual(), document.as_bytes(), expect);
        unaccepted(&Case::new(&[], &[]), document.as_bytes(), expect);
    }
    let colon = Case { boundary: "a:b".to_owned(), ..Case::usual() };
    unaccepted(&colon, format!("--a:b\r\n--a:b\r\n{part}\r\n--a:b--").as_bytes(), "boundary within headers");
}

#[test]
fn text_before_the_first_boundary_is_refused() {
    let wanted = |offset| Fault::UnexpectedByte { offset, wanted: "the boundary" };
    let inner = format!("--{BOUNDARY}--");
    for (before, offset) in
        [("x", 0), ("\n", 0), (" ", 0), ("\r\n\r\n", 2), ("\r\nx", 2), ("\u{feff}", 0), ("-", 6), ("--x\r\n", 2)]
    {
        assert_eq!(Case::usual().fault(format!("{before}{inner}").as_bytes()), wanted(offset), "{before:?}");
    }
}

#[test]
fn truncated_bodies_are_refused() {
    let document = body(&[("name=f", b"1"), ("name=p; filename=x", b"22"), ("name=x", b"")]);
    for len in 0..document.len() - 2 {
        let cut = &document[..len];
        assert_eq!(Case::usual().fault(cut), Fault::UnexpectedEnd { offset: len as u64 }, "{}", cut.escape_ascii());
    }
}

#[test]
fn look_alikes_of_ruled_names_are_refused() {
    let like = "name that a server could take for a protected one";
    for name in [
        "F",
        " f",
        "f ",
        "f[]",
        "f[0",
        "f.",
        "f%",
        "%66",
        "n[",
        "n",
        "n[0",
        "N[0]",
        "n[0][1]",
        "n.0",
        "P",
        "p[]",
        "p[0",
        "'p'",
        "[f]",
        "\u{feff}f",
        "f(1i)",
        "%2566",
    ] {
        let document = body(&[(&format!("name=\"{name}\""), b"1")]);
        if matches!(name, "f." | "f%") {
            assert!(Case::usual().check(&document, &|_| None).0.is_ok());
            continue;
        }
        unaccepted(&Case::usual(), &document, like);
        unaccepted(&Case::usual(), &body(&[(&format!("name=\"{name}\"; filename=a"), b"1")]), like);
    }
    unaccepted(&Case::usual(), &body(&[("name='f'", b"1")]), "apostrophe outside quotes");
}

#[test]
fn files_where_they_should_not_be_are_refused() {
    let strict = Case { refuses_other_files: true, ..Case::usual() };
    let other = "file that no rule selects";
    unaccepted(&strict, &body(&[("name=x; filename=a", b"1")]), other);
    unaccepted(&strict, &body(&[("name=x; filename*=utf-8''a", b"1")]), other);
    unaccepted(&strict, &body(&[("name=x\r\nContent-Type: application/octet-stream", b"1")]), other);
    unaccepted(&strict, &body(&[("name=x; filename=\"\"", b"1")]), "content of a file without a name");
    unaccepted(&Case::usual(), &body(&[("name=x; filename=\"\"", b"1")]), "content of a file without a name");
    for head in
        ["name=p; filename=a", "name=p", "name=x", "name=x\r\nContent-Type: text/plain", "name=x; filename=\"\""]
    {
        let content = if head.contains("\"\"") { "" } else { "1" };
        assert!(strict.check(&body(&[(head, content.as_bytes())]), &|_| None).0.is_ok(), "{head}");
    }
    for head in
        ["name=f; filename=a", "name=f; filename=\"\"", "name=f; filename*=utf-8''a", "name=\"n[]\"; filename=a"]
    {
        unaccepted(&Case::usual(), &body(&[(head, b"1")]), "file in the place of a protected field");
    }
    let short = |len: usize| Case { boundary: "b".repeat(len), ..Case::usual() };
    let document = |len: usize| {
        let boundary = "b".repeat(len);
        let head = "Content-Disposition: form-data; name=p; filename=a";
        format!("--{boundary}\r\n{head}\r\n\r\n1\r\n--{boundary}--").into_bytes()
    };
    unaccepted(&short(15), &document(15), "boundary too short for a protected file");
    assert!(short(16).check(&document(16), &|_| None).0.is_ok());
}

#[test]
fn text_that_is_not_utf8_is_refused_but_in_files() {
    for content in [&b"\xff"[..], b"\xc3", b"a\xc3\r\n", b"\xed\xa0\x80", b"\xc0\xaf", b"\xe9t\xe9"] {
        for head in ["name=x", "name=f", "name=x\r\nContent-Type: image/png"] {
            for watch in [None, Some(Watch::new(tokens))] {
                let case = Case { watch, ..Case::usual() };
                assert!(matches!(case.fault(&body(&[(head, content)])), Fault::NotUtf8 { .. }));
            }
        }
        for head in ["name=x; filename=a", "name=p; filename=a", "name=p"] {
            assert!(Case::usual().check(&body(&[(head, content)]), &|_| None).0.is_ok());
        }
    }
}

#[test]
fn a_length_that_a_replacement_would_make_false_is_refused() {
    let expect = "part to be shown with a Content-Length";
    unaccepted(&Case::usual(), &body(&[("name=x\r\nContent-Length: 5", b"tok:1")]), expect);
    unaccepted(&Case::usual(), &body(&[("name=p\r\nContent-Length: 1", b"1")]), "protected part with a Content-Length");
}

#[test]
fn another_charset_is_refused() {
    for (head, content, ok) in [
        ("name=_charset_", "utf-8", true),
        ("name=\"_charset_\"", "UTF-8", true),
        ("name=_charset_", "iso-8859-1", false),
        ("name=_charset_", "", false),
        ("name=_charset_", "utf-8\r\n", false),
        ("name=_CHARSET_", "utf-16", false),
        ("name=_charset_; filename=a", "utf-8", false),
    ] {
        for watch in [None, Some(Watch::new(tokens))] {
            let case = Case { watch, ..Case::usual() };
            assert_eq!(case.check(&body(&[(head, content.as_bytes())]), &|_| None).0.is_ok(), ok, "{head} {content}");
        }
    }
}

#[test]
fn limits_hold_where_something_is_asked_for() {
    let limits = Limits { value_bytes_max: 5, name_bytes_max: 6, ..Limits::default() };
    let case = Case { limits, ..Case::usual() };
    for (head, content, fault) in [
        ("name=f", "12345", None),
        ("name=x", "1234567890", None),
        ("name=x", "123tok:", None),
        ("name=x", "tok:5", None),
        ("name=p; filename=a", "1234567890", None),
        ("name=f", "123456", Some("value_too_long")),
        ("name=f", "1234é", Some("value_too_long")),
        ("name=x", "tok:56", Some("value_too_long")),
        ("name=_charset_", "utf-8", Some("name_too_long")),
        ("name=abcdefg", "", Some("name_too_long")),
        ("name=\"abcde\"", "", Some("name_too_long")),
        ("name=\"abcd\"", "", None),
        ("name=x; filename=abcdefg", "", Some("name_too_long")),
    ] {
        let (output, _) = case.check(&body(&[(head, content.as_bytes())]), &|_| None);
        assert_eq!(output.err().map(|fault| fault.code()), fault, "{head} {content}");
    }
    let long = |len: usize| body(&[(&format!("name=x\r\nX: {}", "y".repeat(len)), b"")]);
    let fixed = "Content-Disposition: form-data; name=x\r\nX: \r\n\r\n".len();
    assert!(Case::usual().check(&long(HEADER_BYTES_MAX - fixed), &|_| None).0.is_ok());
    unaccepted(&Case::usual(), &long(HEADER_BYTES_MAX - fixed + 1), "part headers too long");
    unaccepted(&Case::usual(), &long(HEADER_BYTES_MAX * 3), "part headers too long");
    let many = |count: usize| body(&vec![("name=x", &b""[..]); count]);
    assert!(Case::usual().run(&many(10_000), &[], &|_| None).0.is_ok());
    assert!(Case::usual().run(&many(10_001), &[], &|_| None).0.is_err());
}

#[test]
fn boundaries_of_another_grammar_are_refused() {
    let start = |boundary: &str| {
        Rewriter::new(Case::usual().rules, boundary, false, Limits::default(), None).map(|_| ()).is_ok()
    };
    for boundary in ["a", "----WebKitFormBoundaryABC", "=_Part_1.2", "'()+_-./:=?", &"x".repeat(70)] {
        assert!(start(boundary), "{boundary}");
    }
    for boundary in ["", " ", "a ", " a", "a b", "a,b", "a;b", "a\"", "a\r\n", "é", "a\0", "a*", &"x".repeat(71)] {
        assert!(!start(boundary), "{boundary:?}");
    }
}

#[test]
fn replacements_that_hold_the_boundary_are_refused() {
    let expect = Err("replacement that holds the boundary");
    let put = |head: &str, content: &[u8], pieces: &[Option<&[u8]>]| {
        let next = std::cell::Cell::new(0);
        let (output, _) = Case::usual().run(&body(&[(head, content)]), &[999], &|_| {
            let i = next.replace(next.get() + 1);
            pieces[i].map(<[u8]>::to_vec)
        });
        output.map_err(|fault| match fault {
            Fault::Unaccepted { what, .. } => what,
            _ => "another fault",
        })
    };
    let b = format!("--{BOUNDARY}");
    for written in [b.clone(), format!("x\r\n{b}\r\n"), format!("\n{b}--"), format!("x{b}x")] {
        assert_eq!(put("name=f", b"1", &[Some(written.as_bytes())]), expect);
        assert_eq!(put("name=p; filename=a", b"1", &[Some(written.as_bytes())]), expect);
    }
    let long = vec![b'x'; 2 * PIECE_BYTES_MAX];
    for cut in 1..b.len() {
        let (one, two) = b.as_bytes().split_at(cut);
        assert_eq!(put("name=p; filename=a", &long, &[Some(one), Some(two)]), expect);
    }
    let longer = vec![b'x'; 3 * PIECE_BYTES_MAX];
    let (one, rest) = b.as_bytes().split_at(5);
    let (two, three) = rest.split_at(1);
    assert_eq!(put("name=p; filename=a", &longer, &[Some(one), Some(two), Some(three)]), expect);
    assert_eq!(put("name=p; filename=a", &longer, &[Some(one), Some(b""), Some(rest)]), expect);
    assert!(put("name=p; filename=a", &longer, &[Some(one), Some(b"x"), Some(rest)]).is_ok());
    let kept = [rest, &long[rest.len()..]].concat();
    let kept = [&long[..PIECE_BYTES_MAX], &kept].concat();
    assert_eq!(put("name=p; filename=a", &kept, &[Some(one), None, None]), expect);
    let (output, _) =
        Case::usual().run(&body(&[("name=\"tok:1\"", b"")]), &[], &|_| Some(format!("\"{b}\"").into_bytes()));
    assert!(output.is_err());
}

#[test]
fn what_is_not_next_to_each_other_is_no_boundary() {
    let b = format!("--{BOUNDARY}");
    let (one, two) = b.as_bytes().split_at(9);
    let file = "name=p; filename=a";
    let document = body(&[(file, b"1"), (file, b"22"), ("name=f", b"333"), ("name=f", b"4444")]);
    let (output, _) = Case::usual()
        .run(&document, &[], &|slot| Some(if slot.raw().len() % 2 == 1 { one.to_vec() } else { two.to_vec() }));
    assert_eq!(output, Ok(body(&[(file, one), (file, two), ("name=f", one), ("name=f", two)])));
    let apart = [one, &[b'x'; 100], two].concat();
    let turned = [two, &[b'x'; 100], one].concat();
    let content = vec![b'x'; PIECE_BYTES_MAX + 1];
    for (first, second, ok) in [(&apart, &apart, true), (&turned, &apart, true), (&turned, &turned, false)] {
        let (output, _) = Case::usual().run(&body(&[(file, &content)]), &[], &|slot| {
            Some(if slot.piece().unwrap().first { first.clone() } else { second.clone() })
        });
        assert_eq!(output.is_ok(), ok);
    }
}
