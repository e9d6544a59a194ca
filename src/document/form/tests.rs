//! The rewriter as its callers see it.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::document::NotWritable;
use crate::document::testing;

/// A slot as it was shown: rule, place, text, range.
type Seen = (Option<usize>, Place, Vec<u8>, Range<u64>);
type Rewritten = (Result<Vec<u8>, Fault>, Vec<Seen>);

#[derive(Clone)]
struct Case {
    rules: Arc<Rules>,
    limits: Limits,
    watch: Option<Watch>,
    query: bool,
}

/// Strings that stand for sealed values.
fn tokens(text: &[u8]) -> bool {
    text.starts_with(b"tok:")
}

impl Case {
    fn new(paths: &[&str]) -> Case {
        let paths: Vec<_> = paths.iter().map(|path| FormPath::parse(path).unwrap()).enumerate().collect();
        Case {
            rules: Arc::new(Rules::compile(&paths)),
            limits: Limits::default(),
            watch: Some(Watch::new(tokens)),
            query: false,
        }
    }

    fn query(self) -> Case {
        Case { query: true, ..self }
    }

    fn run(&self, body: &[u8], lengths: &[usize], answer: &dyn Fn(&Slot<'_>) -> Option<Vec<u8>>) -> Rewritten {
        let start = if self.query { Rewriter::of_query } else { Rewriter::new };
        let mut rewriter = start(self.rules.clone(), self.limits.clone(), self.watch);
        let mut seen = Vec::new();
        let output = testing::rewrite(&mut rewriter, body, lengths, &mut |slot| {
            seen.push((slot.rule(), slot.place(), slot.text().unwrap().to_vec(), slot.range()));
            let start = usize::try_from(slot.range().start).unwrap();
            assert!(body[start..].starts_with(slot.raw()));
            answer(slot)
        });
        (output, seen)
    }

    /// Whole, by single bytes and by some sizes between, which must make no difference.
    fn check(&self, body: &[u8], answer: &dyn Fn(&Slot<'_>) -> Option<Vec<u8>>) -> Rewritten {
        let whole = self.run(body, &[], answer);
        for lengths in [&[1][..], &[2], &[3, 1], &[7]] {
            assert_eq!(self.run(body, lengths, answer), whole, "{} by {lengths:?}", body.escape_ascii());
        }
        whole
    }

    /// All slots get the text `X Y`.
    fn replaced(&self, body: &str) -> Result<String, Fault> {
        let answer = |slot: &Slot<'_>| {
            let mut out = Vec::new();
            slot.escape().text(b"X Y", &mut out).unwrap();
            Some(out)
        };
        self.check(body.as_bytes(), &answer).0.map(|out| String::from_utf8(out).unwrap())
    }

    fn fault(&self, body: &[u8]) -> Fault {
        let (output, _) = self.check(body, &|_| None);
        output.map(|_| ()).expect_err(&body.escape_ascii().to_string())
    }
}

#[test]
fn selected_values_are_replaced_and_all_else_stays() {
    let case = Case::new(&["form_ss", "a[]", "n[*]", "é", "a b"]);
    for (body, expect) in [
        ("", ""),
        ("form_ss=1", "form_ss=X+Y"),
        ("form_ss=", "form_ss=X+Y"),
        ("x=1&form_ss=1%20+2&y=%e9%9f%b3+%C3%a9", "x=1&form_ss=X+Y&y=%e9%9f%b3+%C3%a9"),
        ("form_ss=1&form_ss=2&&", "form_ss=X+Y&form_ss=X+Y&&"),
        ("&&form%5fss=a=b=&b&c==", "&&form%5fss=X+Y&b&c=="),
        ("form_ss&b=1", "form_ss&b=1"),
        ("b=1&form_ss", "b=1&form_ss"),
        ("a[]=1&a%5b%5D=2&b[]=3", "a[]=X+Y&a%5b%5D=X+Y&b[]=3"),
        ("n[]=1&n[0]=2&n%5Bx+y%5d=3&m[0]=4", "n[]=X+Y&n[0]=X+Y&n%5Bx+y%5d=X+Y&m[0]=4"),
        ("%C3%A9=1&a+b=2&a%20b=3&a b=4", "%C3%A9=X+Y&a+b=X+Y&a%20b=X+Y&a b=X+Y"),
        ("x=a%3Bb%26form_ss%3D1", "x=a%3Bb%26form_ss%3D1"),
        ("_charset_=UTF-8&form_ss=1", "_charset_=UTF-8&form_ss=X+Y"),
        ("x=tok:1&tok%3a2=y&tok:3", "x=X+Y&X+Y=y&X+Y"),
        ("\u{feff}x=1", "\u{feff}x=1"),
        ("é=é", "é=X+Y"),
    ] {
        assert_eq!(case.replaced(body).as_deref(), Ok(expect), "{body}");
    }
}

#[test]
fn a_query_is_written_without_plus() {
    let case = Case::new(&["a"]).query();
    for (body, expect) in [
        ("a=1&b=2", "a=X%20Y&b=2"),
        ("b=1+2&a=x+y/?:@", "b=1+2&a=X%20Y"),
        ("wsdl", "wsdl"),
        ("wsdl&a=1", "wsdl&a=X%20Y"),
    ] {
        assert_eq!(case.replaced(body).as_deref(), Ok(expect), "{body}");
    }
}

#[test]
fn slots_say_what_they_are() {
    let case = Case::new(&["b", "a[*]", "a[0]"]);
    let (_, seen) = case.check(b"b=%C3%A9+&a[0]=&x=tok:%31&tok:n=&b=tok:2", &|_| None);
    let expect: Vec<Seen> = vec![
        (Some(0), Place::Value, "é ".into(), 2..9),
        (Some(1), Place::Value, "".into(), 15..15),
        (None, Place::Value, "tok:1".into(), 18..25),
        (None, Place::Name, "tok:n".into(), 26..31),
        (Some(0), Place::Value, "tok:2".into(), 35..40),
    ];
    assert_eq!(seen, expect);
}

#[test]
fn what_servers_read_differently_is_refused() {
    let case = Case::new(&["form_ss", "a[0]"]);
    let unaccepted = |offset, what| Fault::Unaccepted { offset, what };
    for (body, expect) in [
        (&b"x=1;form_ss=2"[..], unaccepted(3, "`;` outside an escape")),
        (b"x;form_ss=2", unaccepted(1, "`;` outside an escape")),
        (b"x=1&amp;form_ss=2", unaccepted(7, "`;` outside an escape")),
        (b"x=%", Fault::BadEscape { offset: 2 }),
        (b"x=%4", Fault::BadEscape { offset: 2 }),
        (b"x=%&y=1", Fault::BadEscape { offset: 2 }),
        (b"x%4=1", Fault::BadEscape { offset: 1 }),
        (b"x=%4g", Fault::BadEscape { offset: 2 }),
        (b"%u0066orm_ss=1", Fault::BadEscape { offset: 0 }),
        (b"x=%ff", Fault::NotUtf8 { offset: 2 }),
        (b"x=%c3", Fault::NotUtf8 { offset: 5 }),
        (b"x=%c3&%a9=1", Fault::NotUtf8 { offset: 5 }),
        (b"%c3=1", Fault::NotUtf8 { offset: 3 }),
        (b"x=%c0%af", Fault::NotUtf8 { offset: 2 }),
        (b"x=%ed%a0%80", Fault::NotUtf8 { offset: 5 }),
        (b"x=\xe9", Fault::NotUtf8 { offset: 3 }),
        (b"\xff\xfex\0", Fault::WrongEncoding),
        (b"\xfe\xff\0x", Fault::WrongEncoding),
        (b"x\0=1", Fault::ControlCharacter { offset: 1 }),
        (b"x=1\r\n", Fault::ControlCharacter { offset: 3 }),
        (b"x=1\n&form_ss=1", Fault::ControlCharacter { offset: 3 }),
        (b"_charset_=iso-8859-1", unaccepted(10, OTHER_CHARSET)),
        (b"x=1&_charset_=", unaccepted(14, OTHER_CHARSET)),
        (b"_CHARSET_=utf-16", unaccepted(10, OTHER_CHARSET)),
        (b"x=1&_charset_&y", unaccepted(4, OTHER_CHARSET)),
        (b"123-45-6789", unaccepted(0, "value without a name")),
        (b"123-45-6789&x=1", unaccepted(0, "value without a name")),
        (b"&123-45-6789&x=1", unaccepted(1, "value without a name")),
        (b"=123-45-6789", unaccepted(0, "value without a name")),
        (b"x=1&=2", unaccepted(4, "value without a name")),
        (b"x=1&==2", unaccepted(4, "value without a name")),
        (b"f%00orm_ss=1", unaccepted(0, "name with a NUL")),
        (b"{\"form_ss\":1}", unaccepted(0, "value without a name")),
    ] {
        assert_eq!(case.fault(body), expect, "{}", body.escape_ascii());
    }
}

#[test]
fn the_encoding_is_checked_without_a_watch() {
    let case = Case { watch: None, ..Case::new(&[]) };
    case.fault(b"x=1&_charset_=latin1");
    case.fault(b"_charset_=utf-16&x=1");
    let limits = Limits { value_bytes_max: 2, ..Limits::default() };
    assert_eq!(Case { limits, ..case }.fault(b"_charset_=utf-8"), Fault::ValueTooLong { offset: 10, max: 2 });
}

#[test]
fn look_alikes_of_ruled_names_are_refused() {
    let case = Case::new(&["form_ss", "a[0]"]);
    for name in [
        "Form_ss",
        "%46orm_ss",
        "+form_ss",
        "%20form_ss",
        "%09form_ss",
        "form.ss",
        "form+ss",
        "form%20ss",
        "form[ss",
        "form_ss%00",
        "form_ss%00x",
        "form_ss[",
        "form_ss[]",
        "form_ss[0",
        "form%255fss",
        "%2566orm_ss",
        "form%25255fss",
        "\u{feff}form_ss",
        "%EF%BB%BFform_ss",
        "[form_ss]",
        "form_ss]",
        "form_ss+",
        "form_ss%0D%0A",
        "a[0",
        "a%5b0",
        "a%255B0%255D",
        "a[]",
        "a.0",
        "a[0]x",
        "A[0]",
        "a",
        "!form_ss",
        "form_ss(1i)",
    ] {
        let fault = Fault::Unaccepted { offset: 4, what: LOOK_ALIKE };
        for pair in [format!("x=1&{name}=2"), format!("x=1&{name}"), format!("x=1&{name}&form_ss=1")] {
            assert_eq!(case.fault(pair.as_bytes()), fault, "{pair}");
        }
    }
}

#[test]
fn without_rules_names_are_not_judged() {
    let case = Case::new(&[]);
    for body in ["form.ss=1", "=1", "keyword", "a[0", "A=%2541"] {
        assert_eq!(case.replaced(body).as_deref(), Ok(body));
    }
    for body in ["a;b", "%zz", "_charset_=latin1", "a=%ff", "a\n"] {
        case.fault(body.as_bytes());
    }
}

#[test]
fn what_cannot_stand_in_a_query_is_refused() {
    for body in ["a b=1", "a=1 ", "a=1#b", "#", "a=1;b=2", "a=\t", "A=1"] {
        Case::new(&["a"]).query().fault(body.as_bytes());
    }
}

#[test]
fn only_what_is_asked_for_is_limited() {
    let limits = Limits { value_bytes_max: 4, name_bytes_max: 5, ..Limits::default() };
    let case = Case { limits, ..Case::new(&["a"]) };
    for (body, expect) in [
        ("a=1234&bcdef=1", None),
        ("b=123456789&a=1", None),
        ("b=123tok:4", None),
        ("a=12345", Some(Fault::ValueTooLong { offset: 2, max: 4 })),
        ("a=%31%32", Some(Fault::ValueTooLong { offset: 2, max: 4 })),
        ("b=tok:5", Some(Fault::ValueTooLong { offset: 2, max: 4 })),
        ("b=tok:", None),
        ("x=&bcdefg=1", Some(Fault::NameTooLong { offset: 3, max: 5 })),
        ("x=&%62cdefg", Some(Fault::NameTooLong { offset: 3, max: 5 })),
        ("x=123456%zz", Some(Fault::BadEscape { offset: 8 })),
        ("x=1234%c3%28", Some(Fault::NotUtf8 { offset: 9 })),
    ] {
        let (output, _) = case.check(body.as_bytes(), &|_| None);
        assert_eq!(output, expect.map_or_else(|| Ok(body.as_bytes().to_vec()), Err), "{body}");
    }
}

#[test]
fn what_passes_leaves_at_once() {
    let mut rewriter = Rewriter::new(Case::new(&["a"]).rules, Limits::default(), None);
    rewriter.feed(b"b=");
    for _ in 0..1000 {
        rewriter.feed(&[b'x'; 1000]);
        assert_eq!(rewriter.step(), Ok(Step::NeedInput));
        assert!(rewriter.take_output().len() >= 1000);
    }
}

#[test]
fn texts_are_written_by_the_serializers() {
    for (text, form, query) in [
        ("a b*-._~", "a+b*-._%7E", "a%20b%2A-._~"),
        ("&=+%;\n\0/é", "%26%3D%2B%25%3B%0A%00%2F%C3%A9", "%26%3D%2B%25%3B%0A%00%2F%C3%A9"),
        ("", "", ""),
    ] {
        for (escape, expect) in [(Escape::Form, form), (Escape::Query, query)] {
            let mut out = Vec::new();
            escape.text(text.as_bytes(), &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expect);
        }
    }
    for text in [&b"\xed\xa0\x80"[..], b"\xff"] {
        let mut out = Vec::new();
        assert_eq!(Escape::Form.text(text, &mut out), Err(NotWritable));
        assert_eq!(Escape::Query.literal(text, &mut out), Err(NotWritable));
        assert!(out.is_empty());
    }
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let part = prop::sample::select(vec![
        "a",
        "a[0]",
        "b",
        "A",
        "tok:1",
        "&",
        "&",
        "&",
        "=",
        "=",
        "=",
        "+",
        "%20",
        "%c3%a9",
        "%C3",
        "é",
        "%",
        "%25",
        ";",
        "[",
        "]",
        "_",
        "1234567890",
        "_charset_",
        "utf-8",
    ]);
    let parts = vec(part, 0..30).prop_map(|parts| parts.concat().into_bytes());
    (parts, vec((any::<prop::sample::Index>(), any::<u8>()), 0..2)).prop_map(|(mut bytes, changes)| {
        if !bytes.is_empty() {
            changes.iter().for_each(|(at, byte)| *at.get_mut(&mut bytes) = *byte);
        }
        bytes
    })
}

proptest! {
    #[test]
    fn cuts_make_no_difference_and_what_is_kept_is_unchanged(
        body in prop_oneof![4 => body(), 1 => any::<Vec<u8>>()], lengths in vec(1_usize..9, 1..5), query: bool, small: bool,
        ruled: bool,
    ) {
        let case = Case { query, ..Case::new(if ruled { &["a", "b[*]", "a[0]"] } else { &[] }) };
        let limits = if small { Limits { value_bytes_max: 6, name_bytes_max: 8, ..Limits::default() } } else { case.limits };
        let case = Case { limits, ..case };
        let whole = case.run(&body, &[], &|_| None);
        prop_assert_eq!(&case.run(&body, &lengths, &|_| None), &whole);
        if let Ok(output) = whole.0 {
            prop_assert_eq!(output, body);
        }
    }

    #[test]
    fn a_written_text_is_read_again(text: String, query: bool) {
        let case = Case { query, ..Case::new(&["a"]) };
        let (output, _) = case.run(b"x=1&a=1&b=tok:1&tok:n=1", &[3], &|slot| {
            let mut out = Vec::new();
            slot.escape().text(format!("tok:{text}").as_bytes(), &mut out).unwrap();
            Some(out)
        });
        let written = output.unwrap();
        let (output, seen) = case.run(&written, &[], &|_| None);
        prop_assert_eq!(output.unwrap(), written);
        let texts: Vec<_> = seen.into_iter().map(|(.., text, _)| String::from_utf8(text).unwrap()).collect();
        prop_assert_eq!(texts, vec![format!("tok:{text}"); 3]);
    }
}
