//! The rewriter as its callers see it.

mod properties;
mod refused;

use super::*;
use crate::document::NotWritable;
use crate::document::testing;

/// A slot as it was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    rule: Option<usize>,
    place: Place,
    text: Option<Vec<u8>>,
    range: Range<u64>,
    piece: Option<Piece>,
}

type Rewritten = (Result<Vec<u8>, Fault>, Vec<Seen>);
type Answer<'a> = &'a dyn Fn(&Slot<'_>) -> Option<Vec<u8>>;

const BOUNDARY: &str = "----boundary0123456789";

#[derive(Clone)]
struct Case {
    rules: Arc<Rules>,
    boundary: String,
    limits: Limits,
    watch: Option<Watch>,
    refuses_other_files: bool,
}

/// Strings that stand for sealed values.
fn tokens(text: &[u8]) -> bool {
    text.starts_with(b"tok:")
}

impl Case {
    /// Rules for fields are counted from 0, those for files from 10.
    fn new(fields: &[&str], files: &[&str]) -> Case {
        let paths = |names: &[&str], first: usize| -> Vec<_> {
            (first..).zip(names.iter().map(|name| FormPath::parse(name).unwrap())).collect()
        };
        Case {
            rules: Arc::new(Rules::compile(&paths(fields, 0), &paths(files, 10))),
            boundary: BOUNDARY.to_owned(),
            limits: Limits::default(),
            watch: Some(Watch::new(tokens)),
            refuses_other_files: false,
        }
    }

    /// Fields `f`, `n[*]` and files `p`.
    fn usual() -> Case {
        Case::new(&["f", "n[*]"], &["p"])
    }

    fn run(&self, body: &[u8], lengths: &[usize], answer: Answer<'_>) -> Rewritten {
        let Case { rules, boundary, limits, watch, refuses_other_files } = self.clone();
        let mut rewriter = Rewriter::new(rules, &boundary, refuses_other_files, limits, watch).unwrap();
        let mut seen = Vec::new();
        let output = testing::rewrite(&mut rewriter, body, lengths, &mut |slot| {
            let (rule, place, text) = (slot.rule(), slot.place(), slot.text().map(<[u8]>::to_vec));
            assert!(body[index(slot.range().start)..].starts_with(slot.raw()));
            seen.push(Seen { rule, place, text, range: slot.range(), piece: slot.piece() });
            answer(slot)
        });
        (output, seen)
    }

    /// Whole, by single bytes and by some sizes between, which must make no difference.
    fn check(&self, body: &[u8], answer: Answer<'_>) -> Rewritten {
        let whole = self.run(body, &[], answer);
        for lengths in [&[1][..], &[2], &[3, 1], &[7], &[40]] {
            assert_eq!(self.run(body, lengths, answer), whole, "{} by {lengths:?}", body.escape_ascii());
        }
        whole
    }

    fn fault(&self, body: &[u8]) -> Fault {
        let (output, _) = self.check(body, &|_| None);
        output.map(|_| ()).expect_err(&body.escape_ascii().to_string())
    }
}

/// A body of parts, each given as headers (after `Content-Disposition: form-data; `) and content.
fn body(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (head, content) in parts {
        out.extend(format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n").into_bytes());
        out.extend_from_slice(content);
        out.extend_from_slice(b"\r\n");
    }
    out.extend(format!("--{BOUNDARY}--\r\n").into_bytes());
    out
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

/// Puts a text into each slot.
fn marked(slot: &Slot<'_>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    slot.escape().text(b"X Y", &mut out).unwrap();
    Some(out)
}

#[test]
fn selected_parts_are_replaced_and_all_else_stays() {
    for (head, before, after) in [
        ("name=\"f\"", "1", "X Y"),
        ("name=f", "", "X Y"),
        ("NAME=\"f\"\r\nX-Other: any: thing\r\ncontent-type:text/plain; charset=\"UTF-8\"", "a\r\nb\n\r", "X Y"),
        ("name=\"f\"\r\nContent-Transfer-Encoding: 8bit", "é", "X Y"),
        ("name=\"f\"\r\nContent-Type: application/json", "{}", "X Y"),
        ("name=\"n[0]\"", "\r\n", "X Y"),
        ("name=\"n[a b]\"", "\r\n--", "X Y"),
        ("name=\"p\"; filename=\"a.txt\"\r\nContent-Type: image/png", "1", "X Y"),
        ("name=\"p\"", "1", "X Y"),
        ("filename=\"C:\\a b;c.txt\"; name=\"p\"", "", "X Y"),
        ("name=\"p\"; filename*=UTF-8'en'%c3%a9.txt", "", "X Y"),
        ("name=\"x\"", "é\r\n--x", "é\r\n--x"),
        ("name=\"x\"\r\nContent-Length: 3", "abc", "abc"),
        ("name=\"x\"; filename=\"\"\r\nContent-Type: application/octet-stream", "", ""),
        ("name=\"x\"; filename=\"é%22.txt\"", "1", "1"),
        ("name=\"x\"", "tok:1", "X Y"),
    ] {
        let (output, _) = Case::usual().check(&body(&[("name=a", b"1"), (head, before.as_bytes())]), &marked);
        let expect = body(&[("name=a", b"1"), (head, after.as_bytes())]);
        assert_eq!(output.map(|out| out.escape_ascii().to_string()), Ok(expect.escape_ascii().to_string()), "{head}");
    }
}

#[test]
fn the_frame_may_be_written_in_some_ways() {
    let inner = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=x\r\n\r\n1\r\n--{BOUNDARY}--");
    for text in [inner.clone(), format!("\r\n{inner}"), format!("{inner}\r\n"), format!("--{BOUNDARY}--")] {
        assert_eq!(Case::usual().check(text.as_bytes(), &|_| None).0, Ok(text.clone().into_bytes()), "{text:?}");
    }
}

#[test]
fn slots_say_what_they_are() {
    let case = Case::new(&["f", "f", "n[*]", "n[1]"], &["p", "f"]);
    let parts = [
        ("name=\"f\"", &b"\xc3\xa9 "[..]),
        ("name=\"n[1]\"", b""),
        ("name=f; filename=\"tok:f\"", b"\xff"),
        ("filename=tok:g; name=\"tok:x\"", b"\xff"),
        ("name=x", b"tok:1"),
        ("name=y; filename=\"to\\k:g\"", b""),
    ];
    // A colon is no character of a token.
    let colon = body(&parts);
    assert!(matches!(case.fault(&colon), Fault::Unaccepted { .. }));
    let document =
        String::from_utf8_lossy(&colon).replace("=tok:g;", "=\"tok:g\";").replace('\u{fffd}', "1").into_bytes();
    let (_, seen) = case.check(&document, &|_| None);
    let shown: Vec<_> = seen
        .iter()
        .map(|slot| {
            let text = slot.text.as_ref().map(|text| std::str::from_utf8(text).unwrap());
            let raw = std::str::from_utf8(&document[index(slot.range.start)..index(slot.range.end)]).unwrap();
            (slot.rule, slot.place, text, raw, slot.piece)
        })
        .collect();
    let whole = Some(Piece { first: true, last: true });
    let expect = [
        (Some(0), Place::Value, Some("é "), "é ", None),
        (Some(2), Place::Value, Some(""), "", None),
        (None, Place::Name, Some("tok:f"), "\"tok:f\"", None),
        (Some(11), Place::Value, None, "1", whole),
        (None, Place::Name, Some("tok:g"), "\"tok:g\"", None),
        (None, Place::Name, Some("tok:x"), "\"tok:x\"", None),
        (None, Place::Value, Some("tok:1"), "tok:1", None),
        (None, Place::Name, Some("tok:g"), "\"to\\k:g\"", None),
    ];
    assert_eq!(shown, expect);
}

#[test]
fn files_come_in_pieces_of_one_size() {
    const MAX: u64 = PIECE_BYTES_MAX as u64;
    for (len, lasts) in [
        (0, &[0][..]),
        (1, &[1]),
        (MAX - 1, &[MAX - 1]),
        (MAX, &[MAX]),
        (MAX + 1, &[MAX, 1]),
        (3 * MAX, &[MAX, MAX, MAX]),
        (3 * MAX + 7, &[MAX, MAX, MAX, 7]),
    ] {
        let content: Vec<u8> = (0..len).map(|i| b"\r\n-\xff\x00b"[(i % 6) as usize]).collect();
        let document = body(&[("name=p; filename=x", &content), ("name=f", b"1")]);
        for lengths in [&[][..], &[1000], &[65_536], &[70_001]] {
            let (output, seen) = Case::usual().run(&document, lengths, &|_| None);
            assert_eq!(output.as_deref(), Ok(document.as_slice()));
            let pieces: Vec<_> = seen.iter().filter_map(|slot| Some((slot.range.clone(), slot.piece?))).collect();
            let sizes: Vec<_> = pieces.iter().map(|(range, _)| range.end - range.start).collect();
            assert_eq!(sizes, lasts);
            for (i, (range, piece)) in pieces.iter().enumerate() {
                assert_eq!((piece.first, piece.last), (i == 0, i + 1 == pieces.len()));
                assert!(i == 0 || pieces[i - 1].0.end == range.start);
            }
        }
    }
}

#[test]
fn pieces_may_be_replaced_by_any_bytes() {
    let content = vec![b'x'; PIECE_BYTES_MAX + 3];
    let (output, _) = Case::usual().run(&body(&[("name=p; filename=x", &content)]), &[5000], &|slot| {
        Some(if slot.piece().unwrap().last { b"\r\n\xff--".to_vec() } else { b"\0\r".to_vec() })
    });
    assert_eq!(output, Ok(body(&[("name=p; filename=x", b"\0\r\r\n\xff--")])));
}

#[test]
fn what_passes_leaves_at_once() {
    for head in ["name=x", "name=x; filename=y", "name=p; filename=y"] {
        let Case { rules, limits, boundary, .. } = Case::usual();
        let mut rewriter = Rewriter::new(rules, &boundary, false, limits, None).unwrap();
        rewriter.feed(format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n").as_bytes());
        let (mut fed, mut taken) = (0, 0);
        for _ in 0..3000 {
            rewriter.feed(&[b'x'; 1000]);
            fed += 1000;
            while rewriter.step() == Ok(Step::Slot) {
                rewriter.keep();
            }
            taken += rewriter.take_output().len();
            assert!(taken + PIECE_BYTES_MAX + 2000 > fed, "{head}");
        }
    }
}

#[test]
fn texts_are_written_as_they_are_and_names_only_where_all_servers_read_them() {
    for (escape, text, expect) in [
        (Escape::Multipart, &b"a\r\n\0\"\\"[..], Some(&b"a\r\n\0\"\\"[..])),
        (Escape::Multipart, b"", Some(b"")),
        (Escape::Multipart, b"\xed\xa0\x80", None),
        (Escape::File, b"\xff\r\n", Some(b"\xff\r\n")),
        (Escape::MultipartName, "tok:é;=".as_bytes(), Some("\"tok:é;=\"".as_bytes())),
        (Escape::MultipartName, b"", None),
        (Escape::MultipartName, b"a\"b", None),
        (Escape::MultipartName, b"a\\b", None),
        (Escape::MultipartName, b"a\r\nb", None),
        (Escape::MultipartName, b"a%22", None),
        (Escape::MultipartName, b"a%0Db", None),
        (Escape::MultipartName, b"=?utf-8?q?a?=", None),
        (Escape::MultipartName, b"a; name=b", None),
        (Escape::MultipartName, b"\xff", None),
    ] {
        let mut out = Vec::new();
        let written = escape.text(text, &mut out);
        assert_eq!(written.is_ok().then_some(out.as_slice()), expect, "{}", text.escape_ascii());
        assert!(written.is_ok() || (written == Err(NotWritable) && out.is_empty()));
    }
}
